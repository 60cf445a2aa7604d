"""Train the twins and compare them: on people never seen, beside dumb baselines and FaceNet.

    python tools/assets/prepare_people.py preprocess DIR --to datasets/celeba_people     # detect and align, once
    python tools/assets/train_siamese.py pairs celeba_people                             # fix the lists of pairs
    python tools/assets/train_siamese.py train celeba_people compact                     # go on where it was stopped
    python tools/assets/train_siamese.py score celeba_people                             # → docs/results/siamese_celeba_people.json
    python tools/assets/train_siamese.py one-person                                      # → docs/results/siamese_one_person.json
    python tools/assets/train_siamese.py ship celeba_people                              # → weights/siamese/
    python tools/assets/train_siamese.py own datasets/collected_faces/me                 # a verifier for one person: you

``celeba_people`` and ``att_faces`` are real people (see datasets/README.md), ``people`` are those who do not exist.
People are divided by identity: the train people teach, the validation people say when to stop and where the threshold
lies, the test people are scored once. The lists of pairs in docs/results/pairs/ belong to the project; the pictures do not.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from functools import cache, partial
from itertools import combinations, product
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from tqdm import tqdm

from facerec._files import in_project, write_json, write_table
from facerec._quiet import quietly
from facerec.encoding import faces_to_encodings
from facerec.errors import BadArgument, run
from facerec.evaluation import (
    accuracy,
    area_under_roc,
    best_threshold,
    bootstrap_accuracy,
    bootstrap_mean,
    precision_recall,
    threshold_at,
)
from facerec.learning.baselines import BASELINE_SIDE, fit_whitened_pca, pixel_baseline
from facerec.learning.checkpoints import read_config
from facerec.learning.datasets import check_disjoint, drop_copies, find_people, split_by_identity
from facerec.learning.pairs import PairFaces, PersonFaces, make_pairs, one_person_pairs, open_faces
from facerec.learning.siamese import SHIPPED, VARIANTS, save_siamese, score_all
from facerec.learning.siamese_training import SiamesePlan, score_pairs, train_for_one, train_siamese
from facerec.learning.triplet_training import digest_of
from facerec.networks import load_facenet

with quietly():
    import keras


from facerec._files import ROOT


RESULTS = ROOT / "docs" / "results"


LISTS = RESULTS / "pairs"


PARTS = ("train", "validation", "test")


class Study(NamedTuple):
    """A data set: where it is, how its people are divided, and how long the twins learn from them.

    Attributes:
        source: The aligned faces: a folder, or a zip file, with a folder per person.
        shares: Train, validation and test people.
        pairs: How many pairs each part gives.
        large: Epochs of the two published twins: as many as two cores bear.
        compact: Epochs of the compact one.
    """

    source: str
    shares: tuple[float | int, ...]
    pairs: tuple[int, int, int]
    large: int
    compact: int


STUDIES = {
    "celeba_people": Study("datasets/celeba_people", (0.6, 0.2, 0.2), (3000, 1000, 2000), 6, 80),
    "att_faces": Study("datasets/att_faces", (22, 6, 12), (1000, 400, 1000), 6, 150),
    "people": Study("datasets/people.zip", (160, 40, 42), (1500, 1000, 2000), 5, 60),
}


def plan_for(study: Study, variant: str, seed: int = 0) -> SiamesePlan:
    """How a twin learns: the published ones at the published rate, the compact one from all pairs of 64 faces."""
    if variant != "compact":
        return SiamesePlan(variant, epochs=study.large, batch=32, rate=5e-5, seed=seed)
    epochs = study.compact
    decay = 0.04 ** (1 / epochs)  # the rate falls to a twenty-fifth
    return SiamesePlan(
        variant, epochs=epochs, batch=64, rate=1e-3, decay=decay, patience=epochs // 4, moved=True, seed=seed
    )


def train_one(name: str, variant: str, epochs: int | None = None, precision: str = "float32") -> pd.DataFrame:
    """Train a twin on a study, or go on; its history goes to docs/results/."""
    validation = PairFaces(read_list(name, "validation"))
    if variant == "compact":
        learned = PersonFaces(split(STUDIES[name])[0], progress=True)
    else:
        learned = PairFaces(read_list(name, "train"), progress=True)
    plan = plan_for(STUDIES[name], variant)
    plan = replace(plan, epochs=epochs or plan.epochs, precision=precision)
    _, history = train_siamese(learned, validation, plan, folder_of(name, variant))
    write_table(RESULTS / f"siamese_{name}_{slug(variant)}_history.csv", history)
    return history


def folder_of(name: str, variant: str) -> Path:
    """Where a training is kept."""
    return ROOT / "checkpoints" / "siamese" / name / slug(variant)


def slug(variant: str) -> str:
    """A variant's name as a file has it."""
    return variant.replace(" ", "_")


