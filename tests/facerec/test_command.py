"""The command ``facerec``: what it prints, what it writes, its exit codes, and errors that name the option."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import runpy
import shlex
import shutil
import sqlite3
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from facerec._files import ROOT
from facerec.command import cameras, console, options, serving
from facerec.command.app import app
from facerec.database import FaceDatabase
from facerec.enrol import CONFLICTS
from facerec.live.collect import DETECTORS
from facerec.live.frames import Frames
from facerec.naming import identify
from facerec.networks import DEFAULT_NETWORK
from tests.facerec.live.films import film_of, scene, write_video

COMMANDS = [command.name for command in app.registered_commands]


@pytest.fixture(autouse=True)
def here(network, database, monkeypatch, tmp_path) -> Path:
    """Every command gets the network that is loaded already, and works in an empty folder."""
    monkeypatch.setattr("facerec._light.open_light", lambda path: network)
    for name in ("FACES_DATABASE", "FACES_NETWORK"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def people(network, database, tmp_path_factory) -> Path:
    """The portraits of images/ as a lasting database; no test changes it."""
    path = tmp_path_factory.mktemp("people") / "people.db"
    with FaceDatabase(path, network) as lasting:
        lasting.update(database)
    return path


@pytest.fixture(scope="module")
def video(photos, tmp_path_factory) -> Path:
    """Eleven frames of lena and marco."""
    frames = film_of(photos, "camera_0", "camera_10", 11)
    return write_video(tmp_path_factory.mktemp("film") / "two.mp4", frames, fps=25)


@pytest.fixture
def portraits(images, tmp_path) -> Path:
    """A folder of two portraits, and a file that is not a picture."""
    folder = tmp_path / "portraits"
    folder.mkdir()
    for name in ("lena", "marco"):
        shutil.copy(images / f"{name}.jpg", folder)
    (folder / "broken.jpg").write_bytes(b"not a picture")
    return folder


def call(*arguments: object, code: int = 0, answer: str = "") -> Result:
    """Run a command, and check its exit code."""
    result = CliRunner().invoke(app, [str(argument) for argument in arguments], input=answer)
    assert result.exit_code == code, f"{result.output} {result.exception!r}"
    return result


def error_of(*arguments: object) -> str:
    """The one line that a command which fails prints."""
    result = call(*arguments, code=2)
    *_, line = result.stderr.splitlines()
    assert line.startswith("error: ") and "Traceback" not in result.output
    return line.removeprefix("error: ")


# ------------------------------------------------------------------------------------------------------- help
@pytest.mark.parametrize("command", [None, *COMMANDS])
def test_help_names_the_command_and_says_what_it_does(command):
    shown = call(*filter(None, [command]), "--help").stdout
    assert f"Usage: root {command or '[OPTIONS]'}" in shown and len(shown.splitlines()[3]) > 20
    assert all(name in shown for name in (["--quiet"] if command else ["--install-completion", *COMMANDS]))


def test_command_shows_the_projects_version_and_waits_for_no_heavy_package():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["scripts"] == {"facerec": "facerec.__main__:main"}
    heavy = {"keras", "tensorflow", "numpy", "cv2", "pandas", "PIL", "rich.table"}
    code = f"import atexit, runpy, sys\natexit.register(lambda: print({heavy} & set(sys.modules)))\n"
    code += "sys.argv = ['facerec', '--version']\nrunpy.run_module('facerec', run_name='__main__')"
    shown = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert shown.stdout == f"facerec {project['version']}\nset()\n", shown.stderr


def test_words_of_options_are_those_of_the_library():
    assert options.DEFAULT_NETWORK == DEFAULT_NETWORK
    assert [str(conflict) for conflict in options.Conflict] == list(CONFLICTS)
    assert [str(detector) for detector in cameras.Detector] == list(DETECTORS)


# -------------------------------------------------------------------------------------------------------- who
def test_who_names_every_face_of_a_picture(images, answers, people):
    rows = call("who", images / "video_call.jpg", "--database", people).stdout.splitlines()[2:]
    assert rows[0].startswith(str(images / "video_call.jpg"))
    cells = [row.removeprefix(str(images / "video_call.jpg")).split() for row in rows]
    assert [row[0] for row in cells] == list("123456")
    assert [row[1] for row in cells] == [name or "unknown" for name in answers["video_call.jpg"]]


def test_who_writes_csv_and_goes_on_after_a_picture_that_cannot_be_opened(images, network, database, people, here):
    (here / "bad.jpg").write_bytes(b"not a picture")
    result = call("who", "bad.jpg", images / "video_call.jpg", "--csv", "--top", 2, "--database", people, code=2)
    bad, *rows = csv.DictReader(io.StringIO(result.stdout))
    assert bad["source"] == "bad.jpg" and bad["problem"].startswith("bad.jpg is not a picture") and not bad["face"]
    table = identify(images / "video_call.jpg", database, network, top=2)
    assert [row["identity"] or None for row in rows] == table.identity.tolist()
    assert [row["nearest"] for row in rows] == table.nearest.tolist()
    assert [float(row["distance"]) for row in rows] == pytest.approx(table.distance.tolist(), abs=1e-4)
    boxes = [tuple(int(row[side]) for side in ("x", "y", "width", "height")) for row in rows]
    assert boxes == table.box.tolist()
    assert result.stderr.splitlines()[-1].startswith("error: bad.jpg is not a picture")


def test_who_goes_on_after_a_picture_that_is_missing(images, people, here):
    result = call("who", "missing.jpg", images / "lena.jpg", "--csv", "--database", people, code=2)
    missing, lena = csv.DictReader(io.StringIO(result.stdout))
    assert missing["problem"] == "missing.jpg can't be read: No such file or directory" and lena["identity"] == "lena"


@pytest.mark.parametrize("command", ["who", "cluster", "enrol"])
def test_empty_argument_is_not_the_working_directory(command, images, here):
    shutil.copy(images / "lena.jpg", here)
    assert error_of(command, "").startswith("an empty path")


def test_closed_or_full_output_ends_with_one_line(images, people):
    command = [sys.executable, "-m", "facerec", "people", "--database", str(people)]
    full = [(">/dev/full", 2, "error: No space left on device\n")] if Path("/dev/full").exists() else []
    for redirected, code, said in [(">&-", 0, f"12 people in {people}\n"), *full]:
        shell = " ".join([*map(shlex.quote, command), redirected])
        ended = subprocess.run(shell, shell=True, cwd=ROOT, capture_output=True, text=True)
        assert (ended.returncode, ended.stderr) == (code, said)


def test_who_writes_json(images, people):
    result = call("who", images / "camera_0.jpg", images / "camera_5.jpg", "--database", people, "--json", "--top", 3)
    known, stranger = json.loads(result.stdout)
    assert known["faces"][0]["identity"] == "lena" and len(known["faces"][0]["nearest"]) == 3
    assert stranger["faces"][0]["identity"] is None and stranger["kind"] == "photo"
    assert result.stderr == ""


def test_who_looks_into_folders_and_zip_files_and_passes_over_what_is_no_picture(images, people, here):
    (here / "trip" / "day").mkdir(parents=True)
    shutil.copy(images / "camera_0.jpg", here / "trip" / "day")
    (here / "trip" / "film.mp4").touch()
    (here / "trip" / "broken.jpg").write_bytes(b"not a picture")
    (here / "trip" / "notes.txt").touch()
    shutil.make_archive("trip", "zip", here / "trip")
    for source in ("trip", "trip.zip"):
        result = call("who", source, "--database", people)
        assert "lena" in result.stdout and "(is not a picture" in result.stdout and "notes" not in result.stdout
        assert f"left out because they are films: {Path(source) / 'film.mp4'};" in result.stderr


def test_who_compares_with_the_database_here_or_else_with_the_examples(images, people, here):
    result = call("who", images / "camera_0.jpg")
    assert "lena" in result.stdout and "no people.db here" in result.stderr
    with FaceDatabase(people) as known, FaceDatabase("people.db", known.network) as copy:
        copy["someone else"] = known["otto"]
    result = call("who", images / "camera_0.jpg")
    assert "unknown" in result.stdout and result.stderr == ""


def test_who_tells_when_each_person_is_seen_in_a_film(photos, people, here):
    both, wall = film_of(photos, "camera_0", "camera_10", 5), scene(photos, {})
    lena = [scene(photos, {"camera_0": (25, 110, 240)})] * 5
    write_video(here / "film.mp4", [*both, *[wall] * 5, *lena], fps=2.5)
    arguments = ("who", "film.mp4", "--database", people, "--every", 2)
    marco, lena = call(*arguments).stdout.splitlines()[2:]
    assert marco.split()[:3] == ["film.mp4", "marco", "00:00–00:01"]
    assert lena.split()[:3] == ["lena", "00:00–00:01,", "00:04–00:05"]
    rows = csv.DictReader(io.StringIO(call(*arguments, "--csv").stdout))
    intervals = [(row["identity"], float(row["start"]), float(row["end"])) for row in rows]
    assert intervals == [("marco", 0.0, 1.6), ("lena", 0.0, 1.6), ("lena", 4.4, 5.6)]  # every second frame is searched
    (film,) = json.loads(call(*arguments, "--json", "--seconds", 1).stdout)
    assert {(each["identity"], each["intervals"][-1]["end"]) for each in film["people"]} == {
        ("lena", 0.8),
        ("marco", 0.8),
    }


def test_who_refuses_what_it_cannot_look_at_before_it_loads_a_network(here, monkeypatch):
    monkeypatch.setattr("facerec._light.open_light", lambda path: pytest.fail("the network was loaded"))
    (here / "empty").mkdir()
    assert error_of("who", "nowhere.jpg").startswith("nowhere.jpg does not exist")
    assert error_of("who", "empty") == "empty holds no pictures"
    assert error_of("who").startswith("nothing to look at")
    assert error_of("who", "0", "--csv", "--json").startswith("--csv and --json")
    assert error_of("who", "0", "--database", "nowhere.db").startswith("--database nowhere.db does not exist")


def test_who_without_a_camera_says_so_and_nothing_else(people, capfd):
    assert "there is no camera 63" in error_of("who", 63, "--database", people)
    assert capfd.readouterr().err == ""  # OpenCV would write there
    refused = call("who", "http://admin:secret@127.0.0.1:9/x", "--database", people, code=2)
    assert "http://127.0.0.1:9/x" in refused.stdout and "secret" not in refused.output


def test_quiet_leaves_only_results(images, people, here):
    (here / "trip").mkdir()
    (here / "trip" / "film.mp4").touch()
    shutil.copy(images / "camera_0.jpg", "trip")
    command = ["who", "trip", "--database", people]
    assert call(*command).stderr.startswith("left out because they are films: trip/film.mp4;")
    for arguments in ([*command, "-q"], ["-q", *command]):
        result = call(*arguments)
        assert result.stderr == "" and "lena" in result.stdout


# ----------------------------------------------------------------------------------------------------- verify
def test_verify_tells_the_same_person_from_others_by_its_exit_code(images):
    same = call("verify", images / "lena.jpg", images / "camera_0.jpg")
    assert same.stdout.startswith("the same person (distance 0.") and "threshold 0.70, confidence " in same.stdout
    other = call("verify", images / "lena.jpg", images / "otto.jpg", "--json", code=1)
    found = json.loads(other.stdout)
    assert found["same_person"] is False and found["distance"] >= found["threshold"] == 0.7
    strict = call("verify", images / "lena.jpg", images / "camera_0.jpg", "--threshold", 0.1, code=1)
    assert strict.stdout.startswith("different people")


def test_verify_notes_further_faces_and_fails_without_any(images, here):
    noted = call("verify", images / "video_call.jpg", images / "video_call.jpg").stderr
    assert "video_call.jpg shows 6 faces: the largest is used" in noted
    from facerec.photos import save_picture

    save_picture(here / "wall.png", np.full((80, 80, 3), 127, np.uint8))
    assert error_of("verify", "wall.png", images / "lena.jpg").startswith("no face in wall.png")
    assert "two pictures are compared" in error_of("verify", images, images / "lena.jpg")


# ----------------------------------------------------------------------------------------------------- people
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


# ---------------------------------------------------------------------------------------------------- cluster
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


# ------------------------------------------------------------------------------------------------------ serve
def test_serve_starts_an_app_by_its_name(here, monkeypatch):
    started = []
    monkeypatch.setattr(os, "environ", dict(os.environ))
    monkeypatch.setattr(runpy, "run_module", lambda name, **_: started.append((name, sys.argv[1:], Path.cwd())))
    monkeypatch.setattr(sys, "argv", [])
    (here / "people.db").touch()
    call("serve", "--port", 8123)
    assert os.environ["FACES_DATABASE"] == str(here / "people.db")
    monkeypatch.chdir(here)
    call("serve", "compare", "--host", "0.0.0.0")
    call("serve", "api")
    (team, team_words, team_folder), (pair, pair_words, _), programs = started
    assert (team, team_folder) == ("streamlit", ROOT) and Path(team_words[1]).is_file()
    assert team_words[2:] == ["--server.address", "127.0.0.1", "--server.port", "8123"]
    assert (pair, pair_words) == ("apps.flask", ["--host", "0.0.0.0", "--port", "8000"])
    assert programs == ("apps.api", ["--host", "127.0.0.1", "--port", "8600"], ROOT)


def test_serve_says_what_is_missing(here, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert error_of("serve").startswith("the web apps need streamlit: python -m pip install") and "[apps]" in error_of(
        "serve"
    )
    monkeypatch.setattr(serving, "ROOT", here)
    assert error_of("serve").startswith("the web apps are not in the installed package")


# ---------------------------------------------------------------------------------------------------- console
def test_errors_of_the_system_are_one_line_too(images, monkeypatch):
    def refuse(path):
        raise PermissionError(13, "Permission denied", "weights.h5")

    monkeypatch.setattr("facerec._light.open_light", refuse)
    assert error_of("verify", images / "lena.jpg", images / "lena.jpg") == "weights.h5: Permission denied"


def test_consoles_without_unicode_get_plain_letters(monkeypatch):
    shown = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", shown)
    console.forgive()
    console.show_table({"who": "left", "seen": "left"}, [("Jos\u00e9", "00:01–00:03"), ("[b]\x1b[2J", "a…")])
    shown.flush()
    text = shown.buffer.getvalue().decode("ascii")
    assert "Jos?" in text and "00:01-00:03" in text and "[b]?[2J" in text and "a..." in text


def test_narrow_screens_get_sentences(monkeypatch):
    class Screen(io.StringIO):
        def isatty(self):
            return True

    monkeypatch.setattr(sys, "stdout", shown := Screen())
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setenv("TERM", "xterm")
    console.show_table({"photo": "left", "face": "right", "who": "left"}, [("a/b.jpg", "1", "lena"), ("", "2", "jun")])
    text = re.sub(r"\x1b\[[\d;]*m", "", shown.getvalue())
    assert text == "a/b.jpg\n  face 1, who lena\n  face 2, who jun\n"


def test_csv_is_utf_8_on_any_system(monkeypatch):
    shown = io.TextIOWrapper(io.BytesIO(), encoding="cp1252")
    monkeypatch.setattr(sys, "stdout", shown)
    console.write_csv([("who", "distance"), ("Łucja", 0.5), (None, None)])
    shown.flush()
    assert shown.buffer.getvalue().decode() == "who,distance\nŁucja,0.5000\n,\n"


# ---------------------------------------------------------------------------------------------------- collect
def test_collect_saves_the_faces_of_a_folder(images, tmp_path):
    for name in ("lena", "camera_0"):
        shutil.copy(images / f"{name}.jpg", tmp_path)
    (tmp_path / "x.jpg").write_bytes(b"not a picture")
    printed = call("collect", "--person", "lena", "--source", tmp_path, "--to", tmp_path / "people").stdout
    assert "not opened: x.jpg" in printed and "2 saved" in printed and "1 anchor, 1 positive" in printed
    names = sorted(path.name for path in (tmp_path / "people" / "lena").iterdir())
    assert names == ["anchor_0001.jpg", "positive_0001.jpg"]


def test_collect_reports_that_nothing_was_saved(tmp_path):
    (tmp_path / "x.jpg").write_bytes(b"not a picture")
    printed = call("collect", "--person", "lena", "--source", tmp_path, "--to", tmp_path / "people", code=1).stdout
    assert printed.splitlines()[1:] == ["no frames", "nothing was saved"]
    assert not (tmp_path / "people").exists()


@pytest.mark.parametrize(
    ("option", "value"),
    [("--person", "../me"), ("--person", ".me"), ("--person", ""), ("--rate", "0"), ("--rate", "nan")],
)
def test_collect_refuses_paths_as_names_and_rates_out_of_range(option, value, tmp_path):
    wrong = error_of("collect", "--person", "me", "--source", tmp_path, option, value)
    assert wrong.replace("'", "").startswith(f"{option} {value}")


def test_collect_without_a_screen_suggests_the_widget(monkeypatch, no_screen, tmp_path):
    monkeypatch.setattr("facerec.live.frames.Frames", lambda source: FakeCamera())
    assert "CameraWidget in a notebook" in error_of("collect", "--person", "me", "--to", tmp_path, "--detector", "haar")


class FakeCamera:
    """Stands in for ``Frames`` of a camera that gives nothing."""

    def __enter__(self):
        return iter(())

    def __exit__(self, *error):
        pass


# ------------------------------------------------------------------------------------------------------- demo
def test_demo_writes_a_video_and_prints_who_was_seen(video, portraits, tmp_path):
    result = call("demo", "--source", video, "--output", tmp_path / "out.mp4", "--database", portraits)
    (unusable,), (summary,) = result.stderr.splitlines(), result.stdout.splitlines()
    assert unusable.startswith("not used: broken.jpg: ")
    assert summary.startswith("11 frames, ") and "lena in 11" in summary and "marco in 11" in summary
    assert len(list(Frames(tmp_path / "out.mp4"))) == 11


def test_demo_names_each_picture_of_a_folder(images, people, tmp_path):
    folder = tmp_path / "pictures"
    folder.mkdir()
    for name in ("camera_0", "camera_5", "camera_12", "video_call"):
        shutil.copy(images / f"{name}.jpg", folder)
    (folder / "z.jpg").write_bytes(b"not a picture")
    printed = call("demo", "--source", folder, "--output", tmp_path / "out.mp4", "--database", people).stdout
    problem, summary = printed.splitlines()
    assert problem.startswith("not opened: z.jpg")
    assert summary.startswith("4 of 5 frames, ")
    seen = dict(each.split(" in ") for each in summary.split("; seen: ")[1].split(", "))
    assert seen == dict.fromkeys(["lena", "kofi", "jun", "ines", "sami", "grace"], "1") | {"unknown": "2"}
    assert [frame.shape for frame in Frames(tmp_path / "out.mp4")] == [(720, 1280, 3)] * 4


def test_demo_refuses_sources_that_give_no_frames(tmp_path):
    (tmp_path / "notes.mp4").write_bytes(b"not a video")
    for reason, source in (
        ("nowhere.mp4 does not exist", tmp_path / "nowhere.mp4"),
        ("notes.mp4 is not a video", tmp_path / "notes.mp4"),
        ("there is no camera 63", 63),
    ):
        assert reason in error_of("demo", "--source", source)


def test_demo_refuses_databases_without_people(video, network, small_network, database, tmp_path):
    (tmp_path / "folder").mkdir()
    FaceDatabase(tmp_path / "empty.db", network).close()
    with FaceDatabase(tmp_path / "other.db", small_network) as other:
        other["lena"] = database["lena"]
    for reason, name in (
        ("folder holds no pictures", "folder"),
        ("empty.db is empty", "empty.db"),
        ("--network names another network", "other.db"),
        ("nowhere does not exist", "nowhere"),
    ):
        assert reason in error_of("demo", "--source", video, "--database", tmp_path / name)


def test_demo_that_fails_leaves_the_output_as_it_was(video, portraits, tmp_path):
    output = tmp_path / "out.mp4"
    command = ["demo", "--source", video, "--database", portraits, "--output", output]
    assert "every=0" in error_of(*command, "--every", 0)
    assert not output.exists() and not list(tmp_path.glob(".*"))
    output.write_bytes(b"before")
    assert "it exists, and nothing is overwritten" in error_of(*command)
    assert output.read_bytes() == b"before"


def test_demo_without_a_screen_suggests_output(video, portraits, no_screen):
    assert "into a video with --output" in error_of("demo", "--source", video, "--database", portraits)


@pytest.mark.browser
def test_demo_shows_a_video_in_a_window(screen, video):
    command = [sys.executable, "-m", "facerec", "demo", "--source", str(video)]
    shown = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=600)
    assert shown.stdout.startswith("11 frames") and "lena in 11" in shown.stdout
