"""What the commands are tried on: an empty folder, a database, a video, portraits."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from facerec.database import FaceDatabase
from tests.facerec.live.films import film_of, write_video


@pytest.fixture(autouse=True)
def here(network, database, monkeypatch, tmp_path) -> Path:
    """Every command gets the network that is loaded already, and works in an empty folder."""
    monkeypatch.setattr("facerec._light.open_light", lambda path: network)
    for name in ("FACES_DATABASE", "FACES_NETWORK"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def people(network, database, tmp_path_factory) -> Path:
    """The portraits of images/ as a lasting database; no test changes it."""
    path = tmp_path_factory.mktemp("people") / "people.db"
    with FaceDatabase(path, network) as lasting:
        lasting.update(database)
    return path


@pytest.fixture(scope="module")
def video(photos, tmp_path_factory) -> Path:
    """Eleven frames of lena and marco."""
    frames = film_of(photos, "camera_0", "camera_10", 11)
    return write_video(tmp_path_factory.mktemp("film") / "two.mp4", frames, fps=25)


@pytest.fixture
def portraits(images, tmp_path) -> Path:
    """A folder of two portraits, and a file that is not a picture."""
    folder = tmp_path / "portraits"
    folder.mkdir()
    for name in ("lena", "marco"):
        shutil.copy(images / f"{name}.jpg", folder)
    (folder / "broken.jpg").write_bytes(b"not a picture")
    return folder
