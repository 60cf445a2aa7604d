"""The Flask app and the API under siege: bodies that never end, silent and slow sockets, large pictures.

    python tools/measure/siege.py [--connections 200]      → docs/results/apps.json; five minutes, Linux only

The attackers come from 127.0.0.1. Meanwhile a visitor comes from 127.0.0.2, as from another computer, and asks for a
page. The memory is the server's, in MB: at rest, and the most at any time.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import selectors
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from apps.api.keys import Keys
from apps.pictures import jpeg
from facerec._files import ROOT, write_json
from facerec.errors import BadArgument, run
from facerec.photos import load_image
from tools.measure.load_flask import RESULTS, Client, server

ATTACKER, VISITOR = "127.0.0.1", "127.0.0.2"

LARGEST = 20_000_000  # bytes of two pictures; the API takes one

FORM = "Content-Type: multipart/form-data; boundary=X\r\n"

LARGE_SIDE = 5000  # pixels of a large picture, each way


@dataclass
class Target:
    """A server under siege.

    Attributes:
        name: What the results call it.
        process: Its process.
        port: Its port.
        path: Where it takes pictures.
        size: The largest body, in bytes.
        more: More lines of the head, which let a request in.
    """

    name: str
    process: subprocess.Popen
    port: int
    path: str
    size: int
    more: str = FORM

    def connect(self, data: bytes = b"", source: str = ATTACKER) -> socket.socket:
        """Open a connection and send something."""
        client = socket.create_connection(("127.0.0.1", self.port), timeout=300, source_address=(source, 0))
        client.sendall(data)
        return client

    def attack(self, data: bytes) -> list[socket.socket]:
        """The connection of an attacker who has sent something; none if it was turned away."""
        try:
            return [self.connect(data)]
        except OSError:
            return []

    def head(self, size: int) -> bytes:
        """The head of a request with a body of so many bytes."""
        return f"POST {self.path} HTTP/1.1\r\nHost: localhost\r\n{self.more}Content-Length: {size}\r\n\r\n".encode()

    def memory(self) -> float:
        """What its process holds, in MB."""
        return psutil.Process(self.process.pid).memory_info().rss / 1e6

    def visit(self) -> float:
        """The seconds until another computer gets a page."""
        began = time.perf_counter()
        with self.connect(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n", VISITOR) as client:
            if not client.recv(12).endswith(b"200"):
                raise BadArgument(f"{self.name}: a visitor is not served")
        return time.perf_counter() - began


@contextmanager
def watched(target: Target) -> Iterator[dict[str, float]]:
    """Note the most memory and the longest wait of a visitor while the block runs."""
    met, is_over = {"memory_mb": target.memory(), "visitor_s": 0.0}, threading.Event()

    def watch() -> None:
        while not is_over.wait(0.05):
            met["memory_mb"] = max(met["memory_mb"], target.memory())

    def visit() -> None:
        while not is_over.wait(0.5):
            met["visitor_s"] = max(met["visitor_s"], target.visit())

    with ThreadPoolExecutor(2) as pool:
        watching = [pool.submit(each) for each in (watch, visit)]
        try:
            yield met
        finally:
            is_over.set()
    for each in watching:
        each.result()


# ---------------------------------------------------------------------------------------------------- attacks
def bodies(target: Target, connections: int) -> dict[str, float]:
    """Large bodies at once, each without its last byte."""
    request = target.head(target.size) + bytes(target.size - 1)
    with watched(target) as met, ThreadPoolExecutor(connections) as pool:
        clients = [client for found in pool.map(target.attack, [request] * connections) for client in found]
        time.sleep(5)
    return met | {"turned_away": connections - until_closed(clients, within=0)}


def sockets(target: Target, connections: int, data: bytes, every: float = 0.0) -> dict[str, float]:
    """Sockets that say nothing after some first bytes, or another byte now and then, until the last one is closed."""
    with watched(target) as met:
        began = time.monotonic()
        clients = [client for _ in range(connections) for client in target.attack(data)]
        left = until_closed(clients, within=400, every=every)
        met["held_s"] = time.monotonic() - began
    return met | {"left": left}


def until_closed(clients: list[socket.socket], within: float, every: float = 0.0) -> int:
    """Wait until the server has closed all connections; returns how many are left after so many seconds."""
    waiting = selectors.DefaultSelector()
    for client in clients:
        client.setblocking(False)
        waiting.register(client, selectors.EVENT_READ)
    until, last = time.monotonic() + within, time.monotonic()
    while True:
        for key, _ in waiting.select(0.2):
            if is_closed(key.fileobj):
                waiting.unregister(key.fileobj)
        if every and time.monotonic() - last > every:
            last = time.monotonic()
            for key in waiting.get_map().values():
                with contextlib.suppress(OSError):
                    key.fileobj.send(b"x")
        left = len(waiting.get_map())
        if not left or time.monotonic() > until:
            for client in clients:
                client.close()
            return left


def is_closed(client: socket.socket) -> bool:
    """Whether the server has hung up; what it said is thrown away."""
    try:
        while client.recv(65536):
            pass
        return True
    except BlockingIOError:
        return False
    except OSError:
        return True


def large_pictures(target: Target) -> dict[str, float]:
    """Comparisons of large pictures, one after the other; the memory afterwards."""
    import cv2

    photo = cv2.resize(
        load_image(ROOT / "images" / "lena.jpg"), (LARGE_SIDE, LARGE_SIDE), interpolation=cv2.INTER_CUBIC
    )
    picture = jpeg(photo, LARGE_SIDE)
    client = Client(target.port)
    with watched(target) as met:
        for _ in range(20):
            if client.compare((picture, picture, True)) != (200, True):
                raise BadArgument("a large picture is not compared rightly")
    time.sleep(5)
    return met | {"afterwards_mb": target.memory()}


# -------------------------------------------------------------------------------------------------- the servers
@contextmanager
def under_siege(name: str, folder: Path) -> Iterator[Target]:
    """The Flask app or the API, with its network loaded, on a free port."""
    keys = folder / "keys.json"
    settings = {"COMPARE_LIMIT": "", "FACES_DATABASE": str(folder / "people.db"), "FACES_KEYS": str(keys)}
    with server(folder / f"{name}.log", name, **settings) as (process, port):
        if name == "flask":
            yield Target(name, process, port, "/api/compare", LARGEST)
        else:
            key = f"Authorization: Bearer {Keys(keys).make('siege')}\r\n"
            yield Target(name, process, port, "/api/v1/encode", LARGEST // 2, f"{key}{FORM}")


def besiege(target: Target, connections: int) -> dict[str, dict[str, float]]:
    """Every attack on a server."""
    found = {"at_rest": {"memory_mb": target.memory()}}
    found["bodies"] = bodies(target, connections)
    found["silent"] = sockets(target, connections, b"")
    found["half_heads"] = sockets(target, connections, b"GET / HTTP/1.1\r\nHost: ", every=1.0)
    found["slow_bodies"] = sockets(target, connections, target.head(1000), every=1.0)
    if target.name == "flask":
        found["large_pictures"] = large_pictures(target)
    return {what: {name: round(number, 2) for name, number in met.items()} for what, met in found.items()}


def main() -> None:
    """Measure and write down."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--connections", type=int, default=200, help="how many attackers there are")
    parser.add_argument("--results", type=Path, default=RESULTS)
    options = parser.parse_args()
    measured = {}
    with tempfile.TemporaryDirectory() as folder:
        for name in ("flask", "api"):
            with under_siege(name, Path(folder)) as target:
                measured[f"{name}_siege"] = besiege(target, options.connections)
    known = json.loads(options.results.read_text(encoding="utf-8")) if options.results.exists() else {}
    write_json(options.results, known | measured)
    print(json.dumps(measured, indent=1))


if __name__ == "__main__":
    run(main)
