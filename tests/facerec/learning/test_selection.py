"""Who trains, validates and tests: sizes, balance, seeds, and damaged lists named by line."""

import re

import pandas as pd
import pytest

from facerec.errors import BadArgument
from facerec.learning.selection import PARTS, fit_sizes, list_people, read_split, split
from tests.facerec.learning.celeba import write_celeba


@pytest.fixture
def celeba(tmp_path):
    return write_celeba(tmp_path / "celeba", people=40)


SIZES = {"train": (20, 4), "validation": (6, 4), "test": (4, 2)}


def test_split_keeps_people_apart_and_gives_the_requested_sizes(celeba):
    table, missing = split(celeba, SIZES)
    assert missing.empty and table.picture.is_unique
    assert (table.groupby("identity").part.nunique() == 1).all()
    for part, (people, pictures) in SIZES.items():
        counts = table[table.part == part].identity.value_counts()
        assert len(counts) == people and (counts == pictures).all()
    listed = dict(line.split() for line in (celeba / "identity_CelebA.txt").read_text().splitlines())
    assert all(listed[row.picture.removeprefix("img_align_celeba/")] == row.identity for row in table.itertuples())


def test_list_people_reads_the_person_from_the_names_of_files(tmp_path):
    for file in ("10_1.jpg", "2_7.png", "2_8.jpg", "notes.txt", "._2_7.png", "cover.jpg"):
        (tmp_path / file).touch()
    table = list_people(tmp_path)
    assert table[["identity", "picture"]].values.tolist() == [["10", "10_1.jpg"], ["2", "2_7.png"], ["2", "2_8.jpg"]]
    assert table.there.all()


def women(table):
    return table.groupby("part", sort=False).apply(
        lambda rows: (rows.groupby("identity").gender.first() == "woman").mean()
    )


def test_split_balances_women_and_men(celeba):
    assert women(split(celeba, SIZES)[0]).tolist() == [0.5, 0.5, 0.5]


def test_split_gives_every_part_the_same_share_of_few_women(tmp_path):
    celeba = write_celeba(tmp_path / "celeba", people=40, male=lambda person: person % 5 > 0)  # 8 women
    assert women(split(celeba, {"train": (20, 4), "validation": (10, 4), "test": (10, 2)})[0]).tolist() == [0.2] * 3


def test_split_balances_pictures_with_and_without_glasses(tmp_path):
    for glasses, expected in (((), 0), ((3,), 1), ((0, 3, 4), 2), ((0, 1, 2, 3, 5), 3)):
        celeba = write_celeba(tmp_path / str(len(glasses)), people=12, glasses=glasses)
        table, _ = split(celeba, {"train": (6, 4), "validation": (3, 4), "test": (3, 4)})
        assert set((table.glasses == "yes").groupby(table.identity).sum()) == {expected}


def test_gender_of_a_person_is_that_of_most_pictures(celeba):
    lines = (celeba / "list_attr_celeba.txt").read_text().splitlines()
    lines[2] = lines[2].replace("-1", " 1", 1)  # one picture of person 1, a woman, says otherwise
    (celeba / "list_attr_celeba.txt").write_text("\n".join(lines))
    table, _ = split(celeba, {"train": (30, 6), "validation": (5, 6), "test": (5, 6)})
    assert set(table[table.identity == "1"].gender) == {"woman"}


def test_split_depends_on_the_seed_alone(celeba):
    first = split(celeba, SIZES, seed=5)[0]
    pd.testing.assert_frame_equal(first, split(celeba, SIZES, seed=5)[0])
    assert not first.equals(split(celeba, SIZES, seed=6)[0])


def test_fit_sizes_counts_people_with_few_pictures_where_few_are_needed(tmp_path):
    pictures = pd.Series([20] * 9 + [5] * 4)
    assert fit_sizes(pictures, {"train": (6, 20), "validation": (3, 20), "test": (4, 5)})["test"] == (4, 5)
    with pytest.raises(BadArgument, match="too few people for train 7x20.*9 have 20 or more pictures, 13 have 5"):
        fit_sizes(pictures, {"train": (7, 20), "validation": (3, 20), "test": (3, 5)})


def test_fit_sizes_shrinks_parts_but_never_requested_sizes():
    assert fit_sizes(pd.Series([30] * 1000), {}) == PARTS
    assert fit_sizes(pd.Series([20] * 94), {}) == {"train": (80, 20), "validation": (10, 20), "test": (4, 5)}
    assert fit_sizes(pd.Series([8] * 47), {}) == {"train": (40, 8), "validation": (5, 8), "test": (2, 5)}
    assert fit_sizes(pd.Series([8] * 47), {"train": (10, 3)})["train"] == (10, 3)
    with pytest.raises(BadArgument, match="too few people for train 800x20.*of 2, 0 have 20"):
        fit_sizes(pd.Series([8, 8]), {"train": (800, 20)})
    with pytest.raises(BadArgument, match="too few people"):
        fit_sizes(pd.Series([8, 8]), {})


