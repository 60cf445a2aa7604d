"""People, splits and pairs: nobody and nothing twice, the same under a seed, one bad picture is one row."""

import shutil
import zipfile
from collections import Counter

import numpy as np
import pandas as pd
import pytest

from facerec.errors import BadArgument, UnreadableImage
from facerec.learning.augmentation import AUGMENTATIONS, augment
from facerec.learning.datasets import (
    check_disjoint,
    drop_copies,
    fetch_lfw,
    find_people,
    read_picture,
    split_by_identity,
    split_within_identity,
)
from facerec.learning.pairs import PairFaces, PersonFaces, load_faces, make_pairs, one_person_pairs, usable_people
from facerec.photos import load_image


@pytest.fixture(scope="module")
def people() -> pd.DataFrame:
    return find_people("datasets/people.zip")


@pytest.fixture
def folder(tmp_path, images):
    """lena with 11 pictures, kofi with two, mei with one; and files that are no pictures of people."""
    for name, count in (("lena", 11), ("kofi", 2), ("mei", 1)):
        (tmp_path / name).mkdir()
        for i in range(count):
            shutil.copy(images / f"camera_{i}.jpg", tmp_path / name / f"{i}.jpg")
    (tmp_path / "lena" / "notes.txt").touch()
    (tmp_path / "lena" / ".hidden.jpg").touch()
    shutil.copy(images / "lena.jpg", tmp_path / "nobody.jpg")
    return tmp_path


# ------------------------------------------------------------------------------------------- who is in what
def test_a_folder_is_a_person_and_ten_comes_after_two(folder):
    found = find_people(folder)
    assert Counter(found.identity) == {"lena": 11, "kofi": 2, "mei": 1}
    lena = found[found.identity == "lena"].picture
    assert [path.rpartition("/")[2] for path in lena] == [f"{i}.jpg" for i in range(11)]
    assert set(find_people(folder, min_pictures=2).identity) == {"lena", "kofi"}


def test_a_zip_file_is_read_as_the_folder_would_be(folder, tmp_path_factory):
    path = tmp_path_factory.mktemp("zip") / "some people.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted(folder.rglob("*.jpg")):
            archive.write(file, file.relative_to(folder).as_posix())
    zipped, plain = find_people(path), find_people(folder)
    assert zipped.identity.tolist() == plain.identity.tolist()
    np.testing.assert_array_equal(read_picture(zipped.picture[3]), read_picture(plain.picture[3]))
    with pytest.raises(UnreadableImage, match="nobody/1.jpg can't be read"):
        read_picture(path / "nobody" / "1.jpg")


def test_lfw_is_read_where_scikit_learn_keeps_it(folder, tmp_path_factory):
    home = tmp_path_factory.mktemp("data")
    with pytest.raises(BadArgument, match="LFW is not in .*lfw_home and can't be fetched: .*pairs.*txt is missing"):
        fetch_lfw(data_home=home, download=False)
    ignored = shutil.ignore_patterns(".*", "*.txt")
    shutil.copytree(folder, home / "lfw_home" / "lfw_funneled", ignore=ignored)
    for path in sorted((home / "lfw_home" / "lfw_funneled" / "lena").glob("?.jpg")):
        path.rename(path.with_name(f"lena_{int(path.stem) + 1:04d}.jpg"))
    for name in ("pairs", "pairsDevTrain", "pairsDevTest"):
        (home / "lfw_home" / f"{name}.txt").write_text("1\nlena\t1\t2\n")
    people = fetch_lfw(min_pictures=2, data_home=home, download=False)
    assert Counter(people.identity) == {"lena": 11, "kofi": 2}


@pytest.mark.parametrize("case", ["missing", "empty", "file", "one picture each"])
def test_where_nobody_is_found_the_error_says_where(tmp_path, images, case):
    place = tmp_path / "place"
    if case == "file":
        shutil.copy(images / "lena.jpg", place)
    elif case != "missing":
        place.mkdir()
    if case == "one picture each":
        (place / "mei").mkdir()
        shutil.copy(images / "mei.jpg", place / "mei")
    with pytest.raises(BadArgument, match=r"place (is no folder|shows nobody in at least 2 picture)"):
        find_people(place, min_pictures=2)


