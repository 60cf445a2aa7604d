"""Who is known: look at them, find them; and for whoever has logged in, change them."""

import itertools
import tempfile
from pathlib import Path

import streamlit as st

import choose
import login
import shared
import show
from errors import FaceError, UnknownIdentity
from face_database import NotForgottenYet, check_name
from looking import Look, enrol, look, looks_like

PER_PAGE = 24
MOST = 20  # pictures of one person at once
FOUND = 2000  # names that a search goes through at most


# ---------------------------------------------------------------------------------------------- the gallery
def page_of(text: str) -> tuple[list[str], int]:
    """The names of the page that is looked at, and how many there are in all."""
    database = shared.database()
    if text:
        found = database.find(text, limit=FOUND)
        count = len(found)
    else:
        found, count = database, len(database)
    pages = max(1, -(-count // PER_PAGE))
    page = st.pagination(pages, key=f"people_page_{pages}") if pages > 1 else 1
    start = (page - 1) * PER_PAGE
    return list(itertools.islice(found, start, start + PER_PAGE)), count


def entry(name: str) -> dict[str, str] | None:
    """A person as an entry of the gallery; None if they are gone meanwhile."""
    try:
        small, count = shared.database().thumbnail(name), len(shared.database().encodings(name))
    except UnknownIdentity:
        return None
    note = f"{count} pictures" if count > 1 else ""
    return {
        "id": name,
        "label": name,
        "src": "" if small is None else show.address(show.jpeg(small, 112)),
        "note": note,
    }


def gallery() -> str | None:
    """Everybody, in pages; whoever is pressed."""
    text = st.text_input("Search", placeholder="A part of a name", key="people_search", max_chars=200)
    names, count = page_of(text.strip())
    if not names:
        show.notice(f"Nobody's name contains “{text}”." if text else "Nobody is known yet.")
        return None
    people = "person" if count == 1 else "people"
    show.note(f"{count:,}{' or more' if text and count == FOUND else ''} {people}{' found' if text else ''}")
    return choose.gallery("people_gallery", "people", tuple(filter(None, map(entry, names))))


# ---------------------------------------------------------------------------------------------- one person
def say(text: str, kind: str = "good") -> None:
    """Keep a sentence until the page is drawn again, and draw it."""
    st.session_state["people_said"] = (text, kind)
    st.rerun()


def one_person(name: str) -> None:
    """What can be done about somebody."""
    with st.container(border=True):
        show.heading(name)
        rename_tab, remove_tab, forget_tab = st.tabs(["Rename", "Remove", "Forget"])
        with rename_tab, st.form("rename", border=False):
            new = st.text_input("New name", key="people_new_name", max_chars=200)
            if st.form_submit_button("Rename", icon=":material/edit:"):
                rename(name, new)
        with remove_tab:
            show.note(
                "Whoever is removed is not known any more. Traces may stay in the file until others overwrite them."
            )
            if st.button("Remove", icon=":material/person_remove:", key="people_remove"):
                remove(name)
        with forget_tab:
            show.note(
                "Name, encodings and photos are erased, so that nothing of this person is left in the files of this "
                "database or among the decisions. It can't be undone. Backups and earlier exports are out of reach."
            )
            sure = st.checkbox("I mean it: leave no trace of this person", key=f"people_sure_{name}")
            if st.button("Forget", icon=":material/delete_forever:", disabled=not sure, key="people_forget"):
                forget(name, sure)


def rename(name: str, new: str) -> None:
    """Give somebody another name."""
    with show.friendly():
        login.changing().rename(name, new)
        shared.decisions().forget(name)
        login.changed()
        say(f"{name} is called {check_name(new)} now.")


def remove(name: str) -> None:
    """Know somebody no more."""
    with show.friendly():
        login.changing().remove(name)
        login.changed()
        say(f"{name} is removed.")


def forget(name: str, sure: bool) -> None:
    """Leave no trace of somebody; the decisions that name them go first."""
    if not sure:
        return
    with show.friendly():
        database = login.changing()
        shared.decisions().forget(name)
        for key in ("verify_answer", "recognised", "recognised_for", "people_gallery_kept"):
            st.session_state.pop(key, None)
        login.changed()
        try:
            database.forget(name)
        except NotForgottenYet as error:
            say(str(error), "warn")
        finally:
            shared.decisions().forget(name)  # also what was asked meanwhile
        say("That person is forgotten: no trace is left in the database or among the decisions.")


# ------------------------------------------------------------------------------------------------------ add
def examined(pictures: list[choose.Chosen]) -> tuple[list[tuple[str, Look]], list[str]]:
    """What is seen in each picture, and what is wrong with the others."""
    seen, problems = [], []
    for each in pictures[:MOST]:
        name = shared.one_line(each.name)
        try:
            photo = shared.opened(each.data, name)
            with shared.turn():
                seen.append((name, look(photo, shared.model(), name)))
        except FaceError as error:
            problems.append(str(error))
    if len(pictures) > MOST:
        problems.append(f"{len(pictures)} pictures are many: the first {MOST} are taken")
    return seen, problems


def tell(name: str, seen: list[tuple[str, Look]], problems: list[str]) -> None:
    """What there is to say about pictures before somebody is known by them."""
    for problem in problems:
        show.notice(problem, "bad")
    for file, each in seen:
        other = looks_like(each, shared.database(), shared.threshold(), but=name)
        if other:
            text = f"{file}: this looks like {other[0]}, who is known already (distance {other[1]:.2f})."
            show.notice(text, "warn")
        for hint in each.hints:
            show.notice(f"{file}: {hint}", "warn")
        if not other and not each.hints:
            show.notice(f"{file}: a good picture.", "good")
    show.figures(
        *(
            show.figure(show.jpeg(show.boxed(e.photo, e.detection["box"]), 320), f, f"{f}, with a box", "crop")
            for f, e in seen
        )
    )


def add() -> None:
    """Make somebody known, or known better."""
    name = st.text_input("Name", key="people_name", max_chars=200, placeholder="A new name, or one that is known")
    source = st.segmented_control(
        "Pictures", ["Files", choose.CAMERA], default="Files", required=True, key="people_source"
    )
    turn = st.session_state.setdefault("people_turn", 0)
    if source == "Files":
        files = st.file_uploader(
            "Pictures of one person",
            shared.ENDINGS,
            accept_multiple_files=True,
            key=f"people_files_{turn}",
            label_visibility="collapsed",
        )
        pictures = [choose.Chosen(file.name, file.getvalue()) for file in files]
    else:
        given = choose.one(f"people_{turn}", "Picture", choose.CAMERA)
        pictures = [given] if given else []
    if not pictures:
        return
    seen, problems = examined(pictures)
    tell(name, seen, problems)
    known = bool(name.strip()) and name in shared.database()
    label = "Add to who is known already" if known else "Add"
    if known:
        show.notice(f"{name.strip()} is known already: the pictures are added to those that are there.")
    if seen and st.button(label, type="primary", icon=":material/person_add:", key="people_add"):
        with show.friendly():
            keep(name, [each for _, each in seen])


def keep(name: str, looks: list[Look]) -> None:
    """Write them down; what is said to be added is on the disk."""
    called, safe = check_name(name), 0
    bar = st.progress(0.0, "Adding …")
    for safe in enrol(called, looks, login.changing()):
        bar.progress(safe / len(looks), f"Picture {safe} of {len(looks)} is safe")
    login.changed()
    st.session_state["people_turn"] += 1
    say(f"{called} is added, with {safe} picture{'s' if safe > 1 else ''}.")


# --------------------------------------------------------------------------------------------- there and back
def export() -> None:
    """Everybody in one file, for whoever has logged in."""
    show.note("Everybody, with encodings and photos, in a ZIP file of open formats.")
    if st.button("Make the file", icon=":material/archive:", key="people_export"):
        with show.friendly(), tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "people.zip"
            login.changing().export_to(path)
            st.session_state["people_archive"] = (shared.changes().count, path.read_bytes())
    count, data = st.session_state.get("people_archive", (-1, b""))
    if count == shared.changes().count:  # whoever was forgotten since, here or in another browser, is not given out
        st.download_button(
            f"Download people.zip ({len(data) / 1e6:.1f} MB)",
            data,
            "people.zip",
            "application/zip",
            icon=":material/download:",
            on_click=lambda: st.session_state.pop("people_archive", None),
        )


CONFLICTS = {
    "skip": "keep those who are known here",
    "replace": "take those in the file",
    "refuse": "take nobody",
}


def take_in() -> None:
    """People from a file, for whoever has logged in."""
    turn = st.session_state.setdefault("people_import_turn", 0)
    file = st.file_uploader("A file from “Export”", ["zip"], key=f"people_zip_{turn}", max_upload_size=200)
    conflict = st.selectbox(
        "If a name is known here already", list(CONFLICTS), format_func=CONFLICTS.get, key="people_conflict"
    )
    if file and st.button("Import", icon=":material/upload:", key="people_import"):
        with show.friendly(), tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "people.zip"
            path.write_bytes(file.getvalue())
            try:
                count = login.changing().import_from(path, on_conflict=conflict)
            except FaceError as error:  # nobody has to know what the file is called here
                raise type(error)(str(error).replace(str(path), shared.one_line(file.name))) from error
            login.changed()
            st.session_state["people_import_turn"] += 1
            say("1 person was taken in." if count == 1 else f"{count:,} people were taken in.")


show.title("People", "Who is known here. What is changed stays, until somebody changes it again.")
with st.container():  # there whether anything is said or not: what follows keeps its place, and its open tab
    if sentence := st.session_state.pop("people_said", None):
        show.notice(*sentence)
with st.container():
    chosen = gallery()
if login.who() is None:
    show.notice(
        "To add, rename, remove, forget, export or import people, log in first."
        if len(login.accounts())
        else login.NO_ACCOUNT
    )
else:
    with st.container():
        if chosen:
            one_person(chosen)
        else:
            show.note("Press a picture to rename, remove or forget somebody.")
    adding, exporting, importing = st.tabs(["Add", "Export", "Import"], key="people_tabs")
    with adding:
        add()
    with exporting:
        export()
    with importing:
        take_in()
