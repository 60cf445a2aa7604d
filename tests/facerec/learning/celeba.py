"""A toy CelebA in its own layout."""


def write_celeba(folder, people, pictures=6, glasses=(0,), male=lambda person: person % 2 == 0):
    """CelebA's own layout, its pictures empty files: people 1 …, every ``pictures``-th file is of the same person."""
    (folder / "img_align_celeba").mkdir(parents=True)
    identities, attributes = [], []
    for number in range(people * pictures):
        file, person = f"{number + 1:06d}.jpg", number % people + 1
        (folder / "img_align_celeba" / file).touch()
        identities.append(f"{file} {person}\n")
        values = [1, 1 if male(person) else -1, 1 if number // people in glasses else -1]
        attributes.append(file + "".join(f" {value:2d}" for value in values) + "\n")
    (folder / "identity_CelebA.txt").write_text("".join(identities))
    head = f"{len(attributes)}\nYoung Male Eyeglasses \n"
    (folder / "list_attr_celeba.txt").write_text(head + "".join(attributes))
    return folder
