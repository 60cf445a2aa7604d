"""Time the database among a thousand, a hundred thousand and a million people, beside other ways to search.

    python tools/bench_database.py                    # or: make bench-database      → results/database.json
    python tools/bench_database.py --sizes 1000 100000

The encodings are drawn from the residual network's own statistics: how the people of ``datasets/people.zip`` differ
from each other, and how the pictures of one person do. Half of the probes are new pictures of people in the database,
half are strangers. Every way to search answers the same probes, in turn. A million people take some minutes, 1.5 GB of
memory and 3 GB of disk, in a folder that is removed at the end.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import numpy as np  # noqa: E402
import pandas as pd  # noqa: E402

from errors import run  # noqa: E402
from face_database import FaceDatabase  # noqa: E402
from whole_files import write_json  # noqa: E402

SIZES = (1_000, 100_000, 1_000_000)
PROBES = 1_000

#: How many probes each way answers: as many as it can in about a minute.
FEW = {1_000: 100, 100_000: 20, 1_000_000: 5}


class Crowd:
    """Encodings of as many people as are wanted, drawn from what a network makes of real (here: invented) people."""

    def __init__(self, encodings: np.ndarray, who: np.ndarray, seed: int = 0):
        """Args: encodings (m, D) of unit length; who (m,), the person of each; seed of all drawing."""
        means = np.stack([encodings[who == person].mean(axis=0) for person in np.unique(who)])
        within = encodings - means[np.searchsorted(np.unique(who), who)]
        self.mean, self.rng = means.mean(axis=0), np.random.default_rng(seed)
        self.between, self.within = (_root(np.cov(part.T)) for part in (means, within))

    def people(self, count: int) -> np.ndarray:
        """So many people, (count, D): where the middle of each one's pictures lies."""
        return self.mean + self._normal(count) @ self.between.T

    def pictures(self, people: np.ndarray) -> np.ndarray:
        """A picture of each, (count, D) float32 of unit length."""
        x = people + self._normal(len(people)) @ self.within.T
        return (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)

    def _normal(self, count: int) -> np.ndarray:
        return self.rng.standard_normal((count, len(self.mean)), np.float32)


def _root(covariance: np.ndarray) -> np.ndarray:
    """A matrix that gives standard normal numbers this covariance, (D, D) float32."""
    values, vectors = np.linalg.eigh(covariance)
    return (vectors * np.sqrt(values.clip(0))).astype(np.float32)


def measured_crowd() -> Crowd:
    """The crowd that the shipped network sees in ``datasets/people.zip``."""
    from face_datasets import find_people, load_faces
    from fr_utils import faces_to_encodings, load_facenet

    people, model = find_people(ROOT / "datasets" / "people.zip"), load_facenet()
    faces, _ = load_faces(list(people.picture), model.input_shape[1])
    return Crowd(faces_to_encodings(faces, model), people.identity.to_numpy())


def name_of(number: int) -> str:
    """What person number so-and-so is called."""
    return f"person {number:07d}"


# ------------------------------------------------------------------------------------------- other ways
def the_courses_loop(names: list[str], known: np.ndarray) -> Callable[[np.ndarray], str]:
    """A dict, looked through one by one, as the course does it."""
    database = dict(zip(names, known, strict=True))

    def search(probe: np.ndarray) -> str:
        nearest, best = None, 100.0
        for name, encoding in database.items():
            distance = np.linalg.norm(probe - encoding)
            if distance < best:
                nearest, best = name, distance
        return nearest

    return search


def a_pandas_scan(names: list[str], known: np.ndarray) -> Callable[[np.ndarray], str]:
    """A table with an encoding in every row, as DeepFace's ``find`` scans it."""
    table = pd.DataFrame({"identity": names, "encoding": list(known)})

    def search(probe: np.ndarray) -> str:
        distances = [np.linalg.norm(encoding - probe) for encoding in table["encoding"]]
        return table.assign(distance=distances).sort_values("distance").iloc[0].identity

    return search


def face_distance(names: list[str], known: np.ndarray) -> Callable[[np.ndarray], str]:
    """The formula of ``face_recognition.face_distance``: the norms of all differences."""
    return lambda probe: names[int(np.linalg.norm(known - probe, axis=1).argmin())]


def plain_numpy(names: list[str], known: np.ndarray) -> Callable[[np.ndarray], str]:
    """One matrix product: for encodings of unit length the nearest is the one with the largest product."""
    return lambda probe: names[int((known @ probe).argmax())]


WAYS = {
    "the course's loop over a dict": the_courses_loop,
    "a pandas scan": a_pandas_scan,
    "face_recognition.face_distance": face_distance,
    "plain NumPy": plain_numpy,
}


# -------------------------------------------------------------------------------------------- measuring
def milliseconds(search: Callable[[np.ndarray], object], probes: np.ndarray) -> tuple[list[float], list]:
    """How long each probe took, and what was found."""
    took, found = [], []
    for probe in probes:
        start = time.perf_counter()
        found.append(search(probe))
        took.append(1000 * (time.perf_counter() - start))
    return took, found


