"""Fit the score of ``face_quality`` on real photographs, and measure how well it predicts false rejects.

    python tools/measure/quality.py average                # prints the average face of people who do not exist
    python tools/measure/quality.py fit DIR                # prints the coefficients, fitted on some people
    python tools/measure/quality.py score DIR --lfw LFW    # on others → docs/results/quality.json, quality_reject.csv

DIR holds a folder of photographs per person (``celeba_people``), LFW the pictures and lists that
``tools/measure/lfw.py`` reads. The output of ``average`` is copied to ``facerec/average_face.py`` (AVERAGE), that of
``fit`` to ``facerec/quality.py`` (COEFFICIENTS). ``make quality DIR=… LFW=…`` runs ``score``.

A picture's failure is the share of the same person's other, untouched pictures that are farther from it than the
network's threshold. People are divided first: some to fit on, some to choose the penalty on, some to score. Every
picture has a copy that is damaged in one way. Found faces are cached in ``build/quality``: finding them takes most of
the time.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, fields
from itertools import combinations
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
from scipy.optimize import minimize
from scipy.stats import spearmanr
from sklearn.metrics import roc_auc_score
from tqdm import tqdm

from facerec._files import ROOT, whole, write_json, write_table
from facerec._quiet import quietly
from facerec.damage import DAMAGES, damaged
from facerec.detection import TEMPLATE, Detection, align_face, detect_faces_batch
from facerec.encoding import faces_to_encodings, find_faces
from facerec.errors import FaceError, run
from facerec.evaluation.intervals import draw_counts, percentile_interval
from facerec.evaluation.lfw import find_pictures, person_of, read_pairs
from facerec.learning.datasets import SYNTHETIC_PEOPLE, find_people, split_by_identity
from facerec.live.collect import crop_around
from facerec.networks import DEFAULT_NETWORK, info_of, load_facenet
from facerec.photos import load_image
from facerec.quality import TERMS, FaceQuality, face_quality
from tools.measure.lfw import detector_digest

with quietly():
    import keras


#: The cache of the faces found.
CACHE = ROOT / "build" / "quality"

#: The shares of the people to fit on, to choose the penalty on, and to score.
SHARES = (0.6, 0.2, 0.2)

PARTS = ("fit", "choose", "test")

#: The number of pictures per person in each part.
PICTURES = {"fit": 12, "choose": 12, "test": 20}


def celeba_shots(folder: Path) -> pd.DataFrame:
    """All pictures, a row each: ``part``, ``identity``, ``picture``, ``kind`` of damage, ``level``, ``seed``."""
    parts = []
    for name, part in zip(PARTS, split_by_identity(find_people(folder, 2), SHARES), strict=True):
        part = part.groupby("identity", sort=False).head(PICTURES[name]).reset_index(drop=True)
        parts.append(pd.concat([untouched(part), damaged_once(part)]).assign(part=name))
    return pd.concat(parts, ignore_index=True)


def untouched(people: pd.DataFrame) -> pd.DataFrame:
    """The pictures as they are."""
    return people.assign(kind="", level=0.0, seed=0)


def damaged_once(people: pd.DataFrame) -> pd.DataFrame:
    """The pictures, each damaged in one way at one level, all ways and levels equally often."""
    ways = [(kind, float(level)) for kind, damage in DAMAGES.items() for level in damage.levels[1:]]
    order = np.random.default_rng(0).permutation(len(people)) % len(ways)
    kinds, levels = zip(*[ways[i] for i in order], strict=True)
    return people.assign(kind=kinds, level=levels, seed=np.arange(len(people)))


class Cache:
    """The faces found before, by the same detector after the same damage: a JSON file of keys and detections."""

    def __init__(self, path: Path):
        self.path = path
        self.detector = detector_digest(_damage_digest())
        try:
            kept = json.loads(path.read_text(encoding="utf-8"))
            self.found = kept["found"] if kept["detector"] == self.detector else {}
        except (OSError, ValueError, KeyError, TypeError):
            self.found = {}

    def save(self) -> None:
        """Write everything found, so that a killed run continues from here."""
        with whole(self.path) as unfinished:
            unfinished.write_text(json.dumps({"detector": self.detector, "found": self.found}), encoding="utf-8")


def _damage_digest() -> bytes:
    """A digest of a made-up picture after every kind of damage: it changes when the code does."""
    picture = np.random.default_rng(0).integers(0, 256, (90, 80, 3), np.uint8)
    keypoints = {name: (10 + 60 * x, 15 + 60 * y) for name, (x, y) in TEMPLATE.items()}
    worse = [
        damaged(picture, keypoints, kind, level, seed=1) for kind, damage in DAMAGES.items() for level in damage.levels
    ]
    return hashlib.sha256(np.stack(worse).tobytes()).digest()


def key_of(shot: pd.Series) -> str:
    """The key of a picture with its damage in the cache."""
    return f"{Path(shot.picture).name} {shot.kind} {shot.level:g} {shot.seed}"


def find_all(shots: pd.DataFrame, which: str, cache: Cache) -> list[Detection | None]:
    """The face in each shot, or None; faces in damaged pictures are detected anew, as at a real door."""
    whole_ones = shots[shots.kind == ""].drop_duplicates("picture")
    for batch in _batches(whole_ones, cache, "finding faces"):
        found = find_faces(list(batch.picture), which)
        for (_, shot), face in zip(batch.iterrows(), found, strict=True):
            cache.found[key_of(shot)] = None if isinstance(face, FaceError) else face.detection
    before = {shot.picture: cache.found[key_of(shot)] for _, shot in whole_ones.iterrows()}
    for batch in _batches(shots[shots.kind != ""], cache, "finding damaged faces"):
        batch = batch[[before[picture] is not None for picture in batch.picture]]
        worse = [see(shot, before[shot.picture]) for _, shot in batch.iterrows()]
        for (_, shot), faces in zip(batch.iterrows(), detect_faces_batch(worse), strict=True):
            cache.found[key_of(shot)] = _nearest(faces, before[shot.picture])
    return [cache.found.get(key_of(shot)) for _, shot in shots.iterrows()]


def _batches(shots: pd.DataFrame, cache: Cache, doing: str) -> Iterator[pd.DataFrame]:
    missing = shots[[key_of(shot) not in cache.found for _, shot in shots.iterrows()]]
    for start in tqdm(range(0, len(missing), 64), desc=doing, unit="batch", disable=missing.empty):
        yield missing.iloc[start : start + 64]
        cache.save()


def see(shot: pd.Series, face: Detection | None) -> np.ndarray:
    """The photo of a shot, (H, W, 3): as it is, or damaged, given the face in the untouched photo."""
    photo = load_image(shot.picture)
    return damaged(photo, face["keypoints"], shot.kind, shot.level, shot.seed) if shot.kind else photo


def _nearest(faces: Sequence[Detection], before: Detection) -> Detection | None:
    """The detected face nearest to the one before, if it is within half its width; others are another person's."""
    x, y, width, height = before["box"]

    def off(face: Detection) -> float:
        u, v, w, h = face["box"]
        return float(np.hypot(u + w / 2 - x - width / 2, v + h / 2 - y - height / 2))

    near = [face for face in faces if off(face) < width / 2]
    return min(near, key=off) if near else None


