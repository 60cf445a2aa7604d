"""The people in the database: see them, find them and, after a login, change them."""

import hashlib
import itertools
import json
import tempfile
import zipfile
from pathlib import Path

import streamlit as st

from apps.pictures import boxed, data_url, jpeg
from apps.streamlit import choose, gate, login, shared, show
from apps.streamlit.looking import Look, distance_to, enrol, far_apart, look, looks_like
from facerec.database import DamagedDatabase, NotForgottenYet, check_name, known_like, told_apart
from facerec.errors import BadArgument, FaceError, UnknownIdentity

PER_PAGE = 24
MOST = 20  # pictures of one person at once
PAIRS = 3  # pairs of pictures that look like two people are named, the farthest apart first
FOUND = 2000  # names that a search finds at most


# ---------------------------------------------------------------------------------------------- the gallery
def page_of(text: str) -> tuple[list[str], int]:
    """The names on the current page of the gallery, and how many there are in all."""
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
    """A person as an entry of the gallery; None if they were removed meanwhile, or are damaged."""
    try:
        small, count = shared.database().thumbnail(name), len(shared.database().encodings(name))
    except (UnknownIdentity, DamagedDatabase):
        return None
    note = f"{count} pictures" if count > 1 else ""
    return {
        "id": name,
        "label": name,
        "src": "" if small is None else data_url(jpeg(small, 112)),
        "note": note,
    }


def gallery() -> str | None:
    """Show everyone, in pages; the name that is pressed, or None."""
    text = st.text_input("Search", placeholder="Part of a name", key="people_search", max_chars=200)
    names, count = page_of(text.strip())
    if not names:
        show.notice(f"No name contains “{text}”." if text else "No one is known yet.")
        return None
    people = "person" if count == 1 else "people"
    show.note(f"{count:,}{' or more' if text and count == FOUND else ''} {people}{' found' if text else ''}")
    if idle := login.who() is None:
        show.note("Log in to change anything.")
    return choose.gallery("people_gallery", "People", tuple(filter(None, map(entry, names))), idle=idle)


# ---------------------------------------------------------------------------------------------- one person
def say(text: str, where: str, short: str, kind: str = "good", clear: bool = True) -> None:
    """Draw the page again, with a sentence on it.

    Args:
        text: The sentence; it may contain names.
        where: The part of the page for it.
        short: The same without names, for a toast, which reads markdown.
        kind: A kind of ``show.notice``.
        clear: True empties the forms.
    """
    st.session_state["people_said"] = (text, where, short, kind)
    st.session_state["people_clear"] = clear
    st.rerun()


def said(where: str) -> None:
    """Show the sentence for this part of the page, if there is one."""
    with st.container():  # always there, so that what follows keeps its place, and its open tab
        text, place, short, kind = st.session_state.get("people_said", ("", "", "", ""))
        if place == where:
            del st.session_state["people_said"]
            show.notice(text, kind)
            st.toast(short)


def clear_forms() -> None:
    """Empty the forms after a change: the name of a forgotten person must not stay in one."""
    if st.session_state.pop("people_clear", False):
        for key in ("people_name", "people_new_name", "people_search"):
            st.session_state[key] = ""
        st.session_state["people_turn"] = st.session_state.get("people_turn", 0) + 1


def one_person(name: str) -> None:
    """The ways to change a person."""
    with st.container(border=True):
        show.heading(name)
        rename_tab, remove_tab, forget_tab = st.tabs(["Rename", "Remove", "Forget"])
        with rename_tab, st.form("rename", border=False):
            new = st.text_input("New name", key="people_new_name", max_chars=200)
            if st.form_submit_button("Rename", icon=":material/edit:"):
                rename(name, new)
        with remove_tab:
            show.note(
                "A removed person is no longer recognised. Traces may stay in the database’s files until they are "
                "overwritten; to erase those too, choose Forget."
            )
            sure = st.checkbox("Yes, remove this person", key=f"people_sure_remove_{name}")
            if st.button("Remove", icon=":material/person_remove:", disabled=not sure, key="people_remove"):
                remove(name, sure)
        with forget_tab:
            show.note(
                "Forgetting erases the name, the encodings and the photos from the database’s files, and all decisions "
                "about this person. It can’t be undone. It does not reach backups and earlier exports."
            )
            sure = st.checkbox("Yes, erase every trace of this person", key=f"people_sure_{name}")
            if st.button("Forget", icon=":material/delete_forever:", disabled=not sure, key="people_forget"):
                forget(name, sure)


