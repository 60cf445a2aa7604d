"""Errors in friendly sentences: as a page for people, as ``application/problem+json`` (RFC 9457) for programs."""

from __future__ import annotations

from flask import Flask, Response, json, render_template, request
from flask_wtf.csrf import CSRFError
from werkzeug.exceptions import HTTPException, InternalServerError, SecurityError

from apps.crowd import MANY_PICTURES, TOO_SLOW, Busy
from facerec.errors import FaceError, NoFaceFound

#: Status → the title of its page, and a sentence.
TEXTS = {
    400: ("Bad request", "Part of the request is missing, or it does not come from this page."),
    403: ("Consent first", "Nothing is compared without your consent. Please start at the first page."),
    404: ("Page not found", "There is no page at this address."),
    405: ("Method not allowed", "This address exists, but it does not answer this kind of request."),
    408: ("Too slow", TOO_SLOW),
    413: ("Too large", "Each picture may have up to 10 MB, and nothing but the two pictures may be sent."),
    415: ("Wrong format", "Please send pictures as a form (multipart/form-data) and consent as JSON."),
    422: ("This picture can't be compared", "The picture can't be used."),
    429: ("Too many requests", "Please wait a moment, then try again."),
    500: ("Something went wrong", "This is our fault, not yours. Nothing was kept. Please try again."),
    503: ("Busy", MANY_PICTURES),
}

UNKNOWN_HOST = "This server does not go by that name. The setting FACES_HOSTS lists its names."


class Problem(HTTPException):
    """An error as the visitor gets it.

    Args:
        status: An HTTP status, one of ``TEXTS``.
        reason: A word for programs.
        detail: A sentence for people; None takes the status's.
        picture: The picture that is meant, 0 or 1, if it is about one.
        retry_after: Seconds after which another try may work.
    """

    def __init__(
        self,
        status: int,
        reason: str,
        detail: str | None = None,
        picture: int | None = None,
        retry_after: int | None = None,
    ) -> None:
        super().__init__(detail)
        self.code, self.reason, self.picture, self.retry_after = status, reason, picture, retry_after
        self.detail = detail or TEXTS[status][1]

    @classmethod
    def of(cls, error: FaceError, picture: int | None = None) -> Problem:
        """The problem of a picture that can't be used."""
        text = str(error)
        reason = "no-face" if isinstance(error, NoFaceFound) else "unreadable"
        return cls(422, reason, text[:1].upper() + text[1:], picture)


def wants_json() -> bool:
    """Whether the request comes from a program, or from our own page's script."""
    return request.path.startswith(("/api/", "/healthz")) or "X-Part" in request.headers


def register(app: Flask) -> None:
    """Answer every error with a sentence instead of a traceback."""
    app.register_error_handler(HTTPException, _answer)
    app.register_error_handler(Busy, lambda error: _answer(Problem(503, "busy", str(error), retry_after=5)))


def _answer(error: HTTPException) -> Response:
    if isinstance(error, SecurityError):  # nothing can be drawn for a name that is not ours
        return Response(f"{UNKNOWN_HOST}\n", 400, mimetype="text/plain")
    problem = _as_problem(error)
    title = TEXTS[problem.code][0]
    if wants_json():
        body = {"type": "about:blank", "title": title, "status": problem.code, "detail": problem.detail}
        body |= {"reason": problem.reason} | ({} if problem.picture is None else {"picture": problem.picture})
        response = Response(json.dumps(body), problem.code, mimetype="application/problem+json")
    else:
        response = Response(render_template("problem.html", title=title, detail=problem.detail), problem.code)
    for name, value in error.get_headers():
        if name == "Allow":  # the methods that are allowed
            response.headers[name] = value
    if problem.retry_after is not None:
        response.headers["Retry-After"] = str(problem.retry_after)
    return response


def _as_problem(error: HTTPException) -> Problem:
    """The errors of Flask and its extensions in our words, since theirs may repeat the request."""
    if isinstance(error, Problem):
        return error
    if isinstance(error, CSRFError):
        return Problem(400, "csrf", "This page has expired. Please reload it and try again.")
    if isinstance(error, InternalServerError) or error.code not in TEXTS:
        status = 500 if error.code is None or error.code >= 500 else 400
        return Problem(status, "broken" if status == 500 else "not-understood")
    reasons = {404: "nowhere", 405: "other-way", 413: "too-large", 415: "other-form", 429: "too-often"}
    return Problem(error.code, reasons.get(error.code, "not-understood"))
