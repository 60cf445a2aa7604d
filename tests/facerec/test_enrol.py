"""build_database and judge_portraits on folders of portraits."""

from __future__ import annotations

import io
import os
import re
import shutil
import sys
import unicodedata
import zipfile
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from facerec import enrol as enrol_module
from facerec.database import FaceDatabase, OtherNetwork
from facerec.encoding import img_to_encoding
from facerec.enrol import PoorPortrait, build_database, enrol_pictures, judge_portraits
from facerec.errors import BadArgument
from facerec.photos import load_image
from facerec.portraits import about_names, find_portraits

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
    assert list(unusable.file) == ["album.jpg", "broken.jpg", "otto.png", "wall.png"]
    assert reasons["album.jpg"] == "it holds no pictures"
    assert "is damaged" in reasons["broken.jpg"] and "no face in" in reasons["wall.png"]
    assert reasons["otto.png"] == "there is another portrait of otto"


def test_build_database_uses_the_second_portrait_if_the_first_is_broken(tmp_path, images, network):
    folder = portraits(tmp_path / "people", ("otto.jpeg", b"broken"), ("otto.jpg", images / "otto.jpg"))
    known, unusable = build_database(folder, network, progress=False)
    assert list(known) == ["otto"] and list(unusable.file) == ["otto.jpeg"]


@pytest.mark.parametrize(
    "read", [lambda folder, network: build_database(folder, network), lambda folder, _: judge_portraits(folder)]
)
def test_folder_without_pictures_is_rejected(tmp_path, network, read):
    (tmp_path / "lena").mkdir()
    (tmp_path / "notes.txt").write_text("to do: pictures")
    with pytest.raises(BadArgument, match="holds no pictures"):
        read(tmp_path, network)
    with pytest.raises(BadArgument, match="an empty path"):
        read("", network)


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


LAYOUT = {
    "anna.jpg": "anna",
    "otto/1.jpg": "otto",
    "otto/2.HEIC": "otto",
    "friends/mei/1.jpg": "mei",
    "friends/mei/10.jpg": "mei",
    "friends/mei/9.jpg": "mei",
    "lena_2.jpg": "lena_2",
    "lena (3).jpg": "lena (3)",
}
JUNK = ["Thumbs.db", "otto/.DS_Store", "otto/2.MOV", "otto/desktop.ini", "otto/1.aae", "friends/notes.txt"]
ROWS = {"a/b/c/d.jpg": "it is nested too deeply", "party.mp4": "it is a film"}


def laid_out(where: Path, packed: str | None) -> Path:
    """Empty files in a folder, or in a zip file below ``packed``."""
    names = [*LAYOUT, *JUNK, *ROWS, "camera_1.jpg"]
    if packed is None:
        for name in names:
            (where / name).parent.mkdir(parents=True, exist_ok=True)
            (where / name).touch()
        return where
    with zipfile.ZipFile(where / "album.zip", "w") as archive:
        for name in names:
            archive.writestr(packed + name, b"")
        archive.writestr("__MACOSX/._anna.jpg", b"")
    return where / "album.zip"


@pytest.mark.parametrize("packed", [None, "", "album/", "export 2026/"])
def test_find_portraits_accounts_for_every_file(tmp_path, packed):
    found = find_portraits(laid_out(tmp_path, packed))
    assert {portrait.file: portrait.identity for portrait in found.portraits} == LAYOUT
    assert [portrait.file for portrait in found.portraits if portrait.identity == "mei"] == [
        "friends/mei/1.jpg", "friends/mei/9.jpg", "friends/mei/10.jpg"
    ]  # fmt: skip
    assert found.skipped == ["camera_1.jpg"]
    assert {file: reason for file, reason in found.unusable if reason.startswith(ROWS[file])}.keys() == ROWS.keys()


@pytest.mark.parametrize(
    ("files", "rows"),
    [
        (["lena.mov", "lena.mp4"], ["lena.mov", "lena.mp4"]),
        (["otto.mov", "otto.txt", "mei.avi"], ["mei.avi", "otto.mov"]),
        (["lena.jpg", "lena.mov"], []),
        (["lena.jpg", "otto/.DS_Store", "mei/notes.txt"], ["mei", "otto"]),
    ],
)
def test_films_and_folders_without_pictures_have_rows(files, rows, tmp_path):
    for file in files:
        (tmp_path / file).parent.mkdir(exist_ok=True)
        (tmp_path / file).touch()
    assert sorted(file for file, _ in find_portraits(tmp_path).unusable) == rows


def test_source_that_cannot_be_read_is_named(home):
    (home / "people").mkdir()
    (home / "people").chmod(0o000)
    with pytest.raises(BadArgument, match="people can't be read: Permission denied"):
        find_portraits(home / "people")


