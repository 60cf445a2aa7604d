"""Our MTCNN beside the package ``mtcnn``: the faces both find, the time of each stage, how busy the cores are.

    python tools/measure/detector.py [DIR]        # → docs/results/detector.json

Every picture of ``images/``, and the first 500 of the folder DIR, are searched by both. Boxes and points are compared
before they are rounded. A face counts as the same if its centre lies in a box of the other. The package's ties have a
fixed order here: without one, the last digits of a score decide which of two boxes survives. Of the first 1,000, it
counts the pictures that are searched again, because no face in them is sure, and those whose largest face is the same
if it is searched for alone. These are also encoded by both networks in turn; threads that wait by spinning count as
busy.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from tqdm import tqdm

from facerec import _cascade
from facerec._cascade import Cascade
from facerec._files import ROOT, write_json
from facerec._mtcnn import with_tensorflow
from facerec._onnx import cores
from facerec.detection import SEARCH_SIDE, SURE, Detection, detect_faces_batch, search_copy, surest
from facerec.encoding import photos_to_encodings
from facerec.errors import run
from facerec.networks import load_facenet
from facerec.photos import load_image
from tools.measure.bench_peers import summary

IMAGES = ROOT / "images"
NETWORKS = ("keras-facenet-h5", "weights/resnet")
COLUMNS = {"boxes": slice(0, 4), "points": slice(5, 15)}


def theirs(photo: np.ndarray, package) -> np.ndarray:
    """What the package finds, (n, 15), as :meth:`Cascade.search` gives it."""
    found = package.detect_faces([photo], output_type="numpy", box_format="xyxy", fit_to_image=False)
    return found.reshape(-1, 16)[:, 1:]


def pairs(ours: np.ndarray, others: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """The faces that both found, each of ours with theirs."""
    found = []
    for row in ours:
        centre = (row[:2] + row[2:4]) / 2
        inside = ((others[:, :2] < centre) & (centre < others[:, 2:4])).all(axis=1)
        if inside.any():
            candidates = others[inside]
            found.append((row, candidates[np.abs(candidates[:, :4] - row[:4]).max(axis=1).argmin()]))
    return found


def compare(files: Iterable[Path]) -> dict:
    """How far boxes and points of ours are from the package's, over many pictures."""
    package, cascade = with_tensorflow(), Cascade()
    counts, farthest = defaultdict(int), defaultdict(list)
    for file in tqdm(list(files), unit="picture"):
        photo = np.ascontiguousarray(search_copy(load_image(file), SEARCH_SIDE)[0])
        ours, others = cascade.search(photo), theirs(photo, package)
        both = pairs(ours, others)
        counts["pictures"] += 1
        counts["faces of the package"] += len(others)
        counts["faces of ours"] += len(ours)
        counts["faces of both"] += len(both)
        for name, columns in COLUMNS.items():
            farthest[name] += [float(np.abs(a[columns] - b[columns]).max()) for a, b in both]
    return {**counts, **{f"{name}_farthest_px": max(values) for name, values in farthest.items()}} | {
        f"{name}_within_half_a_pixel": float(np.mean(np.array(values) <= 0.5)) for name, values in farthest.items()
    }


def stages(photo: np.ndarray, rounds: int) -> dict[str, float]:
    """The milliseconds of each stage of ours on one photo, the median of so many rounds."""
    cascade, took = Cascade(), defaultdict(list)

    def timed(name: str, work, *args):
        start = time.perf_counter()
        result = work(*args)
        took[name].append(1000 * (time.perf_counter() - start))
        return result

    side_by_side = cascade.pool.map
    for _ in range(rounds):
        planes = np.ascontiguousarray(photo.transpose(2, 0, 1)[None], np.float32)
        pyramid, scales = timed("sums of the rows", _cascade.Pyramid, photo), _cascade.scales(*photo.shape[:2])
        levels = timed("pyramid", lambda pyramid=pyramid, scales=scales: [pyramid.at(scale) for scale in scales])
        pieces = [strip for level in levels for strip in _cascade.strips(level)]
        timed("P-Net", lambda pieces=pieces: [cascade.pnet(piece) for piece in pieces])
        table = timed(
            "these side by side, with suppression",
            lambda scales=scales: _cascade.merged(cascade.propose(_cascade.Pyramid(photo), scales, side_by_side)),
        )
        took["candidates of P-Net"].append(len(table))
        table = timed("R-Net and suppression", cascade.refine, planes, _cascade.squares(table), side_by_side)
        took["candidates of R-Net"].append(len(table))
        timed("O-Net and suppression", cascade.describe, planes, _cascade.squares(table), side_by_side)
        timed("all", cascade.detect_faces, [photo])
        timed("all, on one core", cascade.search, photo, map)
        timed("the largest face alone", cascade.detect_faces, [photo], True)
    return {name: statistics.median(values[1:]) for name, values in took.items()}


def placed(faces: Sequence[Detection]) -> list[tuple]:
    """Where the largest of some faces is."""
    return [(face["box"], face["keypoints"]) for face in faces[:1]]


def searched(files: Sequence[Path]) -> dict[str, int]:
    """In how many pictures no upright face is sure, and in how many the largest face alone is that among all."""
    photos = [load_image(file) for file in files]
    found, alone = (detect_faces_batch(photos, thorough=False, largest=largest) for largest in (False, True))
    return {
        "searched": len(files),
        "searched_again": sum(surest(faces) < SURE for faces in found),
        "with_a_face": sum(map(bool, found)),
        "largest_alike": sum(bool(a) and placed(a) == placed(b) for a, b in zip(found, alone, strict=True)),
    }


def encoded(files: Sequence[Path], repeats: int = 3) -> dict[str, dict]:
    """Photos per second from files to encodings, and the share of all cores' time that was spent, for each network."""
    models = {network: load_facenet(network) for network in NETWORKS}
    took: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for turn in range(repeats + 1):
        for network, model in models.items():
            start, spent = time.perf_counter(), time.process_time()
            photos_to_encodings(files, model)
            seconds, spent = time.perf_counter() - start, time.process_time() - spent
            if turn:  # the first reads the files into the system's cache
                took[network].append((len(files) / seconds, spent / seconds / cores()))
    return {
        network: {"photos": len(files), "per_second": summary(fast), "busy": summary(busy)}
        for network, (fast, busy) in ((network, zip(*each, strict=True)) for network, each in took.items())
    }


def main() -> None:
    """Measure, write and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path, help="more pictures, in any folders below it")
    parser.add_argument("--pictures", type=int, default=500, help="how many of them")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--to", type=Path, default=ROOT / "docs" / "results" / "detector.json")
    args = parser.parse_args()
    photos = {"one_face": load_image(IMAGES / "camera_1.jpg"), "six_faces": load_image(IMAGES / "video_call.jpg")[:720]}
    copies = {name: np.ascontiguousarray(search_copy(photo, SEARCH_SIDE)[0]) for name, photo in photos.items()}
    result = {
        "command": f"python tools/measure/detector.py{' DIR' if args.folder else ''}",
        "cores": cores(),
        "milliseconds": {name: stages(photo, args.rounds) for name, photo in copies.items()},
        "images": compare(sorted(IMAGES.glob("*.jpg"))),
    }
    if args.folder:
        files = sorted(args.folder.rglob("*.jpg"))
        result["folder"] = compare(files[: args.pictures]) | searched(files[: 2 * args.pictures])
        result["encoding"] = encoded(files[: 2 * args.pictures])
    write_json(args.to, result)
    print(json.dumps(result, indent=1, ensure_ascii=False))


if __name__ == "__main__":
    run(main)