def rename(name: str, new: str) -> None:
    """Change a person's name."""
    with show.friendly():
        database, called = login.changing(), given_name(new)
        if called != name and called in database:
            raise BadArgument(f"“{called}” is taken. Choose another name.")
        database.rename(name, called)
        shared.decisions().forget(name)
        login.changed()
        st.session_state["people_gallery_kept"] = called
        alike = "".join(f" {doubt}" for doubt in name_doubts(called))
        say(f"{name} is now called {called}.{alike}", "person", "The name has changed.", "warn" if alike else "good")


def given_name(text: str) -> str:
    """A name, checked, as the database keeps it."""
    if not text.strip():
        raise BadArgument("Enter a name first.")
    return check_name(text)


def name_doubts(name: str) -> list[str]:
    """A sentence for each other person whose name is easily taken for this one."""
    pairs = (told_apart([name, other]) for other in known_like(name, shared.database()))
    return [f"The name {ours} is easily taken for {other}, who is known, too." for ours, other in pairs]


def remove(name: str, sure: bool) -> None:
    """Take a person out of the database."""
    if not sure:
        return
    with show.friendly():
        login.changing().remove(name)
        login.changed()
        say(f"{name} has been removed.", "person", "The person has been removed.")


def forget(name: str, sure: bool) -> None:
    """Erase every trace of a person, beginning with the decisions about them."""
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
            say(str(error), "person", "Not everything has been erased yet.", "warn")
        finally:
            shared.decisions().forget(name)  # also those made meanwhile
        text = "The person has been forgotten: no trace is left in the database or the decisions."
        say(text, "person", "The person has been forgotten.")


# ------------------------------------------------------------------------------------------------------ add
def examined(pictures: list[choose.Chosen]) -> tuple[list[tuple[str, Look]], list[str]]:
    """The faces of the usable pictures, and what is wrong with the others."""
    seen, problems = [], []
    for each in pictures[:MOST]:
        name = shared.one_line(each.name)
        try:
            photo = shared.opened(each.data, name)
            with shared.TURNS:
                seen.append((name, look(photo, shared.model(), name)))
        except FaceError as error:
            problems.append(str(error))
    if len(pictures) > MOST:
        problems.append(f"{len(pictures)} pictures are too many at once: only the first {MOST} are used")
    return seen, problems


def doubts(name: str, seen: list[tuple[str, Look]]) -> list[str]:
    """The reasons to doubt that these pictures show one person, and no one else who is known."""
    database, model, threshold = shared.database(), shared.model(), shared.threshold()
    said = name_doubts(name.strip()) if name.strip() and name not in database else []
    for file, each in seen:
        if other := looks_like(each, database, model, threshold, but=name):
            said.append(f"{file}: this looks like {other[0]}, who is already known (distance {other[1]:.2f}).")
    pairs = [
        (distance, f"{seen[i][0]} and {seen[j][0]}")
        for i, j, distance in far_apart([each.encoding for _, each in seen], threshold)
    ]
    if name.strip() and name in database:
        for file, each in seen:
            if not (distance := distance_to(name, each, database, model)) < threshold:
                pairs.append((distance, f"{file} and the known {name.strip()}"))
    pairs.sort(reverse=True)
    more = [f"There are {len(pairs) - PAIRS} more such pairs."] if len(pairs) > PAIRS else []
    two = (f"{both} look like two people (distance {distance:.2f})." for distance, both in pairs[:PAIRS])
    return [*said, *two, *more]


def tell(seen: list[tuple[str, Look]], problems: list[str], doubtful: list[str]) -> None:
    """Show the pictures, with problems, doubts and hints, before they are added."""
    for problem in problems:
        show.notice(problem, "bad")
    for doubt in doubtful:
        show.notice(doubt, "warn")
    for file, each in seen:
        for hint in each.hints:
            show.notice(f"{file}: {hint}", "warn")
        if not doubtful and not each.hints:
            show.notice(f"{file}: a good picture.", "good")
    boxes = [(file, jpeg(boxed(each.photo, each.detection["box"]), 320)) for file, each in seen]
    show.figures(*(show.figure(data, file, f"{file}, with a box around the face", "crop") for file, data in boxes))


def add() -> None:
    """Add a person, or more pictures of a known one."""
    name = st.text_input("Name", key="people_name", max_chars=200, placeholder="A new or a known name")
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
    label = "Add to the known person" if known else "Add"
    if known:
        show.notice(f"{name.strip()} is already known. These pictures will be added to the others.")
    sure = not doubtful or looked(known, doubtful)
    if seen and st.button(label, type="primary", icon=":material/person_add:", key="people_add", disabled=not sure):
        with show.friendly():
            keep(name, [each for _, each in seen], sure)


