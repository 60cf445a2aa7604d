"""The Flask app: nothing before consent, right answers, friendly refusals, and nothing kept.

Most of it asks the app itself, with the real networks. What needs a server, Chromium, a crowd or much time is marked:
`make test-apps` runs it.
"""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import doctest
import gc
import http.client
import io
import itertools
import json
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import weakref
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pytest
from openapi_schema_validator import OAS31Validator
from openapi_spec_validator import validate

import apps.flask
from apps.comparison import Comparer
from apps.flask import SETTINGS, create_app, faces, safety
from apps.flask.__main__ import _serve, main
from apps.flask.openapi import DESCRIPTION
from apps.flask.server import make_server
from facerec._files import ROOT
from facerec.errors import BadArgument
from facerec.photos import load_image
from tests.chromium import (
    NEEDED,
    SIZES,
    browser,
    free_port,
    look,
    serious_violations,
    serving,
    write_film,
)
from tests.hostile import NAMES, SIGN, hostile_uploads

FREE = {"COMPARE_LIMIT": "", "DETECT_LIMIT": ""}
LENA, CAMERA, OTTO = ((ROOT / "images" / f"{name}.jpg").read_bytes() for name in ("lena", "camera_0", "otto"))
BLANK = cv2.imencode(".png", np.full((120, 160, 3), 200, np.uint8))[1].tobytes()
OPEN_PATHS = {
    "/",
    "/consent",
    "/no",
    "/end",
    "/goodbye",
    "/api/session",
    "/api/consent",
    "/api/openapi.json",
    "/healthz",
}
BOTH = {"agree": True, "adult": True}


class Visitor:
    """Somebody who asks the app, with a cookie and a token; ``met`` notes what the API answered."""

    def __init__(self, app, agreed: bool = True, met: set | None = None):
        self.client, self.met = app.test_client(), set() if met is None else met
        self.token = self.client.get("/api/session").json["csrf_token"]
        if agreed:
            assert self.api("POST", "/api/consent", json=BOTH).status_code == 200

    def api(self, method: str, path: str, token: str | None = None, **what):
        token = self.token if token is None else token
        answer = self.client.open(path, method=method, headers={"X-CSRFToken": token}, **what)
        self.met.add((path, method.lower(), str(answer.status_code)))
        return answer

    def detect(self, picture: bytes, name: str = "a.jpg", **more):
        return self.api("POST", "/api/detect", data={"picture": (io.BytesIO(picture), name)}, **more)

    def compare(self, first: bytes, second: bytes, path: str = "/api/compare", **more):
        files = {"first": (io.BytesIO(first), "a.jpg"), "second": (io.BytesIO(second), "b.jpg")}
        return self.api("POST", path, data=files, **more)


@pytest.fixture(scope="module")
def comparer(network) -> Comparer:
    return Comparer(network)


@pytest.fixture(scope="module")
def app(comparer):
    return create_app({"COMPARER": comparer, **FREE})


@pytest.fixture
def visitor(app) -> Visitor:
    return Visitor(app)


def is_problem(answer, status: int) -> bool:
    """Whether it is a problem in our form, of that status, and in a sentence."""
    friendly = answer.mimetype == "application/problem+json" and answer.json["detail"][0].isupper()
    return answer.status_code == answer.json["status"] == status and friendly


# --------------------------------------------------------------------------------------------------- consent
ROUTES = sorted(
    (rule.rule, method)
    for rule in create_app(FREE).url_map.iter_rules()
    for method in rule.methods - {"HEAD", "OPTIONS"}
    if rule.endpoint != "static"
)


@pytest.mark.parametrize(("path", "method"), [each for each in ROUTES if each[0] not in OPEN_PATHS])
def test_nothing_works_before_consent(app, path, method):
    answer = Visitor(app, agreed=False).api(method, path)
    if path.startswith("/api/"):
        assert is_problem(answer, 403) and answer.json["reason"] == "no-consent"
    else:
        assert answer.status_code == 303 and answer.location == ("/" if method == "GET" else "/?ended=1")


def test_what_is_open_before_consent_is_what_we_think():
    assert {path for path, _ in ROUTES} - OPEN_PATHS == {"/compare", "/api/detect", "/api/compare"}
    assert {rule.endpoint for rule in create_app(FREE).url_map.iter_rules() if rule.rule in OPEN_PATHS} | {
        "static"
    } == safety.OPEN


@pytest.mark.parametrize("said", [{}, {"agree": True}, {"adult": True}, {"agree": "yes", "adult": 1}, [], "yes"])
def test_half_a_consent_is_none(app, said):
    visitor = Visitor(app, agreed=False)
    assert is_problem(visitor.api("POST", "/api/consent", json=said), 400)
    assert visitor.client.get("/compare").status_code == 303


def test_a_consent_of_brackets_in_brackets_is_none(app):
    deep = Visitor(app, agreed=False).api("POST", "/api/consent", data=b"[" * 9_999, content_type="application/json")
    assert is_problem(deep, 400)


@pytest.mark.parametrize("boxes", [{}, {"agree": "yes"}, {"adult": "yes"}, {"agree": "no", "adult": "no"}])
def test_the_first_page_wants_both_boxes(app, boxes):
    visitor = Visitor(app, agreed=False)
    answer = visitor.api("POST", "/consent", data=boxes)
    assert answer.status_code == 400 and "Please tick both boxes" in answer.text
    assert visitor.client.get("/compare").status_code == 303
    assert "That is fine" in visitor.client.get("/no").text


def test_with_both_boxes_the_pictures_come_next_and_the_end_is_the_end(app):
    visitor = Visitor(app, agreed=False)
    answer = visitor.api("POST", "/consent", data={"agree": "yes", "adult": "yes"})
    assert answer.status_code == 303 and answer.location == "/compare"
    assert "First picture" in visitor.client.get("/compare").text
    copied = visitor.client.get_cookie("comparison").value
    assert visitor.api("POST", "/end").location == "/goodbye"
    assert visitor.client.get_cookie("comparison") is None
    assert visitor.client.get("/compare").status_code == 303
    assert "has ended" in visitor.client.get("/goodbye").text
    visitor.client.set_cookie("comparison", copied)  # somebody kept a copy of it
    assert visitor.client.get("/compare").status_code == 303


def test_a_session_over_the_api_ends_too(visitor):
    assert visitor.detect(LENA).status_code == 200
    assert visitor.api("DELETE", "/api/session").status_code == 204
    assert is_problem(visitor.detect(LENA), 403)


def test_nobody_is_told_that_a_session_has_ended_that_has_not(visitor):
    assert visitor.client.get("/goodbye").location == "/compare"


def test_a_consent_that_another_server_signed_is_none(app):
    forged = Visitor(create_app(FREE)).client.get_cookie("comparison").value
    client = app.test_client()
    client.set_cookie("comparison", forged)
    assert client.get("/compare").status_code == 303


