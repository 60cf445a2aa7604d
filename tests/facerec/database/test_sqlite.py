"""The SQLite file: permissions, other programs' files, files that go away, threads and processes."""

from __future__ import annotations

import multiprocessing
import os
import sqlite3
import threading
from pathlib import Path

import numpy as np
import pytest

from facerec.database import BadDatabase, FaceDatabase
from facerec.database.engine import Addition
from facerec.errors import BadArgument
from tests.facerec.database.helpers import HARMS, crowd, photo, processes, take_place, traces, unit


def test_other_files_are_rejected_and_left_alone(tmp_path):
    text = tmp_path / "notes.txt"
    text.write_text("no database " * 1000)
    foreign = tmp_path / "foreign.db"
    with sqlite3.connect(foreign) as db:
        db.execute("CREATE TABLE things (name TEXT)")
    db.close()
    for file, said in ((text, "can't be used"), (foreign, "of another program")):
        before = file.read_bytes()
        with pytest.raises(BadDatabase, match=said):
            FaceDatabase(file)
        assert file.read_bytes() == before
    for where in (tmp_path, text / "people.db"):
        with pytest.raises(BadArgument, match="where="):
            FaceDatabase(where)


def test_newer_version_is_rejected(path):
    FaceDatabase(path).close()
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA user_version = 3")
    db.close()
    with pytest.raises(BadDatabase, match=r"newer version of this project \(format 3"):
        FaceDatabase(path)


def test_changes_are_synchronised_and_deleted_data_is_overwritten(path):
    with FaceDatabase(path) as database:
        db = database._engine.db
        settings = {name: db.execute(f"PRAGMA {name}").fetchone()[0] for name in ("journal_mode", "synchronous")}
        assert settings == {"journal_mode": "wal", "synchronous": 2}
        assert db.execute("PRAGMA secure_delete").fetchone()[0] == 1
        assert db.execute("PRAGMA foreign_keys").fetchone()[0] == 1


@pytest.mark.parametrize("what", ["folder", "file", "new file"])
def test_error_says_what_may_not_be_written(home, what):
    path = home / "people.db"
    if what != "new file":
        with FaceDatabase(path) as database:
            database["lena"] = unit(1)[0]
    path.chmod(0o400) if what == "file" else home.chmod(0o500)
    forbidden = "the file" if what == "file" else "its folder"
    said = (
        f"people.db can't be written: this user may not write {forbidden}; .* copy the file into a folder of your own"
    )
    with pytest.raises(BadDatabase, match=said), FaceDatabase(path) as database:
        database["omar"] = unit(1)[0]
    home.chmod(0o700)
    assert path.exists() == (what != "new file")


def test_error_says_that_the_file_may_not_be_read(home):
    path = home / "people.db"
    FaceDatabase(path).close()
    path.chmod(0o200)
    with pytest.raises(BadDatabase, match="people.db can't be read: this user may not read the file"):
        FaceDatabase(path)


def test_reading_a_write_protected_file_does_not_block_later_writers(home):
    path = home / "people.db"
    with FaceDatabase(path) as database:
        database["lena"] = unit(1)[0]
    path.chmod(0o444)
    for _ in range(2):
        with FaceDatabase(path) as database:
            assert list(database) == ["lena"]
            with pytest.raises(BadDatabase, match="may not write the file"):
                database["omar"] = unit(1)[0]
    path.chmod(0o644)
    with FaceDatabase(path) as database:
        database["omar"] = unit(1)[0]
        assert list(database) == ["lena", "omar"]


@pytest.mark.skipif(os.name != "posix", reason="Unix permissions")
@pytest.mark.parametrize("umask", [0, 0o022, 0o277])
def test_new_files_are_private_and_old_ones_keep_their_mode(home, umask):
    path, archive = home / "people.db", home / "people.zip"

    def modes() -> dict[str, int]:
        return {file.name: file.stat().st_mode & 0o777 for file in home.iterdir()}

    before = os.umask(umask)
    try:
        with FaceDatabase(path) as database:
            database["lena"] = unit(1)[0]
            database.export_to(archive)
            assert modes() == dict.fromkeys(["people.db", "people.db-wal", "people.db-shm", "people.zip"], 0o600)
        for file in (path, archive):
            file.chmod(0o640)
        with FaceDatabase(path) as database:
            database["omar"] = unit(1)[0]
            database.forget("lena")
            database.export_to(archive)
            assert modes() == dict.fromkeys(["people.db", "people.db-wal", "people.db-shm", "people.zip"], 0o640)
    finally:
        os.umask(before)


def test_error_says_that_a_folder_can_not_be_made(home):
    home.chmod(0o500)
    with pytest.raises(BadArgument, match="where=.*its folder can't be made"):
        FaceDatabase(home / "faces" / "people.db")
    with FaceDatabase(":memory:") as database:
        for target in (home / "people.zip", home / "faces" / "people.zip"):
            with pytest.raises(BadArgument, match=r"path=.*people.zip' can't be written: this user may") as raised:
                database.export_to(target)
            assert str(raised.value).endswith(f"may not write into the folder {str(home)!r}")
    home.chmod(0o700)
    assert list(home.iterdir()) == []