def measured(shots: pd.DataFrame, which: str, cache: Cache, model: keras.Model) -> pd.DataFrame:
    """The table of shots with their quality, the baselines, ``found``, and ``encoding``.

    If no face is found after damage, ``found`` is False, there is no encoding, and the quality is measured where the
    untouched picture shows its face. Untouched pictures without a face are left out.
    """
    faces = find_all(shots, which, cache)
    before = {s.picture: face for (_, s), face in zip(shots.iterrows(), faces, strict=True) if not s.kind}
    rows, crops, info = {}, {}, info_of(model)
    for (i, shot), face in zip(tqdm(shots.iterrows(), total=len(shots), desc="judging"), faces, strict=True):
        where = face or before[shot.picture]
        if where is None:
            continue
        photo = see(shot, before[shot.picture])
        rows[i] = {**asdict(face_quality(photo, where)), "found": face is not None, **baselines(photo, where)}
        if face is not None:
            crops[i] = align_face(photo, face["keypoints"], info.side, info.template)
    encodings = dict(zip(crops, faces_to_encodings(np.stack(list(crops.values())), model), strict=True))
    table = shots.join(pd.DataFrame.from_dict(rows, orient="index"), how="inner")
    table["encoding"] = [encodings.get(i) for i in table.index]
    return table.reset_index(drop=True)


