"""Forgetting: no trace of a person in any file, whatever happens meanwhile."""

from __future__ import annotations

import errno
import sqlite3
import threading
import time
import zipfile
from contextlib import suppress
from unittest.mock import Mock

import pytest

from facerec.database import BadDatabase, FaceDatabase, NotForgottenYet, UnknownPerson, archive, search
from facerec.errors import BadArgument
from tests.facerec.database.helpers import crowd, photo, traces, unit


@pytest.mark.parametrize("vacuum", [True, False])
def test_forgotten_person_leaves_no_trace_in_any_file(tmp_path, path, monkeypatch, vacuum, index_from):
    index_from(300)
    with FaceDatabase(path) as other, FaceDatabase(path) as database:
        wanted = crowd(database)
        assert database.settle()
        assert other.settle()
        database.nearest(unit(2))
        mean = database["Zacharias Forgotten"]
        assert {entry.split(" in ")[1] for entry in traces(tmp_path, wanted)} >= {"people.db-wal", "people.db.index"}
        if not vacuum:
            monkeypatch.setattr(database._engine, "_vacuum", lambda: None)  # overwriting does it alone
        database.forget("Zacharias Forgotten")
        assert traces(tmp_path, wanted) == []
        assert database.nearest(mean)[0][0, 0] != "Zacharias Forgotten"
        assert other.nearest(mean)[0][0, 0] != "Zacharias Forgotten"
        database.settle()
        other.settle()
        database.export_to(tmp_path / "export.zip")
        with zipfile.ZipFile(tmp_path / "export.zip") as archive:
            archive.extractall(tmp_path / "export")
        assert traces(tmp_path, wanted) == []
        assert len(database) == 400
    assert traces(tmp_path, wanted) == []


def test_forget_reports_unfinished_while_another_process_reads(tmp_path, path, monkeypatch):
    with FaceDatabase(path) as database:
        wanted = crowd(database)
        reader = sqlite3.connect(path)
        reader.execute("BEGIN")
        assert reader.execute("SELECT count(*) FROM people").fetchone() == (401,)
        monkeypatch.setattr(database._engine, "truncate_within", 0.1)
        with pytest.raises(NotForgottenYet, match="tidy"):
            database.forget("Zacharias Forgotten")
        assert "Zacharias Forgotten" not in database
        assert traces(tmp_path, wanted)
        with pytest.raises(NotForgottenYet):
            database.tidy()
        reader.execute("COMMIT")
        reader.close()
        database.tidy()
        assert traces(tmp_path, wanted) == []
        assert database._engine.state_of("unfinished") == 0


@pytest.mark.parametrize(
    ("error", "why"),
    [
        (sqlite3.OperationalError("database or disk is full"), "the disk is full: make as much room as the database"),
        (OSError(errno.ENOSPC, "No space left on device"), "the disk is full"),
        (BadDatabase("people.db can't be written: the disk is full"), "the disk is full"),
        (sqlite3.OperationalError("database is locked"), "another process is using them"),
        (PermissionError(errno.EACCES, "Permission denied"), "they can't be written"),
    ],
)
@pytest.mark.parametrize("step", ["_vacuum", "_truncate", "_remove_copies"])
def test_forgetting_says_why_a_trace_is_left(path, monkeypatch, error, why, step):
    with FaceDatabase(path) as database:
        database.update({"lena": unit(1)[0], "omar": unit(1, 2)[0]})
        with monkeypatch.context() as patch:
            patch.setattr(database._engine, "_holds_any", lambda traces: True)
            patch.setattr(database._engine, step, Mock(side_effect=error))
            with pytest.raises(NotForgottenYet, match=f"^{path}: removed, but a trace may be left .* because {why}"):
                database.forget("lena")
        assert list(database) == ["omar"] and database._engine.state_of("unfinished") == 1
        database.tidy()
        assert database._engine.state_of("unfinished") == 0


