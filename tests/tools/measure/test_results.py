"""The committed results of the measuring tools agree with each other and with their tables."""

from __future__ import annotations

import json
import math
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from facerec._files import ROOT
from facerec.damage import DAMAGES
from facerec.evaluation.rates import FEWEST_CASES
from facerec.networks import DEFAULT_NETWORK
from tests.tools.measure.invented import in_order
from tools.measure import evaluate
from tools.measure.groups import AGES, RACES, SEXES, extremes

RESULTS = ROOT / "docs" / "results"

#: The tables of the groups.
WAYS = {"all", "race", "sex", "age", "race of adults", "sex of adults"}


NETWORKS = (DEFAULT_NETWORK, "keras-facenet-h5")


def result_of(network: str) -> dict:
    """What was measured of a network on LFW's people."""
    return json.loads((RESULTS / f"evaluation_{Path(network).name}.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("network", NETWORKS)
def test_result_names_its_network(network):
    result = result_of(network)
    assert result["network"] == network
    assert ("NETWORK=" in result["command"]) == (network != DEFAULT_NETWORK)
    assert result["command"].endswith(f"NETWORK={network}" if network != DEFAULT_NETWORK else "DIR=…")


@pytest.mark.parametrize("network", NETWORKS)
def test_accuracy_equals_that_of_the_lfw_tool(network):
    """``tools/measure/lfw.py`` scores the same pairs at the same threshold."""
    result = result_of(network)
    other = json.loads((RESULTS / f"lfw_{Path(network).name}.json").read_text(encoding="utf-8"))
    assert result["people"] == other["people"]
    for end in ("value", "low", "high"):
        assert result["accuracy_at_0.7"][end] == pytest.approx(other["accuracy_at_0.7"][end], abs=1e-4)
    assert result["auc"]["value"] == pytest.approx(other["auc"], abs=1e-4)
    assert in_order(result["accuracy_at_0.7"]) and in_order(result["auc"])
    for row in result["protocol"].values():
        assert 0.5 < row["accuracy"] < 1 and 0 < row["standard_error"] < 0.02 and row["pairs"] == other["pairs"]


@pytest.mark.parametrize("network", NETWORKS)
def test_true_accepts_fall_with_false_accepts_and_are_withheld_below_ten(network):
    result = result_of(network)
    for name, different in (
        ("true_accepts_of_the_list", 500),
        ("true_accepts_of_all_pairs", result["different_pairs"]),
    ):
        rows = result[name]
        assert [row["far"] for row in rows] == sorted((row["far"] for row in rows), reverse=True)
        for row in rows:
            assert row["decided_by"] == int(different * row["far"] + 1e-9)
            assert (row["true_accepts"] is None) == (row["decided_by"] < FEWEST_CASES)
        said = [row for row in rows if row["true_accepts"] is not None]
        assert said and all(0 <= row["low"] <= row["true_accepts"] <= row["high"] <= 1 for row in said)
        assert [row["true_accepts"] for row in said] == sorted((row["true_accepts"] for row in said), reverse=True)


@pytest.mark.parametrize("network", NETWORKS)
def test_larger_galleries_name_fewer_people(network):
    rows = pd.DataFrame(result_of(network)["open_set"])
    assert rows.gallery.tolist() == list(evaluate.GALLERIES)
    assert rows.rank_1.is_monotonic_decreasing and rows.rank_1.iloc[-1] < rows.rank_1.iloc[0] <= 1
    assert rows["named_at_fpir_0.01"].is_monotonic_decreasing and rows["strangers_named_at_0.7"].is_monotonic_increasing
    assert rows.threshold.is_monotonic_decreasing and (rows.threshold > 0).all()
    assert (rows.rank_10 >= rows.rank_1).all() and (rows.rank_10 <= 1).all()
    for named in ("named_at_fpir_0.01", "named_at_0.7"):
        assert (rows[named] <= rows.rank_1 + 1e-12).all() and (rows[named] >= 0).all()
    assert (rows.low <= rows["named_at_fpir_0.01"]).all() and (rows["named_at_fpir_0.01"] <= rows.high).all()
    assert rows.known_probes.nunique() == 1 and (rows.galleries * rows.gallery <= 2 * rows.known_probes + 2000).all()
    assert rows["strangers_named_at_0.7"].between(0, 1).all()


@pytest.mark.parametrize("network", NETWORKS)
def test_open_set_curve_agrees_with_the_largest_gallery(network):
    largest = result_of(network)["open_set"][-1]
    curve = pd.read_csv(RESULTS / f"evaluation_{Path(network).name}_open_set.csv")
    assert all(curve[column].is_monotonic_increasing for column in ("threshold", "fpir", "dir"))
    assert curve.fpir.between(0, 1).all() and curve.fpir.iloc[-1] > 0.99
    assert curve.dir.iloc[-1] == pytest.approx(largest["rank_1"], abs=1e-5)
    below, above = (
        curve[curve.threshold <= largest["threshold"]].iloc[-1],
        curve[curve.threshold > largest["threshold"]].iloc[0],
    )
    assert below.fpir <= 0.01 + 1e-5 and below.dir - 1e-5 <= largest["named_at_fpir_0.01"] <= above.dir + 1e-5


@pytest.mark.parametrize("network", NETWORKS)
def test_calibration_error_equals_that_of_the_reliability_table(network):
    result = result_of(network)["calibration"]
    table = pd.read_csv(RESULTS / f"evaluation_{Path(network).name}_reliability.csv")
    others = {"DeepFace's way", "a line on the same distances"} if network == DEFAULT_NETWORK else set()
    assert set(result) == set(table.method) == {"ours"} | others
    for name, row in result.items():
        rows = table[table.method == name]
        assert rows.pairs.sum() == 1000 and rows.score.is_monotonic_increasing and rows.score.between(0, 1).all()
        error = np.average((rows.score - rows.share).abs(), weights=rows.pairs)
        assert row["expected_calibration_error"]["value"] == pytest.approx(error, abs=2e-5)
        assert (rows.share * rows.pairs).sum() == pytest.approx(500, abs=0.1)
        assert 0 < row["brier"] < 0.25


@pytest.mark.parametrize("network", NETWORKS)
def test_calibration_error_lies_in_its_interval(network):
    assert all(in_order(row["expected_calibration_error"]) for row in result_of(network)["calibration"].values())


def test_our_calibration_error_is_below_deepfaces():
    ours, theirs = (result_of(DEFAULT_NETWORK)["calibration"][name] for name in ("ours", "DeepFace's way"))
    assert ours["expected_calibration_error"]["high"] < theirs["expected_calibration_error"]["low"]
    assert ours["brier"] < theirs["brier"]


def test_groups_add_up_to_all_people():
    table = pd.read_csv(RESULTS / f"groups_{Path(DEFAULT_NETWORK).name}.csv")
    everybody = table[table.by == "all"].iloc[0]
    assert everybody.pairs == math.comb(int(everybody.people), 2)
    assert set(table.by) == WAYS
    names = {"race": set(RACES), "sex": set(SEXES), "age": set(AGES)}
    for by, expected in names.items():
        rows = table[table.by == by]
        assert set(rows.group) == set(rows.other) == expected and rows.pairs.sum() == everybody.pairs
        inside = rows[rows.group == rows.other]
        assert (
            inside.people.sum() == everybody.people and (inside.pairs == inside.people * (inside.people - 1) // 2).all()
        )
        accepted = (rows.false_accepts * rows.pairs).sum()
        assert accepted == pytest.approx(everybody.false_accepts * everybody.pairs, abs=1 + 1e-7 * everybody.pairs)
    inside = table[table.group == table.other].set_index(["by", "group"]).people
    adults = inside["age"]["20–39"] + inside["age"]["40–59"]
    for by in ("race", "sex"):
        assert inside[f"{by} of adults"].sum() == adults and (inside[f"{by} of adults"] <= inside[by]).all()
        assert table[table.by == f"{by} of adults"].pairs.sum() == math.comb(int(adults), 2)
    assert ((table.low <= table.false_accepts) & (table.false_accepts <= table.high)).all()
    assert table.low.min() >= 0 and table.high.max() <= 1 and table.without_a_face.nunique() == 1


def test_groups_summary_equals_its_table():
    summary = json.loads((RESULTS / "groups.json").read_text(encoding="utf-8"))
    assert list(summary["networks"]) == [DEFAULT_NETWORK]
    table = pd.read_csv(RESULTS / f"groups_{Path(DEFAULT_NETWORK).name}.csv")
    assert summary["people"] == table[table.by == "all"].people.iloc[0] + table.without_a_face.iloc[0]
    for name, row in extremes(table).items():
        assert summary["networks"][DEFAULT_NETWORK][name] == pytest.approx(row, abs=1e-7), name
    said = summary["networks"][DEFAULT_NETWORK]
    assert said["fewest"]["false_accepts"] < said["any"]["false_accepts"] < said["most"]["false_accepts"]
    assert said["adults_fewest"]["false_accepts"] < said["adults_most"]["false_accepts"]


def test_damage_never_helps_and_its_rates_add_up_to_its_accuracy():
    table = pd.read_csv(RESULTS / "damage.csv")
    expected = [
        ("nothing", 0.0),
        *((kind, level) for kind, damage in DAMAGES.items() for level in damage.levels if level),
    ]
    measured_ways = table[(table.level > 0) | (table.damage == "nothing")]  # a level of 0 may be listed, too
    assert list(zip(measured_ways.damage, measured_ways.level, strict=True)) == expected
    assert (table.pairs == 500).all() and table.no_face.between(0, 500).all()
    assert ((table.low >= 0) & (table.low <= table.accuracy) & (table.accuracy <= table.high) & (table.high <= 1)).all()
    errors = 250 * (table.false_rejects + table.false_accepts)  # of 250 pairs each; a lost face may be one more
    missed = 500 * (1 - table.accuracy) - errors
    assert (missed > -0.1).all() and (missed <= table.no_face + 0.1).all()
    untouched = table.iloc[0]
    measured = ["accuracy", "low", "high", "false_rejects", "false_accepts", "no_face"]
    assert (table[table.level == 0][measured] == untouched[measured]).all(axis=None)
    assert (table.low <= untouched.high).all()
    worst = table.groupby("damage", sort=False).last().drop("nothing")
    assert (worst.accuracy < untouched.accuracy).all()
    assert untouched.accuracy == pytest.approx(result_of(DEFAULT_NETWORK)["accuracy_at_0.7"]["value"], abs=0.02)


COMMANDS = {
    file.stem: command
    for file in sorted(RESULTS.glob("*.json"))
    if (command := json.loads(file.read_text(encoding="utf-8")).get("command", "")).startswith("make ")
}


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
@pytest.mark.parametrize("result", COMMANDS)
def test_make_knows_the_command_of_each_result(result):
    """``make -n`` accepts the target with its variables; it runs nothing."""
    command = COMMANDS[result].replace("…", ".").split()
    done = subprocess.run([*command, "-n"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "tools/" in done.stdout
