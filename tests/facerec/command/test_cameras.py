"""``collect`` and ``demo``: faces and names from folders, films and cameras."""

from __future__ import annotations

import shutil
import subprocess
import sys

import pytest

from facerec._files import ROOT
from facerec.database import FaceDatabase
from facerec.live.frames import Frames
from tests.facerec.command.calling import call, error_of


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
