"""Everyone in one file: export and import, after a login."""

from __future__ import annotations

import json
import tempfile
import zipfile
from pathlib import Path

import streamlit as st

from apps.streamlit import gate, login, shared, show
from apps.streamlit.saying import say
from facerec.errors import BadArgument, FaceError


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
    "replace": "use the person in the file",
    "refuse": "import no one",
}


def take_in() -> None:
    """Import people from a file, after a login."""
    turn = st.session_state.setdefault("people_import_turn", 0)
    file = st.file_uploader("A file from “Export”", ["zip"], key=f"people_zip_{turn}")
    show.note("A larger file can be imported on the computer that runs this app: facerec import people.zip")
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
