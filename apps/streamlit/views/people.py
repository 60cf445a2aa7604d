"""Who is known: look at them, find them; and for whoever has logged in, change them."""

import hashlib
import itertools
import json
import tempfile
import zipfile
from pathlib import Path

import numpy as np
import streamlit as st

from apps.streamlit import choose, login, shared, show
from apps.streamlit.looking import Look, enrol, far_apart, look, looks_like
from facerec.database import NotForgottenYet, check_name
from facerec.errors import BadArgument, FaceError, UnknownIdentity

PER_PAGE = 24
MOST = 20  # pictures of one person at once
PAIRS = 3  # of pictures that look like two people are named, the farthest apart first
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
    if idle := login.who() is None:
        show.note("They are here to be looked at: log in to change anything.")
    return choose.gallery("people_gallery", "people", tuple(filter(None, map(entry, names))), idle=idle)


# ---------------------------------------------------------------------------------------------- one person
def say(text: str, where: str, short: str, kind: str = "good", clear: bool = True) -> None:
    """Keep a sentence until the page is drawn again, and draw it.

    Args:
        text: What there is to say; it may hold names.
        where: The part of the page that it belongs to.
        short: The same without a name, for the corner of the window, where markdown is read.
        kind: As ``show.notice`` has it.
        clear: True empties the forms.
    """
    st.session_state["people_said"] = (text, where, short, kind)
    st.session_state["people_clear"] = clear
    st.rerun()


def said(where: str) -> None:
    """Say here what belongs here, if there is anything."""
    with st.container():  # there whether anything is said or not: what follows keeps its place, and its open tab
        text, place, short, kind = st.session_state.get("people_said", ("", "", "", ""))
        if place == where:
            del st.session_state["people_said"]
            show.notice(text, kind)
            st.toast(short)


def clear_forms() -> None:
    """Empty names and pictures after they have done their work: who was forgotten must not stay in a form."""
    if st.session_state.pop("people_clear", False):
        for key in ("people_name", "people_new_name", "people_search"):
            st.session_state[key] = ""
        st.session_state["people_turn"] = st.session_state.get("people_turn", 0) + 1


def one_person(name: str) -> None:
    """What can be done about somebody."""
    with st.container(border=True):
        show.heading(name)
        show.note(
            "To remove is to know somebody no more, though traces may stay in the file for a while; to forget is to "
            "erase those as well, and what was decided about them."
        )
        rename_tab, remove_tab, forget_tab = st.tabs(["Rename", "Remove", "Forget"])
        with rename_tab, st.form("rename", border=False):
            new = st.text_input("New name", key="people_new_name", max_chars=200)
            if st.form_submit_button("Rename", icon=":material/edit:"):
                rename(name, new)
        with remove_tab:
            show.note(
                "Whoever is removed is not known any more. Traces may stay in the file until others overwrite them."
            )
            sure = st.checkbox("I mean it: know this person no more", key=f"people_sure_remove_{name}")
            if st.button("Remove", icon=":material/person_remove:", disabled=not sure, key="people_remove"):
                remove(name, sure)
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
        database, called = login.changing(), given_name(new)
        if called != name and called in database:
            raise BadArgument(f"“{called}” is taken: choose another name.")
        database.rename(name, called)
        shared.decisions().forget(name)
        login.changed()
        st.session_state["people_gallery_kept"] = called
        say(f"{name} is called {called} now.", "person", "The name is changed.")


def given_name(text: str) -> str:
    """A name as it is kept."""
    if not text.strip():
        raise BadArgument("Give a name first.")
    return check_name(text)


def remove(name: str, sure: bool) -> None:
    """Know somebody no more."""
    if not sure:
        return
    with show.friendly():
        login.changing().remove(name)
        login.changed()
        say(f"{name} is removed.", "person", "The person is removed.")


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
            say(str(error), "person", "Not everything is erased yet.", "warn")
        finally:
            shared.decisions().forget(name)  # also what was asked meanwhile
        say(
            "That person is forgotten: no trace is left in the database or among the decisions.",
            "person",
            "The person is forgotten.",
        )


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


def doubts(name: str, seen: list[tuple[str, Look]]) -> list[str]:
    """What speaks against it that these are pictures of one person, and of nobody else who is known."""
    database, threshold, said = shared.database(), shared.threshold(), []
    for file, each in seen:
        if other := looks_like(each, database, threshold, but=name):
            said.append(f"{file}: this looks like {other[0]}, who is known already (distance {other[1]:.2f}).")
    pairs = [
        (distance, f"{seen[i][0]} and {seen[j][0]} look like two people (distance {distance:.2f}).")
        for i, j, distance in far_apart([look.encoding for _, look in seen], threshold)
    ]
    if name.strip() and name in database:
        known = database.encodings(name)
        for file, each in seen:
            distance = float(np.linalg.norm(known - each.encoding, axis=1).min())
            if not distance < threshold:
                text = f"{file} and {name.strip()}, as known here, look like two people (distance {distance:.2f})."
                pairs.append((distance, text))
    pairs.sort(reverse=True)
    more = [f"There are {len(pairs) - PAIRS} more such pairs."] if len(pairs) > PAIRS else []
    return [*said, *(text for _, text in pairs[:PAIRS]), *more]