# --------------------------------------------------------------------------------------------------- splits
def test_people_are_split_and_none_is_lost_or_in_two_parts(people):
    parts = split_by_identity(people, (0.6, 0.2, 0.2), seed=3)
    names = [set(part.identity) for part in parts]
    assert [len(n) for n in names] == [145, 49, 48]
    assert not (names[0] & names[1] or names[0] & names[2] or names[1] & names[2])
    assert sum(map(len, parts)) == len(people)
    check_disjoint(*parts)
    again = split_by_identity(people, (0.6, 0.2, 0.2), seed=3)
    assert all(a.equals(b) for a, b in zip(parts, again, strict=True))
    assert not parts[0].equals(split_by_identity(people, (0.6, 0.2, 0.2), seed=4)[0])


def test_a_persons_later_pictures_are_the_test(folder):
    learned, tested = split_within_identity(find_people(folder, min_pictures=2), (0.5, 0.5))
    assert [path.rpartition("/")[2] for path in tested[tested.identity == "lena"].picture] == [
        "6.jpg", "7.jpg", "8.jpg", "9.jpg", "10.jpg"
    ]  # fmt: skip
    assert Counter(learned.identity) == {"lena": 6, "kofi": 1}
    assert not set(learned.picture) & set(tested.picture)


@pytest.mark.parametrize("shares", [(0.5, 0.6), (300, 2), (1.0, 0.0), (0.999, 0.001), ()])
def test_shares_that_leave_a_part_empty_are_refused(people, shares):
    with pytest.raises(BadArgument, match="shares|can't be divided"):
        split_by_identity(people, shares)


def test_too_few_pictures_of_somebody_name_that_person(folder):
    with pytest.raises(BadArgument, match="mei's pictures can't be divided"):
        split_within_identity(find_people(folder), (0.5, 0.5))


def test_a_person_or_a_picture_in_two_parts_is_found_and_named(people, tmp_path):
    train, test = split_by_identity(people, (20, 5))
    with pytest.raises(BadArgument, match=f"the person {train.identity[0]} is in part 0 and in part 1"):
        check_disjoint(train, pd.concat([test, train.iloc[:1]]))
    copy = tmp_path / "somebody else" / "1.png"  # the same pixels under another name
    copy.parent.mkdir()
    load_image.__globals__["Image"].fromarray(read_picture(train.picture[0])).save(copy)
    renamed = pd.DataFrame({"identity": ["somebody else"], "picture": [str(copy)]})
    with pytest.raises(BadArgument, match="the picture .*1.png is in part 0 and in part 1"):
        check_disjoint(train, renamed)


# ---------------------------------------------------------------------------------------------------- pairs
def test_pairs_are_half_same_half_different_and_none_comes_twice(people):
    pairs = make_pairs(people, 4001, seed=1)
    assert len(pairs) == 4000 and pairs.same.sum() == 2000
    assert ((pairs.identity_1 == pairs.identity_2) == pairs.same).all()
    assert len({frozenset(pair) for pair in zip(pairs.picture_1, pairs.picture_2, strict=True)}) == 4000
    assert all(path.split("/")[-2] == name for path, name in zip(pairs.picture_1, pairs.identity_1, strict=True))
    assert pairs.same.head(400).sum() not in (0, 400)  # shuffled
    assert pairs.equals(make_pairs(people, 4001, seed=1)) and not pairs.equals(make_pairs(people, 4001, seed=2))


def test_everybody_has_about_as_many_same_pairs_and_each_picture_is_used_about_as_often(people):
    pairs = make_pairs(people, 2 * 3 * 242)
    assert set(Counter(pairs[pairs.same].identity_1).values()) == {3}
    different = pairs[~pairs.same]
    used = Counter([*different.picture_1, *different.picture_2])
    assert max(used.values()) <= 2


def test_a_limit_per_picture_holds(people):
    few = people[people.identity.isin(["p000", "p001", "p002"])].reset_index(drop=True)
    pairs = make_pairs(few, 20, per_picture=1)
    for part in (pairs[pairs.same], pairs[~pairs.same]):
        assert max(Counter([*part.picture_1, *part.picture_2]).values()) == 1
    with pytest.raises(
        BadArgument, match="40 pairs take 20 of the same kind; 24 pictures of 3 people give 12 with at most 1"
    ):
        make_pairs(few, 40, per_picture=1)


def test_more_pairs_than_there_are_is_an_error_that_says_how_many(people):
    one = people[people.identity == "p000"].reset_index(drop=True)
    with pytest.raises(BadArgument, match="take 10 of the different kind; 8 pictures of 1 person give 0"):
        make_pairs(one, 20)
    with pytest.raises(BadArgument, match="take 100 of the same kind; 8 pictures of 1 person give 28"):
        make_pairs(one, 200)


