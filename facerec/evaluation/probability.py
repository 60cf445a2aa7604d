"""From a distance to the probability that two photos show one person, and how well such probabilities hold.

The log odds fall with the distance, on a line (logistic) or in steps (isotonic). A prior shifts them: two photos of two
strangers picked at random are less likely to match than two photos of which one claims to be the other::

    log odds(distance) + log odds(prior)  ──sigmoid──►  probability  ──reliability──►  of pairs at 0.8, do 80 % match?
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd

from facerec.errors import BadArgument
from facerec.evaluation.intervals import Interval, bootstrap, percentile_interval
from facerec.evaluation.rates import are_numbers, check_lists, check_share

#: How the log odds may depend on the distance, and the largest number of knots of each method.
MOST_KNOTS = {"logistic": 2, "isotonic": 10_000}


def reliability(scores: np.ndarray, same: np.ndarray, bins: int = 10, weight: np.ndarray | None = None) -> pd.DataFrame:
    """How many pairs of about one score really show one person: do 80 % of those that score 0.8?

    Args:
        scores: (n,) in 0..1, higher means the same person.
        same: (n,) bool.
        bins: Number of groups by score, each with equally many pairs.
        weight: (n,) the weight of each pair, 0 or more; by default 1. With weights, the groups have about equal weight,
            and groups without weight are left out.

    Returns:
        A row per group: ``score``, its mean; ``share``, the share of its pairs that show one person; and ``pairs``,
        their number, or their weight.

    Raises:
        BadArgument: If a score lies outside 0..1, a weight is negative, or there are fewer pairs than groups.

    Example:
        >>> reliability([0.1, 0.2, 0.7, 0.9], [False, False, True, True], bins=2).round(2).values.tolist()
        [[0.15, 0.0, 2.0], [0.8, 1.0, 2.0]]
    """
    scores, same = check_lists(scores, same)
    if not ((scores >= 0) & (scores <= 1)).all():
        raise BadArgument(f"scores must lie in 0..1; they lie in {scores.min()}..{scores.max()}")
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
    """The weights as float64, checked."""
    weight = np.asarray(weight, np.float64)
    if weight.shape != (pairs,) or not (weight >= 0).all() or not 0 < weight.sum() < np.inf:
        raise BadArgument(
            f"weight {weight.shape}: needs a number of 0 or more for each of the {pairs} pairs, not all 0"
        )
    return weight


def _split(order: np.ndarray, weight: np.ndarray, bins: int) -> list[np.ndarray]:
    """The list of pairs, cut into groups of about equal weight."""
    middle = np.cumsum(weight[order]) - weight[order] / 2
    cuts = np.searchsorted(middle, np.arange(1, bins) / bins * weight[order].sum())
    return [group for group in np.split(order, cuts) if len(group)]


def calibration_error(
    probability: np.ndarray, same: np.ndarray, bins: int = 10, weight: np.ndarray | None = None
) -> float:
    """The mean gap between probability and outcome, over groups of pairs (expected calibration error).

    On few pairs, even a perfect probability has an error above 0, because each group's share is off by chance.

    Args:
        probability: (n,) in 0..1, that a pair shows one person; pairs without one (NaN) are left out.
        same: (n,) bool.
        bins: Number of groups, each with equally many pairs (see ``reliability``).
        weight: (n,) the weight of each pair.

    Example:
        >>> calibration_error([0.1, 0.1, 0.9, 0.9], [False, False, True, True], bins=2)
        0.1

    Source: Naeini, Cooper and Hauskrecht, "Obtaining well calibrated probabilities using Bayesian binning", 2015,
    with bins of equally many pairs.
    """
    probability, same = check_lists(probability, same)
    usable = ~np.isnan(probability)
    weight = None if weight is None else _weight(weight, len(same))[usable]
    table = reliability(probability[usable], same[usable], bins, weight)
    return round(float(np.average((table.score - table.share).abs(), weights=table.pairs)), 12)


def calibration_error_by_chance(
    probability: np.ndarray, bins: int = 10, samples: int = 1000, seed: int = 0
) -> Interval:
    """The ``calibration_error`` of perfect probabilities on so many pairs: its mean, and the middle 95 % of its values.

    An error in that interval is as small as this number of pairs can show.

    Args:
        probability: (n,) in 0..1; NaN is left out.
        bins: As in ``calibration_error``.
        samples: Number of drawings; each draws the truth of every pair with its probability.
        seed: Seed of the drawings.
    """
    probability = np.asarray(probability, np.float64)
    probability, rng = probability[~np.isnan(probability)], np.random.default_rng(seed)
    draws = (rng.random(len(probability)) < probability for _ in range(samples))
    errors = [calibration_error(probability, same, bins) for same in draws if same.any() and not same.all()]
    return percentile_interval(float(np.mean(errors)), errors)


def bootstrap_calibration_error(
    probability: np.ndarray,
    same: np.ndarray,
    people: np.ndarray,
    bins: int = 10,
    samples: int = 1000,
    seed: int = 0,
) -> Interval:
    """``calibration_error`` with its 95 % interval over people, the two kinds of pairs in their proportion in the list.

    A small number of pairs raises the error, and drawing them anew raises it again. The lower end is therefore that of
    the basic bootstrap (as far below the value as the drawings rise above it), the upper end that of the percentiles:
    the interval is too wide rather than too narrow.

    Source: Davison and Hinkley, "Bootstrap Methods and their Application", 1997, section 5.2, for the lower end.
    """
    usable = ~np.isnan(np.asarray(probability, np.float64))
    probability, same, people = (np.asarray(a)[usable] for a in (probability, same, people))

    def error(probability: np.ndarray, same: np.ndarray, weight: np.ndarray) -> float:
        return calibration_error(probability, same, bins, _in_proportion(weight, same))

    found = bootstrap(error, probability, same, people, samples, seed)
    return Interval(found.value, max(0.0, min(2 * found.value - found.high, found.value)), max(found.high, found.value))


def _in_proportion(weight: np.ndarray, same: np.ndarray) -> np.ndarray:
    """The weights, scaled so that the two kinds of pairs keep their proportion in the list."""
    return weight * np.where(same, same.sum() / weight[same].sum(), (~same).sum() / weight[~same].sum())


@dataclass(frozen=True)
class Probability:
    """The probability that two photos show one person, from their distance: ``probability(distances)``.

    Attributes:
        method: ``"logistic"``, a straight line in the log odds, or ``"isotonic"``, straight lines between knots.
        prior: The probability of one person before the distance is known, between 0 and 1.
        distances: (k,) the distances at the knots, ascending; a line has two knots.
        log_odds: (k,) the log odds at the knots, falling, for a prior of 0.5.

    Raises:
        BadArgument: If an attribute is out of range, or the log odds do not fall with the distance.

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
        _check_method(self.method)
        check_share("prior", self.prior)
        for name in ("distances", "log_odds"):
            if not isinstance(getattr(self, name), tuple) or not are_numbers(getattr(self, name)):
                raise BadArgument(f"{name}={getattr(self, name)!r}: must be a list of numbers")
        x, y = self.distances, self.log_odds
        if len(x) != len(y) or not 2 <= len(x) <= MOST_KNOTS[self.method]:
            raise BadArgument(f"{len(x)} distances and {len(y)} log_odds do not make a {self.method} probability")
        if (np.diff(x) <= 0).any() or (np.diff(y) > 0).any() or not y[0] > y[-1]:
            raise BadArgument("the distances must rise and the log_odds fall: the farther, the less probable")

    def __call__(self, distances: np.ndarray, prior: float | None = None) -> np.ndarray:
        """The probability at each distance; NaN where there is none.

        Args:
            distances: Of any shape.
            prior: The probability of one person before the distance is known; by default, the attribute.
        """
        prior = self.prior if prior is None else prior
        check_share("prior", prior)
        distances = np.asarray(distances, np.float64)
        x, y = np.array(self.distances), np.array(self.log_odds)
        if self.method == "logistic":
            odds = y[0] + (distances - x[0]) * (y[1] - y[0]) / (x[1] - x[0])
        else:
            odds = np.interp(distances, x, y)
        with np.errstate(invalid="ignore"):  # NaN stays NaN, without a warning
            return np.exp(-np.logaddexp(0, -(odds + _logit(prior))))

    def to_dict(self) -> dict[str, Any]:
        """The attributes, ready for a JSON file."""
        return asdict(self) | {"distances": list(self.distances), "log_odds": list(self.log_odds)}

    @classmethod
    def from_dict(cls, given: Mapping[str, Any]) -> Probability:
        """The probability that ``to_dict`` wrote.

        Raises:
            BadArgument: If it was not written by ``to_dict``.

        Example:
            >>> probability = fit_probability([0.2, 0.4, 0.3, 0.8, 1.0], [True, True, False, False, False])
            >>> Probability.from_dict(probability.to_dict()) == probability
            True
        """
        names = {"method", "prior", "distances", "log_odds"}
        if not isinstance(given, Mapping) or set(given) != names:
            raise BadArgument(f"a probability is a dict of {', '.join(sorted(names))}; got {given!r}")
        return cls(**{name: tuple(value) if isinstance(value, list) else value for name, value in given.items()})


