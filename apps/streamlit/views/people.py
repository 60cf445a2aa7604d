"""The people in the database: see them, find them and, after a login, change them."""

import hashlib
import itertools
from dataclasses import dataclass

import streamlit as st

from apps.pictures import boxed, jpeg
from apps.streamlit import choose, login, shared, show
from apps.streamlit.archive import export, take_in
from apps.streamlit.bulk import add_many
from apps.streamlit.looking import Look, enrol, far_apart, is_kept, look, looks_like, namesakes
from apps.streamlit.person import given_name, leave, offer_undo, one_person
from apps.streamlit.saying import said, say
from facerec.database import DamagedDatabase
from facerec.errors import BadArgument, FaceError, UnknownIdentity
from facerec.gallery import distance_from, open_gallery
from facerec.photos import data_url

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
    if (gone := st.session_state.get("people_gallery_kept")) and gone not in shared.database():
        show.notice(shared.gone(gone), "warn")
    if not (idle := login.who() is None):
        show.note("Select a person to see all their pictures, and to rename, merge, remove or forget them.")
    return choose.gallery("people_gallery", "People", tuple(filter(None, map(entry, names))), idle=idle)


def clear_forms() -> None:
    """Empty the forms after a change: the name of a forgotten person must not stay in one."""
    if st.session_state.pop("people_clear", False):
        for key in ("people_name", "people_new_name", "people_search"):
            st.session_state[key] = ""
        turn = st.session_state.get("people_turn", 0)
        for key in [key for key in st.session_state if key.startswith(f"people_{turn}_camera")]:
            del st.session_state[key]
        st.session_state["people_turn"] = turn + 1


@st.dialog("Change a person", on_dismiss=leave)
def open_person(name: str) -> None:
    """What can be done with the pressed person, above the page: in view wherever it was pressed."""
    with show.friendly():
        said("person")
        one_person(name)


# ------------------------------------------------------------------------------------------------------ add
@dataclass(frozen=True)
class Doubt:
    """A reason to look again before adding.

    Attributes:
        text: It in a sentence.
        other: The known person that the pictures may show instead, or None.
    """

    text: str
    other: str | None = None


def examined(pictures: list[choose.Chosen], name: str) -> tuple[list[tuple[str, Look]], list[str]]:
    """The faces of the pictures that can be added to a person, and why the others can't be."""
    seen, problems, before = [], [], {}  # before: which pictures there were, by their digests
    for each in pictures[:MOST]:
        file = shared.one_line(each.name)
        digest = hashlib.sha256(each.data).digest()
        if digest in before:
            problems.append(f"{file} is the same picture as {before[digest]}: it will be added once.")
            continue
        before[digest] = file
        try:
            photo = shared.opened(each.data, file)
            with shared.TURNS:
                found = look(photo, shared.model(), file)
        except FaceError as error:
            problems.append(str(error))
            continue
        if is_kept(found, name.strip(), shared.database()):
            problems.append(f"{file} is a picture of {name.strip()} that is already known: it will not be added again.")
        else:
            seen.append((file, found))
    if len(pictures) > MOST:
        problems.append(f"{len(pictures)} pictures are too many at once: only the first {MOST} are used")
    return seen, problems


def doubts(name: str, seen: list[tuple[str, Look]]) -> list[Doubt]:
    """The reasons to doubt that these pictures show one person, and no one else who is known."""
    database, model, threshold = shared.database(), shared.model(), shared.threshold()
    called = name.strip()
    alike = {} if not called or called in database else namesakes(called, database)
    said = [Doubt(text, other) for other, text in list(alike.items())[:PAIRS]]
    for file, each in seen:
        if other := looks_like(each, database, model, threshold, but=name):
            text = f"{file}: this looks like {other[0]}, who is already known (distance {other[1]:.2f})."
            said.append(Doubt(text, other[0]))
    pairs = [
        (distance, f"{seen[i][0]} and {seen[j][0]}")
        for i, j, distance in far_apart([each.encoding for _, each in seen], threshold)
    ]
    if name.strip() and name in database:
        gallery = open_gallery(database, model)
        for file, each in seen:
            if not (distance := distance_from(gallery, name, each.encoding)) < threshold:
                pairs.append((distance, f"{file} and the known {name.strip()}"))
    pairs.sort(reverse=True)
    more = [Doubt(f"There are {len(pairs) - PAIRS} more such pairs.")] if len(pairs) > PAIRS else []
    two = (Doubt(f"{both} look like two people (distance {distance:.2f}).") for distance, both in pairs[:PAIRS])
    return [*said, *two, *more]


def tell(seen: list[tuple[str, Look]], problems: list[str], doubtful: list[Doubt]) -> None:
    """Show the pictures, with problems, doubts and hints, before they are added."""
    for problem in problems:
        show.notice(problem, "bad")
    offered: set[str] = set()
    for doubt in doubtful:
        ask(doubt, offered)
    for file, each in seen:
        for hint in each.hints:
            show.notice(f"{file}: {hint}", "warn")
        if not doubtful and not each.hints:
            show.notice(f"{file}: a good picture.", "good")
    boxes = [(file, jpeg(boxed(each.photo, each.detection["box"]), 320)) for file, each in seen]
    show.figures(*(show.figure(data, file, f"{file}, with a box around the face", "crop") for file, data in boxes))


def ask(doubt: Doubt, offered: set[str]) -> None:
    """Show a doubt and, once for each known person that it names, their photo and a way to add to them."""
    if doubt.other is None or doubt.other in offered:
        show.notice(doubt.text, "warn")
        return
    offered.add(doubt.other)
    try:
        small = shared.database().thumbnail(doubt.other)
    except UnknownIdentity:  # removed meanwhile
        small = None
    show.notice(doubt.text, "warn", None if small is None else jpeg(small), f"The photo of {doubt.other}")
    st.button(
        "Add to this known person instead",
        icon=":material/group_add:",
        key=f"people_instead_{len(offered)}",
        on_click=rename_to,
        args=(doubt.other,),
    )


def rename_to(name: str) -> None:
    """Fill in the name of a known person instead of the one that was typed."""
    st.session_state["people_name"] = name


def add() -> None:
    """Add a person, or more pictures of a known one."""
    name = st.text_input("Name", key="people_name", max_chars=200, placeholder="A new or a known name")
    source = choose.source("people", "Pictures", ["Files", choose.CAMERA])
    turn = st.session_state.setdefault("people_turn", 0)
    if source == "Files":
        files = st.file_uploader(
            "Pictures of one person",
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
    seen, problems = examined(pictures, name)
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


def looked(known: bool, doubtful: list[Doubt]) -> bool:
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


show.title("People", "Everyone in the database.")
clear_forms()
if login.who() is None:
    with st.expander("Log in to add, change, export or import people", icon=":material/login:"):
        login.form()
with st.container():
    chosen = gallery()
if login.who() is not None:
    if chosen:
        open_person(chosen)
    else:
        said("person")
        offer_undo()
    adding, many, exporting, importing = st.tabs(["Add", "Add many", "Export", "Import"], key="people_tabs")
    with adding:
        said("add")
        add()
    with many:
        add_many()
    with exporting:
        export()
    with importing:
        said("import")
        take_in()
