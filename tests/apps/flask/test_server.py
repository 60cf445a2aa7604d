"""The Flask app's server and command: proxies, logs, hostile uploads, load, and nothing written to disk.

Tests that take long are marked `apps`: `make test-apps` runs them.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import re
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from apps.flask import safety
from apps.flask.__main__ import _serve, main
from apps.flask.app import create_app
from apps.flask.server import make_server
from facerec._files import ROOT
from facerec.errors import BadArgument
from tests.apps.flask.clients import CAMERA, FREE, LENA, OTTO, Broken, Raw, wait_until_ready
from tests.chromium import serving
from tests.hostile import NAMES, SIGN, hostile_uploads
from tools.ports import free_port


@contextlib.contextmanager
def listening(app, proxy: str | None = None):
    """A server of the app in this process: its port."""
    port = free_port()
    server = make_server(app, "127.0.0.1", port, 2, proxy)

    def serve() -> None:
        with contextlib.suppress(OSError):  # its sockets are closed while it runs
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
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=240)
        connection.request("GET", "/", headers={"X-Forwarded-Proto": "https", "X-Forwarded-For": "203.0.113.9"})
        assert ("Secure" in connection.getresponse().getheader("Set-Cookie")) == is_believed


@pytest.mark.parametrize(("proxy", "is_believed"), [(None, False), ("127.0.0.1", True)])
def test_rate_limit_counts_addresses_from_a_trusted_proxy(proxy, is_believed):
    with listening(create_app({"COMPARE_LIMIT": "1 per hour"}), proxy) as port:
        client, met = Raw(port), []
        for address in ("203.0.113.9", "203.0.113.10", "203.0.113.9"):
            client.headers["X-Forwarded-For"] = f"198.51.100.7, {address}"  # anyone can write the first part
            met.append(client.form("/api/compare", {})[0])
    assert met == ([400, 400, 429] if is_believed else [400, 429, 429])


def test_server_logs_no_visitor_and_no_request(caplog):
    app = create_app(FREE)
    with listening(app) as port:
        with socket.create_connection(("127.0.0.1", port), timeout=240) as client:
            client.sendall(f"GET http://[{SIGN}/ HTTP/1.1\r\nHost: a\r\n\r\n".encode())
            answer = client.makefile("rb").read().decode()
        assert answer.startswith("HTTP/1.1 400") and "application/problem+json" in answer and caplog.text == ""
        client = Raw(port)
        app.wsgi_app = Broken().__call__
        status, kind, text = client.ask("GET", f"/{SIGN}")
        assert (status, kind) == (500, "application/problem+json") and SIGN not in text
    assert "RuntimeError in the server" in caplog.text
    assert SIGN not in caplog.text and "127.0.0.1" not in caplog.text and "Traceback" not in caplog.text


def test_help_shows_defaults(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["apps.flask", "-h"])
    with pytest.raises(SystemExit):
        main()
    said = " ".join(capsys.readouterr().out.split())
    assert "(default: 8000)" in said and "(default: 127.0.0.1)" in said


@pytest.mark.parametrize(
    ("given", "words"), [(["--threads", "0"], "--threads 0"), (["--host", "192.0.2.1"], "192.0.2.1")]
)
def test_command_rejects_bad_options(monkeypatch, given, words):
    monkeypatch.setattr(sys, "argv", ["apps.flask", *given])
    with pytest.raises(BadArgument, match=words):
        main()


def test_serve_ends_if_networks_fail_to_load(monkeypatch):
    app = create_app(FREE)
    monkeypatch.setattr(app.networks, "load", Broken().__call__)
    before = signal.getsignal(signal.SIGTERM)
    try:
        with pytest.raises(RuntimeError):
            _serve(app, make_server(app, "127.0.0.1", free_port(), 2), "some address")
    finally:
        signal.signal(signal.SIGTERM, before)


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
sys.argv = ["apps.flask", "--port", sys.argv[1]]
import runpy
runpy.run_module("apps.flask", run_name="__main__", alter_sys=True)
"""


def files_in(*folders: Path) -> dict[str, int]:
    """Every file below some folders, and when it was last changed."""
    return {str(path): path.stat().st_mtime_ns for folder in folders for path in folder.rglob("*")}


@pytest.mark.apps
def test_nothing_is_written_to_disk_or_log(tmp_path):
    folders = {name: tmp_path / name for name in ("here", "home", "tmp")}
    for folder in folders.values():
        folder.mkdir()
    notes, log, wrapper, port = tmp_path / "notes", tmp_path / "log", tmp_path / "watched.py", free_port()
    wrapper.write_text(WATCHED.format(notes=str(notes), here=str(folders["here"])))
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


@pytest.mark.apps
def test_hostile_uploads_are_refused_in_words(port):
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
def test_server_refuses_huge_requests_in_our_words(port):
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
def test_crowd_gets_right_answers_and_memory_stays_flat(tmp_path):
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
    assert (load["errors"], load["wrong"]) == (0, 0) and load["requests"] >= 50, load
    assert memory["requests"] == 1000 and memory["growth"] < 50, memory
    assert measured["flask_first_answer_s"] > 0


def test_make_server_rejects_wildcard_proxy():
    with pytest.raises(BadArgument, match="would believe everyone"):
        make_server(create_app(), "127.0.0.1", 0, trusted_proxy="*")
