"""Score a network on the development pairs of Labeled Faces in the Wild (LFW, view 1), from the photo.

    python tools/lfw.py DIR                            # or: make lfw DIR=…
    python tools/lfw.py DIR --network weights/resnet
    python tools/lfw.py DIR --network pixels           # the baseline that knows nothing: plain pixels

DIR holds ``pairsDevTrain.txt``, ``pairsDevTest.txt`` and the pictures ``<Name>/<Name>_0001.jpg`` somewhere
below. LFW's pictures are cropped around the person they are about, so of several faces the central one counts.
The trained threshold is the best one on the training pairs; the test pairs are other people. A picture
in which no face is found makes its pairs mistakes. The result, and the error rates of the test pairs at each
threshold, are written to ``results/``. Where the faces are is remembered in ``datasets/`` (finding them takes most
of the time), so that a second network is scored in less than a minute.

Source: Huang et al., "Labeled Faces in the Wild", 2007; the lists are those of its web page.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.metadata
import json
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import numpy as np  # noqa: E402
import pandas as pd  # noqa: E402
from tqdm import tqdm  # noqa: E402

import face_detection  # noqa: E402
import fr_utils  # noqa: E402
from baselines import pixel_baseline  # noqa: E402
from errors import BadArgument, FaceError, UnreadableImage, run  # noqa: E402
from evaluation import (  # noqa: E402
    accuracy,
    area_under_roc,
    best_threshold,
    bootstrap_accuracy,
    equal_error,
    error_rates,
)
from fr_utils import (  # noqa: E402
    DEFAULT_NETWORK,
    THRESHOLD,
    faces_to_encodings,
    info_of,
    load_facenet,
    load_image,
)
from quiet import quietly  # noqa: E402
from whole_files import whole, write_json, write_table  # noqa: E402

with quietly():
    import keras

#: Where the central faces of LFW's pictures are: keypoints by file name, made by this very detector.
CACHE = ROOT / "datasets" / "lfw_faces.json"

#: Keypoints by their names, or None where no face was found.
Keypoints = Mapping[str, tuple[float, float]] | None


@dataclass(frozen=True)
class Pairs:
    """A list of pairs: the pictures' file names (n, 2), the people (n, 2), and whether they are one person."""

    files: np.ndarray
    people: np.ndarray
    same: np.ndarray


def read_pairs(path: Path) -> Pairs:
    """Read a pairs file: ``name i j`` is a same pair, ``name i other j`` a different one; counts are skipped."""
    if not path.is_file():
        raise BadArgument(f"{path.name} is missing in {path.parent}")
    files, people = [], []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        match line.split("\t"):
            case [a, i, j] if i.isdigit() and j.isdigit():
                b = a
            case [a, i, b, j] if i.isdigit() and j.isdigit():
                pass
            case _ if number == 1 or not line.strip():
                continue
            case _:
                raise BadArgument(f"{path.name}, line {number}: {line!r} is no pair")
        people.append((a, b))
        files.append((f"{a}_{int(i):04d}.jpg", f"{b}_{int(j):04d}.jpg"))
    if not files:
        raise BadArgument(f"{path.name} lists no pairs")
    people = np.array(people)
    return Pairs(np.array(files), people, people[:, 0] == people[:, 1])


def find_pictures(folder: Path, wanted: set[str]) -> dict[str, Path]:
    """File name → path, for every wanted picture below the folder."""
    found = {path.name: path for path in folder.rglob("*.jpg") if path.name in wanted}
    missing = sorted(wanted - set(found))
    if missing:
        raise BadArgument(f"{len(missing)} pictures are missing below {folder}, the first is {missing[0]}")
    return found


def find_faces(pictures: Mapping[str, Path], cache: Path | None = None) -> dict[str, Keypoints]:
    """The keypoints of each picture's central face; those found before are read from ``cache`` (CACHE).

    The cache is made anew when the detector's code has changed since.
    """
    cache = cache or CACHE
    versions = [importlib.metadata.version(package) for package in ("mtcnn", "tensorflow", "opencv-python-headless")]
    detector = hashlib.sha256(Path(face_detection.__file__).read_bytes() + str(versions).encode()).hexdigest()
    found = read_cache(cache, detector)
    key = {name: f"{name} ({path.stat().st_size} bytes)" for name, path in pictures.items()}
    missing = [name for name in pictures if key[name] not in found]
    for start in tqdm(range(0, len(missing), 32), desc="finding faces", unit="batch", disable=not missing):
        names = missing[start : start + 32]
        for name, face in zip(names, fr_utils.find_faces([pictures[name] for name in names], "central"), strict=True):
            found[key[name]] = None if isinstance(face, FaceError) else face[1]["keypoints"]
            if isinstance(face, UnreadableImage):
                tqdm.write(f"{name} counts as a picture without a face: {face}", file=sys.stderr)
        if start % 320 == 0 or start + 32 >= len(missing):  # a killed run goes on from here
            with whole(cache) as unfinished:
                unfinished.write_text(json.dumps({"detector": detector, "faces": found}), encoding="utf-8")
    return {name: found[key[name]] for name in pictures}


