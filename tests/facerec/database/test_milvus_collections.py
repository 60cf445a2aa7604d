"""Several machines that begin at the same moment: each ends with the same whole collection, indexed and loaded.

The races are not left to chance. A fake server refuses a second creation, as milvus-lite does, and runs the calls of
several creators in an order that the test chooses; then a rival creator acts within the calls to the real milvus-lite.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from facerec.database import BadDatabase, FaceDatabase, OtherNetwork
from facerec.errors import BadArgument

pytest.importorskip("pymilvus", reason="pymilvus is not installed")
pytest.importorskip("milvus_lite", reason="milvus-lite is not installed")
from pymilvus import DataType, MilvusClient
from pymilvus.exceptions import MilvusException

from facerec.database.milvus import collections
from facerec.database.milvus.collections import LOADED, Collections
from facerec.database.milvus.rows import TEXTS
from tests.facerec.database.helpers import D, at_once, unit

NAMES = ("people_state", "people_first")


# ------------------------------------------------------------------------------------------------- a fake server
class Turns:
    """Lets the calls of several creators happen one by one, in a given order; then in any."""

    def __init__(self, order: list[int], creators: int) -> None:
        self.order, self.busy, self.lock = deque(order), set(range(creators)), threading.Condition()

    def _may(self, creator: int) -> bool:
        while self.order and self.order[0] not in self.busy:
            self.order.popleft()
        return not self.order or self.order[0] == creator

    @contextmanager
    def of(self, creator: int) -> Iterator[None]:
        with self.lock:
            assert self.lock.wait_for(lambda: self._may(creator), 60)
            if self.order:
                self.order.popleft()
            try:
                yield
            finally:
                self.lock.notify_all()

    def done(self, creator: int) -> None:
        with self.lock:
            self.busy.discard(creator)
            self.lock.notify_all()


class FakeServer:
    """Collections by name. Whatever is there already can't be made again, and what is not there can't be dropped."""

    def __init__(self) -> None:
        self.collections: dict[str, SimpleNamespace] = {}
        self.refused: list[int] = []

    def refuse(self, code: int, message: str) -> None:
        self.refused.append(code)
        raise MilvusException(code=code, message=message)

    def get(self, name: str) -> SimpleNamespace:
        return self.collections.get(name) or self.refuse(100, f"can't find collection {name}")


class FakeClient:
    """One creator's client, with the calls that ``Collections`` makes; each takes a turn."""

    def __init__(self, server: FakeServer, turn: Callable[[], Any]) -> None:
        self.server, self.turn = server, turn

    def prepare_index_params(self) -> SimpleNamespace:
        return SimpleNamespace(add_index=lambda *_, **__: None)

    def create_schema(self, **_: Any) -> SimpleNamespace:
        fields: dict[str, dict] = {}
        add = lambda name, kind, max_length=0, dim=0, **_: fields.update({name: {"max_length": max_length, "dim": dim}})  # noqa: E731
        return SimpleNamespace(add_field=add, fields=fields)

    def has_collection(self, name: str) -> bool:
        with self.turn():
            return name in self.server.collections

    def create_collection(self, name: str, schema: Any, index_params: Any = None, **_: Any) -> None:
        with self.turn():
            if name in self.server.collections:
                self.server.refuse(1, f"collection {name} already exists")
            self.server.collections[name] = SimpleNamespace(fields=schema.fields, indexed=False, loaded=False)
        if index_params is not None:  # as pymilvus does it: two calls more
            self.create_index(name, index_params)
            self.load_collection(name)

    def describe_collection(self, name: str) -> dict:
        with self.turn():
            return {"fields": [{"name": key, "params": value} for key, value in self.server.get(name).fields.items()]}

    def list_indexes(self, name: str) -> list[str]:
        with self.turn():
            return ["encoding"] if self.server.get(name).indexed else []

    def create_index(self, name: str, _: Any, sync: bool = True) -> None:
        with self.turn():
            if self.server.get(name).indexed:
                self.server.refuse(35, "index already exists")
            self.server.collections[name].indexed = True

    def get_load_state(self, name: str) -> dict:
        with self.turn():
            return {"state": LOADED if self.server.get(name).loaded else 1}

    def load_collection(self, name: str) -> None:
        with self.turn():
            if not self.server.get(name).indexed:
                self.server.refuse(700, "index not found")
            self.server.collections[name].loaded = True

    def drop_collection(self, name: str) -> None:
        with self.turn():
            self.server.get(name)
            del self.server.collections[name]


