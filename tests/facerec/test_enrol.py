"""build_database and judge_portraits on folders of portraits."""

from __future__ import annotations

import io
import re
import shutil
import unicodedata
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from facerec.database import FaceDatabase, OtherNetwork
from facerec.enrol import PoorPortrait, build_database, judge_portraits
from facerec.errors import BadArgument
from facerec.networks import load_facenet
from facerec.photos import load_image

BLANK = np.full((60, 80, 3), 128, np.uint8)


def test_judge_portraits_lists_the_worst_first(images, photos, tmp_path):
    """The worst first; one that can't be used says why; the camera's pictures are no portraits."""
    shutil.copy(images / "lena.jpg", tmp_path)
    shutil.copy(images / "camera_3.jpg", tmp_path)
    Image.fromarray(cv2.GaussianBlur(photos["otto"], (0, 0), 9)).save(tmp_path / "otto.jpg")
    (tmp_path / "eve.jpg").write_bytes(b"no picture")
    table = judge_portraits(tmp_path, progress=False)
    assert list(table.file) == ["eve.jpg", "otto.jpg", "lena.jpg"] and table.score.is_monotonic_increasing
    assert table.score[0] == 0 and "eve.jpg is not a picture" in table.hints[0]
    assert "blurred" in table.hints[1] and table.hints[2] == "" and table.score[2] > 0.9
    with pytest.raises(BadArgument, match="is not a folder"):
        judge_portraits(tmp_path / "nowhere")


def test_build_database_warns_of_poor_portraits(images, photos, network, tmp_path):
    shutil.copy(images / "lena.jpg", tmp_path)
    Image.fromarray(cv2.GaussianBlur(photos["otto"], (0, 0), 9)).save(tmp_path / "otto.jpg")
    with pytest.warns(PoorPortrait) as warned:
        known, unusable = build_database(tmp_path, network, progress=False)
    assert set(known) == {"lena", "otto"} and unusable.empty
    assert [str(w.message).split(" is used, but ")[0] for w in warned] == ["otto.jpg"]
    assert "the face is blurred: hold still" in str(warned[0].message)


def test_build_database_enrols_every_portrait_of_images(images, database):
    """Not what the camera saw, not the group photo, not the lookalike, and no files that are no pictures."""
    names = {path.stem for path in images.glob("*.jpg")}
    others = {name for name in names if name.startswith(("camera_", "video_call", "lookalike"))}
    assert list(database) == sorted(names - others) and len(database) == 12
    assert all(known.shape == (128,) and known.dtype == np.float32 for known in database.values())


def encoded(image: Image.Image, format: str, **options) -> bytes:
    """The bytes of a file that holds the image."""
    file = io.BytesIO()
    image.save(file, format, **options)
    return file.getvalue()


def portraits(folder: Path, *files: tuple[str, Path | bytes]) -> Path:
    """A folder of files, each copied from a path or written from bytes."""
    folder.mkdir()
    for name, content in files:
        (folder / name).write_bytes(content if isinstance(content, bytes) else content.read_bytes())
    return folder


def test_build_database_lists_unusable_files(tmp_path, images, network, database):
    folder = portraits(
        tmp_path / "people",
        ("Zoë.JPG", images / "lena.jpg"),
        ("broken.jpg", (images / "jun.jpg").read_bytes()[:3000]),
        ("wall.png", encoded(Image.fromarray(BLANK), "PNG")),
        ("otto.jpg", images / "otto.jpg"),
        ("otto.png", encoded(Image.open(images / "otto.jpg"), "PNG")),
        ("notes.txt", b"not a picture"),
        (".DS_Store", b"what a Mac leaves everywhere"),
        ("camera_7.jpg", images / "camera_7.jpg"),
    )
    (folder / "album.jpg").mkdir()
    known, unusable = build_database(folder, network, progress=False)
    assert list(known) == ["Zoë", "otto"]
    np.testing.assert_allclose(known["Zoë"], database["lena"], atol=1e-4)
    assert list(unusable.columns) == ["file", "reason"]
    reasons = dict(unusable.values)
    assert list(unusable.file) == ["broken.jpg", "otto.png", "wall.png"]
    assert "is damaged" in reasons["broken.jpg"] and "no face in" in reasons["wall.png"]
    assert reasons["otto.png"] == "there is another portrait of otto"