def test_pictures_are_added_to_people_in_a_lasting_database_only(images, network, tmp_path):
    shutil.copy(images / "lena.jpg", tmp_path)
    with pytest.raises(BadArgument, match="on_conflict='add': a dict keeps one encoding of a person"):
        enrol_pictures(find_portraits(tmp_path), network, {}, False, "add")


def test_folder_that_cannot_be_read_has_a_row(home, images, network):
    (home / "otto").mkdir()
    (home / "otto").chmod(0o000)
    shutil.copy(images / "lena.jpg", home)
    known, unusable = build_database(home, network, progress=False)
    assert list(known) == ["lena"] and unusable.values.tolist() == [["otto", "otto can't be read: Permission denied"]]


def test_find_portraits_can_take_numbers_and_camera_pictures(tmp_path):
    found = find_portraits(laid_out(tmp_path, None), skip=(), numbered=True)
    assert sum(portrait.identity == "lena" for portrait in found.portraits) == 2 and not found.skipped
    assert "camera" in {portrait.identity for portrait in found.portraits}


@pytest.mark.parametrize("packed", [False, True])
def test_build_database_takes_the_mean_of_several_pictures(images, network, database, tmp_path, packed):
    files = {"lena/1.jpg": "lena", "lena/2.jpg": "camera_0", "lena/3.jpg": "camera_4", "otto.jpg": "otto"}
    for name, source in files.items():
        (tmp_path / "people" / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(images / f"{source}.jpg", tmp_path / "people" / name)
    where = shutil.make_archive(str(tmp_path / "people"), "zip", tmp_path, "people") if packed else tmp_path / "people"
    known, unusable = build_database(where, network, progress=False)
    assert unusable.empty and list(known) == ["lena", "otto"]
    np.testing.assert_allclose(known["otto"], database["otto"], atol=1e-5)
    three = [img_to_encoding(images / f"{source}.jpg", network) for source in ("lena", "camera_0", "camera_4")]
    mean = np.mean(three, axis=0)
    np.testing.assert_allclose(known["lena"], mean / np.linalg.norm(mean), atol=1e-4)
    with FaceDatabase(tmp_path / "door.db", network, represent="nearest") as lasting:
        build_database(where, network, progress=False, into=lasting)
        assert len(lasting.encodings("lena")) == 3 and len(lasting.photos("lena")) == 3


def test_build_database_leaves_out_a_picture_of_someone_else_and_warns_of_two_faces(images, photos, network, tmp_path):
    (tmp_path / "lena").mkdir()
    for name, source in {"1.jpg": "lena", "2.jpg": "camera_0", "3.jpg": "kofi"}.items():
        shutil.copy(images / f"{source}.jpg", tmp_path / "lena" / name)
    both = np.full((320, 560, 3), 128, np.uint8)
    both[:, :320], both[60:260, 340:540] = photos["otto"], cv2.resize(photos["anna"], (200, 200))
    Image.fromarray(both).save(tmp_path / "otto.jpg")
    with pytest.warns(PoorPortrait, match="otto.jpg is used, but .*it shows 2 faces: the largest was taken"):
        known, unusable = build_database(tmp_path, network, progress=False)
    assert unusable.values.tolist() == [["lena/3.jpg", "it shows a different person from the other pictures of lena"]]
    assert set(known) == {"lena", "otto"}


@pytest.mark.parametrize(
    ("sources", "left_out", "doubted"),
    [
        ("lena kofi", [], "1.jpg, 2.jpg"),
        ("lena kofi otto", [0, 1, 2], None),  # no two alike
        ("lena camera_0 kofi otto diego", [0, 1, 2, 3, 4], None),  # fewer than half are
        ("lena camera_0 kofi kofi", [], "1.jpg, 2.jpg, 3.jpg, 4.jpg"),  # two and two
        ("lena camera_0 camera_4 kofi kofi", [3, 4], None),  # someone else twice
        ("lena camera_0 camera_4", [], None),
    ],
)
def test_build_database_keeps_the_largest_group_of_pictures_that_agree(
    sources, left_out, doubted, images, network, tmp_path, recwarn
):
    (tmp_path / "lena").mkdir()
    for number, source in enumerate(sources.split(), 1):
        shutil.copy(images / f"{source}.jpg", tmp_path / "lena" / f"{number}.jpg")
    _, unusable = build_database(tmp_path, network, progress=False)
    assert unusable.file.tolist() == [f"lena/{number + 1}.jpg" for number in left_out]
    said = [str(each.message) for each in recwarn if "look like different people" in str(each.message)]
    files = doubted and ", ".join(f"lena/{file}" for file in doubted.split(", ")).replace(", lena/4.jpg", " and 1 more")
    expected = f"{files} are used, but they look like different people: do they all show lena?"
    assert said == ([expected] if doubted else [])


def test_enrol_pictures_adds_only_those_that_agree_with_what_is_known(images, network, tmp_path):
    (tmp_path / "lena").mkdir()
    for number, source in enumerate(["camera_0", "kofi", "kofi"]):
        shutil.copy(images / f"{source}.jpg", tmp_path / "lena" / f"{number}.jpg")
    with FaceDatabase(":memory:", network) as known:
        known.add("lena", img_to_encoding(images / "lena.jpg", network))
        unused = enrol_pictures(find_portraits(tmp_path), network, known, progress=False, on_conflict="add")
        assert len(known.encodings("lena")) == 2
    reason = "it shows a different person from the known pictures of lena"
    assert unused.values.tolist() == [["lena/1.jpg", reason], ["lena/2.jpg", reason]]


def test_enrol_keeps_people_added_meanwhile_by_another_process(images, network, tmp_path, monkeypatch):
    shutil.copy(images / "lena.jpg", tmp_path)
    with FaceDatabase(":memory:", network) as known:
        encode = enrol_module.photos_to_encodings

        def add_meanwhile(*args, **more):
            known["lena"] = np.eye(128)[0]
            return encode(*args, **more)

        monkeypatch.setattr(enrol_module, "photos_to_encodings", add_meanwhile)
        unused = enrol_pictures(find_portraits(tmp_path), network, known, progress=False)
        assert unused.values.tolist() == [["lena.jpg", "'lena' is in the database already"]]
        assert known.encodings("lena").tolist() == [np.eye(128)[0].tolist()]


def test_names_that_are_not_utf_8_are_reported(images, network, tmp_path):
    if sys.platform != "linux":
        pytest.skip("other systems have no such names")
    shutil.copy(images / "otto.jpg", os.fsencode(tmp_path) + b"/J\xf6rg.jpg")
    shutil.copy(images / "lena.jpg", tmp_path)
    known, unusable = build_database(tmp_path, network, progress=False)
    assert list(known) == ["lena"] and unusable.values.tolist() == [["J?rg.jpg", "its name is not UTF-8: rename it"]]


@pytest.mark.parametrize("name", ["people", "people (1)", "other"])
def test_zip_of_a_folder_of_portraits_is_that_folder_whatever_the_download_is_called(name, images, tmp_path):
    with zipfile.ZipFile(tmp_path / f"{name}.zip", "w") as archive:
        for person in ("lena", "marco"):
            archive.write(images / f"{person}.jpg", f"people/{person}.jpg")
    people = {portrait.identity for portrait in find_portraits(tmp_path / f"{name}.zip").portraits}
    assert people == ({"people"} if name == "other" else {"lena", "marco"})


@pytest.mark.parametrize("files", [["0.jpg", "1.jpg"], ["IMG_0001.jpg", "IMG_0002.jpg"], ["otto_1.jpg", "otto_2.jpg"]])
def test_zip_of_one_persons_folder_shows_that_person(files, tmp_path):
    with zipfile.ZipFile(tmp_path / "otto.zip", "w") as archive:
        for file in files:
            archive.writestr(f"otto/{file}", b"")
    assert [portrait.identity for portrait in find_portraits(tmp_path / "otto.zip").portraits] == ["otto", "otto"]


def test_folder_in_a_zip_file_can_be_enrolled_by_itself(images, network, tmp_path):
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as archive:
        for file in ("lena", "marco", "otto"):
            archive.write(images / f"{file}.jpg", f"portraits/{file}.jpg")
    known, unusable = build_database(tmp_path / "all.zip", network, progress=False)
    assert not known and "enrol that folder itself" in unusable.reason[0]
    known, unusable = build_database(tmp_path / "all.zip" / "portraits", network, progress=False)
    assert list(known) == ["lena", "marco", "otto"] and unusable.empty


def test_build_database_says_which_names_it_leaves_out(images, network, tmp_path, capsys):
    shutil.copy(images / "camera_0.jpg", tmp_path)
    build_database(tmp_path, network)
    assert "left out because of their names: camera_0.jpg; skip=() includes them" in capsys.readouterr().err
    assert set(build_database(tmp_path, network, progress=False, skip=())[0]) == {"camera_0"}


def test_build_database_says_that_numbers_make_people_of_their_own(images, network, tmp_path, capsys):
    for name, source in {"lena": "lena", "lena (2)": "camera_0", "lena/camera_4": "camera_4"}.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(images / f"{source}.jpg", tmp_path / f"{name}.jpg")
    assert set(build_database(tmp_path, network)[0]) == {"lena", "lena (2)"}
    assert "people of their own: lena (2); numbered=True treats" in capsys.readouterr().err
    assert set(build_database(tmp_path, network, numbered=True)[0]) == {"lena"}
    assert "people of their own" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("files", "note"),
    [
        (["lena_1.jpg", "lena_2.jpg", "otto.jpg"], "people of their own: lena_1, lena_2; "),
        (["lena_1.jpg", "otto_2.jpg"], None),
        (["1.jpg", "2.jpg", "10.jpg"], "people called by a number: 1, 10, 2; "),
        (["7.jpg", "otto.jpg"], None),
        (["lena/2023/1.jpg", "lena/2024/1.jpg"], "people called by a number: 2023, 2024; "),
        (
            ["lena/1.jpg", "lena/trip/2.jpg", "otto/1.jpg"],
            "people of their own, in other people's folders: lena/trip; ",
        ),
        (["lena/2024/1.jpg", "otto/1.jpg"], "people called by a number: 2024; "),
        (["friends/lena/1.jpg", "friends/otto/2.jpg"], None),
    ],
)
def test_about_names_says_who_may_be_one_person(tmp_path, files, note):
    for file in files:
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).touch()
    notes = about_names(find_portraits(tmp_path))
    assert len(notes) == (note is not None) and all(each.startswith(note) for each in notes)


