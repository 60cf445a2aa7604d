"""The description of the API, in OpenAPI 3.1."""

from __future__ import annotations

from apps.flask.problems import TEXTS


def _object(**properties: dict) -> dict:
    return {"type": "object", "required": list(properties), "additionalProperties": False, "properties": properties}


def _say(kind: str, text: str, **more) -> dict:
    return {"type": kind, "description": text, **more}


def _array(items: dict, count: int | None = None, text: str = "") -> dict:
    bounds = {} if count is None else {"minItems": count, "maxItems": count}
    return {"type": "array", "items": items, **bounds} | ({"description": text} if text else {})


INTEGER, NUMBER = {"type": "integer"}, {"type": "number"}
FILE = {"type": "string", "contentMediaType": "application/octet-stream"}

SEEN = _object(
    face=_say("string", "The aligned face, as a JPEG in a data: URL"),
    preview=_say("string", "The picture, scaled down, with a box around the face, as a JPEG in a data: URL"),
    box=_array(INTEGER, 4, "The face's x, y, width and height in pixels"),
    size=_array(INTEGER, 2, "The picture's width and height in pixels"),
    count=_say("integer", "The number of faces; the largest one is compared", minimum=1),
    hints=_array({"type": "string"}, text="What would make a better picture, if anything"),
    says=_say("string", "The number of faces, in words"),
)
SCHEMAS = {
    "Session": _object(
        consent=_say("boolean", "Whether this session has given consent"),
        csrf_token=_say("string", "Send it as X-CSRFToken with every POST and DELETE"),
        idle_minutes=_say("number", "The session ends after this many minutes without a request"),
    ),
    "Consent": _object(
        agree=_say("boolean", "I agree that the pictures I choose are compared, until this session ends", const=True),
        adult=_say("boolean", "I am at least 18, and everyone in the pictures has agreed", const=True),
    ),
    "Seen": SEEN,
    "Answer": _object(
        is_same=_say("boolean", "Whether the two faces look like the same person"),
        verdict=_say("string", "The verdict in a sentence"),
        sure=_say(["string", "null"], "How sure FaceNet is, in words; null for a network that was never calibrated"),
        distance=_say("number", "The distance between the two encodings", minimum=0, maximum=2),
        threshold=_say("number", "A smaller distance counts as one person"),
        probability=_say(
            ["number", "null"],
            "The probability that both show one person, if before looking it was 0.5; null if never calibrated",
        ),
        twins=_object(score=NUMBER, threshold=NUMBER, agree={"type": "boolean"}, says={"type": "string"}),
        pictures=_array({"$ref": "#/components/schemas/Seen"}, 2),
    ),
    "Health": _object(status={"const": "ready"}),
    "Problem": {
        "type": "object",
        "description": "RFC 9457",
        "required": ["type", "title", "status", "detail", "reason"],
        "additionalProperties": False,
        "properties": {
            "type": {"type": "string"},
            "title": {"type": "string"},
            "status": INTEGER,
            "detail": _say("string", "A sentence for people"),
            "reason": _say("string", "A word for programs"),
            "picture": _say("integer", "Which picture is meant", enum=[0, 1]),
        },
    },
}


def _operation(summary: str, answer: str | None, problems: tuple[int, ...], body: dict | None = None) -> dict:
    """One operation: its summary, the schema of its answer (None: no content), and the statuses of its problems."""
    done = {"204": {"description": "Done"}}
    if answer:
        schema = {"$ref": f"#/components/schemas/{answer}"}
        done = {"200": {"description": summary, "content": {"application/json": {"schema": schema}}}}
    problem = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
    wrong = {str(status): {"description": TEXTS[status][0], "content": problem} for status in problems}
    return {"summary": summary, "responses": done | wrong} | ({"requestBody": body} if body else {})


def _body(kind: str, schema: dict) -> dict:
    return {"required": True, "content": {kind: {"schema": schema}}}


TOKEN = {"name": "X-CSRFToken", "in": "header", "required": True, "schema": {"type": "string"}}
PICTURE = (400, 403, 413, 415, 422, 429, 500, 503)

DESCRIPTION = {
    "openapi": "3.1.0",
    "info": {
        "title": "Do two pictures show one person?",
        "version": "1.0.0",
        "description": "Nothing is kept: pictures are compared in memory and forgotten after the answer. First get "
        "/api/session, keep its cookie, and send its csrf_token with every POST and DELETE; then give consent.",
        "license": {"name": "MIT", "identifier": "MIT"},
    },
    "servers": [{"url": "/"}],
    "paths": {
        "/api/session": {
            "get": _operation("The session's consent and token", "Session", ()),
            "delete": {**_operation("End the session", None, (400,)), "parameters": [TOKEN]},
        },
        "/api/consent": {
            "post": {
                **_operation(
                    "Give consent",
                    "Session",
                    (400, 413, 415),
                    _body("application/json", {"$ref": "#/components/schemas/Consent"}),
                ),
                "parameters": [TOKEN],
            },
        },
        "/api/detect": {
            "post": {
                **_operation(
                    "Find the face in a picture", "Seen", PICTURE, _body("multipart/form-data", _object(picture=FILE))
                ),
                "parameters": [TOKEN],
            },
        },
        "/api/compare": {
            "post": {
                **_operation(
                    "Compare two pictures",
                    "Answer",
                    PICTURE,
                    _body("multipart/form-data", _object(first=FILE, second=FILE)),
                ),
                "parameters": [TOKEN],
            },
        },
        "/api/openapi.json": {
            "get": {
                "summary": "Get this description",
                "responses": {
                    "200": {
                        "description": "OpenAPI 3.1",
                        "content": {"application/json": {"schema": {"type": "object"}}},
                    }
                },
            },
        },
        "/healthz": {"get": _operation("Whether the networks are loaded", "Health", (503,))},
    },
    "components": {"schemas": SCHEMAS},
}
