"""Pictures, connections, bytes and time are limited: both servers under siege, with stubs instead of networks."""

from __future__ import annotations

import contextlib
import json
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import flask
import pytest
from fastapi import FastAPI, Request

from apps.api import guard, problems
from apps.api.keys import Keys
from apps.api.server import make_server as uvicorn_server
from apps.crowd import MANY_BYTES, MANY_CONNECTIONS, TOO_SLOW, Busy, Deadlines, Door, Load, Turns
from apps.flask import server
from apps.streamlit import gate
from facerec._files import ROOT

LONG = 120  # seconds that only bound a wait


def until(is_true: Callable[[], bool]) -> None:
    """Wait for something that happens soon."""
    deadline = time.monotonic() + LONG
    while not is_true():
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.01)


# ------------------------------------------------------------------------------------------------------ turns
def test_work_is_done_in_turn_and_the_line_has_an_end():
    turns, go, began = Turns(at_once=1, in_line=2), threading.Event(), threading.Event()
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(turns.run, lambda: (began.set(), go.wait(LONG)))
        assert began.wait(LONG)
        second = pool.submit(turns.run, max, 3, 5)
        until(lambda: turns._pool._work_queue.qsize() == 1)
        with pytest.raises(Busy, match="try again"):
            turns.run(max, 1, 2)  # both places are taken: no wait
        go.set()
        assert first.result(LONG) == (None, True) and second.result(LONG) == 5
    assert turns.run(max, 1, 2) == 2


def test_patience_ends_and_the_works_own_errors_pass():
    turns, go = Turns(at_once=1, patience=0.05), threading.Event()
    with pytest.raises(Busy):
        turns.run(go.wait)
    go.set()
    turns.patience = LONG

    def late() -> None:
        raise TimeoutError("of the work itself")

    with pytest.raises(TimeoutError, match="of the work itself"):
        turns.run(late)


# ------------------------------------------------------------------------------------------------------- door
def test_door_counts_connections_and_bytes_of_each_address_and_in_all():
    door = Door(connections=1, held=10, held_each=6, trusted=["192.0.2.9"])
    assert door.enter("2001:db8::1") and not door.enter("2001:db8::2") and door.enter("2001:db8:0:1::1")
    assert door.enter("192.0.2.9") and door.enter("192.0.2.9")  # a proxy stands for many
    one, same, other, proxy = (Load(door, name) for name in ("2001:db8::1", "2001:db8::2", "192.0.2.1", "192.0.2.9"))
    assert one.add(4) and not same.add(4) and same.add(2) and not other.add(5) and other.add(2)
    one.drop(), one.drop(), same.drop(), other.drop()
    assert proxy.add(10) and not proxy.add(1)
    proxy.drop()
    for name in ("2001:db8::2", "2001:db8:0:1::1", "192.0.2.9", "192.0.2.9"):
        door.leave(name)
    assert (door.open, door.bytes) == (0, 0) and not door._open and not door._bytes, "no address is remembered"


def test_page_about_the_apps_tells_the_limits():
    page, door, within = (ROOT / "docs" / "apps.md").read_text(encoding="utf-8"), Door(), Deadlines()
    assert f"{door.held // 10**6} MB, and {door.held_each // 10**6} MB from one address" in page
    assert f"{server.CONNECTIONS}, and {door.connections} from one address" in page
    assert f"{within.head:.0f} seconds" in page and f"{within.body / 60:.0f} minutes" in page
    assert f"{within.answer / 60:.0f} minutes" in page
    assert f"{gate.EACH // 10**6} MB for each visit and {gate.IN_ALL // 10**6} MB in all" in page


