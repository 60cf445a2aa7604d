"""From photos of people to faces: who is in which part, what is kept and what dropped, and going on after a kill."""

import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from facerec.detection import extract_face
from facerec.errors import BadArgument
from facerec.learning.clean import apply, find_copies, judge_copies, look, undo
from facerec.learning.datasets import find_people, read_picture
from facerec.learning.pairs import load_faces
from facerec.learning.prepare import PARTS, find_and_align, fit_sizes, pack, preprocess, read_report, read_split, split
from facerec.photos import load_image
from tools.assets import prepare_people
from tools.assets.prepare_people import main


@pytest.fixture
def photos(tmp_path, images):
    """Three people; among their photos one damaged and one without a face."""
    folder = tmp_path / "photos"
    for name, files in {"lena": ["lena", "camera_0"], "kofi": ["camera_12", "kofi"], "jun": ["camera_7"]}.items():
        (folder / name).mkdir(parents=True)
        for i, file in enumerate(files):
            shutil.copy(images / f"{file}.jpg", folder / name / f"{i}.jpg")
    (folder / "lena" / "2.jpg").write_bytes(b"no picture")
    Image.new("RGB", (200, 200), "grey").save(folder / "kofi" / "2.png")
    return folder


def test_every_photo_becomes_a_face_or_a_row_that_says_why_not(photos, tmp_path):
    report = preprocess(photos, tmp_path / "faces", side=96).set_index("picture")
    assert len(report) == 7
    assert report.loc["kofi/2.png", "dropped"] == "no face found"
    assert "is not a picture" in report.loc["lena/2.jpg", "dropped"]
    kept = report[report.dropped == ""]
    assert sorted(kept.face) == ["jun/0.jpg", "kofi/0.jpg", "kofi/1.jpg", "lena/0.jpg", "lena/1.jpg"]
    for row in kept.itertuples():
        assert load_image(tmp_path / "faces" / row.face).shape == (96, 96, 3)
        points, (x, y, width, height) = json.loads(row.keypoints), json.loads(row.box)
        assert x < points["left_eye"][0] < points["right_eye"][0] < x + width
        assert y < points["nose"][1] < y + height and float(row.confidence) > 0.8
    assert sorted(find_people(tmp_path / "faces").identity.unique()) == ["jun", "kofi", "lena"]


def test_eyes_lie_where_the_template_has_them(photos, tmp_path):
    preprocess(photos, tmp_path / "faces", side=96)
    photo = load_image(photos / "lena" / "0.jpg")
    expected = extract_face(photo, 96)
    face = load_image(tmp_path / "faces" / "lena" / "0.jpg")
    assert np.abs(face.astype(int) - expected).mean() < 3  # JPEG


def test_killed_it_goes_on_where_it_was(photos, tmp_path, monkeypatch):
    """The third chunk never comes back: started again, only what is missing is looked at."""
    looked_at, find = [], find_and_align

    def dies(pictures, side, which):
        if len(looked_at) == 2:
            raise KeyboardInterrupt
        looked_at.append(len(pictures))
        return find(pictures, side, which)

    monkeypatch.setattr(prepare_people, "find_and_align", dies)
    with pytest.raises(KeyboardInterrupt):
        preprocess(photos, tmp_path / "faces", side=32, chunk=2)
    report = tmp_path / "faces" / "report.csv"
    assert len(read_report(report)) == 4
    with report.open("a") as stream:
        stream.write("lena,lena/1.jpg,le")  # cut off in the middle of a row
    looked_at.clear()
    monkeypatch.setattr(prepare_people, "find_and_align", lambda p, s, w: looked_at.append(len(p)) or find(p, s, w))
    finished = preprocess(photos, tmp_path / "faces", side=32, chunk=2)
    assert sorted(looked_at) == [1, 2] and len(finished) == 7 and finished.picture.is_unique
    preprocess(photos, tmp_path / "faces", side=32, chunk=2)
    assert len(looked_at) == 2  # nothing is left to do


