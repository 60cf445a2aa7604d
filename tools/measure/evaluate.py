"""The results on real people that the fourth notebook quotes: strangers, probabilities, damage, groups.

    python tools/measure/evaluate.py lfw DIR [--network FOLDER]    # → docs/results/evaluation_*.json
    python tools/measure/evaluate.py damage DIR                    # → docs/results/damage.csv
    make evaluate DIR=…                                            # both
    python tools/measure/evaluate.py groups DIR                    # or: make groups DIR=…, see tools/measure/groups.py

For ``lfw`` and ``damage``, DIR is the folder of ``tools/measure/lfw.py``. Thresholds and probabilities are those that
the network carries, learned from the people of ``pairsDevTrain``; the people of ``pairsDevTest`` are scored. If DIR
also holds ``pairs.txt`` (LFW's view 2) with its pictures, the published ten-fold protocol runs on them. Only the search
among up to 2,000 people needs the people of both lists.
"""

from __future__ import annotations

import argparse
import json
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.metrics import log_loss
from tqdm import tqdm

from facerec._files import ROOT, write_json, write_table
from facerec.damage import DAMAGES, damaged
from facerec.encoding import faces_to_encodings, photos_to_encodings, unit_length
from facerec.errors import BadArgument, run
from facerec.evaluation import (
    bootstrap_accuracy,
    bootstrap_auc,
    bootstrap_calibration_error,
    calibration_error_by_chance,
    cmc,
    dir_curve,
    error_rates,
    fit_probability,
    identification,
    lfw_protocol,
    open_set,
    reliability,
    verification_table,
)
from facerec.evaluation.lfw import Pairs, distances_of, find_pictures, person_of, read_pairs
from facerec.networks import DEFAULT_NETWORK, info_of, load_facenet
from facerec.photos import load_image
from tools.measure import lfw
from tools.measure.groups import evaluate_groups

FPIR = 0.01

GALLERIES = (10, 30, 100, 300, 1000, 2000)

#: People with a single picture who are never in a gallery.
STRANGERS = 1095

#: Results on fewer people are not written to docs/results/, which the pages quote.
FEWEST_PICTURES = 1000


def looks(faces: np.ndarray, model) -> dict[str, np.ndarray]:
    """Encodings (m, D) of the faces alone, and of the mean of each face and its mirror image."""
    if "trunk" in {layer.name for layer in model.layers}:  # the residual network looks twice by itself
        one = faces_to_encodings(faces, model.get_layer("trunk"))
        bias = np.asarray(model.get_layer("centred").bias)
        both = faces_to_encodings(faces, model)
        return {"one look": unit_length(unit_length(one) + bias), "with the mirror image": both}
    one, other = faces_to_encodings(faces, model), faces_to_encodings(faces[:, :, ::-1], model)
    return {"one look": one, "with the mirror image": unit_length(one + other)}


def encode_both_ways(pictures: Mapping[str, Path], model) -> dict[str, dict[str, np.ndarray]]:
    """Picture → encoding, for one look and with the mirror image; NaN where there is no face."""
    keypoints, info = lfw.find_faces(pictures), info_of(model)
    usable = [name for name in pictures if keypoints[name]]
    nothing = np.full(model.output_shape[-1], np.nan, np.float32)
    found = {way: dict.fromkeys(pictures, nothing) for way in ("one look", "with the mirror image")}
    for start in tqdm(range(0, len(usable), 64), desc="encoding", unit="batch"):
        names = usable[start : start + 64]
        faces = np.stack([lfw.aligned(pictures[name], keypoints[name], info) for name in names])
        for way, encodings in looks(faces, model).items():
            found[way] |= dict(zip(names, encodings, strict=True))
    return found


