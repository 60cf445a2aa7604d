"""False accepts by group, against a loop over all pairs and SciPy's binomial limits."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binomtest

from facerec.errors import BadArgument
from facerec.evaluation import false_accepts_by_group


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
def test_false_accepts_by_group_equal_a_loop_over_pairs(people, threshold):
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


def test_many_pictures_give_the_same_result_in_any_order():
    encodings, groups, who = crowd(1, m=3000, people=1500)
    table = false_accepts_by_group(encodings, groups, 0.8, who, samples=30)
    order = np.random.default_rng(0).permutation(3000)
    again = false_accepts_by_group(encodings[order], groups[order], 0.8, who[order], samples=30)
    pd.testing.assert_frame_equal(table, again)
    assert table.pairs.sum() == 3000 * 2999 // 2 - sum(n * (n - 1) // 2 for n in np.bincount(who))
    assert (table.low < table.false_accepts).all() and (table.false_accepts < table.high).all()


def test_upper_limit_is_exact_binomial_where_no_pair_is_accepted():
    encodings, groups, _ = crowd(2)
    table = false_accepts_by_group(encodings, groups, 0.01, samples=20)
    assert (table.false_accepts == 0).all() and (table.low == 0).all()
    counts = pd.Series(groups).value_counts()  # one picture each
    fewer = [min(counts[row.group], counts[row.other]) for row in table.itertuples()]
    upper = [binomtest(0, int(n)).proportion_ci(method="exact").high for n in fewer]
    np.testing.assert_allclose(table.high, upper)
    alone = false_accepts_by_group(encodings[:2], ["a", "b"], 1, samples=20).set_index(["group", "other"])
    assert alone.loc[("a", "a"), ["false_accepts", "low", "high"]].isna().all() and alone.pairs.tolist() == [0, 1, 0]


def test_group_intervals_cover_the_truth():
    truth = false_accepts_by_group(*crowd(999, m=4000)[:2], 0.5, samples=1).false_accepts
    tables = [false_accepts_by_group(*crowd(seed, m=150)[:2], 0.5, samples=60) for seed in range(30)]
    covered = np.mean([(table.low <= truth) & (truth <= table.high) for table in tables], axis=0)
    assert (covered >= 0.8).all()


def test_bad_groups_and_encodings_are_rejected():
    encodings, groups, _ = crowd(3)
    with pytest.raises(
        BadArgument, match=r"encodings \(60, 8\), groups \(59,\), people \(59,\): one group and one person"
    ):
        false_accepts_by_group(encodings, groups[1:], 0.7)
    with pytest.raises(BadArgument, match=r"encodings of length .*\.\.2: unit length is needed"):
        false_accepts_by_group(encodings * np.where(groups == "west", 2, 1)[:, None], groups, 0.7)


@pytest.mark.parametrize("threshold", [np.nan, np.inf, None, "0.7", True])
def test_threshold_must_be_a_finite_number(threshold):
    """NaN would accept no one, which looks like a safe door."""
    with pytest.raises(BadArgument, match="threshold="):
        false_accepts_by_group(np.eye(4), list("aabb"), threshold)