def test_ended_sessions_are_forgotten_when_their_cookies_are_too_old():
    ended = safety.Ended()
    for name, seconds in (("old", -1), ("older", -2), ("fresh", 60)):
        ended.add(name, seconds)
    ended.add("fresh", 60)
    assert [name for name in ("old", "older", "fresh") if name in ended] == ["fresh"]


def test_an_idle_session_ends(comparer):
    app = create_app({"COMPARER": comparer, **FREE, "IDLE_MINUTES": 1 / 60})
    visitor = Visitor(app)
    assert visitor.client.get("/compare").status_code == 200
    time.sleep(2.1)
    page = visitor.client.get("/compare", follow_redirects=True).text
    assert "Your session has ended: agree again to go on." in page and 'id="agree"' in page
    assert "has ended" not in visitor.client.get("/").text


def test_who_is_in_is_not_told_that_the_session_has_ended(visitor):
    assert "has ended" not in visitor.client.get("/?ended=1").text


def test_the_cookie_is_nobody_elses(app):
    cookie = app.test_client().get("/").headers["Set-Cookie"]
    assert "HttpOnly" in cookie and "SameSite=Strict" in cookie and "Path=/" in cookie
    assert "Expires" not in cookie and "Max-Age" not in cookie and "Secure" not in cookie
    assert "Secure" in app.test_client().get("/", base_url="https://example.org").headers["Set-Cookie"]
    assert create_app().secret_key != create_app().secret_key


# -------------------------------------------------------------------------------------- forgery, sizes, rates
@pytest.mark.parametrize("token", ["", "wrong", "IjAwIg.aaaa.bbbb"])
@pytest.mark.parametrize(("path", "method"), [each for each in ROUTES if each[1] != "GET"])
def test_a_forged_request_is_refused(visitor, path, method, token):
    answer = visitor.api(method, path, token)
    assert answer.status_code == 400
    if path.startswith("/api/"):
        assert is_problem(answer, 400) and answer.json["reason"] == "csrf"
    else:
        assert "too old" in answer.text


def test_the_token_of_somebody_else_opens_nothing(app, visitor):
    assert is_problem(visitor.detect(LENA, token=Visitor(app).token), 400)


def test_over_https_forms_work_although_no_referrer_is_sent(comparer):
    app = create_app({"COMPARER": comparer, **FREE})
    client = app.test_client()
    page = client.get("/", base_url="https://example.org").text
    token = re.search(r'name="csrf_token" value="([^"]+)"', page)[1]
    data = {"csrf_token": token, "agree": "yes", "adult": "yes"}
    assert client.post("/consent", data=data, base_url="https://example.org").status_code == 303


def test_what_is_too_large_is_refused(visitor):
    assert is_problem(visitor.detect(LENA + bytes(faces.MAX_BYTES)), 413)
    assert is_problem(visitor.compare(LENA, LENA + bytes(faces.MAX_BYTES)), 413)
    assert is_problem(visitor.compare(bytes(faces.MAX_BYTES), bytes(faces.MAX_BYTES + 20_000)), 413)
    page = visitor.compare(LENA + bytes(faces.MAX_BYTES), LENA, path="/compare")
    assert page.status_code == 413 and "more than 10 MB" in page.text
    many = {name: (io.BytesIO(LENA), "a.jpg") for name in ("first", "second", "third", "fourth", "fifth")}
    assert is_problem(visitor.api("POST", "/api/compare", data=many), 413)
    assert visitor.detect(LENA + bytes(faces.MAX_BYTES - len(LENA))).status_code == 200  # just small enough


def test_too_many_pixels_are_refused_before_they_are_unpacked(visitor):
    side = 6_000
    answer = visitor.detect(cv2.imencode(".png", np.zeros((side, side), np.uint8))[1].tobytes())
    assert is_problem(answer, 422) and "25 million pixels" in answer.json["detail"]


def test_who_asks_too_often_waits(comparer):
    visitor = Visitor(create_app({"COMPARER": comparer, "COMPARE_LIMIT": "2 per minute"}))
    assert visitor.compare(LENA, CAMERA).status_code == 200
    assert visitor.compare(LENA, BLANK, path="/compare").status_code == 422  # counts as well
    answer = visitor.compare(LENA, CAMERA)
    assert is_problem(answer, 429) and 0 < int(answer.headers["Retry-After"]) <= 60
    page = visitor.compare(LENA, CAMERA, path="/compare")
    assert page.status_code == 429 and "A short break" in page.text and "Retry-After" in page.headers
    assert visitor.detect(LENA).status_code == visitor.client.get("/compare").status_code == 200


@pytest.mark.parametrize(
    "settings",
    [
        {"COMPARE_LIMIT": "often"}, {"DETECT_LIMIT": 7}, {"SECRET_KEY": "short"}, {"IDLE_MINUTES": 0}, {"AT_ONCE": 0},
    ],
)  # fmt: skip
def test_a_setting_without_sense_is_named(settings):
    with pytest.raises(BadArgument, match=next(iter(settings))):
        create_app(settings)


def test_the_environment_sets_limits_and_secret(monkeypatch):
    monkeypatch.setenv("COMPARE_LIMIT", "3 per hour")
    monkeypatch.setenv("DETECT_LIMIT", "")
    monkeypatch.setenv("COMPARE_SECRET", "sixteen letters!")
    app = create_app()
    assert (app.config["COMPARE_LIMIT"], app.config["DETECT_LIMIT"]) == ("3 per hour", "")
    assert app.secret_key == "sixteen letters!"
    assert SETTINGS["COMPARE_LIMIT"] == "60 per minute"


# --------------------------------------------------------------------------------------------------- headers
def test_every_answer_forbids_what_it_does_not_need(app, visitor):
    answers = [visitor.client.get(path) for path in ("/", "/compare", "/no", "/nowhere", "/healthz", "/api/session")]
    answers += [visitor.client.get("/static/style.css"), visitor.client.put("/compare"), visitor.detect(LENA)]
    answers += [visitor.compare(LENA, CAMERA, path="/compare"), visitor.client.get("/static/../__init__.py")]
    for answer in answers:
        policy = dict(part.split(" ", 1) for part in answer.headers["Content-Security-Policy"].split("; "))
        assert policy["default-src"] == "'none'" and policy["script-src"] == policy["style-src"] == "'self'"
        assert policy["frame-ancestors"] == policy["base-uri"] == "'none'" and "unsafe" not in str(policy)
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Referrer-Policy"] == "no-referrer"
        assert answer.headers["Permissions-Policy"].startswith("camera=(self)")
        assert answer.headers["Cross-Origin-Opener-Policy"] == "same-origin"
        is_static = answer.request.path.startswith("/static/")
        assert is_static or answer.headers["Cache-Control"] == "no-store"


