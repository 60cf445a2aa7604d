"""Every index of the benchmark finds the true nearest if it searches deep enough."""

import numpy as np
import pytest

from tools.measure import bench_index
from tools.measure.bench_database import Trial, exact


@pytest.fixture(scope="module")
def trial() -> Trial:
    """Two thousand people, and probes half of which are near one of them."""
    rng = np.random.default_rng(0)
    known = rng.normal(size=(2000, 32))
    chosen = np.arange(100)
    probes = np.concatenate([known[chosen] + 0.2 * rng.normal(size=(100, 32)), rng.normal(size=(100, 32))])
    known, probes = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (known, probes))
    return Trial(known.astype(np.float32), probes.astype(np.float32), chosen)


@pytest.mark.parametrize("label", ["4-bit codes (shipped)", "HNSW, faiss", "HNSW, usearch, f16", "HNSW, usearch, i8"])
def test_deep_search_finds_the_true_nearest(label, trial):
    if label.startswith("HNSW, usearch"):
        pytest.importorskip("usearch", reason="usearch is not installed")
    built = bench_index.indexes()[label](trial.known)
    rows = built.search(trial.probes[0], 512)
    assert rows.shape == (512,) and len(np.unique(rows)) == 512
    found = [bench_index.nearest(trial.known, probe, built.search(probe, 512)) for probe in trial.probes]
    assert np.mean(found == exact(trial.known, trial.probes)) > 0.98
    assert 32 * 2000 / 4 <= built.size < 1_500_000


def test_candidates_are_ranked_exactly_without_gaps(trial):
    rows = np.array([-1, 7, 3, 5, -1])
    assert bench_index.nearest(trial.known, trial.known[5], rows) == 5
    assert bench_index.nearest(trial.known, trial.known[1999], rows) in (3, 5, 7)  # the last one was no candidate


def test_deeper_search_is_more_accurate(trial, monkeypatch):
    monkeypatch.setattr(bench_index, "DEPTHS", (1, 256))
    row = bench_index.measure(bench_index.shipped, trial)
    shallow, deep = ([depth["true_nearest"][who]["value"] for who in ("known", "strangers")] for depth in row["depths"])
    assert shallow[1] < deep[1] >= 0.98
    assert deep[0] == 1
    assert [depth["depth"] for depth in row["depths"]] == [1, 256]
    assert row["build_s"] > 0 and row["depths"][0]["probes"] == 200
