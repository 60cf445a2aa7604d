"""Opens pictures with care, finds their faces and compares them: a few at a time, and all in memory."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from werkzeug.datastructures import FileStorage, ImmutableMultiDict

from apps.comparison import NAMES, Comparer, Comparison
from apps.crowd import Turns
from apps.flask.problems import Problem
from apps.pictures import around, boxed, jpeg
from facerec._files import in_project
from facerec.detection import Detection, detect_faces, no_face_in, pick_face
from facerec.errors import FaceError, TooLargeImage
from facerec.photos import data_url, load_image, open_file
from facerec.quality import face_quality

#: The limits of a picture: a photo of 25 megapixels takes 75 MB of memory once it is decoded.
MAX_BYTES = 10_000_000
MAX_PIXELS = 25_000_000

#: What the page shows, in pixels: the side of the face, at most, and the longer side of the picture around it.
FACE_SIDE = 300
PREVIEW_SIDE = 480


# -------------------------------------------------------------------------------------------------- networks
class Networks:
    """The networks, loaded once, and the few threads that work with them.

    Args:
        comparer: Compares two pictures. With None, ``load`` makes one.
        turns: The threads that hold decoded pictures.
    """

    def __init__(self, comparer: Comparer | None = None, turns: Turns | None = None) -> None:
        self.comparer, self.turns = comparer, turns or Turns()
        self._loaded = threading.Event()
        if comparer:
            self._loaded.set()

    @property
    def are_ready(self) -> bool:
        """Whether the networks are loaded."""
        return self._loaded.is_set()

    def load(self) -> None:
        """Load the networks and use each once, because the first use is slow.

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
        """Run ``work(*args)`` as soon as the networks are loaded and it is its turn; return or raise what it does.

        Raises:
            Problem: If the networks are not loaded in time (503).
            Busy: If it takes too long, or too many requests are waiting already.
        """
        return self.turns.run(self._once_loaded, work, *args)

    def _once_loaded(self, work: Callable, *args):
        if not self._loaded.wait(self.turns.patience / 2):
            raise Problem(503, "loading", "The networks are still loading. Please try again soon.", retry_after=5)
        return work(*args)


# -------------------------------------------------------------------------------------------------- pictures
def bytes_of(files: ImmutableMultiDict[str, FileStorage], field: str, name: str, picture: int | None = None) -> bytes:
    """The bytes of one picture in a request; the name of its file is never read.

    Raises:
        Problem: If it is missing (400) or too large (413).
    """
    file = files.get(field)
    data = file.read(MAX_BYTES + 1) if file else b""
    if not data:
        raise Problem(400, "missing", f"{_start(name)} is missing. Please choose one.", picture)
    if len(data) > MAX_BYTES:
        raise Problem(413, "too-large", f"{_start(name)} is larger than 10 MB.", picture)
    return data


def open_picture(data: bytes, name: str, picture: int | None = None) -> np.ndarray:
    """A photo (H, W, 3) from the bytes of a file, whose size is checked before it is decoded.

    Raises:
        Problem: If it is too large or can't be opened (422).
    """
    try:
        if math.prod(open_file(data).size) > MAX_PIXELS:
            raise TooLargeImage
        return load_image(data)
    except TooLargeImage:
        text = f"has more than {MAX_PIXELS // 10**6} million pixels, or takes too long to open"
        text = f"{_start(name)} {text}. Please choose a smaller one, or save it again as JPEG."
        raise Problem(422, "too-many-pixels", text, picture) from None
    except FaceError:
        text = f"{_start(name)} can't be opened. Is it a complete photo?"
        raise Problem(422, "unreadable", text, picture) from None


@dataclass(frozen=True)
class Seen:
    """The largest face of a picture.

    Attributes:
        face: The face with what is around it, a square, as a JPEG in a ``data:`` URL.
        preview: The picture, scaled down, with a box around the face, as a JPEG in a ``data:`` URL.
        box: The face's (x, y, width, height) in pixels.
        size: The picture's (width, height) in pixels.
        count: How many faces the picture shows.
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
        """The number of faces, in words."""
        return "One face found." if self.count == 1 else f"{self.count} faces found. The largest one is compared."


def look_at(photo: np.ndarray) -> Seen:
    """Find the largest face of a photo.

    Raises:
        NoFaceFound: If there is no face.
    """
    faces = detect_faces(photo)
    if not faces:
        raise no_face_in(photo, "the picture")
    return show(photo, pick_face(faces, photo), len(faces))


def show(photo: np.ndarray, detection: Detection, count: int) -> Seen:
    """What a page shows of a photo and the face in it."""
    box = tuple(int(n) for n in detection["box"])
    return Seen(
        data_url(jpeg(around(photo, detection, side=FACE_SIDE))),
        data_url(jpeg(boxed(photo, box, PREVIEW_SIDE))),
        box,
        photo.shape[1::-1],
        count,
        face_quality(photo, detection).hints,
    )


def _start(name: str) -> str:
    return name[:1].upper() + name[1:]


# --------------------------------------------------------------------------------------------------- answers
@dataclass(frozen=True)
class Answer:
    """What both networks say about two pictures, and what a page shows of them.

    Attributes:
        said: The result of ``Comparer``.
        seen: The two faces.
    """

    said: Comparison
    seen: tuple[Seen, Seen]


def detect(data: bytes) -> Seen:
    """Find the face in one picture.

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
        Problem: If one can't be used (422); it names which.
    """
    photos = [open_picture(data, NAMES[i], i) for i, data in enumerate((first, second))]
    try:
        said = comparer(*photos)
    except FaceError as error:
        which = next((i for i, name in enumerate(NAMES) if name in str(error)), None)
        raise Problem.of(error, which) from None
    first_seen, second_seen = map(show, said.photos, said.detections, said.counts)
    return Answer(said, (first_seen, second_seen))
