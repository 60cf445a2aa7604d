"""Probabilities from distances: calibrated, never certain, and equal to scikit-learn's."""

from __future__ import annotations

import json
from dataclasses import astuple

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from facerec.errors import BadArgument
from facerec.evaluation import (
    Probability,
    bootstrap_calibration_error,
    calibration_error,
    calibration_error_by_chance,
    fit_probability,
    reliability,
)
from tests.facerec.evaluation.invented import logistic_pairs

METHODS = ["logistic", "isotonic"]


@pytest.mark.parametrize("bins", [1, 3, 10])
def test_reliability_groups_have_equally_many_pairs(bins):
    rng = np.random.default_rng(bins)
    scores = rng.uniform(0, 1, 200)
    same = rng.random(200) < scores  # a score that means what it says
    table = reliability(scores, same, bins)
    order = np.argsort(scores)
    for row, group in zip(table.itertuples(), np.array_split(order, bins), strict=True):
        assert row.pairs == len(group)
        assert row.score == pytest.approx(scores[group].mean()) and row.share == pytest.approx(same[group].mean())
    assert table.pairs.sum() == 200 and table.score.is_monotonic_increasing


def test_reliability_rejects_scores_outside_0_to_1():
    with pytest.raises(BadArgument, match="scores must lie in 0..1; they lie in"):
        reliability([0.2, 1.1], [True, False])
    with pytest.raises(BadArgument, match="scores must lie in 0..1; they lie in"):
        reliability([0.2, np.nan], [True, False])
    with pytest.raises(BadArgument, match="bins=3: there are 2 pairs"):
        reliability([0.2, 0.9], [True, False], bins=3)


def test_calibration_error_by_chance_is_that_of_perfect_probabilities():
    """The mean over truths that are drawn anew; a probability that is too sure lies far above."""
    rng = np.random.default_rng(5)
    probability = rng.beta(0.3, 0.3, 800)
    chance = calibration_error_by_chance(probability, samples=300)
    perfect = [calibration_error(probability, rng.random(800) < probability) for _ in range(200)]
    assert chance.value == pytest.approx(np.mean(perfect), rel=0.06)
    assert np.mean([chance.low < error < chance.high for error in perfect]) > 0.9
    too_sure = np.where(probability > 0.5, 0.99, 0.01)
    assert calibration_error(too_sure, rng.random(800) < probability) > chance.high


@pytest.mark.parametrize(("method", "atol"), [("logistic", 0.03), ("isotonic", 0.15)])
def test_fitted_probability_is_calibrated_on_other_pairs(method, atol):
    probability = fit_probability(*logistic_pairs(0), method)
    distances, same = logistic_pairs(1, n=20_000)
    assert calibration_error(probability(distances), same) < 0.012
    grid = np.linspace(0.65, 0.95, 30)
    np.testing.assert_allclose(probability(grid), 1 / (1 + np.exp(20 * (grid - 0.8))), atol=atol)
    assert calibration_error(probability(distances - 0.1), same) > 0.1


@pytest.mark.parametrize("method", METHODS)
def test_fitted_probability_falls_and_is_never_0_or_1(method):
    distances, same = logistic_pairs(2, n=300)
    probability = fit_probability(distances, same, method)
    found = probability(np.linspace(distances.min(), distances.max(), 500))
    assert (np.diff(found) <= 0).all() and 0 < found[-1] < found[0] < 1
    assert np.isnan(probability([np.nan, 0.5])).tolist() == [True, False]
    assert probability(0.5).shape == () and probability(np.zeros((2, 3))).shape == (2, 3)


@pytest.mark.parametrize(("method", "atol"), [("logistic", 0.02), ("isotonic", 1e-7)])
@pytest.mark.parametrize("prior", [0.02, 0.8])
def test_changing_the_prior_equals_fitting_with_it(method, atol, prior):
    distances, same = logistic_pairs(3)
    fitted, refitted = fit_probability(distances, same, method), fit_probability(distances, same, method, prior)
    assert (fitted.prior, refitted.prior) == (0.5, prior)
    grid = np.linspace(0, 2, 200)
    np.testing.assert_allclose(fitted(grid, prior=prior), refitted(grid), atol=atol)
    np.testing.assert_allclose(fitted(grid), refitted(grid, prior=0.5), atol=3 * atol)
    given, shown = logistic_pairs(4, n=20_000, share=prior)
    assert calibration_error(fitted(given, prior=prior), shown) < 0.012 < calibration_error(fitted(given), shown)


