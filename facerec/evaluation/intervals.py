"""How sure is a number? 95 % intervals over people, by the bootstrap, and Wilson's interval of a share.

``people`` is an array (n, 2): the identities in the two photos of each pair. Pairs that share a person fail together,
so people are drawn anew, not pairs::

    people a b c d  ──draw 4──►  b b d a  ──►  a pair's weight = how often its people were drawn  ──►  a number
                    2,000 times                the 2.5 % and 97.5 % quantiles of those numbers   ◄──
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from facerec.errors import BadArgument
from facerec.evaluation.rates import (
    area_under_roc,
    check_pairs,
    is_right,
    rank_pairs,
    true_accepts_at,
    weighted_true_accepts,
)

#: A number from (distances, same, weight), each (n,).
Statistic = Callable[[np.ndarray, np.ndarray, np.ndarray], float]


@dataclass(frozen=True)
class Interval:
    """An estimate with its 95 % interval."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.4f} [{self.low:.4f}, {self.high:.4f}]"


def wilson_interval(successes: int, cases: int) -> Interval:
    """A share of independent cases with its 95 % interval, which also holds for few cases.

    Raises:
        BadArgument: If there are no cases, or fewer cases than successes.

    Example:
        >>> print(wilson_interval(9, 10))
        0.9000 [0.5958, 0.9821]

    Source: Wilson, "Probable inference, the law of succession, and statistical inference", 1927.
    """
    from scipy.stats import binomtest

    if not 0 <= successes <= cases or cases < 1:
        raise BadArgument(f"successes={successes!r}, cases={cases!r}: needs 0 ≤ successes ≤ cases, and a case")
    ends = binomtest(int(successes), int(cases)).proportion_ci(confidence_level=0.95, method="wilson")
    return Interval(successes / cases, float(ends.low), float(ends.high))


def limit_of_none(cases: np.ndarray) -> np.ndarray:
    """The upper 95 % limit of a share of which none was seen in so many cases (Clopper and Pearson, 1934)."""
    return 1 - 0.025 ** (1 / np.maximum(cases, 1))


def bootstrap(
    statistic: Statistic,
    distances: np.ndarray,
    same: np.ndarray,
    people: np.ndarray,
    samples: int = 2000,
    seed: int = 0,
    *,
    missing: str = "refuse",
) -> Interval:
    """Any statistic of pairs with its 95 % interval over people: other people might have been in the test.

    A person drawn c times gives their same pairs the weight c; a different pair has the product of its two counts.

    Args:
        statistic: A function of (distances, same, weight), each (n,); all weights are 1 for the value itself.
        distances: (n,), NaN where a photo could not be used.
        same: (n,) bool.
        people: (n, 2), the identity in the first and in the second photo.
        samples: Number of drawings.
        seed: Seed of the drawings.
        missing: As in ``check_pairs``; with "mistakes" the statistic gets NaN, too.

    Returns:
        The statistic, and its 2.5 % and 97.5 % quantiles.

    Source: Efron and Tibshirani, "An Introduction to the Bootstrap", 1993, chapter 13.

    Example:
        >>> people = [["ada", "ada"], ["bob", "bob"], ["ada", "bob"]]
        >>> nearest = lambda distances, same, weight: distances[weight > 0].min()
        >>> print(bootstrap(nearest, [0.3, 0.4, 0.9], [True, True, False], people))
        0.3000 [0.3000, 0.3000]
    """
    distances, same = check_pairs(distances, same, missing=missing)
    value = statistic(distances, same, np.ones(len(same)))
    return percentile_interval(
        value, (statistic(distances, same, w) for w in _draw_people(people, same, samples, seed))
    )


def percentile_interval(value: float, scores: Iterable[float]) -> Interval:
    """A value with the 2.5 % and 97.5 % quantiles of its bootstrap scores."""
    scores = np.fromiter(scores, np.float64)
    if not len(scores):
        raise BadArgument("too few people for a bootstrap: no drawing had both same and different pairs")
    low, high = np.quantile(scores, [0.025, 0.975])
    return Interval(float(value), float(low), float(high))


def _draw_people(people: np.ndarray, same: np.ndarray, samples: int, seed: int) -> Iterator[np.ndarray]:
    """The weights (n,) of the pairs in each drawing of people; drawings that lose a kind of pairs are left out."""
    if np.shape(people) != (len(same), 2):
        raise BadArgument(f"people {np.shape(people)}: two identities for each of the {len(same)} pairs are needed")
    names, index = np.unique(np.asarray(people), return_inverse=True)
    index = index.reshape(-1, 2)
    rng = np.random.default_rng(seed)
    for _ in range(samples):
        count = draw_counts(rng, len(names))
        weight = count[index[:, 0]] * np.where(same, 1, count[index[:, 1]])
        if all(weight[kind].any() for kind in (same, ~same) if kind.any()):
            yield weight


def draw_counts(rng: np.random.Generator, people: int) -> np.ndarray:
    """How often each person was drawn, (people,), when as many are drawn as there are."""
    return np.bincount(rng.integers(max(1, people), size=people), minlength=people)


def bootstrap_accuracy(
    distances: np.ndarray,
    same: np.ndarray,
    people: np.ndarray,
    threshold: float,
    samples: int = 2000,
    seed: int = 0,
    *,
    missing: str = "refuse",
) -> Interval:
    """Accuracy with its 95 % interval over people: other people might have been in the test.

    The two kinds of pairs keep their proportion in the list, whichever people are drawn.

    Args:
        distances: (n,), NaN where a photo could not be used.
        same: (n,) bool.
        people: (n, 2), the identity in the first and in the second photo.
        threshold: Accept below it; chosen on other people.
        samples: Number of drawings.
        seed: Seed of the drawings.
        missing: As in ``check_pairs``.

    Returns:
        The accuracy and its 2.5 % and 97.5 % quantiles.

    Source: Efron and Tibshirani, "An Introduction to the Bootstrap", 1993, chapter 13.
    """
    distances, same = check_pairs(distances, same, missing=missing)
    right = is_right(distances, same, threshold)
    scores = (weighted_accuracy(right, same, weight) for weight in _draw_people(people, same, samples, seed))
    return percentile_interval(right.mean(), scores)