def test_pairs_keep_their_pictures_when_the_table_has_gaps_in_its_index(people):
    some = people.iloc[8:40]
    pairs = make_pairs(some, 40)
    assert set(pairs.picture_1) <= set(some.picture)
    assert all(path.split("/")[-2] == name for path, name in zip(pairs.picture_2, pairs.identity_2, strict=True))


# -------------------------------------------------------------------------------------------- augmentations
def test_the_nine_augmentations_do_what_they_are_called():
    face = np.random.default_rng(0).uniform(0.3, 0.7, (4, 4, 3)).astype(np.float32)
    changed = {name: np.asarray(change(face)) for name, change in AUGMENTATIONS.items()}
    assert len(changed) == 9
    spread, colour = face.std(axis=(0, 1)).mean(), face.std(axis=2).mean()
    np.testing.assert_allclose(changed["brighter"], np.clip(face + 0.2, 0, 1), atol=1e-6)
    np.testing.assert_allclose(changed["darker"], np.clip(face - 0.2, 0, 1), atol=1e-6)
    assert changed["more contrast"].std(axis=(0, 1)).mean() > 1.3 * spread
    assert changed["less contrast"].std(axis=(0, 1)).mean() == pytest.approx(0.6 * spread, rel=1e-4)
    np.testing.assert_array_equal(changed["flipped"], face[:, ::-1])
    assert changed["more saturated"].std(axis=2).mean() == pytest.approx(1.6 * colour, rel=0.05)
    assert changed["less saturated"].std(axis=2).mean() == pytest.approx(0.4 * colour, rel=1e-4)
    np.testing.assert_allclose(changed["flipped, brighter"], np.clip(face[:, ::-1] + 0.15, 0, 1), atol=1e-6)
    assert changed["darker, less contrast"].mean() == pytest.approx(face.mean() - 0.15, abs=1e-3)
    assert all(c.shape == face.shape and c.min() >= 0 and c.max() <= 1 for c in changed.values())


def test_every_face_is_followed_by_its_nine_variations():
    faces = np.random.default_rng(0).uniform(0, 1, (3, 8, 8, 3)).astype(np.float32)
    varied = augment(faces)
    assert varied.shape == (30, 8, 8, 3)
    np.testing.assert_array_equal(varied[::10], faces)
    np.testing.assert_allclose(varied[15], faces[1][:, ::-1], atol=1e-6)


# -------------------------------------------------------------------------------------------------- batches
def test_one_damaged_picture_is_one_row(folder):
    (folder / "lena" / "3.jpg").write_bytes(b"no picture")
    people = find_people(folder)
    faces, problems = load_faces(list(people.picture), side=32)
    damaged = int(np.flatnonzero(people.picture.str.endswith("lena/3.jpg"))[0])
    assert list(problems) == [damaged] and faces.shape == (14, 32, 32, 3)
    assert faces[damaged].max() == 0 and faces[np.arange(14) != damaged].max(axis=(1, 2, 3)).min() > 50
    good, bad = usable_people(people)
    assert len(good) == 13 and bad.picture.tolist() == [people.picture[damaged]]
    assert "is not a picture" in bad.reason[0]
    with pytest.raises(UnreadableImage, match=r"lena/3.jpg can't be used"):
        PairFaces(make_pairs(people, 24))


@pytest.fixture(scope="module")
def pair_faces(people) -> PairFaces:
    return PairFaces(make_pairs(people.head(160), 100, seed=1), side=24)


def take(dataset, count: int) -> list[tuple]:
    return [(a.numpy(), b.numpy(), y.numpy()) for (a, b), y in dataset.take(count)]


def test_an_epoch_shows_every_pair_once_in_an_order_of_its_own(pair_faces):
    first, second = pair_faces.arrays()
    shown = take(pair_faces.batches(20, augmented=False, seed=5), 10)
    assert shown[0][0].shape == (20, 24, 24, 3) and shown[0][2].dtype == np.float32
    orders = []
    for epoch in (shown[:5], shown[5:]):
        numbers = []
        for a, b, same in epoch:
            for x, y, s in zip(a, b, same, strict=True):
                alike = np.isclose(first, x).all(axis=(1, 2, 3)) & np.isclose(second, y).all(axis=(1, 2, 3))
                (number,) = np.flatnonzero(alike)
                assert s == pair_faces.same[number]
                numbers.append(number)
        assert sorted(numbers) == list(range(100))
        orders.append(numbers)
    assert orders[0] != orders[1] and orders[0] != sorted(orders[0])


