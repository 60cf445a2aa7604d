"""From a photo to a name, in the words of the course: load, encode, verify, recognise.

    photo → face → encoding → distance → decision

An encoding is 128 numbers of unit length; the distance between two is Euclidean, from 0 to 2. A database is any
mapping from identity (a person's name) to encoding: a dict, or a ``facerec.database.FaceDatabase`` that lasts.
The library behind these functions is the package ``facerec``.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from facerec._quiet import quietly, say
from facerec.encoding import img_to_encoding
from facerec.enrol import build_database, judge_portraits
from facerec.gallery import open_gallery
from facerec.naming import identify
from facerec.networks import info_of, load_facenet, threshold_for
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
    """Measure how far the largest face of a photo is from a known person, without printing anything.

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
        threshold: Faces farther away than this count as unknown. None takes the network's own (0.7), as for one person,
            and a second sentence says so if more than one stranger in ten would get a name among so many people.
        aligned: True if the picture is an aligned face already.

    Returns:
        distance: To the nearest identity in the database.
        identity: Its name, or None if the distance is not below the threshold.

    Raises:
        EmptyDatabase: If the database is empty.
        OtherNetwork: If the database knows that another network made its encodings.
        FaceError: If the photo can't be opened or shows no face.
    """
    own, threshold = threshold is None, threshold_for(model, threshold)
    gallery = open_gallery(database, model).ready()
    encoding = img_to_encoding(image_path, model, aligned)  # (128,)
    names, distances = gallery.nearest(encoding[None])
    distance, name = float(distances[0, 0]), names[0, 0]
    is_known = distance < threshold
    say(f"It's {name}, the distance is {distance:.2f}" if is_known else "Not in the database.")
    if own:
        _warn_of_strangers(model, len(database))
    return distance, name if is_known else None


def _warn_of_strangers(model: keras.Model, people: int) -> None:
    """Say how many strangers get a name among K people at the threshold for one, if it is more than one in ten."""
    info = info_of(model)
    if info.false_accepts and (share := info.false_accepts.strangers_named(info.threshold, people)) > 0.1:
        strict = threshold_for(model, people=people)
        say(
            f"(Among {people:,} people, {info.threshold:.2f} gives up to {share:.0%} of strangers a name; "
            f"threshold={strict:.2f} gives 1%.)"
        )
