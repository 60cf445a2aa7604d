"""Many people at once, from a ZIP file, a folder, or files: ``lena.jpg``, or ``lena/1.jpg`` and ``lena/2.jpg``.

uploads ──zipped──► a ZIP file ──enrol_all──► the database, and a row per file: what became of it
"""

from __future__ import annotations

import re
import tempfile
import threading
import warnings
import zipfile
from collections.abc import Callable, Iterable
from itertools import groupby
from pathlib import Path

import pandas as pd
import streamlit as st

from apps.streamlit import login, shared, show
from apps.streamlit.decisions import spreadsheet_csv
from facerec.database import FaceDatabase
from facerec.enrol import PoorPortrait, enrol_pictures
from facerec.errors import BadArgument, UnreadableImage
from facerec.photos import is_inside, open_file, open_zip
from facerec.portraits import Pictures, Portrait, find_portraits

MOST_FILES = 2000
MOST_BYTES, MOST_PIXELS = 20_000_000, 25_000_000  # of one picture

LEADS_OUT = "its name points outside the folder"

ADDED, CHECK, KNOWN, UNUSED = "added", "added, please check", "known already", "not used"

#: What to do with pictures of a known person, in words.
CONFLICTS = {
    "skip": "leave the known person as they are",
    "add": "add the pictures to the known person",
    "replace": "replace the known person’s pictures",
}

#: Warnings are noted for the whole process, so only one session at a time may do it.
ALONE = threading.Lock()


# ------------------------------------------------------------------------------------------- without a page
def zipped(path: Path, files: Iterable[tuple[str, bytes]]) -> list[tuple[str, str]]:
    """Put uploaded files into a ZIP file, in which a name leads nowhere else.

    Args:
        path: The ZIP file to write.
        files: Names, perhaps with folders, and bytes.

    Returns:
        A row (file, reason) for each file that is left out.
    """
    left_out, names = [], set()
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in files:
            if not is_inside(name):
                left_out.append((name, LEADS_OUT))
            elif name in names:
                left_out.append((name, "another file has the same name"))
            else:
                names.add(name)
                archive.writestr(name, data)
    return left_out


