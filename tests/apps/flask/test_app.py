"""The Flask app in this process: consent, refusals, right answers, and nothing kept."""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import gc
import io
import re
import threading
import time
import weakref
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from openapi_schema_validator import OAS31Validator
from openapi_spec_validator import validate

from apps.comparison import Comparer
from apps.flask import SETTINGS, create_app, faces, safety
from apps.flask.openapi import DESCRIPTION
from facerec._files import ROOT
from facerec.errors import BadArgument
from facerec.photos import load_image
from tests.apps.flask.clients import BLANK, BOTH, CAMERA, FREE, LENA, OTTO, Broken, Visitor, is_problem
from tests.chromium import HANG
from tests.hostile import SIGN

OPEN_PATHS = {
    "/",
    "/consent",
    "/no",
    "/end",
    "/goodbye",
    "/static/camera.js",
    "/api/session",
    "/api/consent",
    "/api/openapi.json",
    "/healthz",
}

ROUTES = sorted(
    (rule.rule, method)
    for rule in create_app(FREE).url_map.iter_rules()
    for method in rule.methods - {"HEAD", "OPTIONS"}
    if rule.endpoint != "static"
)


@pytest.mark.parametrize(("path", "method"), [each for each in ROUTES if each[0] not in OPEN_PATHS])
def test_pages_and_api_are_closed_before_consent(app, path, method):
    answer = Visitor(app, agreed=False).api(method, path)
    if path.startswith("/api/"):
        assert is_problem(answer, 403) and answer.json["reason"] == "no-consent"
    else:
        assert answer.status_code == 303 and answer.location == ("/" if method == "GET" else "/?ended=1")


def test_only_listed_endpoints_are_open_before_consent():
    assert {path for path, _ in ROUTES} - OPEN_PATHS == {"/compare", "/api/detect", "/api/compare"}
    assert {rule.endpoint for rule in create_app(FREE).url_map.iter_rules() if rule.rule in OPEN_PATHS} | {
        "static"
    } == safety.OPEN


@pytest.mark.parametrize("said", [{}, {"agree": True}, {"adult": True}, {"agree": "yes", "adult": 1}, [], "yes"])
def test_incomplete_consent_is_refused(app, said):
    visitor = Visitor(app, agreed=False)
    assert is_problem(visitor.api("POST", "/api/consent", json=said), 400)
    assert visitor.client.get("/compare").status_code == 303


def test_deeply_nested_consent_is_refused(app):
    deep = Visitor(app, agreed=False).api("POST", "/api/consent", data=b"[" * 9_999, content_type="application/json")
    assert is_problem(deep, 400)


@pytest.mark.parametrize("boxes", [{}, {"agree": "yes"}, {"adult": "yes"}, {"agree": "no", "adult": "no"}])
def test_first_page_needs_both_boxes(app, boxes):
    visitor = Visitor(app, agreed=False)
    answer = visitor.api("POST", "/consent", data=boxes)
    assert answer.status_code == 400 and 'role="alert"' in answer.text
    assert visitor.client.get("/compare").status_code == 303
    assert visitor.client.get("/no").status_code == 200


def test_consent_opens_the_pictures_until_the_session_ends(app):
    visitor = Visitor(app, agreed=False)
    answer = visitor.api("POST", "/consent", data={"agree": "yes", "adult": "yes"})
    assert answer.status_code == 303 and answer.location == "/compare"
    assert 'data-slot="first"' in visitor.client.get("/compare").text
    copied = visitor.client.get_cookie("comparison").value
    assert visitor.api("POST", "/end").location == "/goodbye"
    assert visitor.client.get_cookie("comparison") is None
    assert visitor.client.get("/compare").status_code == 303
    assert visitor.client.get("/goodbye").status_code == 200
    visitor.client.set_cookie("comparison", copied)
    assert visitor.client.get("/compare").status_code == 303


def test_session_ends_over_the_api(visitor):
    assert visitor.detect(LENA).status_code == 200
    assert visitor.api("DELETE", "/api/session").status_code == 204
    assert is_problem(visitor.detect(LENA), 403)


def test_goodbye_sends_an_open_session_back(visitor):
    assert visitor.client.get("/goodbye").location == "/compare"


def test_consent_signed_by_another_server_is_refused(app):
    forged = Visitor(create_app(FREE)).client.get_cookie("comparison").value
    client = app.test_client()
    client.set_cookie("comparison", forged)
    assert client.get("/compare").status_code == 303


def test_ended_sessions_are_forgotten_after_their_cookies_expire():
    ended = safety.Ended()
    for name, seconds in (("old", -1), ("older", -2), ("fresh", 60)):
        ended.add(name, seconds)
    ended.add("fresh", 60)
    assert [name for name in ("old", "older", "fresh") if name in ended] == ["fresh"]