def test_no_page_has_a_script_or_a_style_in_it_or_asks_anybody_else(app, visitor):
    pages = [visitor.client.get(path).text for path in ("/", "/compare", "/nowhere", "/no", "/goodbye")]
    visitor = Visitor(app)
    pages += [visitor.compare(LENA, other, path="/compare").text for other in (CAMERA, OTTO, BLANK)]
    for page in pages:
        assert not re.search(
            r"<style|\sstyle=|<script(?![^>]*\ssrc=\"/static/)|\son[a-z]+=|javascript:|https?://", page
        )
        assert '<html lang="en">' in page and re.search(r"<title>[^<]+ · Two faces</title>", page)


# --------------------------------------------------------------------------------------------------- answers
@pytest.mark.parametrize(
    ("other", "is_same", "sign"), [(CAMERA, True, "The same person"), (OTTO, False, "Two different people")]
)
def test_it_says_what_the_networks_say(visitor, comparer, other, is_same, sign):
    answer, said = visitor.compare(LENA, other).json, comparer(LENA, other)
    assert answer["is_same"] is said.is_same is is_same
    assert answer["distance"] == pytest.approx(said.distance, abs=1e-5)
    assert answer["probability"] == pytest.approx(said.probability, abs=1e-5)
    assert answer["twins"]["score"] == pytest.approx(said.score, abs=1e-5) and answer["verdict"] == said.verdict
    assert answer["sure"] == "almost certain"
    page = visitor.compare(LENA, other, path="/compare").text
    assert sign in page and said.verdict in page and said.second_opinion in page and page.count("data:image/jpeg") == 4
    part = visitor.client.post(
        "/compare",
        data={"first": (io.BytesIO(LENA), "a"), "second": (io.BytesIO(other), "b")},
        headers={"X-CSRFToken": visitor.token, "X-Part": "result"},
    ).text
    assert sign in part and "<html" not in part


def test_the_face_that_is_shown_is_the_one_that_was_found(visitor, photos, detections):
    seen = visitor.detect((ROOT / "images" / "video_call.jpg").read_bytes()).json
    largest = max(detections["video_call"], key=lambda face: face["box"][2] * face["box"][3])
    assert seen["count"] == len(detections["video_call"]) and tuple(seen["box"]) == largest["box"]
    assert "the largest one is compared" in seen["says"]
    face = load_image(base64.b64decode(seen["face"].split(",")[1]))
    assert face.shape == (faces.FACE_SIDE, faces.FACE_SIDE, 3)
    preview = load_image(base64.b64decode(seen["preview"].split(",")[1]))
    assert max(preview.shape) == faces.PREVIEW_SIDE
    assert seen["size"] == list(photos["video_call"].shape[1::-1])


@pytest.mark.parametrize(
    ("probability", "is_same", "words"),
    [
        (0.999, True, "almost certain"), (0.001, False, "almost certain"), (0.97, True, "very sure"),
        (0.1, False, "fairly sure"), (0.7, True, "not sure"), (0.5, True, "not sure at all"), (float("nan"), True, ""),
    ],
)  # fmt: skip
def test_how_sure_it_is_in_words(probability, is_same, words):
    said = type("Said", (), {"probability": probability, "is_same": is_same})
    assert faces.Answer(said, ()).sure == words


@pytest.mark.parametrize(
    ("probability", "is_same", "twins_object", "words"),
    [
        (0.85, True, False, "The same person"), (0.15, False, False, "Two different people"),
        (0.75, True, False, "Probably the same person"), (0.25, False, False, "Probably two different people"),
        (0.99, True, True, "Probably the same person"), (float("nan"), False, True, "Probably two different people"),
        (0.55, True, False, "Too close to say"), (0.45, False, True, "Too close to say"),
        (float("nan"), True, False, "The same person"),
    ],
)  # fmt: skip
def test_the_headline_is_no_surer_than_the_networks(probability, is_same, twins_object, words):
    said = type("Said", (), {"probability": probability, "is_same": is_same, "twins_object": twins_object})
    assert faces.Answer(said, ()).headline == words


@pytest.mark.parametrize(
    ("probability", "words"), [(0.004, "less than 1 %"), (0.412, "41 %"), (0.99, "99 %"), (0.9951, "more than 99 %")]
)
def test_probabilities_are_rounded_and_never_certain(probability, words):
    assert faces.Answer(type("Said", (), {"probability": probability}), ()).per_cent == words


def test_what_is_too_close_says_on_which_side_it_falls(network, comparer):
    distance = comparer(LENA, CAMERA).distance
    for threshold, side in ((distance + 1e-3, "one person"), (distance - 1e-3, "two people")):
        twins = (comparer.twins, comparer.score_threshold)
        said = dataclasses.replace(Comparer(network, twins, threshold)(LENA, CAMERA), probability=0.5)
        app = create_app({"COMPARER": lambda *_, said=said: said, **FREE})
        page = Visitor(app).compare(LENA, CAMERA, path="/compare").text
        assert "Too close to say" in page and f"only just on the side of {side}" in page and said.verdict in page


@pytest.mark.parametrize(
    ("first", "second", "status", "reason", "which", "words"),
    [
        (LENA, BLANK, 422, "no-face", 1, "No face in the second picture (160×120)"),
        (b"nonsense", LENA, 422, "unreadable", 0, "The first picture can't be opened"),
        (LENA, LENA[:2000], 422, "unreadable", 1, "The second picture can't be opened"),
        (LENA, b"\0\0\0\x18ftypheic", 422, "unreadable", 1, "save HEIC pictures as JPEG first"),
        (b"", LENA, 400, "missing", 0, "The first picture is missing"),
    ],
)
def test_a_picture_that_can_not_be_used_is_refused_in_words(visitor, first, second, status, reason, which, words):
    answer = visitor.compare(first, second)
    assert is_problem(answer, status) and words in answer.json["detail"]
    assert (answer.json["reason"], answer.json["picture"]) == (reason, which)
    page = visitor.compare(first, second, path="/compare")
    assert page.status_code == status and words.replace("'", "&#39;") in page.text and "Compare faces" in page.text


# ------------------------------------------------------------------------------------------------ the server
@contextlib.contextmanager
def listening(app, proxy: str | None = None):
    """A server of the app in this process: its port."""
    port = free_port()
    server = make_server(app, "127.0.0.1", port, 2, proxy)

    def serve() -> None:
        with contextlib.suppress(OSError):  # its sockets are closed under its hands
            server.run()

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield port
    finally:
        server.task_dispatcher.shutdown()
        server.close()