def _check_method(method: str) -> None:
    if method not in MOST_KNOTS:
        raise BadArgument(f"method={method!r}: must be one of {', '.join(MOST_KNOTS)}")


def _logit(share: float) -> float:
    return math.log(share) - math.log1p(-share)


def fit_probability(
    distances: np.ndarray, same: np.ndarray, method: str = "logistic", prior: float = 0.5
) -> Probability:
    """The probability of one person by distance, learned from pairs. Use other people than those to be judged.

    Args:
        distances: (n,), pairs without one (NaN) are left out.
        same: (n,) bool.
        method: ``"logistic"`` for a straight line in the log odds; ``"isotonic"`` for any falling function, which needs
            more pairs (a thousand).
        prior: The probability of one person before the distance is known. The same pairs have this total weight, the
            different ones the rest, however many there are of each.

    Raises:
        BadArgument: If same pairs are not nearer than different ones, or there is no such method.

    Source: Platt, "Probabilistic outputs for support vector machines", 1999 (its targets keep pairs that are told
    apart from infinite odds); Zadrozny and Elkan, "Transforming classifier scores into accurate multiclass probability
    estimates", 2002 (isotonic; here each end counts one more pair of both kinds, so that no probability is 0 or 1).
    """
    check_share("prior", prior)
    _check_method(method)
    distances, same = check_lists(distances, same)
    distances, same = check_lists(distances[np.isfinite(distances)], same[np.isfinite(distances)])
    fit = _fit_line if method == "logistic" else _fit_steps
    knots, odds = fit(distances, same, np.where(same, prior / same.sum(), (1 - prior) / (~same).sum()))
    if not odds[0] > odds[-1]:
        raise BadArgument(f"the same pairs of these {len(same)} are not nearer than the different ones")
    knots, kept = np.unique([_short(knot) for knot in knots], return_index=True)
    return Probability(
        method, float(prior), tuple(knots.tolist()), tuple(_short(odds[k] - _logit(prior)) for k in kept)
    )


def _short(number: float) -> float:
    """The number rounded to nine digits, enough for any float32."""
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
    """The log odds at the knots of the best falling function, with one more pair of each kind at either end."""
    from sklearn.isotonic import IsotonicRegression

    ends = np.repeat([distances.min(), distances.max()], 2)
    kind = np.concatenate([same, [True, False, True, False]])
    extra = np.where(kind[-4:], weight[same][0], weight[~same][0])
    steps = IsotonicRegression(increasing=False)
    steps.fit(np.concatenate([distances, ends]), kind, np.concatenate([weight, extra]))
    share = steps.y_thresholds_
    return steps.X_thresholds_, np.log(share) - np.log1p(-share)