def test_idle_session_ends(visitor, monkeypatch):
    now = time.time()
    monkeypatch.setattr(safety, "time", SimpleNamespace(time=lambda: now))
    for _ in range(3):
        now += 60 * SETTINGS["IDLE_MINUTES"] - 2  # each request extends it
        assert visitor.client.get("/compare").status_code == 200
    now += 60 * SETTINGS["IDLE_MINUTES"] + 2
    page = visitor.client.get("/compare", follow_redirects=True).text
    assert 'role="alert"' in page and 'id="agree"' in page
    assert 'role="alert"' not in visitor.client.get("/").text


def test_open_session_sees_no_notice_of_an_end(visitor):
    assert 'role="alert"' not in visitor.client.get("/?ended=1").text


def test_cookie_is_private(app):
    cookie = app.test_client().get("/").headers["Set-Cookie"]
    assert "HttpOnly" in cookie and "SameSite=Strict" in cookie and "Path=/" in cookie
    assert "Expires" not in cookie and "Max-Age" not in cookie and "Secure" not in cookie
    assert "Secure" in app.test_client().get("/", base_url="https://example.org").headers["Set-Cookie"]
    assert create_app().secret_key != create_app().secret_key


@pytest.mark.parametrize("token", ["", "wrong", "IjAwIg.aaaa.bbbb"])
@pytest.mark.parametrize(("path", "method"), [each for each in ROUTES if each[1] != "GET"])
def test_forged_request_is_refused(visitor, path, method, token):
    answer = visitor.api(method, path, token)
    assert answer.status_code == 400
    if path.startswith("/api/"):
        assert is_problem(answer, 400) and answer.json["reason"] == "csrf"
    else:
        assert "reload" in answer.text


def test_token_of_another_session_is_refused(app, visitor):
    assert is_problem(visitor.detect(LENA, token=Visitor(app).token), 400)


def test_forms_work_over_https_without_referrer(comparer):
    app = create_app({"COMPARER": comparer, **FREE})
    client = app.test_client()
    page = client.get("/", base_url="https://example.org").text
    token = re.search(r'name="csrf_token" value="([^"]+)"', page)[1]
    data = {"csrf_token": token, "agree": "yes", "adult": "yes"}
    assert client.post("/consent", data=data, base_url="https://example.org").status_code == 303


def test_too_large_uploads_are_refused(visitor):
    assert is_problem(visitor.detect(LENA + bytes(faces.MAX_BYTES)), 413)
    assert is_problem(visitor.compare(LENA, LENA + bytes(faces.MAX_BYTES)), 413)
    assert is_problem(visitor.compare(bytes(faces.MAX_BYTES), bytes(faces.MAX_BYTES + 20_000)), 413)
    page = visitor.compare(LENA + bytes(faces.MAX_BYTES), LENA, path="/compare")
    assert page.status_code == 413 and "larger than 10 MB" in page.text
    many = {name: (io.BytesIO(LENA), "a.jpg") for name in ("first", "second", "third", "fourth", "fifth")}
    assert is_problem(visitor.api("POST", "/api/compare", data=many), 413)
    assert visitor.detect(LENA + bytes(faces.MAX_BYTES - len(LENA))).status_code == 200  # just small enough


def test_too_many_pixels_are_refused_before_decoding(visitor):
    side = 6_000
    answer = visitor.detect(cv2.imencode(".png", np.zeros((side, side), np.uint8))[1].tobytes())
    assert is_problem(answer, 422) and "25 million pixels" in answer.json["detail"]


def test_rate_limit_answers_429_with_retry_after(comparer):
    visitor = Visitor(create_app({"COMPARER": comparer, "COMPARE_LIMIT": "2 per minute"}))
    assert visitor.compare(LENA, CAMERA).status_code == 200
    assert visitor.compare(LENA, BLANK, path="/compare").status_code == 422  # counts as well
    answer = visitor.compare(LENA, CAMERA)
    assert is_problem(answer, 429) and 0 < int(answer.headers["Retry-After"]) <= 60
    page = visitor.compare(LENA, CAMERA, path="/compare")
    assert page.status_code == 429 and page.mimetype == "text/html" and "Retry-After" in page.headers
    assert visitor.detect(LENA).status_code == visitor.client.get("/compare").status_code == 200


@pytest.mark.parametrize(
    "settings",
    [
        {"COMPARE_LIMIT": "often"}, {"DETECT_LIMIT": 7}, {"SECRET_KEY": "short"}, {"IDLE_MINUTES": 0}, {"AT_ONCE": 0},
    ],
)  # fmt: skip
def test_create_app_rejects_bad_setting(settings):
    with pytest.raises(BadArgument, match=next(iter(settings))):
        create_app(settings)