@pytest.mark.parametrize("method", METHODS)
def test_fit_is_independent_of_the_share_of_same_pairs(method):
    distances, same = logistic_pairs(5, n=8000)
    few = np.arange(8000)[~same | (np.arange(8000) % 4 == 0)]
    grid = np.linspace(0.6, 1, 50)
    one, other = (fit_probability(distances[k], same[k], method)(grid) for k in (slice(None), few))
    np.testing.assert_allclose(one, other, atol=0.08 if method == "isotonic" else 0.03)


@pytest.mark.parametrize("method", METHODS)
def test_probability_round_trips_through_short_json(method):
    probability = fit_probability(*logistic_pairs(6), method, prior=0.3)
    text = json.dumps(probability.to_dict())
    again = Probability.from_dict(json.loads(text))
    grid = np.linspace(-1, 3, 100)
    assert again == probability and (again(grid) == probability(grid)).all() and len(text) < 5000
    assert method == "isotonic" or len(text) < 160


@pytest.mark.parametrize("method", METHODS)
def test_fit_to_separable_pairs_leaves_doubt(method):
    """100 of each kind, all apart: never surer than 101 in 102 by counting, nor without measure on a line."""
    distances, same = np.linspace(0, 1, 200), np.arange(200) < 100
    found = fit_probability(distances, same, method)(distances)
    assert 0.97 < found[0] < 0.999999 and 1e-6 < found[-1] < 0.03
    assert method == "logistic" or (found[0], found[-1]) == pytest.approx((101 / 102, 1 / 102))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("scale", [1e-6, 1000])
def test_fit_is_independent_of_unit_order_and_missing_distances(method, scale):
    distances, same = logistic_pairs(7, n=500)
    grid = np.linspace(0.5, 1.1, 50)
    expected = fit_probability(distances, same, method)(grid)
    order = np.random.default_rng(0).permutation(500)
    found = fit_probability(scale * distances[order], same[order], method)(scale * grid)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    more = fit_probability(np.append(distances, [np.nan] * 2), np.append(same, [True, False]), method)(grid)
    np.testing.assert_array_equal(more, expected)


def test_logistic_fit_equals_scikit_learns():
    distances, same = logistic_pairs(8)
    expected = LogisticRegression(C=1e9, class_weight="balanced").fit(distances[:, None], same)
    grid = np.linspace(0.5, 1.1, 30)
    found = fit_probability(distances, same)(grid)
    np.testing.assert_allclose(found, expected.predict_proba(grid[:, None])[:, 1], atol=0.003)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"method": "magic"}, "method='magic': must be one of logistic, isotonic"),
        ({"prior": 1}, "prior=1: must be a share between 0 and 1"),
        ({"prior": "0.5"}, "prior='0.5'"),
        ({"distances": [0.4, "far"]}, "distances=.*: must be a list of numbers"),
        ({"distances": 0.4}, "distances=0.4: must be a list of numbers"),
        ({"log_odds": [3.0, float("nan")]}, "log_odds=.*: must be a list of numbers"),
        ({"log_odds": [-3.0, 3.0]}, "the farther, the less probable"),
        ({"log_odds": [1.0, 1.0]}, "the farther, the less probable"),
        ({"distances": [1.0, 0.4]}, "the distances must rise"),
        ({"distances": [0.4]}, "1 distances and 2 log_odds do not make a logistic"),
        ({"distances": [0.4, 0.6, 0.8], "log_odds": [3, 2, 1]}, "3 distances and 3 log_odds do not make a logistic"),
        ({"more": 1}, "a probability is a dict of distances, log_odds, method, prior"),
    ],
)
def test_probability_rejects_bad_attributes(change, reason):
    good = {"method": "logistic", "prior": 0.5, "distances": [0.4, 1.0], "log_odds": [3.0, -3.0]}
    assert Probability.from_dict(good)(0.7) == pytest.approx(0.5)
    with pytest.raises(BadArgument, match=reason):
        Probability.from_dict(good | change)
    with pytest.raises(BadArgument, match="got None"):
        Probability.from_dict(None)


