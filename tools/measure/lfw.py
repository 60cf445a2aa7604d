"""Score a network on the development pairs of Labeled Faces in the Wild (LFW, view 1), starting from the photos.

    python tools/measure/lfw.py DIR                            # or: make lfw DIR=…
    python tools/measure/lfw.py DIR --network weights/resnet
    python tools/measure/lfw.py DIR --network pixels           # the baseline without learning: plain pixels

DIR holds ``pairsDevTrain.txt``, ``pairsDevTest.txt`` and the pictures ``<Name>/<Name>_0001.jpg`` somewhere
below. LFW's pictures are cropped around the person they show, so the central of several faces counts. The trained
threshold is the best one on the training pairs; the test pairs show other people. If no face is found in a picture, its
pairs are mistakes. The result, and the error rates at each threshold, are written to ``docs/results/``. Found faces are
cached in ``datasets/`` (finding them takes most of the time), so that a second network is scored in under a minute.

Source: Huang et al., "Labeled Faces in the Wild", 2007; the lists are those of its web page.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.metadata
import json
import sys
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm import tqdm

from facerec import _cascade, _mtcnn, _onnx, detection, encoding
from facerec._files import ROOT, whole, write_json, write_table
from facerec._quiet import quietly
from facerec.encoding import faces_to_encodings
from facerec.errors import FaceError, UnreadableImage, run
from facerec.evaluation import accuracy, area_under_roc, best_threshold, bootstrap_accuracy, equal_error, error_rates
from facerec.evaluation.lfw import Pairs, distances_of, find_pictures, person_of, read_pairs
from facerec.learning.baselines import pixel_baseline
from facerec.networks import DEFAULT_NETWORK, THRESHOLD, info_of, load_facenet
from facerec.photos import load_image

with quietly():
    import keras


#: The cache of the central faces of LFW's pictures: keypoints by file name.
CACHE = ROOT / "datasets" / "lfw_faces.json"

#: Keypoints by their names, or None where no face was found.
Keypoints = Mapping[str, tuple[float, float]] | None


def find_faces(pictures: Mapping[str, Path], cache: Path | None = None) -> dict[str, Keypoints]:
    """The keypoints of each picture's central face, from ``cache`` (by default CACHE) if they were found before.

    The cache is discarded if the detector's code or packages have changed.
    """
    cache = cache or CACHE
    versions = [importlib.metadata.version(package) for package in ("mtcnn", "tensorflow", "opencv-python-headless")]
    detector = detector_digest(str(versions).encode())
    found = read_cache(cache, detector)
    key = {name: f"{name} ({path.stat().st_size} bytes)" for name, path in pictures.items()}
    missing = [name for name in pictures if key[name] not in found]
    for start in tqdm(range(0, len(missing), 32), desc="finding faces", unit="batch", disable=not missing):
        names = missing[start : start + 32]
        for name, face in zip(names, encoding.find_faces([pictures[name] for name in names], "central"), strict=True):
            found[key[name]] = None if isinstance(face, FaceError) else face[1]["keypoints"]
            if isinstance(face, UnreadableImage):
                tqdm.write(f"{name} counts as a picture without a face: {face}", file=sys.stderr)
        if start % 320 == 0 or start + 32 >= len(missing):  # a killed run continues from here
            with whole(cache) as unfinished:
                unfinished.write_text(json.dumps({"detector": detector, "faces": found}), encoding="utf-8")
    return {name: found[key[name]] for name in pictures}


def detector_digest(more: bytes) -> str:
    """The SHA-256 of the code that finds faces, and of what else a cache depends on."""
    code = b"".join(Path(part.__file__).read_bytes() for part in (_cascade, _mtcnn, _onnx, detection))
    engine = str(_onnx.is_available()).encode()
    return hashlib.sha256(code + engine + more).hexdigest()


def read_cache(cache: Path, detector: str) -> dict[str, Keypoints]:
    """The faces found before by the same detector; empty if the cache is missing, older or damaged."""
    try:
        kept = json.loads(cache.read_text(encoding="utf-8"))
        return kept["faces"] if kept["detector"] == detector else {}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def encode(pictures: Mapping[str, Path], keypoints: Mapping[str, Keypoints], model: keras.Model) -> np.ndarray:
    """The encodings (m, D) of the pictures' faces, NaN where there is none."""
    info = info_of(model)
    encodings = np.full((len(pictures), model.output_shape[-1]), np.nan, np.float32)
    usable = [i for i, name in enumerate(pictures) if keypoints[name]]
    names = list(pictures)
    for start in tqdm(range(0, len(usable), 64), desc="encoding", unit="batch"):
        rows = usable[start : start + 64]
        faces = [aligned(pictures[names[i]], keypoints[names[i]], info) for i in rows]
        encodings[rows] = faces_to_encodings(np.stack(faces), model)
    return encodings