def baselines(photo: np.ndarray, face: Detection) -> dict[str, float]:
    """Simple measures of quality to compare with: the width of the face, and the variance of its Laplacian."""
    grey = cv2.cvtColor(crop_around(photo, face["box"], 1.0, 128), cv2.COLOR_RGB2GRAY)
    return {"width": face["box"][2], "laplacian": float(cv2.Laplacian(grey, cv2.CV_64F).var())}


def with_failures(table: pd.DataFrame, threshold: float) -> pd.DataFrame:
    """Add ``failure``: the share of the person's other, untouched pictures that reject this one; 1 without a face."""
    failure = pd.Series(1.0, table.index)
    for _, person in table.groupby("identity"):
        known = person[(person.kind == "") & person.found]
        matrix = np.stack(list(known.encoding))
        for i, shot in person[person.found].iterrows():
            others = (known.picture != shot.picture).to_numpy()
            failure[i] = (np.linalg.norm(matrix[others] - shot.encoding, axis=1) >= threshold).mean()
    return table.assign(failure=failure)


PENALTIES = (1e-5, 1e-4, 1e-3, 1e-2)


def badness(table: pd.DataFrame) -> np.ndarray:
    """The badness of each term in each picture, (m, terms)."""
    names = [field.name for field in fields(FaceQuality)]
    qualities = [FaceQuality(**row) for row in table[names].to_dict("records")]
    return np.array([[term.badness(quality) for term in TERMS.values()] for quality in qualities])


def fit_coefficients(bad: np.ndarray, failure: np.ndarray, penalty: float) -> np.ndarray:
    """The logistic regression of ``failure`` (m,), shares, with coefficients of 0 or more; the constant is last."""

    def loss(w: np.ndarray) -> tuple[float, np.ndarray]:
        odds = bad @ w[:-1] + w[-1]
        slope = (1 / (1 + np.exp(-odds)) - failure) / len(failure)
        value = np.mean(np.logaddexp(0, odds) - failure * odds) + penalty * np.sum(w[:-1] ** 2)
        return value, np.append(bad.T @ slope + 2 * penalty * w[:-1], slope.sum())

    terms = bad.shape[1]
    bounds = [(0, None)] * terms + [(None, None)]
    return minimize(loss, np.append(np.ones(terms), -3), jac=True, method="L-BFGS-B", bounds=bounds).x


def log_loss(bad: np.ndarray, failure: np.ndarray, w: np.ndarray) -> float:
    """The log loss of the coefficients, in nats per picture."""
    odds = bad @ w[:-1] + w[-1]
    return float(np.mean(np.logaddexp(0, odds) - failure * odds))


def fit(args: argparse.Namespace) -> None:
    """Fit the coefficients on some people, choose the penalty on others, and print them."""
    model = load_facenet(args.network)
    shots = celeba_shots(args.dir)
    table = measured(shots[shots.part != "test"], "largest", Cache(args.cache / "celeba.json"), model)
    table = with_failures(table, info_of(model).threshold)
    parts = {part: table[table.part == part] for part in ("fit", "choose")}
    bad, failure = (
        {name: f(part) for name, part in parts.items()} for f in (badness, lambda part: part.failure.values)
    )
    fitted = {penalty: fit_coefficients(bad["fit"], failure["fit"], penalty) for penalty in PENALTIES}
    losses = {penalty: log_loss(bad["choose"], failure["choose"], w) for penalty, w in fitted.items()}
    best = min(losses, key=losses.get)
    print("log loss on the people to choose on, by penalty:", {p: round(loss, 4) for p, loss in losses.items()})
    print(f"COEFFICIENTS = {json.dumps(dict(zip(TERMS, fitted[best].round(2), strict=False)), indent=4)}")
    print(f"FLAWLESS = {-fitted[best][-1]:.2f}")