def test_full_disk_is_named_when_nothing_can_be_changed(path):
    with FaceDatabase(path) as database:
        database["lena"] = unit(1)[0]
        database._engine.db.execute(f"PRAGMA max_page_count = {database._engine.read('PRAGMA page_count')[0][0]}")
        with pytest.raises(BadDatabase, match=r"can't be written: the disk is full; make room, then try again"):
            database.update({f"person {number}": encoding for number, encoding in enumerate(unit(2000))})
        assert list(database) == ["lena"]


def test_interrupted_forgetting_is_completed_at_the_next_opening(tmp_path, path, monkeypatch):
    with FaceDatabase(path) as keeps_the_wal:
        database = FaceDatabase(path)
        wanted = crowd(database)
        monkeypatch.setattr(database._engine, "_erase", lambda *_: None)  # as if it were killed here
        database.forget("Zacharias Forgotten")
        database.close()
        assert traces(tmp_path, wanted)
        FaceDatabase(path).close()
        assert traces(tmp_path, wanted) == []
        assert len(keeps_the_wal) == 400


def test_next_forgetting_completes_an_interrupted_one(tmp_path, path, monkeypatch):
    with FaceDatabase(path) as database, FaceDatabase(path):
        wanted = crowd(database)
        with monkeypatch.context() as patch:
            patch.setattr(database._engine, "_erase", lambda *_: None)  # as if it were killed here
            database.forget("Zacharias Forgotten")
        db = database._engine.db  # a copy that overwriting has missed lies in a free page
        db.execute("PRAGMA secure_delete = OFF")
        db.execute("CREATE TABLE left_over AS SELECT ? AS data", (b"".join(wanted.values()) * 100,))
        db.execute("DROP TABLE left_over")
        db.execute("PRAGMA secure_delete = ON")
        database._engine._truncate(1)
        assert "people.db" in {entry.split(" in ")[1] for entry in traces(tmp_path, wanted)}
        database["late"] = unit(1, 3)[0]
        database.forget("late")  # who alone has left nothing that vacuuming would have to clear away
        assert traces(tmp_path, wanted) == []
        assert database._engine.state_of("unfinished") == 0


@pytest.mark.parametrize("killed", [True, False])
def test_forgetting_during_another_stays_marked_until_it_is_finished(tmp_path, path, monkeypatch, killed):
    with FaceDatabase(path) as database, FaceDatabase(path) as other, FaceDatabase(path) as keeps_the_wal:
        wanted = crowd(database)
        database["late"] = unit(1, 3)[0]
        truncate = database._engine._truncate
        if killed:
            monkeypatch.setattr(other._engine, "_erase", lambda *_: None)

        def meanwhile(within: float) -> None:
            truncate(within)
            if "Zacharias Forgotten" in other:
                other.forget("Zacharias Forgotten")

        monkeypatch.setattr(database._engine, "_truncate", meanwhile)
        database.forget("late")
        assert database._engine.state_of("unfinished") == int(killed)
        other.close()
        if killed:
            FaceDatabase(path).close()  # completes it
        assert keeps_the_wal._engine.state_of("unfinished") == 0
        assert traces(tmp_path, wanted) == []


def test_forget_removes_index_files_whatever_the_database_is_called(tmp_path, index_from):
    index_from(300)
    with FaceDatabase(tmp_path / "p[1].db") as database:
        wanted = crowd(database)
        assert database.settle()
        index = tmp_path / "p[1].db.index"
        left = index.with_name(f".unfinished_999999_0a1b2c3d_{index.name}")  # of a builder that was killed
        left.write_bytes(index.read_bytes())
        others = tmp_path / ".unfinished_999999_0a1b2c3d_p1.db.index"
        others.write_bytes(b"another database's")
        database.forget("Zacharias Forgotten")
        assert not index.exists()
        assert not left.exists()
        assert others.exists()
        assert traces(tmp_path, wanted) == []


