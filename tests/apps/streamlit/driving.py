"""Driving the Streamlit app in a real Chromium: what the tests of its pages share."""

from __future__ import annotations

import re
import sys
import zipfile
from collections.abc import Sequence
from pathlib import Path

from facerec._files import ROOT
from tests.apps.streamlit.visiting import APP, PASSWORD
from tests.chromium import HANG, look, serving


def running(home: Path, port: int, secrets: Path, start: Sequence[str] = ("-m", "streamlit"), **environment: str):
    """The app as a server of its own, until the block ends; ``start`` is how Python starts Streamlit."""
    command = [
        sys.executable, *start, "run", str(APP / "app.py"),
        f"--server.port={port}", "--server.headless=true", f"--secrets.files={secrets}",
    ]  # fmt: skip
    settings = {"FACES_DATABASE": home / "people.db", "TF_CPP_MIN_LOG_LEVEL": "3", "FACES_READING": "open"}
    return serving(command, f"http://localhost:{port}/_stcore/health", home / "app.log", settings | environment)


def go(page, address: str, name: str):
    """Go to a page, and wait until it is drawn."""
    page.set_default_timeout(HANG)
    page.goto(address if name == "verify" else f"{address}/{name}")  # the first page has no name of its own
    page.locator("h1").filter(has_text=name.capitalize()).wait_for()
    return still(page)


def still(page):
    """Wait until the page is not being drawn."""
    page.wait_for_timeout(250)
    page.locator('.stApp[data-test-script-state="notRunning"]').wait_for()
    return page


def turn_to(page, name: str):
    """Go to another page in the same session."""
    page.get_by_test_id("stSidebarNavLink").filter(has_text=name).click()
    page.locator("h1").filter(has_text=name).wait_for()
    return still(page)


def give(page, *files: Path | dict, number: int = 0) -> None:
    """Choose files."""
    page.locator("input[type=file]").nth(number).set_input_files(list(files) if len(files) > 1 else files[0])
    still(page)


def drop(page) -> None:
    """Remove the first file that was given."""
    page.get_by_role("button", name=re.compile("^Remove .")).first.click()
    still(page)


def claim(page, name: str) -> None:
    page.get_by_role("combobox").first.fill(name)
    page.get_by_role("option", name=name, exact=True).first.click()
    still(page)


def source(page, name: str, number: int = 0) -> None:
    page.get_by_test_id("stButtonGroup").nth(number).get_by_text(name, exact=True).click()
    still(page)


def verdict(page, words: str) -> None:
    page.locator(".verdict strong").filter(has_text=words).wait_for()


def notice(page, kind: str, words: str) -> None:
    page.locator(f".notice.{kind}").filter(has_text=words).first.wait_for()
    still(page)


def enter(page, password: str = PASSWORD) -> None:
    """Log in, on the People page or on a closed one."""
    if not (secret := page.locator("input[type=password]")).is_visible():
        page.get_by_text("Log in to add").click()
    page.get_by_role("textbox", name="Name", exact=True).fill("keeper")
    secret.fill(password)
    page.get_by_role("button", name="Log in").click()
    still(page)


def image(name: str) -> Path:
    return ROOT / "images" / name


def portraits() -> list[Path]:
    return [path for path in image("").glob("*.jpg") if not path.stem.startswith(("camera_", "video", "look"))]


def known_names(page) -> list[str]:
    page.locator(".gallery .name").first.wait_for()
    return sorted(page.locator(".gallery .name").all_text_contents())


def add(page, name: str, *pictures: Path, but: str = "") -> None:
    page.get_by_role("tab", name="Add", exact=True).click()
    panel = page.get_by_role("tabpanel", name="Add")
    panel.get_by_role("textbox", name="Name", exact=True).fill(name)
    page.keyboard.press("Enter")
    still(page)
    panel.locator("input[type=file]").set_input_files(list(pictures))
    panel.locator(".figures img").nth(len(pictures) - 1).wait_for()
    if but:
        notice(page, "warn", but)
    still(page)
    if (tick := panel.get_by_text("I have checked")).count():
        look(page, "streamlit_people_doubts")
        tick.click()
        still(page)
    page.get_by_role("button", name="Add", exact=True).click()
    notice(page, "good", "has been added")
    assert panel.get_by_role("textbox", name="Name", exact=True).input_value() == ""


def person(page, name: str) -> None:
    """Press a person: what can be changed is in a dialog, in view wherever the person was."""
    page.locator(".gallery button").filter(has=page.get_by_text(name, exact=True)).click()
    page.get_by_role("dialog").locator("h2").filter(has_text=name).wait_for()
    still(page)


def rename(page, old: str, new: str) -> None:
    person(page, old)
    page.get_by_role("textbox", name="New name").fill(new)
    page.get_by_role("button", name="Rename", exact=True).click()
    notice(page, "good", f"{old} is now called {new}.")
    look(page, "streamlit_people_renamed")
    page.keyboard.press("Escape")  # closes the dialog
    page.get_by_role("dialog").wait_for(state="detached")
    still(page)


def remove(page, name: str) -> None:
    person(page, name)
    page.get_by_role("tab", name="Remove").click()
    page.get_by_text("Yes, remove this person").click()
    still(page)
    page.get_by_role("button", name="Remove", exact=True).click()
    notice(page, "good", f"{name} has been removed.")


def forget(page, name: str) -> None:
    person(page, name)
    page.get_by_role("tab", name="Forget").click()
    assert page.get_by_role("button", name="Forget", exact=True).is_disabled()
    page.get_by_text("Yes, erase every trace").click()
    still(page)
    page.get_by_role("button", name="Forget", exact=True).click()
    notice(page, "good", "has been forgotten")


def export(page, to: Path) -> Path:
    page.get_by_role("tab", name="Export").click()
    page.get_by_role("button", name="Create the file").click()
    with page.expect_download() as download:
        page.get_by_role("button", name="Download people.zip").click()
    download.value.save_as(to)
    still(page)
    assert zipfile.is_zipfile(to)
    return to


def take_in(page, archive: Path) -> None:
    page.get_by_role("tab", name="Import").click()
    page.get_by_role("tabpanel", name="Import").locator("input[type=file]").set_input_files(archive)
    page.get_by_role("button", name="Import", exact=True).click()
    still(page)