def creators(server: FakeServer, count: int, order: list[int]) -> tuple[list[Collections], Turns]:
    turns = Turns(order, count)
    clients = [FakeClient(server, lambda i=i: turns.of(i)) for i in range(count)]
    return [Collections(client, "here", DataType, (MilvusException,)) for client in clients], turns


def race(server: FakeServer, count: int, order: list[int], step: Callable[[Collections], None]) -> None:
    """Let several creators do the same; their calls happen in this order."""
    several, turns = creators(server, count, order)

    def one(i: int) -> None:
        try:
            step(several[i])
        finally:
            turns.done(i)

    at_once(*(lambda i=i: one(i) for i in range(count)))


@pytest.mark.parametrize("count", [2, 3])
def test_every_creator_ends_with_the_whole_collection(count):
    """Two hundred races: in many of them a creator is refused, for each of the reasons; none of them fails."""
    refused: set[int] = set()
    for seed in range(100):
        server = FakeServer()
        order = np.random.default_rng(seed).integers(0, count, 60).tolist()
        race(server, count, order, lambda made: made.make("people_first", D, TEXTS))
        (made,) = server.collections.values()
        assert (made.indexed, made.loaded) == (True, True), f"seed {seed}"
        refused |= set(server.refused)
    assert refused == {1, 35}  # "collection already exists" and "index already exists"


def test_every_dropper_ends_without_the_collection():
    for seed in range(100):
        server = FakeServer()
        race(server, 1, [], lambda one: one.make("people_first", D, TEXTS))
        order = np.random.default_rng(seed).integers(0, 2, 20).tolist()
        race(server, 2, order, lambda one: one.drop("people_first"))
        assert not server.collections


@pytest.mark.parametrize("done", ["nothing", "created", "indexed", "loaded"])
def test_collection_that_a_killed_creator_left_is_completed(done):
    server = FakeServer()
    ((one,), _) = creators(server, 1, [])
    if done != "nothing":
        one.client.create_collection("people_first", one._schema(D, TEXTS, None, ""))
        server.collections["people_first"].indexed = done != "created"
        server.collections["people_first"].loaded = done == "loaded"
    one.make("people_first", D, TEXTS)
    assert server.collections["people_first"].loaded
    assert not server.refused


def test_creator_waits_for_another_that_is_not_so_far(monkeypatch):
    """A server may refuse the name before it shows the collection."""
    server, waited = FakeServer(), []
    ((one,), _) = creators(server, 1, [])
    create = one.client.create_collection

    def refused(*args: Any, **kwargs: Any) -> None:
        server.refuse(1, "collection people_first already exists")

    def sleep(seconds: float) -> None:
        waited.append(seconds)
        if len(waited) == 3:  # now the other one is so far
            create("people_first", one._schema(D, TEXTS, None, ""))

    monkeypatch.setattr(collections.time, "sleep", sleep)
    monkeypatch.setattr(one.client, "create_collection", refused)
    one.make("people_first", D, TEXTS)
    assert len(waited) == 3
    assert server.collections["people_first"].loaded


@pytest.mark.parametrize("step", ["create_collection", "create_index", "load_collection", "drop_collection"])
def test_step_that_fails_for_another_reason_is_an_error(monkeypatch, step):
    monkeypatch.setattr(collections, "OTHERS_TAKE", 0)
    ((one,), _) = creators(FakeServer(), 1, [])

    def fail(*args: Any, **kwargs: Any) -> None:
        raise MilvusException(message="the disk is full")

    if step == "drop_collection":
        one.make("people_first", D, TEXTS)
    monkeypatch.setattr(one.client, step, fail)
    with pytest.raises(MilvusException, match="the disk is full"):
        one.drop("people_first") if step == "drop_collection" else one.make("people_first", D, TEXTS)


