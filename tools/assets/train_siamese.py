"""Train Siamese twins and compare them, on people they never saw, with baselines and FaceNets.

    python tools/assets/train_siamese.py all DIR                          # everything below; DIR: datasets/README.md
    python tools/assets/train_siamese.py pairs celeba_people              # fix the lists of pairs (committed)
    python tools/assets/train_siamese.py train celeba_people compact      # train, or resume
    python tools/assets/train_siamese.py score celeba_people              # → docs/results/siamese_celeba_people.json
    python tools/assets/train_siamese.py ship celeba_people               # → weights/siamese/
    python tools/assets/train_siamese.py one-person                       # → docs/results/siamese_one_person.json
    python tools/assets/train_siamese.py own build/my_faces/me                  # the transfer twin for one person: you

The studies ``celeba_people`` and ``att_faces`` are real people, ``people`` are invented ones. People are divided by
identity: the network learns from the train people, the validation people decide when to stop and where the threshold
is, the test people are scored once. The lists of pairs in docs/results/pairs/ belong to the project; the pictures of
real people do not.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, replace
from functools import cache, partial
from itertools import combinations, product
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from tqdm import tqdm

from facerec._files import ROOT, in_project, write_json, write_table
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
from facerec.learning.checkpoints import digest_of, read_config
from facerec.learning.datasets import check_disjoint, drop_copies, find_people, split_by_identity
from facerec.learning.pairs import PairFaces, PersonFaces, make_pairs, one_person_pairs, open_faces
from facerec.learning.prepare import number_of, preprocess
from facerec.learning.siamese import COMPACT, VARIANTS, load_siamese, save_siamese, score_all
from facerec.learning.siamese_training import SiamesePlan, score_pairs, train_siamese
from facerec.learning.transfer_training import verifier_for
from facerec.networks import load_facenet

with quietly():
    import keras

RESULTS = ROOT / "docs" / "results"

LISTS = RESULTS / "pairs"

PARTS = ("train", "validation", "test")


class Study(NamedTuple):
    """A data set, how its people are divided, and how long the twins learn from them.

    Attributes:
        source: The aligned faces: a folder, or a zip file, with a folder per person.
        shares: Train, validation and test people.
        pairs: The number of pairs of each part.
        large: Epochs of the two published twins: as many as two cores manage.
        compact: Epochs of the compact twin.
        more: A folder of further people for the compact twin and the triplets, prepared like ``source``; none of them
            may be in it. None if there are no others.
    """

    source: str
    shares: tuple[float | int, ...]
    pairs: tuple[int, int, int]
    large: int
    compact: int
    more: str | None = None


STUDIES = {
    "celeba_people": Study(
        "datasets/celeba_people", (0.6, 0.2, 0.2), (3000, 1000, 2000), 6, 80, "datasets/celeba_faces"
    ),
    "att_faces": Study("datasets/att_faces", (22, 6, 12), (1000, 400, 1000), 6, 150),
    "people": Study("datasets/people.zip", (160, 40, 42), (1500, 1000, 2000), 5, 60),
}


def plan_for(study: Study, variant: str) -> SiamesePlan:
    """The plan of a twin: the published ones at the published rate, the compact one on all pairs of 64 faces."""
    if variant != "compact":
        return SiamesePlan(variant, epochs=study.large, batch=32, rate=5e-5)
    epochs = study.compact
    decay = 0.04 ** (1 / epochs)  # by the end the rate falls to a twenty-fifth
    plan = SiamesePlan(variant, epochs=epochs, batch=64, rate=1e-3, decay=decay, patience=epochs // 4, moved=True)
    return replace(plan, harsh=0.5) if study.more else plan


def train_one(name: str, variant: str, epochs: int | None = None, precision: str = "float32") -> pd.DataFrame:
    """Train a twin on a study, or resume; its history goes to docs/results/."""
    plan = plan_for(STUDIES[name], variant)
    plan = replace(plan, epochs=epochs or plan.epochs, precision=precision)
    validation = PairFaces(read_list(name, "validation"), plan.side)
    if variant == "compact":
        learned = PersonFaces(train_people(STUDIES[name]), plan.side, progress=True)
    else:
        learned = PairFaces(read_list(name, "train"), plan.side, progress=True)
    _, history = train_siamese(learned, validation, plan, folder_of(name, variant))
    write_table(RESULTS / f"siamese_{name}_{slug(variant)}_history.csv", history)
    return history


def folder_of(name: str, variant: str) -> Path:
    """The folder of a training."""
    return ROOT / "checkpoints" / "siamese" / name / slug(variant)


def slug(variant: str) -> str:
    """The name of a variant in file names."""
    return variant.replace(" ", "_")


def split(study: Study) -> tuple[pd.DataFrame, ...]:
    """The people of a study in three parts; no person and no picture is in two."""
    people, copies = drop_copies(find_people(study.source, min_pictures=2))
    for picture in copies.picture:
        print("left out, because it exists twice:", Path(picture).relative_to(in_project(study.source)))
    return split_by_identity(people, study.shares, seed=0)


def train_people(study: Study) -> pd.DataFrame:
    """The train people of a study and, if there are any, its further people, as a table of ``find_people``."""
    parts = split(study)
    if study.more is None:
        return parts[0]
    others = find_people(study.more, min_pictures=2)
    check_disjoint(others, *parts)
    return pd.concat([parts[0], others], ignore_index=True)


def list_file(name: str, label: str) -> Path:
    """The file of a list of pairs."""
    return LISTS / f"{name}_{label}.csv"


def write_lists(name: str) -> None:
    """Fix the pairs of a study in docs/results/pairs/, as paths within its folder."""
    study = STUDIES[name]
    base = in_project(study.source)
    for seed, (label, part, count) in enumerate(zip(PARTS, split(study), study.pairs, strict=True)):
        pairs = make_pairs(part, count, seed=seed)
        for column in ("picture_1", "picture_2"):
            pairs[column] = [Path(picture).relative_to(base).as_posix() for picture in pairs[column]]
        write_table(list_file(name, label), pairs[["picture_1", "picture_2"]])
        print(f"{name} {label}: {part.identity.nunique()} people, {len(part)} pictures, {len(pairs)} pairs")


def read_list(name: str, label: str) -> pd.DataFrame:
    """A fixed list of pairs, as a table like that of ``make_pairs``."""
    file, base = list_file(name, label), in_project(STUDIES[name].source)
    if not file.is_file():
        raise BadArgument(f"{file} is missing: write it with `python tools/assets/train_siamese.py pairs {name}`")
    pairs = pd.read_csv(file)
    for number in (1, 2):
        pairs[f"identity_{number}"] = [Path(picture).parts[0] for picture in pairs[f"picture_{number}"]]
        pairs[f"picture_{number}"] = [str(base / picture) for picture in pairs[f"picture_{number}"]]
    return pairs.assign(same=pairs.identity_1 == pairs.identity_2)


FACENETS = {"weights/resnet": "FaceNet, residual", "keras-facenet-h5": "FaceNet, Inception"}


def score(name: str) -> pd.DataFrame:
    """Score every method on the test pairs of a study, at thresholds from its validation pairs; → docs/results/.

    The scores of a twin whose checkpoints are not here stay as they were.

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
    every_twin = [f"twin, {variant}" for variant in VARIANTS]
    for method, (row, found) in scored_before(f"siamese_{name}", every_twin).items():
        rows.setdefault(method, row)
        if method not in scored:
            scored[method] = found
    order = [*(method for method in rows if method not in every_twin), *(twin for twin in every_twin if twin in rows)]
    rows = {method: rows[method] for method in order}
    counts = {label: int(pairs[["identity_1", "identity_2"]].stack().nunique()) for label, pairs in lists.items()}
    result = {"study": name, "people": counts, "pairs": len(scored), "methods": rows}
    write_json(RESULTS / f"siamese_{name}.json", result)
    write_table(RESULTS / f"siamese_{name}_pairs.csv", scored[["picture_1", "picture_2", "same", *order]])
    return pd.DataFrame(rows).T


