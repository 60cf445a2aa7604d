"""People in Milvus: what is half done, what is left of a forgotten person, and what other machines do meanwhile.

What every kind of database promises is tested beside this file; the race of first writers in
``test_milvus_collections.py``. Here milvus-lite is the engine, in a file and as a server in a process of its own;
``make test-scale`` runs the tests of servers on a real one, too.
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
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from facerec.database import BadDatabase, FaceDatabase, OtherNetwork
from facerec.database.engine import Addition
from facerec.errors import BadArgument

pytest.importorskip("pymilvus", reason="pymilvus is not installed")
pytest.importorskip("milvus_lite", reason="milvus-lite is not installed")
from pymilvus.exceptions import MilvusException

from facerec.database.milvus.engine import STATE
from facerec.database.milvus.rows import TEXTS
from tests.facerec.database.helpers import D, at_once, unit
from tests.facerec.database.helpers import photo as softer_photo


def photo(seed: int = 0) -> np.ndarray:
    """Noise, so that a piece of its JPEG is in no other."""
    return np.random.default_rng(seed).integers(0, 256, (60, 40, 3)).astype(np.uint8)


@pytest.fixture
def file(tmp_path) -> str:
    return f"milvus:{tmp_path / 'milvus.db'}"


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
def test_change_is_checked_whole_before_any_of_it_is_sent(file, archive, change, filled):
    with FaceDatabase(file) as database:
        if filled:
            database.add("zoe", unit(1, 9), photo(9))
        before = database._engine.state()
        with pytest.raises(BadArgument):
            CHANGES[change](database, archive)
        assert database._engine.state() == before
        assert list(database) == (["zoe"] if filled else [])


def test_names_of_unsent_steps_are_known_within_the_change(file):
    with FaceDatabase(file) as database:
        database.update([("lena", unit(1, 1)), ("lena", unit(1, 2))])
        assert np.array_equal(database.encodings("lena"), unit(1, 2))
        with database._engine.change() as change:
            change.put(Addition("omar", unit(1, 3)))
            assert change.has("omar")
            assert not database._engine.has("omar")
            change.rename("omar", "mia")
            assert change.has("mia")
            assert change.drop("lena")
            assert not change.drop("lena")
        assert list(database) == ["mia"]


def test_error_half_way_says_how_much_is_done(file, monkeypatch):
    with FaceDatabase(file) as database:
        database.add("zoe", unit(1))
        insert, left = database._engine.client.insert, iter(range(2))

        def failing(*args, **kwargs):
            if next(left, None) is None:
                raise MilvusException(message="the disk is full")
            return insert(*args, **kwargs)

        monkeypatch.setattr(database._engine.client, "insert", failing)
        monkeypatch.setattr("facerec.database.milvus.change.AT_ONCE", 2)
        with pytest.raises(BadDatabase, match="4 of 6 changes are done and stay; do the others again.*disk is full"):
            database.update({name: unit(1) for name in "abcdef"})
        assert list(database) == ["zoe", *"abcd"]


def test_many_people_are_few_calls(file, monkeypatch):
    monkeypatch.setattr("facerec.database.milvus.change.AT_ONCE", 200)
    with FaceDatabase(file) as database:
        database.add("zoe", unit(1))
        client, calls = database._engine.client, []
        for name in ("insert", "delete", "query", "query_iterator"):
            call = getattr(client, name)
            monkeypatch.setattr(
                client, name, lambda *a, _name=name, _call=call, **k: (calls.append(_name), _call(*a, **k))[1]
            )
        database.update({f"person {i}": encoding for i, encoding in enumerate(unit(300, 1))})
        assert calls.count("insert") == 2
        assert "delete" not in calls
        database.clear()
        assert calls.count("delete") == 2
        assert calls.count("query") < 150  # each person was asked for at first, then everyone at once
        assert len(database) == 0


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


def test_photos_of_one_person_may_be_more_than_one_call_takes(file, monkeypatch):
    monkeypatch.setattr("facerec.database.milvus.change.BYTES_AT_ONCE", 10_000)
    with FaceDatabase(file) as database:
        sent, insert = [], database._engine.calls.insert
        monkeypatch.setattr(
            database._engine.calls,
            "insert",
            lambda name, rows, *others: sent.append(len(rows)) or insert(name, rows, *others),
        )
        database.add("lena", unit(5), [photo(number) for number in range(5)])
        assert len(sent) > 1 and sum(sent) == 5
        assert np.array_equal(database.encodings("lena"), unit(5)) and len(database.photos("lena")) == 5


@pytest.mark.parametrize("meanwhile", MEANWHILE)
def test_replace_all_refuses_a_state_that_was_changed_meanwhile(two, meanwhile):
    anew = {"lena": unit(2, 11), "omar": unit(1, 13)}
    state = two._engine.state()
    MEANWHILE[meanwhile](two)
    before, collections = everything(two), two._engine.client.list_collections()
    assert not two._engine.replace_all(state, "two:2", D, anew, [])
    assert everything(two) == before
    assert two.network == "one:1"
    assert two._engine.client.list_collections() == collections


def test_writes_of_another_machine_during_reencode_are_not_lost(server, apart, monkeypatch):
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
@pytest.mark.parametrize("where", ["make", "_encoded_anew"])
def test_error_during_replace_all_changes_nothing_and_leaves_no_collection(two, monkeypatch, error, where):
    anew = {"lena": unit(2, 11), "omar": unit(1, 13)}
    before, collections = everything(two), two._engine.client.list_collections()
    part = two._engine.collections if where == "make" else two._engine
    real, calls = getattr(part, where), []

    def failing(*args, **kwargs):
        result = real(*args, **kwargs)
        calls.append(where)
        if where == "make" or len(calls) == 2:
            raise error("now")
        return result

    with monkeypatch.context() as patch, pytest.raises((error, BadDatabase)):
        patch.setattr(part, where, failing)
        two._engine.replace_all(two._engine.state(), "two:2", D, anew, [])
    assert calls
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
    database.update({f"another person {i}": encoding for i, encoding in enumerate(unit(60, 1))})
    for i, encoding in enumerate(unit(3, 2)):
        database.add("Zacharias Forgotten", encoding, photo(i))
        if flushed:
            database._engine.client.flush(database._engine.people)
    return marks(database, "Zacharias Forgotten")


WAYS = ["forget", "remove and tidy", "replace and tidy", "rename and tidy"]


@pytest.mark.parametrize(("way", "flushed"), [*((way, True) for way in WAYS), ("forget", False)])
def test_forgotten_person_leaves_no_trace_in_the_file(tmp_path, file, way, flushed):
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
        assert database.nearest(unit(3, 1))[0][:, 0].tolist() == [f"another person {i}" for i in range(3)]
        assert len(database._engine.client.list_collections()) == 2
    with FaceDatabase(file) as database:
        assert everything(database) == rest


KILLED = """
import os, signal, sys
from facerec.database import FaceDatabase

