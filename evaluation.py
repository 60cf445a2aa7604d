"""How good is it: error rates, thresholds and intervals, from distances and labels.

``distances`` is an array (n,), a distance per pair of photos; NaN says that a photo of the pair could not be
used (no face found), and counts as a mistake whatever the threshold is. ``same`` is an array (n,) of bool: do
the two photos show one person? A pair is accepted if its distance is below the threshold.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd

from errors import BadArgument


@dataclass(frozen=True)
class Interval:
    """An estimate with its 95 % interval."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.4f} [{self.low:.4f}, {self.high:.4f}]"


def check_pairs(distances: np.ndarray, same: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return both as arrays (float, bool), or say what is wrong with them.

    Raises:
        BadArgument: If their lengths differ, or there are no same pairs, or no different ones.
    """
    distances, same = np.asarray(distances, np.float64), np.asarray(same, bool)
    if distances.ndim != 1 or distances.shape != same.shape:
        raise BadArgument(f"distances {distances.shape} and same {same.shape} must be two lists of one length")
    if same.all() or not same.any():
        raise BadArgument(f"of {len(same)} pairs {same.sum()} show one person: both kinds are needed")
    return distances, same


def error_rates(distances: np.ndarray, same: np.ndarray, thresholds: np.ndarray | None = None) -> pd.DataFrame:
    """False accepts and false rejects at each threshold.

    Args:
        distances: (n,), NaN where a photo could not be used.
        same: (n,) bool.
        thresholds: Where to look; by default everywhere where something changes.

    Returns:
        A table by ascending ``threshold``: ``false_accepts``, the share of different pairs that are accepted,
        ``false_rejects``, the share of same pairs that are not, and ``accuracy`` over all pairs. A pair
        without a distance is a mistake in ``accuracy`` on either side, and is never accepted.

    Example:
        >>> error_rates([0.3, 0.9, 0.8, 1.2], [True, True, False, False], [0.5, 1.0]).values.tolist()
        [[0.5, 0.0, 0.5, 0.75], [1.0, 0.5, 0.0, 0.75]]
    """
    distances, same = check_pairs(distances, same)
    usable = np.isfinite(distances)
    if thresholds is None:
        values = np.unique(distances[usable])
        thresholds = np.concatenate([values, values[-1:] + 1e-6]) if len(values) else np.array([0.0])
    thresholds = np.sort(np.asarray(thresholds, np.float64))
    accepted_same = _below(distances[same & usable], thresholds)  # (thresholds,)
    accepted_different = _below(distances[~same & usable], thresholds)
    right = accepted_same + (~same & usable).sum() - accepted_different
    return pd.DataFrame(
        {
            "threshold": thresholds,
            "false_accepts": accepted_different / (~same).sum(),
            "false_rejects": 1 - accepted_same / same.sum(),
            "accuracy": right / len(same),
        }
    )


def precision_recall(distances: np.ndarray, same: np.ndarray, thresholds: np.ndarray | None = None) -> pd.DataFrame:
    """Precision, recall and F1 of "the same person" at each threshold.

    Args:
        distances: (n,), NaN where a photo could not be used; for a score in 0..1 give 1 − score.
        same: (n,) bool.
        thresholds: Where to look; by default everywhere where something changes.

    Returns:
        A table by ascending ``threshold``: ``precision``, the share of the accepted pairs that are one person (1 where
        nothing is accepted), ``recall``, the share of the same pairs that are accepted, and ``f1``, their harmonic
        mean. Precision depends on how many of the pairs are the same person: state that beside it.

    Example:
        >>> precision_recall([0.3, 0.9, 0.8, 1.2], [True, True, False, False], [0.5, 1.0]).round(2).values.tolist()
        [[0.5, 1.0, 0.5, 0.67], [1.0, 0.67, 1.0, 0.8]]
    """
    rates = error_rates(distances, same, thresholds)
    same = np.asarray(same, bool)
    accepted_same = (1 - rates.false_rejects) * same.sum()
    accepted = accepted_same + rates.false_accepts * (~same).sum()
    precision = np.divide(accepted_same, accepted, out=np.ones(len(rates)), where=accepted.to_numpy() > 0.5)
    recall = 1 - rates.false_rejects
    f1 = np.divide(2 * precision * recall, precision + recall, out=np.zeros(len(rates)), where=recall.to_numpy() > 0)
    return pd.DataFrame({"threshold": rates.threshold, "precision": precision, "recall": recall, "f1": f1})


def _below(values: np.ndarray, thresholds: np.ndarray) -> np.ndarray:
    """How many of the values lie strictly below each threshold."""
    return np.searchsorted(np.sort(values), thresholds, side="left")


def accuracy(distances: np.ndarray, same: np.ndarray, threshold: float) -> float:
    """The share of pairs that are decided rightly at a threshold; pairs without a distance are mistakes."""
    return float(error_rates(distances, same, [threshold]).accuracy.iloc[0])


def best_threshold(distances: np.ndarray, same: np.ndarray) -> float:
    """The threshold with the highest accuracy: the middle of the best stretch between two distances.

    Example:
        >>> best_threshold([0.2, 0.4, 0.8, 1.0], [True, True, False, False])
        0.6
    """
    rates = error_rates(distances, same)
    thresholds = rates.threshold.to_numpy()
    best = int(rates.accuracy.to_numpy().argmax())
    below = thresholds[best - 1] if best else 0.0
    return _between(below, thresholds[best])


def confusion(distances: np.ndarray, same: np.ndarray, threshold: float) -> pd.DataFrame:
    """The four outcomes at a threshold, counted.

    Args:
        distances: (n,), NaN where a photo could not be used: such a pair is counted as the mistake that it is.
        same: (n,) bool.
        threshold: Accept below it.

    Returns:
        A row for what is true (``one person``, ``two people``), a column for what is said.

    Example:
        >>> confusion([0.3, 0.9, 0.8, 1.2], [True, True, False, False], 1.0).values.tolist()
        [[2, 0], [1, 1]]
    """
    distances, same = check_pairs(distances, same)
    says_one = np.where(np.isfinite(distances), distances < threshold, ~same)
    kinds = ["one person", "two people"]
    counts = [[int((says_one[true] == said).sum()) for said in (True, False)] for true in (same, ~same)]
    return pd.DataFrame(counts, pd.Index(kinds, name="true"), pd.Index(kinds, name="said"))


def true_accepts_at(distances: np.ndarray, same: np.ndarray, far: float) -> float | None:
    """The share of same pairs that are accepted where at most a share ``far`` of the different ones is (TAR at FAR).

    Args:
        distances: (n,), NaN where a photo could not be used: never accepted. (``area_under_roc`` is stricter: there a
            different pair without a distance counts as accepted first of all.)
        same: (n,) bool.
        far: The share of different pairs that may be accepted, in 0..1.

    Returns:
        The share; None where fewer than 10 false accepts would decide it, which is too few to say.

    Example:
        >>> true_accepts_at([0.3, 0.9, *[0.5] * 50, *[1.0] * 50], [True, True] + 100 * [False], far=0.1)
        0.5
    """
    distances, same = check_pairs(distances, same)
    if not 0 < far < 1:
        raise BadArgument(f"far={far}: a share in 0..1")
    if (~same).sum() * far < 10:
        return None
    rates = error_rates(distances, same)
    return float(1 - rates.false_rejects[rates.false_accepts <= far].min())


def _between(low: float, high: float) -> float:
    """The middle, in as few digits (6 or more) as still tell it from ``low``: low < middle ≤ high."""
    middle = (low + high) / 2
    short = (round(middle, digits) for digits in range(6, 17))
    return float(next((n for n in short if low < n <= high), middle))


def equal_error(distances: np.ndarray, same: np.ndarray) -> tuple[float, float]:
    """Where false accepts and false rejects are equally frequent.

    Returns:
        threshold: The equal-error threshold, between the two distances around it.
        rate: The error rate there (the EER).

    Example:
        >>> equal_error([0.2, 0.7, 0.6, 1.0], [True, True, False, False])
        (0.65, 0.5)
    """
    rates = error_rates(distances, same)
    gap = (rates.false_accepts - rates.false_rejects).to_numpy()  # rises from -1 to 1
    above = int((gap >= min(0, gap[-1])).argmax())  # where many pairs have no distance it may stay below 0
    threshold = _between(*rates.threshold.iloc[[max(0, above - 1), above]])
    rate = (rates.false_accepts.iloc[above] + rates.false_rejects.iloc[above]) / 2
    return threshold, float(rate)


def area_under_roc(distances: np.ndarray, same: np.ndarray) -> float:
    """The probability that a same pair is nearer than a different pair (AUC).

    A same pair without a distance counts as the farthest, a different one as the nearest.
    """
    from sklearn.metrics import roc_auc_score

    distances, same = check_pairs(distances, same)
    missing = np.where(same, np.inf, -np.inf)
    ranks = np.unique(np.where(np.isfinite(distances), distances, missing), return_inverse=True)[1]
    return float(roc_auc_score(same, -ranks))


def bootstrap_accuracy(
    distances: np.ndarray,
    same: np.ndarray,
    people: np.ndarray,
    threshold: float,
    samples: int = 2000,
    seed: int = 0,
) -> Interval:
    """Accuracy with a 95 % interval over *people*: other people might have been in the test.

    Pairs that share a person succeed or fail together, so people are drawn anew, not pairs: a person drawn
    c times gives their same pairs the weight c, and a different pair the product of its two counts.

    Args:
        distances: (n,), NaN where a photo could not be used.
        same: (n,) bool.
        people: (n, 2), the identity in the first and in the second photo.
        threshold: Accept below it; chosen on other people.
        samples: How often people are drawn.
        seed: Of the drawing.

    Returns:
        The accuracy and its 2.5 % and 97.5 % quantiles.

    Source: Efron and Tibshirani, "An Introduction to the Bootstrap", 1993, chapter 13.
    """
    distances, same = check_pairs(distances, same)
    right = np.where(same, distances < threshold, distances >= threshold)  # NaN compares as False: a mistake
    scores = [_balanced(right, same, weight) for weight in _people_drawn(people, same, samples, seed)]
    low, high = np.quantile(scores, [0.025, 0.975])
    return Interval(float(right.mean()), float(low), float(high))


def _people_drawn(people: np.ndarray, same: np.ndarray, samples: int, seed: int) -> Iterator[np.ndarray]:
    """Draw people anew, again and again: how much each pair (n,) counts then."""
    if np.shape(people) != (len(same), 2):
        raise BadArgument(f"people {np.shape(people)}: two identities for each of the {len(same)} pairs are needed")
    names, index = np.unique(np.asarray(people), return_inverse=True)
    index, rng = index.reshape(-1, 2), np.random.default_rng(seed)
    for _ in range(samples):
        count = np.bincount(rng.integers(len(names), size=len(names)), minlength=len(names))
        weight = count[index[:, 0]] * np.where(same, 1, count[index[:, 1]])
        if weight[same].any() and weight[~same].any():
            yield weight


def bootstrap_gain(
    before: np.ndarray,
    after: np.ndarray,
    same: np.ndarray,
    people: np.ndarray,
    thresholds: tuple[float, float],
    samples: int = 2000,
    seed: int = 0,
) -> Interval:
    """By how much more pairs one method gets right than another, with a 95 % interval over people.

    Both are asked about the same people in every drawing, so what is hard for both does not blur the difference: two
    intervals that overlap can still differ for sure.

    Args:
        before: (n,), distances of the one method, NaN where a photo could not be used.
        after: (n,), of the other.
        same: (n,) bool.
        people: (n, 2), the identity in the first and in the second photo.
        thresholds: Of the one and of the other, chosen on other people.
        samples: How often people are drawn.
        seed: Of the drawing.

    Returns:
        The accuracy of ``after`` minus that of ``before``, and its 2.5 % and 97.5 % quantiles.
    """
    _, same = check_pairs(before, same)
    both = [
        np.where(same, distances < threshold, distances >= threshold)
        for distances, threshold in zip((before, after), thresholds, strict=True)
    ]
    gain = both[1].astype(float) - both[0]
    scores = [_balanced(gain, same, weight) for weight in _people_drawn(people, same, samples, seed)]
    low, high = np.quantile(scores, [0.025, 0.975])
    return Interval(float(gain.mean()), float(low), float(high))


def bootstrap_mean(values: np.ndarray, samples: int = 2000, seed: int = 0) -> Interval:
    """The mean of one value per person with a 95 % interval over people, who are drawn anew.

    Args:
        values: (k,), one per person.
        samples: How often people are drawn.
        seed: Of the drawing.

    Source: Efron and Tibshirani, "An Introduction to the Bootstrap", 1993, chapter 13.
    """
    values = np.asarray(values, np.float64)
    if values.ndim != 1 or not len(values):
        raise BadArgument(f"values {values.shape}: a list with one value per person is needed")
    means = np.random.default_rng(seed).choice(values, (samples, len(values))).mean(axis=1)
    low, high = np.quantile(means, [0.025, 0.975])
    return Interval(float(values.mean()), float(low), float(high))


def _balanced(right: np.ndarray, same: np.ndarray, weight: np.ndarray) -> float:
    """The weighted accuracy, with the two kinds of pairs in the proportion that they have in the list."""
    share = same.mean()
    accepted = np.average(right[same], weights=weight[same])
    refused = np.average(right[~same], weights=weight[~same])
    return share * accepted + (1 - share) * refused


def reliability(scores: np.ndarray, same: np.ndarray, bins: int = 10) -> pd.DataFrame:
    """Does a score mean what it says? Of pairs that score 0.8, how many show one person?

    Args:
        scores: (n,) in 0..1, higher means the same person.
        same: (n,) bool.
        bins: So many groups with equally many pairs each, by score.

    Returns:
        A row per group: ``score``, the mean, ``share``, how many of its pairs show one person, and ``pairs``.

    Raises:
        BadArgument: If a score lies outside 0..1, or there are fewer pairs than groups.

    Example:
        >>> reliability([0.1, 0.2, 0.7, 0.9], [False, False, True, True], bins=2).round(2).values.tolist()
        [[0.15, 0.0, 2.0], [0.8, 1.0, 2.0]]
    """
    scores, same = check_pairs(scores, same)
    if not ((scores >= 0) & (scores <= 1)).all():
        raise BadArgument(f"scores must lie in 0..1; these lie in {scores.min()}..{scores.max()}")
    if not 1 <= bins <= len(scores):
        raise BadArgument(f"bins={bins}: there are {len(scores)} pairs")
    groups = np.array_split(np.argsort(scores, kind="stable"), bins)
    return pd.DataFrame(
        {
            "score": [scores[group].mean() for group in groups],
            "share": [same[group].mean() for group in groups],
            "pairs": [len(group) for group in groups],
        }
    )


def threshold_at(distances: np.ndarray, far: float) -> float:
    """The threshold below which a share ``far`` of different pairs lies: choose it on other people than are scored.

    Args:
        distances: (n,), of different pairs only.
        far: The share of them that may be accepted, in 0..1.

    Raises:
        BadArgument: If the share is none, or there are too few pairs to tell it (fewer than 1 / far).

    Example:
        >>> threshold_at([0.4, 0.9, 0.6, 0.8], far=0.5)
        0.7
    """
    distances = np.sort(np.asarray(distances, np.float64))
    if not 0 < far < 1 or len(distances) * far < 1:
        raise BadArgument(f"far={far}: a share in 0..1 of {len(distances)} pairs, and at least one of them")
    accepted = int(len(distances) * far + 1e-9)
    return _between(distances[accepted - 1], distances[accepted])
