"""How well unnamed faces are grouped into people, on LFW, and how quickly; it chooses the threshold of each network.

    python tools/measure/clusters.py DIR                              # or: make clusters DIR=…
    python tools/measure/clusters.py DIR --networks keras-facenet-h5  # after its weights have changed
    python tools/measure/clusters.py DIR --sizes                      # without the times

DIR is the folder of ``tools/measure/lfw.py``. On the photographs of half of the people of ``pairsDevTrain`` the
threshold with the highest BCubed F is chosen, for our average linkage and for three ways of scikit-learn; all of them
are then scored once on other people. The chosen threshold is written into the network's ``facenet.json``, and the
results into ``docs/results/clusters.json``, beside those of other networks that it holds. Time and memory are measured
in processes of their own, on encodings drawn as in ``tools/measure/bench_database.py``.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from itertools import product
from pathlib import Path

import numpy as np

from facerec._files import ROOT, in_project, whole, write_json
from facerec._quiet import quietly
from facerec.clusters import cluster_encodings
from facerec.errors import run
from facerec.evaluation import bcubed, bootstrap_bcubed
from facerec.evaluation.lfw import find_pictures, person_of, read_pairs
from facerec.gallery import fingerprint_once
from facerec.networks import load_facenet, note_cluster_threshold
from tools.measure.bench_database import Crowd, company, in_a_process, machine, measured_crowd
from tools.measure.lfw import encode, find_faces

with quietly():
    import keras

NETWORKS = ("weights/resnet", "keras-facenet-h5")
SIZES = (10_000, 100_000)
RESULT = ROOT / "docs" / "results" / "clusters.json"

#: Encodings of LFW's pictures, kept from run to run, beside the faces of ``tools/measure/lfw.py``.
CACHE = ROOT / "datasets"

THRESHOLDS = tuple(np.arange(0.30, 0.801, 0.01).round(2).tolist())

#: Encodings (m, D) and a setting → the cluster of each, (m,).
Way = Callable[[np.ndarray, tuple], np.ndarray]


def average(encodings: np.ndarray, setting: tuple) -> np.ndarray:
    """Ours."""
    return cluster_encodings(encodings, *setting)


def single_linkage(encodings: np.ndarray, setting: tuple) -> np.ndarray:
    """Clusters merge while their nearest faces are near enough."""
    from sklearn.cluster import AgglomerativeClustering

    (threshold,) = setting
    tree = AgglomerativeClustering(n_clusters=None, distance_threshold=threshold, linkage="single")
    return tree.fit_predict(encodings)


def dbscan(encodings: np.ndarray, setting: tuple) -> np.ndarray:
    """Faces with enough others near them, and what is near those. (With fewer than three it is single linkage.)"""
    from sklearn.cluster import DBSCAN

    threshold, samples = setting
    return noise_as_singles(DBSCAN(eps=threshold, min_samples=samples).fit_predict(encodings))


def hdbscan(encodings: np.ndarray, setting: tuple) -> np.ndarray:
    """DBSCAN at all distances at once. (``cluster_selection_epsilon`` fails in scikit-learn 1.9 with NumPy 2.4.)"""
    from sklearn.cluster import HDBSCAN

    selection, samples = setting
    model = HDBSCAN(min_cluster_size=2, min_samples=samples, cluster_selection_method=selection, copy=True)
    return noise_as_singles(model.fit_predict(encodings))


#: Name → the way, and the settings among which one is chosen.
WAYS: Mapping[str, tuple[Way, Sequence[tuple]]] = {
    "average linkage": (average, [(threshold,) for threshold in THRESHOLDS]),
    "single linkage": (single_linkage, [(threshold,) for threshold in THRESHOLDS]),
    "DBSCAN": (dbscan, [(threshold, 3) for threshold in THRESHOLDS]),
    "HDBSCAN": (hdbscan, list(product(("eom", "leaf"), (1, 2)))),
}


def noise_as_singles(labels: np.ndarray) -> np.ndarray:
    """Labels (m,) in which each face that belongs to no cluster (-1) has one of its own.

    Example:
        >>> noise_as_singles(np.array([0, -1, 0, -1])).tolist()
        [0, 1, 0, 2]
    """
    labels, noise = labels.copy(), labels == -1
    labels[noise] = labels.max(initial=-1) + 1 + np.arange(noise.sum())
    return labels


def choose(encodings: np.ndarray, who: np.ndarray, way: Way, settings: Sequence[tuple]) -> tuple:
    """The setting with the highest F; of several, the one in the middle."""
    scores = np.array([bcubed(way(encodings, setting), who).f for setting in settings])
    best = np.flatnonzero(scores == scores.max())
    return settings[best[len(best) // 2]]


def people_to_choose_on(folder: Path) -> set[str]:
    """Half of the people of ``pairsDevTrain``."""
    people = sorted(set(read_pairs(folder / "pairsDevTrain.txt").people.flat))
    return set(np.random.default_rng(0).permutation(people)[: len(people) // 2].tolist())


def encodings_of(folder: Path, model: keras.Model) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The encodings (m, D) of the faces of both lists, the person of each, and whether ``pairsDevTest`` lists it."""
    lists = [read_pairs(folder / f"pairsDev{part}.txt") for part in ("Train", "Test")]
    pictures = find_pictures(folder, {str(file) for pairs in lists for file in pairs.files.flat})
    names = sorted(pictures)
    fingerprint, cache = fingerprint_once(model), CACHE / f"lfw_encodings_{fingerprint_once(model)[-16:]}.npz"
    kept = np.load(cache) if cache.is_file() else {"names": [], "fingerprint": ""}
    if list(kept["names"]) == names and str(kept["fingerprint"]) == fingerprint:
        encodings = kept["encodings"]
    else:
        encodings = encode({name: pictures[name] for name in names}, find_faces(pictures), model)
        with whole(cache) as unfinished, unfinished.open("wb") as stream:
            np.savez(stream, names=names, fingerprint=fingerprint, encodings=encodings)
    usable = np.isfinite(encodings[:, 0])
    listed = {str(file) for file in lists[1].files.flat}
    who, test = np.array([person_of(name) for name in names]), np.array([name in listed for name in names])
    return encodings[usable], who[usable], test[usable]


