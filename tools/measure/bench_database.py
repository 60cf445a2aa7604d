"""The speed of the database with a thousand to a million people, beside other ways to search.

    python tools/measure/bench_database.py                     # or: make bench-database    → docs/results/database.json
    python tools/measure/bench_database.py --sizes 1000 100000

The encodings are drawn from the residual network's own statistics: how the people of ``datasets/people.zip`` differ
from each other, and how the pictures of one person differ. Half of the probes are new pictures of people in the
database, half are strangers; they are searched one at a time. One process fills the database, others open it and
search, and each reports its peak memory. This process knows all encodings and checks the answers. A million people take
some minutes, 4 GB of memory and 3 GB of disk, in a folder that is removed at the end.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import platform
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from tqdm import tqdm

from facerec._files import ROOT, write_json
from facerec._onnx import processors
from facerec.database import FaceDatabase
from facerec.errors import run
from facerec.evaluation import wilson_interval

SIZES = (1_000, 100_000, 1_000_000)

PROBES = 10_000  # half of them known: with fewer, 99.9 % can't be told from 99.7 %

NEWCOMERS = 1_000

OPENINGS = 5

#: Every other way answers as many probes as it can in so many seconds, within these limits.
SECONDS, FEWEST_PROBES, MOST_PROBES = 20, 10, 1_000

#: The settings that limit the threads of NumPy and faiss.
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


class Crowd:
    """Encodings of any number of people, drawn with the statistics of a network's encodings."""

    def __init__(self, encodings: np.ndarray, who: np.ndarray, seed: int = 0):
        """Args: encodings (m, D) of unit length; who (m,), the person of each; seed of all drawing."""
        means = np.stack([encodings[who == person].mean(axis=0) for person in np.unique(who)])
        within = encodings - means[np.searchsorted(np.unique(who), who)]
        self.mean, self.rng = means.mean(axis=0), np.random.default_rng(seed)
        self.between, self.within = (_root(np.cov(part.T)) for part in (means, within))

    def people(self, count: int) -> np.ndarray:
        """The mean encodings of so many people, (count, D)."""
        return self.mean + self._normal(count) @ self.between.T

    def pictures(self, people: np.ndarray) -> np.ndarray:
        """The encoding of one picture of each person, (count, D) float32 of unit length."""
        x = people + self._normal(len(people)) @ self.within.T
        return (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)

    def _normal(self, count: int) -> np.ndarray:
        return self.rng.standard_normal((count, len(self.mean)), np.float32)


def _root(covariance: np.ndarray) -> np.ndarray:
    """The matrix that gives standard normal numbers this covariance, (D, D) float32."""
    values, vectors = np.linalg.eigh(covariance)
    return (vectors * np.sqrt(values.clip(0))).astype(np.float32)


def measured_crowd() -> Crowd:
    """The crowd with the statistics of the shipped network on ``datasets/people.zip``."""
    from facerec.encoding import faces_to_encodings
    from facerec.learning.datasets import find_people
    from facerec.learning.pairs import load_faces
    from facerec.networks import load_facenet

    people, model = find_people(ROOT / "datasets" / "people.zip"), load_facenet()
    faces, _ = load_faces(list(people.picture), model.input_shape[1])
    return Crowd(faces_to_encodings(faces, model), people.identity.to_numpy())


def name_of(number: int) -> str:
    """The name of a person, from their number."""
    return f"person {number:07d}"


def number_of(name: str) -> int:
    """The number of a person, from their name."""
    return int(name.rpartition(" ")[2])


def course_loop(names: list[str], known: np.ndarray) -> Callable[[np.ndarray], str]:
    """The course's way: a loop over a dict."""
    database = dict(zip(names, known, strict=True))

    def search(probe: np.ndarray) -> str:
        nearest, best = None, 100.0
        for name, encoding in database.items():
            distance = np.linalg.norm(probe - encoding)
            if distance < best:
                nearest, best = name, distance
        return nearest

    return search


def pandas_scan(names: list[str], known: np.ndarray) -> Callable[[np.ndarray], str]:
    """DeepFace's way (``find``): a scan of a table with an encoding in every row."""
    table = pd.DataFrame({"identity": names, "encoding": list(known)})

    def search(probe: np.ndarray) -> str:
        distances = [np.linalg.norm(encoding - probe) for encoding in table["encoding"]]
        return table.assign(distance=distances).sort_values("distance").iloc[0].identity

    return search