def test_a_packed_folder_holds_the_same_pictures_and_is_the_same_file_each_time(photos, tmp_path):
    preprocess(photos, tmp_path / "faces", side=32)
    assert pack(tmp_path / "faces", tmp_path / "a.zip") == pack(tmp_path / "faces", tmp_path / "b.zip") == 5
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()
    packed = find_people(tmp_path / "a.zip")
    assert packed.identity.tolist() == find_people(tmp_path / "faces").identity.tolist()
    np.testing.assert_array_equal(read_picture(packed.picture[0]), load_image(tmp_path / "faces/jun/0.jpg"))


def test_the_command(photos, tmp_path, capsys):
    main(["preprocess", str(photos), "--to", str(tmp_path / "faces"), "--side", "32"])
    main(["pack", str(tmp_path / "faces"), "--to", str(tmp_path / "people.zip")])
    out = capsys.readouterr().out
    assert "5 faces of 3 people" in out and "dropped 1: no face found" in out and "5 pictures in " in out
    with pytest.raises(BadArgument, match="--side 3: at least 16"):
        main(["preprocess", str(photos), "--to", str(tmp_path / "x"), "--side", "3"])
    with pytest.raises(BadArgument, match="is no folder and no zip file"):
        main(["preprocess", str(tmp_path / "nowhere"), "--to", str(tmp_path / "x")])


def test_two_photos_that_differ_by_their_ending_become_two_faces(images, tmp_path):
    (tmp_path / "photos" / "lena").mkdir(parents=True)
    shutil.copy(images / "lena.jpg", tmp_path / "photos" / "lena" / "0.jpg")
    Image.open(images / "camera_0.jpg").save(tmp_path / "photos" / "lena" / "0.png")
    report = preprocess(tmp_path / "photos", tmp_path / "faces", side=32)
    assert report.face.tolist() == ["lena/0.jpg", "lena/0.png.jpg"]
    assert sorted(file.name for file in (tmp_path / "faces" / "lena").iterdir()) == ["0.jpg", "0.png.jpg"]


def test_faces_made_in_another_way_are_not_mixed_in(photos, tmp_path):
    report = preprocess(photos, tmp_path / "faces", side=32)
    with pytest.raises(BadArgument, match="--side 48: the faces in .* have 32 pixels"):
        preprocess(photos, tmp_path / "faces", side=48)
    table = pd.DataFrame({"part": "train", "identity": ["lena"], "picture": ["lena/0.jpg"]})
    table.to_csv(tmp_path / "split.csv", index=False)
    with pytest.raises(BadArgument, match="was made without --split"):
        preprocess(photos, tmp_path / "faces", side=32, split=tmp_path / "split.csv")
    pd.testing.assert_frame_equal(read_report(tmp_path / "faces" / "report.csv"), report)


