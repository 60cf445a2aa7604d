"""Data sets of people: folders and zip files; splits that keep people and pictures apart."""

import shutil
import zipfile
from collections import Counter

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from facerec.errors import BadArgument, UnreadableImage
from facerec.learning.datasets import (
    check_disjoint,
    drop_copies,
    find_people,
    split_by_identity,
    split_within_identity,
)
from facerec.photos import load_image


@pytest.fixture(scope="module")
def people() -> pd.DataFrame:
    return find_people("datasets/people.zip")


@pytest.fixture
def folder(tmp_path, images):
    """lena with 11 pictures, kofi with two, mei with one; and files that are not pictures of people."""
    for name, count in (("lena", 11), ("kofi", 2), ("mei", 1)):
        (tmp_path / name).mkdir()
        for i in range(count):
            shutil.copy(images / f"camera_{i}.jpg", tmp_path / name / f"{i}.jpg")
    (tmp_path / "lena" / "notes.txt").touch()
    (tmp_path / "lena" / ".hidden.jpg").touch()
    shutil.copy(images / "lena.jpg", tmp_path / "loose.jpg")
    return tmp_path


def test_find_people_takes_folders_as_people_and_sorts_naturally(folder):
    found = find_people(folder)
    assert Counter(found.identity) == {"lena": 11, "kofi": 2, "mei": 1}
    lena = found[found.identity == "lena"].picture
    assert [path.rpartition("/")[2] for path in lena] == [f"{i}.jpg" for i in range(11)]
    assert set(find_people(folder, min_pictures=2).identity) == {"lena", "kofi"}


def test_find_people_reads_a_zip_file_like_a_folder(folder, tmp_path_factory):
    path = tmp_path_factory.mktemp("zip") / "some people.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted(folder.rglob("*.jpg")):
            archive.write(file, file.relative_to(folder).as_posix())
    zipped, plain = find_people(path), find_people(folder)
    assert zipped.identity.tolist() == plain.identity.tolist()
    np.testing.assert_array_equal(load_image(zipped.picture[3]), load_image(plain.picture[3]))
    with pytest.raises(UnreadableImage, match="unknown/1.jpg can't be read"):
        load_image(path / "unknown" / "1.jpg")


@pytest.mark.parametrize("case", ["missing", "empty", "file", "one picture each"])
def test_find_people_names_the_place_where_it_found_none(tmp_path, images, case):
    place = tmp_path / "place"
    if case == "file":
        shutil.copy(images / "lena.jpg", place)
    elif case != "missing":
        place.mkdir()
    if case == "one picture each":
        (place / "mei").mkdir()
        shutil.copy(images / "mei.jpg", place / "mei")
    with pytest.raises(BadArgument, match=r"place (is neither a folder|has no person with at least 2 picture)"):
        find_people(place, min_pictures=2)


def test_split_by_identity_keeps_people_apart_and_loses_none(people):
    parts = split_by_identity(people, (0.6, 0.2, 0.2), seed=3)
    names = [set(part.identity) for part in parts]
    assert [len(n) for n in names] == [145, 49, 48]
    assert not (names[0] & names[1] or names[0] & names[2] or names[1] & names[2])
    assert sum(map(len, parts)) == len(people)
    check_disjoint(*parts)
    again = split_by_identity(people, (0.6, 0.2, 0.2), seed=3)
    assert all(a.equals(b) for a, b in zip(parts, again, strict=True))
    assert not parts[0].equals(split_by_identity(people, (0.6, 0.2, 0.2), seed=4)[0])


def test_split_within_identity_keeps_later_pictures_for_the_last_part(folder):
    learned, tested = split_within_identity(find_people(folder, min_pictures=2), (0.5, 0.5))
    assert [path.rpartition("/")[2] for path in tested[tested.identity == "lena"].picture] == [
        "6.jpg", "7.jpg", "8.jpg", "9.jpg", "10.jpg"
    ]  # fmt: skip
    assert Counter(learned.identity) == {"lena": 6, "kofi": 1}
    assert not set(learned.picture) & set(tested.picture)


@pytest.mark.parametrize("shares", [(0.5, 0.6), (300, 2), (1.0, 0.0), (0.999, 0.001), ()])
def test_split_by_identity_rejects_shares_that_leave_a_part_empty(people, shares):
    with pytest.raises(BadArgument, match="shares|can't be divided"):
        split_by_identity(people, shares)


def test_split_within_identity_names_a_person_with_too_few_pictures(folder):
    with pytest.raises(BadArgument, match="mei's pictures can't be divided"):
        split_within_identity(find_people(folder), (0.5, 0.5))


def test_check_disjoint_names_a_person_or_picture_in_two_parts(people, tmp_path):
    train, test = split_by_identity(people, (20, 5))
    with pytest.raises(BadArgument, match=f"the person {train.identity[0]} is in part 0 and in part 1"):
        check_disjoint(train, pd.concat([test, train.iloc[:1]]))
    copy = tmp_path / "another person" / "1.png"  # the same pixels under another name
    copy.parent.mkdir()
    Image.fromarray(load_image(train.picture[0])).save(copy)
    renamed = pd.DataFrame({"identity": ["another person"], "picture": [str(copy)]})
    with pytest.raises(BadArgument, match="the picture .*1.png is in part 0 and in part 1"):
        check_disjoint(train, renamed)


def test_drop_copies_removes_all_copies_under_two_names_and_later_copies_of_one(folder, images):
    shutil.copy(images / "camera_3.jpg", folder / "mei" / "again.jpg")  # lena's 3.jpg
    shutil.copy(images / "camera_12.jpg", folder / "mei" / "twice_a.jpg")
    shutil.copy(images / "camera_12.jpg", folder / "mei" / "twice_b.jpg")
    people = find_people(folder)
    left, out = drop_copies(people[~people.picture.str.contains("kofi")])
    names = [path.partition("lena")[2] or path.partition("mei")[2] for path in out.picture]
    assert sorted(names) == ["/0.jpg", "/0.jpg", "/3.jpg", "/again.jpg", "/twice_b.jpg"]
    check_disjoint(left[left.identity == "lena"], left[left.identity == "mei"])
