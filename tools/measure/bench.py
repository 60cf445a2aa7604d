"""The speed of our networks beside the reference engine, on the same faces, in one run.

    python tools/measure/bench.py        # or: make bench        → docs/results/bench.json

All take turns in every round, so that each meets the same conditions; the result is the median of the rounds. The
reference engine (dlib) runs the same weights as ``weights/resnet``, on single faces and on lists.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import importlib.util
import json
import os
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from tqdm import tqdm

from facerec._files import ROOT, write_json
from facerec.detection import align_face, detect_faces, extract_faces
from facerec.encoding import faces_to_encodings
from facerec.enrol import build_database
from facerec.errors import run
from facerec.networks import info_of, load_facenet
from facerec.photos import load_image
from fr_utils import identify

IMAGES = ROOT / "images"

#: One face; one of which MTCNN is not sure, so that it searches in four directions; six faces.
PHOTOS = {"1_faces": "camera_1.jpg", "doubtful": "camera_0.jpg", "6_faces": "video_call.jpg"}

ENGINE_WEIGHTS = "models/dlib_face_recognition_resnet_model_v1.dat"


def seconds(work: Callable[[], object], times: int = 1) -> float:
    """The seconds of one call, averaged over ``times`` calls in a row."""
    start = time.perf_counter()
    for _ in range(times):
        work()
    return (time.perf_counter() - start) / times


def take_turns(works: dict[str, Callable[[], object]], rounds: int, times: int = 1) -> dict[str, float]:
    """The median seconds of each piece of work; all take turns in every round, after a round to warm up."""
    for work in works.values():
        work()
    samples: dict[str, list[float]] = {name: [] for name in works}
    for _ in tqdm(range(rounds), desc=" · ".join(works), leave=False):
        for name, work in works.items():
            samples[name].append(seconds(work, times))
    return {name: statistics.median(values) for name, values in samples.items()}


def load_engine():
    """The reference engine with its weights, or None if it is not installed."""
    spec = importlib.util.find_spec("face_recognition_models")
    if spec is None or importlib.util.find_spec("dlib") is None:
        return None
    import dlib

    return dlib.face_recognition_model_v1(str(Path(spec.submodule_search_locations[0]) / ENGINE_WEIGHTS))


def faces_for(side: int, count: int) -> np.ndarray:
    """``count`` aligned faces (count, side, side, 3) uint8 from images/, repeated if there are fewer."""
    faces: list[np.ndarray] = []
    for path in sorted(IMAGES.glob("*.jpg")):
        if len(faces) < count:
            faces += [*extract_faces(load_image(path), side)[0]]
    return np.resize(np.stack(faces), (count, side, side, 3))


def encoder(model, batch: int) -> Callable[[], object]:
    """A function that encodes ``batch`` faces with a network."""
    faces = faces_for(info_of(model).side, batch)
    return lambda: faces_to_encodings(faces, model)


def bench_encoding(networks: list[str], rounds: int) -> dict:
    """Faces per second of each network and of the reference engine, at batch 1 and 64."""
    models, engine = {network: load_facenet(network) for network in networks}, load_engine()
    result: dict[str, dict] = {name: {} for name in (*models, *(["reference engine"] if engine else []))}
    for batch in (1, 64):
        works = {network: encoder(model, batch) for network, model in models.items()}
        if engine:
            chips = list(faces_for(150, batch)) if batch > 1 else faces_for(150, 1)[0]
            works["reference engine"] = lambda chips=chips: engine.compute_face_descriptor(chips)
        for name, value in take_turns(works, rounds, times=10 if batch == 1 else 1).items():
            result[name][f"batch_{batch}"] = {"faces_per_second": batch / value}
    return result


def bench_photo_to_name(network: str, rounds: int) -> dict:
    """Milliseconds from a photo to names, as a whole and by step, for each of :data:`PHOTOS`."""
    model = load_facenet(network)
    info = info_of(model)
    database, _ = build_database(IMAGES, model, progress=False)
    result = {}
    for key, name in PHOTOS.items():
        photo = load_image(IMAGES / name)
        found = detect_faces(photo)
        faces = np.stack([align_face(photo, face["keypoints"], info.side, info.template) for face in found])
        works = {
            "detect": lambda photo=photo: detect_faces(photo),
            "align": lambda photo=photo, found=found: [
                align_face(photo, face["keypoints"], info.side, info.template) for face in found
            ],
            "encode": lambda faces=faces: faces_to_encodings(faces, model),
            "whole": lambda name=name: identify(IMAGES / name, database, model),
        }
        took = {f"{step}_ms": 1000 * value for step, value in take_turns(works, rounds).items()}
        size = f"{photo.shape[1]}×{photo.shape[0]}"
        result[key] = {"photo": name, "size": size, **took}
    return result


def versions() -> dict[str, str]:
    """The versions of the packages, and the machine."""
    packages = ("tensorflow", "keras", "numpy", "mtcnn", "opencv-python-headless", "dlib-bin")
    found = {}
    for package in packages:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            found[package] = "not installed"
    return {"python": platform.python_version(), "machine": platform.machine(), "cores": str(os.cpu_count()), **found}


def main() -> None:
    """Measure, write and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="+", default=["weights/resnet", "keras-facenet-h5"])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--to", type=Path, default=ROOT / "docs" / "results" / "bench.json")
    args = parser.parse_args()
    result = {
        "command": "make bench",
        "versions": versions(),
        "encoding": bench_encoding(args.networks, args.rounds),
        "photo_to_name": {network: bench_photo_to_name(network, args.rounds) for network in args.networks},
    }
    write_json(args.to, result)
    print(json.dumps(result, indent=1, ensure_ascii=False))


if __name__ == "__main__":
    run(main)
