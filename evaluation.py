"""How good is it: error rates, thresholds and intervals, from distances and labels.

``distances`` is an array (n,), a distance per pair of photos; NaN says that a photo of the pair could not be
used (no face found), and counts as a mistake whatever the threshold is. ``same`` is an array (n,) of bool: do
the two photos show one person? A pair is accepted if its distance is below the threshold. ``people`` is an array
(n, 2): who the two are.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd

from errors import BadArgument

#: A number of (distances, same, weight).
Statistic = Callable[[np.ndarray, np.ndarray, np.ndarray], float]
#: So many false accepts, or false alarms, must decide a number before it is said.
FEWEST = 10


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


# ------------------------------------------------------------------------------------------ error rates
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
    thresholds = _corners(distances) if thresholds is None else np.sort(np.asarray(thresholds, np.float64))
    false_accepts, true_accepts = _accepted(distances, same, thresholds)
    usable = (np.isfinite(distances) & ~same).sum()  # a different pair that has no distance is never refused rightly
    right = (true_accepts * same.sum()).round() + usable - (false_accepts * (~same).sum()).round()
    return pd.DataFrame(
        {
            "threshold": thresholds,
            "false_accepts": false_accepts,
            "false_rejects": 1 - true_accepts,
            "accuracy": right / len(same),
        }
    )


def _corners(distances: np.ndarray) -> np.ndarray:
    """The thresholds at which something changes, ascending: from accepting no pair to accepting each that can be."""
    values = np.unique(distances[np.isfinite(distances)])
    return np.concatenate([values, values[-1:] + 1e-6]) if len(values) else np.array([0.0])


def _accepted(
    distances: np.ndarray, same: np.ndarray, thresholds: np.ndarray, weight: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """The share of the different and of the same pairs that is accepted at each threshold (false and true accepts)."""
    weight = np.ones(len(same)) if weight is None else weight
    return tuple(_below(distances[k], thresholds, weight[k]) / weight[k].sum() for k in (~same, same))


def _below(values: np.ndarray, thresholds: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """How much weight lies strictly below each threshold; what is not finite lies below none."""
    usable = np.flatnonzero(np.isfinite(values))
    order = usable[np.argsort(values[usable])]
    total = np.concatenate([[0.0], np.cumsum(weight[order])])
    return total[np.searchsorted(values[order], thresholds, side="left")]


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


def accuracy(distances: np.ndarray, same: np.ndarray, threshold: float) -> float:
    """The share of pairs that are decided rightly at a threshold; pairs without a distance are mistakes."""
    return float(error_rates(distances, same, [threshold]).accuracy.iloc[0])


def errors_at(rates: pd.DataFrame, threshold: float) -> tuple[float, float]:
    """What a threshold costs, read from a table of error rates that somebody has measured.

    Args:
        rates: Columns ``threshold`` (rising), ``false_accepts`` and ``false_rejects``, as in the tables of
            ``results/lfw_*_rates.csv``: all of one list of pairs. It reaches from where nobody is accepted to where
            everybody is.
        threshold: A distance.

    Returns:
        false_accepts: The share of different pairs that are accepted, between the two nearest rows in proportion.
        false_rejects: The share of pairs of one person that are rejected.

    Raises:
        BadArgument: If the threshold is no distance, or the table's thresholds don't rise.

    Example:
        >>> rates = pd.DataFrame({"threshold": [0.6, 0.7], "false_accepts": [0.0, 0.02], "false_rejects": [0.1, 0.0]})
        >>> errors_at(rates, 0.65)
        (0.01, 0.05)
    """
    check_threshold(threshold)
    at = rates["threshold"].to_numpy(np.float64)
    if not len(at) or not (np.diff(at) > 0).all():
        raise BadArgument(f"rates: {len(at)} thresholds that must rise; is it the table of one list of pairs?")
    shares = (np.interp(threshold, at, rates[name]) for name in ("false_accepts", "false_rejects"))
    accepts, rejects = (round(float(share), 9) for share in shares)
    return accepts, rejects


def _right(distances: np.ndarray, same: np.ndarray, threshold: float) -> np.ndarray:
    """Which pairs (n,) are decided rightly; NaN compares as False: a mistake."""
    return np.where(same, distances < threshold, distances >= threshold)


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


def area_under_roc(distances: np.ndarray, same: np.ndarray) -> float:
    """The probability that a same pair is nearer than a different pair (AUC).

    A same pair without a distance counts as the farthest, a different one as the nearest.
    """
    from sklearn.metrics import roc_auc_score

    distances, same = check_pairs(distances, same)
    return float(roc_auc_score(same, -_ranks(distances, same)))


def _ranks(distances: np.ndarray, same: np.ndarray) -> np.ndarray:
    """The distances as ranks 0, 1, …; where there is none, the last one of a same pair, the first of a different."""
    missing = np.where(same, np.inf, -np.inf)
    return np.unique(np.where(np.isfinite(distances), distances, missing), return_inverse=True)[1]


# ------------------------------------------------------------------------------------------- thresholds
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
    distances, same = check_pairs(distances, same)
    thresholds = _corners(distances)
    above, rate = _meeting(*_accepted(distances, same, thresholds))
    return _between(*thresholds[[max(0, above - 1), above]].tolist()), rate


def _meeting(false_accepts: np.ndarray, true_accepts: np.ndarray) -> tuple[int, float]:
    """At which threshold the two error rates have met, and their mean there."""
    gap = false_accepts - (1 - true_accepts)  # rises from -1 to 1
    above = int((gap >= min(0, gap[-1])).argmax())  # where many pairs have no distance it may stay below 0
    return above, float((false_accepts[above] + (1 - true_accepts[above])) / 2)


def threshold_at(distances: np.ndarray, far: float) -> float:
    """The threshold below which a share ``far`` of different pairs lies: choose it on other people than are scored.

    Args:
        distances: (n,), of different pairs only; NaN is never accepted.
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
    return _threshold(distances, far)


def _threshold(distances: np.ndarray, far: float, weight: np.ndarray | None = None) -> float:
    """The largest threshold below which at most a share of the weight lies; distances ascend, NaN and inf last."""
    weight = np.ones(len(distances)) if weight is None else weight
    distances, total = distances[weight > 0], np.cumsum(weight[weight > 0])
    allowed, usable = (
        int(np.searchsorted(total, far * total[-1] + 1e-9, side="right")),
        int(np.isfinite(distances).sum()),
    )
    if allowed >= usable:  # even if each pair that can be accepted is
        return float(distances[usable - 1] + 1e-6) if usable else 0.0
    return _between(distances[max(0, allowed - 1)], distances[allowed])