def average(args: argparse.Namespace) -> None:
    """Print the average face of the people who do not exist, one picture of each."""
    people = find_people(SYNTHETIC_PEOPLE).groupby("identity").head(1)
    total = np.zeros((16, 16))
    for found in find_faces(list(people.picture)):
        if not isinstance(found, FaceError):
            grey = cv2.cvtColor(align_face(found.photo, found.detection["keypoints"], 96), cv2.COLOR_RGB2GRAY)
            small = cv2.resize(grey, (16, 16), interpolation=cv2.INTER_AREA).astype(float)
            total += (small - small.mean()) / small.std()
    pixels = 255 * (total - total.min()) / np.ptp(total)
    print("\n".join(bytes(row).hex() for row in pixels.round().astype(np.uint8)))


#: The predictors of failure, each higher for better pictures.
PREDICTORS = ("score", "detector_score", "width", "laplacian")

#: The shares of pictures that are refused, starting with the worst pictures.
REFUSED = (0.0, 0.05, 0.1, 0.2, 0.3)


def area(failure: np.ndarray, predictor: np.ndarray, weight: np.ndarray) -> float:
    """How often a failed comparison has a worse picture than a successful one (the area under a ROC; 0.5 is chance)."""
    label = np.repeat([1, 0], len(failure))
    weight = np.concatenate([weight * failure, weight * (1 - failure)])
    return float(roc_auc_score(label, -np.tile(predictor, 2), sample_weight=weight))


def areas(table: pd.DataFrame) -> dict:
    """The area of every predictor, and the score's lead over each other one, with 95 % intervals over people.

    Args:
        table: A row per picture or pair: ``failure`` (0..1), ``identity``, and the predictors.
    """
    who = np.unique(table.identity, return_inverse=True)[1]
    failure, rng = table.failure.to_numpy(float), np.random.default_rng(0)
    columns = {name: table[name].to_numpy(float) for name in PREDICTORS}
    drawn = {name: [] for name in PREDICTORS}
    for _ in range(1000):
        weight = draw_counts(rng, who.max() + 1)[who]
        if 0 < weight @ failure < weight.sum():
            for name, column in columns.items():
                drawn[name].append(area(failure, column, weight))
    value = {name: area(failure, column, np.ones(len(failure))) for name, column in columns.items()}
    lead = {name: value["score"] - value[name] for name in PREDICTORS[1:]}
    leads = {name: np.subtract(drawn["score"], drawn[name]) for name in lead}
    return {
        "area": {name: interval(value[name], drawn[name]) for name in PREDICTORS},
        "lead_of_the_score": {name: interval(lead[name], leads[name]) for name in lead},
    }


def interval(value: float, drawn: Sequence[float]) -> dict[str, float]:
    """A number and its 95 % interval, rounded."""
    return {end: round(number, 4) for end, number in asdict(percentile_interval(value, drawn)).items()}


def genuine_pairs(table: pd.DataFrame) -> pd.DataFrame:
    """The rows ``a`` and ``b`` of every two pictures of one person, at least one of them untouched."""
    rows = []
    for _, person in table[table.found].groupby("identity"):
        for a, b in combinations(person.index, 2):
            if table.picture[a] != table.picture[b] and "" in (table.kind[a], table.kind[b]):
                rows.append((a, b))
    return pd.DataFrame(rows, columns=["a", "b"])