def files_in(folder):
    return {file.relative_to(folder).as_posix(): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def test_killed_by_the_system_at_any_moment_it_loses_nothing_and_leaves_nothing_behind(images, tmp_path):
    """A real SIGKILL, after a random number of rows: gone on, all is byte for byte as without it."""
    for number, file in enumerate(sorted(images.glob("camera_*.jpg"))[:14]):
        (tmp_path / "photos" / f"p{number % 3}").mkdir(parents=True, exist_ok=True)
        shutil.copy(file, tmp_path / "photos" / f"p{number % 3}" / f"{number}.jpg")
    preprocess(tmp_path / "photos", tmp_path / "whole", chunk=2)
    command = ["preprocess", str(tmp_path / "photos"), "--to", str(tmp_path / "killed"), "--chunk", "2"]
    process = subprocess.Popen([sys.executable, prepare_people.__file__, *command], stderr=subprocess.DEVNULL)
    report, wanted = tmp_path / "killed" / "report.csv", random.randint(1, 8)
    while process.poll() is None and (not report.is_file() or report.read_bytes().count(b"\n") < wanted):
        time.sleep(0.002)
    time.sleep(random.uniform(0, 0.1))
    process.kill()
    assert process.wait() == -signal.SIGKILL, "it was through before it was killed"
    (tmp_path / "killed" / "p0").mkdir(exist_ok=True)
    (tmp_path / "killed" / "p0" / ".unfinished_1_0.jpg").write_bytes(b"half")  # what a kill may leave
    preprocess(tmp_path / "photos", tmp_path / "killed", chunk=2)
    assert files_in(tmp_path / "killed") == files_in(tmp_path / "whole")


def test_cut_off_within_a_letter_or_within_the_first_line_it_goes_on(photos, tmp_path):
    (photos / "lena").rename(photos / "léna")
    whole = preprocess(photos, tmp_path / "faces", side=32, chunk=2)
    report = tmp_path / "faces" / "report.csv"
    data = report.read_bytes()
    second_row = data.index(b"\n", data.index(b"\n") + 1) + 1  # the first chunk has two
    for kept in (5, 0, second_row, data.rindex("é".encode()) + 1):
        report.write_bytes(data[:kept])
        pd.testing.assert_frame_equal(preprocess(photos, tmp_path / "faces", side=32, chunk=2), whole)
        assert report.read_bytes() == data


# --------------------------------------------------------------------------------------------------- split
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


@pytest.fixture
def celeba(tmp_path):
    return write_celeba(tmp_path / "celeba", people=40)


SIZES = {"train": (20, 4), "validation": (6, 4), "test": (4, 2)}


def test_nobody_is_in_two_parts_and_each_has_the_pictures_that_were_asked_for(celeba):
    table, missing = split(celeba, SIZES)
    assert missing.empty and table.picture.is_unique
    assert (table.groupby("identity").part.nunique() == 1).all()
    for part, (people, pictures) in SIZES.items():
        counts = table[table.part == part].identity.value_counts()
        assert len(counts) == people and (counts == pictures).all()
    listed = dict(line.split() for line in (celeba / "identity_CelebA.txt").read_text().splitlines())
    assert all(listed[row.picture.removeprefix("img_align_celeba/")] == row.identity for row in table.itertuples())


def women(table):
    return table.groupby("part", sort=False).apply(
        lambda rows: (rows.groupby("identity").gender.first() == "woman").mean()
    )


def test_half_of_each_part_are_women(celeba):
    assert women(split(celeba, SIZES)[0]).tolist() == [0.5, 0.5, 0.5]


def test_where_women_are_few_every_part_has_its_share_of_them(tmp_path):
    celeba = write_celeba(tmp_path / "celeba", people=40, male=lambda person: person % 5 > 0)  # 8 women
    assert women(split(celeba, {"train": (20, 4), "validation": (10, 4), "test": (10, 2)})[0]).tolist() == [0.2] * 3


def test_half_of_a_persons_pictures_have_glasses_or_all_that_there_are(tmp_path):
    for glasses, expected in (((), 0), ((3,), 1), ((0, 3, 4), 2), ((0, 1, 2, 3, 5), 3)):
        celeba = write_celeba(tmp_path / str(len(glasses)), people=12, glasses=glasses)
        table, _ = split(celeba, {"train": (6, 4), "validation": (3, 4), "test": (3, 4)})
        assert set((table.glasses == "yes").groupby(table.identity).sum()) == {expected}


def test_a_person_is_what_most_of_their_pictures_say(celeba):
    lines = (celeba / "list_attr_celeba.txt").read_text().splitlines()
    lines[2] = lines[2].replace("-1", " 1", 1)  # one picture of person 1, a woman, says otherwise
    (celeba / "list_attr_celeba.txt").write_text("\n".join(lines))
    table, _ = split(celeba, {"train": (30, 6), "validation": (5, 6), "test": (5, 6)})
    assert set(table[table.identity == "1"].gender) == {"woman"}


def test_a_split_depends_on_the_seed_and_on_nothing_else(celeba):
    first = split(celeba, SIZES, seed=5)[0]
    pd.testing.assert_frame_equal(first, split(celeba, SIZES, seed=5)[0])
    assert not first.equals(split(celeba, SIZES, seed=6)[0])


def test_who_has_few_pictures_can_still_be_in_the_test(tmp_path):
    pictures = pd.Series([20] * 9 + [5] * 4)
    assert fit_sizes(pictures, {"train": (6, 20), "validation": (3, 20), "test": (4, 5)})["test"] == (4, 5)
    with pytest.raises(BadArgument, match="too few people for train 7x20.*9 have 20 or more pictures, 13 have 5"):
        fit_sizes(pictures, {"train": (7, 20), "validation": (3, 20), "test": (3, 5)})


def test_too_few_people_make_smaller_parts_unless_sizes_were_asked_for():
    assert fit_sizes(pd.Series([30] * 1000), {}) == PARTS
    assert fit_sizes(pd.Series([20] * 94), {}) == {"train": (80, 20), "validation": (10, 20), "test": (4, 5)}
    assert fit_sizes(pd.Series([8] * 47), {}) == {"train": (40, 8), "validation": (5, 8), "test": (2, 5)}
    assert fit_sizes(pd.Series([8] * 47), {"train": (10, 3)})["train"] == (10, 3)
    with pytest.raises(BadArgument, match="too few people for train 800x20.*of 2, 0 have 20"):
        fit_sizes(pd.Series([8, 8]), {"train": (800, 20)})
    with pytest.raises(BadArgument, match="too few people"):
        fit_sizes(pd.Series([8, 8]), {})


def test_a_folder_of_people_is_split_as_well_with_a_list_of_its_own_or_without(tmp_path, capsys):
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
    with pytest.raises(BadArgument, match="has none of these pictures, such as p0/0.jpg"):
        split(tmp_path / "photos", sizes, tmp_path / "attributes.txt")


def test_a_zip_file_of_people_is_split_and_preprocessed():
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
            "identity_CelebA.txt, line 3: '000003.jpg'; expected a picture and who",
        ),
        ("identity_CelebA.txt", 2, "000002.jpg ../7", "identity_CelebA.txt, line 2: "),
        ("identity_CelebA.txt", 5, "000001.jpg 3", "identity_CelebA.txt, line 5: 000001.jpg is listed a second time"),
        ("list_attr_celeba.txt", 1, "many", "list_attr_celeba.txt, line 1: 'many'; expected the number of pictures"),
        ("list_attr_celeba.txt", 1, "241", "line 1: it says 241 pictures, and 240 follow"),
        ("list_attr_celeba.txt", 2, "Young Male Hat", "list_attr_celeba.txt, line 2: no Eyeglasses among the 3"),
        ("list_attr_celeba.txt", 9, "000007.jpg 1 -1", "list_attr_celeba.txt, line 9: '000007.jpg 1 -1'; expected"),
        ("list_attr_celeba.txt", 9, "000007.jpg 1 0 1", "list_attr_celeba.txt, line 9: "),
    ],
)
def test_a_damaged_list_is_named_with_its_line(celeba, file, line, text, message):
    lines = (celeba / file).read_text().splitlines()
    lines[line - 1] = text
    (celeba / file).write_text("\n".join(lines))
    with pytest.raises(BadArgument, match=re.escape(message)):
        split(celeba, SIZES)


