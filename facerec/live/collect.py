"""TODO facerec.live.collect."""

from __future__ import annotations

import contextlib
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

from facerec._files import ROOT
from facerec.detection import detect_faces, pick_face, warp
from facerec.errors import BadArgument, NoFaceFound, UnreadableImage
from facerec.live.drawing import draw_corners
from facerec.live.frames import Frames
from facerec.live.tracking import Box
from facerec.photos import load_image, save_picture

#: The side of a collected picture, in pixels, and how much larger than the face it is.
COLLECTED_SIDE, MARGIN = 250, 2.2


KINDS = ("anchor", "positive")


COLLECTED = Path("datasets/collected")


def find_with_mtcnn(frame: np.ndarray) -> Box | None:
    """The largest face of a frame, found by MTCNN: (x, y, width, height), or None."""
    faces = detect_faces(frame)
    return pick_face(faces, frame)["box"] if faces else None


def find_with_haar(frame: np.ndarray) -> Box | None:
    """The largest face of a frame, found by OpenCV's Haar cascade: quicker, and wrong more often."""
    grey = cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY)
    smallest = max(40, min(grey.shape) // 8)
    boxes = _cascade().detectMultiScale(grey, 1.1, 6, minSize=(smallest, smallest))
    return tuple(int(n) for n in max(boxes, key=lambda box: box[2] * box[3])) if len(boxes) else None


def _cascade() -> cv2.CascadeClassifier:
    if not hasattr(_cascade, "loaded"):
        _cascade.loaded = cv2.CascadeClassifier(f"{cv2.data.haarcascades}haarcascade_frontalface_default.xml")
    return _cascade.loaded


DETECTORS = {"mtcnn": find_with_mtcnn, "haar": find_with_haar}


@dataclass
class FaceInFrame:
    """What a collector thinks of a frame.

    Attributes:
        frame: (H, W, 3) uint8 RGB.
        box: The largest face, or None.
        crop: The picture to save, (250, 250, 3), or None.
        small: The face in 16×16 grey pixels with the light taken out, to compare it with others.
        sharpness: The variance of the face's Laplacian; below ``Collector.sharp_enough`` it is blurred.
    """

    frame: np.ndarray
    box: Box | None
    crop: np.ndarray | None = None
    small: np.ndarray | None = None
    sharpness: float = 0.0


@dataclass
class Collector:
    """Saves faces of one person, and never over a picture that is there.

    Attributes:
        folder: The person's folder; it is created with the first picture.
        detector: A key of :data:`DETECTORS`.
        sharp_enough: Automatic capture skips faces less sharp than this.
        different_enough: And faces nearer than this to one of the last ``memory`` saved ones, those that the folder
            held before among them: mean absolute difference of 16×16 grey pixels, in units of their standard deviation.
        memory: How many saved faces are remembered.
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
        for path in sorted(self.folder.glob("*.jpg"), key=lambda path: path.stat().st_mtime)[-self.memory :]:
            with contextlib.suppress(UnreadableImage):
                self._saved.append(small_of(inner_part(load_image(path))))

    def look(self, frame: np.ndarray) -> FaceInFrame:
        """Find the largest face of a frame (H, W, 3) and cut it out."""
        box = DETECTORS[self.detector](frame)
        if box is None:
            return FaceInFrame(frame, None)
        face = cv2.cvtColor(crop_around(frame, box, 1.0, 128), cv2.COLOR_RGB2GRAY)
        sharpness = float(cv2.Laplacian(face, cv2.CV_64F).var())
        return FaceInFrame(frame, box, crop_around(frame, box, MARGIN, COLLECTED_SIDE), small_of(face), sharpness)

    def objection(self, seen: FaceInFrame) -> str:
        """Why automatic capture would not save this; nothing if it would."""
        if seen.box is None:
            return "no face"
        if seen.sharpness < self.sharp_enough:
            return "blurred"
        if any(np.abs(seen.small - other).mean() < self.different_enough for other in self._saved):
            return "like one that is saved"
        return ""

    def save(self, seen: FaceInFrame, kind: str) -> Path:
        """Write the face as the next ``anchor_…`` or ``positive_…``; returns its path.

        Raises:
            BadArgument: If the kind is another one.
            NoFaceFound: If there is no face in the frame.
        """
        if kind not in KINDS:
            raise BadArgument(f"kind={kind!r}: one of {', '.join(KINDS)}")
        if seen.crop is None:
            raise NoFaceFound("there is no face in this frame to save")
        path = write_new(self.folder, kind, seen.crop)
        self._saved.append(seen.small)
        return path

    def counts(self) -> Counter:
        """How many pictures of each kind the folder holds."""
        names = (path.name for path in self.folder.glob("*.jpg")) if self.folder.is_dir() else ()
        return Counter(name.partition("_")[0] for name in names if name.partition("_")[0] in KINDS)

    def next_kind(self) -> str:
        """What automatic capture saves next: the kind of which there are fewer."""
        counts = self.counts()
        return min(KINDS, key=lambda kind: (counts[kind], kind))


def small_of(face: np.ndarray) -> np.ndarray:
    """A face (H, W) in grey, or (H, W, 3), as 16×16 grey pixels with the light taken out."""
    grey = face if face.ndim == 2 else cv2.cvtColor(face, cv2.COLOR_RGB2GRAY)
    small = cv2.resize(grey, (16, 16), interpolation=cv2.INTER_AREA).astype(np.float32)
    return (small - small.mean()) / (small.std() + 1.0)


def inner_part(picture: np.ndarray) -> np.ndarray:
    """The face in the middle of a collected picture: what its box held, without the margin."""
    edge = round(len(picture) * (1 - 1 / MARGIN) / 2)
    return picture[edge:-edge, edge:-edge]


def crop_around(frame: np.ndarray, box: Box, margin: float, side: int) -> np.ndarray:
    """A square around a box, ``margin`` times as large as its longer side, as (side, side, 3); edges are repeated."""
    x, y, width, height = box
    length = margin * max(width, height)
    scale = side / length
    middle = (x + width / 2, y + height / 2)
    matrix = np.array([[scale, 0, side / 2 - scale * middle[0]], [0, scale, side / 2 - scale * middle[1]]])
    return warp(frame, matrix, side)


def write_new(folder: Path, kind: str, picture: np.ndarray) -> Path:
    """Write a picture under the next free number, in one move: nobody's file is ever replaced or half written."""
    folder.mkdir(parents=True, exist_ok=True)
    numbers = [int(m[1]) for path in folder.glob(f"{kind}_*.jpg") if (m := re.fullmatch(rf"{kind}_(\d+)", path.stem))]
    number = max(numbers, default=0) + 1
    with tempfile.TemporaryDirectory(dir=folder, prefix=".unfinished_") as workshop:
        written = Path(workshop) / "picture.jpg"
        save_picture(written, picture)
        while True:
            path = folder / f"{kind}_{number:04d}.jpg"
            try:
                os.link(written, path)  # fails if another process was quicker
                return path
            except FileExistsError:
                number += 1
            except OSError:  # a memory card or network folder without links
                if not path.exists():
                    return written.replace(path)


def collect_from(frames: Frames, collector: Collector, progress: bool = True) -> Counter:
    """Automatic capture of a video or a folder, without a window: anchor and positive in turn.

    Args:
        frames: Where to look.
        collector: Who saves.
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
    """What the collecting window does, without the window: keys, automatic capture, the picture to show.

    Faces are looked for in a second thread, so that the film stays fluent; what a key saves is the last frame that
    was looked at, a tenth of a second ago or so.

    Attributes:
        collector: Who saves.
        rate: At most so many automatic pictures per second.
        automatic: Whether automatic capture is on.
        message: What happened last, in words.
        last: The last saved picture, (250, 250, 3), or None.
        ended: Whether q was pressed.
        seen: The last frame that was looked at, or None.
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
        """Take the next frame, (H, W, 3), at a time in seconds; gives the picture to show, mirrored, with the box."""
        if self._looking is not None and self._looking.done():
            self.seen, self._looking = self._looking.result(), None
            if self.automatic and now >= self._not_before:
                self._capture(now)
        if self._looking is None:
            self._looking = self._thread.submit(self.collector.look, frame)
        return np.ascontiguousarray(self._with_box(frame)[:, ::-1])

    def _with_box(self, frame: np.ndarray) -> np.ndarray:
        """A copy of the frame with a box around the face: full where it is sharp, only its corners where it is not."""
        shown = frame.copy()
        if self.seen is None or self.seen.box is None:
            return shown
        x, y, width, height = self.seen.box
        colour, thickness = (255, 214, 0), max(2, frame.shape[0] // 160)
        if self.seen.sharpness >= self.collector.sharp_enough:
            return cv2.rectangle(shown, (x, y), (x + width, y + height), colour, thickness)
        draw_corners(shown, self.seen.box, colour, thickness)
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
        """Do what one of :data:`KEYS` stands for; other keys do nothing."""
        if key in ("a", "p"):
            if self.seen is None or self.seen.crop is None:
                self.message = "not saved: no face to be seen"
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
        """What stands over the window."""
        return f"collecting faces: {self.collector.folder.name}"

    @property
    def keys(self) -> Mapping[str, str]:
        """What its keys do."""
        return KEYS

    def pause(self) -> int:
        """How many milliseconds the window waits for the next frame: none to speak of, the camera sets the pace."""
        return 1

    def status(self) -> str:
        """Counts and settings, in words."""
        counts = self.collector.counts()
        state = f"on, {self.rate:g} per second" if self.automatic else "off"
        return f"{counts['anchor']} anchor, {counts['positive']} positive\nautomatic: {state}"

    def close(self) -> None:
        """Wait until the second thread is done."""
        self._thread.shutdown()