def test_build_database_uses_the_second_portrait_if_the_first_is_broken(tmp_path, images, network):
    folder = portraits(tmp_path / "people", ("otto.jpeg", b"broken"), ("otto.jpg", images / "otto.jpg"))
    known, unusable = build_database(folder, network, progress=False)
    assert list(known) == ["otto"] and list(unusable.file) == ["otto.jpeg"]


def test_build_database_of_an_empty_folder_is_empty(tmp_path, network):
    known, unusable = build_database(tmp_path, network, progress=False)
    assert known == {} and unusable.empty and list(unusable.columns) == ["file", "reason"]


def test_build_database_rejects_a_missing_folder(tmp_path, network):
    for folder in (tmp_path / "nowhere", __file__):
        with pytest.raises(BadArgument, match=f"{re.escape(str(folder))} is not a folder"):
            build_database(folder, network)


def test_build_database_shows_progress_on_stderr_only(tmp_path, images, network, capsys):
    folder = portraits(tmp_path / "people", ("otto.jpg", images / "otto.jpg"))
    build_database(folder, network, progress=True)
    shown = capsys.readouterr()
    assert shown.out == "" and "1/1" in shown.err
    build_database(folder, network, progress=False)
    assert capsys.readouterr().err == ""


def test_build_database_reports_a_damaged_file_and_composes_letters(images, network, tmp_path):
    shutil.copy(images / "lena.jpg", tmp_path / unicodedata.normalize("NFD", "josé.jpg"))
    shutil.copy(images / "mei.jpg", tmp_path / "Camera_9.JPG")
    (tmp_path / "otto.heic").write_bytes(b"\0\0\0\x18ftypheic")
    (tmp_path / "notes.md").write_text("not a portrait")
    database, unusable = build_database(tmp_path, network, progress=False)
    assert list(database) == [unicodedata.normalize("NFC", "josé")]
    assert unusable.file.tolist() == ["otto.heic"] and "not a picture that can be opened" in unusable.reason[0]


def test_build_database_into_a_lasting_one_keeps_photos_and_resumes(images, network, database, tmp_path):
    folder = portraits(
        tmp_path / "people",
        ("lena.jpg", images / "lena.jpg"),
        ("otto.jpg", images / "otto.jpg"),
        ("broken.jpg", b"no picture"),
        ("a\tb.jpg", images / "jun.jpg"),
    )
    with FaceDatabase(tmp_path / "door.db", network) as lasting:
        lasting["otto"] = database["jun"]
        filled, unusable = build_database(folder, network, progress=False, into=lasting)
        assert filled is lasting and list(lasting) == ["otto", "lena"]
        np.testing.assert_allclose(lasting["lena"], database["lena"], atol=1e-5)
        np.testing.assert_array_equal(lasting["otto"], database["jun"])  # as they were
        assert lasting.photos("lena")[0].shape == load_image(images / "lena.jpg").shape
        assert list(unusable.file) == ["a\tb.jpg", "broken.jpg"] and "control characters" in unusable.reason[0]
        before = lasting.people()
        build_database(folder, network, progress=False, into=lasting)
        assert lasting.people().equals(before)


def test_build_database_rejects_a_database_of_another_network(images, network, tmp_path):
    with pytest.raises(BadArgument, match="into must be a FaceDatabase; it is a dict"):
        build_database(images, network, into={})
    with FaceDatabase(tmp_path / "door.db", load_facenet("keras-facenet-h5")) as other:
        with pytest.raises(OtherNetwork):
            build_database(images, network, into=other)
        assert len(other) == 0
