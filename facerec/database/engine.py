"""What ``FaceDatabase`` asks of whatever keeps the people: two contracts, written once.

    FaceDatabase ──► Engine ──change()──► Change
                       ▲ SQLite    one file, one transaction per change
                       └ Milvus    a server, or its engine in a file

An engine gets only what ``entries`` has checked: names as ``check_name`` returns them, encodings of unit length, packed
photos. Shapes: m faces, n encodings of one person, D numbers each, k people to name.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from facerec.database.entries import other_network
from facerec.database.pictures import Picture
from facerec.errors import BadArgument


@dataclass(frozen=True)
class Addition:
    """Encodings and photos for a person, known or new.

    Attributes:
        identity: The name.
        encodings: (n, D) float32 of unit length, n ≥ 1.
        pictures: Packed photos, each with its thumbnail.
        replace: Whether they take the place of the earlier encodings and photos.
        times: When the person was added and last changed, in seconds since 1970; by default now.
    """

    identity: str
    encodings: np.ndarray
    pictures: Sequence[Picture] = ()
    replace: bool = False
    times: tuple[float, float] | None = None


class Change(Protocol):
    """Several steps that belong together. They take effect when the context of ``Engine.change`` is left.

    Attributes:
        dimension: D, or None as long as nothing has fixed it.
    """

    dimension: int | None

    def has(self, identity: str) -> bool:
        """Whether a person of that name is known, as far as the steps so far go."""

    def note(self, network: str | None, dimension: int | None) -> None:
        """Note the network and D where nothing is noted yet.

        Args:
            network: Its fingerprint; None leaves what is noted.
            dimension: D; None leaves what is noted.

        Raises:
            OtherNetwork: If another network is noted.
            BadArgument: If another D is noted.
        """

    def put(self, new: Addition) -> None:
        """Add encodings and photos to a person, known or new.

        Raises:
            BadArgument: If D is another one than here, or the engine can't keep so many photos.
        """

    def drop(self, identity: str) -> bool:
        """Remove a person; False if no one has that name. Traces may stay in the files."""

    def rename(self, old: str, new: str) -> None:
        """Give a known person a name that no one has."""


class Engine(Protocol):
    """Keeps people, and finds the nearest among them. Threads and processes may use several at once.

    Every method raises ``BadDatabase`` if the files or the server can't be used, and ``OtherNetwork`` if another
    process has re-encoded everyone for another network.

    Attributes:
        where: Its address, for messages.
        network: The fingerprint of the network that made the encodings, or None.
        dimension: D, or None as long as there is no encoding.
        photo_limit: The largest photo that it keeps, in bytes of JPEG; None for any.
    """

    where: str
    network: str | None
    dimension: int | None
    photo_limit: int | None

    def expect(self, network: str | None, dimension: int | None, sure: bool = False) -> None:
        """Work for this network from now on; note it if none is noted yet.

        Args:
            network: Its fingerprint; None takes whatever is noted.
            dimension: Its D, if that is known.
            sure: Whether people who came without a network are known to be encoded by this one.

        Raises:
            OtherNetwork: If another one is noted, or people came without a network and ``sure`` is False.
            BadArgument: If D is another one than here.
        """

    def state(self) -> Hashable:
        """A value that every change of people makes another one."""

    def change(self) -> AbstractContextManager[Change]:
        """A context to change people in: leaving it makes the steps last, an error within it drops them.

        Other changes wait. Each engine says how far several steps are all or nothing after a kill.
        """

    def replace_all(
        self,
        state: Hashable,
        network: str,
        dimension: int | None,
        people: Mapping[str, np.ndarray],
        lost: Sequence[str],
    ) -> bool:
        """Give everyone new encodings, of another network; photos stay.

        Args:
            state: ``state()`` as it was when the photos were read.
            network: The new network's fingerprint.
            dimension: Its D.
            people: Identity → new encodings (n, D).
            lost: Who has none, and is removed.

        Returns:
            False, with nothing changed, if someone has changed people since ``state``.
        """

    def count(self) -> int:
        """How many people are known."""

    def names(self) -> Iterator[str]:
        """The names, in the order in which they came."""

    def encodings(self, identity: str) -> np.ndarray | None:
        """A person's encodings, (n, D) float32, the oldest first; None if no one has that name."""

    def pictures(self, identity: str) -> list[Picture]:
        """A person's photos with their thumbnails, the oldest first."""

    def table(self) -> list[tuple[str, int, int, float, float]]:
        """Name, number of encodings, number of photos, added, changed (seconds since 1970) of each person."""

    def at_rest(self) -> AbstractContextManager[None]:
        """A context in which everything is read from one state, whatever others write meanwhile."""

    def entries(self) -> Iterator[tuple[str, np.ndarray, float, float]]:
        """Name, encodings (n, D), added, changed (seconds since 1970) of each person."""

    def nearest(self, probes: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        """The k nearest people of each probe.

        Args:
            probes: (m, D) float32 of unit length.
            k: At least 1.

        Returns:
            Names, (m, k), None where there are fewer people, and Euclidean distances, (m, k) float32, infinite there.

        Raises:
            BadArgument: If D is another one than here.
        """

    def forget(self, identity: str) -> bool:
        """Remove a person from all files; False if no one has that name.

        Raises:
            NotForgottenYet: If the person is removed, but a trace may be left for now.
        """

    def tidy(self) -> None:
        """Give back unused space, and remove the traces of people who were removed.

        Raises:
            NotForgottenYet: If a trace may be left for now.
        """

    def settle(self, timeout: float | None = None) -> bool:
        """Wait for a search index that is being built, at most ``timeout`` seconds; whether searches use one now."""

    def is_gone(self) -> bool:
        """Whether the file that was opened no longer has its name."""

    def close(self) -> None:
        """Let go of files and connections."""


def check_fits(engine: Engine, network: str | None, dimension: int | None) -> None:
    """Refuse encodings of another network, or of another D, than those that an engine holds.

    Args:
        engine: Whose ``network`` and ``dimension`` count; None there fits everything.
        network: The fingerprint of their network, or None.
        dimension: Their D, or None.

    Raises:
        OtherNetwork: If the networks differ.
        BadArgument: If the D's differ.
    """
    if network and engine.network and network != engine.network:
        raise other_network(engine.where, engine.network, network)
    if dimension and engine.dimension and dimension != engine.dimension:
        raise BadArgument(f"these encodings have {dimension} numbers; those in {engine.where} have {engine.dimension}")


def not_found(m: int, k: int) -> tuple[np.ndarray, np.ndarray]:
    """What ``Engine.nearest`` returns for an empty database: no names, infinite distances, (m, k) each."""
    return np.full((m, k), None, object), np.full((m, k), np.inf, np.float32)
