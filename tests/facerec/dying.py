"""Enrolment by workers that are killed on the way; this module imports no network, so that workers start quickly."""

import os
import shutil
import signal
import time
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest

from facerec import workers
from facerec.database import FaceDatabase
from facerec.enrol import PoorPortrait
from facerec.portraits import Pictures, find_portraits
from facerec.workers import enrol_here, enrol_on_workers

pytest.importorskip("distributed", reason="Dask is not installed")
from distributed import LocalCluster

NETWORK = "keras-facenet-h5"
PEOPLE = [f"p{number}" for number in range(8)]


def album_in(folder: Path) -> Pictures:
    """Two pictures each of eight people, who look like four; a poor picture, and a file that is none."""
    for number, name in enumerate(PEOPLE):
        (folder / name).mkdir(parents=True)
        for picture in (1, 2):
            shutil.copy(f"images/{('lena', 'otto', 'jun', 'mei')[number % 4]}.jpg", folder / name / f"{picture}.jpg")
    (folder / "p3" / "3.jpg").write_bytes(b"no picture")
    shutil.copy("images/video_call.jpg", folder / "p8.jpg")
    return find_portraits(folder)


def dies_twice(portraits, network, database, signs):
    """Enrol like ``enrol_here``, but die once half-way through the people, and once before the answer is sent."""
    enrol_here(portraits[: (len(portraits) + 1) // 2], network, database)
    _die_once(signs / "half-way")
    answer = enrol_here(portraits, network, database)
    _die_once(signs / "before the answer")
    return answer


def _die_once(sign: Path) -> None:
    with suppress(FileExistsError):
        sign.open("x").close()
        os.kill(os.getpid(), signal.SIGKILL)


def check_that_killed_workers_enrol_everyone_once(database: FaceDatabase, folder: Path, monkeypatch, again) -> None:
    """Two workers fill a database from an album, and two of them are killed; ``again`` does it once more.

    Args:
        database: Empty, in a file or on a server.
        folder: An empty one.
        monkeypatch: The fixture.
        again: What to do with the scheduler's address once everyone is enrolled, which must change nothing.
    """
    monkeypatch.setattr(workers, "enrol_here", partial(dies_twice, signs=folder))
    monkeypatch.setattr(workers, "PICTURES", 8)
    found = album_in(folder / "album")
    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster:
        with pytest.warns(PoorPortrait, match=r"p8.jpg is used, but .*it shows 6 faces"):
            unusable = enrol_on_workers(found, NETWORK, database, cluster.scheduler_address, progress=False)
        assert {"half-way", "before the answer"} <= {path.name for path in folder.iterdir()}
        while len(database) < len(PEOPLE) + 1:  # on a server, what others wrote may take a moment to be seen
            time.sleep(0.1)
        table = database.people()
        assert dict(zip(table.identity, table.encodings, strict=True)) == dict.fromkeys(PEOPLE, 2) | {"p8": 1}
        assert (table.photos == table.encodings).all()
        assert unusable.file.tolist() == ["p3/3.jpg"] and "not a picture" in unusable.reason[0]
        again(cluster.scheduler_address)
        assert database.people().equals(table)
