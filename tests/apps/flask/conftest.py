"""The Flask app with the real networks: in this process, and as a server of its own."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from apps.comparison import Comparer
from apps.flask.app import create_app
from facerec.photos import load_image
from tests.apps.flask.clients import CAMERA, FREE, Visitor, wait_until_ready
from tests.chromium import serving, write_film
from tools.ports import free_port


@pytest.fixture(scope="session")
def comparer(network, twins) -> Comparer:
    return Comparer(network, twins)


@pytest.fixture(scope="module")
def app(comparer):
    return create_app({"COMPARER": comparer, **FREE})


@pytest.fixture
def visitor(app) -> Visitor:
    return Visitor(app)


@pytest.fixture(scope="module")
def port(tmp_path_factory):
    """A server as ``make compare`` starts it, its networks loaded, without limits: its port."""
    port, log = free_port(), tmp_path_factory.mktemp("flask") / "log"
    command = [sys.executable, "-m", "apps.flask", "--port", str(port)]
    with serving(command, f"http://127.0.0.1:{port}/healthz", log, FREE | {"PYTHONDONTWRITEBYTECODE": 1}):
        wait_until_ready(port)
        yield port
    assert log.read_text().splitlines()[1:] == []  # nothing went wrong unseen


@pytest.fixture(scope="module")
def film(tmp_path_factory) -> Path:
    """The film of the fake camera: Lena."""
    return write_film(load_image(CAMERA), tmp_path_factory.mktemp("film") / "lena.mjpeg")
