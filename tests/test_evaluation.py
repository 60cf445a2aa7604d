"""Error rates, thresholds and intervals against scikit-learn and against loops over every pair."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, precision_recall_fscore_support, roc_auc_score, roc_curve

from errors import BadArgument
from evaluation import (
    Interval,
    accuracy,
    area_under_roc,
    best_threshold,
    bootstrap_accuracy,
    bootstrap_gain,
    bootstrap_mean,
    check_pairs,
    confusion,
    equal_error,
    error_rates,
    precision_recall,
    reliability,
    threshold_at,
    true_accepts_at,
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
