"""Frames come alike from a video, a folder and a camera, and errors name the source."""

import shutil
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

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


def test_seconds_are_those_of_the_frame(lena_film, images):
    with Frames(lena_film) as frames:
        rate = frames.rate
        assert [frames.seconds for _ in frames] == pytest.approx([i / rate for i in range(len(frames))], abs=1e-3)
    with Frames(lena_film, per_second=5) as frames:
        assert np.diff([frames.seconds for _ in frames]) == pytest.approx(0.2, abs=1 / rate)
    with Frames(images) as frames:
        assert frames.seconds == 0 and next(iter(frames)) is not None and frames.seconds == 0


def test_frames_are_rgb(tmp_path):
    red = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    red[..., 0] = 250
    frame = next(iter(Frames(write_video(tmp_path / "red.mp4", [red] * 5, fps=25))))
    assert frame[240, 320, 0] > 200 > 60 > frame[240, 320, 2]


def test_folder_gives_its_pictures_and_lists_those_that_can_not_be_opened(tmp_path, images):
    (tmp_path / "a.jpg").write_bytes((images / "lena.jpg").read_bytes())
    (tmp_path / "b.jpg").write_bytes(b"not a picture")
    (tmp_path / "c.png").write_bytes((images / "kofi.jpg").read_bytes())
    (tmp_path / "d").write_bytes((images / "otto.jpg").read_bytes())
    (tmp_path / "e.jpg").symlink_to(tmp_path / "nowhere.jpg")
    (tmp_path / "notes.txt").write_text("not shown")
    with Frames(tmp_path) as frames:
        assert [frame.shape for frame in frames] == [(320, 320, 3)] * 3
    assert [name for name, _ in frames.problems] == ["b.jpg", "e.jpg"]
    assert frames.is_folder and not frames.is_live and frames.rate == 1 and len(frames) == 5


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


@pytest.mark.parametrize("number", [63, "63", -1])
def test_missing_camera_is_named(number):
    with pytest.raises(NoCamera, match=f"there is no camera {number}"):
        Frames(number)


class Sender(BaseHTTPRequestHandler):
    """Sends three JPEGs one after the other, as cameras do that call it Motion JPEG."""

    picture = cv2.imencode(".jpg", np.full((HEIGHT, WIDTH, 3), 120, np.uint8))[1].tobytes()

    def do_GET(self):
        self.send_response(200 if "missing" not in self.path else 404)
        self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
        self.end_headers()
        part = b"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n%s\r\n"
        for _ in range(3):
            self.wfile.write(part % (len(self.picture), self.picture))

    def log_message(self, *what):
        """Not into the tests' output."""


@pytest.fixture
def served():
    """The address of a network camera on this machine."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Sender) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/camera"
        server.shutdown()


def test_network_camera_gives_frames_until_it_stops(served):
    seen: list[tuple[int, ...]] = []
    with Frames(served) as frames, pytest.raises(NoCamera, match="no more pictures"):
        assert frames.is_live and len(frames) == 0
        seen.extend(frame.shape for frame in frames)
    assert len(seen) > 1 and set(seen) == {(480, 640, 3)}


def test_address_in_an_error_has_no_password(served):
    address = served.replace("http://", "http://admin:secret@") + "_missing?key=secret"
    with pytest.raises(NoCamera, match=r"no camera answers at http://127\.0\.0\.1:\d+/") as caught:
        Frames(address)
    assert "secret" not in str(caught.value)


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


@pytest.mark.parametrize("packed", [False, True])
def test_frames_of_a_folder_or_zip_file_are_found_at_any_depth(packed, images, tmp_path):
    (tmp_path / "trip" / "day 1").mkdir(parents=True)
    for file in ("a.jpg", "day 1/b.jpg"):
        shutil.copy(images / "lena.jpg", tmp_path / "trip" / file)
    source = shutil.make_archive(str(tmp_path / "trip"), "zip", tmp_path / "trip") if packed else tmp_path / "trip"
    with Frames(source) as frames:
        assert len(frames) == len(list(frames)) == 2 and frames.is_folder and not frames.problems
