"""Choosing a picture (a file, the camera or an example) or a person, however many there are."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path

import streamlit as st

from apps.pictures import data_url, jpeg
from apps.streamlit import shared, show
from facerec.photos import load_image

HERE = Path(__file__).resolve().parent

UPLOAD, CAMERA, EXAMPLE = "A file", "The camera", "An example"

#: Up to so many people are offered in one list; among more, the visitor searches for the name first.
LISTED = 300

NO_ONE = "The database is empty. Add people on the People page first."


@dataclass(frozen=True)
class Chosen:
    """A picture that a visitor has chosen.

    Attributes:
        name: Its name on the page.
        data: The bytes of its file.
    """

    name: str
    data: bytes


def picture(key: str, label: str) -> Chosen | None:
    """Ask for one picture; None until one is chosen."""
    source = st.segmented_control(
        label, [UPLOAD, CAMERA, EXAMPLE], default=UPLOAD, required=True, key=f"{key}_source", width="stretch"
    )
    return one(key, label, source)


def one(key: str, label: str, source: str, files: str = UPLOAD) -> Chosen | None:
    """Ask for one picture from a source; ``files`` is the button to press without a camera."""
    if source == UPLOAD:
        given = st.file_uploader(f"{label}: drop a file here", key=f"{key}_file", label_visibility="collapsed")
        return Chosen(given.name, given.getvalue()) if given else None
    if source == CAMERA:
        given = st.camera_input(f"{label}: take a picture", key=f"{key}_camera", label_visibility="collapsed")
        if given is None:
            show.note(f"No camera, or is it blocked? Choose “{files}” above.")
            return None
        return Chosen("the picture from the camera", given.getvalue())
    return _example(key)


def _example(key: str) -> Chosen | None:
    name = gallery(f"{key}_example", "the pictures in images/", examples(), low=True)
    return Chosen(name, (shared.IMAGES / name).read_bytes()) if name else None


@functools.cache
def examples() -> tuple[dict[str, str], ...]:
    """Thumbnails of the pictures in ``images/``, as entries of a gallery."""
    files = sorted(shared.IMAGES.glob("*.jpg"), key=lambda path: (len(path.stem), path.stem))
    return tuple(
        {"id": path.name, "label": path.stem, "src": data_url(jpeg(load_image(path), 112, 75))} for path in files
    )


def gallery(
    key: str, label: str, entries: tuple[dict[str, str], ...], low: bool = False, idle: bool = False
) -> str | None:
    """Thumbnails with names, of which one can be pressed.

    Args:
        key: The key of the choice in the session's state.
        label: The gallery's name, for screen readers.
        entries: ``id``, ``label``, ``src`` (a URL, or "") and perhaps ``note`` of each.
        low: True for a low window that scrolls.
        idle: True if they can't be pressed.

    Returns:
        The ``id`` of the pressed one, or None.
    """
    kept = f"{key}_kept"
    st.session_state.setdefault(kept, None)
    mount = _component()

    def press() -> None:
        if key in st.session_state:  # otherwise the page was left meanwhile
            st.session_state[kept] = st.session_state[key].get("pressed")

    mount(
        key=key,
        data={"label": label, "entries": list(entries), "chosen": st.session_state[kept], "low": low, "idle": idle},
        on_pressed_change=press,
    )
    here = {entry["id"] for entry in entries}
    return st.session_state[kept] if st.session_state[kept] in here and not idle else None


@functools.cache
def _component():
    css, js = ((HERE / f"gallery.{ending}").read_text(encoding="utf-8") for ending in ("css", "js"))
    return st.components.v2.component("faces_gallery", css=css, js=js, html="<div class='gallery'></div>")


def person(key: str, label: str) -> str | None:
    """Ask for a known person; among many people, for a part of the name first."""
    database = shared.database()
    if len(database) <= LISTED:
        names = sorted(database, key=str.casefold)
    else:
        text = st.text_input(f"{label} (part of the name)", key=f"{key}_search", max_chars=200)
        names = database.find(text, limit=50) if text else []
        if not text:
            show.note(f"{len(database):,} people are known. Type part of the name.")
        elif not names:
            show.notice(f"No name contains “{text}”.")
    if st.session_state.get(key) not in (None, *names):
        st.session_state.pop(key)
    return st.selectbox(label, names, index=None, placeholder="Choose a name", key=key) if names else None
