"""Frames from a webcam, a browser, a video or a folder of pictures; a collector of faces; who is in a film.

    python camera.py collect --person me                        # a window: a anchor, p positive, c automatic, q quit
    python camera.py collect --person me --source video.mp4     # or a folder of pictures; automatic, without a window
    python camera.py demo                                       # a window: who is in front of the camera? q quit
    python camera.py demo --source video.mp4 --output out.mp4   # the same, written into a copy of a video

Collected faces lie in ``datasets/collected/<person>/``, ``anchor_0001.jpg`` and ``positive_0001.jpg`` …, 250×250
pixels each with the face in the middle, as in LFW. ``face_datasets.find_people`` reads that folder.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import tempfile
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import anywidget
import cv2
import numpy as np
from tqdm.auto import tqdm

from errors import (
    BadArgument,
    EmptyDatabase,
    FaceError,
    NoCamera,
    NoFaceFound,
    NoScreen,
    UnknownIdentity,
    UnreadableImage,
    run,
)
from face_database import FaceDatabase, OtherNetwork, mean_encoding
from face_detection import SEARCH_SIDE, Detection, align_face, check_photo, detect_faces, pick_face, warp
from fr_utils import (
    DEFAULT_NETWORK,
    PICTURE_ENDINGS,
    ROOT,
    as_matrix,
    build_database,
    faces_to_encodings,
    in_project,
    info_of,
    load_facenet,
    load_image,
    save_picture,
    searcher,
    threshold_for,
)
from quiet import quietly
from tracking import Box, Track, Tracker, annotate, draw_corners
from whole_files import whole

with quietly():
    import keras

#: The side of a collected picture, in pixels, and how much larger than the face it is.
SIDE, MARGIN = 250, 2.2
KINDS = ("anchor", "positive")
COLLECTED = ROOT / "datasets" / "collected"

#: A face in a film counts if the detector is at least so sure of it (0..1): a ghost would stay for several frames.
SURE = 0.9

#: The first look decides unless its distance differs from the threshold by less than this part of it.
DOUBT = 0.15

#: What the demo can write.
VIDEO_ENDINGS = (".mp4", ".mov", ".mkv")

#: The width and height of a video of pictures.
PICTURE_SIZE = (1280, 720)


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


# ------------------------------------------------------------------------------------------- in a notebook
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

    _esm = ROOT / "camera.js"
    _css = ROOT / "camera.css"

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

    def look(self, frame: np.ndarray) -> Seen:
        """Find the largest face of a frame (H, W, 3) and cut it out."""
        box = DETECTORS[self.detector](frame)
        if box is None:
            return Seen(frame, None)
        face = cv2.cvtColor(crop_around(frame, box, 1.0, 128), cv2.COLOR_RGB2GRAY)
        sharpness = float(cv2.Laplacian(face, cv2.CV_64F).var())
        return Seen(frame, box, crop_around(frame, box, MARGIN, SIDE), small_of(face), sharpness)

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


# ---------------------------------------------------------------------------------- collecting in a window
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
    seen: Seen | None = None
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


# ------------------------------------------------------------------------------------------ who is in a film
class LiveRecogniser:
    """Says of every frame of a film where the faces are and who they are, quickly and without flicker.

    Every n-th frame is searched for faces, and what is found is encoded; in between, boxes follow the pixels
    (``tracking``). A name is decided from the last eight encodings of a track together: the root mean square of their
    distances counts, so that strangers don't come nearer than in single photos. And it takes several looks in a row to
    replace a name once it stands.

    Args:
        model: The network that made the database's encodings.
        database: Identity → encoding, K of them.
        threshold: Whoever is not nearer than this is unknown. None takes the network's own (0.7).
        every: Search every n-th frame; besides, at once when a face can't be followed.
        search_side: Search in a copy of this longest side, in pixels: smaller is quicker, and misses small faces.
        looks: A face whose distance is near the threshold is named after so many looks, any other at once; and so many
            looks in a row must agree before a name changes.
        background: True searches in a second thread, so that ``see`` never waits: for a camera. What is seen then
            depends on how quick the machine is; with False, the same film gives the same tracks.

    Raises:
        EmptyDatabase: If there is nobody to compare with.
        BadArgument: If a number makes no sense.

    Example:
        >>> from fr_utils import img_to_encoding
        >>> model = load_facenet("weights/resnet")
        >>> lena = load_image("images/lena.jpg")
        >>> with LiveRecogniser(model, {"lena": img_to_encoding(lena, model)}) as recogniser:
        ...     [track.label for track in recogniser.see(lena)]
        ['lena']
    """

    def __init__(
        self,
        model: keras.Model,
        database: Mapping[str, np.ndarray],
        threshold: float | None = None,
        every: int = 5,
        search_side: int = 480,
        looks: int = 3,
        background: bool = False,
    ):
        for name, value in {"every": every, "search_side": search_side, "looks": looks}.items():
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise BadArgument(f"{name}={value!r}: a whole number, at least 1")
        self.model, self.every, self.search_side, self.looks = model, every, search_side, looks
        self.threshold = threshold_for(model, threshold)
        self._gallery = _Lasting(database, model) if isinstance(database, FaceDatabase) else _Known(database, model)
        self._info, self._tracker = info_of(model), Tracker()
        self._thread = ThreadPoolExecutor(1) if background else None
        self._looking: tuple[np.ndarray, Future] | None = None
        self._since: int | None = None  # the last search: None if it is time for another one

    def see(self, frame: np.ndarray) -> list[Track]:
        """Take the next frame, (H, W, 3) uint8 RGB.

        Returns:
            The faces that are in it, the oldest track first; a copy of each track, which will not change any more.

        Raises:
            BadArgument: If the frame is no (H, W, 3) array of uint8.
        """
        before = [track for track in self._tracker.tracks if not track.lost]
        self._tracker.follow(check_photo(frame))
        lost = any(track.lost for track in before) or not self._tracker.tracks and before
        self._since = None if lost or self._since is None or self._since + 1 >= self.every else self._since + 1
        self._search(frame) if self._thread is None else self._search_meanwhile(frame)
        return [track.copy() for track in self._tracker.tracks if not track.lost]

    def _search(self, frame: np.ndarray) -> None:
        """Search this frame, if it is time to."""
        if self._since is None:
            self._learn(*self._look(frame))
            self._since = 0

    def _search_meanwhile(self, frame: np.ndarray) -> None:
        """Take what the other thread found in an earlier frame, and give it this one if it is time to."""
        if self._looking is not None and self._looking[1].done():
            grey, (boxes, encodings) = self._looking[0], self._looking[1].result()
            self._looking = None
            now = self._tracker.carry(grey, boxes)
            still = [i for i, box in enumerate(now) if box is not None]
            self._learn([now[i] for i in still], encodings[still])
        if self._looking is None and self._since is None:
            self._looking = (self._tracker.grey, self._thread.submit(self._look, frame.copy()))
            self._since = 0

    def _look(self, frame: np.ndarray) -> tuple[list[Box], np.ndarray]:
        """The boxes of a frame's faces, and their encodings (n, D)."""
        found: list[Detection] = detect_faces(frame, SURE, self.search_side)
        faces = [align_face(frame, face["keypoints"], self._info.side, self._info.template) for face in found]
        side = self._info.side
        encodings = faces_to_encodings(np.array(faces, np.uint8).reshape(-1, side, side, 3), self.model)
        return [face["box"] for face in found], encodings

    def _learn(self, boxes: list[Box], encodings: np.ndarray) -> None:
        """Correct the tracks by what was found, and decide anew who they are."""
        for track in self._tracker.correct(boxes, encodings, self.threshold):
            self._name(track)

    def _name(self, track: Track) -> None:
        """Compare what a track remembers with everybody."""
        encodings = np.stack(track.encodings)  # (k, D)
        nearest, distance = self._gallery.nearest(encodings)
        clear = abs(distance - self.threshold) > DOUBT * self.threshold
        track.consider(nearest if distance < self.threshold else None, clear, self.looks)
        track.distance = distance
        if track.identity not in (None, nearest):
            known = self._gallery.distance(track.identity, encodings)
            track.identity, track.distance = (None, distance) if known is None else (track.identity, known)

    def forget(self) -> None:
        """Begin a new film: the next frame has nothing to do with the last."""
        self._tracker, self._looking, self._since = Tracker(), None, None

    def __enter__(self) -> LiveRecogniser:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Wait until the second thread is done, if there is one."""
        if self._thread is not None:
            self._thread.shutdown()


class _Known:
    """Who is known, as a matrix: the root mean square of the distances from several encodings of one face."""

    def __init__(self, database: Mapping[str, np.ndarray], model: keras.Model) -> None:
        self.names, self.known = as_matrix(database, model)

    def nearest(self, encodings: np.ndarray) -> tuple[str, float]:
        """Who is nearest to (k, D), and how near."""
        distances = self._distances(encodings)
        best = int(distances.argmin())
        return self.names[best], float(distances[best])

    def distance(self, identity: str, encodings: np.ndarray) -> float:
        """How near somebody is to (k, D)."""
        return float(self._distances(encodings)[self.names.index(identity)])

    def _distances(self, encodings: np.ndarray) -> np.ndarray:
        squares = np.square(self.known).sum(axis=1) + np.square(encodings).sum(axis=1).mean()
        return np.sqrt(np.maximum(0, squares - 2 * self.known @ encodings.mean(axis=0)))  # (K,)


class _Lasting:
    """The same of a ``FaceDatabase``, which searches by itself, also among a million, and may change meanwhile."""

    def __init__(self, database: FaceDatabase, model: keras.Model) -> None:
        searcher(database, model)  # refuses an empty one, and another network's
        self.database = database

    def nearest(self, encodings: np.ndarray) -> tuple[str | None, float]:
        """Who is nearest to (k, D), and how near; None if nobody is left."""
        mean = encodings.mean(axis=0)
        length = max(float(np.linalg.norm(mean)), 1e-9)
        identities, distances = self.database.nearest(mean / length if length > 1e-3 else encodings[0])
        alike = 1 - float(distances[0, 0]) ** 2 / 2  # the cosine: of all known people the greatest
        square = 1 + float(np.square(encodings).sum(axis=1).mean()) - 2 * length * alike
        return identities[0, 0], float(np.sqrt(max(0.0, square)))

    def distance(self, identity: str, encodings: np.ndarray) -> float | None:
        """How near somebody is to (k, D); None if they are not known any more."""
        try:
            known = self.database.encodings(identity)
        except UnknownIdentity:
            return None
        known = known if self.database.represent == "nearest" else mean_encoding(known)[None]
        squares = np.square(known[:, None] - encodings).sum(axis=2).mean(axis=1)
        return float(np.sqrt(squares.min()))


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


def _check_output(output: Path, source: str) -> None:
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


# ---------------------------------------------------------------------------------------------- the window
def collect_in_window(frames: Frames, session: Session) -> None:
    """Show a film in a window, with the face's box, the counts and the last picture, until q is pressed or it ends.

    Raises:
        NoScreen: If no window can be opened here.
        NoCamera: If the camera goes away.
    """
    where_else = "collect with camera.CameraWidget in a notebook, or from a film with --source"
    try:
        _show_in_window(frames, session, where_else)
    finally:
        session.close()


def _show_in_window(frames: Frames, session: Session | Viewing, where_else: str) -> None:
    """Show what a session makes of each frame, and give it the keys, until it has ended or the film has."""
    window = _Window(_open_window(where_else), iter(frames), session)
    window.root.mainloop()
    if window.problem is not None:
        raise window.problem


def _open_window(where_else: str):
    """An empty window of Tk's, or an error that says what else can be done."""
    try:
        import tkinter
    except ImportError as error:
        raise NoScreen(f"this Python has no tkinter, which draws the window: install it, or {where_else}") from error
    try:
        return tkinter.Tk()
    except tkinter.TclError as error:
        raise NoScreen(f"no window can be opened here ({error}): {where_else}") from error