@pytest.mark.parametrize(
    ("file", "is_left_out"),
    [
        ("IMG_1234.HEIC", True),
        ("IMG-20240501-WA0003.jpg", True),
        ("PXL_20230712_181203123.jpg", True),
        ("20230712_181203(1).jpg", True),
        ("WhatsApp Image 2024-05-01 at 10.11.12.jpeg", True),
        ("P1010234.JPG", True),
        ("lena.jpg", False),
        ("lena_2.jpg", False),
        ("agent 7.jpg", False),
        ("Oma/IMG_1234.HEIC", False),
        ("Imgard.jpg", False),
    ],
)
def test_pictures_with_camera_file_names_are_skipped_and_listed(tmp_path, file, is_left_out):
    (tmp_path / file).parent.mkdir(exist_ok=True)
    (tmp_path / file).touch()
    found = find_portraits(tmp_path)
    assert found.skipped == [file] * is_left_out and len(found.portraits) == 1 - is_left_out
    notes = about_names(found)
    assert [note.startswith(f"left out because a camera named them: {file};") for note in notes] == [True] * is_left_out
    assert len(find_portraits(tmp_path, skip=()).portraits) == 1


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


def test_build_database_rejects_a_database_of_another_network(images, network, small_network, tmp_path):
    with pytest.raises(BadArgument, match="into must be a FaceDatabase; it is a dict"):
        build_database(images, network, into={})
    with FaceDatabase(tmp_path / "door.db", small_network) as other:
        with pytest.raises(OtherNetwork):
            build_database(images, network, into=other)
        assert len(other) == 0


