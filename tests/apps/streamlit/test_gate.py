"""The gate in front of the Streamlit app, with a stub behind it; and the app started as others reach it."""

from __future__ import annotations

import asyncio
import http.client
import sys
from collections import Counter
from types import SimpleNamespace

import pytest

from apps.streamlit import gate
from apps.streamlit.gate import COOKIE, Gate, Uploads
from tests.chromium import serving
from tools.ports import free_port


async def behind(scope, receive, send) -> None:
    """Takes uploads, and serves a page and an export."""
    while scope["method"] == "PUT" and (await receive())["more_body"]:
        pass
    kind = b"application/zip" if scope["path"].startswith("/media/") else b"text/html; charset=utf-8"
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", kind)]})
    await send({"type": "http.response.body", "body": b"everyone"})


async def asking(app, path: str, method: str = "GET", pieces=(b"",), **headers: str) -> tuple[int, dict, bytes]:
    """The status, the headers and the body of an answer; ``pieces`` are parts of a body, or events to wait for."""
    answered: list[dict] = []
    coming = iter(pieces)

    async def receive() -> dict:
        piece = next(coming)
        if isinstance(piece, asyncio.Event):
            await piece.wait()
            piece = b""
        return {"type": "http.request", "body": piece, "more_body": piece != b""}

    async def send(message: dict) -> None:
        answered.append(message)

    sent = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    await app({"type": "http", "scheme": "http", "method": method, "path": path, "headers": sent}, receive, send)
    head = {name.decode(): value.decode() for name, value in answered[0]["headers"]}
    return answered[0]["status"], head, b"".join(message.get("body", b"") for message in answered)


def ask(*args, **more) -> tuple[int, dict, bytes]:
    return asyncio.run(asking(*args, **more))


class Kept(Uploads):
    """What Streamlit keeps, in a test: one session is here, one is gone."""

    def __init__(self, **kept: int):
        self.kept = Counter(kept)

    def held(self) -> Counter:
        return self.kept

    def make_room(self) -> None:
        self.kept.pop("gone", None)


def upload(app, session: str, size: int, **more) -> int:
    path = f"/_stcore/upload_file/{session}/some-file"
    return ask(app, path, "PUT", content_length=str(size), **more)[0]


def test_metrics_are_closed():
    app = Gate(behind, Kept())
    assert [ask(app, path)[0] for path in ("/_stcore/metrics", "/base/_stcore/metrics", "/")] == [404, 404, 200]


def test_uploads_are_limited_for_each_visit_and_in_all():
    app = Gate(behind, Kept(here=80, gone=90), each=100, in_all=200)
    assert upload(app, "here", 20) == 200 and upload(app, "here", 21) == 413
    assert upload(app, "new", 31) == 200  # there is room once the one who is gone is forgotten
    assert app.uploads.kept == {"here": 80}
    app.uploads.kept["other"] = 100
    assert upload(app, "new", 20) == 200 and upload(app, "new", 21) == 503
    assert ask(app, "/_stcore/upload_file/new/file", "PUT")[0] == 411


def test_uploads_on_their_way_count_and_have_a_deadline():
    app = Gate(behind, Kept(), each=100)
    path = "/_stcore/upload_file/here/file"

    async def two() -> list[int]:
        end = asyncio.Event()
        first = asyncio.create_task(asking(app, path, "PUT", [b"x", end], content_length="60"))
        await asyncio.sleep(0)
        second = await asking(app, path, "PUT", content_length="60")
        end.set()
        return [(await first)[0], second[0], (await asking(app, path, "PUT", content_length="60"))[0]]

    assert asyncio.run(two()) == [200, 413, 200]
    app.seconds = 0.05

    async def slow() -> int:
        return (await asking(app, path, "PUT", [b"x", asyncio.Event()], content_length="60"))[0]

    assert asyncio.run(slow()) == 408 and not app._coming


def test_export_opens_only_in_the_browser_that_made_it(monkeypatch):
    app = Gate(behind, Kept())
    cookie = ask(app, "/")[1]["set-cookie"]
    assert "HttpOnly; SameSite=Strict" in cookie and "set-cookie" not in ask(app, "/", cookie=cookie)[1]
    mine = cookie.split(";")[0]
    gate.let_fetch({COOKIE: mine.split("=")[1]})
    for other in ("", f"{COOKIE}=", f"{COOKIE}=0123"):
        for name in ("people.zip", "people", "people.png"):  # Streamlit does not look at the ending
            status, _, body = ask(app, f"/media/{name}", cookie=other)
            assert (status, body) == (404, b"Not found")
    assert ask(app, "/media/people.zip", cookie=mine)[2] == b"everyone"
    monkeypatch.setattr(gate, "time", SimpleNamespace(monotonic=lambda: 1e12))
    assert ask(app, "/media/people.zip", cookie=mine)[0] == 404
    gate.let_fetch({})
    assert not gate._exporters, "no one is remembered for long"


