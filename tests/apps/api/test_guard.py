"""What the API keeps out, and keeps to itself: keys, bodies, crowds, names, and what is wrong with the server."""

from __future__ import annotations

import threading
import time
import unicodedata
from concurrent.futures import ThreadPoolExecutor

import anyio
import numpy as np
import pytest
from fastapi.testclient import TestClient

from apps.api import keys as keys_module
from apps.api import service
from apps.crowd import Turns
from facerec._files import ROOT
from facerec.database import BadDatabase, NotForgottenYet

PHOTO = (ROOT / "images" / "lena.jpg").read_bytes()

PERSON = "/api/v1/people/{identity}"


@pytest.fixture(scope="module")
def served(toy):
    """The app with a client of it; ``served.read`` and ``served.write`` are headers with keys."""
    with TestClient(toy) as client:
        for scope in ("read", "write"):
            secret = toy.state.keys.make(scope, write=scope == "write")
            setattr(client, scope, {"Authorization": f"Bearer {secret}"})
        yield client


@pytest.fixture
def client(served):
    """The same, with lena and otto in its database and no one else."""
    people = served.app.state.service.people
    people.clear()
    people.update({"lena": np.eye(12)[0], "otto": np.eye(12)[1]})
    served.headers = served.read
    return served


def everything(client, headers: dict[str, str]) -> dict[tuple[str, str], int]:
    """Ask every path for what it is there for; (method, path) → status."""
    met = {}
    for path, ways in client.app.openapi()["paths"].items():
        for way, described in ways.items():
            form = "multipart/form-data" in str(described.get("requestBody"))
            body = {"files": {"photo": ("a.jpg", PHOTO)}, "data": {"identity": "lena"}} if form else {}
            if way == "patch":
                body = {"json": {"identity": "new"}}
            answer = client.request(way, path.format(identity="lena"), headers=headers, **body)
            met[way.upper(), path] = answer.status_code
    return met


def state_of(client) -> tuple:
    """Everything that is kept of everyone."""
    people = client.app.state.service.people
    return people.people().to_dict("records"), {name: people.encodings(name).tobytes() for name in people}


# ------------------------------------------------------------------------------------------------------ keys
def test_a_key_to_read_is_refused_by_all_that_write_and_changes_nothing(client):
    before = state_of(client)
    met = everything(client, client.read)
    refused = {way for way, status in met.items() if status == 403}
    assert refused == {(way, PERSON) for way in ("POST", "PATCH", "DELETE")}
    assert set(met.values()) == {200, 403} and state_of(client) == before


def test_write_key_may_do_everything(client):
    met = everything(client, client.write)
    assert met["POST", PERSON] == met["PATCH", PERSON] == 200
    assert client.get("/api/v1/people/new").json()["encodings"] == 2
    assert client.delete("/api/v1/people/new", headers=client.write).status_code == 204


@pytest.mark.parametrize("what", ["none", "unknown", "revoked", "expired", "not a bearer's"])
def test_without_a_valid_key_no_body_is_read_and_nothing_changes(client, what, monkeypatch):
    keys, before = client.app.state.keys, state_of(client)
    secret = keys.make(what, write=True, days=1)
    if what == "revoked":
        keys.revoke(what)
    if what == "expired":
        later = time.time() + 2 * keys_module.DAY
        monkeypatch.setattr(keys_module.time, "time", lambda: later)
    sent = {"none": "", "unknown": f"Bearer {secret}x", "not a bearer's": f"Basic {secret}"}
    headers = {"Authorization": sent.get(what, f"Bearer {secret}")}
    met = everything(client, headers)
    assert met.pop(("GET", "/healthz")) == 200 and set(met.values()) == {401}
    assert state_of(client) == before

    answered = []

    async def receive():
        raise AssertionError("the body was read")

    async def send(message):
        answered.append(message)

    lines = [(b"authorization", headers["Authorization"].encode()), (b"content-length", b"5")]
    scope = {"type": "http", "method": "POST", "path": "/api/v1/encode", "headers": lines, "scheme": "http"}
    anyio.run(client.app, scope | {"query_string": b"", "raw_path": b"", "root_path": "", "state": {}}, receive, send)
    assert answered[0]["status"] == 401