def scored_before(study: str, methods: Iterable[str]) -> dict[str, tuple[dict, np.ndarray]]:
    """The last scores of methods, where there are any, and their distances between the listed pairs.

    Args:
        study: The scores are in docs/results/STUDY.json, the distances in docs/results/STUDY_pairs.csv.
        methods: The names of the methods.
    """
    scores, distances = RESULTS / f"{study}.json", RESULTS / f"{study}_pairs.csv"
    if not (scores.is_file() and distances.is_file()):
        return {}
    rows, apart = json.loads(scores.read_text(encoding="utf-8"))["methods"], pd.read_csv(distances)
    return {method: (rows[method], apart[method].to_numpy()) for method in methods if method in rows}


def facenets_for(name: str) -> dict[str, keras.Model]:
    """The baselines (PCA is fitted on the study's train people) and the FaceNets, by name."""
    faces = open_faces(list(split(STUDIES[name])[0].picture), BASELINE_SIDE)
    networks = {"pixels": pixel_baseline(), "whitened PCA": fit_whitened_pca(faces)}
    return networks | {label: load_facenet(folder) for folder, label in FACENETS.items()}


def _facenet_distances(faces: Callable[[int], PairFaces], model: keras.Model) -> np.ndarray:
    return faces(model.input_shape[1]).distances(model)


