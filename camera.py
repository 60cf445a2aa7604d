"""Frames from a webcam, a video or a folder of pictures, and a collector of faces.

    python camera.py collect --person me --source video.mp4     # or a folder of pictures

Collected faces lie in ``datasets/collected/<person>/``, ``anchor_0001.jpg`` and ``positive_0001.jpg`` …, 250×250
pixels each with the face in the middle, as in LFW. ``face_datasets.find_people`` reads that folder.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
import tempfile
import time
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
from tqdm.auto import tqdm

from errors import BadArgument, FaceError, NoCamera, NoFaceFound, UnreadableImage
from face_detection import detect_faces, pick_face, warp
from fr_utils import PICTURE_ENDINGS, ROOT, load_image, save_picture

#: The side of a collected picture, in pixels, and how much larger than the face it is.
SIDE, MARGIN = 250, 2.2
KINDS = ("anchor", "positive")
COLLECTED = ROOT / "datasets" / "collected"

Box = tuple[int, int, int, int]


# ------------------------------------------------------------------------------------------------- frames
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
            raise BadArgument(f"{path} is neither a video nor a folder of pictures")

    def __len__(self) -> int:
        """How many frames there are to come; 0 if nobody knows."""
        if self._capture is None:
            return len(self._pictures)
        return 0 if self.is_live else max(0, int(self._capture.get(cv2.CAP_PROP_FRAME_COUNT)))

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
        rate = self._capture.get(cv2.CAP_PROP_FPS)
        rate = rate if 0 < rate < 1000 else 30.0
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
            raise NoCamera("the camera gives no more pictures: was it unplugged?")


# ---------------------------------------------------------------------------------------------- detectors
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


# ---------------------------------------------------------------------------------------------- collecting
@dataclass
class Seen:
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
        different_enough: And faces nearer than this to one of the last ``memory`` saved ones: mean absolute
            difference of 16×16 grey pixels, in units of their standard deviation.
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

    def look(self, frame: np.ndarray) -> Seen:
        """Find the largest face of a frame (H, W, 3) and cut it out."""
        box = DETECTORS[self.detector](frame)
        if box is None:
            return Seen(frame, None)
        face = cv2.cvtColor(crop_around(frame, box, 1.0, 128), cv2.COLOR_RGB2GRAY)
        small = cv2.resize(face, (16, 16), interpolation=cv2.INTER_AREA).astype(np.float32)
        small = (small - small.mean()) / (small.std() + 1.0)
        sharpness = float(cv2.Laplacian(face, cv2.CV_64F).var())
        return Seen(frame, box, crop_around(frame, box, MARGIN, SIDE), small, sharpness)

    def objection(self, seen: Seen) -> str:
        """Why automatic capture would not save this; nothing if it would."""
        if seen.box is None:
            return "no face"
        if seen.sharpness < self.sharp_enough:
            return "blurred"
        if any(np.abs(seen.small - other).mean() < self.different_enough for other in self._saved):
            return "like one that is saved"
        return ""

    def save(self, seen: Seen, kind: str) -> Path:
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
    kinds = collector.counts()
    with tqdm(desc=collector.folder.name, unit="frame", disable=not progress) as bar:
        for frame in frames:
            seen = collector.look(frame)
            reason = collector.objection(seen)
            if not reason:
                kind = min(KINDS, key=lambda kind: (kinds[kind], kind))
                collector.save(seen, kind)
                kinds[kind] += 1
            results[reason or "saved"] += 1
            bar.update()
            bar.set_postfix(results)
    return results


# --------------------------------------------------------------------------------------------------- main
def main(argv: Sequence[str] | None = None) -> None:
    """Do what the command line says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    collect = commands.add_parser("collect", help="save faces of one person")
    collect.add_argument("--person", required=True, help="whose faces: the name of their folder")
    collect.add_argument("--source", required=True, help="a video, or a folder of pictures")
    collect.add_argument("--to", type=Path, default=COLLECTED, help="where the people's folders are")
    collect.add_argument("--detector", choices=DETECTORS, default="mtcnn", help="haar is quicker, for slow machines")
    collect.add_argument("--rate", type=float, default=4.0, help="frames of a second of video that are looked at")
    args = parser.parse_args(argv)
    if Path(args.person).name != args.person or args.person.startswith("."):
        raise BadArgument(f"--person {args.person!r}: a name, not a path")
    if not 0 < args.rate <= 1000:
        raise BadArgument(f"--rate {args.rate}: frames per second, more than 0")
    collector = Collector(args.to / args.person, args.detector)
    with Frames(args.source, per_second=args.rate) as frames:
        results = collect_from(frames, collector)
    for name, reason in frames.problems:
        print(f"not opened: {name}: {reason}")
    print(", ".join(f"{count} {reason}" for reason, count in results.most_common()) or "no frames")
    counts = collector.counts()
    print(f"{collector.folder} holds {counts['anchor']} anchor and {counts['positive']} positive pictures")


if __name__ == "__main__":
    try:
        main()
    except FaceError as error:
        sys.exit(f"error: {error}")
