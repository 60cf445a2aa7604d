"""Pictures are enrolled by Dask's workers, real processes, which are killed on the way."""

from types import SimpleNamespace

import numpy as np
import pytest
from typer.testing import CliRunner

from facerec import workers
from facerec._light import open_light
from facerec.command.app import app
from facerec.database import BadDatabase, FaceDatabase
from facerec.errors import BadArgument, FaceError
from facerec.workers import batches_of, enrol_here, enrol_on_workers
from tests.facerec.dying import NETWORK, PEOPLE, album_in, check_that_killed_workers_enrol_everyone_once

KilledWorker = pytest.importorskip("distributed").KilledWorker


@pytest.fixture
def door(tmp_path):
    with FaceDatabase(tmp_path / "door.db", open_light(NETWORK)) as database:
        yield database


def test_killed_workers_enrol_everyone_once(door, tmp_path, monkeypatch):
    def by_command(scheduler):
        given = [tmp_path / "album", "--database", door.where, "--network", NETWORK, "--workers", scheduler]
        done = CliRunner().invoke(app, ["enrol", *map(str, given)])
        assert done.exit_code == 0
        assert done.stdout == f"{door.where}: 9 people (0 added, 9 left as they were)\n"

    check_that_killed_workers_enrol_everyone_once(door, tmp_path, monkeypatch, again=by_command)


def test_batches_keep_people_whole(tmp_path, monkeypatch):
    monkeypatch.setattr(workers, "PICTURES", 5)
    portraits = album_in(tmp_path).portraits
    batches = list(batches_of(portraits))
    assert [len(batch) for batch in batches] == [6, 5, 6, 1]
    names = [{portrait.identity for portrait in batch} for batch in batches]
    assert sum(map(len, names)) == len(PEOPLE) + 1
    assert all(portrait.path.is_absolute() for batch in batches for portrait in batch)


def test_impossible_orders_are_refused(door, tmp_path, monkeypatch):
    monkeypatch.setattr(workers, "PATIENCE", 0.5)
    nowhere, album = "tcp://127.0.0.1:1", album_in(tmp_path / "album")
    with pytest.raises(BadArgument, match="on_conflict='add': with workers, one of 'skip', 'replace', 'refuse'"):
        enrol_on_workers(album, NETWORK, door, nowhere, "add")
    with FaceDatabase(":memory:") as fleeting, pytest.raises(BadArgument, match=":memory: belongs to this process"):
        enrol_on_workers(album, NETWORK, fleeting, nowhere)
    for address in (nowhere, "tls://127.0.0.1:1", "nothing"):
        with pytest.raises(FaceError, match=f"no Dask scheduler answers at {address}: is dask scheduler running"):
            enrol_on_workers(album, NETWORK, door, address)
    door.update(dict.fromkeys(PEOPLE + ["p8"], np.eye(128)[0]))
    with pytest.raises(BadArgument, match="no one is added, as the database knows p0, p1, p2"):
        enrol_on_workers(album, NETWORK, door, nowhere, "refuse")
    assert enrol_on_workers(album, NETWORK, door, nowhere).empty  # everyone is known: no worker is needed


def test_worker_without_the_pictures_fails_with_a_clear_error(door, tmp_path):
    portraits = album_in(tmp_path / "album").portraits
    (tmp_path / "album" / "p0" / "2.jpg").unlink()
    with pytest.raises(FaceError, match=r"p0.2.jpg is missing on .*: every worker needs the pictures"):
        enrol_here(portraits, NETWORK, door.opened_elsewhere())
    assert len(door) == 0


@pytest.mark.parametrize(
    ("status", "error", "message"),
    [
        ("cancelled", None, "the Dask scheduler went away"),
        ("error", ValueError("no"), r"a worker failed: ValueError\('no'\)"),
        ("error", BadDatabase("the disk is full"), "^the disk is full$"),
    ],
)
def test_failed_task_is_told_in_a_sentence(status, error, message):
    future = SimpleNamespace(status=status, exception=lambda: error)
    with pytest.raises(FaceError, match=message):
        workers._answer(future, [])


def test_pictures_that_end_workers_are_listed(tmp_path):
    portraits = album_in(tmp_path).portraits[:2]
    future = SimpleNamespace(status="error", exception=lambda: KilledWorker("task", None, 3))
    rows, notes = workers._answer(future, portraits)
    assert [file for file, _ in rows] == ["p0/1.jpg", "p0/2.jpg"] and notes == []
