"""The search index beside others: the shipped 4-bit codes and graphs (HNSW) of two libraries, in one run.

    python tools/measure/bench_index.py                       # or: make bench-database      → docs/results/index.json
    python tools/measure/bench_index.py --sizes 100000

Every index only picks candidates, which the same code then ranks exactly: more candidates contain the true nearest more
often, and take longer. The crowd is that of ``tools/measure/bench_database.py``. At a million people, the graphs take
minutes to build. The graphs of usearch are left out if it is not installed.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import importlib.util
import json
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import faiss
import numpy as np
from tqdm import tqdm

from facerec._files import ROOT, write_json
from facerec._onnx import processors
from facerec.database.search import DEPTH, Index
from facerec.errors import run
from tools.measure.bench_database import Trial, company, machine, measured_crowd, quantiles, timed

SIZES = (100_000, 1_000_000)

PROBES = 4_000

DEPTHS = (128, 512, DEPTH)  # how many candidates

LINKS = 32  # of each encoding in a graph; twice as many on its lowest level

WIDTH = 64  # how many candidates a graph considers when it links a new encoding


class Built(NamedTuple):
    """An index: a function from a probe (D,) and a depth to the rows of that many candidates, and its size in bytes."""

    search: Callable[[np.ndarray, int], np.ndarray]
    size: int


def shipped(known: np.ndarray) -> Built:
    """The index of ``facerec.database.search``: 4-bit codes of pairs of numbers."""
    index = Index.build(known, threading.Event())
    return Built(lambda probe, depth: index.search(probe[None], depth)[0], len(index.to_bytes()))


def faiss_graph(known: np.ndarray) -> Built:
    """A graph of the same library, with the encodings as they are."""
    graph = faiss.IndexHNSWFlat(known.shape[1], LINKS, faiss.METRIC_INNER_PRODUCT)
    graph.hnsw.efConstruction = WIDTH
    graph.add(known)

    def search(probe: np.ndarray, depth: int) -> np.ndarray:
        graph.hnsw.efSearch = depth
        return graph.search(probe[None], depth)[1][0]

    return Built(search, faiss.serialize_index(graph).nbytes)


def usearch_graph(dtype: str) -> Callable[[np.ndarray], Built]:
    """A graph of usearch, with encodings in numbers of two bytes ("f16") or one ("i8")."""

    def build(known: np.ndarray) -> Built:
        from usearch.index import Index as Graph

        form = {"dtype": dtype, "connectivity": LINKS, "expansion_add": WIDTH}
        graph = Graph(ndim=known.shape[1], metric="ip", **form)
        graph.add(np.arange(len(known)), known, threads=processors())

        def search(probe: np.ndarray, depth: int) -> np.ndarray:
            graph.expansion_search = depth
            return graph.search(probe, depth).keys.astype(int)

        return Built(search, graph.serialized_length)

    return build


def indexes() -> dict[str, Callable[[np.ndarray], Built]]:
    """The indexes that can be built here, by name."""
    found = {"4-bit codes (shipped)": shipped, "HNSW, faiss": faiss_graph}
    if importlib.util.find_spec("usearch"):
        found |= {f"HNSW, usearch, {dtype}": usearch_graph(dtype) for dtype in ("f16", "i8")}
    return found


def nearest(known: np.ndarray, probe: np.ndarray, rows: np.ndarray) -> int:
    """The row of the nearest candidate, by exact distances; rows below 0 are gaps."""
    rows = rows[rows >= 0]
    return int(rows[np.linalg.norm(known[rows] - probe, axis=1).argmin()])


def at_depth(built: Built, trial: Trial, depth: int) -> dict:
    """The speed and the accuracy with so many candidates."""

    def answer(probe: np.ndarray) -> int:
        return nearest(trial.known, probe, built.search(probe, depth))

    for probe in trial.probes[-100:]:
        answer(probe)
    took, found = zip(*(timed(answer, probe) for probe in trial.probes), strict=True)
    return {"depth": depth, **quantiles(took), "true_nearest": trial.true_nearest(np.array(found))}


def measure(build: Callable[[np.ndarray], Built], trial: Trial) -> dict:
    """Build an index and search it at every depth."""
    said: dict = {}
    with company(said):
        start = time.perf_counter()
        built = build(trial.known)
        took = time.perf_counter() - start
        depths = [at_depth(built, trial, depth) for depth in DEPTHS]
    return {"build_s": took, "size_mb": built.size / 1e6, "depths": depths, **said}


def compare(trial: Trial) -> dict[str, dict]:
    """The measurements of all indexes, on the same people and probes."""
    bar = tqdm(indexes().items())
    rows = {}
    for label, build in bar:
        bar.set_description(f"{len(trial.known):,} people: {label}")
        rows[label] = measure(build, trial)
    return rows


def main() -> None:
    """Compare at each size, write after each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", nargs="+", type=int, default=list(SIZES), choices=SIZES)
    parser.add_argument("--to", type=Path, default=ROOT / "docs" / "results" / "index.json")
    args = parser.parse_args()
    crowd, sizes, about = measured_crowd(), [], machine()
    if importlib.util.find_spec("usearch"):
        about["usearch"] = importlib.metadata.version("usearch")
    for size in args.sizes:
        sizes.append({"people": size, "indexes": compare(Trial.draw(crowd, size, PROBES))})
        result = {"command": "make bench-database", "machine": about, "links": LINKS, "width": WIDTH, "sizes": sizes}
        write_json(args.to, result)
        print(json.dumps(sizes[-1], indent=1, ensure_ascii=False))


if __name__ == "__main__":
    run(main)
