"""How good are clusters? BCubed precision, recall and F, with intervals over people.

Every face is asked about the cluster that it is in, and the answers are averaged::

    precision   how many of its cluster's faces show its own person
    recall      how many of its own person's faces are in its cluster
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd

from facerec.errors import BadArgument
from facerec.evaluation.intervals import Interval, draw_counts, percentile_interval


class BCubed(NamedTuple):
    """BCubed precision and recall, 0..1, and F, their harmonic mean."""

    precision: float
    recall: float
    f: float


def bcubed(labels: np.ndarray, truth: np.ndarray) -> BCubed:
    """BCubed precision, recall and F of clusters: 1 if each holds one person, and each person is in one.

    Args:
        labels: (m,), the cluster of each face.
        truth: (m,), the person in each.

    Raises:
        BadArgument: If the two have different lengths, or are empty.

    Example:
        >>> bcubed([0, 0, 0, 1], ["ada", "ada", "bob", "bob"])
        BCubed(precision=0.6666666666666666, recall=0.75, f=0.7058823529411765)

    Source: Bagga and Baldwin, "Entity-based cross-document coreferencing using the vector space model", 1998.
    """
    return _summary(*(share.mean() for share in _shares(labels, truth)))


def bootstrap_bcubed(labels: np.ndarray, truth: np.ndarray, samples: int = 2000, seed: int = 0) -> dict[str, Interval]:
    """``bcubed`` with 95 % intervals over people: other people might have been in the photos.

    The clusters stay as they are: a drawing counts the faces of each person as often as the person was drawn.

    Args:
        labels: (m,), the cluster of each face.
        truth: (m,), the person in each.
        samples: Number of drawings.
        seed: Seed of the drawings.

    Returns:
        ``precision``, ``recall`` and ``f``.
    """
    shares, value = _shares(labels, truth), bcubed(labels, truth)
    person = pd.factorize(np.asarray(truth))[0]
    sums = np.stack([np.bincount(person, weights) for weights in (*shares, np.ones(len(person)))])  # (3, people)
    rng, drawn = np.random.default_rng(seed), []
    for _ in range(samples):
        precision, recall, faces = sums @ draw_counts(rng, sums.shape[1])
        drawn.append(_summary(precision / faces, recall / faces))
    columns = np.array(drawn).T
    return {name: percentile_interval(value[i], columns[i]) for i, name in enumerate(BCubed._fields)}


def _shares(labels: np.ndarray, truth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The precision and the recall of each face, (m,) each."""
    labels, truth = np.asarray(labels), np.asarray(truth)
    if labels.ndim != 1 or labels.shape != truth.shape or not len(labels):
        raise BadArgument(f"labels {labels.shape} and truth {truth.shape}: a cluster and a person for each face")
    table = pd.DataFrame({"cluster": labels, "person": truth, "faces": 1})
    together = table.groupby(["cluster", "person"], sort=False).faces.transform("size").to_numpy()
    of_cluster, of_person = (table.groupby(by, sort=False).faces.transform("size") for by in ("cluster", "person"))
    return together / of_cluster.to_numpy(), together / of_person.to_numpy()


def _summary(precision: float, recall: float) -> BCubed:
    return BCubed(float(precision), float(recall), float(2 * precision * recall / (precision + recall)))
