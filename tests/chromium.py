"""A real browser for tests: Chromium with a fake camera that shows our pictures, servers, and axe-core.

It uses the Chromium that is installed: the one on the path, or the one that CHROMIUM names.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
import pytest

from facerec._files import ROOT

CHROMIUM = next(filter(None, map(shutil.which, (os.environ.get("CHROMIUM", ""), "chromium", "google-chrome"))), None)
NEEDED = pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed (or say where it is: CHROMIUM=…)")
QUIET = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip
HANG = 180_000  # milliseconds after which a page counts as hanging; it only bounds the wait
FAKE_CAMERA = "--use-fake-device-for-media-stream"
SIZES = {"desktop": {"width": 1280, "height": 800}, "phone": {"width": 390, "height": 844}}


@contextmanager
def serving(
    command: Sequence[str], address: str, log: Path, environment: Mapping[str, str] = {}, within: float = 90
) -> Iterator[subprocess.Popen]:
    """Run a server until the block ends; the block begins when the server answers."""
    with log.open("w") as stream:
        settings = os.environ | {key: str(value) for key, value in environment.items()}
        server = subprocess.Popen(command, cwd=ROOT, env=settings, stdout=stream, stderr=stream)
        try:
            wait_for(address, server, log, within)
            yield server
        finally:
            server.terminate()
            try:
                server.wait(20)
            except subprocess.TimeoutExpired:
                server.kill()
                server.wait()


def wait_for(address: str, server: subprocess.Popen, log: Path, within: float = 90) -> None:
    """Wait until a server answers, with any status."""
    deadline = time.monotonic() + within
    while time.monotonic() < deadline and server.poll() is None:
        try:
            urllib.request.urlopen(address, timeout=5)
            return
        except urllib.error.HTTPError:
            return
        except OSError:
            time.sleep(0.3)
    raise RuntimeError(f"{address} does not answer:\n{log.read_text()[-2000:]}")


def write_film(photo: np.ndarray, path: Path, size: tuple[int, int] = (640, 480)) -> Path:
    """Write a film for the fake camera: one picture (H, W, 3), fitted into the frame (width, height), repeated."""
    width, height = size
    scale = min(height / photo.shape[0], width / photo.shape[1])
    small = cv2.resize(photo, (round(photo.shape[1] * scale), round(photo.shape[0] * scale)))
    frame = np.zeros((height, width, 3), np.uint8)
    top, left = (height - small.shape[0]) // 2, (width - small.shape[1]) // 2
    frame[top : top + small.shape[0], left : left + small.shape[1]] = small
    path.write_bytes(cv2.imencode(".jpg", frame[..., ::-1])[1].tobytes() * 30)
    return path


@contextmanager
def browser(*options: str, film: Path | None = None) -> Iterator:
    """A headless Chromium, with a camera that shows the film, if there is one."""
    from playwright.sync_api import sync_playwright

    camera = [FAKE_CAMERA, f"--use-file-for-fake-video-capture={film}"] if film else []
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=[*QUIET, *camera, *options])
        try:
            yield chromium
        finally:
            chromium.close()


def serious_violations(page) -> list[str]:
    """The serious and critical violations that axe-core finds on a page, a line each."""
    from axe_playwright_python.sync_playwright import Axe

    found = Axe().run(page).response["violations"]
    return [
        f"{each['id']}: {each['help']} at {[node['target'] for node in each['nodes'][:3]]}"
        for each in found
        if each["impact"] in ("serious", "critical")
    ]


def look(page, name: str) -> Path:
    """Keep a screenshot of a page in ``build/``."""
    (ROOT / "build").mkdir(exist_ok=True)
    path = ROOT / "build" / f"browser_{name}.png"
    page.screenshot(path=path, full_page=True)
    return path