def test_what_is_missing_of_celeba_is_named(celeba, tmp_path):
    with pytest.raises(BadArgument, match=r"nowhere.txt, the list of attributes, is missing"):
        split(celeba, SIZES, tmp_path / "nowhere.txt")
    (celeba / "identity_CelebA.txt").unlink()
    with pytest.raises(BadArgument, match=r"has img_align_celeba but no identity_CelebA.txt"):
        split(celeba, SIZES)


def test_the_split_command_writes_its_table_and_what_is_missing(celeba, tmp_path, capsys):
    (celeba / "img_align_celeba" / "000001.jpg").unlink()
    to = tmp_path / "out" / "split.csv"
    main(["split", str(celeba), "--to", str(to), "--train", "20x4", "--validation", "6x4", "--test", "4×2"])
    out = capsys.readouterr().out
    assert "train: 20 people × 4 pictures, 10 women and 10 men, 20 pictures with glasses" in out
    assert "1 pictures are listed but not there" in out
    assert (tmp_path / "out" / "split_missing.csv").read_text().splitlines()[1:] == ["1,img_align_celeba/000001.jpg"]
    assert list(pd.read_csv(to)) == ["part", "identity", "picture", "gender", "glasses"]
    main(["split", str(celeba), "--to", str(to)])
    assert "train: 34 people × 6 pictures (fewer than published)" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        main(["split", str(celeba), "--to", str(to), "--train", "20"])
    assert "'20': people x pictures of each, as 800x20" in capsys.readouterr().err