# ------------------------------------------------------------------------------------------- servers with stubs
@dataclass
class Served:
    """A server in this process.

    Attributes:
        port: Its port.
        door: Its door.
        head: What every request begins with, but for its first line.
    """

    port: int
    door: Door
    head: str

    def connect(self, data: str | bytes = b"", source: str = "127.0.0.1") -> socket.socket:
        client = socket.create_connection(("127.0.0.1", self.port), timeout=LONG, source_address=(source, 0))
        client.sendall(data.encode() if isinstance(data, str) else data)
        return client

    def post(self, size: int, sent: int | None = None, more: str = "") -> bytes:
        """A request with a body of so many bytes, of which so many are sent."""
        return f"POST / HTTP/1.1\r\n{self.head}Content-Length: {size}\r\n{more}\r\n".encode() + b"x" * (
            size if sent is None else sent
        )


def read(client: socket.socket) -> str:
    """All that a server says until it hangs up."""
    said = b""
    with client, contextlib.suppress(ConnectionResetError):
        while data := client.recv(65536):
            said += data
    return said.decode()


def ask(served: Served, data: str | bytes) -> str:
    return read(served.connect(data))


def detail(answer: str) -> str:
    """The sentence in a problem."""
    head, _, body = answer.partition("\r\n\r\n")
    assert "application/problem+json" in head.replace("Content-Type", "content-type"), answer
    return json.loads(body)["detail"]


MOST = 50_000  # bytes of a body for the stub of the Flask app


@contextlib.contextmanager
def waitress(door: Door, deadlines: Deadlines, folder) -> Iterator[Served]:
    app = flask.Flask("stub")
    app.config["MAX_CONTENT_LENGTH"] = MOST
    app.route("/", methods=["GET", "POST"])(lambda: str(len(flask.request.get_data())))
    running = server.make_server(app, "127.0.0.1", 0, threads=2, door=door, deadlines=deadlines)

    def serve() -> None:
        with contextlib.suppress(OSError):  # its sockets are closed while it runs
            running.run()

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield Served(int(running.effective_port), door, "Host: localhost\r\nConnection: close\r\n")
    finally:
        running.task_dispatcher.shutdown()
        running.close()


@contextlib.contextmanager
def uvicorn(door: Door, deadlines: Deadlines, folder) -> Iterator[Served]:
    app, keys = FastAPI(), Keys(folder / "keys.json")
    app.state.keys = keys
    guard.register(app, "600 per minute", door)
    problems.register(app)

    @app.api_route("/", methods=["GET", "POST"])
    async def measure(request: Request) -> int:
        return len(await request.body())

    running = uvicorn_server(app, "127.0.0.1", 0, door=door, deadlines=deadlines)
    listener = socket.create_server(("127.0.0.1", 0))
    thread = threading.Thread(target=running.run, args=([listener],), daemon=True)
    thread.start()
    until(lambda: running.started)
    secret = keys.make("stub")
    head = f"Host: localhost\r\nConnection: close\r\nAuthorization: Bearer {secret}\r\n"
    try:
        yield Served(listener.getsockname()[1], door, head)
    finally:
        running.should_exit = running.force_exit = True
        thread.join(LONG)


SERVERS = pytest.mark.parametrize("served_by", [waitress, uvicorn])


@SERVERS
def test_silent_and_slow_clients_are_sent_away(served_by, tmp_path):
    """Each part of a request has a deadline; a byte now and then does not help, and what has begun gets a sentence."""
    with served_by(Door(), Deadlines(head=0.4, body=LONG), tmp_path) as served:
        silent = served.connect()
        half = f"GET / HTTP/1.1\r\n{served.head}"
        assert any(detail(said) == TOO_SLOW for said in (ask(served, half) for _ in range(9)) if "408" in said)
        assert read(silent) == ""
        until(lambda: served.door.open == 0)
    with served_by(Door(), Deadlines(head=LONG, body=0.4), tmp_path / "..") as served:
        client = served.connect(served.post(20_000, sent=10))
        with contextlib.suppress(OSError):
            for _ in range(200):  # until the server hangs up
                client.sendall(b"x")
                time.sleep(0.02)
        assert "408" in (said := read(client)) and detail(said) == TOO_SLOW
        until(lambda: served.door.open == served.door.bytes == 0)


