"""People in Milvus, for more than one machine: a server, or the same engine in a file (milvus-lite).

``pymilvus`` is imported only by whoever asks for it.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from database_entries import MAX_NAME, SCHEMA, BadDatabase, Picture, mean_encoding, other_network, pack
from database_search import nobody
from errors import BadArgument


class Milvus:
    """The same over a Milvus server, or its engine in a file (milvus-lite): one entity per encoding.

    A person is addressed by the SHA-256 of the name, so that no name is ever part of an expression. Milvus has no
    transactions: a change of several people that fails half-way is half done, and two processes that write the same
    person at once may both succeed. Photos are kept smaller, at most 45 kB.
    """

    photo_limit: int | None = 45_000
    FIELDS = ("who", "number", "identity", "photo", "thumbnail", "added", "changed")

    def __init__(self, where: str, represent: str, collection: str = "people", **connection: Any) -> None:
        self.where, self.represent, self.collection = where, represent, collection
        if not isinstance(collection, str) or not re.fullmatch(r"[A-Za-z_]\w{0,99}", collection, re.ASCII):
            raise BadArgument(f"collection={collection!r:.80}: letters, digits and _")
        self.wanted = self.network = self.dimension = self.people = None
        try:
            from pymilvus import DataType, MilvusClient
            from pymilvus.exceptions import MilvusException
        except ImportError as error:
            raise BadArgument(f"{where} is Milvus, which needs: pip install pymilvus milvus-lite ({error})") from error
        self.types, self.failures = DataType, (MilvusException, ConnectionError, OSError)
        with self._explained():
            self.client = MilvusClient(where.removeprefix("milvus:"), **connection)
            if not self.client.has_collection(f"{collection}_state"):
                self._make(f"{collection}_state", 2, {"key": 64, "value": 4096}, primary="key")

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except self.failures as error:
            raise BadDatabase(f"{self.where} can't be used: {error}") from error

    def _make(self, name: str, dimension: int, texts: Mapping[str, int], primary: str | None = None) -> None:
        """A collection with these text fields; the engine numbers its entities unless there is a primary one."""
        schema = self.client.create_schema(auto_id=primary is None, enable_dynamic_field=False)
        if primary is None:
            schema.add_field("id", self.types.INT64, is_primary=True)
            schema.add_field("number", self.types.INT64)
            schema.add_field("added", self.types.DOUBLE)
            schema.add_field("changed", self.types.DOUBLE)
        for text, length in texts.items():
            schema.add_field(text, self.types.VARCHAR, max_length=length, is_primary=text == primary)
        schema.add_field("encoding", self.types.FLOAT_VECTOR, dim=dimension)
        index = self.client.prepare_index_params()
        index.add_index("encoding", index_type="AUTOINDEX", metric_type="L2")
        self.client.create_collection(name, schema=schema, index_params=index, consistency_level="Strong")

    # ---------------------------------------------------------------------------------------------- state
    def _check_state(self) -> None:
        found = self.client.query(f"{self.collection}_state", filter='key == "state"', output_fields=["value"])
        state = json.loads(found[0]["value"]) if found else {"network": None, "dimension": None, "people": None}
        if state.get("format", 1) > SCHEMA:
            raise BadDatabase(f"{self.where} was written by a newer version of this project: open it with that")
        if self.wanted and state["network"] and state["network"] != self.wanted:
            raise other_network(self.where, state["network"], self.wanted)
        self.network, self.dimension, self.people = state["network"], state["dimension"], state["people"]

    def _set_state(self, network: str | None, dimension: int | None, people: str | None) -> None:
        value = json.dumps({"format": SCHEMA, "network": network, "dimension": dimension, "people": people})
        self.client.upsert(f"{self.collection}_state", [{"key": "state", "value": value, "encoding": [0.0, 1.0]}])
        self.network, self.dimension, self.people = network, dimension, people

    def _new_people(self, dimension: int) -> str:
        """A new collection of people, empty."""
        name = f"{self.collection}_{uuid.uuid4().hex[:8]}"
        self._make(name, dimension, {"who": 64, "identity": 4 * MAX_NAME, "photo": 65_535, "thumbnail": 65_535})
        return name

    def expect(self, network: str | None, dimension: int | None) -> None:
        """As SQLite's."""
        self.wanted = network
        with self._explained():
            self._check_state()
            if (network or self.network, dimension or self.dimension) != (self.network, self.dimension):
                self.note(network, dimension)

    def note(self, network: str | None, dimension: int | None) -> None:
        """As SQLite's."""
        if network and self.network and network != self.network:
            raise other_network(self.where, self.network, network)
        if dimension and self.dimension and dimension != self.dimension:
            raise BadArgument(f"encodings of {dimension} numbers; {self.where} holds such of {self.dimension}")
        dimension = dimension or self.dimension
        people = self.people or (self._new_people(dimension) if dimension else None)
        self._set_state(network or self.network, dimension, people)

    def state(self) -> str | None:
        """Something that another ``replace_all`` changes."""
        return self.people

    # -------------------------------------------------------------------------------------------- changes
    @contextmanager
    def change(self) -> Iterator[Milvus]:
        """Changes, one after the other."""
        with self._explained():
            self._check_state()
            yield self

    def has(self, identity: str) -> bool:
        """Whether somebody has that name."""
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

    def _entities(
        self,
        identity: str,
        encodings: np.ndarray,
        pictures: Sequence[Picture],
        first: int,
        added: float,
        changed: float,
    ) -> list[dict]:
        pictures = [pack(jpeg, self.photo_limit) for jpeg, _ in pictures]
        if len(pictures) > len(encodings):
            raise BadArgument(
                f"{identity!r} has {len(pictures)} photos and {len(encodings)} encodings; Milvus keeps one each"
            )
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
        with self._explained():
            self.wanted = None
            self._check_state()
            if self.people != state or set(self.names()) != {*people, *lost}:
                return False
            old, new = self.people, self._new_people(dimension) if dimension else None
            for identity, encodings in people.items():
                added = min(row["added"] for row in self._rows(identity, ["added"]))
                entities = self._entities(identity, encodings, self.pictures(identity), 0, added, time.time())
                self.client.insert(new, entities)
            self._set_state(network, dimension, new)
            self.wanted = network
            if old:
                self.client.drop_collection(old)
        return True

    # -------------------------------------------------------------------------------------------- reading
    def _rows(self, identity: str, fields: Sequence[str]) -> list[dict]:
        if not self.people:
            return []
        found = self.client.query(self.people, filter=f'who == "{_who(identity)}"', output_fields=list(fields))
        return [{field: row[field] for field in fields} for row in found]

    def _everybody(self, fields: Sequence[str], which: str = "number >= 0") -> Iterator[dict]:
        if self.people:
            rows = self.client.query_iterator(self.people, batch_size=1000, filter=which, output_fields=list(fields))
            while piece := rows.next():
                yield from piece
            rows.close()

    def count(self) -> int:
        """How many people."""
        with self._explained():
            self._check_state()
            if not self.people:
                return 0
            found = self.client.query(self.people, filter="number == 0", output_fields=["count(*)"])
            return int(found[0]["count(*)"])

    def names(self) -> Iterator[str]:
        """Their names."""
        with self._explained():
            self._check_state()
            yield from (row["identity"] for row in self._everybody(["identity"], "number == 0"))

    def encodings(self, identity: str) -> np.ndarray | None:
        """A person's encodings, or None."""
        with self._explained():
            self._check_state()
            rows = sorted(self._rows(identity, ["number", "encoding"]), key=lambda row: row["number"])
        return np.array([row["encoding"] for row in rows], np.float32) if rows else None

    def pictures(self, identity: str) -> list[Picture]:
        """A person's photos and thumbnails."""
        with self._explained():
            rows = sorted(self._rows(identity, ["number", "photo", "thumbnail"]), key=lambda row: row["number"])
        return [(_from_text(row["photo"]), _from_text(row["thumbnail"])) for row in rows if row["photo"]]

    def table(self) -> list[tuple]:
        """A row per person."""
        with self._explained():
            self._check_state()
            people: dict[str, list] = {}
            for row in self._everybody(["identity", "added", "changed", "thumbnail"]):
                person = people.setdefault(row["identity"], [row["identity"], 0, 0, row["added"], row["changed"]])
                person[1] += 1
                person[2] += bool(row["thumbnail"])
                person[4] = max(person[4], row["changed"])
        return [tuple(person) for person in people.values()]

    @contextmanager
    def at_rest(self) -> Iterator[None]:
        """Milvus shows what there is."""
        with self._explained():
            yield

    def entries(self) -> Iterator[tuple[str, np.ndarray, float, float]]:
        """Everybody: name, encodings, when added and changed."""
        for identity, _, _, added, changed in self.table():
            yield identity, self.encodings(identity), added, changed

    def nearest(self, probes: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        """As ``FaceDatabase.nearest``: Milvus finds candidates, and here they are compared exactly."""
        with self._explained():
            self._check_state()
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
        """As SQLite's; the engine removes what was deleted when it compacts its files, which it is asked to do."""
        with self.change():
            known = self.drop(identity)
        if known:
            self.tidy()
        return known

    def tidy(self) -> None:
        """Ask the engine to compact its files."""
        with self._explained():
            for name in filter(None, (self.people, f"{self.collection}_state")):
                self.client.flush(name)
                self.client.compact(name)

    def settle(self, timeout: float | None = None) -> bool:
        """The engine indexes by itself."""
        return True

    def close(self) -> None:
        """Close the connection."""
        if hasattr(self, "client"):
            self.client.close()


def _who(identity: str) -> str:
    """A key that is safe in any expression."""
    return hashlib.sha256(identity.encode()).hexdigest()


def _to_text(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _from_text(text: str) -> bytes:
    return base64.b64decode(text)
