"""The camera of the person who looks at a notebook, live in a cell."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import anywidget
import numpy as np

from facerec.detection import detect_faces
from facerec.errors import FaceError
from facerec.photos import load_image

HERE = Path(__file__).resolve().parent


def describe_photo(photo: np.ndarray) -> str:
    """What a person at the camera wants to know of a photo (H, W, 3): its size, and whether a face was found."""
    faces = len(detect_faces(photo))
    found = {0: "no face found: come closer, or use more light", 1: "one face"}.get(faces, f"{faces} faces")
    return f"{photo.shape[1]}×{photo.shape[0]} pixels, {found}"


class CameraWidget(anywidget.AnyWidget):
    """The camera of whoever looks at the notebook, live in a cell; it works wherever Python runs.

    A button or the space bar takes a picture; where there is no camera, or it is not allowed, the page says so and a
    file can be chosen instead. Pictures stay in Python's memory: nothing is written to the notebook or the disk.

    Args:
        on_photo: Called with each photo; what it returns is shown under the camera, and what is wrong with the
            photo (a ``FaceError``) too. By default ``describe_photo``.

    Attributes:
        photo: The last photo, (H, W, 3) uint8 RGB, not mirrored; None before the first one.
        photos: All of them.
        problem: Why the camera does not start, in words; empty if it does, or was not started yet.

    Example:
        In one cell ``me = CameraWidget(); me``, and after a press of the space bar, in the next, ``me.photo.shape``.
    """

    _esm = HERE / "widget.js"
    _css = HERE / "widget.css"

    def __init__(self, on_photo: Callable[[np.ndarray], str | None] = describe_photo):
        super().__init__()
        self.on_photo = on_photo
        self.photos: list[np.ndarray] = []
        self.problem = ""
        self.on_msg(CameraWidget._hear)

    @property
    def photo(self) -> np.ndarray | None:
        """The last photo, or None."""
        return self.photos[-1] if self.photos else None

    def _hear(self, message: dict, buffers: list) -> None:
        """What the browser sends: whether the camera started, or a picture."""
        if message["kind"] == "camera":
            self.problem = message["problem"]
            return
        text = "Python could not use it"
        try:
            photo = load_image(bytes(buffers[0]))
            self.photos.append(photo)
            text = self.on_photo(photo) or "Python has it"
        except FaceError as error:
            text = str(error)
        except Exception as error:  # the reader's own function went wrong: say so where they look, and in the log
            text = f"{type(error).__name__}: {error}"
            raise
        finally:
            self.send({"kind": "seen", "number": message["number"], "text": text})
