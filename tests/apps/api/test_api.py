"""The people API as its clients see it: answers, keys, limits, problems and its own description."""

from __future__ import annotations

import io
import re
import threading

import numpy as np
import pytest
from fastapi.testclient import TestClient
from openapi_spec_validator import validate
from PIL import Image

from apps.api import guard
from apps.api.app import create_app
from apps.crowd import Turns
from facerec.errors import BadArgument
from tests.attacks import in_scans


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    """A client of a server with lena and otto; ``client.read`` and ``client.write`` are headers with keys."""
    folder = tmp_path_factory.mktemp("api")
    app = create_app(folder / "people.db", "keras-facenet-h5", folder / "keys.json")
    with TestClient(app, raise_server_exceptions=False) as client:
        for scope in ("read", "write"):
            secret = app.state.keys.make(scope, write=scope == "write")
            setattr(client, scope, {"Authorization": f"Bearer {secret}"})
        client.headers = client.read
        for name in ("lena", "otto"):
            assert send(client, f"/api/v1/people/{name}", f"{name}.jpg", headers=client.write).status_code == 201
        yield client


def send(client, path: str, picture: str | bytes, **more):
    """Post a picture of ``images/``, or bytes, as a form."""
    data = picture if isinstance(picture, bytes) else open(f"images/{picture}", "rb").read()  # noqa: SIM115
    return client.post(path, files={"photo": ("a.jpg", data)}, **more)


def test_people_are_listed_with_what_is_known(client):
    listed = client.get("/api/v1/people").json()
    assert [person["identity"] for person in listed["people"]] == ["lena", "otto"] and listed["total"] == 2
    assert listed["people"][0] | {"added": 0, "changed": 0} == {
        "identity": "lena", "encodings": 1, "photos": 1, "added": 0, "changed": 0
    }  # fmt: skip
    second = client.get("/api/v1/people", params={"offset": 1, "limit": 1}).json()
    assert [person["identity"] for person in second["people"]] == ["otto"] and second["total"] == 2
    found = client.get("/api/v1/people", params={"search": "LEN"}).json()
    assert [person["identity"] for person in found["people"]] == ["lena"] and found["total"] == 1


def test_verify_agrees_with_the_module(client):
    from fr_utils import distance_to

    answer = send(client, "/api/v1/verify", "camera_0.jpg", data={"identity": "lena"}).json()
    served = client.app.state.service
    expected = distance_to("images/camera_0.jpg", "lena", served.people, served.model)
    assert answer["distance"] == pytest.approx(expected, abs=1e-6)
    assert answer["is_same"] is (expected < answer["threshold"]) and 0 < answer["confidence"] < 1
    other = send(client, "/api/v1/verify", "camera_0.jpg", data={"identity": "otto"}).json()
    assert other["distance"] > answer["distance"] and not other["is_same"]


def test_recognise_names_every_face_in_reading_order(client):
    answer = send(client, "/api/v1/recognise", "video_call.jpg").json()
    assert len(answer["faces"]) == 6 and answer["people"] == 2 and 0 < answer["threshold"] < 2
    for face in answer["faces"]:
        assert (face["identity"] is not None) == (face["distance"] < answer["threshold"])
        assert face["nearest"] in ("lena", "otto") and len(face["box"]) == 4
    empty = send(client, "/api/v1/recognise", grey(100))
    assert empty.status_code == 200 and empty.json()["faces"] == []


def test_encode_gives_unit_vectors_of_every_face(client):
    answer = send(client, "/api/v1/encode", "video_call.jpg").json()
    encodings = np.array([face["encoding"] for face in answer["faces"]])
    assert encodings.shape == (6, 128) and answer["network"]
    np.testing.assert_allclose(np.linalg.norm(encodings, axis=1), 1, atol=1e-5)


