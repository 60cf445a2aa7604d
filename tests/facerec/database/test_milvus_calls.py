"""The calls to Milvus, with a fake server that goes away at chosen moments: each row once, nothing missed, no haste."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("pymilvus", reason="pymilvus is not installed")
from grpc import StatusCode
from pymilvus.exceptions import MilvusException

from facerec.database.milvus import calls as module
from facerec.database.milvus.calls import Calls, Written

GONE = MilvusException(StatusCode.UNAVAILABLE, "the connection broke")
NOT_LOADED = MilvusException(101, "collection not loaded")
FULL = MilvusException(1100, "the disk is full")


class FakeClient:
    """A collection of rows. ``failures`` says what happens to the next calls: an error before, or after the work."""

    def __init__(self) -> None:
        self.rows: list[dict] = []
        self.failures: list[tuple[str, Exception]] = []
        self.levels: list[str] = []
        self.loads = 0

    def _call(self, work: Callable[[], Any]) -> Any:
        when, error = self.failures.pop(0) if self.failures else ("", None)
        if when == "before":
            raise error
        result = work()
        if when == "after":
            raise error
        return result

    def load_collection(self, *_: Any, **__: Any) -> None:
        self.loads += 1

    def insert(self, _: str, rows: list[dict], **__: Any) -> None:
        self._call(lambda: self.rows.extend({**row, "id": len(self.rows) + i} for i, row in enumerate(rows)))

    def delete(self, _: str, ids: list[int], **__: Any) -> None:
        self.rows = [row for row in self.rows if row["id"] not in ids]

    def query(self, *_: Any, consistency_level: str, **__: Any) -> list[dict]:
        self.levels.append(consistency_level)
        return self._call(lambda: list(self.rows))

    def query_iterator(
        self, *_: Any, batch_size: int, filter: str, consistency_level: str, **__: Any
    ) -> SimpleNamespace:
        self.levels.append(consistency_level)
        last = int(filter.rpartition("> ")[2])
        left = iter([row for row in self.rows if row["id"] > last])
        return SimpleNamespace(next=lambda: self._call(lambda: list(itertools.islice(left, batch_size))))


@pytest.fixture
def client() -> FakeClient:
    return FakeClient()


@pytest.fixture
def calls(client, monkeypatch) -> Calls:
    monkeypatch.setattr(module, "PAUSE", 0)
    monkeypatch.setattr(module, "_WRITTEN", {})
    return Calls(client, "here", (MilvusException,))


def rows(*names: str, changed: float = 1.0) -> list[dict]:
    return [{"who": name, "number": 0, "changed": changed} for name in names]


LOST = {
    "nothing arrived": [("before", GONE)],
    "all arrived": [("after", GONE)],
    "arrived late": [("before", GONE), ("before", NOT_LOADED), ("", None), ("after", GONE)],
}


@pytest.mark.parametrize("lost", LOST)
def test_rows_are_written_once_whatever_the_connection_does(client, calls, lost):
    client.failures = list(LOST[lost])
    calls.insert("people", rows("lena", "omar"))
    assert [row["who"] for row in client.rows] == ["lena", "omar"]
    assert client.failures == []


def test_only_rows_that_did_not_arrive_are_sent_again(client, calls):
    client.rows = [{**row, "id": 0} for row in rows("lena")]
    client.failures = [("before", GONE)]
    calls.insert("people", rows("lena", "omar"))
    assert [row["who"] for row in client.rows] == ["lena", "omar"]
    assert client.levels == ["Strong"]


def test_row_that_was_there_before_is_not_taken_for_the_new_one(client, calls):
    """An import may bring a person who is replaced, with the times that they had."""
    client.rows = [{**row, "id": 7} for row in rows("lena")]
    client.failures = [("before", GONE)]
    calls.insert("people", rows("lena"), others={7})
    assert len(client.rows) == 2


@pytest.mark.parametrize(
    "work", [lambda calls: calls.insert("people", rows("lena")), lambda calls: calls.query("people", "", [])]
)
def test_other_errors_are_raised_at_once(client, calls, work):
    client.failures = [("before", FULL)]
    with pytest.raises(MilvusException, match="the disk is full"):
        work(calls)
    assert client.loads == 0


def test_patience_ends(client, calls, monkeypatch):
    monkeypatch.setattr(module, "PATIENCE", -1)
    client.failures = [("before", NOT_LOADED)] * 2
    with pytest.raises(MilvusException, match="not loaded"):
        calls.query("people", "", [])


def test_collection_that_is_not_loaded_is_loaded(client, calls):
    client.failures = [("before", NOT_LOADED)]
    assert calls.query("people", "", []) == []
    assert client.loads == 1


def test_everyone_is_read_once_though_the_server_goes_away_in_between(client, calls):
    client.rows = [{"id": number} for number in range(25)]
    client.failures = [("", None), ("before", GONE), ("", None), ("before", NOT_LOADED)]
    assert [row["id"] for row in calls.everyone("people", "number == 0", [], size=10)] == list(range(25))


# ------------------------------------------------------------------------------------------------------ freshness
@pytest.fixture
def clock(monkeypatch) -> Iterator[SimpleNamespace]:
    now = SimpleNamespace(seconds=0.0)
    monkeypatch.setattr(module.time, "monotonic", lambda: now.seconds)
    return now


def test_only_what_this_process_has_just_written_is_waited_for(client, calls, clock):
    level = lambda keys: (calls.query("people", "", [], keys), client.levels[-1])[1]  # noqa: E731
    assert level(None) == level(["lena"]) == "Bounded"
    calls.insert("people", rows("lena"))
    assert level(None) == level(["lena"]) == level(["omar", "lena"]) == "Session"
    assert level(["omar"]) == "Bounded"
    assert Calls(client, "here", ())._level("people", None) == "Session"  # another database of this process
    clock.seconds = module.WAITED_FOR + 1
    assert level(None) == level(["lena"]) == "Bounded"


def test_after_a_delete_only_the_newest_state_is_good_enough(client, calls, clock):
    """A server answers a delete without its time, and a "Session" that ends with one waits for nothing."""
    level = lambda keys: (calls.query("people", "", [], keys), client.levels[-1])[1]  # noqa: E731
    calls.insert("people", rows("lena"))
    calls.delete("people", [0], ["lena"])
    assert level(None) == level(["lena"]) == "Strong"
    assert list(calls.everyone("people", "", [])) == [] and client.levels[-1] == "Strong"
    assert level(["omar"]) == "Bounded"
    calls.insert("people", rows("omar"))  # comes after the delete, so waiting for it is waiting for both
    assert level(None) == level(["lena"]) == "Session"
    calls.delete("people", [0], ["omar"])
    clock.seconds = module.WAITED_FOR + 1
    assert level(None) == "Bounded"


def test_rows_written_again_are_waited_for_again(clock):
    written = Written()
    written.add(["lena", "omar"])
    clock.seconds = module.WAITED_FOR - 1
    written.add(["lena"])
    clock.seconds = module.WAITED_FOR + 1
    assert written.has(["lena"])
    assert not written.has(["omar"])
