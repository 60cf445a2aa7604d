"""Cleaning finds planted copies and strangers, moves and undoes exactly, and never overwrites."""

import os
import re
import shutil

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from facerec.errors import BadArgument
from facerec.learning import clean as clean_module
from facerec.learning.clean import TILE, apply, clean, find_copies, judge_copies, look, undo
from facerec.learning.datasets import find_people
from facerec.learning.pairs import load_faces
from facerec.photos import load_image
from tests.facerec.learning.resuming import files_in


@pytest.fixture(scope="module")
def cleaned(tmp_path_factory):
    """Five people; a copy saved again, one under another name, a stranger, and a file that is not a picture."""
    train = tmp_path_factory.mktemp("faces") / "train"
    people = find_people("datasets/people.zip")
    for name, rows in people[people.identity.isin(["p000", "p001", "p002", "p003", "p004"])].groupby("identity"):
        (train / name).mkdir(parents=True)
        for i, picture in enumerate(rows.picture):
            Image.fromarray(load_image(picture)).save(train / name / f"{i}.jpg", quality=95)
    Image.open(train / "p000" / "2.jpg").resize((100, 100)).save(train / "p000" / "copy.jpg", quality=60)
    Image.open(train / "p001" / "3.jpg").save(train / "p002" / "other_name.jpg", quality=70)
    stranger = people.picture[people.identity == "p100"].iloc[0]
    Image.fromarray(load_image(stranger)).save(train / "p003" / "stranger.jpg")
    (train / "p004" / "broken.jpg").write_bytes(b"no picture")
    clean(train)
    return train


@pytest.fixture
def train(cleaned, tmp_path):
    """A copy of it all, for a test to move."""
    shutil.copytree(cleaned.parent, tmp_path / "faces")
    return tmp_path / "faces" / "train"


def clean_report(train):
    return pd.read_csv(train.with_name("train_removed") / "clean.csv", keep_default_na=False).set_index("picture")


def test_clean_finds_planted_copies_and_strangers_and_moves_nothing(cleaned):
    report = clean_report(cleaned)
    assert report.loc["p000/copy.jpg", ["reason", "copy_of"]].tolist() == ["a copy", "p000/2.jpg"]
    both = {"p001/3.jpg": "p002/other_name.jpg", "p002/other_name.jpg": "p001/3.jpg"}
    for picture, twin in both.items():
        assert report.loc[picture, ["reason", "copy_of"]].tolist() == ["a copy under another name", twin]
    assert re.match("nearer to|far from", report.loc["p003/stranger.jpg", "reason"])
    assert "is not a picture" in report.loc["p004/broken.jpg", "reason"]
    assert len(report) <= 7, report  # of 44: a few may look unlike themselves
    assert len(list(cleaned.glob("*/*"))) == 44 and not (cleaned.with_name("train_removed") / "pictures").exists()


def test_clean_draws_every_listed_picture_on_a_contact_sheet(cleaned):
    pages = sorted((cleaned.with_name("train_removed") / "sheets").iterdir())
    heights = [load_image(page).shape[0] for page in pages]
    row = TILE + 44
    assert pages[0].name == "page_001.jpg" and sum(heights) == row * len(clean_report(cleaned))
    number = list(clean_report(cleaned).index).index("p000/copy.jpg")
    sheet = load_image(pages[0])[number * row : (number + 1) * row]
    first, second = (sheet[40:160, left : left + 120].astype(int) for left in (10, 8 + 136 + 24 + 2))
    assert np.abs(first - second).mean() < 12 and first.std() > 20  # the copy, and its twin beside it


def test_apply_moves_listed_pictures_and_undo_moves_them_back(train):
    before, listed = files_in(train), set(clean_report(train).index)
    assert apply(train) == len(listed)
    assert files_in(train) == {name: data for name, data in before.items() if name not in listed}
    assert set(files_in(train.with_name("train_removed") / "pictures")) == listed
    assert undo(train) == len(listed)
    assert files_in(train) == before and files_in(train.with_name("train_removed") / "pictures") == {}


def test_apply_leaves_pictures_whose_row_was_deleted(train):
    report = clean_report(train).drop("p001/3.jpg")
    report.to_csv(train.with_name("train_removed") / "clean.csv", encoding="utf-8-sig")  # as Excel saves it
    assert apply(train) == len(report)
    assert (train / "p001" / "3.jpg").is_file() and not (train / "p002" / "other_name.jpg").exists()


def test_killed_apply_resumes_without_loss(train, monkeypatch):
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


def test_apply_and_undo_never_overwrite(train):
    apply(train)
    (train / "p000" / "copy.jpg").write_bytes(b"new")
    with pytest.raises(BadArgument, match="copy.jpg exists and is not overwritten; nothing was moved"):
        undo(train)
    with pytest.raises(BadArgument, match="copy.jpg exists"):
        apply(train)
    assert (train / "p000" / "copy.jpg").read_bytes() == b"new"
    assert len(files_in(train.with_name("train_removed") / "pictures")) == len(clean_report(train))


@pytest.mark.parametrize("row", ["p000/missing.jpg", "../train/p000/0.jpg", "p000/../p001/0.jpg", "/etc/hosts", ""])
def test_apply_rejects_a_row_that_is_not_a_picture_of_the_folder(train, row):
    (train.with_name("train_removed") / "clean.csv").write_text(f"picture,reason\np000/0.jpg,x\n{row},x\n")
    with pytest.raises(BadArgument, match=re.escape(f"clean.csv, line 3: there is no picture {row!r}")):
        apply(train)
    assert (train / "p000" / "0.jpg").is_file()


def test_clean_refuses_people_to_test_with_and_anything_but_a_folder_of_people(tmp_path):
    for part in ("train", "test", "validation"):
        (tmp_path / part / "lena").mkdir(parents=True)
    for part in ("test", "validation"):
        with pytest.raises(BadArgument, match=f"{part}: only people to train with are cleaned"):
            clean(tmp_path / part)
    with pytest.raises(BadArgument, match="holds the parts of a split; clean .*train"):
        clean(tmp_path)
    with pytest.raises(BadArgument, match="is not a folder; clean moves pictures"):
        clean("datasets/people.zip")
    with pytest.raises(BadArgument, match="clean.csv is missing: clean writes it"):
        apply(tmp_path / "train")


def test_killed_look_resumes_without_reading_a_picture_twice(cleaned, tmp_path, small_network, monkeypatch):
    pictures = [picture for picture in find_people(cleaned).picture if "broken" not in picture][:9]
    seen, load = [], load_faces

    def dies(part, side):
        if len(seen) == 2:
            raise KeyboardInterrupt
        seen.append(len(part))
        return load(part, side)

    monkeypatch.setattr(clean_module, "load_faces", dies)
    with pytest.raises(KeyboardInterrupt):
        look(pictures, small_network, tmp_path / "memory", chunk=4)
    monkeypatch.setattr(clean_module, "load_faces", lambda part, side: seen.append(len(part)) or load(part, side))
    hashes, encodings, problems = look(pictures, small_network, tmp_path / "memory", chunk=4)
    assert seen == [4, 4, 1] and not problems.any()
    for ours, fresh in zip((hashes, encodings), look(pictures, small_network, tmp_path / "fresh"), strict=False):
        np.testing.assert_allclose(ours, fresh, rtol=1e-5, atol=1e-6)


def test_judge_copies_keeps_the_first_of_a_person_across_blocks():
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
