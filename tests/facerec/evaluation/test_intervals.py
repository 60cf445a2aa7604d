"""Intervals over people: they cover the truth, and equal repeated lists, SciPy and scikit-learn."""

from __future__ import annotations

from dataclasses import astuple
from functools import partial

import numpy as np
import pytest
import scipy.stats
from sklearn.metrics import roc_auc_score

from facerec.errors import BadArgument
from facerec.evaluation import (
    Interval,
    accuracy,
    area_under_roc,
    bootstrap,
    bootstrap_accuracy,
    bootstrap_auc,
    bootstrap_gain,
    bootstrap_mean,
    reliability,
    true_accepts_at,
    verification_table,
    wilson_interval,
)
from facerec.evaluation.intervals import _nearer, bootstrap_true_accepts, weighted_accuracy
from facerec.evaluation.rates import rank_pairs, weighted_true_accepts
from tests.facerec.evaluation.invented import drawn_people, pairs, world

SEEDS = range(6)


def test_bootstrap_is_deterministic():
    given = world(0, spread=0.15)
    one, again, other = (bootstrap_accuracy(*given, 0.7, samples=300, seed=seed) for seed in (0, 0, 1))
    assert one == again and one != other and one.value == other.value


@pytest.mark.parametrize("seed", SEEDS)
def test_bootstrap_interval_contains_the_accuracy(seed):
    distances, same, people = world(seed, spread=0.15)
    found = bootstrap_accuracy(distances, same, people, 0.7, samples=300)
    assert found.value == accuracy(distances, same, 0.7) and found.low < found.value < found.high


@pytest.mark.parametrize(("threshold", "expected"), [(0.7, 1.0), (-1, 0.5), (9, 0.5)])
def test_interval_has_zero_width_if_every_drawing_agrees(threshold, expected):
    """All right, or all of one kind right and all of the other wrong: every draw gives the same."""
    distances = np.array([0.1, 0.2, 0.1, 1.5, 1.4, 1.5])
    people = np.array([["a", "a"], ["b", "b"], ["c", "c"], ["a", "b"], ["b", "c"], ["c", "a"]])
    found = bootstrap_accuracy(distances, distances < 1, people, threshold, samples=200)
    assert found == Interval(expected, expected, expected)


def test_bootstrap_counts_missing_distances_as_mistakes():
    distances, same, people = world(0)
    distances[::10] = np.nan
    found = bootstrap_accuracy(distances, same, people, 0.75, samples=50, missing="mistakes")
    assert found.value == accuracy(distances, same, 0.75, missing="mistakes") < 0.91
    nothing = bootstrap_accuracy(np.full(len(same), np.nan), same, people, 0.75, samples=50, missing="mistakes")
    assert nothing == Interval(0, 0, 0)


def test_bootstrap_accuracy_covers_the_truth():
    """The truth is measured on many people; 95 % intervals from 50 small worlds miss it rarely."""
    truth = accuracy(*world(999, people=20_000, spread=0.15)[:2], 0.7)
    intervals = [bootstrap_accuracy(*world(seed, spread=0.15), 0.7, samples=200) for seed in range(50)]
    assert sum(i.low <= truth <= i.high for i in intervals) >= 44


def test_bootstrap_draws_people_not_pairs():
    """Where all pairs of a person fail together, an interval that took pairs for independent is too narrow."""
    distances, same, people = world(3, spread=0.4)
    found = bootstrap_accuracy(distances, same, people, 0.7, samples=500)
    own = np.arange(len(same)).astype(str)
    independent = bootstrap_accuracy(distances, same, np.stack([own, own], 1), 0.7, samples=500)
    assert found.high - found.low > 1.4 * (independent.high - independent.low)


def test_bootstrap_keeps_the_proportion_of_the_two_kinds():
    """However many same pairs the drawn people have: with all same pairs right and all others wrong, 0.2."""
    different = [[x, y] for x in "abcd" for y in "abcd" if x != y] + 4 * [["c", "d"]]
    people = np.array([["a", "a"]] + 3 * [["b", "b"]] + different)
    same = people[:, 0] == people[:, 1]
    found = bootstrap_accuracy(np.zeros(len(same)), same, people, 0.5, samples=200)
    assert found.low == pytest.approx(0.2) and found.high == pytest.approx(0.2) and found.value == same.mean() == 0.2


def test_interval_is_printed_with_four_digits():
    assert str(Interval(0.987, 0.9801, 0.99234)) == "0.9870 [0.9801, 0.9923]"


@pytest.mark.parametrize("people", [[["a", "b"]], ["a", "b"], [["a", "b", "c"]] * 2, []])
def test_people_of_another_shape_are_rejected(people):
    with pytest.raises(BadArgument, match="people .*: two identities for each of the 2 pairs"):
        bootstrap_accuracy([0.1, 0.9], [True, False], people, 0.7)


def test_bootstrap_mean_equals_scipys():
    values = np.random.default_rng(0).uniform(0, 1, 15)
    found = bootstrap_mean(values)
    expected = scipy.stats.bootstrap([values], np.mean, method="percentile", n_resamples=20_000, rng=1)
    ends = expected.confidence_interval
    assert found.value == pytest.approx(values.mean())
    assert [found.low, found.high] == pytest.approx([ends.low, ends.high], abs=0.01)
    with pytest.raises(BadArgument, match=r"values \(0,\)"):
        bootstrap_mean([])


