"""A film is shown at its own rate, and written completely or not at all."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time

import cv2
import numpy as np
import pytest

from facerec._files import ROOT
from facerec.errors import BadArgument, UnreadableImage
from facerec.live import film
from facerec.live.film import PICTURE_SIZE, Viewing, check_output, write_annotated
from facerec.live.frames import Frames
from facerec.live.tracking import Track
from tests.facerec.live.films import film_of, write_video


class FakeRecogniser:
    """Stands in for ``LiveRecogniser``: sees lena in every frame, always in the same place."""

    def __init__(self):
        self.forgotten = 0

    def see(self, frame):
        return [Track(1, np.array([20.0, 90.0, 80.0, 100.0]), "lena", 0.4, True)]

    def forget(self):
        self.forgotten += 1


class FakeClock:
    """Stands in for the module ``time``: it stays where a test sets it."""

    now, work = 100.0, 7.0

    def monotonic(self):
        return self.now

    def process_time(self):
        return self.work


@pytest.fixture
def clock(monkeypatch) -> FakeClock:
    clock = FakeClock()
    monkeypatch.setattr(film, "time", clock)
    return clock


def gold(frame: np.ndarray) -> int:
    """How many pixels have the colour of a known person's box."""
    return (np.abs(frame.astype(int) - (255, 214, 0)).sum(axis=2) < 120).sum()


# ------------------------------------------------------------------------------------------------------ shown
def test_pause_keeps_the_rate_of_the_video(two, clock):
    with Frames(two) as frames:
        viewing, film = Viewing(FakeRecogniser(), frames), iter(frames)
        viewing.show(next(film), clock.now)
        clock.now += 0.015
        assert viewing.pause() == 25  # of 40 milliseconds
        clock.now += 0.035
        viewing.show(next(film), clock.now)
        assert viewing.pause() == 30  # the third frame is due 80 milliseconds after the first
        clock.now += 0.1
        assert viewing.pause() == 1  # late already


def test_summary_counts_frames_and_people(two, clock):
    with Frames(two) as frames:
        viewing = Viewing(FakeRecogniser(), frames)
        assert viewing.summary() == "no frames"
        for frame, _ in zip(frames, range(4), strict=False):
            viewing.show(frame, clock.now)
        clock.now, clock.work = clock.now + 2, clock.work + 0.2
        expected = "4 of 40 frames, 2.0 per second, 50 ms of processor time each; seen: lena in 4"
        assert viewing.summary() == expected and viewing.status() == "lena"


def test_frame_without_faces_has_the_status_no_one(two, clock, monkeypatch):
    monkeypatch.setattr(FakeRecogniser, "see", lambda self, frame: [])
    with Frames(two) as frames:
        viewing = Viewing(FakeRecogniser(), frames)
        viewing.show(next(iter(frames)), clock.now)
        assert viewing.status() == "no one" and viewing.summary().endswith("seen: no one")


def test_only_q_ends_the_viewing(two):
    viewing = Viewing(FakeRecogniser(), Frames(two))
    viewing.press("x")
    assert not viewing.ended
    viewing.press("q")
    assert viewing.ended


def test_each_picture_of_a_folder_starts_anew(images, recogniser, tmp_path):
    for name in ("camera_0", "camera_4"):
        shutil.copy(images / f"{name}.jpg", tmp_path)
    with Frames(tmp_path) as frames:
        viewing = Viewing(recogniser, frames)
        for number, frame in enumerate(frames):
            viewing.show(frame, float(number))
    assert viewing.seen == {"lena": 2} and [track.age for track in recogniser._tracker.tracks] == [0]


# ---------------------------------------------------------------------------------------------------- written
def test_written_video_has_every_frame_and_the_boxes(two, tmp_path):
    output = tmp_path / "new" / "out.mp4"
    with Frames(two) as frames:
        write_annotated(frames, Viewing(FakeRecogniser(), frames), output, progress=False)
    assert list(output.parent.iterdir()) == [output] and Frames(output).rate == pytest.approx(25)
    source, written = list(Frames(two)), list(Frames(output))
    assert len(written) == len(source) and written[0].shape == source[0].shape
    for before, after in zip(source, written, strict=True):
        assert gold(after) > 200 > gold(before)


def test_folder_becomes_a_video_of_one_size(photos, images, tmp_path):
    for name in ("lena", "video_call"):
        shutil.copy(images / f"{name}.jpg", tmp_path)
    recogniser = FakeRecogniser()
    with Frames(tmp_path) as frames:
        write_annotated(frames, Viewing(recogniser, frames), tmp_path / "out.mp4", progress=False)
    square, wide = Frames(tmp_path / "out.mp4")
    assert square.shape == wide.shape == (PICTURE_SIZE[1], PICTURE_SIZE[0], 3) and recogniser.forgotten == 2
    assert square[:, :250].max() < 40 and abs(int(square[700, 640].sum()) - int(photos["lena"][311, 160].sum())) < 60
    assert wide[2, 200:1080].mean() > 15 > wide[:, :90].max()  # as high as the video; the margins are black


def test_lost_frames_are_noticed_and_nothing_is_left(two, tmp_path, monkeypatch):
    class Full:
        """A writer that loses all but the first twenty frames without an error."""

        def __init__(self, *args, writer=cv2.VideoWriter):
            self.writer, self.left = writer(*args), 20
            self.isOpened, self.release = self.writer.isOpened, self.writer.release

        def write(self, frame):
            self.left -= 1
            if self.left >= 0:
                self.writer.write(frame)

    monkeypatch.setattr(cv2, "VideoWriter", Full)
    with Frames(two) as frames, pytest.raises(BadArgument, match="only 20 of 40 frames"):
        write_annotated(frames, Viewing(FakeRecogniser(), frames), tmp_path / "out.mp4", progress=False)
    assert list(tmp_path.iterdir()) == []


def test_folder_without_a_readable_picture_writes_nothing(tmp_path):
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures" / "a.jpg").write_bytes(b"not a picture")
    with Frames(tmp_path / "pictures") as frames, pytest.raises(UnreadableImage, match="no frame of the source"):
        write_annotated(frames, Viewing(FakeRecogniser(), frames), tmp_path / "out.mp4", progress=False)
    assert not (tmp_path / "out.mp4").exists()


def test_check_output_refuses_places_where_no_video_can_be_written(two, tmp_path):
    (tmp_path / "file").touch()
    (tmp_path / "folder.mp4").mkdir()
    for output, source, reason in (
        (tmp_path / "out.gif", two, "its name must end in one of .mp4"),
        (tmp_path / "folder.mp4", two, "is a folder"),
        (tmp_path / "out.mp4", "0", "camera 0, which never ends"),
        (two, two, "is the source itself"),
        (tmp_path / "file" / "out.mp4", two, "can't write a video"),
    ):
        with pytest.raises(BadArgument, match=reason):
            check_output(output, str(source))
    check_output(tmp_path / "new" / "out.mp4", str(two))


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGKILL")
def test_killed_process_leaves_no_video(photos, tmp_path):
    long = write_video(tmp_path / "long.mp4", film_of(photos, "camera_0", "camera_10", 400), fps=25)
    output = tmp_path / "out" / "out.mp4"
    command = [sys.executable, "-m", "facerec", "demo", "--source", str(long), "--output", str(output)]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 240
    while time.monotonic() < deadline and not list(output.parent.glob(".unfinished_*")):
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert not output.exists() and list(output.parent.glob(".unfinished_*"))
