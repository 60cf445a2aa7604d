"""The SQLite file itself: made private, opened safely, read, and watched, so that nothing that is written gets lost.

SQLite keeps changes in ``people.db-wal`` until it brings them into ``people.db``, and ``people.db-shm`` beside them
while the file is open. All three must stay the files that were opened.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import time
import uuid
import weakref
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from facerec.database.entries import BadDatabase, DamagedDatabase, make_folder_of, other_network
from facerec.errors import BadArgument

APPLICATION = 0x46414345  # marks SQLite files of this project
FORMAT = 2  # 1 had no checksums
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
    added REAL NOT NULL, changed REAL NOT NULL, change INTEGER NOT NULL, checksum INTEGER);
CREATE INDEX people_change ON people (change);
CREATE TABLE encodings (
    id INTEGER PRIMARY KEY AUTOINCREMENT, person INTEGER NOT NULL REFERENCES people (id) ON DELETE CASCADE,
    encoding BLOB NOT NULL, checksum INTEGER);
CREATE INDEX encodings_person ON encodings (person);
CREATE TABLE photos (
    id INTEGER PRIMARY KEY AUTOINCREMENT, person INTEGER NOT NULL REFERENCES people (id) ON DELETE CASCADE,
    jpeg BLOB NOT NULL, thumbnail BLOB NOT NULL, checksum INTEGER);
CREATE INDEX photos_person ON photos (person);
CREATE TABLE gone (person INTEGER PRIMARY KEY, change INTEGER NOT NULL);
CREATE INDEX gone_change ON gone (change);
"""
#: What each checksum is of: a name; an encoding or a photo, and the number of the person whose it is.
CHECKED = {"people": "0, CAST(identity AS BLOB)", "encodings": "person, encoding", "photos": "person, jpeg, thumbnail"}
#: change: counts transactions · pruned: the change at which ``gone`` was emptied last · forgets: counts ``forget``
#: · unfinished: 1 while traces of a forgotten person may be in the files.
STATE = {"network": None, "dimension": None, "change": 0, "pruned": 0, "forgets": 0, "unfinished": 0}
STATE_KINDS = dict.fromkeys(STATE, int) | {"network": str | None, "dimension": int | None, "database": str}

_OPEN: weakref.WeakValueDictionary[int, SQLiteFile] = weakref.WeakValueDictionary()
_ABANDONED: list = []  # connections of a parent process, which its child may neither use nor close


def checksum_of(person: int, *data: bytes) -> int:
    """The CRC-32 of what is kept of a person, starting with their number: another person's data does not pass.

    Example:
        >>> checksum_of(0, b"lena"), checksum_of(1, b"encoding") == checksum_of(2, b"encoding")
        (3747842443, False)
    """
    for each in data:
        person = zlib.crc32(each, person)
    return person