def test_fit_probability_rejects_unusable_pairs_and_arguments():
    distances, same = logistic_pairs(9, n=100)
    for method in METHODS:
        with pytest.raises(BadArgument, match="same pairs of these 100 are not nearer than the different ones"):
            fit_probability(-distances, same, method)
        with pytest.raises(BadArgument, match="are not nearer"):
            fit_probability(np.ones(100), same, method)
        with pytest.raises(BadArgument, match="both kinds are needed"):
            fit_probability(np.where(same, np.nan, distances), same, method)
    with pytest.raises(BadArgument, match="method='platt': must be one of logistic, isotonic"):
        fit_probability(distances, same, "platt")
    with pytest.raises(BadArgument, match="prior=0: must be a share"):
        fit_probability(distances, same, prior=0)
    with pytest.raises(BadArgument, match="prior=2: must be a share"):
        fit_probability(distances, same)(distances, prior=2)


@pytest.mark.parametrize("bins", [1, 4, 10])
def test_calibration_error_equals_a_loop_over_groups(bins):
    rng = np.random.default_rng(bins)
    scores = rng.uniform(0, 1, 203)
    same = rng.random(203) < scores**2
    groups = np.array_split(np.argsort(scores), bins)
    expected = sum(len(g) / 203 * abs(scores[g].mean() - same[g].mean()) for g in groups)
    assert calibration_error(scores, same, bins) == pytest.approx(expected)
    missing = calibration_error(np.append(scores, np.nan), np.append(same, True), bins)
    assert missing == pytest.approx(expected)
    assert calibration_error(scores, same, bins, np.ones(203)) == pytest.approx(expected, abs=0.01)


def test_reliability_groups_have_equal_weight_and_bad_weights_are_rejected():
    scores, same = np.linspace(0, 1, 100), np.arange(100) % 2 == 0
    table = reliability(scores, same, 4, np.where(scores < 0.5, 3, 1))
    assert table.pairs.tolist() == pytest.approx([50] * 4, abs=3) and table.score.iloc[2] < 0.5
    assert len(reliability(scores, same, 4, np.arange(100) == 7)) == 1
    for weight in (np.ones(99), np.full(100, -1), np.zeros(100), np.full(100, np.nan)):
        with pytest.raises(BadArgument, match="weight .*: needs a number of 0 or more for each of the 100 pairs"):
            reliability(scores, same, 4, weight)


def test_calibration_error_interval_covers_perfect_and_bad_probabilities():
    """Perfect is 0; a shift of 0.1 makes an error that many pairs tell."""
    perfect = Probability("logistic", 0.5, (0.6, 1.0), (4.0, -4.0))
    distances, same = logistic_pairs(999, n=100_000)
    bad = calibration_error(perfect(distances + 0.1), same)
    held = [0, 0]
    for seed in range(10):
        distances, same = logistic_pairs(seed, n=400)
        people = np.stack([np.arange(400), np.arange(400) + 400 * ~same], 1)
        found = [bootstrap_calibration_error(perfect(distances + by), same, people, samples=60) for by in (0, 0.1)]
        for i, truth in enumerate((0.001, bad)):  # so little is left of 0 in very many pairs
            held[i] += found[i].low <= truth <= found[i].high
        assert found[1].low > 0
    assert min(held) >= 8


def test_calibration_error_interval_keeps_the_proportion_of_the_two_kinds():
    """Saying "0.5" of each pair of a list of which 0.8 show one person is off by 0.3 in every draw."""
    same = np.arange(50) < 40
    people = np.stack([np.arange(50) % 20, np.where(same, np.arange(50) % 20, 21)], 1)
    found = bootstrap_calibration_error(np.full(50, 0.5), same, people, bins=1, samples=50)
    assert astuple(found) == pytest.approx((0.3, 0.3, 0.3))


@pytest.mark.parametrize("prior", ["a", None, np.nan])
def test_fit_probability_rejects_priors_that_are_not_shares(prior):
    with pytest.raises(BadArgument, match="prior="):
        fit_probability(*logistic_pairs(9, n=100), prior=prior)
