"""What is done with a picture: opened with care, its face found, compared; a few at a time, all of it in memory."""

from __future__ import annotations

import base64
import io
import math
import threading
import warnings
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as TooLate
from dataclasses import dataclass

import cv2
import numpy as np
from PIL import Image
from werkzeug.datastructures import FileStorage, ImmutableMultiDict

from apps.comparison import NAMES, Comparer, Comparison
from apps.flask.problems import Problem
from facerec._files import in_project
from facerec.detection import Detection, align_face, detect_faces, no_face_in, pick_face
from facerec.errors import FaceError
from facerec.photos import FORMATS, load_image
from facerec.quality import face_quality

#: A picture in bytes, and in pixels: a photo of 25 megapixels takes 75 MB of memory once it is unpacked.
MAX_BYTES = 10_000_000
MAX_PIXELS = 25_000_000

#: Sides of what is shown, in pixels: the aligned face, and the longer one of the picture around it.
FACE_SIDE = 300
PREVIEW_SIDE = 480

#: From which probability on a verdict deserves which words.
SURE = (
    (0.99, "almost certain"),
    (0.95, "very sure"),
    (0.8, "fairly sure"),
    (0.6, "not sure"),
    (0.0, "not sure at all"),
)

#: A less probable verdict is too close to say, or only probably so.
CLOSE, PROBABLY = 0.6, 0.8


# -------------------------------------------------------------------------------------------------- networks
class Networks:
    """The networks, loaded once, and the few threads that look at pictures.

    Everything large happens in these threads: that bounds memory, whatever number of requests waits for them.

    Args:
        comparer: What compares; None: ``load`` makes one.
        at_once: How many requests are worked on at once.
        patience: Seconds that a request waits for its turn and its answer.
        in_line: How many requests may be worked on or wait; more are asked to come back later, so that no crowd takes
            every thread of the server from the pages.
    """

    def __init__(
        self, comparer: Comparer | None = None, at_once: int = 2, patience: float = 60, in_line: int = 64
    ) -> None:
        self.comparer = comparer
        self.patience = patience
        self._pool = ThreadPoolExecutor(at_once, thread_name_prefix="pictures")
        self._places = threading.BoundedSemaphore(in_line)
        self._loaded = threading.Event()
        if comparer:
            self._loaded.set()

    @property
    def are_ready(self) -> bool:
        """Whether the networks are loaded."""
        return self._loaded.is_set()

    def load(self) -> None:
        """Load the networks and use each once, so that nobody has to wait for their first time.

        Raises:
            BadNetwork: If one is missing or damaged.
        """
        self.comparer = self.comparer or Comparer()
        portrait = in_project("images/lena.jpg")
        if portrait.exists():
            photo = load_image(portrait)
            self.comparer(photo, photo)
            look_at(photo)
        self._loaded.set()

    def run(self, work: Callable, *args):
        """Do something with pictures as soon as a thread is free; an error is raised as if it were done here.

        Raises:
            Problem: If it takes too long, or too many wait already (503).
        """
        if not self._places.acquire(blocking=False):
            raise Problem(503, "busy", retry_after=5)
        try:
            return self._in_turn(work, *args)
        finally:
            self._places.release()

    def _in_turn(self, work: Callable, *args):
        if not self._loaded.wait(self.patience):
            raise Problem(503, "loading", "The networks are still being loaded. Please try again soon.", retry_after=5)
        future: Future = self._pool.submit(work, *args)
        try:
            return future.result(self.patience)
        except TooLate:
            future.cancel()
            raise Problem(503, "busy", retry_after=5) from None
        finally:
            del future  # it holds an error, the error this frame, and that the pictures: they would stay for a while


# -------------------------------------------------------------------------------------------------- pictures
def bytes_of(files: ImmutableMultiDict[str, FileStorage], field: str, name: str, picture: int | None = None) -> bytes:
    """The bytes of one picture of a request; its file's name is never looked at.

    Raises:
        Problem: If it is missing (400) or too large (413).
    """
    file = files.get(field)
    data = file.read(MAX_BYTES + 1) if file else b""
    if not data:
        raise Problem(400, "missing", f"{_start(name)} is missing: please choose one.", picture)
    if len(data) > MAX_BYTES:
        raise Problem(413, "too-large", f"{_start(name)} has more than 10 MB.", picture)
    return data


