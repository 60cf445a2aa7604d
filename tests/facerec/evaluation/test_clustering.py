"""BCubed, against its definition face by face."""

from __future__ import annotations

import numpy as np
import pytest

from facerec.errors import BadArgument
from facerec.evaluation import bcubed, bootstrap_bcubed


def face_by_face(labels, truth) -> tuple[float, float]:
    precision, recall = [], []
    for label, person in zip(labels, truth, strict=True):
        both = ((labels == label) & (truth == person)).sum()
        precision.append(both / (labels == label).sum())
        recall.append(both / (truth == person).sum())
    return np.mean(precision), np.mean(recall)


@pytest.mark.parametrize("seed", range(3))
def test_bcubed_equals_its_definition_face_by_face(seed):
    rng = np.random.default_rng(seed)
    labels, truth = rng.integers(0, 9, 60), rng.choice(list("abcdefgh"), 60)
    found, (precision, recall) = bcubed(labels, truth), face_by_face(labels, truth)
    assert found == pytest.approx((precision, recall, 2 * precision * recall / (precision + recall)))


def test_bcubed_of_perfect_single_and_united_clusters():
    truth = ["ada", "ada", "bob", "cy"]
    assert bcubed([5, 5, 2, 0], truth) == (1, 1, 1)
    assert bcubed([0, 1, 2, 3], truth)[:2] == (1, 0.75)
    assert bcubed([0, 0, 0, 0], truth)[:2] == (0.375, 1)


def test_intervals_hold_the_value_and_shrink_with_the_number_of_people():
    widths = []
    for people in (30, 3000):
        rng = np.random.default_rng(people)
        truth = np.repeat(np.arange(people), 3)
        labels = np.where(rng.random(3 * people) < 0.1, people + rng.integers(0, people, 3 * people), truth)
        found, value = bootstrap_bcubed(labels, truth, samples=200), bcubed(labels, truth)
        assert [interval.value for interval in found.values()] == list(value)
        assert all(interval.low <= interval.value <= interval.high for interval in found.values())
        widths.append(found["f"].high - found["f"].low)
    assert 3 < widths[0] / widths[1] < 30  # ten times as narrow with a hundred times as many people


def test_lists_of_different_lengths_are_rejected():
    with pytest.raises(BadArgument, match=r"labels \(2,\) and truth \(3,\): a cluster and a person for each face"):
        bcubed([0, 1], list("abc"))
