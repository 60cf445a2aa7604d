"""Who may ask, how much and how often; request numbers, health and metrics."""

from __future__ import annotations

import re
import secrets
import time
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, FastAPI, Request, Response
from fastapi.responses import PlainTextResponse
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from limits import parse
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from pydantic import BaseModel
from starlette.datastructures import Headers
from starlette.formparsers import MultiPartParser
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from apps.api.keys import Key, Keys
from apps.api.problems import Problem, announced, of_http
from apps.crowd import MANY_BYTES, Door, Load
from apps.places import hosts
from facerec.errors import BadArgument

#: The largest request: one picture and the form around it.
MAX_BODY = 10_100_000

bearer = HTTPBearer(auto_error=False, description="A key, as `python -m apps.api.keys new NAME` prints it")
router = APIRouter()


# ------------------------------------------------------------------------------------------------------ keys
def reader(request: Request, sent: Annotated[HTTPAuthorizationCredentials | None, Depends(bearer)]) -> Key:
    """The key of a request, if it is valid and not used too often.

    Raises:
        Problem: 401 without a valid key, 429 if it is used too often.
    """
    key = _valid(request.app.state.keys, sent.credentials if sent else "")
    limit, limiter = request.app.state.rate, request.app.state.limiter
    if not limiter.hit(limit, key.digest):
        wait = max(1, round(limiter.get_window_stats(limit, key.digest).reset_time - time.time()))
        raise Problem(429, f"This key is limited to {limit}. Please wait.", "too-often", {"Retry-After": str(wait)})
    return key


def _valid(keys: Keys, secret: str) -> Key:
    """The key with this secret.

    Raises:
        Problem: 401 if there is none, or it has expired.
    """
    key = keys.find(secret) if secret else None
    if key is None or key.has_expired:
        why = "this one is unknown or was revoked" if key is None else "this one has expired"
        detail = f"Send a key as 'Authorization: Bearer …': {why if secret else 'none was sent'}."
        raise Problem(401, detail, "no-key", {"WWW-Authenticate": "Bearer"})
    return key


def writer(key: Annotated[Key, Depends(reader)]) -> Key:
    """The key of a request that may change the people.

    Raises:
        Problem: 403 if it may only read.
    """
    if not key.write:
        raise Problem(403, f"The key {key.name!r} may read, not change people.", "read-only")
    return key


# ------------------------------------------------------------------------------------------- sizes and numbers
class Guard:
    """Middleware: numbers each request, refuses bodies that are too large or have no key, counts and times the answers.

    Args:
        app: The app behind it.
        metrics: The app's metrics.
        keys: The app's keys.
        door: Counts the bytes of all bodies that are in memory.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics, keys: Keys, door: Door):
        self.app, self.metrics, self.keys, self.door = app, metrics, keys, door

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request through, or answer it."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        sent = Headers(scope=scope)
        number = scope.setdefault("state", {})["number"] = _number(sent.get("x-request-id", ""))
        began, status, seen = time.perf_counter(), 500, 0
        load = Load(self.door, (scope.get("client") or ("a socket",))[0])

        async def limited() -> Message:
            nonlocal seen
            message = await receive()
            count = len(message.get("body", b""))
            seen += count
            if seen > MAX_BODY:
                raise _too_large()
            if not load.add(count):
                raise Problem(503, MANY_BYTES, "busy", {"Retry-After": "5"})
            return message

        async def marked(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] += [
                    (b"x-request-id", number.encode()),
                    (b"cache-control", b"no-store"),
                    (b"x-content-type-options", b"nosniff"),
                ]
                if scope["scheme"] == "https":
                    message["headers"].append((b"strict-transport-security", b"max-age=31536000"))
            await send(message)

        try:
            self._check(sent)
        except Problem as problem:
            await of_http(Request(scope), problem)(scope, receive, marked)
        else:
            await self.app(scope, limited, marked)
        finally:
            load.drop()
        path = getattr(scope.get("route"), "path_format", "unknown")
        self.metrics.note(path, scope["method"], status, time.perf_counter() - began)

    def _check(self, sent: Headers) -> None:
        """Refuse a body that is too large, or comes without a key: it would be read before the key is looked at.

        Raises:
            Problem: 413 or 401.
        """
        length = sent.get("content-length", "0")
        if not length.isdecimal() or int(length) > MAX_BODY:
            raise _too_large()
        if int(length) or "transfer-encoding" in sent:
            scheme, _, secret = sent.get("authorization", "").partition(" ")
            _valid(self.keys, secret if scheme.lower() == "bearer" else "")


def _too_large() -> Problem:
    return Problem(413, f"A request may have at most {MAX_BODY:,} bytes.", "too-large")


def _number(sent: str) -> str:
    """The client's own number of a request, if it is a harmless one, or a new one."""
    return sent if re.fullmatch(r"[\w.-]{1,64}", sent, re.ASCII) else secrets.token_hex(8)


# ---------------------------------------------------------------------------------------------------- metrics
class Metrics:
    """What Prometheus reads: counts and durations by path and status, and the number of people."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        labels = ("path", "method", "status")
        self._requests = Counter("faces_requests", "Requests answered", labels, registry=self.registry)
        self._seconds = Histogram("faces_seconds", "Seconds to an answer", ("path",), registry=self.registry)
        self._people = Gauge("faces_people", "People in the database", registry=self.registry)

    def note(self, path: str, method: str, status: int, seconds: float) -> None:
        """Count an answer."""
        self._requests.labels(path, method if method in METHODS else "other", status).inc()
        self._seconds.labels(path).observe(seconds)

    def text(self, people: int) -> bytes:
        """All metrics, in the format of Prometheus."""
        self._people.set(people)
        return generate_latest(self.registry)


METHODS = {"GET", "POST", "PATCH", "DELETE"}


class Health(BaseModel):
    """Whether the server can answer."""

    status: Literal["ready", "loading"]


@router.get("/healthz", tags=["operation"], responses={503: {"description": "Not ready yet", "model": Health}})
def health(request: Request, response: Response) -> Health:
    """Whether the network is loaded and the database is open; needs no key."""
    is_ready = request.app.state.service.is_ready
    response.status_code = 200 if is_ready else 503
    return Health(status="ready" if is_ready else "loading")


@router.get(
    "/metrics",
    tags=["operation"],
    dependencies=[Depends(reader)],
    response_class=PlainTextResponse,
    responses=announced(401, 429, 503),
)
def metrics(request: Request) -> PlainTextResponse:
    """Counts and durations for Prometheus; needs a key."""
    text = request.app.state.metrics.text(len(request.app.state.service.people))
    return PlainTextResponse(text, media_type=CONTENT_TYPE_LATEST)


def register(app: FastAPI, rate: str, door: Door) -> None:
    """Add the guard to an app, whose ``state.keys`` are its keys.

    Args:
        app: The app.
        rate: How often each key may ask, such as ``"600 per minute"``.
        door: Counts the bytes of all bodies that are in memory.

    Raises:
        BadArgument: If the rate makes no sense.
    """
    try:
        app.state.rate = parse(rate)
    except ValueError as error:
        raise BadArgument(f"rate={rate!r}: must be a rate, such as '600 per minute'") from error
    app.state.limiter = MovingWindowRateLimiter(MemoryStorage())
    app.state.metrics = Metrics()
    app.add_middleware(Guard, metrics=app.state.metrics, keys=app.state.keys, door=door)
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=hosts(), www_redirect=False)
    MultiPartParser.spool_max_size = MAX_BODY  # uploads stay in memory; beyond its size they would go to the disk