def test_split_takes_a_folder_with_or_without_attributes(tmp_path, capsys):
    for person in range(8):
        for picture in range(3):
            (tmp_path / "photos" / f"p{person}").mkdir(parents=True, exist_ok=True)
            (tmp_path / "photos" / f"p{person}" / f"{picture}.jpg").touch()
    sizes = {"train": (4, 3), "validation": (2, 3), "test": (2, 2)}
    table, _ = split(tmp_path / "photos", sizes)
    assert "no list_attr_celeba.txt in " in capsys.readouterr().out
    assert set(table.gender) == set(table.glasses) == {""} and len(table) == 22
    lines = [f"p{person}/{picture}.jpg {1 if person < 4 else -1} -1" for person in range(8) for picture in range(3)]
    (tmp_path / "attributes.txt").write_text("\n".join(["24", "Male Eyeglasses", *lines]))
    assert women(split(tmp_path / "photos", sizes, tmp_path / "attributes.txt")[0]).tolist() == [0.5] * 3
    (tmp_path / "attributes.txt").write_text("1\nMale Eyeglasses\n000001.jpg 1 1\n")
    with pytest.raises(BadArgument, match="names none of these pictures, such as p0/0.jpg"):
        split(tmp_path / "photos", sizes, tmp_path / "attributes.txt")


def test_split_takes_a_zip_file():
    table, _ = split("datasets/people.zip")
    assert table.groupby("part").identity.nunique().to_dict() == {"train": 206, "validation": 26, "test": 10}
    assert table.picture.str.fullmatch(r"p\d+/\d\.jpg").all()


@pytest.mark.parametrize(
    ("file", "line", "text", "message"),
    [
        (
            "identity_CelebA.txt",
            3,
            "000003.jpg",
            "identity_CelebA.txt, line 3: '000003.jpg'; expected a picture and its person",
        ),
        ("identity_CelebA.txt", 2, "000002.jpg ../7", "identity_CelebA.txt, line 2: "),
        ("identity_CelebA.txt", 5, "000001.jpg 3", "identity_CelebA.txt, line 5: 000001.jpg is listed a second time"),
        ("list_attr_celeba.txt", 1, "many", "list_attr_celeba.txt, line 1: 'many'; expected the number of pictures"),
        ("list_attr_celeba.txt", 1, "241", "line 1: it announces 241 pictures, but 240 follow"),
        ("list_attr_celeba.txt", 2, "Young Male Hat", "list_attr_celeba.txt, line 2: no Eyeglasses among the 3"),
        ("list_attr_celeba.txt", 9, "000007.jpg 1 -1", "list_attr_celeba.txt, line 9: '000007.jpg 1 -1'; expected"),
        ("list_attr_celeba.txt", 9, "000007.jpg 1 0 1", "list_attr_celeba.txt, line 9: "),
    ],
)
def test_split_names_the_damaged_line_of_a_list(celeba, file, line, text, message):
    lines = (celeba / file).read_text().splitlines()
    lines[line - 1] = text
    (celeba / file).write_text("\n".join(lines))
    with pytest.raises(BadArgument, match=re.escape(message)):
        split(celeba, SIZES)


def test_split_names_a_missing_list(celeba, tmp_path):
    with pytest.raises(BadArgument, match=r"nowhere.txt, the list of attributes, is missing"):
        split(celeba, SIZES, tmp_path / "nowhere.txt")
    (celeba / "identity_CelebA.txt").unlink()
    with pytest.raises(BadArgument, match=r"has img_align_celeba but no identity_CelebA.txt"):
        split(celeba, SIZES)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("part,identity\ntrain,1\n", "line 1: no column picture"),
        ("part,identity,picture\ntrain,1,a/1.jpg\nexam,2,a/2.jpg\n", "line 3: 'exam,2,a/2.jpg': expected one of train"),
        ("part,identity,picture\ntrain,1,../1.jpg\n", "line 2: 'train,1,../1.jpg'"),
        ("part,identity,picture\ntrain,1/2,a/1.jpg\n", "line 2: "),
        (
            "part,identity,picture\ntrain,1,a/1.jpg\ntest,1,a/2.jpg\n",
            "line 2: 'train,1,a/1.jpg': that person is in two",
        ),
        ("part,identity,picture\ntrain,1,a/1.jpg\ntrain,1,a/1.jpg\n", "line 3: 'train,1,a/1.jpg': that picture is"),
        ("part,identity,picture\ntrain,1,a,b,c\ntrain,1,2,3,4,5\n", "can't be read as a table"),
    ],
)
def test_read_split_names_the_damaged_line(tmp_path, rows, message):
    (tmp_path / "split.csv").write_text(rows)
    with pytest.raises(BadArgument, match=re.escape(message)):
        read_split(tmp_path / "split.csv")