@SERVERS
def test_one_address_can_not_take_all_connections(served_by, tmp_path):
    with served_by(Door(connections=4), Deadlines(head=LONG), tmp_path) as served:
        silent = [served.connect() for _ in range(4)]
        until(lambda: served.door.open == 4)
        assert detail(ask(served, b"")) == MANY_CONNECTIONS
        if sys.platform == "linux":  # where the whole network 127.0.0.0/8 is this computer
            other = served.connect(f"GET / HTTP/1.1\r\n{served.head}\r\n", source="127.0.0.2")
            assert read(other).startswith("HTTP/1.1 200")
        for client in silent:
            client.close()
        until(lambda: served.door.open == 0)
        assert ask(served, f"GET / HTTP/1.1\r\n{served.head}\r\n").startswith("HTTP/1.1 200")


@SERVERS
def test_bodies_have_a_limit_together(served_by, tmp_path):
    with served_by(Door(held=60_000, held_each=30_000), Deadlines(), tmp_path) as served:
        first = served.connect(served.post(20_000, sent=19_999))
        until(lambda: served.door.bytes == 19_999)
        said = ask(served, served.post(20_000))
        assert said.startswith("HTTP/1.1 503") and detail(said) == MANY_BYTES
        until(lambda: served.door.bytes == 19_999)  # what was refused is free again
        first.sendall(b"x")
        assert read(first).endswith("20000")
        gone = served.connect(served.post(20_000, sent=19_000))
        until(lambda: served.door.bytes == 19_000)
        gone.close()
        until(lambda: served.door.bytes == 0)
        assert ask(served, served.post(20_000)).endswith("20000")
        until(lambda: served.door.open == served.door.bytes == 0)


def test_flask_refuses_a_large_body_after_reading_it_and_a_huge_one_at_once(tmp_path):
    with waitress(Door(held=MOST, held_each=MOST), Deadlines(), tmp_path) as served:  # no room for what is too large
        pieces = b"".join(b"2710\r\n" + b"x" * 10_000 + b"\r\n" for _ in range(6)) + b"0\r\n\r\n"
        chunked = f"POST / HTTP/1.1\r\n{served.head}Transfer-Encoding: chunked\r\n\r\n".encode()
        assert ask(served, served.post(MOST)).endswith(str(MOST))
        for request in (
            served.post(MOST + 1),
            chunked + pieces,
            served.post(MOST + 1, 0, "Expect: 100-continue\r\n"),
            served.post(10**9, 0),
            served.post(10**9, 0, "Expect: 100-continue\r\n"),
        ):
            assert ask(served, request).startswith("HTTP/1.1 413"), request[:200]
        assert ask(served, chunked + pieces[10_008:]).endswith("50000")  # a piece less
        asks = ask(served, served.post(5, more="Expect: 100-continue\r\n"))
        assert asks.startswith("HTTP/1.1 100") and asks.endswith("5")
        until(lambda: served.door.bytes == 0)


def test_api_reads_no_body_without_a_key(tmp_path):
    with uvicorn(Door(), Deadlines(), tmp_path) as served:
        served.head = "Host: localhost\r\nConnection: close\r\n"
        said = ask(served, served.post(20_000, sent=0))
        assert said.startswith("HTTP/1.1 401") and "none was sent" in detail(said)
        assert ask(served, f"GET / HTTP/1.1\r\n{served.head}\r\n").startswith("HTTP/1.1 200")  # the stub needs none


def test_neither_server_repeats_the_host_that_a_client_names(tmp_path, monkeypatch):
    monkeypatch.setenv("FACES_HOSTS", "faces.example.org")
    with uvicorn(Door(), Deadlines(), tmp_path) as served:
        answers = {
            name: ask(served, f"GET / HTTP/1.1\r\nHost: {name}\r\nConnection: close\r\n\r\n").split()[1]
            for name in ("faces.example.org:8600", "localhost", "elsewhere.example")
        }
    assert list(answers.values()) == ["200", "200", "400"]
