"""A dict of encodings or a ``FaceDatabase``, queried in the same way.

    database, model ──open_gallery──► gallery ──distance_from(gallery, identity, encodings)──► 1:1
                                              ──gallery.nearest(encodings, k)──────────────► 1:K

Only this module decides which of the two a database is.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Hashable, Mapping, MutableMapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Protocol

import numpy as np

from facerec.database import FaceDatabase, fingerprint_of, mean_encoding
from facerec.database.entries import check_encodings, other_network, unlabelled
from facerec.errors import BadArgument, EmptyDatabase, UnknownIdentity, kind_of
from facerec.network_info import check_model

if TYPE_CHECKING:
    import keras


class Gallery(Protocol):
    """K known people, as a search sees them."""

    def ready(self) -> Gallery:
        """Read and check every entry now, so that a bad one is reported before any photo is opened."""

    def encodings(self, identity: str) -> np.ndarray:
        """The encodings (n, D) that a person is compared by; an unknown name raises ``UnknownIdentity``."""

    def nearest(self, encodings: np.ndarray, k: int = 1) -> tuple[np.ndarray, np.ndarray]:
        """The k nearest people of each of (m, D) encodings: their names and distances, (m, k) each."""

    def nearest_to_track(self, encodings: np.ndarray) -> tuple[str | None, float]:
        """The person nearest to several encodings (m, D) of one face, by the root mean square of the distances."""


def open_gallery(database: Mapping[str, np.ndarray], model: keras.Model) -> Gallery:
    """Make a database of either kind ready to be asked.

    Args:
        database: Identity → encoding, K of them: a dict or a ``FaceDatabase``.
        model: The network that made the encodings.

    Returns:
        The gallery. A dict's entries are read at the first search, or by ``ready``; a ``FaceDatabase`` may change
        meanwhile.

    Raises:
        BadArgument: If the database is not a mapping.
        EmptyDatabase: If it is empty.
        OtherNetwork: If it knows that another network made its encodings.
    """
    if not isinstance(database, Mapping):
        raise BadArgument(f"database must map names to encodings, as a dict does; it is {kind_of(database)}")
    _check_filled(database)
    check_network(database, check_model(model))
    return LastingGallery(database) if is_lasting(database) else DictGallery(database, model)


def distance_from(gallery: Gallery, identity: str, encodings: np.ndarray) -> float:
    """The distance of one face from a known person.

    Args:
        gallery: Of ``open_gallery``.
        identity: The person's name.
        encodings: One or more encodings of the face, (D,) or (m, D).

    Returns:
        The Euclidean distance; of several encodings, the root mean square. If the person is compared by several
        encodings, the nearest of them counts.

    Raises:
        UnknownIdentity: If no one has that name.
    """
    known = gallery.encodings(identity)  # (n, D)
    distances = np.linalg.norm(known[:, None] - np.atleast_2d(encodings)[None], axis=2)  # (n, m)
    return float(np.sqrt(np.square(distances).mean(axis=1)).min())


class DictGallery:
    """The encodings of a dict, as one matrix."""

    def __init__(self, database: Mapping[str, np.ndarray], model: keras.Model) -> None:
        self._database, self._dimension, self._network = database, model.output_shape[-1], model.name

    @cached_property
    def _known(self) -> tuple[np.ndarray, np.ndarray]:
        """The names (K,) and their encodings (K, D)."""
        names = np.empty(len(self._database), object)  # np.array would take names that are tuples apart
        names[:] = list(self._database)
        return names, np.stack([self._encoding(name) for name in names])

    def ready(self) -> DictGallery:
        """Build the matrix."""
        _ = self._known
        return self

    def encodings(self, identity: str) -> np.ndarray:
        """The one encoding of a person, (1, D)."""
        if not isinstance(identity, Hashable) or identity not in self._database:
            raise unknown_identity(identity, self._database)
        return self._encoding(identity)[None]

    def nearest(self, encodings: np.ndarray, k: int = 1) -> tuple[np.ndarray, np.ndarray]:
        """The k nearest people of each encoding; of people equally near, the one who came first."""
        names, known = self._known
        distances = np.linalg.norm(encodings[:, None] - known[None], axis=2)  # (m, K)
        order = np.argsort(distances, axis=1, kind="stable")[:, :k]
        return names[order], np.take_along_axis(distances, order, axis=1)

    def nearest_to_track(self, encodings: np.ndarray) -> tuple[str, float]:
        """The person with the smallest root mean square distance."""
        names, known = self._known
        squares = np.square(known).sum(axis=1) + np.square(encodings).sum(axis=1).mean()
        distances = np.sqrt(np.maximum(0, squares - 2 * known @ encodings.mean(axis=0)))  # (K,)
        best = int(distances.argmin())
        return names[best], float(distances[best])

    def _encoding(self, identity: str) -> np.ndarray:
        """An entry as (D,), whether it was kept as (D,) or, as in the course, as (1, D)."""
        value = self._database[identity]
        try:
            return check_encodings(np.reshape(value, -1), self._dimension, "it")[0]
        except (BadArgument, TypeError, ValueError) as error:
            problem = f"the database's entry for {identity} is not an encoding of {self._network}"
            raise BadArgument(f"{problem}: {error}") from error


class LastingGallery:
    """A ``FaceDatabase``, which searches by itself, also among a million people."""

    def __init__(self, database: FaceDatabase) -> None:
        self._database = database

    def ready(self) -> LastingGallery:
        """Nothing to do: a ``FaceDatabase`` checks what it stores."""
        return self

    def encodings(self, identity: str) -> np.ndarray:
        """All encodings of a person, or their mean, as the database's ``represent`` says."""
        known = self._database.encodings(identity)
        return known if self._database.represent == "nearest" else mean_encoding(known)[None]

    def nearest(self, encodings: np.ndarray, k: int = 1) -> tuple[np.ndarray, np.ndarray]:
        """The k nearest people of each encoding."""
        _check_filled(self._database)
        return self._database.nearest(encodings, min(k, len(self._database)))

    def nearest_to_track(self, encodings: np.ndarray) -> tuple[str | None, float]:
        """The person nearest to the mean; None if everyone was removed meanwhile."""
        mean = encodings.mean(axis=0)
        length = max(float(np.linalg.norm(mean)), 1e-9)
        identities, distances = self._database.nearest(mean / length if length > 1e-3 else encodings[0])
        alike = 1 - float(distances[0, 0]) ** 2 / 2  # the cosine, the largest of all known people
        square = 1 + float(np.square(encodings).sum(axis=1).mean()) - 2 * length * alike
        return identities[0, 0], float(np.sqrt(max(0.0, square)))


