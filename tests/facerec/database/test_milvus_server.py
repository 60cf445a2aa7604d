"""People on a real Milvus server: several writers, kills in the middle of writing, and a hundred thousand people.

``make test-scale`` installs and starts it, and runs these tests; what every kind of database promises, and the races
of ``test_milvus_collections.py``, run against it, too.
"""

from __future__ import annotations

import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from facerec._light import open_light
from facerec.database import FaceDatabase
from tests.facerec.database.conftest import drop
from tests.facerec.database.helpers import at_once, exact, unit
from tests.facerec.dying import NETWORK, check_that_killed_workers_enrol_everyone_once

pytestmark = pytest.mark.scale

WRITE = """
import sys, numpy as np
from facerec.database import FaceDatabase

where, collection, first = sys.argv[1:]
database, number = FaceDatabase(where, collection=collection), 0
while True:
    encoding = np.random.default_rng([int(first), number]).normal(size=16)
    database.add(f"{first} {number}", encoding / np.linalg.norm(encoding))
    print(f"{first} {number}", flush=True)
    number += 1
"""


class Writer:
    """A process that adds people, one after the other, and lists those it has added."""

    def __init__(self, where: str, collection: str, first: int, log: Path) -> None:
        command, self.log = [sys.executable, "-c", WRITE, where, collection, str(first)], log
        with log.open("w") as stream:
            self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=stream, text=True)
        self.added: list[str] = []
        self.more = threading.Condition()
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        for line in self.process.stdout:
            with self.more:
                self.added.append(line.rstrip("\n"))
                self.more.notify_all()

    def wait_for(self, count: int) -> None:
        """Wait until so many more are added."""
        with self.more:
            wanted = len(self.added) + count
            assert self.more.wait_for(lambda: len(self.added) >= wanted or self.process.poll() is not None, 120)
            assert self.process.poll() is None, self.log.read_text()

    def end(self) -> None:
        self.process.kill()
        self.process.wait()
        assert self.log.read_text() == ""  # what passes is not printed


@pytest.fixture
def writers(milvus_server, collection, tmp_path) -> Iterator[list[Writer]]:
    """Two processes that write to one collection."""
    writers = [Writer(milvus_server.address, collection, first, tmp_path / f"{first}.log") for first in range(2)]
    yield writers
    for writer in writers:
        writer.end()


def test_clients_go_on_after_kills_and_nothing_that_was_acknowledged_is_lost(milvus_server, collection, writers):
    with FaceDatabase(milvus_server.address, collection=collection) as database:
        for _ in range(3):
            for writer in writers:
                writer.wait_for(5)
            milvus_server.kill()
            milvus_server.start()
            assert database.nearest(unit(1))[0][0, 0] is not None  # a client that was there before
        for writer in writers:
            writer.wait_for(5)
            writer.end()
        added = [name for writer in writers for name in writer.added]
        names = Counter(list(database))  # a Counter of a mapping would take its values
        assert set(added) <= set(names)
        assert len(names) <= len(added) + len(writers)  # the last one of each may be there without being acknowledged
        assert set(names.values()) == {1}
        assert len(database) == len(names)
        assert {len(database.encodings(name)) for name in added} == {1}


def test_several_writers_share_one_person(milvus_server, collection, apart):
    """Each adds its own encodings; what a machine has written is seen by it at once, and by the others soon."""
    databases = [FaceDatabase(milvus_server.address, collection=collection) for _ in range(3)]
    databases[0].add("lena", unit(1))
    added = unit(12, 1).reshape(3, 4, 1, -1)

    def write(database: FaceDatabase, some: np.ndarray, number: int) -> None:
        for i, encoding in enumerate(some):
            database.add(f"person {number}.{i}", encoding)
            assert f"person {number}.{i}" in database
            database.add("lena", encoding)

    at_once(*(lambda i=i: write(databases[i], added[i], i) for i in range(3)))
    for database in databases:
        assert len(database) == 13
        assert len(database.encodings("lena")) == 13
        database.close()