def _twin_distances(faces: Callable[[int], PairFaces], model: keras.Model) -> np.ndarray:
    return 1 - score_pairs(model, faces(model.input_shape[0][1]))


def plan_of(name: str, variant: str) -> dict:
    """The plan with which a twin was trained: from its checkpoint or, without one, from this file."""
    plan, begun_with = asdict(plan_for(STUDIES[name], variant)), read_config(folder_of(name, variant)) or {}
    return {key: begun_with.get(key, value) for key, value in plan.items()}


def how_it_was_trained(name: str, variant: str, model: keras.Model) -> dict:
    """Epochs, seconds, parameters, plan and the digest of the weights of a twin."""
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


#: The number of test people that are learned, one at a time.
PEOPLE = 12

#: Pictures of each: to learn from, to decide when to stop, and at least this many later ones to recognise.
PICTURES = (12, 3, 2)

#: How often every same pair is shown per epoch, augmented anew each time.
TIMES = 5

#: The share of false accepts at which thresholds are chosen.
FAR = 0.01


def one_person() -> dict:
    """Train twins for one person at a time, and test them on that person's later pictures and on strangers."""
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
    """The mean distances from pictures to a person's known ones, for several methods; each picture is encoded once."""

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
        """For each method, the mean distance of every picture, in its order, to the known ones."""
        rows = self.numbers(known)
        near = {
            "twin, for this person": 1 - score_all(twin, self.faces[rows], self.faces).mean(axis=0),
            "twin, for everybody": 1 - self.general_scores[rows].mean(axis=0),
        }
        for label, codes in self.encodings.items():
            near[label] = np.linalg.norm(codes[rows][:, None] - codes, axis=2).mean(axis=0)
        return near


def _spread(part: pd.DataFrame) -> dict:
    """The mean over people with its interval, the worst and the best."""
    values = part.true_accepts
    spread = {**asdict(bootstrap_mean(values)), "worst": float(values.min()), "best": float(values.max())}
    return {"true_accepts": spread, "false_accepts": float(part.false_accepts.mean())}


def ship(name: str) -> None:
    """Save the compact twin of a study in weights/siamese/, with the threshold of its validation people."""
    result = json.loads((RESULTS / f"siamese_{name}.json").read_text(encoding="utf-8"))
    row = result["methods"]["twin, compact"]
    model = keras.models.load_model(folder_of(name, "compact") / "best.keras")
    notes = {"trained_on": name, "seconds": round(row["seconds"]), "epochs": row["epochs"], "plan": row["plan"]}
    save_siamese(model, ROOT / COMPACT, round(1 - row["threshold"], 4), **notes)


def fit_own(faces: Path, to: Path | None = None) -> str:
    """Fit the transfer twin to one person, with invented people as strangers, and save it.

    Args:
        faces: A folder of the person's aligned faces (of ``prepare_people.py preprocess``). The numbers in their names,
            ``anchor_0001``, ``positive_0001``, ``anchor_0002`` …, tell the order in which they were taken.
        to: The folder to save the network in; by default ``checkpoints/own/<person>``.

    Returns:
        The test results, as text for that person.

    Raises:
        BadArgument: If there are no pictures, or too few.
    """
    people = find_people(faces.resolve().parent)
    own = sorted(people.picture[people.identity == faces.resolve().name], key=number_of)
    if not own:
        raise BadArgument(f"{faces} holds no pictures")
    to = to or ROOT / "checkpoints" / "own" / faces.resolve().name
    *choosing, testing = split_by_identity(find_people("datasets/people.zip"), STUDIES["people"].shares)
    twins = verifier_for(own, (pd.concat(choosing), testing), load_siamese()[0], FAR)
    notes = {"person": faces.name, "compares": "verify_faces(model.known, photo)", "far": FAR, "later": twins.later}
    save_siamese(twins.model, to, round(twins.threshold, 4), twins.known, **notes)
    return (
        f"accepted: {twins.true_accepts:.0%} of {twins.later} later pictures that are not among the {len(twins.known)} "
        f"known ones, and {twins.false_accepts:.1%} of the pictures of {twins.strangers} strangers\nthe network and "
        f"its known pictures are in {to}, its threshold is {twins.threshold:.2f}:\n    model, threshold = "
        f'load_siamese("{to}")\n    verify_faces(model.known, "photo.jpg", model, threshold)'
    )


