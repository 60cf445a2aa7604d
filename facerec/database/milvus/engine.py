"""The Milvus engine: its state, reading, searching, and forgetting."""

from __future__ import annotations

import hashlib
import itertools
import json
import logging
import re
import shutil
import threading
import time
import uuid
import warnings
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from facerec.database.engine import Engine, check_fits, not_found
from facerec.database.entries import (
    SCHEMA,
    BadDatabase,
    NotForgottenYet,
    other_network,
    unlabelled,
)
from facerec.database.milvus.calls import Calls, one_of
from facerec.database.milvus.change import MilvusChange
from facerec.database.milvus.collections import Collections
from facerec.database.milvus.nearest import nearest
from facerec.database.milvus.rows import FIELDS, PHOTO_LIMIT, TEXTS, encodings_of, fitting, pictures_of, rows_of, who
from facerec.database.pictures import Picture, whole_ones
from facerec.errors import BadArgument

NOT_CONNECTED = 2  # the code of pymilvus' error
IDLE = {"grpc.keepalive_permit_without_calls": 0}  # milvus-lite hangs up on clients that ping while they are idle
STATE_FOR = 0.5  # seconds for which questions rely on a state: one that was replaced has no collection any more
GRAPH_FROM = 50_000  # people; among fewer, and until it is built, every encoding is compared, which is exact
LEFT_FOR = 86_400  # seconds after which an unused collection counts as left by a killed process
ENCODINGS = ("who", "number", "encoding")  # the fields that hold them
STATE = {"key": 64, "value": 4096}  # the text fields of the collection that holds the state

_LOCKS: dict[str, threading.RLock] = {}  # by address: threads of this process write one after the other


