"""Make 0.7 the equal-error threshold of a network, on people who are not scored.

    python tools/assets/calibrate.py weights/resnet --lfw DIR

A network's raw encodings lie in a cone: they share a large common part, their mean. Subtracting λ times the
mean before the encodings are brought to unit length spreads them, so all distances grow with λ. This tool
fits the mean and λ on the people of LFW's ``pairsDevTrain.txt`` (each person's mean counts once) and writes
−λ·mean into the bias of the layer ``centred``. From the same people it learns what a distance means: the probability
that two photos show one person (``identify`` calls it confidence). How well both carry over to new people is measured
by people-disjoint cross-validation and noted in ``facenet.json``.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np

from facerec._files import in_project
from facerec._quiet import quietly
from facerec.errors import BadArgument, run
from facerec.evaluation import equal_error, fit_probability
from facerec.evaluation.lfw import Pairs, find_pictures, read_pairs
from facerec.networks import THRESHOLD, load_facenet, save_network
from tools.measure.lfw import encode, find_faces

with quietly():
    import keras


from facerec._files import ROOT


FOLDS = 5


#: How the probability depends on the distance: the better of the two for held-out people.
METHODS = ("logistic", "isotonic")


#: How many pairs of pictures are drawn to stand for all pairs of different people.
DIFFERENT_PAIRS = 60_000


def raw_model(model: keras.Model) -> keras.Model:
    """The network up to its raw encodings: before centring, before unit length. Its weights are shared."""
    dense = model.get_layer("centred")
    raw = keras.layers.Dense(dense.units, use_bias=False, name="raw")
    outputs = raw(dense.input)
    raw.set_weights([dense.kernel])
    copy = keras.Model(model.input, outputs, name=f"{model.name}_raw")
    copy.facenet = model.facenet
    return copy


def centre(raw: np.ndarray, mean: np.ndarray, factor: float) -> np.ndarray:
    """Subtract ``factor`` times the mean from raw encodings (m, D) and bring them to unit length."""
    centred = raw - factor * mean
    return centred / np.linalg.norm(centred, axis=1, keepdims=True)


def mean_of_people(raw: np.ndarray, people: np.ndarray) -> np.ndarray:
    """The mean (D,) of the people's means: who was photographed often does not count more."""
    return np.mean([raw[people == person].mean(axis=0) for person in np.unique(people)], axis=0)


class PairDistances:
    """Same pairs of the list, and many pairs of different people, as distances that depend on the factor."""

    def __init__(self, raw: np.ndarray, people: np.ndarray, same_pairs: np.ndarray, seed: int = 0):
        """Args: raw (m, D); people (m,); same_pairs (n, 2), rows of ``raw``; seed of the sampled others."""
        i, j = np.random.default_rng(seed).integers(len(raw), size=(2, DIFFERENT_PAIRS))
        different = np.stack([i, j], axis=1)[people[i] != people[j]]
        self.raw = raw
        self.pairs = np.concatenate([same_pairs, different])
        self.same = np.arange(len(self.pairs)) < len(same_pairs)

    def at(self, mean: np.ndarray, factor: float) -> np.ndarray:
        """The distances of all pairs when the encodings are centred so."""
        x = centre(self.raw, mean, factor)
        return np.linalg.norm(x[self.pairs[:, 0]] - x[self.pairs[:, 1]], axis=1)

    def equal_error_threshold(self, mean: np.ndarray, factor: float) -> float:
        """Where false accepts and false rejects are equally frequent."""
        return equal_error(self.at(mean, factor), self.same)[0]


def fit(raw: np.ndarray, people: np.ndarray, same_pairs: np.ndarray) -> tuple[np.ndarray, float]:
    """The mean and the factor at which 0.7 is the equal-error threshold (by bisection: up to 1 it grows with λ).

    Raises:
        BadArgument: If no factor up to 1 spreads the encodings so far.
    """
    mean, pairs = mean_of_people(raw, people), PairDistances(raw, people, same_pairs)
    low, high = -1.0, 1.0
    for _ in range(25):
        middle = (low + high) / 2
        if pairs.equal_error_threshold(mean, middle) < THRESHOLD:
            low = middle
        else:
            high = middle
    reached = pairs.equal_error_threshold(mean, high)
    if abs(reached - THRESHOLD) > 0.01:
        found = f"{high:.2f} makes it {reached:.2f}"
        raise BadArgument(f"no factor from -1 to 1 makes {THRESHOLD} the equal-error threshold: {found}")
    return mean, (low + high) / 2