def scored_pairs(table: pd.DataFrame, pairs: pd.DataFrame, threshold: float) -> pd.DataFrame:
    """The pairs with each predictor's value of the worse picture, ``failure`` (rejected) and ``identity``."""
    matrix = np.stack([np.full(128, np.nan) if e is None else e for e in table.encoding])
    distances = np.linalg.norm(matrix[pairs.a] - matrix[pairs.b], axis=1)
    worse = {name: np.minimum(*(table[name].to_numpy(float)[pairs[side]] for side in "ab")) for name in PREDICTORS}
    who = table.identity.to_numpy()[pairs.a]
    return pairs.assign(failure=(distances >= threshold).astype(float), identity=who, **worse)


def reject_curve(table: pd.DataFrame, pairs: pd.DataFrame) -> pd.DataFrame:
    """The false rejects left when the worst pictures are refused, by each predictor and by two oracles.

    Args:
        table: A row per picture.
        pairs: From ``scored_pairs``.

    Returns:
        ``refused`` (share of the pictures), ``false_rejects`` at the network's threshold by ``score`` and by the other
        predictors; ``random``, where any pictures are refused; ``ideal``, where those are that fail most often.
    """
    both = pd.concat([pairs.failure.groupby(pairs[side]).agg(["sum", "size"]) for side in "ab"])
    in_pairs = both.groupby(level=0).sum()
    orders = {name: table.loc[in_pairs.index, name].to_numpy(float) for name in PREDICTORS}
    orders["ideal"] = -(in_pairs["sum"] / in_pairs["size"]).to_numpy()
    rows = []
    for share in REFUSED:
        row = {"refused": share, "pictures": len(in_pairs), "pairs": len(pairs), "random": pairs.failure.mean()}
        for name, order in orders.items():
            kept = in_pairs.index[np.argsort(order, kind="stable")[round(share * len(in_pairs)) :]]
            row[name] = pairs.failure[pairs.a.isin(kept) & pairs.b.isin(kept)].mean()
        rows.append(row)
    return pd.DataFrame(rows).round(5)


def lfw_tables(folder: Path, cache: Cache, model: keras.Model) -> tuple[pd.DataFrame, dict[str, pd.DataFrame]]:
    """The pictures of LFW's genuine pairs, and the pairs of either list as numbers of their rows."""
    lists = {part: read_pairs(folder / f"pairsDev{part}.txt") for part in ("Train", "Test")}
    files = {part: pairs.files[pairs.same] for part, pairs in lists.items()}
    names = sorted({str(name) for part in files.values() for name in part.flat})
    paths = find_pictures(folder, set(names))
    who = [person_of(name) for name in names]
    shots = untouched(pd.DataFrame({"identity": who, "picture": [str(paths[name]) for name in names]}))
    table = measured(shots, "central", cache, model)
    row = {Path(picture).name: i for i, picture in enumerate(table.picture)}
    numbered = {part: [(row[a], row[b]) for a, b in pairs if {a, b} <= set(row)] for part, pairs in files.items()}
    return table, {part: pd.DataFrame(pairs, columns=["a", "b"]) for part, pairs in numbered.items()}


def of_pictures(table: pd.DataFrame) -> dict:
    """How well the failure of pictures is predicted."""
    return {
        "people": int(table.identity.nunique()),
        "pictures": len(table),
        "failure": round(float(table.failure.mean()), 4),
        "rank_correlation": round(float(spearmanr(table.score, 1 - table.failure)[0]), 4),
        **areas(table),
    }


def of_pairs(pairs: pd.DataFrame) -> dict:
    """How well the rejection of pairs is predicted, by the worse of their two pictures."""
    rejected = int(pairs.failure.sum())
    return {"people": int(pairs.identity.nunique()), "pairs": len(pairs), "rejected": rejected, **areas(pairs)}


