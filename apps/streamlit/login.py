"""Who may do what: only people who have logged in change the database, and perhaps only they see the pages.

Accounts are in ``.streamlit/secrets.toml``, and ``python -m apps.streamlit.accounts NAME`` prints the lines for one.
``reading = "login"`` there, or in FACES_READING, closes all pages to visitors without a login::

    reading = "login"

    [accounts]
    lena = "$argon2id$v=19$…"

A ``reading`` below ``[accounts]``, which TOML takes for an account, is understood, too. By default there is no account,
so no one can change anything. A file that can't be read closes every page.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

import streamlit as st

from apps.streamlit import shared, show
from apps.streamlit.accounts import Accounts, LoginFailed
from facerec.database import FaceDatabase
from facerec.errors import BadArgument, FaceError

IDLE = 30 * 60  # a login ends after so many seconds without a click
READING = ("open", "login")

NO_ACCOUNT = (
    "No one can log in yet, because there is no account. Run “python -m apps.streamlit.accounts NAME”, put the lines "
    "that it prints into .streamlit/secrets.toml, and restart the app."
)

#: Where the login is on the page.
WHERE = "in the sidebar (on a phone, tap » at the top left)"


class NotLoggedIn(FaceError):
    """The request needs a login."""


def changing() -> FaceDatabase:
    """The people, to be changed; call it anew for every change.

    Raises:
        NotLoggedIn: If the visitor has not logged in, or the login has ended.
    """
    if who() is None:
        raise NotLoggedIn(f"Please log in first, {WHERE}.")
    return shared.database()


def changed() -> None:
    """Note that the people have changed, so that earlier results are looked up anew."""
    shared.changes().count += 1


def who() -> str | None:
    """The account that has logged in here, or None. Asking extends the login by half an hour."""
    if (name := _logged_in()) is None:
        leave()
    else:
        _stay(name)
    return name


def _stay(name: str) -> None:
    """Keep the login for the next half hour, as long as the account's password stays the same."""
    st.session_state["account"] = (name, time.monotonic() + IDLE, _entries().get(name))


def _logged_in() -> str | None:
    """The account that has logged in here, or None, without extending the login."""
    name, until, digest = st.session_state.get("account", (None, 0.0, None))
    is_over = name is None or name not in accounts() or digest != _entries().get(name) or time.monotonic() > until
    return None if is_over else name


def leave() -> None:
    """End the login, and drop what needs one."""
    for key in ("account", "people_archive"):
        st.session_state.pop(key, None)


def accounts() -> Accounts:
    """The accounts in the secrets file, with their failed attempts."""
    entries = {name: digest for name, digest in _entries().items() if not (name == "reading" and digest in READING)}
    return _accounts(tuple(sorted(entries.items())))


def _entries() -> dict:
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
        if there := [path for path in map(Path, st.get_option("secrets.files")) if path.exists()]:
            name = there[-1].name
            raise BadArgument(
                f"{name} can't be read. Is it valid TOML? Every page stays closed until it is."
            ) from error
        return None


def reading() -> str:
    """Who may see the pages: "open" for everyone, or "login".

    Raises:
        BadArgument: If the configuration says anything else; no one may see them then.
    """
    misplaced = _entries().get("reading")
    inside = misplaced if misplaced in READING else None
    chosen = str(os.environ.get("FACES_READING") or secret("reading") or inside or "open")
    if chosen not in READING:
        raise BadArgument(f"reading={chosen!r}: must be 'open' or 'login'")
    return chosen


def may_look() -> bool:
    """Whether this visitor may see the pages; asking does not extend a login."""
    return reading() == "open" or _logged_in() is not None


def check_reading() -> None:
    """Stop the page here if it needs a login."""
    if reading() == "login" and who() is None:
        show.title("Please log in", "These pages are for people with an account.")
        show.notice(NO_ACCOUNT if not len(accounts()) else f"You can log in {WHERE}.")
        st.stop()


def box() -> None:
    """Draw the login form, or the account that has logged in."""
    if (name := who()) is not None:
        show.note(f"Logged in as {name}. Reloading the page logs you out.")
        if st.button("Log out", icon=":material/logout:", width="stretch"):
            leave()
            st.rerun()
    elif not len(accounts()):
        show.note(NO_ACCOUNT)
    else:
        with st.form("login", clear_on_submit=True, border=False):
            name = st.text_input("Name", autocomplete="username", max_chars=200)
            password = st.text_input("Password", type="password", autocomplete="current-password", max_chars=1000)
            if st.form_submit_button("Log in", icon=":material/login:", width="stretch"):
                _try(name, password)
        show.note("Reloading the page logs you out.")


def _try(name: str, password: str) -> None:
    try:
        accounts().check(name, password)
    except LoginFailed as error:
        show.notice(str(error), "bad")
        return
    _stay(name)
    st.rerun()