@pytest.mark.parametrize(("proxy", "is_believed"), [(None, False), ("127.0.0.1", True), ("192.0.2.1", False)])
def test_only_a_trusted_proxy_is_believed(proxy, is_believed):
    with listening(create_app(FREE), proxy) as port:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        connection.request("GET", "/", headers={"X-Forwarded-Proto": "https", "X-Forwarded-For": "203.0.113.9"})
        assert ("Secure" in connection.getresponse().getheader("Set-Cookie")) == is_believed


@pytest.mark.parametrize(("proxy", "is_believed"), [(None, False), ("127.0.0.1", True)])
def test_requests_are_counted_for_whom_a_trusted_proxy_names_and_nobody_else(proxy, is_believed):
    with listening(create_app({"COMPARE_LIMIT": "1 per hour"}), proxy) as port:
        client, met = Raw(port), []
        for address in ("203.0.113.9", "203.0.113.10", "203.0.113.9"):
            client.headers["X-Forwarded-For"] = f"198.51.100.7, {address}"  # anybody may write what stands first
            met.append(client.form("/api/compare", {})[0])
    assert met == ([400, 400, 429] if is_believed else [400, 429, 429])


def test_the_server_logs_neither_who_asked_nor_for_what(caplog):
    app = create_app(FREE)
    with listening(app) as port:
        with socket.create_connection(("127.0.0.1", port), timeout=10) as client:
            client.sendall(f"GET http://[{SIGN}/ HTTP/1.1\r\nHost: a\r\n\r\n".encode())
            answer = client.makefile("rb").read().decode()
        assert answer.startswith("HTTP/1.1 400") and "application/problem+json" in answer and caplog.text == ""
        client = Raw(port)
        app.wsgi_app = Broken().__call__
        status, kind, text = client.ask("GET", f"/{SIGN}")
        assert (status, kind) == (500, "application/problem+json") and SIGN not in text
    assert "RuntimeError in the server" in caplog.text
    assert SIGN not in caplog.text and "127.0.0.1" not in caplog.text and "Traceback" not in caplog.text


def test_the_example_is_true():
    assert doctest.testmod(apps.flask).attempted > 0
    assert doctest.testmod(apps.flask).failed == 0


def test_its_help_tells_what_holds_otherwise(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["apps.flask", "-h"])
    with pytest.raises(SystemExit):
        main()
    said = " ".join(capsys.readouterr().out.split())
    assert "(default: 8000)" in said and "(default: 127.0.0.1)" in said


@pytest.mark.parametrize(
    ("given", "words"), [(["--threads", "0"], "--threads 0"), (["--host", "192.0.2.1"], "192.0.2.1")]
)
def test_the_command_says_in_one_line_what_it_can_not_do(monkeypatch, given, words):
    monkeypatch.setattr(sys, "argv", ["apps.flask", *given])
    with pytest.raises(BadArgument, match=words):
        main()


def test_networks_that_can_not_be_loaded_end_it(monkeypatch):
    app = create_app(FREE)
    monkeypatch.setattr(app.networks, "load", Broken().__call__)
    before = signal.getsignal(signal.SIGTERM)
    try:
        with pytest.raises(RuntimeError):
            _serve(app, make_server(app, "127.0.0.1", free_port(), 2), "some address")
    finally:
        signal.signal(signal.SIGTERM, before)


# ------------------------------------------------------------------------------------------- the description
class Broken(Comparer):
    """A comparer that fails in a way that nobody foresaw, with a secret in its message."""

    def __init__(self):
        pass

    def __call__(self, *_):
        raise RuntimeError(f"secret {SIGN}")


@contextlib.contextmanager
def busy(app):
    """Meanwhile all threads that look at pictures have something else to do."""
    done = app.networks.done = threading.Event()
    for _ in range(app.config["AT_ONCE"]):
        app.networks._pool.submit(done.wait)
    try:
        yield
    finally:
        done.set()


def test_every_answer_of_the_description_happens_and_fits_it(app, comparer, monkeypatch):
    met: set = set()
    answers = []

    def note(answer):
        answers.append(answer)
        return answer

    fresh, old = Visitor(app, agreed=False, met=met), Visitor(app, met=met)
    nobody = {"picture": (io.BytesIO(b""), "")}
    for path in ("/api/session", "/api/openapi.json", "/healthz"):
        note(fresh.api("GET", path))
    note(fresh.api("POST", "/api/consent", json=BOTH))
    note(fresh.api("POST", "/api/consent", json={}))
    note(fresh.api("POST", "/api/consent", data="x"))
    note(
        fresh.api(
            "POST", "/api/consent", data=b" " * (app.config["MAX_CONTENT_LENGTH"] + 1), content_type="application/json"
        )
    )
    note(fresh.api("DELETE", "/api/session", token="wrong"))
    note(fresh.api("DELETE", "/api/session"))
    note(fresh.detect(LENA)), note(fresh.compare(LENA, CAMERA))  # 403 both
    note(old.detect(LENA)), note(old.compare(LENA, CAMERA))
    note(old.detect(BLANK)), note(old.compare(LENA, BLANK))
    note(old.api("POST", "/api/detect", data=nobody)), note(old.compare(b"", LENA))
    note(old.detect(bytes(10_000_001))), note(old.compare(LENA, bytes(10_000_001)))
    note(old.api("POST", "/api/detect", json={})), note(old.api("POST", "/api/compare", json={}))
    rare = Visitor(create_app({"COMPARER": comparer, "COMPARE_LIMIT": "1/hour", "DETECT_LIMIT": "1/hour"}), met=met)
    for _ in range(2):
        note(rare.detect(LENA)), note(rare.compare(LENA, CAMERA))
    broken = Visitor(create_app({"COMPARER": Broken(), **FREE}), met=met)
    note(broken.compare(LENA, CAMERA))
    monkeypatch.setattr(faces, "detect", Broken().__call__)
    note(broken.detect(LENA))
    monkeypatch.undo()
    full = create_app({"COMPARER": comparer, **FREE, "AT_ONCE": 1, "PATIENCE": 0.1})
    with busy(full):
        crowd = Visitor(full, met=met)
        note(crowd.detect(LENA)), note(crowd.compare(LENA, CAMERA))
    note(Visitor(create_app({**FREE}), agreed=False, met=met).api("GET", "/healthz"))

    documented = {
        (path, method, status)
        for path, ways in DESCRIPTION["paths"].items()
        for method, way in ways.items()
        for status in way["responses"]
    }
    assert met == documented
    for answer in answers:
        way = DESCRIPTION["paths"][answer.request.path][answer.request.method.lower()]
        content = way["responses"][str(answer.status_code)].get("content", {})
        assert list(content) == ([answer.mimetype] if answer.status_code != 204 else [])
        assert SIGN not in answer.text
        for each in content.values():
            schema = each["schema"] | {"components": DESCRIPTION["components"]}
            OAS31Validator(schema).validate(answer.json)


