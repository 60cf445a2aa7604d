"""A person as Milvus keeps them: one numbered row per encoding; the n-th photo lies in the row of the n-th encoding.

A person is addressed by the SHA-256 of the name, so that no name is ever part of an expression. Bytes are kept as
Base64.
"""

from __future__ import annotations

import base64
import hashlib
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from operator import itemgetter
from typing import Any

import numpy as np

from facerec.database.names import MAX_NAME
from facerec.database.pictures import Picture, pack
from facerec.errors import BadArgument

FIELDS = ("who", "number", "identity", "photo", "thumbnail", "added", "changed")
TEXTS = {"who": 64, "identity": 4 * MAX_NAME, "photo": 65_535, "thumbnail": 65_535}  # field → bytes at most
PHOTO_LIMIT = 45_000  # bytes of a JPEG whose Base64 fits into its field


def who(identity: str) -> str:
    """The key of a person, which is safe in any expression."""
    return hashlib.sha256(identity.encode()).hexdigest()


def fitting(identity: str, pictures: Sequence[Picture], encodings: np.ndarray) -> list[Picture]:
    """The photos, as small as Milvus needs them.

    Raises:
        BadArgument: If there are more photos than encodings.
    """
    if len(pictures) > len(encodings):
        raise BadArgument(
            f"{identity!r} has {len(pictures)} photos and {len(encodings)} encodings; Milvus keeps one photo for each "
            f"encoding"
        )
    return [pack(jpeg, PHOTO_LIMIT) for jpeg, _ in pictures]


def rows_of(
    identity: str, encodings: np.ndarray, pictures: Sequence[Picture], first: int, added: float, changed: float
) -> list[dict[str, Any]]:
    """The rows of a person.

    Args:
        identity: The name.
        encodings: (n, D).
        pictures: n or fewer.
        first: The number of the first row.
        added: Seconds since 1970.
        changed: Seconds since 1970.
    """
    texts = [tuple(map(_to_text, both)) for both in pictures] + [("", "")] * (len(encodings) - len(pictures))
    return [
        dict(zip(FIELDS, (who(identity), first + i, identity, *texts[i], added, changed), strict=True))
        | {"encoding": encoding}
        for i, encoding in enumerate(encodings)
    ]


def pictures_of(rows: Sequence[Mapping[str, Any]]) -> list[Picture]:
    """The photos and thumbnails in some rows."""
    return [(base64.b64decode(row["photo"]), base64.b64decode(row["thumbnail"])) for row in rows if row["photo"]]


def encodings_of(rows: Iterable[Mapping[str, Any]]) -> dict[str, np.ndarray]:
    """By key, the encodings (n, D) of people in the order of their numbers, from rows in any order."""
    people = defaultdict(list)
    for row in sorted(rows, key=itemgetter("number")):
        people[row["who"]].append(row["encoding"])
    return {key: np.array(encodings, np.float32) for key, encodings in people.items()}


def _to_text(data: bytes) -> str:
    return base64.b64encode(data).decode()
