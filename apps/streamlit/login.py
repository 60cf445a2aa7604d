"""Who may do what: reading is open or not, and whoever changes the people must have logged in.

Accounts stand in ``.streamlit/secrets.toml`` under ``[accounts]`` (``python -m apps.streamlit.accounts NAME`` prints both).
``reading = "login"`` there, or FACES_READING, closes the pages to everybody else::

    reading = "login"

    [accounts]
    lena = "$argon2id$v=19$…"

Below ``[accounts]``, where TOML takes it for one of them, it is understood too. There is no account by default, and
nobody can change anything then. A file that can't be read closes everything.
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

IDLE = 30 * 60  # seconds without a change or a click, and the login is over


READING = ("open", "login")


NO_ACCOUNT = (
    "Nobody can log in yet: there is no account. Make one with “python -m apps.streamlit.accounts NAME”, put what it prints into "
    ".streamlit/secrets.toml, and start the app again."
)


#: Where the login is.
WHERE = "in the bar on the left (on a phone: » at the top left)"


class NotLoggedIn(FaceError):
    """Something was asked for that only somebody who has logged in may have."""


def changing() -> FaceDatabase:
    """The people, for whoever may change them; ask for it anew at every change.

    Raises:
        NotLoggedIn: If nobody has logged in here, or not lately.
    """
    if who() is None:
        raise NotLoggedIn(f"Log in first, {WHERE}: only then people can be changed or taken elsewhere.")
    return shared.database()


def changed() -> None:
    """Take note that people have changed: what was found before is looked up anew."""
    shared.changes().count += 1


def who() -> str | None:
    """Who has logged in here; None if nobody has, or has done nothing for half an hour. To ask is to do something."""
    if (name := _logged_in()) is None:
        leave()
    else:
        _stay(name)
    return name


def _stay(name: str) -> None:
    """Logged in for the next half hour, for as long as the account has the password that it has now."""
    st.session_state["account"] = (name, time.monotonic() + IDLE, _entries().get(name))


def _logged_in() -> str | None:
    """As ``who``, but time goes on."""
    name, until, digest = st.session_state.get("account", (None, 0.0, None))
    is_over = name is None or name not in accounts() or digest != _entries().get(name) or time.monotonic() > until
    return None if is_over else name


def leave() -> None:
    """The login is over, and what only somebody with a login may have is gone."""
    for key in ("account", "people_archive"):
        st.session_state.pop(key, None)


def accounts() -> Accounts:
    """The accounts of the secrets file, and how often somebody has failed."""
    entries = {name: digest for name, digest in _entries().items() if not (name == "reading" and digest in READING)}
    return _accounts(tuple(sorted(entries.items())))


def _entries() -> dict:
    """What stands under [accounts]."""
    found = secret("accounts")
    return dict(found) if hasattr(found, "items") else {}


@st.cache_resource(show_spinner=False)
def _accounts(hashes: tuple[tuple[str, str], ...]) -> Accounts:
    """One for the process, so that failures are counted whichever browser they come from."""
    return Accounts(dict(hashes))


def secret(name: str) -> object:
    """An entry of the secrets file; None if it, or the file, is not there.

    Raises:
        BadArgument: If the file is there and can't be read: what it would have closed is not open then.
    """
    try:
        return st.secrets.get(name)
    except FileNotFoundError as error:  # Streamlit says this also of a file that is no TOML
        if there := [path for path in map(Path, st.get_option("secrets.files")) if path.exists()]:
            raise BadArgument(f"{there[-1].name} can't be read: is it TOML? Nothing is open until it can") from error
        return None


def reading() -> str:
    """Who may look: "open" for everybody, or "login".

    Raises:
        BadArgument: If the configuration says something else; nobody may look then.
    """
    misplaced = _entries().get("reading")
    inside = misplaced if misplaced in READING else None
    chosen = str(os.environ.get("FACES_READING") or secret("reading") or inside or "open")
    if chosen not in READING:
        raise BadArgument(f"reading={chosen!r}: 'open' or 'login'")
    return chosen


def may_look() -> bool:
    """Whether the pages are open to whoever is here; to ask is not to do something."""
    return reading() == "open" or _logged_in() is not None


def check_reading() -> None:
    """End the page here if only those who have logged in may look."""
    if reading() == "login" and who() is None:
        show.title("Please log in", "These pages are only for people who have an account here.")
        show.notice(NO_ACCOUNT if not len(accounts()) else f"The login is {WHERE}.")
        st.stop()


def box() -> None:
    """The login in the sidebar, or who has logged in."""
    if (name := who()) is not None:
        show.note(f"Logged in as {name}. A reload of the page logs you out.")
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
        show.note("It lasts for as long as the page is open: a reload logs you out.")


def _try(name: str, password: str) -> None:
    try:
        accounts().check(name, password)
    except LoginFailed as error:
        show.notice(str(error), "bad")
        return
    _stay(name)
    st.rerun()
