"""TODO facerec.evaluation.intervals."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from facerec.errors import BadArgument
from facerec.evaluation.rates import (
    _true_accepts,
    area_under_roc,
    check_pairs,
    corner_thresholds,
    count_accepted,
    find_meeting,
    is_right,
    rank_pairs,
    true_accepts_at,
)

#: A number of (distances, same, weight).
Statistic = Callable[[np.ndarray, np.ndarray, np.ndarray], float]


@dataclass(frozen=True)
class Interval:
    """An estimate with its 95 % interval."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.4f} [{self.low:.4f}, {self.high:.4f}]"


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
    names, index = number_people(people)
    if not 2 <= folds <= len(names):
        raise BadArgument(f"folds={folds}: 2 to {len(names)}, the number of people")
    fold = np.random.default_rng(seed).permutation(len(names)) % folds
    first, second = fold[index].T
    return np.where(first == second, first, -1)


def number_people(people: np.ndarray, pairs: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    """The names, in order, and the two numbers (n, 2) of each pair."""
    shape = np.shape(people)
    if len(shape) != 2 or shape != (len(people) if pairs is None else pairs, 2):
        of = "" if pairs is None else f" of the {pairs}"
        raise BadArgument(f"people {shape}: two identities for each{of} pairs are needed")
    names, index = np.unique(np.asarray(people), return_inverse=True)
    return names, index.reshape(-1, 2)


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
    return percentile_interval(value, (statistic(distances, same, w) for w in draw_people(people, same, samples, seed)))


def percentile_interval(value: float, scores: Iterable[float]) -> Interval:
    """A value between the 2.5 % and 97.5 % quantiles of what it was for other people."""
    scores = np.fromiter(scores, np.float64)
    if not len(scores):
        raise BadArgument("too few people to draw them anew: no drawing had same pairs and different ones")
    low, high = np.quantile(scores, [0.025, 0.975])
    return Interval(float(value), float(low), float(high))


def draw_people(people: np.ndarray, same: np.ndarray, samples: int, seed: int) -> Iterator[np.ndarray]:
    """Draw people anew, again and again: how much each pair (n,) counts then."""
    names, index = number_people(people, len(same))
    rng = np.random.default_rng(seed)
    for _ in range(samples):
        count = count_draws(rng, len(names))
        weight = count[index[:, 0]] * np.where(same, 1, count[index[:, 1]])
        if all(weight[kind].any() for kind in (same, ~same) if kind.any()):
            yield weight


def count_draws(rng: np.random.Generator, people: int) -> np.ndarray:
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
    right = is_right(distances, same, threshold)
    scores = (balanced_accuracy(right, same, weight) for weight in draw_people(people, same, samples, seed))
    return percentile_interval(right.mean(), scores)


def balanced_accuracy(right: np.ndarray, same: np.ndarray, weight: np.ndarray) -> float:
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
    right = [is_right(found, same, threshold) for found, threshold in zip((before, after), thresholds, strict=True)]
    gain = right[1].astype(float) - right[0]
    scores = (balanced_accuracy(gain, same, weight) for weight in draw_people(people, same, samples, seed))
    return percentile_interval(gain.mean(), scores)


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
    return percentile_interval(values.mean(), means)


def bootstrap_auc(
    distances: np.ndarray, same: np.ndarray, people: np.ndarray, samples: int = 2000, seed: int = 0
) -> Interval:
    """``area_under_roc`` with a 95 % interval over people; the arguments are those of ``bootstrap``."""
    value = area_under_roc(distances, same)
    distances, same = check_pairs(distances, same)
    ranks = rank_pairs(distances, same)
    return percentile_interval(
        value, (_nearer(ranks, same, weight) for weight in draw_people(people, same, samples, seed))
    )


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
    corners = corner_thresholds(distances)
    return bootstrap(
        lambda d, s, w: find_meeting(*count_accepted(d, s, corners, w))[1], distances, same, people, samples, seed
    )


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
