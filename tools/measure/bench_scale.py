"""FaceDatabase on a real Milvus server: how near, how quick, how large, and what a killed server loses.

    make bench-scale                                  # → docs/results/scale.json, and the tables of docs/scale.md
    make bench-scale ARGS="--sizes 1000000 10000000 --probes 200 --kills 0"
    make bench-scale ARGS="--sizes --kills 12 --apart 70"   # each server lives for 70 s at least

The crowd is that of ``bench_database.py``. It is drawn, sent and compared a hundred thousand people at a time, so this
process stays small; the server holds all of them in memory. Each size is written to the file before its graph is built,
which may take hours, and once more with it, in the place of an earlier measurement of the same size.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from operator import itemgetter
from pathlib import Path

import numpy as np
from tqdm import tqdm

from facerec._files import ROOT, write_json
from facerec.database import FaceDatabase
from facerec.errors import BadArgument, run
from tools.measure.bench_database import (
    Crowd,
    company,
    exact,
    machine,
    measured_crowd,
    name_of,
    quantiles,
    share,
    timed,
)
from tools.measure.milvus_server import MilvusServer, why_not

SIZES = (100_000,)

AT_ONCE = 20  # probes in a batch

NEWCOMERS = 200

QUESTIONS = 100  # of each quick kind

PIECE = 100_000  # people who are drawn and sent at once


class Truth:
    """The probes, and the distance of the true nearest to each, found while the people pass by."""

    def __init__(self, crowd: Crowd, people: np.ndarray, probes: int) -> None:
        """Args: people, the first of them; half of so many probes show some of these."""
        self.chosen = crowd.rng.choice(len(people), probes // 2, replace=False)
        strangers = crowd.pictures(crowd.people(probes - probes // 2))
        self.probes = np.concatenate([crowd.pictures(people[self.chosen]), strangers])
        self.distances = np.full(probes, np.inf)

    def compare(self, known: np.ndarray) -> None:
        """Take some encodings (n, D) into account."""
        nearest = known[exact(known, self.probes)].astype(float)
        self.distances = np.minimum(self.distances, np.linalg.norm(nearest - self.probes, axis=1))

    def near_enough(self, distances: np.ndarray) -> dict[str, dict]:
        """How often a distance found, (m,), is that of the true nearest, but for rounding."""
        right = distances <= self.distances + 1e-6
        return {"known": share(right[: len(self.chosen)]), "strangers": share(right[len(self.chosen) :])}


def fill(database: FaceDatabase, crowd: Crowd, size: int, probes: int) -> tuple[Truth, float]:
    """Send so many people. Returns the truth about them, and the seconds that sending took."""
    truth, took = None, 0.0
    for start in tqdm(range(0, size, PIECE), desc=f"{size:,} people: fill", unit="piece"):
        people = crowd.people(min(PIECE, size - start))
        truth, known = truth or Truth(crowd, people, probes), crowd.pictures(people)
        took += timed(database.update, ((name_of(start + i), encoding) for i, encoding in enumerate(known)))[0] / 1000
        truth.compare(known)
    return truth, took


def search(database: FaceDatabase, truth: Truth) -> dict:
    """Speed and truth of searches for one face at a time, and for a batch."""
    database.nearest(truth.probes[0])
    alone = [timed(database.nearest, probe) for probe in tqdm(truth.probes, desc="search", leave=False)]
    names, distances = zip(*(found for _, found in alone), strict=True)
    batches = truth.probes.reshape(-1, AT_ONCE, truth.probes.shape[1])
    named = [names[i][0, 0] == name_of(row) for i, row in enumerate(truth.chosen)]
    return {
        "one": quantiles([took for took, _ in alone]),
        "of_a_batch": quantiles([timed(database.nearest, batch)[0] / AT_ONCE for batch in batches]),
        "true_nearest": truth.near_enough(np.ravel(distances)),
        "named_rightly": float(np.mean(named)),
    }


def questions(database: FaceDatabase, crowd: Crowd, size: int) -> dict:
    """The times of everything else that users ask."""
    some = [name_of(row) for row in crowd.rng.choice(size, QUESTIONS)]
    newcomers = crowd.pictures(crowd.people(NEWCOMERS))
    return {
        "contains": quantiles([timed(database.__contains__, name)[0] for name in some]),
        "len": quantiles([timed(len, database)[0] for _ in some]),
        "names_s": timed(lambda: sum(1 for _ in database))[0] / 1000,
        "find_s": timed(database.find, "no one is called this")[0] / 1000,
        "state_s": timed(database._engine.state)[0] / 1000,
        "add": quantiles([timed(database.add, f"newcomer {i}", picture)[0] for i, picture in enumerate(newcomers)]),
    }


def measure(server: MilvusServer, crowd: Crowd, size: int, probes: int) -> Iterator[dict]:
    """All measurements of a database of one size: first without the graph that ``settle`` may build, then with it."""
    row = {"people": size}
    with FaceDatabase(server.address, collection=f"crowd_{size}") as database, company(said := {}):
        truth, row["fill_s"] = fill(database, crowd, size, probes)
        row |= {"as_written": search(database, truth), **questions(database, crowd, size), **room(server)}
        yield row
        row["settle_s"] = timed(database.settle)[0] / 1000
        row |= {"settled": search(database, truth), **room(server)}
    yield row | said


def room(server: MilvusServer) -> dict:
    """What the server takes, in megabytes."""
    return {"server_memory_mb": server.memory_mb(), "server_disk_mb": server.disk_mb()}


# ------------------------------------------------------------------------------------------------------- kills
class Writer(threading.Thread):
    """Adds people until it is told to stop, and notes their names and how long each took.

    Args:
        where: The database.
        crowd: The people to add are drawn from it.
        pause: The seconds that it waits after each.
    """

    def __init__(self, where: str, crowd: Crowd, pause: float = 0) -> None:
        super().__init__(daemon=True)
        self.pause = pause
        self.database, self.encodings = FaceDatabase(where, collection="killed"), crowd.pictures(crowd.people(5000))
        self.added, self.waited, self.over, self.error = [], [], threading.Event(), None

    def run(self) -> None:
        """Add them."""
        try:
            while not self.over.is_set():
                name = f"person {len(self.added)}"
                took, _ = timed(self.database.add, name, self.encodings[len(self.added) % len(self.encodings)])
                self.added.append(name)
                self.waited.append(took / 1000)
                self.over.wait(self.pause)
        except Exception as error:
            self.error = error


def kills(server: MilvusServer, crowd: Crowd, count: int, apart: float) -> dict:
    """Kill the server so often while a client writes, and start it again; then look for what was acknowledged.

    Args:
        server: Running.
        crowd: The people that the client adds are drawn from it.
        count: How often.
        apart: The seconds for which each server answers at least. Above 0, the client pauses for 0.1 s after each
            person.
    """
    writer, back = Writer(server.address, crowd, pause=0.1 if apart else 0), []
    writer.start()
    for number in tqdm(range(count), desc="kills"):
        _wait_for(writer, len(writer.added) + 5)
        time.sleep(apart + float(np.random.default_rng(number).uniform(0, 0.5)))
        server.kill()
        begun, acknowledged = time.monotonic(), len(writer.added)
        server.start()
        started = time.monotonic() - begun
        _wait_for(writer, acknowledged + 2)  # the first may have been on its way
        back.append({"started_s": started, "written_s": time.monotonic() - begun})
    writer.over.set()
    writer.join()
    names = Counter(list(writer.database))
    return {
        "kills": count,
        "apart_s": apart,
        "acknowledged": len(writer.added),
        "lost": len(set(writer.added) - set(names)),
        "twice": sum(times > 1 for times in names.values()),
        "server_started_s": _most([one["started_s"] for one in back]),
        "client_writes_again_s": _most([one["written_s"] for one in back]),
    }


def _wait_for(writer: Writer, count: int) -> None:
    while len(writer.added) < count:
        if writer.error is not None:
            raise writer.error
        time.sleep(0.02)


def _most(values: list[float]) -> dict[str, float]:
    return {"median": float(np.median(values)), "most": max(values)}


# -------------------------------------------------------------------------------------------------------- main
def earlier(path: Path) -> dict:
    """What was measured before, or nothing."""
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {"sizes": [], "kills": []}


def main() -> None:
    """Measure each size, then the kills; write after each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", nargs="*", type=int, default=list(SIZES))
    parser.add_argument("--probes", type=int, default=1000, help="half of them are known; a multiple of 20")
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--apart", type=float, default=0, help="seconds for which each server answers before its kill")
    parser.add_argument("--folder", type=Path, help="where the server keeps its data meanwhile")
    parser.add_argument("--to", type=Path, default=ROOT / "docs" / "results" / "scale.json")
    args = parser.parse_args()
    if reason := why_not():
        raise BadArgument(reason)
    crowd, result = measured_crowd(), earlier(args.to)
    for task in [*args.sizes, *(["kills"] if args.kills else [])]:
        folder = Path(tempfile.mkdtemp(prefix="bench_scale_", dir=args.folder))
        with MilvusServer(folder) as server:
            about = {"server": f"Milvus {server.version}", "pymilvus": importlib.metadata.version("pymilvus")}
            result |= {"command": "make bench-scale", "machine": machine(), **about}
            if task == "kills":
                new = [kills(server, crowd, args.kills, args.apart)]
                kind, key = "kills", "apart_s"
            else:
                new, kind, key = measure(server, crowd, task, args.probes), "sizes", "people"
            for row in new:
                others = [old for old in result[kind] if old[key] != row[key]]
                result[kind] = sorted([*others, row], key=itemgetter(key))
                write_json(args.to, result)
    print(json.dumps(result, indent=1, ensure_ascii=False))


if __name__ == "__main__":
    run(main)