class _Window:
    """The widgets of a session's window, and the clock that moves them."""

    def __init__(self, root, frames: Iterator[np.ndarray], session: Session | Viewing):
        import tkinter

        self.root, self.frames, self.session = root, frames, session
        self.problem: Exception | None = None
        root.title(session.title)
        root.bind("<Key>", lambda event: session.press(event.char))
        root.protocol("WM_DELETE_WINDOW", lambda: session.press("q"))
        self.film = tkinter.Label(root)
        self.film.pack(side="left")
        side = tkinter.Frame(root, padx=14, pady=10)
        side.pack(side="left", fill="y")
        self.status = tkinter.Label(side, justify="left", anchor="w", font=("TkDefaultFont", 12, "bold"), width=30)
        self.message = tkinter.Label(side, justify="left", anchor="nw", wraplength=300, height=3)
        self.last = tkinter.Label(side)
        for widget in (self.status, self.message, self.last):
            widget.pack(fill="x", pady=4)
        for key, meaning in session.keys.items():  # for the mouse, and for who forgot the keys
            button = tkinter.Button(
                side, text=f"{key}   {meaning}", anchor="w", takefocus=False, command=lambda key=key: session.press(key)
            )
            button.pack(fill="x")
        root.after(0, self.tick)

    def tick(self) -> None:
        """Show the next frame, and come back."""
        try:
            frame = None if self.session.ended else next(self.frames, None)
            if frame is None:
                self.root.destroy()
                return
            self._draw(self.session.show(frame, time.monotonic()))
            self.root.after(self.session.pause(), self.tick)
        except Exception as error:  # Tk would print it and go on
            self.problem = error
            self.root.destroy()

    def _draw(self, picture: np.ndarray) -> None:
        from PIL import Image, ImageTk

        self.film.picture = ImageTk.PhotoImage(Image.fromarray(picture))  # Tk itself does not keep pictures alive
        self.film["image"] = self.film.picture
        self.status["text"], self.message["text"] = self.session.status(), self.session.message
        if self.session.last is not None:
            self.last.picture = ImageTk.PhotoImage(Image.fromarray(self.session.last).resize((150, 150)))
            self.last["image"] = self.last.picture


