"""From a photo to a name, in the words of the course: load, encode, verify, recognise.

    photo → face → encoding → distance → decision

An encoding is 128 numbers of unit length; the distance between two is Euclidean, from 0 to 2. A database is any
mapping from identity (a person's name) to encoding: a dict, or a ``facerec.database.FaceDatabase`` that lasts.
The library behind these functions is the package ``facerec``.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from facerec._quiet import quietly, say
from facerec.detection import extract_faces, reading_order
from facerec.encoding import faces_to_encodings, img_to_encoding
from facerec.enrol import build_database, judge_portraits
from facerec.errors import BadArgument
from facerec.gallery import open_gallery
from facerec.networks import confidence, info_of, load_facenet, threshold_for
from facerec.photos import Source, load_image

with quietly():
    import keras

__all__ = [
    "build_database",
    "distance_to",
    "identify",
    "img_to_encoding",
    "judge_portraits",
    "load_facenet",
    "load_image",
    "verify",
    "who_is_it",
]


def distance_to(
    photo: Source,
    identity: str,
    database: Mapping[str, np.ndarray],
    model: keras.Model,
    aligned: bool = False,
) -> float:
    """Measure how far the largest face of a photo is from a known person, without a word.

    Args:
        photo: The photo, as anything that ``load_image`` takes.
        identity: The person's name.
        database: Identity → encoding (128,).
        model: The network that made the database's encodings.
        aligned: True if the picture is an aligned face already.

    Returns:
        The Euclidean distance, 0 to 2.

    Raises:
        EmptyDatabase: If the database is empty.
        UnknownIdentity: If no one in the database has that name.
        OtherNetwork: If the database knows that another network made its encodings.
        FaceError: If the photo can't be opened or shows no face.
    """
    known = open_gallery(database, model).encodings(identity)  # (n, 128): one encoding, or the n of a person
    encoding = img_to_encoding(photo, model, aligned)  # (128,)
    return float(np.linalg.norm(known - encoding, axis=1).min())


def verify(
    image_path: Source,
    identity: str,
    database: Mapping[str, np.ndarray],
    model: keras.Model,
    threshold: float | None = None,
    aligned: bool = False,
) -> tuple[float, bool]:
    """Decide whether a person is who they say they are (1:1), and print the verdict.

    Args:
        image_path: A photo of the person at the door.
        identity: The name they claim.
        database: Identity → encoding (128,).
        model: The network that made the database's encodings.
        threshold: The door opens below this distance. None takes the network's own (0.7).
        aligned: True if the picture is an aligned face already.

    Returns:
        distance: Between the photo's encoding and the claimed identity's.
        door_open: True if the distance is below the threshold.

    Raises:
        EmptyDatabase: If the database is empty.
        UnknownIdentity: If no one in the database has that name.
        OtherNetwork: If the database knows that another network made its encodings.
        FaceError: If the photo can't be opened or shows no face.
    """
    threshold = threshold_for(model, threshold)
    distance = distance_to(image_path, identity, database, model, aligned)
    door_open = distance < threshold
    say(f"It's {identity}, welcome in!" if door_open else f"It's not {identity}, please go away")
    return distance, door_open


def who_is_it(
    image_path: Source,
    database: Mapping[str, np.ndarray],
    model: keras.Model,
    threshold: float | None = None,
    aligned: bool = False,
) -> tuple[float, str | None]:
    """Find out who a person is (1:K, or no match), and print it.

    Args:
        image_path: A photo of the person at the door.
        database: Identity → encoding (128,), K of them.
        model: The network that made the database's encodings.
        threshold: Faces farther away than this count as unknown. None takes the network's own (0.7).
        aligned: True if the picture is an aligned face already.

    Returns:
        distance: To the nearest identity in the database.
        identity: Its name, or None if the distance is not below the threshold.

    Raises:
        EmptyDatabase: If the database is empty.
        OtherNetwork: If the database knows that another network made its encodings.
        FaceError: If the photo can't be opened or shows no face.
    """
    threshold = threshold_for(model, threshold)
    gallery = open_gallery(database, model).ready()
    encoding = img_to_encoding(image_path, model, aligned)  # (128,)
    names, distances = gallery.nearest(encoding[None])
    distance, name = float(distances[0, 0]), names[0, 0]
    if distance < threshold:
        say(f"It's {name}, the distance is {distance:.2f}")
        return distance, name
    say("Not in the database.")
    return distance, None


def identify(
    photo: Source,
    database: Mapping[str, np.ndarray],
    model: keras.Model,
    threshold: float | None = None,
    top: int = 1,
    prior: float | None = None,
) -> pd.DataFrame:
    """Name every face of a photo.

    Args:
        photo: A photo with any number of faces.
        database: Identity → encoding (128,), K of them.
        model: The network that made the database's encodings.
        threshold: Faces farther away than this count as unknown. None takes the network's own (0.7).
        top: How many of the nearest identities to list for each face.
        prior: The probability, before looking, that a face shows a particular person of the database. None takes
            1 / (K + 1): each of the K people is as likely as a stranger. At a door where nearly everyone is known it
            is higher, in a street far lower; so is the confidence.

    Returns:
        A table with ``top`` rows per face, the faces in reading order: ``face`` (its number), ``box`` (x, y, width,
        height in pixels), ``identity`` (``nearest``, or None for an unknown face), ``distance`` to ``nearest``,
        ``confidence`` (the probability, 0..1, that the face shows that person; NaN for a network that was never
        calibrated), ``rank`` (1 is the nearest), ``is_unknown`` (the distance is not below the threshold) and
        ``nearest`` (the identity of that rank). No rows if the photo shows no face.

    Raises:
        EmptyDatabase: If the database is empty.
        UnreadableImage: If the picture can't be opened.
    """
    threshold = threshold_for(model, threshold)
    if not isinstance(top, int) or top < 1:
        raise BadArgument(f"top={top!r}: how many identities to list per face, at least 1")
    gallery, info = open_gallery(database, model).ready(), info_of(model)
    faces, detections = extract_faces(load_image(photo), info.side, info.template)
    names, distances = gallery.nearest(faces_to_encodings(faces, model), top)  # (faces, top)
    rows = []
    for face, i in enumerate(reading_order([found["box"] for found in detections])):
        for rank, (name, distance) in enumerate(zip(names[i], distances[i].tolist(), strict=True), 1):
            unknown = not distance < threshold
            rows.append((face, detections[i]["box"], None if unknown else name, distance, rank, unknown, name))
    columns = ["face", "box", "identity", "distance", "rank", "is_unknown", "nearest"]
    table = pd.DataFrame(rows, columns=columns, dtype=object)  # object: None stays None
    table = table.astype({"face": int, "distance": float, "rank": int, "is_unknown": bool})
    prior = 1 / (len(database) + 1) if prior is None else prior
    table.insert(columns.index("distance") + 1, "confidence", confidence(table.distance, model, prior))
    return table