def aligned(picture: Path, keypoints: Keypoints, info) -> np.ndarray:
    """The aligned face of a picture for a network, (S, S, 3)."""
    return detection.align_face(load_image(picture), keypoints, info.side, info.template)


def rates_of(pairs: Pairs, encodings: dict[str, np.ndarray]) -> pd.DataFrame:
    """False accepts and rejects at thresholds from 0.2 to 1.4, with all pairs of pictures of different people.

    A list of 500 different pairs can't show a rate of one in 10,000; a million pairs can.
    """
    names = sorted({str(file) for file in pairs.files.flat})
    matrix = np.stack([encodings[name] for name in names])
    people = np.array([person_of(name) for name in names])
    first, second = np.triu_indices(len(names), 1)
    others = people[first] != people[second]
    squared = np.maximum(2 - 2 * (matrix @ matrix.T)[first[others], second[others]], 0)  # unit length
    same = distances_of(pairs, encodings)[pairs.same]
    distances = np.concatenate([same, np.sqrt(squared)])
    is_same = np.arange(len(distances)) < len(same)
    rates = error_rates(distances, is_same, np.arange(0.2, 1.405, 0.01).round(2), missing="mistakes")
    rates["different_pairs"] = int(others.sum())
    return rates.drop(columns="accuracy").round({"false_accepts": 7, "false_rejects": 4})


def score(test: np.ndarray, pairs: Pairs, train: np.ndarray, train_pairs: Pairs) -> dict:
    """The numbers of the result: the threshold is trained on ``train``; ``test`` is only scored.

    As in the protocol, pairs without a face are mistakes.
    """
    count = {"missing": "mistakes"}
    trained = best_threshold(train, train_pairs.same, **count)
    at = {
        name: asdict(bootstrap_accuracy(test, pairs.same, pairs.people, threshold, **count))
        for name, threshold in (("accuracy_at_0.7", THRESHOLD), ("accuracy_at_trained", trained))
    }
    at_shipped = error_rates(test, pairs.same, [THRESHOLD], **count).iloc[0]
    return {
        "pairs": len(pairs.same),
        "people": len(np.unique(pairs.people)),
        "pairs_without_a_face": int(np.isnan(test).sum()),
        **at,
        "trained_threshold": trained,
        "auc": area_under_roc(test, pairs.same, **count),
        "equal_error_rate": equal_error(test, pairs.same, **count)[1],
        "false_accepts_at_0.7": at_shipped.false_accepts,
        "false_rejects_at_0.7": at_shipped.false_rejects,
        "train_accuracy_at_0.7": accuracy(train, train_pairs.same, THRESHOLD, **count),
        "train_equal_error_threshold": equal_error(train, train_pairs.same, **count)[0],
    }


def main() -> None:
    """Encode the pictures of both lists, score the test list, write and print the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dir", type=Path, help="the folder with the lists and the pictures")
    parser.add_argument("--network", default=DEFAULT_NETWORK, help="a folder, or pixels; by default %(default)s")
    parser.add_argument("--to", type=Path, help="the result file; by default docs/results/lfw_<network>.json")
    args = parser.parse_args()
    lists = [read_pairs(args.dir / f"pairsDev{part}.txt") for part in ("Train", "Test")]
    pictures = find_pictures(args.dir, {str(file) for pairs in lists for file in pairs.files.flat})
    model = pixel_baseline() if args.network == "pixels" else load_facenet(args.network)
    encodings = encode(pictures, find_faces(pictures), model)
    by_name = dict(zip(pictures, encodings, strict=True))
    train, test = (distances_of(pairs, by_name) for pairs in lists)
    result = {
        "command": f"make lfw DIR=… NETWORK={args.network}",
        "network": args.network,
        "pictures_without_a_face": int(np.isnan(encodings[:, 0]).sum()),
        **score(test, lists[1], train, lists[0]),
    }
    to = args.to or ROOT / "docs" / "results" / f"lfw_{Path(args.network).name}.json"
    write_json(to, result)
    rates = pd.concat([rates_of(pairs, by_name) for pairs in lists], keys=("train", "test"), names=["people", None])
    write_table(to.with_name(f"{to.stem}_rates.csv"), rates.reset_index("people"))
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    run(main)
