"""The SQLite engine: changes as transactions, reading in pieces, and forgetting without a trace."""

from __future__ import annotations

import errno
import glob
import os
import sqlite3
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress

import numpy as np

from facerec.database.archive import unfinished_exports
from facerec.database.engine import Engine
from facerec.database.entries import BadDatabase, NotForgottenYet, unlabelled
from facerec.database.pictures import Picture
from facerec.database.sqlite.change import SQLiteChange
from facerec.database.sqlite.memory import Searched


class SQLite(Searched, Engine):
    """People in an SQLite file. A change is all on the disk when it returns; after an error or a kill, none of it is.

    Args:
        where: The path, or ``":memory:"``.
        represent: "mean" or "nearest".
    """

    photo_limit: int | None = None
    truncate_within = 5.0  # seconds to wait for readers before a forgetting is called unfinished

    def __init__(self, where: str, represent: str) -> None:
        super().__init__(where, represent)
        if self.state_of("unfinished"):
            with suppress(NotForgottenYet, BadDatabase):
                self._tidy(within=0.5)

    # ------------------------------------------------------------------------------------------- which network
    def expect(self, network: str | None, dimension: int | None, sure: bool = False) -> None:
        """Notes it in a transaction of its own."""
        before, self.wanted = self.wanted, network
        try:
            self._check_network()
            self._keep_to_the_network()
            if (network or self.network, dimension or self.dimension) != (self.network, self.dimension):
                with self.change() as change:
                    if network and not self.network and not sure and self.count():
                        raise unlabelled(self.where, network)
                    change.note(network, dimension)
        except BaseException:
            self.wanted = before
            raise

    def _keep_to_the_network(self) -> None:
        """Callers who named no network keep to the noted one: once others re-encode everyone, they are refused."""
        self.wanted = self.wanted or self.network

    def state(self) -> int:
        """The number of the last change."""
        return self.state_of("change")

    # ------------------------------------------------------------------------------------------------- changes
    @contextmanager
    def change(self) -> Iterator[SQLiteChange]:
        """One transaction: all of it lasts, or none. Other processes wait for its end, ``busy_after`` at most."""
        with self.lock:
            with self._explained():
                db = self._connection()
                self.refuse_damage()
                db.execute("BEGIN IMMEDIATE")
            try:
                with self._explained():
                    self._check_network()
                    db.execute("UPDATE state SET value = value + 1 WHERE key = 'change'")
                    change = SQLiteChange(self, db, self.state_of("change"))
                    yield change
                    self._check_files()
                    db.execute("COMMIT")
                    self._check_files()  # a file that went between the two took the change along
                self._keep_to_the_network()
            except BaseException:
                with suppress(BadDatabase):
                    self._take_back(db)
                raise
            finally:
                self.fresh = False

    def _take_back(self, db: sqlite3.Connection) -> None:
        if db.in_transaction:
            db.execute("ROLLBACK")
        self.network, self.dimension = self._noted()
        self._keep_to_the_network()
        if self.rows is not None and self.rows.change > self.state():
            self.rows = None  # a search within the transaction has read them

    def replace_all(
        self, state: int, network: str, dimension: int | None, people: Mapping[str, np.ndarray], lost: Sequence[str]
    ) -> bool:
        """Replaces everything in one transaction."""
        self.wanted = None
        with self.change() as change:
            if change.number != state + 1:
                return False
            change.switch(network, dimension)
            for identity, encodings in people.items():
                change.encode(identity, encodings)
            for identity in lost:
                change.drop(identity)
        self.wanted = network
        self._check_network()
        return True

    # ------------------------------------------------------------------------------------------------- reading
    def count(self) -> int:
        """Counts the rows of ``people``."""
        return self.read("SELECT count(*) FROM people")[0][0]

    def names(self) -> Iterator[str]:
        """Reads a thousand at a time, so a million take no memory."""
        for people in self.people(1000):
            yield from (identity for _, identity, *_ in people)

    def encodings(self, identity: str) -> np.ndarray | None:
        """Reads the file, not the memory: several encodings of a person may be one mean there."""
        with self.at_rest():
            person = self.number_of(identity)
            found = [] if person is None else self.encodings_of([person])
        if person is not None and not found:
            raise self.damaged(f"every encoding of {identity!r}")
        return (
            np.stack([np.frombuffer(encoding, "<f4") for _, _, encoding, _ in found]).astype(np.float32)
            if found
            else None
        )

    def pictures(self, identity: str) -> list[Picture]:
        """Gives photos and thumbnails as they were packed, byte for byte."""
        with self.at_rest():
            person = self.number_of(identity)
            return [] if person is None else self.photos_of(person)

    def table(self) -> list[tuple[str, int, int, float, float]]:
        """Ordered by the numbers of people; damaged encodings and photos count, too."""
        with self.at_rest():
            everyone = [person for people in self.people(1000) for person in people]
            encodings, photos = (
                Counter(dict(self.read(f"SELECT person, count(*) FROM {table} GROUP BY person")))
                for table in ("encodings", "photos")
            )
        return [(name, encodings[number], photos[number], *times) for number, name, *times in everyone]

    def entries(self) -> Iterator[tuple[str, np.ndarray, float, float]]:
        """Reads 500 people at a time; people without an intact encoding are left out."""
        for people in self.people(500):
            if not people:
                continue
            ids, encodings = self._arrays(self.encodings_of(range(people[0][0], people[-1][0] + 1)))
            for number, identity, added, changed in people:
                start, stop = np.searchsorted(ids, [number, number + 1])
                if start < stop:
                    yield identity, encodings[start:stop], added, changed

    # ---------------------------------------------------------------------------------------------- forgetting
    def forget(self, identity: str) -> bool:
        """Deletes and overwrites, reads the file through for traces, and rewrites it if there may be one."""
        self._halt()
        with self.lock:
            with self.change() as change:
                encodings = self.encodings(identity)
                if encodings is None:
                    return False
                traces = [identity.encode(), *(_piece(e.astype("<f4").tobytes()) for e in encodings)]
                traces += [_piece(data, at) for both in self.pictures(identity) for data in both for at in (1, 2, 3)]
                change.drop(identity)
                if self.state_of("unfinished"):  # an earlier one left traces, and no one knows which
                    traces = None
                number = change.begin_forgetting()
            self._erase(traces, self.truncate_within, number)
        return True

    def tidy(self) -> None:
        """Empties ``gone``, and rewrites the file."""
        self._tidy(self.truncate_within)

    def _tidy(self, within: float) -> None:
        self._halt()
        with self.lock:
            with self.change() as change:
                change.prune()
                number = self.state_of("forgets")
            self._erase(None, within, number)

    def _erase(self, traces: list[bytes] | None, within: float, number: int) -> None:
        """Leave nothing of what was deleted.

        Args:
            traces: Bytes that must not be in the file any more; if it holds none of them, it is not written anew. None
                if they are not known.
            within: Seconds to wait for other processes that read.
            number: ``forgets`` when this began. A person who was forgotten after that may have left traces that this
                does not look for, so only the process that forgot them may note that it is finished.
        """
        if self.path is None:
            self._vacuum()
            return
        try:
            self._remove_copies()
            self._truncate(within)
            if traces is None or self._holds_any(traces):
                self._vacuum()
                self._truncate(within)
            with self.change() as change:
                change.finish_forgetting(number)
        except (OSError, sqlite3.OperationalError, BadDatabase) as error:
            raise NotForgottenYet(
                f"{self.where}: removed, but a trace may be left in its files, because {_reason(error)} ({error}); "
                f"tidy(), or opening it again, removes it"
            ) from error
        with suppress(OSError, sqlite3.OperationalError):
            self._truncate(0.1)

    def _remove_copies(self) -> None:
        """Remove the index files, and exports beside the database that were not finished: they hold everyone."""
        for path in self._index_paths():
            for file in (path, *path.parent.glob(f".unfinished_*_{glob.escape(path.name)}")):
                file.unlink(missing_ok=True)
        for file in unfinished_exports(self.path.parent):
            file.unlink(missing_ok=True)
        if self.rows is not None:
            self.rows.saved = False

    def _truncate(self, within: float) -> None:
        """Bring everything from the WAL into the database, and empty it."""
        self.db.execute(f"PRAGMA busy_timeout = {int(within * 1000)}").fetchall()
        try:
            busy = self.db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
            if busy:
                raise sqlite3.OperationalError("the WAL is being read")
        finally:
            self.db.execute(f"PRAGMA busy_timeout = {int(self.busy_after * 1000)}").fetchall()

    def _vacuum(self) -> None:
        self.db.execute("VACUUM")
        self.fresh = False

    def _holds_any(self, traces: list[bytes]) -> bool:
        descriptor, longest, before = self._descriptor(), max(map(len, traces)), b""
        os.lseek(descriptor, 0, os.SEEK_SET)
        while piece := os.read(descriptor, 1 << 22):
            content = before + piece
            if any(trace in content for trace in traces):
                return True
            before = content[-longest:]
        return False


def _reason(error: OSError | sqlite3.Error) -> str:
    """What keeps a file from being emptied or rewritten."""
    if "full" in str(error) or getattr(error, "errno", None) == errno.ENOSPC:
        return "the disk is full: make as much room as the database takes"
    used = any(word in str(error) for word in ("locked", "busy", "being read"))
    return "another process is using them" if used else "they can't be written"


def _piece(data: bytes, quarter: int = 2) -> bytes:
    """64 bytes of something, by which to find it."""
    start = max(len(data) * quarter // 4 - 32, 0)
    return data[start : start + 64]