class Milvus(Engine):
    """People on a Milvus server, or in a file of its engine (milvus-lite): one row per encoding.

    Rows are never changed, only added and deleted, so their numbers tell one state from another. Photos are kept
    smaller, at most 45 kB.

    Args:
        where: ``"http://host:19530"`` or ``"milvus:people.db"``.
        represent: "mean" or "nearest".
        collection: What the names of its collections begin with.
        **connection: For ``pymilvus.MilvusClient``.
    """

    photo_limit: int | None = PHOTO_LIMIT

    def __init__(self, where: str, represent: str, collection: str = "people", **connection: Any) -> None:
        self.where, self.represent, self.collection = where, represent, collection
        if not isinstance(collection, str) or not re.fullmatch(r"[A-Za-z_]\w{0,99}", collection, re.ASCII):
            raise BadArgument(f"collection={collection!r:.80}: only letters, digits and _ are allowed")
        self.wanted = self.network = self.dimension = self.people = self.loaded = None
        self.resting = self.pictured = None  # while everyone is read: the state, and the keys of people with photos
        self.checked = -STATE_FOR  # when the state was last asked for
        address = where.removeprefix("milvus:")
        self.path = Path(address).absolute() if where.startswith("milvus:") else None
        self.lock = _LOCKS.setdefault(str(self.path or address), threading.RLock())
        self._connect(address, connection)

    def _connect(self, address: str, connection: Mapping[str, Any]) -> None:
        try:
            from pymilvus import DataType, MilvusClient
            from pymilvus.exceptions import MilvusException
        except ImportError as error:
            raise BadArgument(
                f'{self.where} is Milvus, which needs: pip install "face-recognition-course[scale]" ({error})'
            ) from error
        logging.getLogger("pymilvus").setLevel(logging.CRITICAL)  # it prints each error that it raises, too
        self.failures = (MilvusException, ConnectionError, OSError)
        with self.lock, self._explained():
            try:
                quiet = {"grpc_options": IDLE} if self.path is not None else {}
                self.client = MilvusClient(address, **{**quiet, **connection})
            except MilvusException as error:
                if error.code != NOT_CONNECTED:
                    raise
                raise BadDatabase(f"no Milvus answers at {address}: is it running, and is that its address?") from error
            self.collections = Collections(self.client, self.where, DataType, self.failures)
            self.calls = Calls(self.client, address, self.failures)
            self.collections.make(f"{self.collection}_state", 2, STATE, primary="key")
            if self.path is not None:
                self._drop_leftovers()

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except self.failures as error:
            raise BadDatabase(f"{self.where} can't be used: {error}") from error

    # --------------------------------------------------------------------------------------------------- state
    def _stored(self, newest: bool = False) -> dict[str, Any]:
        name = f"{self.collection}_state"
        found = self.calls.query(name, 'key == "state"', ["value"], ["state"], newest)
        if not found and self.people and not newest:  # it is there, but not to be seen while it is replaced
            return self._stored(newest=True)
        return json.loads(found[0]["value"]) if found else {"network": None, "dimension": None, "people": None}

    def _loaded(self, newest: bool) -> dict[str, Any]:
        """The state, once its people can be asked for: a server that has just started must be told to load them."""
        while (state := self._stored(newest))["people"] != self.loaded:
            try:
                self.client.load_collection(state["people"])
                self.loaded = state["people"]
            except self.failures:
                if self._stored(newest=True)["people"] == state["people"]:  # or it was replaced just then
                    raise
        return state

    def _check_state(self, newest: bool = False) -> None:
        state = self._loaded(newest)
        if state.get("format", 1) > SCHEMA:
            raise BadDatabase(f"{self.where} was written by a newer version of this project: open it with that version")
        if self.wanted and state["network"] and state["network"] != self.wanted:
            raise other_network(self.where, state["network"], self.wanted)
        self.network, self.dimension, self.people = state["network"], state["dimension"], state["people"]
        self.wanted = self.wanted or self.network  # callers who named no network keep to the noted one
        self.checked = time.monotonic()

    def _set_state(self, network: str | None, dimension: int | None, people: str | None) -> None:
        value = json.dumps({"format": SCHEMA, "network": network, "dimension": dimension, "people": people})
        self.calls.upsert(f"{self.collection}_state", {"key": "state", "value": value, "encoding": [0.0, 1.0]})
        self.network, self.dimension, self.people = network, dimension, people

    def expect(self, network: str | None, dimension: int | None, sure: bool = False) -> None:
        """Makes the first collection of people, too, once D is known."""
        before, self.wanted = self.wanted, network
        try:
            with self.lock, self._explained():
                self._check_state(newest=True)
                if (network or self.network, dimension or self.dimension) != (self.network, self.dimension):
                    if network and not self.network and not sure and self.count():
                        raise unlabelled(self.where, network)
                    self.note(network, dimension)
        except BaseException:
            self.wanted = before
            raise

    def note(self, network: str | None, dimension: int | None) -> None:
        """Do what ``Change.note`` says, at once."""
        check_fits(self, network, dimension)
        dimension = dimension or self.dimension
        first = self._first_people(network or self.network, dimension) if dimension and not self.people else None
        self._check_state(newest=True)  # another machine may have begun meanwhile
        check_fits(self, network, dimension)
        self._set_state(network or self.network, dimension, self.people or first)

    def _first_people(self, network: str | None, dimension: int) -> str:
        """The first collection of people: of the same name for every machine that begins, so that they share it."""
        name = f"{self.collection}_first"
        self.collections.make(name, dimension, TEXTS, description=network or "")
        begun_for = self.collections.description(name)
        if network and begun_for and begun_for != network:
            raise other_network(self.where, begun_for, network)
        return name

    def state(self) -> tuple[str | None, str]:
        """The collection, and a digest of the numbers of its rows."""
        with self._explained():
            self._check_state(newest=True)
            numbers = np.sort(np.fromiter((row["id"] for row in self._everyone(["id"])), np.int64))
            return self.people, hashlib.sha256(numbers.tobytes()).hexdigest()

    # ------------------------------------------------------------------------------------------------- changes
    @contextmanager
    def change(self) -> Iterator[MilvusChange]:
        """Sends the steps when it is left; the package's docstring says what is not atomic."""
        with self.lock:
            with self._explained():
                self._check_state()
            change = MilvusChange(self)
            yield change
            change.send()
            self.calls.put_away(self.people)

    def replace_all(
        self,
        state: tuple[str | None, str],
        network: str,
        dimension: int | None,
        people: Mapping[str, np.ndarray],
        lost: Sequence[str],
    ) -> bool:
        """Fills a collection of its own, which then takes the old one's place."""
        with self.lock, self._explained(), suppress(_Meanwhile):
            self.wanted = None
            self._check_that_it_is(state)
            old = self.people
            with self._replacement(network, dimension) as new:
                try:
                    for identity, encodings in people.items():
                        self.calls.insert(new, self._encoded_anew(identity, encodings))
                finally:
                    self._check_that_it_is(state)  # a change meanwhile may also be what made the step fail
            self.wanted = network
            with suppress(*self.failures):  # it is out of use; tidy() drops it
                if old:
                    self.collections.drop(old)
            return True
        return False

    def _check_that_it_is(self, state: tuple[str | None, str]) -> None:
        if self.state() != state:
            raise _Meanwhile

    def _encoded_anew(self, identity: str, encodings: np.ndarray) -> list[dict]:
        """The rows of a person who gets other encodings."""
        added = min((row["added"] for row in self.rows_of(identity, ["added"])), default=time.time())
        whole = [picture for picture, _ in whole_ones(self.pictures(identity), f"a photo of {identity!r}")]
        pictures = fitting(identity, whole[-len(encodings) :], encodings)  # a photo without a face has no place
        return rows_of(identity, encodings, pictures, 0, added, time.time())

    @contextmanager
    def _replacement(self, network: str | None, dimension: int | None) -> Iterator[str | None]:
        """A new collection to fill, which is the one in use once this is left; after an error it is dropped."""
        new = f"{self.collection}_t{int(time.time()):08x}_{uuid.uuid4().hex[:8]}" if dimension else None
        try:
            if new:
                self.collections.make(new, dimension, TEXTS)
            yield new
        except BaseException:
            if new:
                with suppress(*self.failures):
                    self.collections.drop(new)
            raise
        self._set_state(network, dimension, new)

    # ------------------------------------------------------------------------------------------------- reading
    def _answer(self, question: Callable[[], Any]) -> Any:
        """What a question gets; it is asked again if the collection was replaced just then."""
        with self._explained():
            while True:
                if not self.people or time.monotonic() - self.checked > STATE_FOR:
                    self._check_state()
                asked = self.people
                try:
                    return question()
                except self.failures:
                    if self._stored(newest=True)["people"] == asked:
                        raise
                self.checked = -STATE_FOR

    def query(self, which: str, fields: Sequence[str], keys: Collection[str], newest: bool = False) -> list[dict]:
        """Some fields of people's rows; their keys say whose."""
        return self.calls.query(self.people, which, fields, keys, newest) if self.people else []

    def rows_of(self, identity: str, fields: Sequence[str]) -> list[dict]:
        """Some fields of each of a person's rows."""
        found = self.query(one_of([who(identity)]), fields, [who(identity)])
        return [{field: row[field] for field in fields} for row in found]

    def _ordered(self, identity: str, fields: Sequence[str]) -> list[dict]:
        rows = self._answer(lambda: self.rows_of(identity, ["number", *fields]))
        return sorted(rows, key=lambda row: row["number"])

    def _everyone(self, fields: Sequence[str], which: str = "number >= 0", size: int = 10_000) -> Iterator[dict]:
        return self.calls.everyone(self.people, which, fields, size) if self.people else iter(())

    def keys(self) -> set[str]:
        """The keys of all people."""
        return set(self._answer(lambda: [row["who"] for row in self._everyone(["who"], "number == 0")]))

    def has(self, identity: str) -> bool:
        """Whether a person of that name is known."""
        with self._explained():
            return bool(self.rows_of(identity, ["id"]))

    def count(self) -> int:
        """Counts the rows of number 0, of which everyone has one."""
        return self._answer(lambda: self.calls.count(self.people, "number == 0") if self.people else 0)

    def names(self) -> Iterator[str]:
        """Reads all of them before it gives the first; a rename puts a person at the end."""
        yield from self._answer(lambda: [row["identity"] for row in self._everyone(["identity"], "number == 0")])

    def encodings(self, identity: str) -> np.ndarray | None:
        """Asks for all of a person's in one query."""
        rows = self._ordered(identity, ["encoding"])
        return np.array([row["encoding"] for row in rows], np.float32) if rows else None

    def pictures(self, identity: str) -> list[Picture]:
        """Gives photos and thumbnails as they were packed, byte for byte."""
        if self.pictured is not None and who(identity) not in self.pictured:
            return []
        return pictures_of(self._ordered(identity, ["photo", "thumbnail"]))

    def table(self) -> list[tuple[str, int, int, float, float]]:
        """Adds up everyone's rows here."""
        return self._answer(self._table)

    def _table(self) -> list[tuple[str, int, int, float, float]]:
        people: dict[str, list] = {}
        for row in self._everyone(["identity", "added", "changed"]):
            person = people.setdefault(row["identity"], [row["identity"], 0, 0, row["added"], row["changed"]])
            person[1] += 1
            person[4] = max(person[4], row["changed"])
        for row in self._everyone(["identity"], 'photo != ""'):
            if row["identity"] in people:
                people[row["identity"]][2] += 1
        return [tuple(person) for person in people.values()]

    @contextmanager
    def at_rest(self) -> Iterator[None]:
        """Keeps threads of this process from writing; ``entries`` refuses what other machines write meanwhile."""
        with self.lock:
            self.resting = self.state()
            self.pictured = set(self._answer(lambda: [row["who"] for row in self._everyone(["who"], 'photo != ""')]))
            try:
                yield
            finally:
                self.resting = self.pictured = None

    def entries(self) -> Iterator[tuple[str, np.ndarray, float, float]]:
        """Asks for 500 people at a time, and at the end whether the state is still the same."""
        everyone = iter(self.table())
        while some := {who(person[0]): person for person in itertools.islice(everyone, 500)}:
            encodings = encodings_of(self._answer(partial(self.query, one_of(some), ENCODINGS, list(some))))
            for key, (identity, _, _, added, changed) in some.items():
                if key in encodings:
                    yield identity, encodings[key], added, changed
        if self.resting is not None and self.state() != self.resting:
            raise BadDatabase(f"{self.where} was changed by another machine while it was read: try again")

    # -------------------------------------------------------------------------------------------------- search
    def nearest(self, probes: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        """Milvus finds candidates, and here they are compared exactly."""
        return self._answer(lambda: self._nearest(probes, k))

    def _nearest(self, probes: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        if not self.people:
            return not_found(len(probes), k)
        if probes.shape[1] != self.dimension:
            raise BadArgument(f"encodings has the shape {probes.shape}; (m, {self.dimension}) is known here")
        return nearest(self.calls, self.people, probes, k, self.represent)

    # ---------------------------------------------------------------------------------------------- forgetting
    def forget(self, identity: str) -> bool:
        """In a file: rewrites everyone else, and removes the old files. On a server: deletes, and warns.

        In a file that takes as long as writing all of them, and as much space again meanwhile. A server is asked to
        compact its files, but it keeps what was deleted, and dropped collections, for as long as it is configured to,
        and its logs, snapshots and backups longer. When they are gone can't be seen from here.
        """
        with self.lock, self._explained():
            self._check_state()
            if not self.rows_of(identity, ["id"]):
                return False
            if self.path is not None:
                self._rewrite(f'who != "{who(identity)}"')
                return True
            with self.change() as change:
                change.drop(identity)
            self.tidy()
        warnings.warn(
            f"{self.where} has removed a person, and was asked to compact its files; it keeps traces in them, in logs "
            f"and in snapshots for as long as it is configured to: ask its administrator",
            stacklevel=3,
        )
        return True

    def tidy(self) -> None:
        """In a file: rewrites everyone. On a server: asks it to compact. Drops what killed processes left."""
        with self.lock, self._explained():
            self._check_state()
            if self.path is not None:
                self._rewrite("number >= 0")
                return
            self._drop_leftovers()
            self._answer(self._compact)

    def _compact(self) -> None:
        for name in filter(None, (self.people, f"{self.collection}_state")):
            self.client.flush(name)
            self.client.compact(name)

    def _rewrite(self, which: str) -> None:
        """Rows into a new collection, and away with the old one and its files: milvus-lite compacts none."""
        if self.people:
            with self._replacement(self.network, self.dimension) as new:
                fields = [*FIELDS, "encoding"]
                everyone = self._everyone(fields, which, size=100)
                while some := list(itertools.islice(everyone, 100)):
                    self.calls.insert(new, [{field: row[field] for field in fields} for row in some])
                self.client.flush(new)
        try:
            self._drop_leftovers()
        except self.failures as error:
            raise NotForgottenYet(
                f"{self.where}: removed, but its old files can't be removed yet ({error}); tidy(), or opening it "
                f"again, removes them"
            ) from error

    def _drop_leftovers(self) -> None:
        """Drop the collections, and in a file what remains of dropped ones, that killed processes left."""
        in_use = self._stored()["people"]
        for name in self.client.list_collections():
            if name != in_use and self._is_left(name, in_use):
                self.collections.drop(name)
        for folder in self.path.glob("collections/*") if self.path is not None else ():
            if folder.name != in_use and self._is_left(folder.name, in_use):
                shutil.rmtree(folder)

    def _is_left(self, name: str, in_use: str | None) -> bool:
        """Whether a collection that is not in use is ours, and no one is about to fill it."""
        found = re.fullmatch(rf"{self.collection}_(first|t([0-9a-f]{{8}})_[0-9a-f]{{8}})", name)
        if not found or self.path is not None:
            return bool(found)
        return time.time() - int(found[2], 16) > LEFT_FOR if found[2] else in_use is not None

    def settle(self, timeout: float | None = None) -> bool:
        """On a server: brings all rows to its disk, and where there are very many, builds a graph.

        No one can search meanwhile. It takes as long as it takes, whatever ``timeout`` says.
        """
        with self.lock, self._explained():
            self._check_state()
            if self.path is not None or not self.people:
                return False
            self.client.flush(self.people)
            if self.count() >= GRAPH_FROM:
                self.collections.make_graph(self.people)
            return self.collections.has_graph(self.people)

    def is_gone(self) -> bool:
        """Whether its file is gone; a server has none."""
        return self.path is not None and not self.path.exists()

    def close(self) -> None:
        """Closes the connection; milvus-lite keeps its file to this process."""
        if hasattr(self, "client"):
            self.client.close()


class _Meanwhile(Exception):  # noqa: N818
    """Another machine has changed something."""
