"""People in one SQLite file: every change is one transaction, and whoever is forgotten leaves no trace.

    SQLite    the engine: connections, changes, reading, searching, the index, forgetting
    _Change   what can be done within a transaction

The encodings are held in memory too, to search among: ``search``.
"""

from __future__ import annotations

import glob
import os
import sqlite3
import threading
import time
import uuid
import warnings
import weakref
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from facerec.database.entries import (
    SCHEMA,
    BadDatabase,
    NotForgottenYet,
    Picture,
    make_folder_of,
    mean_encoding,
    other_network,
    unlabelled,
)
from facerec.database.search import Abandoned, Index, IndexFile, Rows, View, can_index, nobody
from facerec.errors import BadArgument, FaceError

#: From so many rows on, a search index is built in the background: below it, one matrix product is as quick.
INDEX_FROM = 150_000


APPLICATION = 0x46414345  # how SQLite files of this project are marked


SETTINGS = (
    "synchronous = FULL",  # a change is on the disk before it is acknowledged
    "foreign_keys = ON",
    "secure_delete = ON",  # what is deleted is overwritten
    "cache_size = -32000",
    "journal_size_limit = 67108864",
)


TABLES = """
CREATE TABLE state (key TEXT PRIMARY KEY, value) WITHOUT ROWID;
CREATE TABLE people (
    id INTEGER PRIMARY KEY AUTOINCREMENT, identity TEXT NOT NULL UNIQUE,
    added REAL NOT NULL, changed REAL NOT NULL, change INTEGER NOT NULL);
CREATE INDEX people_change ON people (change);
CREATE TABLE encodings (
    id INTEGER PRIMARY KEY AUTOINCREMENT, person INTEGER NOT NULL REFERENCES people (id) ON DELETE CASCADE,
    encoding BLOB NOT NULL);
CREATE INDEX encodings_person ON encodings (person);
CREATE TABLE photos (
    id INTEGER PRIMARY KEY AUTOINCREMENT, person INTEGER NOT NULL REFERENCES people (id) ON DELETE CASCADE,
    jpeg BLOB NOT NULL, thumbnail BLOB NOT NULL);
CREATE INDEX photos_person ON photos (person);
CREATE TABLE gone (person INTEGER PRIMARY KEY, change INTEGER NOT NULL);
CREATE INDEX gone_change ON gone (change);
"""


#: change: counts every transaction · pruned: up to which change ``gone`` was emptied · forgets: counts ``forget``
#: · unfinished: 1 while traces of somebody forgotten may be in the files.
STATE = {"network": None, "dimension": None, "change": 0, "pruned": 0, "forgets": 0, "unfinished": 0}