@pytest.mark.parametrize("augmented", [True, False])
def test_batches_depend_on_the_seed_and_the_epoch_alone(pair_faces, augmented):
    """So a training that was killed after its first epoch sees in the second what it would have seen."""
    whole = take(pair_faces.batches(30, augmented, seed=5), 6)  # two epochs of three batches
    rest = take(pair_faces.batches(30, augmented, seed=5, first_epoch=1), 3)
    for a, b in zip(whole[3:], rest, strict=True):
        for x, y in zip(a, b, strict=True):
            np.testing.assert_array_equal(x, y)
    other = take(pair_faces.batches(30, augmented, seed=6), 1)
    assert not np.array_equal(other[0][0], whole[0][0])


def test_augmentation_flips_half_and_changes_light_a_little(pair_faces):
    """Both faces of a pair are changed, each on its own; values stay in 0..1."""
    plain, changed = (take(pair_faces.batches(100, augmented, seed=1), 1)[0] for augmented in (False, True))
    np.testing.assert_array_equal(plain[2], changed[2])
    for side in (0, 1):
        before, after = plain[side].reshape(100, -1), changed[side].reshape(100, -1)
        mirrored = plain[side][:, :, ::-1].reshape(100, -1)
        like = np.array([np.corrcoef(a, b)[0, 1] for a, b in zip(before, after, strict=True)])
        like_mirrored = np.array([np.corrcoef(a, b)[0, 1] for a, b in zip(mirrored, after, strict=True)])
        flipped = like_mirrored > like
        assert np.maximum(like, like_mirrored).min() > 0.9
        assert 30 < flipped.sum() < 70
        assert 0.02 < np.abs(before.mean(axis=1) - after.mean(axis=1)).mean() < 0.1
        assert after.min() >= 0 and after.max() <= 1


@pytest.mark.parametrize("batch", [0, 101])
def test_a_batch_larger_than_the_pairs_is_refused(pair_faces, batch):
    with pytest.raises(BadArgument, match="there are 100 pairs"):
        pair_faces.batches(batch)


def test_the_distances_of_pairs_are_those_of_their_encodings(people, small_network):
    pairs = make_pairs(people[people.identity < "p004"], 12)
    found = PairFaces(pairs, side=8).distances(small_network)
    for distance, row in zip(found, pairs.itertuples(), strict=True):
        faces, _ = load_faces([row.picture_1, row.picture_2], 8)
        first, second = np.asarray(small_network(faces.astype(np.float32)))
        assert distance == pytest.approx(np.linalg.norm(first - second), abs=1e-5)


def test_the_pairs_of_one_person_are_balanced_and_strangers_come_once():
    people = find_people("datasets/people.zip")
    own, others = people.picture[:4], people.picture[8:]
    same = [(own[0], own[1]), (own[0], own[2]), (own[1], own[3])]
    pairs = one_person_pairs(same, own.to_numpy(), others, times=5)
    assert len(pairs) == 30 and pairs.same.sum() == 15
    assert pairs[pairs.same].groupby(["picture_1", "picture_2"]).size().tolist() == [5, 5, 5]
    different = pairs[~pairs.same]
    assert different.picture_2.is_unique and set(different.picture_2) <= set(others)
    assert set(different.picture_1) == set(own)
    with pytest.raises(BadArgument, match="3 same pairs, 999 times each, take as many pictures of others: 1928"):
        one_person_pairs(same, own, others, times=999)


# ----------------------------------------------------------------------------------- people in every batch
@pytest.fixture(scope="module")
def person_faces(people) -> PersonFaces:
    """Eleven people with 8 pictures each, and one with three."""
    few = people[people.identity < "p012"]
    return PersonFaces(few.drop(few.index[-5:]), side=24)


def first(dataset, count: int) -> list[tuple]:
    """Its first batches: faces, same, weights."""
    return list(dataset.take(count).as_numpy_iterator())


def rows_of(batch, faces: PersonFaces) -> np.ndarray:
    """Which pictures a batch without augmentation shows."""
    shown = np.rint(np.asarray(batch[0]) * 255).astype(np.uint8)
    return np.array([np.flatnonzero((faces.faces == face).all(axis=(1, 2, 3)))[0] for face in shown])


def test_a_batch_holds_several_people_each_several_times_and_labels_all_pairs(person_faces):
    for batch in first(person_faces.batches(24, augmented=False, seed=5), 12):
        who = person_faces.who[rows_of(batch, person_faces)]
        assert sorted(Counter(who).values()) == [4] * 6
        pairs = [(i, j) for i in range(24) for j in range(i + 1, 24)]
        assert np.asarray(batch[1]).tolist() == [float(who[i] == who[j]) for i, j in pairs]
        same, weight = np.asarray(batch[1]) == 1, np.asarray(batch[2])
        assert same.sum() == 36 and weight[same].sum() == pytest.approx(weight[~same].sum(), rel=1e-5)
        assert weight.mean() == pytest.approx(1, rel=1e-5)