def split(study: Study) -> tuple[pd.DataFrame, ...]:
    """The people of a study in its three parts; nobody, and no picture, is in two."""
    people, copies = drop_copies(find_people(study.source, min_pictures=2))
    for picture in copies.picture:
        print("left out, since it is there twice:", Path(picture).relative_to(in_project(study.source)))
    parts = split_by_identity(people, study.shares, seed=0)
    check_disjoint(*parts)
    return parts


def list_file(name: str, label: str) -> Path:
    """Where a list is kept."""
    return LISTS / f"{name}_{label}.csv"


def write_lists(name: str) -> None:
    """Fix the pairs of a study, in docs/results/pairs/: paths within its folder, and whether they show one person."""
    study = STUDIES[name]
    base = in_project(study.source)
    for seed, (label, part, count) in enumerate(zip(PARTS, split(study), study.pairs, strict=True)):
        pairs = make_pairs(part, count, seed=seed)
        for column in ("picture_1", "picture_2"):
            pairs[column] = [Path(picture).relative_to(base).as_posix() for picture in pairs[column]]
        write_table(list_file(name, label), pairs[["picture_1", "picture_2"]])
        print(f"{name} {label}: {part.identity.nunique()} people, {len(part)} pictures, {len(pairs)} pairs")


def read_list(name: str, label: str) -> pd.DataFrame:
    """A fixed list as ``make_pairs`` gives it."""
    file, base = list_file(name, label), in_project(STUDIES[name].source)
    if not file.is_file():
        raise BadArgument(f"{file} is not there: write it with `python tools/assets/train_siamese.py pairs {name}`")
    pairs = pd.read_csv(file)
    for number in (1, 2):
        pairs[f"identity_{number}"] = [Path(picture).parts[0] for picture in pairs[f"picture_{number}"]]
        pairs[f"picture_{number}"] = [str(base / picture) for picture in pairs[f"picture_{number}"]]
    return pairs.assign(same=pairs.identity_1 == pairs.identity_2)


FACENETS = {"weights/resnet": "FaceNet, residual", "keras-facenet-h5": "FaceNet, Inception"}


def score(name: str) -> pd.DataFrame:
    """Score everything on a study's test pairs, at thresholds from its validation pairs; both go to docs/results/.

    Returns:
        A row per method.
    """
    lists = {label: read_list(name, label) for label in PARTS[1:]}
    faces = cache(lambda label, side: PairFaces(lists[label], side))
    twins = {
        variant: keras.models.load_model(best)
        for variant in VARIANTS
        if (best := folder_of(name, variant) / "best.keras").is_file()
    }
    measures = {label: partial(_facenet_distances, model=model) for label, model in facenets_for(name).items()}
    measures |= {f"twin, {variant}": partial(_twin_distances, model=model) for variant, model in twins.items()}
    same = {label: pairs.same for label, pairs in lists.items()}
    people = lists["test"][["identity_1", "identity_2"]].to_numpy()
    rows, scored = {}, pd.read_csv(list_file(name, "test")).assign(same=same["test"].astype(int))
    for method, measure in measures.items():
        validation, found = (measure(partial(faces, label)) for label in lists)
        threshold = best_threshold(validation, same["validation"])
        rows[method] = {
            "accuracy": asdict(bootstrap_accuracy(found, same["test"], people, threshold)),
            "threshold": threshold,
            "auc": area_under_roc(found, same["test"]),
            **precision_recall(found, same["test"], [threshold]).iloc[0].drop("threshold").to_dict(),
            "validation_accuracy": accuracy(validation, same["validation"], threshold),
        }
        scored[method] = np.round(found, 5)
        print(f"{method}: done", file=sys.stderr)
    for variant, model in twins.items():
        rows[f"twin, {variant}"] |= how_it_was_trained(name, variant, model)
    counts = {label: int(pairs[["identity_1", "identity_2"]].stack().nunique()) for label, pairs in lists.items()}
    result = {"study": name, "people": counts, "pairs": len(scored), "methods": rows}
    write_json(RESULTS / f"siamese_{name}.json", result)
    write_table(RESULTS / f"siamese_{name}_pairs.csv", scored)
    return pd.DataFrame(rows).T


def facenets_for(name: str) -> dict[str, keras.Model]:
    """The baselines, PCA fitted on the study's train people, and the FaceNets: all take faces and give encodings."""
    faces = open_faces(list(split(STUDIES[name])[0].picture), BASELINE_SIDE)
    networks = {"pixels": pixel_baseline(), "whitened PCA": fit_whitened_pca(faces)}
    return networks | {label: load_facenet(folder) for folder, label in FACENETS.items()}