class SQLite:
    """People in an SQLite file, and their encodings in memory too, kept up to date with what other processes write.

    Every transaction has a number, the change; a person knows the change that touched their encodings last, and
    ``gone`` lists the numbers (never the names) of those removed. So whoever knows the state at change c reads what
    came after c, and nothing else.
    """

    photo_limit: int | None = None
    busy_after = 30.0  # seconds to wait for other processes
    truncate_within = 5.0  # seconds to wait for readers before a forgetting is called unfinished

    def __init__(self, where: str, represent: str) -> None:
        self.where, self.represent = where, represent
        self.path = None if where == ":memory:" else Path(os.path.realpath(where))  # as SQLite names what lies beside
        self.given = os.path.abspath(where)
        self.files: dict[str, tuple[int, int] | None] = {}
        self.descriptors: list[int] = []
        self.lock = threading.RLock()
        self.rows: Rows | None = None
        self.seen, self.fresh = None, False
        self.builder, self.stop, self.can_build = None, threading.Event(), True
        self.wanted: str | None = None
        self.network = self.dimension = None
        self.db = None
        self._connect()
        _ENGINES[id(self)] = self
        if self.state_of("unfinished"):
            with suppress(NotForgottenYet, BadDatabase):
                self.tidy(within=0.5)

    # ---------------------------------------------------------------------------------------- connections
    def _connect(self) -> None:
        made = []
        if self.path is not None:
            make_folder_of(self.path, self.where)
            if os.path.isdir(self.path):
                raise BadArgument(f"where={self.where!r} is a folder; a file is needed")
            made = self._make_private()
            self._free_shared_memory()
        where, before = (":memory:" if self.path is None else self.given), _file_at(self.given)
        with self._explained():  # of a file that is no database, too
            self.process, self.seen, self.fresh = os.getpid(), None, False
            self.db, self.files, self.descriptors = None, {}, made
            try:
                self.db = sqlite3.connect(where, self.busy_after, isolation_level=None, check_same_thread=False)
                self._set_up()
            except BaseException:
                self._give_up(before)
                raise
        if self.path is not None:
            self.files = {name: _file_at(name) for name in (self.given, f"{self.path}-wal", f"{self.path}-shm")}
            self.files[self.given] = before or self.files[self.given]

    def _give_up(self, file: tuple[int, int] | None) -> None:
        if self.db is not None:
            self.db.close()
        self.files = {self.given: file}  # another one here may have it open
        self._close_descriptors()
        self.db, self.files = None, {}

    def _make_private(self) -> list[int]:
        """Make the file, if it is not there, so that its owner alone may read it; SQLite makes those beside it alike.

        Returns:
            What it is open by: no other thread may have the file open in SQLite when that is closed (``_descriptor``).
        """
        try:
            made = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o600)
        except OSError:  # it is there, or SQLite says what is wrong
            return []
        if os.name == "posix":
            os.fchmod(made, 0o600)  # umask may take the owner's rights, too
        return [made]

    def _free_shared_memory(self) -> None:
        """Let what SQLite left beside a file that was write-protected be written, once the file may be."""
        if os.name == "posix" and os.path.exists(self.path) and _may(self.path, os.W_OK):
            mode = os.stat(self.path).st_mode & 0o777
            for name in (f"{self.path}-wal", f"{self.path}-shm"):
                if os.path.isfile(name) and not _may(name, os.W_OK):
                    with suppress(OSError):  # it is somebody else's
                        os.chmod(name, mode)

    def _set_up(self) -> None:
        self._refuse_others()
        deadline = time.monotonic() + self.busy_after
        while True:  # while another process sets it up too, SQLite says "locked" at once
            try:
                self.db.execute("PRAGMA journal_mode = WAL").fetchone()
                break
            except sqlite3.OperationalError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.01)
        for setting in SETTINGS:
            self.db.execute(f"PRAGMA {setting}").fetchall()
        if not self._is_ours():
            self._make_tables()
        self.name = self.state_of("database")

    def _is_ours(self) -> bool:
        return self.db.execute("PRAGMA application_id").fetchone()[0] == APPLICATION

    def _make_tables(self) -> None:
        self.db.execute("BEGIN IMMEDIATE")
        if not self._is_ours():  # unless another process was quicker
            for statement in TABLES.split(";"):
                self.db.execute(statement)
            state = {**STATE, "database": uuid.uuid4().hex, "format": SCHEMA}
            self.db.executemany("INSERT INTO state VALUES (?, ?)", state.items())
            self.db.execute(f"PRAGMA application_id = {APPLICATION}")
            self.db.execute(f"PRAGMA user_version = {SCHEMA}")
        self.db.execute("COMMIT")

    def _refuse_others(self) -> None:
        """Refuse files that are not ours before anything is changed in them."""
        tables = self.db.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]
        version = self.db.execute("PRAGMA user_version").fetchone()[0]
        if tables and not self._is_ours():
            raise BadDatabase(f"{self.where} is an SQLite file, but of another program")
        if version > SCHEMA:
            raise BadDatabase(
                f"{self.where} was written by a newer version of this project (format {version}; this one reads "
                f"{SCHEMA}): open it with that"
            )

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Say in this project's words what SQLite complains about."""
        try:
            yield
        except sqlite3.Error as error:
            raise BadDatabase(f"{self.where} {self._meant_by(str(error))} ({error})") from error

    def _meant_by(self, error: str) -> str:
        if "locked" in error or "busy" in error:
            return f"has been busy for {self.busy_after:g} s: another process writes"
        if "readonly" in error or "unable to open" in error:
            return self._forbidden()
        return "can't be used"

    def _forbidden(self) -> str:
        """What this user may not do with the file, and what to do about it."""
        file, folder = self.path or self.where, os.path.dirname(self.path or "") or "."
        there = os.path.exists(file)
        if there and not _may(file, os.R_OK):
            return "can't be read: this user may not read the file; change what it permits"
        able = {"the file": not there or _may(file, os.W_OK), "its folder": _may(folder, os.W_OK | os.X_OK)}
        if all(able.values()):
            return "can't be written: look who may write the files beside it (-wal, -shm), and whether the disk is full"
        forbidden = " or ".join(what for what, may in able.items() if not may)
        return (
            f"can't be written: this user may not write {forbidden}; change what both permit, or copy it into a folder "
            f"of your own"
        )

    def _check_files(self, *names: str) -> None:
        """Refuse to go on once a file is gone, or another one has its name: what is written would be nowhere."""
        for name in names or self.files:
            if _file_at(name) != self.files[name]:
                raise BadDatabase(
                    f"{name} was removed, moved or replaced while the database was open here: nothing more is kept; "
                    f"close it, see where the file is, and open it again"
                )

    def _connection(self) -> sqlite3.Connection:
        if self.db is None:
            raise BadDatabase(f"{self.where} is closed")
        if self.process != os.getpid() and self.path is not None:  # a fork must not use its parent's connection
            _ABANDONED.append(self.db)
            self.lock, self.builder, self.stop = threading.RLock(), None, threading.Event()
            self.files = {self.given: self.file}  # the parent may have closed it, and taken the WAL along
            self._check_files()
            self._connect()
        elif self.files:
            self._check_files(self.given)  # to write, all of them are; that takes longer
        return self.db

    def read(self, statement: str, values: Sequence = ()) -> list[tuple]:
        """The rows of a query."""
        with self.lock, self._explained():
            return self._connection().execute(statement, values).fetchall()

    def state_of(self, key: str) -> Any:
        """An entry of the table ``state``."""
        return self.read("SELECT value FROM state WHERE key = ?", (key,))[0][0]

    def state(self) -> int:
        """The number of the last change."""
        return self.state_of("change")

    def expect(self, network: str | None, dimension: int | None, sure: bool = False) -> None:
        """Make sure that these are the encodings of this network; note it if nobody has said so yet.

        Args:
            network: Its fingerprint.
            dimension: Its D.
            sure: Whether to believe it of people who are in the database already.
        """
        before, self.wanted = self.wanted, network
        try:
            self._check_state()
            self._keep_to_the_network()
            if (network or self.network, dimension or self.dimension) != (self.network, self.dimension):
                with self.change() as change:
                    if network and not self.network and not sure and self.count():
                        raise unlabelled(self.where, network)
                    change.note(network, dimension)
        except BaseException:
            self.wanted = before
            raise

    def _check_state(self) -> None:
        """Read which network it is for; another process may have encoded everybody anew."""
        known = dict(self.read("SELECT key, value FROM state WHERE key IN ('network', 'dimension')"))
        if self.wanted and known["network"] and known["network"] != self.wanted:
            raise other_network(self.where, known["network"], self.wanted)
        self.network, self.dimension = known["network"], known["dimension"]

    def _keep_to_the_network(self) -> None:
        """Whoever named no network keeps to the noted one: when others encode anew, they are refused from then on."""
        self.wanted = self.wanted or self.network

    # --------------------------------------------------------------------------------------------- changes
    @contextmanager
    def change(self) -> Iterator[_Change]:
        """A transaction: all of it is on the disk once this is left, or, after an error or a kill, nothing."""
        with self.lock:
            with self._explained():
                db = self._connection()
                db.execute("BEGIN IMMEDIATE")
            try:
                with self._explained():
                    self._check_state()
                    db.execute("UPDATE state SET value = value + 1 WHERE key = 'change'")
                    change = _Change(self, db, self.state_of("change"))
                    yield change
                    self._check_files()
                    db.execute("COMMIT")
                    self._check_files()  # what came between the two is not acknowledged either
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
            self.rows = None  # somebody searched within the transaction

    def _noted(self) -> tuple[str | None, int | None]:
        known = dict(self.read("SELECT key, value FROM state WHERE key IN ('network', 'dimension')"))
        return known["network"], known["dimension"]

    def replace_all(
        self, state: int, network: str | None, dimension: int | None, people: Mapping, lost: Sequence[str]
    ) -> bool:
        """New encodings for everybody; False, and nothing, if something was changed since ``state``."""
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
        self._check_state()
        return True

    # --------------------------------------------------------------------------------------------- reading
    def count(self) -> int:
        """How many people."""
        return self.read("SELECT count(*) FROM people")[0][0]

    def names(self) -> Iterator[str]:
        """Their names, in order; read in pieces, so that a million take no memory."""
        last = 0
        while piece := self.read("SELECT id, identity FROM people WHERE id > ? ORDER BY id LIMIT 1000", (last,)):
            yield from (identity for _, identity in piece)
            last = piece[-1][0]

    def encodings(self, identity: str) -> np.ndarray | None:
        """A person's encodings, (n, D), or None."""
        rows = self.read(
            "SELECT encoding FROM encodings JOIN people ON person = people.id WHERE identity = ? ORDER BY encodings.id",
            (identity,),
        )
        return np.stack([np.frombuffer(row[0], "<f4") for row in rows]).astype(np.float32) if rows else None

    def pictures(self, identity: str) -> list[Picture]:
        """A person's photos and thumbnails."""
        return self.read(
            "SELECT jpeg, thumbnail FROM photos JOIN people ON person = people.id"
            " WHERE identity = ? ORDER BY photos.id",
            (identity,),
        )

    def table(self) -> list[tuple]:
        """A row per person."""
        return self.read(
            "SELECT identity, (SELECT count(*) FROM encodings WHERE person = people.id),"
            " (SELECT count(*) FROM photos WHERE person = people.id), added, changed FROM people ORDER BY id"
        )

    @contextmanager
    def at_rest(self) -> Iterator[None]:
        """Read one and the same state for a while, whatever others write."""
        with self.lock, self._explained():
            if self._connection().in_transaction:  # a change of this thread: it sees its own state
                yield
                return
            self.db.execute("BEGIN")
            try:
                yield
            finally:
                self.db.execute("COMMIT")

    def entries(self) -> Iterator[tuple[str, np.ndarray, float, float]]:
        """Everybody: name, encodings, when added and changed."""
        last = 0
        while people := self.read(
            "SELECT id, identity, added, changed FROM people WHERE id > ? ORDER BY id LIMIT 500", (last,)
        ):
            ids, encodings = self._encodings_of("person BETWEEN ? AND ?", (people[0][0], people[-1][0]))
            for number, identity, added, changed in people:
                start, stop = np.searchsorted(ids, [number, number + 1])
                yield identity, encodings[start:stop], added, changed
            last = people[-1][0]

    # --------------------------------------------------------------------------------------------- nearest
    def nearest(self, probes: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        """As ``FaceDatabase.nearest``."""
        attempts = 0
        while True:
            view = self.view()
            if view is None:
                return nobody(len(probes), k)
            if probes.shape[1] != view.base.shape[1]:
                raise BadArgument(f"encodings has the shape {probes.shape}; (m, {view.base.shape[1]}) is known here")
            people, distances = view.search(probes, k)
            names = self._names_of(np.unique(people[people > 0]))
            if names is not None:
                names[0] = None
                identities = np.array([names[number] for number in people.flat] + [None], object)[:-1]
                return identities.reshape(people.shape), distances
            attempts += 1  # somebody was removed meanwhile
            with self.lock:
                self.fresh = False
                self.rows = self.rows if attempts < 10 else None

    def _names_of(self, numbers: np.ndarray) -> dict[int, str | None] | None:
        """Person's number → name, or None if somebody has been removed meanwhile."""
        names: dict[int, str | None] = {}
        for start in range(0, len(numbers), 500):
            some = numbers[start : start + 500].tolist()
            marks = ",".join("?" * len(some))
            names.update(self.read(f"SELECT id, identity FROM people WHERE id IN ({marks})", some))
        return names if len(names) == len(numbers) else None

    def view(self) -> View | None:
        """The encodings of this moment, or None if there are none."""
        with self.lock, self._explained():
            db = self._connection()
            version = db.execute("PRAGMA data_version").fetchone()[0]
            if not self.fresh or version != self.seen:
                with self.at_rest():
                    self._check_state()
                    self._catch_up()
                    self.seen, self.fresh = version, True
                    self._build_if_due()
            return self.rows.view() if self.rows is not None else None

    def _catch_up(self) -> None:
        """Bring the rows in memory to the state of the database."""
        state = dict(self.read("SELECT key, value FROM state"))
        if self.dimension is None:
            self.rows = None
        elif self.rows is None or not self._apply(self.rows, state):
            self.rows = self._from_file(state) or self._from_database(state)

    def _apply(self, rows: Rows, state: Mapping) -> bool:
        """What came since the rows were read; False if it is quicker to read all of them."""
        if rows.change < state["pruned"] or rows.base.shape[1] != state["dimension"]:
            return False
        since = (rows.change,)
        changed = np.array(self.read("SELECT id FROM people WHERE change > ?", since), np.int64).reshape(-1)
        gone = np.array(self.read("SELECT person FROM gone WHERE change > ?", since), np.int64).reshape(-1)
        if len(changed) > 10_000 and len(changed) > rows.count // 2:
            return False
        rows.cross_out(np.concatenate([changed, gone]))
        query = "person IN (SELECT id FROM people WHERE change > ?)"
        rows.append(*self._representing(*self._encodings_of(query, since)))
        rows.change = state["change"]
        return len(rows.gone) <= max(1000, rows.count // 4)

    def _from_file(self, state: Mapping) -> Rows | None:
        """The rows from the index file and what came since, or None if there is no good one."""
        if self.path is None or not (file := self._index_file()).path.exists():
            return None
        found = file.read({key: value for key, value in self._stamp(state).items() if key != "change"})
        if found is None or not state["pruned"] <= found[3]["change"] <= state["change"]:
            return None
        matrix, people, index, header = found
        rows = Rows(state["dimension"], header["change"], matrix, people)
        rows.index, rows.saved = index, True
        return rows if self._apply(rows, state) else None

    def _from_database(self, state: Mapping) -> Rows:
        rows = Rows(state["dimension"], state["change"])
        rows.room_for(self.read("SELECT count(*) FROM encodings")[0][0])
        last = 0
        while piece := self.read(
            "SELECT max(id) FROM (SELECT id FROM people WHERE id > ? ORDER BY id LIMIT 20000)", (last,)
        ):
            if piece[0][0] is None:
                return rows
            span = (last + 1, piece[0][0])
            rows.append(*self._representing(*self._encodings_of("person BETWEEN ? AND ?", span)))
            last = piece[0][0]
        return rows

    def _encodings_of(self, which: str, values: Sequence) -> tuple[np.ndarray, np.ndarray]:
        """Encodings by person: the number of each one's person (n,), ascending, and the encodings (n, D)."""
        found = self.read(f"SELECT person, encoding FROM encodings WHERE {which} ORDER BY person, id", values)
        people = np.fromiter((row[0] for row in found), np.int64, len(found))
        encodings = np.frombuffer(b"".join([row[1] for row in found]), "<f4").reshape(len(found), self.dimension or 0)
        return people, encodings

    def _representing(self, people: np.ndarray, encodings: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The rows to search among: all encodings, or one per person."""
        if self.represent == "nearest" or not len(people):
            return people, encodings
        single, start, count = np.unique(people, return_index=True, return_counts=True)
        rows = encodings[start].copy()
        for i in np.flatnonzero(count > 1):
            rows[i] = mean_encoding(encodings[start[i] : start[i] + count[i]])
        return single, rows

    # ----------------------------------------------------------------------------------------------- index
    def _index_file(self) -> IndexFile:
        path = self._index_paths()[0 if self.represent == "mean" else 1]
        return IndexFile(path, self.path.stat().st_mode & 0o777)

    def _index_paths(self) -> list[Path]:
        return [self.path.with_name(f"{self.path.name}{ending}") for ending in (".index", ".nearest.index")]

    def _stamp(self, state: Mapping) -> dict[str, Any]:
        """Of which database and state an index is."""
        keys = ("database", "network", "forgets", "change")
        return {"face_database_index": 1, "represent": self.represent, **{key: state[key] for key in keys}}

    def _build_if_due(self) -> None:
        rows = self.rows
        if self.builder is not None or not self.can_build or rows is None or rows.count - len(rows.gone) < INDEX_FROM:
            return
        unsaved = self.path is not None and not rows.saved
        if (rows.index is None or unsaved or rows.late > rows.count // 8) and can_index(rows.base.shape[1]):
            stamp = self._stamp(dict(self.read("SELECT key, value FROM state")))
            stamp["change"] = rows.change
            self.builder = threading.Thread(target=self._build, args=(rows.view(), stamp), daemon=True)
            self.builder.start()

    def _build(self, view: View, stamp: Mapping) -> None:
        """In a thread of its own: make the index, and put it in the place of the rows that it was made from."""
        try:
            rows = self._built(view, stamp)
            with self.lock:
                self._take_over(rows)
        except (Abandoned, FileNotFoundError):
            pass  # the next search begins anew
        except (FaceError, OSError, RuntimeError, MemoryError) as error:
            if not self.stop.is_set():
                self.can_build = False
                warnings.warn(f"no search index of {self.where} could be made: {error}", stacklevel=2)
        finally:
            with self.lock:
                self.builder, self.fresh = None, False  # so that the next search looks whether another one is due

    def _built(self, view: View, stamp: Mapping) -> Rows:
        if self.path is not None:
            file, what = self._index_file(), {key: value for key, value in stamp.items() if key != "change"}
            found = file.read(what)  # another process may have made it already
            if found is None or not stamp["change"] <= found[3]["change"] <= self.state():
                file.write(view, stamp, self.stop, lambda: self._still(stamp))
                found = file.read(what)
            if found is None:
                raise Abandoned  # somebody was forgotten meanwhile, and the file with them
            rows = Rows(view.base.shape[1], found[3]["change"], found[0], found[1])
            rows.index, rows.saved = found[2], True
            return rows
        base = np.concatenate([view.base, view.tail])[view.alive]
        rows = Rows(view.base.shape[1], stamp["change"], base, view.people[view.alive])
        rows.index = Index.build(base, self.stop)
        if rows.index is None:
            raise Abandoned
        return rows

    @contextmanager
    def _still(self, stamp: Mapping) -> Iterator[bool]:
        """Keep others from writing, and say whether nobody has been forgotten since the stamp."""
        with self.lock:
            if self.db is None:
                yield False
                return
            self._check_files()
            with self._explained():
                self.db.execute("BEGIN IMMEDIATE")
            try:
                state = dict(self.read("SELECT key, value FROM state"))
                yield all(state[key] == stamp[key] for key in ("database", "network", "forgets"))
            finally:
                self.db.execute("ROLLBACK")

    def _take_over(self, rows: Rows) -> None:
        """Use new rows, after what came since they were read."""
        if self.db is not None:
            with self.at_rest():
                self._check_state()
                if self._apply(rows, dict(self.read("SELECT key, value FROM state"))):
                    self.rows = rows

    def settle(self, timeout: float | None = None) -> bool:
        """Wait for the index."""
        deadline = None if timeout is None else time.monotonic() + timeout
        while self.view() is not None and (builder := self.builder) is not None:
            builder.join(None if deadline is None else max(deadline - time.monotonic(), 0))
            if builder.is_alive():
                break
        return self.rows is not None and self.rows.index is not None

    # ------------------------------------------------------------------------------------------ forgetting
    def forget(self, identity: str) -> bool:
        """As ``FaceDatabase.forget``; False if nobody has that name."""
        self._halt()
        with self.lock:
            with self.change() as change:
                encodings = self.encodings(identity)
                if encodings is None:
                    return False
                traces = [identity.encode(), *(_piece(e.astype("<f4").tobytes()) for e in encodings)]
                traces += [_piece(data, at) for both in self.pictures(identity) for data in both for at in (1, 2, 3)]
                change.drop(identity)
                if self.state_of("unfinished"):  # an earlier one left traces, and nobody knows which
                    traces = None
                number = change.forgets()
            self._erase(traces, self.truncate_within, number)
        return True

    def tidy(self, within: float | None = None) -> None:
        """As ``FaceDatabase.tidy``."""
        self._halt()
        with self.lock:
            with self.change() as change:
                change.prune()
                number = self.state_of("forgets")
            self._erase(None, self.truncate_within if within is None else within, number)

    def _halt(self) -> None:
        """Stop building an index: what it writes may be out of date in a moment."""
        self.stop.set()
        if (builder := self.builder) is not None:
            builder.join()
        self.stop = threading.Event()

    def _erase(self, traces: list[bytes] | None, within: float, number: int) -> None:
        """Leave nothing behind of what was deleted.

        Args:
            traces: Bytes that must not be in the file any more; if none of them is, it need not be written anew.
            within: Seconds to wait for other processes that read.
            number: ``forgets`` as it was when this began. Whoever was forgotten since then may have left traces that
                nobody looked for here, so that only their own process may say that it is finished.
        """
        if self.path is None:
            self._vacuum()
            return
        try:
            self._remove_index_files()
            self._truncate(within)
            if traces is None or self._holds_any(traces):
                self._vacuum()
                self._truncate(within)
        except (OSError, sqlite3.OperationalError) as error:
            raise NotForgottenYet(
                f"{self.where}: removed, but a trace may be left in its files, since another process uses them just "
                f"now ({error}); tidy(), or opening it again, completes it"
            ) from error
        with self.change() as change:
            change.finished(number)
        with suppress(OSError, sqlite3.OperationalError):
            self._truncate(0.1)

    def _remove_index_files(self) -> None:
        for path in self._index_paths():
            for file in (path, *path.parent.glob(f".unfinished_*_{glob.escape(path.name)}")):
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

    def _descriptor(self) -> int:
        """To read the file by; it stays open as long as the connection.

        Whoever closes a file gives up all locks that their process has on it (POSIX), SQLite's too: another process
        that closes the database would then take itself for the last one, and remove the WAL under us.
        """
        if not self.descriptors:
            self.descriptors.append(os.open(self.path, os.O_RDONLY | getattr(os, "O_BINARY", 0)))
        return self.descriptors[0]

    def _close_descriptors(self) -> None:
        """Close them, or leave it to another one here that has the same file open."""
        others = [other for other in _engines() if other.file == self.file]
        if others:
            others[0].descriptors += self.descriptors
        else:
            for descriptor in self.descriptors:
                os.close(descriptor)
        self.descriptors = []

    def is_gone(self) -> bool:
        """Whether the file that was opened has its name no more."""
        return self.given in self.files and _file_at(self.given) != self.file

    @property
    def file(self) -> tuple[int, int] | None:
        """Device and number of the file that is open."""
        return self.files.get(self.given)

    def close(self) -> None:
        """Stop building, and close the connection; SQLite empties the WAL when the last one does."""
        self._halt()
        with self.lock:
            if self.db is not None and self.process == os.getpid():
                self.db.close()
                _ENGINES.pop(id(self), None)
                self._close_descriptors()
            self.db = self.rows = None


_ENGINES: weakref.WeakValueDictionary[int, SQLite] = weakref.WeakValueDictionary()  # those that are open


def _engines() -> list[SQLite]:
    return [engine for reference in _ENGINES.valuerefs() if (engine := reference()) is not None]


def _file_at(name: str) -> tuple[int, int] | None:
    """Device and number of the file of that name."""
    try:
        found = os.stat(name)
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _may(path: str | os.PathLike, what: int) -> bool:
    """Whether this process may read or write a file."""
    return os.access(path, what, effective_ids=os.access in os.supports_effective_ids)


def is_open_here(path: str | os.PathLike) -> bool:
    """Whether a file belongs to a database that this process has open, and so must not be opened besides."""
    file = _file_at(os.fspath(path))
    return file is not None and any(file in engine.files.values() for engine in _engines())


_ABANDONED: list = []  # connections of a parent process, which its child may neither use nor close


def _piece(data: bytes, quarter: int = 2) -> bytes:
    """64 bytes of something, by which to find it."""
    start = max(len(data) * quarter // 4 - 32, 0)
    return data[start : start + 64]


@dataclass
class _Change:
    """What can be done within a transaction of SQLite."""

    engine: SQLite
    db: sqlite3.Connection
    number: int

    @property
    def dimension(self) -> int | None:
        """D, once it is known."""
        return self.engine.dimension

    def set(self, key: str, value: Any) -> None:
        """Set an entry of ``state``."""
        self.db.execute("UPDATE state SET value = ? WHERE key = ?", (value, key))

    def note(self, network: str | None, dimension: int | None) -> None:
        """Note the network and D where nothing is noted yet, and refuse others."""
        engine = self.engine
        if network and engine.network and network != engine.network:
            raise other_network(engine.where, engine.network, network)
        if dimension and engine.dimension and dimension != engine.dimension:
            raise BadArgument(f"encodings of {dimension} numbers; {engine.where} holds such of {engine.dimension}")
        self.switch(network or engine.network, dimension or engine.dimension)

    def switch(self, network: str | None, dimension: int | None) -> None:
        """Note another network and D."""
        for key, value in (("network", network), ("dimension", dimension)):
            if getattr(self.engine, key) != value:
                self.set(key, value)
        self.engine.network, self.engine.dimension = network, dimension

    def number_of(self, identity: str) -> int | None:
        """A person's number."""
        found = self.db.execute("SELECT id FROM people WHERE identity = ?", (identity,)).fetchall()
        return found[0][0] if found else None

    def has(self, identity: str) -> bool:
        """Whether somebody has that name."""
        return self.number_of(identity) is not None

    def put(
        self,
        identity: str,
        encodings: np.ndarray,
        pictures: Sequence[Picture] = (),
        replace: bool = False,
        times: tuple[float, float] | None = None,
    ) -> None:
        """Add encodings and photos to a person, old or new, in place of the earlier ones or beside them."""
        if self.dimension != encodings.shape[1]:
            self.note(None, encodings.shape[1])
        added, changed = times or (time.time(),) * 2
        person = self.db.execute(
            "INSERT INTO people (identity, added, changed, change) VALUES (?, ?, ?, ?) ON CONFLICT (identity)"
            " DO UPDATE SET changed = excluded.changed, change = excluded.change RETURNING id",
            (identity, added, changed, self.number),
        ).fetchall()[0][0]
        if replace:
            self.db.execute("DELETE FROM encodings WHERE person = ?", (person,))
            self.db.execute("DELETE FROM photos WHERE person = ?", (person,))
        self._insert(person, encodings)
        rows = [(person, *both) for both in pictures]
        self.db.executemany("INSERT INTO photos (person, jpeg, thumbnail) VALUES (?, ?, ?)", rows)

    def encode(self, identity: str, encodings: np.ndarray) -> None:
        """Other encodings for a person, whose photos stay."""
        person = self.number_of(identity)
        self.db.execute("UPDATE people SET change = ?, changed = ? WHERE id = ?", (self.number, time.time(), person))
        self.db.execute("DELETE FROM encodings WHERE person = ?", (person,))
        self._insert(person, encodings)

    def _insert(self, person: int, encodings: np.ndarray) -> None:
        rows = [(person, encoding.astype("<f4").tobytes()) for encoding in encodings]
        self.db.executemany("INSERT INTO encodings (person, encoding) VALUES (?, ?)", rows)

    def drop(self, identity: str) -> bool:
        """Remove a person; False if there is none."""
        person = self.number_of(identity)
        if person is not None:
            self.db.execute("DELETE FROM people WHERE id = ?", (person,))
            self.db.execute("INSERT INTO gone VALUES (?, ?)", (person, self.number))
        return person is not None

    def rename(self, old: str, new: str) -> None:
        """Another name for a person."""
        values = (new, time.time(), old)
        self.db.execute("UPDATE people SET identity = ?, changed = ? WHERE identity = ?", values)

    def forgets(self) -> int:
        """Note that files hold traces that must go: index files of earlier states are refused from now on."""
        self.db.execute("UPDATE state SET value = value + 1 WHERE key = 'forgets'")
        self.set("unfinished", 1)
        return self.engine.state_of("forgets")

    def finished(self, number: int) -> None:
        """Note that they are gone, unless somebody was forgotten since the forgetting of this number."""
        if self.engine.state_of("forgets") == number:
            self.set("unfinished", 0)

    def prune(self) -> None:
        """Empty the list of the removed; whoever has not read it reads everybody anew."""
        self.db.execute("DELETE FROM gone")
        self.set("pruned", self.number)