def test_environment_sets_limits_and_secret(monkeypatch):
    monkeypatch.setenv("COMPARE_LIMIT", "3 per hour")
    monkeypatch.setenv("DETECT_LIMIT", "")
    monkeypatch.setenv("COMPARE_SECRET", "sixteen letters!")
    app = create_app()
    assert (app.config["COMPARE_LIMIT"], app.config["DETECT_LIMIT"]) == ("3 per hour", "")
    assert app.secret_key == "sixteen letters!"
    assert SETTINGS["COMPARE_LIMIT"] == "60 per minute"


def test_every_answer_has_security_headers(app, visitor):
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


def test_pages_have_no_inline_code_and_no_external_address(app, visitor):
    pages = [visitor.client.get(path).text for path in ("/", "/compare", "/nowhere", "/no", "/goodbye")]
    visitor = Visitor(app)
    pages += [visitor.compare(LENA, other, path="/compare").text for other in (CAMERA, OTTO, BLANK)]
    for page in pages:
        assert not re.search(
            r"<style|\sstyle=|<script(?![^>]*\ssrc=\"/static/)|\son[a-z]+=|javascript:|https?://", page
        )
        assert '<html lang="en">' in page and re.search(r"<title>[^<]+ · Two faces</title>", page)


@pytest.mark.parametrize(
    ("other", "is_same", "sign"), [(CAMERA, True, "The same person"), (OTTO, False, "Two different people")]
)
def test_answer_is_that_of_the_comparer(visitor, comparer, other, is_same, sign):
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


def test_detect_shows_the_largest_face(visitor, photos, detections):
    seen = visitor.detect((ROOT / "images" / "video_call.jpg").read_bytes()).json
    largest = max(detections["video_call"], key=lambda face: face["box"][2] * face["box"][3])
    assert seen["count"] == len(detections["video_call"]) and tuple(seen["box"]) == largest["box"]
    assert "The largest one is compared" in seen["says"]
    face = load_image(base64.b64decode(seen["face"].split(",")[1]))
    assert face.shape == (faces.FACE_SIDE, faces.FACE_SIDE, 3)  # the face is larger than that
    preview = load_image(base64.b64decode(seen["preview"].split(",")[1]))
    assert max(preview.shape) == faces.PREVIEW_SIDE
    assert seen["size"] == list(photos["video_call"].shape[1::-1])


def test_small_picture_gets_a_warning_beside_the_answer(visitor):
    small = cv2.imencode(".png", cv2.resize(cv2.imread(str(ROOT / "images" / "lena.jpg")), (40, 40)))[1].tobytes()
    page = visitor.compare(small, LENA, path="/compare").text
    warning = re.search(r"The first picture: the face is small \(\d+ pixels between the eyes\): come closer", page)
    assert warning and warning.start() < page.index("<details") and "The second picture: " not in page


def test_close_answer_names_its_side(network, comparer):
    distance = comparer(LENA, CAMERA).distance
    for threshold, side in ((distance + 1e-3, "one person"), (distance - 1e-3, "two people")):
        twins = (comparer.twins, comparer.score_threshold)
        said = dataclasses.replace(Comparer(network, twins, threshold)(LENA, CAMERA), probability=0.5)
        app = create_app({"COMPARER": lambda *_, said=said: said, **FREE})
        page = Visitor(app).compare(LENA, CAMERA, path="/compare").text
        assert "Too close to call" in page and f"only just on the side of {side}" in page and said.verdict in page


@pytest.mark.parametrize(
    ("first", "second", "status", "reason", "which", "words"),
    [
        (LENA, BLANK, 422, "no-face", 1, "No face in the second picture (160×120)"),
        (b"nonsense", LENA, 422, "unreadable", 0, "The first picture can't be opened"),
        (LENA, LENA[:2000], 422, "unreadable", 1, "The second picture can't be opened"),
        (LENA, b"\0\0\0\x18ftypheic", 422, "unreadable", 1, "Is it a complete photo?"),
        (b"", LENA, 400, "missing", 0, "The first picture is missing"),
    ],
)
def test_unusable_picture_is_refused(visitor, first, second, status, reason, which, words):
    answer = visitor.compare(first, second)
    assert is_problem(answer, status) and words in answer.json["detail"]
    assert (answer.json["reason"], answer.json["picture"]) == (reason, which)
    page = visitor.compare(first, second, path="/compare")
    assert page.status_code == status and words.replace("'", "&#39;") in page.text and 'id="pictures"' in page.text


@contextlib.contextmanager
def busy(app):
    """Keep all threads that work on pictures busy."""
    done = app.networks.done = threading.Event()
    for _ in range(app.config["AT_ONCE"]):
        app.networks._pool.submit(done.wait)
    try:
        yield
    finally:
        done.set()


