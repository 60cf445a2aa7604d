"""A screen for windows, and none."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator

import pytest


@pytest.fixture(scope="session")
def screen() -> Iterator[None]:
    """A virtual screen; one for all tests, since Xlib ends a process whose screen disappears."""
    pytest.importorskip("tkinter")
    if shutil.which("Xvfb") is None:
        pytest.skip("Xvfb is not installed")
    reading, writing = os.pipe()
    command = ["Xvfb", "-displayfd", str(writing), "-screen", "0", "1100x700x24"]
    server = subprocess.Popen(command, pass_fds=[writing], stderr=subprocess.DEVNULL)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DISPLAY", f":{os.read(reading, 20).decode().strip()}")
        yield
    server.terminate()
    server.wait()


@pytest.fixture
def no_screen(monkeypatch) -> None:
    """No window can be opened."""
    tkinter = pytest.importorskip("tkinter")

    def refuse():
        raise tkinter.TclError("no display name")

    monkeypatch.setattr(tkinter, "Tk", refuse)
