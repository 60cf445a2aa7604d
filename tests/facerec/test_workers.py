"""Pictures are enrolled by Dask's workers, real processes, which are killed on the way."""

import pytest
from typer.testing import CliRunner

from facerec import workers
from facerec._light import open_light
from facerec.command.app import app
from facerec.database import FaceDatabase
from facerec.errors import BadArgument, FaceError
from facerec.workers import batches_of, enrol_on_workers
from tests.facerec.dying import NETWORK, PEOPLE, album_in, check_that_killed_workers_enrol_everyone_once


@pytest.fixture
def door(tmp_path):
    with FaceDatabase(tmp_path / "door.db", open_light(NETWORK)) as database:
        yield database


def test_killed_workers_enrol_everyone_once(door, tmp_path, monkeypatch):
    def by_command(scheduler):
        given = [tmp_path / "album", "--database", door.where, "--network", NETWORK, "--workers", scheduler]
        done = CliRunner().invoke(app, ["enrol", *map(str, given)])
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
    with pytest.raises(BadArgument, match="on_conflict='add': one of 'skip', 'replace', 'refuse' with workers"):
        enrol_on_workers(album, NETWORK, door, nowhere, "add")
    with FaceDatabase(":memory:") as fleeting, pytest.raises(BadArgument, match="in memory, where no other process"):
        enrol_on_workers(album, NETWORK, fleeting, nowhere)
    with pytest.raises(FaceError, match=f"no Dask scheduler answers at {nowhere}: is dask scheduler running"):
        enrol_on_workers(album, NETWORK, door, nowhere)
