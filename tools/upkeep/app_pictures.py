"""Photograph both web apps in a real Chromium, for the README.

python tools/upkeep/app_pictures.py      # writes docs/apps.jpg
"""

from __future__ import annotations

import io
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from PIL import Image

from facerec._files import ROOT
from tests.chromium import browser, serving
from tools.ports import free_port

PICTURE, PORTRAIT = ROOT / "images" / "camera_0.jpg", ROOT / "images" / "lena.jpg"
HEIGHT, GAP = 620, 12  # of the picture, and between its halves, in pixels


def verified(chromium: Any, folder: Path) -> Image.Image:
    """Photograph the Streamlit app as it lets Lena in."""
    port = free_port()
    command = [sys.executable, "-m", "streamlit", "run", "apps/streamlit/app.py"]
    command += [f"--server.port={port}", "--server.headless=true"]
    settings = {"FACES_DATABASE": folder / "people.db"}
    address = f"http://localhost:{port}"
    with serving(command, f"{address}/_stcore/health", folder / "streamlit.log", settings):
        page = chromium.new_page(viewport={"width": 1280, "height": 960}, device_scale_factor=2)
        page.goto(address)
        claimed = page.get_by_role("combobox").first
        claimed.click(timeout=90_000)
        claimed.fill("lena")
        page.keyboard.press("Enter")
        page.locator("input[type=file]").first.set_input_files(PICTURE)
        page.get_by_text("Welcome in").wait_for(timeout=90_000)
        page.wait_for_timeout(2000)  # until the page has come to rest
        return photographed(page)


def compared(chromium: Any, folder: Path) -> Image.Image:
    """Photograph the Flask app as it says that two pictures show one person."""
    port = free_port()
    command = [sys.executable, "-m", "apps.flask", "--port", str(port)]
    address = f"http://localhost:{port}"
    with serving(command, f"{address}/healthz", folder / "flask.log"):
        page = chromium.new_page(viewport={"width": 720, "height": 960}, device_scale_factor=2)
        page.goto(address)
        for box in page.get_by_role("checkbox").all():
            box.check()
        page.get_by_role("button", name="Continue").click()
        for slot, picture in (("first", PORTRAIT), ("second", PICTURE)):
            page.set_input_files(f"#{slot}", picture)
        page.get_by_text("One face found.").nth(1).wait_for(timeout=90_000)
        page.get_by_role("button", name="Compare faces").click()
        page.get_by_role("heading", name="The same person").wait_for(timeout=90_000)
        page.wait_for_timeout(1000)
        return photographed(page)


def photographed(page: Any) -> Image.Image:
    """A screenshot of a page, scaled to the height of the picture."""
    picture = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
    return picture.resize((round(picture.width * HEIGHT / picture.height), HEIGHT), Image.Resampling.LANCZOS)


def main() -> None:
    """Photograph both, side by side."""
    with TemporaryDirectory() as folder, browser() as chromium:
        pictures = [photograph(chromium, Path(folder)) for photograph in (verified, compared)]
    both = Image.new("RGB", (sum(picture.width for picture in pictures) + GAP, HEIGHT), "#8a9199")
    left = 0
    for picture in pictures:
        both.paste(picture, (left, 0))
        left += picture.width + GAP
    both.save(ROOT / "docs" / "apps.jpg", quality=82)


if __name__ == "__main__":
    main()
