"""Frames come alike from a video, a folder and a camera, and errors name the source."""

import cv2
import numpy as np
import pytest

from facerec.errors import BadArgument, NoCamera, UnreadableImage
from facerec.live.frames import Frames
from tests.facerec.live.films import HEIGHT, WIDTH, write_video


def test_video_gives_all_frames(lena_film):
    frames = list(Frames(lena_film))
    assert len(frames) == len(Frames(lena_film)) == 44 and Frames(lena_film).rate == pytest.approx(15)
    assert frames[0].shape == (480, 640, 3) and frames[0].dtype == np.uint8


def test_per_second_skips_frames_of_a_video(lena_film):
    frames, some = list(Frames(lena_film)), list(Frames(lena_film, per_second=5))
    assert len(some) == 15
    np.testing.assert_array_equal(some[1], frames[3])
    with pytest.raises(BadArgument, match="per_second=0"):
        Frames(lena_film, per_second=0)


def test_frames_are_rgb(tmp_path):
    red = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    red[..., 0] = 250
    frame = next(iter(Frames(write_video(tmp_path / "red.mp4", [red] * 5, fps=25))))
    assert frame[240, 320, 0] > 200 > 60 > frame[240, 320, 2]


def test_folder_gives_its_pictures_and_lists_those_that_can_not_be_opened(tmp_path, images):
    (tmp_path / "a.jpg").write_bytes((images / "lena.jpg").read_bytes())
    (tmp_path / "b.jpg").write_bytes(b"not a picture")
    (tmp_path / "c.png").write_bytes((images / "kofi.jpg").read_bytes())
    (tmp_path / "notes.txt").write_text("not shown")
    with Frames(tmp_path) as frames:
        assert [frame.shape for frame in frames] == [(320, 320, 3)] * 2
    assert [name for name, _ in frames.problems] == ["b.jpg"]
    assert frames.is_folder and not frames.is_live and frames.rate == 1 and len(frames) == 3


class FakeCamera:
    """Stands in for ``cv2.VideoCapture``: some frames, then none."""

    def __init__(self, frames):
        self.left = list(frames)

    def isOpened(self):
        return True

    def grab(self):
        return bool(self.left)

    def retrieve(self):
        return True, self.left.pop(0)

    def get(self, what):
        return 0.0


@pytest.mark.parametrize(
    ("count", "reason"), [(2, "no more pictures: was it unplugged"), (0, "is this program allowed")]
)
def test_camera_that_stops_raises_no_camera(monkeypatch, count, reason):
    blue = np.zeros((4, 6, 3), np.uint8)
    blue[..., 0] = 200  # OpenCV's first channel
    monkeypatch.setattr(cv2, "VideoCapture", lambda number: FakeCamera([blue] * count))
    frames = Frames("0")
    assert frames.is_live and frames.rate == 30 and len(frames) == 0
    film = iter(frames)
    for _ in range(count):
        assert next(film)[0, 0].tolist() == [0, 0, 200]
    with pytest.raises(NoCamera, match=reason):
        next(film)


@pytest.mark.parametrize("number", [63, "63"])
def test_missing_camera_is_named(number):
    with pytest.raises(NoCamera, match="there is no camera 63"):
        Frames(number)


def test_errors_name_the_source(tmp_path):
    (tmp_path / "notes.mp4").write_bytes(b"not a video")
    (tmp_path / "empty").mkdir()
    for name, error, reason in (
        ("nowhere.mp4", BadArgument, "does not exist"),
        ("notes.mp4", UnreadableImage, "is not a video that can be read"),
        ("empty", BadArgument, "holds no pictures"),
    ):
        with pytest.raises(error, match=f"{name} {reason}"):
            Frames(tmp_path / name)
