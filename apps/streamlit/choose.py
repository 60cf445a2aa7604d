"""Choosing a picture (a file, the camera or an example) or a person, however many there are."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path
from weakref import WeakValueDictionary

import streamlit as st

from apps.pictures import jpeg
from apps.streamlit import shared, show
from facerec.photos import data_url, load_image

HERE = Path(__file__).resolve().parent

UPLOAD, CAMERA, EXAMPLE = "A file", "The camera", "An example"

#: Up to so many people are offered in one list; among more, the visitor searches for the name first.
LISTED = 300

#: Bytes of pictures that are kept for all visitors while they have other pages open; more are not kept.
KEPT = 300_000_000

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


#: The pictures that are kept, by their ids; they leave by themselves when their session ends.
_all_kept: WeakValueDictionary[int, Chosen] = WeakValueDictionary()


def picture(key: str, label: str) -> Chosen | None:
    """Ask for one picture; None until one is chosen."""
    return one(key, label, source(key, label, [UPLOAD, CAMERA, EXAMPLE], width="stretch"))


def source(key: str, label: str, offered: list[str], width: str = "content") -> str:
    """Ask where pictures come from, at first from the first; the answer is kept while other pages are open."""
    return st.segmented_control(
        label,
        offered,
        default=offered[0],
        required=True,
        key=f"{key}_source",
        width=width,
        persist_state="session",
    )


def one(key: str, label: str, source: str, files: str = UPLOAD) -> Chosen | None:
    """Ask for one picture from a source; ``files`` is the button to press without a camera."""
    if source == EXAMPLE:
        return _example(key)
    if source == CAMERA:
        own = f"{key}_camera"
        taken = st.camera_input(
            f"{label}: take a picture", key=own, label_visibility="collapsed", on_change=_touch, args=(own,)
        )
        given = _kept(own, [Chosen("the picture from the camera", taken.getvalue())] if taken else [], most=1)
        if not given:
            show.note(f"No camera, or is it blocked? Choose “{files}” above.")
        return given[0] if given else None
    given = several(key, label, "file", most=1)
    return given[0] if given else None


def several(key: str, label: str, name: str = "files", most: int | None = None) -> list[Chosen]:
    """Ask for files. Those that were given before another page was opened are still there.

    Args:
        key: The key of the choice in the session's state.
        label: What the files are.
        name: The end of the uploader's key.
        most: 1 if a file takes the place of the one before, or None.
    """
    given = st.file_uploader(
        f"{label}: drop {'a file' if most == 1 else 'one or more'} here",
        accept_multiple_files=most != 1,
        key=f"{key}_{name}",
        label_visibility="collapsed",
        on_change=_touch,
        args=(key,),
    )
    files = [] if given is None else given if isinstance(given, list) else [given]
    return _kept(key, [Chosen(file.name, file.getvalue()) for file in files], most)


def _touch(key: str) -> None:
    """Note that the visitor has changed the files: an uploader is empty, too, when its page is opened again."""
    st.session_state[f"{key}_touched"] = True


def _kept(key: str, now: list[Chosen], most: int | None) -> list[Chosen]:
    """The files in the uploader, and those that it has forgotten because another page was open meanwhile."""
    state, touched = st.session_state, st.session_state.pop(f"{key}_touched", False)
    before, last = state.get(f"{key}_before", []), state.get(f"{key}_now", [])
    if last and not now and not touched:
        before = [*before, *last]
    if now and most == 1:
        before = []
    state[f"{key}_before"], state[f"{key}_now"] = before, []
    del last  # and with it, unless they are in ``before``, the objects that count as kept
    state[f"{key}_now"] = now if _room_for(now) else []
    if before:
        with st.container(horizontal=True, vertical_alignment="center", key=f"{key}_still"):
            names = shared.one_line(before[0].name) if len(before) == 1 else f"{len(before)} pictures"
            show.note(f"Still here: {names}")
            st.button("Remove", icon=":material/close:", key=f"{key}_drop", on_click=_drop, args=(key,))
    return [*before, *now]


def _room_for(pictures: list[Chosen]) -> bool:
    """Whether more pictures can be kept; if so, they count from now on."""
    held = sum(len(each.data) for each in list(_all_kept.values())) + sum(len(each.data) for each in pictures)
    if held > KEPT:
        return False
    _all_kept.update({id(each): each for each in pictures})
    return True


def _drop(key: str) -> None:
    st.session_state[f"{key}_before"] = []


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
    key: str,
    label: str,
    entries: tuple[dict[str, str], ...],
    low: bool = False,
    idle: bool = False,
    first: str | None = None,
) -> str | None:
    """Thumbnails with names, of which one can be pressed.

    Args:
        key: The key of the choice in the session's state.
        label: The gallery's name, for screen readers.
        entries: ``id``, ``label``, ``src`` (a URL, or "") and perhaps ``note`` of each.
        low: True for a low window that scrolls.
        idle: True if they can't be pressed.
        first: The ``id`` of the one that counts as pressed until another is.

    Returns:
        The ``id`` of the pressed one, or ``first``.
    """
    kept, here = f"{key}_kept", {entry["id"] for entry in entries}
    if st.session_state.get(kept) not in here:
        st.session_state[kept] = first
    mount = _component()

    def press() -> None:
        if key in st.session_state:  # otherwise the page was left meanwhile
            st.session_state[kept] = st.session_state[key].get("pressed")

    mount(
        key=key,
        data={"label": label, "entries": list(entries), "chosen": st.session_state[kept], "low": low, "idle": idle},
        on_pressed_change=press,
    )
    return None if idle else st.session_state[kept]


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
    if (gone := st.session_state.get(key)) not in (None, *names):
        st.session_state.pop(key)
        if gone not in database:
            show.notice(shared.gone(gone), "warn")
    if not names:
        return None
    return st.selectbox(label, names, index=None, placeholder="Choose a name", key=key, persist_state="session")