# ---------------------------------------------------------------------------------------------------- crowds
def test_fifty_programs_wait_in_line_and_others_are_served_meanwhile(client, monkeypatch):
    go, turns = threading.Event(), Turns(in_line=service.IN_LINE)
    monkeypatch.setattr(client.app.state.service, "turns", turns)
    for _ in range(2):
        turns._pool.submit(go.wait)

    def encode() -> int:
        return client.post("/api/v1/encode", files={"photo": ("a.jpg", PHOTO)}).status_code

    with ThreadPoolExecutor(50) as pool:
        asked = [pool.submit(encode) for _ in range(50)]
        while turns._pool._work_queue.qsize() < 50 and not any(each.done() for each in asked):
            time.sleep(0.01)
        others = [client.get(path).status_code for path in ("/healthz", "/api/v1/people", "/metrics")]
        go.set()
        assert {each.result() for each in asked} == {200} and others == [200, 200, 200]


# ----------------------------------------------------------------------------------------------------- names
def test_a_name_is_one_however_its_accents_are_written(client):
    composed, apart = (unicodedata.normalize(form, "Zoë") for form in ("NFC", "NFD"))
    files = {"photo": ("a.jpg", PHOTO)}
    added = client.post(f"/api/v1/people/{apart}", files=files, headers=client.write).json()
    assert (added["identity"], added["looks_like"], added["named_like"]) == (composed, None, [])
    again = client.post(f"/api/v1/people/ {apart} ", files=files, headers=client.write)
    assert again.status_code == 200 and again.json()["looks_like"] is None
    assert client.get(f"/api/v1/people/{apart}").json()["encodings"] == 2
    renamed = client.patch(f"/api/v1/people/{apart}", json={"identity": apart + "l"}, headers=client.write)
    assert renamed.json()["identity"] == composed + "l"


def test_a_name_may_have_a_slash_but_not_at_its_end(client):
    client.app.state.service.people["AC/DC"] = np.eye(12)[2]
    for path in ("AC%2FDC", "AC/DC"):
        assert client.get(f"/api/v1/people/{path}").json()["identity"] == "AC/DC"
    assert client.get("/api/v1/people/lena/").status_code == 422
    assert client.delete("/api/v1/people/AC%2FDC", headers=client.write).status_code == 204


def test_a_name_does_not_ask_for_the_servers_files(client):
    file = str(ROOT / "pyproject.toml")
    unknown = client.post("/api/v1/verify", files={"photo": ("a.jpg", PHOTO)}, data={"identity": file})
    assert unknown.status_code == 404 and "file" not in unknown.json()["detail"].replace(file, "")


# ---------------------------------------------------------------------------------------- what is wrong with us
@pytest.mark.parametrize(
    ("error", "reason"), [(BadDatabase("/srv/people.db: damaged"), "broken"), (NotForgottenYet("/srv"), "traces-left")]
)
def test_server_errors_are_logged_but_not_shown(client, error, reason, monkeypatch, caplog):
    def broken(*args):
        raise error

    monkeypatch.setattr(client.app.state.service.people, "forget", broken)
    answer = client.delete("/api/v1/people/lena", headers=client.write)
    assert (answer.status_code, answer.json()["reason"]) == (503, reason)
    assert "/srv" not in answer.text and "/srv" in caplog.text


def test_description_says_what_a_problem_looks_like(client):
    described = client.app.openapi()
    assert set(described["components"]["schemas"]["ProblemDetails"]["required"]) >= {"title", "status", "reason"}
    for path, ways in described["paths"].items():
        for way, operation in ways.items():
            for status, response in operation["responses"].items():
                kinds = list(response.get("content", {}))
                if status >= "400" and path != "/healthz":
                    assert kinds == ["application/problem+json"], (path, way, status)
