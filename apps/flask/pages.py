"""The pages: consent, two pictures, the answer, goodbye. They work without JavaScript."""

from __future__ import annotations

from importlib.resources import files

from flask import Blueprint, Response, current_app, redirect, render_template, request, send_from_directory, url_for

from apps.comparison import NAMES
from apps.flask import faces, safety
from apps.flask.problems import Problem

blueprint = Blueprint("pages", __name__)

#: The scale of distances ends here: two faces are hardly ever farther apart.
SCALE_END = 1.5


@blueprint.app_context_processor
def _for_every_page() -> dict:
    return {"has_agreed": safety.has_agreed(), "idle_minutes": current_app.config["IDLE_MINUTES"]}


@blueprint.get("/static/camera.js")
def camera_script() -> Response:
    """The script that opens a camera, which the notebook's widget and the other app use, too."""
    return send_from_directory(str(files("facerec.live")), "camera.js")


@blueprint.get("/")
def start() -> str:
    """The first page: what happens to the pictures, and consent."""
    sent_by = {"ended": "Your session has ended. Please agree again to continue.", "agree": "Please agree first."}
    said = "" if safety.has_agreed() else next((sent_by[why] for why in sent_by if why in request.args), "")
    return render_template("start.html", error="", said=said)


@blueprint.post("/consent")
def consent() -> Response | tuple[str, int]:
    """Consent needs both boxes."""
    if not request.form.get("agree") == request.form.get("adult") == "yes":
        return render_template(
            "start.html", error="Please tick both boxes to continue, or choose “No, thank you”."
        ), 400
    safety.agree()
    return redirect(url_for("pages.compare"), 303)


@blueprint.get("/no")
def declined() -> str:
    """A friendly goodbye to visitors who do not agree."""
    safety.end()
    return render_template("declined.html")


@blueprint.route("/compare", methods=["GET", "POST"])
def compare() -> str | tuple[str, int]:
    """The form for two pictures and, after it was sent, the answer; our own script gets only the answer."""
    if request.method == "GET":
        return render_template("compare.html")
    is_script = "X-Part" in request.headers
    try:
        answer = _answer()
    except Problem as problem:
        if is_script or problem.code not in (400, 413, 422):
            raise
        return render_template("compare.html", error=problem.detail), problem.code
    return render_template("_result.html" if is_script else "compare.html", answer=answer, end=SCALE_END)


def _answer() -> faces.Answer:
    networks = current_app.networks
    pictures = [faces.bytes_of(request.files, field, NAMES[i], i) for i, field in enumerate(("first", "second"))]
    return networks.run(lambda: faces.compare(networks.comparer, *pictures))


@blueprint.post("/end")
def end() -> Response:
    """End the session."""
    safety.end()
    return redirect(url_for("pages.goodbye"), 303)


@blueprint.get("/goodbye")
def goodbye() -> str | Response:
    """The page after the session; a visitor whose session has not ended goes back to the pictures."""
    if safety.has_agreed():
        return redirect(url_for("pages.compare"), 303)
    return render_template("goodbye.html")
