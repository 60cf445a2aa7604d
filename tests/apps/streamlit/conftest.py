"""The database and the accounts of the Streamlit app's tests."""

from __future__ import annotations

from pathlib import Path

import pytest
from argon2 import PasswordHasher

from facerec.database import FaceDatabase
from facerec.networks import DEFAULT_NETWORK
from tests.apps.streamlit.visiting import PASSWORD


class Clock:
    """A clock that only moves when it is told to."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(scope="session")
def people(tmp_path_factory, images, network, once):
    """A database with the people of ``images/``, as the app fills it, for tests to copy. The network is loaded once."""
    from apps.streamlit import shared
    from facerec.enrol import build_database

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shared, "load_facenet", lambda path: network)
        shared._model(DEFAULT_NETWORK)
    path = tmp_path_factory.mktemp("people") / "people.db"

    def fill() -> bytes:
        with FaceDatabase(path, network) as database:
            build_database(images, network, progress=False, into=database)
        return path.read_bytes()

    path.write_bytes(once("people", fill))
    return path


@pytest.fixture
def home(tmp_path, monkeypatch, people) -> Path:
    """The app's database, in a folder of its own."""
    path = tmp_path / "people.db"
    path.write_bytes(people.read_bytes())
    monkeypatch.setenv("FACES_DATABASE", str(path))
    monkeypatch.delenv("FACES_NETWORK", raising=False)
    monkeypatch.delenv("FACES_READING", raising=False)
    return path


@pytest.fixture
def secrets() -> dict:
    """An account, as the secrets file has it; each test's own, so that no test counts another's failures."""
    return {"accounts": {"keeper": PasswordHasher(time_cost=1, memory_cost=1024).hash(PASSWORD)}}  # quickly made


@pytest.fixture
def secrets_file(tmp_path, monkeypatch):
    """The path of a secrets file, which is not there yet."""
    import streamlit

    before, path = streamlit.get_option("secrets.files"), tmp_path / ".streamlit" / "secrets.toml"
    streamlit.config.set_option("secrets.files", [str(path)])
    monkeypatch.setattr(streamlit, "secrets", type(streamlit.secrets)())
    yield path
    streamlit.config.set_option("secrets.files", before)
