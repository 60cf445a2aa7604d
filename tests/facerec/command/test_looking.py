"""``who`` and ``verify``: what they print, what they write, their exit codes, and errors that name the option."""

from __future__ import annotations

import csv
import io
import json
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from facerec._files import ROOT
from facerec.command.app import app
from facerec.database import FaceDatabase
from facerec.naming import identify
from tests.facerec.command.calling import call, error_of
from tests.facerec.live.films import film_of, scene, write_video

COMMANDS = [command.name for command in app.registered_commands]


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


def test_who_searches_folders_and_zip_files_and_skips_other_files(images, people, here):
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


def test_who_reports_a_missing_camera_in_one_line(people, capfd):
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
