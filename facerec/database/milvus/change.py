"""Steps that belong together, gathered and checked before the first of them is sent to Milvus."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from facerec.database.engine import Addition, Change, check_fits
from facerec.database.entries import BadDatabase
from facerec.database.milvus.calls import one_of
from facerec.database.milvus.rows import FIELDS, fitting, rows_of, who
from facerec.errors import BadArgument

if TYPE_CHECKING:
    from facerec.database.milvus.engine import Milvus

AT_ONCE = 10_000  # rows in one call: each costs the server a tick of its clock, some tenths of a second
BYTES_AT_ONCE = 16_000_000  # of photos
ONE_BY_ONE = 100  # so many names are looked up alone, or as many as a thousandth of all people


@dataclass(frozen=True)
class _Drop:
    """A person to remove."""

    identity: str
    rows, size = 1, 0


class _Put(Addition):
    """A person to write."""

    @property
    def rows(self) -> int:
        """How many rows they take."""
        return len(self.encodings)

    @property
    def size(self) -> int:
        """How many bytes their photos take."""
        return sum(len(data) for both in self.pictures for data in both)


class MilvusChange(Change):
    """Gathers steps; ``send`` does them, in order, many people in one call.

    They wait in memory until then: 512 bytes for an encoding of 128 numbers, at most 45 kB for a photo.
    """

    def __init__(self, engine: Milvus) -> None:
        self.engine, self.dimension = engine, engine.dimension
        self.known: dict[str, bool] = {}  # name → whether these steps make the person known or unknown
        self.steps: list[_Put | _Drop | Callable[[], Any]] = []
        self.asked, self.one_by_one, self.everyone = 0, ONE_BY_ONE, None

    def has(self, identity: str) -> bool:
        """Asks the server about people that no step so far concerns; after many questions, for everyone at once."""
        if identity in self.known:
            return self.known[identity]
        self.asked += 1
        if self.everyone is None and self.asked > self.one_by_one:
            self.one_by_one = max(self.one_by_one, self.engine.count() // 1000)
            self.everyone = self.engine.keys() if self.asked > self.one_by_one else None
        return self.engine.has(identity) if self.everyone is None else who(identity) in self.everyone

    def note(self, network: str | None, dimension: int | None) -> None:
        """Makes the first collection, too, if D is known."""
        check_fits(self.engine, network, dimension)
        if dimension and self.dimension and dimension != self.dimension:
            raise BadArgument(f"encodings of {dimension} and of {self.dimension} numbers in one change")
        self.dimension = self.dimension or dimension
        self.steps.append(partial(self.engine.note, network, dimension))

    def put(self, new: Addition) -> None:
        """Keeps one photo for each encoding at most, and makes photos smaller if need be."""
        if self.dimension != new.encodings.shape[1]:
            self.note(None, new.encodings.shape[1])
        pictures = fitting(new.identity, new.pictures, new.encodings)
        self.steps.append(_Put(new.identity, new.encodings, pictures, new.replace, new.times))
        self.known[new.identity] = True

    def drop(self, identity: str) -> bool:
        """Knows at once whether there is anything to send."""
        known = self.has(identity)
        if known:
            self.known[identity] = False
            self.steps.append(_Drop(identity))
        return known

    def rename(self, old: str, new: str) -> None:
        """Writes the person's rows anew under the other key, then deletes the old ones."""
        self.known |= {old: False, new: True}
        self.steps.append(partial(self._rename, old, new))

    # ------------------------------------------------------------------------------------------------- sending
    def send(self) -> None:
        """Do the steps.

        Raises:
            BadDatabase: If one fails; it says how many are done.
        """
        done = 0
        for some in _together(self.steps):
            try:
                self._do(some)
            except self.engine.failures as error:
                raise BadDatabase(
                    f"{self.engine.where} can't be used: {done} of {len(self.steps)} changes are done and stay; "
                    f"do the others again ({error})"
                ) from error
            done += len(some)

    def _do(self, some: list) -> None:
        if isinstance(some[0], _Put):
            self._put(some)
        elif isinstance(some[0], _Drop):
            self._drop(some)
        else:
            some[0]()

    def _put(self, some: list[_Put]) -> None:
        engine, dimension = self.engine, some[0].encodings.shape[1]
        if engine.dimension != dimension:
            engine.note(None, dimension)
        newest = any(person.replace for person in some)  # others' rows must not stay beside these
        old = self._rows_of(some, ["id", "who", "number", "added"], newest)
        rows, gone = [], []
        for person in some:
            before = old[who(person.identity)]
            first = 0 if person.replace or not before else max(row["number"] for row in before) + 1
            added = min((row["added"] for row in before), default=None)
            times = person.times or (added or time.time(), time.time())
            rows += rows_of(person.identity, person.encodings, person.pictures, first, *times)
            gone += [row["id"] for row in before] if person.replace else []
        calls = 1 + sum(person.size for person in some) // BYTES_AT_ONCE  # one person alone may have more than fits
        step, others = -(-len(rows) // calls), {row["id"] for before in old.values() for row in before}
        for start in range(0, len(rows), step):
            engine.calls.insert(engine.people, rows[start : start + step], others)
        engine.calls.delete(engine.people, gone, {who(person.identity) for person in some})

    def _drop(self, some: list[_Drop]) -> None:
        old = self._rows_of(some, ["id", "who"])
        gone = [row["id"] for before in old.values() for row in before]
        self.engine.calls.delete(self.engine.people, gone, {who(person.identity) for person in some})

    def _rows_of(
        self, some: Sequence[_Put | _Drop], fields: Sequence[str], newest: bool = False
    ) -> dict[str, list[dict]]:
        """By key, the rows of some people; ``newest`` waits for what others have written just now."""
        found, keys = defaultdict(list), {who(person.identity) for person in some}
        for row in self.engine.query(one_of(keys), fields, keys, newest):
            found[row["who"]].append(row)
        return found

    def _rename(self, old: str, new: str) -> None:
        engine, keys = self.engine, {who(old), who(new)}
        rows = sorted(engine.rows_of(old, ["id", *FIELDS, "encoding"]), key=lambda row: row["number"])
        ids = [row.pop("id") for row in rows]
        fresh = [{**row, "who": who(new), "identity": new, "changed": time.time()} for row in rows]
        engine.calls.insert(engine.people, fresh)
        engine.calls.delete(engine.people, ids, keys)


def _together(steps: Sequence[Any]) -> Iterator[list]:
    """Steps that one call can do, in order: people to write, or to remove, each once and not too many; or another."""
    some, names, rows, size = [], set(), 0, 0
    for step in steps:
        person = isinstance(step, _Put | _Drop)
        fits = person and some and type(step) is type(some[0]) and step.identity not in names
        if some and not (fits and rows + step.rows <= AT_ONCE and size + step.size <= BYTES_AT_ONCE):
            yield some
            some, names, rows, size = [], set(), 0, 0
        some.append(step)
        if person:
            names.add(step.identity)
            rows, size = rows + step.rows, size + step.size
    if some:
        yield some