def _facenet_distances(faces: Callable[[int], PairFaces], model: keras.Model) -> np.ndarray:
    return faces(model.input_shape[1]).distances(model)


def _twin_distances(faces: Callable[[int], PairFaces], model: keras.Model) -> np.ndarray:
    return 1 - score_pairs(model, faces(model.input_shape[0][1]))


def plan_of(name: str, variant: str) -> dict:
    """The plan with which a twin was trained: what its checkpoint says, or, without one, what this file says."""
    plan, begun_with = asdict(plan_for(STUDIES[name], variant)), read_config(folder_of(name, variant)) or {}
    return {key: begun_with.get(key, value) for key, value in plan.items()}


def how_it_was_trained(name: str, variant: str, model: keras.Model) -> dict:
    """Epochs, seconds, parameters and the weights' digest of a twin."""
    history = pd.read_csv(folder_of(name, variant) / "history.csv")
    return {
        "epochs": len(history),
        "best_epoch": int(history.epoch[history.validation_loss.argmin()]),
        "seconds": float(history.seconds.sum()),
        "waiting": float((history.waiting * history.seconds).sum() / history.seconds.sum()),
        "parameters": model.count_params(),
        "weights": digest_of(model),
        "plan": plan_of(name, variant),
    }


PEOPLE = 12  # of the test people, who are learned one at a time


PICTURES = (12, 3, 2)  # of each: to learn from, to stop at, and at least so many later ones to be recognised


TIMES = 5  # every same pair is shown so often per epoch, varied each time


FAR = 0.01  # of strangers


def one_person() -> dict:
    """Learn one person at a time, and see whether their later pictures are told from people never seen."""
    train_people, validation, test = split(STUDIES["celeba_people"])
    counts = test.identity.value_counts(sort=False)
    names = counts.index[counts >= sum(PICTURES)][:PEOPLE]
    strangers = {"validation": validation, "test": test[~test.identity.isin(names)]}
    nearness, rows = Nearness([*validation.picture, *test.picture]), []
    for name in tqdm(names, unit="person", desc="one person at a time"):
        pictures = test[test.identity == name].picture.to_numpy()
        learned, stopped, later = np.split(pictures, np.cumsum(PICTURES[:2]))
        folder = folder_of("one_person", name)
        pairs = one_person_pairs(list(combinations(learned, 2)), learned, train_people.picture, TIMES)
        checked = one_person_pairs(list(product(learned, stopped)), learned, validation.picture, 1)
        plan = SiamesePlan(epochs=8, batch=32, rate=1e-3, decay=0.7, moved=True)
        twin, _ = train_siamese(PairFaces(pairs), PairFaces(checked), plan, folder, progress=False)
        for method, distances in nearness.of(learned, twin).items():
            far = {label: distances[nearness.numbers(people.picture)] for label, people in strangers.items()}
            threshold = threshold_at(far["validation"], FAR)
            row = {"true_accepts": float((distances[nearness.numbers(later)] < threshold).mean())}
            row |= {"false_accepts": float((far["test"] < threshold).mean()), "threshold": threshold}
            rows.append({"person": name, "method": method, "later_pictures": len(later), **row})
    table = pd.DataFrame(rows)
    result = {
        "people": len(names),
        "strangers": {label: int(people.identity.nunique()) for label, people in strangers.items()},
        "methods": {method: _spread(part) for method, part in table.groupby("method", sort=False)},
        "each": rows,
    }
    write_json(RESULTS / "siamese_one_person.json", result)
    return result


class Nearness:
    """How far pictures are from a person's known ones, on average, for several methods; each is encoded once."""

    def __init__(self, pictures: Sequence[str]):
        numbers = {picture: number for number, picture in enumerate(pictures)}
        self.numbers = lambda some: [numbers[picture] for picture in some]
        self.faces = open_faces(list(pictures)).astype(np.float32) / 255
        general = keras.models.load_model(folder_of("celeba_people", "compact") / "best.keras")
        self.general_scores = score_all(general, self.faces, self.faces)
        networks = {label: load_facenet(folder) for folder, label in FACENETS.items()}
        self.encodings = {
            label: faces_to_encodings(open_faces(list(pictures), model.input_shape[1]), model)
            for label, model in networks.items()
        }

    def of(self, known: Sequence[str], twin: keras.Model) -> dict[str, np.ndarray]:
        """For each method the mean distance of every picture to the known ones, by the picture's number."""
        rows = self.numbers(known)
        near = {
            "twin, for this person": 1 - score_all(twin, self.faces[rows], self.faces).mean(axis=0),
            "twin, for everybody": 1 - self.general_scores[rows].mean(axis=0),
        }
        for label, codes in self.encodings.items():
            near[label] = np.linalg.norm(codes[rows][:, None] - codes, axis=2).mean(axis=0)
        return near