def cross_validate(raw: np.ndarray, people: np.ndarray, same_pairs: np.ndarray, seed: int = 0) -> dict:
    """Fit on four fifths of the people, measure on the last fifth, five times."""
    names = np.random.default_rng(seed).permutation(np.unique(people))
    thresholds, errors, plain = [], [], []
    off: dict[str, list[float]] = {method: [] for method in METHODS}
    for fold in range(FOLDS):
        held_out = np.isin(people, names[fold::FOLDS])
        kept = _subset(raw, people, same_pairs, ~held_out)
        mean, factor = fit(*kept)
        pairs = PairDistances(*_subset(raw, people, same_pairs, held_out), seed=fold)
        distances = pairs.at(mean, factor)
        thresholds.append(equal_error(distances, pairs.same)[0])
        errors.append(equal_error(distances, pairs.same)[1])
        plain.append(equal_error(pairs.at(mean, 0.0), pairs.same)[1])
        learned = PairDistances(*kept)
        for method in METHODS:
            probability = fit_probability(learned.at(mean, factor), learned.same, method)
            off[method].append(_log_loss(probability(distances), pairs.same))
    return {
        "held_out_equal_error_threshold": [float(np.mean(thresholds)), float(np.std(thresholds, ddof=1))],
        "held_out_equal_error_rate": float(np.mean(errors)),
        "held_out_equal_error_rate_without_centring": float(np.mean(plain)),
        "held_out_log_loss": {method: float(np.mean(losses)) for method, losses in off.items()},
    }


def _log_loss(probability: np.ndarray, same: np.ndarray) -> float:
    """How surprised a probability (n,) is by the truth, in nats per pair, where half of the pairs show one person."""
    from sklearn.metrics import log_loss

    return float(log_loss(same, probability, sample_weight=np.where(same, 0.5 / same.sum(), 0.5 / (~same).sum())))


def _subset(raw: np.ndarray, people: np.ndarray, same_pairs: np.ndarray, keep: np.ndarray):
    """The part of the pictures that ``keep`` marks, with the same pairs renumbered."""
    number = np.cumsum(keep) - 1
    return raw[keep], people[keep], number[same_pairs[keep[same_pairs[:, 0]]]]


def same_pairs_of(pairs: Pairs, rows: dict[str, int]) -> np.ndarray:
    """The list's same pairs as row numbers (n, 2), without pictures that have no face."""
    numbers = [(rows.get(a, -1), rows.get(b, -1)) for a, b in pairs.files[pairs.same]]
    return np.array([pair for pair in numbers if min(pair) >= 0])


def main() -> None:
    """Encode the training people, fit, cross-validate, and write the network back."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("network", help="the folder of the network; it is rewritten")
    parser.add_argument("--lfw", type=Path, required=True, help="the folder with pairsDevTrain.txt and pictures")
    parser.add_argument("--name", help="what to call the network from now on")
    args = parser.parse_args()

    pairs = read_pairs(args.lfw / "pairsDevTrain.txt")
    pictures = find_pictures(args.lfw, {str(file) for file in pairs.files.flat})
    folder = in_project(args.network)
    model = load_facenet(folder)
    raw = encode(pictures, find_faces(pictures), raw_model(model))
    usable = ~np.isnan(raw[:, 0])
    names = [name for name, ok in zip(pictures, usable, strict=True) if ok]
    people = np.array([name.rsplit("_", 1)[0] for name in names])
    same_pairs = same_pairs_of(pairs, {name: i for i, name in enumerate(names)})
    mean, factor = fit(raw[usable], people, same_pairs)

    listed = PairDistances(raw[usable], people, same_pairs)
    distances = listed.at(mean, factor)
    calibration = {
        "fitted_on": f"LFW pairsDevTrain: {len(np.unique(people))} people, {usable.sum()} pictures",
        "factor": factor,
        "equal_error_threshold": equal_error(distances, listed.same)[0],
        "equal_error_rate": equal_error(distances, listed.same)[1],
        **cross_validate(raw[usable], people, same_pairs),
    }
    losses = calibration["held_out_log_loss"]
    probability = fit_probability(distances, listed.same, min(losses, key=losses.get))
    layer = model.get_layer("centred")
    layer.set_weights([layer.kernel, (-factor * mean).astype(np.float32)])
    save_network(
        model,
        folder,
        name=args.name or model.facenet.name,
        template=model.facenet.template,
        threshold=THRESHOLD,
        calibration=calibration,
        probability=probability,
    )
    print("\n".join(f"{key}: {value}" for key, value in calibration.items()))


if __name__ == "__main__":
    run(main)