@pytest.fixture
def deep(tmp_path) -> Path:
    return tmp_path / "faces" / "people.db"


@pytest.mark.parametrize("harm", HARMS.values(), ids=HARMS)
def test_nothing_is_acknowledged_once_the_file_is_taken_away(deep, harm):
    with FaceDatabase(deep) as database:
        database.add("lena", unit(1), photo())
        database.nearest(unit(1))
        harm(deep)
        changes = (
            lambda: database.add("omar", unit(1)),
            lambda: database.update({"omar": unit(1)}),
            lambda: database.remove("lena"),
            lambda: database.forget("lena"),
            database.tidy,
        )
        looks = (lambda: database.nearest(unit(1)), lambda: database["lena"], lambda: list(database))
        for attempt in changes if harm is HARMS["the WAL removed"] else changes + looks:
            with pytest.raises(BadDatabase, match=r"people.db(-wal)? was removed, moved or replaced") as raised:
                attempt()
            assert str(raised.value).count(str(deep)) == 1
    if deep.exists():
        with FaceDatabase(deep) as database:
            assert list(database) in (["lena"], ["another person"])


@pytest.mark.parametrize("at", ["before", "COMMIT"])
def test_change_during_which_the_file_goes_away_fails(path, at):
    with FaceDatabase(path) as database, pytest.raises(BadDatabase, match="was removed"):
        if at == "COMMIT":
            database._engine.db.set_trace_callback(lambda said: path.unlink() if said == "COMMIT" else None)
        with database._engine.change() as change:
            change.put(Addition("lena", unit(1)))
            if at == "before":
                path.unlink()


def add_when_told(path: str, told, said) -> None:
    with FaceDatabase(path) as database:
        said.put(len(database))
        told.get(timeout=60)
        try:
            database["omar"] = unit(1, 3)[0]
        except BadDatabase as error:
            said.put(str(error))
        else:
            said.put("done")


def test_every_process_notices_that_the_file_was_replaced(path):
    context = processes()
    told, said = context.Queue(), context.Queue()
    with FaceDatabase(path) as database:
        database["lena"] = unit(1)[0]
    writers = [context.Process(target=add_when_told, args=(str(path), told, said)) for _ in range(2)]
    for writer in writers:
        writer.start()
    assert [said.get(timeout=60) for _ in writers] == [1, 1]
    take_place(path)
    for _ in writers:
        told.put("now")
    for _ in writers:
        assert "people.db was removed, moved or replaced" in said.get(timeout=60)
    for writer in writers:
        writer.join()
    with FaceDatabase(path) as database:
        assert list(database) == ["another person"]


