"""What is seen in a picture, and how a person gets to be known by it.

    photo ──look──► Look: the face, its encoding, what could be better ──enrol──► the database

No page is needed for any of this.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from facerec._quiet import quietly
from facerec.database import FaceDatabase
from facerec.detection import Detection, align_face, detect_faces, no_face_in, pick_face
from facerec.encoding import faces_to_encodings
from facerec.errors import FaceError, UnknownIdentity
from facerec.networks import info_of
from facerec.quality import face_quality

with quietly():
    import keras


@dataclass(frozen=True)
class Look:
    """The largest face of a photo.

    Attributes:
        photo: (H, W, 3) uint8.
        detection: Where the face is, as ``detect_faces`` says.
        count: How many faces the photo shows.
        encoding: (D,) float32.
    """

    photo: np.ndarray
    detection: Detection
    count: int
    encoding: np.ndarray

    @property
    def hints(self) -> tuple[str, ...]:
        """What could be better about the picture, a sentence each."""
        several = f"there are {self.count} faces in it: the largest counts"
        return (*([several] if self.count > 1 else []), *face_quality(self.photo, self.detection).hints)


def look(photo: np.ndarray, model: keras.Model, name: str = "the picture") -> Look:
    """Find and encode the largest face of a photo (H, W, 3).

    Raises:
        NoFaceFound: If there is none; the error calls the picture by its name.
    """
    faces, info = detect_faces(photo), info_of(model)
    if not faces:
        raise no_face_in(photo, name)
    detection = pick_face(faces, photo)
    face = align_face(photo, detection["keypoints"], info.side, info.template)
    return Look(photo, detection, len(faces), faces_to_encodings(face[None], model)[0])


@dataclass(frozen=True)
class Verified:
    """Whether somebody is who they say.

    Attributes:
        look: What was seen.
        distance: From whom they claim to be.
        seconds: How long it took.
    """

    look: Look
    distance: float
    seconds: float


def verified(photo: np.ndarray, identity: str, database: FaceDatabase, model: keras.Model) -> Verified:
    """How far the face in a photo is from somebody, as ``fr_utils.verify`` measures it.

    Raises:
        UnknownIdentity: If nobody of that name is known.
        NoFaceFound: If the photo shows no face.
    """
    began = time.perf_counter()
    known = database.encodings(identity) if database.represent == "nearest" else database[identity][None]
    seen = look(photo, model)
    distance = float(np.linalg.norm(known - seen.encoding, axis=1).min())
    return Verified(seen, distance, time.perf_counter() - began)


def looks_like(seen: Look, database: FaceDatabase, threshold: float, but: str = "") -> tuple[str, float] | None:
    """Who else in the database a face would be taken for, and how near; None if nobody.

    Args:
        seen: The face.
        database: Who is known.
        threshold: Nearer than this is one person.
        but: Whose face it is, so far as anybody knows.
    """
    if not len(database):
        return None
    names, distances = database.nearest(seen.encoding, k=min(2, len(database)))
    near = [(n, float(d)) for n, d in zip(names[0], distances[0], strict=True) if n not in (None, but.strip())]
    return near[0] if near and near[0][1] < threshold else None


def far_apart(encodings: Sequence[np.ndarray], threshold: float) -> list[tuple[int, int, float]]:
    """Which pictures look like two people: their numbers, and the distance between them.

    Args:
        encodings: Of each picture, (D,).
        threshold: Nearer than this is one person.

    Example:
        >>> far_apart([np.zeros(2), np.zeros(2), np.array([0.0, 0.9])], 0.7)
        [(0, 2, 0.9), (1, 2, 0.9)]
    """
    pairs = (
        (i, j, float(np.linalg.norm(encodings[i] - encodings[j]))) for j in range(len(encodings)) for i in range(j)
    )
    return [(i, j, distance) for i, j, distance in pairs if not distance < threshold]


def enrol(identity: str, looks: Sequence[Look], database: FaceDatabase) -> Iterator[int]:
    """Make somebody known by one or more pictures; each is on the disk when its number is given.

    Yields:
        How many pictures are safe so far.
    """
    for number, seen in enumerate(looks, 1):
        database.add(identity, seen.encoding, seen.photo)
        yield number


def portrait_of(identity: str, database: FaceDatabase) -> np.ndarray | None:
    """The newest photo of somebody, (H, W, 3); None if none is kept, or if they are not known any more."""
    try:
        photos = database.photos(identity)
    except UnknownIdentity:
        return None
    return photos[-1] if photos else None


def face_box(photo: np.ndarray) -> tuple[int, int, int, int] | None:
    """Where the largest face of a photo is; None if none is found."""
    try:
        faces = detect_faces(photo)
    except FaceError:
        return None
    return pick_face(faces, photo)["box"] if faces else None