def face_distance(names: list[str], known: np.ndarray) -> Callable[[np.ndarray], str]:
    """The way of ``face_recognition.face_distance``: the norms of all differences."""
    return lambda probe: names[int(np.linalg.norm(known - probe, axis=1).argmin())]


def plain_numpy(names: list[str], known: np.ndarray) -> Callable[[np.ndarray], str]:
    """One matrix product: of encodings with unit length, the nearest one has the largest product."""
    return lambda probe: names[int((known @ probe).argmax())]


WAYS = {
    "the course's loop over a dict": course_loop,
    "a pandas scan": pandas_scan,
    "face_recognition.face_distance": face_distance,
    "plain NumPy": plain_numpy,
}


class Trial(NamedTuple):
    """Known encodings (n, D) and probes (m, D); the first probes show the people in the rows ``chosen``."""

    known: np.ndarray
    probes: np.ndarray
    chosen: np.ndarray

    @classmethod
    def draw(cls, crowd: Crowd, size: int, count: int) -> Trial:
        """So many people and so many probes, half of which show known people."""
        people = crowd.people(size)
        known, chosen = crowd.pictures(people), crowd.rng.choice(size, count // 2, replace=count // 2 > size)
        strangers = crowd.pictures(crowd.people(count - count // 2))
        return cls(known, np.concatenate([crowd.pictures(people[chosen]), strangers]), chosen)

    def mixed(self) -> np.ndarray:
        """The probes in random order."""
        return np.random.default_rng(0).permutation(self.probes)

    def true_nearest(self, found: np.ndarray) -> dict[str, dict]:
        """How often the row found for each probe, (m,), is as near as the nearest by an exact search."""
        right, split = as_near(self.known, self.probes, found, exact(self.known, self.probes)), len(self.chosen)
        return {"known": share(right[:split]), "strangers": share(right[split:])}


def exact(known: np.ndarray, probes: np.ndarray, rows_at_once: int = 4096) -> np.ndarray:
    """The row of the true nearest encoding of each probe, (m,), by matrix products in blocks of rows."""
    best, nearest = np.full(len(probes), -np.inf, np.float32), np.zeros(len(probes), int)
    for start in range(0, len(known), rows_at_once):
        products = probes @ known[start : start + rows_at_once].T  # (m, rows_at_once)
        row = products.argmax(axis=1)
        product = np.take_along_axis(products, row[:, None], axis=1)[:, 0]
        better = product > best
        best[better], nearest[better] = product[better], start + row[better]
    return nearest


def as_near(known: np.ndarray, probes: np.ndarray, found: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Whether each found row is as near as the true one, (m,) bool: two rows may tie except for rounding."""
    far, least = (np.linalg.norm(known[rows].astype(float) - probes, axis=1) for rows in (found, truth))
    return far <= least


def share(right: np.ndarray) -> dict[str, float]:
    """The share of true values in (n,), with its 95 % interval and n."""
    return {**asdict(wilson_interval(int(right.sum()), len(right))), "of": len(right)}


def timed(work: Callable[..., object], *args: object) -> tuple[float, object]:
    """The milliseconds that the work took, and its result."""
    start = time.perf_counter()
    found = work(*args)
    return 1000 * (time.perf_counter() - start), found


def quantiles(took: list[float]) -> dict[str, float]:
    """The median and the 99 % quantile, in milliseconds."""
    return {"p50_ms": float(np.median(took)), "p99_ms": float(np.quantile(took, 0.99)), "probes": len(took)}


def machine() -> dict:
    """The machine and the packages."""
    packages = {
        name: importlib.metadata.version(package) for name, package in (("numpy", "numpy"), ("faiss", "faiss-cpu"))
    }
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9 if hasattr(os, "sysconf") else None
    return {
        "processor": processor(),
        "cores": processors(),
        "memory_gb": memory,
        "system": platform.system(),
        "python": platform.python_version(),
        **packages,
        "sqlite": sqlite3.sqlite_version,
        "threads": {name: os.environ.get(name, "not set") for name in THREADS},
    }


def processor() -> str:
    """The processor's model."""
    cpuinfo = Path("/proc/cpuinfo")
    if not cpuinfo.is_file():
        return platform.processor() or platform.machine()
    lines = (line.split(":", 1) for line in cpuinfo.read_text().splitlines() if ":" in line)
    said = {key.strip(): value.strip() for key, value in lines}
    name = said.get("model name", platform.machine())
    return f"{name} (family {said['cpu family']}, model {said['model']})" if "cpu family" in said else name


@contextmanager
def company(said: dict) -> Iterator[None]:
    """Add ``others_cores``, how many processors other programs kept busy meanwhile, if the system reports it."""
    before = _busy()
    yield
    if before is not None:
        others, passed = (now - then for now, then in zip(_busy(), before, strict=True))
        said["others_cores"] = max(0.0, others / passed)


def _busy(stat: Path = Path("/proc/stat")) -> tuple[float, float] | None:
    """The processor seconds used by other programs than this one and its children, and the time."""
    if not stat.is_file():
        return None
    user, nice, system, _, _, irq, softirq, steal = map(int, stat.read_text().split()[1:9])
    all_of_it = (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")
    return all_of_it - sum(os.times()[:4]), time.monotonic()


#: The start of each process; ``begun`` is the time when it was asked for.
BEGIN = """
import json, os, time
import numpy as np
from facerec.database import FaceDatabase
def memory():
    if not os.path.exists("/proc/self/status"):
        return None
    status = dict(line.split(":", 1) for line in open("/proc/self/status") if ":" in line)
    return {{name: int(status[key].split()[0]) / 1000 for name, key in (("now", "VmRSS"), ("most", "VmHWM"))}}
bare = memory()
"""

#: The process that fills the database from a file, some thousand people at a time, and waits for the index.
FILL = """
def people():
    with open({known!r}, "rb") as stream:
        for start in range(0, {size}, 5000):
            block = np.fromfile(stream, np.float32, 5000 * {dimension}).reshape(-1, {dimension})
            for number, encoding in enumerate(block, start):
                yield f"person {{number:07d}}", encoding
start = time.perf_counter()
with FaceDatabase({path!r}) as database:
    database.update(people())
    filled, memory_then = time.perf_counter() - start, memory()
    database.nearest(np.load({probes!r})[0])
    database.settle()
    built = time.perf_counter() - start - filled
memories = {{"memory_mb": memory(), "memory_once_filled_mb": memory_then}}
print(json.dumps({{"fill_s": filled, "build_index_s": built, **memories}}))
"""

#: The process that opens the database, times the first answer, and then answers ``count`` probes.
SEARCH = """
probes = np.load({probes!r})
start = time.perf_counter()
database = FaceDatabase({path!r})
people = len(database)
database.nearest(probes[0])
opened, since_begun = time.perf_counter() - start, time.time() - {begun!r}
took, found = [], []
for probe in probes[:{count}]:
    start = time.perf_counter()
    names, _ = database.nearest(probe)
    took.append(1000 * (time.perf_counter() - start))
    found.append(str(np.ravel(names)[0]))
print(json.dumps({{"people": people, "cold_open_s": opened, "from_start_s": since_begun, "took": took, "found": found,
                   "memory_mb": memory(), "memory_of_imports_mb": bare}}))
"""


def in_a_process(code: str, **values: object) -> dict:
    """The JSON that the code prints in a new process."""
    code = (BEGIN + code).format(begun=time.time(), **values)
    done = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def fill(path: Path, trial: Trial) -> dict:
    """Fill a database in a process of its own; return the time and the memory it took."""
    known, (size, dimension) = path.with_suffix(".f4"), trial.known.shape
    trial.known.tofile(known)
    np.save(path.with_suffix(".npy"), trial.probes)
    values = {"path": str(path), "probes": str(path.with_suffix(".npy")), "known": str(known)}
    return in_a_process(FILL, size=size, dimension=dimension, **values)


def open_and_search(path: Path, trial: Trial) -> dict:
    """Open the database in new processes, with its files in the system's cache; the last one answers all probes."""
    values = {"path": str(path), "probes": str(path.with_suffix(".npy"))}
    opened = [in_a_process(SEARCH, count=0, **values) for _ in range(OPENINGS - 1)]
    said = in_a_process(SEARCH, count=len(trial.probes), **values)
    assert said["people"] == len(trial.known)
    for key in ("cold_open_s", "from_start_s"):
        said[key] = float(np.median([one[key] for one in (*opened, said)]))
    return said


def beside(database: FaceDatabase, search: Callable[[np.ndarray], str], probes: np.ndarray) -> dict:
    """The times of another way and of ours, in turn, on as many probes as there is time for."""
    slow = timed(search, probes[0])[0] / 1000
    count, took, ours = int(np.clip(SECONDS / slow, FEWEST_PROBES, MOST_PROBES)), [], []
    for probe in probes[:count]:
        ours.append(timed(database.nearest, probe)[0])
        took.append(timed(search, probe)[0])
    row = {**quantiles(took), "ours_p50_ms": float(np.median(ours))}
    return {**row, "times_ours": row["p50_ms"] / row["ours_p50_ms"]}


def all_beside(database: FaceDatabase, trial: Trial) -> dict[str, dict]:
    """The times of every other way beside ours."""
    names, probes, rows = [name_of(i) for i in range(len(trial.known))], trial.mixed(), {}
    for label, way in WAYS.items():
        search = way(names, trial.known)
        rows[label] = beside(database, search, probes)
        del search
    return rows


def add_one_by_one(database: FaceDatabase, pictures: np.ndarray) -> dict[str, float]:
    """The times until a new person is safely on the disk."""
    return quantiles([timed(database.add, f"newcomer {i}", picture)[0] for i, picture in enumerate(pictures)])


def bare_writes(folder: Path) -> dict[str, float]:
    """The times that this disk takes to write 4 kB safely, without a database."""
    with (folder / "bare").open("wb", buffering=0) as stream:
        return quantiles([timed(lambda: (stream.write(b" " * 4096), os.fsync(stream.fileno())))[0] for _ in range(500)])


def measure(crowd: Crowd, size: int, folder: Path) -> dict:
    """All measurements of a database of one size."""
    trial, path, said = Trial.draw(crowd, size, PROBES), folder / f"{size}.db", {}
    with tqdm(total=5, desc=f"{size:,} people: fill") as bar:

        def step(what: str) -> None:
            bar.update()
            bar.set_description(f"{size:,} people: {what}")

        filled = fill(path, trial)
        disk = sum(file.stat().st_size for file in folder.glob(f"{size}.db*")) / 1e6
        step("search")
        with company(said):
            searched = open_and_search(path, trial)
        step("exact search")
        found = np.array([number_of(name) for name in searched["found"]])
        right = trial.true_nearest(found)
        with FaceDatabase(path) as database:
            database.nearest(trial.probes[0])
            step("other ways")
            others = all_beside(database, trial)
            step("add")
            added = add_one_by_one(database, crowd.pictures(crowd.people(NEWCOMERS)))
            added["bare_write"] = bare_writes(folder)
        step("done")
    return {
        "people": size,
        "nearest": quantiles(searched["took"]),
        "true_nearest": right,
        "named_rightly": float((found[: len(trial.chosen)] == trial.chosen).mean()),
        "cold_open_s": searched["cold_open_s"],
        "from_start_s": searched["from_start_s"],
        "memory_mb": searched["memory_mb"],
        "memory_of_imports_mb": searched["memory_of_imports_mb"],
        "fill": filled,
        "add": added,
        "disk_mb": disk,
        "others": others,
        **said,
    }


def main() -> None:
    """Measure each size, write after each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", nargs="+", type=int, default=list(SIZES), choices=SIZES)
    parser.add_argument("--to", type=Path, default=ROOT / "docs" / "results" / "database.json")
    args = parser.parse_args()
    crowd, rows = measured_crowd(), []
    for size in args.sizes:
        with tempfile.TemporaryDirectory(prefix="bench_database_") as folder:
            rows.append(measure(crowd, size, Path(folder)))
        write_json(args.to, {"command": "make bench-database", "machine": machine(), "sizes": rows})
        print(json.dumps(rows[-1], indent=1, ensure_ascii=False))


if __name__ == "__main__":
    run(main)
