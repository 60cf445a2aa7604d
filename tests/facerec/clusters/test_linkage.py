"""Clusters of encodings, against SciPy's average linkage on the whole matrix of distances."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.spatial.distance import pdist

from facerec.clusters import cluster_encodings
from facerec.clusters import linkage as ours
from facerec.clusters.linkage import distances_to_centres, number_by_size
from facerec.errors import BadArgument


def crowd(seed: int, people: int, noise: float, dimension: int = 16) -> np.ndarray:
    """Encodings of people with one to six pictures each, in random order."""
    rng = np.random.default_rng(seed)
    who = rng.permutation(np.repeat(np.arange(people), rng.integers(1, 7, people)))
    x = rng.normal(size=(people, dimension))[who] + noise * rng.normal(size=(len(who), dimension))
    return (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)


def by_scipy(encodings: np.ndarray, threshold: float) -> np.ndarray:
    """Average linkage of squared distances, cut at the squared threshold."""
    tree = linkage(pdist(encodings.astype(float), "sqeuclidean"), "average")
    return number_by_size(fcluster(tree, threshold**2, "distance"))


@pytest.mark.parametrize("blocks", [(1024, 16_384), (7, 11)])
@pytest.mark.parametrize(("noise", "threshold"), [(0.3, 0.6), (0.6, 0.8), (0.9, 1.0), (0.9, 1.3)])
def test_clusters_equal_average_linkage_on_the_whole_matrix(noise, threshold, blocks, monkeypatch):
    """With much noise, nearly all faces hang together by chains of near pairs; the result is still the same."""
    monkeypatch.setattr(ours, "ROWS", blocks[0])
    monkeypatch.setattr(ours, "COLUMNS", blocks[1])
    for seed in range(3):
        encodings = crowd(seed, 80, noise)
        found = cluster_encodings(encodings, threshold)
        assert 1 < found.max() + 1 < len(encodings)
        assert found.tolist() == by_scipy(encodings, threshold).tolist()


def test_clusters_are_numbered_by_size_and_singles_are_their_own():
    angles = np.radians([200, 0, 90, 4, 95, 8])
    labels = cluster_encodings(np.stack([np.cos(angles), np.sin(angles)], axis=1), 0.3)
    assert labels.tolist() == [2, 0, 1, 0, 1, 0]


def test_order_of_the_faces_does_not_change_the_clusters():
    encodings = crowd(5, 100, 0.6)
    order = np.random.default_rng(0).permutation(len(encodings))
    one, other = cluster_encodings(encodings, 0.8)[order], cluster_encodings(encodings[order], 0.8)
    assert ((one[:, None] == one) == (other[:, None] == other)).all()


def test_copies_and_extreme_thresholds():
    encodings = np.repeat(crowd(1, 3, 0), 4, axis=0)
    assert cluster_encodings(encodings, 0.05).max() == len(np.unique(encodings, axis=0)) - 1
    assert cluster_encodings(encodings, 0).tolist() == list(range(len(encodings)))
    assert cluster_encodings(encodings, 3).tolist() == [0] * len(encodings)
    assert cluster_encodings(np.empty((0, 128))).shape == (0,)


def test_distances_are_those_to_the_mean_of_unit_length():
    encodings = crowd(2, 20, 0.3)
    labels = cluster_encodings(encodings, 0.6)
    distances = distances_to_centres(encodings, labels)
    for number in range(labels.max() + 1):
        rows = labels == number
        centre = encodings[rows].mean(axis=0)
        expected = np.linalg.norm(encodings[rows] - centre / np.linalg.norm(centre), axis=1)
        np.testing.assert_allclose(distances[rows], expected, atol=1e-6)
    assert (distances[labels == labels.max()] == 0).all()


@pytest.mark.parametrize("threshold", [np.nan, "0.6", True])
def test_bad_threshold_is_rejected(threshold):
    with pytest.raises(BadArgument, match="threshold="):
        cluster_encodings(np.eye(3), threshold)


def test_encodings_of_another_length_are_rejected():
    with pytest.raises(BadArgument, match="encodings must be of unit length"):
        cluster_encodings(2 * np.eye(3))