def test_forget_removes_exports_beside_it_that_were_not_finished(tmp_path, path):
    with FaceDatabase(path) as database:
        wanted = crowd(database, 50)
        database.export_to(tmp_path / "earlier.zip")
        killed = tmp_path / ".unfinished_999999_0a1b2c3d_people.zip"
        killed.write_bytes((tmp_path / "earlier.zip").read_bytes()[:-100])
        (tmp_path / "earlier.zip").unlink()
        other = tmp_path / ".unfinished_999999_0a1b2c3d_best.keras"  # of a training
        other.write_bytes(b"PK\3\4" + bytes(26) + b"metadata.json")
        database.forget("Zacharias Forgotten")
        assert traces(tmp_path, wanted) == []
        assert other.exists()


def test_export_during_which_a_person_is_forgotten_fails(tmp_path, path, monkeypatch):
    write = archive._write_photo

    def write_slowly(*args) -> dict:
        with FaceDatabase(path) as other, suppress(NotForgottenYet, UnknownPerson):  # the export is reading
            other._engine.truncate_within = 0.1
            other.forget("Zacharias Forgotten")
        return write(*args)

    with FaceDatabase(path) as database:
        wanted = crowd(database, 50)
        database.add("lena", unit(1), photo(9))
        monkeypatch.setattr(archive, "_write_photo", write_slowly)
        with pytest.raises(BadArgument, match="people.zip' can't be written: a person was forgotten before it was"):
            database.export_to(tmp_path / "people.zip")
    FaceDatabase(path).close()
    assert traces(tmp_path, wanted) == []


@pytest.mark.parametrize("slow_at", [(search.Index, "build"), (search.IndexFile, "_write_rows")])
def test_index_read_before_a_forgetting_is_not_written(tmp_path, path, monkeypatch, slow_at, index_from):
    index_from(300)
    with FaceDatabase(path) as database, FaceDatabase(path) as slow:
        wanted = crowd(database)
        step, may_go_on = getattr(*slow_at), threading.Event()
        monkeypatch.setattr(*slow_at, lambda *args: may_go_on.wait(240) and step(*args))
        slow.nearest(unit(1))  # begins to build
        builder = slow._engine.builder
        assert builder is not None
        database.forget("Zacharias Forgotten")
        may_go_on.set()
        builder.join(20)
        assert traces(tmp_path, wanted) == []
        assert slow.settle(20)
        assert traces(tmp_path, wanted) == []
        assert (tmp_path / "people.db.index").exists()
        assert (tmp_path / "people.db.index").stat().st_mode == (tmp_path / "people.db").stat().st_mode


@pytest.mark.parametrize("slow_at", [(search, "whole"), (search.IndexFile, "_write_rows")])
def test_index_with_a_forgotten_person_is_not_begun(tmp_path, path, monkeypatch, slow_at, index_from):
    """Or a builder that is killed half-way would leave them in its unfinished file."""
    index_from(300)
    with FaceDatabase(path) as database, FaceDatabase(path) as slow:
        wanted = crowd(database)
        (step, build), may_go_on, left = (getattr(*slow_at), search.Index.build), threading.Event(), []
        monkeypatch.setattr(*slow_at, lambda *args: may_go_on.wait(240) and step(*args))
        monkeypatch.setattr(search.Index, "build", lambda *args: left.append(traces(tmp_path, wanted)) or build(*args))
        slow.nearest(unit(1))  # begins to build
        deadline = time.monotonic() + 20
        while slow_at[1] == "_write_rows" and not list(tmp_path.glob(".unfinished_*")) and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(0.1)
        database.forget("Zacharias Forgotten")
        may_go_on.set()
        assert slow.settle(20)
        assert left == [[]]


def test_milvus_forgets_in_its_files_too(tmp_path):
    pytest.importorskip("milvus_lite", reason="milvus-lite is not installed")
    with FaceDatabase(f"milvus:{tmp_path / 'milvus.db'}") as database:
        wanted = crowd(database, 50)
        database.forget("Zacharias Forgotten")
        database.tidy()
    assert traces(tmp_path, {"name": wanted["name"]}) == []