def test_the_description_is_valid_and_lists_every_way(app):
    validate(app.test_client().get("/api/openapi.json").json)
    ours = {(path, method.lower()) for path, method in ROUTES if path.startswith(("/api", "/healthz"))}
    assert ours == {(path, method) for path, ways in DESCRIPTION["paths"].items() for method in ways}


@pytest.mark.parametrize("debug", ["0", "1"])
def test_an_error_that_nobody_foresaw_leaves_its_place_in_the_log_and_nothing_else(caplog, monkeypatch, debug):
    monkeypatch.setenv("FLASK_DEBUG", debug)
    visitor = Visitor(create_app({"COMPARER": Broken(), **FREE}))
    page = visitor.compare(LENA, CAMERA, path="/compare")
    assert page.status_code == 500 and "Something broke" in page.text and SIGN not in page.text
    assert "RuntimeError in pages.compare" in caplog.text and "test_flask_app.py" in caplog.text
    assert SIGN not in caplog.text and "secret" not in caplog.text and "Traceback" not in caplog.text


def test_who_waits_too_long_is_asked_to_come_back(comparer):
    app = create_app({"COMPARER": comparer, **FREE, "AT_ONCE": 1, "PATIENCE": 0.1})
    visitor = Visitor(app)
    with busy(app):
        answer = visitor.compare(LENA, CAMERA)
        assert is_problem(answer, 503) and int(answer.headers["Retry-After"]) == 5
        assert visitor.client.get("/healthz").status_code == 200  # only pictures wait
    app.networks.patience = 60
    assert visitor.compare(LENA, CAMERA).status_code == 200


def test_a_line_that_is_too_long_sends_the_next_one_away_at_once(comparer):
    app = create_app({"COMPARER": comparer, **FREE, "AT_ONCE": 1, "IN_LINE": 1})
    first, second = Visitor(app), Visitor(app)
    with busy(app), ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(first.detect, LENA)
        while app.networks._pool._work_queue.empty():
            time.sleep(0.01)
        started = time.monotonic()
        assert is_problem(second.detect(LENA), 503) and time.monotonic() - started < 10  # not its patience
        assert not waiting.done()
        app.networks.done.set()
        assert waiting.result(60).status_code == 200
    assert second.detect(LENA).status_code == 200


def test_an_unknown_address_and_a_wrong_way_are_answered_in_kind(visitor):
    assert is_problem(visitor.client.get("/api/nowhere"), 404)
    assert "There is nothing here" in visitor.client.get("/nowhere").text
    answer = visitor.client.get("/api/compare")
    assert is_problem(answer, 405) and "POST" in answer.headers["Allow"]


# -------------------------------------------------------------------------------------------- nothing is kept
def test_pictures_are_gone_with_the_answer_even_if_it_is_a_refusal(app, comparer, monkeypatch):
    opened, broken = [], create_app({"COMPARER": Broken(), **FREE})

    def note(*args):
        photo = faces.load_image(*args[:1])
        opened.append(weakref.ref(photo))
        return photo

    monkeypatch.setattr(faces, "open_picture", note)
    visitor, unlucky = Visitor(app), Visitor(broken)
    gc.collect()
    gc.disable()  # nothing may have to wait until somebody tidies up
    try:
        for ask in (
            lambda: visitor.detect(LENA), lambda: visitor.detect(BLANK), lambda: visitor.compare(LENA, CAMERA),
            lambda: visitor.compare(LENA, BLANK), lambda: visitor.compare(LENA, BLANK, path="/compare"),
            lambda: unlucky.compare(LENA, CAMERA),
        ):  # fmt: skip
            status = ask().status_code
            assert opened and all(photo() is None for photo in opened), status
            opened.clear()
    finally:
        gc.enable()


def test_a_large_picture_stays_in_memory(app):
    data = {"first": (io.BytesIO(LENA + bytes(3_000_000)), "a.jpg"), "agree": "yes"}
    with app.test_request_context("/compare", method="POST", data=data) as context:
        assert type(context.request.files["first"].stream) is io.BytesIO


WATCHED = """
import os, sys
notes = os.open({notes!r}, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | getattr(os, "O_TMPFILE", 0)
CHANGES = ("tempfile.", "os.mkdir", "os.rename", "os.link", "os.symlink", "os.truncate", "shutil.", "sqlite3.connect")

def watch(event, args):
    is_open = event == "open" and (args[2] & WRITING or set(str(args[1] or "")) & set("wax+"))
    if is_open or event.startswith(CHANGES):
        os.write(notes, f"{{event}} {{args!r}}\\n".encode(errors="replace"))

sys.addaudithook(watch)
os.chdir({here!r})
sys.path.insert(0, {root!r})
sys.argv = ["apps.flask", "--port", sys.argv[1]]
import runpy
runpy.run_module("apps.flask", run_name="__main__", alter_sys=True)
"""


def files_in(*folders: Path) -> dict[str, int]:
    """Every file below some folders and when it was last changed."""
    return {str(path): path.stat().st_mtime_ns for folder in folders for path in folder.rglob("*")}


def wait_until_ready(port: int, within: float = 120) -> None:
    deadline = time.monotonic() + within
    while time.monotonic() < deadline:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        connection.request("GET", "/healthz")
        if connection.getresponse().status == 200:
            return
        time.sleep(0.3)
    raise RuntimeError("the networks were not loaded in time")


class Raw:
    """A client that sends forms byte by byte as it is told, over HTTP."""

    def __init__(self, port: int):
        self.port, self.headers = port, {}
        self.headers["X-CSRFToken"] = json.loads(self.ask("GET", "/api/session")[2])["csrf_token"]
        self.ask("POST", "/api/consent", json.dumps(BOTH).encode(), "application/json")

    def ask(self, method: str, path: str, body: bytes | None = None, kind: str = "") -> tuple[int, str, str]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=90)
        connection.request(method, path, body, self.headers | ({"Content-Type": kind} if kind else {}))
        answer = connection.getresponse()
        if cookie := answer.getheader("Set-Cookie"):
            self.headers["Cookie"] = cookie.split(";")[0]
        text = answer.read().decode()
        self.got = answer.headers
        connection.close()
        return answer.status, answer.getheader("Content-Type", ""), text

    def form(self, path: str, files: dict[str, tuple[str, bytes, str]], raw: bool = False) -> tuple[int, str, str]:
        """Send files; their names as browsers write them, or (raw) as they are, whatever is in them."""
        body = b""
        for field, (name, data, kind) in files.items():
            if not raw:
                name = name.replace('"', "%22").replace("\r", "%0D").replace("\n", "%0A")
            head = f'--XX\r\nContent-Disposition: form-data; name="{field}"; filename="{name}"\r\n'
            head += f"Content-Type: {kind}\r\n\r\n"
            body += head.encode() + data + b"\r\n"
        return self.ask("POST", path, body + b"--XX--\r\n", "multipart/form-data; boundary=XX")


