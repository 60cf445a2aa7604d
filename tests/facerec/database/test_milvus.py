"""People in Milvus: who begins first, what is half done, and what is left of whoever is forgotten.

What every kind of database promises is tested in ``test_face_database.py``. Here milvus-lite is the engine, in a file and
as a server in a process of its own; nothing in this file has seen a real Milvus server.
"""

from __future__ import annotations

import base64
import io
import json
import signal
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from facerec.database import BadDatabase, FaceDatabase, OtherNetwork
from facerec.database import milvus as database_milvus
from facerec.errors import BadArgument

pytest.importorskip("pymilvus", reason="pymilvus is not installed")
pytest.importorskip("milvus_lite", reason="milvus-lite is not installed")
from pymilvus import DataType, MilvusClient
from pymilvus.exceptions import MilvusException

from facerec._files import ROOT

D = 16
SERVE = """
import sys
from milvus_lite.server_manager import server_manager_instance
print(server_manager_instance.start_and_get_uri(sys.argv[1]), flush=True)
sys.stdin.read()
"""


def unit(m: int, seed: int = 0) -> np.ndarray:
    """(m, D) encodings of unit length."""
    encodings = np.random.default_rng(seed).normal(size=(m, D))
    return (encodings / np.linalg.norm(encodings, axis=1, keepdims=True)).astype(np.float32)


def photo(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (60, 40, 3)).astype(np.uint8)


@pytest.fixture
def file(tmp_path) -> str:
    return f"milvus:{tmp_path / 'milvus.db'}"


