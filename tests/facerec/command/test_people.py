"""``enrol``, ``people``, ``forget``, ``export``, ``import`` and ``cluster``: what they do to a database."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
import sqlite3
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from facerec.command.app import app
from facerec.database import FaceDatabase
from tests.facerec.command.calling import call, error_of

COMMANDS = [command.name for command in app.registered_commands]


def test_people_are_enrolled_listed_exported_forgotten_and_imported(portraits, here):
    result = call("enrol", portraits)
    assert result.stdout == "people.db: 2 people (2 added)\n"
    assert result.stderr.startswith("not used: broken.jpg: broken.jpg is not a picture")
    assert call("enrol", portraits, "-q").stdout == "people.db: 2 people (0 added, 2 left as they were)\n"
    assert [line.split()[:3] for line in call("people").stdout.splitlines()[2:]] == [
        ["lena", "1", "1"],
        ["marco", "1", "1"],
    ]
    assert [row["identity"] for row in json.loads(call("people", "LEN", "--json").stdout)] == ["lena"]
    assert call("export", "out.zip").stdout == "out.zip: 2 people\n"
    assert call("forget", "lena", "--yes").stdout == "people.db: 1 person (1 forgotten)\n"
    assert "'marco' is in the database already" in error_of("import", "out.zip")
    again = call("import", "out.zip", "--on-conflict", "skip")
    assert again.stdout == "people.db: 2 people (1 imported)\n"


def test_forget_asks_first_and_checks_every_name(people, here):
    shutil.copy(people, "people.db")
    assert "Forget lena, otto for good?" in call("forget", "lena", "otto", answer="n\n", code=1).output
    assert "no one called 'leena'; did you mean lena?" in error_of("forget", "otto", "leena", "--yes")
    with FaceDatabase("people.db") as known:
        assert {"lena", "otto"} <= set(known)
    call("forget", "lena", "otto", answer="y\n")
    with FaceDatabase("people.db") as known:
        assert not {"lena", "otto"} & set(known)


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("facerec forget le", ["lena"]),
        ("facerec forget --database other.db o", ["otto"]),
        ("facerec forget --database nowhere.db o", []),
    ],
)
def test_forget_completes_names(people, here, line, offered):
    for name in ("people.db", "other.db"):
        shutil.copy(people, name)
    asked = {"_FACEREC_COMPLETE": "complete_bash", "COMP_WORDS": line, "COMP_CWORD": str(len(line.split()) - 1)}
    assert CliRunner().invoke(app, prog_name="facerec", env=asked).stdout.split() == offered


def test_enrol_asks_whether_names_alike_are_one_person(images, here):
    shutil.copy(images / "lena.jpg", "Lena.jpg")
    call("enrol", images / "lena.jpg")
    told = call("enrol", "Lena.jpg")
    assert "Lena and lena are different people here" in told.stderr and told.stdout.startswith("people.db: 2 people")
    assert "different people" not in call("enrol", images / "lena.jpg", "Lena.jpg").stderr  # they are known by now


def test_enrol_takes_single_pictures_and_a_name_and_more_pictures_of_someone(images, here):
    call("enrol", images / "lena.jpg", "-q")
    told = call("enrol", images / "camera_0.jpg", images / "camera_1.jpg", "--name", "lena", "--on-conflict", "add")
    assert told.stdout == "people.db: 1 person (0 added, 1 given more pictures)\n"
    with FaceDatabase("people.db") as known:
        assert list(known) == ["lena"] and len(known.encodings("lena")) == 3
    replaced = call("enrol", images / "lena.jpg", "--on-conflict", "replace")
    assert "1 replaced" in replaced.stdout
    with FaceDatabase("people.db") as known:
        assert len(known.encodings("lena")) == 1
    assert (
        error_of("enrol", images / "lena.jpg", "--on-conflict", "refuse")
        == "no one is added, as the database knows lena"
    )


def test_enrol_that_is_interrupted_says_who_is_there(images, here, monkeypatch):
    call("enrol", images / "lena.jpg")

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("facerec.enrol.enrol_pictures", interrupted)
    assert "stopped; people.db: 1 person; the same command continues" in call("enrol", images, code=130).stderr


def test_enrol_takes_a_picture_that_is_named_twice_once(images, here):
    (here / "people").mkdir()
    shutil.copy(images / "lena.jpg", "people")
    assert call("enrol", "people", "people/lena.jpg").stdout == "people.db: 1 person (1 added)\n"
    with FaceDatabase("people.db") as known:
        assert len(known.encodings("lena")) == 1


def test_enrol_names_arguments_that_are_not_utf_8(images, here):
    if sys.platform != "linux":
        pytest.skip("other systems have no such names")
    for name in (os.fsdecode(b"J\xf6rg.jpg"), os.fsdecode(b"f\xf6") + "/lena.jpg"):
        (here / name).parent.mkdir(exist_ok=True)
        shutil.copy(images / "lena.jpg", here / name)
    (here / os.fsdecode(b"f\xf6") / "bad.jpg").write_bytes(b"no picture")
    result = call("enrol", os.fsdecode(b"J\xf6rg.jpg"), os.fsdecode(b"f\xf6"))
    assert result.stdout == "people.db: 1 person (1 added)\n"
    assert "not used: J?rg.jpg: its name is not UTF-8: rename it" in result.stderr
    assert "not used: f?/bad.jpg: " in result.stderr


def test_cluster_refuses_a_folder_that_is_missing(images, here):
    shutil.copy(images / "lena.jpg", here)
    assert error_of("cluster", "fotos", "lena.jpg").startswith("fotos does not exist: give pictures, folders or zip")


def test_enrol_checks_the_name_before_anything_is_encoded(images, here):
    assert (
        error_of("enrol", images / "lena.jpg", "--name", " ")
        == "--name ' ': a name needs at least one visible character"
    )


def test_enrol_says_which_names_left_a_picture_out(images, here):
    (here / "faces").mkdir()
    for name in ("lena", "camera_0"):
        shutil.copy(images / f"{name}.jpg", "faces")
    result = call("enrol", "faces")
    assert "left out because of their names: camera_0.jpg; --all includes them" in result.stderr
    assert call("enrol", "faces", "--all").stdout == "people.db: 2 people (1 added, 1 left as they were)\n"


def test_enrol_counts_people_of_several_folders_with_the_same_names(images, here):
    for folder in ("first", "second"):
        (here / folder).mkdir()
    shutil.copy(images / "lena.jpg", here / "first")
    (here / "second" / "lena.jpg").write_bytes(b"not a picture")
    shutil.copy(images / "marco.jpg", here / "second")
    result = call("enrol", "first", "second", "first", "--database", "some.db")
    assert result.stdout == "some.db: 2 people (2 added)\n"
    assert "not used: second/lena.jpg: " in result.stderr and "another portrait" not in result.stderr
    (here / "bad.jpg").write_bytes(b"not a picture")
    for how in ("add", "replace"):
        said = error_of("enrol", "bad.jpg", "--name", "lena", "--on-conflict", how, "--database", "some.db")
        assert said == "no one was added to some.db: none of the pictures can be used"


def test_numbered_pictures_that_the_shell_lists_show_one_person(images, here):
    for name, source in {"lena": "lena", "lena_2": "camera_0", "lena (3)": "camera_4"}.items():
        shutil.copy(images / f"{source}.jpg", here / f"{name}.jpg")
    files = [path.name for path in here.glob("lena*.jpg")]
    assert len(files) == 3
    assert call("enrol", *files, "--numbered", "--database", "a.db").stdout == "a.db: 1 person (1 added)\n"


def test_export_replaces_an_export_and_no_other_zip_file(people, portraits, here):
    shutil.make_archive(str(here / "mine"), "zip", portraits)
    before = (here / "mine.zip").read_bytes()
    assert "mine.zip exists and is no earlier export" in error_of("export", "mine.zip", "--database", people)
    assert (here / "mine.zip").read_bytes() == before
    for _ in range(2):
        call("export", "everyone.zip", "--database", people)


def test_enrol_fails_if_no_picture_can_be_used(here):
    (here / "bad.jpg").write_bytes(b"not a picture")
    assert error_of("enrol", "bad.jpg").startswith("no one was added")
    assert [path.name for path in here.iterdir()] == ["bad.jpg"]
    assert error_of("enrol", "nowhere").startswith("nowhere does not exist")


@pytest.mark.parametrize("command", ["people", "forget lena --yes", "export out.zip"])
def test_commands_for_people_make_no_database(command, images, here):
    assert error_of(*command.split()).startswith("--database people.db does not exist; facerec enrol makes it")
    assert "is a folder" in error_of(*command.split(), "--database", images)
    assert list(here.iterdir()) == []


def test_damage_is_told_in_a_note(people, here):
    shutil.copy(people, "people.db")
    with sqlite3.connect("people.db") as db:
        db.execute("UPDATE people SET identity = 'Otto' WHERE identity = 'otto'")
    db.close()
    told = call("people")
    assert "lena" in told.stdout and "Otto" not in told.stdout
    assert "people.db is damaged, and this is left out: the name of person" in told.stderr
    assert "DamageFound" not in told.stderr


def test_cluster_sorts_photos_by_person_and_writes_an_album(images, people, here):
    (here / "photos").mkdir()
    for name in ("camera_0", "lena", "camera_10", "marco"):
        shutil.copy(images / f"{name}.jpg", "photos")
    (here / "photos" / "broken.jpg").write_bytes(b"not a picture")
    result = call("cluster", "photos", "--to", "album", "--database", people)
    rows = [line.split() for line in result.stdout.splitlines()[2:]]
    assert sorted(row[:2] for row in rows) == [["lena", "2"], ["marco", "2"]]
    assert "broken.jpg" in result.stderr and len(list((here / "album").iterdir())) >= 2
    faces = json.loads(call("cluster", "photos", "--json").stdout)
    assert faces[-1]["photo"] == str(Path("photos") / "broken.jpg") and "not a picture" in faces[-1]["problem"]
    assert all(len(face["box"]) == 4 and face["face"] == 1 and face["problem"] is None for face in faces[:-1])
    table = list(csv.DictReader(io.StringIO(call("cluster", "photos", "--csv").stdout)))
    assert [[int(row[side]) for side in ("x", "y", "width", "height")] for row in table[:-1]] == [
        face["box"] for face in faces[:-1]
    ]
    assert table[-1]["problem"] == faces[-1]["problem"] and not table[-1]["cluster"]
    together = {face["photo"]: face["cluster"] for face in faces}
    groups = [together[str(Path("photos") / f"{name}.jpg")] for name in ("camera_0", "lena", "camera_10", "marco")]
    assert groups[0] == groups[1] != groups[2] == groups[3]
    assert error_of("cluster", here / "photos" / "broken.jpg") == "none of the pictures shows a face"
    assert "lies in photos: its pictures would be" in error_of("cluster", "photos", "--to", "photos/album")
    assert "exists and is not an empty folder" in error_of("cluster", "photos", "--to", "album")