def preprocess_photos(photos: Path) -> None:
    """Find and align the faces of the studies of real people; photos that are done are skipped.

    Args:
        photos: A folder with a folder per study: ``celeba_people`` and ``att_faces``.
    """
    for name, study in STUDIES.items():
        if not study.source.endswith(".zip"):  # the zip file comes with the project
            report = preprocess(photos / name, ROOT / study.source)
            print(f"{name}: {(report.dropped == '').sum():,} faces in {study.source}")


def run_all(photos: Path, precision: str = "float32") -> None:
    """Preprocess, train every twin on every study, score, ship and do the one-person study; resumes where it stopped.

    Args:
        photos: As for ``preprocess_photos``.
        precision: Of the trainings, ``float32`` or ``mixed_bfloat16``.
    """
    preprocess_photos(photos)
    for name in STUDIES:
        for variant in reversed(VARIANTS):  # the fast one first
            print(train_one(name, variant, precision=precision).tail(1).to_string())
        print_scores(score(name))
    ship("celeba_people")
    print_one_person(one_person())


def print_scores(table: pd.DataFrame) -> None:
    """Print the main columns of ``score``."""
    print(table[["threshold", "auc", "f1", "validation_accuracy"]].to_string())


def print_one_person(result: dict) -> None:
    """Print the rows of ``one_person``."""
    print(pd.DataFrame(result["methods"]).T.to_string())


def add_precision(parser: argparse.ArgumentParser) -> None:
    """Add the option ``--precision`` of trainings."""
    about = "mixed_bfloat16 is faster on processors that can multiply such numbers (AVX512-BF16, AMX, GPUs)"
    parser.add_argument("--precision", choices=["float32", "mixed_bfloat16"], default="float32", help=about)


def build_parser() -> argparse.ArgumentParser:
    """Build the parser of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True, dest="command")
    helps = {
        "all": "preprocess, train, score and ship everything; resumes where it stopped",
        "pairs": "fix the lists of pairs",
        "train": "train a twin, or resume",
        "score": "score the baselines, the FaceNets and the trained twins",
        "ship": "save the compact twin in weights/siamese",
        "one-person": "learn one person at a time (after train celeba_people compact)",
    }
    for command, text in helps.items():
        sub = commands.add_parser(command, help=text)
        if command == "all":
            sub.add_argument("photos", type=Path, help="the folder with celeba_people/ and att_faces/")
        elif command != "one-person":
            sub.add_argument("study", choices=STUDIES)
        if command == "train":
            sub.add_argument("variant", choices=[*VARIANTS])
            sub.add_argument("--epochs", type=int, help="stop after this epoch; by default see STUDIES")
        if command in ("all", "train"):
            add_precision(sub)
    own = commands.add_parser("own", help="fit the transfer twin to one person, you, with invented people as strangers")
    own.add_argument("faces", type=Path, help="a folder of aligned faces of prepare_people.py preprocess")
    own.add_argument("--to", type=Path, help="the folder to save the network in; default: checkpoints/own/<person>")
    return parser


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line."""
    args = build_parser().parse_args(argv)
    if args.command == "all":
        run_all(args.photos, args.precision)
    elif args.command == "own":
        print(fit_own(args.faces, args.to))
    elif args.command == "pairs":
        write_lists(args.study)
    elif args.command == "train":
        print(train_one(args.study, args.variant, args.epochs, args.precision).tail(3).to_string())
    elif args.command == "score":
        print_scores(score(args.study))
    elif args.command == "ship":
        ship(args.study)
    else:
        print_one_person(one_person())


if __name__ == "__main__":
    run(main)
