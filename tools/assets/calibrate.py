"""Make 0.7 the equal-error threshold of a network, on people who are not scored.

    python tools/assets/calibrate.py weights/resnet --lfw DIR

A network's raw encodings lie in a cone: they share a large part, their mean. Subtracting λ times the mean before the
encodings are scaled to unit length spreads them, so all distances grow with λ. This tool fits the mean and λ on the
people of LFW's ``pairsDevTrain.txt`` (the mean of each person counts once) and writes −λ·mean into the bias of the
layer ``centred``. On the same people it fits the probability that two photos at a distance show one person (the
``confidence`` of ``identify``), and measures how often two different people are how near (the thresholds for K people).
People-disjoint cross-validation measures how well the first two hold for new people; the results are written to
``facenet.json``. ``tools/measure/strangers.py`` checks the third.

    python tools/assets/calibrate.py weights/resnet --lfw DIR --centred     # leave weights and probability as they are
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np

from facerec._files import in_project
from facerec._quiet import quietly
from facerec.encoding import unit_length
from facerec.errors import BadArgument, run
from facerec.evaluation import Probability, equal_error, fit_false_accepts, fit_probability
from facerec.evaluation.lfw import Pairs, find_pictures, person_of, read_pairs
from facerec.networks import THRESHOLD, load_facenet, save_network, with_info
from tools.measure.lfw import encode, find_faces

with quietly():
    import keras

FOLDS = 5

#: The ways to fit a probability; the one that is better on held-out people is used.
METHODS = ("logistic", "isotonic")

#: The number of random pairs of pictures that represent all pairs of different people.
DIFFERENT_PAIRS = 60_000


def raw_model(model: keras.Model) -> keras.Model:
    """The network up to its raw encodings: before centring, before unit length. Its weights are shared."""
    dense = model.get_layer("centred")
    raw = keras.layers.Dense(dense.units, use_bias=False, name="raw")
    outputs = raw(dense.input)
    raw.set_weights([dense.kernel])
    return with_info(keras.Model(model.input, outputs, name=f"{model.name}_raw"), model.facenet)


def centre(raw: np.ndarray, mean: np.ndarray, factor: float) -> np.ndarray:
    """Subtract ``factor`` times the mean from raw encodings (m, D) and scale them to unit length."""
    return unit_length(raw - factor * mean)


def mean_of_people(raw: np.ndarray, people: np.ndarray) -> np.ndarray:
    """The mean (D,) of the people's means, so people with many photos do not count more."""
    return np.mean([raw[people == person].mean(axis=0) for person in np.unique(people)], axis=0)


class PairDistances:
    """The distances of same pairs and of many different pairs, as a function of the factor."""

    def __init__(self, raw: np.ndarray, people: np.ndarray, same_pairs: np.ndarray, seed: int = 0):
        """Args: raw (m, D); people (m,); same_pairs (n, 2), rows of ``raw``; seed of the sampled others."""
        i, j = np.random.default_rng(seed).integers(len(raw), size=(2, DIFFERENT_PAIRS))
        different = np.stack([i, j], axis=1)[people[i] != people[j]]
        self.raw = raw
        self.pairs = np.concatenate([same_pairs, different])
        self.same = np.arange(len(self.pairs)) < len(same_pairs)

    def at(self, mean: np.ndarray, factor: float) -> np.ndarray:
        """The distances of all pairs, with encodings centred by this mean and factor."""
        x = centre(self.raw, mean, factor)
        return np.linalg.norm(x[self.pairs[:, 0]] - x[self.pairs[:, 1]], axis=1)

    def equal_error_threshold(self, mean: np.ndarray, factor: float) -> float:
        """The threshold at which false accepts and false rejects are equally frequent."""
        return equal_error(self.at(mean, factor), self.same)[0]