def quantiles(took: list[float]) -> dict[str, float]:
    """Median and 99 % quantile in milliseconds."""
    return {"p50_ms": float(np.median(took)), "p99_ms": float(np.quantile(took, 0.99)), "probes": len(took)}


def exact(known: np.ndarray, probes: np.ndarray) -> np.ndarray:
    """The row of the true nearest of each probe, by the product with all, in blocks of probes."""
    return np.concatenate([(known @ probes[i : i + 50].T).argmax(axis=0) for i in range(0, len(probes), 50)])


#: What a fresh process does: open, answer once, say how long that took; then answer everything.
FRESH = """
import sys, time, json
sys.path.insert(0, {root!r})
import numpy as np
from face_database import FaceDatabase
probes = np.load({probes!r})
start = time.perf_counter()
database = FaceDatabase({path!r})
people = len(database)
database.nearest(probes[0])
opened = time.perf_counter() - start
took, found = [], []
for probe in probes:
    start = time.perf_counter()
    names, _ = database.nearest(probe)
    took.append(1000 * (time.perf_counter() - start))
    found.append(str(np.ravel(names)[0]))
status = dict(line.split(":", 1) for line in open("/proc/self/status") if ":" in line)
memory = {{name: int(status[key].split()[0]) / 1024 for name, key in (("now", "VmRSS"), ("most", "VmHWM"))}}
print(json.dumps({{"people": people, "cold_open_s": opened, "took": took, "found": found, "memory_mb": memory}}))
"""


def in_a_fresh_process(path: Path, probes: np.ndarray, folder: Path) -> dict:
    """Open the database in a new process, whose files are still in the system's cache, and search there."""
    np.save(folder / "probes.npy", probes)
    code = FRESH.format(root=str(ROOT), path=str(path), probes=str(folder / "probes.npy"))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def add_one_by_one(database: FaceDatabase, pictures: np.ndarray) -> dict[str, float]:
    """How long it takes until a new person is safely on the disk."""
    took = []
    for i, picture in enumerate(pictures):
        start = time.perf_counter()
        database.add(f"newcomer {i}", picture)
        took.append(1000 * (time.perf_counter() - start))
    return quantiles(took)


def measure(crowd: Crowd, size: int, folder: Path) -> dict:
    """Everything about a database of one size."""
    people = crowd.people(size)
    known, names = crowd.pictures(people), [name_of(i) for i in range(size)]
    chosen = crowd.rng.choice(size, PROBES // 2, replace=False)
    probes = np.concatenate([crowd.pictures(people[chosen]), crowd.pictures(crowd.people(PROBES // 2))])
    del people
    is_known = np.arange(PROBES) < PROBES // 2
    path, start = folder / f"{size}.db", time.perf_counter()
    with FaceDatabase(path) as database:
        database.update(_pairs(names, known))
        filled = time.perf_counter() - start
        database.nearest(probes[0])
        database.settle()
        built = time.perf_counter() - start - filled
    fresh = in_a_fresh_process(path, probes, folder)
    truth = np.array([names[i] for i in exact(known, probes)], object)
    right = np.array(fresh["found"], object) == truth
    with FaceDatabase(path) as database:
        database.nearest(probes[0])
        added = add_one_by_one(database, crowd.pictures(crowd.people(100)))
    few = np.concatenate([probes[is_known][: FEW[size]], probes[~is_known][: FEW[size]]])
    others = {}
    for label, way in WAYS.items():
        search = way(names, known)
        search(few[0])
        others[label] = quantiles(milliseconds(search, few)[0])
        del search
    ours = quantiles(fresh["took"])
    return {
        "people": size,
        "nearest": ours,
        "true_nearest": {"known": float(right[is_known].mean()), "strangers": float(right[~is_known].mean())},
        "named_rightly": float((np.array(fresh["found"])[is_known] == [names[i] for i in chosen]).mean()),
        "cold_open_s": fresh["cold_open_s"],
        "memory_mb": fresh["memory_mb"],
        "fill_s": filled,
        "build_index_s": built,
        "add": added,
        "disk_mb": sum(file.stat().st_size for file in folder.glob(f"{size}.db*")) / 1e6,
        "others": others,
        "times_as_fast_as": {label: row["p50_ms"] / ours["p50_ms"] for label, row in others.items()},
    }


def _pairs(names: list[str], known: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    yield from zip(names, known, strict=True)


def main() -> None:
    """Measure each size, write after each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", nargs="+", type=int, default=list(SIZES), choices=SIZES)
    parser.add_argument("--to", type=Path, default=ROOT / "results" / "database.json")
    args = parser.parse_args()
    crowd, rows = measured_crowd(), []
    for size in args.sizes:
        with tempfile.TemporaryDirectory(prefix="bench_database_") as folder:
            rows.append(measure(crowd, size, Path(folder)))
        write_json(args.to, {"command": "make bench-database", "sizes": rows})
        print(json.dumps(rows[-1], indent=1, ensure_ascii=False))


if __name__ == "__main__":
    run(main)