def is_lasting(database: object) -> bool:
    """Whether it is a ``FaceDatabase``, which keeps photos and several encodings of a person; a dict does not."""
    return isinstance(database, FaceDatabase)


def prepare_to_enrol(database: Mapping[str, np.ndarray], model: keras.Model) -> None:
    """Check that a database may take encodings of this network; an empty lasting one without a label is labelled.

    Raises:
        OtherNetwork: If it holds encodings of another network.
    """
    check_network(database, model)
    if is_lasting(database) and database.network is None:
        database.label(model)


def enrol(
    database: MutableMapping[str, np.ndarray],
    identity: str,
    encodings: np.ndarray,
    photos: Sequence[np.ndarray],
    on_conflict: str = "add",
) -> None:
    """Add a person by encodings (n, D), all or none of them: a dict by their mean, a lasting one with the photos.

    Args:
        database: A dict, or a ``FaceDatabase``.
        identity: The person.
        encodings: (n, D) of unit length.
        photos: n photos (H, W, 3), which a ``FaceDatabase`` keeps.
        on_conflict: "add" if they join earlier ones, "replace" if they take their place, as they always do in a dict;
            with anything else, the person must be new.

    Raises:
        BadArgument: If no one can have that name, or the person must be new and is not.
    """
    if is_lasting(database):
        new = on_conflict not in ("add", "replace")
        database.add(identity, encodings, list(photos), replace=on_conflict == "replace", new=new)
    else:
        database[identity] = mean_encoding(encodings)


def check_network(database: Mapping[str, np.ndarray], model: keras.Model) -> None:
    """Refuse a database that knows its network, if it is another one.

    Raises:
        OtherNetwork: If another network made the encodings, or if that should be noted and is not.
    """
    noted = getattr(database, "network", None)
    if is_lasting(database) and noted is None and database:
        raise unlabelled(database.where, fingerprint_once(model))
    if isinstance(noted, str) and noted != fingerprint_once(model):
        raise other_network(getattr(database, "where", "the database"), noted, fingerprint_once(model))


def fingerprint_once(model: keras.Model) -> str:
    """The model's ``fingerprint_of``, a hash of all its weights, computed at the first call."""
    if not hasattr(model, "facenet_fingerprint"):
        model.facenet_fingerprint = fingerprint_of(model)
    return model.facenet_fingerprint


def unknown_identity(identity: str, database: Mapping[str, np.ndarray]) -> UnknownIdentity:
    """The error for a name that is not in the database; it suggests similar names."""
    similar = difflib.get_close_matches(str(identity), [str(name) for name in database], n=3)
    hint = f"; did you mean {' or '.join(similar)}?" if similar else f"; it knows {len(database)} people"
    if isinstance(identity, str | os.PathLike) and os.path.isfile(identity):
        hint = "; that is a file: are picture and name swapped?"
    return UnknownIdentity(f"the database has no one called {identity!r:.60}{hint}")


def _check_filled(database: Mapping[str, np.ndarray]) -> None:
    if len(database) == 0:
        raise EmptyDatabase(
            "the database is empty; build_database('images', model) fills one (into=database for one that lasts)"
        )
