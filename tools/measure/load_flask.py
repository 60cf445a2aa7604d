"""The Flask app under load: many clients at once over HTTP, its memory over a thousand requests, the first answer.

    python tools/measure/load_flask.py [--seconds 60 --clients 50 --requests 1000]      → docs/results/apps.json

It starts the app as ``make compare`` does, without its rate limit, and sends requests as browsers would: each client
has a session, keeps its connection, and compares two pictures of ``images/`` with a known answer.
"""

from __future__ import annotations

import argparse
import http.client
import itertools
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import psutil
from tqdm import tqdm

from facerec._files import ROOT, write_json
from facerec.errors import BadArgument, run
from tools.ports import free_port

RESULTS = ROOT / "docs" / "results" / "apps.json"

BORDER = "----8b1d5f0e2a"

WARM = 100  # requests after which memory is measured first

Pair = tuple[bytes, bytes, bool]


def known_pairs() -> list[Pair]:
    """Pictures of ``images/``, two at a time, and whether they show one person."""
    answers = json.loads((ROOT / "images" / "answers.json").read_text(encoding="utf-8"))
    taken = {file: who for file, who in answers.items() if file.startswith("camera_") and who}
    names = sorted(set(taken.values()))
    others = {who: names[(names.index(who) + 1) % len(names)] for who in names}
    pairs = [(file, f"{name}.jpg", name == who) for file, who in taken.items() for name in (who, others[who])]
    return [(_bytes(first), _bytes(second), is_same) for first, second, is_same in pairs]


def _bytes(file: str) -> bytes:
    return (ROOT / "images" / file).read_bytes()


def multipart(**pictures: bytes) -> bytes:
    """The body of a form with pictures."""
    parts = []
    for name, data in pictures.items():
        head = f'--{BORDER}\r\nContent-Disposition: form-data; name="{name}"; filename="{name}.jpg"\r\n'
        parts += [head.encode(), b"Content-Type: image/jpeg\r\n\r\n", data, b"\r\n"]
    return b"".join([*parts, f"--{BORDER}--\r\n".encode()])


class Client:
    """A client with a session and consent.

    Args:
        port: The app's port on this machine.
    """

    def __init__(self, port: int) -> None:
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
        self.headers: dict[str, str] = {}
        session = self.ask("GET", "/api/session")[1]
        self.headers["X-CSRFToken"] = session["csrf_token"]
        body = json.dumps({"agree": True, "adult": True}).encode()
        self.ask("POST", "/api/consent", body, "application/json")

    def ask(self, method: str, path: str, body: bytes | None = None, kind: str = "") -> tuple[int, dict]:
        """The status and the answer of a request to the API."""
        headers = self.headers | ({"Content-Type": kind} if kind else {})
        self.connection.request(method, path, body, headers)
        answer = self.connection.getresponse()
        if cookie := answer.getheader("Set-Cookie"):
            self.headers["Cookie"] = cookie.split(";")[0]
        return answer.status, json.loads(answer.read() or b"{}")

    def compare(self, pair: Pair) -> tuple[int, bool]:
        """The status of a comparison, and whether its answer is the known one."""
        kind = f"multipart/form-data; boundary={BORDER}"
        status, answer = self.ask("POST", "/api/compare", multipart(first=pair[0], second=pair[1]), kind)
        return status, answer.get("is_same") is pair[2]


@contextmanager
def server(log: Path, app: str, *options: str, **settings: str) -> Iterator[tuple[subprocess.Popen, int]]:
    """The process and the port of an app as make runs it, with its networks loaded.

    Args:
        log: The file for what it prints.
        app: ``"flask"`` or ``"api"``.
        options: Further options of its command.
        settings: Further variables of its environment.
    """
    port = free_port()
    command = [sys.executable, "-m", f"apps.{app}", "--port", str(port), *options]
    with log.open("w") as stream:
        process = subprocess.Popen(command, cwd=ROOT, env=os.environ | settings, stdout=stream, stderr=stream)
    try:
        wait_until_ready(process, port, log)
        yield process, port
    finally:
        process.terminate()
        process.wait(60)


