"""Error rates and thresholds, against scikit-learn and loops over every pair."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import (
    accuracy_score,
    confusion_matrix,
    precision_recall_fscore_support,
    roc_auc_score,
    roc_curve,
)
from sklearn.model_selection import LeaveOneGroupOut

from facerec._files import ROOT
from facerec.errors import BadArgument
from facerec.evaluation import (
    accuracy,
    area_under_roc,
    best_threshold,
    bootstrap,
    bootstrap_accuracy,
    bootstrap_auc,
    bootstrap_gain,
    choose_threshold,
    confusion,
    equal_error,
    error_rates,
    errors_at,
    lfw_protocol,
    precision_recall,
    threshold_at,
    true_accepts_at,
    verification_table,
)
from facerec.evaluation.intervals import bootstrap_true_accepts
from facerec.evaluation.rates import check_pairs
from tests.facerec.evaluation.invented import pairs, slow_rates

SEEDS = range(2)

#: Count a pair without a distance as a mistake.
COUNT = {"missing": "mistakes"}


@pytest.mark.parametrize("seed", SEEDS)
def test_error_rates_equal_scikit_learns_roc_curve(seed):
    """Every corner of the ROC, ties included: both look between any two different distances."""
    distances, same = pairs(seed)
    false_accepts, true_accepts, _ = roc_curve(same, -distances, drop_intermediate=False)
    rates = error_rates(distances, same)
    np.testing.assert_allclose(rates.false_accepts, false_accepts)
    np.testing.assert_allclose(1 - rates.false_rejects, true_accepts)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("missing", [0, 0.2])
def test_error_rates_equal_a_loop_over_pairs(seed, missing):
    distances, same = pairs(seed, missing=missing)
    thresholds = [-1, 0, 0.4, 0.7, float(np.nanmax(distances)), 3]
    rates = error_rates(distances, same, thresholds, **COUNT)
    for row, threshold in zip(rates.itertuples(index=False), thresholds, strict=True):
        assert tuple(row) == pytest.approx((threshold, *slow_rates(distances, same, threshold)))


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("missing", [0, 0.2])
def test_default_thresholds_include_every_change_of_the_rates(seed, missing):
    """From accepting no one to accepting everyone; a fine grid finds no accuracy that is not in the table."""
    distances, same = pairs(seed, missing=missing)
    rates = error_rates(distances, same, **COUNT)
    assert rates.threshold.is_monotonic_increasing and rates.threshold.is_unique
    assert rates.false_accepts.iloc[0] == 0 and rates.false_rejects.iloc[0] == 1
    assert rates.false_accepts.iloc[-1] == pytest.approx(np.mean(~np.isnan(distances[~same])))
    grid = {slow_rates(distances, same, t) for t in np.arange(0, 2, 0.01)}
    table = {tuple(row) for row in rates[["false_accepts", "false_rejects", "accuracy"]].to_numpy().round(9)}
    assert {tuple(np.round(rates, 9)) for rates in grid} <= table


def test_error_rates_sort_the_thresholds():
    rates = error_rates([0.3, 0.9], [True, False], [1.0, 0.1, 0.5])
    assert rates.threshold.tolist() == [0.1, 0.5, 1.0] and rates.accuracy.tolist() == [0.5, 1.0, 0.5]


def test_distance_equal_to_the_threshold_is_rejected():
    rates = error_rates([0.7, 0.7], [True, False], [0.7, 0.7001])
    assert rates.false_rejects.tolist() == [1, 0] and rates.false_accepts.tolist() == [0, 1]


def test_missing_distance_is_a_mistake_at_every_threshold():
    """With half of the pairs missing no threshold is right in more than half."""
    distances = np.array([0.1, np.nan, 1.9, np.nan])
    same = np.array([True, True, False, False])
    assert error_rates(distances, same, [0, 1, 3], **COUNT).accuracy.tolist() == [0.25, 0.5, 0.25]
    assert accuracy(distances, same, 1.0, **COUNT) == 0.5
    assert accuracy([np.nan] * 4, same, 1.0, **COUNT) == 0


@pytest.mark.parametrize("seed", SEEDS)
def test_accuracy_equals_scikit_learns(seed):
    distances, same = pairs(seed)
    assert accuracy(distances, same, 0.8) == pytest.approx(accuracy_score(same, distances < 0.8))


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("missing", [0, 0.2])
@pytest.mark.parametrize("decimals", [1, 2, 7])
def test_best_threshold_has_the_highest_accuracy(seed, missing, decimals):
    distances, same = pairs(seed, decimals=decimals, missing=missing)
    candidates = np.concatenate([[0], distances[~np.isnan(distances)] + 1e-9])
    best = max(slow_rates(distances, same, t)[2] for t in candidates)
    assert accuracy(distances, same, best_threshold(distances, same, **COUNT), **COUNT) == pytest.approx(best)


def test_best_threshold_is_the_middle_of_the_gap():
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
def test_best_threshold_separates_distances_that_are_very_close(distances, same):
    """Where accepting everybody is best, and where the gap is far narrower than the digits one would print."""
    best = max(slow_rates(distances, np.array(same), t)[2] for t in [*distances, *(d + 1e-9 for d in distances)])
    assert accuracy(distances, same, best_threshold(distances, same)) == pytest.approx(best)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("missing", [0, 0.1])
def test_equal_error_is_where_the_rates_cross(seed, missing):
    """The loop looks for the threshold at which the larger of the two rates is smallest."""
    distances, same = pairs(seed, decimals=12, missing=missing)
    threshold, rate = equal_error(distances, same, **COUNT)
    false_accepts, false_rejects, _ = slow_rates(distances, same, threshold)
    assert rate == pytest.approx((false_accepts + false_rejects) / 2)
    assert abs(false_accepts - false_rejects) <= 1 / min(sum(same), sum(~same)) + 1e-12
    smallest = min(max(slow_rates(distances, same, t)[:2]) for t in np.unique(distances[~np.isnan(distances)]))
    assert max(false_accepts, false_rejects) <= smallest + 1 / min(sum(same), sum(~same))


def test_equal_error_of_separable_pairs_is_zero():
    threshold, rate = equal_error([0.2, 0.4, 0.8, 1.0], [True, True, False, False])
    assert rate == 0 and 0.4 < threshold <= 0.8


def test_equal_error_of_two_normal_distributions_equals_theory():
    """Same pairs from N(0.5, 0.1), different ones from N(0.9, 0.1): they meet at 0.7, with an error of Φ(−2)."""
    rng = np.random.default_rng(0)
    distances = np.concatenate([rng.normal(0.5, 0.1, 40_000), rng.normal(0.9, 0.1, 60_000)])
    threshold, rate = equal_error(distances, np.arange(100_000) < 40_000)
    assert threshold == pytest.approx(0.7, abs=0.005) and rate == pytest.approx(0.02275, abs=0.002)


def test_equal_error_with_mostly_missing_distances():
    """Most pairs have no distance: the rates never meet, so it is where they are nearest."""
    distances = np.array([0.1, 0.3, np.nan, np.nan, np.nan, np.nan])
    same = np.array([True, True, True, False, False, False])
    threshold, rate = equal_error(distances, same, **COUNT)
    assert threshold > 0.3 - 1e-9 and rate == pytest.approx((0 + 1 / 3) / 2)
    assert equal_error([np.nan, np.nan], [True, False], **COUNT)[1] == 0.5


@pytest.mark.parametrize("seed", SEEDS)
def test_area_under_roc_equals_scikit_learns(seed):
    distances, same = pairs(seed)
    assert area_under_roc(distances, same) == pytest.approx(roc_auc_score(same, -distances))


@pytest.mark.parametrize("seed", SEEDS)
def test_area_under_roc_with_missing_distances_equals_a_loop(seed):
    """The share of (same, different) in which the same pair is nearer; a missing one always loses."""
    distances, same = pairs(seed, n=60, decimals=1, missing=0.25)
    near = [np.inf if np.isnan(d) else d for d in distances[same]]
    far = [-np.inf if np.isnan(d) else d for d in distances[~same]]
    wins = [1.0 if a < b else 0.5 if a == b else 0.0 for a in near for b in far]
    assert area_under_roc(distances, same, **COUNT) == pytest.approx(np.mean(wins))


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
def test_unusable_pairs_are_rejected(measure, distances, same, reason):
    with pytest.raises(BadArgument, match=reason):
        measure(distances, same)


#: Everything that takes distances and labels, with what else it needs.
MEASURES = {
    "error_rates": error_rates,
    "precision_recall": precision_recall,
    "accuracy": lambda d, s, **k: accuracy(d, s, 0.7, **k),
    "confusion": lambda d, s, **k: confusion(d, s, 0.7, **k),
    "area_under_roc": area_under_roc,
    "best_threshold": best_threshold,
    "equal_error": equal_error,
    "threshold_at": lambda d, s, **k: threshold_at(d, 0.4, **k),
    "choose_threshold": choose_threshold,
    "true_accepts_at": lambda d, s, **k: true_accepts_at(d, s, 0.1, **k),
    "lfw_protocol": lambda d, s, **k: lfw_protocol(d, s, np.arange(len(s)) % 3, **k),
    "bootstrap": lambda d, s, **k: bootstrap(lambda *_: 0.5, d, s, people_of(s), 5, **k),
    "bootstrap_accuracy": lambda d, s, **k: bootstrap_accuracy(d, s, people_of(s), 0.7, 5, **k),
    "bootstrap_auc": lambda d, s, **k: bootstrap_auc(d, s, people_of(s), 5, **k),
    "bootstrap_gain": lambda d, s, **k: bootstrap_gain(np.ones(len(s)), d, s, people_of(s), (0.7, 0.7), 5, **k),
    "bootstrap_true_accepts": lambda d, s, **k: bootstrap_true_accepts(d, s, people_of(s), 0.1, 5, **k),
    "verification_table": lambda d, s, **k: verification_table(d, s, people_of(s), (0.1,), 5, **k),
}


def people_of(same: np.ndarray) -> np.ndarray:
    """Two people for each pair, one person for each same pair, of ten in all."""
    first = np.arange(len(same)) % 10
    return np.stack([first, np.where(same, first, (first + 1) % 10)], axis=1)


@pytest.mark.parametrize("measure", MEASURES.values(), ids=MEASURES)
def test_pair_without_a_distance_is_refused_unless_the_caller_says_how_it_counts(measure):
    distances, same = np.r_[np.linspace(0.1, 0.6, 20), np.linspace(0.5, 1.2, 200)], np.arange(220) < 20
    measure(distances, same)
    distances[[3, 30, 40]] = np.nan
    with pytest.raises(BadArgument, match=r"distances: 3 of 220 pairs have none .*missing='mistakes'"):
        measure(distances, same)
    with pytest.raises(BadArgument, match="missing='zero': one of 'refuse', 'mistakes'"):
        measure(distances, same, missing="zero")
    measure(distances, same, **COUNT)


def test_precision_recall_and_f1_equal_scikit_learns():
    """At every threshold, pairs without a distance counted as not accepted."""
    rng = np.random.default_rng(0)
    same = rng.random(300) < 0.3
    distances = np.where(same, rng.normal(0.6, 0.2, 300), rng.normal(0.9, 0.2, 300))
    distances[::17] = np.nan
    thresholds = [-1, 0.3, 0.6, 0.75, 1.0, 3.0]
    table = precision_recall(distances, same, thresholds, **COUNT).set_index("threshold")
    for threshold in thresholds:
        accepted = distances < threshold  # NaN is not
        precision, recall, f1, _ = precision_recall_fscore_support(same, accepted, average="binary", zero_division=1)
        assert table.precision[threshold] == pytest.approx(precision)
        assert table.recall[threshold] == pytest.approx(recall)
        assert table.f1[threshold] == pytest.approx(f1 if recall else 0)


@pytest.mark.parametrize("far", [0.01, 0.1, 0.37])
def test_threshold_at_accepts_exactly_the_allowed_share(far):
    distances = np.random.default_rng(1).normal(1, 0.2, 400)
    threshold = threshold_at(distances, far)
    assert (distances < threshold).sum() == int(400 * far)
    with pytest.raises(
        BadArgument, match="far=0.001: must be a share between 0 and 1, and at least one of the 400 pairs"
    ):
        threshold_at(distances, 0.001)
    with pytest.raises(BadArgument, match="far=1.0"):
        threshold_at(distances, 1.0)


def test_confusion_equals_scikit_learns_and_missing_distances_are_mistakes():
    rng = np.random.default_rng(0)
    distances, same = rng.uniform(0, 2, 60), rng.random(60) < 0.5
    expected = confusion_matrix(same, distances < 0.7, labels=[True, False])
    np.testing.assert_array_equal(confusion(distances, same, 0.7), expected)
    table = confusion([np.nan, np.nan, 0.1, 1.9], [True, False, True, False], 0.7, **COUNT)
    assert table.loc["one person"].tolist() == [1, 1] and table.loc["two people"].tolist() == [1, 1]


def test_true_accepts_equal_the_roc_curve_and_are_none_below_ten_false_accepts():
    rng = np.random.default_rng(1)
    same = np.arange(3000) < 1000
    distances = rng.normal(size=3000) - 1.5 * same
    false, true, _ = roc_curve(same, -distances, drop_intermediate=False)
    for far in (0.1, 0.01):
        assert true_accepts_at(distances, same, far) == pytest.approx(true[false <= far].max())
    assert true_accepts_at(distances, same, 0.001) is None  # two of 2,000 would decide it
    assert true_accepts_at(np.where(same, np.nan, distances), same, 0.1, **COUNT) == 0
    with pytest.raises(BadArgument, match="far=1.5"):
        true_accepts_at(distances, same, 1.5)


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
def test_lfw_protocol_equals_an_independent_computation(seed, missing):
    """Ten folds of unequal size, and pairs that belong to none of them."""
    rng = np.random.default_rng(seed)
    distances, same = pairs(seed, n=900, decimals=9, missing=missing)
    folds = rng.choice(np.arange(-1, 10), size=900, p=[0.05, *[0.05] * 5, *[0.14] * 5])
    found = lfw_protocol(distances, same, folds, **COUNT)
    expected = scikit_learns_protocol(distances, same, folds)
    assert (found.accuracy, found.standard_error) == pytest.approx(expected, abs=5e-5)
    assert found.folds.pairs.tolist() == np.bincount(folds[folds >= 0]).tolist()
    assert str(found) == f"{expected[0]:.4f} ± {expected[1]:.4f}"


def test_lfw_protocol_is_independent_of_order_and_fold_numbers():
    distances, same = pairs(0, n=300, missing=0.1)
    folds = np.arange(300) % 5
    order = np.random.default_rng(0).permutation(300)
    one = lfw_protocol(distances, same, folds, **COUNT)
    other = lfw_protocol(distances[order], same[order], 3 * folds[order] + 2, **COUNT)
    assert one.accuracy == pytest.approx(other.accuracy) and one.standard_error == pytest.approx(other.standard_error)


def test_lfw_protocol_chooses_each_threshold_on_other_folds():
    distances, same = pairs(3, n=300)
    folds = np.arange(300) % 3
    before = lfw_protocol(distances, same, folds).folds.threshold
    distances[folds == 0] = 5
    after = lfw_protocol(distances, same, folds).folds.threshold
    assert before[0] == after[0] and (before[1:] != after[1:]).any()


def test_lfw_protocol_rejects_unusable_folds():
    distances, same = pairs(0, n=20)
    with pytest.raises(BadArgument, match="folds: 1 found; at least two are needed"):
        lfw_protocol(distances, same, np.arange(20) % 2 - 1)
    with pytest.raises(BadArgument, match=r"folds \(19,\) int64: a whole number for each of the 20 pairs"):
        lfw_protocol(distances, same, np.arange(19))
    with pytest.raises(BadArgument, match=r"folds \(20,\) float64"):
        lfw_protocol(distances, same, np.arange(20) % 2 + 0.5)
    with pytest.raises(BadArgument, match="both kinds are needed"):
        lfw_protocol(distances, same, same.astype(int))


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("decimals", [1, 9])
@pytest.mark.parametrize("far", [0.03, 0.1, 0.5])
def test_choose_threshold_is_the_largest_that_keeps_the_share(seed, decimals, far):
    distances, same = pairs(seed, n=2000, decimals=decimals, missing=0.1)
    threshold = choose_threshold(distances, same, far, **COUNT)
    assert slow_rates(distances, same, threshold)[0] <= far
    next_one = distances[~same & (distances >= threshold)].min() + 1e-9
    assert slow_rates(distances, same, next_one)[0] > far
    assert choose_threshold(distances, same, **COUNT) == best_threshold(distances, same, **COUNT)


def test_choose_threshold_rejects_too_few_pairs_and_names_the_number_needed():
    distances, same = pairs(0, n=400)
    negatives = (~same).sum()
    with pytest.raises(BadArgument, match=f"far=0.001: needs 10000 different pairs; there are {negatives}"):
        choose_threshold(distances, same, 0.001)
    with pytest.raises(BadArgument, match="far=1.5: must be a share between 0 and 1"):
        choose_threshold(distances, same, 1.5)


def test_threshold_at_may_accept_every_pair_with_a_distance():
    """Half of the different pairs have none: at a share of 0.8 the other half may all pass."""
    distances, same = np.concatenate([np.linspace(0, 1, 20), np.full(20, np.nan)]), np.arange(40) < 1
    assert (distances < threshold_at(distances[~same], 0.8, **COUNT)).sum() == 20
    assert threshold_at(np.full(50, np.nan), 0.5, **COUNT) == 0


def test_choose_threshold_rejects_similarities():
    distances, same = pairs(0, n=400)
    with pytest.raises(BadArgument, match="not nearer than the different ones: are they distances"):
        choose_threshold(2 - distances, same)
    with pytest.raises(BadArgument, match="not nearer"):
        choose_threshold(np.full(400, np.nan), same, **COUNT)


def test_errors_at_interpolates_the_measured_table():
    distances, same = pairs(3, n=400)
    thresholds = np.linspace(0, 2, 41)
    table = error_rates(distances, same, thresholds)
    for threshold in thresholds[::7]:
        accepts, rejects = errors_at(table, threshold)
        assert accepts == pytest.approx(np.mean(distances[~same] < threshold))
        assert rejects == pytest.approx(np.mean(distances[same] >= threshold))
    assert errors_at(table, -1) == (0, 1) and errors_at(table, 9) == (1, 0)


def test_errors_at_reads_the_committed_table_of_the_shipped_network():
    rates = pd.read_csv(ROOT / "docs" / "results" / "lfw_resnet_rates.csv").query("people == 'train'")
    assert errors_at(rates, 0.7) == (0.0096922, 0.0082)
    between = errors_at(rates, 0.695)
    assert between == pytest.approx(((0.0074811 + 0.0096922) / 2, (0.0118 + 0.0082) / 2))


def test_errors_at_rejects_unsorted_tables_and_bad_thresholds():
    rates = pd.read_csv(ROOT / "docs" / "results" / "lfw_resnet_rates.csv")
    with pytest.raises(BadArgument, match="the 242 thresholds must rise"):
        errors_at(rates, 0.7)
    with pytest.raises(BadArgument, match="threshold=nan"):
        errors_at(rates.query("people == 'test'"), np.nan)