where, at = sys.argv[1:]
database = FaceDatabase(where)
engine = database._engine
if at == "while it writes":
    insert = engine.client.insert
    engine.client.insert = lambda *args, **more: (insert(*args, **more), os.kill(os.getpid(), signal.SIGKILL))
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
@pytest.mark.parametrize(
    "at",
    [
        "before the switch",
        "while it removes files",
        *(pytest.param(at, marks=pytest.mark.slow) for at in ("while it writes", "after the switch")),
    ],
)
def test_kill_while_forgetting_leaves_the_person_whole_or_no_trace(tmp_path, at):
    where = tmp_path / "milvus.db"
    with FaceDatabase(f"milvus:{where}") as database:
        wanted, before = fill(database), everything(database)
    released(where)
    killed = subprocess.run([sys.executable, "-c", KILLED, f"milvus:{where}", at], capture_output=True)
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


def test_other_threads_search_and_write_while_a_person_is_forgotten(file):
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


def test_question_is_asked_again_if_the_collection_was_replaced(file, monkeypatch):
    with FaceDatabase(file) as database, FaceDatabase(file) as other:
        database.add("lena", unit(1), photo())
        for question in QUESTIONS:
            answer, look, just_then = question(database), other._engine._check_state, iter([database.tidy])
            other._engine.checked = 0
            with monkeypatch.context() as patch:
                patch.setattr(other._engine, "_check_state", lambda: (look(), *(tidy() for tidy in just_then)))  # noqa: B023
                assert question(other) == answer
            assert next(just_then, None) is None


