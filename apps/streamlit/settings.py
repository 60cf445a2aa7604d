"""What the secrets file and the environment say: the accounts, and who may see the pages.

The accounts are in ``.streamlit/secrets.toml``. ``reading = "login"`` there, or in FACES_READING, closes all pages to
visitors without a login::

    reading = "login"

    [accounts]
    lena = "$argon2id$v=19$…"

A ``reading`` below ``[accounts]``, which TOML takes for an account, is understood, too. By default there is no account,
so no one can change anything. A file that can't be read closes every page.
"""

from __future__ import annotations

import os
from pathlib import Path

import streamlit as st

from apps.streamlit.accounts import Accounts
from facerec.errors import BadArgument

READING = ("open", "login")


def accounts() -> Accounts:
    """The accounts in the secrets file, with their failed attempts."""
    found = {name: digest for name, digest in entries().items() if not (name == "reading" and digest in READING)}
    return _accounts(tuple(sorted(found.items())))


def entries() -> dict:
    """The entries of ``[accounts]``."""
    found = secret("accounts")
    return dict(found) if hasattr(found, "items") else {}


@st.cache_resource(show_spinner=False)
def _accounts(hashes: tuple[tuple[str, str], ...]) -> Accounts:
    """One object for the process, so that failures count in all browsers together."""
    return Accounts(dict(hashes))


def secret(name: str) -> object:
    """An entry of the secrets file; None without the entry or the file.

    Raises:
        BadArgument: If the file can't be read: nothing that it might close is open then.
    """
    try:
        return st.secrets.get(name)
    except FileNotFoundError as error:  # Streamlit raises this for a file that is not TOML, too
        if there := [path for path in _paths() if path.exists()]:
            raise BadArgument(
                f"{there[-1].name} can't be read. Is it valid TOML? Every page stays closed until it is."
            ) from error
        return None


def path() -> Path:
    """The secrets file that accounts are written to: the last of those that Streamlit reads, which overrides others."""
    return _paths()[-1]


def _paths() -> list[Path]:
    return [Path(each) for each in st.get_option("secrets.files")]


def reading() -> str:
    """Who may see the pages: "open" for everyone, or "login".

    Raises:
        BadArgument: If the configuration says anything else; no one may see them then.
    """
    misplaced = entries().get("reading")
    inside = misplaced if misplaced in READING else None
    chosen = str(os.environ.get("FACES_READING") or secret("reading") or inside or "open")
    if chosen not in READING:
        raise BadArgument(f"reading={chosen!r}: must be 'open' or 'login'")
    return chosen