def test_tidy_keeps_the_file_and_the_working_directory_may_change(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with FaceDatabase("people.db") as database, FaceDatabase(path) as other:
        crowd(database)
        before = path.stat()
        database.tidy()
        database.forget("Zacharias Forgotten")
        assert (path.stat().st_dev, path.stat().st_ino) == (before.st_dev, before.st_ino)
        (tmp_path / "sub").mkdir()
        monkeypatch.chdir(tmp_path / "sub")
        database["late"] = unit(1)[0]
        assert len(other) == len(database) == 401


def test_link_leads_to_the_same_database_and_index(path, index_from):
    index_from(300)
    link = path.with_name("link.db")
    with FaceDatabase(path) as database:
        wanted = crowd(database)
        link.symlink_to(path)
        with FaceDatabase(link) as linked:
            assert linked.settle()
            assert path.with_name("people.db.index").exists()
        database.forget("Zacharias Forgotten")
    assert traces(path.parent, wanted) == []


def look(path: str) -> None:
    FaceDatabase(path).close()


def names_there(path: str, said) -> None:
    with FaceDatabase(path) as database:
        said.put(list(database))


@pytest.mark.parametrize("step", ["forget", "forget in another", "export", "import"])
def test_no_step_gives_up_the_locks_of_the_open_file(path, step):
    """A process that closes a file of its own gives up SQLite's locks on it, too; then the next one removes the WAL."""
    context = processes()
    with FaceDatabase(path) as database:
        database.update({f"person called {i}": encoding for i, encoding in enumerate(unit(5))})
        if step == "forget":
            database.forget("person called 0")
        elif step == "forget in another":
            with FaceDatabase(path) as other:
                other.forget("person called 0")
        else:
            with pytest.raises(BadArgument, match="is no earlier export|not an archive"):
                (database.export_to if step == "export" else database.import_from)(path)
        process = context.Process(target=look, args=(str(path),))
        process.start()
        process.join()
        assert path.with_name("people.db-wal").exists()
        database["acknowledged"] = unit(1, 9)[0]
        said = context.Queue()
        process = context.Process(target=names_there, args=(str(path), said))
        process.start()
        assert "acknowledged" in said.get(timeout=60)
        process.join()


def test_file_descriptors_are_closed_with_the_last_database(path):
    count = lambda: len(os.listdir("/proc/self/fd")) if Path("/proc/self/fd").is_dir() else 0  # noqa: E731
    with FaceDatabase(path):
        pass
    before = count()
    with FaceDatabase(path) as one, FaceDatabase(path) as two:
        one.update({f"person called {i}": encoding for i, encoding in enumerate(unit(5))})
        one.forget("person called 0")
        two.forget("person called 1")
    assert count() == before


def add_people(path: str, who: str, count: int) -> None:
    with FaceDatabase(path, represent="nearest") as database:
        for i in range(count):
            database.add(f"{who} {i}", unit(1, hash((who, i)) % 2**31)[0])
            if i % 3 == 2:
                database.remove(f"{who} {i - 1}")
            assert database.nearest(unit(1, hash((who, i)) % 2**31)[0])[0][0, 0] is not None


def test_several_processes_write_and_read_at_once(path):
    context = processes()
    writers = [context.Process(target=add_people, args=(str(path), who, 15)) for who in ("a", "b")]
    for writer in writers:
        writer.start()
    with FaceDatabase(path) as database:
        while any(writer.is_alive() for writer in writers):
            names = list(database)
            identities, _ = database.nearest(unit(1), k=3) if names else (np.empty((0, 3)), None)
            assert len(identities) <= 1
        for writer in writers:
            writer.join()
            assert writer.exitcode == 0
        expected = {f"{who} {i}" for who in "ab" for i in range(15) if i % 3 != 1}
        assert set(database) == expected
        assert set(database.nearest(unit(1), k=len(expected))[0][0]) == expected


def test_changes_of_another_connection_are_seen_at_once(path):
    with FaceDatabase(path) as here, FaceDatabase(path) as there:
        lena, omar = unit(2)
        here["lena"] = lena
        assert there.nearest(lena)[0][0, 0] == "lena"
        there["lena"] = omar
        there["omar"] = lena
        assert here.nearest(lena)[0][0, 0] == "omar"
        here.rename("omar", "Omar")
        assert there.nearest(lena)[0][0, 0] == "Omar"
        here.remove("Omar")
        assert there.nearest(lena, k=2)[0].tolist() == [["lena", None]]
        here["ivan"] = lena
        assert there.nearest(lena)[0][0, 0] == "ivan"
        here.remove("ivan")
        here.tidy()  # which empties the list of those removed
        assert there.nearest(lena, k=2)[0].tolist() == [["lena", None]]
        here["nina"] = lena
        assert there.nearest(lena)[0][0, 0] == "nina"


def test_only_the_difference_is_read(path, monkeypatch):
    with FaceDatabase(path) as here, FaceDatabase(path) as there:
        here.update({str(i): encoding for i, encoding in enumerate(unit(50))})
        there.nearest(unit(1))
        monkeypatch.setattr(there._engine, "_from_database", lambda state: pytest.fail("everything was read anew"))
        here["new"] = unit(1, 9)[0]
        here.remove("3")
        assert there.nearest(unit(1, 9))[0][0, 0] == "new"
        assert there._engine.rows.count == 51
        assert len(there._engine.rows.gone) == 1


def test_threads_share_one_database(path):
    known = unit(200)
    errors = []

    def work(number: int) -> None:
        try:
            for i in range(number, 200, 4):
                database.add(str(i), known[i])
                assert database.nearest(known[i])[0][0, 0] == str(i)
        except BaseException as error:
            errors.append(error)

    with FaceDatabase(path) as database:
        threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not errors
        assert len(database) == 200


def add_in_a_child(database: FaceDatabase) -> None:
    parents = database._engine.db
    database["omar"] = unit(1, 3)[0]
    assert database._engine.db is not parents
    assert set(database) == {"lena", "omar"}


@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="no fork here")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_forked_child_gets_its_own_connection(path):
    with FaceDatabase(path) as database:
        database["lena"] = unit(1)[0]
        child = multiprocessing.get_context("fork").Process(target=add_in_a_child, args=(database,))
        child.start()
        child.join()
        assert child.exitcode == 0
        assert set(database) == {"lena", "omar"}


def add_to_nothing_in_a_child(database: FaceDatabase) -> None:
    with pytest.raises(BadDatabase, match="was removed"):
        database["omar"] = unit(1, 3)[0]


def add_after_the_parent(database: FaceDatabase, told) -> None:
    told.wait(60)
    database["omar"] = unit(1, 3)[0]
    assert set(database) == {"lena", "omar"}


@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="no fork here")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_forked_child_outlives_its_parents_connection_and_notices_a_replaced_file(path):
    fork = multiprocessing.get_context("fork")
    with FaceDatabase(path) as database:
        database["lena"] = unit(1)[0]
        told = fork.Event()
        child = fork.Process(target=add_after_the_parent, args=(database, told))
        child.start()
    assert not path.with_name("people.db-wal").exists()
    told.set()
    child.join()
    assert child.exitcode == 0
    with FaceDatabase(path) as database:
        assert set(database) == {"lena", "omar"}
        take_place(path)
        child = fork.Process(target=add_to_nothing_in_a_child, args=(database,))
        child.start()
        child.join()
        assert child.exitcode == 0
