"""Photos become faces: every photo is a face or a row with a reason, and runs resume exactly."""

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from facerec.detection import extract_face
from facerec.errors import BadArgument
from facerec.learning import prepare
from facerec.learning.datasets import find_people
from facerec.learning.prepare import find_and_align, own_people, pack, preprocess, read_report
from facerec.photos import load_image
from tests.facerec.learning.resuming import files_in


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


def test_preprocess_writes_a_face_or_a_reason_for_every_photo(photos, tmp_path):
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
        assert y < points["nose"][1] < y + height and float(row.score) > 0.8
    assert sorted(find_people(tmp_path / "faces").identity.unique()) == ["jun", "kofi", "lena"]


def test_own_people_are_found_under_any_file_name_in_the_order_of_their_numbers(images, tmp_path):
    mine, aligned = tmp_path / "mine", tmp_path / "aligned"
    pictures = {"me/IMG_20.JPG": "lena", "me/IMG_3.jpg": "camera_0", "me/card.jpg": "camera_4", "ada/1.jpg": "mei"}
    for name, file in pictures.items():
        (mine / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(images / f"{file}.jpg", mine / name)
    (mine / "me" / "IMG_9.jpg").write_bytes(b"no picture")
    found = own_people(mine, aligned)
    assert found.identity.tolist() == ["ada", "me", "me", "me"]
    assert [Path(face).stem for face in found.picture] == ["1", "card", "IMG_3", "IMG_20"]
    assert load_image(found.picture[3]).shape == (160, 160, 3)
    (mine / "me" / "card.jpg").unlink()  # deleted pictures are not used any more
    assert own_people(mine, aligned).picture.tolist() == found.picture.drop(1).tolist()
    (aligned / "kofi").mkdir()  # nor are faces that come from elsewhere
    shutil.copy(images / "kofi.jpg", aligned / "kofi" / "1.jpg")
    assert set(own_people(mine, aligned).identity) == {"ada", "me"}


def test_without_own_pictures_there_are_no_own_people(tmp_path):
    assert own_people(tmp_path / "nowhere").empty
    (tmp_path / "mine" / "me").mkdir(parents=True)
    assert list(own_people(tmp_path / "mine").columns) == ["identity", "picture"]


def test_preprocess_aligns_like_extract_face(photos, tmp_path):
    preprocess(photos, tmp_path / "faces", side=96)
    photo = load_image(photos / "lena" / "0.jpg")
    expected = extract_face(photo, 96)
    face = load_image(tmp_path / "faces" / "lena" / "0.jpg")
    assert np.abs(face.astype(int) - expected).mean() < 3  # JPEG


def test_preprocess_resumes_with_the_missing_photos_only(photos, tmp_path, monkeypatch):
    """The third chunk never comes back: started again, only what is missing is looked at."""
    looked_at, find = [], find_and_align

    def dies(pictures, side, which):
        if len(looked_at) == 2:
            raise KeyboardInterrupt
        looked_at.append(len(pictures))
        return find(pictures, side, which)

    monkeypatch.setattr(prepare, "find_and_align", dies)
    with pytest.raises(KeyboardInterrupt):
        preprocess(photos, tmp_path / "faces", side=32, chunk=2)
    report = tmp_path / "faces" / "report.csv"
    assert len(read_report(report)) == 4
    with report.open("a") as stream:
        stream.write("lena,lena/1.jpg,le")  # cut off in the middle of a row
    (tmp_path / "faces" / "lena").mkdir(exist_ok=True)
    (tmp_path / "faces" / "lena" / ".unfinished_1_1.jpg").write_bytes(b"half")  # what a kill may leave
    looked_at.clear()
    monkeypatch.setattr(prepare, "find_and_align", lambda p, s, w: looked_at.append(len(p)) or find(p, s, w))
    finished = preprocess(photos, tmp_path / "faces", side=32, chunk=2)
    assert sorted(looked_at) == [1, 2] and len(finished) == 7 and finished.picture.is_unique
    preprocess(photos, tmp_path / "faces", side=32, chunk=2)
    assert len(looked_at) == 2  # nothing is left to do
    preprocess(photos, tmp_path / "whole", side=32, chunk=2)
    assert files_in(tmp_path / "faces") == files_in(tmp_path / "whole")


def test_pack_writes_the_same_file_each_time(photos, tmp_path):
    preprocess(photos, tmp_path / "faces", side=32)
    assert pack(tmp_path / "faces", tmp_path / "a.zip") == pack(tmp_path / "faces", tmp_path / "b.zip") == 5
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()
    packed = find_people(tmp_path / "a.zip")
    assert packed.identity.tolist() == find_people(tmp_path / "faces").identity.tolist()
    np.testing.assert_array_equal(load_image(packed.picture[0]), load_image(tmp_path / "faces/jun/0.jpg"))


def test_preprocess_keeps_photos_apart_that_differ_in_their_ending(images, tmp_path):
    (tmp_path / "photos" / "lena").mkdir(parents=True)
    shutil.copy(images / "lena.jpg", tmp_path / "photos" / "lena" / "0.jpg")
    Image.open(images / "camera_0.jpg").save(tmp_path / "photos" / "lena" / "0.png")
    report = preprocess(tmp_path / "photos", tmp_path / "faces", side=32)
    assert report.face.tolist() == ["lena/0.jpg", "lena/0.png.jpg"]
    assert sorted(file.name for file in (tmp_path / "faces" / "lena").iterdir()) == ["0.jpg", "0.png.jpg"]


def test_preprocess_rejects_a_folder_of_another_side_or_split(photos, tmp_path):
    report = preprocess(photos, tmp_path / "faces", side=32)
    with pytest.raises(BadArgument, match="--side 48: the faces in .* have 32 pixels"):
        preprocess(photos, tmp_path / "faces", side=48)
    table = pd.DataFrame({"part": "train", "identity": ["lena"], "picture": ["lena/0.jpg"]})
    table.to_csv(tmp_path / "split.csv", index=False)
    with pytest.raises(BadArgument, match="was made without --split"):
        preprocess(photos, tmp_path / "faces", side=32, split=tmp_path / "split.csv")
    pd.testing.assert_frame_equal(read_report(tmp_path / "faces" / "report.csv"), report)


def test_preprocess_resumes_after_a_report_cut_off_anywhere(photos, tmp_path):
    (photos / "lena").rename(photos / "léna")
    whole = preprocess(photos, tmp_path / "faces", side=32, chunk=2)
    report = tmp_path / "faces" / "report.csv"
    data = report.read_bytes()
    second_row = data.index(b"\n", data.index(b"\n") + 1) + 1  # the first chunk has two
    for kept in (5, 0, second_row, data.rindex("é".encode()) + 1):
        report.write_bytes(data[:kept])
        pd.testing.assert_frame_equal(preprocess(photos, tmp_path / "faces", side=32, chunk=2), whole)
        assert report.read_bytes() == data
    report.write_bytes(data.replace(b",score\n", b",confidence\n"))  # as an earlier version wrote it
    pd.testing.assert_frame_equal(preprocess(photos, tmp_path / "faces", side=32, chunk=2), whole)
