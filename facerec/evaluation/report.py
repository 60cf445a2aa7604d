"""The two error rates of a collection of your own at one threshold, and when it is too small to tell them.

Two people with two pictures each make six pairs. "0.0 % false accepts" would be true of them and mean nothing, so
numbers that rest on too few people are withheld, and where no mistake was seen, the interval says how many may come.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from facerec.evaluation.intervals import Interval, bootstrap, limit_of_none
from facerec.evaluation.rates import FEWEST_CASES, check_lists, check_threshold
from facerec.evaluation.stored import percent


@dataclass(frozen=True)
class ErrorReport:
    """The errors of all pairs of a collection at a threshold; as text, a line per kind of error.

    Attributes:
        threshold: Accept below it.
        people: How many people the pairs show.
        pairs: How many of the pairs show two people, and how many one.
        false_accepts: The share of the pairs of two people that are accepted; None if it is withheld.
        false_rejects: The share of the pairs of one person that are rejected; None if it is withheld.
    """

    threshold: float
    people: int
    pairs: tuple[int, int]
    false_accepts: Interval | None
    false_rejects: Interval | None

    def __str__(self) -> str:
        kinds = {"false accepts": self.false_accepts, "false rejects": self.false_rejects}
        of = dict(zip(kinds, ("two people", "one person"), strict=True))
        lines = [f"{self.people} people, threshold {self.threshold:.2f}"]
        for (kind, found), pairs in zip(kinds.items(), self.pairs, strict=True):
            why = f" (fewer than {FEWEST_CASES} people)" if found is None else ""
            lines.append(f"{kind}: {percent(found)}{why}, from {pairs:,} pairs of {of[kind]}")
        return "\n".join(lines)


def report_errors(
    distances: np.ndarray,
    same: np.ndarray,
    people: np.ndarray,
    threshold: float,
    samples: int = 1000,
    seed: int = 0,
) -> ErrorReport:
    """Measure false accepts and false rejects at a threshold, and withhold what rests on fewer than ten people.

    Args:
        distances: (n,), NaN where a photo could not be used: never accepted.
        same: (n,) bool.
        people: (n, 2), the identity in the first and in the second photo.
        threshold: Accept below it; chosen on other people.
        samples: Number of drawings of people.
        seed: Seed of the drawings.

    Returns:
        The shares with their 95 % intervals over people. Where no pair, or every pair, was accepted, the interval's
        other end is the exact binomial limit for as many independent cases as there are people.

    Raises:
        BadArgument: If one of the two kinds of pairs is missing, or the threshold is not a distance.

    Example:
        >>> names = [["ada", "ada"], ["bob", "bob"], ["ada", "bob"]]
        >>> print(report_errors([0.3, 0.4, 0.9], [True, True, False], names, 0.7))
        2 people, threshold 0.70
        false accepts: withheld (fewer than 10 people), from 1 pairs of two people
        false rejects: withheld (fewer than 10 people), from 2 pairs of one person
    """
    check_threshold(threshold)
    distances, same = check_lists(distances, same)
    people = np.asarray(people)
    accepted = np.where(np.isfinite(distances), distances, np.inf) < threshold
    shares = [
        None
        if len(np.unique(people[kind])) < FEWEST_CASES
        else _share(wrong, kind, distances, same, people, samples, seed)
        for kind, wrong in ((~same, accepted), (same, ~accepted))
    ]
    return ErrorReport(float(threshold), len(np.unique(people)), (int((~same).sum()), int(same.sum())), *shares)


def _share(wrong, kind, distances, same, people, samples: int, seed: int) -> Interval:
    """The share of one kind of pairs that is wrong, with its interval."""
    share = lambda _, __, weight: np.average(wrong[kind], weights=weight[kind])  # noqa: E731
    found = bootstrap(share, distances, same, people, samples, seed, missing="mistakes")
    unseen = float(limit_of_none(len(np.unique(people[kind]))))
    if not wrong[kind].any():
        return Interval(0.0, 0.0, unseen)
    return Interval(1.0, 1 - unseen, 1.0) if wrong[kind].all() else found
