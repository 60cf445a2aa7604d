"""``facerec serve`` starts each of the three servers as a process of its own: ``make test-apps``."""

from __future__ import annotations

import sys
import urllib.request

import pytest

from tests.chromium import serving
from tools.ports import free_port

#: Each server, where it says what it is, and what it says.
SAID = {
    "people": ("_stcore/health", "ok"),
    "compare": ("api/openapi.json", "/api/compare"),
    "api": ("api/openapi.json", "/api/v1/people"),
}


@pytest.mark.apps
@pytest.mark.parametrize("app", SAID)
def test_serve_starts_the_server_that_is_named(app, tmp_path):
    path, said = SAID[app]
    port = free_port()
    address = f"http://127.0.0.1:{port}/{path}"
    command = [sys.executable, "-m", "facerec", "serve", app, "--port", str(port), "--database", tmp_path / "people.db"]
    settings = {"FACES_KEYS": tmp_path / "keys.json"}
    with serving(command, address, tmp_path / "log", settings), urllib.request.urlopen(address) as answer:
        assert said in answer.read().decode()