@pytest.mark.apps
def test_nothing_is_ever_written_to_disk_or_log(tmp_path):
    folders = {name: tmp_path / name for name in ("here", "home", "tmp")}
    for folder in folders.values():
        folder.mkdir()
    notes, log, wrapper, port = tmp_path / "notes", tmp_path / "log", tmp_path / "watched.py", free_port()
    wrapper.write_text(WATCHED.format(notes=str(notes), here=str(folders["here"]), root=str(ROOT)))
    settings = {"HOME": folders["home"], "TMPDIR": folders["tmp"], "PYTHONDONTWRITEBYTECODE": 1, **FREE}
    with serving([sys.executable, wrapper, str(port)], f"http://127.0.0.1:{port}/healthz", log, settings):
        wait_until_ready(port)
        files, noted = files_in(*folders.values(), ROOT / "apps", ROOT / "images"), notes.stat().st_size
        assert noted > 0  # the hook works: the networks were loaded by way of files
        client = Raw(port)
        for number, other in enumerate((CAMERA, OTTO, CAMERA)):
            large = [data + bytes(3_000_000 - len(data)) for data in (LENA, other)]
            names = [f"{SIGN}-{number}.jpg", NAMES[number * 5]]
            both = {
                field: (name, data, "image/jpeg")
                for field, name, data in zip(("first", "second"), names, large, strict=True)
            }
            for path in ("/api/compare", "/compare"):
                status, _, text = client.form(path, both)
                assert status == 200 and SIGN not in text
            assert client.form("/api/detect", {"picture": (names[0], large[0], "image/jpeg")})[0] == 200
        assert client.form("/api/detect", {"picture": (SIGN, b"no picture", "image/jpeg")})[0] == 422
        assert client.form("/api/detect", {"picture": (SIGN, bytes(30_000_000), "image/jpeg")})[0] == 413
        assert client.ask("GET", f"/{SIGN}?{SIGN}={SIGN}")[0] == 404
        assert notes.read_bytes()[noted:] == b""
        assert files_in(*folders.values(), ROOT / "apps", ROOT / "images") == files
    said = log.read_text()
    assert SIGN not in said and said.splitlines()[1:] == [] and said.startswith("compare two pictures at")


# --------------------------------------------------------------------------------------------- a real server
@pytest.fixture(scope="module")
def port(tmp_path_factory):
    """A server as ``make compare`` starts it, its networks loaded, without limits: its port."""
    port, log = free_port(), tmp_path_factory.mktemp("flask") / "log"
    command = [sys.executable, "-m", "apps.flask", "--port", str(port)]
    with serving(command, f"http://127.0.0.1:{port}/healthz", log, FREE | {"PYTHONDONTWRITEBYTECODE": 1}):
        wait_until_ready(port)
        yield port
    assert log.read_text().splitlines()[1:] == []  # nothing went wrong unseen


@pytest.mark.apps
def test_hostile_uploads_meet_friendly_refusals(port):
    client, met = Raw(port), []
    for number, (what, name, data, kind) in enumerate(hostile_uploads(250, seed=8)):
        field, path = (("picture", "/api/detect"), ("second", "/api/compare"), ("second", "/compare"))[number % 3]
        files = {field: (name, data, re.sub(r"[\r\n]", "", kind))}
        if field == "second":
            files = {"first": ("lena.jpg", LENA, "image/jpeg"), **files}
        status, answered, text = client.form(path, files, raw=number % 2 == 1)
        met.append(status)
        assert status in (200, 400, 413, 422), f"{what}, {name[:80]!r}: {status} {text[:200]}"
        assert SIGN not in text and SIGN not in str(client.got), what
        assert client.got["Content-Security-Policy"] == safety.POLICY, what
        if path == "/compare":
            assert answered.startswith("text/html"), what
        elif status == 200:
            assert answered == "application/json", what
        else:
            assert answered == "application/problem+json" and json.loads(text)["detail"][0].isupper(), what
    assert met.count(422) > 100 and met.count(200) > 20
    assert not list(ROOT.glob(f"*{SIGN}*")) and not list(Path("/tmp").glob(f"*{SIGN}*"))
    both = {"first": ("a", LENA, "image/jpeg"), "second": ("b", CAMERA, "image/jpeg")}
    assert json.loads(client.form("/api/compare", both)[2])["is_same"] is True  # it still answers, and rightly


@pytest.mark.apps
def test_what_is_no_http_or_far_too_large_is_refused_by_the_server_in_our_words(port):
    client = Raw(port)
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.putrequest("POST", "/api/compare")
    connection.putheader("Content-Length", str(10**9))
    connection.endheaders()
    answer = connection.getresponse()
    assert answer.status == 413 and answer.getheader("Content-Type") == "application/problem+json"
    assert answer.getheader("Content-Security-Policy") == safety.POLICY and "10 MB" in answer.read().decode()
    assert client.form("/api/detect", {"picture": ("a", bytes(25_000_000), "image/png")})[0] == 413


@pytest.mark.apps
def test_a_crowd_gets_right_answers_and_memory_stays_flat(tmp_path):
    results = tmp_path / "apps.json"
    results.write_text('{"kept": 1}')
    command = [
        sys.executable,
        "tools/measure/load_flask.py",
        "--seconds",
        "60",
        "--clients",
        "50",
        "--results",
        str(results),
    ]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=1800)
    measured = json.loads(results.read_text())
    assert measured["kept"] == 1
    load, memory = measured["flask_load"], measured["flask_memory_mb"]
    assert (load["errors"], load["wrong"]) == (0, 0) and load["requests"] > 50, load
    assert memory["requests"] == 1000 and memory["growth"] < 50, memory
    assert measured["flask_first_answer_s"] < 1


# ------------------------------------------------------------------------------------------------- in Chromium
@pytest.fixture(scope="module")
def film(tmp_path_factory) -> Path:
    """What the fake camera shows: Lena at the camera."""
    return write_film(load_image(CAMERA), tmp_path_factory.mktemp("film") / "lena.mjpeg")


