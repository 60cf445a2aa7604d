"""People in Milvus, for more than one machine: a server, or the same engine in a file (milvus-lite).

    Milvus    the engine: collections, reading, searching, forgetting
    _Change   what is done together: gathered and checked first, then sent

``pymilvus`` is imported only by whoever asks for it. It was tested with milvus-lite alone, in a file and as a server.

Milvus has no transactions over several calls. So a change is checked whole before any of it is sent, and one person is
one call where that is possible; this is not all or nothing if the server fails, or the process is killed, half-way:

- several people (``update``, ``import_from``, ``clear``): those that were sent are changed, the others are not;
- replacing and renaming: the new is sent before the old is removed, so that in between a person is known by old and new
  encodings, or under both names. To do it again puts it right;
- two machines that write one person at once: both may succeed; that is one person with the encodings of both, who may
  be counted and named twice until replaced. What ``rename`` and ``import_from`` find free may be taken a moment later;
- two machines that name different networks first, at the same moment: if the server does not compare descriptions, the
  last one is noted, and the other is refused from its next call on;
- ``reencode`` refuses a state that others have changed, but for the last moment: what another machine writes between
  its last look and the switch, milliseconds later, is lost.

Switching to a new collection is one call: everybody is encoded anew, or nobody. A process that is killed before that
leaves a collection of no use, and with it encodings; ``tidy`` removes it, on a server once it is a day old. Threads of
one process take turns, and a file is one process's until that ends; so in a file only kills can tear a change.
milvus-lite does not wait for the disk: a power cut may take the last changes.
"""

from __future__ import annotations

import base64
import hashlib
import itertools
import json
import re
import shutil
import threading
import time
import uuid
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from facerec.database.entries import (
    MAX_NAME,
    SCHEMA,
    BadDatabase,
    NotForgottenYet,
    Picture,
    mean_encoding,
    other_network,
    pack,
    unlabelled,
)
from facerec.database.search import nobody
from facerec.errors import BadArgument

NOT_CONNECTED = 2  # the code of pymilvus' error


LEFT_FOR = 86_400  # seconds after which a collection that is not in use was left by a killed process


