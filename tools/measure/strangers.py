"""Check the thresholds for K people: how many strangers get a name, and how many known people keep theirs?

    python tools/measure/strangers.py DIR [NETWORK …]          # or: make strangers DIR=…, → docs/results/strangers.json

DIR is the folder of ``tools/measure/lfw.py``. The people of both development lists are split in two halves. The false
accepts of one half give the thresholds for K people at which 1 % of the strangers should get a name; they are checked
on the other half, and the other way round. For K = 2,000 the first part has 700 people, since the second needs the
others. Galleries, known people and strangers are drawn anew ten times. The shipped curves come from ``pairsDevTrain``
alone (``tools/assets/calibrate.py``); here no one's pictures serve both sides.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from facerec._files import ROOT, write_json
from facerec.errors import run
from facerec.evaluation import fit_false_accepts
from facerec.evaluation.lfw import find_pictures, person_of, read_pairs
from facerec.networks import info_of, load_facenet
from tools.measure.evaluate import look_up
from tools.measure.lfw import encode, find_faces

#: The sizes of the galleries, and of the part of the people whose false accepts give the threshold (None: a half).
SIZES = {10: None, 100: None, 1000: None, 2000: 700}
NETWORKS = ("weights/resnet", "keras-facenet-h5")
AIM = 0.01
DRAWINGS = 10
STRANGERS = 350


def parts(people: np.ndarray, fitted: int | None, seed: int = 0) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Masks (m,) of the pictures to fit on and of those to check on: both ways for halves, one way otherwise."""
    names = np.random.default_rng(seed).permutation(np.unique(people))
    first = np.isin(people, names[: fitted or len(names) // 2])
    yield first, ~first
    if fitted is None:
        yield ~first, first


def draw(people: np.ndarray, size: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows of a gallery (a picture of each of ``size`` people), of their other pictures, and of a picture per stranger.

    People with several pictures come into the gallery first: they alone can be recognised.
    """
    shuffled = rng.permutation(len(people))
    names, first, pictures = np.unique(people[shuffled], return_index=True, return_counts=True)
    one = shuffled[first]  # a random picture of each person
    order = rng.permutation(len(names))
    order = order[np.argsort(pictures[order] == 1, kind="stable")]
    strangers, known = order[::-1][:STRANGERS], order[:size]
    if len(order) < size + len(strangers):
        strangers = order[size:]
    others = np.setdiff1d(np.flatnonzero(np.isin(people, names[known])), one[known])
    return one[known], others, one[strangers]


def named(encodings: np.ndarray, people: np.ndarray, threshold: float, drawn: tuple) -> tuple[float, float]:
    """The share of strangers who get a name, and of known people's other pictures that get the right one."""
    gallery, *probes = drawn
    others, strangers = (look_up(encodings[gallery], encodings[rows], people[gallery], people[rows]) for rows in probes)
    right = (others.distance < threshold) & (others.nearest == others.identity)
    return float((strangers.distance < threshold).mean()), float(right.mean())


def check(encodings: np.ndarray, people: np.ndarray, own: float, size: int, fitted: int | None) -> dict:
    """A row for galleries of one size: the thresholds, and both shares at them and at the network's own threshold."""
    rng, thresholds, ours, fixed = np.random.default_rng(size), [], [], []
    for fit, held_out in parts(people, fitted):
        threshold = min(own, fit_false_accepts(encodings[fit], people[fit]).threshold(size, AIM))
        thresholds.append(round(threshold, 4))
        seen, who = encodings[held_out], people[held_out]
        for _ in range(DRAWINGS):
            drawn = draw(who, size, rng)
            ours.append(named(seen, who, threshold, drawn))
            fixed.append(named(seen, who, own, drawn))
    strangers, known = np.mean(ours, axis=0)
    return {
        "people": size,
        "thresholds": thresholds,
        "strangers_named": float(strangers),
        "most_strangers_named": float(np.max([share for share, _ in ours])),
        "known_named": float(known),
        f"strangers_named_at_{own:g}": float(np.mean(fixed, axis=0)[0]),
        f"known_named_at_{own:g}": float(np.mean(fixed, axis=0)[1]),
        "strangers": len(drawn[2]),
        "known_pictures": len(drawn[1]),
    }


def main() -> None:
    """Encode the pictures with each network, check every size, print and write the rows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dir", type=Path, help="the folder with both lists of pairs and the pictures")
    parser.add_argument("networks", nargs="*", default=NETWORKS, help="folders of networks (default: %(default)s)")
    parser.add_argument("--to", type=Path, default=ROOT / "docs" / "results" / "strangers.json", help="write here")
    args = parser.parse_args()
    lists = [read_pairs(args.dir / f"pairsDev{part}.txt") for part in ("Train", "Test")]
    pictures = find_pictures(args.dir, {str(file) for pairs in lists for file in pairs.files.flat})
    found, everyone = find_faces(pictures), np.array([person_of(name) for name in pictures])
    rows = {}
    for folder in args.networks:
        model = load_facenet(folder)
        encodings = encode(pictures, found, model)
        usable = ~np.isnan(encodings[:, 0])
        most = len(np.unique(everyone[usable])) / 2
        sizes = {size: fitted for size, fitted in SIZES.items() if size < most or fitted}
        rows[folder] = [
            check(encodings[usable], everyone[usable], info_of(model).threshold, size, fitted)
            for size, fitted in sizes.items()
        ]
        for row in rows[folder]:
            print(
                f"{folder}, {row['people']:,} people: {row['strangers_named']:.1%} of strangers named at most "
                f"{row['most_strangers_named']:.1%} in a drawing, {row['known_named']:.1%} of known pictures"
            )
    write_json(args.to, {"command": "make strangers DIR=…", "aim": AIM, "networks": rows})


if __name__ == "__main__":
    run(main)