def _spread(part: pd.DataFrame) -> dict:
    """Mean over people with its interval, the worst and the best."""
    values = part.true_accepts
    spread = {**asdict(bootstrap_mean(values)), "worst": float(values.min()), "best": float(values.max())}
    return {"true_accepts": spread, "false_accepts": float(part.false_accepts.mean())}


def ship(name: str) -> None:
    """Put the compact twin of a study into weights/siamese/, with the threshold of its validation people."""
    result = json.loads((RESULTS / f"siamese_{name}.json").read_text(encoding="utf-8"))
    row = result["methods"]["twin, compact"]
    model = keras.models.load_model(folder_of(name, "compact") / "best.keras")
    notes = {"trained_on": name, "seconds": round(row["seconds"]), "epochs": row["epochs"], "plan": row["plan"]}
    save_siamese(model, ROOT / SHIPPED, round(1 - row["threshold"], 4), **notes)


def _number_of(picture: str) -> int:
    """The number at the end of a picture's name; 0 if there is none.

    Example:
        >>> _number_of("me/positive_0012.jpg"), _number_of("me/card.jpg")
        (12, 0)
    """
    digits = re.search(r"\d+$", Path(picture).stem)
    return int(digits[0]) if digits else 0


def train_own(faces: Path, to: Path | None = None) -> str:
    """Train twins for one person, against people who do not exist; say what they are worth, and keep them.

    Args:
        faces: The person's aligned faces (``prepare_people.py preprocess`` makes them), in the order of the numbers in
            their names: ``anchor_0001``, ``positive_0001``, ``anchor_0002`` …, about as they were taken.
        to: Where the network goes; by default ``checkpoints/own/<person>``.

    Returns:
        What to tell the person.
    """
    people = find_people(faces.resolve().parent)
    own = sorted(people.picture[people.identity == faces.resolve().name], key=_number_of)
    if not own:
        raise BadArgument(f"{faces} holds no pictures")
    to = to or ROOT / "checkpoints" / "own" / faces.resolve().name
    others = split_by_identity(find_people("datasets/people.zip"), STUDIES["people"].shares)
    twins = train_for_one(own, others, to / "training")
    save_siamese(twins.model, to, round(twins.threshold, 4), trained_on=faces.name, far=FAR, later=twins.later)
    return (
        f"of {twins.later} later pictures, which taught nothing, {twins.true_accepts:.0%} are accepted; of pictures "
        f"of {twins.strangers} strangers {twins.false_accepts:.1%}\nthe network is in {to}, its threshold is "
        f"{twins.threshold:.2f}; chapter 10 of train_siamese.ipynb says what to expect of it on photographs"
    )


def main(argv: Sequence[str] | None = None) -> None:
    """Do what the command line says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True, dest="command")
    helps = {
        "pairs": "fix the lists of pairs",
        "train": "train a twin, or go on where it was stopped",
        "score": "score baselines, FaceNets and the twins that are trained",
        "ship": "put the compact twin into weights/siamese",
        "one-person": "learn one person at a time (after train celeba_people compact)",
    }
    for command, text in helps.items():
        sub = commands.add_parser(command, help=text)
        if command != "one-person":
            sub.add_argument("study", choices=STUDIES)
        if command == "train":
            sub.add_argument("variant", choices=[*VARIANTS])
            sub.add_argument("--epochs", type=int, help="stop there for now; by default what STUDIES says")
            quicker = "mixed_bfloat16 is quicker where the processor can do it (AVX512-BF16, AMX, a GPU)"
            sub.add_argument("--precision", choices=["float32", "mixed_bfloat16"], default="float32", help=quicker)
    own = commands.add_parser("own", help="train twins for one person, you, against people who do not exist")
    own.add_argument("faces", type=Path, help="a folder of aligned faces, as prepare_people.py preprocess makes them")
    own.add_argument("--to", type=Path, help="where the network goes; by default checkpoints/own/<person>")
    args = parser.parse_args(argv)
    if args.command == "own":
        print(train_own(args.faces, args.to))
    elif args.command == "pairs":
        write_lists(args.study)
    elif args.command == "train":
        print(train_one(args.study, args.variant, args.epochs, args.precision).tail(3).to_string())
    elif args.command == "score":
        print(score(args.study)[["threshold", "auc", "f1", "validation_accuracy"]].to_string())
    elif args.command == "ship":
        ship(args.study)
    else:
        print(pd.DataFrame(one_person()["methods"]).T.to_string())


if __name__ == "__main__":
    run(main)
