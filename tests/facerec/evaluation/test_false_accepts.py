"""The curve of false accepts, and thresholds for K people."""

from __future__ import annotations

import numpy as np
import pytest

from facerec.encoding import unit_length
from facerec.errors import BadArgument
from facerec.evaluation import FalseAccepts, fit_false_accepts

CURVE = FalseAccepts((0.4, 0.5, 0.6, 0.7), (1e-5, 1e-4, 1e-3, 1e-2))


def crowd(people: int, seed: int) -> np.ndarray:
    return unit_length(np.random.default_rng(seed).normal(size=(people, 8)).astype(np.float32))


@pytest.mark.parametrize("people", [1, 7, 100, 5000, 10**6])
@pytest.mark.parametrize("strangers", [0.001, 0.01, 0.1])
def test_threshold_gives_the_share_of_strangers_that_was_asked_for(people, strangers):
    assert CURVE.strangers_named(CURVE.threshold(people, strangers), people) == pytest.approx(strangers, rel=1e-6)


def test_more_people_need_a_smaller_threshold():
    thresholds = [CURVE.threshold(people) for people in (1, 10, 100, 1000, 10**5, 10**9)]
    assert thresholds == sorted(thresholds, reverse=True) and thresholds[-1] == 0.0
    assert thresholds[0] == pytest.approx(0.7)


def test_curve_holds_at_its_knots_between_and_beyond_them():
    shares = [CURVE.share(t) for t in (0.3, 0.4, 0.55, 0.7, 0.8)]
    np.testing.assert_allclose(shares, [1e-6, 1e-5, 10**-3.5, 1e-2, 1e-1], rtol=1e-9)
    assert CURVE.share(2.0) < 1


def test_fit_counts_the_pairs_of_different_people_nearer_than_each_knot():
    encodings = crowd(400, seed=0)
    curve = fit_false_accepts(encodings, np.arange(400))
    apart = np.linalg.norm(encodings[:, None] - encodings[None], axis=2)[np.triu_indices(400, 1)]
    assert curve.shares[0] == 2e-5  # one of 79,800 pairs is 1.3e-5
    for distance, share in zip(curve.distances, curve.shares, strict=True):
        assert (apart <= distance + 1e-6).mean() == pytest.approx(share, abs=1.5 / len(apart))


def test_fit_leaves_out_pairs_of_one_person_and_gives_people_equal_weight():
    encodings, people = crowd(60, seed=1), np.arange(60)
    often = np.concatenate([people, np.zeros(50, int)])  # fifty more pictures of one person, all alike
    once, again = fit_false_accepts(encodings, people), fit_false_accepts(encodings[often], often)
    assert again.shares == once.shares
    np.testing.assert_allclose(again.distances, once.distances, atol=5e-3)  # a share may end on the next pair


def test_thresholds_hold_for_strangers_who_were_not_measured():
    curve, others = fit_false_accepts(crowd(900, seed=2), np.arange(900)), crowd(2400, seed=3)
    strangers, known = others[:2000], others[2000:]
    named = np.linalg.norm(strangers[:, None] - known[None, :50], axis=2).min(axis=1) < curve.threshold(50, 0.05)
    assert 0.03 < named.mean() < 0.07


@pytest.mark.parametrize(
    ("distances", "shares", "said"),
    [
        ((0.5,), (0.1,), "at least two"),
        ((0.5, 0.4), (0.1, 0.2), "both ascending"),
        ((0.4, 0.5), (0.2, 0.2), "both ascending"),
        ((0.4, 0.5), (0.0, 0.2), "between 0 and 1"),
        ((0.4, "x"), (0.1, 0.2), "distances=.*must be a list of numbers"),
        ([0.4, 0.5], (0.1, 0.2), "distances=.*must be a list of numbers"),
    ],
)
def test_an_impossible_curve_is_rejected(distances, shares, said):
    with pytest.raises(BadArgument, match=said):
        FalseAccepts(distances, shares)


@pytest.mark.parametrize("people", [0, -1, 1.5, True, "12", None])
def test_people_must_be_a_number_of_people(people):
    with pytest.raises(BadArgument, match="people="):
        CURVE.threshold(people)


def test_fit_rejects_pictures_of_one_person():
    with pytest.raises(BadArgument, match="1 people"):
        fit_false_accepts(crowd(3, seed=0), np.zeros(3))


def test_curve_survives_a_file():
    assert FalseAccepts.from_dict(CURVE.to_dict()) == CURVE
    with pytest.raises(BadArgument, match="a dict of distances and shares"):
        FalseAccepts.from_dict({"distances": [0.4, 0.5]})