def test_preprocess_writes_a_folder_per_part_and_a_row_for_what_is_missing(images, tmp_path):
    celeba = write_celeba(tmp_path / "celeba", people=4, pictures=2)
    for file in (celeba / "img_align_celeba").iterdir():
        shutil.copy(images / "lena.jpg", file)
    main(["split", str(celeba), "--to", str(tmp_path / "s.csv"), "--train=2x2", "--validation=1x2", "--test=1x1"])
    table = read_split(tmp_path / "s.csv")
    (celeba / table.picture[1]).unlink()
    main(["preprocess", str(celeba), "--split", str(tmp_path / "s.csv"), "--to", str(tmp_path / "faces"), "--side=32"])
    report = read_report(tmp_path / "faces" / "report.csv")
    assert report.picture.tolist() == table.picture.tolist() and report.part.tolist() == table.part.tolist()
    assert report.dropped.tolist() == ["", "the picture is missing", *[""] * 5]
    for part, people in {"train": 2, "validation": 1, "test": 1}.items():
        found = find_people(tmp_path / "faces" / part)
        assert set(found.identity) == set(table.identity[table.part == part]) and found.identity.nunique() == people
    everybody = preprocess(celeba, tmp_path / "all", side=32)
    assert len(everybody) == 8 and (everybody.dropped == "the picture is missing").sum() == 1
    assert (tmp_path / "all" / "3" / "000003.jpg").is_file() or "000003" in table.picture[1]


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
        ("part,identity,picture\ntrain,1,a,b,c\ntrain,1,2,3,4,5\n", "is no table that can be read"),
    ],
)
def test_a_damaged_split_is_named_with_its_line(tmp_path, rows, message):
    (tmp_path / "split.csv").write_text(rows)
    with pytest.raises(BadArgument, match=re.escape(message)):
        read_split(tmp_path / "split.csv")


# --------------------------------------------------------------------------------------------------- clean
@pytest.fixture(scope="module")
def cleaned(tmp_path_factory):
    """Five people; a copy saved again, one under another name, a stranger, and a file that is no picture."""
    train = tmp_path_factory.mktemp("faces") / "train"
    people = find_people("datasets/people.zip")
    for name, rows in people[people.identity.isin(["p000", "p001", "p002", "p003", "p004"])].groupby("identity"):
        (train / name).mkdir(parents=True)
        for i, picture in enumerate(rows.picture):
            Image.fromarray(read_picture(picture)).save(train / name / f"{i}.jpg", quality=95)
    Image.open(train / "p000" / "2.jpg").resize((100, 100)).save(train / "p000" / "copy.jpg", quality=60)
    Image.open(train / "p001" / "3.jpg").save(train / "p002" / "other_name.jpg", quality=70)
    stranger = people.picture[people.identity == "p100"].iloc[0]
    Image.fromarray(read_picture(stranger)).save(train / "p003" / "stranger.jpg")
    (train / "p004" / "broken.jpg").write_bytes(b"no picture")
    main(["clean", str(train)])
    return train


@pytest.fixture
def train(cleaned, tmp_path):
    """A copy of it all, for a test to move."""
    shutil.copytree(cleaned.parent, tmp_path / "faces")
    return tmp_path / "faces" / "train"


def clean_report(train):
    return pd.read_csv(train.with_name("train_removed") / "clean.csv", keep_default_na=False).set_index("picture")