def test_every_documented_answer_happens_and_fits_its_schema(app, comparer, monkeypatch):
    met: set = set()
    answers = []

    def note(answer):
        answers.append(answer)
        return answer

    fresh, old = Visitor(app, agreed=False, met=met), Visitor(app, met=met)
    empty = {"picture": (io.BytesIO(b""), "")}
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
    note(old.api("POST", "/api/detect", data=empty)), note(old.compare(b"", LENA))
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


def test_description_is_valid_and_complete(app):
    validate(app.test_client().get("/api/openapi.json").json)
    ours = {(path, method.lower()) for path, method in ROUTES if path.startswith(("/api", "/healthz"))}
    assert ours == {(path, method) for path, ways in DESCRIPTION["paths"].items() for method in ways}


@pytest.mark.parametrize("debug", ["0", "1"])
def test_unexpected_error_logs_only_its_place(caplog, monkeypatch, debug):
    monkeypatch.setenv("FLASK_DEBUG", debug)
    visitor = Visitor(create_app({"COMPARER": Broken(), **FREE}))
    page = visitor.compare(LENA, CAMERA, path="/compare")
    assert page.status_code == 500 and page.mimetype == "text/html" and SIGN not in page.text
    assert "RuntimeError in pages.compare" in caplog.text and "clients.py" in caplog.text
    assert SIGN not in caplog.text and "secret" not in caplog.text and "Traceback" not in caplog.text


def test_waiting_too_long_answers_503(comparer):
    app = create_app({"COMPARER": comparer, **FREE, "AT_ONCE": 1, "PATIENCE": 0.1})
    visitor = Visitor(app)
    with busy(app):
        answer = visitor.compare(LENA, CAMERA)
        assert is_problem(answer, 503) and int(answer.headers["Retry-After"]) == 5
        assert visitor.client.get("/healthz").status_code == 200  # only pictures wait
    app.networks.patience = 60
    assert visitor.compare(LENA, CAMERA).status_code == 200


def test_full_queue_answers_503_without_waiting(comparer):
    app = create_app({"COMPARER": comparer, **FREE, "AT_ONCE": 1, "IN_LINE": 1, "PATIENCE": 3600})
    first, second = Visitor(app), Visitor(app)
    with ThreadPoolExecutor(2) as pool, busy(app):
        waiting = pool.submit(first.detect, LENA)
        while app.networks._pool._work_queue.empty() and not waiting.done():
            time.sleep(0.01)
        assert is_problem(pool.submit(second.detect, LENA).result(HANG / 1000), 503)
        assert not waiting.done()
        app.networks.done.set()
        assert waiting.result(HANG / 1000).status_code == 200
    assert second.detect(LENA).status_code == 200


def test_unknown_address_and_wrong_method_are_answered_in_kind(visitor):
    assert is_problem(visitor.client.get("/api/nowhere"), 404)
    page = visitor.client.get("/nowhere")
    assert page.status_code == 404 and page.mimetype == "text/html"
    answer = visitor.client.get("/api/compare")
    assert is_problem(answer, 405) and "POST" in answer.headers["Allow"]


def test_pictures_are_freed_with_the_answer(app, comparer, monkeypatch):
    opened, broken = [], create_app({"COMPARER": Broken(), **FREE})

    def note(*args):
        photo = faces.load_image(*args[:1])
        opened.append(weakref.ref(photo))
        return photo

    monkeypatch.setattr(faces, "open_picture", note)
    visitor, unlucky = Visitor(app), Visitor(broken)
    gc.collect()
    gc.disable()  # nothing may wait for the garbage collector
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


def test_large_upload_stays_in_memory(app):
    data = {"first": (io.BytesIO(LENA + bytes(3_000_000)), "a.jpg"), "agree": "yes"}
    with app.test_request_context("/compare", method="POST", data=data) as context:
        assert type(context.request.files["first"].stream) is io.BytesIO


def test_asker_hides_addresses_and_groups_networks():
    """All of one IPv6 network are one, every IPv4 address is another, and each process has its own digests."""
    ours, theirs = b"a" * 32, b"b" * 32
    assert safety.asker("2001:db8::1", ours) == safety.asker("2001:db8::ffff:2", ours)
    assert safety.asker("2001:db8::1", ours) != safety.asker("2001:db8:0:1::1", ours)
    assert safety.asker("192.0.2.1", ours) != safety.asker("192.0.2.2", ours)
    assert safety.asker("192.0.2.1", ours) != safety.asker("192.0.2.1", theirs)
    assert "192" not in safety.asker("192.0.2.1", ours) and safety.asker("a socket", ours)
