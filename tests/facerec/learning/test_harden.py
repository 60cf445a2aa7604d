"""Hardened pictures: a pure function of the seed, nothing left around the face, and of little use to plain pixels."""

import numpy as np
import pytest
from sklearn.preprocessing import normalize

from facerec.errors import BadArgument
from facerec.evaluation import area_under_roc
from facerec.learning.datasets import find_people, split_by_identity
from facerec.learning.harden import harden
from facerec.learning.pairs import PairFaces, make_pairs


@pytest.fixture(scope="module")
def pairs() -> PairFaces:
    *_, test = split_by_identity(find_people("datasets/people.zip"), (160, 40, 42))
    return PairFaces(make_pairs(test, 2000, seed=2), side=24)


def pixel_area(pairs: PairFaces, faces: np.ndarray) -> float:
    """The ROC area of plain pixels: minus their mean, at unit length."""
    x = faces.reshape(len(faces), -1).astype(np.float32)
    first, second = normalize(x - x.mean(axis=1, keepdims=True))[pairs.rows.T]
    return area_under_roc(np.linalg.norm(first - second, axis=1), pairs.same)


def test_harden_depends_on_the_seed_and_the_row_alone(pairs):
    before = pairs.faces[:6].copy()
    hard = harden(before, seed=4)
    np.testing.assert_array_equal(harden(before[:2], seed=4), hard[:2])
    np.testing.assert_array_equal(before, pairs.faces[:6])
    assert (harden(before, seed=5) != hard).any(axis=(1, 2, 3)).all()
    twice = harden(np.stack([before[0]] * 2), seed=4)
    assert (twice[0] != twice[1]).any()


def test_harden_leaves_nothing_around_the_face(pairs):
    """Two different pictures, changed alike, differ in the oval alone."""
    first, second = harden(pairs.faces[:1], seed=1)[0], harden(pairs.faces[1:2], seed=1)[0]
    different = (first != second).any(axis=2)
    assert 0.3 < different.mean() < 0.5
    assert not different[[0, 0, -1, -1], [0, -1, 0, -1]].any() and different[12, 12]
    assert len(np.unique(first[~different], axis=0)) < 20  # one colour, but for pixels that happen to be equal


@pytest.mark.parametrize("seed", range(3))
def test_plain_pixels_fall_on_hardened_pictures(pairs, seed):
    assert pixel_area(pairs, pairs.faces) > 0.9
    assert 0.5 < pixel_area(pairs, harden(pairs.faces, seed)) < 0.66


@pytest.mark.parametrize(
    "faces", [np.zeros((2, 8, 9, 3), np.uint8), np.zeros((8, 8, 3), np.uint8), np.zeros((2, 8, 8, 3)), None]
)
def test_harden_rejects_what_is_not_faces(faces):
    with pytest.raises(BadArgument, match=r"faces \(.*expected \(m, S, S, 3\) uint8"):
        harden(faces)
