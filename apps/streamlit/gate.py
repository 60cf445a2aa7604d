"""The gate in front of the Streamlit app, for what Streamlit's own server leaves open.

    uploads    limited for each visit, in all, and in time; those of closed browsers are dropped first
    exports    for the browser that made one: the address alone opens nothing
    metrics    closed: they tell anyone how many visitors there are

``app`` puts it there. It limits neither connections nor slow heads: that takes a proxy in front.
"""

from __future__ import annotations

import asyncio
import re
import secrets
import time
from collections import Counter
from collections.abc import Mapping

from starlette.datastructures import MutableHeaders
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from apps.crowd import MANY_BYTES, TOO_SLOW, Deadlines
from apps.places import hosts

#: Bytes of uploads that are kept for one visit, and for all.
EACH, IN_ALL = 250_000_000, 500_000_000

#: The browser's cookie: a random number that says whose export it is.
COOKIE = "faces_visit"

#: An export can be fetched for so many seconds.
FETCHED_WITHIN = 30 * 60

UPLOAD = re.compile(r".*/_stcore/upload_file/([^/]+)/[^/]+")

_exporters: dict[str, float] = {}


def let_fetch(cookies: Mapping[str, str]) -> None:
    """Let a browser fetch exports for the next half hour; ``cookies`` are those of its page."""
    now = time.monotonic()
    for visit in [visit for visit, until in _exporters.items() if until < now]:
        del _exporters[visit]
    if visit := cookies.get(COOKIE):
        _exporters[visit] = now + FETCHED_WITHIN


def layers() -> list[Middleware]:
    """What stands in front of the app, from the outside in: only the server's own names, then the gate."""
    return [Middleware(TrustedHostMiddleware, allowed_hosts=hosts(), www_redirect=False), Middleware(Gate)]


class Uploads:
    """The uploads that Streamlit keeps in memory."""

    def held(self) -> Counter[str]:
        """The bytes that are kept for each session."""
        sessions = _runtime().uploaded_file_mgr.file_storage
        return Counter({name: sum(len(file.data) for file in files.values()) for name, files in sessions.items()})

    def make_room(self) -> None:
        """Drop what belongs to sessions whose browser is gone."""
        runtime = _runtime()
        for name in list(runtime.uploaded_file_mgr.file_storage):
            if not runtime.is_active_session(name):
                runtime.uploaded_file_mgr.remove_session_files(name)


def _runtime():
    from streamlit.runtime import Runtime  # imported here: the gate can be tested without Streamlit

    return Runtime.instance()


class Gate:
    """Middleware in front of Streamlit.

    Args:
        app: The app behind it.
        uploads: What is kept already.
        each: Bytes of uploads for one visit.
        in_all: Bytes of uploads for all.
        seconds: How long an upload may take.
    """

    def __init__(
        self,
        app: ASGIApp,
        uploads: Uploads | None = None,
        each: int = EACH,
        in_all: int = IN_ALL,
        seconds: float = Deadlines.body,
    ) -> None:
        self.app, self.uploads = app, uploads or Uploads()
        self.each, self.in_all, self.seconds = each, in_all, seconds
        self._coming: Counter[str] = Counter()  # bytes that are on their way, by session

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request through, or answer it."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
        elif scope["path"].endswith("/_stcore/metrics"):
            await PlainTextResponse("Not found", 404)(scope, receive, send)
        elif scope["method"] == "PUT" and (upload := UPLOAD.fullmatch(scope["path"])):
            await self._take(upload[1], scope, receive, send)
        else:
            await self.app(scope, receive, _Answer(scope, receive, send))

    async def _take(self, session: str, scope: Scope, receive: Receive, send: Send) -> None:
        """Take an upload, if there is room and it comes in time."""
        length = Request(scope).headers.get("content-length", "")
        if not length.isdecimal():
            await PlainTextResponse("The length is missing.", 411)(scope, receive, send)
        elif refused := self._refusal(session, int(length)):
            await refused(scope, receive, send)
        else:
            self._coming[session] += int(length)
            try:
                await asyncio.wait_for(self.app(scope, receive, send), self.seconds)
            except TimeoutError:  # Streamlit answers only once it has everything
                await PlainTextResponse(TOO_SLOW, 408, {"Connection": "close"})(scope, receive, send)
            finally:
                self._coming[session] -= int(length)
                self._coming += Counter()  # forgets those that have come

    def _refusal(self, session: str, length: int) -> PlainTextResponse | None:
        """Why there is no room for an upload, or None."""
        held = self.uploads.held() + self._coming
        if held.total() + length > self.in_all:
            self.uploads.make_room()
            held = self.uploads.held() + self._coming
        if held[session] + length > self.each:
            return PlainTextResponse("This visit has uploaded too much. Remove pictures, or reload the page.", 413)
        return PlainTextResponse(MANY_BYTES, 503) if held.total() + length > self.in_all else None


class _Answer:
    """Sends an answer on: gives each page's browser a cookie, and an export only to a browser that may have it."""

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.scope, self.receive, self.send = scope, receive, send
        self.visit = Request(scope).cookies.get(COOKIE)
        self.is_refused = False

    async def __call__(self, message: Message) -> None:
        """Send a part of the answer."""
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            kind = headers.get("content-type", "")
            if kind.startswith("application/zip") and _exporters.get(self.visit or "", 0) < time.monotonic():
                self.is_refused = True
                await PlainTextResponse("Not found", 404)(self.scope, self.receive, self.send)
            elif kind.startswith("text/html") and not self.visit:
                flags = "; Path=/; HttpOnly; SameSite=Strict" + "; Secure" * (self.scope["scheme"] == "https")
                headers.append("Set-Cookie", f"{COOKIE}={secrets.token_hex(16)}{flags}")
        if not self.is_refused:
            await self.send(message)
