"""Error rates and thresholds, from distances and labels.

``distances`` is an array (n,) with one distance per pair of photos. ``same`` is an array (n,) of bool: do the two
photos show one person? A pair is accepted if its distance is below the threshold::

    distance      0.3           0.6           │  0.8            1.1
    one person?   yes           no            │  yes            no
    outcome       true accept   false accept  │  false reject   true reject
                                              └─ threshold 0.7

A distance is NaN where a photo of the pair could not be used (no face was found). Every function refuses such pairs,
unless it is told how to count them: with ``missing="mistakes"``, as protocols do, they are never accepted, and never
right.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from facerec.errors import BadArgument

#: What to do with pairs without a distance: refuse them, or count each as a mistake at any threshold.
MISSING = ("refuse", "mistakes")


def check_pairs(distances: np.ndarray, same: np.ndarray, *, missing: str = "refuse") -> tuple[np.ndarray, np.ndarray]:
    """Both as arrays (float64, bool), checked.

    Args:
        distances: (n,), NaN where a photo could not be used.
        same: (n,) bool.
        missing: One of :data:`MISSING`, for pairs without a distance.

    Raises:
        BadArgument: If their lengths differ, one of the two kinds of pairs is missing, or a pair has no distance and
            ``missing`` is "refuse".
    """
    distances, same = check_lists(distances, same)
    check_missing(distances, missing)
    return distances, same


def check_missing(distances: np.ndarray, missing: str) -> None:
    """Raise BadArgument if a pair has no distance and ``missing`` does not say how to count it."""
    if missing not in MISSING:
        raise BadArgument(f"missing={missing!r}: one of {', '.join(map(repr, MISSING))}")
    without = int((~np.isfinite(distances)).sum())
    if without and missing == "refuse":
        raise BadArgument(
            f"distances: {without} of {len(distances)} pairs have none (a photo without a face?); leave them out, or "
            f"count them with missing='mistakes'"
        )


def check_lists(distances: np.ndarray, same: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Both as arrays (float64, bool) of one length, with both kinds of pairs; NaN is let through.

    Raises:
        BadArgument: If their lengths differ, or one of the two kinds of pairs is missing.
    """
    distances, same = np.asarray(distances, np.float64), np.asarray(same, bool)
    if distances.ndim != 1 or distances.shape != same.shape:
        raise BadArgument(f"distances {distances.shape} and same {same.shape} must be two lists of one length")
    if same.all() or not same.any():
        raise BadArgument(f"of {len(same)} pairs {same.sum()} show one person: both kinds are needed")
    return distances, same


def error_rates(
    distances: np.ndarray, same: np.ndarray, thresholds: np.ndarray | None = None, *, missing: str = "refuse"
) -> pd.DataFrame:
    """False accepts and false rejects at each threshold.

    Args:
        distances: (n,), NaN where a photo could not be used.
        same: (n,) bool.
        thresholds: The thresholds to try; by default, each at which a rate changes.
        missing: As in ``check_pairs``.

    Returns:
        A table by ascending ``threshold``: ``false_accepts``, the share of different pairs that are accepted,
        ``false_rejects``, the share of same pairs that are rejected, and ``accuracy`` over all pairs. A pair
        without a distance is never accepted, and is a mistake in ``accuracy`` whichever kind it is.

    Example:
        >>> error_rates([0.3, 0.9, 0.8, 1.2], [True, True, False, False], [0.5, 1.0]).values.tolist()
        [[0.5, 0.0, 0.5, 0.75], [1.0, 0.5, 0.0, 0.75]]
    """
    distances, same = check_pairs(distances, same, missing=missing)
    thresholds = corner_thresholds(distances) if thresholds is None else np.sort(np.asarray(thresholds, np.float64))
    false_accepts, true_accepts = count_accepted(distances, same, thresholds)
    usable = (np.isfinite(distances) & ~same).sum()  # a different pair without a distance is a mistake, not a reject
    right = (true_accepts * same.sum()).round() + usable - (false_accepts * (~same).sum()).round()
    return pd.DataFrame(
        {
            "threshold": thresholds,
            "false_accepts": false_accepts,
            "false_rejects": 1 - true_accepts,
            "accuracy": right / len(same),
        }
    )


