"""The frames of a camera, a video or a folder of pictures, all read alike.

camera 0, rtsp://…, film.mp4, pictures/ ──Frames──► (H, W, 3) uint8 RGB, one after the other
"""

from __future__ import annotations

import os
import time
import zipfile
from collections.abc import Iterator
from urllib.parse import urlsplit

import numpy as np

os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")  # errors say what is wrong with a film; FFmpeg need not
import cv2

from facerec._files import as_path
from facerec.errors import BadArgument, FaceError, NoCamera, UnreadableImage
from facerec.photos import files_in, is_beside_pictures, load_image

#: How long a network camera may take to answer, and to send the next picture, in milliseconds.
WAIT = (cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, 5000, cv2.CAP_PROP_READ_TIMEOUT_MSEC, 5000)


def _open(*source: object) -> cv2.VideoCapture:
    """A camera or a film, without OpenCV's own warnings if there is none."""
    level = cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    try:
        return cv2.VideoCapture(*source)
    finally:
        cv2.utils.logging.setLogLevel(level)


def without_password(address: str) -> str:
    """An address without the name and password in it, for errors and logs.

    Example:
        >>> without_password("rtsp://admin:secret@10.0.0.7:554/stream?key=secret")
        'rtsp://10.0.0.7:554/stream'
    """
    parts = urlsplit(address)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


class Frames:
    """The frames of a camera, a video file or a folder of pictures, one after the other.

    Args:
        source: The number of a webcam (0 is the first), the address of a network camera (``rtsp://…``, ``http://…``),
            the path of a video, or a folder or zip file of pictures, at any depth.
        per_second: The most frames to take from a second of video; the others are skipped. None takes all.

    Attributes:
        is_live: Whether it is a camera, which never ends.
        problems: (name, reason) of every picture of a folder that could not be opened.

    Raises:
        NoCamera: If there is no camera of that number or at that address, or it gives no picture.
        UnreadableImage: If the video can't be read.
        BadArgument: If there is no such file, the folder holds no pictures, or ``per_second`` is not positive.

    Example:
        >>> with Frames("images") as frames:
        ...     next(iter(frames)).shape
        (320, 320, 3)
    """

    def __init__(self, source: int | str | os.PathLike, per_second: float | None = None):
        if per_second is not None and not per_second > 0:
            raise BadArgument(f"per_second={per_second}: frames per second, more than 0")
        address = str(source) if "://" in str(source) else ""
        self.is_live = isinstance(source, int) or str(source).isdecimal() or bool(address)
        self.per_second, self.problems = per_second, []
        self._number, self._opened = 0, time.monotonic()
        self._capture, self._pictures = None, []
        path = as_path(source) if not self.is_live else None
        if address:
            self._capture = _open(address, cv2.CAP_FFMPEG, WAIT)
            if not self._capture.isOpened():
                raise NoCamera(f"no camera answers at {without_password(address)}")
        elif self.is_live:
            self._capture = _open(int(source)) if int(source) >= 0 else None
            if self._capture is None or not self._capture.isOpened():
                raise NoCamera(
                    f"there is no camera {source}, or another program is using it, or this one is not allowed to"
                )
        elif path.is_dir() or zipfile.is_zipfile(path):
            self._pictures = [path / file for file in files_in(path) if not is_beside_pictures(file)]
            if not self._pictures:
                raise BadArgument(f"{path} holds no pictures")
        elif path.is_file():
            self._capture = _open(str(path))
            if not self._capture.isOpened() or not self._capture.grab():
                raise UnreadableImage(f"{path} is not a video that can be read")
            self._capture = _open(str(path))  # from its first frame
        else:
            raise BadArgument(f"{path} does not exist: give a video, a folder of pictures, or a camera's number")

    def __len__(self) -> int:
        """How many frames there are; 0 if that is not known."""
        if self._capture is None:
            return len(self._pictures)
        return 0 if self.is_live else max(0, int(self._capture.get(cv2.CAP_PROP_FRAME_COUNT)))

    @property
    def is_folder(self) -> bool:
        """Whether it is a folder of pictures."""
        return self._capture is None

    @property
    def rate(self) -> float:
        """Frames per second: 1 for pictures, else what the video or camera reports, or 30 if it reports nothing."""
        rate = 1.0 if self.is_folder else self._capture.get(cv2.CAP_PROP_FPS)
        return rate if 0 < rate < 1000 else 30.0

    @property
    def seconds(self) -> float:
        """When the last frame was taken, in seconds: since the film began, or since the camera was opened."""
        if self.is_live:
            return time.monotonic() - self._opened
        noted = 0.0 if self.is_folder else self._capture.get(cv2.CAP_PROP_POS_MSEC) / 1000
        return noted if noted > 0 else max(0, self._number - 1) / self.rate  # a phone's frames come unevenly

    def __enter__(self) -> Frames:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Release the camera or the file."""
        if self._capture is not None:
            self._capture.release()

    def __iter__(self) -> Iterator[np.ndarray]:
        """Each frame as (H, W, 3) uint8 RGB."""
        return self._from_capture() if self._capture is not None else self._from_folder()

    def _from_folder(self) -> Iterator[np.ndarray]:
        self._number = 0
        for path in self._pictures:
            self._number += 1
            try:
                yield load_image(path)
            except FaceError as error:
                self.problems.append((path.name, str(error)))

    def _from_capture(self) -> Iterator[np.ndarray]:
        rate = self.rate
        step = 1.0 if self.per_second is None else max(1.0, rate / self.per_second)
        self._number, wanted = 0, 0.0
        while self._capture.grab():
            self._number += 1
            if self.is_live or self._number > wanted:
                ok, frame = self._capture.retrieve()
                if ok:
                    yield cv2.cvtColor(frame, cv2.COLOR_BGR2RGB)
                wanted += step
        if self.is_live:
            problem = (
                "no more pictures: was it unplugged?"
                if self._number
                else "no picture: is this program allowed to use it?"
            )
            raise NoCamera(f"the camera gives {problem}")
