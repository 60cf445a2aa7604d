"""The calls that read and write rows: fresh enough, patient with a server that starts again, and never done twice.

- **Fresh.** Milvus shows what was written with the next tick of its clock, some tenths of a second later. A call that
  waits for the newest writes of everyone waits for a tick every time. Here only what this process has written during
  the last seconds is waited for, and only where it is asked for; what others wrote may take a moment to be seen.
- **Patient.** A server that was killed is back after some seconds, and must load its people first. Calls that fail
  meanwhile are repeated for a minute.
- **Once.** A row may have arrived although the connection broke before the server said so. So before rows are sent
  again, the server is asked which of them it has.
"""

from __future__ import annotations

import json
import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import suppress
from typing import Any

import numpy as np

PATIENCE = 60.0  # seconds for which calls are repeated while the server starts again
PAUSE = 0.2  # seconds between two tries
PUT_AWAY_FROM = 4000  # rows; among more that the server is still gathering it would guess, once there is a graph
LOADING = 10.0  # seconds that a try to load a collection may take
LOOKED_AT = 512  # encodings that a search in a graph (HNSW) looks at
#: Milvus answers a "Bounded" question from a state that is at most five seconds old, unless its settings say otherwise.
WAITED_FOR = 10.0  # seconds for which a process waits for what it has written itself
#: Milvus' codes for what passes while a server starts: not connected, not loaded, no channel, no segment, no node yet.
STARTING = frozenset({2, 101, 103, 201, 202, 401, 500, 501, 503, 600, 601, 602, 901, 902, 903, 904})
#: And what it says where the code says nothing.
NOT_YET = ("not ready", "not healthy", "not available", "unavailable", "recovering")

#: By address and collection: the keys that this process has written, and when.
_WRITTEN: dict[tuple[str, str], Written] = {}


class Written:
    """What this process has written during the last seconds."""

    def __init__(self) -> None:
        # When, and which keys; the oldest first. (A dict by key must step over all that was taken from its front.)
        self.writes: deque[tuple[float, frozenset[str]]] = deque()
        self.ends_with_delete = False
        self.lock = threading.Lock()

    def add(self, keys: Collection[str], deleted: bool = False) -> None:
        """Note some keys, now: that their rows were written or, if ``deleted``, deleted."""
        with self.lock:
            self._forget()
            self.writes.append((time.monotonic(), frozenset(keys)))
            self.ends_with_delete = deleted

    def has(self, keys: Collection[str] | None) -> bool:
        """Whether any of these keys is among them; None asks for any key at all."""
        with self.lock:
            self._forget()
            return any(written if keys is None else not written.isdisjoint(keys) for _, written in self.writes)

    def _forget(self) -> None:
        """Drop what was written too long ago."""
        too_old = time.monotonic() - WAITED_FOR
        while self.writes and self.writes[0][0] < too_old:
            self.writes.popleft()