# --------------------------------------------------------------------------------------------------- milvus-lite
STEPS = [
    "create_collection",
    "describe_collection",
    "list_indexes",
    "create_index",
    "get_load_state",
]


@pytest.mark.parametrize("step", STEPS)
def test_rival_that_is_quicker_at_any_step_does_no_harm(server, monkeypatch, step):
    """Just before one creator's call, another makes the whole collection."""
    call, acted = getattr(MilvusClient, step), []
    rival = Collections(MilvusClient(server), server, DataType, (MilvusException,))

    def after_the_rival(client: MilvusClient, name: str, *args: Any, **kwargs: Any) -> Any:
        if client is not rival.client and name not in acted:
            acted.append(name)
            rival.make(name, 2 if name == "people_state" else D, *SHAPES[name])
        return call(client, name, *args, **kwargs)

    monkeypatch.setattr(MilvusClient, step, after_the_rival)
    with FaceDatabase(server, "one:1") as database:
        database.add("lena", unit(1))
        assert database.nearest(unit(1))[0][0, 0] == "lena"
    assert acted == [*NAMES]
    rival.client.close()


SHAPES = {"people_state": ({"key": 64, "value": 4096}, "key"), "people_first": (TEXTS,)}


@pytest.fixture
def both_see_none(monkeypatch) -> None:
    """Let a client that sees that a collection is missing wait until another one has seen it too."""
    barrier, look, seen = threading.Barrier(2), MilvusClient.has_collection, set()

    def has_collection(client, name, **kwargs):
        found = look(client, name, **kwargs)
        if not found and (client, name) not in seen:
            seen.add((client, name))
            with suppress(threading.BrokenBarrierError):
                barrier.wait(240)
        return found

    monkeypatch.setattr(MilvusClient, "has_collection", has_collection)


def test_two_first_writers_share_one_database(server, apart, both_see_none):
    one, two = at_once(lambda: FaceDatabase(server, "one:1"), lambda: FaceDatabase(server, "one:1"))
    lena, omar = unit(2)
    at_once(lambda: one.add("lena", lena), lambda: two.add("omar", omar))
    for database in (one, two):
        assert sorted(database) == ["lena", "omar"]
        assert database.network == "one:1"
        assert database.nearest(np.stack([lena, omar]))[0][:, 0].tolist() == ["lena", "omar"]
    assert sorted(one._engine.client.list_collections()) == sorted(NAMES)
    with pytest.raises(OtherNetwork):
        FaceDatabase(server, "two:2")


def test_second_of_two_first_writers_is_rejected_if_its_dimension_differs(server, apart, both_see_none):
    one, two = at_once(lambda: FaceDatabase(server), lambda: FaceDatabase(server))
    short = np.eye(8)[0]
    with pytest.raises(BadArgument, match="these encodings have (8|16) numbers; those in .* have (16|8)"):
        at_once(lambda: one.add("lena", unit(1)[0]), lambda: two.add("omar", short))
    assert len(one) == len(two) == 1


def test_two_machines_tidy_at_once(server, apart):
    """Each drops what the other drops, and asks for what the other replaces."""
    with FaceDatabase(server) as one, FaceDatabase(server) as two:
        one.add("lena", unit(1))
        for born in range(1, 6):
            one._engine.collections.make(f"people_t{born:08x}_0a1b2c3d", D, TEXTS)
        at_once(one.tidy, two.tidy)
        assert sorted(one._engine.client.list_collections()) == sorted(NAMES)
        assert list(one) == list(two) == ["lena"]


@pytest.mark.parametrize("name", NAMES)
def test_collection_of_another_program_is_rejected_and_left_alone(server, name):
    client = MilvusClient(server)
    schema = client.create_schema(auto_id=False)
    schema.add_field("key", DataType.INT64, is_primary=True)
    schema.add_field("encoding", DataType.FLOAT_VECTOR, dim=2)
    client.create_collection(name, schema=schema)
    before = client.describe_collection(name)
    with pytest.raises(BadDatabase, match=f"its collection '{name}' belongs to another program"):
        FaceDatabase(server).add("lena", unit(1))
    assert client.describe_collection(name) == before
    with FaceDatabase(server, collection="doors") as database:
        database.add("lena", unit(1))
        assert list(database) == ["lena"]
