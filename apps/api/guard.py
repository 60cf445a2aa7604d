"""Who may ask, how much and how often; request numbers, health and metrics."""

from __future__ import annotations

import re
import secrets
import time
from typing import Annotated

from fastapi import APIRouter, Depends, FastAPI, Request, Response
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from limits import parse
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from starlette.datastructures import Headers
from starlette.formparsers import MultiPartParser
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from apps.api.keys import Key
from apps.api.problems import Problem, answer
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
    key = request.app.state.keys.find(sent.credentials) if sent else None
    if key is None or key.has_expired:
        why = "this one is unknown or was revoked" if key is None else "this one has expired"
        detail = f"Send a key as 'Authorization: Bearer …': {why if sent else 'none was sent'}."
        raise Problem(401, detail, "no-key", {"WWW-Authenticate": "Bearer"})
    limit, limiter = request.app.state.rate, request.app.state.limiter
    if not limiter.hit(limit, key.digest):
        wait = max(1, round(limiter.get_window_stats(limit, key.digest).reset_time - time.time()))
        raise Problem(429, f"This key may ask {limit}. Please wait.", "too-often", {"Retry-After": str(wait)})
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
    """Middleware: numbers each request, refuses large bodies, counts and times the answers.

    Args:
        app: The app behind it.
        metrics: The app's metrics.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics):
        self.app, self.metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request through, or answer it."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        sent = Headers(scope=scope)
        number = scope.setdefault("state", {})["number"] = _number(sent.get("x-request-id", ""))
        began, status, seen = time.perf_counter(), 500, 0

        async def limited() -> Message:
            nonlocal seen
            message = await receive()
            seen += len(message.get("body", b""))
            if seen > MAX_BODY:
                raise Problem(413, f"A request may have {MAX_BODY:,} bytes.", "too-large")
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
            await send(message)

        length = sent.get("content-length", "0")
        if not length.isdecimal() or int(length) > MAX_BODY:
            refused = answer(Request(scope), 413, f"A request may have {MAX_BODY:,} bytes.", "too-large")
            await refused(scope, receive, marked)
        else:
            await self.app(scope, limited, marked)
        route = scope.get("route")
        self.metrics.note(getattr(route, "path", "unknown"), scope["method"], status, time.perf_counter() - began)


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


@router.get("/healthz", tags=["operation"], responses={503: {"description": "Not ready yet"}})
def health(request: Request, response: Response) -> dict[str, str]:
    """Whether the network is loaded and the database is open; needs no key."""
    is_ready = request.app.state.service.is_ready
    response.status_code = 200 if is_ready else 503
    return {"status": "ready" if is_ready else "loading"}


@router.get("/metrics", tags=["operation"], dependencies=[Depends(reader)], response_class=Response)
def metrics(request: Request) -> Response:
    """Counts and durations for Prometheus; needs a key."""
    text = request.app.state.metrics.text(len(request.app.state.service.people))
    return Response(text, media_type=CONTENT_TYPE_LATEST)


def register(app: FastAPI, rate: str) -> None:
    """Add the guard to an app.

    Args:
        app: The app.
        rate: How often each key may ask, such as ``"600 per minute"``.

    Raises:
        BadArgument: If the rate makes no sense.
    """
    try:
        app.state.rate = parse(rate)
    except ValueError as error:
        raise BadArgument(f"rate={rate!r}: must be a rate, such as '600 per minute'") from error
    app.state.limiter = MovingWindowRateLimiter(MemoryStorage())
    app.state.metrics = Metrics()
    app.add_middleware(Guard, metrics=app.state.metrics)
    MultiPartParser.spool_max_size = MAX_BODY  # uploads stay in memory; beyond its size they would go to the disk
