"""Who gets more errors? False accepts within and between groups of people.

Of all pairs of pictures of two people, counted by the groups of the two::

                group a   group b
    group a     0.9 %     0.1 %        one threshold for all:
    group b     0.1 %     2.4 %        it accepts more impostors within group b
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator

import numpy as np
import pandas as pd

from facerec.errors import BadArgument
from facerec.evaluation.intervals import draw_counts, limit_of_none
from facerec.evaluation.rates import check_threshold


def false_accepts_by_group(
    encodings: np.ndarray,
    groups: np.ndarray,
    threshold: float,
    people: np.ndarray | None = None,
    samples: int = 200,
    seed: int = 0,
) -> pd.DataFrame:
    """The share of false accepts within each group and between any two, from all pairs of pictures of two people.

    Ten thousand pictures make fifty million pairs; only the accepted ones are kept in memory.

    Args:
        encodings: (m, D) of unit length; NaN where a photo could not be used: never accepted.
        groups: (m,), the group of each picture.
        threshold: Accept below it.
        people: (m,), the identity in each picture; by default, each picture shows a different person.
        samples: Number of drawings of people.
        seed: Seed of the drawings.

    Returns:
        A row per pair of groups, also of a group with itself: ``group``, ``other``, ``people`` in the two, ``pairs``,
        ``false_accepts``, the share of the pairs that are accepted, and its 95 % interval over people, ``low`` and
        ``high``. Where none was accepted, ``high`` is the exact binomial limit for as many independent cases as there
        are people in the smaller group. Where there are no pairs, the shares are NaN.

    Raises:
        BadArgument: If the lengths differ, an encoding does not have unit length, or the threshold is not a distance.
    """
    check_threshold(threshold)
    encodings, (labels, group), (names, person) = _pictures(encodings, groups, people)
    pictures = np.zeros((len(names), len(labels)))
    np.add.at(pictures, (person, group), 1)
    accepted = [(person[i], person[j], group[i], group[j]) for i, j in _accepted_pairs(encodings, person, threshold)]
    pairs, found = _count_pairs(pictures), _count_accepted(accepted, len(labels), np.ones(len(names)))
    rng, drawn = np.random.default_rng(seed), []
    for _ in range(samples):
        count = draw_counts(rng, len(names))
        drawn.append(_ratio(_count_accepted(accepted, len(labels), count), _count_pairs(pictures * count[:, None])))
    low, high = _quantiles(np.array(drawn))
    people_in = np.minimum.outer(*2 * [(pictures > 0).sum(axis=0)])  # in the smaller of two groups
    high = np.where((found == 0) & (pairs > 0), limit_of_none(people_in), high)
    g, h = np.triu_indices(len(labels))
    return pd.DataFrame(
        {
            "group": labels[g],
            "other": labels[h],
            "people": (pictures[:, g] + pictures[:, h] > 0).sum(axis=0),
            "pairs": pairs[g, h].astype(int),
            "false_accepts": _ratio(found, pairs)[g, h],
            "low": low[g, h],
            "high": high[g, h],
        }
    )


def _pictures(encodings: np.ndarray, groups: np.ndarray, people: np.ndarray | None) -> tuple:
    """The encodings (float32), and the names and numbers of groups and people, checked."""
    encodings, groups = np.asarray(encodings, np.float32), np.asarray(groups)
    people = np.arange(len(groups)) if people is None else np.asarray(people)
    if encodings.ndim != 2 or not groups.shape == people.shape == encodings.shape[:1] or not len(groups):
        shapes = f"encodings {encodings.shape}, groups {groups.shape}, people {people.shape}"
        raise BadArgument(f"{shapes}: one group and one person for each encoding are needed")
    length = np.linalg.norm(encodings, axis=1)
    if (np.abs(length - 1) > 1e-3).any():  # NaN compares as False
        span = f"{np.nanmin(length):.3g}..{np.nanmax(length):.3g}"
        raise BadArgument(f"encodings of length {span}: unit length is needed")
    return encodings, *(np.unique(labels, return_inverse=True) for labels in (groups, people))


def _accepted_pairs(
    encodings: np.ndarray, person: np.ndarray, threshold: float, block: int = 1024
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """The pairs i < j of two people nearer than the threshold, block by block of rows."""
    likeness = 1 - threshold**2 / 2 if threshold > 0 else np.inf  # |a − b|² = 2 − 2 a·b
    for start in range(0, len(encodings), block):
        i, j = np.nonzero(encodings[start : start + block] @ encodings[start:].T > likeness)
        i, j = i[i < j].astype(np.int32) + start, j[i < j].astype(np.int32) + start
        others = person[i] != person[j]
        yield i[others], j[others]


def _count_pairs(pictures: np.ndarray) -> np.ndarray:
    """The number of pairs of two people, (groups, groups), from the number of pictures of each, (people, groups)."""
    total = pictures.sum(axis=0)
    pairs = np.outer(total, total) - pictures.T @ pictures
    return pairs / np.where(np.eye(len(total)), 2, 1)  # within a group each was counted from both sides


def _count_accepted(accepted: list, groups: int, count: np.ndarray) -> np.ndarray:
    """The number of accepted pairs, (groups, groups), each counted as often as its two people were drawn."""
    total = np.zeros(groups * groups)
    for one, other, group, second in accepted:
        code = np.minimum(group, second) * groups + np.maximum(group, second)
        total += np.bincount(code, count[one] * count[other], minlength=groups * groups)
    upper = np.triu(total.reshape(groups, groups))
    return upper + np.triu(upper, 1).T


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    return np.divide(part, whole, out=np.full(whole.shape, np.nan), where=whole > 0)


def _quantiles(drawn: np.ndarray) -> np.ndarray:
    """The ends of the 95 % interval, over the drawings that had pairs; NaN where none had."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        return np.nanquantile(drawn, [0.025, 0.975], axis=0)