def open_picture(data: bytes, name: str, picture: int | None = None) -> np.ndarray:
    """A photo (H, W, 3) from the bytes of a file; how large it is, is asked before it is unpacked.

    Raises:
        Problem: If it is too large or can't be opened (422).
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            size = Image.open(io.BytesIO(data), formats=FORMATS).size
    except Image.DecompressionBombError:
        size = (MAX_PIXELS, 2)
    except Exception:  # damaged headers make Pillow raise nearly anything; load_image says it better
        size = (0, 0)
    if math.prod(size) > MAX_PIXELS:
        limit = f"{MAX_PIXELS // 10**6} million pixels"
        raise Problem(422, "too-many-pixels", f"{_start(name)} has more than {limit}: make it smaller.", picture)
    try:
        return load_image(data)
    except FaceError:
        hint = "save HEIC pictures as JPEG first" if data[4:8] == b"ftyp" else "is it a photo, and complete?"
        raise Problem(422, "unreadable", f"{_start(name)} can't be opened: {hint}", picture) from None


@dataclass(frozen=True)
class Seen:
    """The face of a picture.

    Attributes:
        face: The aligned face, as a JPEG in a ``data:`` address.
        preview: The picture, small, with a box around the face, likewise.
        box: Where the face is: (x, y, width, height) in pixels.
        size: Of the picture: (width, height).
        count: How many faces there are; this is the largest.
        hints: What would make a better picture.
    """

    face: str
    preview: str
    box: tuple[int, int, int, int]
    size: tuple[int, int]
    count: int
    hints: tuple[str, ...]

    @property
    def in_words(self) -> str:
        """How many faces there are."""
        return "One face found." if self.count == 1 else f"{self.count} faces found: the largest one is compared."


def look_at(photo: np.ndarray, name: str = "the picture") -> Seen:
    """Find the face that a photo is about.

    Raises:
        NoFaceFound: If there is none.
    """
    faces = detect_faces(photo)
    if not faces:
        raise no_face_in(photo, name)
    return show(photo, pick_face(faces, photo), len(faces))


def show(photo: np.ndarray, detection: Detection, count: int) -> Seen:
    """What a page shows of a photo and the face in it."""
    box = tuple(int(n) for n in detection["box"])
    return Seen(
        as_address(align_face(photo, detection["keypoints"], FACE_SIDE)),
        as_address(_with_box(photo, box)),
        box,
        photo.shape[1::-1],
        count,
        face_quality(photo, detection).hints,
    )


def as_address(picture: np.ndarray) -> str:
    """A picture (H, W, 3) as a ``data:`` address, which a page shows without asking for it again."""
    done, data = cv2.imencode(".jpg", picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 88])
    return f"data:image/jpeg;base64,{base64.b64encode(data).decode()}"


def _with_box(photo: np.ndarray, box: tuple[int, int, int, int]) -> np.ndarray:
    """The photo, small, with a box around the face: white, and dark around it, to be seen on everything."""
    scale = min(1.0, PREVIEW_SIDE / max(photo.shape[:2]))
    width, height = (max(1, round(n * scale)) for n in photo.shape[1::-1])
    small = cv2.resize(photo, (width, height), interpolation=cv2.INTER_AREA)
    x, y, w, h = (round(n * scale) for n in box)
    for colour, thickness in (((20, 30, 45), 7), ((255, 255, 255), 3)):
        cv2.rectangle(small, (x, y), (x + w, y + h), colour, thickness, cv2.LINE_AA)
    return small


def _start(name: str) -> str:
    return name[:1].upper() + name[1:]


# --------------------------------------------------------------------------------------------------- answers
@dataclass(frozen=True)
class Answer:
    """What both networks say about two pictures, and the pictures to show with it.

    Attributes:
        said: What ``Comparer`` says.
        seen: The two faces.
    """

    said: Comparison
    seen: tuple[Seen, Seen]

    @property
    def headline(self) -> str:
        """The verdict in a few words, and no surer than the networks are."""
        if self.is_close:
            return "Too close to say"
        if self._right < PROBABLY or self.said.twins_object:
            return "Probably the same person" if self.said.is_same else "Probably two different people"
        return "The same person" if self.said.is_same else "Two different people"

    @property
    def is_close(self) -> bool:
        """Whether FaceNet's verdict is hardly more than a guess."""
        return self._right < CLOSE

    @property
    def sure(self) -> str:
        """How sure FaceNet is of its verdict; empty if nobody has measured it."""
        return "" if math.isnan(self._right) else next(words for least, words in SURE if self._right >= least)

    @property
    def per_cent(self) -> str:
        """The probability of one person in words; it must have been measured."""
        rounded = round(100 * self.said.probability)
        return {0: "less than 1 %", 100: "more than 99 %"}.get(rounded, f"{rounded} %")

    @property
    def _right(self) -> float:
        """The probability that FaceNet's verdict is right; NaN if nobody has measured it."""
        return self.said.probability if self.said.is_same else 1 - self.said.probability


def detect(data: bytes) -> Seen:
    """Look at one picture.

    Raises:
        Problem: If it can't be used (422).
    """
    photo = open_picture(data, "the picture")
    try:
        return look_at(photo)
    except FaceError as error:
        raise Problem.of(error) from None


def compare(comparer: Comparer, first: bytes, second: bytes) -> Answer:
    """Compare two pictures.

    Raises:
        Problem: If one can't be used (422); it says which.
    """
    photos = [open_picture(data, NAMES[i], i) for i, data in enumerate((first, second))]
    try:
        said = comparer(*photos)
    except FaceError as error:
        raise Problem.of(error) from None
    first_seen, second_seen = map(show, said.photos, said.detections, said.counts)
    return Answer(said, (first_seen, second_seen))