def test_clean_finds_what_was_planted_and_moves_nothing(cleaned):
    report = clean_report(cleaned)
    assert report.loc["p000/copy.jpg", ["reason", "copy_of"]].tolist() == ["a copy", "p000/2.jpg"]
    both = {"p001/3.jpg": "p002/other_name.jpg", "p002/other_name.jpg": "p001/3.jpg"}
    for picture, twin in both.items():
        assert report.loc[picture, ["reason", "copy_of"]].tolist() == ["a copy under another name", twin]
    assert re.match("nearer to|far from", report.loc["p003/stranger.jpg", "reason"])
    assert "is not a picture" in report.loc["p004/broken.jpg", "reason"]
    assert len(report) <= 7, report  # of 44: a few may look unlike themselves
    assert len(list(cleaned.glob("*/*"))) == 44 and not (cleaned.with_name("train_removed") / "pictures").exists()


def test_each_suspicious_picture_is_on_a_contact_sheet(cleaned):
    pages = sorted((cleaned.with_name("train_removed") / "sheets").iterdir())
    heights = [load_image(page).shape[0] for page in pages]
    row = prepare_people.TILE + 44
    assert pages[0].name == "page_001.jpg" and sum(heights) == row * len(clean_report(cleaned))
    number = list(clean_report(cleaned).index).index("p000/copy.jpg")
    sheet = load_image(pages[0])[number * row : (number + 1) * row]
    first, second = (sheet[40:160, left : left + 120].astype(int) for left in (10, 8 + 136 + 24 + 2))
    assert np.abs(first - second).mean() < 12 and first.std() > 20  # the copy, and its twin beside it


def test_apply_moves_what_the_report_lists_and_undo_brings_it_back(train, capsys):
    before, listed = files_in(train), set(clean_report(train).index)
    main(["clean", str(train), "--apply"])
    assert f"{len(listed)} pictures moved to " in capsys.readouterr().out
    assert files_in(train) == {name: data for name, data in before.items() if name not in listed}
    assert set(files_in(train.with_name("train_removed") / "pictures")) == listed
    main(["clean", str(train), "--undo"])
    assert files_in(train) == before and files_in(train.with_name("train_removed") / "pictures") == {}


def test_rows_deleted_from_the_report_are_pictures_that_stay(train):
    report = clean_report(train).drop("p001/3.jpg")
    report.to_csv(train.with_name("train_removed") / "clean.csv", encoding="utf-8-sig")  # as Excel saves it
    assert apply(train) == len(report)
    assert (train / "p001" / "3.jpg").is_file() and not (train / "p002" / "other_name.jpg").exists()


def test_killed_while_it_moves_it_goes_on_and_nothing_is_lost(train, monkeypatch):
    before, replace, moved = files_in(train), os.replace, []

    def dies(source, target):
        if len(moved) == 2:
            raise KeyboardInterrupt
        moved.append(source)
        replace(source, target)

    monkeypatch.setattr(os, "replace", dies)
    with pytest.raises(KeyboardInterrupt):
        apply(train)
    monkeypatch.undo()
    assert {**files_in(train), **files_in(train.with_name("train_removed") / "pictures")} == before
    assert apply(train) == len(clean_report(train)) - 2
    assert undo(train) == len(clean_report(train)) and files_in(train) == before


def test_nothing_is_ever_written_over(train):
    apply(train)
    (train / "p000" / "copy.jpg").write_bytes(b"new")
    with pytest.raises(BadArgument, match="copy.jpg is there already and is not written over; nothing was moved"):
        undo(train)
    with pytest.raises(BadArgument, match="copy.jpg is there already"):
        apply(train)
    assert (train / "p000" / "copy.jpg").read_bytes() == b"new"
    assert len(files_in(train.with_name("train_removed") / "pictures")) == len(clean_report(train))


def test_a_report_is_not_written_over_unless_told_to(train):
    with pytest.raises(BadArgument, match="clean.csv is there already: --apply it, or --again"):
        main(["clean", str(train)])