def test_nobody_comes_twice_in_a_batch_where_people_do_not_divide_evenly(person_faces):
    for batch in first(person_faces.batches(20, augmented=False, seed=5), 24):  # 5 of 12 people
        who = person_faces.who[rows_of(batch, person_faces)]
        assert sorted(Counter(who).values()) == [4] * 5


def test_every_step_and_epoch_varies_faces_in_its_own_way(people):
    copies = people.iloc[[0] * 16].assign(identity=np.repeat(["a", "b", "c", "d"], 4))
    batches = first(PersonFaces(copies, side=24).batches(8, seed=2), 4)  # two steps in each of two epochs
    for i in range(4):
        for j in range(i):
            assert np.abs(batches[i][0] - batches[j][0]).max() > 0.05


def test_every_epoch_has_an_order_of_its_own(person_faces):
    batches = first(person_faces.batches(24, augmented=False, seed=1), 6)
    met = [tuple(person_faces.who[rows_of(batch, person_faces)[::4]]) for batch in batches]
    assert len({frozenset(who) for who in (met[0], met[3])}) == 2 and list(met[0]) != sorted(met[0], reverse=True)


def test_people_and_their_pictures_come_in_turn(person_faces):
    batches = first(person_faces.batches(24, augmented=False, seed=1), len(person_faces) // 24 * 8)
    rows = np.concatenate([rows_of(batch, person_faces) for batch in batches])
    visits = np.bincount(person_faces.who[rows]) / 4
    assert visits.min() >= 8 and visits.max() - visits.min() <= 9  # 16 on average, in 8 epochs of 3 batches
    assert sorted(set(rows)) == list(range(len(person_faces)))


def test_batches_of_people_depend_on_the_seed_and_the_epoch_alone(person_faces):
    steps = len(person_faces) // 24
    whole = first(person_faces.batches(24, seed=2, moved=True), 2 * steps)
    resumed = first(person_faces.batches(24, seed=2, first_epoch=1, moved=True), steps)
    for one, other in zip(whole[steps:], resumed, strict=True):
        for a, b in zip(one, other, strict=True):
            np.testing.assert_array_equal(a, b)
    (other,) = first(person_faces.batches(24, seed=3, moved=True), 1)
    assert np.abs(np.asarray(other[0]) - np.asarray(whole[0][0])).max() > 0.1


def test_moved_faces_are_moved_a_little_and_nothing_else(person_faces):
    ((still, *_),) = first(person_faces.batches(24, augmented=False, seed=2), 1)
    ((moved, *_),) = first(person_faces.batches(24, augmented=False, seed=2, moved=True), 1)
    still, moved = np.asarray(still), np.asarray(moved)
    difference = np.abs(still - moved).mean(axis=(1, 2, 3))
    assert difference.min() > 0.01 and difference.max() < 0.25
    means = np.abs(still.mean(axis=(1, 2)) - moved.mean(axis=(1, 2)))
    assert means.max() < 0.12  # the light is the same
    assert moved.min() >= 0 and moved.max() <= 1


def test_people_that_make_no_batch_are_refused_and_named(people, person_faces):
    with pytest.raises(BadArgument, match="batch=26: faces of at least 2 people, 4 of each; here are 12 people"):
        person_faces.batches(26)
    with pytest.raises(BadArgument, match="batch=64: .* here are 12 people in 91 pictures"):
        person_faces.batches(64)
    with pytest.raises(BadArgument, match="p003 has a single picture"):
        PersonFaces(people[:25], side=24)
    with pytest.raises(BadArgument, match="there is nobody"):
        PersonFaces(people[:0], side=24)


def test_a_picture_under_two_names_is_taken_out_and_a_second_copy_too(folder, images):
    shutil.copy(images / "camera_3.jpg", folder / "mei" / "again.jpg")  # lena's 3.jpg
    shutil.copy(images / "camera_12.jpg", folder / "mei" / "twice_a.jpg")
    shutil.copy(images / "camera_12.jpg", folder / "mei" / "twice_b.jpg")
    people = find_people(folder)
    left, out = drop_copies(people[~people.picture.str.contains("kofi")])
    names = [path.partition("lena")[2] or path.partition("mei")[2] for path in out.picture]
    assert sorted(names) == ["/0.jpg", "/0.jpg", "/3.jpg", "/again.jpg", "/twice_b.jpg"]
    check_disjoint(left[left.identity == "lena"], left[left.identity == "mei"])
