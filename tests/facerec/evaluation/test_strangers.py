"""1:K identification with strangers, against loops over every encoding and a table made by hand."""

from __future__ import annotations

from functools import partial

import numpy as np
import pandas as pd
import pytest

from facerec.errors import BadArgument
from facerec.evaluation import cmc, dir_curve, identification, open_set

SEEDS = range(6)


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
def test_identification_equals_a_loop_over_encodings(seed, decimals):
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


def test_identification_cmc_and_open_set_by_hand():
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


def test_open_set_is_none_below_ten_false_alarms_unless_a_threshold_is_given():
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


def test_open_set_interval_covers_the_truth_and_includes_the_threshold():
    truth = open_set(open_world(999, people=20_000), 0.1, samples=2).detected.value
    found = [open_set(open_world(seed), 0.1, samples=100).detected for seed in range(40)]
    fixed = [open_set(open_world(seed), 0.1, threshold=0.85, samples=100).detected for seed in range(40)]
    assert sum(interval.low <= truth <= interval.high for interval in found) >= 34
    assert np.mean([i.high - i.low for i in found]) > 1.3 * np.mean([i.high - i.low for i in fixed])


@pytest.mark.parametrize("seed", SEEDS)
def test_dir_curve_equals_counting_and_contains_the_open_set(seed):
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


def test_unusable_searches_are_rejected():
    with pytest.raises(BadArgument, match=r"distances \(2, 3\): probes \(2,\) × gallery \(2,\) are needed"):
        identification(np.zeros((2, 3)), ["a", "b"], ["a", "b"])
    with pytest.raises(BadArgument, match=r"distances \(0, 2\)"):
        identification(np.zeros((0, 2)), ["a", "b"], [])
    strangers = identification(np.zeros((2, 1)), ["a"], ["x", "y"])
    for refused in (cmc, partial(open_set, fpir=0.1), dir_curve):
        with pytest.raises(BadArgument, match="none of the 2 probes shows a person in the gallery"):
            refused(strangers)
    with pytest.raises(BadArgument, match="all 1 probes show people in the gallery"):
        dir_curve(identification(np.zeros((1, 1)), ["a"], ["a"]))
    with pytest.raises(BadArgument, match="fpir=1: must be a share between 0 and 1"):
        open_set(three_people(), 1)


@pytest.mark.parametrize("threshold", [np.nan, np.inf, "0.7", True])
def test_open_set_rejects_thresholds_that_are_not_finite_numbers(threshold):
    """NaN would accept no one, which looks like a safe door."""
    table = identification([[0.3, 0.9], [0.5, 0.4]], ["ada", "bob"], ["ada", "eve"])
    with pytest.raises(BadArgument, match="threshold="):
        open_set(table, 0.5, threshold)
