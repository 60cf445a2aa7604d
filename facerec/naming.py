"""Names for the faces of a photo: every face, compared with everyone in a database.

photo, database ──identify──► a table: face, box, identity, distance, confidence, …
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from facerec.detection import extract_faces, reading_order
from facerec.encoding import faces_to_encodings
from facerec.errors import BadArgument
from facerec.gallery import open_gallery
from facerec.network_info import confidence, info_of, threshold_for
from facerec.photos import Source, load_image

if TYPE_CHECKING:
    import keras

#: The columns of ``identify`` but for the confidence, and their types: in those of objects, None stays None.
COLUMNS = {
    "face": int,
    "box": object,
    "identity": object,
    "distance": float,
    "rank": int,
    "is_unknown": bool,
    "nearest": object,
}


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
        threshold: Faces farther away than this count as unknown. None takes the network's own for K people, at which
            one stranger in a hundred gets a name (see ``threshold_for``).
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
    if not isinstance(top, int) or top < 1:
        raise BadArgument(f"top={top!r}: how many identities to list per face, at least 1")
    gallery, info = open_gallery(database, model).ready(), info_of(model)
    threshold = threshold_for(model, threshold, len(database))
    faces, detections = extract_faces(load_image(photo), info.side, info.template)
    names, distances = gallery.nearest(faces_to_encodings(faces, model), top)  # (faces, top)
    rows = []
    for face, i in enumerate(reading_order([found["box"] for found in detections])):
        for rank, (name, distance) in enumerate(zip(names[i], distances[i].tolist(), strict=True), 1):
            unknown = not distance < threshold
            rows.append((face, detections[i]["box"], None if unknown else name, distance, rank, unknown, name))
    values = zip(*rows, strict=True) if rows else [()] * len(COLUMNS)
    table = pd.DataFrame(
        {name: pd.Series(each, dtype=COLUMNS[name]) for name, each in zip(COLUMNS, values, strict=True)}
    )
    prior = 1 / (len(database) + 1) if prior is None else prior
    table.insert(table.columns.get_loc("distance") + 1, "confidence", confidence(table.distance, model, prior))
    return table
