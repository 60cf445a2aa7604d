"""Error rates, thresholds and intervals against scikit-learn and against loops over every pair."""

from __future__ import annotations

import json
from dataclasses import astuple
from functools import partial

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binomtest
from sklearn.metrics import accuracy_score, precision_recall_fscore_support, roc_auc_score, roc_curve
from sklearn.model_selection import LeaveOneGroupOut

from facerec import evaluation
from facerec.errors import BadArgument
from facerec.evaluation import (
    Interval,
    Probability,
    accuracy,
    area_under_roc,
    best_threshold,
    bootstrap,
    bootstrap_accuracy,
    bootstrap_auc,
    bootstrap_calibration_error,
    bootstrap_equal_error,
    bootstrap_gain,
    bootstrap_mean,
    bootstrap_true_accepts,
    calibration_error,
    check_pairs,
    choose_threshold,
    cmc,
    confusion,
    dir_curve,
    equal_error,
    error_rates,
    errors_at,
    false_accepts_by_group,
    fit_probability,
    identification,
    lfw_protocol,
    open_set,
    person_folds,
    precision_recall,
    rates_by_group,
    reliability,
    threshold_at,
    true_accepts_at,
    verification_table,
)

SEEDS = range(6)


def pairs(seed: int, n: int = 120, decimals: int = 2, missing: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Invented distances, same pairs nearer than different ones, with ties, and NaN in a share of them."""
    rng = np.random.default_rng(seed)
    same = rng.random(n) < rng.uniform(0.2, 0.8)
    distances = np.where(same, rng.normal(0.6, 0.2, n), rng.normal(1.0, 0.2, n)).clip(0, 2).round(decimals)
    distances[rng.random(n) < missing] = np.nan
    return distances, same


def slow_rates(distances, same, threshold: float) -> tuple[float, float, float]:
    """False accepts, false rejects and accuracy, pair by pair; a pair without a distance is a mistake."""
    accepted = [d < threshold for d in distances]  # NaN is never below
    decided = [not np.isnan(d) for d in distances]
    false_accepts = sum(a and not s for a, s in zip(accepted, same, strict=True))
    false_rejects = sum(s and not a for a, s in zip(accepted, same, strict=True))
    right = sum(ok and a == s for ok, a, s in zip(decided, accepted, same, strict=True))
    return false_accepts / sum(~same), false_rejects / sum(same), right / len(same)


# ---------------------------------------------------------------------------------------------- error rates
@pytest.mark.parametrize("seed", SEEDS)
def test_error_rates_are_scikit_learns_roc(seed):
    """Every corner of the ROC, ties included: both look between any two different distances."""
    distances, same = pairs(seed)
    false_accepts, true_accepts, _ = roc_curve(same, -distances, drop_intermediate=False)
    rates = error_rates(distances, same)
    np.testing.assert_allclose(rates.false_accepts, false_accepts)
    np.testing.assert_allclose(1 - rates.false_rejects, true_accepts)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("missing", [0, 0.2])
def test_error_rates_agree_with_a_loop(seed, missing):
    distances, same = pairs(seed, missing=missing)
    thresholds = [-1, 0, 0.4, 0.7, float(np.nanmax(distances)), 3]
    rates = error_rates(distances, same, thresholds)
    for row, threshold in zip(rates.itertuples(index=False), thresholds, strict=True):
        assert tuple(row) == pytest.approx((threshold, *slow_rates(distances, same, threshold)))


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("missing", [0, 0.2])
def test_the_default_thresholds_miss_nothing(seed, missing):
    """From accepting nobody to accepting everybody; a fine grid finds no accuracy that is not in the table."""
    distances, same = pairs(seed, missing=missing)
    rates = error_rates(distances, same)
    assert rates.threshold.is_monotonic_increasing and rates.threshold.is_unique
    assert rates.false_accepts.iloc[0] == 0 and rates.false_rejects.iloc[0] == 1
    assert rates.false_accepts.iloc[-1] == pytest.approx(np.mean(~np.isnan(distances[~same])))
    grid = {slow_rates(distances, same, t) for t in np.arange(0, 2, 0.01)}
    table = {tuple(row) for row in rates[["false_accepts", "false_rejects", "accuracy"]].to_numpy().round(9)}
    assert {tuple(np.round(rates, 9)) for rates in grid} <= table


def test_thresholds_come_back_in_ascending_order():
    rates = error_rates([0.3, 0.9], [True, False], [1.0, 0.1, 0.5])
    assert rates.threshold.tolist() == [0.1, 0.5, 1.0] and rates.accuracy.tolist() == [0.5, 1.0, 0.5]


def test_a_distance_at_the_threshold_is_not_accepted():
    rates = error_rates([0.7, 0.7], [True, False], [0.7, 0.7001])
    assert rates.false_rejects.tolist() == [1, 0] and rates.false_accepts.tolist() == [0, 1]


def test_a_pair_without_a_distance_is_a_mistake_at_every_threshold():
    """With half of the pairs missing no threshold is right in more than half."""
    distances = np.array([0.1, np.nan, 1.9, np.nan])
    same = np.array([True, True, False, False])
    assert error_rates(distances, same, [0, 1, 3]).accuracy.tolist() == [0.25, 0.5, 0.25]
    assert accuracy(distances, same, 1.0) == 0.5
    assert accuracy([np.nan] * 4, same, 1.0) == 0


@pytest.mark.parametrize("seed", SEEDS)
def test_accuracy_is_scikit_learns(seed):
    distances, same = pairs(seed)
    assert accuracy(distances, same, 0.8) == pytest.approx(accuracy_score(same, distances < 0.8))


# ----------------------------------------------------------------------------------------------- thresholds
@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("missing", [0, 0.2])
@pytest.mark.parametrize("decimals", [1, 2, 7])
def test_no_threshold_is_better_than_the_best(seed, missing, decimals):
    distances, same = pairs(seed, decimals=decimals, missing=missing)
    candidates = np.concatenate([[0], distances[~np.isnan(distances)] + 1e-9])
    best = max(slow_rates(distances, same, t)[2] for t in candidates)
    assert accuracy(distances, same, best_threshold(distances, same)) == pytest.approx(best)


def test_the_best_threshold_lies_in_the_middle_of_the_gap():
    assert best_threshold([0.1, 0.5, 0.9, 1.5], [True, True, False, False]) == pytest.approx(0.7)


@pytest.mark.parametrize(
    ("distances", "same"),
    [
        ([0.5, 0.5, 0.3], [True, True, False]),
        ([0.4, 0.4, 0.4, 0.2], [True, True, True, False]),
        ([0.7, 0.7, 0.7000001], [True, True, False]),
        ([0.3, 0.30000001, 0.9], [True, False, False]),
        ([0.0, 0.0, 0.0], [False, False, True]),
        ([0.9, 0.9, 0.1, 0.1], [True, False, False, False]),
    ],
)
def test_thresholds_keep_their_side_of_close_distances(distances, same):
    """Where accepting everybody is best, and where the gap is far narrower than the digits one would print."""
    best = max(slow_rates(distances, np.array(same), t)[2] for t in [*distances, *(d + 1e-9 for d in distances)])
    assert accuracy(distances, same, best_threshold(distances, same)) == pytest.approx(best)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("missing", [0, 0.1])
def test_equal_error_is_where_the_two_rates_meet(seed, missing):
    """The loop looks for the threshold at which the larger of the two rates is smallest."""
    distances, same = pairs(seed, decimals=12, missing=missing)
    threshold, rate = equal_error(distances, same)
    false_accepts, false_rejects, _ = slow_rates(distances, same, threshold)
    assert rate == pytest.approx((false_accepts + false_rejects) / 2)
    assert abs(false_accepts - false_rejects) <= 1 / min(sum(same), sum(~same)) + 1e-12
    smallest = min(max(slow_rates(distances, same, t)[:2]) for t in np.unique(distances[~np.isnan(distances)]))
    assert max(false_accepts, false_rejects) <= smallest + 1 / min(sum(same), sum(~same))


def test_equal_error_of_pairs_that_are_told_apart():
    threshold, rate = equal_error([0.2, 0.4, 0.8, 1.0], [True, True, False, False])
    assert rate == 0 and 0.4 < threshold <= 0.8


def test_equal_error_of_known_distributions():
    """Same pairs from N(0.5, 0.1), different ones from N(0.9, 0.1): they meet at 0.7, with an error of Φ(−2)."""
    rng = np.random.default_rng(0)
    distances = np.concatenate([rng.normal(0.5, 0.1, 40_000), rng.normal(0.9, 0.1, 60_000)])
    threshold, rate = equal_error(distances, np.arange(100_000) < 40_000)
    assert threshold == pytest.approx(0.7, abs=0.005) and rate == pytest.approx(0.02275, abs=0.002)


def test_equal_error_with_hardly_any_distances():
    """Most pairs have no distance: the rates never meet, so it is where they are nearest."""
    distances = np.array([0.1, 0.3, np.nan, np.nan, np.nan, np.nan])
    same = np.array([True, True, True, False, False, False])
    threshold, rate = equal_error(distances, same)
    assert threshold > 0.3 - 1e-9 and rate == pytest.approx((0 + 1 / 3) / 2)
    assert equal_error([np.nan, np.nan], [True, False])[1] == 0.5


# ------------------------------------------------------------------------------------------------------ AUC
@pytest.mark.parametrize("seed", SEEDS)
def test_the_area_is_scikit_learns(seed):
    distances, same = pairs(seed)
    assert area_under_roc(distances, same) == pytest.approx(roc_auc_score(same, -distances))


@pytest.mark.parametrize("seed", SEEDS)
def test_the_area_agrees_with_a_loop_also_without_distances(seed):
    """The share of (same, different) in which the same pair is nearer; a missing one always loses."""
    distances, same = pairs(seed, n=60, decimals=1, missing=0.25)
    near = [np.inf if np.isnan(d) else d for d in distances[same]]
    far = [-np.inf if np.isnan(d) else d for d in distances[~same]]
    wins = [1.0 if a < b else 0.5 if a == b else 0.0 for a in near for b in far]
    assert area_under_roc(distances, same) == pytest.approx(np.mean(wins))


# ------------------------------------------------------------------------------------------------ bootstrap
def world(seed: int, people: int = 60, spread: float = 0.0):
    """Pairs of invented people: a same pair each for three photos, and as many different ones.

    ``spread`` says how much people differ: all three pairs of a person lie on the same side then.
    """
    rng = np.random.default_rng(seed)
    own = rng.normal(0.55, spread + 1e-9, people)
    first = np.repeat(np.arange(people), 3)
    other = (first + rng.integers(1, people, len(first))) % people
    same_distances = own[first] + rng.normal(0, 0.1, len(first))
    different_distances = rng.normal(0.95, 0.1, len(first))
    names = np.array([f"person {i}" for i in range(people)])
    return (
        np.concatenate([same_distances, different_distances]),
        np.arange(2 * len(first)) < len(first),
        names[np.concatenate([np.stack([first, first], 1), np.stack([first, other], 1)])],
    )


def test_the_bootstrap_is_deterministic():
    given = world(0, spread=0.15)
    one, again, other = (bootstrap_accuracy(*given, 0.7, samples=300, seed=seed) for seed in (0, 0, 1))
    assert one == again and one != other and one.value == other.value


@pytest.mark.parametrize("seed", SEEDS)
def test_the_interval_holds_the_accuracy(seed):
    distances, same, people = world(seed, spread=0.15)
    found = bootstrap_accuracy(distances, same, people, 0.7, samples=300)
    assert found.value == accuracy(distances, same, 0.7) and found.low < found.value < found.high


@pytest.mark.parametrize(("threshold", "expected"), [(0.7, 1.0), (-1, 0.5), (9, 0.5)])
def test_an_interval_without_any_doubt(threshold, expected):
    """All right, or all of one kind right and all of the other wrong: whoever is drawn, it is the same."""
    distances = np.array([0.1, 0.2, 0.1, 1.5, 1.4, 1.5])
    people = np.array([["a", "a"], ["b", "b"], ["c", "c"], ["a", "b"], ["b", "c"], ["c", "a"]])
    found = bootstrap_accuracy(distances, distances < 1, people, threshold, samples=200)
    assert found == Interval(expected, expected, expected)


def test_pairs_without_a_distance_are_mistakes_in_the_bootstrap():
    distances, same, people = world(0)
    distances[::10] = np.nan
    assert bootstrap_accuracy(distances, same, people, 0.75, samples=50).value == accuracy(distances, same, 0.75) < 0.91
    nothing = bootstrap_accuracy(np.full(len(same), np.nan), same, people, 0.75, samples=50)
    assert nothing == Interval(0, 0, 0)


def test_the_interval_covers_the_truth():
    """The truth is measured on many people; 95 % intervals from 50 small worlds miss it rarely."""
    truth = accuracy(*world(999, people=60_000, spread=0.15)[:2], 0.7)
    intervals = [bootstrap_accuracy(*world(seed, spread=0.15), 0.7, samples=200) for seed in range(50)]
    assert sum(i.low <= truth <= i.high for i in intervals) >= 44


def test_the_interval_is_over_people_not_over_pairs():
    """Where all pairs of a person fail together, an interval that took pairs for independent is too narrow."""
    distances, same, people = world(3, spread=0.4)
    found = bootstrap_accuracy(distances, same, people, 0.7, samples=500)
    own = np.arange(len(same)).astype(str)
    independent = bootstrap_accuracy(distances, same, np.stack([own, own], 1), 0.7, samples=500)
    assert found.high - found.low > 1.4 * (independent.high - independent.low)


def test_the_two_kinds_keep_their_share():
    """However many same pairs the drawn people have: with all same pairs right and all others wrong, 0.2."""
    different = [[x, y] for x in "abcd" for y in "abcd" if x != y] + 4 * [["c", "d"]]
    people = np.array([["a", "a"]] + 3 * [["b", "b"]] + different)
    same = people[:, 0] == people[:, 1]
    found = bootstrap_accuracy(np.zeros(len(same)), same, people, 0.5, samples=200)
    assert found.low == pytest.approx(0.2) and found.high == pytest.approx(0.2) and found.value == same.mean() == 0.2


def test_an_interval_reads_well():
    assert str(Interval(0.987, 0.9801, 0.99234)) == "0.9870 [0.9801, 0.9923]"


# --------------------------------------------------------------------------------------------------- errors
@pytest.mark.parametrize(
    "measure",
    [check_pairs, error_rates, best_threshold, equal_error, area_under_roc, lambda d, s: accuracy(d, s, 0.7)],
    ids=["check_pairs", "error_rates", "best_threshold", "equal_error", "area_under_roc", "accuracy"],
)
@pytest.mark.parametrize(
    ("distances", "same", "reason"),
    [
        ([0.1, 0.2], [True], r"distances \(2,\) and same \(1,\) must be two lists of one length"),
        ([[0.1, 0.2]], [[True, False]], "must be two lists of one length"),
        ([0.1, 0.2], [True, True], "of 2 pairs 2 show one person: both kinds are needed"),
        ([0.1, 0.2], [False, False], "of 2 pairs 0 show one person: both kinds are needed"),
        ([], [], "of 0 pairs 0 show one person"),
    ],
)
def test_lists_that_can_not_be_measured_are_refused(measure, distances, same, reason):
    with pytest.raises(BadArgument, match=reason):
        measure(distances, same)


@pytest.mark.parametrize("people", [[["a", "b"]], ["a", "b"], [["a", "b", "c"]] * 2, []])
def test_people_that_do_not_fit_the_pairs_are_refused(people):
    with pytest.raises(BadArgument, match="people .*: two identities for each of the 2 pairs"):
        bootstrap_accuracy([0.1, 0.9], [True, False], people, 0.7)


def test_precision_recall_and_f1_are_scikit_learns():
    """At every threshold, pairs without a distance counted as not accepted."""
    rng = np.random.default_rng(0)
    same = rng.random(300) < 0.3
    distances = np.where(same, rng.normal(0.6, 0.2, 300), rng.normal(0.9, 0.2, 300))
    distances[::17] = np.nan
    thresholds = [-1, 0.3, 0.6, 0.75, 1.0, 3.0]
    table = precision_recall(distances, same, thresholds).set_index("threshold")
    for threshold in thresholds:
        accepted = distances < threshold  # NaN is not
        precision, recall, f1, _ = precision_recall_fscore_support(same, accepted, average="binary", zero_division=1)
        assert table.precision[threshold] == pytest.approx(precision)
        assert table.recall[threshold] == pytest.approx(recall)
        assert table.f1[threshold] == pytest.approx(f1 if recall else 0)


# ------------------------------------------------------------------------------ scores, and shares of strangers
@pytest.mark.parametrize("bins", [1, 3, 10])
def test_reliability_groups_equally_many_pairs_by_score(bins):
    rng = np.random.default_rng(bins)
    scores = rng.uniform(0, 1, 200)
    same = rng.random(200) < scores  # a score that means what it says
    table = reliability(scores, same, bins)
    order = np.argsort(scores)
    for row, group in zip(table.itertuples(), np.array_split(order, bins), strict=True):
        assert row.pairs == len(group)
        assert row.score == pytest.approx(scores[group].mean()) and row.share == pytest.approx(same[group].mean())
    assert table.pairs.sum() == 200 and table.score.is_monotonic_increasing


def test_what_is_no_score_has_no_reliability():
    with pytest.raises(BadArgument, match="scores must lie in 0..1; these lie in"):
        reliability([0.2, 1.1], [True, False])
    with pytest.raises(BadArgument, match="scores must lie in 0..1; these lie in"):
        reliability([0.2, np.nan], [True, False])
    with pytest.raises(BadArgument, match="bins=3: there are 2 pairs"):
        reliability([0.2, 0.9], [True, False], bins=3)


@pytest.mark.parametrize("far", [0.01, 0.1, 0.37])
def test_at_a_threshold_no_more_strangers_pass_than_were_allowed(far):
    distances = np.random.default_rng(1).normal(1, 0.2, 400)
    threshold = threshold_at(distances, far)
    assert (distances < threshold).sum() == int(400 * far)
    with pytest.raises(BadArgument, match="far=0.001: a share in 0..1 of 400 pairs"):
        threshold_at(distances, 0.001)
    with pytest.raises(BadArgument, match="far=1.0"):
        threshold_at(distances, 1.0)


def test_the_interval_of_a_mean_is_scipys():
    from scipy.stats import bootstrap

    values = np.random.default_rng(0).uniform(0, 1, 15)
    found = bootstrap_mean(values)
    expected = bootstrap([values], np.mean, method="percentile", n_resamples=20_000, rng=1).confidence_interval
    assert found.value == pytest.approx(values.mean())
    assert [found.low, found.high] == pytest.approx([expected.low, expected.high], abs=0.01)
    with pytest.raises(BadArgument, match=r"values \(0,\)"):
        bootstrap_mean([])


def test_the_four_outcomes_are_scikit_learns_and_a_pair_without_a_distance_is_a_mistake():
    from sklearn.metrics import confusion_matrix

    rng = np.random.default_rng(0)
    distances, same = rng.uniform(0, 2, 60), rng.random(60) < 0.5
    expected = confusion_matrix(same, distances < 0.7, labels=[True, False])
    np.testing.assert_array_equal(confusion(distances, same, 0.7), expected)
    table = confusion([np.nan, np.nan, 0.1, 1.9], [True, False, True, False], 0.7)
    assert table.loc["one person"].tolist() == [1, 1] and table.loc["two people"].tolist() == [1, 1]


def test_true_accepts_are_those_of_the_roc_curve_and_withheld_where_few_pairs_decide():
    from sklearn.metrics import roc_curve

    rng = np.random.default_rng(1)
    same = np.arange(3000) < 1000
    distances = rng.normal(size=3000) - 1.5 * same
    false, true, _ = roc_curve(same, -distances, drop_intermediate=False)
    for far in (0.1, 0.01):
        assert true_accepts_at(distances, same, far) == pytest.approx(true[false <= far].max())
    assert true_accepts_at(distances, same, 0.001) is None  # two of 2,000 would decide it
    assert true_accepts_at(np.where(same, np.nan, distances), same, 0.1) == 0
    with pytest.raises(BadArgument, match="far=1.5"):
        true_accepts_at(distances, same, 1.5)


def test_the_gain_of_a_method_over_itself_is_nothing_and_a_paired_interval_is_narrower():
    rng = np.random.default_rng(0)
    people = rng.integers(0, 20, (2000, 2))
    same = rng.random(2000) < 0.5
    people[same, 1] = people[same, 0]
    hard = rng.normal(size=20)[people[:, 0]]  # some people are hard for every method
    before = 1 - 0.6 * same + 0.3 * hard + 0.2 * rng.normal(size=2000)
    after = before - 0.1 * same
    nothing = bootstrap_gain(before, before, same, people, (0.7, 0.7))
    assert (nothing.value, nothing.low, nothing.high) == (0, 0, 0)
    gain = bootstrap_gain(before, after, same, people, (0.7, 0.7))
    alone = [bootstrap_accuracy(distances, same, people, 0.7) for distances in (before, after)]
    assert gain.value == pytest.approx(alone[1].value - alone[0].value)
    assert 0 < gain.low < gain.value < gain.high
    assert gain.high - gain.low < 0.6 * min(each.high - each.low for each in alone)
    assert alone[0].high > alone[1].low  # apart they overlap


# ---------------------------------------------------------------------------------------------------- folds
def drawn_people(seed: int, n: int = 400, people: int = 40):
    """Invented pairs of invented people, half of them same pairs: distances, same, people (n, 2)."""
    rng = np.random.default_rng(seed)
    names = rng.integers(0, people, (n, 2))
    names[:, 1] = np.where(names[:, 0] == names[:, 1], (names[:, 0] + 1) % people, names[:, 1])
    same = rng.random(n) < 0.5
    names[same, 1] = names[same, 0]
    return np.where(same, 0.6, 1.0) + rng.normal(0, 0.2, n), same, names.astype(str)


@pytest.mark.parametrize("folds", [2, 7, 10])
def test_a_fold_holds_whole_people(folds):
    _, _, people = drawn_people(folds)
    found = person_folds(people, folds)
    fold_of: dict[str, int] = {}
    for (first, second), fold in zip(people, found, strict=True):
        if fold >= 0:
            assert fold_of.setdefault(first, fold) == fold == fold_of.setdefault(second, fold)
    for (first, second), fold in zip(people, found, strict=True):
        assert fold >= 0 or fold_of.get(first) != fold_of.get(second)
    sizes = np.bincount(list(fold_of.values()), minlength=folds)
    assert len(sizes) == folds and sizes.max() - sizes.min() <= 1
    assert (found[people[:, 0] == people[:, 1]] >= 0).all()


def test_folds_depend_on_the_names_and_the_seed_not_on_the_order_of_the_pairs():
    _, _, people = drawn_people(1)
    order = np.random.default_rng(0).permutation(len(people))
    np.testing.assert_array_equal(person_folds(people)[order], person_folds(people[order][:, ::-1]))
    assert (person_folds(people, seed=1) != person_folds(people)).any()


def test_there_are_not_more_folds_than_people():
    with pytest.raises(BadArgument, match="folds=3: 2 to 2, the number of people"):
        person_folds([["a", "a"], ["b", "b"]], folds=3)
    with pytest.raises(BadArgument, match="folds=1"):
        person_folds([["a", "a"], ["b", "b"]], folds=1)
    with pytest.raises(BadArgument, match=r"people \(2,\): two identities for each pairs? are needed"):
        person_folds(["a", "b"])


def scikit_learns_protocol(distances, same, folds) -> tuple[float, float]:
    """The same from roc_curve, LeaveOneGroupOut and accuracy_score; what has no distance is put on the wrong side."""
    scores = []
    used = folds >= 0
    distances, same, folds = distances[used], same[used], folds[used]
    for train, test in LeaveOneGroupOut().split(distances, same, folds):
        train = train[~np.isnan(distances[train])]
        positives = same[train].sum()
        false, true, cut = roc_curve(same[train], -distances[train], drop_intermediate=False)
        right = true * positives + (1 - false) * (len(train) - positives)
        best = int(np.argmax(np.round(right)))
        nearest_refused = np.append(-cut[1:], np.inf)[best]
        threshold = (-cut[best] + nearest_refused) / 2 if best else nearest_refused - 1e-9
        answer = np.where(np.isnan(distances[test]), ~same[test], distances[test] < threshold)
        scores.append(accuracy_score(same[test], answer))
    return float(np.mean(scores)), float(np.std(scores, ddof=1) / np.sqrt(len(scores)))


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("missing", [0, 0.1])
def test_the_protocol_is_that_of_an_independent_computation(seed, missing):
    """Ten folds of unequal size, and pairs that are used by nobody."""
    rng = np.random.default_rng(seed)
    distances, same = pairs(seed, n=900, decimals=9, missing=missing)
    folds = rng.choice(np.arange(-1, 10), size=900, p=[0.05, *[0.05] * 5, *[0.14] * 5])
    found = lfw_protocol(distances, same, folds)
    expected = scikit_learns_protocol(distances, same, folds)
    assert (found.accuracy, found.standard_error) == pytest.approx(expected, abs=5e-5)
    assert found.folds.pairs.tolist() == np.bincount(folds[folds >= 0]).tolist()
    assert str(found) == f"{expected[0]:.4f} ± {expected[1]:.4f}"


def test_the_protocol_does_not_ask_for_the_order_of_the_pairs_or_the_names_of_the_folds():
    distances, same = pairs(0, n=300, missing=0.1)
    folds = np.arange(300) % 5
    order = np.random.default_rng(0).permutation(300)
    one, other = lfw_protocol(distances, same, folds), lfw_protocol(distances[order], same[order], 3 * folds[order] + 2)
    assert one.accuracy == pytest.approx(other.accuracy) and one.standard_error == pytest.approx(other.standard_error)


def test_a_folds_own_pairs_do_not_choose_its_threshold():
    distances, same = pairs(3, n=300)
    folds = np.arange(300) % 3
    before = lfw_protocol(distances, same, folds).folds.threshold
    distances[folds == 0] = 5
    after = lfw_protocol(distances, same, folds).folds.threshold
    assert before[0] == after[0] and (before[1:] != after[1:]).any()


def test_folds_that_can_not_be_used_are_refused():
    distances, same = pairs(0, n=20)
    with pytest.raises(BadArgument, match="folds: 1 of them; two are needed"):
        lfw_protocol(distances, same, np.arange(20) % 2 - 1)
    with pytest.raises(BadArgument, match=r"folds \(19,\) int64: a whole number for each of the 20 pairs"):
        lfw_protocol(distances, same, np.arange(19))
    with pytest.raises(BadArgument, match=r"folds \(20,\) float64"):
        lfw_protocol(distances, same, np.arange(20) % 2 + 0.5)
    with pytest.raises(BadArgument, match="both kinds are needed"):
        lfw_protocol(distances, same, same.astype(int))


# ---------------------------------------------------------------------------------------- choosing a threshold
@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("decimals", [1, 9])
@pytest.mark.parametrize("far", [0.03, 0.1, 0.5])
def test_the_chosen_threshold_is_the_largest_that_keeps_the_share(seed, decimals, far):
    distances, same = pairs(seed, n=2000, decimals=decimals, missing=0.1)
    threshold = choose_threshold(distances, same, far)
    assert slow_rates(distances, same, threshold)[0] <= far
    next_one = distances[~same & (distances >= threshold)].min() + 1e-9
    assert slow_rates(distances, same, next_one)[0] > far
    assert choose_threshold(distances, same) == best_threshold(distances, same)


def test_a_threshold_that_few_pairs_decide_is_refused_and_how_many_it_takes_is_said():
    distances, same = pairs(0, n=400)
    negatives = (~same).sum()
    with pytest.raises(BadArgument, match=f"far=0.001: it takes 10000 different pairs to say, here are {negatives}"):
        choose_threshold(distances, same, 0.001)
    with pytest.raises(BadArgument, match="far=1.5: a share in 0..1"):
        choose_threshold(distances, same, 1.5)


def test_where_each_pair_that_has_a_distance_may_be_accepted_each_is():
    """Half of the different pairs have none: at a share of 0.8 the other half may all pass."""
    distances, same = np.concatenate([np.linspace(0, 1, 20), np.full(20, np.nan)]), np.arange(40) < 1
    assert (distances < threshold_at(distances[~same], 0.8)).sum() == 20
    assert threshold_at(np.full(50, np.nan), 0.5) == 0


# -------------------------------------------------------------------------------------------- weighted statistics
@pytest.mark.parametrize("seed", SEEDS)
def test_a_weight_of_three_is_a_pair_three_times(seed):
    """AUC, EER and TAR with weights, against the unweighted ones of the repeated list, and scikit-learn."""
    distances, same = pairs(seed, n=200, missing=0.1)
    weight = np.random.default_rng(seed).integers(0, 4, 200)
    again = np.repeat(distances, weight), np.repeat(same, weight)
    ranks, corners = evaluation._ranks(distances, same), evaluation._corners(distances)
    auc = evaluation._nearer(ranks, same, weight)
    assert auc == pytest.approx(area_under_roc(*again))
    assert auc == pytest.approx(roc_auc_score(same, -ranks, sample_weight=weight))
    rate = evaluation._meeting(*evaluation._accepted(distances, same, corners, weight))[1]
    assert rate == pytest.approx(equal_error(*again)[1])
    assert evaluation._true_accepts(distances, same, 0.2)(weight) == pytest.approx(true_accepts_at(*again, 0.2))
    scores = np.nan_to_num(np.exp(-distances), nan=0.1)
    weighted, listed = reliability(scores, same, 1, weight), reliability(np.repeat(scores, weight), again[1], 1)
    np.testing.assert_allclose(weighted, listed)


def test_a_perfect_probability_has_the_calibration_error_of_chance():
    """The mean over truths that are drawn anew; a probability that is too sure lies far above."""
    rng = np.random.default_rng(5)
    probability = rng.beta(0.3, 0.3, 800)
    chance = evaluation.calibration_error_by_chance(probability, samples=300)
    perfect = [evaluation.calibration_error(probability, rng.random(800) < probability) for _ in range(200)]
    assert chance.value == pytest.approx(np.mean(perfect), rel=0.06)
    assert np.mean([chance.low < error < chance.high for error in perfect]) > 0.9
    too_sure = np.where(probability > 0.5, 0.99, 0.01)
    assert evaluation.calibration_error(too_sure, rng.random(800) < probability) > chance.high


READY = {
    "auc": (bootstrap_auc, area_under_roc),
    "equal_error": (bootstrap_equal_error, lambda d, s: equal_error(d, s)[1]),
    "true_accepts": (partial(bootstrap_true_accepts, far=0.1), partial(true_accepts_at, far=0.1)),
}


@pytest.mark.parametrize("name", READY)
def test_a_statistic_lies_in_its_interval_whatever_the_order_of_the_pairs(name):
    interval, value = READY[name]
    distances, same, people = drawn_people(0)
    distances[::20] = np.nan
    found = interval(distances, same, people, samples=200)
    assert found.value == pytest.approx(value(distances, same)) and found.low < found.value < found.high
    order = np.random.default_rng(0).permutation(len(same))
    shuffled = interval(distances[order], same[order], people[order], samples=200)
    assert astuple(shuffled) == pytest.approx(astuple(found))


@pytest.mark.parametrize("name", READY)
def test_the_intervals_of_worlds_cover_the_truth(name):
    """Measured on very many people; 40 small worlds of 95 % intervals miss it rarely."""
    interval, value = READY[name]
    truth = value(*world(999, people=60_000, spread=0.15)[:2])
    intervals = [interval(*world(seed, spread=0.15), samples=150) for seed in range(40)]
    assert sum(found.low <= truth <= found.high for found in intervals) >= 34
    assert not any(found.low <= 0.5 * truth + 0.4 * (truth < 0.5) <= found.high for found in intervals)


def test_any_statistic_can_be_given_and_accuracy_is_one():
    distances, same, people = drawn_people(2)

    def right(distances, same, weight):
        return evaluation._balanced((distances < 0.8) == same, same, weight)

    found = bootstrap(right, distances, same, people, samples=100)
    assert astuple(found) == pytest.approx(astuple(bootstrap_accuracy(distances, same, people, 0.8, samples=100)))


def test_the_table_of_true_accepts_withholds_what_few_pairs_decide():
    distances, same, people = drawn_people(0)
    table = verification_table(distances, same, people, fars=(0.2, 0.001), samples=50).set_index("far")
    found = bootstrap_true_accepts(distances, same, people, 0.2, samples=50)
    assert table.loc[0.2, ["true_accepts", "low", "high"]].tolist() == [found.value, found.low, found.high]
    assert table.loc[0.001, ["true_accepts", "low", "high"]].isna().all()
    assert table.decided_by.tolist() == [int(0.2 * (~same).sum()), 0]
    assert bootstrap_true_accepts(distances, same, people, 0.001) is None


# ------------------------------------------------------------------------------------------------- strangers
def slow_identification(distances, gallery, probes) -> list[tuple]:
    """(nearest, rank) probe by probe, from a list of the people."""
    rows = []
    for row, probe in zip(distances, probes, strict=True):
        near = {}
        for d, name in zip(row, gallery, strict=True):
            if not np.isnan(d):
                near[name] = min(d, near.get(name, np.inf))
        ahead = [name for name in near if name != probe and probe in near and near[name] <= near[probe]]
        rank = (1 + len(ahead) if probe in near else len(set(gallery)) + 1) if probe in gallery else None
        best = [name for name in near if near[name] == min(near.values())]
        rows.append(([name for name in best if name != probe] or best or [None], rank))
    return rows


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("decimals", [1, 9])
def test_identification_is_that_of_a_loop_over_every_encoding(seed, decimals):
    """Several encodings of a person, ties, strangers, and photos without a face on either side."""
    rng = np.random.default_rng(seed)
    gallery, probes = rng.choice(list("abcdef"), 9), rng.choice(list("abcdefxyz"), 60)
    distances = rng.uniform(0, 1, (60, 9)).round(decimals)
    distances[rng.random((60, 9)) < 0.1] = np.nan
    distances[::9], distances[:, 4] = np.nan, np.nan
    table = identification(distances, gallery, probes)
    for row, (nearest, rank) in zip(table.itertuples(), slow_identification(distances, gallery, probes), strict=True):
        assert pd.isna(row.nearest) if nearest == [None] else row.nearest in nearest
        assert row.is_known == (row.identity in gallery)
        assert pd.isna(row.rank) if rank is None else row.rank == rank
        assert (row.rank is not pd.NA and row.rank == 1) == (row.is_known and row.nearest == row.identity)
    usable = ~np.isnan(distances).all(axis=1)
    np.testing.assert_array_equal(table.distance[usable], np.nanmin(distances[usable], axis=1))
    assert table.distance[~usable].isna().all()


def three_people():
    """Ada, bob and cyd are known; six probes of them and 20 of ten strangers, at distances 0.50, 0.51, …"""
    known = [  # to ada, bob and cyd
        ("ada", [0.30, 0.90, 0.80]),
        ("ada", [0.55, 0.90, 0.80]),
        ("bob", [0.40, 0.45, 0.80]),  # taken for ada, second
        ("bob", [0.45, 0.45, 0.40]),  # a tie for the second place: third
        ("cyd", [0.90, 0.80, 0.595]),
        ("cyd", [np.nan] * 3),  # no face found
    ]
    strangers = [(f"stranger {i // 2}", [0.50 + i / 100, 0.9, 0.95]) for i in range(20)]
    names, distances = zip(*known, *strangers, strict=True)
    return identification(np.array(distances), ["ada", "bob", "cyd"], names)


def test_three_people_by_hand():
    table = three_people()
    assert table["rank"].iloc[:6].tolist() == [1, 1, 2, 3, 1, 4] and table["rank"].iloc[6:].isna().all()
    assert table.nearest.iloc[:5].tolist() == ["ada", "ada", "ada", "cyd", "cyd"] and pd.isna(table.nearest[5])
    assert table.true_distance.iloc[:5].tolist() == [0.30, 0.55, 0.45, 0.45, 0.595]
    assert table.true_distance.iloc[5:].isna().all() and table.distance.iloc[5:7].isna().tolist() == [True, False]
    shares = cmc(table, ranks=5)
    assert shares["rank"].tolist() == [1, 2, 3, 4, 5]
    assert shares.share.tolist() == pytest.approx([3 / 6, 4 / 6, 5 / 6, 5 / 6, 5 / 6])
    found = open_set(table, fpir=0.5, samples=100)  # ten of the strangers' twenty: between 0.59 and 0.60
    assert found.threshold == 0.595 and found.false_alarms.value == 0.5 and (found.known, found.strangers) == (6, 20)
    assert found.detected.value == pytest.approx(2 / 6)  # 0.595 is not below
    assert str(found).startswith("0.3333 [") and str(found).endswith("of 6 known at FPIR 0.5, threshold 0.595")


def test_fewer_than_ten_false_alarms_decide_nothing_unless_others_chose_the_threshold():
    table = three_people()
    assert open_set(table, fpir=0.49) is None
    found = open_set(table, fpir=0.01, threshold=0.6, samples=100)
    assert found.threshold == 0.6 and found.detected.value == 0.5 and found.false_alarms.value == 0.5
    alone = open_set(table[table.is_known], fpir=0.01, threshold=0.6, samples=100)
    assert alone.false_alarms is None and alone.detected == found.detected


def open_world(seed: int, people: int = 50):
    """Three probes of each known person, who are hard or easy to find, and three of each of as many strangers."""
    rng = np.random.default_rng(seed)
    own = np.repeat(rng.normal(0.6, 0.1, people), 3) + rng.normal(0, 0.05, 3 * people)
    near = np.repeat(rng.normal(1.0, 0.1, people), 3) + rng.normal(0, 0.05, 3 * people)
    names = np.repeat(np.arange(people), 3)
    probes = np.concatenate([names, people + names])
    distances = np.stack([np.concatenate([own, near]), np.full(6 * people, 3.0)], 1)
    table = identification(distances, ["one", "nobody"], np.where(probes < people, "one", "stranger"))
    return table.assign(identity=probes)


def test_the_interval_of_an_open_set_covers_the_truth_also_that_of_the_threshold():
    truth = open_set(open_world(999, people=20_000), 0.1, samples=2).detected.value
    found = [open_set(open_world(seed), 0.1, samples=100).detected for seed in range(40)]
    fixed = [open_set(open_world(seed), 0.1, threshold=0.85, samples=100).detected for seed in range(40)]
    assert sum(interval.low <= truth <= interval.high for interval in found) >= 34
    assert np.mean([i.high - i.low for i in found]) > 1.3 * np.mean([i.high - i.low for i in fixed])


@pytest.mark.parametrize("seed", SEEDS)
def test_every_point_of_the_curve_is_counted_and_an_open_set_is_one_of_them(seed):
    rng = np.random.default_rng(seed)
    distances = rng.uniform(0, 1, (150, 8)).round(2)
    distances[np.arange(50), np.arange(50) % 8] -= 0.5
    distances[::13] = np.nan
    probes = np.concatenate([np.arange(50) % 8, np.arange(100, 200)])
    table = identification(distances, np.arange(8), probes)
    curve = dir_curve(table)
    known, strangers = table[table.is_known], table[~table.is_known]
    for row in curve.itertuples():
        assert row.fpir == pytest.approx(np.mean([d < row.threshold for d in strangers.distance]))
        hits = [
            d < row.threshold and n == i for d, n, i in zip(known.distance, known.nearest, known.identity, strict=True)
        ]
        assert row.dir == pytest.approx(np.mean(hits))
    found = open_set(table, 0.2, samples=20)
    assert found.false_alarms.value <= 0.2
    at = curve[curve.threshold <= found.threshold].iloc[-1]
    assert at.dir <= found.detected.value and curve.dir[curve.fpir <= 0.2].max() >= found.detected.value
    order = rng.permutation(150)
    again = open_set(identification(distances[order], np.arange(8), probes[order]), 0.2, samples=20)
    assert again == found


def test_what_can_not_be_identified_is_refused():
    with pytest.raises(BadArgument, match=r"distances \(2, 3\): probes \(2,\) × gallery \(2,\) are needed"):
        identification(np.zeros((2, 3)), ["a", "b"], ["a", "b"])
    with pytest.raises(BadArgument, match=r"distances \(0, 2\)"):
        identification(np.zeros((0, 2)), ["a", "b"], [])
    strangers = identification(np.zeros((2, 1)), ["a"], ["x", "y"])
    for refused in (cmc, partial(open_set, fpir=0.1), dir_curve):
        with pytest.raises(BadArgument, match="none of the 2 probes shows a person of the gallery"):
            refused(strangers)
    with pytest.raises(BadArgument, match="each of the 1 probes shows a person of the gallery"):
        dir_curve(identification(np.zeros((1, 1)), ["a"], ["a"]))
    with pytest.raises(BadArgument, match="fpir=1: a share in 0..1"):
        open_set(three_people(), 1)


# ---------------------------------------------------------------------------------------------- probabilities
def logistic_pairs(seed: int, n: int = 4000, share: float = 0.5):
    """Pairs whose log odds are exactly 20 · (0.8 − distance) for a prior of a half."""
    rng = np.random.default_rng(seed)
    same = rng.random(n) < share
    return np.where(same, 0.6, 1.0) + rng.normal(0, np.sqrt(0.4 / 20), n), same  # two normals of one deviation


METHODS = ["logistic", "isotonic"]


@pytest.mark.parametrize(("method", "atol"), [("logistic", 0.03), ("isotonic", 0.15)])
def test_a_probability_means_what_it_says_on_other_pairs(method, atol):
    probability = fit_probability(*logistic_pairs(0), method)
    distances, same = logistic_pairs(1, n=20_000)
    assert calibration_error(probability(distances), same) < 0.012
    grid = np.linspace(0.65, 0.95, 30)
    np.testing.assert_allclose(probability(grid), 1 / (1 + np.exp(20 * (grid - 0.8))), atol=atol)
    assert calibration_error(probability(distances - 0.1), same) > 0.1


@pytest.mark.parametrize("method", METHODS)
def test_a_probability_falls_with_the_distance_and_has_no_certainty(method):
    distances, same = logistic_pairs(2, n=300)
    probability = fit_probability(distances, same, method)
    found = probability(np.linspace(distances.min(), distances.max(), 500))
    assert (np.diff(found) <= 0).all() and 0 < found[-1] < found[0] < 1
    assert np.isnan(probability([np.nan, 0.5])).tolist() == [True, False]
    assert probability(0.5).shape == () and probability(np.zeros((2, 3))).shape == (2, 3)


@pytest.mark.parametrize(("method", "atol"), [("logistic", 0.02), ("isotonic", 1e-7)])
@pytest.mark.parametrize("prior", [0.02, 0.8])
def test_another_prior_is_what_fitting_with_it_would_give(method, atol, prior):
    distances, same = logistic_pairs(3)
    fitted, refitted = fit_probability(distances, same, method), fit_probability(distances, same, method, prior)
    assert (fitted.prior, refitted.prior) == (0.5, prior)
    grid = np.linspace(0, 2, 200)
    np.testing.assert_allclose(fitted(grid, prior=prior), refitted(grid), atol=atol)
    np.testing.assert_allclose(fitted(grid), refitted(grid, prior=0.5), atol=3 * atol)
    given, shown = logistic_pairs(4, n=20_000, share=prior)
    assert calibration_error(fitted(given, prior=prior), shown) < 0.012 < calibration_error(fitted(given), shown)


@pytest.mark.parametrize("method", METHODS)
def test_how_many_pairs_of_each_kind_there_are_does_not_matter(method):
    distances, same = logistic_pairs(5, n=8000)
    few = np.arange(8000)[~same | (np.arange(8000) % 4 == 0)]
    grid = np.linspace(0.6, 1, 50)
    one, other = (fit_probability(distances[k], same[k], method)(grid) for k in (slice(None), few))
    np.testing.assert_allclose(one, other, atol=0.08 if method == "isotonic" else 0.03)


@pytest.mark.parametrize("method", METHODS)
def test_a_probability_survives_json_to_the_last_digit_and_is_short(method):
    probability = fit_probability(*logistic_pairs(6), method, prior=0.3)
    text = json.dumps(probability.to_dict())
    again = Probability.from_dict(json.loads(text))
    grid = np.linspace(-1, 3, 100)
    assert again == probability and (again(grid) == probability(grid)).all() and len(text) < 5000
    assert method == "isotonic" or len(text) < 160


@pytest.mark.parametrize("method", METHODS)
def test_pairs_that_are_told_apart_leave_a_doubt(method):
    """100 of each kind, all apart: never surer than 101 in 102 by counting, nor without measure on a line."""
    distances, same = np.linspace(0, 1, 200), np.arange(200) < 100
    found = fit_probability(distances, same, method)(distances)
    assert 0.97 < found[0] < 0.999999 and 1e-6 < found[-1] < 0.03
    assert method == "logistic" or (found[0], found[-1]) == pytest.approx((101 / 102, 1 / 102))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("scale", [1e-6, 1000])
def test_the_unit_of_the_distance_does_not_matter_nor_the_order_nor_pairs_without_one(method, scale):
    distances, same = logistic_pairs(7, n=500)
    grid = np.linspace(0.5, 1.1, 50)
    expected = fit_probability(distances, same, method)(grid)
    order = np.random.default_rng(0).permutation(500)
    found = fit_probability(scale * distances[order], same[order], method)(scale * grid)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    more = fit_probability(np.append(distances, [np.nan] * 2), np.append(same, [True, False]), method)(grid)
    np.testing.assert_array_equal(more, expected)


def test_a_line_is_scikit_learns_where_nothing_is_rare():
    from sklearn.linear_model import LogisticRegression

    distances, same = logistic_pairs(8)
    expected = LogisticRegression(C=1e9, class_weight="balanced").fit(distances[:, None], same)
    grid = np.linspace(0.5, 1.1, 30)
    found = fit_probability(distances, same)(grid)
    np.testing.assert_allclose(found, expected.predict_proba(grid[:, None])[:, 1], atol=0.003)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"method": "magic"}, "method='magic': one of logistic, isotonic"),
        ({"prior": 1}, "prior=1: a share in 0..1"),
        ({"prior": "0.5"}, "prior='0.5'"),
        ({"distances": [0.4, "far"]}, "distances=.*: a list of numbers"),
        ({"distances": 0.4}, "distances=0.4: a list of numbers"),
        ({"log_odds": [3.0, float("nan")]}, "log_odds=.*: a list of numbers"),
        ({"log_odds": [-3.0, 3.0]}, "the farther, the less probable"),
        ({"log_odds": [1.0, 1.0]}, "the farther, the less probable"),
        ({"distances": [1.0, 0.4]}, "the distances must rise"),
        ({"distances": [0.4]}, "1 distances and 2 log_odds make no logistic"),
        ({"distances": [0.4, 0.6, 0.8], "log_odds": [3, 2, 1]}, "3 distances and 3 log_odds make no logistic"),
        ({"more": 1}, "a probability is a dict of distances, log_odds, method, prior"),
    ],
)
def test_nonsense_is_no_probability(change, reason):
    good = {"method": "logistic", "prior": 0.5, "distances": [0.4, 1.0], "log_odds": [3.0, -3.0]}
    assert Probability.from_dict(good)(0.7) == pytest.approx(0.5)
    with pytest.raises(BadArgument, match=reason):
        Probability.from_dict(good | change)
    with pytest.raises(BadArgument, match="this is None"):
        Probability.from_dict(None)


def test_what_no_probability_can_be_learned_from_is_refused():
    distances, same = logistic_pairs(9, n=100)
    for method in METHODS:
        with pytest.raises(BadArgument, match="same pairs of these 100 are not nearer than the different ones"):
            fit_probability(-distances, same, method)
        with pytest.raises(BadArgument, match="are not nearer"):
            fit_probability(np.ones(100), same, method)
        with pytest.raises(BadArgument, match="both kinds are needed"):
            fit_probability(np.where(same, np.nan, distances), same, method)
    with pytest.raises(BadArgument, match="method='platt': one of logistic, isotonic"):
        fit_probability(distances, same, "platt")
    with pytest.raises(BadArgument, match="prior=0: a share in 0..1"):
        fit_probability(distances, same, prior=0)
    with pytest.raises(BadArgument, match="prior=2: a share in 0..1"):
        fit_probability(distances, same)(distances, prior=2)


@pytest.mark.parametrize("bins", [1, 4, 10])
def test_the_calibration_error_is_counted_group_by_group(bins):
    rng = np.random.default_rng(bins)
    scores = rng.uniform(0, 1, 203)
    same = rng.random(203) < scores**2
    groups = np.array_split(np.argsort(scores), bins)
    expected = sum(len(g) / 203 * abs(scores[g].mean() - same[g].mean()) for g in groups)
    assert calibration_error(scores, same, bins) == pytest.approx(expected)
    missing = calibration_error(np.append(scores, np.nan), np.append(same, True), bins)
    assert missing == pytest.approx(expected)
    assert calibration_error(scores, same, bins, np.ones(203)) == pytest.approx(expected, abs=0.01)


def test_groups_weigh_equally_much_and_weights_that_make_no_sense_are_refused():
    scores, same = np.linspace(0, 1, 100), np.arange(100) % 2 == 0
    table = reliability(scores, same, 4, np.where(scores < 0.5, 3, 1))
    assert table.pairs.tolist() == pytest.approx([50] * 4, abs=3) and table.score.iloc[2] < 0.5
    assert len(reliability(scores, same, 4, np.arange(100) == 7)) == 1
    for weight in (np.ones(99), np.full(100, -1), np.zeros(100), np.full(100, np.nan)):
        with pytest.raises(BadArgument, match="weight .*: a number of 0 or more for each of the 100 pairs"):
            reliability(scores, same, 4, weight)


def test_the_interval_of_the_calibration_error_holds_a_perfect_one_and_a_bad_one():
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


def test_the_two_kinds_keep_their_share_in_the_calibration_error_too():
    """Who says "0.5" of each pair of a list of which 0.8 show one person is off by 0.3, whoever is drawn."""
    same = np.arange(50) < 40
    people = np.stack([np.arange(50) % 20, np.where(same, np.arange(50) % 20, 21)], 1)
    found = bootstrap_calibration_error(np.full(50, 0.5), same, people, bins=1, samples=50)
    assert astuple(found) == pytest.approx((0.3, 0.3, 0.3))


# ------------------------------------------------------------------------------------------------------ groups
def crowd(seed: int, m: int = 60, people: int | None = None):
    """Encodings of three groups, the second near to each other, and who they are."""
    rng = np.random.default_rng(seed)
    groups = rng.choice(["east", "north", "west"], m)
    encodings = rng.normal(size=(m, 8)) + 2 * (groups == "north")[:, None]
    encodings /= np.linalg.norm(encodings, axis=1, keepdims=True)
    encodings[5] = np.nan
    return encodings, groups, np.arange(m) if people is None else rng.integers(0, people, m)


@pytest.mark.parametrize("people", [None, 25])
@pytest.mark.parametrize("threshold", [-1, 0.5, 0.9, 1.5, 3])
def test_false_accepts_by_group_are_those_of_a_loop_over_all_pairs(people, threshold):
    encodings, groups, who = crowd(0, people=people)
    table = false_accepts_by_group(encodings, groups, threshold, who, samples=20)
    assert len(table) == 6
    for row in table.itertuples():
        pairs = [
            (i, j)
            for i in range(60)
            for j in range(i)
            if who[i] != who[j] and sorted([groups[i], groups[j]]) == [row.group, row.other]
        ]
        near = [np.linalg.norm(encodings[i] - encodings[j]) < threshold for i, j in pairs]
        assert row.pairs == len(pairs) and row.false_accepts == pytest.approx(np.mean(near))
        assert row.people == len(set(who[np.isin(groups, [row.group, row.other])]))
        assert row.low <= row.false_accepts <= row.high or 0.9 < row.false_accepts < 1


def test_pictures_are_worked_off_in_blocks_and_their_order_does_not_matter():
    encodings, groups, who = crowd(1, m=3000, people=1500)
    table = false_accepts_by_group(encodings, groups, 0.8, who, samples=30)
    order = np.random.default_rng(0).permutation(3000)
    again = false_accepts_by_group(encodings[order], groups[order], 0.8, who[order], samples=30)
    pd.testing.assert_frame_equal(table, again)
    assert table.pairs.sum() == 3000 * 2999 // 2 - sum(n * (n - 1) // 2 for n in np.bincount(who))
    assert (table.low < table.false_accepts).all() and (table.false_accepts < table.high).all()


def test_where_no_pair_is_accepted_the_rate_is_not_said_to_be_nothing():
    encodings, groups, _ = crowd(2)
    table = false_accepts_by_group(encodings, groups, 0.01, samples=20)
    assert (table.false_accepts == 0).all() and (table.low == 0).all()
    counts = pd.Series(groups).value_counts()  # one picture each
    fewer = [min(counts[row.group], counts[row.other]) for row in table.itertuples()]
    upper = [binomtest(0, int(n)).proportion_ci(method="exact").high for n in fewer]
    np.testing.assert_allclose(table.high, upper)
    alone = false_accepts_by_group(encodings[:2], ["a", "b"], 1, samples=20).set_index(["group", "other"])
    assert alone.loc[("a", "a"), ["false_accepts", "low", "high"]].isna().all() and alone.pairs.tolist() == [0, 1, 0]


def test_the_interval_of_a_group_covers_the_truth():
    truth = false_accepts_by_group(*crowd(999, m=4000)[:2], 0.5, samples=1).false_accepts
    tables = [false_accepts_by_group(*crowd(seed, m=150)[:2], 0.5, samples=60) for seed in range(30)]
    covered = np.mean([(table.low <= truth) & (truth <= table.high) for table in tables], axis=0)
    assert (covered >= 0.8).all()


def test_pictures_without_a_group_or_of_another_length_are_refused():
    encodings, groups, _ = crowd(3)
    with pytest.raises(BadArgument, match=r"encodings \(60, 8\): a group \(59,\) and a person \(59,\) for each"):
        false_accepts_by_group(encodings, groups[1:], 0.7)
    with pytest.raises(BadArgument, match=r"encodings of length .*\.\.2: unit length is needed"):
        false_accepts_by_group(encodings * np.where(groups == "west", 2, 1)[:, None], groups, 0.7)


def test_rates_by_group_are_those_of_each_group_alone():
    distances, same, people = drawn_people(5)
    distances[::15] = np.nan
    groups = np.where(np.char.str_len(people[:, 0]) > 1, "long", "short")
    table = rates_by_group(distances, same, groups, people, 0.8, samples=100)
    assert table.group.tolist() == ["long", "short"]
    for row in table.itertuples():
        own = groups == row.group
        found = [row.false_accepts.value, row.false_rejects.value, row.accuracy.value]
        assert found == pytest.approx(slow_rates(distances[own], same[own], 0.8))
        alone = bootstrap_accuracy(distances[own], same[own], people[own], 0.8, samples=100)
        assert astuple(row.accuracy) == pytest.approx(astuple(alone))
        assert row.false_accepts.low < row.false_accepts.value < row.false_accepts.high
        assert (row.pairs, row.people) == (own.sum(), len(np.unique(people[own])))
    with pytest.raises(BadArgument, match=r"groups \(399,\): one for each of the 400 pairs"):
        rates_by_group(distances, same, groups[1:], people, 0.8)


def test_a_group_of_one_kind_has_no_rate_of_the_other_and_no_group_is_without_doubt():
    distances = np.array([0.1, 0.2, 0.3, 1.5, 1.6])
    people = np.array([["a", "a"], ["b", "b"], ["c", "c"], ["a", "b"], ["b", "c"]])
    groups = ["x", "x", "x", "y", "y"]
    table = rates_by_group(distances, distances < 1, groups, people, 0.7, samples=50).set_index("group")
    assert table.loc["x", "false_accepts"] is None and table.loc["y", "false_rejects"] is None
    upper = binomtest(0, 3).proportion_ci(method="exact").high
    assert astuple(table.loc["x", "false_rejects"]) == pytest.approx((0, 0, upper))
    assert astuple(table.loc["y", "accuracy"]) == pytest.approx((1, 1 - upper, 1))


@pytest.mark.parametrize("threshold", [np.nan, np.inf, None, "0.7", True])
def test_a_threshold_that_is_no_distance_is_refused_where_nothing_would_be_accepted(threshold):
    """NaN accepts nobody, which looks like a safe door."""
    table = identification([[0.3, 0.9], [0.5, 0.4]], ["ada", "bob"], ["ada", "eve"])
    calls = [lambda: false_accepts_by_group(np.eye(4), list("aabb"), threshold)]
    calls.append(
        lambda: evaluation.rates_by_group([0.1, 0.9], [True, False], ["a", "a"], [["x", "x"], ["x", "y"]], threshold)
    )
    calls += [lambda: open_set(table, 0.5, threshold)] if threshold is not None else []
    for call in calls:
        with pytest.raises(BadArgument, match="threshold="):
            call()


def test_similarities_are_not_taken_for_distances():
    distances, same = pairs(0, n=400)
    with pytest.raises(BadArgument, match="not nearer than the different ones: are they distances"):
        choose_threshold(2 - distances, same)
    with pytest.raises(BadArgument, match="not nearer"):
        choose_threshold(np.full(400, np.nan), same)
    for share in ("a", None, np.nan):
        with pytest.raises(BadArgument, match="prior="):
            fit_probability(distances, same, prior=share)


# --------------------------------------------------------------------------------------------- a table's threshold
def test_errors_at_a_threshold_are_those_that_were_measured_there():
    distances, same = pairs(3, n=400)
    thresholds = np.linspace(0, 2, 41)
    table = error_rates(distances, same, thresholds)
    for threshold in thresholds[::7]:
        accepts, rejects = errors_at(table, threshold)
        assert accepts == pytest.approx(np.mean(distances[~same] < threshold))
        assert rejects == pytest.approx(np.mean(distances[same] >= threshold))
    assert errors_at(table, -1) == (0, 1) and errors_at(table, 9) == (1, 0)


def test_the_committed_table_says_what_the_threshold_of_the_shipped_network_costs():
    rates = pd.read_csv("docs/results/lfw_resnet_rates.csv").query("people == 'train'")
    assert errors_at(rates, 0.7) == (0.0097012, 0.0091)
    between = errors_at(rates, 0.695)
    assert between == pytest.approx(((0.0074922 + 0.0097012) / 2, (0.0118 + 0.0091) / 2))


def test_a_table_of_two_lists_of_pairs_and_a_threshold_that_is_none_are_refused():
    rates = pd.read_csv("docs/results/lfw_resnet_rates.csv")
    with pytest.raises(BadArgument, match="242 thresholds that must rise"):
        errors_at(rates, 0.7)
    with pytest.raises(BadArgument, match="threshold=nan"):
        errors_at(rates.query("people == 'test'"), np.nan)
