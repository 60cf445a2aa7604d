"""How often two different people are near each other, and so how often a stranger gets a name among K people.

    F(t), the share of pairs of different people nearer than t  ──K comparisons──►  1 − (1 − F(t))^K strangers named

The more people a database knows, the smaller the threshold must be for the same share of strangers.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from facerec.errors import BadArgument
from facerec.evaluation.rates import are_numbers, check_share

#: The shares at which a curve is kept: three per decade, from one pair in a million to every second one.
SHARES = tuple(float(f"{digit}e{power}") for power in range(-6, 0) for digit in (1, 2, 5))


@dataclass(frozen=True)
class FalseAccepts:
    """The false accepts of pairs of different people, by threshold.

    Between its knots the logarithm of the share is interpolated; beyond them the first or last piece goes on.

    Attributes:
        distances: (k,) thresholds, ascending.
        shares: (k,) the share of pairs of different people nearer than each, ascending, between 0 and 1.

    Raises:
        BadArgument: If the attributes are not such a curve.

    Example:
        >>> curve = FalseAccepts((0.5, 0.6, 0.7), (1e-4, 1e-3, 1e-2))
        >>> [round(curve.threshold(people), 2) for people in (1, 10, 100)]  # one stranger in a hundred gets a name
        [0.7, 0.6, 0.5]
        >>> round(curve.strangers_named(0.7, people=100), 2)
        0.63
    """

    distances: tuple[float, ...]
    shares: tuple[float, ...]

    def __post_init__(self) -> None:
        x, y = self.distances, self.shares
        for name, value in (("distances", x), ("shares", y)):
            if not isinstance(value, tuple) or not are_numbers(value):
                raise BadArgument(f"{name}={value!r}: must be a list of numbers")
        if len(x) != len(y) or len(x) < 2 or not (np.diff(x) > 0).all() or not (np.diff(y) > 0).all():
            raise BadArgument(f"{len(x)} distances and {len(y)} shares: equally many, at least two, both ascending")
        if not 0 < y[0] < y[-1] < 1:
            raise BadArgument(f"shares from {y[0]} to {y[-1]}: must lie between 0 and 1")

    def strangers_named(self, threshold: float, people: int) -> float:
        """The share of strangers who get the name of one of so many people.

        It takes the comparisons of a stranger as independent. They are not quite: those who resemble many others
        fail often, the others less, so the true share is rather smaller.
        """
        check_people(people)
        return float(-np.expm1(people * np.log1p(-self.share(threshold))))

    def threshold(self, people: int, strangers: float = 0.01) -> float:
        """The threshold at which this share of strangers gets the name of one of so many people."""
        check_people(people)
        check_share("strangers", strangers)
        share = -math.expm1(math.log1p(-strangers) / people)  # of pairs
        return max(0.0, _along(math.log(share), np.log(self.shares), np.array(self.distances)))

    def share(self, threshold: float) -> float:
        """The share of pairs of different people nearer than a threshold."""
        found = _along(threshold, np.array(self.distances), np.log(self.shares))
        return min(math.exp(min(found, 0.0)), 1 - 1e-12)

    def to_dict(self) -> dict[str, list[float]]:
        """The attributes, ready for a JSON file."""
        return {name: list(values) for name, values in asdict(self).items()}

    @classmethod
    def from_dict(cls, given: Mapping[str, Any]) -> FalseAccepts:
        """The curve that ``to_dict`` wrote.

        Raises:
            BadArgument: If it was not written by ``to_dict``.
        """
        if not isinstance(given, Mapping) or set(given) != {"distances", "shares"}:
            raise BadArgument(f"a curve of false accepts is a dict of distances and shares; got {given!r:.200}")
        return cls(**{name: tuple(value) if isinstance(value, list) else value for name, value in given.items()})


def fit_false_accepts(encodings: np.ndarray, people: np.ndarray) -> FalseAccepts:
    """Measure the curve on pictures of many people.

    Every pair of people has the same weight, however many pictures there are of them.

    Args:
        encodings: (m, D) of unit length.
        people: (m,) who each picture shows; at least two people.

    Returns:
        The curve at ``SHARES``, without those that so few pairs can't show.
    """
    _, who, pictures = np.unique(people, return_inverse=True, return_counts=True)
    if len(pictures) < 2:
        raise BadArgument(f"{len(pictures)} people: false accepts need at least two")
    i, j = np.triu_indices(len(who), 1)
    i, j = i[who[i] != who[j]], j[who[i] != who[j]]
    alike = np.asarray(encodings, np.float32) @ np.asarray(encodings, np.float32).T
    distances = np.sqrt(np.maximum(0, 2 - 2 * alike[i, j]))
    order = np.argsort(distances)
    weight = (1 / (pictures[who[i]] * pictures[who[j]]))[order]
    reached = np.cumsum(weight) / weight.sum()
    shares = [share for share in SHARES if share > reached[0]]
    knots = distances[order][np.searchsorted(reached, shares)].astype(np.float64).round(6)
    knots, kept = np.unique(knots, return_index=True)
    return FalseAccepts(tuple(knots.tolist()), tuple(shares[k] for k in kept))


def check_people(people: int) -> None:
    """Refuse a number of people that is not one.

    Raises:
        BadArgument: If it is not a whole number of at least 1.
    """
    if not isinstance(people, int | np.integer) or isinstance(people, bool) or people < 1:
        raise BadArgument(f"people={people!r}: how many people the database knows, at least 1")


def _along(x: float, xs: np.ndarray, ys: np.ndarray) -> float:
    """The piecewise linear function through points, and beyond its ends the nearest piece goes on."""
    piece = int(np.clip(np.searchsorted(xs, x), 1, len(xs) - 1))
    slope = (ys[piece] - ys[piece - 1]) / (xs[piece] - xs[piece - 1])
    return float(ys[piece - 1] + slope * (x - xs[piece - 1]))
