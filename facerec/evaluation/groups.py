"""TODO facerec.evaluation.groups."""

from __future__ import annotations

import warnings
from collections.abc import Iterator

import numpy as np
import pandas as pd

from facerec.errors import BadArgument
from facerec.evaluation.intervals import (
    Interval,
    balanced_accuracy,
    count_draws,
    draw_people,
    number_people,
    percentile_interval,
)
from facerec.evaluation.rates import check_pairs, check_threshold, is_right


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
        count = count_draws(rng, len(names))
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
    groups, (_, person) = np.asarray(groups), number_people(people, len(same))
    if groups.shape != same.shape:
        raise BadArgument(f"groups {groups.shape}: one for each of the {len(same)} pairs is needed")
    rows = []
    for label in np.unique(groups):
        own = groups == label
        weights = np.stack(list(draw_people(person[own], same[own], samples, seed)))
        row = {"group": label, "pairs": int(own.sum()), "people": len(np.unique(person[own]))}
        rows.append(row | _mistakes(distances[own], same[own], person[own], threshold, weights))
    return pd.DataFrame(rows)


def _mistakes(
    distances: np.ndarray, same: np.ndarray, person: np.ndarray, threshold: float, weights: np.ndarray
) -> dict[str, Interval | None]:
    """The three rates of pairs, with intervals from the weights (samples, n) of the drawings."""
    accepted, right = distances < threshold, is_right(distances, same, threshold)

    def share(which: np.ndarray, kind: np.ndarray) -> Interval | None:
        if not kind.any():
            return None
        drawn = weights[:, kind] @ which[kind] / weights[:, kind].sum(axis=1)
        return _with_doubt(percentile_interval(which[kind].mean(), drawn), len(np.unique(person[kind])))

    found = {"false_accepts": share(accepted, ~same), "false_rejects": share(~accepted, same)}
    scores = (balanced_accuracy(right, same, weight) for weight in weights)
    return found | {"accuracy": _with_doubt(percentile_interval(right.mean(), scores), len(np.unique(person)))}


def _with_doubt(found: Interval, people: int) -> Interval:
    """An interval that does not take what was not seen in so many people for impossible."""
    low = 1 - _unseen(people) if found.value == 1 else found.low
    high = _unseen(people) if found.value == 0 else found.high
    return Interval(found.value, float(low), float(high))
