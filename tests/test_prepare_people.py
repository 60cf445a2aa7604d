"""From photos of people to faces: what is kept, what is dropped and why, and going on after a kill."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image

from errors import BadArgument
from face_datasets import find_people, read_picture
from face_detection import extract_face
from fr_utils import load_image
from tools import prepare_people
from tools.prepare_people import main, pack, preprocess, read_report


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
    looked_at, find = [], prepare_people.find_and_align

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
    assert looked_at == [2, 1] and len(finished) == 7 and finished.picture.is_unique
    preprocess(photos, tmp_path / "faces", side=32, chunk=2)
    assert looked_at == [2, 1]  # nothing is left to do


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
