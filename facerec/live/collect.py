"""Collects the faces of one person, as pictures to train with.

frame ──Collector.look──► FaceInFrame ──Collector.save──► <person>/anchor_0001.jpg, positive_0001.jpg, …

``collect_from`` saves sharp and different faces of a video or folder by itself; a ``Session`` lets keys decide, in a
window (``facerec.live.window``). A saved picture is 250×250 pixels with the face in its middle, as in LFW.
"""

from __future__ import annotations

import contextlib
import functools
import os
import re
import tempfile
from collections import Counter, deque
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
from tqdm.auto import tqdm

from facerec.detection import detect_faces, pick_face, warp
from facerec.errors import BadArgument, NoFaceFound, UnreadableImage
from facerec.live.drawing import KNOWN, draw_box
from facerec.live.frames import Frames
from facerec.live.tracking import Box
from facerec.photos import PICTURE_ENDINGS, load_image, save_picture

KINDS = ("anchor", "positive")
PICTURE_SIDE = 250  # pixels along each side of a collected picture
MARGIN = 2.2  # how much larger than the face it is


def find_with_mtcnn(frame: np.ndarray) -> Box | None:
    """The largest face of a frame, found by MTCNN: (x, y, width, height), or None."""
    faces = detect_faces(frame, thorough=False, largest=True)
    return pick_face(faces, frame)["box"] if faces else None


