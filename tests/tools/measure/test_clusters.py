"""The study of clusters: people who choose are not scored, and the committed result says what the cards say."""

from __future__ import annotations

import json
import shutil
import sys

import numpy as np
import pytest

from facerec._files import ROOT
from facerec.evaluation import bcubed
from facerec.evaluation.lfw import read_pairs
from facerec.networks import load_facenet
from tests.tools.measure.invented import in_order
from tools.measure import clusters, lfw
from tools.measure.bench_database import Crowd

RESULT = json.loads((ROOT / "docs" / "results" / "clusters.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def faces() -> tuple[np.ndarray, np.ndarray, Crowd]:
    """Encodings of sixty people in eight dimensions, and who they are."""
    rng = np.random.default_rng(3)
    who = np.repeat(np.arange(60), 4)
    x = rng.normal(size=(60, 8))[who] + 0.2 * rng.normal(size=(240, 8))
    encodings = (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)
    return encodings, who, Crowd(encodings, who)


@pytest.mark.parametrize("name", clusters.WAYS)
def test_every_way_finds_people_who_are_far_apart(name):
    far_apart = np.repeat(np.eye(8, dtype=np.float32), 3, axis=0) + np.tile(0.01 * np.eye(8)[:3], (8, 1))
    far_apart /= np.linalg.norm(far_apart, axis=1, keepdims=True)
    alone = np.concatenate([far_apart, -far_apart[:1]])
    way, settings = clusters.WAYS[name]
    setting = next(setting for setting in settings if setting[0] in (0.5, "leaf"))
    assert bcubed(way(alone.astype(np.float32), setting), [*np.repeat(np.arange(8), 3), 8]).f == 1


def test_chosen_setting_has_the_highest_f(faces):
    encodings, who, _ = faces
    settings = [(0.1,), (0.4,), (1.2,)]
    scores = [bcubed(clusters.average(encodings, setting), who).f for setting in settings]
    assert clusters.choose(encodings, who, clusters.average, settings) == settings[int(np.argmax(scores))] == (0.4,)


def test_drawn_faces_are_as_many_as_asked_and_a_third_of_the_people_have_one(faces):
    encodings, who = clusters.drawn(faces[2], 3000)
    counts = np.unique(who, return_counts=True)[1]
    assert encodings.shape == (3000, 8) and len(who) == 3000
    assert (counts == 1).mean() == pytest.approx(1 / 3, abs=0.05)


def test_command_chooses_and_scores_on_other_people_and_notes_the_threshold(toy, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(lfw, "CACHE", tmp_path / "faces.json")
    monkeypatch.setattr(clusters, "CACHE", tmp_path)
    monkeypatch.setattr(clusters, "WAYS", {"average linkage": (clusters.average, [(0.2,), (0.3,)])})
    chosen = {f"S_{k}" for k in range(20, 46)}
    network = shutil.copytree(toy / "twice", tmp_path / "twice")
    monkeypatch.setattr(clusters, "people_to_choose_on", lambda folder: chosen)
    arguments = [
        "clusters.py",
        str(toy),
        "--networks",
        str(network),
        "--sizes",
        "--to",
        str(tmp_path / "to.json"),
    ]
    monkeypatch.setattr(sys, "argv", arguments)
    clusters.main()
    (row,) = json.loads((tmp_path / "to.json").read_text(encoding="utf-8"))["networks"].values()
    assert row["people"]["chosen_on"] == {"photographs": 26, "people": 26, "single": 26}
    assert row["people"]["everyone else"]["people"] == row["people"]["pairsDevTest"]["people"] == 20
    assert all(in_order(row["ways"]["average linkage"]["pairsDevTest"][key]) for key in ("precision", "recall", "f"))
    assert load_facenet(network).facenet.cluster_threshold == row["threshold"] in (0.2, 0.3)
    assert "average linkage (" in capsys.readouterr().out
    monkeypatch.setattr(clusters, "encode", lambda *_: pytest.fail("the encodings were kept"))
    clusters.main()


def test_half_of_the_people_choose_and_they_are_always_the_same(toy):
    people = clusters.people_to_choose_on(toy)
    everyone = set(read_pairs(toy / "pairsDevTrain.txt").people.flat)
    assert people == clusters.people_to_choose_on(toy) and people < everyone and len(people) == len(everyone) // 2


# ------------------------------------------------------------------------------------------------ the result
@pytest.mark.parametrize("network", clusters.NETWORKS)
def test_card_has_the_threshold_of_the_result(network):
    card = json.loads((ROOT / network / "facenet.json").read_text(encoding="utf-8"))
    row = RESULT["networks"][network]
    assert card["cluster_threshold"] == row["threshold"] == row["ways"]["average linkage"]["setting"][0]


@pytest.mark.parametrize("network", clusters.NETWORKS)
def test_result_adds_up_and_ours_is_the_best(network):
    row = RESULT["networks"][network]
    assert set(row["ways"]) == set(clusters.WAYS)
    assert row["people"]["pairsDevTest"]["photographs"] >= 1500
    for part in ("pairsDevTest", "everyone else"):
        assert 3 * row["people"][part]["single"] >= row["people"][part]["people"]
        assert all(in_order(way[part][key]) for way in row["ways"].values() for key in ("precision", "recall", "f"))
        best = max(row["ways"], key=lambda name: row["ways"][name][part]["f"]["value"])
        assert best == "average linkage"