def wait_until_ready(process: subprocess.Popen, port: int, log: Path) -> None:
    """Wait until an app has loaded its networks.

    Raises:
        BadArgument: If it does not.
    """
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and process.poll() is None:
        try:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
            connection.request("GET", "/healthz")
            if connection.getresponse().status == 200:
                return
        except OSError:
            pass
        time.sleep(0.3)
    raise BadArgument(f"the app does not answer:\n{log.read_text()[-2000:]}")


@dataclass
class Crowd:
    """The results of many clients.

    Attributes:
        seconds: The time of each request.
        errors: Error statuses and broken connections.
        wrong: Number of wrong answers.
    """

    seconds: list[float] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    wrong: int = 0


def crowd(port: int, clients: int, seconds: float) -> Crowd:
    """The results of many clients that compare pictures at once, each without a pause."""
    met, pairs = Crowd(), known_pairs()
    until = time.monotonic() + seconds

    def one(number: int) -> None:
        try:
            client = Client(port)
            for pair in itertools.islice(itertools.cycle(pairs), number, None):
                if time.monotonic() > until:
                    return
                started = time.perf_counter()
                status, is_right = client.compare(pair)
                met.seconds.append(time.perf_counter() - started)
                if status != 200:
                    met.errors.append(str(status))
                elif not is_right:
                    met.wrong += 1
        except (OSError, http.client.HTTPException, ValueError) as error:
            met.errors.append(repr(error))

    threads = [threading.Thread(target=one, args=(number,)) for number in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return met


def measure_load(port: int, clients: int, seconds: float) -> dict:
    """The speed, the errors and the wrong answers with so many clients."""
    started = time.monotonic()
    met = crowd(port, clients, seconds)
    took = time.monotonic() - started
    p50, p95 = np.percentile(met.seconds, [50, 95])
    return {
        "clients": clients,
        "seconds": round(took, 1),
        "requests": len(met.seconds),
        "requests_per_second": round(len(met.seconds) / took, 2),
        "p50_s": round(float(p50), 2),
        "p95_s": round(float(p95), 2),
        "errors": len(met.errors),
        "kinds_of_errors": sorted(set(met.errors)),
        "wrong": met.wrong,
        "cores": os.cpu_count(),
    }


def measure_memory(process: subprocess.Popen, port: int, requests: int) -> dict:
    """The growth of the server's memory over many requests, after the first hundred."""
    client, pairs = Client(port), itertools.cycle(known_pairs())
    rss = psutil.Process(process.pid).memory_info
    warm = None
    for number in tqdm(range(requests), "requests", unit="", disable=None):
        status, is_right = client.compare(next(pairs))
        if status != 200 or not is_right:
            raise BadArgument(f"request {number}: status {status}, right: {is_right}")
        if number + 1 == min(WARM, requests):
            warm = rss().rss
    mb = 1e6
    return {"requests": requests, "warm": round(warm / mb, 1), "growth": round((rss().rss - warm) / mb, 1)}


def measure_first_answer(port: int) -> float:
    """The seconds of a comparison on a warm, idle server: the median of five."""
    client, pairs = Client(port), known_pairs()
    took = []
    for pair in pairs[:5]:
        started = time.perf_counter()
        if client.compare(pair) != (200, True):
            raise BadArgument("one of the first answers is wrong")
        took.append(time.perf_counter() - started)
    return round(float(np.median(took)), 3)


def main() -> None:
    """Measure and write down."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--clients", type=int, default=50)
    parser.add_argument("--requests", type=int, default=1000, help="to measure the memory with; 0 to skip it")
    parser.add_argument("--results", type=Path, default=RESULTS)
    options = parser.parse_args()
    measured = {}
    with (
        tempfile.TemporaryDirectory() as folder,
        server(Path(folder) / "log", "flask", COMPARE_LIMIT="") as (process, port),
    ):
        measured["flask_first_answer_s"] = measure_first_answer(port)
        if options.clients:
            measured["flask_load"] = measure_load(port, options.clients, options.seconds)
        if options.requests:
            measured["flask_memory_mb"] = measure_memory(process, port, options.requests)
    known = json.loads(options.results.read_text(encoding="utf-8")) if options.results.exists() else {}
    write_json(options.results, known | measured)
    print(json.dumps(measured, indent=1))


if __name__ == "__main__":
    run(main)
