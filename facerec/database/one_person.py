"""Rearrange one person's pictures in one step: all of it is kept, or nothing changes.

identity ──arrange──► some pictures left out, another portrait
identity, other ──merge──► one person with the pictures of both
identity ──take_out──► Person ──put_back──► as before: a removal, undone
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from facerec.database.engine import Addition
from facerec.database.names import as_looked_up
from facerec.database.pictures import Picture
from facerec.errors import BadArgument

if TYPE_CHECKING:
    from facerec.database.engine import Engine
    from facerec.database.face_database import FaceDatabase


@dataclass(frozen=True)
class Person:
    """A person outside of the database.

    Attributes:
        identity: The name.
        encodings: (n, D) float32.
        pictures: The kept photos with their thumbnails, as JPEGs; the last one is the portrait.
    """

    identity: str
    encodings: np.ndarray = field(repr=False)
    pictures: list[Picture] = field(repr=False)


def arrange(database: FaceDatabase, identity: str, order: Sequence[int]) -> None:
    """Keep some of a person's pictures, in this order; the last one becomes the portrait.

    Args:
        database: Where the person is.
        identity: The name.
        order: Numbers of pictures as in ``database.photos(identity)``, each once, at least one.

    Raises:
        UnknownPerson: If no one has that name.
        BadArgument: If the order makes no sense, or the person has encodings without a photo, so that it is not known
            which belongs to which.

    Example:
        >>> from facerec.database import FaceDatabase
        >>> database = FaceDatabase(":memory:")
        >>> for number in range(3):
        ...     database.add("lena", np.eye(3)[number], np.full((9, 9, 3), 80 * number, np.uint8))
        >>> arrange(database, "lena", [2, 0])
        >>> database.encodings("lena").argmax(axis=1).tolist(), int(database.thumbnail("lena").max())
        ([2, 0], 0)
    """
    engine = database._engine
    with engine.change() as change:
        person = _read(database, engine, identity)
        count = len(person.encodings)
        if len(person.pictures) != count:
            photos = f"{len(person.pictures)} photos"
            raise BadArgument(
                f"{identity} has {count} encodings and {photos}, so it is not known which belong together"
            )
        if not order or sorted(set(order)) != sorted(order) or not set(order) <= set(range(count)):
            raise BadArgument(f"order={list(order)!r:.80}: numbers below {count}, each once, at least one")
        pictures = [person.pictures[number] for number in order]
        change.put(Addition(person.identity, person.encodings[list(order)], pictures, replace=True))


def merge(database: FaceDatabase, identity: str, other: str) -> None:
    """Make two people one: the pictures of the other become pictures of the first, whose portrait stays.

    Raises:
        UnknownPerson: If no one has one of the names.
        BadArgument: If both are one person.
    """
    engine = database._engine
    with engine.change() as change:
        first, second = _read(database, engine, identity), _read(database, engine, other)
        if first.identity == second.identity:
            raise BadArgument(f"other={other!r}: the same person as {identity!r}; two people are needed")
        encodings = np.concatenate([second.encodings, first.encodings])
        pictures = [*second.pictures, *first.pictures]
        change.put(Addition(first.identity, encodings, pictures, replace=True))
        change.drop(second.identity)


def take_out(database: FaceDatabase, identity: str) -> Person:
    """Remove a person, and return what is needed to put them back.

    Raises:
        UnknownPerson: If no one has that name.
    """
    engine = database._engine
    with engine.change() as change:
        person = _read(database, engine, identity)
        change.drop(person.identity)
    return person


def put_back(database: FaceDatabase, person: Person) -> None:
    """Undo ``take_out``. The day on which they were added is the day on which they are put back.

    Raises:
        BadArgument: If someone of that name was added meanwhile.
    """
    with database._engine.change() as change:
        if change.has(person.identity):
            raise BadArgument(f"{person.identity!r} can't be put back: another person got that name meanwhile")
        change.put(Addition(person.identity, person.encodings, person.pictures))


def _read(database: FaceDatabase, engine: Engine, identity: str) -> Person:
    """A person as they are kept; within a change, no one else changes them."""
    encodings = database.encodings(identity)  # an unknown name is refused here
    kept = as_looked_up(identity)
    return Person(kept, encodings, list(engine.pictures(kept)))