def test_uploads_are_those_that_streamlit_keeps(monkeypatch):
    from streamlit.runtime.memory_uploaded_file_manager import MemoryUploadedFileManager
    from streamlit.runtime.uploaded_file_manager import UploadedFileRec

    files = MemoryUploadedFileManager("/upload")
    for session, number in (("here", 1), ("here", 2), ("gone", 1)):
        files.add_file(session, UploadedFileRec(str(number), "a.jpg", "image/jpeg", bytes(10)))
    runtime = SimpleNamespace(uploaded_file_mgr=files, is_active_session=lambda name: name == "here")
    monkeypatch.setattr(gate, "_runtime", lambda: runtime)
    assert Uploads().held() == {"here": 20, "gone": 10}
    Uploads().make_room()
    assert Uploads().held() == {"here": 20}


PAGE = """
import streamlit as st
from apps.streamlit import gate
st.file_uploader("a file")
gate.let_fetch(st.context.cookies)
st.download_button("everyone", b"everyone", "people.zip", "application/zip")
"""


LAUNCHER = """
from streamlit.starlette import App
from apps.streamlit import gate
app = App({!r}, middleware=gate.layers())
"""


class Browser:
    """What a browser does with a Streamlit app, without the browser."""

    def __init__(self, port: int):
        self.port, self.cookies = port, {}
        for path in ("/", "/_stcore/health"):
            for line in self.ask("GET", path)[1].get_all("Set-Cookie") or []:
                name, _, value = line.split(";")[0].partition("=")
                self.cookies[name] = value

    @property
    def cookie(self) -> str:
        return "; ".join(f"{name}={value}" for name, value in self.cookies.items())

    def ask(self, method: str, path: str, body: bytes | None = None, **headers: str):
        """The status, the headers and the body of an answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)
        connection.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read()

    def connect(self):
        """Open the page: the connection, the session's name, and the address of the download."""
        from streamlit.proto.BackMsg_pb2 import BackMsg
        from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
        from websockets.sync.client import connect

        page = connect(
            f"ws://127.0.0.1:{self.port}/_stcore/stream",
            subprotocols=["streamlit", self.cookies["_streamlit_xsrf"]],
            additional_headers={"Cookie": self.cookie},
            origin=f"http://127.0.0.1:{self.port}",
            max_size=None,
        )
        ask, session, address = BackMsg(), "", ""
        ask.rerun_script.query_string = ""
        page.send(ask.SerializeToString())
        while not (session and address):
            message = ForwardMsg.FromString(page.recv(timeout=120))
            session = session or message.new_session.initialize.session_id
            address = address or message.delta.new_element.download_button.url
        return page, session, address

    def upload(self, session: str, name: str, size: int) -> int:
        body = (
            b'--X\r\nContent-Disposition: form-data; name="f"; filename="a.jpg"\r\n\r\n'
            + bytes(size)
            + b"\r\n--X--\r\n"
        )
        kind, token = "multipart/form-data; boundary=X", self.cookies["_streamlit_xsrf"]
        path = f"/_stcore/upload_file/{session}/{name}"
        return self.ask("PUT", path, body, Cookie=self.cookie, Content_Type=kind, X_Xsrftoken=token)[0]


@pytest.mark.apps
def test_gate_holds_in_front_of_streamlit_itself(tmp_path):
    """With a page that needs no network: exports, uploads, metrics, and the names of the server."""
    page, launcher, port = tmp_path / "page.py", tmp_path / "launcher.py", free_port()
    page.write_text(PAGE)
    launcher.write_text(LAUNCHER.format(str(page)))
    command = [sys.executable, "-m", "streamlit", "run", str(launcher), "--server.headless=true"]
    settings = {"FACES_HOSTS": "faces.example.org"}
    with serving([*command, f"--server.port={port}"], f"http://127.0.0.1:{port}", tmp_path / "log", settings):
        mine, other = Browser(port), Browser(port)
        hosts = [mine.ask("GET", "/_stcore/health", Host=name)[0] for name in ("faces.example.org", "evil.example")]
        assert hosts == [200, 400] and mine.ask("GET", "/_stcore/metrics")[0] == 404
        connection, session, address = mine.connect()
        assert mine.ask("GET", address, Cookie=mine.cookie)[2] == b"everyone"
        assert mine.ask("GET", address)[0] == 404 and other.ask("GET", address, Cookie=other.cookie)[0] == 404
        met = [mine.upload(session, f"file-{number}", 19_900_000) for number in range(60)]
        assert met == [204] * 12 + [413] * 48
        connection.close()
