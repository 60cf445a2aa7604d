"""The camera of the person who reads a notebook, live in a cell.

browser: camera.js, widget.js ──a JPEG──► CameraWidget ──load_image──► photo, and a sentence back to the page
"""

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
    """A photo (H, W, 3) in words: its size, and how many faces were found in it."""
    faces = len(detect_faces(photo))
    found = {0: "no face found: come closer, or use more light", 1: "one face"}.get(faces, f"{faces} faces")
    return f"{photo.shape[1]}×{photo.shape[0]} pixels, {found}"


class CameraWidget(anywidget.AnyWidget):
    """Shows the reader's camera in a notebook's cell, on whichever machine Python runs.

    A button or the space bar takes a picture. Without a camera, or without permission to use it, the page says why,
    and the reader can choose a file instead. Pictures stay in Python's memory: nothing is written to the notebook or
    the disk.

    Args:
        on_photo: Called with each photo; its result, or the ``FaceError`` it raises, is shown below the camera. By
            default ``describe_photo``.

    Attributes:
        photo: The last photo, (H, W, 3) uint8 RGB, not mirrored; None before the first one.
        photos: All photos so far.
        problem: Why the camera did not start, in words; empty if it did, or was not asked to.

    Example:
        ``me = CameraWidget(); me`` in one cell; after a press of the space bar, ``me.photo.shape`` in the next.
    """

    _esm = "\n".join((HERE / name).read_text(encoding="utf-8") for name in ("camera.js", "widget.js"))
    _css = HERE / "widget.css"

    def __init__(self, on_photo: Callable[[np.ndarray], str | None] = describe_photo):
        super().__init__()
        self.on_photo = on_photo
        self.photos: list[np.ndarray] = []
        self.problem = ""
        self.on_msg(CameraWidget._hear)

    @property
    def photo(self) -> np.ndarray | None:
        """The last photo, or None before the first one."""
        return self.photos[-1] if self.photos else None

    def _hear(self, message: dict, buffers: list) -> None:
        """Handle a message of the browser: whether the camera started, or a picture."""
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
        except Exception as error:  # the reader's own function failed: report it in the page and in the log
            text = f"{type(error).__name__}: {error}"
            raise
        finally:
            self.send({"kind": "seen", "number": message["number"], "text": text})
