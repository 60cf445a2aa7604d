"""Many people at once: pairs of name and encoding, drawn from any source, and checked a thousand at a time."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from facerec.database.entries import check_encodings
from facerec.database.names import check_name
from facerec.errors import BadArgument, kind_of


def gather(pairs: Iterable[tuple[Any, Any]], dimension: int | None) -> list[tuple[list[str], Sequence[np.ndarray]]]:
    """Draw and check people.

    Args:
        pairs: Name and encoding, (D,) or (n, D), of each.
        dimension: D, if it is known.

    Returns:
        Pieces of a thousand people: their names, and the encodings (n, D) of each.

    Raises:
        BadArgument: If one of them is not a name or not an encoding.
    """
    pairs, pieces, blocks = iter(pairs), [], _Blocks()
    while some := list(itertools.islice(pairs, 1000)):
        names = [check_name(name) for name, _ in some]
        try:  # encodings that are alike are checked at once, which is much quicker
            encodings = blocks.keep(check_encodings(np.stack([encoding for _, encoding in some])))[:, None]
        except (BadArgument, ValueError, TypeError):  # one by one, to see which is wrong
            encodings = [check_some(one, dimension, f"the encoding of {name!r:.80}") for name, one in some]
        pieces.append((names, encodings))
    return pieces


def numbered_pairs(people: Any, more: Mapping[str, Any]) -> Iterator[tuple[Any, Any]]:
    """The pairs of what a dict's ``update`` takes.

    Raises:
        BadArgument: If something in it is not a pair; the error says which.
    """
    pairs = people.items() if isinstance(people, Mapping) else people
    if not isinstance(pairs, Iterable) or isinstance(pairs, str | bytes):
        raise BadArgument(f"people must be a mapping, or pairs of identity and encoding; it is {kind_of(people)}")
    for number, pair in enumerate(pairs):
        if not isinstance(pair, tuple | list) or len(pair) != 2:
            of_so_many = f" of {len(pair)}" if isinstance(pair, tuple | list) else ""
            raise BadArgument(
                f"people[{number}] must be a pair, identity and encoding; it is {kind_of(pair)}{of_so_many}"
            )
        yield pair[0], pair[1]
    yield from more.items()


def check_like(encodings: Any, dimension: int | None, what: str) -> np.ndarray:
    """Encodings as ``check_encodings`` returns them; of several errors, a wrong D is reported first."""
    try:
        return check_encodings(encodings, None, what)
    except BadArgument:
        check_encodings(encodings, dimension, what)
        raise


def check_some(encodings: Any, dimension: int | None, what: str) -> np.ndarray:
    """Encodings of a person, (n, D), as ``check_like`` returns them.

    Raises:
        BadArgument: If there are none, too.
    """
    checked = check_like(encodings, dimension, what)
    if not len(checked):
        raise BadArgument("a person needs at least one encoding; none was given")
    return checked


class _Blocks:
    """Keeps many small arrays (n, D) in a few large ones, whose memory goes back to the system whole."""

    ROWS = 100_000  # of 128 numbers: 51 MB

    def __init__(self) -> None:
        self.block, self.used = np.empty((0, 0), np.float32), 0

    def keep(self, array: np.ndarray) -> np.ndarray:
        """A copy of an array, in a block."""
        if self.block.shape[1] != array.shape[1] or self.used + len(array) > len(self.block):
            self.block, self.used = np.empty((self.ROWS, array.shape[1]), np.float32), 0
        kept = self.block[self.used : self.used + len(array)]
        kept[:] = array
        self.used += len(array)
        return kept