class SQLiteFile:
    """A file of this project, open; ``":memory:"`` is one without a name.

    Attributes:
        path: The real path, beside which SQLite keeps its own files; None in memory.
        given: The path as it was given, absolute: it may be a link.
        files: Name → device and number of each file that must stay where it is.
        lock: Held by the thread that uses the connection.
        fresh: Whether nothing was written since the encodings in memory were last compared with the file.
        wanted: The fingerprint of the network whose encodings are used here.
    """

    busy_after = 30.0  # seconds to wait for other processes

    def __init__(self, where: str) -> None:
        self.where = where
        self.path = None if where == ":memory:" else Path(os.path.realpath(where))
        self.given = os.path.abspath(where)
        self.files: dict[str, tuple[int, int] | None] = {}
        self.descriptors: list[int] = []
        self.lock = threading.RLock()
        self.seen, self.fresh = None, False
        self.wanted: str | None = None
        self.network = self.dimension = None
        self.db = None
        self._connect()
        _OPEN[id(self)] = self

    # ------------------------------------------------------------------------------------------------ opening
    def _connect(self) -> None:
        made = []
        if self.path is not None:
            make_folder_of(self.path, self.where)
            if os.path.isdir(self.path):
                raise BadArgument(f"where={self.where!r} is a folder; a file is needed")
            made = self._make_private()
            self._free_shared_memory()
        where, before = (":memory:" if self.path is None else self.given), _file_at(self.given)
        with self._explained():  # also for a file that is not a database
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
        """Make the file, if it is missing, readable for its owner alone; SQLite gives the files beside it its mode.

        Returns:
            The descriptor, if it was made: closing it now could cost another thread its locks (``_descriptor``).
        """
        try:
            made = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o600)
        except OSError:  # it exists, or SQLite says what is wrong
            return []
        if os.name == "posix":
            os.fchmod(made, 0o600)  # umask may take the owner's rights, too
        return [made]

    def _free_shared_memory(self) -> None:
        """Make the files beside a file writable again that SQLite left while the file was write-protected."""
        if os.name == "posix" and os.path.exists(self.path) and _may(self.path, os.W_OK):
            mode = os.stat(self.path).st_mode & 0o777
            for name in (f"{self.path}-wal", f"{self.path}-shm"):
                if os.path.isfile(name) and not _may(name, os.W_OK):
                    with suppress(OSError):  # another user owns it
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
        elif self._format() < FORMAT:
            self._add_checksums()

    def _is_ours(self) -> bool:
        return self.db.execute("PRAGMA application_id").fetchone()[0] == APPLICATION

    def _format(self) -> int:
        return self.db.execute("PRAGMA user_version").fetchone()[0]

    def _add_checksums(self) -> None:
        """Bring a file of an earlier version up to date, in one transaction."""
        self.db.create_function("checksum_of", -1, checksum_of, deterministic=True)
        self.db.execute("BEGIN IMMEDIATE")
        try:
            if self._format() < FORMAT:  # unless another process was quicker
                for table, data in CHECKED.items():
                    self.db.execute(f"ALTER TABLE {table} ADD COLUMN checksum INTEGER")
                    try:
                        self.db.execute(f"UPDATE {table} SET checksum = checksum_of({data})")
                    except sqlite3.DatabaseError as error:
                        if not _is_damage(error):
                            raise  # else it was damaged before it could be checked: what can't be read gets none
                self.db.execute("UPDATE state SET value = ? WHERE key = 'format'", (FORMAT,))
                self.db.execute(f"PRAGMA user_version = {FORMAT}")
            self.db.execute("COMMIT")
        except BaseException:
            if self.db.in_transaction:
                self.db.execute("ROLLBACK")
            raise

    def _make_tables(self) -> None:
        self.db.execute("BEGIN IMMEDIATE")
        if not self._is_ours():  # unless another process was quicker
            for statement in TABLES.split(";"):
                self.db.execute(statement)
            state = {**STATE, "database": uuid.uuid4().hex, "format": FORMAT}
            self.db.executemany("INSERT INTO state VALUES (?, ?)", state.items())
            self.db.execute(f"PRAGMA application_id = {APPLICATION}")
            self.db.execute(f"PRAGMA user_version = {FORMAT}")
        self.db.execute("COMMIT")

    def _refuse_others(self) -> None:
        """Refuse other programs' files before anything in them is changed."""
        tables = self.db.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]
        version = self._format()
        if tables and not self._is_ours():
            raise BadDatabase(f"{self.where} is an SQLite file of another program")
        if version > FORMAT:
            raise BadDatabase(
                f"{self.where} was written by a newer version of this project (format {version}; this one reads "
                f"{FORMAT}): open it with that version"
            )

    # ----------------------------------------------------------------------------------------- what is wrong
    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Turn SQLite's errors into this project's, which say what to do."""
        try:
            yield
        except (sqlite3.Error, UnicodeDecodeError) as error:
            if _is_damage(error):
                raise self.damaged(str(error)) from error
            raise BadDatabase(f"{self.where} {self._meant_by(str(error))} ({error})") from error

    def damaged(self, what: str) -> DamagedDatabase:
        """The error that says what is damaged, and what can be done."""
        return DamagedDatabase(
            f"{self.where} is damaged ({what}): it can't be changed, but export_to() writes everything that is "
            f"intact into a file, and import_from() reads that into a new database"
        )

    def _meant_by(self, error: str) -> str:
        if "locked" in error or "busy" in error:
            return f"has been busy for {self.busy_after:g} s: another process is writing"
        if "full" in error:
            return "can't be written: the disk is full; make room, then try again"
        if "readonly" in error or "unable to open" in error:
            return self._forbidden()
        return "can't be used"

    def _forbidden(self) -> str:
        """What this user may not do with the file, and how to change that."""
        file, folder = self.path or self.where, os.path.dirname(self.path or "") or "."
        there = os.path.exists(file)
        if there and not _may(file, os.R_OK):
            return "can't be read: this user may not read the file; change its permissions"
        able = {"the file": not there or _may(file, os.W_OK), "its folder": _may(folder, os.W_OK | os.X_OK)}
        if all(able.values()):
            return (
                "can't be written: check who may write the files beside it (-wal, -shm), and whether the disk is full"
            )
        forbidden = " or ".join(what for what, may in able.items() if not may)
        return (
            f"can't be written: this user may not write {forbidden}; change the permissions of both, or copy the file "
            f"into a folder of your own"
        )

    def _check_files(self, *names: str) -> None:
        """Refuse to go on once a file is gone, or another has its name: changes would be lost."""
        for name in names or self.files:
            if _file_at(name) != self.files[name]:
                raise BadDatabase(
                    f"{name} was removed, moved or replaced while the database was open here, so nothing more is "
                    f"saved: close it, find the file, and open it again"
                )

    def is_gone(self) -> bool:
        """Compares the name with the file that is open."""
        return self.given in self.files and _file_at(self.given) != self.file

    @property
    def file(self) -> tuple[int, int] | None:
        """Device and number of the file that is open."""
        return self.files.get(self.given)

    # ------------------------------------------------------------------------------------------------ reading
    def _connection(self) -> sqlite3.Connection:
        if self.db is None:
            raise BadDatabase(f"{self.where} is closed")
        if self.process != os.getpid() and self.path is not None:  # a fork must not use its parent's connection
            _ABANDONED.append(self.db)
            self._forget_threads()
            self.files = {self.given: self.file}  # the parent may have closed it, and taken the WAL along
            self._check_files()
            self._connect()
        elif self.files:
            self._check_files(self.given)  # all of them only before writing: that takes longer
        return self.db

    def _forget_threads(self) -> None:
        """After a fork: the parent's threads, and the locks that they hold, are not here."""
        self.lock = threading.RLock()

    def read(self, statement: str, values: Sequence = ()) -> list[tuple]:
        """The rows of a query."""
        with self.lock, self._explained():
            return self._connection().execute(statement, values).fetchall()

    @contextmanager
    def at_rest(self) -> Iterator[None]:
        """A transaction that only reads."""
        with self.lock, self._explained():
            if self._connection().in_transaction:  # this thread's own change, which sees its own state
                yield
                return
            self.db.execute("BEGIN")
            try:
                yield
            finally:
                if self.db.in_transaction:
                    self.db.execute("ROLLBACK")  # after damage was read, COMMIT would fail

    def read_state(self) -> dict[str, Any]:
        """The table ``state``.

        Raises:
            DamagedDatabase: If something in it is missing, or of another kind.
        """
        state = dict(self.read("SELECT key, value FROM state"))
        if not all(isinstance(state.get(key, ...), kind) for key, kind in STATE_KINDS.items()):
            raise self.damaged("which network it is for, or the number of its last change")
        return state

    def state_of(self, key: str) -> Any:
        """An entry of the table ``state``."""
        return self.read_state()[key]

    def _noted(self) -> tuple[str | None, int | None]:
        state = self.read_state()
        return state["network"], state["dimension"]

    def _check_network(self) -> None:
        """Read which network it is for; another process may have encoded everyone anew."""
        network, dimension = self._noted()
        if self.wanted and network and network != self.wanted:
            raise other_network(self.where, network, self.wanted)
        self.network, self.dimension = network, dimension

    # ------------------------------------------------------------------------------------------------ closing
    def _descriptor(self) -> int:
        """A descriptor to read the file by; it stays open as long as the connection.

        A process that closes a file gives up all its locks on it (POSIX), SQLite's too: another process that closes
        the database would then take itself for the last one, and remove the WAL under us.
        """
        if not self.descriptors:
            self.descriptors.append(os.open(self.path, os.O_RDONLY | getattr(os, "O_BINARY", 0)))
        return self.descriptors[0]

    def _close_descriptors(self) -> None:
        """Close them, or leave that to another database here that has the same file open."""
        others = [other for other in _all_open() if other.file == self.file]
        if others:
            others[0].descriptors += self.descriptors
        else:
            for descriptor in self.descriptors:
                os.close(descriptor)
        self.descriptors = []

    def close(self) -> None:
        """Closes the connection; with the last one SQLite empties the WAL."""
        with self.lock:
            if self.db is not None and self.process == os.getpid():
                self.db.close()
                _OPEN.pop(id(self), None)
                self._close_descriptors()
            self.db = None


def is_open_here(path: str | os.PathLike) -> bool:
    """Whether this process has a database open to which a file belongs: the file must not be opened besides."""
    file = _file_at(os.fspath(path))
    return file is not None and any(file in database.files.values() for database in _all_open())


def _all_open() -> list[SQLiteFile]:
    return [database for reference in _OPEN.valuerefs() if (database := reference()) is not None]


def _file_at(name: str) -> tuple[int, int] | None:
    """Device and number of the file of that name."""
    try:
        found = os.stat(name)
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _is_damage(error: Exception) -> bool:
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    return code == sqlite3.SQLITE_CORRUPT or isinstance(error, UnicodeDecodeError)


def _may(path: str | os.PathLike, what: int) -> bool:
    """Whether this process may read or write a file."""
    return os.access(path, what, effective_ids=os.access in os.supports_effective_ids)
