"""TODO facerec.live.film."""

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
from facerec.live.frames import PICTURE_SIZE, VIDEO_ENDINGS, Frames
from facerec.live.recognise import LiveRecogniser


@dataclass
class Viewing:
    """What the demo does with a film, without the window: draw what is seen, and remember who was.

    Attributes:
        recogniser: Who looks.
        frames: The film.
        shown: How many frames were shown.
        seen: Label → in how many frames it was seen.
        ended: Whether q was pressed.
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
        """Take the next frame, (H, W, 3), at a time in seconds; gives the picture to show, a camera's mirrored."""
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
        """End it at q."""
        self.ended = self.ended or key == "q"

    def pause(self) -> int:
        """How many milliseconds until the next frame is due: a video keeps its own time, a picture stays a second."""
        if self.frames.is_live:
            return 1
        due = self._start[0] + self.shown / self.frames.rate
        return max(1, round(1000 * (due - time.monotonic())))

    def status(self) -> str:
        """Who is to be seen, a line each."""
        return "\n".join(self._labels) or "nobody"

    def summary(self) -> str:
        """How many frames, how quick, and who was seen in how many."""
        if not self.shown:
            return "no frames"
        per_second = self.shown / (time.monotonic() - self._start[0])
        work = 1000 * (time.process_time() - self._start[1]) / self.shown
        seen = ", ".join(f"{label} in {count}" for label, count in self.seen.most_common()) or "nobody"
        there = f"{self.shown} of {len(self.frames)}" if self.shown < len(self.frames) else f"{self.shown}"
        return f"{there} frames, {per_second:.1f} per second, {work:.0f} ms of processor time each; seen: {seen}"


def write_annotated(frames: Frames, viewing: Viewing, output: str | os.PathLike, progress: bool = True) -> None:
    """Write a film with boxes and names as a video, completely or not at all (without its sound).

    Args:
        frames: A video, or a folder of pictures: a picture a second, fitted into :data:`PICTURE_SIZE`.
        viewing: What draws on them.
        output: Where to: a file that ends in one of :data:`VIDEO_ENDINGS`.
        progress: True for a progress bar.

    Raises:
        BadArgument: If a video can't be written there.
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
    """OpenCV does not say when the disk is full: count what is there."""
    if not frames:
        raise UnreadableImage(f"nothing was written to {output}: the source has no frame that can be opened")
    video = cv2.VideoCapture(str(path))
    written = int(video.get(cv2.CAP_PROP_FRAME_COUNT)) if video.isOpened() else 0
    video.release()
    if written != frames:
        raise BadArgument(f"{output}: only {written} of {frames} frames could be written; is the disk full?")


def _fitted(frame: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """A frame as it is if it has the size (width, height), or else as large as fits, in the middle of black."""
    height, width = frame.shape[:2]
    if (width, height) == size:
        return frame
    scale = min(size[0] / width, size[1] / height)
    whole_of_it = (max(1, round(scale * width)), max(1, round(scale * height)))
    small = cv2.resize(frame, whole_of_it, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)
    fitted = np.zeros((size[1], size[0], 3), np.uint8)
    y, x = (size[1] - small.shape[0]) // 2, (size[0] - small.shape[1]) // 2
    fitted[y : y + small.shape[0], x : x + small.shape[1]] = small
    return fitted


def check_output(output: Path, source: str) -> None:
    """Refuse a place where no video can be written before the work begins."""
    if output.suffix.lower() not in VIDEO_ENDINGS:
        raise BadArgument(f"--output {output}: its ending must be one of {', '.join(VIDEO_ENDINGS)}")
    if output.is_dir():
        raise BadArgument(f"--output {output} is a folder; name a file in it")
    if source.isdecimal():
        raise BadArgument(f"--output {output}: a camera never ends; give a video or a folder as --source")
    if output.exists() and Path(source).exists() and output.samefile(source):
        raise BadArgument(f"--output {output} is the source itself")
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=output.parent).close()
    except OSError as error:
        raise BadArgument(f"--output {output} can't be written: {error.strerror}") from error
