"""Encodings → clusters, by average linkage: the two nearest clusters merge, as long as they are near enough.

The distance of two clusters is the root mean square of the distances between their faces. Of encodings of unit length
it needs no distances between faces at all, only the clusters' means a and b, since |x − y|² = 2 − 2 x·y::

    distance² of two clusters  =  mean of |x − y|²  =  2 − 2 a·b

Clusters that are each other's nearest may merge in any order, so each round merges all such pairs at once. A cluster
without another one near enough stays as it is for good: a merged cluster is never nearer than the nearer of its parts.
Memory grows with the number of faces, not with that of pairs, and the result is that of plain average linkage.

Source: Müllner, "Modern hierarchical, agglomerative clustering algorithms", 2011, section 3.2 (reducible distances);
Sumengen et al., "Scaling hierarchical agglomerative clustering to billion-sized datasets", 2021 (merging in rounds).
"""

from __future__ import annotations

import numpy as np

from facerec.database import mean_encoding
from facerec.database.entries import check_encodings
from facerec.evaluation.rates import check_threshold
from facerec.network_info import CLUSTER_THRESHOLD

#: So many clusters are compared with so many others at once (64 MB of products).
ROWS, COLUMNS = 1024, 16_384


def cluster_encodings(encodings: np.ndarray, threshold: float | None = None) -> np.ndarray:
    """Group encodings of faces into people, by average linkage.

    Args:
        encodings: (m, D) of unit length; m may be 0.
        threshold: Clusters merge while the root mean square of their faces' distances is below it. None takes 0.6;
            ``cluster_photos`` takes the one that was chosen for its network.

    Returns:
        The cluster of each face, (m,): 0 is the largest, and of clusters of one size the one that comes first has the
        lower number. A face that is near no other has a cluster of its own.

    Raises:
        BadArgument: If the encodings are not of unit length, or the threshold is not a number.

    Example:
        >>> angles = np.radians([90, 0, 10, 20])
        >>> cluster_encodings(np.stack([np.cos(angles), np.sin(angles)], axis=1)).tolist()
        [1, 0, 0, 0]
    """
    threshold = CLUSTER_THRESHOLD if threshold is None else threshold
    check_threshold(threshold)
    encodings = check_encodings(encodings, what="encodings")
    cluster = np.arange(len(encodings))  # of each face; a cluster has the number of its first face
    clusters = Clusters(encodings, threshold)
    while len(pairs := clusters.next_pairs()):
        clusters.merge(pairs)
        becomes = np.arange(len(encodings))
        becomes[pairs[:, 1]] = pairs[:, 0]
        cluster = becomes[cluster]
    return number_by_size(cluster)


class Clusters:
    """The clusters of one moment, and for each the nearest other one.

    Arrays have an entry per face; those of a cluster lie at its first face.
    """

    def __init__(self, encodings: np.ndarray, threshold: float) -> None:
        count = len(encodings)
        self.alike = 1 - threshold**2 / 2 if threshold > 0 else np.inf  # a·b above which two merge
        self.mean, self.size = encodings.copy(), np.ones(count)
        self.nearest, self.product = np.zeros(count, np.int64), np.full(count, -np.inf, np.float32)
        self.growing = np.ones(count, bool)  # clusters that may still merge
        self.stale = np.ones(count, bool)  # those whose nearest one is not known

    def next_pairs(self) -> np.ndarray:
        """Clusters that are each other's nearest and near enough, (n, 2), the lower number first; none at the end."""
        self._find_nearest()
        self.growing &= self.product > self.alike
        left = np.flatnonzero(self.growing)
        if not len(left):
            return np.empty((0, 2), np.int64)
        pairs = np.sort(np.stack([left, self.nearest[left]], axis=1), axis=1)
        mutual = self.nearest[self.nearest[left]] == left
        mutual[self.product[left].argmax()] |= not mutual.any()  # where rounding made them a circle
        return np.unique(pairs[mutual], axis=0)

    def merge(self, pairs: np.ndarray) -> None:
        """Merge each pair (n, 2) into its first cluster."""
        first, second = pairs.T
        share = (self.size[second] / (self.size[first] + self.size[second]))[:, None]
        self.mean[first] = (1 - share) * self.mean[first] + share * self.mean[second]
        self.size[first] += self.size[second]
        changed = np.zeros(len(self.mean), bool)
        changed[pairs] = True
        self.growing[first], self.growing[second] = True, False
        self.stale = self.growing & (changed | changed[self.nearest])

    def _find_nearest(self) -> None:
        """Find the nearest cluster of those whose nearest one is not known, in blocks."""
        stale, others = np.flatnonzero(self.stale), np.flatnonzero(self.growing)
        self.product[stale] = -np.inf
        for start in range(0, len(others), COLUMNS):
            columns = others[start : start + COLUMNS]
            means = np.ascontiguousarray(self.mean[columns].T)  # (D, COLUMNS)
            for at in range(0, len(stale), ROWS):
                rows = stale[at : at + ROWS]
                products = self.mean[rows] @ means
                itself = np.searchsorted(columns, rows)
                here = np.flatnonzero(columns[np.minimum(itself, len(columns) - 1)] == rows)
                products[here, itself[here]] = -np.inf
                best = products.argmax(axis=1)
                product = products[np.arange(len(rows)), best]
                better = product > self.product[rows]
                self.product[rows[better]], self.nearest[rows[better]] = product[better], columns[best[better]]


def number_by_size(cluster: np.ndarray) -> np.ndarray:
    """Clusters (m,), numbered anew: the largest is 0, and of two of one size the one that comes first.

    Example:
        >>> number_by_size(np.array([7, 3, 3, 9])).tolist()
        [1, 0, 0, 2]
    """
    _, first, inverse, size = np.unique(cluster, return_index=True, return_inverse=True, return_counts=True)
    number = np.empty(len(size), np.int64)
    number[np.lexsort([first, -size])] = np.arange(len(size))
    return number[inverse]


def distances_to_centres(encodings: np.ndarray, cluster: np.ndarray) -> np.ndarray:
    """How far each face (m, D) is from the centre of its cluster, (m,): the mean, brought back to unit length."""
    distances = np.zeros(len(encodings), np.float32)
    order = np.argsort(cluster, kind="stable")
    for rows in np.split(order, np.flatnonzero(np.diff(cluster[order])) + 1):
        if len(rows) > 1:
            distances[rows] = np.linalg.norm(encodings[rows] - mean_encoding(encodings[rows]), axis=1)
    return distances
