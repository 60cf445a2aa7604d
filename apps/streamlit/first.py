"""The start of the server: the network is loaded in the background; as long as there is no account, a link is printed.

With the link, which only the terminal shows, the first account is made in the page. It works once, until an account is
there; another start prints another one.
"""

from __future__ import annotations

import functools
import secrets
import sys
import threading
import webbrowser
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import streamlit as st
from streamlit.starlette import App

from apps.streamlit import settings
from facerec.errors import FaceError
from facerec.photos import load_image

PARAMETER = "first"  # of the link


@functools.cache
def key() -> str:
    """The key in this process's link."""
    return secrets.token_urlsafe(24)


def is_invited(given: str | None) -> bool:
    """Whether a key is the link's, and there is no account yet."""
    return bool(given) and not len(settings.accounts()) and secrets.compare_digest(given.encode(), key().encode())


def address() -> str:
    """Where a browser on this computer finds the app."""
    scheme = "https" if st.get_option("server.sslCertFile") else "http"
    host = st.get_option("server.address") or "localhost"
    host = "localhost" if host in ("0.0.0.0", "::") else f"[{host}]" if ":" in host else host
    return f"{scheme}://{host}:{st.get_option('server.port')}/"


def invitation() -> str:
    """The link to the first account; empty if there is an account, or a secrets file that can't be read."""
    try:
        return "" if len(settings.accounts()) else f"{address()}?{PARAMETER}={key()}"
    except FaceError:  # every page says what is wrong
        return ""


@asynccontextmanager
async def starting(app: App) -> AsyncIterator[None]:
    """Print the link if it is needed, open the page in a browser where there is a screen, and load the network."""
    if link := invitation():
        print(f"  No account yet. This link makes the first one, once:\n\n  {link}\n", flush=True)
    if not st.get_option("server.headless"):
        threading.Thread(target=webbrowser.open, args=(link or address(),), daemon=True).start()
    threading.Thread(target=warm_up, daemon=True).start()
    yield


def warm_up() -> None:
    """Do what the first visitor would wait for: import, load, and look at a portrait, which takes seconds once."""
    try:
        from apps.streamlit import looking, shared  # imports TensorFlow

        model, database = shared.model(), shared.database()
        seen = looking.look(load_image(shared.IMAGES / "lena.jpg"), model)
        looking.looks_like(seen, database, model, model.facenet.threshold)
        shared.spare_the_collector()
    except FaceError as error:  # every page says it, too
        print(f"  {error}", file=sys.stderr, flush=True)