def test_hundred_thousand_people_are_added_found_and_exported(milvus_server, collection):
    known = unit(100_000, 1, 128)
    probes = np.concatenate([known[::5000], unit(20, 2, 128)])
    with FaceDatabase(milvus_server.address, collection=collection) as database:
        database.update({f"person {i}": encoding for i, encoding in enumerate(known)})
        assert len(database) == 100_000
        assert list(database) == [f"person {i}" for i in range(100_000)]
        far = np.stack([np.linalg.norm(known.astype(float) - probe, axis=1) for probe in probes])
        for _ in range(2):  # as it was written, and once it is on the disk
            identities, distances = database.nearest(probes, k=5)
            assert np.allclose(distances, np.sort(far, axis=1)[:, :5], atol=1e-5)
            assert identities[:, 0].tolist() == [f"person {row}" for row in far.argmin(axis=1)]
            database._engine.client.flush(database._engine.people)
        assert "person 77777" in database
        assert "person 100000" not in database
        assert database.find("n 9999", limit=12) == ["person 9999", *(f"person {i}" for i in range(99_990, 100_000))]
        database.update({f"person {i}": known[0] for i in range(0, 100_000, 10)})  # some of them anew
        assert len(database) == 100_000
        assert np.array_equal(database["person 500"], known[0])


def test_means_are_ranked_as_in_a_file(milvus_server, collection):
    """A person's mean may be nearer than any of their encodings."""
    people, near = unit(2000, 1, 128), unit(6000, 2, 128)
    encodings = people[:, None] + 0.6 * near.reshape(2000, 3, 128)
    encodings /= np.linalg.norm(encodings, axis=2, keepdims=True)
    everyone = {f"person {i}": some for i, some in enumerate(encodings)}
    probes = unit(100, 3, 128)
    for represent in ("mean", "nearest"):
        with (
            FaceDatabase(
                milvus_server.address, collection=f"{collection}_{represent}", represent=represent
            ) as database,
            FaceDatabase(":memory:", represent=represent) as file,
        ):
            database.update(everyone)
            file.update(everyone)
            found, wanted = database.nearest(probes, k=3), file.nearest(probes, k=3)
            assert np.mean(found[0] == wanted[0]) > 0.99
            assert np.allclose(found[1][:, 0], wanted[1][:, 0], atol=1e-5)


def test_graph_finds_the_true_nearest_and_people_added_later(milvus_server, collection, monkeypatch):
    monkeypatch.setattr("facerec.database.milvus.engine.GRAPH_FROM", 5000)
    known, late = unit(6000, 1, 128), unit(5, 2, 128)
    probes = unit(200, 3, 128)
    with FaceDatabase(milvus_server.address, collection=collection) as database:
        database.update({f"person {i}": encoding for i, encoding in enumerate(known[:4000])})
        assert not database.settle()
        database.update({f"person {i}": encoding for i, encoding in enumerate(known[4000:], 4000)})
        assert database.settle()
        found = database.nearest(probes)[0][:, 0] == [f"person {row}" for row in exact(known, probes).argmin(axis=1)]
        assert found.mean() >= 0.99
        for i, encoding in enumerate(late):
            database.add(f"late {i}", encoding)
        assert database.nearest(late)[0][:, 0].tolist() == [f"late {i}" for i in range(5)]
        assert database.settle()


def test_killed_workers_enrol_everyone_once(milvus_server, tmp_path, monkeypatch):
    """Workers open the collection that ``FaceDatabase`` opens by default."""
    with FaceDatabase(milvus_server.address, open_light(NETWORK)) as database:
        assert len(database) == 0
        check_that_killed_workers_enrol_everyone_once(database, tmp_path, monkeypatch, again=lambda scheduler: None)
    drop(milvus_server.address, "people")