def test_enrol_pictures_replaces_a_person_only_by_a_picture_that_can_be_used(images, network, tmp_path):
    for person in ("lena", "otto"):
        (tmp_path / "people" / person).mkdir(parents=True)
    shutil.copy(images / "camera_0.jpg", tmp_path / "people" / "lena")
    (tmp_path / "people" / "otto" / "1.jpg").write_bytes(b"not a picture")
    found = find_portraits(tmp_path / "people")
    with FaceDatabase(":memory:", network) as known:
        known.update({"lena": np.eye(128)[0], "otto": np.eye(128)[1]})
        enrol_pictures(found, network, known, progress=False)
        assert known["lena"][0] == 1
        with pytest.raises(BadArgument, match="no one is added, as the database knows lena, otto"):
            enrol_pictures(found, network, known, False, "refuse")
        unusable = enrol_pictures(found, network, known, False, "replace")
        assert unusable.file.tolist() == ["otto/1.jpg"] and known["otto"][1] == 1
        assert known["lena"][0] != 1 and len(known.encodings("lena")) == 1
        shutil.copy(images / "camera_4.jpg", tmp_path / "people" / "lena")
        unusable = enrol_pictures(find_portraits(tmp_path / "people"), network, known, False, "add")
        assert len(known.encodings("lena")) == 2
        assert unusable.values.tolist()[0] == ["lena/camera_0.jpg", "the database has it already"]
    with pytest.raises(BadArgument, match="on_conflict='keep': one of 'skip', 'add', 'replace', 'refuse'"):
        enrol_pictures(found, network, {}, False, "keep")
