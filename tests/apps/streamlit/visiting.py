"""Visiting the Streamlit app's pages in this process, as a browser would: what their tests share."""

from __future__ import annotations

import functools
import io
from pathlib import Path

from streamlit.components.v2 import manifest_scanner
from streamlit.testing.v1 import AppTest

from facerec._files import ROOT

APP = ROOT / "apps" / "streamlit"

PASSWORD = "a long password for tests"

# Each start would look for components among all installed packages anew, which takes longer than showing the page.
manifest_scanner.scan_component_manifests = functools.cache(manifest_scanner.scan_component_manifests)


def start(page: str = "verify", secrets: dict | None = None) -> AppTest:
    """The app in this process, at a page."""
    app = AppTest.from_file(str(APP / "main.py"), default_timeout=90)
    for name, value in (secrets or {}).items():
        app.secrets[name] = value
    return app.run() if page == "verify" else app.switch_page(f"views/{page}.py").run()


def text_of(app: AppTest) -> str:
    """The text of the app's own parts of the page."""
    assert not app.exception
    return "\n".join(body for body in bodies(app) if not body.startswith(("<style", "<script")))


def scripts_of(app: AppTest) -> str:
    """The scripts that the page runs in the browser."""
    return "\n".join(body for body in bodies(app) if body.startswith("<script"))


def bodies(app: AppTest) -> list[str]:
    return [part.proto.body.strip() for part in app.get("html")]


def file(name: str, folder: Path = ROOT / "images") -> tuple[str, bytes, str]:
    return name, (folder / name).read_bytes(), "image/jpeg"


def field(app: AppTest, label: str):
    return next(each for each in app.text_input if each.label == label)


def log_in(app: AppTest, password: str = PASSWORD) -> AppTest:
    field(app, "Name").set_value("keeper")
    field(app, "Password").set_value(password)
    return press(app, "Log in")


def press(app: AppTest, label: str) -> AppTest:
    return next(button for button in app.button if button.label == label).click().run()


def asks_for_a_login(app: AppTest) -> bool:
    assert not app.exception
    return any(button.label == "Log in" for button in app.button)


class Pressed:
    """A Streamlit in which every button has just been pressed, and a file is there."""

    def __init__(self) -> None:
        self.session_state, self.downloads = {}, []

    def button(self, *given, **named) -> bool:
        return True

    def file_uploader(self, *given, **named) -> io.BytesIO:
        file = io.BytesIO(b"PK no more")
        file.name = "people.zip"
        return file

    def selectbox(self, *given, **named) -> str:
        return "skip"

    def download_button(self, *given, **named) -> None:
        self.downloads.append(given)


def functions_of(page: str, home: Path) -> dict:
    """The functions of a page, without drawing it."""
    source = (APP / "views" / f"{page}.py").read_text(encoding="utf-8").split("\nshow.title(")[0]
    names: dict = {"__name__": f"views_{page}"}
    exec(compile(source, page, "exec", dont_inherit=True), names)
    return names
