"""Python's half of the camera in a notebook: pictures become photos, and errors are answered in words."""

import cv2
import numpy as np
import pytest

from facerec.errors import NoFaceFound
from facerec.live.widget import CameraWidget


class Listening(CameraWidget):
    """A widget that keeps its answers."""

    def send(self, content, buffers=None):
        self.__dict__.setdefault("answers", []).append(content)


def answer_to(widget: CameraWidget, data: bytes, number: int = 1) -> dict:
    """The widget's answer to a picture."""
    widget._hear({"kind": "picture", "name": "camera", "number": number}, [memoryview(data)])
    return widget.answers[-1]


def png(picture: np.ndarray) -> bytes:
    return cv2.imencode(".png", picture)[1].tobytes()


def test_picture_from_the_browser_becomes_a_photo(images, photos):
    widget = Listening()
    assert widget.photo is None and widget.photos == []
    answer = answer_to(widget, (images / "camera_0.jpg").read_bytes(), 3)
    height, width = photos["camera_0"].shape[:2]
    assert answer == {"kind": "seen", "number": 3, "text": f"{width}×{height} pixels, one face"}
    np.testing.assert_array_equal(widget.photo, photos["camera_0"])
    assert "no face found" in answer_to(widget, png(np.zeros((60, 80, 3), np.uint8)))["text"]
    assert len(widget.photos) == 2


def test_bytes_that_are_not_a_picture_are_answered_and_not_kept():
    widget = Listening()
    assert "not a picture" in answer_to(widget, b"nonsense")["text"]
    assert widget.photos == []


def test_face_error_of_on_photo_is_the_answer(photos):
    def refuse(photo):
        raise NoFaceFound("no face in the picture")

    assert answer_to(Listening(refuse), png(photos["lena"]))["text"] == "no face in the picture"


def test_other_error_of_on_photo_is_answered_and_raised(photos):
    widget = Listening(on_photo=lambda photo: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        answer_to(widget, png(photos["lena"]))
    assert widget.answers[-1]["text"] == "ZeroDivisionError: division by zero" and len(widget.photos) == 1


def test_problem_tells_why_the_camera_did_not_start():
    widget = Listening()
    widget._hear({"kind": "camera", "problem": "This device has no camera."}, [])
    assert widget.problem == "This device has no camera."
    widget._hear({"kind": "camera", "problem": ""}, [])
    assert widget.problem == ""