def all_pairs(encodings: Mapping[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of every two pictures: the distance (n,), whether they show one person (n,), and the two people (n, 2)."""
    names = sorted(encodings)
    x = np.stack([encodings[name] for name in names])
    people = np.unique([person_of(name) for name in names], return_inverse=True)[1]
    i, j = np.triu_indices(len(names), 1)
    distances = np.sqrt(np.maximum(2 - 2 * (x @ x.T)[i, j], 0))
    return distances, people[i] == people[j], np.stack([people[i], people[j]], axis=1)


def protocol(ways: Mapping[str, dict], pairs: Pairs, folds: np.ndarray) -> dict[str, dict]:
    """The ten-fold protocol, with one look and with the mirror image; pairs without a face are mistakes."""
    found = {
        way: lfw_protocol(distances_of(pairs, encodings), pairs.same, folds, missing="mistakes")
        for way, encodings in ways.items()
    }
    return {
        way: {"accuracy": one.accuracy, "standard_error": one.standard_error, "pairs": int((folds >= 0).sum())}
        for way, one in found.items()
    }


def ten_sets(pairs: Pairs, seed: int = 0) -> tuple[Pairs, np.ndarray]:
    """Ten sets without common people, like those of view 2: the listed same pairs, and as many new different pairs.

    Most listed different pairs show people of two sets, so no set could be held out with them.

    Returns:
        The pairs, and the set (n,) of each.

    Raises:
        BadArgument: If the pictures of a set make fewer different pairs than same ones are listed.
    """
    names, index = np.unique(pairs.people, return_inverse=True)
    rng = np.random.default_rng(seed)
    set_of = rng.permutation(len(names)) % 10
    set_of_pair = set_of[index.reshape(-1, 2)[:, 0]]
    files, folds = [], []
    for number in range(10):
        same = pairs.files[pairs.same & (set_of_pair == number)]
        pictures = sorted(
            {str(f) for f in pairs.files.flat if set_of[np.searchsorted(names, person_of(str(f)))] == number}
        )
        if _different_pairs(pictures) < len(same):
            raise BadArgument(f"set {number} has {len(same)} same pairs, but too few people for as many different ones")
        drawn: set[tuple[str, str]] = set()
        while len(drawn) < len(same):
            a, b = sorted(rng.choice(pictures, 2, replace=False).tolist())
            if person_of(a) != person_of(b):
                drawn.add((a, b))
        files += [*same.tolist(), *sorted(drawn)]
        folds += 2 * len(same) * [number]
    people = np.array([[person_of(a), person_of(b)] for a, b in files])
    return Pairs(np.array(files), people, people[:, 0] == people[:, 1]), np.array(folds)


def _different_pairs(pictures: Sequence[str]) -> int:
    """The number of pairs of pictures that show two people."""
    return math.comb(len(pictures), 2) - sum(math.comb(n, 2) for n in Counter(map(person_of, pictures)).values())


def published_folds(path: Path) -> np.ndarray:
    """The set of each pair of LFW's view 2, (n,); the first line gives the number of sets and of pairs of each kind.

    Raises:
        BadArgument: If the first line is missing or the pairs do not add up.
    """
    first, *lines = path.read_text(encoding="utf-8").splitlines() or [""]
    try:
        sets, each = (int(n) for n in first.split("\t"))
    except ValueError as error:
        raise BadArgument(f"{path.name} starts with {first!r}; expected the numbers of sets and pairs") from error
    pairs = sum(bool(line.strip()) for line in lines)
    if pairs != sets * 2 * each:
        raise BadArgument(f"{path.name} announces {sets} sets of 2 × {each} pairs, but lists {pairs} pairs")
    return np.repeat(np.arange(sets), 2 * each)


#: DeepFace's constants for this network's raw encodings ("Dlib", Euclidean distance): a line, and two ranges.
DEEPFACE = {"threshold": 0.6, "w": -7.494007964438609, "b": 3.9696154227506937}

DEEPFACE_TRUE, DEEPFACE_FALSE = (37.63548146988899, 89.6022157357575), (5.474065355413035, 36.791885490113046)


def deepface_confidence(distances: np.ndarray) -> np.ndarray:
    """DeepFace's confidence in 0..1: a logistic curve, stretched to 51..100 % (same) or 0..49 % (different).

    Source: DeepFace's ``verification.find_confidence`` with its constants for the model ``Dlib``, as of 2025.
    """
    curve = 100 / (1 + np.exp(-(DEEPFACE["w"] * distances + DEEPFACE["b"])))
    same = distances <= DEEPFACE["threshold"]
    low, high = (np.where(same, a, b) for a, b in zip(DEEPFACE_TRUE, DEEPFACE_FALSE, strict=True))
    lowest, highest = np.where(same, max(51, DEEPFACE_TRUE[0]), 0), np.where(same, 100, min(49, DEEPFACE_FALSE[1]))
    spread = lowest + (curve - low) / (high - low) * (highest - lowest)
    return np.where(same, spread.clip(51, 100), spread.clip(0, 49)) / 100


def confidences(test: Pairs, train: Pairs, encodings: Mapping, model, raw: Mapping | None) -> tuple[dict, pd.DataFrame]:
    """The errors of each kind of confidence, and its reliability table; pairs without a distance are left out.

    With raw encodings there are three kinds: the probability that the network carries; DeepFace's formula on the raw
    distances; and a line learned from the raw distances of the training pairs, to tell the formula from its constants.
    """
    distances = distances_of(test, encodings)
    usable = np.isfinite(distances)
    same, people = test.same[usable], test.people[usable]
    said = {"ours": info_of(model).probability(distances[usable])}
    if raw is not None:
        d = distances_of(test, raw)[usable]
        said["DeepFace's way"] = deepface_confidence(d)
        said["a line on the same distances"] = fit_probability(distances_of(train, raw), train.same)(d)
    off, tables = {}, []
    for name, probability in said.items():
        off[name] = {
            "expected_calibration_error": asdict(bootstrap_calibration_error(probability, same, people)),
            "by_chance": asdict(calibration_error_by_chance(probability)),
            "brier": float(np.mean((probability - same) ** 2)),
            "log_loss": float(log_loss(same, probability)),
        }
        tables.append(reliability(probability, same).assign(method=name))
    return off, pd.concat(tables)


def raw_encodings(pictures: Mapping[str, Path], model) -> dict[str, np.ndarray]:
    """Picture → the trunk's raw encoding, which the weights' author and DeepFace use; NaN where there is no face."""
    keypoints, info, trunk = lfw.find_faces(pictures), info_of(model), model.get_layer("trunk")
    usable = [name for name in pictures if keypoints[name]]
    faces = np.stack([lfw.aligned(pictures[name], keypoints[name], info) for name in usable])
    nothing = np.full(trunk.output_shape[-1], np.nan, np.float32)
    return dict.fromkeys(pictures, nothing) | dict(zip(usable, faces_to_encodings(faces, trunk), strict=True))


def galleries(encodings: Mapping[str, np.ndarray], size: int, seed: int = 0) -> Iterator[tuple[list, list, list]]:
    """Galleries of ``size`` people, the probes of known people, and those of strangers.

    Each person with two or more pictures is known in one gallery: the first picture is in the gallery, the others are
    probes. People with a single picture fill the gallery up; STRANGERS others with a single picture are never in one.
    """
    by_person: dict[str, list[str]] = {}
    for name in sorted(encodings):
        if np.isfinite(encodings[name]).all():
            by_person.setdefault(person_of(name), []).append(name)
    rng = np.random.default_rng(seed)
    several = rng.permutation([person for person, names in by_person.items() if len(names) > 1])
    single = rng.permutation([person for person, names in by_person.items() if len(names) == 1])
    strangers, fill = [by_person[p][0] for p in single[:STRANGERS]], single[STRANGERS:]
    for start in range(0, len(several), size):
        known = several[start : start + size]
        missing = size - len(known)
        if missing > len(fill):  # the last one may be too small to fill
            return
        gallery = [by_person[p][0] for p in (*known, *fill[:missing])]
        yield gallery, [name for p in known for name in by_person[p][1:]], strangers


def look_up(gallery: np.ndarray, probes: np.ndarray, known: np.ndarray, shown: np.ndarray) -> pd.DataFrame:
    """The ``identification`` of probes (p, D), which show people (p,), in a gallery (g, D) of people (g,)."""
    return identification(np.sqrt(np.maximum(2 - 2 * probes @ gallery.T, 0)), known, shown)


def search(encodings: Mapping[str, np.ndarray], size: int) -> pd.DataFrame:
    """The ``identification`` of every known person and every stranger in galleries of one size."""
    tables = []
    for gallery, known, strangers in galleries(encodings, size):
        both = (gallery, [*known, *strangers])
        encoded = (np.stack([encodings[name] for name in names]) for names in both)
        people = (np.array([*map(person_of, names)]) for names in both)
        tables.append(look_up(*encoded, *people))
    return pd.concat(tables, ignore_index=True)


def priors(size: int) -> dict[str, float]:
    """The priors tried: even odds, and what ``identify`` assumes among so many people."""
    return {"at_even_odds": 0.5, "as_identify": 1 / (size + 1)}


def sure_answers(table: pd.DataFrame, info, prior: float) -> dict[str, float]:
    """The share of right answers among those with a confidence of 90 % or more, and their share of all answers.

    Known people and strangers have equal weight, however many there are of each.
    """
    sure = info.probability(table.distance, prior) >= 0.9
    right = table.is_known & (table["rank"] == 1).fillna(False)
    weight = np.where(table.is_known, 0.5 / table.is_known.sum(), 0.5 / (~table.is_known).sum())
    share = float(weight[sure].sum())
    return {"right": float(weight[sure & right].sum() / share) if share else None, "of_all": share}


def strangers_at_the_door(encodings: Mapping, info) -> tuple[pd.DataFrame, pd.DataFrame]:
    """A row per size of the gallery, and the ``dir_curve`` of the largest."""
    rows = []
    for size in tqdm(GALLERIES, desc="galleries", unit="size"):
        table = search(encodings, size)
        strangers = table[~table.is_known].identity.nunique()
        at_fpir, shipped = (open_set(table, FPIR, at, samples=200) for at in (None, info.threshold))
        rows.append(
            {
                "gallery": size,
                "galleries": int((~table.is_known).sum() / strangers),
                "known_probes": at_fpir.known,
                "strangers": strangers,
                "rank_1": float(cmc(table, 1).share.iloc[0]),
                "rank_10": float(cmc(table, min(10, size)).share.iloc[-1]),
                f"named_at_fpir_{FPIR:g}": at_fpir.detected.value,
                "low": at_fpir.detected.low,
                "high": at_fpir.detected.high,
                "threshold": at_fpir.threshold,
                f"named_at_{info.threshold:g}": shipped.detected.value,
                f"strangers_named_at_{info.threshold:g}": shipped.false_alarms.value,
                **{f"sure_{name}": sure_answers(table, info, prior) for name, prior in priors(size).items()},
            }
        )
    curve = dir_curve(table)
    shares = np.concatenate([np.arange(0, 0.1, 0.001), np.arange(0.1, 1.001, 0.01)])
    rows_of_curve = np.searchsorted(curve.fpir.to_numpy(), shares, side="right") - 1
    return pd.DataFrame(rows), curve.iloc[np.unique(rows_of_curve.clip(0))]


def evaluate_lfw(folder: Path, network: str, to: Path) -> dict:
    """All results on LFW's development people, also written to ``to``.

    Raises:
        BadArgument: If the network carries no probability.
    """
    train, test = (read_pairs(folder / f"pairsDev{part}.txt") for part in ("Train", "Test"))
    pictures = find_pictures(folder, {str(file) for pairs in (train, test) for file in pairs.files.flat})
    model = load_facenet(network)
    if info_of(model).probability is None:
        raise BadArgument(f"{network} carries no probability; python tools/assets/calibrate.py learns one")
    trunk = "trunk" in {layer.name for layer in model.layers}
    ways, shipped = encode_both_ways(pictures, model), "with the mirror image" if trunk else "one look"
    encodings, tested = ways[shipped], {str(file) for file in test.files.flat}
    raw = raw_encodings(pictures, model) if trunk else None
    off, bins = confidences(test, train, encodings, model, raw)
    listed, count = (distances_of(test, encodings), test.same, test.people), {"missing": "mistakes"}
    every = all_pairs({name: encodings[name] for name in tested})
    sizes, curve = strangers_at_the_door(encodings, info_of(model))
    name = Path(network).name
    result = {
        "command": f"make evaluate DIR=…{'' if network == DEFAULT_NETWORK else f' NETWORK={network}'}",
        "network": network,
        "people": len(np.unique(test.people)),
        "accuracy_at_0.7": asdict(bootstrap_accuracy(*listed, info_of(model).threshold, **count)),
        "auc": asdict(bootstrap_auc(*listed, **count)),
        "protocol": protocol(ways, *ten_sets(test)),
        "true_accepts_of_the_list": _withheld(verification_table(*listed, **count)),
        "true_accepts_of_all_pairs": _withheld(
            verification_table(*every, (1e-2, 1e-3, 1e-4, 1e-6), samples=200, **count)
        ),
        "different_pairs": int((~every[1]).sum()),
        "calibration": off,
        "open_set": sizes.to_dict("records"),
    }
    view_2 = folder / "pairs.txt"
    if view_2.is_file():
        pairs = read_pairs(view_2)
        of_view_2 = encode_both_ways(find_pictures(folder, {str(file) for file in pairs.files.flat}), model)
        result["view_2"] = protocol(of_view_2, pairs, published_folds(view_2))
    write_json(to / f"evaluation_{name}.json", result)
    write_table(to / f"evaluation_{name}_reliability.csv", bins.round(5))
    write_table(to / f"evaluation_{name}_open_set.csv", curve.round(5))
    return result


def _withheld(table: pd.DataFrame) -> list[dict]:
    """The rows of a table, with None where numbers are withheld: JSON has no NaN."""
    return table.astype(object).where(table.notna(), None).to_dict("records")


def evaluate_damage(folder: Path, network: str, to: Path, pairs: int = 500) -> pd.DataFrame:
    """Error rates on pairs of ``pairsDevTest`` whose second photo is damaged, in every way and degree.

    Returns:
        A row per damage and level: the accuracy at the network's threshold with its interval over people, false rejects
        and false accepts, and the number of damaged photos in which no face is found (their pairs are mistakes).
    """
    listed = read_pairs(folder / "pairsDevTest.txt")
    chosen = np.linspace(0, len(listed.same) - 1, pairs).round().astype(int)
    test = Pairs(listed.files[chosen], listed.people[chosen], listed.same[chosen])
    pictures, model = find_pictures(folder, {str(file) for file in test.files.flat}), load_facenet(network)
    keypoints, info = lfw.find_faces(pictures), info_of(model)
    photos = {name: load_image(pictures[name]) for name in pictures}
    known = dict(zip(pictures, lfw.encode(pictures, keypoints, model), strict=True))
    first = np.stack([known[name] for name in test.files[:, 0]])
    rows = []
    ways = [("nothing", 0.0), *((kind, level) for kind, damage in DAMAGES.items() for level in damage.levels if level)]
    for kind, level in tqdm(ways, desc="damage", unit="level"):
        worse = [
            damaged(photos[name], keypoints[name], kind, level, seed=i) if level and keypoints[name] else photos[name]
            for i, name in enumerate(test.files[:, 1])
        ]
        second, _ = photos_to_encodings(worse, model, which="central")
        distances = np.linalg.norm(first - second, axis=1)
        right = bootstrap_accuracy(distances, test.same, test.people, info.threshold, missing="mistakes")
        at = error_rates(distances, test.same, [info.threshold], missing="mistakes").iloc[0]
        rows.append(
            {
                "damage": kind,
                "level": level,
                "accuracy": right.value,
                "low": right.low,
                "high": right.high,
                "false_rejects": at.false_rejects,
                "false_accepts": at.false_accepts,
                "no_face": int(np.isnan(second[:, 0]).sum()),
                "pairs": pairs,
            }
        )
        write_table(to / "damage.csv", pd.DataFrame(rows).round(4))
    return pd.DataFrame(rows)


def main() -> None:
    """Run one part."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=("lfw", "damage", "groups"))
    parser.add_argument("dir", type=Path, help="the folder with the pictures")
    parser.add_argument("--network", default=DEFAULT_NETWORK, help="a folder; by default %(default)s")
    parser.add_argument("--to", type=Path, help="where to write; by default docs/results/, which the README quotes")
    args = parser.parse_args()
    if args.part == "groups" and args.to is None and (count := len(list(args.dir.glob("*.jpg")))) < FEWEST_PICTURES:
        raise BadArgument(
            f"{args.dir} holds {count} pictures, too few for docs/results/; name another folder with --to"
        )
    args.to = args.to or ROOT / "docs" / "results"
    if args.part == "lfw":
        print(json.dumps(evaluate_lfw(args.dir, args.network, args.to), indent=1, ensure_ascii=False))
    elif args.part == "damage":
        print(evaluate_damage(args.dir, args.network, args.to).to_string())
    else:
        for network, table in evaluate_groups(args.dir, (args.network,), args.to).items():
            print(network, table.to_string(), sep="\n")


if __name__ == "__main__":
    run(main)
