"""The JSON API, for programs and for the page's script; ``/api/openapi.json`` describes it."""

from __future__ import annotations

import math
from dataclasses import asdict

from flask import Blueprint, Response, current_app, jsonify, request
from flask_wtf.csrf import generate_csrf

from apps.comparison import NAMES
from apps.flask import faces, safety
from apps.flask.openapi import DESCRIPTION
from apps.flask.problems import Problem

blueprint = Blueprint("api", __name__)


@blueprint.get("/api/session")
def session_state() -> Response:
    """The session's consent, and the token that every POST and DELETE needs."""
    return _state()


@blueprint.post("/api/consent")
def consent() -> Response:
    """Give consent, as on the first page."""
    if not request.is_json:
        raise Problem(415, "other-form", "Please send consent as JSON.")
    try:
        said = request.get_json(silent=True)
    except RecursionError:  # thousands of nested brackets
        said = None
    if not isinstance(said, dict) or said.get("agree") is not True or said.get("adult") is not True:
        raise Problem(400, "no-consent", 'Consent needs both: {"agree": true, "adult": true}.')
    safety.agree()
    return _state()


@blueprint.delete("/api/session")
def end() -> tuple[str, int]:
    """End the session."""
    safety.end()
    return "", 204


@blueprint.post("/api/detect")
def detect() -> Response:
    """The face of one picture."""
    data = faces.bytes_of(_files(), "picture", "the picture")
    return jsonify(_seen(current_app.networks.run(faces.detect, data)))


@blueprint.post("/api/compare")
def compare() -> Response:
    """Whether two pictures show one person."""
    networks, files = current_app.networks, _files()
    pictures = [faces.bytes_of(files, field, NAMES[i], i) for i, field in enumerate(("first", "second"))]
    answer = networks.run(lambda: faces.compare(networks.comparer, *pictures))
    said = answer.said
    twins = {"score": said.score, "threshold": said.score_threshold, "agree": said.twins_agree}
    return jsonify(
        is_same=said.is_same,
        verdict=said.verdict,
        sure=said.certainty.words or None,
        distance=said.distance,
        threshold=said.threshold,
        probability=None if math.isnan(said.probability) else said.probability,
        twins=twins | {"says": said.second_opinion},
        pictures=[_seen(seen) for seen in answer.seen],
    )


@blueprint.get("/api/openapi.json")
def description() -> Response:
    """The description of this API."""
    return jsonify(DESCRIPTION)


@blueprint.get("/healthz")
def health() -> Response:
    """Whether the networks are loaded."""
    if not current_app.networks.are_ready:
        raise Problem(503, "loading", "The networks are still loading.", retry_after=5)
    return jsonify(status="ready")


def _files():
    if request.mimetype != "multipart/form-data":
        raise Problem(415, "other-form")
    return request.files


def _state() -> Response:
    minutes = current_app.config["IDLE_MINUTES"]
    return jsonify(consent=safety.has_agreed(), csrf_token=generate_csrf(), idle_minutes=minutes)


def _seen(seen: faces.Seen) -> dict:
    return asdict(seen) | {"says": seen.in_words}