def test_forget_on_a_server_warns_that_traces_may_stay(server):
    with FaceDatabase(server) as database:
        fill(database)
        with pytest.warns(
            UserWarning, match="keeps traces in them, in logs and in snapshots.*ask its administrator"
        ) as told:
            database.forget("Zacharias Forgotten")
        assert "Zacharias" not in str(told[0].message)
        assert "Zacharias Forgotten" not in database
        assert len(database) == 60
        with warnings.catch_warnings(), pytest.raises(KeyError):
            warnings.simplefilter("error")
            database.forget("Zacharias Forgotten")


# ----------------------------------------------------------------------------------------------- left over
def test_leftovers_of_killed_processes_are_dropped_when_a_file_is_opened(file):
    with FaceDatabase(file) as database:
        database.add("lena", unit(1))
        database._engine.collections.make("people_t00000001_0a1b2c3d", D, TEXTS)
        database._engine.collections.make("people_t00000001_state", 2, STATE, primary="key")  # not ours
    with FaceDatabase(file) as database:
        assert database._engine.client.list_collections() == ["people_first", "people_state", "people_t00000001_state"]
        assert list(database) == ["lena"]


def test_leftovers_on_a_server_are_dropped_by_tidy_after_a_day(server):
    now = int(time.time())
    with FaceDatabase(server) as database:
        database.add("lena", unit(1))
        for born in (now - 90_000, now - 80_000):
            database._engine.collections.make(f"people_t{born:08x}_0a1b2c3d", D, TEXTS)
        FaceDatabase(server).close()
        assert len(database._engine.client.list_collections()) == 4
        database.tidy()
        left = ["people_first", "people_state", f"people_t{now - 80_000:08x}_0a1b2c3d"]
        assert sorted(database._engine.client.list_collections()) == left
        assert list(database) == ["lena"]


def test_export_fails_if_another_machine_writes_meanwhile(tmp_path, server, apart, monkeypatch):
    with FaceDatabase(server) as database, FaceDatabase(server) as other:
        database.update(lena=unit(1, 1), omar=unit(1, 2))
        table, late = database._engine.table, iter([unit(1, 3)])
        monkeypatch.setattr(database._engine, "table", lambda: (table(), *(other.add("omar", e) for e in late))[0])
        with pytest.raises(BadDatabase, match="was changed by another machine while it was read: try again"):
            database.export_to(tmp_path / "people.zip")
        assert list(tmp_path.glob("*.zip")) == []
        monkeypatch.undo()
        database.export_to(tmp_path / "people.zip")
        with FaceDatabase(":memory:") as copy:
            assert copy.import_from(tmp_path / "people.zip") == 2
            assert len(copy.encodings("omar")) == 2


def test_export_asks_for_the_photos_of_people_who_have_some(tmp_path, file, monkeypatch):
    with FaceDatabase(file) as database:
        database.update({f"person {i}": encoding for i, encoding in enumerate(unit(50, 1))})
        database.add("lena", unit(1), photo())
        query, asked = database._engine.client.query, []
        monkeypatch.setattr(database._engine.client, "query", lambda *a, **k: (asked.append(k), query(*a, **k))[1])
        database.export_to(tmp_path / "people.zip")
        assert sum("photo" in call["output_fields"] for call in asked) == 1
        with FaceDatabase(":memory:") as copy:
            assert copy.import_from(tmp_path / "people.zip") == 51
            assert len(copy.photos("lena")) == 1


def test_people_are_there_again_after_closing(file):
    with FaceDatabase(file, "one:1") as database:
        database.add("lena", unit(2), softer_photo(1, 2000, 1500))
    with FaceDatabase(file, "one:1") as database:
        assert np.array_equal(database.encodings("lena"), unit(2))
        assert database.photos("lena")[0].shape[0] > 200
        assert database.nearest(unit(1))[0][0, 0] == "lena"


def test_stored_state_contains_no_names(file):
    with FaceDatabase(file, "one:1") as database:
        fill(database)
        state = database._engine.client.query("people_state", filter='key != ""', output_fields=["key", "value"])
        assert [row["key"] for row in state] == ["state"]
        assert set(json.loads(state[0]["value"])) == {"format", "network", "dimension", "people"}
