"""Who may do what: only people who have logged in change the database, and perhaps only they see the pages.

``settings`` says which accounts there are and who may see the pages, ``sessions`` keeps the logins. A login lasts half
an hour after the last click, through a reload and in every tab of the browser, until someone logs out in one of them.
"""

from __future__ import annotations

import time

import streamlit as st

from apps.streamlit import accounts, first, sessions, settings, shared, show
from facerec.database import FaceDatabase
from facerec.errors import BadArgument, FaceError, UnknownIdentity

NO_ACCOUNT = (
    "There is no account yet, so no one can log in. Open the link that the app printed in its terminal when it "
    "started, or run “make account NAME=…” there."
)

#: Asks the browser to fetch the cookie of a login, or to drop it.
CARRIER = "<script>fetch('/keep-login', {{method: 'POST', headers: {{'{header}': '{ticket}'}}}})</script>"


class NotLoggedIn(FaceError):
    """The request needs a login."""


def changing(name: str | None = None) -> FaceDatabase:
    """The people, to be changed; call it again for every change.

    Args:
        name: The person who is to be changed, if it is a known one.

    Raises:
        NotLoggedIn: If the visitor has not logged in, or the login has ended.
        UnknownIdentity: If the person was removed or renamed meanwhile.
    """
    if who() is None:
        raise NotLoggedIn("Please log in first: your login has ended, or you have not logged in yet.")
    if name is not None and name not in shared.database():
        raise UnknownIdentity(shared.gone(name))
    return shared.database()


def changed() -> None:
    """Note that the people have changed, so that earlier results are looked up again."""
    shared.changes().count += 1


def who() -> str | None:
    """The account that has logged in here, or None. Asking extends the login by half an hour."""
    if (name := _logged_in()) is None:
        leave()
    else:
        sessions.logins().extend(_key())
    return name


def _logged_in() -> str | None:
    """The account that has logged in here, or None, without extending the login."""
    login = sessions.logins().of(_key())
    if login is None or login.name not in settings.accounts():
        return None
    return login.name if login.digest == settings.entries().get(login.name) else None  # None after a new password


def _key() -> str:
    """The key of the login: of this session or, after a reload or in another tab, in the browser's cookie."""
    return st.session_state.get("login") or cookie()


def cookie() -> str:
    """The cookie that the browser sent when this session began; empty without one."""
    found = st.context.cookies.get(sessions.COOKIE)
    return found if isinstance(found, str) else ""


def enter(name: str) -> None:
    """Begin a login."""
    st.session_state["login"] = sessions.logins().begin(name, settings.entries().get(name))
    st.session_state["login_ticket"] = sessions.logins().ticket(st.session_state["login"])


def leave() -> None:
    """End the login, in every tab of this browser, and drop what needs one."""
    if key := _key():
        sessions.logins().end(key)
    for name in ("login", "people_archive", "people_removed"):
        st.session_state.pop(name, None)


def carry() -> None:
    """Bring the cookie to the browser after a login, and take it back after a logout."""
    if (ticket := st.session_state.get("login_ticket")) is not None:
        with st.container(key="carrier"):  # takes no room: style.css
            st.html(CARRIER.format(header=sessions.HEADER, ticket=ticket), unsafe_allow_javascript=True)


def may_look() -> bool:
    """Whether this visitor may see the pages; asking does not extend a login."""
    return settings.reading() == "open" or _logged_in() is not None


def check_reading() -> None:
    """Ask for a login instead of drawing the page, if it needs one."""
    if settings.reading() == "login" and who() is None:
        show.title("Please log in", "These pages are for people with an account.")
        form()
        st.stop()


def box() -> None:
    """Who has logged in, or where to do it."""
    if (name := who()) is None:
        show.note("Log in on the People page to change anything.")
        return
    show.note(f"Logged in as {name}.")
    if st.button("Log out", icon=":material/logout:", width="stretch"):
        leave()
        st.session_state["login_ticket"] = ""
        st.rerun()


def form() -> None:
    """Ask for a name and a password; without any account, say how to make one."""
    if not len(settings.accounts()):
        show.notice(NO_ACCOUNT)
        return
    with st.form("login_form", clear_on_submit=True, width=480):
        name = _name()
        password = st.text_input("Password", type="password", autocomplete="current-password", max_chars=1000)
        if st.form_submit_button("Log in", icon=":material/login:", type="primary"):
            _try(name, password)


def _name() -> str:
    return st.text_input("Name", autocomplete="username", max_chars=accounts.LONGEST_NAME)


def _try(name: str, password: str) -> None:
    try:
        settings.accounts().check(name, password)
    except accounts.LoginFailed as error:
        show.notice(str(error), "bad")
        return
    enter(name)
    st.rerun()


# --------------------------------------------------------------------------------------------- the first account
def welcome() -> None:
    """Ask for the first account instead of drawing the page, if the address is the link that the terminal shows."""
    given = st.query_params.get(first.PARAMETER)
    if given is None:
        return
    if not first.is_invited(given):
        del st.query_params[first.PARAMETER]
        show.notice("This link has been used, or is from an earlier start of the app.", "warn")
        return
    show.title("Welcome", "Create your account. Only people with an account can add, change or remove people.")
    with st.form("first_account", width=480):
        name = _name()
        password = st.text_input(
            f"Password, at least {accounts.SHORTEST} characters",
            type="password",
            autocomplete="new-password",
            max_chars=accounts.LONGEST,
        )
        again = st.text_input("Repeat the password", type="password", autocomplete="new-password")
        pressed = st.form_submit_button("Create account", icon=":material/person_add:", type="primary")
    if pressed:
        with show.friendly():
            make_first(given, name.strip(), password, again)
    st.stop()


def make_first(given: str, name: str, password: str, again: str) -> None:
    """Write the first account into the secrets file, log in with it, and go to the people.

    Raises:
        BadArgument: If the passwords differ, or the name or the password won't do, or the file can't be written.
        NotLoggedIn: If there is an account already.
    """
    if password != again:
        raise BadArgument("The two passwords differ.")
    if not first.is_invited(given):
        raise NotLoggedIn("There is an account already. Log in with it.")
    accounts.write(name, password, settings.path())
    first.key.cache_clear()
    until = time.monotonic() + 10
    while name not in settings.accounts() and time.monotonic() < until:  # Streamlit reads a changed file after a moment
        time.sleep(0.1)
    enter(name)
    st.switch_page("views/people.py")
