"""TODO facerec.live.frames."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from facerec.errors import BadArgument, FaceError, NoCamera, UnreadableImage
from facerec.photos import PICTURE_ENDINGS, load_image

#: What the demo can write.
VIDEO_ENDINGS = (".mp4", ".mov", ".mkv")


#: The width and height of a video of pictures.
PICTURE_SIZE = (1280, 720)


class Frames:
    """The frames of a camera, a video file or a folder of pictures, one after the other.

    Args:
        source: The number of a webcam (0 is the first), the path of a video, or a folder of pictures.
        per_second: At most so many frames of a second of video; the others are passed over. None gives all.

    Attributes:
        is_live: Whether it is a webcam, which never ends.
        seconds: How much of the video has been seen, in its own time; 0 for pictures.
        problems: (name, reason) of every picture of a folder that could not be opened.

    Raises:
        NoCamera: If there is no webcam of that number, or it gives no picture.
        UnreadableImage: If the video can't be read.
        BadArgument: If there is no such file, or the folder holds no pictures.

    Example:
        >>> with Frames("images") as frames:
        ...     next(iter(frames)).shape
        (320, 320, 3)
    """

    def __init__(self, source: int | str | os.PathLike, per_second: float | None = None):
        if per_second is not None and not per_second > 0:
            raise BadArgument(f"per_second={per_second}: frames per second, more than 0")
        self.is_live = isinstance(source, int) or str(source).isdecimal()
        self.per_second, self.seconds, self.problems = per_second, 0.0, []
        self._capture, self._pictures = None, []
        path = Path(source) if not self.is_live else None
        if self.is_live:
            self._capture = cv2.VideoCapture(int(source))
            if not self._capture.isOpened():
                raise NoCamera(f"there is no camera {source}, or another program is using it, or it is not allowed")
        elif path.is_dir():
            self._pictures = sorted(p for p in path.iterdir() if p.suffix.lower() in PICTURE_ENDINGS)
            if not self._pictures:
                raise BadArgument(f"{path} holds no pictures")
        elif path.is_file():
            self._capture = cv2.VideoCapture(str(path))
            if not self._capture.isOpened() or not self._capture.grab():
                raise UnreadableImage(f"{path} is no video that can be read")
            self._capture = cv2.VideoCapture(str(path))  # from its first frame
        else:
            raise BadArgument(f"{path} does not exist: give a video, a folder of pictures, or a camera's number")

    def __len__(self) -> int:
        """How many frames there are to come; 0 if nobody knows."""
        if self._capture is None:
            return len(self._pictures)
        return 0 if self.is_live else max(0, int(self._capture.get(cv2.CAP_PROP_FRAME_COUNT)))

    @property
    def is_folder(self) -> bool:
        """Whether it is a folder of pictures."""
        return self._capture is None

    @property
    def rate(self) -> float:
        """Frames per second, as the video says, or 30 if it says nothing; pictures are shown one a second."""
        rate = 1.0 if self.is_folder else self._capture.get(cv2.CAP_PROP_FPS)
        return rate if 0 < rate < 1000 else 30.0

    def __enter__(self) -> Frames:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Give the camera back."""
        if self._capture is not None:
            self._capture.release()

    def __iter__(self) -> Iterator[np.ndarray]:
        """Each frame as (H, W, 3) uint8 RGB."""
        return self._from_capture() if self._capture is not None else self._from_folder()

    def _from_folder(self) -> Iterator[np.ndarray]:
        for path in self._pictures:
            try:
                yield load_image(path)
            except FaceError as error:
                self.problems.append((path.name, str(error)))

    def _from_capture(self) -> Iterator[np.ndarray]:
        rate = self.rate
        step = 1.0 if self.per_second is None else max(1.0, rate / self.per_second)
        number, wanted = 0, 0.0
        while self._capture.grab():
            self.seconds = time.monotonic() if self.is_live else number / rate
            if self.is_live or number >= wanted:
                ok, frame = self._capture.retrieve()
                if ok:
                    yield cv2.cvtColor(frame, cv2.COLOR_BGR2RGB)
                wanted += step
            number += 1
        if self.is_live:
            said = "no more pictures: was it unplugged?" if number else "no picture: may this program use it?"
            raise NoCamera(f"the camera gives {said}")
