"""Errors as ``application/problem+json`` (RFC 9457), in sentences."""

from __future__ import annotations

import logging
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException

from apps.crowd import Busy
from facerec.database import BadDatabase, NotForgottenYet
from facerec.errors import BadNetwork, EmptyDatabase, FaceError, NoFaceFound, UnknownIdentity, UnreadableImage

logger = logging.getLogger(__name__)

TITLES = {
    400: "Bad request",
    401: "A key is needed",
    403: "This key is read-only",
    404: "Not found",
    405: "Method not allowed",
    408: "Too slow",
    409: "Conflicts with the database",
    413: "Too large",
    422: "This can't be used",
    429: "Too many requests",
    500: "Something went wrong",
    503: "Not ready, or busy",
}


class ProblemDetails(BaseModel):
    """An error (RFC 9457)."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str = Field(description="A sentence for people")
    reason: str = Field(description="A word for programs, such as no-face, unreadable, unknown-person")
    request: str = Field(description="The number of this request, as in the header X-Request-ID")


def announced(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The entries of a path's description for its problems; ``register`` adds the schema that they name.

    Example:
        >>> announced(404)[404]["description"]
        'Not found'
    """
    content = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/ProblemDetails"}}}
    return {status: {"description": TITLES[status], "content": content} for status in statuses}


#: What every path that needs a key may answer besides its own.
USUAL = announced(400, 401, 413, 422, 429, 503)


class Problem(HTTPException):
    """An error as the client gets it.

    Args:
        status: An HTTP status, one of ``TITLES``.
        detail: A sentence for people.
        reason: A word for programs.
        headers: More headers of the answer.
    """

    def __init__(self, status: int, detail: str, reason: str, headers: dict[str, str] | None = None):
        super().__init__(status, detail, headers)
        self.reason = reason


#: What the client is told of problems that are the server's own; the log says where, and why.
OURS = {
    "traces-left": "Removed, but traces may be left in the files of the database until it is opened again.",
    "broken": "The database or the network can't be used at the moment.",
}

#: The first kind that fits says the status and the word.
KINDS: tuple[tuple[type[FaceError], int, str], ...] = (
    (NoFaceFound, 422, "no-face"),
    (UnreadableImage, 422, "unreadable"),
    (UnknownIdentity, 404, "unknown-person"),
    (EmptyDatabase, 409, "no-people"),
    (Busy, 503, "busy"),
    (NotForgottenYet, 503, "traces-left"),
    (BadDatabase, 503, "broken"),
    (BadNetwork, 503, "broken"),
    (FaceError, 422, "not-understood"),
)


def register(app: FastAPI) -> None:
    """Answer every error with a problem instead of a traceback, and describe what a problem is."""
    describe = app.openapi

    def openapi() -> dict[str, Any]:
        described = describe()
        described["components"]["schemas"]["ProblemDetails"] = ProblemDetails.model_json_schema()
        return described

    app.openapi = openapi
    app.add_exception_handler(HTTPException, of_http)
    app.add_exception_handler(FaceError, _of_face)
    app.add_exception_handler(RequestValidationError, _of_validation)
    app.add_exception_handler(Exception, _of_fault)


def answer(request: Request, status: int, detail: str, reason: str, headers=None) -> JSONResponse:
    """A problem as a response."""
    number = getattr(request.state, "number", "")
    body = ProblemDetails(
        title=TITLES.get(status, "Error"), status=status, detail=detail, reason=reason, request=number
    )
    return JSONResponse(body.model_dump(), status, headers, "application/problem+json")


def of_http(request: Request, error: HTTPException) -> JSONResponse:
    """An error of HTTP, or a ``Problem``, as a response."""
    reasons = {404: "nowhere", 405: "other-way", 400: "not-understood"}
    reason = getattr(error, "reason", reasons.get(error.status_code, "refused"))
    return answer(request, error.status_code, str(error.detail), reason, error.headers)


def _of_face(request: Request, error: FaceError) -> JSONResponse:
    status, reason = next((status, reason) for kind, status, reason in KINDS if isinstance(error, kind))
    text = str(error.args[0]) if error.args else str(error)
    if reason in OURS:
        logger.error("%s", text)
        text = OURS[reason]
    return answer(request, status, text[:1].upper() + text[1:], reason)


def _of_validation(request: Request, error: RequestValidationError) -> JSONResponse:
    """The first thing that is wrong, without a copy of what was sent."""
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"][1:]) or str(first["loc"][0])
    return answer(request, 422, f"{where[:100]}: {first['msg']}", "not-understood")


def _of_fault(request: Request, error: Exception) -> JSONResponse:
    return answer(request, 500, "This is our fault, not yours. Please try again.", "broken")