class Window:
    """A page of the app in Chromium, and everything that its console said."""

    def __init__(self, chromium, port: int, size: str = "desktop", host: str = "localhost", **options):
        self.context = chromium.new_context(viewport=SIZES[size], **options)
        self.page, self.said = self.context.new_page(), []
        self.page.set_default_timeout(20_000)
        self.page.on("console", lambda message: self.said.append(message.text))
        self.page.on("pageerror", lambda error: self.said.append(str(error)))
        self.page.goto(f"http://{host}:{port}/")

    def agree(self) -> None:
        self.page.check("#agree")
        self.page.check("#adult")
        self.page.click("text='Go on'")
        self.page.wait_for_url("**/compare")

    def give(self, slot: str, file: str) -> None:
        self.page.set_input_files(f"#{slot}", str(ROOT / "images" / file))
        self.page.wait_for_selector(f"[data-slot={slot}].filled")

    def film(self, slot: str) -> None:
        self.page.click(f"[data-slot={slot}] .start")
        self.page.wait_for_selector(f"[data-slot={slot}].filming")
        self.page.click(f"[data-slot={slot}] .take")
        self.page.wait_for_selector(f"[data-slot={slot}].filled")

    def compare(self) -> str:
        self.page.click("text=Compare faces")
        self.page.wait_for_selector("#working:empty", state="attached")
        return self.page.inner_text("#verdict")

    def tab_to(self, selector: str, at_most: int = 40) -> None:
        """Press Tab until something has the focus."""
        for _ in range(at_most):
            self.page.keyboard.press("Tab")
            if self.page.evaluate("selector => document.activeElement.matches(selector)", selector):
                return
        raise AssertionError(f"the keyboard does not reach {selector}")


@pytest.mark.apps
@NEEDED
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", list(SIZES))
def test_every_page_works_by_mouse_and_has_no_serious_violation(port, film, size, scheme):
    with browser(film=film) as chromium:
        window = Window(chromium, port, size, color_scheme=scheme, permissions=["camera"], reduced_motion="reduce")
        page, seen = window.page, []

        def check(name: str) -> None:
            look(page, f"flask_{size}_{scheme}_{name}")
            assert serious_violations(page) == [], name
            assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), f"{name}: wider than the screen"
            seen.append(page.title())

        check("1_start")
        window.agree()
        check("2_pictures")
        window.give("first", "lena.jpg")
        page.click("[data-slot=second] .start")
        page.wait_for_selector("[data-slot=second].filming")
        check("3_camera")
        page.click("[data-slot=second] .take")
        page.wait_for_selector("[data-slot=second].filled")
        assert window.compare() == "The same person"
        assert page.inner_text("h1") == "The answer"
        check("4_same")
        window.give("second", "otto.jpg")
        assert page.inner_text("h1") == "Two pictures" and page.title().startswith("Two pictures")
        assert window.compare() == "Two different people"
        page.click("summary")
        check("5_two")
        page.goto(f"http://localhost:{port}/nowhere")
        check("6_nowhere")
        page.click("text=End this session")
        check("7_goodbye")
        page.goto(f"http://localhost:{port}/no")
        check("8_no")
        page.goto(f"http://localhost:{port}/compare")
        assert page.url.endswith(f":{port}/")  # the session has ended
        assert len(set(seen)) == len(seen) - 1  # a title for every page; the camera is on the page of the pictures
        assert [text for text in window.said if "404" not in text] == []


@pytest.mark.apps
@NEEDED
def test_it_works_by_keyboard_alone(port, film):
    with browser(film=film) as chromium:
        window = Window(chromium, port, permissions=["camera"])
        page = window.page
        page.on("filechooser", lambda chooser: chooser.set_files(str(ROOT / "images" / "lena.jpg")))
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.className") == "skip"
        for box in ("#agree", "#adult"):
            window.tab_to(box)
            page.keyboard.press("Space")
        window.tab_to("button[type=submit]")
        page.keyboard.press("Enter")
        page.wait_for_url("**/compare")
        window.tab_to("#first")
        outline = page.evaluate("getComputedStyle(document.querySelector('#first + label')).outlineStyle")
        assert outline == "solid"
        page.keyboard.press("Enter")
        page.wait_for_selector("[data-slot=first].filled")
        window.tab_to("[data-slot=second] .start")
        page.keyboard.press("Enter")
        page.wait_for_selector("[data-slot=second].filming")
        assert page.evaluate("document.activeElement.matches('.take')")
        page.keyboard.press("Enter")
        page.wait_for_selector("[data-slot=second].filled")
        window.tab_to("#pictures [type=submit]")
        page.keyboard.press("Enter")
        page.wait_for_selector("#verdict")
        page.wait_for_function("document.activeElement.id === 'verdict'")
        assert page.inner_text("#verdict") == "The same person" and page.title().startswith("The same person")
        window.tab_to("summary")
        page.keyboard.press("Enter")
        assert page.is_visible(".previews img")
        assert window.said == []


