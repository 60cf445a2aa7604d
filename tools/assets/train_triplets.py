"""Train embeddings with triplets and compare them, on people they never saw, with baselines and pretrained networks.

    python tools/assets/train_triplets.py all DIR         # everything below; DIR: datasets/README.md
    python tools/assets/train_triplets.py pairs           # fix the lists of test pairs (committed)
    python tools/assets/train_triplets.py train random_0  # train, or resume; several runs, or all of them
    python tools/assets/train_triplets.py score           # → docs/results/triplets.json
    python tools/assets/train_triplets.py ship            # → weights/triplets/
    python tools/assets/train_triplets.py fine-tune       # → docs/results/triplets_fine_tuned.json

People are divided as in tools/assets/train_siamese.py: the network learns from the train people, the validation people
decide when to stop and where the threshold is, the test people are scored. Every photo of the test people counts: one
without a detected face makes each of its pairs a mistake.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from facerec._files import ROOT, in_project, write_json, write_table
from facerec._quiet import quietly
from facerec.encoding import faces_to_encodings
from facerec.errors import BadArgument, run
from facerec.evaluation import (
    accuracy,
    area_under_roc,
    best_threshold,
    bootstrap_accuracy,
    bootstrap_gain,
    confusion,
    true_accepts_at,
)
from facerec.learning.baselines import BASELINE_SIDE, fit_gradients, fit_whitened_pca, pixel_baseline
from facerec.learning.checkpoints import digest_of, read_config
from facerec.learning.datasets import split_within_identity
from facerec.learning.pairs import PairFaces, PersonFaces, make_pairs, open_faces
from facerec.learning.prepare import read_report
from facerec.learning.triplet_training import TripletPlan, fine_tune, train_triplets
from facerec.networks import load_facenet, save_network
from tools.assets.train_siamese import (
    FACENETS,
    LISTS,
    RESULTS,
    STUDIES,
    add_precision,
    preprocess_photos,
    read_list,
    scored_before,
    split,
    train_people,
)

with quietly():
    import keras

#: The folder of the network that the course uses, and the run that made it.
SHIPPED, SHIPPED_RUN = "weights/triplets", "long_all"


class Run(NamedTuple):
    """One training.

    Attributes:
        plan: How to learn.
        study: The study whose train people are learned from.
        people: The number of these people; None for all. An epoch is as long as with all of them.
        more: Whether to learn from the study's further people, too.
        steps: The number of steps in all, for runs that are compared on different numbers of faces; None for the
            plan's epochs.
        start: Another run, or the folder of a network, to start from; None for random weights.
        compares: What the run is compared in, if it is one of a comparison. Then the network of the last epoch is
            scored, not the best, so that all of them learn for the same number of steps.
    """

    plan: TripletPlan
    study: str = "celeba_people"
    people: int | None = None
    more: bool = False
    steps: int | None = None
    start: str | None = None
    compares: str | None = None


EPOCHS, SEEDS = 10, (0, 1, 2)

#: A usual rate of each optimizer: plain gradients need larger steps.
RATES = {"rmsprop": 1e-4, "adam": 1e-4, "sgd": 1e-2, "adagrad": 1e-2}

SHORT = TripletPlan(epochs=EPOCHS, patience=10_000)

SECOND = TripletPlan(epochs=12, rate=5e-5, mining="semi-hard", patience=10_000)

RUNS: dict[str, Run] = {
    f"{mining.replace('-', '_')}_{seed}": Run(replace(SHORT, mining=mining, seed=seed), compares="mining")
    for mining in ("random", "semi-hard")
    for seed in SEEDS
}

RUNS |= {f"people_{count}": Run(SHORT, people=count, steps=760, compares="number of people") for count in (20, 50)}

RUNS |= {
    optimizer: Run(replace(SHORT, optimizer=optimizer, rate=RATES[optimizer]), compares="optimizer")
    for optimizer in RATES
    if optimizer != "rmsprop"
}

LEVER = TripletPlan(side=64, batch=128, mining="semi-hard", optimizer="adamw", rate=1e-3, patience=10_000)

HARSH = replace(LEVER, harsh=0.5)

#: What helps, a lever at a time: each run differs from an earlier one in one thing.
LEVERS = {
    "few_people": (LEVER, False),
    "many_people": (LEVER, True),
    "harsh": (HARSH, True),
    "residual": (replace(HARSH, network="residual"), True),
    "inception": (replace(HARSH, network="inception"), True),
    "names": (replace(HARSH, mining="names"), True),
}

RUNS |= {f"lever_{name}": Run(plan, more=more, steps=1200, compares="lever") for name, (plan, more) in LEVERS.items()}

#: Mining again with all people, in batches of 32 people × 4 faces.
RUNS |= {
    f"many_{mining.replace('-', '_')}_{seed}": Run(
        replace(LEVER, mining=mining, seed=seed), more=True, steps=600, compares="mining, many people"
    )
    for seed in SEEDS
    for mining in ("random", "semi-hard", "all")
}

LONG = replace(HARSH, mining="all", epochs=120)

RUNS |= {
    "long": Run(replace(HARSH, epochs=120), more=True),
    "long_all": Run(LONG, more=True),
    "long_500": Run(replace(LONG, patience=25), more=True, people=500),
    "long_50": Run(replace(LONG, patience=25), more=True, people=50),
    "phase_one": Run(TripletPlan(epochs=40, rate=3e-4)),
    "phase_two": Run(SECOND, start="phase_one"),
    "phase_two_random": Run(replace(SECOND, mining="random"), start="phase_one"),  # as long, for a fair comparison
    "invented_one": Run(TripletPlan(epochs=20, rate=3e-4), "people"),
    "invented_two": Run(SECOND, "people", start="invented_one"),
    "fine_tuned": Run(
        TripletPlan(side=96, mining="semi-hard", epochs=8, rate=1e-4, frozen=0.8), start="keras-facenet-h5"
    ),
}


def folder_of(name: str) -> Path:
    """The folder of a training."""
    return ROOT / "checkpoints" / "triplets" / name


def trained(name: str) -> keras.Model:
    """The network of a run: of its best epoch or, in a comparison, of its last."""
    last = sorted(folder_of(name).glob("epoch_*.keras"))[-1:] if RUNS[name].compares else []
    file = last[0] if last else folder_of(name) / "best.keras"
    if not file.is_file():
        raise BadArgument(f"{file} is missing: make it with `python tools/assets/train_triplets.py train {name}`")
    return keras.models.load_model(file, compile=False)


def train_one(name: str, precision: str = "float32") -> pd.DataFrame:
    """Train a run, or resume; its history goes to docs/results/triplets_history.csv."""
    chosen = RUNS[name]
    people, plan = people_of(chosen), replace(chosen.plan, precision=precision)
    if chosen.steps:
        plan = replace(plan, epochs=round(chosen.steps / (len(people) // plan.batch)))
    epoch = len(people_of(chosen._replace(people=None))) if chosen.people and not chosen.steps else None
    learned = PersonFaces(people, plan.side, progress=True, epoch=epoch)
    validation = PairFaces(read_list(chosen.study, "validation"), plan.side)
    start = None
    if chosen.start:
        start = trained(chosen.start) if chosen.start in RUNS else load_facenet(chosen.start)
    every = plan.epochs if chosen.compares else 10
    _, history = train_triplets(learned, validation, plan, folder_of(name), start, every=every)
    note_history(name, history)
    return history


def people_of(chosen: Run) -> pd.DataFrame:
    """The people that a run learns from, as a table of ``find_people``."""
    study = STUDIES[chosen.study]
    people = train_people(study) if chosen.more else split(study)[0]
    return people[people.identity.isin(people.identity.unique()[: chosen.people])].reset_index(drop=True)


def how_it_was_trained(name: str) -> dict:
    """The plan of a run, from its checkpoint, and its people, epochs, seconds and parameters."""
    history, plan = pd.read_csv(folder_of(name) / "history.csv"), read_config(folder_of(name)) or {}
    best = len(history) if RUNS[name].compares else int(history.epoch[history.validation_error.argmin()])
    return {
        "plan": {key: plan.get(key) for key in asdict(RUNS[name].plan)},
        "people": int(people_of(RUNS[name]).identity.nunique()),
        "start": RUNS[name].start,
        "epochs": len(history),
        "scored_epoch": best,
        "seconds": round(float(history.seconds.sum())),
        "parameters": trained(name).count_params(),
    }


def note_history(name: str, history: pd.DataFrame) -> None:
    """Replace the rows of a run in the table of all histories."""
    file = RESULTS / "triplets_history.csv"
    before = pd.read_csv(file) if file.is_file() else pd.DataFrame()
    others = before[before.run != name] if len(before) else before
    table = pd.concat([others, history.assign(run=name)])
    order = {run: number for number, run in enumerate(RUNS)}
    table = table.sort_values(
        ["run", "epoch"], key=lambda column: column.map(order) if column.name == "run" else column
    )
    write_table(file, table[["run", *history.columns]])


#: The lists of pairs of test photos, and their lengths; "protocol" has 190 same and 190 different pairs, as published.
LISTS_OF_PHOTOS = {"pairs": 2000, "protocol": 380}


def test_photos() -> pd.DataFrame:
    """Every photo of the test people: ``identity``, ``picture``, and ``face``, empty where no face was found."""
    report = read_report(in_project(STUDIES["celeba_people"].source) / "report.csv")
    test_people = split(STUDIES["celeba_people"])[2].identity.unique()
    return report[report.identity.isin(test_people)].reset_index(drop=True)


def write_lists() -> None:
    """Fix the pairs of test photos in docs/results/pairs/."""
    photos = test_photos()
    forty = photos[photos.identity.isin(photos.identity.unique()[:40])].groupby("identity").head(5)
    for number, (label, count) in enumerate(LISTS_OF_PHOTOS.items()):
        table = (photos if label == "pairs" else forty).reset_index(drop=True)
        pairs = make_pairs(table, count, seed=10 + number)
        write_table(LISTS / f"celeba_photos_{label}.csv", pairs[["picture_1", "picture_2"]])
    missing = (photos.face == "").sum()
    print(f"{photos.identity.nunique()} people, {len(photos)} photos, {missing} of them without a detected face")


class PhotoSet:
    """The test photos and their pairs; a network encodes each photo once.

    Args:
        photos: The table of ``test_photos``.
    """

    def __init__(self, photos: pd.DataFrame):
        self.photos = photos
        self.found = np.flatnonzero(photos.face != "")
        base = in_project(STUDIES["celeba_people"].source)
        self.files = [str(base / face) for face in photos.face[self.found]]
        self.row = {picture: number for number, picture in enumerate(photos.picture)}

    def encode(self, model: keras.Model) -> np.ndarray:
        """Encodings (n, D), NaN where no face was found."""
        encodings = np.full((len(self.photos), model.output_shape[-1]), np.nan, np.float32)
        encodings[self.found] = faces_to_encodings(open_faces(self.files, model.input_shape[1]), model)
        return encodings

    def pairs(self, label: str) -> tuple[np.ndarray, np.ndarray]:
        """A fixed list of pairs as rows of the photos (n, 2), and whether each pair shows one person."""
        file = LISTS / f"celeba_photos_{label}.csv"
        rows = pd.read_csv(file)[["picture_1", "picture_2"]].map(self.row.__getitem__).to_numpy()
        who = self.photos.identity.to_numpy()[rows]
        return rows, who[:, 0] == who[:, 1]

    def all_pairs(self) -> tuple[np.ndarray, np.ndarray]:
        """All pairs of all photos, in the form of ``pairs``."""
        rows = np.stack(np.triu_indices(len(self.photos), 1), axis=1)
        who = self.photos.identity.to_numpy()[rows]
        return rows, who[:, 0] == who[:, 1]


def between(encodings: np.ndarray, rows: np.ndarray, batch: int = 50_000) -> np.ndarray:
    """Euclidean distances between the encodings of pairs, (n,); NaN where an encoding is missing."""
    parts = (rows[i : i + batch] for i in range(0, len(rows), batch))
    return np.concatenate([np.linalg.norm(encodings[a] - encodings[b], axis=1) for a, b in (part.T for part in parts)])


def networks() -> Iterator[tuple[str, keras.Model, str]]:
    """Every method: its name, its network, and the study whose validation people decide its threshold."""
    yield "pixels", pixel_baseline(), "celeba_people"
    faces = open_faces(list(split(STUDIES["celeba_people"])[0].picture), BASELINE_SIDE)
    yield "whitened PCA", fit_whitened_pca(faces), "celeba_people"
    people = train_people(STUDIES["celeba_people"])
    faces = open_faces(list(people.picture), BASELINE_SIDE)
    yield "gradients", fit_gradients(faces, pd.factorize(people.identity)[0]), "celeba_people"
    for folder, label in FACENETS.items():
        yield label, load_facenet(folder), "celeba_people"
    for name, chosen in RUNS.items():
        if (folder_of(name) / "checkpoint.npz").is_file():
            yield name, trained(name), chosen.study


#: The methods whose gain, before → after, is computed on the same pairs.
GAINS = (
    ("whitened PCA", "long_all"),
    ("gradients", "long_all"),
    ("phase_one", "long_all"),
    ("long", "long_all"),
    ("long_50", "long_500"),
    ("long_500", "long_all"),
    ("long_50", "long_all"),
    ("lever_harsh", "lever_residual"),
    ("lever_harsh", "lever_inception"),
    ("phase_two_random", "phase_two"),
    ("FaceNet, Inception", "fine_tuned"),
)


def score() -> pd.DataFrame:
    """Score every method on CelebA's test photos and across data sets; → docs/results/.

    The scores of a run whose checkpoints are not here stay as they were.

    Returns:
        A row per method.
    """
    photos = PhotoSet(test_photos())
    lists = {study: {part: read_list(study, part) for part in ("validation", "test")} for study in STUDIES}
    (listed, same), rows, scored = photos.pairs("pairs"), {}, pd.read_csv(LISTS / "celeba_photos_pairs.csv")
    apart, people = {}, photos.photos.identity.to_numpy()[listed]
    for name, model, study in networks():
        encodings = photos.encode(model)
        validation = lists[study]["validation"]
        on_validation = PairFaces(validation, model.input_shape[1]).distances(model)
        threshold = best_threshold(on_validation, validation.same)
        rows[name] = score_one(photos, encodings, threshold)
        rows[name]["validation_accuracy"] = accuracy(on_validation, validation.same, threshold)
        rows[name]["across"] = {other: across(model, parts["test"], threshold) for other, parts in lists.items()}
        rows[name]["weights"] = digest_of(model)
        if name in RUNS:
            rows[name]["trained"] = how_it_was_trained(name)
        apart[name] = between(encodings, listed)
        print(f"{name}: {rows[name]['accuracy']['value']:.1%}", file=sys.stderr)
    for name, (row, distances) in scored_before("triplets", RUNS).items():
        rows.setdefault(name, row)
        apart.setdefault(name, distances)
    gains = {}
    for before, after in GAINS:
        if {before, after} <= set(rows):
            thresholds = rows[before]["threshold"], rows[after]["threshold"]
            gain = bootstrap_gain(apart[before], apart[after], same, people, thresholds, missing="mistakes")
            gains[f"{before} → {after}"] = asdict(gain)
    result = {
        "people": int(photos.photos.identity.nunique()),
        "photos": len(photos.photos),
        "without_a_face": int((photos.photos.face == "").sum()),
        "all_pairs": len(photos.all_pairs()[0]),
        "methods": rows,
        "gains": gains,
    }
    write_json(RESULTS / "triplets.json", result)
    columns = {name: np.round(distances, 5) for name, distances in apart.items()}
    write_table(RESULTS / "triplets_pairs.csv", scored.assign(same=same.astype(int), **columns))
    return pd.DataFrame(rows).T


def score_one(photos: PhotoSet, encodings: np.ndarray, threshold: float) -> dict:
    """The scores of one network on the test photos; one without a face makes each of its pairs a mistake."""
    result, count = {"threshold": threshold}, {"missing": "mistakes"}
    for label, key in (("pairs", "accuracy"), ("protocol", "protocol")):
        rows, same = photos.pairs(label)
        people = photos.photos.identity.to_numpy()[rows]
        distances = between(encodings, rows)
        result[key] = asdict(bootstrap_accuracy(distances, same, people, threshold, **count))
        if label == "pairs":
            result["confusion"] = confusion(distances, same, threshold, **count).to_dict()
    rows, same = photos.all_pairs()
    distances = between(encodings, rows)
    result["auc"] = area_under_roc(distances, same, **count)
    result["true_accepts"] = {str(far): true_accepts_at(distances, same, far, **count) for far in (0.1, 0.01, 0.001)}
    return result


def across(model: keras.Model, pairs: pd.DataFrame, threshold: float) -> dict:
    """Accuracy and ROC area of a network on the test pairs of a study, at the threshold of its own study."""
    distances = PairFaces(pairs, model.input_shape[1]).distances(model)
    people = pairs[["identity_1", "identity_2"]].to_numpy()
    right = bootstrap_accuracy(distances, pairs.same, people, threshold)
    return {"accuracy": asdict(right), "auc": area_under_roc(distances, pairs.same)}


#: The number of test people to fine-tune on, the pictures of each to learn from and to score, and the scored pairs.
PEOPLE, PICTURES, PAIRS = 20, (10, 8), 1000


def fine_tuned() -> dict:
    """Fine-tune each network on ten pictures each of twenty people; verify other pictures of them before and after.

    The row of a run whose checkpoints are not here stays as it was.
    """
    test = split(STUDIES["celeba_people"])[2]
    counts = test.identity.value_counts(sort=False)
    names = counts.index[counts >= sum(PICTURES)][:PEOPLE]
    few = test[test.identity.isin(names)].groupby("identity", sort=False).head(sum(PICTURES))
    learned, later = split_within_identity(few, PICTURES)
    pairs, validation = make_pairs(later, PAIRS, seed=0), read_list("celeba_people", "validation")
    file = RESULTS / "triplets_fine_tuned.json"
    rows = json.loads(file.read_text(encoding="utf-8"))["networks"] if file.is_file() else {}
    rows = {label: row for label, row in rows.items() if label in {*FACENETS.values(), SHIPPED_RUN}}
    networks = {label: load_facenet(folder) for folder, label in FACENETS.items()}
    if (folder_of(SHIPPED_RUN) / "checkpoint.npz").is_file() or SHIPPED_RUN not in rows:
        networks[SHIPPED_RUN] = trained(SHIPPED_RUN)
    for label, model in networks.items():
        side = model.input_shape[1]
        checked = PairFaces(validation, side)
        folder = folder_of("fine_tuned") / label.replace(", ", "_").replace(" ", "_")
        tuned, history = fine_tune(model, PersonFaces(learned, side), checked, folder)
        rows[label] = {"epochs": len(history), "steps": len(history) * (len(learned) // 32)}
        shown, thresholds, apart = PairFaces(pairs, side), [], []
        for when, network in (("before", model), ("after", tuned)):
            thresholds.append(best_threshold(checked.distances(network), checked.same))
            apart.append(shown.distances(network))
            rows[label][when] = {"threshold": thresholds[-1], **across(network, pairs, thresholds[-1])}
        people = pairs[["identity_1", "identity_2"]].to_numpy()
        rows[label]["gain"] = asdict(bootstrap_gain(*apart, pairs.same, people, tuple(thresholds)))
    result = {"people": len(names), "pictures": list(PICTURES), "pairs": len(pairs), "networks": rows}
    write_json(file, result)
    return result


def ship() -> None:
    """Save the run that is shipped in weights/triplets/, with its threshold for the validation people."""
    model, validation = trained(SHIPPED_RUN), read_list("celeba_people", "validation")
    distances = PairFaces(validation, model.input_shape[1]).distances(model)
    threshold = round(best_threshold(distances, validation.same), 4)
    calibration = {"threshold": "the highest accuracy on the validation pairs", "run": SHIPPED_RUN}
    notes = {"name": "FaceNet trained with triplets", "threshold": threshold, "calibration": calibration}
    save_network(model, ROOT / SHIPPED, **notes)
    print(f"{SHIPPED_RUN} is in {SHIPPED}")


def run_all(photos: Path, precision: str = "float32") -> None:
    """Preprocess, do every run, score, ship and fine-tune; resumes where it stopped.

    Args:
        photos: A folder with ``celeba_people`` and ``att_faces``, a folder per person in each.
        precision: Of the trainings, ``float32`` or ``mixed_bfloat16``.
    """
    preprocess_photos(photos)
    train_runs(RUNS, precision)
    print_scores(score())
    ship()
    print_fine_tuned(fine_tuned())


def train_runs(names: Iterable[str], precision: str) -> None:
    """Train runs, or resume them, and print the last epochs of each."""
    for name in names:
        print(train_one(name, precision).tail(2).to_string())


def print_scores(table: pd.DataFrame) -> None:
    """Print the main columns of ``score``."""
    print(table[["threshold", "auc", "validation_accuracy"]].to_string())


def print_fine_tuned(result: dict) -> None:
    """Print the rows of ``fine_tuned``."""
    print(pd.DataFrame(result["networks"]).T.to_string())


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True, dest="command")
    everything = commands.add_parser("all", help="preprocess, train, score, ship, fine-tune; resumes where it stopped")
    everything.add_argument("photos", type=Path, help="the folder with celeba_people/ and att_faces/")
    commands.add_parser("pairs", help="fix the lists of test pairs")
    training = commands.add_parser("train", help="train runs, or resume them")
    training.add_argument("runs", nargs="+", choices=[*RUNS, "all"], metavar="RUN", help=f"all, or: {', '.join(RUNS)}")
    for command in (everything, training):
        add_precision(command)
    commands.add_parser("score", help="score every run, the baselines and the pretrained networks on test people")
    commands.add_parser("ship", help="save the long run's network in weights/triplets")
    commands.add_parser("fine-tune", help="fine-tune on ten pictures each of twenty people; measure before and after")
    args = parser.parse_args(argv)
    if args.command == "all":
        run_all(args.photos, args.precision)
    elif args.command == "train":
        train_runs(RUNS if "all" in args.runs else args.runs, args.precision)
    elif args.command == "score":
        print_scores(score())
    elif args.command == "fine-tune":
        print_fine_tuned(fine_tuned())
    else:
        {"pairs": write_lists, "ship": ship}[args.command]()


if __name__ == "__main__":
    run(main)
