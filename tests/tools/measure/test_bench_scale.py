"""The benchmark of a server: what it asks is what any database answers, and what it calls true is true."""

from __future__ import annotations

import numpy as np
import pytest

from facerec.database import FaceDatabase
from tools.measure import bench_scale
from tools.measure.bench_database import Crowd

D = 8


@pytest.fixture
def crowd(monkeypatch) -> Crowd:
    """People who differ more than their pictures do; they are sent in pieces of 30."""
    monkeypatch.setattr(bench_scale, "PIECE", 30)
    rng, who = np.random.default_rng(0), np.repeat(np.arange(40), 3)
    encodings = rng.normal(size=(40, D))[who] + 0.05 * rng.normal(size=(120, D))
    return Crowd(encodings / np.linalg.norm(encodings, axis=1, keepdims=True), who)


def test_a_file_finds_the_true_nearest_among_people_who_came_in_pieces(crowd):
    with FaceDatabase(":memory:") as database:
        truth, _ = bench_scale.fill(database, crowd, 70, probes=40)
        assert len(database) == 70
        found = bench_scale.search(database, truth)
        assert [found["true_nearest"][who]["value"] for who in ("known", "strangers")] == [1, 1]
        assert found["named_rightly"] > 0.5
        said = bench_scale.questions(database, crowd, 70)
        assert said["add"]["probes"] == len(database) - 70 == bench_scale.NEWCOMERS


def test_second_nearest_is_not_near_enough(crowd):
    with FaceDatabase(":memory:") as database:
        truth, _ = bench_scale.fill(database, crowd, 70, probes=40)
        _, distances = database.nearest(truth.probes, k=2)
        assert truth.near_enough(distances[:, 0])["known"]["value"] == 1
        assert truth.near_enough(distances[:, 1])["known"]["value"] == 0


def test_earlier_sizes_are_kept(tmp_path):
    assert bench_scale.earlier(tmp_path / "scale.json") == {"sizes": [], "kills": []}
    (tmp_path / "scale.json").write_text('{"sizes": [{"people": 5}], "kills": []}')
    assert bench_scale.earlier(tmp_path / "scale.json")["sizes"] == [{"people": 5}]
