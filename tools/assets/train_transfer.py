"""Train the transfer twin, and compare it, on people it never saw, with the FaceNet that it stands on.

    python tools/assets/train_transfer.py train      # → weights/transfer/, in about a minute
    python tools/assets/train_transfer.py score      # → docs/results/siamese_transfer.json
    python tools/assets/train_transfer.py all DIR    # find and align the faces, train, score; DIR: datasets/README.md

People are divided as in tools/assets/train_siamese.py: the twin learns from the train people of ``celeba_people``, the
validation people choose the epoch, the calibration and the threshold, the test people are scored. Train it again
whenever the network in ``keras-facenet-h5/`` changes: until then it refuses to load.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from itertools import combinations
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from tqdm import tqdm

from facerec._files import ROOT, write_json, write_table
from facerec._quiet import quietly
from facerec.detection import extract_face
from facerec.encoding import faces_to_encodings, in_batches
from facerec.errors import run
from facerec.evaluation import (
    area_under_roc,
    best_threshold,
    bootstrap_accuracy,
    bootstrap_calibration_error,
    bootstrap_gain,
    bootstrap_mean,
    threshold_at,
    true_accepts_at,
)
from facerec.learning.checkpoints import digest_of
from facerec.learning.datasets import find_people, split_by_identity
from facerec.learning.pairs import open_faces
from facerec.learning.siamese import COMPACT, DEFAULT_TWINS, embedding_of, load_siamese, save_siamese, score_differences
from facerec.learning.transfer_training import TransferPlan, people_of, train_transfer
from facerec.networks import info_of, load_facenet
from facerec.photos import load_image
from facerec.portraits import find_portraits
from tools.assets.train_siamese import FACENETS, FAR, PICTURES, RESULTS, STUDIES, preprocess_photos, read_list, split
from tools.assets.train_siamese import PEOPLE as TWELVE
from tools.assets.train_triplets import PhotoSet, test_photos

with quietly():
    import keras

STUDY = "celeba_people"

#: The rows of the result: what is compared.
TRANSFER, COMPACT_TWIN = "twin, transfer", "twin, compact"


def train(plan: TransferPlan | None = None) -> pd.DataFrame:
    """Train the transfer twin and save it in weights/transfer/; its history goes to docs/results/."""
    plan, people = plan or TransferPlan(), split(STUDIES[STUDY])[0]
    begun = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        siamese, threshold, history = train_transfer(people, read_list(STUDY, "validation"), folder, plan)
    notes = {
        "command": "python tools/assets/train_transfer.py train",
        "trained_on": STUDY,
        "people": people.identity.nunique(),
        "pictures": len(people),
        "seconds": round(time.perf_counter() - begun),
        "plan": asdict(plan),
    }
    save_siamese(siamese, ROOT / DEFAULT_TWINS, round(threshold, 4), **notes)
    write_table(RESULTS / "siamese_transfer_history.csv", history)
    return history


class Method(NamedTuple):
    """A way to compare faces.

    Attributes:
        side: S of the faces.
        encode: Faces (m, S, S, 3) uint8 → rows (m, D).
        apart: Rows (…, D) and (…, D) → distances (…).
        apart_known: Rows (k, D) of a person's known faces and (n, D) of others → distances (n,).
        threshold: A smaller distance is one person: as shipped.
    """

    side: int
    encode: Callable[[np.ndarray], np.ndarray]
    apart: Callable[[np.ndarray, np.ndarray], np.ndarray]
    apart_known: Callable[[np.ndarray, np.ndarray], np.ndarray]
    threshold: float


def method_of_twins(siamese: keras.Model, threshold: float) -> Method:
    """Twins: their distance is 1 − score."""

    def encode(faces: np.ndarray) -> np.ndarray:
        return in_batches(faces.astype(np.float32) / 255, embedding_of(siamese))

    def apart(first: np.ndarray, second: np.ndarray) -> np.ndarray:
        return 1 - score_differences(siamese, np.abs(first - second))

    def apart_known(known: np.ndarray, others: np.ndarray) -> np.ndarray:
        return 1 - score_differences(siamese, np.stack([np.abs(known - one).mean(axis=0) for one in others]))

    return Method(siamese.input_shape[0][1], encode, apart, apart_known, 1 - threshold)


def method_of_facenet(FRmodel: keras.Model) -> Method:
    """A FaceNet: the Euclidean distance; to several known faces, its mean."""

    def apart(first: np.ndarray, second: np.ndarray) -> np.ndarray:
        return np.linalg.norm(first - second, axis=-1)

    def apart_known(known: np.ndarray, others: np.ndarray) -> np.ndarray:
        return apart(known[:, None], others).mean(axis=0)

    info = info_of(FRmodel)
    return Method(info.side, partial(faces_to_encodings, model=FRmodel), apart, apart_known, info.threshold)


def methods() -> dict[str, Method]:
    """Everything that is compared, by name."""
    twins = {
        name: method_of_twins(*load_siamese(folder))
        for name, folder in ((TRANSFER, DEFAULT_TWINS), (COMPACT_TWIN, COMPACT))
    }
    return twins | {label: method_of_facenet(load_facenet(folder)) for folder, label in FACENETS.items()}


def apart_in_rows(method: Method, codes: np.ndarray, rows: np.ndarray, batch: int = 50_000) -> np.ndarray:
    """The distances of pairs (n, 2) of rows, (n,); NaN where a picture has no code."""
    parts = (rows[start : start + batch].T for start in range(0, len(rows), batch))
    return np.concatenate([method.apart(codes[first], codes[second]) for first, second in parts])


def encode_list(method: Method, pairs: pd.DataFrame) -> np.ndarray:
    """The distances (n,) of a list of pairs of aligned faces."""
    rows, people = people_of(pairs)
    return apart_in_rows(method, method.encode(open_faces(list(people.picture), method.side)), rows)


def score() -> dict:
    """Score the twins and the FaceNets on the test people, and count what they say about images/; → docs/results/."""
    photos, compared = PhotoSet(test_photos()), methods()
    rows, apart = {}, {}
    for name, method in tqdm(compared.items(), desc="methods", unit="method"):
        rows[name], apart[name] = score_one(method, photos)
    listed, same = photos.pairs("pairs")
    people = photos.photos.identity.to_numpy()[listed]
    siamese, _ = load_siamese(DEFAULT_TWINS)
    both = [FACENETS[siamese.stands_on.network], TRANSFER]
    gain = bootstrap_gain(
        *(apart[name] for name in both),
        same,
        people,
        tuple(rows[name]["threshold"] for name in both),
        missing="mistakes",
    )
    card = json.loads((ROOT / DEFAULT_TWINS / "siamese.json").read_text(encoding="utf-8"))
    result = {
        "command": "python tools/assets/train_transfer.py score",
        "seconds": card["seconds"],
        "weights": digest_of(siamese),
        "people": int(photos.photos.identity.nunique()),
        "photos": len(photos.photos),
        "without_a_face": int((photos.photos.face == "").sum()),
        "methods": rows,
        "gain": {"of": " → ".join(both), **asdict(gain)},
        "calibration_error": asdict(bootstrap_calibration_error(1 - apart[TRANSFER], same, people)),
        "one_person": {str(TWELVE): one_person(compared, TWELVE), "everyone": one_person(compared, None)},
        "portraits": portraits(compared),
    }
    write_json(RESULTS / "siamese_transfer.json", result)
    table = pd.DataFrame(photos.photos.picture.to_numpy()[listed], columns=["picture_1", "picture_2"])
    table["same"] = same.astype(int)
    write_table(RESULTS / "siamese_transfer_pairs.csv", table.assign(**{n: np.round(d, 5) for n, d in apart.items()}))
    return result


def score_one(method: Method, photos: PhotoSet) -> tuple[dict, np.ndarray]:
    """The scores of one method on the test people, and its distances of the listed pairs of photos.

    The threshold is the best one on the validation pairs. A photo without a face makes each of its pairs a mistake.
    """
    lists = {part: read_list(STUDY, part) for part in ("validation", "test")}
    threshold = best_threshold(encode_list(method, lists["validation"]), lists["validation"].same)
    found = method.encode(open_faces(photos.files, method.side))
    codes = np.full((len(photos.photos), found.shape[1]), np.nan, np.float32)
    codes[photos.found] = found
    row, who, count = {"threshold": threshold}, photos.photos.identity.to_numpy(), {"missing": "mistakes"}
    for key, label in (("accuracy", "pairs"), ("protocol", "protocol")):
        rows, same = photos.pairs(label)
        apart = apart_in_rows(method, codes, rows)
        row[key] = asdict(bootstrap_accuracy(apart, same, who[rows], threshold, **count))
    faces, people = encode_list(method, lists["test"]), lists["test"][["identity_1", "identity_2"]].to_numpy()
    row["of_faces"] = asdict(bootstrap_accuracy(faces, lists["test"].same, people, threshold))
    row["auc_of_faces"] = area_under_roc(faces, lists["test"].same)
    rows, same = photos.all_pairs()
    every = apart_in_rows(method, codes, rows)
    row["auc"] = area_under_roc(every, same, **count)
    row["true_accepts"] = {str(far): true_accepts_at(every, same, far, **count) for far in (0.1, 0.01, 0.001)}
    return row, apart_in_rows(method, codes, photos.pairs("pairs")[0])


def one_person(compared: Mapping[str, Method], count: int | None) -> dict:
    """How often a person's later pictures are accepted where strangers choose the threshold: one in a hundred of them.

    Args:
        compared: The methods.
        count: How many of the test people are known in turn, the first; None for all. The others are strangers.

    Returns:
        The numbers of people, and for each method the shares of later pictures and of strangers' pictures accepted. The
        transfer twin has a second row, with the threshold that ``train_siamese.py own`` chooses: on invented people.
    """
    _, validation, test = split(STUDIES[STUDY])
    counts = test.identity.value_counts(sort=False)
    names = list(counts.index[counts >= sum(PICTURES)][:count])
    *own, _ = split_by_identity(find_people("datasets/people.zip"), STUDIES["people"].shares)
    tables = {"validation": validation, "test": test, "invented": pd.concat(own)}
    methods = {}
    for method, way in tqdm(compared.items(), desc="one person at a time", unit="method"):
        codes = {part: way.encode(open_faces(list(table.picture), way.side)) for part, table in tables.items()}
        for row, choosing in ((method, "validation"), (f"{method}, as own", "invented")):
            if choosing == "validation" or method == TRANSFER:
                methods[row] = accepted(way, codes, test.identity.to_numpy(), names, choosing, count is not None)
    strangers = [len(counts) - (len(names) if count else 1), int(validation.identity.nunique())]
    return {"people": len(names), "strangers": strangers[0], "choosing": strangers[1], "methods": methods}


def accepted(
    way: Method, codes: Mapping[str, np.ndarray], who: np.ndarray, names: Sequence[str], choosing: str, apart: bool
) -> dict:
    """The shares of later pictures and of strangers' pictures that are accepted, over people.

    Args:
        way: The method.
        codes: Part → its rows of the pictures.
        who: The person in each picture of the test people.
        names: Those who are known in turn.
        choosing: The part whose people choose the threshold.
        apart: Whether no known person is also a stranger to the others.
    """
    true, false = [], []
    for name in names:
        own = np.flatnonzero(who == name)
        known, later = own[: PICTURES[0]], own[sum(PICTURES[:2]) :]
        strangers = ~np.isin(who, names if apart else [name])
        near = partial(way.apart_known, codes["test"][known])
        threshold = threshold_at(near(codes[choosing]), FAR)
        true.append(float((near(codes["test"][later]) < threshold).mean()))
        false.append(float((near(codes["test"][strangers]) < threshold).mean()))
    spread = {"worst": min(true), "best": max(true)}
    return {"true_accepts": asdict(bootstrap_mean(true)) | spread, "false_accepts": float(np.mean(false))}


def portraits(compared: Mapping[str, Method]) -> dict:
    """How many pairs of different portraits in images/ are taken for one person, and how many pictures of one are not.

    Every method judges at its own shipped threshold.
    """
    found = find_portraits("images").portraits
    answers = json.loads((ROOT / "images" / "answers.json").read_text(encoding="utf-8"))
    camera = {ROOT / "images" / file: name for file, name in answers.items() if isinstance(name, str)}
    names, result = [portrait.identity for portrait in found], {}
    for method, way in compared.items():
        photos = [load_image(source) for source in (*(portrait.path for portrait in found), *camera)]
        codes = way.encode(np.stack([extract_face(photo, way.side) for photo in photos]))
        one = [way.apart(codes[i], codes[j]) < way.threshold for i, j in combinations(range(len(names)), 2)]
        own = [
            way.apart(codes[len(names) + i], codes[names.index(n)]) < way.threshold
            for i, n in enumerate(camera.values())
        ]
        result[method] = {"taken_for_one": int(np.sum(one)), "own_accepted": int(np.sum(own))}
    return {"pairs": len(one), "own_pictures": len(own), "methods": result}


def print_scores(result: dict) -> None:
    """Print the main numbers of ``score``."""
    columns = {
        name: {"accuracy": row["accuracy"]["value"], "auc": row["auc"]} for name, row in result["methods"].items()
    }
    print(pd.DataFrame(columns).T.to_string())
    for count, part in result["one_person"].items():
        rows = {name: row["true_accepts"]["value"] for name, row in part["methods"].items()}
        print(f"one person ({count}):", ", ".join(f"{name} {share:.1%}" for name, share in rows.items()))
    print(result["portraits"])


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True, dest="command")
    everything = commands.add_parser("all", help="find and align the faces, train and score")
    everything.add_argument("photos", type=Path, help="the folder with celeba_people/ and att_faces/")
    commands.add_parser("train", help="train the twin and save it in weights/transfer")
    commands.add_parser("score", help="score it beside the compact twin and the FaceNets")
    args = parser.parse_args(argv)
    if args.command == "all":
        preprocess_photos(args.photos)
    if args.command in ("all", "train"):
        print(train().tail(3).to_string())
    if args.command in ("all", "score"):
        print_scores(score())


if __name__ == "__main__":
    run(main)