def warned(table: pd.DataFrame) -> dict:
    """The share of pictures with a hint, and the failures of pictures with and without one."""
    names = [field.name for field in fields(FaceQuality)]
    good = np.array([FaceQuality(**row).is_good for row in table[names].to_dict("records")])
    failure = {
        label: round(float(table.failure[which].mean()), 4) for label, which in (("good", good), ("warned", ~good))
    }
    return {"share": round(float((~good).mean()), 4), "failure": failure}


def by_damage(table: pd.DataFrame) -> list[dict]:
    """For each way and level: the mean score, the share of pictures without a face, and the failures of the others."""
    ways = [("", 0.0), *((kind, level) for kind, damage in DAMAGES.items() for level in damage.levels[1:])]
    rows = []
    for kind, level in ways:
        shots = table[(table.kind == kind) & (table.level == level)]
        if len(shots):
            numbers = (shots.score.mean(), 1 - shots.found.mean(), shots.failure[shots.found].mean())
            named = {name: round(float(n), 3) for name, n in zip(("score", "lost", "failure"), numbers, strict=True)}
            rows.append({"kind": kind or "untouched", "level": level, "pictures": len(shots), **named})
    return rows


def score(args: argparse.Namespace) -> None:
    """Measure on people who were not fitted; write and print the result."""
    model = load_facenet(args.network)
    threshold = info_of(model).threshold
    shots = celeba_shots(args.dir)
    table = measured(
        shots[shots.part == "test"].reset_index(drop=True), "largest", Cache(args.cache / "celeba.json"), model
    )
    table = with_failures(table, threshold)
    real = table[table.kind == ""].reset_index(drop=True)
    pairs = {"celeba": scored_pairs(real, genuine_pairs(real), threshold)}
    curves = [reject_curve(real, pairs["celeba"]).assign(set="celeba")]
    mixed = scored_pairs(table, genuine_pairs(table), threshold)
    curves.append(reject_curve(table, mixed).assign(set="celeba, untouched and damaged"))
    result = {
        "command": "python tools/measure/quality.py score DIR --lfw LFW",
        "network": args.network,
        "threshold": threshold,
        "pictures_of_celeba": of_pictures(real),
        "pictures_of_celeba_and_damaged": of_pictures(table[table.found]),
        "pictures_of_celeba_and_damaged_or_lost": of_pictures(table),
        "warned_of_celeba": warned(real),
        "pairs_of_celeba": of_pairs(pairs["celeba"]),
    }
    if args.lfw:
        lfw, lists = lfw_tables(args.lfw, Cache(args.cache / "lfw.json"), model)
        lists["both"] = pd.concat(lists.values(), ignore_index=True)
        for name, part in (("lfw_test", "Test"), ("lfw_both_lists", "both")):
            pairs[name] = scored_pairs(lfw, lists[part], threshold)
            curves.append(reject_curve(lfw, pairs[name]).assign(set=name))
            result[f"pairs_of_{name}"] = of_pairs(pairs[name])
    result["by_damage"] = by_damage(table)
    write_json(args.to / "quality.json", result)
    curve = pd.concat(curves)
    write_table(args.to / "quality_reject.csv", curve[["set", *curve.columns.drop("set")]])
    print(json.dumps(result, indent=1))
    print(curve.to_string(index=False))


def main(argv: Sequence[str] | None = None) -> None:
    """Run one of the three commands."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    for name, work in (("average", average), ("fit", fit), ("score", score)):
        command = commands.add_parser(name, help=work.__doc__)
        command.set_defaults(work=work)
        if name != "average":
            command.add_argument("dir", type=Path, help="a folder of photographs per person")
            command.add_argument("--network", default=DEFAULT_NETWORK, help="by default %(default)s")
            command.add_argument("--cache", type=Path, default=CACHE, help="the folder in which found faces are kept")
    command.add_argument("--lfw", type=Path, help="LFW, view 1; without it only DIR is scored")
    command.add_argument("--to", type=Path, default=ROOT / "docs" / "results", help="the folder of the results")
    args = parser.parse_args(argv)
    args.work(args)


if __name__ == "__main__":
    run(main)