# --------------------------------------------------------------------------------------------------- main
def main(argv: Sequence[str] | None = None) -> None:
    """Do what the command line says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    _add_collect(commands.add_parser("collect", help="save faces of one person"))
    _add_demo(commands.add_parser("demo", help="who is in front of the camera, or in a video?"))
    args = parser.parse_args(argv)
    args.do(args)


def _add_collect(collect: argparse.ArgumentParser) -> None:
    collect.set_defaults(do=_collect)
    collect.add_argument("--person", required=True, help="whose faces: the name of their folder")
    collect.add_argument("--source", default="0", help="a camera's number, a video, or a folder; by default camera 0")
    collect.add_argument("--to", type=Path, default=COLLECTED, help="where the people's folders are")
    collect.add_argument("--detector", choices=DETECTORS, default="mtcnn", help="haar is quicker, for slow machines")
    collect.add_argument(
        "--rate", type=float, default=4.0, help="automatic pictures per second, at most; by default %(default)g"
    )


def _collect(args: argparse.Namespace) -> None:
    if not args.person or Path(args.person).name != args.person or args.person.startswith("."):
        raise BadArgument(f"--person {args.person!r}: a name, not a path")
    if not 0 < args.rate <= 1000:
        raise BadArgument(f"--rate {args.rate}: frames per second, more than 0")
    collector = Collector(args.to / args.person, args.detector)
    if args.source.isdecimal():
        with Frames(args.source) as frames:
            collect_in_window(frames, Session(collector, args.rate))
    else:
        with Frames(args.source, per_second=args.rate) as frames:
            results = collect_from(frames, collector)
        _print_problems(frames)
        print(", ".join(f"{count} {reason}" for reason, count in results.most_common()) or "no frames")
    counts = collector.counts()
    if not counts:
        print("nothing was saved")
        return
    print(f"{collector.folder}: {counts['anchor']} anchor, {counts['positive']} positive")
    print(f"to learn from them: python tools/prepare_people.py preprocess {args.to} --to {args.to}_faces")


def _print_problems(frames: Frames) -> None:
    for name, reason in frames.problems:
        print(f"not opened: {name}: {reason}")


def _add_demo(demo: argparse.ArgumentParser) -> None:
    demo.set_defaults(do=_demo)
    demo.add_argument("--source", default="0", help="a camera's number, a video, or a folder; by default camera 0")
    known = "a folder of portraits, lena.jpg is lena, or a FaceDatabase's file; by default %(default)s"
    demo.add_argument("--database", type=Path, default=Path("images"), help=known)
    demo.add_argument("--network", default=DEFAULT_NETWORK, help="by default %(default)s")
    demo.add_argument("--threshold", type=float, help="who is not nearer is unknown; by default the network's own")
    demo.add_argument("--every", type=int, default=5, help="search every n-th frame of a film; by default %(default)s")
    demo.add_argument(
        "--search-side", type=int, default=480, help="of the copy of a frame that is searched; by default %(default)s"
    )
    demo.add_argument("--output", type=Path, help="write a video, and open no window")


def _demo(args: argparse.Namespace) -> None:
    if args.output is not None:
        _check_output(args.output, args.source)
    with Frames(args.source) as frames, _recogniser(args, frames) as recogniser:
        viewing = Viewing(recogniser, frames)
        if args.output is None:
            _show_in_window(frames, viewing, "write what it would show into a video with --output")
        else:
            write_annotated(frames, viewing, args.output)
        _print_problems(frames)
        print(viewing.summary())


def _database(path: Path, model: keras.Model) -> Mapping[str, np.ndarray]:
    """Who is known: a folder of portraits, or the file of a ``FaceDatabase``."""
    if not path.exists():
        raise BadArgument(f"--database {path} is not there: give a folder of portraits, or a FaceDatabase's file")
    if path.is_file():
        try:
            lasting = FaceDatabase(path, network=model)  # stays open: who is added meanwhile is known at once
        except OtherNetwork as error:
            raise BadArgument(f"{error} (--network names another network)") from error
        if not lasting:
            raise EmptyDatabase(f"nobody is in --database {path}")
        return lasting
    database, unusable = build_database(path, model)
    for file, reason in unusable.itertuples(index=False):
        print(f"not used: {file}: {reason}")
    if not database:
        raise EmptyDatabase(f"--database {path} holds no portrait that can be used")
    return database


def _recogniser(args: argparse.Namespace, frames: Frames) -> LiveRecogniser:
    """The network and the database of the command line; a picture of a folder is looked at once, and well."""
    model = load_facenet(args.network)
    database = _database(in_project(args.database), model)
    looks = 1 if frames.is_folder else 3
    side = SEARCH_SIDE if frames.is_folder else args.search_side
    return LiveRecogniser(model, database, args.threshold, args.every, side, looks, background=frames.is_live)


if __name__ == "__main__":
    run(main)
