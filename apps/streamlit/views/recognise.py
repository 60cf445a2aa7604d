"""Who is in these pictures?"""

import hashlib

import pandas as pd
import streamlit as st

from apps.streamlit import choose, shared, show
from apps.streamlit.cards import card
from apps.streamlit.decisions import spreadsheet_csv
from apps.streamlit.naming import offer, unnamed
from apps.streamlit.saying import said
from apps.streamlit.searching import DOUBTFUL, NEAREST, Searched, recognise, search
from facerec.errors import FaceError

MOST = 100  # pictures at once
PER_PAGE = 12

ALL, NOT_KNOWN, TO_CHECK, NO_FACE = "All", "Unknown", "Doubtful", "Without a face"


# ------------------------------------------------------------------------------------------------- the search
def searched(given: choose.Chosen) -> Searched:
    """The faces of one picture; if it can't be used, the result says why, and the others go on."""
    name = shared.one_line(given.name)
    with shared.watch() as took:
        try:
            photo = shared.opened(given.data, name)
            with shared.TURNS:
                found = search(photo, name, shared.model())
        except FaceError as error:
            return Searched(name, None, (), str(error))
    note(found, took())
    return found


def note(found: Searched, seconds: float) -> None:
    """Note a decision for each face of a picture."""
    table = recognise([found], shared.database(), shared.model(), shared.threshold_among())
    for row in table[table.problem == ""].itertuples():
        words, who = ("unknown", None) if row.who == "unknown" else ("known", row.who)
        shared.decided("recognise", who, row.distance, words, seconds / len(table), shared.threshold_among())


def results(pictures: list[choose.Chosen]) -> list[Searched]:
    """The faces of each picture, behind a progress bar; a picture is searched once, whatever changes later."""
    before, now = st.session_state.get("recognised", {}), {}
    digests = [(hashlib.sha256(each.data).digest(), each.name) for each in pictures]
    missing = sum(digest not in before for digest in digests)
    bar = st.progress(0.0, "Searching the pictures …") if missing > 1 else None
    for number, (digest, each) in enumerate(zip(digests, pictures, strict=True), 1):
        now[digest] = before[digest] if digest in before else searched(each)
        if bar:
            bar.progress(number / len(pictures), f"Picture {number} of {len(pictures)}")
    if bar:
        bar.empty()
    st.session_state["recognised"] = now
    return [now[digest] for digest in digests]


# --------------------------------------------------------------------------------------------------- the page
def tiles(found: list[Searched], table: pd.DataFrame) -> None:
    """How many pictures and faces there are."""
    without, faces = int((table.problem != "").sum()), table[table.problem == ""]
    unknown, doubtful = int((faces.who == "unknown").sum()), int((faces.status == DOUBTFUL).sum())
    show.tiles(
        [
            ("Pictures", str(len(found)), f"{without} unreadable or without a face" if without else "all usable"),
            ("Known faces", str(len(faces) - unknown), ""),
            ("Unknown faces", str(unknown), ""),
            ("Doubtful faces", str(doubtful), "please check" if doubtful else ""),
        ]
    )


def chosen(table: pd.DataFrame) -> pd.DataFrame:
    """The rows that the visitor wants to see."""
    rows = {
        ALL: table.index == table.index,
        NOT_KNOWN: table.who == "unknown",
        TO_CHECK: table.status == DOUBTFUL,
        NO_FACE: table.problem != "",
    }
    wanted = st.segmented_control("Show", list(rows), default=ALL, required=True, key="recognise_show")
    return table[rows[wanted]]


def as_table(table: pd.DataFrame) -> None:
    """The rows as a table, and as a file."""
    table = table.rename(columns={"others": f"nearest {NEAREST}"})
    formats = {"distance": "%.2f", "confidence": "percent"}
    columns = {name: st.column_config.NumberColumn(format=each) for name, each in formats.items()}
    st.dataframe(table, hide_index=True, column_config=columns)
    st.download_button(
        "Download as CSV",
        spreadsheet_csv(table),
        "faces.csv",
        "text/csv",
        icon=":material/download:",
        on_click="ignore",
    )


def grid(found: list[Searched], table: pd.DataFrame, listed: pd.DataFrame) -> None:
    """A page of the pictures that have listed faces."""
    numbers = list(dict.fromkeys(listed.index))
    pages = -(-len(numbers) // PER_PAGE)
    page = st.pagination(pages, key=f"recognise_page_{pages}") if pages > 1 else 1
    here = numbers[(page - 1) * PER_PAGE : page * PER_PAGE]
    show.figures(*(card(found[i], table.loc[[i]], listed.loc[[i]]) for i in here))


def pictures() -> list[choose.Chosen]:
    """Ask for pictures: files, the camera, or an example."""
    source = choose.source("recognise", "Pictures", ["Files", choose.CAMERA, choose.EXAMPLE])
    if source == "Files":
        turn = st.session_state.setdefault("recognise_turn", 0)
        files = choose.several("recognise", "Pictures", f"files{turn or ''}")
        if len(files) > MOST:
            show.notice(f"{len(files)} pictures are too many at once: only the first {MOST} are used.", "warn")
        return files[:MOST]
    given = choose.one("recognise", "Picture", source, "Files")
    return [given] if given else []


def clear() -> None:
    """Drop all pictures and what was found in them."""
    st.session_state["recognise_turn"] = st.session_state.get("recognise_turn", 0) + 1
    kept = ("recognised", "recognise_before", "recognise_now", "recognise_camera", "recognise_example")
    for key in [key for key in st.session_state if key.startswith(kept)]:
        del st.session_state[key]


show.title("Recognise", "Name every face in one picture or in many. A face that matches no one is marked as unknown.")
given = pictures()
if not len(shared.database()):
    show.notice(choose.NO_ONE, "warn")
elif given:
    found = results(given)
    table = recognise(found, shared.database(), shared.model(), shared.threshold_among())
    tiles(found, table)
    st.button("Clear all", on_click=clear, icon=":material/clear_all:", key="recognise_clear")
    listed = chosen(table)
    if len(listed):
        as_table(listed)
        grid(found, table, listed)
    else:
        show.notice("There are no faces of this kind.")
    said("recognise")
    offer("recognise", unnamed(found, table))
else:
    show.notice("Choose one or more pictures to see who is in them.")
