"""Fixtures of the database's tests: a path, an empty database of every kind, an archive, an index at toy size."""

from __future__ import annotations

import shutil
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from facerec.database import FaceDatabase, search
from facerec.database.sqlite import memory
from tests.facerec.database.helpers import HOSTILE, photo, unit
from tools.measure.milvus_server import MilvusServer, why_not


@pytest.fixture
def path(tmp_path) -> Path:
    return tmp_path / "people.db"


ON_A_SERVER = pytest.param("milvus server", marks=pytest.mark.scale)


@pytest.fixture(params=["sqlite", "memory", "milvus", ON_A_SERVER])
def database(request, tmp_path) -> Iterator[FaceDatabase]:
    """An empty database of every kind."""
    if request.param == "milvus server":
        where = request.getfixturevalue("milvus_server").address
        with FaceDatabase(where) as database:
            yield database
        drop(where, "people")
        return
    if request.param == "milvus":
        pytest.importorskip("pymilvus", reason="pymilvus is not installed")
        pytest.importorskip("milvus_lite", reason="milvus-lite is not installed")
    where = {"sqlite": tmp_path / "people.db", "memory": ":memory:", "milvus": f"milvus:{tmp_path / 'milvus.db'}"}
    with FaceDatabase(where[request.param]) as database:
        yield database


# ------------------------------------------------------------------------------------------------------ archives
@pytest.fixture(scope="session")
def exported(tmp_path_factory) -> Path:
    """A folder with a database of three people, six encodings and three photos, and its export."""
    folder = tmp_path_factory.mktemp("exported")
    with FaceDatabase(folder / "source.db", "one:1") as database:
        database.add(HOSTILE[0], unit(1, 1)[0], photo(1))
        database.add("李小龍", unit(3, 2), photo(2))
        database.add("李小龍", unit(1, 3), photo(3))
        database.add("../../etc/passwd", unit(1, 4))
        database.export_to(folder / "people.zip")
    return folder


@pytest.fixture
def archive(exported, tmp_path) -> Path:
    """That export, to be changed; ``source.db`` beside it."""
    shutil.copytree(exported, tmp_path, dirs_exist_ok=True)
    return tmp_path / "people.zip"


# --------------------------------------------------------------------------------------------------------- index
@pytest.fixture
def index_from(monkeypatch) -> Callable[[int], None]:
    """Build an index from so many rows on, not 150,000, and with one thread, which is quickest for so few."""
    build = search.Index.build

    def build_with_one_thread(encodings: np.ndarray, stop) -> search.Index | None:
        import faiss

        faiss.omp_set_num_threads(1)  # of the thread that builds
        return build(encodings, stop)

    monkeypatch.setattr(search.Index, "build", build_with_one_thread)
    return lambda rows: monkeypatch.setattr(memory, "INDEX_FROM", rows)


@pytest.fixture
def asked(monkeypatch) -> list[int]:
    """For how many candidates the index was asked, each time: from 8 × 256 rows on, not 8 × 2,048."""
    depths, ask = [], search.Index.search
    monkeypatch.setattr(search, "DEPTH", 256)
    monkeypatch.setattr(search.Index, "search", lambda self, probes, k: depths.append(k) or ask(self, probes, k))
    return depths


@pytest.fixture
def indexed(path, index_from, asked) -> Iterator[FaceDatabase]:
    """A database of 3,000 people that has an index, which is meant for more."""
    index_from(1000)
    with FaceDatabase(path) as database:
        database.update({str(i): encoding for i, encoding in enumerate(unit(3000, 1))})
        yield database


# -------------------------------------------------------------------------------------------------------- Milvus
SERVE = """
import sys, grpc
serve, patience = grpc.server, [("grpc.http2.max_ping_strikes", 0)]  # a real server does not hang up on idle clients
grpc.server = lambda *args, options=(), **rest: serve(*args, options=[*options, *patience], **rest)
from milvus_lite.server_manager import server_manager_instance
print(server_manager_instance.start_and_get_uri(sys.argv[1]), flush=True)
sys.stdin.read()
"""


@pytest.fixture(scope="session")
def running_server(tmp_path_factory) -> Iterator[str]:
    """The address of milvus-lite in another process."""
    pytest.importorskip("milvus_lite", reason="milvus-lite is not installed")
    command = [sys.executable, "-c", SERVE, str(tmp_path_factory.mktemp("milvus") / "served.db")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield process.stdout.readline().strip()
        process.stdin.close()


@pytest.fixture(params=["milvus-lite", ON_A_SERVER])
def server(request) -> Iterator[str]:
    """The address of milvus-lite or of a real server, which is empty again after the test."""
    real = request.param == "milvus server"
    where = request.getfixturevalue("milvus_server").address if real else request.getfixturevalue("running_server")
    yield where
    drop(where, "people")


def drop(where: str, prefix: str) -> None:
    """Drop the collections whose names begin like this."""
    from pymilvus import MilvusClient

    client = MilvusClient(where)
    for name in client.list_collections():
        if name.startswith(prefix):
            client.drop_collection(name)
    client.close()


@pytest.fixture(scope="session")
def milvus_server(tmp_path_factory) -> Iterator[MilvusServer]:
    """A real server, started for the tests that need one."""
    if reason := why_not():
        pytest.skip(reason)
    with MilvusServer(tmp_path_factory.mktemp("milvus_server")) as server:
        yield server


@pytest.fixture
def collection(milvus_server) -> Iterator[str]:
    """The name of a collection on it, which is dropped after the test."""
    name = f"test_{uuid.uuid4().hex[:8]}"
    yield name
    drop(milvus_server.address, name)


@pytest.fixture
def apart(monkeypatch) -> None:
    """Let databases of this process not take turns, as if they were on several machines."""

    class Apart(dict):
        def setdefault(self, key, lock):
            return lock

    monkeypatch.setattr("facerec.database.milvus.engine._LOCKS", Apart())
