"""The description of the API, as OpenAPI 3.1 has it."""

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
    face=_say("string", "The aligned face, a JPEG in a data: address"),
    preview=_say("string", "The picture, small, with a box around the face, likewise"),
    box=_array(INTEGER, 4, "x, y, width and height of the face in pixels"),
    size=_array(INTEGER, 2, "width and height of the picture in pixels"),
    count=_say("integer", "How many faces there are; of several the largest counts", minimum=1),
    hints=_array({"type": "string"}, text="What would make a better picture; empty if nothing"),
    says=_say("string", "How many faces there are, in words"),
)
SCHEMAS = {
    "Session": _object(
        consent=_say("boolean", "Whether this session has agreed"),
        csrf_token=_say("string", "To be sent as X-CSRFToken with every POST and DELETE"),
        idle_minutes=_say("number", "After so many minutes without a request the session ends"),
    ),
    "Consent": _object(
        agree=_say("boolean", "I agree that the pictures I choose are compared until this session ends", const=True),
        adult=_say("boolean", "I am at least 18, and everyone in the pictures agreed", const=True),
    ),
    "Seen": SEEN,
    "Answer": _object(
        is_same=_say("boolean", "Whether the two faces look like one person's"),
        verdict=_say("string", "The same as a sentence"),
        sure=_say(["string", "null"], "How sure FaceNet is of it, in words"),
        distance=_say("number", "Between the two encodings", minimum=0, maximum=2),
        threshold=_say("number", "A smaller distance counts as one person"),
        probability=_say(["number", "null"], "That it is one person, if that is as probable as not before one looks"),
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
    """One way to ask: what it is for, the schema of its answer (None: there is nothing in it), what can go wrong."""
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
        "description": "Nothing is kept: pictures are looked at in memory and forgotten with the answer. Ask for "
        "/api/session, keep its cookie, send its csrf_token with everything else, and agree first.",
        "license": {"name": "MIT", "identifier": "MIT"},
    },
    "servers": [{"url": "/"}],
    "paths": {
        "/api/session": {
            "get": _operation("Consent and token", "Session", ()),
            "delete": {**_operation("End the session", None, (400,)), "parameters": [TOKEN]},
        },
        "/api/consent": {
            "post": {
                **_operation(
                    "Agree",
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
                    "The face of a picture", "Seen", PICTURE, _body("multipart/form-data", _object(picture=FILE))
                ),
                "parameters": [TOKEN],
            },
        },
        "/api/compare": {
            "post": {
                **_operation(
                    "Whether two pictures show one person",
                    "Answer",
                    PICTURE,
                    _body("multipart/form-data", _object(first=FILE, second=FILE)),
                ),
                "parameters": [TOKEN],
            },
        },
        "/api/openapi.json": {
            "get": {
                "summary": "This description",
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