def fit(raw: np.ndarray, people: np.ndarray, same_pairs: np.ndarray) -> tuple[np.ndarray, float]:
    """Fit the mean and the factor at which 0.7 is the equal-error threshold, by bisection: it grows with λ up to 1.

    Raises:
        BadArgument: If no factor from -1 to 1 reaches that threshold.
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
    """Fit on four fifths of the people and measure on the last fifth, five times."""
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
    """The log loss of probabilities (n,), in nats per pair; both kinds of pairs count equally."""
    from sklearn.metrics import log_loss

    return float(log_loss(same, probability, sample_weight=np.where(same, 0.5 / same.sum(), 0.5 / (~same).sum())))


def _subset(raw: np.ndarray, people: np.ndarray, same_pairs: np.ndarray, keep: np.ndarray):
    """The pictures that ``keep`` marks, their people, and their same pairs, renumbered."""
    number = np.cumsum(keep) - 1
    return raw[keep], people[keep], number[same_pairs[keep[same_pairs[:, 0]]]]


def same_pairs_of(pairs: Pairs, rows: dict[str, int]) -> np.ndarray:
    """The same pairs of a list as row numbers (n, 2), without pairs in which a face was not found."""
    numbers = [(rows.get(a, -1), rows.get(b, -1)) for a, b in pairs.files[pairs.same]]
    return np.array([pair for pair in numbers if min(pair) >= 0])


def calibrate(
    raw: np.ndarray, people: np.ndarray, same_pairs: np.ndarray
) -> tuple[np.ndarray, float, dict, Probability]:
    """Fit and cross-validate everything: the mean (D,), the factor, the notes for ``facenet.json``, the probability."""
    mean, factor = fit(raw, people, same_pairs)
    listed = PairDistances(raw, people, same_pairs)
    distances = listed.at(mean, factor)
    threshold, error = equal_error(distances, listed.same)[:2]
    notes = {
        "fitted_on": f"LFW pairsDevTrain: {len(np.unique(people))} people, {len(raw)} pictures",
        "factor": factor,
        "equal_error_threshold": threshold,
        "equal_error_rate": error,
        **cross_validate(raw, people, same_pairs),
    }
    losses = notes["held_out_log_loss"]
    return mean, factor, notes, fit_probability(distances, listed.same, min(losses, key=losses.get))


def main() -> None:
    """Run the command line: encode the training people, fit, cross-validate, and save the network again."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("network", help="the folder of the network; it is rewritten")
    parser.add_argument("--lfw", type=Path, required=True, help="the folder with pairsDevTrain.txt and the pictures")
    parser.add_argument("--name", help="the new name of the network; default: its old one")
    parser.add_argument("--centred", action="store_true", help="keep the centring; measure the false accepts alone")
    args = parser.parse_args()

    pairs = read_pairs(args.lfw / "pairsDevTrain.txt")
    pictures = find_pictures(args.lfw, {str(file) for file in pairs.files.flat})
    folder = in_project(args.network)
    model = load_facenet(folder)
    raw = encode(pictures, find_faces(pictures), model if args.centred else raw_model(model))
    usable = ~np.isnan(raw[:, 0])
    names = [name for name, ok in zip(pictures, usable, strict=True) if ok]
    raw, people = raw[usable], np.array([person_of(name) for name in names])
    info = model.facenet
    if not args.centred:
        same_pairs = same_pairs_of(pairs, {name: i for i, name in enumerate(names)})
        mean, factor, calibration, probability = calibrate(raw, people, same_pairs)
        layer = model.get_layer("centred")
        layer.set_weights([layer.kernel, (-factor * mean).astype(np.float32)])
        raw = centre(raw, mean, factor)
        info = replace(info, threshold=THRESHOLD, calibration=calibration, probability=probability)
    curve = fit_false_accepts(raw, people)
    info = replace(info, name=args.name or info.name, false_accepts=curve)
    save_network(model, folder, **{name: value for name, value in vars(info).items() if name != "side"})
    print("\n".join(f"{key}: {value}" for key, value in info.calibration.items()))
    print("\n".join(f"{k:,} people: 1 stranger in 100 named at {curve.threshold(k):.3f}" for k in (1, 10, 100, 1000)))


if __name__ == "__main__":
    run(main)
