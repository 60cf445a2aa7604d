"""Naming faces on the spot: they become a new person, or more pictures of a known one."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import pandas as pd
import streamlit as st

from apps.pictures import jpeg
from apps.streamlit import choose, login, shared, show
from apps.streamlit.saying import say
from apps.streamlit.searching import DOUBTFUL, Face, Searched, strangers
from facerec.database import check_name
from facerec.errors import BadArgument
from facerec.photos import data_url, load_image

NEW, KNOWN = "Someone new", "Someone known"

MOST = 60  # people who are offered to be named


def unnamed(found: Sequence[Searched], table: pd.DataFrame) -> dict[str, tuple[list[Face], str | None]]:
    """The faces that may need a name: by an id the faces of one person, and who it may be.

    Args:
        found: Pictures that were searched.
        table: Of ``recognise``, for the same pictures.
    """
    groups = [(faces, None) for faces in strangers(found, table, shared.model())]
    doubtful = table[(table.status == DOUBTFUL) & (table.who != "unknown")]
    rows = zip(doubtful.index, doubtful.face, doubtful.who, strict=True)
    groups += [([found[number].faces[face - 1]], who) for number, face, who in rows]
    return {hashlib.sha256(faces[0].encoding.tobytes()).hexdigest()[:16]: (faces, who) for faces, who in groups}


def offer(key: str, groups: dict[str, tuple[list[Face], str | None]]) -> None:
    """Show unnamed people; each can be pressed and named.

    Args:
        key: The beginning of the keys in the session's state.
        groups: Of ``unnamed``.
    """
    if not groups:
        return
    show.heading("Who is this?")
    idle = login.who() is None
    show.note(
        "To name faces, log in on the People page."
        if idle
        else "Press a face to name it. Faces that look like one person are grouped."
    )
    entries = []
    for number, (each, (faces, who)) in enumerate(list(groups.items())[:MOST], 1):
        note = f"{len(faces)} pictures" if len(faces) > 1 else ""
        src = data_url(jpeg(load_image(faces[0].picture), 112))
        entries.append({"id": each, "label": f"{who}?" if who else f"Unknown {number}", "src": src, "note": note})
    pressed = choose.gallery(f"{key}_unnamed", "Faces without a name", tuple(entries), idle=idle)
    if pressed:
        form(key, *groups[pressed])


def form(key: str, faces: Sequence[Face], likely: str | None = None) -> None:
    """Ask who some faces show, and add them to the database.

    Args:
        key: The beginning of the keys in the session's state.
        faces: The faces, of one person as far as is known.
        likely: Who it may be.
    """
    with st.container(border=True, key=f"{key}_naming"):
        figures = [show.figure(face.picture, f"Picture {n}", f"Face {n}", "crop") for n, face in enumerate(faces, 1)]
        show.figures(*figures)
        numbers = list(range(1, len(faces) + 1))
        if len(faces) > 1:
            numbers = st.pills(
                "Pictures of this person",
                numbers,
                selection_mode="multi",
                default=numbers,
                key=f"{key}_which_{len(faces)}",
            )
        for hint in dict.fromkeys(hint for number in numbers for hint in faces[number - 1].hints):
            show.notice(hint, "warn")
        kind = st.segmented_control(
            "Who is it?", [NEW, KNOWN], default=KNOWN if likely else NEW, required=True, key=f"{key}_kind"
        )
        if kind == NEW:
            name = st.text_input("Add as", key=f"{key}_name", max_chars=200, placeholder="A new name")
        else:
            if likely and likely in shared.database():
                st.session_state.setdefault(f"{key}_person", likely)
            name = choose.person(f"{key}_person", "It is") or ""
        if st.button("Add", type="primary", icon=":material/person_add:", disabled=not numbers, key=f"{key}_add"):
            with show.friendly():
                keep(key, name, [faces[number - 1] for number in numbers], kind == NEW)


def keep(key: str, name: str, faces: Sequence[Face], is_new: bool) -> None:
    """Add the faces to the database under a name.

    Raises:
        BadArgument: If the name is missing or no name, or someone new is to get the name of someone known.
        NotLoggedIn: If the visitor has not logged in.
    """
    database = login.changing()
    if not name.strip():
        raise BadArgument("Enter a name first." if is_new else "Choose a name first.")
    called = check_name(name)
    if is_new and called in database:
        raise BadArgument(f"“{called}” is already known. If it is the same person, choose “{KNOWN}”.")
    for face in faces:
        database.add(called, face.encoding, face.picture)
    login.changed()
    for each in ("unnamed_kept", "name", "person", "kind"):
        st.session_state.pop(f"{key}_{each}", None)
    more, plural = "" if is_new else "more ", "" if len(faces) == 1 else "s"
    pictures = f"{len(faces)} {more}picture{plural}"
    done = f"{called} has been added, with {pictures}." if is_new else f"{called} now has {pictures}."
    say(done, key, "The face has been named.")