def choose_threshold(distances: np.ndarray, same: np.ndarray, far: float | None = None) -> float:
    """The threshold to use from now on: choose it on other people than are scored.

    Args:
        distances: (n,), NaN where a photo could not be used: never accepted.
        same: (n,) bool.
        far: The share of the different pairs that may be accepted, in 0..1; None for the highest accuracy.

    Returns:
        ``best_threshold``, or the largest threshold at which at most a share ``far`` of the different pairs is
        accepted (``threshold_at``).

    Raises:
        BadArgument: If fewer than 10 false accepts would decide it, or same pairs are not nearer than different ones.

    Example:
        >>> choose_threshold([0.2, 0.4, 0.8, 1.0], [True, True, False, False])
        0.6
    """
    distances, same = check_pairs(distances, same)
    if not area_under_roc(distances, same) > 0.5:
        raise BadArgument(
            f"the same pairs of these {len(same)} are not nearer than the different ones: are they distances?"
        )
    if far is None:
        return best_threshold(distances, same)
    check_share("far", far)
    if _too_few((~same).sum(), far):
        needed = math.ceil(FEWEST / far - 1e-9)
        raise BadArgument(f"far={far}: it takes {needed} different pairs to say, here are {(~same).sum()}")
    return threshold_at(distances[~same], far)


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
    check_share("far", far)
    return None if _too_few((~same).sum(), far) else _true_accepts(distances, same, far)(np.ones(len(same)))


def _true_accepts(distances: np.ndarray, same: np.ndarray, far: float) -> Callable[[np.ndarray], float]:
    """The share of same pairs accepted where at most a share ``far`` of the others is, for any weights (n,) of them.

    The pairs are sorted once: a million of them are weighed two hundred times in seconds.
    """
    usable = np.flatnonzero(np.isfinite(distances))
    order = usable[np.argsort(distances[usable], kind="stable")]
    ends = np.flatnonzero(np.diff(distances[order], append=np.inf))  # equal distances are accepted together

    def share(weight: np.ndarray) -> float:
        sums = (np.cumsum(np.where(kind, weight, 0)[order])[ends] / weight[kind].sum() for kind in (~same, same))
        false_accepts, true_accepts = (np.append(0.0, accepted) for accepted in sums)
        return float(true_accepts[np.searchsorted(false_accepts, far, side="right") - 1])

    return share


def check_share(name: str, share: float) -> None:
    """Refuse what is no share between 0 and 1."""
    if not _are_numbers([share]) or not 0 < share < 1:
        raise BadArgument(f"{name}={share!r}: a share in 0..1")


def check_threshold(threshold: float) -> None:
    """Refuse what is no distance: with NaN nothing is ever accepted, which looks safe and is not."""
    if not _are_numbers([threshold]):
        raise BadArgument(f"threshold={threshold!r}: a distance")


def _too_few(negatives: float, share: float) -> bool:
    """Would fewer than 10 false accepts decide it? Then it is better not said."""
    return negatives * share < FEWEST - 1e-9


# ------------------------------------------------------------------------------------------------ folds
def person_folds(people: np.ndarray, folds: int = 10, seed: int = 0) -> np.ndarray:
    """Deal *people* to folds: in which fold does each pair lie with both of its people?

    Of different pairs that were drawn from everybody, only one in ``folds`` stays within a fold. Who wants more draws
    them within the folds, as the makers of LFW did.

    Args:
        people: (n, 2), the identity in the first and in the second photo.
        folds: How many; each gets equally many people, give or take one.
        seed: Of the dealing, which depends on the names and not on the order of the pairs.

    Returns:
        (n,) the number of each pair's fold; -1 where its two people lie in different folds.

    Example:
        >>> person_folds([["ada", "ada"], ["bob", "bob"], ["ada", "bob"]], folds=2).tolist()
        [0, 1, -1]
    """
    names, index = _people(people)
    if not 2 <= folds <= len(names):
        raise BadArgument(f"folds={folds}: 2 to {len(names)}, the number of people")
    fold = np.random.default_rng(seed).permutation(len(names)) % folds
    first, second = fold[index].T
    return np.where(first == second, first, -1)


