"""Pictures that are searched once, and who is in them, at any threshold and after any change of the people.

    a picture ──search──► Searched: its faces with their encodings ──recognise──► a row per face: who, how sure
                                                                   ──strangers──► unknown faces, a group per person

Nothing here needs a page.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from apps.certainty import Certainty, probability_among
from apps.pictures import around, jpeg, smaller
from apps.streamlit.looking import look_at_each
from facerec._quiet import quietly
from facerec.clusters import cluster_encodings
from facerec.clusters.linkage import distances_to_centres
from facerec.detection import reading_order
from facerec.errors import NoFaceFound
from facerec.gallery import open_gallery
from facerec.live.drawing import annotate
from facerec.live.tracking import Track
from facerec.networks import info_of
from facerec.photos import load_image

with quietly():
    import keras

MOST = 200  # faces of one picture, the largest ones
NEAREST = 5  # people who are named for each face
KEPT = 1.4  # times as wide as a face is what is kept of it: no larger, or other faces are on it, too
PAGE_SIDE = 1000  # pixels of the longer side of a picture on the page

#: What is known about a face, once it is compared with everyone.
KNOWN, DOUBTFUL, UNKNOWN = "known", "doubtful", "unknown"

COLUMNS = ["picture", "face", "who", "status", "distance", "confidence", "nearest", "others", "problem"]


@dataclass(frozen=True)
class Face:
    """One face of a picture.

    Attributes:
        box: (x, y, width, height) in the picture's pixels.
        encoding: (D,) float32.
        picture: The face with what is around it, as a JPEG: what is kept if someone names it.
        hints: What would make a better picture, a sentence each.
    """

    box: tuple[int, int, int, int]
    encoding: np.ndarray
    picture: bytes
    hints: tuple[str, ...] = ()


@dataclass(frozen=True)
class Searched:
    """One picture and its faces.

    Attributes:
        name: What the page calls it.
        picture: The picture as the page shows it, scaled down, as a JPEG; None if it can't be opened.
        faces: In reading order.
        problem: Why there are none; empty if there are.
        scale: The size of ``picture``, relative to the pixels that the boxes are in.
    """

    name: str
    picture: bytes | None
    faces: tuple[Face, ...]
    problem: str = ""
    scale: float = 1.0


def search(photo: np.ndarray, name: str, model: keras.Model) -> Searched:
    """Find and encode the faces of a photo (H, W, 3); one that lies on its side is turned."""
    try:
        seen = look_at_each(photo, model, name, most=MOST)
    except NoFaceFound:
        seen = []
    photo = seen[0].photo if seen else photo
    small = smaller(photo, PAGE_SIDE)
    faces = tuple(
        Face(each.detection["box"], each.encoding, jpeg(around(photo, each.detection, KEPT), 640), each.remarks)
        for each in (seen[i] for i in reading_order([each.detection["box"] for each in seen]))
    )
    return Searched(
        name, jpeg(small, PAGE_SIDE, 92), faces, "" if faces else "no face found", small.shape[1] / photo.shape[1]
    )


def recognise(
    pictures: Sequence[Searched], database: Mapping[str, np.ndarray], model: keras.Model, threshold: float
) -> pd.DataFrame:
    """Compare all faces of some pictures with everyone.

    Args:
        pictures: Of ``search``.
        database: The known people.
        model: The network that made all encodings.
        threshold: Faces farther away than this count as unknown.

    Returns:
        A row per face, and one for each picture without a face: ``picture``, ``face`` (from 1), ``who`` (a name, or
        "unknown"), ``status`` (known, doubtful or unknown), ``distance``, ``confidence`` (0..1, that the nearest person
        is right), ``nearest``, ``others`` (the nearest five, with distances) and ``problem``. The index is the number
        of the picture.
    """
    faces = [face.encoding for each in pictures for face in each.faces]
    names, distances = _nearest(faces, database, model)
    rows, found = [], iter(zip(names, distances, strict=True))
    for number, each in enumerate(pictures):
        rows += [
            (number, each.name, face, *_named(*next(found), len(database), model, threshold), "")
            for face in range(1, len(each.faces) + 1)
        ]
        if each.problem:
            rows.append((number, each.name, pd.NA, "", "", np.nan, np.nan, "", "", each.problem))
    table = pd.DataFrame(rows, columns=["number", *COLUMNS]).set_index("number")
    return table.astype({"face": "Int64", "distance": float, "confidence": float})


def _nearest(encodings: Sequence[np.ndarray], database: Mapping, model: keras.Model) -> tuple[np.ndarray, np.ndarray]:
    """The nearest people of each face: names and distances, (m, k) each."""
    if not encodings:
        return np.empty((0, 0), object), np.empty((0, 0))
    return open_gallery(database, model).nearest(np.stack(encodings), NEAREST)


def _named(
    names: np.ndarray, distances: np.ndarray, people: int, model: keras.Model, threshold: float
) -> tuple[str, str, float, float, str, str]:
    """One face in the columns of the table: who, status, distance, confidence, nearest, others."""
    near = [(name, float(distance)) for name, distance in zip(names, distances, strict=True) if name is not None]
    (nearest, distance), is_known = near[0], near[0][1] < threshold
    confidence = float(np.clip(probability_among([d for _, d in near], model, people), 0.001, 0.999))  # never certain
    doubtful = Certainty(is_known, confidence).is_doubtful
    status = DOUBTFUL if doubtful else KNOWN if is_known else UNKNOWN
    others = "; ".join(f"{name} {d:.2f}" for name, d in near)
    return nearest if is_known else "unknown", status, round(distance, 3), round(confidence, 3), nearest, others


def strangers(pictures: Sequence[Searched], table: pd.DataFrame, model: keras.Model) -> list[list[Face]]:
    """The unknown faces, a group for each person, the largest group and the most typical face first.

    Args:
        pictures: Of ``search``.
        table: Of ``recognise``, for the same pictures.
        model: The network that made the encodings.
    """
    rows = table[table.who == "unknown"]
    faces = [pictures[number].faces[face - 1] for number, face in zip(rows.index, rows.face, strict=True)]
    if not faces:
        return []
    encodings = np.stack([face.encoding for face in faces])
    cluster = cluster_encodings(encodings, info_of(model).cluster_threshold)
    distances = distances_to_centres(encodings, cluster)
    members = [np.flatnonzero(cluster == number) for number in range(cluster.max() + 1)]
    return [[faces[i] for i in rows[np.argsort(distances[rows], kind="stable")]] for rows in members]


class Numbered(Track):
    """A face whose label begins with its number in the picture."""

    @property
    def label(self) -> str:
        """The number and the name, or ``unknown``."""
        return f"{self.id} {self.identity or 'unknown'}"


def drawn(each: Searched, rows: pd.DataFrame) -> bytes:
    """A picture with boxes, numbers and names, as a JPEG; ``rows`` are its faces in the table."""
    tracks = [
        Numbered(number, np.array(face.box, float) * each.scale, None if who == "unknown" else who, distance, True)
        for face, number, who, distance in zip(each.faces, rows.face, rows.who, rows.distance, strict=True)
    ]
    return jpeg(annotate(load_image(each.picture), tracks), PAGE_SIDE)