def weighted_accuracy(right: np.ndarray, same: np.ndarray, weight: np.ndarray) -> float:
    """The weighted accuracy, with the two kinds of pairs in their proportion in the list."""
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
    *,
    missing: str = "refuse",
) -> Interval:
    """How much more accurate one method is than another, with a 95 % interval over people.

    Both methods see the same people in every drawing, so what is hard for both cancels out: the difference can be
    certain even if the intervals of the two accuracies overlap.

    Args:
        before: (n,), distances by the first method, NaN where a photo could not be used.
        after: (n,), distances by the second.
        same: (n,) bool.
        people: (n, 2), the identity in the first and in the second photo.
        thresholds: Of the first and of the second, chosen on other people.
        samples: Number of drawings.
        seed: Seed of the drawings.
        missing: As in ``check_pairs``.

    Returns:
        The accuracy of ``after`` minus that of ``before``, and its 2.5 % and 97.5 % quantiles.
    """
    before, same = check_pairs(before, same, missing=missing)
    after, _ = check_pairs(after, same, missing=missing)
    right = [is_right(found, same, threshold) for found, threshold in zip((before, after), thresholds, strict=True)]
    gain = right[1].astype(float) - right[0]
    scores = (weighted_accuracy(gain, same, weight) for weight in _draw_people(people, same, samples, seed))
    return percentile_interval(gain.mean(), scores)


def bootstrap_mean(values: np.ndarray, samples: int = 2000, seed: int = 0) -> Interval:
    """The mean of one value per person, with its 95 % interval over people.

    Args:
        values: (k,), one per person.
        samples: Number of drawings.
        seed: Seed of the drawings.

    Source: Efron and Tibshirani, "An Introduction to the Bootstrap", 1993, chapter 13.
    """
    values = np.asarray(values, np.float64)
    if values.ndim != 1 or not len(values):
        raise BadArgument(f"values {values.shape}: a list with one value per person is needed")
    means = np.random.default_rng(seed).choice(values, (samples, len(values))).mean(axis=1)
    return percentile_interval(values.mean(), means)


def bootstrap_auc(
    distances: np.ndarray,
    same: np.ndarray,
    people: np.ndarray,
    samples: int = 2000,
    seed: int = 0,
    *,
    missing: str = "refuse",
) -> Interval:
    """``area_under_roc`` with its 95 % interval over people. The arguments are those of ``bootstrap``."""
    value = area_under_roc(distances, same, missing=missing)
    distances, same = check_pairs(distances, same, missing=missing)
    ranks = rank_pairs(distances, same)
    return percentile_interval(
        value, (_nearer(ranks, same, weight) for weight in _draw_people(people, same, samples, seed))
    )


def _nearer(ranks: np.ndarray, same: np.ndarray, weight: np.ndarray) -> float:
    """The weighted AUC from ranks 0, 1, …: equals roc_auc_score(sample_weight=…), a hundred times as fast."""
    near, far = (np.bincount(ranks[k], weight[k], minlength=ranks.max() + 1) for k in (same, ~same))
    farther = far.sum() - far.cumsum() + far / 2  # an equal distance is half a win
    return float(near @ farther / (near.sum() * far.sum()))


def bootstrap_true_accepts(
    distances: np.ndarray,
    same: np.ndarray,
    people: np.ndarray,
    far: float,
    samples: int = 2000,
    seed: int = 0,
    *,
    missing: str = "refuse",
) -> Interval | None:
    """``true_accepts_at`` with its 95 % interval over people; None if it would rest on fewer than 10 false accepts.

    Every drawing chooses its own threshold, so the interval includes the threshold's uncertainty. The other arguments
    are those of ``bootstrap``.
    """
    if true_accepts_at(distances, same, far, missing=missing) is None:
        return None
    share = weighted_true_accepts(*check_pairs(distances, same, missing=missing), far)
    return bootstrap(lambda _, __, weight: share(weight), distances, same, people, samples, seed, missing=missing)


def verification_table(
    distances: np.ndarray,
    same: np.ndarray,
    people: np.ndarray,
    fars: Sequence[float] = (0.1, 0.01, 0.001),
    samples: int = 2000,
    seed: int = 0,
    *,
    missing: str = "refuse",
) -> pd.DataFrame:
    """True accepts at several shares of false accepts, with 95 % intervals over people.

    Args:
        distances: (n,), NaN where a photo could not be used.
        same: (n,) bool.
        people: (n, 2), the identity in the first and in the second photo.
        fars: The shares of different pairs that may be accepted, each between 0 and 1.
        samples: Number of drawings.
        seed: Seed of the drawings.
        missing: As in ``check_pairs``.

    Returns:
        A row per share: ``far``, ``true_accepts``, ``low``, ``high``, and ``decided_by``, the number of different pairs
        in that share. Where it is less than 10, the numbers are withheld (NaN).
    """
    rows = []
    for far in fars:
        found = bootstrap_true_accepts(distances, same, people, far, samples, seed, missing=missing)
        value, low, high = (np.nan,) * 3 if found is None else (found.value, found.low, found.high)
        decided_by = int(np.sum(~np.asarray(same, bool)) * far + 1e-9)
        rows.append({"far": far, "true_accepts": value, "low": low, "high": high, "decided_by": decided_by})
    return pd.DataFrame(rows)