def find_with_haar(frame: np.ndarray) -> Box | None:
    """The largest face of a frame, found by OpenCV's Haar cascade: faster, and wrong more often."""
    grey = cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY)
    smallest = max(40, min(grey.shape) // 8)
    boxes = _cascade().detectMultiScale(grey, 1.1, 6, minSize=(smallest, smallest))
    return tuple(int(n) for n in max(boxes, key=lambda box: box[2] * box[3])) if len(boxes) else None


@functools.cache
def _cascade() -> cv2.CascadeClassifier:
    return cv2.CascadeClassifier(f"{cv2.data.haarcascades}haarcascade_frontalface_default.xml")


DETECTORS = {"mtcnn": find_with_mtcnn, "haar": find_with_haar}


@dataclass
class FaceInFrame:
    """A frame and its largest face, if it has one.

    Attributes:
        frame: (H, W, 3) uint8 RGB.
        box: The largest face, or None.
        crop: The picture to save, (250, 250, 3), or None.
        small: The face in 16×16 grey pixels, its lighting normalised, to compare it with others.
        sharpness: The variance of the face's Laplacian; below ``Collector.sharp_enough`` the face counts as blurred.
    """

    frame: np.ndarray
    box: Box | None
    crop: np.ndarray | None = None
    small: np.ndarray | None = None
    sharpness: float = 0.0


@dataclass
class Collector:
    """Saves faces of one person, and never replaces a picture.

    Attributes:
        folder: The person's folder; it is created with the first picture.
        detector: A key of :data:`DETECTORS`.
        sharp_enough: Automatic capture skips faces less sharp than this.
        different_enough: Automatic capture skips faces that differ less than this from a remembered one: the mean
            absolute difference of 16×16 grey pixels, in units of their standard deviation.
        memory: How many of the faces that were saved last are remembered, also those saved on other days.

    Raises:
        BadArgument: If there is no such detector.
    """

    folder: Path
    detector: str = "mtcnn"
    sharp_enough: float = 50.0
    different_enough: float = 0.12
    memory: int = 50
    _saved: deque = field(init=False, repr=False)

    def __post_init__(self):
        if self.detector not in DETECTORS:
            raise BadArgument(f"detector={self.detector!r}: one of {', '.join(DETECTORS)}")
        self._saved = deque(maxlen=self.memory)
        for path in sorted(self.pictures(), key=lambda path: path.stat().st_mtime)[-self.memory :]:
            with contextlib.suppress(UnreadableImage):
                self._saved.append(small_of(inner_part(load_image(path))))

    def look(self, frame: np.ndarray) -> FaceInFrame:
        """Find the largest face of a frame, (H, W, 3) uint8 RGB, and cut it out."""
        box = DETECTORS[self.detector](frame)
        if box is None:
            return FaceInFrame(frame, None)
        face = cv2.cvtColor(crop_around(frame, box, 1.0, 128), cv2.COLOR_RGB2GRAY)
        sharpness = float(cv2.Laplacian(face, cv2.CV_64F).var())
        return FaceInFrame(frame, box, crop_around(frame, box, MARGIN, PICTURE_SIDE), small_of(face), sharpness)

    def objection(self, seen: FaceInFrame) -> str:
        """Why automatic capture does not save this face; an empty string if it does."""
        if seen.box is None:
            return "no face"
        if seen.sharpness < self.sharp_enough:
            return "blurred"
        if any(np.abs(seen.small - other).mean() < self.different_enough for other in self._saved):
            return "like a saved one"
        return ""

    def save(self, seen: FaceInFrame, kind: str) -> Path:
        """Save the face as the next ``anchor_0001.jpg`` or ``positive_0001.jpg``.

        Args:
            seen: Of ``look``.
            kind: One of :data:`KINDS`.

        Returns:
            The path of the new picture.

        Raises:
            BadArgument: If there is no such kind.
            NoFaceFound: If there is no face in the frame.
        """
        if kind not in KINDS:
            raise BadArgument(f"kind={kind!r}: one of {', '.join(KINDS)}")
        if seen.crop is None:
            raise NoFaceFound("no face in this frame, so nothing to save")
        path = write_new(self.folder, kind, seen.crop)
        self._saved.append(seen.small)
        return path

    def pictures(self) -> list[Path]:
        """The pictures in the folder, under whatever names: saved here, or put there by hand."""
        files = self.folder.iterdir() if self.folder.is_dir() else ()
        return sorted(file for file in files if file.suffix.lower() in PICTURE_ENDINGS and file.name[0] != ".")

    def counts(self) -> Counter:
        """How many pictures of each kind the folder holds; all but ``anchor_….jpg`` are positives."""
        return Counter("anchor" if path.name.startswith("anchor") else "positive" for path in self.pictures())

    def next_kind(self) -> str:
        """The kind that automatic capture saves next: the one with fewer pictures."""
        counts = self.counts()
        return min(KINDS, key=lambda kind: (counts[kind], kind))


def small_of(face: np.ndarray) -> np.ndarray:
    """A face, (H, W) grey or (H, W, 3), as 16×16 grey pixels with mean 0 and a standard deviation near 1."""
    grey = face if face.ndim == 2 else cv2.cvtColor(face, cv2.COLOR_RGB2GRAY)
    small = cv2.resize(grey, (16, 16), interpolation=cv2.INTER_AREA).astype(np.float32)
    return (small - small.mean()) / (small.std() + 1.0)


def inner_part(picture: np.ndarray) -> np.ndarray:
    """The face in the middle of a collected picture, without the margin around it."""
    height, width = picture.shape[:2]
    top, left = (round(length * (1 - 1 / MARGIN) / 2) for length in (height, width))
    return picture[top : height - top, left : width - left]


def crop_around(frame: np.ndarray, box: Box, margin: float, side: int) -> np.ndarray:
    """A square around a box, scaled to (side, side, 3); beyond the frame its edge is repeated.

    Args:
        frame: (H, W, 3) uint8.
        box: (x, y, width, height) in pixels.
        margin: The square's side as a multiple of the box's longer side.
        side: Its side in the result, in pixels.
    """
    x, y, width, height = box
    length = margin * max(width, height)
    scale = side / length
    middle = (x + width / 2, y + height / 2)
    matrix = np.array([[scale, 0, side / 2 - scale * middle[0]], [0, scale, side / 2 - scale * middle[1]]])
    return warp(frame, matrix, side)


def write_new(folder: Path, kind: str, picture: np.ndarray) -> Path:
    """Write a picture under the next free number, completely or not at all, without replacing any file."""
    folder.mkdir(parents=True, exist_ok=True)
    numbers = [int(m[1]) for path in folder.glob(f"{kind}_*.jpg") if (m := re.fullmatch(rf"{kind}_(\d+)", path.stem))]
    number = max(numbers, default=0) + 1
    with tempfile.TemporaryDirectory(dir=folder, prefix=".unfinished_") as unfinished:
        written = Path(unfinished) / "picture.jpg"
        save_picture(written, picture)
        while True:
            path = folder / f"{kind}_{number:04d}.jpg"
            try:
                os.link(written, path)  # fails if another process took the number
                return path
            except OSError as error:  # FileExistsError, or a memory card or network folder without links
                if not isinstance(error, FileExistsError) and not path.exists():
                    return written.replace(path)
                number += 1


def collect_from(frames: Frames, collector: Collector, progress: bool = True) -> Counter:
    """Save the sharp and different faces of a video or a folder, anchors and positives in turn.

    Args:
        frames: The video or folder.
        collector: Where faces are saved.
        progress: True for a progress bar.

    Returns:
        How many frames were saved, and how many were not, by reason.
    """
    results: Counter = Counter()
    with tqdm(desc=collector.folder.name, unit="frame", disable=not progress) as bar:
        for frame in frames:
            seen = collector.look(frame)
            reason = collector.objection(seen)
            if not reason:
                collector.save(seen, collector.next_kind())
            results[reason or "saved"] += 1
            bar.update()
            bar.set_postfix(results)
    return results


KEYS = {
    "a": "save as anchor",
    "p": "save as positive",
    "c": "automatic on/off",
    "+": "more per second",
    "-": "fewer per second",
    "q": "quit",
}


@dataclass
class Session:
    """What the collecting window shows and does: the film, keys, automatic capture.

    A second thread searches for faces, so that the film runs smoothly. A key saves the last frame that was searched,
    about a tenth of a second old.

    Attributes:
        collector: Where faces are saved.
        rate: The most automatic pictures per second.
        automatic: Whether automatic capture is on.
        message: What happened last, in words.
        last: The last saved picture, (250, 250, 3), or None.
        ended: Whether q was pressed.
        seen: The last frame that was searched, or None.
    """

    collector: Collector
    rate: float = 4.0
    automatic: bool = False
    message: str = "looking for a face …"
    last: np.ndarray | None = None
    ended: bool = False
    seen: FaceInFrame | None = None
    _looking: Future | None = field(default=None, init=False, repr=False)
    _not_before: float = field(default=0.0, init=False, repr=False)

    def __post_init__(self):
        self._thread = ThreadPoolExecutor(1)

    def show(self, frame: np.ndarray, now: float) -> np.ndarray:
        """The picture to show for the next frame: mirrored, with a box around the face.

        Args:
            frame: (H, W, 3) uint8 RGB.
            now: The time in seconds, of any clock that does not go back.
        """
        if self._looking is not None and self._looking.done():
            self.seen, self._looking = self._looking.result(), None
            if self.automatic and now >= self._not_before:
                self._capture(now)
        if self._looking is None:
            self._looking = self._thread.submit(self.collector.look, frame)
        return np.ascontiguousarray(self._with_box(frame)[:, ::-1])

    def _with_box(self, frame: np.ndarray) -> np.ndarray:
        """A copy of the frame with a box around the face: complete if the face is sharp, only its corners if not."""
        shown = frame.copy()
        if self.seen is None or self.seen.box is None:
            return shown
        x, y, width, height = self.seen.box
        thickness = max(2, frame.shape[0] // 160)
        if self.seen.sharpness >= self.collector.sharp_enough:
            return cv2.rectangle(shown, (x, y), (x + width, y + height), KNOWN, thickness)
        draw_box(shown, self.seen.box, KNOWN, thickness)
        return shown

    def _capture(self, now: float) -> None:
        if reason := self.collector.objection(self.seen):
            self.message = f"automatic: not saved, {reason}"
        else:
            self._save(self.collector.next_kind())
            self._not_before = now + 1 / self.rate

    def _save(self, kind: str) -> None:
        path = self.collector.save(self.seen, kind)
        self.last, self.message = self.seen.crop, f"saved {path.name}"

    def press(self, key: str) -> None:
        """Do what one of :data:`KEYS` says; other keys do nothing."""
        if key in ("a", "p"):
            if self.seen is None or self.seen.crop is None:
                self.message = "not saved: no face found"
            else:
                self._save("anchor" if key == "a" else "positive")
        elif key == "c":
            self.automatic = not self.automatic
            self.message = f"automatic capture is {'on' if self.automatic else 'off'}"
        elif key in ("+", "-"):
            self.rate = float(np.clip(self.rate * (2 if key == "+" else 0.5), 0.125, 32))
            self.message = f"automatic: at most {self.rate:g} per second"
        elif key == "q":
            self.ended = True

    @property
    def title(self) -> str:
        """The window's title."""
        return f"collecting faces: {self.collector.folder.name}"

    @property
    def keys(self) -> Mapping[str, str]:
        """What each key does."""
        return KEYS

    def pause(self) -> int:
        """Milliseconds until the next frame is due: as few as possible, since the camera sets the pace."""
        return 1

    def status(self) -> str:
        """How many pictures there are, and whether automatic capture is on."""
        counts = self.collector.counts()
        state = f"on, {self.rate:g} per second" if self.automatic else "off"
        return f"{counts['anchor']} anchor, {counts['positive']} positive\nautomatic: {state}"

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Wait until the second thread is done."""
        self._thread.shutdown()
