"""The encodings of an SQLite file in memory: brought up to date before each search, indexed in the background.

    file ──what changed since──► rows in memory ──► view ──► numbers of people ──► names
                                      ▲
    people.db.index ──────────────────┘  the same rows and their index, to open a million at once

Every transaction has a number, the change; a person has the number of the change that touched their encodings last,
and ``gone`` lists the numbers (never the names) of people who were removed. So rows of change c need only what came
after c. The index file is never needed: it is made again from the database.
"""

from __future__ import annotations

import threading
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np

from facerec.database.engine import not_found
from facerec.database.entries import DamagedDatabase, mean_encoding
from facerec.database.search import Abandoned, Index, IndexFile, Rows, View, can_index
from facerec.database.sqlite.checked import Checked
from facerec.errors import BadArgument, FaceError

#: From so many rows on, a search index is built in the background; below, one matrix product is as quick.
INDEX_FROM = 150_000


class Searched(Checked):
    """A file whose encodings are searched.

    Attributes:
        represent: What people with several encodings are compared by: their "mean", or the "nearest" of them.
        rows: The encodings in memory, or None before the first search.
        builder: The thread that builds an index, or None.
        stop: Set to stop it.
    """

    def __init__(self, where: str, represent: str) -> None:
        self.represent = represent
        self.rows: Rows | None = None
        self.builder, self.stop, self.can_build = None, threading.Event(), True
        super().__init__(where)

    def _forget_threads(self) -> None:
        super()._forget_threads()
        self.builder, self.stop = None, threading.Event()

    # -------------------------------------------------------------------------------------------------- search
    def nearest(self, probes: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        """Searches in memory, and looks up the names; again, without those who have none any more."""
        attempts = 0
        while True:
            view = self.view()
            if view is None:
                return not_found(len(probes), k)
            if probes.shape[1] != view.base.shape[1]:
                raise BadArgument(f"encodings has the shape {probes.shape}; (m, {view.base.shape[1]}) is known here")
            people, distances = view.search(probes, k)
            numbers = np.unique(people[people > 0])
            names = self._names_of(numbers)
            nameless = numbers[[number not in names for number in numbers.tolist()]]
            if not len(nameless):
                identities = np.array([names[number] for number in people.flat] + [None], object)[:-1]
                return identities.reshape(people.shape), distances
            attempts += 1
            with self.lock:
                self.fresh = False
                self.rows = self.rows if attempts != 10 else None
                if self.rows is not None:
                    self.rows.cross_out(nameless)

    def _names_of(self, numbers: np.ndarray) -> dict[int, str | None]:
        """Person's number → name, without those who were removed meanwhile, or whose name is damaged; 0 → None."""
        names: dict[int, str | None] = {0: None}
        for start in range(0, len(numbers), 500):
            found = self.rescued(self.people_of, numbers[start : start + 500].tolist(), self.all_of)
            names.update((number, identity) for number, identity, *_ in found)
        return names

    def view(self) -> View | None:
        """The encodings of this moment, or None if there are none."""
        with self.lock, self._explained():
            db = self._connection()
            version = db.execute("PRAGMA data_version").fetchone()[0]
            if not self.fresh or version != self.seen:
                with self.at_rest():
                    self._check_network()
                    self._catch_up()
                    self.seen, self.fresh = version, True
                    self._build_if_due()
            return self.rows.view() if self.rows is not None else None

    # ---------------------------------------------------------------------------------------------- up to date
    def _catch_up(self) -> None:
        """Bring the rows in memory to the state of the file."""
        state = self.read_state()
        if self.dimension is None:
            self.rows = None
        elif self.rows is None or not self._apply(self.rows, state):
            self.rows = self._from_file(state) or self._from_database(state)

    def _apply(self, rows: Rows, state: Mapping) -> bool:
        """Apply what came since the rows were read; False if it is quicker to read all of them."""
        if rows.change < state["pruned"] or rows.base.shape[1] != state["dimension"]:
            return False
        since = (rows.change,)
        try:
            changed = np.array(self.read("SELECT id FROM people WHERE change > ?", since), np.int64).reshape(-1)
            gone = np.array(self.read("SELECT person FROM gone WHERE change > ?", since), np.int64).reshape(-1)
            if len(changed) > 10_000 and len(changed) > rows.count // 2:
                return False
            found = self.encodings_where("person IN (SELECT id FROM people WHERE change > ?)", since)
        except DamagedDatabase:  # reading everything goes round it
            return False
        rows.cross_out(np.concatenate([changed, gone]))
        rows.append(*self._representing(*self._arrays(found)))
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
        rows, left = Rows(state["dimension"], state["change"]), 0
        with suppress(DamagedDatabase):
            left = self.read("SELECT count(*) FROM encodings NOT INDEXED")[0][0]
            rows.room_for(left)
        for numbers in self.spans(20_000):
            found = self.encodings_of(numbers)
            rows.append(*self._representing(*self._arrays(found)))
            left -= len(found)
        if left and not self.damage:
            self.leave_out([f"{left} encodings that its own index does not list"])
        return rows

    def _arrays(self, found: Sequence[tuple]) -> tuple[np.ndarray, np.ndarray]:
        """The number of each encoding's person (n,), ascending, and the encodings (n, D)."""
        people = np.fromiter((row[1] for row in found), np.int64, len(found))
        joined, dimension = b"".join([row[2] for row in found]), self.dimension or 0
        if len(joined) != 4 * len(found) * dimension:
            raise self.damaged(f"its encodings have other lengths than {dimension}")
        return people, np.frombuffer(joined, "<f4").reshape(len(found), dimension)

    def _representing(self, people: np.ndarray, encodings: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The rows to search among: all encodings, or one per person."""
        if self.represent == "nearest" or not len(people):
            return people, encodings
        single, start, count = np.unique(people, return_index=True, return_counts=True)
        rows = encodings[start].copy()
        for i in np.flatnonzero(count > 1):
            rows[i] = mean_encoding(encodings[start[i] : start[i] + count[i]])
        return single, rows

    # --------------------------------------------------------------------------------------------------- index
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
            stamp = self._stamp(self.read_state())
            stamp["change"] = rows.change
            self.builder = threading.Thread(target=self._build, args=(rows.view(), stamp), daemon=True)
            self.builder.start()

    def _build(self, view: View, stamp: Mapping) -> None:
        """In a thread of its own: make the index, and let its rows take the place of those it was made from."""
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
                self.builder, self.fresh = None, False  # so the next search checks whether another one is due

    def _built(self, view: View, stamp: Mapping) -> Rows:
        if self.path is None:
            return self._built_in_memory(view, stamp)
        file, what = self._index_file(), {key: value for key, value in stamp.items() if key != "change"}
        found = file.read(what)  # another process may have made it already
        if found is None or not stamp["change"] <= found[3]["change"] <= self.state_of("change"):
            file.write(view, stamp, self.stop, lambda: self._still(stamp))
            found = file.read(what)
        if found is None:
            raise Abandoned  # a person was forgotten meanwhile, and the file with them
        rows = Rows(view.base.shape[1], found[3]["change"], found[0], found[1])
        rows.index, rows.saved = found[2], True
        return rows

    def _built_in_memory(self, view: View, stamp: Mapping) -> Rows:
        base = np.concatenate([view.base, view.tail])[view.alive]
        rows = Rows(view.base.shape[1], stamp["change"], base, view.people[view.alive])
        rows.index = Index.build(base, self.stop)
        if rows.index is None:
            raise Abandoned
        return rows

    @contextmanager
    def _still(self, stamp: Mapping) -> Iterator[bool]:
        """Keep others from writing, and say whether no one has been forgotten since the stamp."""
        with self.lock:
            if self.db is None:
                yield False
                return
            self._check_files()
            with self._explained():
                self.db.execute("BEGIN IMMEDIATE")
            try:
                state = self.read_state()
                yield all(state[key] == stamp[key] for key in ("database", "network", "forgets"))
            finally:
                self.db.execute("ROLLBACK")

    def _take_over(self, rows: Rows) -> None:
        """Use new rows, once they have what came since they were read."""
        if self.db is not None:
            with self.at_rest():
                self._check_network()
                if self._apply(rows, self.read_state()):
                    self.rows = rows

    def settle(self, timeout: float | None = None) -> bool:
        """Waits for the builder; searching goes on meanwhile."""
        deadline = None if timeout is None else time.monotonic() + timeout
        while self.view() is not None and (builder := self.builder) is not None:
            builder.join(None if deadline is None else max(deadline - time.monotonic(), 0))
            if builder.is_alive():
                break
        return self.rows is not None and self.rows.index is not None

    def _halt(self) -> None:
        """Stop building an index: what it writes may be out of date in a moment."""
        self.stop.set()
        if (builder := self.builder) is not None:
            builder.join()
        self.stop = threading.Event()

    def close(self) -> None:
        """Stops building, too."""
        self._halt()
        with self.lock:
            super().close()
            self.rows = None
