"""A screen for windows, and none; a user who may not do everything."""

from __future__ import annotations

import codecs
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

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


@pytest.fixture
def home() -> Iterator[Path]:
    """A folder of a user whose permissions count, as root's don't, as long as the test runs."""
    if not hasattr(os, "geteuid"):
        pytest.skip("Unix permissions")
    from facerec._mtcnn import detector

    codecs.lookup("cp437")  # what is loaded when it is needed comes from Python's files, which may be root's alone:
    detector()  # zipfile's tables, the networks of MTCNN
    with tempfile.TemporaryDirectory() as folder:
        if root := os.geteuid() == 0:
            os.chown(folder, 65534, 65534)
            os.seteuid(65534)
        try:
            yield Path(folder)
        finally:
            if root:
                os.seteuid(0)