class Calls:
    """Reads and writes rows of the collections behind one address.

    Args:
        client: A ``pymilvus.MilvusClient``.
        where: The address.
        failures: What the client raises when a call fails.
    """

    def __init__(self, client: Any, where: str, failures: tuple[type[Exception], ...]) -> None:
        self.client, self.where, self.failures = client, where, failures
        self.gathered = 0  # rows since the server was last told to put them away

    # ------------------------------------------------------------------------------------------------- patience
    def patiently(self, name: str, call: Callable[[], Any]) -> Any:
        """What a call returns, once the server can answer.

        Args:
            name: The collection that it concerns, to be loaded if need be.
            call: What may be done again.
        """
        deadline = None
        while True:
            try:
                return call()
            except self.failures as error:
                deadline = self._wait(name, error, deadline)

    def _wait(self, name: str, error: Exception, deadline: float | None) -> float:
        """Wait a moment for a server that is starting; raise the error if it is another one, or it is too late.

        Returns:
            The deadline; None stands for the first time.
        """
        deadline = deadline or time.monotonic() + PATIENCE
        if not is_passing(error) or time.monotonic() > deadline:
            raise error
        time.sleep(PAUSE)
        with suppress(*self.failures):
            self.client.load_collection(name, timeout=LOADING, retry_times=0)
        return deadline

    # -------------------------------------------------------------------------------------------------- reading
    def query(
        self, name: str, which: str, fields: Sequence[str], keys: Collection[str] | None = None, newest: bool = False
    ) -> list[dict]:
        """Some fields of some rows.

        Args:
            name: The collection.
            which: Milvus' expression for them.
            fields: Their names.
            keys: Those that it concerns; None for all.
            newest: Whether to wait for what others have written just now, too.
        """
        level = "Strong" if newest else self._level(name, keys)
        given = {"filter": which, "output_fields": list(fields), "consistency_level": level, "retry_times": 0}
        return [dict(row) for row in self.patiently(name, lambda: self.client.query(name, **given))]

    def count(self, name: str, which: str) -> int:
        """How many rows an expression allows."""
        return int(self.query(name, which, ["count(*)"])[0]["count(*)"])

    def everyone(self, name: str, which: str, fields: Sequence[str], size: int = 10_000) -> Iterator[dict]:
        """Some fields of all rows that an expression allows, in the order in which they were written."""
        last, deadline = -1, None
        while True:
            try:
                rows = self.client.query_iterator(
                    name,
                    batch_size=size,
                    filter=f"({which}) and id > {last}",
                    output_fields=[*fields, "id"],
                    consistency_level=self._level(name, None),
                )
                while some := rows.next():
                    yield from some
                    last, deadline = some[-1]["id"], None
                return
            except self.failures as error:  # it goes on from where it was
                deadline = self._wait(name, error, deadline)

    def search(self, name: str, probes: np.ndarray, limit: int, fields: Sequence[str]) -> list[list[dict]]:
        """For each of some probes (m, D), the fields of the rows whose encodings are nearest."""
        given = {
            "limit": limit,
            "output_fields": list(fields),
            "search_params": {"params": {"ef": max(limit, LOOKED_AT)}},  # what has no graph ignores it
            "consistency_level": self._level(name, None),
            "retry_times": 0,
        }
        found = self.patiently(name, lambda: self.client.search(name, data=list(probes), **given))
        return [[hit["entity"] for hit in hits] for hits in found]

    def _level(self, name: str, keys: Collection[str] | None) -> str:
        """How fresh an answer must be. A server does not say when it deleted, so then only "Strong" waits for that."""
        written = self._written(name)
        if not written.has(keys):
            return "Bounded"
        return "Strong" if written.ends_with_delete else "Session"

    def _written(self, name: str) -> Written:
        return _WRITTEN.setdefault((self.where, name), Written())

    # -------------------------------------------------------------------------------------------------- writing
    def insert(self, name: str, rows: list[dict], others: Collection[int] = ()) -> None:
        """Write rows, each once.

        Args:
            name: The collection.
            rows: Each with "who", "number" and "changed", by which it is known again.
            others: The numbers ("id") of rows that look like them but were there before.
        """
        deadline, left = None, rows
        while left:
            try:
                self.client.insert(name, left, retry_times=0)
                break
            except self.failures as error:
                deadline = self._wait(name, error, deadline)
                left = self._missing(name, left, others)
        self._written(name).add({row["who"] for row in rows})
        self.gathered += len(rows)

    def put_away(self, name: str) -> None:
        """Let the server bring many new rows to its disk: among those that it is still gathering it searches slowly."""
        if self.gathered >= PUT_AWAY_FROM:
            with suppress(*self.failures):  # it does so by itself in the end
                self.client.flush(name)
            self.gathered = 0

    def _missing(self, name: str, rows: list[dict], others: Collection[int]) -> list[dict]:
        """Of some rows, those that are not stored yet."""
        keys = {row["who"] for row in rows}
        found = self.query(name, one_of(keys), ["id", "who", "number", "changed"], keys, newest=True)
        there = {(row["who"], row["number"], row["changed"]) for row in found if row["id"] not in set(others)}
        return [row for row in rows if (row["who"], row["number"], row["changed"]) not in there]

    def delete(self, name: str, ids: Sequence[int], keys: Collection[str]) -> None:
        """Delete rows by their numbers; of ``keys`` it is known then that they were changed."""
        if ids:
            self.patiently(name, lambda: self.client.delete(name, ids=list(ids), retry_times=0))
            self._written(name).add(keys, deleted=True)

    def upsert(self, name: str, row: dict) -> None:
        """Write a row in the place of the one with its primary key."""
        self.patiently(name, lambda: self.client.upsert(name, [row], retry_times=0))
        self._written(name).add([row["key"]])


def one_of(keys: Collection[str]) -> str:
    """Milvus' expression for the rows of people with these keys.

    Example:
        >>> one_of(["a1", "b2"])
        'who in ["a1", "b2"]'
    """
    return f"who in {json.dumps(sorted(keys))}"


def is_passing(error: Exception) -> bool:
    """Whether a call may succeed in a moment: the connection broke, or the server is not ready yet."""
    code = getattr(error, "code", None)
    broken = getattr(code, "name", "") in ("UNAVAILABLE", "UNKNOWN", "CANCELLED", "INTERNAL")  # gRPC's
    return broken or code in STARTING or any(words in str(error).lower() for words in NOT_YET)