@pytest.mark.parametrize("row", ["p000/nobody.jpg", "../train/p000/0.jpg", "p000/../p001/0.jpg", "/etc/hosts", ""])
def test_a_row_that_is_no_picture_of_the_folder_is_refused(train, row):
    (train.with_name("train_removed") / "clean.csv").write_text(f"picture,reason\np000/0.jpg,x\n{row},x\n")
    with pytest.raises(BadArgument, match=re.escape(f"clean.csv, line 3: there is no picture {row!r}")):
        apply(train)
    assert (train / "p000" / "0.jpg").is_file()


def test_people_to_test_with_are_never_cleaned(tmp_path):
    for part in ("train", "test", "validation"):
        (tmp_path / part / "lena").mkdir(parents=True)
    for part in ("test", "validation"):
        with pytest.raises(BadArgument, match=f"{part}: only people to train with are cleaned"):
            main(["clean", str(tmp_path / part)])
    with pytest.raises(BadArgument, match="holds the parts of a split; clean .*train"):
        main(["clean", str(tmp_path)])
    with pytest.raises(BadArgument, match="is no folder; clean moves pictures"):
        main(["clean", "datasets/people.zip"])
    with pytest.raises(BadArgument, match="clean.csv is missing: clean writes it"):
        main(["clean", str(tmp_path / "train"), "--apply"])
    for option, value in (("--bits", "17"), ("--limit", "0")):
        with pytest.raises(BadArgument, match=f"{option} {value}"):
            main(["clean", str(tmp_path / "train"), option, value])


def test_killed_while_it_looks_it_looks_at_no_picture_twice(cleaned, tmp_path, small_network, monkeypatch):
    pictures = [picture for picture in find_people(cleaned).picture if "broken" not in picture][:9]
    seen, load = [], load_faces

    def dies(part, side):
        if len(seen) == 2:
            raise KeyboardInterrupt
        seen.append(len(part))
        return load(part, side)

    monkeypatch.setattr(prepare_people, "load_faces", dies)
    with pytest.raises(KeyboardInterrupt):
        look(pictures, small_network, tmp_path / "memory", chunk=4)
    monkeypatch.setattr(prepare_people, "load_faces", lambda part, side: seen.append(len(part)) or load(part, side))
    hashes, encodings, problems = look(pictures, small_network, tmp_path / "memory", chunk=4)
    assert seen == [4, 4, 1] and not problems.any()
    for ours, fresh in zip((hashes, encodings), look(pictures, small_network, tmp_path / "fresh"), strict=False):
        np.testing.assert_allclose(ours, fresh, rtol=1e-5)


def test_copies_are_compared_across_blocks_and_only_the_first_of_a_person_stays():
    hashes = np.array([7, 1 << 60, 7, 6, 7], np.uint64)
    near, far = np.eye(2, dtype=np.float32)
    encodings = np.stack([near, near, near, near, far])
    pairs = find_copies(hashes, encodings, bits=1, block=2)
    assert [pair[:2] for pair in pairs] == [(0, 2), (0, 3), (2, 3)]
    names = list("abcde")
    found = judge_copies(pairs, np.array([0, 0, 0, 0, 1]), names)
    assert {names[i]: row[2] for i, row in found.items()} == {"c": "a", "d": "a"}
    chain = judge_copies([(0, 1, 0.1), (1, 2, 0.1)], np.zeros(3, int), names)
    assert {names[i]: row[2] for i, row in chain.items()} == {"b": "a"}  # what c is a copy of goes, so c stays
    found = judge_copies(pairs, np.array([0, 0, 1, 0, 1]), names)
    assert {names[i]: row[0] for i, row in found.items()} == dict.fromkeys("acd", "a copy under another name")


def test_speed_measures_both_on_the_same_photos(photos, capsys):
    for bad in ("lena/2.jpg", "kofi/2.png"):
        (photos / bad).unlink()
    main(["speed", str(photos), "--count", "3", "--rounds", "1"])
    out = capsys.readouterr().out
    assert re.search(r"detection alone: \d+\.\d photos per second; preprocess reaches \d+% of it", out)
    assert "preprocess: " in out and "reaches 100% of it" in out
