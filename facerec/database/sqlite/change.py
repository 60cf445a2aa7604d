"""What can be done within one transaction of SQLite."""

from __future__ import annotations

import sqlite3
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from facerec.database.engine import Addition, Change, check_fits
from facerec.database.sqlite.file import checksum_of

if TYPE_CHECKING:
    from facerec.database.sqlite.engine import SQLite


@dataclass
class SQLiteChange(Change):
    """The steps of one transaction, each done at once; leaving the context commits them.

    Attributes:
        engine: Whose transaction it is.
        db: Its connection.
        number: The number of this change; people who are touched by it get it.
    """

    engine: SQLite
    db: sqlite3.Connection
    number: int

    @property
    def dimension(self) -> int | None:
        """The engine's D."""
        return self.engine.dimension

    def set(self, key: str, value: Any) -> None:
        """Set an entry of ``state``."""
        self.db.execute("UPDATE state SET value = ? WHERE key = ?", (value, key))

    def note(self, network: str | None, dimension: int | None) -> None:
        """Writes the two entries of ``state``, if they are empty."""
        check_fits(self.engine, network, dimension)
        self.switch(network or self.engine.network, dimension or self.engine.dimension)

    def switch(self, network: str | None, dimension: int | None) -> None:
        """Note another network and D, whatever was noted."""
        for key, value in (("network", network), ("dimension", dimension)):
            if getattr(self.engine, key) != value:
                self.set(key, value)
        self.engine.network, self.engine.dimension = network, dimension

    def _number_of(self, identity: str) -> int | None:
        found = self.db.execute("SELECT id FROM people WHERE identity = ?", (identity,)).fetchall()
        return found[0][0] if found else None

    def has(self, identity: str) -> bool:
        """Sees what this transaction has done so far."""
        return self._number_of(identity) is not None

    def put(self, new: Addition) -> None:
        """Keeps any number of photos, whatever the number of encodings."""
        if self.dimension != new.encodings.shape[1]:
            self.note(None, new.encodings.shape[1])
        added, changed = new.times or (time.time(),) * 2
        person = self.db.execute(
            "INSERT INTO people (identity, added, changed, change, checksum) VALUES (?, ?, ?, ?, ?) ON CONFLICT"
            " (identity) DO UPDATE SET changed = excluded.changed, change = excluded.change RETURNING id",
            (new.identity, added, changed, self.number, checksum_of(0, new.identity.encode())),
        ).fetchall()[0][0]
        if new.replace:
            self.db.execute("DELETE FROM encodings WHERE person = ?", (person,))
            self.db.execute("DELETE FROM photos WHERE person = ?", (person,))
        self._insert(person, new.encodings)
        rows = [(person, *both, checksum_of(person, *both)) for both in new.pictures]
        self.db.executemany("INSERT INTO photos (person, jpeg, thumbnail, checksum) VALUES (?, ?, ?, ?)", rows)

    def encode(self, identity: str, encodings: np.ndarray) -> None:
        """Give a person other encodings, (n, D); the photos stay."""
        person = self._number_of(identity)
        self.db.execute("UPDATE people SET change = ?, changed = ? WHERE id = ?", (self.number, time.time(), person))
        self.db.execute("DELETE FROM encodings WHERE person = ?", (person,))
        self._insert(person, encodings)

    def _insert(self, person: int, encodings: np.ndarray) -> None:
        kept = (encoding.astype("<f4").tobytes() for encoding in encodings)
        rows = [(person, encoding, checksum_of(person, encoding)) for encoding in kept]
        self.db.executemany("INSERT INTO encodings (person, encoding, checksum) VALUES (?, ?, ?)", rows)

    def drop(self, identity: str) -> bool:
        """Notes the person's number in ``gone``, so that other processes drop the rows that they hold."""
        person = self._number_of(identity)
        if person is not None:
            self.db.execute("DELETE FROM people WHERE id = ?", (person,))
            self.db.execute("INSERT INTO gone VALUES (?, ?)", (person, self.number))
        return person is not None

    def rename(self, old: str, new: str) -> None:
        """Changes one row; the number of the person stays."""
        values = (new, time.time(), checksum_of(0, new.encode()), old)
        self.db.execute("UPDATE people SET identity = ?, changed = ?, checksum = ? WHERE identity = ?", values)

    # --------------------------------------------------------------------------------------------- forgetting
    def begin_forgetting(self) -> int:
        """Note that files hold traces that must go; from now on index files of earlier states are refused.

        Returns:
            The number of this forgetting, for ``finish_forgetting``.
        """
        self.db.execute("UPDATE state SET value = value + 1 WHERE key = 'forgets'")
        self.set("unfinished", 1)
        return self.engine.state_of("forgets")

    def finish_forgetting(self, number: int) -> None:
        """Note that the traces are gone, unless another person was forgotten since the forgetting of this number."""
        if self.engine.state_of("forgets") == number:
            self.set("unfinished", 0)

    def prune(self) -> None:
        """Empty ``gone``; a process that has not read it yet reads everyone anew."""
        self.db.execute("DELETE FROM gone")
        self.set("pruned", self.number)
