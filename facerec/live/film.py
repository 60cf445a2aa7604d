"""A film with boxes and names drawn on it: for a window, or written as a video.

frame ──LiveRecogniser.see──► tracks ──annotate──► the frame to show

``Viewing`` does this for each frame and counts who was seen; ``write_annotated`` writes the result as a video.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
from tqdm.auto import tqdm

from facerec._files import whole
from facerec.errors import BadArgument, UnreadableImage
from facerec.live.drawing import annotate
from facerec.live.frames import Frames
from facerec.live.recognise import LiveRecogniser

#: The kinds of videos that can be written.
VIDEO_ENDINGS = (".mp4", ".mov", ".mkv")

#: The width and height, in pixels, of a video made of pictures.
PICTURE_SIZE = (1280, 720)


@dataclass
class Viewing:
    """What the demo's window shows: a film with names, and who was seen so far.

    Attributes:
        recogniser: What finds and names the faces.
        frames: The film.
        shown: How many frames were shown.
        seen: Label → the number of frames in which it was seen.
        ended: Whether q was pressed.
        title: The window's title.
        keys: What each key does.
        message: Always empty: nothing happens here that needs one.
        last: Always None: nothing is saved here.
    """

    recogniser: LiveRecogniser
    frames: Frames
    shown: int = 0
    seen: Counter = field(default_factory=Counter)
    ended: bool = False
    title: str = "who is it?"
    keys: Mapping[str, str] = field(default_factory=lambda: {"q": "quit"})
    message: str = ""
    last: None = None
    _labels: list[str] = field(default_factory=list, init=False, repr=False)
    _times: deque = field(default_factory=lambda: deque(maxlen=30), init=False, repr=False)
    _start: tuple[float, float] | None = field(default=None, init=False, repr=False)

    def show(self, frame: np.ndarray, now: float) -> np.ndarray:
        """The picture to show for the next frame: boxes and names, and mirrored if it comes from a camera.

        Args:
            frame: (H, W, 3) uint8 RGB.
            now: The time in seconds, of any clock that does not go back.
        """
        self._start = self._start or (now, time.process_time())
        self._times.append(now)
        if self.frames.is_folder:
            self.recogniser.forget()
        tracks = self.recogniser.see(frame)
        self._labels = [track.label for track in tracks]
        self.seen.update(set(self._labels))
        self.shown += 1
        taken = self._times[-1] - self._times[0]
        return annotate(frame, tracks, (len(self._times) - 1) / taken if taken else None, self.frames.is_live)

    def press(self, key: str) -> None:
        """End it if the key is q."""
        self.ended = self.ended or key == "q"

    def pause(self) -> int:
        """Milliseconds until the next frame is due: a video runs at its own rate, a picture stays for a second."""
        if self.frames.is_live:
            return 1
        due = self._start[0] + self.shown / self.frames.rate
        return max(1, round(1000 * (due - time.monotonic())))

    def status(self) -> str:
        """Who is in the frame, one per line."""
        return "\n".join(self._labels) or "no one"

    def summary(self) -> str:
        """How many frames were shown, how fast, and who was seen in how many of them."""
        if not self.shown:
            return "no frames"
        per_second = self.shown / max(time.monotonic() - self._start[0], 1e-3)  # some clocks tick slowly
        work = 1000 * (time.process_time() - self._start[1]) / self.shown
        seen = ", ".join(f"{label} in {count}" for label, count in self.seen.most_common()) or "no one"
        count = f"{self.shown} of {len(self.frames)}" if self.shown < len(self.frames) else f"{self.shown}"
        frames = f"{count} frame{'s' * (self.shown > 1)}"
        return f"{frames}, {per_second:.1f} per second, {work:.0f} ms of processor time each; seen: {seen}"


def write_annotated(frames: Frames, viewing: Viewing, output: str | os.PathLike, progress: bool = True) -> None:
    """Write a film with boxes and names as a video, completely or not at all (without its sound).

    Args:
        frames: A video, or a folder of pictures: one picture per second, scaled to fit :data:`PICTURE_SIZE`.
        viewing: What draws on them.
        output: The new file; its name ends in one of :data:`VIDEO_ENDINGS`.
        progress: True for a progress bar.

    Raises:
        BadArgument: If a video can't be written there.
        UnreadableImage: If there is no frame to write.
    """
    writer, size = None, None
    with whole(output) as unfinished, tqdm(total=len(frames) or None, unit="frame", disable=not progress) as bar:
        try:
            for frame in frames:
                if writer is None:
                    size = PICTURE_SIZE if frames.is_folder else frame.shape[1::-1]
                    writer = _open_writer(unfinished, frames.rate, size, output)
                shown = _fitted(viewing.show(frame, time.monotonic()), size)
                writer.write(cv2.cvtColor(shown, cv2.COLOR_RGB2BGR))
                bar.update()
        finally:
            if writer is not None:
                writer.release()
        _check_written(unfinished, viewing.shown, output)


def _open_writer(path: Path, rate: float, size: tuple[int, int], output: str | os.PathLike) -> cv2.VideoWriter:
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"mp4v"), rate, size)
    if not writer.isOpened():
        raise BadArgument(f"{output}: a video of {size[0]}×{size[1]} can't be written there")
    return writer


def _check_written(path: Path, frames: int, output: str | os.PathLike) -> None:
    """Count the frames of the new video: OpenCV does not report a full disk."""
    if not frames:
        raise UnreadableImage(f"nothing was written to {output}: no frame of the source can be opened")
    video = cv2.VideoCapture(str(path))
    written = int(video.get(cv2.CAP_PROP_FRAME_COUNT)) if video.isOpened() else 0
    video.release()
    if written != frames:
        raise BadArgument(f"{output}: only {written} of {frames} frames could be written; is the disk full?")


def _fitted(frame: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """A frame scaled to fit a size (width, height), centred on black; unchanged if it has that size."""
    height, width = frame.shape[:2]
    if (width, height) == size:
        return frame
    scale = min(size[0] / width, size[1] / height)
    width, height = max(1, round(scale * width)), max(1, round(scale * height))
    fitted = np.zeros((size[1], size[0], 3), np.uint8)
    y, x = (size[1] - height) // 2, (size[0] - width) // 2
    interpolation = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    fitted[y : y + height, x : x + width] = cv2.resize(frame, (width, height), interpolation=interpolation)
    return fitted


def check_output(output: Path, source: str) -> None:
    """Check that a video can be written, before the work begins.

    Args:
        output: The file to write.
        source: What it is made of: a camera's number, or a path.

    Raises:
        BadArgument: If it can't.
    """
    if output.suffix.lower() not in VIDEO_ENDINGS:
        raise BadArgument(f"can't write a video to {output}: its name must end in one of {', '.join(VIDEO_ENDINGS)}")
    if output.is_dir():
        raise BadArgument(f"can't write a video to {output}: it is a folder; name a file in it")
    if output.exists() and not (Path(source).exists() and output.samefile(source)):
        raise BadArgument(f"can't write a video to {output}: it exists, and nothing is overwritten; name a new file")
    if source.isdecimal():
        raise BadArgument(
            f"can't write a video of camera {source}, which never ends: give a video or a folder of pictures"
        )
    if output.exists() and Path(source).exists() and output.samefile(source):
        raise BadArgument(f"can't write a video to {output}: it is the source itself")
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=output.parent).close()
    except OSError as error:
        raise BadArgument(f"can't write a video to {output}: {error.strerror}") from error