def test_person_gets_a_second_picture_is_renamed_and_forgotten(client):
    assert send(client, "/api/v1/people/Zoë", "anna.jpg", headers=client.write).json()["encodings"] == 1
    again = send(client, "/api/v1/people/Zoë", "anna.jpg", headers=client.write)
    assert again.status_code == 200 and again.json()["encodings"] == 2
    assert again.json()["named_like"] == []
    twin = send(client, "/api/v1/people/zoë", "anna.jpg", headers=client.write)
    assert (twin.json()["looks_like"], twin.json()["named_like"]) == ("Zoë", ["Zoë"])
    taken = client.patch("/api/v1/people/Zoë", json={"identity": "lena"}, headers=client.write)
    assert (taken.status_code, taken.json()["reason"]) == (409, "name-taken")
    renamed = client.patch("/api/v1/people/Zoë", json={"identity": "Zora"}, headers=client.write)
    assert renamed.json()["identity"] == "Zora" and renamed.json()["photos"] == 2
    for name in ("Zora", "zoë"):
        assert client.delete(f"/api/v1/people/{name}", headers=client.write).status_code == 204
    gone = client.get("/api/v1/people/Zora")
    assert (gone.status_code, gone.json()["reason"]) == (404, "unknown-person")


def test_refusals_of_keys_say_why(client):
    keys = client.app.state.keys
    old, revoked = keys.make("old", days=1e-9), keys.make("revoked")
    keys.revoke("revoked")
    for secret, why in (("", "none was sent"), (old, "has expired"), (revoked, "unknown or was revoked")):
        headers = {"Authorization": f"Bearer {secret}" if secret else ""}
        answer = client.get("/api/v1/people", headers=headers)
        assert answer.status_code == 401 and why in answer.json()["detail"]
        assert answer.headers["www-authenticate"] == "Bearer"


def grey(side: int) -> bytes:
    """A picture without a face."""
    stream = io.BytesIO()
    Image.new("RGB", (side, side), "grey").save(stream, "PNG")
    return stream.getvalue()


@pytest.mark.parametrize(
    ("picture", "identity", "status", "reason"),
    [
        (grey(100), "lena", 422, "no-face"),
        (b"not a picture", "lena", 422, "unreadable"),
        (b"", "lena", 422, "unreadable"),
        (in_scans(64, 5000), "lena", 422, "unreadable"),
        ("camera_0.jpg", "lenna", 404, "unknown-person"),
    ],
)
def test_problems_name_what_is_wrong(client, picture, identity, status, reason):
    answer = send(client, "/api/v1/verify", picture, data={"identity": identity})
    problem = answer.json()
    assert (answer.status_code, problem["status"], problem["reason"]) == (status, status, reason)
    assert answer.headers["content-type"] == "application/problem+json"
    assert problem["request"] == answer.headers["x-request-id"]
    assert re.match("The (photo|database) ", problem["detail"]) or "face in the photo" in problem["detail"]


@pytest.mark.parametrize(
    ("ask", "status", "said"),
    [
        ({"url": "/api/v1/verify", "method": "POST", "data": {"identity": "lena"}}, 422, "photo: Field required"),
        ({"url": "/api/v1/people?limit=0", "method": "GET"}, 422, "limit: Input should be greater"),
        ({"url": "/api/v1/people?limt=5", "method": "GET"}, 422, "limt: Extra inputs are not permitted"),
        ({"url": "/api/v2/people", "method": "GET"}, 404, "Not Found"),
        ({"url": "/api/v1/verify", "method": "GET"}, 405, "Method Not Allowed"),
    ],
)
def test_requests_that_make_no_sense_are_problems_too(client, ask, status, said):
    answer = client.request(**ask)
    assert answer.status_code == status and said in answer.json()["detail"]
    assert answer.headers["content-type"] == "application/problem+json"


def test_large_bodies_are_refused_with_and_without_a_length(client):
    big = b"x" * (guard.MAX_BODY + 1)
    known = client.post("/api/v1/encode", content=big)
    pieces = client.post(
        "/api/v1/encode",
        content=(big[i : i + 1_000_000] for i in range(0, len(big), 1_000_000)),
        headers={"Content-Type": "multipart/form-data; boundary=x"},
    )
    assert [answer.status_code for answer in (known, pieces)] == [413, 413]
    assert known.json()["reason"] == "too-large"