def corner_thresholds(distances: np.ndarray) -> np.ndarray:
    """The thresholds at which a rate changes, ascending: from accepting no pair to accepting each with a distance."""
    values = np.unique(distances[np.isfinite(distances)])
    return np.concatenate([values, values[-1:] + 1e-6]) if len(values) else np.array([0.0])


def count_accepted(distances: np.ndarray, same: np.ndarray, thresholds: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The shares of the different and of the same pairs accepted at each threshold (false and true accepts)."""
    return tuple(_below(distances[k], thresholds) / k.sum() for k in (~same, same))


def _below(values: np.ndarray, thresholds: np.ndarray) -> np.ndarray:
    """How many values lie strictly below each threshold; those that are not finite lie below none."""
    return np.searchsorted(np.sort(values[np.isfinite(values)]), thresholds, side="left")


def precision_recall(
    distances: np.ndarray, same: np.ndarray, thresholds: np.ndarray | None = None, *, missing: str = "refuse"
) -> pd.DataFrame:
    """Precision, recall and F1 of "the same person" at each threshold.

    Args:
        distances: (n,), NaN where a photo could not be used; for a score in 0..1, pass 1 − score.
        same: (n,) bool.
        thresholds: The thresholds to try; by default, each at which a rate changes.
        missing: As in ``check_pairs``.

    Returns:
        A table by ascending ``threshold``: ``precision``, the share of the accepted pairs that are one person (1 where
        nothing is accepted), ``recall``, the share of the same pairs that are accepted, and ``f1``, their harmonic
        mean. Precision depends on the share of same pairs in the list: state that share beside it.

    Example:
        >>> precision_recall([0.3, 0.9, 0.8, 1.2], [True, True, False, False], [0.5, 1.0]).round(2).values.tolist()
        [[0.5, 1.0, 0.5, 0.67], [1.0, 0.67, 1.0, 0.8]]
    """
    rates = error_rates(distances, same, thresholds, missing=missing)
    same = np.asarray(same, bool)
    accepted_same = (1 - rates.false_rejects) * same.sum()
    accepted = accepted_same + rates.false_accepts * (~same).sum()
    precision = np.divide(accepted_same, accepted, out=np.ones(len(rates)), where=accepted.to_numpy() > 0.5)
    recall = 1 - rates.false_rejects
    f1 = np.divide(2 * precision * recall, precision + recall, out=np.zeros(len(rates)), where=recall.to_numpy() > 0)
    return pd.DataFrame({"threshold": rates.threshold, "precision": precision, "recall": recall, "f1": f1})


def accuracy(distances: np.ndarray, same: np.ndarray, threshold: float, *, missing: str = "refuse") -> float:
    """The share of correct decisions at a threshold. The arguments are those of ``error_rates``."""
    return float(error_rates(distances, same, [threshold], missing=missing).accuracy.iloc[0])


def errors_at(rates: pd.DataFrame, threshold: float) -> tuple[float, float]:
    """The two error rates at a threshold, interpolated in a measured table.

    Args:
        rates: Columns ``threshold`` (rising), ``false_accepts`` and ``false_rejects``, as in
            ``docs/results/lfw_*_rates.csv``, of one list of pairs. The table covers every threshold from accepting no
            pair to accepting all of them.
        threshold: A distance.

    Returns:
        false_accepts: The share of different pairs that are accepted.
        false_rejects: The share of same pairs that are rejected.

    Raises:
        BadArgument: If the threshold is not a distance, or the table's thresholds don't rise.

    Example:
        >>> rates = pd.DataFrame({"threshold": [0.6, 0.7], "false_accepts": [0.0, 0.02], "false_rejects": [0.1, 0.0]})
        >>> errors_at(rates, 0.65)
        (0.01, 0.05)
    """
    check_threshold(threshold)
    at = rates["threshold"].to_numpy(np.float64)
    if not len(at) or not (np.diff(at) > 0).all():
        raise BadArgument(f"rates: the {len(at)} thresholds must rise; does the table hold one list of pairs?")
    shares = (np.interp(threshold, at, rates[name]) for name in ("false_accepts", "false_rejects"))
    accepts, rejects = (round(float(share), 9) for share in shares)
    return accepts, rejects


def is_right(distances: np.ndarray, same: np.ndarray, threshold: float) -> np.ndarray:
    """Which pairs (n,) are decided correctly; NaN compares as False: a mistake."""
    return np.where(same, distances < threshold, distances >= threshold)


def confusion(distances: np.ndarray, same: np.ndarray, threshold: float, *, missing: str = "refuse") -> pd.DataFrame:
    """The counts of the four outcomes at a threshold.

    Args:
        distances: (n,), NaN where a photo could not be used.
        same: (n,) bool.
        threshold: Accept below it.
        missing: As in ``check_pairs``.

    Returns:
        A row for the truth (``one person``, ``two people``), a column for the answer.

    Example:
        >>> confusion([0.3, 0.9, 0.8, 1.2], [True, True, False, False], 1.0).values.tolist()
        [[2, 0], [1, 1]]
    """
    distances, same = check_pairs(distances, same, missing=missing)
    says_one = np.where(np.isfinite(distances), distances < threshold, ~same)
    kinds = ["one person", "two people"]
    counts = [[int((says_one[true] == said).sum()) for said in (True, False)] for true in (same, ~same)]
    return pd.DataFrame(counts, pd.Index(kinds, name="true"), pd.Index(kinds, name="said"))


def area_under_roc(distances: np.ndarray, same: np.ndarray, *, missing: str = "refuse") -> float:
    """The probability that a same pair is nearer than a different pair (AUC).

    The arguments are those of ``error_rates``. As a mistake, a same pair without a distance counts as the farthest, a
    different one as the nearest.
    """
    from sklearn.metrics import roc_auc_score

    distances, same = check_pairs(distances, same, missing=missing)
    return float(roc_auc_score(same, -rank_pairs(distances, same)))


def rank_pairs(distances: np.ndarray, same: np.ndarray) -> np.ndarray:
    """The distances as ranks 0, 1, …; a missing distance ranks last in a same pair, first in a different pair."""
    worst = np.where(same, np.inf, -np.inf)
    return np.unique(np.where(np.isfinite(distances), distances, worst), return_inverse=True)[1]


def best_threshold(distances: np.ndarray, same: np.ndarray, *, missing: str = "refuse") -> float:
    """The threshold with the highest accuracy: the middle of the best gap between two distances.

    The arguments are those of ``error_rates``.

    Example:
        >>> best_threshold([0.2, 0.4, 0.8, 1.0], [True, True, False, False])
        0.6
    """
    rates = error_rates(distances, same, missing=missing)
    thresholds = rates.threshold.to_numpy()
    best = int(rates.accuracy.to_numpy().argmax())
    below = thresholds[best - 1] if best else 0.0
    return _between(below, thresholds[best])


def _between(low: float, high: float) -> float:
    """The middle, rounded to 6 digits, or to as many more as keep it above ``low``: low < middle ≤ high."""
    middle = (low + high) / 2
    short = (round(middle, digits) for digits in range(6, 17))
    return float(next((n for n in short if low < n <= high), middle))


def equal_error(distances: np.ndarray, same: np.ndarray, *, missing: str = "refuse") -> tuple[float, float]:
    """The threshold at which false accepts and false rejects are equally frequent, and their rate (EER).

    The arguments are those of ``error_rates``.

    Returns:
        threshold: The equal-error threshold, between the two distances around it.
        rate: The equal error rate.

    Example:
        >>> equal_error([0.2, 0.7, 0.6, 1.0], [True, True, False, False])
        (0.65, 0.5)
    """
    distances, same = check_pairs(distances, same, missing=missing)
    thresholds = corner_thresholds(distances)
    above, rate = _crossing(*count_accepted(distances, same, thresholds))
    return _between(*thresholds[[max(0, above - 1), above]].tolist()), rate


def _crossing(false_accepts: np.ndarray, true_accepts: np.ndarray) -> tuple[int, float]:
    """The index of the first threshold at which the two error rates have crossed, and their mean there."""
    gap = false_accepts - (1 - true_accepts)  # rises from -1 to 1
    above = int((gap >= min(0, gap[-1])).argmax())  # where many pairs have no distance it may stay below 0
    return above, float((false_accepts[above] + (1 - true_accepts[above])) / 2)


def threshold_at(distances: np.ndarray, far: float, *, missing: str = "refuse") -> float:
    """The threshold below which a share ``far`` of different pairs lies. Choose it on people who are not scored.

    Args:
        distances: (n,), of different pairs only, NaN where a photo could not be used.
        far: The share of them that may be accepted (false accept rate), between 0 and 1.
        missing: As in ``check_pairs``.

    Raises:
        BadArgument: If ``far`` is not a share, there are too few pairs for it (fewer than 1 / far), or one has no
            distance and ``missing`` is "refuse".

    Example:
        >>> threshold_at([0.4, 0.9, 0.6, 0.8], far=0.5)
        0.7
    """
    distances = np.sort(np.asarray(distances, np.float64))
    check_missing(distances, missing)
    if not 0 < far < 1 or len(distances) * far < 1:
        raise BadArgument(f"far={far}: must be a share between 0 and 1, and at least one of the {len(distances)} pairs")
    return find_threshold(distances, far)


def find_threshold(distances: np.ndarray, far: float, weight: np.ndarray | None = None) -> float:
    """The largest threshold with at most a share ``far`` of the weight below it; distances ascend, NaN and inf last."""
    weight = np.ones(len(distances)) if weight is None else weight
    distances, total = distances[weight > 0], np.cumsum(weight[weight > 0])
    allowed = int(np.searchsorted(total, far * total[-1] + 1e-9, side="right"))
    usable = int(np.isfinite(distances).sum())
    if allowed >= usable:  # every pair with a distance may be accepted
        return float(distances[usable - 1] + 1e-6) if usable else 0.0
    return _between(distances[max(0, allowed - 1)], distances[allowed])


def choose_threshold(
    distances: np.ndarray, same: np.ndarray, far: float | None = None, *, missing: str = "refuse"
) -> float:
    """The threshold to use from now on. Choose it on people who are not scored.

    Args:
        distances: (n,), NaN where a photo could not be used.
        same: (n,) bool.
        far: The share of the different pairs that may be accepted, between 0 and 1; None for the highest accuracy.
        missing: As in ``check_pairs``.

    Returns:
        ``best_threshold``, or the largest threshold at which at most a share ``far`` of the different pairs is
        accepted (``threshold_at``).

    Raises:
        BadArgument: If it would rest on fewer than 10 false accepts, or same pairs are not nearer than different ones.

    Example:
        >>> choose_threshold([0.2, 0.4, 0.8, 1.0], [True, True, False, False])
        0.6
    """
    distances, same = check_pairs(distances, same, missing=missing)
    if not area_under_roc(distances, same, missing=missing) > 0.5:
        raise BadArgument(
            f"the same pairs of these {len(same)} are not nearer than the different ones: are they distances?"
        )
    if far is None:
        return best_threshold(distances, same, missing=missing)
    check_share("far", far)
    if are_too_few((~same).sum(), far):
        needed = math.ceil(FEWEST_CASES / far - 1e-9)
        raise BadArgument(f"far={far}: needs {needed} different pairs; there are {(~same).sum()}")
    return threshold_at(distances[~same], far, missing=missing)


def true_accepts_at(distances: np.ndarray, same: np.ndarray, far: float, *, missing: str = "refuse") -> float | None:
    """True accepts at a share ``far`` of false accepts (TAR at FAR).

    Args:
        distances: (n,), NaN where a photo could not be used.
        same: (n,) bool.
        far: The share of different pairs that may be accepted, between 0 and 1.
        missing: As in ``check_pairs``. (``area_under_roc`` is stricter with mistakes: there, a different pair without a
            distance counts as the nearest of all; here it is not accepted.)

    Returns:
        The share of same pairs that are accepted; None if it would rest on fewer than 10 false accepts.

    Example:
        >>> true_accepts_at([0.3, 0.9, *[0.5] * 50, *[1.0] * 50], [True, True] + 100 * [False], far=0.1)
        0.5
    """
    distances, same = check_pairs(distances, same, missing=missing)
    check_share("far", far)
    return None if are_too_few((~same).sum(), far) else weighted_true_accepts(distances, same, far)(np.ones(len(same)))


def weighted_true_accepts(distances: np.ndarray, same: np.ndarray, far: float) -> Callable[[np.ndarray], float]:
    """A function from weights (n,) of the pairs to the true accepts at a share ``far`` of false accepts.

    The pairs are sorted once, so that a million of them are weighed two hundred times in seconds.
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
    """Raise BadArgument unless this is a share between 0 and 1."""
    if not are_numbers([share]) or not 0 < share < 1:
        raise BadArgument(f"{name}={share!r}: must be a share between 0 and 1")


def check_threshold(threshold: float) -> None:
    """Raise BadArgument unless this is a distance: NaN would accept no pair, which looks safe and is not."""
    if not are_numbers([threshold]):
        raise BadArgument(f"threshold={threshold!r}: must be a distance")


#: A number that rests on fewer false accepts, or false alarms, is withheld.
FEWEST_CASES = 10


def are_too_few(negatives: float, share: float) -> bool:
    """Whether a share of so many negatives is fewer than FEWEST_CASES."""
    return negatives * share < FEWEST_CASES - 1e-9


@dataclass(frozen=True)
class ProtocolResult:
    """The result of a protocol with folds.

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


def lfw_protocol(
    distances: np.ndarray, same: np.ndarray, folds: np.ndarray, *, missing: str = "refuse"
) -> ProtocolResult:
    """The accuracy by the protocol of Labeled Faces in the Wild: each fold at the best threshold of all others.

    Args:
        distances: (n,), NaN where a photo could not be used.
        same: (n,) bool.
        folds: (n,) the number of each pair's fold; pairs in fold -1 are left out.
        missing: As in ``check_pairs``.

    Returns:
        The folds, their mean accuracy, and its standard error: their standard deviation (with n − 1) over √n.

    Raises:
        BadArgument: If there are fewer than two folds, or only one kind of pairs outside a fold.

    Example:
        >>> print(lfw_protocol([0.3, 0.9, 0.4, 1.0, 0.8, 0.7], 3 * [True, False], [0, 0, 1, 1, 2, 2]))
        0.8333 ± 0.1667

    Source: Huang et al., "Labeled Faces in the Wild", 2007: view 2.
    """
    distances, same = check_pairs(distances, same, missing=missing)
    folds = np.asarray(folds)
    if folds.shape != same.shape or not np.issubdtype(folds.dtype, np.integer):
        raise BadArgument(f"folds {folds.shape} {folds.dtype}: a whole number for each of the {len(same)} pairs")
    numbers = np.unique(folds[folds >= 0])
    if len(numbers) < 2:
        raise BadArgument(f"folds: {len(numbers)} found; at least two are needed, to choose on one and score the other")
    table = pd.DataFrame([_fold(distances, same, folds, number) for number in numbers])
    return ProtocolResult(table, float(table.accuracy.mean()), float(table.accuracy.sem()))


def _fold(distances: np.ndarray, same: np.ndarray, folds: np.ndarray, number: int) -> dict[str, float]:
    """One fold's row, scored at the best threshold of the others."""
    here, others = folds == number, (folds != number) & (folds >= 0)
    threshold = best_threshold(distances[others], same[others], missing="mistakes")
    right = is_right(distances[here], same[here], threshold)
    return {"fold": int(number), "pairs": int(here.sum()), "threshold": threshold, "accuracy": float(right.mean())}


def are_numbers(values: Iterable[Any]) -> bool:
    """Whether all of them are finite numbers; True and "0.5" are not."""
    return all(
        isinstance(v, (int, float, np.integer, np.floating)) and not isinstance(v, bool) and math.isfinite(v)
        for v in values
    )