@pytest.mark.apps
@NEEDED
def test_the_camera_is_mirrored_on_the_screen_only(port, film):
    with browser(film=film) as chromium:
        window = Window(chromium, port, permissions=["camera"])
        window.agree()
        window.page.click("[data-slot=first] .start")
        window.page.wait_for_selector("[data-slot=first].filming")
        assert window.page.evaluate("getComputedStyle(document.querySelector('video')).transform").startswith(
            "matrix(-1,"
        )
        window.page.click("[data-slot=first] .take")
        window.page.wait_for_selector("[data-slot=first].filled")
        source = window.page.get_attribute("[data-slot=first] .preview", "src")
        assert "Take it again" in window.page.inner_text("[data-slot=first] .start")
        assert not window.page.evaluate("document.querySelector('video').srcObject")  # the camera is off
        window.give("first", "otto.jpg")
        assert "Use the camera" in window.page.inner_text("[data-slot=first] .start")
    taken = load_image(base64.b64decode(source.split(",")[1]))
    frame = load_image(film.read_bytes()[: len(film.read_bytes()) // 30])
    frame = cv2.resize(frame, taken.shape[1::-1], interpolation=cv2.INTER_AREA).astype(float)
    assert np.abs(frame - taken).mean() < 0.5 * np.abs(frame[:, ::-1] - taken).mean()


@pytest.mark.apps
@NEEDED
@pytest.mark.parametrize(
    ("why", "words"),
    [
        ("refused", "The camera was not allowed"),
        ("none", "This device has no camera"),
        ("not https", "only to pages of"),
    ],
)
def test_a_camera_that_does_not_start_says_why(port, film, why, words):
    elsewhere = "--host-resolver-rules=MAP faces.example 127.0.0.1"
    with browser(elsewhere, film=None if why == "none" else film) as chromium:
        host, leave = (
            ("faces.example", []) if why == "not https" else ("localhost", ["camera"] if why == "none" else [])
        )
        window = Window(chromium, port, host=host, permissions=leave)
        window.agree()
        window.page.click("[data-slot=second] .start")
        window.page.wait_for_selector("[data-slot=second] .status.problem")
        said = window.page.inner_text("[data-slot=second] .status")
        assert words in said and "You can choose a picture instead" in said
        window.give("second", "camera_0.jpg")
        window.give("first", "lena.jpg")
        assert window.compare() == "The same person"


@pytest.mark.apps
@NEEDED
def test_it_works_without_a_script(port):
    with browser() as chromium:
        window = Window(chromium, port, "phone", java_script_enabled=False)
        page = window.page
        page.check("#agree")
        page.check("#adult")
        page.click("text=Go on")
        assert not page.is_visible("text=Use the camera") and not page.is_visible(".frame")
        for other, verdict in (("camera_0.jpg", "The same person"), ("otto.jpg", "Two different people")):
            page.set_input_files("#first", str(ROOT / "images" / "lena.jpg"))
            page.set_input_files("#second", str(ROOT / "images" / other))
            page.click("text=Compare faces")
            assert page.inner_text("#verdict") == verdict and page.title().startswith(verdict)
            assert page.inner_text("h1") == "The answer"
        look(page, "flask_phone_light_9_without_script")
        page.set_input_files("#first", {"name": "<b>.jpg", "mimeType": "image/jpeg", "buffer": BLANK})
        page.set_input_files("#second", str(ROOT / "images" / "lena.jpg"))
        page.click("text=Compare faces")
        assert "No face in the first picture" in page.inner_text("[role=alert]")
        look(page, "flask_phone_light_9_problem_without_script")
        page.click("text=End this session")
        assert page.inner_text("h1") == "The session has ended."


@pytest.mark.apps
@NEEDED
def test_a_session_that_was_ended_elsewhere_says_so(port):
    with browser() as chromium:
        window = Window(chromium, port)
        window.agree()
        window.give("first", "lena.jpg")
        elsewhere = window.context.new_page()
        elsewhere.goto(f"http://localhost:{port}/compare")
        elsewhere.click("text=End this session")
        window.page.set_input_files("#second", str(ROOT / "images" / "otto.jpg"))
        window.page.wait_for_selector("text=Your session has ended: agree again to go on.")
        look(window.page, "flask_desktop_light_11_ended")
        window.agree()


@pytest.mark.apps
@NEEDED
def test_an_answer_about_pictures_that_are_gone_is_not_shown(port):
    with browser() as chromium:
        window = Window(chromium, port)
        window.agree()
        window.give("first", "lena.jpg")
        window.give("second", "camera_0.jpg")
        held: list = []
        window.page.route("**/compare", lambda route: route.continue_() if held else held.append(route))
        with window.page.expect_request("**/compare"):
            window.page.click("text=Compare faces")
        window.give("second", "otto.jpg")  # while the answer is on its way
        held[0].continue_()
        window.page.wait_for_selector("#working:empty", state="attached")
        assert window.page.inner_text("#result") == ""
        assert window.compare() == "Two different people"


@pytest.mark.apps
@NEEDED
def test_nothing_is_wider_than_the_smallest_phone(port):
    with browser() as chromium:
        window = Window(chromium, port)
        page = window.page
        page.set_viewport_size({"width": 320, "height": 568})

        def check(name: str) -> None:
            look(page, f"flask_small_{name}")
            assert page.evaluate("document.documentElement.scrollWidth") == 320, name

        check("start")
        window.agree()
        window.give("first", "lena.jpg")
        window.give("second", "otto.jpg")
        window.compare()
        page.click("summary")
        check("answer")
        words = page.eval_on_selector_all(".word", "all => all.map(each => each.getBoundingClientRect().toJSON())")
        for left, right in itertools.pairwise(words):
            assert left["right"] + 24 < right["left"] or abs(left["top"] - right["top"]) >= left["height"]
        end = page.locator("text=End this session")
        assert (
            end.evaluate(
                "each => { const all = document.createRange(); all.selectNodeContents(each);"
                "return all.getClientRects().length }"
            )
            == 1
        )  # line


@pytest.mark.apps
@NEEDED
def test_the_page_says_what_is_wrong_with_a_picture(port, tmp_path):
    with browser() as chromium:
        window = Window(chromium, port)
        window.agree()
        page = window.page
        page.click("text=Compare faces")
        assert page.inner_text("#working") == "Both pictures are still missing."
        assert page.evaluate("document.activeElement.id") == "first"
        for data, words in ((BLANK, "No face in the picture"), (b"nonsense", "The picture can't be opened")):
            page.set_input_files("#first", {"name": f"{NAMES[6]}", "mimeType": "image/png", "buffer": data})
            page.wait_for_selector(f'#first-status:has-text("{words}")')
        assert SIGN not in page.title() and SIGN not in page.content()
        assert not page.is_visible("[data-slot=first] .preview")  # no picture at all
        page.set_input_files("#first", {"name": "a.png", "mimeType": "image/png", "buffer": BLANK})
        page.wait_for_selector("[data-slot=first].refused .preview")  # greyed, but there
        assert "No face in the picture" in page.inner_text("#first-status")
        page.click("text=Compare faces")
        said = page.inner_text("#working")
        assert said.startswith("The first picture did not work") and said.endswith(
            "The second picture is still missing."
        )
        look(page, "flask_desktop_light_10_refused")
        window.give("first", "video_call.jpg")
        assert page.inner_text("#working") == "" and page.locator(".refused").count() == 0
        sides = [page.locator(f"[data-slot=first] .{kind}").bounding_box()["width"] for kind in ("face", "preview")]
        assert sides[0] < sides[1] / 3 and page.is_visible("text=The face that is compared")
        assert "the largest one is compared" in page.inner_text("#first-status")
        dropped = page.evaluate_handle(
            """data => { const transfer = new DataTransfer();
            const bytes = Uint8Array.from(atob(data), (letter) => letter.charCodeAt(0));
            transfer.items.add(new File([bytes], "lena.jpg", { type: "image/jpeg" }));
            return transfer; }""",
            base64.b64encode(LENA).decode(),
        )
        page.dispatch_event("[data-slot=second]", "drop", {"dataTransfer": dropped})
        page.wait_for_selector("[data-slot=second].filled")
        look(page, "flask_desktop_light_10_pictures")
        page.click("text=End this session")
        assert [text for text in window.said if "422" not in text] == []


def test_addresses_are_counted_by_what_can_not_be_read_back():
    """All of one IPv6 network are one, every IPv4 address is another, and each process has its own digests."""
    ours, theirs = b"a" * 32, b"b" * 32
    assert safety.asker("2001:db8::1", ours) == safety.asker("2001:db8::ffff:2", ours)
    assert safety.asker("2001:db8::1", ours) != safety.asker("2001:db8:0:1::1", ours)
    assert safety.asker("192.0.2.1", ours) != safety.asker("192.0.2.2", ours)
    assert safety.asker("192.0.2.1", ours) != safety.asker("192.0.2.1", theirs)
    assert "192" not in safety.asker("192.0.2.1", ours) and safety.asker("a socket", ours)


def test_no_proxy_may_be_anybody():
    with pytest.raises(BadArgument, match="would believe anybody"):
        make_server(create_app(), "127.0.0.1", 0, trusted_proxy="*")
