"""The command line: what it prints, what it writes, and errors that name the option."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from facerec import __main__ as command_line
from facerec._files import ROOT
from facerec.database import FaceDatabase
from facerec.errors import BadArgument, EmptyDatabase, NoCamera, NoScreen, UnreadableImage
from facerec.live.frames import Frames
from tests.facerec.live.films import film_of, write_video


@pytest.fixture(autouse=True)
def no_loading(network, monkeypatch):
    """Every command gets the network that is loaded already."""
    monkeypatch.setattr("facerec.networks.load_facenet", lambda path: network)


@pytest.fixture(scope="module")
def video(photos, tmp_path_factory) -> Path:
    """Eleven frames of lena and marco."""
    return write_video(
        tmp_path_factory.mktemp("film") / "two.mp4", film_of(photos, "camera_0", "camera_10", 11), fps=25
    )


@pytest.fixture
def portraits(images, tmp_path) -> Path:
    """A folder of two portraits, and a file that is not a picture."""
    folder = tmp_path / "portraits"
    folder.mkdir()
    for name in ("lena", "marco"):
        shutil.copy(images / f"{name}.jpg", folder)
    (folder / "broken.jpg").write_bytes(b"not a picture")
    return folder


def call(*arguments: object) -> None:
    command_line.main([str(argument) for argument in arguments])


# ------------------------------------------------------------------------------------------------------- help
@pytest.mark.parametrize("command", [[], ["collect"], ["demo"]], ids=["all", "collect", "demo"])
def test_help_names_the_command_as_it_is_typed(command, capsys):
    with pytest.raises(SystemExit) as ended:
        call(*command, "--help")
    assert ended.value.code == 0
    assert " ".join(["usage: python -m facerec", *command]) in capsys.readouterr().out


def test_help_does_not_wait_for_keras():
    code = "import sys, facerec.__main__; sys.exit(bool({'keras', 'tensorflow'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0


# ---------------------------------------------------------------------------------------------------- collect
def test_collect_saves_the_faces_of_a_folder(images, tmp_path, capsys):
    for name in ("lena", "camera_0"):
        shutil.copy(images / f"{name}.jpg", tmp_path)
    (tmp_path / "x.jpg").write_bytes(b"not a picture")
    call("collect", "--person", "lena", "--source", tmp_path, "--to", tmp_path / "people")
    printed = capsys.readouterr().out
    assert "not opened: x.jpg" in printed and "2 saved" in printed and "1 anchor, 1 positive" in printed
    names = sorted(path.name for path in (tmp_path / "people" / "lena").iterdir())
    assert names == ["anchor_0001.jpg", "positive_0001.jpg"]


def test_collect_reports_that_nothing_was_saved(tmp_path, capsys):
    (tmp_path / "x.jpg").write_bytes(b"not a picture")
    call("collect", "--person", "lena", "--source", tmp_path, "--to", tmp_path / "people")
    assert capsys.readouterr().out.splitlines()[1:] == ["no frames", "nothing was saved"]
    assert not (tmp_path / "people").exists()


@pytest.mark.parametrize(
    ("option", "value"),
    [("--person", "../me"), ("--person", ".me"), ("--person", ""), ("--rate", "0"), ("--rate", "nan")],
)
def test_collect_refuses_paths_as_names_and_rates_out_of_range(option, value, tmp_path):
    with pytest.raises(BadArgument, match=f"^{option} '?{value}"):
        call("collect", "--person", "me", "--source", tmp_path, option, value)


def test_collect_without_a_screen_suggests_the_widget(monkeypatch, no_screen, tmp_path):
    monkeypatch.setattr(command_line, "Frames", lambda source: FakeCamera())
    with pytest.raises(NoScreen, match="CameraWidget in a notebook"):
        call("collect", "--person", "me", "--to", tmp_path, "--detector", "haar")


class FakeCamera:
    """Stands in for ``Frames`` of a camera that gives nothing."""

    def __enter__(self):
        return iter(())

    def __exit__(self, *error):
        pass


# ------------------------------------------------------------------------------------------------------- demo
def test_demo_writes_a_video_and_prints_who_was_seen(video, portraits, tmp_path, capsys):
    call("demo", "--source", video, "--output", tmp_path / "out.mp4", "--database", portraits)
    unusable, summary = capsys.readouterr().out.splitlines()
    assert unusable.startswith("not used: broken.jpg: ")
    assert summary.startswith("11 frames, ") and "lena in 11" in summary and "marco in 11" in summary
    assert len(list(Frames(tmp_path / "out.mp4"))) == 11


def test_demo_names_each_picture_of_a_folder(images, database, network, tmp_path, capsys):
    folder = tmp_path / "pictures"
    folder.mkdir()
    for name in ("camera_0", "camera_5", "camera_12", "video_call"):
        shutil.copy(images / f"{name}.jpg", folder)
    (folder / "z.jpg").write_bytes(b"not a picture")
    with FaceDatabase(tmp_path / "people.db", network) as people:
        people.update(database)
    call("demo", "--source", folder, "--output", tmp_path / "out.mp4", "--database", tmp_path / "people.db")
    problem, summary = capsys.readouterr().out.splitlines()
    assert problem.startswith("not opened: z.jpg")
    assert summary.startswith("4 of 5 frames, ")
    seen = dict(each.split(" in ") for each in summary.split("; seen: ")[1].split(", "))
    assert seen == dict.fromkeys(["lena", "kofi", "jun", "ines", "sami", "grace"], "1") | {"unknown": "2"}
    assert [frame.shape for frame in Frames(tmp_path / "out.mp4")] == [(720, 1280, 3)] * 4


def test_demo_refuses_sources_that_give_no_frames(tmp_path):
    (tmp_path / "notes.mp4").write_bytes(b"not a video")
    for error, reason, source in (
        (BadArgument, "nowhere.mp4 does not exist", tmp_path / "nowhere.mp4"),
        (UnreadableImage, "notes.mp4 is not a video", tmp_path / "notes.mp4"),
        (NoCamera, "there is no camera 63", 63),
    ):
        with pytest.raises(error, match=reason):
            call("demo", "--source", source)


def test_demo_refuses_databases_without_people(video, network, small_network, database, tmp_path):
    (tmp_path / "folder").mkdir()
    FaceDatabase(tmp_path / "empty.db", network).close()
    with FaceDatabase(tmp_path / "other.db", small_network) as other:
        other["lena"] = database["lena"]
    for error, reason, name in (
        (BadArgument, "folder holds no pictures", "folder"),
        (EmptyDatabase, "empty.db is empty", "empty.db"),
        (BadArgument, "--network names another network", "other.db"),
        (BadArgument, "nowhere does not exist", "nowhere"),
    ):
        with pytest.raises(error, match=reason):
            call("demo", "--source", video, "--database", tmp_path / name)


def test_demo_that_fails_leaves_the_output_as_it_was(video, portraits, tmp_path):
    output = tmp_path / "out.mp4"
    output.write_bytes(b"before")
    with pytest.raises(BadArgument, match="every=0"):
        call("demo", "--source", video, "--database", portraits, "--output", output, "--every", 0)
    assert output.read_bytes() == b"before" and not list(tmp_path.glob(".*"))


def test_demo_without_a_screen_suggests_output(video, portraits, no_screen):
    with pytest.raises(NoScreen, match="into a video with --output"):
        call("demo", "--source", video, "--database", portraits)


@pytest.mark.browser
def test_demo_shows_a_video_in_a_window(screen, video):
    command = [sys.executable, "-m", "facerec", "demo", "--source", str(video)]
    shown = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=600)
    assert shown.stdout.startswith("11 frames") and "lena in 11" in shown.stdout