def test_bootstrap_gain_is_paired_and_zero_for_equal_methods():
    rng = np.random.default_rng(0)
    people = rng.integers(0, 20, (2000, 2))
    same = rng.random(2000) < 0.5
    people[same, 1] = people[same, 0]
    hard = rng.normal(size=20)[people[:, 0]]  # some people are hard for every method
    before = 1 - 0.6 * same + 0.3 * hard + 0.2 * rng.normal(size=2000)
    after = before - 0.1 * same
    nothing = bootstrap_gain(before, before, same, people, (0.7, 0.7), samples=50)
    assert (nothing.value, nothing.low, nothing.high) == (0, 0, 0)
    gain = bootstrap_gain(before, after, same, people, (0.7, 0.7), samples=500)
    alone = [bootstrap_accuracy(distances, same, people, 0.7, samples=500) for distances in (before, after)]
    assert gain.value == pytest.approx(alone[1].value - alone[0].value)
    assert 0 < gain.low < gain.value < gain.high
    assert gain.high - gain.low < 0.6 * min(each.high - each.low for each in alone)
    assert alone[0].high > alone[1].low  # apart they overlap


@pytest.mark.parametrize("seed", SEEDS)
def test_weighted_statistics_equal_those_of_repeated_pairs(seed):
    """AUC and TAR with weights, against the unweighted ones of the repeated list, and scikit-learn."""
    distances, same = pairs(seed, n=200, missing=0.1)
    weight = np.random.default_rng(seed).integers(0, 4, 200)
    again = np.repeat(distances, weight), np.repeat(same, weight)
    ranks = rank_pairs(distances, same)
    auc = _nearer(ranks, same, weight)
    assert auc == pytest.approx(area_under_roc(*again, missing="mistakes"))
    assert auc == pytest.approx(roc_auc_score(same, -ranks, sample_weight=weight))
    expected = true_accepts_at(*again, 0.2, missing="mistakes")
    assert weighted_true_accepts(distances, same, 0.2)(weight) == pytest.approx(expected)
    scores = np.nan_to_num(np.exp(-distances), nan=0.1)
    weighted, listed = reliability(scores, same, 1, weight), reliability(np.repeat(scores, weight), again[1], 1)
    np.testing.assert_allclose(weighted, listed)


READY = {
    "auc": (bootstrap_auc, area_under_roc),
    "true_accepts": (partial(bootstrap_true_accepts, far=0.1), partial(true_accepts_at, far=0.1)),
}


@pytest.mark.parametrize("name", READY)
def test_intervals_contain_their_value_and_ignore_the_order_of_pairs(name):
    interval, value = READY[name]
    distances, same, people = drawn_people(0)
    distances[::20] = np.nan
    found = interval(distances, same, people, samples=200, missing="mistakes")
    assert found.value == pytest.approx(value(distances, same, missing="mistakes"))
    assert found.low < found.value < found.high
    order = np.random.default_rng(0).permutation(len(same))
    shuffled = interval(distances[order], same[order], people[order], samples=200, missing="mistakes")
    assert astuple(shuffled) == pytest.approx(astuple(found))


@pytest.mark.parametrize("name", READY)
def test_intervals_cover_the_truth(name):
    """Measured on very many people; 40 small worlds of 95 % intervals miss it rarely."""
    interval, value = READY[name]
    truth = value(*world(999, people=20_000, spread=0.15)[:2])
    intervals = [interval(*world(seed, spread=0.15), samples=100) for seed in range(40)]
    assert sum(found.low <= truth <= found.high for found in intervals) >= 34
    assert not any(found.low <= 0.5 * truth + 0.4 * (truth < 0.5) <= found.high for found in intervals)


def test_bootstrap_accepts_any_statistic():
    distances, same, people = drawn_people(2)

    def right(distances, same, weight):
        return weighted_accuracy((distances < 0.8) == same, same, weight)

    found = bootstrap(right, distances, same, people, samples=100)
    assert astuple(found) == pytest.approx(astuple(bootstrap_accuracy(distances, same, people, 0.8, samples=100)))


def test_verification_table_withholds_numbers_below_ten_false_accepts():
    distances, same, people = drawn_people(0)
    table = verification_table(distances, same, people, fars=(0.2, 0.001), samples=50).set_index("far")
    found = bootstrap_true_accepts(distances, same, people, 0.2, samples=50)
    assert table.loc[0.2, ["true_accepts", "low", "high"]].tolist() == [found.value, found.low, found.high]
    assert table.loc[0.001, ["true_accepts", "low", "high"]].isna().all()
    assert table.decided_by.tolist() == [int(0.2 * (~same).sum()), 0]
    assert bootstrap_true_accepts(distances, same, people, 0.001) is None


@pytest.mark.parametrize(("successes", "cases"), [(0, 1), (1, 1), (0, 50), (50, 50), (7, 9), (98, 100), (500, 1000)])
def test_wilson_interval_equals_its_formula(successes, cases):
    """Wilson's (1927) equation by hand, with the normal quantile 1.959964."""
    p, z = successes / cases, 1.959963985
    middle, half = p + z**2 / (2 * cases), z * np.sqrt(p * (1 - p) / cases + z**2 / (4 * cases**2))
    expected = (p, *((middle + side * half) / (1 + z**2 / cases) for side in (-1, 1)))
    assert astuple(wilson_interval(successes, cases)) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize(("successes", "cases"), [(2, 1), (-1, 3), (0, 0)])
def test_wilson_interval_rejects_impossible_counts(successes, cases):
    with pytest.raises(BadArgument, match=f"successes={successes}, cases={cases}"):
        wilson_interval(successes, cases)