def looked(known: bool, doubtful: list[str]) -> bool:
    """Ask for a confirmation; other doubts ask again."""
    label = "I have checked: they all show this person" if known else "I have checked: they show one person, who is new"
    return st.checkbox(label, key=f"people_looked_{hashlib.sha256(repr(doubtful).encode()).hexdigest()[:16]}")


def keep(name: str, looks: list[Look], sure: bool = True) -> None:
    """Add the pictures; once the page says so, they are on the disk."""
    if not sure:
        raise BadArgument("Check the pictures first, and confirm that they show one person.")
    called, safe = given_name(name), 0
    bar = st.progress(0.0, "Adding …")
    for safe in enrol(called, looks, login.changing()):
        bar.progress(safe / len(looks), f"Picture {safe} of {len(looks)} is saved")
    login.changed()
    plural = "s" if safe > 1 else ""
    say(f"{called} has been added, with {safe} picture{plural}.", "add", "The pictures have been added.")


# --------------------------------------------------------------------------------------------- there and back
def export() -> None:
    """Offer everyone in one file, after a login."""
    show.note("Everyone, with encodings and photos, in a ZIP file of open formats.")
    if st.button("Create the file", icon=":material/archive:", key="people_export"):
        with show.friendly(), tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "people.zip"
            login.changing().export_to(path)
            st.session_state["people_archive"] = (shared.changes().count, path.read_bytes())
    count, data = st.session_state.get("people_archive", (-1, b""))
    if count == shared.changes().count:  # people who were forgotten since, in any browser, are not exported
        gate.let_fetch(st.context.cookies)
        st.download_button(
            f"Download people.zip ({len(data) / 1e6:.1f} MB)",
            data,
            "people.zip",
            "application/zip",
            icon=":material/download:",
            on_click=lambda: st.session_state.pop("people_archive", None),
        )


CONFLICTS = {
    "skip": "keep the known person",
    "replace": "take the person in the file",
    "refuse": "import no one",
}


def take_in() -> None:
    """Import people from a file, after a login."""
    turn = st.session_state.setdefault("people_import_turn", 0)
    file = st.file_uploader("A file from “Export”", ["zip"], key=f"people_zip_{turn}", max_upload_size=200)
    conflict = st.selectbox(
        "If a name is already known", list(CONFLICTS), format_func=CONFLICTS.get, key="people_conflict"
    )
    if file and st.button("Import", icon=":material/upload:", key="people_import"):
        with show.friendly(), tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "people.zip"
            path.write_bytes(file.getvalue())
            check_export(path, shared.one_line(file.name))
            try:
                count = login.changing().import_from(path, on_conflict=conflict)
            except FaceError as error:  # which names our copy of the file
                raise type(error)(str(error).replace(str(path), shared.one_line(file.name))) from error
            login.changed()
            st.session_state["people_import_turn"] += 1
            say(counted(count, people_in(path), conflict), "import", "The file has been imported.", clear=False)


def check_export(path: Path, called: str) -> None:
    """Refuse a file that is plainly not an export.

    Raises:
        BadArgument: If it is not a ZIP file, or has no list of people.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            problem = "" if "manifest.json" in archive.namelist() else "contains no manifest.json, the list of people"
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        problem = "is not a ZIP file, or is damaged"
    if problem:
        raise BadArgument(f"This is not a file from Export: {called} {problem}.")


def people_in(path: Path) -> int:
    """How many people an export holds; it must be one that was imported without an error."""
    with zipfile.ZipFile(path) as archive:
        return len(json.loads(archive.read("manifest.json"))["people"])


def counted(count: int, of: int, conflict: str) -> str:
    """The result of an import, in a sentence."""
    imported = f"{'1 person' if count == 1 else f'{count:,} people' if count else 'No one was'} imported"
    known = of - count
    if conflict == "replace":
        return f"{imported}; people who were already known are now as in the file."
    if not known:
        return f"{imported}."
    return f"{imported}; {known:,} {'was' if known == 1 else 'were'} already known and stayed unchanged."


show.title("People", "Everyone in the database.")
clear_forms()
with st.container():
    chosen = gallery()
if login.who() is None:
    show.notice(
        f"To add, change, export or import people, log in first, {login.WHERE}."
        if len(login.accounts())
        else login.NO_ACCOUNT
    )
else:
    said("person")
    with st.container():
        if chosen:
            one_person(chosen)
        else:
            show.note("Press a picture to rename, remove or forget that person.")
    adding, exporting, importing = st.tabs(["Add", "Export", "Import"], key="people_tabs")
    with adding:
        said("add")
        add()
    with exporting:
        export()
    with importing:
        said("import")
        take_in()
