"""What went wrong, in a friendly sentence: a page for people, ``application/problem+json`` (RFC 9457) for programs."""

from __future__ import annotations

from flask import Flask, Response, json, render_template, request
from flask_wtf.csrf import CSRFError
from werkzeug.exceptions import HTTPException, InternalServerError

from apps.comparison import NAMES
from facerec.errors import FaceError, NoFaceFound

#: Status → what a page calls it, and a sentence.
TEXTS = {
    400: ("That was not understood", "Something is missing in what was sent, or it is not what this page sends."),
    403: ("Consent first", "Please agree first: nothing is compared without it. Start at the first page."),
    404: ("There is nothing here", "This address leads nowhere. The first page leads everywhere."),
    405: ("Not in this way", "This address exists, but it is asked in another way."),
    413: ("Too large", "Each picture may have up to 10 MB, and only the two pictures may be sent."),
    415: ("Not in this form", "Pictures are sent as a form (multipart/form-data), consent as JSON."),
    422: ("This picture can't be compared", "The picture can't be used."),
    429: ("A short break", "That was often. Please wait a moment, then go on."),
    500: ("Something broke", "That is our fault, not yours. Nothing was kept; please try again."),
    503: ("Busy just now", "Many pictures are being compared. Please try again in a few seconds."),
}


class Problem(HTTPException):
    """An answer that is no success.

    Args:
        status: A status of HTTP, one of TEXTS.
        reason: What went wrong, in a word that programs can look for.
        detail: The same for people; None takes the sentence of the status.
        picture: Which picture is meant, 0 or 1, if one is.
        retry_after: Seconds after which it may work.
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
        """What a picture that can't be used leads to."""
        text = str(error)
        if picture is None:
            picture = next((i for i, name in enumerate(NAMES) if name in text), None)
        reason = "no-face" if isinstance(error, NoFaceFound) else "unreadable"
        return cls(422, reason, text[:1].upper() + text[1:], picture)


def wants_json() -> bool:
    """Whether a program asks, or the script of our own page."""
    return request.path.startswith(("/api/", "/healthz")) or "X-Part" in request.headers


def register(app: Flask) -> None:
    """Answer every error with a sentence: nobody sees a traceback."""
    app.register_error_handler(HTTPException, _answer)


def _answer(error: HTTPException) -> Response:
    problem = _as_problem(error)
    title = TEXTS[problem.code][0]
    if wants_json():
        body = {"type": "about:blank", "title": title, "status": problem.code, "detail": problem.detail}
        body |= {"reason": problem.reason} | ({} if problem.picture is None else {"picture": problem.picture})
        response = Response(json.dumps(body), problem.code, mimetype="application/problem+json")
    else:
        response = Response(render_template("problem.html", title=title, detail=problem.detail), problem.code)
    for name, value in error.get_headers():
        if name == "Allow":  # which ways there are
            response.headers[name] = value
    if problem.retry_after is not None:
        response.headers["Retry-After"] = str(problem.retry_after)
    return response


def _as_problem(error: HTTPException) -> Problem:
    """The errors of Flask and its extensions in our words: theirs may repeat what was sent."""
    if isinstance(error, Problem):
        return error
    if isinstance(error, CSRFError):
        return Problem(400, "csrf", "This page has become too old. Please load it again, then try once more.")
    if isinstance(error, InternalServerError) or error.code not in TEXTS:
        status = 500 if error.code is None or error.code >= 500 else 400
        return Problem(status, "broken" if status == 500 else "not-understood")
    reasons = {404: "nowhere", 405: "other-way", 413: "too-large", 415: "other-form", 429: "too-often"}
    return Problem(error.code, reasons.get(error.code, "not-understood"))
