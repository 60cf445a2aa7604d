"""Decides which requests are let in: consent, forged requests, rates, headers; keeps the disk and the log clean."""

from __future__ import annotations

import hashlib
import io
import os
import secrets
import threading
import time
import traceback
from collections.abc import Callable

from flask import Flask, Request, Response, current_app, redirect, request, session, url_for
from flask.sessions import SecureCookieSessionInterface
from flask_limiter import Limiter
from flask_limiter.util import get_remote_address
from flask_wtf import CSRFProtect
from limits import parse_many

from apps.crowd import network_of
from apps.flask.problems import Problem, wants_json
from facerec.errors import BadArgument

#: The endpoints that are open before consent.
OPEN = {
    "static", "pages.camera_script", "pages.start", "pages.consent", "pages.declined", "pages.end", "pages.goodbye",
    "api.session_state", "api.consent", "api.end", "api.description", "api.health",
}  # fmt: skip

#: The settings that limit how often an address may ask, and the views that they limit.
LIMITED = {"COMPARE_LIMIT": ("pages.compare", "api.compare"), "DETECT_LIMIT": ("api.detect",)}

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; connect-src 'self'; "
    "media-src 'self' blob:; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Permissions-Policy": "camera=(self), microphone=(), geolocation=()",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}

#: Over https, browsers are told to use nothing else for a year.
HTTPS_ONLY = "max-age=31536000"


# ------------------------------------------------------------------------------------------- nothing is kept
class MemoryRequest(Request):
    """A request that keeps its files in memory; the form parser would put large ones on the disk."""

    def _get_file_stream(self, *_args, **_kwargs) -> io.BytesIO:
        return io.BytesIO()


class _Cookies(SecureCookieSessionInterface):
    """The session's cookie, limited to https where the page came over https."""

    def get_cookie_secure(self, app: Flask) -> bool:
        return request.is_secure


class PrivateFlask(Flask):
    """A Flask app that writes no upload to the disk, and logs where an error arose but not what was sent."""

    request_class = MemoryRequest
    session_interface = _Cookies()

    def log_exception(self, exc_info) -> None:
        """Log the kind and the place of an error, without its message, which may repeat the request."""
        kind, _, trace = exc_info
        frames = traceback.extract_tb(trace)[-4:]
        where = ", ".join(f"{os.path.basename(frame.filename)}:{frame.lineno} {frame.name}" for frame in frames)
        self.logger.error("%s in %s, at %s", kind.__name__, request.endpoint, where)
        traceback.clear_frames(trace)  # Flask keeps the error for a while, and the error keeps the request


# --------------------------------------------------------------------------------------------------- consent
class Ended:
    """Sessions that were ended early, so that a copied cookie of one opens nothing."""

    def __init__(self) -> None:
        self._until: dict[str, float] = {}
        self._lock = threading.Lock()

    def add(self, name: str, seconds: float) -> None:
        """Remember an ended session for as long as its cookie would have been valid."""
        now = time.time()
        with self._lock:
            while self._until and next(iter(self._until.values())) <= now:  # the oldest is first
                del self._until[next(iter(self._until))]
            self._until.pop(name, None)
            self._until[name] = now + seconds

    def __contains__(self, name: str) -> bool:
        return name in self._until


def agree() -> None:
    """Note the consent in the session."""
    session["agreed"] = secrets.token_hex(8)
    session["seen"] = int(time.time())


def has_agreed() -> bool:
    """Whether the session has consent, and is neither ended nor idle for too long."""
    name, seen = session.get("agreed"), session.get("seen", 0)
    is_fresh = time.time() - seen <= 60 * current_app.config["IDLE_MINUTES"]
    return bool(name) and is_fresh and name not in current_app.ended


def end() -> None:
    """End the session: its cookie is removed, and copies of it open nothing."""
    if session.get("agreed"):
        current_app.ended.add(session["agreed"], 60 * current_app.config["IDLE_MINUTES"])
    session.clear()


def _only_after_consent() -> Response | None:
    """Send visitors without consent to the first page."""
    if has_agreed():
        if time.time() - session["seen"] > 30:
            session["seen"] = int(time.time())
        return None
    had_agreed = bool(session.get("agreed"))
    if had_agreed:
        session.clear()
    if request.endpoint is None or request.endpoint in OPEN:
        return None
    if wants_json():
        raise Problem(403, "no-consent")
    if had_agreed or request.method == "POST":  # a visitor who sends pictures had agreed before
        return redirect(url_for("pages.start", ended=1), 303)
    return redirect(url_for("pages.start", agree=1), 303)


# ------------------------------------------------------------------------------------------------ everything
def register(app: Flask) -> Limiter:
    """Add consent, protection against forged requests, and headers to an app; returns its limiter of requests."""
    app.ended = Ended()
    app.before_request(_only_after_consent)
    CSRFProtect(app)
    app.after_request(_with_headers)
    key = secrets.token_bytes(32)
    return Limiter(lambda: asker(get_remote_address(), key), app=app)


def asker(address: str, key: bytes) -> str:
    """A digest to count an address by, from which it can't be read back; an IPv6 network (/64) counts as one.

    Args:
        address: An IP address; any other text counts as it is.
        key: Random bytes that only this process has.
    """
    return hashlib.blake2b(network_of(address).encode(), key=key, digest_size=16).hexdigest()


def limit(app: Flask, limiter: Limiter) -> None:
    """Limit how often each address may send pictures; call it after the views were added."""
    for setting, views in LIMITED.items():
        if app.config[setting]:
            limited: Callable = limiter.shared_limit(app.config[setting], scope=setting, methods=["POST"])
            for name in views:
                app.view_functions[name] = limited(app.view_functions[name])


def check_limit(name: str, value: str) -> None:
    """Refuse a value that is not a rate."""
    try:
        parse_many(value) if value else None
    except (ValueError, TypeError) as error:
        raise BadArgument(f'{name}={value!r}: must be a rate, such as "60 per minute", or "" for no limit') from error


def _with_headers(response: Response) -> Response:
    response.headers.update(HEADERS)
    if request.is_secure:
        response.headers["Strict-Transport-Security"] = HTTPS_ONLY
    if request.endpoint != "static":
        response.headers["Cache-Control"] = "no-store"
    return response
