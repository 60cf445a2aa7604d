"""Clients of the Flask app, in this process and over HTTP, and the pictures that they send."""

from __future__ import annotations

import http.client
import io
import json
import time

import cv2
import numpy as np

from apps.comparison import Comparer
from facerec._files import ROOT
from tests.hostile import SIGN

FREE = {"COMPARE_LIMIT": "", "DETECT_LIMIT": ""}

LENA, CAMERA, OTTO = ((ROOT / "images" / f"{name}.jpg").read_bytes() for name in ("lena", "camera_0", "otto"))

BLANK = cv2.imencode(".png", np.full((120, 160, 3), 200, np.uint8))[1].tobytes()

BOTH = {"agree": True, "adult": True}


def is_problem(answer, status: int) -> bool:
    """Whether an answer is a problem in our form, with that status and a sentence."""
    friendly = answer.mimetype == "application/problem+json" and answer.json["detail"][0].isupper()
    return answer.status_code == answer.json["status"] == status and friendly


class Visitor:
    """A client of the app, with a cookie and a token; ``met`` collects the answers of the API."""

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


class Broken(Comparer):
    """A comparer that fails unexpectedly, with a secret in its message."""

    def __init__(self):
        pass

    def __call__(self, *_):
        raise RuntimeError(f"secret {SIGN}")


class Raw:
    """An HTTP client that sends forms exactly as told."""

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
        """Send files; their names as browsers write them, or (``raw``) unescaped."""
        body = b""
        for field, (name, data, kind) in files.items():
            if not raw:
                name = name.replace('"', "%22").replace("\r", "%0D").replace("\n", "%0A")
            head = f'--XX\r\nContent-Disposition: form-data; name="{field}"; filename="{name}"\r\n'
            head += f"Content-Type: {kind}\r\n\r\n"
            body += head.encode() + data + b"\r\n"
        return self.ask("POST", path, body + b"--XX--\r\n", "multipart/form-data; boundary=XX")


def wait_until_ready(port: int, within: float = 120) -> None:
    deadline = time.monotonic() + within
    while time.monotonic() < deadline:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        connection.request("GET", "/healthz")
        if connection.getresponse().status == 200:
            return
        time.sleep(0.3)
    raise RuntimeError("the networks were not loaded in time")