def _people(people: np.ndarray, pairs: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    """The names, in order, and the two numbers (n, 2) of each pair."""
    shape = np.shape(people)
    if len(shape) != 2 or shape != (len(people) if pairs is None else pairs, 2):
        of = "" if pairs is None else f" of the {pairs}"
        raise BadArgument(f"people {shape}: two identities for each{of} pairs are needed")
    names, index = np.unique(np.asarray(people), return_inverse=True)
    return names, index.reshape(-1, 2)


@dataclass(frozen=True)
class Protocol:
    """What a protocol with folds found.

    Attributes:
        folds: A row per fold: ``fold``, ``pairs``, ``threshold`` (chosen on the other folds) and ``accuracy``.
        accuracy: The mean over the folds.
        standard_error: Of that mean.
    """

    folds: pd.DataFrame
    accuracy: float
    standard_error: float

    def __str__(self) -> str:
        return f"{self.accuracy:.4f} ± {self.standard_error:.4f}"


def lfw_protocol(distances: np.ndarray, same: np.ndarray, folds: np.ndarray) -> Protocol:
    """The protocol of Labeled Faces in the Wild: each fold with the threshold that is best on all others.

    Args:
        distances: (n,), NaN where a photo could not be used: a mistake whatever the threshold is.
        same: (n,) bool.
        folds: (n,) the number of each pair's fold; a pair in fold -1 is used by nobody.

    Returns:
        The folds, their mean accuracy, and its standard error: their deviation (with n − 1) over √n.

    Raises:
        BadArgument: If there are fewer than two folds, or the others of a fold have pairs of one kind only.

    Example:
        >>> print(lfw_protocol([0.3, 0.9, 0.4, 1.0, 0.8, 0.7], 3 * [True, False], [0, 0, 1, 1, 2, 2]))
        0.8333 ± 0.1667

    Source: Huang et al., "Labeled Faces in the Wild", 2007: view 2.
    """
    distances, same = check_pairs(distances, same)
    folds = np.asarray(folds)
    if folds.shape != same.shape or not np.issubdtype(folds.dtype, np.integer):
        raise BadArgument(f"folds {folds.shape} {folds.dtype}: a whole number for each of the {len(same)} pairs")
    numbers = np.unique(folds[folds >= 0])
    if len(numbers) < 2:
        raise BadArgument(f"folds: {len(numbers)} of them; two are needed, one to choose and one to score")
    table = pd.DataFrame([_fold(distances, same, folds, number) for number in numbers])
    return Protocol(table, float(table.accuracy.mean()), float(table.accuracy.sem()))


def _fold(distances: np.ndarray, same: np.ndarray, folds: np.ndarray, number: int) -> dict[str, float]:
    """Score a fold with the threshold of the others."""
    here, others = folds == number, (folds != number) & (folds >= 0)
    threshold = best_threshold(distances[others], same[others])
    right = _right(distances[here], same[here], threshold)
    return {"fold": int(number), "pairs": int(here.sum()), "threshold": threshold, "accuracy": float(right.mean())}


# -------------------------------------------------------------------------------- intervals over people
def bootstrap(
    statistic: Statistic,
    distances: np.ndarray,
    same: np.ndarray,
    people: np.ndarray,
    samples: int = 2000,
    seed: int = 0,
) -> Interval:
    """Any statistic of pairs with a 95 % interval over *people*: other people might have been in the test.

    Pairs that share a person succeed or fail together, so people are drawn anew, not pairs: a person drawn
    c times gives their same pairs the weight c, and a different pair the product of its two counts.

    Args:
        statistic: Of (distances, same, weight), each (n,); with weights of 1 it is the statistic of the list.
        distances: (n,), NaN where a photo could not be used.
        same: (n,) bool.
        people: (n, 2), the identity in the first and in the second photo.
        samples: How often people are drawn.
        seed: Of the drawing.

    Returns:
        The statistic, and its 2.5 % and 97.5 % quantiles.

    Source: Efron and Tibshirani, "An Introduction to the Bootstrap", 1993, chapter 13.

    Example:
        >>> people = [["ada", "ada"], ["bob", "bob"], ["ada", "bob"]]
        >>> nearest = lambda distances, same, weight: distances[weight > 0].min()
        >>> print(bootstrap(nearest, [0.3, 0.4, 0.9], [True, True, False], people))
        0.3000 [0.3000, 0.3000]
    """
    distances, same = check_pairs(distances, same)
    value = statistic(distances, same, np.ones(len(same)))
    return _interval(value, (statistic(distances, same, w) for w in _people_drawn(people, same, samples, seed)))


def _interval(value: float, scores: Iterable[float]) -> Interval:
    """A value between the 2.5 % and 97.5 % quantiles of what it was for other people."""
    scores = np.fromiter(scores, np.float64)
    if not len(scores):
        raise BadArgument("too few people to draw them anew: no drawing had same pairs and different ones")
    low, high = np.quantile(scores, [0.025, 0.975])
    return Interval(float(value), float(low), float(high))


def _people_drawn(people: np.ndarray, same: np.ndarray, samples: int, seed: int) -> Iterator[np.ndarray]:
    """Draw people anew, again and again: how much each pair (n,) counts then."""
    names, index = _people(people, len(same))
    rng = np.random.default_rng(seed)
    for _ in range(samples):
        count = _count(rng, len(names))
        weight = count[index[:, 0]] * np.where(same, 1, count[index[:, 1]])
        if all(weight[kind].any() for kind in (same, ~same) if kind.any()):
            yield weight


def _count(rng: np.random.Generator, people: int) -> np.ndarray:
    """Draw as many people as there are: how often each (people,) was drawn."""
    return np.bincount(rng.integers(max(1, people), size=people), minlength=people)


def bootstrap_accuracy(
    distances: np.ndarray,
    same: np.ndarray,
    people: np.ndarray,
    threshold: float,
    samples: int = 2000,
    seed: int = 0,
) -> Interval:
    """Accuracy with a 95 % interval over *people*: other people might have been in the test.

    The two kinds of pairs keep the proportion that they have in the list, whoever is drawn.

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
    right = _right(distances, same, threshold)
    scores = (_balanced(right, same, weight) for weight in _people_drawn(people, same, samples, seed))
    return _interval(right.mean(), scores)


def _balanced(right: np.ndarray, same: np.ndarray, weight: np.ndarray) -> float:
    """The weighted accuracy, with the two kinds of pairs in the proportion that they have in the list."""
    share = same.mean()
    parts = [(part, kind) for part, kind in ((share, same), (1 - share, ~same)) if kind.any()]
    return sum(part * np.average(right[kind], weights=weight[kind]) for part, kind in parts)


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
    before, same = check_pairs(before, same)
    after, _ = check_pairs(after, same)
    right = [_right(found, same, threshold) for found, threshold in zip((before, after), thresholds, strict=True)]
    gain = right[1].astype(float) - right[0]
    scores = (_balanced(gain, same, weight) for weight in _people_drawn(people, same, samples, seed))
    return _interval(gain.mean(), scores)


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
    return _interval(values.mean(), means)


def bootstrap_auc(
    distances: np.ndarray, same: np.ndarray, people: np.ndarray, samples: int = 2000, seed: int = 0
) -> Interval:
    """``area_under_roc`` with a 95 % interval over people; the arguments are those of ``bootstrap``."""
    value = area_under_roc(distances, same)
    distances, same = check_pairs(distances, same)
    ranks = _ranks(distances, same)
    return _interval(value, (_nearer(ranks, same, weight) for weight in _people_drawn(people, same, samples, seed)))


def _nearer(ranks: np.ndarray, same: np.ndarray, weight: np.ndarray) -> float:
    """The weighted AUC from ranks 0, 1, …: what roc_auc_score(sample_weight) says, a hundred times as fast."""
    near, far = (np.bincount(ranks[k], weight[k], minlength=ranks.max() + 1) for k in (same, ~same))
    farther = far.sum() - far.cumsum() + far / 2  # an equal distance is half a win
    return float(near @ farther / (near.sum() * far.sum()))


def bootstrap_equal_error(
    distances: np.ndarray, same: np.ndarray, people: np.ndarray, samples: int = 2000, seed: int = 0
) -> Interval:
    """The rate of ``equal_error`` with a 95 % interval over people; the arguments are those of ``bootstrap``."""
    distances, same = check_pairs(distances, same)
    corners = _corners(distances)
    return bootstrap(lambda d, s, w: _meeting(*_accepted(d, s, corners, w))[1], distances, same, people, samples, seed)


def bootstrap_true_accepts(
    distances: np.ndarray, same: np.ndarray, people: np.ndarray, far: float, samples: int = 2000, seed: int = 0
) -> Interval | None:
    """``true_accepts_at`` with a 95 % interval over people; None where fewer than 10 false accepts would decide it.

    In every drawing the threshold is that at which the drawn people's false accepts are at most ``far``, so that its
    uncertainty is in the interval. The other arguments are those of ``bootstrap``.
    """
    if true_accepts_at(distances, same, far) is None:
        return None
    share = _true_accepts(*check_pairs(distances, same), far)
    return bootstrap(lambda _, __, weight: share(weight), distances, same, people, samples, seed)


def verification_table(
    distances: np.ndarray,
    same: np.ndarray,
    people: np.ndarray,
    fars: Sequence[float] = (0.1, 0.01, 0.001),
    samples: int = 2000,
    seed: int = 0,
) -> pd.DataFrame:
    """True accepts at each share of false accepts that may be, with 95 % intervals over people.

    Args:
        distances: (n,), NaN where a photo could not be used: never accepted.
        same: (n,) bool.
        people: (n, 2), the identity in the first and in the second photo.
        fars: The shares of different pairs that may be accepted, each in 0..1.
        samples: How often people are drawn.
        seed: Of the drawing.

    Returns:
        A row per share: ``far``, ``true_accepts``, ``low``, ``high``, and ``decided_by``, how many different pairs that
        share is. Where these are fewer than 10 the numbers are withheld: NaN.
    """
    rows = []
    for far in fars:
        found = bootstrap_true_accepts(distances, same, people, far, samples, seed)
        value, low, high = (np.nan,) * 3 if found is None else (found.value, found.low, found.high)
        decided_by = int(np.sum(~np.asarray(same, bool)) * far + 1e-9)
        rows.append({"far": far, "true_accepts": value, "low": low, "high": high, "decided_by": decided_by})
    return pd.DataFrame(rows)


# -------------------------------------------------------------------------------------------- strangers
def identification(distances: np.ndarray, gallery: np.ndarray, probes: np.ndarray) -> pd.DataFrame:
    """Who is nearest to each probe, and how near is the right one? 1:K, people who are not known among the probes.

    Args:
        distances: (p, g), from each probe to each encoding of the gallery; NaN where a photo could not be used.
        gallery: (g,), whose the encodings are. An identity may come again: their distance is that of their nearest.
        probes: (p,), who the probes really show.

    Returns:
        A row per probe: ``identity``, ``nearest``, whose encoding is the nearest, and its ``distance``; ``is_known``,
        is the identity in the gallery; of those who are, the ``rank`` of their own identity, 1 for the nearest, and
        its ``true_distance``. An equal distance counts against us. For a probe without a distance ``nearest`` is
        missing too, and the rank is K + 1, one more than there are identities.

    Example:
        >>> table = identification([[0.3, 0.9, 0.6], [0.5, 0.4, 1.1]], ["ada", "bob", "bob"], ["ada", "eve"])
        >>> table[["identity", "nearest", "distance", "is_known", "rank"]].values.tolist()
        [['ada', 'ada', 0.3, True, 1], ['eve', 'bob', 0.4, False, <NA>]]
    """
    distances, gallery, probes = np.asarray(distances, np.float64), np.asarray(gallery), np.asarray(probes)
    if distances.shape != (*probes.shape, *gallery.shape) or probes.ndim != 1 or not distances.size:
        raise BadArgument(f"distances {distances.shape}: probes {probes.shape} × gallery {gallery.shape} are needed")
    names, distances = _by_identity(distances, gallery)
    own = names[None] == probes[:, None]  # (p, K), one True in the row of a known person
    true_distance = np.where(own, distances, np.inf).min(axis=1)
    others = np.where(own, np.inf, distances)
    rank = np.where(np.isfinite(true_distance), 1 + (others <= true_distance[:, None]).sum(axis=1), len(names) + 1)
    found = np.where((rank == 1)[:, None], own, others == others.min(axis=1, keepdims=True)).argmax(axis=1)
    nearest, known = distances.min(axis=1), own.any(axis=1)
    return pd.DataFrame(
        {
            "identity": probes,
            "nearest": np.where(np.isfinite(nearest), names[found].astype(object), None),
            "distance": np.where(np.isfinite(nearest), nearest, np.nan),
            "is_known": known,
            "rank": pd.Series(rank, dtype="Int64").mask(~known),
            "true_distance": np.where(np.isfinite(true_distance), true_distance, np.nan),
        }
    )


def _by_identity(distances: np.ndarray, gallery: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The identities (K,), in order, and the distance (p, K) to the nearest encoding of each; inf for none."""
    names, owner = np.unique(gallery, return_inverse=True)
    distances = np.where(np.isfinite(distances), distances, np.inf)
    return names, np.stack([distances[:, owner == k].min(axis=1) for k in range(len(names))], axis=1)


def cmc(table: pd.DataFrame, ranks: int = 20) -> pd.DataFrame:
    """Among so many candidates, is the right one? The cumulative match characteristic.

    Args:
        table: Of ``identification``.
        ranks: Up to which rank.

    Returns:
        A row per ``rank`` from 1: the ``share`` of the known people's probes whose own identity has it or a better one.
        A probe without a distance is never found.

    Raises:
        BadArgument: If no probe shows a known person.

    Source: ISO/IEC 19795-1, "Biometric performance testing and reporting".
    """
    known = _known(table)
    rank = np.where(known.true_distance.notna(), known["rank"].astype(float), np.inf)
    numbers = np.arange(1, ranks + 1)
    return pd.DataFrame({"rank": numbers, "share": (rank <= numbers[:, None]).mean(axis=1)})


def _known(table: pd.DataFrame) -> pd.DataFrame:
    """The probes that show somebody who is in the gallery."""
    known = table[table.is_known]
    if known.empty:
        raise BadArgument(f"none of the {len(table)} probes shows a person of the gallery")
    return known


@dataclass(frozen=True)
class OpenSet:
    """How a gallery does among strangers.

    Attributes:
        fpir: The share of the strangers' probes that may be accepted as somebody (false positive identification rate).
        threshold: At which it is kept; accept below it.
        detected: The share of the known people's probes that are accepted as who they are: DIR, which is 1 − FNIR.
        false_alarms: The share of these strangers' probes that is accepted; None where there are none.
        known: How many probes show known people.
        strangers: How many probes show others.
    """

    fpir: float
    threshold: float
    detected: Interval
    false_alarms: Interval | None
    known: int
    strangers: int

    def __str__(self) -> str:
        return f"{self.detected} of {self.known} known at FPIR {self.fpir:g}, threshold {self.threshold:.4g}"


def open_set(
    table: pd.DataFrame, fpir: float, threshold: float | None = None, samples: int = 2000, seed: int = 0
) -> OpenSet | None:
    """How many known people are found, and found to be themselves, where few strangers are let through?

    Args:
        table: Of ``identification``.
        fpir: The share of the strangers' probes that may be accepted as somebody, in 0..1.
        threshold: One that was chosen on other strangers; by default it is chosen on these, and in every drawing anew.
        samples: How often people are drawn: the known ones and the strangers, each among themselves. The gallery stays.
        seed: Of the drawing.

    Returns:
        The shares with 95 % intervals over people; None where the threshold would be decided by fewer than 10 false
        alarms.

    Raises:
        BadArgument: If no probe shows a known person.

    Source: Grother, Ngan and Hanaoka, NISTIR 8271, "FRVT Part 2: Identification", 2019, at rank 1;
    ISO/IEC 19795-1.
    """
    check_share("fpir", fpir)
    if threshold is not None:
        check_threshold(threshold)
    known, strangers = _known(table), table[~table.is_known].sort_values("distance")
    if threshold is None and _too_few(len(strangers), fpir):
        return None
    hits = np.where(known["rank"] == 1, known.distance, np.inf)  # from here on each of them is found
    alarms = np.nan_to_num(strangers.distance.to_numpy(np.float64), nan=np.inf)

    def shares(of_known: np.ndarray, of_strangers: np.ndarray) -> tuple[float, float, float]:
        at = _threshold(alarms, fpir, of_strangers) if threshold is None else float(threshold)
        return at, _share(hits < at, of_known), _share(alarms < at, of_strangers)

    at, detected, false_alarms = shares(np.ones(len(hits)), np.ones(len(alarms)))
    drawn = zip(_drawn(known.identity, samples, seed), _drawn(strangers.identity, samples, seed + 1), strict=True)
    scores = np.array([shares(*weights)[1:] for weights in drawn])
    measured = _interval(false_alarms, scores[:, 1]) if len(strangers) else None
    return OpenSet(fpir, at, _interval(detected, scores[:, 0]), measured, len(known), len(strangers))


def _drawn(identities: pd.Series, samples: int, seed: int) -> Iterator[np.ndarray]:
    """Draw people anew, again and again: how much each of their probes (n,) counts then."""
    index, names = pd.factorize(identities, sort=True)
    rng = np.random.default_rng(seed)
    for _ in range(samples):
        yield _count(rng, len(names))[index]


def _share(which: np.ndarray, weight: np.ndarray) -> float:
    """The weighted share; NaN of nothing."""
    return float(which @ weight / weight.sum()) if len(weight) else math.nan


def dir_curve(table: pd.DataFrame) -> pd.DataFrame:
    """Known people found against strangers let through, at every threshold where something changes.

    Args:
        table: Of ``identification``.

    Returns:
        A table by ascending ``threshold``: ``fpir``, the share of the strangers' probes that is accepted as somebody,
        and ``dir``, the share of the known people's probes that is accepted as who they are.

    Raises:
        BadArgument: If no probe shows a known person, or none a stranger.

    Source: Grother, Ngan and Hanaoka, NISTIR 8271, 2019: its FNIR is 1 − ``dir``.
    """
    known, strangers = _known(table), table[~table.is_known]
    if strangers.empty:
        raise BadArgument(f"each of the {len(table)} probes shows a person of the gallery: strangers are needed")
    hits = np.where(known["rank"] == 1, known.distance, np.nan)
    distances = np.concatenate([strangers.distance.to_numpy(np.float64), hits])
    thresholds = _corners(distances)
    fpir, found = _accepted(distances, np.arange(len(table)) >= len(strangers), thresholds)
    return pd.DataFrame({"threshold": thresholds, "fpir": fpir, "dir": found})


# ---------------------------------------------------------------------------------------- probabilities
def reliability(scores: np.ndarray, same: np.ndarray, bins: int = 10, weight: np.ndarray | None = None) -> pd.DataFrame:
    """Does a score mean what it says? Of pairs that score 0.8, how many show one person?

    Args:
        scores: (n,) in 0..1, higher means the same person.
        same: (n,) bool.
        bins: So many groups with equally many pairs each, by score.
        weight: (n,) how much each pair counts, 0 or more; by default 1. The groups then weigh about equally much, and a
            group that would weigh nothing is left out.

    Returns:
        A row per group: ``score``, the mean, ``share``, how many of its pairs show one person, and ``pairs``, or what
        they weigh.

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
    order = np.argsort(scores, kind="stable")
    if weight is None:
        weight, groups = np.ones(len(scores), int), np.array_split(order, bins)
    else:
        weight = _weight(weight, len(scores))
        groups = _split(order[weight[order] > 0], weight, bins)
    return pd.DataFrame(
        {
            "score": [np.average(scores[group], weights=weight[group]) for group in groups],
            "share": [np.average(same[group], weights=weight[group]) for group in groups],
            "pairs": [weight[group].sum() for group in groups],
        }
    )


def _weight(weight: np.ndarray, pairs: int) -> np.ndarray:
    """A weight for each pair, or say what is wrong with them."""
    weight = np.asarray(weight, np.float64)
    if weight.shape != (pairs,) or not (weight >= 0).all() or not 0 < weight.sum() < np.inf:
        raise BadArgument(f"weight {weight.shape}: a number of 0 or more for each of the {pairs} pairs, not all 0")
    return weight


def _split(order: np.ndarray, weight: np.ndarray, bins: int) -> list[np.ndarray]:
    """Cut a list of pairs into groups that weigh about equally much."""
    middle = np.cumsum(weight[order]) - weight[order] / 2
    cuts = np.searchsorted(middle, np.arange(1, bins) / bins * weight[order].sum())
    return [group for group in np.split(order, cuts) if len(group)]


def calibration_error(
    probability: np.ndarray, same: np.ndarray, bins: int = 10, weight: np.ndarray | None = None
) -> float:
    """How far probabilities lie from what happens, on average over groups of pairs (the expected calibration error).

    Also a perfect probability has one above 0 on few pairs: each group's share is off by chance.

    Args:
        probability: (n,) in 0..1, that a pair shows one person; a pair without one (NaN) says nothing and is left out.
        same: (n,) bool.
        bins: So many groups with equally many pairs each (``reliability``).
        weight: (n,) how much each pair counts.

    Example:
        >>> calibration_error([0.1, 0.1, 0.9, 0.9], [False, False, True, True], bins=2)
        0.1

    Source: Naeini, Cooper and Hauskrecht, "Obtaining well calibrated probabilities using Bayesian binning", 2015,
    with bins of equally many pairs.
    """
    probability, same = check_pairs(probability, same)
    usable = ~np.isnan(probability)
    weight = None if weight is None else _weight(weight, len(same))[usable]
    table = reliability(probability[usable], same[usable], bins, weight)
    return round(float(np.average((table.score - table.share).abs(), weights=table.pairs)), 12)


def calibration_error_by_chance(
    probability: np.ndarray, bins: int = 10, samples: int = 1000, seed: int = 0
) -> Interval:
    """What ``calibration_error`` would be if every probability were right: the mean, and where 95 % of the cases lie.

    Whatever lies within is as good as can be seen with so many pairs.

    Args:
        probability: (n,) in 0..1; NaN is left out.
        bins: As in ``calibration_error``.
        samples: How often the truth is drawn, pair by pair, with just these probabilities.
        seed: Of the drawing.
    """
    probability = np.asarray(probability, np.float64)
    probability, rng = probability[~np.isnan(probability)], np.random.default_rng(seed)
    draws = (rng.random(len(probability)) < probability for _ in range(samples))
    errors = [calibration_error(probability, same, bins) for same in draws if same.any() and not same.all()]
    return _interval(float(np.mean(errors)), errors)


def bootstrap_calibration_error(
    probability: np.ndarray,
    same: np.ndarray,
    people: np.ndarray,
    bins: int = 10,
    samples: int = 1000,
    seed: int = 0,
) -> Interval:
    """``calibration_error`` with a 95 % interval over people, the two kinds of pairs in the proportion of the list.

    Few pairs raise the error, and drawing them anew raises it as much again. So the interval begins where the basic one
    does, as far below the value as the drawings went above it, and ends where the drawings end: wide, to be safe.

    Source: Davison and Hinkley, "Bootstrap Methods and their Application", 1997, section 5.2, for the lower end.
    """
    usable = ~np.isnan(np.asarray(probability, np.float64))
    probability, same, people = (np.asarray(a)[usable] for a in (probability, same, people))

    def error(probability: np.ndarray, same: np.ndarray, weight: np.ndarray) -> float:
        return calibration_error(probability, same, bins, _in_proportion(weight, same))

    found = bootstrap(error, probability, same, people, samples, seed)
    return Interval(found.value, max(0.0, min(2 * found.value - found.high, found.value)), max(found.high, found.value))


def _in_proportion(weight: np.ndarray, same: np.ndarray) -> np.ndarray:
    """Weights that give the same pairs, and the different ones, as much as they have in the list."""
    return weight * np.where(same, same.sum() / weight[same].sum(), (~same).sum() / weight[~same].sum())


@dataclass(frozen=True)
class Probability:
    """The probability that two photos show one person, from their distance: ``probability(distances)``.

    Attributes:
        method: ``"logistic"``, a straight line in the log odds, or ``"isotonic"``, knots with straight lines between.
        prior: How probable one person is before the distance is known, in 0..1.
        distances: (k,) of the knots, ascending; a line has two.
        log_odds: (k,) at the knots, falling, for a prior of 0.5.

    Raises:
        BadArgument: If they make no sense.

    Example:
        >>> probability = Probability("logistic", 0.5, (0.4, 1.0), (3.0, -3.0))
        >>> probability([0.4, 0.7, 1.0]).round(3).tolist(), probability(0.7, prior=0.1).round(3).item()
        ([0.953, 0.5, 0.047], 0.1)
    """

    method: str
    prior: float
    distances: tuple[float, ...]
    log_odds: tuple[float, ...]

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise BadArgument(f"method={self.method!r}: one of {', '.join(METHODS)}")
        if not _are_numbers([self.prior]) or not 0 < self.prior < 1:
            raise BadArgument(f"prior={self.prior!r}: a share in 0..1")
        for name in ("distances", "log_odds"):
            if not isinstance(getattr(self, name), tuple) or not _are_numbers(getattr(self, name)):
                raise BadArgument(f"{name}={getattr(self, name)!r}: a list of numbers")
        if len(self.distances) != len(self.log_odds) or not 2 <= len(self.distances) <= MOST[self.method]:
            raise BadArgument(
                f"{len(self.distances)} distances and {len(self.log_odds)} log_odds make no {self.method}"
            )
        if (np.diff(self.distances) <= 0).any() or (np.diff(self.log_odds) > 0).any() or not self._falls:
            raise BadArgument("the distances must rise and the log_odds fall: the farther, the less probable")

    @property
    def _falls(self) -> bool:
        return self.log_odds[0] > self.log_odds[-1]

    def __call__(self, distances: np.ndarray, prior: float | None = None) -> np.ndarray:
        """The probability at each distance; NaN where there is none.

        Args:
            distances: Of any shape.
            prior: How probable one person is before the distance is known, in 0..1; by default the one fitted with.
        """
        prior = self.prior if prior is None else prior
        check_share("prior", prior)
        distances = np.asarray(distances, np.float64)
        x, y = np.array(self.distances), np.array(self.log_odds)
        if self.method == "logistic":
            odds = y[0] + (distances - x[0]) * (y[1] - y[0]) / (x[1] - x[0])
        else:
            odds = np.interp(distances, x, y)
        with np.errstate(invalid="ignore"):  # NaN stays NaN, without a word
            return np.exp(-np.logaddexp(0, -(odds + _logit(prior))))

    def to_dict(self) -> dict[str, Any]:
        """Numbers and words, ready for a JSON file."""
        return asdict(self) | {"distances": list(self.distances), "log_odds": list(self.log_odds)}

    @classmethod
    def from_dict(cls, given: Mapping[str, Any]) -> Probability:
        """What ``to_dict`` wrote; BadArgument if it did not.

        Example:
            >>> probability = fit_probability([0.2, 0.4, 0.3, 0.8, 1.0], [True, True, False, False, False])
            >>> Probability.from_dict(probability.to_dict()) == probability
            True
        """
        names = {"method", "prior", "distances", "log_odds"}
        if not isinstance(given, Mapping) or set(given) != names:
            raise BadArgument(f"a probability is a dict of {', '.join(sorted(names))}; this is {given!r}")
        return cls(**{name: tuple(value) if isinstance(value, list) else value for name, value in given.items()})


#: How a probability may depend on the distance, and how many knots that has at most.
MOST = {"logistic": 2, "isotonic": 10_000}
METHODS = tuple(MOST)


def _are_numbers(values: Iterable[Any]) -> bool:
    """Finite, and numbers, not True or "0.5"."""
    return all(
        isinstance(v, (int, float, np.integer, np.floating)) and not isinstance(v, bool) and math.isfinite(v)
        for v in values
    )


def _logit(share: float) -> float:
    return math.log(share) - math.log1p(-share)


def fit_probability(
    distances: np.ndarray, same: np.ndarray, method: str = "logistic", prior: float = 0.5
) -> Probability:
    """Learn from pairs what a distance means: on other people than it is used for.

    Args:
        distances: (n,), pairs without one (NaN) are left out.
        same: (n,) bool.
        method: ``"logistic"`` for a straight line in the log odds; ``"isotonic"`` for whatever falls, which takes more
            pairs (a thousand) to learn.
        prior: How probable one person is before the distance is known. The same pairs weigh this much, the different
            ones the rest, however many there are of each.

    Raises:
        BadArgument: If same pairs are not nearer than different ones.

    Source: Platt, "Probabilistic outputs for support vector machines", 1999 (its targets keep pairs that are told
    apart from infinite odds); Zadrozny and Elkan, "Transforming classifier scores into accurate multiclass probability
    estimates", 2002 (isotonic; here each end counts one more pair of both kinds, so that no probability is 0 or 1).
    """
    check_share("prior", prior)
    if method not in METHODS:
        raise BadArgument(f"method={method!r}: one of {', '.join(METHODS)}")
    distances, same = check_pairs(distances, same)
    distances, same = check_pairs(distances[np.isfinite(distances)], same[np.isfinite(distances)])
    fit = _fit_line if method == "logistic" else _fit_steps
    knots, odds = fit(distances, same, np.where(same, prior / same.sum(), (1 - prior) / (~same).sum()))
    if not odds[0] > odds[-1]:
        raise BadArgument(f"the same pairs of these {len(same)} are not nearer than the different ones")
    knots, kept = np.unique([_short(knot) for knot in knots], return_index=True)
    return Probability(
        method, float(prior), tuple(knots.tolist()), tuple(_short(odds[k] - _logit(prior)) for k in kept)
    )


def _short(number: float) -> float:
    """In nine digits, enough for any float32."""
    return float(f"{number:.9g}")


def _fit_line(distances: np.ndarray, same: np.ndarray, weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The log odds at the nearest and the farthest distance: logistic regression on Platt's targets."""
    from sklearn.linear_model import LogisticRegression

    ends = np.array([distances.min(), distances.max()])
    middle, scale = distances.mean(), distances.std() or 1.0
    x, target = (distances - middle) / scale, np.where(same, 1 - 1 / (same.sum() + 2), 1 / ((~same).sum() + 2))
    both, kind = np.concatenate([x, x])[:, None], np.repeat([True, False], len(x))
    weights = len(x) * np.concatenate([weight * target, weight * (1 - target)])
    line = LogisticRegression(C=1e6, tol=1e-10, max_iter=1000).fit(both, kind, weights)
    return ends, line.decision_function((ends[:, None] - middle) / scale)


def _fit_steps(distances: np.ndarray, same: np.ndarray, weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The log odds at the knots of the best falling function, with a pair of each kind more at either end."""
    from sklearn.isotonic import IsotonicRegression

    ends = np.repeat([distances.min(), distances.max()], 2)
    kind = np.concatenate([same, [True, False, True, False]])
    extra = np.where(kind[-4:], weight[same][0], weight[~same][0])
    steps = IsotonicRegression(increasing=False)
    steps.fit(np.concatenate([distances, ends]), kind, np.concatenate([weight, extra]))
    share = steps.y_thresholds_
    return steps.X_thresholds_, np.log(share) - np.log1p(-share)


# ----------------------------------------------------------------------------------------------- groups
def false_accepts_by_group(
    encodings: np.ndarray,
    groups: np.ndarray,
    threshold: float,
    people: np.ndarray | None = None,
    samples: int = 200,
    seed: int = 0,
) -> pd.DataFrame:
    """Between which groups are strangers mistaken for each other? All pairs of pictures of two people are looked at.

    Ten thousand pictures make fifty million pairs; only those that are accepted are kept.

    Args:
        encodings: (m, D) of unit length; NaN where a photo could not be used: never accepted.
        groups: (m,), the group of each picture.
        threshold: Accept below it.
        people: (m,), who each picture shows; by default each shows another person.
        samples: How often people are drawn.
        seed: Of the drawing.

    Returns:
        A row per pair of groups, a group with itself first of all: ``group``, ``other``, ``people`` in the two,
        ``pairs``, ``false_accepts``, the share of them that is accepted, and its 95 % interval over people, ``low`` and
        ``high``. Where none was accepted, ``high`` is the share at which as many independent cases as there are people
        in the smaller group would show one with 97.5 %. Where there are no pairs the shares are NaN.
    """
    check_threshold(threshold)
    encodings, (labels, group), (names, person) = _pictures(encodings, groups, people)
    pictures = np.zeros((len(names), len(labels)))
    np.add.at(pictures, (person, group), 1)
    accepted = [(person[i], person[j], group[i], group[j]) for i, j in _accepted_pairs(encodings, person, threshold)]
    possible, found = _possible(pictures), _found(accepted, len(labels), np.ones(len(names)))
    rng, drawn = np.random.default_rng(seed), []
    for _ in range(samples):
        count = _count(rng, len(names))
        drawn.append(_ratio(_found(accepted, len(labels), count), _possible(pictures * count[:, None])))
    low, high = _quantiles(np.array(drawn))
    people_in = np.minimum.outer(*2 * [(pictures > 0).sum(axis=0)])  # in the smaller of two groups
    high = np.where((found == 0) & (possible > 0), _unseen(people_in), high)
    g, h = np.triu_indices(len(labels))
    return pd.DataFrame(
        {
            "group": labels[g],
            "other": labels[h],
            "people": (pictures[:, g] + pictures[:, h] > 0).sum(axis=0),
            "pairs": possible[g, h].astype(int),
            "false_accepts": _ratio(found, possible)[g, h],
            "low": low[g, h],
            "high": high[g, h],
        }
    )


def _pictures(encodings: np.ndarray, groups: np.ndarray, people: np.ndarray | None) -> tuple:
    """The encodings, float32, and names and numbers of groups and people; or say what is wrong."""
    encodings, groups = np.asarray(encodings, np.float32), np.asarray(groups)
    people = np.arange(len(groups)) if people is None else np.asarray(people)
    if encodings.ndim != 2 or not groups.shape == people.shape == encodings.shape[:1] or not len(groups):
        raise BadArgument(f"encodings {encodings.shape}: a group {groups.shape} and a person {people.shape} for each")
    length = np.linalg.norm(encodings, axis=1)
    if (np.abs(length - 1) > 1e-3).any():  # NaN compares as False
        raise BadArgument(
            f"encodings of length {np.nanmin(length):.3g}..{np.nanmax(length):.3g}: unit length is needed"
        )
    return encodings, *(np.unique(labels, return_inverse=True) for labels in (groups, people))


def _accepted_pairs(
    encodings: np.ndarray, person: np.ndarray, threshold: float, block: int = 1024
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """The pairs i < j of two people that are nearer than the threshold, block by block of the rows."""
    likeness = 1 - threshold**2 / 2 if threshold > 0 else np.inf  # |a − b|² = 2 − 2 a·b
    for start in range(0, len(encodings), block):
        i, j = np.nonzero(encodings[start : start + block] @ encodings[start:].T > likeness)
        i, j = i[i < j].astype(np.int32) + start, j[i < j].astype(np.int32) + start
        others = person[i] != person[j]
        yield i[others], j[others]


def _possible(pictures: np.ndarray) -> np.ndarray:
    """How many pairs of two people (groups, groups) there are, from the pictures (people, groups) of each."""
    total = pictures.sum(axis=0)
    pairs = np.outer(total, total) - pictures.T @ pictures
    return pairs / np.where(np.eye(len(total)), 2, 1)  # within a group each was counted from both sides


def _found(accepted: list, groups: int, count: np.ndarray) -> np.ndarray:
    """How many accepted pairs (groups, groups) there are, each as often as its two people were drawn."""
    total = np.zeros(groups * groups)
    for one, other, group, second in accepted:
        code = np.minimum(group, second) * groups + np.maximum(group, second)
        total += np.bincount(code, count[one] * count[other], minlength=groups * groups)
    upper = np.triu(total.reshape(groups, groups))
    return upper + np.triu(upper, 1).T


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    return np.divide(part, whole, out=np.full(whole.shape, np.nan), where=whole > 0)


def _quantiles(drawn: np.ndarray) -> np.ndarray:
    """The two ends of 95 %, over what was drawn with pairs in it; NaN where that never happened."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        return np.nanquantile(drawn, [0.025, 0.975], axis=0)


def _unseen(cases: np.ndarray | float) -> np.ndarray | float:
    """A share so large that it would have shown itself in this many cases with 97.5 % (Clopper and Pearson, 1934)."""
    return 1 - 0.025 ** (1 / np.maximum(cases, 1))


def rates_by_group(
    distances: np.ndarray,
    same: np.ndarray,
    groups: np.ndarray,
    people: np.ndarray,
    threshold: float,
    samples: int = 2000,
    seed: int = 0,
) -> pd.DataFrame:
    """Who is it worse for? The error rates of listed pairs, group by group, with 95 % intervals over people.

    Args:
        distances: (n,), NaN where a photo could not be used.
        same: (n,) bool.
        groups: (n,), the group of each pair.
        people: (n, 2), the identity in the first and in the second photo.
        threshold: Accept below it; one for all, chosen on other people.
        samples: How often people are drawn, within each group.
        seed: Of the drawing.

    Returns:
        A row per group: ``group``, ``pairs``, ``people``, and as Interval ``false_accepts``, ``false_rejects`` and
        ``accuracy``; None where a group has no such pairs. Where no mistake was seen, the interval ends at the rate at
        which as many independent people would show one with 97.5 %.
    """
    check_threshold(threshold)
    distances, same = check_pairs(distances, same)
    groups, (_, person) = np.asarray(groups), _people(people, len(same))
    if groups.shape != same.shape:
        raise BadArgument(f"groups {groups.shape}: one for each of the {len(same)} pairs is needed")
    rows = []
    for label in np.unique(groups):
        own = groups == label
        weights = np.stack(list(_people_drawn(person[own], same[own], samples, seed)))
        row = {"group": label, "pairs": int(own.sum()), "people": len(np.unique(person[own]))}
        rows.append(row | _mistakes(distances[own], same[own], person[own], threshold, weights))
    return pd.DataFrame(rows)


def _mistakes(
    distances: np.ndarray, same: np.ndarray, person: np.ndarray, threshold: float, weights: np.ndarray
) -> dict[str, Interval | None]:
    """The three rates of pairs, with intervals from the weights (samples, n) of the drawings."""
    accepted, right = distances < threshold, _right(distances, same, threshold)

    def share(which: np.ndarray, kind: np.ndarray) -> Interval | None:
        if not kind.any():
            return None
        drawn = weights[:, kind] @ which[kind] / weights[:, kind].sum(axis=1)
        return _with_doubt(_interval(which[kind].mean(), drawn), len(np.unique(person[kind])))

    found = {"false_accepts": share(accepted, ~same), "false_rejects": share(~accepted, same)}
    scores = (_balanced(right, same, weight) for weight in weights)
    return found | {"accuracy": _with_doubt(_interval(right.mean(), scores), len(np.unique(person)))}


def _with_doubt(found: Interval, people: int) -> Interval:
    """An interval that does not take what was not seen in so many people for impossible."""
    low = 1 - _unseen(people) if found.value == 1 else found.low
    high = _unseen(people) if found.value == 0 else found.high
    return Interval(found.value, float(low), float(high))