class Milvus:
    """The same over a Milvus server, or its engine in a file (milvus-lite): one entity per encoding.

    A person is addressed by the SHA-256 of the name, so that no name is ever part of an expression. Entities are never
    changed, only added and deleted, so their numbers tell one state from another. Photos are kept smaller, at most
    45 kB.
    """

    photo_limit: int | None = 45_000
    FIELDS = ("who", "number", "identity", "photo", "thumbnail", "added", "changed")
    PEOPLE = {"who": 64, "identity": 4 * MAX_NAME, "photo": 65_535, "thumbnail": 65_535}
    STATE = {"key": 64, "value": 4096}

    def __init__(self, where: str, represent: str, collection: str = "people", **connection: Any) -> None:
        self.where, self.represent, self.collection = where, represent, collection
        if not isinstance(collection, str) or not re.fullmatch(r"[A-Za-z_]\w{0,99}", collection, re.ASCII):
            raise BadArgument(f"collection={collection!r:.80}: letters, digits and _")
        self.wanted = self.network = self.dimension = self.people = self.loaded = self.resting = None
        address = where.removeprefix("milvus:")
        self.path = Path(address).absolute() if where.startswith("milvus:") else None
        self.lock = _LOCKS.setdefault(str(self.path or address), threading.RLock())
        try:
            from pymilvus import DataType, MilvusClient
            from pymilvus.exceptions import MilvusException
        except ImportError as error:
            raise BadArgument(f"{where} is Milvus, which needs: pip install pymilvus milvus-lite ({error})") from error
        self.types, self.failures = DataType, (MilvusException, ConnectionError, OSError)
        with self.lock, self._explained():
            try:
                self.client = MilvusClient(address, **connection)
            except MilvusException as error:
                if error.code != NOT_CONNECTED:
                    raise
                raise BadDatabase(f"no Milvus answers at {address}: is it running, and is that its address?") from error
            self._make(f"{collection}_state", 2, self.STATE, primary="key")
            if self.path is not None:
                self._drop_leftovers()

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except self.failures as error:
            raise BadDatabase(f"{self.where} can't be used: {error}") from error

    # ---------------------------------------------------------------------------------------- collections
    def _make(
        self, name: str, dimension: int, texts: Mapping[str, int], primary: str | None = None, description: str = ""
    ) -> None:
        """A collection with these text fields, or the one that is there, if it is such a one.

        The engine numbers its entities unless there is a primary one. Whoever comes second, if only by a moment, takes
        the other's.
        """
        index = self.client.prepare_index_params()
        index.add_index("encoding", index_type="AUTOINDEX", metric_type="L2")
        if not self.client.has_collection(name):
            schema = self._schema(dimension, texts, primary, description)
            try:
                self.client.create_collection(name, schema=schema, index_params=index, consistency_level="Strong")
            except self.failures:
                if not self._comes_to_be(name):
                    raise
        self._check_fields(name, dimension, texts, primary)
        if not self.client.list_indexes(name):  # its maker was killed, or is not so far yet
            self.client.create_index(name, index)
        self.client.load_collection(name)

    def _comes_to_be(self, name: str, within: float = 2.0) -> bool:
        """Whether another one has made a collection, or is just about to."""
        deadline = time.monotonic() + within
        while not (found := self.client.has_collection(name)) and time.monotonic() < deadline:
            time.sleep(0.02)
        return found

    def _check_fields(self, name: str, dimension: int, texts: Mapping[str, int], primary: str | None) -> None:
        found = {field["name"]: field["params"] for field in self.client.describe_collection(name)["fields"]}
        needed = {*texts, "encoding", *(() if primary else ("id", "number", "added", "changed"))}
        if set(found) != needed or any(int(found[text].get("max_length", 0)) < texts[text] for text in texts):
            raise BadDatabase(f"{self.where}: its collection {name!r} is another program's; name another collection=")
        if (there := int(found["encoding"].get("dim", 0))) != dimension:
            raise BadArgument(f"encodings of {dimension} numbers; {self.where} holds such of {there}")

    def _schema(self, dimension: int, texts: Mapping[str, int], primary: str | None, description: str) -> Any:
        schema = self.client.create_schema(auto_id=primary is None, enable_dynamic_field=False, description=description)
        if primary is None:
            schema.add_field("id", self.types.INT64, is_primary=True)
            schema.add_field("number", self.types.INT64)
            schema.add_field("added", self.types.DOUBLE)
            schema.add_field("changed", self.types.DOUBLE)
        for text, length in texts.items():
            schema.add_field(text, self.types.VARCHAR, max_length=length, is_primary=text == primary)
        schema.add_field("encoding", self.types.FLOAT_VECTOR, dim=dimension)
        return schema

    def _first_people(self, network: str | None, dimension: int) -> str:
        """The first collection of people; it has the same name for all who begin, so that they begin with one."""
        name = f"{self.collection}_first"
        self._make(name, dimension, self.PEOPLE, description=network or "")
        begun_for = self.client.describe_collection(name).get("description")
        if network and begun_for and begun_for != network:
            raise other_network(self.where, begun_for, network)
        return name

    @contextmanager
    def _replacement(self, network: str | None, dimension: int | None) -> Iterator[str | None]:
        """A new collection to fill, which is the one in use once this is left; after an error it is dropped."""
        new = f"{self.collection}_t{int(time.time()):08x}_{uuid.uuid4().hex[:8]}" if dimension else None
        try:
            if new:
                self._make(new, dimension, self.PEOPLE)
            yield new
        except BaseException:
            if new:
                with suppress(*self.failures):
                    self.client.drop_collection(new)
            raise
        self._set_state(network, dimension, new)

    def _drop_leftovers(self) -> None:
        """Drop the collections, and in a file what remains of dropped ones, that killed processes left."""
        in_use = self._stored()["people"]
        for name in self.client.list_collections():
            if name != in_use and self._is_left(name, in_use):
                self.client.drop_collection(name)
        for folder in self.path.glob("collections/*") if self.path is not None else ():
            if folder.name != in_use and self._is_left(folder.name, in_use):
                shutil.rmtree(folder)

    def _is_left(self, name: str, in_use: str | None) -> bool:
        """Whether a collection that is not in use is ours, and nobody is about to fill it."""
        found = re.fullmatch(rf"{self.collection}_(first|t([0-9a-f]{{8}})_[0-9a-f]{{8}})", name)
        if not found or self.path is not None:
            return bool(found)
        return time.time() - int(found[2], 16) > LEFT_FOR if found[2] else in_use is not None

    # ---------------------------------------------------------------------------------------------- state
    def _stored(self) -> dict[str, Any]:
        found = self.client.query(f"{self.collection}_state", filter='key == "state"', output_fields=["value"])
        return json.loads(found[0]["value"]) if found else {"network": None, "dimension": None, "people": None}

    def _loaded(self) -> dict[str, Any]:
        """The state, and its people can be asked for: an engine that has just begun must be told to load them."""
        while (state := self._stored())["people"] != self.loaded:
            try:
                self.client.load_collection(state["people"])
                self.loaded = state["people"]
            except self.failures:
                if self._stored()["people"] == state["people"]:  # or it was replaced just then
                    raise
        return state

    def _check_state(self) -> None:
        state = self._loaded()
        if state.get("format", 1) > SCHEMA:
            raise BadDatabase(f"{self.where} was written by a newer version of this project: open it with that")
        if self.wanted and state["network"] and state["network"] != self.wanted:
            raise other_network(self.where, state["network"], self.wanted)
        self.network, self.dimension, self.people = state["network"], state["dimension"], state["people"]
        self.wanted = self.wanted or self.network  # whoever named none keeps to the noted one

    def _set_state(self, network: str | None, dimension: int | None, people: str | None) -> None:
        value = json.dumps({"format": SCHEMA, "network": network, "dimension": dimension, "people": people})
        self.client.upsert(f"{self.collection}_state", [{"key": "state", "value": value, "encoding": [0.0, 1.0]}])
        self.network, self.dimension, self.people = network, dimension, people

    def expect(self, network: str | None, dimension: int | None, sure: bool = False) -> None:
        """As SQLite's."""
        before, self.wanted = self.wanted, network
        try:
            with self.lock, self._explained():
                self._check_state()
                if (network or self.network, dimension or self.dimension) != (self.network, self.dimension):
                    if network and not self.network and not sure and self.count():
                        raise unlabelled(self.where, network)
                    self.note(network, dimension)
        except BaseException:
            self.wanted = before
            raise

    def check(self, network: str | None, dimension: int | None) -> None:
        """Refuse another network, and another D, than the noted ones."""
        if network and self.network and network != self.network:
            raise other_network(self.where, self.network, network)
        if dimension and self.dimension and dimension != self.dimension:
            raise BadArgument(f"encodings of {dimension} numbers; {self.where} holds such of {self.dimension}")

    def note(self, network: str | None, dimension: int | None) -> None:
        """As SQLite's."""
        self.check(network, dimension)
        dimension = dimension or self.dimension
        first = self._first_people(network or self.network, dimension) if dimension and not self.people else None
        self._check_state()  # another machine may have begun meanwhile
        self.check(network, dimension)
        self._set_state(network or self.network, dimension, self.people or first)

    def state(self) -> tuple[str | None, str]:
        """Which collection, and a digest of the numbers of its entities: every change makes it another one."""
        with self._explained():
            self._check_state()
            numbers = np.sort(np.fromiter((row["id"] for row in self._everybody(["id"])), np.int64))
            return self.people, hashlib.sha256(numbers.tobytes()).hexdigest()

    # -------------------------------------------------------------------------------------------- changes
    @contextmanager
    def change(self) -> Iterator[_Change]:
        """Changes that are sent when this is left, unless there was an error; see the top for what is not atomic."""
        with self.lock:
            with self._explained():
                self._check_state()
            change = _Change(self)
            yield change
            change.send()

    def has(self, identity: str) -> bool:
        """Whether somebody has that name."""
        with self._explained():
            return bool(self._rows(identity, ["id"]))

    def put(
        self,
        identity: str,
        encodings: np.ndarray,
        pictures: Sequence[Picture] = (),
        replace: bool = False,
        times: tuple[float, float] | None = None,
    ) -> None:
        """Add encodings and photos to a person; the photo lies with the encoding of the same place."""
        if self.dimension != encodings.shape[1]:
            self.note(None, encodings.shape[1])
        old = self._rows(identity, ["id", "number", "added"])
        first = 0 if replace or not old else max(row["number"] for row in old) + 1
        added = min((row["added"] for row in old), default=None)
        added, changed = times or (added or time.time(), time.time())
        self.client.insert(self.people, self._entities(identity, encodings, pictures, first, added, changed))
        if replace and old:
            self.client.delete(self.people, ids=[row["id"] for row in old])

    def fitting(self, identity: str, pictures: Sequence[Picture], encodings: np.ndarray) -> list[Picture]:
        """Photos as small as Milvus needs them; refused if there are more than encodings."""
        if len(pictures) > len(encodings):
            raise BadArgument(
                f"{identity!r} has {len(pictures)} photos and {len(encodings)} encodings; Milvus keeps one each"
            )
        return [pack(jpeg, self.photo_limit) for jpeg, _ in pictures]

    def _entities(
        self,
        identity: str,
        encodings: np.ndarray,
        pictures: Sequence[Picture],
        first: int,
        added: float,
        changed: float,
    ) -> list[dict]:
        texts = [tuple(map(_to_text, both)) for both in pictures] + [("", "")] * (len(encodings) - len(pictures))
        return [
            dict(zip(self.FIELDS, (_who(identity), first + i, identity, *texts[i], added, changed), strict=True))
            | {"encoding": encoding}
            for i, encoding in enumerate(encodings)
        ]

    def drop(self, identity: str) -> bool:
        """Remove a person; False if there is none."""
        old = self._rows(identity, ["id"])
        if old:
            self.client.delete(self.people, ids=[row["id"] for row in old])
        return bool(old)

    def rename(self, old: str, new: str) -> None:
        """Another name for a person."""
        rows = sorted(self._rows(old, ["id", *self.FIELDS, "encoding"]), key=lambda row: row["number"])
        ids = [row.pop("id") for row in rows]
        fresh = [{**row, "who": _who(new), "identity": new, "changed": time.time()} for row in rows]
        self.client.insert(self.people, fresh)
        self.client.delete(self.people, ids=ids)

    def replace_all(
        self, state: Any, network: str | None, dimension: int | None, people: Mapping, lost: Sequence[str]
    ) -> bool:
        """New encodings for everybody: into a collection of its own, which then takes the old one's place."""
        with self.lock, self._explained(), suppress(_Meanwhile):
            self.wanted = None
            self._check_that_it_is(state)
            old = self.people
            with self._replacement(network, dimension) as new:
                try:
                    for identity, encodings in people.items():
                        self.client.insert(new, self._encoded_anew(identity, encodings))
                finally:
                    self._check_that_it_is(state)  # or it may be that which was wrong
            self.wanted = network
            with suppress(*self.failures):  # it is out of use; tidy() drops it
                if old:
                    self.client.drop_collection(old)
            return True
        return False

    def _check_that_it_is(self, state: Any) -> None:
        if self.state() != state:
            raise _Meanwhile

    def _encoded_anew(self, identity: str, encodings: np.ndarray) -> list[dict]:
        """What to keep of a person who has other encodings now."""
        added = min((row["added"] for row in self._rows(identity, ["added"])), default=time.time())
        pictures = self.fitting(identity, self.pictures(identity), encodings)
        return self._entities(identity, encodings, pictures, 0, added, time.time())

    # -------------------------------------------------------------------------------------------- reading
    def _answer(self, question: Callable[[], Any]) -> Any:
        """What a question gets; it is asked again if the collection was replaced just then."""
        with self._explained():
            while True:
                self._check_state()
                asked = self.people
                try:
                    return question()
                except self.failures:
                    if self._stored()["people"] == asked:
                        raise

    def _rows(self, identity: str, fields: Sequence[str]) -> list[dict]:
        if not self.people:
            return []
        found = self.client.query(self.people, filter=f'who == "{_who(identity)}"', output_fields=list(fields))
        return [{field: row[field] for field in fields} for row in found]

    def _everybody(self, fields: Sequence[str], which: str = "number >= 0", size: int = 1000) -> Iterator[dict]:
        if self.people:
            rows = self.client.query_iterator(self.people, batch_size=size, filter=which, output_fields=list(fields))
            while piece := rows.next():
                yield from piece
            rows.close()

    def count(self) -> int:
        """How many people."""

        def question() -> int:
            if not self.people:
                return 0
            return int(self.client.query(self.people, filter="number == 0", output_fields=["count(*)"])[0]["count(*)"])

        return self._answer(question)

    def names(self) -> Iterator[str]:
        """Their names."""
        yield from self._answer(lambda: [row["identity"] for row in self._everybody(["identity"], "number == 0")])

    def encodings(self, identity: str) -> np.ndarray | None:
        """A person's encodings, or None."""
        rows = self._answer(lambda: self._rows(identity, ["number", "encoding"]))
        rows.sort(key=lambda row: row["number"])
        return np.array([row["encoding"] for row in rows], np.float32) if rows else None

    def pictures(self, identity: str) -> list[Picture]:
        """A person's photos and thumbnails."""
        rows = self._answer(lambda: self._rows(identity, ["number", "photo", "thumbnail"]))
        rows.sort(key=lambda row: row["number"])
        return [(_from_text(row["photo"]), _from_text(row["thumbnail"])) for row in rows if row["photo"]]

    def table(self) -> list[tuple]:
        """A row per person."""
        return self._answer(self._table)

    def _table(self) -> list[tuple]:
        people: dict[str, list] = {}
        for row in self._everybody(["identity", "added", "changed"]):
            person = people.setdefault(row["identity"], [row["identity"], 0, 0, row["added"], row["changed"]])
            person[1] += 1
            person[4] = max(person[4], row["changed"])
        for row in self._everybody(["identity"], 'photo != ""'):
            if row["identity"] in people:
                people[row["identity"]][2] += 1
        return [tuple(person) for person in people.values()]

    @contextmanager
    def at_rest(self) -> Iterator[None]:
        """Let no thread of this process write for a while; ``entries`` refuses what other machines write meanwhile."""
        with self.lock:
            self.resting = self.state()
            try:
                yield
            finally:
                self.resting = None

    def entries(self) -> Iterator[tuple[str, np.ndarray, float, float]]:
        """Everybody: name, encodings, when added and changed."""
        for identity, _, _, added, changed in self.table():
            if (encodings := self.encodings(identity)) is not None:
                yield identity, encodings, added, changed
        if self.resting is not None and self.state() != self.resting:
            raise BadDatabase(f"{self.where} was changed by another machine while it was read: do it again")

    def nearest(self, probes: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        """As ``FaceDatabase.nearest``: Milvus finds candidates, and here they are compared exactly."""
        return self._answer(lambda: self._nearest(probes, k))

    def _nearest(self, probes: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        identities, distances = nobody(len(probes), k)
        if self.people and probes.shape[1] != self.dimension:
            raise BadArgument(f"encodings has the shape {probes.shape}; (m, {self.dimension}) is known here")
        for i, probe in enumerate(probes if self.people else ()):
            found = sorted(self._candidates(probe, k), key=lambda both: both[1])[:k]
            identities[i, : len(found)] = [identity for identity, _ in found]
            distances[i, : len(found)] = [distance for _, distance in found]
        return identities, distances

    def _candidates(self, probe: np.ndarray, k: int) -> list[tuple[str, float]]:
        """At least k people, if there are so many, with their distances."""
        limit = 4 * k + 32
        while True:
            limit = min(limit, 16_384)  # Milvus gives no more
            found = self.client.search(
                self.people, data=[probe.tolist()], limit=limit, output_fields=["who", "identity", "encoding"]
            )[0]
            people: dict[str, list] = {}
            for hit in found:
                row = hit["entity"]
                people.setdefault(row["who"], [row["identity"], []])[1].append(row["encoding"])
            if len(people) >= k or len(found) < limit or limit == 16_384:
                break
            limit *= 2
        if self.represent == "mean":
            self._complete(people)
        return [(identity, self._distance(probe, np.array(known, np.float32))) for identity, known in people.values()]

    def _complete(self, people: Mapping[str, list]) -> None:
        """All encodings of these people: some may not be among the candidates."""
        for person in people.values():
            person[1] = []
        who = ", ".join(f'"{key}"' for key in people)
        for row in self.client.query(self.people, filter=f"who in [{who}]", output_fields=["who", "encoding"]):
            people[row["who"]][1].append(row["encoding"])

    def _distance(self, probe: np.ndarray, known: np.ndarray) -> float:
        known = mean_encoding(known)[None] if self.represent == "mean" else known
        return float(np.linalg.norm(known - probe, axis=1).min())

    # ---------------------------------------------------------------------------------------- housekeeping
    def forget(self, identity: str) -> bool:
        """As SQLite's in a file: everybody else is written anew, and the old files are removed.

        That takes as long as to write all of them, and as much space again meanwhile. A server only deletes, and is
        asked to compact its files: it keeps what was deleted, and collections that were dropped, for as long as it is
        set up to, and its logs, snapshots and backups longer. Nobody can see from here when they are gone, so this
        warns.
        """
        with self.lock, self._explained():
            self._check_state()
            if not self._rows(identity, ["id"]):
                return False
            if self.path is not None:
                self._rewrite(f'who != "{_who(identity)}"')
                return True
            self.drop(identity)
            self.tidy()
        warnings.warn(
            f"{self.where} has removed a person, and was asked to compact its files; it keeps traces in them, in logs "
            f"and in snapshots for as long as it is set up to: ask who runs it",
            stacklevel=3,
        )
        return True

    def tidy(self) -> None:
        """Write everybody anew, in a file; ask a server to compact its own. Drop what killed processes left."""
        with self.lock, self._explained():
            self._check_state()
            if self.path is not None:
                self._rewrite("number >= 0")
                return
            self._drop_leftovers()
            for name in filter(None, (self.people, f"{self.collection}_state")):
                self.client.flush(name)
                self.client.compact(name)

    def _rewrite(self, which: str) -> None:
        """Entities into a new collection, and away with the old one and its files: milvus-lite compacts none."""
        if self.people:
            with self._replacement(self.network, self.dimension) as new:
                fields = [*self.FIELDS, "encoding"]
                everybody = self._everybody(fields, which, size=100)
                while some := list(itertools.islice(everybody, 100)):
                    self.client.insert(new, [{field: row[field] for field in fields} for row in some])
                self.client.flush(new)
        try:
            self._drop_leftovers()
        except self.failures as error:
            raise NotForgottenYet(
                f"{self.where}: removed, but its old files can't be ({error}); tidy(), or opening it again, does it"
            ) from error

    def settle(self, timeout: float | None = None) -> bool:
        """The engine indexes by itself."""
        return True

    def close(self) -> None:
        """Close the connection."""
        if hasattr(self, "client"):
            self.client.close()


_LOCKS: dict[str, threading.RLock] = {}  # by address: threads of this process write one after the other


class _Meanwhile(Exception):  # noqa: N818
    """Somebody else has changed something."""


class _Change:
    """Changes that are gathered, and checked, before the first of them is sent.

    They are held in memory until then: 512 bytes for an encoding, at most 45 kB for a photo.
    """

    def __init__(self, engine: Milvus) -> None:
        self.engine, self.dimension = engine, engine.dimension
        self.known: dict[str, bool] = {}  # who will be there, as far as these changes say
        self.steps: list[Callable[[], Any]] = []

    def has(self, identity: str) -> bool:
        """Whether somebody has, or will have, that name."""
        return self.known[identity] if identity in self.known else self.engine.has(identity)

    def note(self, network: str | None, dimension: int | None) -> None:
        """As SQLite's."""
        self.engine.check(network, dimension)
        if dimension and self.dimension and dimension != self.dimension:
            raise BadArgument(f"encodings of {dimension} numbers, and of {self.dimension}, in one change")
        self.dimension = self.dimension or dimension
        self.steps.append(partial(self.engine.note, network, dimension))

    def put(
        self,
        identity: str,
        encodings: np.ndarray,
        pictures: Sequence[Picture] = (),
        replace: bool = False,
        times: tuple[float, float] | None = None,
    ) -> None:
        """As SQLite's."""
        if self.dimension != encodings.shape[1]:
            self.note(None, encodings.shape[1])
        pictures = self.engine.fitting(identity, pictures, encodings)
        self.known[identity] = True
        self.steps.append(partial(self.engine.put, identity, encodings, pictures, replace, times))

    def drop(self, identity: str) -> bool:
        """Remove a person; False if there is none."""
        known = self.has(identity)
        if known:
            self.known[identity] = False
            self.steps.append(partial(self.engine.drop, identity))
        return known

    def rename(self, old: str, new: str) -> None:
        """Another name for a person."""
        self.known |= {old: False, new: True}
        self.steps.append(partial(self.engine.rename, old, new))

    def send(self) -> None:
        """Do it, in order."""
        for done, step in enumerate(self.steps):
            try:
                step()
            except self.engine.failures as error:
                raise BadDatabase(
                    f"{self.engine.where} can't be used: {done} of {len(self.steps)} changes are done, and stay; "
                    f"do the others again ({error})"
                ) from error


def _who(identity: str) -> str:
    """A key that is safe in any expression."""
    return hashlib.sha256(identity.encode()).hexdigest()


def _to_text(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _from_text(text: str) -> bytes:
    return base64.b64decode(text)