@pytest.fixture
def server(tmp_path) -> Iterator[str]:
    """The address of milvus-lite in another process."""
    command = [sys.executable, "-c", SERVE, str(tmp_path / "served.db")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield process.stdout.readline().strip()
        process.stdin.close()


@pytest.fixture
def apart(monkeypatch) -> None:
    """Databases of this process don't take turns: as on several machines."""

    class Apart(dict):
        def setdefault(self, key, lock):
            return lock

    monkeypatch.setattr(database_milvus, "_LOCKS", Apart())


def at_once(*calls: Callable[[], object]) -> list:
    """What calls return, each in a thread of its own; the first error is raised."""
    results: list = [None] * len(calls)

    def one(i: int) -> None:
        try:
            results[i] = calls[i]()
        except Exception as error:
            results[i] = error

    threads = [threading.Thread(target=one, args=(i,)) for i in range(len(calls))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for result in results:
        if isinstance(result, Exception):
            raise result
    return results


# ------------------------------------------------------------------------------------------ who comes first
@pytest.fixture
def both_see_none(monkeypatch) -> None:
    """Whoever sees that a collection is missing waits until another one has seen it too."""
    barrier, look, seen = threading.Barrier(2), MilvusClient.has_collection, set()

    def has_collection(client, name, **kwargs):
        found = look(client, name, **kwargs)
        if not found and (client, name) not in seen:
            seen.add((client, name))
            barrier.wait(10)
        return found

    monkeypatch.setattr(MilvusClient, "has_collection", has_collection)


def test_two_who_begin_at_the_same_moment_begin_with_one_database(server, apart, both_see_none):
    one, two = at_once(lambda: FaceDatabase(server, "one:1"), lambda: FaceDatabase(server, "one:1"))
    lena, omar = unit(2)
    at_once(lambda: one.add("lena", lena), lambda: two.add("omar", omar))
    for database in (one, two):
        assert sorted(database) == ["lena", "omar"]
        assert database.network == "one:1"
        assert database.nearest(np.stack([lena, omar]))[0][:, 0].tolist() == ["lena", "omar"]
    assert sorted(one._engine.client.list_collections()) == ["people_first", "people_state"]
    with pytest.raises(OtherNetwork):
        FaceDatabase(server, "two:2")


def test_who_comes_a_moment_later_with_other_encodings_is_refused(server, apart, both_see_none):
    one, two = at_once(lambda: FaceDatabase(server), lambda: FaceDatabase(server))
    short = np.eye(8)[0]
    with pytest.raises(BadArgument, match="encodings of (8|16) numbers; .* holds such of (16|8)"):
        at_once(lambda: one.add("lena", unit(1)[0]), lambda: two.add("omar", short))
    assert len(one) == len(two) == 1


def test_who_was_killed_before_the_first_collection_was_complete_is_no_obstacle(file):
    with FaceDatabase(file) as database:
        engine = database._engine
        schema = engine._schema(D, engine.PEOPLE, None, "")
        engine.client.create_collection("people_first", schema=schema)  # no index, and nobody knows of it
        assert engine.client.list_indexes("people_first") == []
        database.add("lena", unit(1))
        assert database.nearest(unit(1))[0][0, 0] == "lena"
        assert engine.client.list_indexes("people_first") == ["encoding"]


@pytest.mark.parametrize("name", ["people_state", "people_first"])
def test_another_programs_collection_is_refused_and_left_as_it_is(server, name):
    client = MilvusClient(server)
    schema = client.create_schema(auto_id=False)
    schema.add_field("key", DataType.INT64, is_primary=True)
    schema.add_field("encoding", DataType.FLOAT_VECTOR, dim=2)
    client.create_collection(name, schema=schema)
    before = client.describe_collection(name)
    with pytest.raises(BadDatabase, match=f"its collection '{name}' is another program's; name another collection="):
        FaceDatabase(server).add("lena", unit(1))
    assert client.describe_collection(name) == before
    with FaceDatabase(server, collection="doors") as database:
        database.add("lena", unit(1))
        assert list(database) == ["lena"]


# ------------------------------------------------------------------------------- checked before it is sent
@pytest.fixture
def archive(tmp_path) -> Path:
    """Three people, the last with more photos than encodings."""
    with FaceDatabase(tmp_path / "source.db") as source:
        for i, name in enumerate(["lena", "omar", "mia"]):
            source.add(name, unit(1, i), photo(i))
        db = source._engine.db
        db.execute(
            "INSERT INTO photos (person, jpeg, thumbnail) SELECT person, jpeg, thumbnail FROM photos WHERE id = 3"
        )
        source.export_to(tmp_path / "people.zip")
    return tmp_path / "people.zip"


CHANGES = {
    "more photos than encodings": lambda database, archive: database.import_from(archive),
    "a name": lambda database, _: database.update([("lena", unit(1)), ("a\nb", unit(1))]),
    "not of unit length": lambda database, _: database.update({"lena": unit(1), "omar": 2 * unit(1)}),
    "of 8 numbers": lambda database, _: database.update({"lena": unit(1)[0], "omar": np.eye(8)[0]}),
}


@pytest.mark.parametrize(("change", "filled"), [*((change, True) for change in CHANGES), ("of 8 numbers", False)])
def test_what_is_wrong_with_the_last_is_found_before_the_first_is_sent(file, archive, change, filled):
    with FaceDatabase(file) as database:
        if filled:
            database.add("zoe", unit(1, 9), photo(9))
        before = database._engine.state()
        with pytest.raises(BadArgument):
            CHANGES[change](database, archive)
        assert database._engine.state() == before
        assert list(database) == (["zoe"] if filled else [])


def test_within_one_change_names_are_known_that_are_not_sent_yet(file):
    with FaceDatabase(file) as database:
        database.update([("lena", unit(1, 1)), ("lena", unit(1, 2))])
        assert np.array_equal(database.encodings("lena"), unit(1, 2))
        with database._engine.change() as change:
            change.put("omar", unit(1, 3))
            assert change.has("omar")
            assert not database._engine.has("omar")
            change.rename("omar", "mia")
            assert change.has("mia")
            assert change.drop("lena")
            assert not change.drop("lena")
        assert list(database) == ["mia"]


def test_when_it_fails_half_way_it_says_how_much_is_done(file, monkeypatch):
    with FaceDatabase(file) as database:
        database.add("zoe", unit(1))
        insert, left = database._engine.client.insert, iter(range(2))

        def failing(*args, **kwargs):
            if next(left, None) is None:
                raise MilvusException(message="the disk is full")
            return insert(*args, **kwargs)

        monkeypatch.setattr(database._engine.client, "insert", failing)
        with pytest.raises(BadDatabase, match="2 of 4 changes are done, and stay; do the others again.*disk is full"):
            database.update({name: unit(1) for name in "abcd"})
        assert list(database) == ["zoe", "a", "b"]


# --------------------------------------------------------------------------------------------- encoded anew
def everything(database: FaceDatabase) -> dict[str, tuple[bytes, list]]:
    return {name: (database.encodings(name).tobytes(), database._engine.pictures(name)) for name in database}


@pytest.fixture
def two(file) -> Iterator[FaceDatabase]:
    """Lena with two photos and Omar with one."""
    with FaceDatabase(file, "one:1") as database:
        database.add("lena", unit(1, 1), photo(1))
        database.add("lena", unit(1, 2), photo(2))
        database.add("omar", unit(1, 3), photo(3))
        yield database


MEANWHILE = {
    "another encoding": lambda database: database.add("omar", unit(1, 4)),
    "others in their place": lambda database: database.update(omar=unit(1, 4)),
    "another person": lambda database: database.add("mia", unit(1, 4), photo(4)),
}


@pytest.mark.parametrize("meanwhile", MEANWHILE)
def test_encoding_anew_begins_anew_if_anything_was_changed_meanwhile(two, meanwhile):
    anew = {"lena": unit(2, 11), "omar": unit(1, 13)}
    state = two._engine.state()
    MEANWHILE[meanwhile](two)
    before, collections = everything(two), two._engine.client.list_collections()
    assert not two._engine.replace_all(state, "two:2", D, anew, [])
    assert everything(two) == before
    assert two.network == "one:1"
    assert two._engine.client.list_collections() == collections


def test_what_another_machine_writes_while_the_new_collection_is_filled_is_not_lost(server, apart, monkeypatch):
    with FaceDatabase(server, "one:1") as database, FaceDatabase(server) as other:
        database.add("lena", unit(1), photo())
        encoded_anew, calls = database._engine._encoded_anew, []

        def slowly(*args):
            if not calls:
                other.add("lena", unit(1, 5), photo(5))
            calls.append(args)
            return encoded_anew(*args)

        monkeypatch.setattr(database._engine, "_encoded_anew", slowly)
        database.reencode("two:2", lambda _: np.eye(8)[0], progress=False)
        assert [len(args[1]) for args in calls] == [1, 2]
        assert len(database.encodings("lena")) == len(database.photos("lena")) == 2
        assert len(database._engine.client.list_collections()) == 2
        with pytest.raises(OtherNetwork):  # it named no network, and keeps to the one that was noted
            other.add("omar", np.eye(8)[0])


@pytest.mark.parametrize("error", [KeyboardInterrupt, MilvusException])
@pytest.mark.parametrize("where", ["_make", "_encoded_anew"])
def test_an_error_while_encoding_anew_leaves_everything_as_it_was_and_no_collection(two, monkeypatch, error, where):
    anew = {"lena": unit(2, 11), "omar": unit(1, 13)}
    before, collections = everything(two), two._engine.client.list_collections()
    real, calls = getattr(two._engine, where), []

    def failing(*args, **kwargs):
        result = real(*args, **kwargs)
        calls.append(where)
        if where == "_make" or len(calls) == 2:
            raise error("now")
        return result

    with monkeypatch.context() as patch, pytest.raises((error, BadDatabase)):
        patch.setattr(two._engine, where, failing)
        two._engine.replace_all(two._engine.state(), "two:2", D, anew, [])
    assert calls
    assert two._engine.client.list_collections() == collections
    assert everything(two) == before


def test_encoding_anew_refuses_more_photos_than_encodings_and_leaves_no_collection(two):
    before, collections = everything(two), two._engine.client.list_collections()
    with pytest.raises(BadArgument, match="'lena' has 2 photos and 1 encodings; Milvus keeps one each"):
        two._engine.replace_all(two._engine.state(), "two:2", D, {"omar": unit(1), "lena": unit(1)}, [])
    assert two._engine.client.list_collections() == collections
    assert everything(two) == before


# ----------------------------------------------------------------------------------------------- forgetting
def marks(database: FaceDatabase, name: str) -> dict[str, list[bytes]]:
    """Of a person: the name, and pieces of encodings, photos and thumbnails, as they are and as text."""
    pieces = [data[at : at + 48] for both in database._engine.pictures(name) for data in both for at in (-150, -100)]
    texts = [base64.b64encode(piece[skip:])[:40] for piece in pieces for skip in range(3)]
    encodings = [encoding.tobytes() for encoding in database.encodings(name)]
    return {"name": [name.encode()], "encoding": encodings, "photo": pieces + texts}


def contents(folder: Path) -> Iterator[tuple[str, bytes]]:
    """What is in the files of a folder: as it lies there and, of those that compress it, unpacked."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    for file in folder.rglob("*"):
        if file.is_file():
            yield file.name, file.read_bytes()
        if file.suffix == ".parquet":
            unpacked = io.BytesIO()
            with pa.ipc.new_stream(unpacked, (table := pq.read_table(file)).schema) as stream:
                stream.write_table(table)
            yield file.name, unpacked.getvalue()


def traces(folder: Path, marks: dict[str, list[bytes]]) -> set[str]:
    return {what for _, data in contents(folder) for what, pieces in marks.items() if any(p in data for p in pieces)}


def fill(database: FaceDatabase, flushed: bool = True) -> dict[str, list[bytes]]:
    """A crowd, and one of them to forget; what there is to see of that one."""
    database.update({f"somebody else {i}": encoding for i, encoding in enumerate(unit(60, 1))})
    for i, encoding in enumerate(unit(3, 2)):
        database.add("Zacharias Forgotten", encoding, photo(i))
        if flushed:
            database._engine.client.flush(database._engine.people)
    return marks(database, "Zacharias Forgotten")


WAYS = ["forget", "remove and tidy", "replace and tidy", "rename and tidy"]


@pytest.mark.parametrize(("way", "flushed"), [*((way, True) for way in WAYS), ("forget", False)])
def test_in_a_file_no_trace_is_left_of_whom_it_forgets(tmp_path, file, way, flushed):
    with FaceDatabase(file) as database:
        wanted = fill(database, flushed)
        assert traces(tmp_path, wanted) == {"name", "encoding", "photo"}  # the search would find them
        rest = {name: seen for name, seen in everything(database).items() if name != "Zacharias Forgotten"}
        table = database.people().query("identity != 'Zacharias Forgotten'")
        if way == "forget":
            database.forget("Zacharias Forgotten")
        elif way == "remove and tidy":
            database.remove("Zacharias Forgotten")
            database.tidy()
        elif way == "replace and tidy":
            database["Zacharias Forgotten"] = unit(1, 7)
            database.tidy()
            database.forget("Zacharias Forgotten")
        else:
            database.rename("Zacharias Forgotten", "Z")
            database.tidy()
            assert traces(tmp_path, {"name": wanted["name"]}) == set()
            database.forget("Z")
        assert traces(tmp_path, wanted) == set()
        assert everything(database) == rest
        assert database.people().equals(table)
        assert database.nearest(unit(3, 1))[0][:, 0].tolist() == [f"somebody else {i}" for i in range(3)]
        assert len(database._engine.client.list_collections()) == 2
    with FaceDatabase(file) as database:
        assert everything(database) == rest


KILLED = """
import os, signal, sys
from face_database import FaceDatabase

where, at = sys.argv[1:]
database = FaceDatabase(where)
engine = database._engine
if at == "while it writes":
    insert = engine.client.insert
    engine.client.insert = lambda *args: (insert(*args), os.kill(os.getpid(), signal.SIGKILL))
elif at == "before the switch":
    engine._set_state = lambda *args: os.kill(os.getpid(), signal.SIGKILL)
elif at == "after the switch":
    engine._drop_leftovers = lambda: os.kill(os.getpid(), signal.SIGKILL)
else:
    import shutil
    shutil.rmtree = lambda folder, **_: (os.remove(f"{folder}/schema.json"), os.kill(os.getpid(), signal.SIGKILL))
database.forget("Zacharias Forgotten")
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="SIGKILL is a matter of Unix")
@pytest.mark.parametrize("at", ["while it writes", "before the switch", "after the switch", "while it removes files"])
def test_whoever_is_killed_while_forgetting_leaves_a_person_whole_or_no_trace(tmp_path, at):
    where = tmp_path / "milvus.db"
    with FaceDatabase(f"milvus:{where}") as database:
        wanted, before = fill(database), everything(database)
    released(where)
    killed = subprocess.run([sys.executable, "-c", KILLED, f"milvus:{where}", at], cwd=ROOT, capture_output=True)
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()
    assert traces(tmp_path, wanted) == {"name", "encoding", "photo"}
    with FaceDatabase(f"milvus:{where}") as database:
        gone = {name: seen for name, seen in before.items() if name != "Zacharias Forgotten"}
        if at in ("while it writes", "before the switch"):
            assert everything(database) == before
            assert len(database._engine.client.list_collections()) == 2
            database.forget("Zacharias Forgotten")
        assert everything(database) == gone
        assert traces(tmp_path, wanted) == set()


def released(where: Path) -> None:
    """milvus-lite keeps a file to its process until that ends, or until this."""
    from milvus_lite.server_manager import server_manager_instance

    server_manager_instance.release_server(str(where))


def test_others_of_this_process_search_and_write_while_somebody_is_forgotten(file):
    with FaceDatabase(file) as database, FaceDatabase(file) as other:
        database.update({str(i): encoding for i, encoding in enumerate(unit(40, 1))})
        added, over = [], threading.Event()

        def search() -> None:
            while not over.is_set():
                assert other.nearest(unit(1, 1))[0][0, 0] == "0"
                assert {*map(str, range(30))} <= {*other}
                assert len(other.encodings("7")) == len(other.people().query("identity == '7'")) == 1

        def write() -> None:
            while not over.is_set():
                other.add(f"new {len(added)}", unit(1, 100 + len(added)))
                added.append(f"new {len(added)}")

        def forget() -> None:
            try:
                for i in range(35, 40):
                    database.forget(str(i))
            finally:
                over.set()

        at_once(search, write, forget)
        assert added
        assert set(database) == {*map(str, range(35)), *added}


QUESTIONS = (
    lambda database: database.encodings("lena").tolist(),
    lambda database: len(database.photos("lena")),
    lambda database: database.people().identity.tolist(),
    lambda database: database.nearest(unit(1))[0].tolist(),
    len,
    list,
)


def test_a_question_is_asked_again_if_the_collection_was_replaced_just_then(file, monkeypatch):
    with FaceDatabase(file) as database, FaceDatabase(file) as other:
        database.add("lena", unit(1), photo())
        for question in QUESTIONS:
            answer, look, just_then = question(database), other._engine._check_state, iter([database.tidy])
            with monkeypatch.context() as patch:
                patch.setattr(other._engine, "_check_state", lambda: (look(), *(tidy() for tidy in just_then)))  # noqa: B023
                assert question(other) == answer
            assert next(just_then, None) is None


def test_a_server_can_promise_nothing_and_says_so(server):
    with FaceDatabase(server) as database:
        fill(database)
        with pytest.warns(UserWarning, match="keeps traces in them, in logs and in snapshots.*ask who runs it") as told:
            database.forget("Zacharias Forgotten")
        assert "Zacharias" not in str(told[0].message)
        assert "Zacharias Forgotten" not in database
        assert len(database) == 60
        with warnings.catch_warnings(), pytest.raises(KeyError):
            warnings.simplefilter("error")
            database.forget("Zacharias Forgotten")


# ----------------------------------------------------------------------------------------------- left over
def test_what_killed_processes_left_is_dropped_at_once_in_a_file(file):
    with FaceDatabase(file) as database:
        database.add("lena", unit(1))
        database._engine._make("people_t00000001_0a1b2c3d", D, database._engine.PEOPLE)
        database._engine._make("people_t00000001_state", 2, database._engine.STATE, primary="key")  # not ours
    with FaceDatabase(file) as database:
        assert database._engine.client.list_collections() == ["people_first", "people_state", "people_t00000001_state"]
        assert list(database) == ["lena"]


def test_on_a_server_a_collection_may_be_one_that_is_being_filled_so_it_is_dropped_after_a_day(server):
    now = int(time.time())
    with FaceDatabase(server) as database:
        database.add("lena", unit(1))
        for born in (now - 90_000, now - 80_000):
            database._engine._make(f"people_t{born:08x}_0a1b2c3d", D, database._engine.PEOPLE)
        FaceDatabase(server).close()
        assert len(database._engine.client.list_collections()) == 4
        database.tidy()
        left = ["people_first", "people_state", f"people_t{now - 80_000:08x}_0a1b2c3d"]
        assert database._engine.client.list_collections() == left
        assert list(database) == ["lena"]


def test_an_export_is_refused_if_another_machine_writes_meanwhile(tmp_path, server, apart, monkeypatch):
    with FaceDatabase(server) as database, FaceDatabase(server) as other:
        database.update(lena=unit(1, 1), omar=unit(1, 2))
        table, late = database._engine.table, iter([unit(1, 3)])
        monkeypatch.setattr(database._engine, "table", lambda: (table(), *(other.add("omar", e) for e in late))[0])
        with pytest.raises(BadDatabase, match="was changed by another machine while it was read: do it again"):
            database.export_to(tmp_path / "people.zip")
        assert list(tmp_path.glob("*.zip")) == []
        monkeypatch.undo()
        database.export_to(tmp_path / "people.zip")
        with FaceDatabase(":memory:") as copy:
            assert copy.import_from(tmp_path / "people.zip") == 2
            assert len(copy.encodings("omar")) == 2


def test_what_it_notes_about_itself_names_nobody(file):
    with FaceDatabase(file, "one:1") as database:
        fill(database)
        state = database._engine.client.query("people_state", filter='key != ""', output_fields=["key", "value"])
        assert [row["key"] for row in state] == ["state"]
        assert set(json.loads(state[0]["value"])) == {"format", "network", "dimension", "people"}
