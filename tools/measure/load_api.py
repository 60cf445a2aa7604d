"""The people API under load: fifty programs at once among ten thousand people, and one alone.

    python tools/measure/load_api.py [--people 10000 --clients 50 --seconds 60]      → docs/results/api.json

It fills a database with the portraits of ``images/`` and with generated encodings, starts the API as ``make api`` does,
and asks it as programs do, over connections that stay open: half of the requests are to recognise, a quarter to verify,
a quarter about people. The rate limit of a key is set so high that no request meets it; every other status than 200 is
an error. One client asks each question first: an answer under load that says anything else is wrong.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import httpx2
import numpy as np
from tqdm import tqdm

from apps.api.keys import Keys
from facerec._files import ROOT, write_json
from facerec._onnx import processors
from facerec.database import FaceDatabase
from facerec.enrol import build_database
from facerec.errors import run
from facerec.networks import load_facenet
from tools.measure.bench_database import measured_crowd, name_of, processor
from tools.measure.load_flask import server

RESULTS = ROOT / "docs" / "results" / "api.json"
IMAGES = ROOT / "images"
RATE = "1000000 per minute"
ROUNDS = 3  # how often one client asks each question


class Question(NamedTuple):
    """A request: its route in the results, its method and path, and what ``httpx2`` sends with it."""

    route: str
    method: str
    path: str
    sent: dict[str, Any] = {}

    def gist(self, answer: dict) -> Any:
        """What must not depend on how many others ask: who it is, not the last digit of a distance."""
        if self.route == "recognise":
            return [face["identity"] for face in answer["faces"]]
        return answer["is_same"] if self.route == "verify" else answer


def questions() -> list[Question]:
    """Every picture of ``images/answers.json`` that shows one person, with what else is asked around it."""
    answers = json.loads((IMAGES / "answers.json").read_text(encoding="utf-8"))
    asked = []
    for number, file in enumerate(file for file in answers if file.startswith("camera_")):
        photo, name = {"photo": (file, (IMAGES / file).read_bytes())}, answers[file] or "lena"
        about = f"/{name}" if number % 2 else f"?offset={500 * number}&limit=100"
        asked += [
            Question("recognise", "POST", "/recognise", {"files": photo}),
            Question("verify", "POST", "/verify", {"files": photo, "data": {"identity": name}}),
            Question("recognise", "POST", "/recognise", {"files": photo}),
            Question("people", "GET", f"/people{about}"),
        ]
    return asked


def fill(path: Path, people: int) -> None:
    """Make a database of so many people: the portraits of ``images/``, and generated encodings."""
    model = load_facenet()
    crowd = measured_crowd()
    with FaceDatabase(path, model) as database:
        build_database(IMAGES, model, progress=False, into=database)
        more = crowd.pictures(crowd.people(people - len(database)))
        database.update((name_of(number), encoding) for number, encoding in enumerate(more))


class Load:
    """What clients met: the seconds of each request by route, the errors, and how many answers were wrong.

    Args:
        client: Sends the requests, with a key.
    """

    def __init__(self, client: httpx2.AsyncClient) -> None:
        self.client = client
        self.seconds: dict[str, list[float]] = defaultdict(list)
        self.errors: Counter[str] = Counter()
        self.wrong = 0

    async def ask(self, question: Question) -> Any:
        """Send a request and note its time; returns the gist of the answer, or None after an error."""
        began = time.perf_counter()
        try:
            answer = await self.client.request(question.method, f"/api/v1{question.path}", **question.sent)
        except httpx2.HTTPError as error:
            self.errors[type(error).__name__] += 1
            return None
        self.seconds[question.route].append(time.perf_counter() - began)
        if answer.status_code != 200:
            self.errors[str(answer.status_code)] += 1
            return None
        return question.gist(answer.json())

    async def ask_on(self, asked: Iterator[tuple[Question, Any]], until: float) -> None:
        """One client: send one request after the other, without a pause, and compare the answers."""
        for question, right in asked:
            if time.monotonic() > until:
                return
            gist = await self.ask(question)
            self.wrong += gist is not None and gist != right

    def routes(self) -> dict[str, dict]:
        """The number of requests and the quantiles of their seconds, by route."""
        return {
            route: {"requests": len(took), **{f"p{q}_s": round(float(np.percentile(took, q)), 3) for q in (50, 95)}}
            for route, took in sorted(self.seconds.items())
        }


async def measure(port: int, key: str, clients: int, seconds: float) -> dict:
    """One client alone, then many at once."""
    asked, headers = questions(), {"Authorization": f"Bearer {key}"}
    limits = httpx2.Limits(max_connections=clients)
    async with httpx2.AsyncClient(
        base_url=f"http://127.0.0.1:{port}", headers=headers, timeout=120, limits=limits
    ) as client:
        alone, crowd = Load(client), Load(client)
        for _ in tqdm(range(ROUNDS), "one client", unit="round"):
            right = [await alone.ask(question) for question in asked]
        began = time.monotonic()
        starts = (itertools.islice(itertools.cycle(zip(asked, right, strict=True)), n, None) for n in range(clients))
        await asyncio.gather(*(crowd.ask_on(start, began + seconds) for start in starts))
        took = time.monotonic() - began
    count = sum(map(len, crowd.seconds.values()))
    return {
        "alone": {"errors": dict(alone.errors), "routes": alone.routes()},
        "load": {
            "clients": clients,
            "seconds": round(took, 1),
            "requests": count,
            "requests_per_second": round(count / took, 1),
            "errors": sum(crowd.errors.values()),
            "kinds_of_errors": dict(crowd.errors),
            "wrong": crowd.wrong,
            "routes": crowd.routes(),
        },
    }


def main() -> None:
    """Measure and write down."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--people", type=int, default=10_000)
    parser.add_argument("--clients", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--results", type=Path, default=RESULTS)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        database, keys = folder / "people.db", folder / "keys.json"
        fill(database, options.people)
        key = Keys(keys).make("load")
        settings = {"FACES_DATABASE": str(database), "FACES_KEYS": str(keys)}
        with server(folder / "log", "api", "--rate", RATE, **settings) as (_, port):
            measured = asyncio.run(measure(port, key, options.clients, options.seconds))
    about = {"machine": {"processor": processor(), "cores": processors()}, "people": options.people, "rate": RATE}
    write_json(options.results, {"command": "make bench-api", **about, **measured})
    print(json.dumps(measured, indent=1))


if __name__ == "__main__":
    run(main)