def tell(seen: list[tuple[str, Look]], problems: list[str], doubtful: list[str]) -> None:
    """What there is to say about pictures before somebody is known by them."""
    for problem in problems:
        show.notice(problem, "bad")
    for doubt in doubtful:
        show.notice(doubt, "warn")
    for file, each in seen:
        for hint in each.hints:
            show.notice(f"{file}: {hint}", "warn")
        if not doubtful and not each.hints:
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
        given = choose.one(f"people_{turn}", "Picture", choose.CAMERA, "Files")
        pictures = [given] if given else []
    if not pictures:
        return
    seen, problems = examined(pictures)
    doubtful = doubts(name, seen)
    tell(seen, problems, doubtful)
    known = bool(name.strip()) and name in shared.database()
    label = "Add to who is known already" if known else "Add"
    if known:
        show.notice(f"{name.strip()} is known already: the pictures are added to those that are there.")
    sure = not doubtful or looked(known, doubtful)
    if seen and st.button(label, type="primary", icon=":material/person_add:", key="people_add", disabled=not sure):
        with show.friendly():
            keep(name, [each for _, each in seen], sure)


def looked(known: bool, doubtful: list[str]) -> bool:
    """Ask whether somebody has looked; for other doubts it is asked anew."""
    label = "I have looked: they are all this one person" if known else "I have looked: they are one person, and new"
    return st.checkbox(label, key=f"people_looked_{hashlib.sha256(repr(doubtful).encode()).hexdigest()[:16]}")


def keep(name: str, looks: list[Look], sure: bool = True) -> None:
    """Write them down; what is said to be added is on the disk."""
    if not sure:
        raise BadArgument("Look at the pictures first, and tick that they are one person.")
    called, safe = given_name(name), 0
    bar = st.progress(0.0, "Adding …")
    for safe in enrol(called, looks, login.changing()):
        bar.progress(safe / len(looks), f"Picture {safe} of {len(looks)} is safe")
    login.changed()
    say(f"{called} is added, with {safe} picture{'s' if safe > 1 else ''}.", "add", "The pictures are added.")


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
            check_export(path, shared.one_line(file.name))
            try:
                count = login.changing().import_from(path, on_conflict=conflict)
            except FaceError as error:  # nobody has to know what the file is called here
                raise type(error)(str(error).replace(str(path), shared.one_line(file.name))) from error
            login.changed()
            st.session_state["people_import_turn"] += 1
            say(counted(count, people_in(path), conflict), "import", "The file is read.", clear=False)


def check_export(path: Path, called: str) -> None:
    """Refuse what is plainly something else than an export.

    Raises:
        BadArgument: If it is.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            problem = "" if "manifest.json" in archive.namelist() else "has no manifest.json, the list of people, in it"
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        problem = "is no ZIP file, or a damaged one"
    if problem:
        raise BadArgument(f"This file was not made by Export: {called} {problem}.")


def people_in(path: Path) -> int:
    """How many people there are in an export that has just been read, and so checked."""
    with zipfile.ZipFile(path) as archive:
        return len(json.loads(archive.read("manifest.json"))["people"])


def counted(count: int, of: int, conflict: str) -> str:
    """What came of an import, in a sentence."""
    taken = f"{'1 person' if count == 1 else f'{count:,} people' if count else 'Nobody was'} taken in"
    known = of - count
    if conflict == "replace":
        return f"{taken}; whoever was known already is now as in the file."
    if not known:
        return f"{taken}."
    return f"{taken}, {known:,} {'was' if known == 1 else 'were'} known already and stayed as they were."


show.title("People", "Who is known here. What is changed stays, until somebody changes it again.")
clear_forms()
with st.container():
    chosen = gallery()
if login.who() is None:
    show.notice(
        f"To add, rename, remove, forget, export or import people, log in first, {login.WHERE}."
        if len(login.accounts())
        else login.NO_ACCOUNT
    )
else:
    said("person")
    with st.container():
        if chosen:
            one_person(chosen)
        else:
            show.note("Press a picture to rename, remove or forget somebody.")
    adding, exporting, importing = st.tabs(["Add", "Export", "Import"], key="people_tabs")
    with adding:
        said("add")
        add()
    with exporting:
        export()
    with importing:
        said("import")
        take_in()