def score(folder: Path, model: keras.Model) -> dict:
    """Choose each way's setting on some people, and score it on others."""
    encodings, who, test = encodings_of(folder, model)
    chosen_on = np.isin(who, sorted(people_to_choose_on(folder)))
    parts = {"pairsDevTest": test & ~chosen_on, "everyone else": ~chosen_on}
    ways = {}
    for name, (way, settings) in WAYS.items():
        setting = choose(encodings[chosen_on], who[chosen_on], way, settings)
        ways[name] = {"setting": setting, "chosen_on": bcubed(way(encodings[chosen_on], setting), who[chosen_on]).f}
        for part, rows in parts.items():
            scores = bootstrap_bcubed(way(encodings[rows], setting), who[rows])
            ways[name][part] = {measure: asdict(interval) for measure, interval in scores.items()}
        print(f"{model.name}, {name} {setting}: F {ways[name]['pairsDevTest']['f']['value']:.4f}")
    described = {part: describe(who[rows]) for part, rows in (("chosen_on", chosen_on), *parts.items())}
    return {"threshold": ways["average linkage"]["setting"][0], "people": described, "ways": ways}


def describe(who: np.ndarray) -> dict[str, int]:
    """How many photographs and people there are, and how many people with a single photograph."""
    counts = np.unique(who, return_counts=True)[1]
    return {"photographs": len(who), "people": len(counts), "single": int((counts == 1).sum())}


def drawn(crowd: Crowd, size: int) -> tuple[np.ndarray, np.ndarray]:
    """So many encodings (size, D) in random order, and the person of each; a third of the people have a single one."""
    counts = np.where(crowd.rng.random(size) < 1 / 3, 1, 1 + crowd.rng.geometric(0.2, size))
    who = crowd.rng.permutation(np.repeat(np.arange(size), counts)[:size])
    return crowd.pictures(crowd.people(int(who.max()) + 1)[who]), who


#: The process that clusters encodings from a file.
CLUSTER = """
from facerec.clusters import cluster_encodings
encodings = np.load({encodings!r})
before, start = memory(), time.perf_counter()
labels = cluster_encodings(encodings, {threshold})
took = time.perf_counter() - start
np.save({labels!r}, labels)
print(json.dumps({{"seconds": took, "memory_before_mb": before, "memory_mb": memory()}}))
"""


def time_and_memory(crowd: Crowd, size: int, threshold: float) -> dict:
    """What clustering so many generated encodings takes, and how good the clusters are."""
    encodings, who = drawn(crowd, size)
    with tempfile.TemporaryDirectory(prefix="clusters_") as folder:
        files = {name: str(Path(folder) / f"{name}.npy") for name in ("encodings", "labels")}
        np.save(files["encodings"], encodings)
        said: dict = {}
        with company(said):
            took = in_a_process(CLUSTER, threshold=threshold, **files)
        quality = bcubed(np.load(files["labels"]), who)._asdict()
    return {"faces": size, "people": int(who.max()) + 1, **took, **said, **quality}


def main() -> None:
    """Choose and score for each network, note the thresholds, measure time and memory, write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dir", type=Path, help="the folder with the lists and the pictures")
    parser.add_argument("--networks", nargs="+", default=list(NETWORKS), help="by default %(default)s")
    parser.add_argument("--sizes", nargs="*", type=int, default=list(SIZES), help="generated faces; none: no times")
    parser.add_argument("--to", type=Path, default=RESULT, help="the result file")
    args = parser.parse_args()
    result = json.loads(args.to.read_text(encoding="utf-8")) if args.to.is_file() else {"networks": {}}
    result = {"command": "make clusters DIR=…", **result}
    for network in args.networks:
        result["networks"][network] = score(args.dir, load_facenet(network))
        note_cluster_threshold(in_project(network), result["networks"][network]["threshold"])
        write_json(args.to, result)
    if args.sizes:
        crowd, threshold = measured_crowd(), load_facenet().facenet.cluster_threshold
        result["generated"] = {"threshold": threshold, "machine": machine(), "sizes": []}
        for size in args.sizes:
            result["generated"]["sizes"].append(time_and_memory(crowd, size, threshold))
            print(json.dumps(result["generated"]["sizes"][-1], indent=1))
            write_json(args.to, result)


if __name__ == "__main__":
    run(main)