def test_uploads_never_touch_the_disk(client, monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("a file was written")

    monkeypatch.setattr("tempfile.SpooledTemporaryFile.rollover", refuse)
    noise = np.random.default_rng(0).integers(0, 256, (1200, 1200, 3), np.uint8)
    stream = io.BytesIO()
    Image.fromarray(noise).save(stream, "PNG")  # over four megabytes
    assert send(client, "/api/v1/recognise", stream.getvalue()).json()["faces"] == []


def test_a_clients_own_number_of_a_request_comes_back_if_it_is_harmless(client):
    ours = client.get("/healthz", headers={"X-Request-ID": "order-17"})
    odd = client.get("/healthz", headers={"X-Request-ID": "a b<script>"})
    assert ours.headers["x-request-id"] == "order-17" and "<" not in odd.headers["x-request-id"]


def test_metrics_count_by_path_and_not_by_name(client):
    client.get("/api/v1/people/a-name-that-is-nobody's-business")
    text = client.get("/metrics").text
    assert 'faces_requests_total{method="GET",path="/api/v1/people/{identity}",status="404"}' in text
    assert "business" not in text and "faces_people 2.0" in text


def test_description_is_valid_and_its_page_needs_no_network(client):
    described = client.get("/api/openapi.json", headers={"Authorization": ""}).json()
    validate(described)
    assert described["openapi"].startswith("3.1")
    page = client.get("/docs", headers={"Authorization": ""}).text
    assert "swagger-ui-bundle.js" in page and "https://" not in page.replace("https://fastapi", "")


def test_fault_is_a_problem_without_details(client, monkeypatch):
    def broken(*args):
        raise RuntimeError("with a name in it")

    monkeypatch.setattr("apps.api.faces.identify", broken)
    answer = send(client, "/api/v1/recognise", "lena.jpg")
    assert answer.status_code == 500 and "with a name" not in answer.text and answer.json()["reason"] == "broken"


def test_rate_is_limited_for_each_key(tmp_path):
    app = create_app(tmp_path / "people.db", "unused", tmp_path / "keys.json", rate="2 per minute")
    client = TestClient(app)  # without its lifespan: no network is needed to be refused
    one, two = (app.state.keys.make(name) for name in ("one", "two"))
    ask = lambda secret: client.get("/nowhere-else", headers={"Authorization": f"Bearer {secret}"})  # noqa: E731
    assert ask(one).status_code == 404  # a path without a key counts for no one
    from fastapi import Depends

    app.get("/probe", dependencies=[Depends(guard.reader)])(lambda: {})
    ask = lambda secret: client.get("/probe", headers={"Authorization": f"Bearer {secret}"})  # noqa: E731
    answers = [ask(one) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert 1 <= int(answers[2].headers["retry-after"]) <= 60
    assert ask(two).status_code == 200
    with pytest.raises(BadArgument, match="rate='often': must be a rate"):
        create_app(tmp_path / "people.db", "unused", tmp_path / "keys.json", rate="often")


def test_too_many_requests_at_once_get_503(client, monkeypatch):
    go, full = threading.Event(), Turns(at_once=1, patience=0.0)
    full._pool.submit(go.wait)
    with monkeypatch.context() as patch:
        patch.setattr(client.app.state.service, "turns", full)
        answer = send(client, "/api/v1/encode", "lena.jpg")
    go.set()
    assert (answer.status_code, answer.json()["reason"]) == (503, "busy")
    assert send(client, "/api/v1/encode", "lena.jpg").status_code == 200


def test_a_redirect_never_goes_where_the_client_says(client):
    answer = client.get("/api/v1/people/lena/", headers={"Host": "evil.example"}, follow_redirects=False)
    assert answer.status_code == 422 and "location" not in answer.headers


def test_programs_stay_with_https(client):
    over = {scheme: client.get(f"{scheme}://testserver/healthz").headers for scheme in ("http", "https")}
    assert "max-age" in over["https"]["strict-transport-security"]
    assert "strict-transport-security" not in over["http"]
