"""What a picture shows, and how a person is added by it.

    photo ──look──► Look: the face, its encoding, hints for a better picture ──enrol──► the database

Nothing here needs a page.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from apps.certainty import probability_among
from facerec._quiet import quietly
from facerec.database import FaceDatabase, known_like, told_apart
from facerec.detection import Detection, align_face, detect_faces, no_face_in, upright
from facerec.encoding import faces_to_encodings
from facerec.errors import UnknownIdentity
from facerec.gallery import open_gallery
from facerec.networks import info_of
from facerec.quality import face_quality

with quietly():
    import keras


SAME_PICTURE = 0.01  # encodings that are nearer come from one picture: two pictures of a person differ by far more


@dataclass(frozen=True)
class Look:
    """A face of a photo.

    Attributes:
        photo: (H, W, 3) uint8.
        detection: Where the face is, as ``detect_faces`` returns it.
        count: How many faces the photo shows.
        encoding: (D,) float32.
        face: The aligned face, (S, S, 3) uint8.
        turn: By how many degrees ``photo`` was turned clockwise, because the face was not upright in it.
    """

    photo: np.ndarray
    detection: Detection
    count: int
    encoding: np.ndarray
    face: np.ndarray
    turn: int = 0

    @property
    def hints(self) -> tuple[str, ...]:
        """What there is to say about the picture, a sentence each."""
        several = [f"there are {self.count} faces in it: the largest is used"] if self.count > 1 else []
        return (*several, *self.remarks)

    @property
    def remarks(self) -> tuple[str, ...]:
        """What there is to say about this face, a sentence each: that it was turned, and its flaws."""
        return (*filter(None, [turned_by(self.turn)]), *self.flaws)

    @property
    def flaws(self) -> tuple[str, ...]:
        """What would make a better picture of this face, a sentence each."""
        return face_quality(self.photo, self.detection).hints


def turned_by(degrees: int) -> str:
    """How a picture was turned, in a sentence; empty if it was not.

    Example:
        >>> turned_by(270)
        'the picture was turned by 90° to the left: no clear face was upright in it'
    """
    how = {90: "by 90° to the right", 180: "by 180°", 270: "by 90° to the left"}.get(degrees)
    return f"the picture was turned {how}: no clear face was upright in it" if how else ""


def look(photo: np.ndarray, model: keras.Model, name: str = "the picture") -> Look:
    """Find and encode the largest face of a photo (H, W, 3).

    Raises:
        NoFaceFound: If there is no face; the error calls the picture by its name.
    """
    return look_at_each(photo, model, name, most=1)[0]


def look_at_each(photo: np.ndarray, model: keras.Model, name: str = "the picture", most: int = 10) -> list[Look]:
    """Find and encode the faces of a photo (H, W, 3), the largest first; of more than ``most``, the largest.

    Raises:
        NoFaceFound: If there is no face; the error calls the picture by its name.
    """
    (photo, found, turn), info = upright_faces(photo), info_of(model)
    if not found:
        raise no_face_in(photo, name)
    faces = np.stack([align_face(photo, each["keypoints"], info.side, info.template) for each in found[:most]])
    encodings = faces_to_encodings(faces, model)
    return [Look(photo, found[i], len(found), encodings[i], faces[i], turn) for i in range(len(faces))]


def upright_faces(photo: np.ndarray) -> tuple[np.ndarray, list[Detection], int]:
    """A photo (H, W, 3), turned if its largest face lies on its side; its faces, the largest first; the turn."""
    found = detect_faces(photo)
    if found and found[0]["turn"]:
        turned = upright(photo, found[0])
        if again := detect_faces(turned):
            return turned, again, found[0]["turn"]
    return photo, found, 0


def sure_of(
    identity: str, distance: float, encoding: np.ndarray, database: FaceDatabase, model: keras.Model
) -> tuple[float, tuple[str, float] | None]:
    """How probable a claim is, compared with everyone.

    Args:
        identity: Who the face is said to be.
        distance: From the face to that person.
        encoding: Of the face, (D,).
        database: The known people.
        model: The network that made their encodings.

    Returns:
        The probability that it is that person, if before looking that was as likely as not; and the nearest other
        person with their distance, if someone else is nearer.
    """
    names, distances = open_gallery(database, model).nearest(encoding[None], k=6)
    near = [(n, float(d)) for n, d in zip(names[0], distances[0], strict=True) if n not in (None, identity)][:5]
    probability = probability_among([distance, *(d for _, d in near)], model, len(database), prior=0.5)
    return probability, next((other for other in near[:1] if other[1] < distance), None)


def looks_like(
    seen: Look, database: FaceDatabase, model: keras.Model, threshold: float, but: str = ""
) -> tuple[str, float] | None:
    """The person of the database that a face would be taken for, and the distance; None if there is no match.

    Args:
        seen: The face.
        database: The known people.
        model: The network that made their encodings.
        threshold: A smaller distance counts as one person.
        but: A name that does not count: whose face it is said to be.
    """
    if not len(database):
        return None
    names, distances = open_gallery(database, model).nearest(seen.encoding[None], k=2)
    near = [(n, float(d)) for n, d in zip(names[0], distances[0], strict=True) if n not in (None, but.strip())]
    return near[0] if near and near[0][1] < threshold else None


def is_kept(seen: Look, identity: str, database: FaceDatabase) -> bool:
    """Whether the database has this very picture of a person already; no one has pictures of an unknown person."""
    if identity not in database:
        return False
    return bool((np.linalg.norm(database.encodings(identity) - seen.encoding, axis=1) < SAME_PICTURE).any())


def namesakes(name: str, database: FaceDatabase) -> dict[str, str]:
    """The known people whose names are easily taken for a name, as "LENA" for "lena", each with a question."""
    told = {other: told_apart([name, other]) for other in known_like(name, database)}
    return {other: f"{known} is already known. Is {ours} the same person?" for other, (ours, known) in told.items()}


def far_apart(encodings: Sequence[np.ndarray], threshold: float) -> list[tuple[int, int, float]]:
    """Which pictures look like two people: their numbers, and the distance between them.

    Args:
        encodings: One for each picture, (D,).
        threshold: A smaller distance counts as one person.

    Example:
        >>> far_apart([np.zeros(2), np.zeros(2), np.array([0.0, 0.9])], 0.7)
        [(0, 2, 0.9), (1, 2, 0.9)]
    """
    pairs = (
        (i, j, float(np.linalg.norm(encodings[i] - encodings[j]))) for j in range(len(encodings)) for i in range(j)
    )
    return [(i, j, distance) for i, j, distance in pairs if not distance < threshold]


def enrol(identity: str, looks: Sequence[Look], database: FaceDatabase) -> Iterator[int]:
    """Add one or more pictures of a person to the database.

    Yields:
        How many pictures are safely on the disk so far.
    """
    for number, seen in enumerate(looks, 1):
        database.add(identity, seen.encoding, upright(seen.photo, seen.detection))
        yield number


def portrait_of(identity: str, database: FaceDatabase) -> np.ndarray | None:
    """The newest photo of a person, (H, W, 3); None if none is kept, or if the person is no longer known."""
    try:
        photos = database.photos(identity)
    except UnknownIdentity:
        return None
    return photos[-1] if photos else None