def check_zip(path: Path, called: str) -> None:
    """Refuse a file that is not a ZIP file, or holds too many files.

    Raises:
        BadArgument: If so.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            count = len(archive.infolist())
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        raise BadArgument(f"{called} is not a ZIP file, or is damaged.") from error
    if count > MOST_FILES:
        raise BadArgument(f"{called} holds {count:,} files; {MOST_FILES:,} at most can be added at once.")


def enrol_all(
    path: Path,
    changing: Callable[[], FaceDatabase],
    conflict: str,
    numbered: bool,
    progress: Callable[[int, int], None],
) -> pd.DataFrame:
    """Add everyone in a ZIP file, one person after another.

    Args:
        path: The ZIP file.
        changing: Returns the database that may be changed; asked anew for each person.
        conflict: One of :data:`CONFLICTS`.
        numbered: Whether ``lena_2.jpg`` shows lena, too.
        progress: Called with the number of pictures that are done, and of all.

    Returns:
        A row per file: ``file``, ``person``, ``result`` and ``remark``.

    Raises:
        BadArgument: If there are no pictures.
        NotLoggedIn: If ``changing`` says so; who was added before that stays.
    """
    found = find_portraits(path, numbered=numbered)
    rows = [(file, "", UNUSED, reason) for file, reason in found.unusable]
    rows += [(file, "", UNUSED, "its name does not say who it shows") for file in found.skipped]
    archive = open_zip(path)
    rows += [(name, "", UNUSED, LEADS_OUT) for name in archive.NameToInfo if not is_inside(name)]
    too_large = {
        portrait.file: reason for portrait in found.portraits if (reason := _too_large(archive, path, portrait))
    }
    rows += [
        (portrait.file, portrait.identity, UNUSED, too_large[portrait.file])
        for portrait in found.portraits
        if portrait.file in too_large
    ]
    portraits = [portrait for portrait in found.portraits if portrait.file not in too_large]
    done = 0
    for identity, group in groupby(portraits, key=lambda portrait: portrait.identity):
        person = list(group)
        rows += _enrol_one(identity, person, changing(), conflict)
        done += len(person)
        progress(done, len(portraits))
    table = pd.DataFrame(rows, columns=["file", "person", "result", "remark"])
    return table.map(shared.printable)


def _too_large(archive: zipfile.ZipFile, path: Path, portrait: Portrait) -> str:
    """Why a picture is too large to be opened beside others; empty if it is not."""
    name = portrait.path.relative_to(path).as_posix()
    try:
        if archive.getinfo(name).file_size > MOST_BYTES:
            return f"it is larger than {MOST_BYTES // 10**6} MB"
        width, height = open_file(portrait.path).size
    except (KeyError, UnreadableImage):  # opening it whole will say what is wrong
        return ""
    return f"it has more than {MOST_PIXELS // 10**6} million pixels" if width * height > MOST_PIXELS else ""


def _enrol_one(identity: str, portraits: list[Portrait], database: FaceDatabase, conflict: str) -> list[tuple]:
    """Add one person, and return a row for each of the pictures."""
    if identity in database and conflict == "skip":
        return [(portrait.file, identity, KNOWN, "") for portrait in portraits]
    with shared.TURNS, ALONE, warnings.catch_warnings(record=True) as noted:
        warnings.simplefilter("always", PoorPortrait)
        unusable = enrol_pictures(Pictures(portraits, [], []), shared.model(), database, False, conflict)
    reasons = dict(unusable.itertuples(index=False, name=None))
    remarks = [each.message for each in noted if issubclass(each.category, PoorPortrait)]
    return [(each.file, identity, *_result(each.file, identity, reasons, remarks)) for each in portraits]


def _result(file: str, identity: str, reasons: dict[str, str], remarks: list[PoorPortrait]) -> tuple[str, str]:
    """What became of a file, and why."""
    if file in reasons:
        return UNUSED, reasons[file]
    about = [str(each) for each in remarks if {file, identity} & set(each.about)]
    return (CHECK, "; ".join(about)) if about else (ADDED, "")


# ---------------------------------------------------------------------------------------------- on the page
ZIP, FILES, FOLDER = "A ZIP file", "Files", "A folder"


def add_many() -> None:
    """Add many people at once, after a login."""
    show.note(
        "Name each picture after the person it shows (lena.jpg), or put all pictures of a person into a folder of that "
        "name (lena/1.jpg, lena/2.jpg). A file that can’t be used does not stop the others."
    )
    turn = st.session_state.setdefault("people_many_turn", 0)
    source = st.segmented_control("From", [ZIP, FILES, FOLDER], default=ZIP, required=True, key="people_many_from")
    if source == ZIP:
        given = st.file_uploader("The ZIP file", ["zip"], key=f"people_many_zip_{turn}")
        show.note("If the file is larger, unpack it and choose “A folder”: each picture in it may be as large.")
        uploads = [given] if given else []
    else:
        kind = True if source == FILES else "directory"
        uploads = st.file_uploader(source, accept_multiple_files=kind, key=f"people_many_{kind}_{turn}")
    conflict = st.selectbox(
        "If a person is already known", list(CONFLICTS), format_func=CONFLICTS.get, key="people_many_if"
    )
    numbered = st.checkbox("lena_2.jpg and lena (3).jpg show lena, too", value=True, key="people_many_numbered")
    if st.button("Add everyone", icon=":material/group_add:", disabled=not uploads, key="people_many"):
        with show.friendly():
            run(uploads, source == ZIP, conflict, numbered)
    report()


def run(uploads: list, is_zip: bool, conflict: str, numbered: bool) -> None:
    """Add everyone, behind a progress bar, and keep the report for this session."""
    login.changing()
    bar = st.progress(0.0, "Looking at the names …")
    with tempfile.TemporaryDirectory() as folder:
        called = uploads[0].name if is_zip and re.fullmatch(r"[\w .()-]+\.zip", uploads[0].name) else "uploads.zip"
        path, left_out = Path(folder) / called, []  # its name may be that of the one folder in it
        if is_zip:
            path.write_bytes(uploads[0].getvalue())
        else:
            left_out = zipped(path, ((upload.name, upload.getvalue()) for upload in uploads[:MOST_FILES]))
        check_zip(path, shared.one_line(uploads[0].name))
        try:
            table = enrol_all(
                path,
                login.changing,
                conflict,
                numbered,
                lambda done, of: bar.progress(done / max(of, 1), f"Picture {done} of {of}"),
            )
        finally:
            login.changed()
    rows = [(shared.printable(file), "", UNUSED, reason) for file, reason in left_out]
    st.session_state["people_many_report"] = pd.concat([table, pd.DataFrame(rows, columns=table.columns)])
    st.session_state["people_many_turn"] += 1
    st.rerun()


def report() -> None:
    """Show what became of each file of the last time."""
    table = st.session_state.get("people_many_report")
    if table is None:
        return
    added = table[table.result.isin([ADDED, CHECK])]
    known, doubtful, unused = ((table.result == each).sum() for each in (KNOWN, CHECK, UNUSED))
    people = added.person.nunique()
    sentence = f"{len(added)} of {len(table)} files were added, for {people} {'person' if people == 1 else 'people'}."
    sentence += f" Known already: {known}." if known else ""
    sentence += f" Please check: {doubtful}." if doubtful else ""
    sentence += f" Not used: {unused}." if unused else ""
    sentence += " The table says why." if doubtful or unused else ""
    show.notice(sentence, "warn" if doubtful or unused else "good")
    st.dataframe(table, hide_index=True)
    st.download_button(
        "Download this report",
        spreadsheet_csv(table),
        "report.csv",
        "text/csv",
        icon=":material/download:",
        on_click="ignore",
    )