def read_cache(cache: Path, detector: str) -> dict[str, Keypoints]:
    """What was found before by the same detector; nothing if the cache is missing, older or damaged."""
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
    """The face of a picture as a network wants it, (S, S, 3)."""
    return face_detection.align_face(load_image(picture), keypoints, info.side, info.template)


def distances_of(pairs: Pairs, encodings: dict[str, np.ndarray]) -> np.ndarray:
    """The distance of each pair (n,); NaN where a picture has no encoding."""
    first, second = (np.stack([encodings[file] for file in pairs.files[:, side]]) for side in (0, 1))
    return np.linalg.norm(first - second, axis=1)


def rates_of(pairs: Pairs, encodings: dict[str, np.ndarray]) -> pd.DataFrame:
    """False accepts and rejects at thresholds from 0.2 to 1.4, with every pair of pictures of different people.

    A list of 500 different pairs can't say how often one in 10,000 is accepted; a million pairs can.
    """
    names = sorted({str(file) for file in pairs.files.flat})
    matrix = np.stack([encodings[name] for name in names])
    people = np.array([name.rsplit("_", 1)[0] for name in names])
    first, second = np.triu_indices(len(names), 1)
    others = people[first] != people[second]
    squared = np.maximum(2 - 2 * (matrix @ matrix.T)[first[others], second[others]], 0)  # unit length
    same = distances_of(pairs, encodings)[pairs.same]
    distances = np.concatenate([same, np.sqrt(squared)])
    is_same = np.arange(len(distances)) < len(same)
    rates = error_rates(distances, is_same, np.arange(0.2, 1.405, 0.01).round(2))
    rates["different_pairs"] = int(others.sum())
    return rates.drop(columns="accuracy").round({"false_accepts": 7, "false_rejects": 4})


def score(test: np.ndarray, pairs: Pairs, train: np.ndarray, train_pairs: Pairs) -> dict:
    """Every number of the result: the threshold is trained on ``train``; ``test`` is only scored."""
    trained = best_threshold(train, train_pairs.same)
    at = {
        name: asdict(bootstrap_accuracy(test, pairs.same, pairs.people, threshold))
        for name, threshold in (("accuracy_at_0.7", THRESHOLD), ("accuracy_at_trained", trained))
    }
    at_shipped = error_rates(test, pairs.same, [THRESHOLD]).iloc[0]
    return {
        "pairs": len(pairs.same),
        "people": len(np.unique(pairs.people)),
        "pairs_without_a_face": int(np.isnan(test).sum()),
        **at,
        "trained_threshold": trained,
        "auc": area_under_roc(test, pairs.same),
        "equal_error_rate": equal_error(test, pairs.same)[1],
        "false_accepts_at_0.7": at_shipped.false_accepts,
        "false_rejects_at_0.7": at_shipped.false_rejects,
        "train_accuracy_at_0.7": accuracy(train, train_pairs.same, THRESHOLD),
        "train_equal_error_threshold": equal_error(train, train_pairs.same)[0],
    }


def main() -> None:
    """Encode the pictures of both lists, score the test list, write and print the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dir", type=Path, help="the folder with the lists and the pictures")
    parser.add_argument("--network", default=DEFAULT_NETWORK, help="a folder, or pixels; by default %(default)s")
    parser.add_argument("--to", type=Path, help="the result file; by default results/lfw_<network>.json")
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
    to = args.to or ROOT / "results" / f"lfw_{Path(args.network).name}.json"
    write_json(to, result)
    rates = pd.concat([rates_of(pairs, by_name) for pairs in lists], keys=("train", "test"), names=["people", None])
    write_table(to.with_name(f"{to.stem}_rates.csv"), rates.reset_index("people"))
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    run(main)
