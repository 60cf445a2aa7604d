"""The stopwatches of tools/measure/bench.py and tools/measure/bench_database.py time what they say, and what they call true is."""

import os
import subprocess
import sys
import time

import numpy as np
import pytest
from scipy.stats import binomtest

from facerec.database.face_database import FaceDatabase
from tools.measure import bench, bench_database


def test_work_takes_turns_and_its_median_is_reported():
    calls = []
    works = {"a": lambda: (calls.append("a"), time.sleep(0.002)), "b": lambda: (calls.append("b"), time.sleep(0.02))}
    took = bench.take_turns(works, rounds=3)
    assert calls == ["a", "b"] * 4  # once to warm up, then three rounds
    assert took["b"] >= 0.02 and took["a"] < took["b"]


def test_faces_are_real_and_repeated_to_the_number_asked_for():
    faces = bench.faces_for(96, 64)
    assert faces.shape == (64, 96, 96, 3)
    assert len(np.unique(faces.reshape(64, -1), axis=0)) >= 34


# ----------------------------------------------------------------------------------------- the database's
@pytest.fixture(scope="module")
def crowd() -> bench_database.Crowd:
    """A crowd of small encodings: three pictures each of forty people."""
    rng = np.random.default_rng(0)
    encodings = rng.normal(size=(40, 1, 16)) + 0.3 * rng.normal(size=(40, 3, 16))
    encodings /= np.linalg.norm(encodings, axis=2, keepdims=True)
    return bench_database.Crowd(encodings.reshape(-1, 16), np.repeat(np.arange(40), 3))


def test_half_of_the_probes_are_of_people_who_are_known(crowd):
    trial = bench_database.Trial.draw(crowd, 500, 200)
    assert trial.known.shape == (500, 16) and trial.probes.shape == (200, 16) and trial.chosen.shape == (100,)
    own = np.linalg.norm(trial.probes[:100] - trial.known[trial.chosen], axis=1)
    others = np.linalg.norm(trial.probes[100:] - trial.known[trial.chosen], axis=1)
    assert np.median(own) < np.median(others) / 2
    assert np.allclose(np.linalg.norm(trial.probes, axis=1), 1, atol=1e-6)


@pytest.mark.parametrize("rows_at_once", [7, 64, 4096])
def test_the_exact_search_finds_the_nearest_in_blocks_of_any_size(crowd, rows_at_once):
    trial = bench_database.Trial.draw(crowd, 300, 40)
    distances = np.linalg.norm(trial.known.astype(float) - trial.probes[:, None].astype(float), axis=2)
    assert (bench_database.exact(trial.known, trial.probes, rows_at_once) == distances.argmin(axis=1)).all()


def test_an_answer_is_true_if_it_is_as_near_as_the_nearest(crowd):
    trial = bench_database.Trial.draw(crowd, 300, 40)
    trial = trial._replace(known=np.concatenate([trial.known, trial.known]))  # everybody has a double
    truth = bench_database.exact(trial.known, trial.probes)
    doubles, wrong = (truth + 300) % 600, np.where(np.arange(40) == 39, truth + 1, truth)
    assert trial.true_nearest(doubles)["known"]["value"] == trial.true_nearest(doubles)["strangers"]["value"] == 1
    assert [trial.true_nearest(wrong)[who]["value"] for who in ("known", "strangers")] == [1, 19 / 20]


@pytest.mark.parametrize(("right", "of"), [(5000, 5000), (4996, 5000), (3, 7), (0, 5)])
def test_a_share_has_wilsons_interval(right, of):
    expected = binomtest(right, of).proportion_ci(method="wilson")
    said = bench_database.share(np.arange(of) < right)
    assert (said["value"], said["of"]) == (right / of, of)
    assert (said["low"], said["high"]) == pytest.approx((expected.low, expected.high), abs=1e-7)


def test_every_way_finds_the_nearest(crowd):
    trial = bench_database.Trial.draw(crowd, 50, 10)
    names = [bench_database.name_of(i) for i in range(50)]
    for row, probe in zip(bench_database.exact(trial.known, trial.probes), trial.probes, strict=True):
        for way in bench_database.WAYS.values():
            assert bench_database.number_of(way(names, trial.known)(probe)) == row


class Slow:
    """A database that takes a while."""

    def __init__(self, calls: list[str]):
        self.calls = calls

    def nearest(self, probe: np.ndarray) -> None:
        """Nothing, after two milliseconds."""
        self.calls.append("ours")
        time.sleep(0.002)


def test_another_way_and_ours_take_turns():
    calls: list[str] = []
    row = bench_database.beside(Slow(calls), lambda probe: (calls.append("theirs"), time.sleep(0.02)), np.zeros((3, 4)))
    assert calls == ["theirs"] + ["ours", "theirs"] * 3
    assert row["probes"] == 3 and row["p50_ms"] >= 20 and 2 <= row["ours_p50_ms"] < row["p50_ms"]
    assert row["times_ours"] == row["p50_ms"] / row["ours_p50_ms"]


def test_other_processes_fill_open_and_search(crowd, tmp_path):
    trial = bench_database.Trial.draw(crowd, 6000, 20)  # more than are read at once
    filled = bench_database.fill(tmp_path / "people.db", trial)
    said = bench_database.open_and_search(tmp_path / "people.db", trial)
    numbers = np.array([bench_database.number_of(name) for name in said["found"]])
    assert said["people"] == 6000 and len(said["took"]) == 20
    assert (numbers == bench_database.exact(trial.known, trial.probes)).all()
    assert 0 < said["cold_open_s"] < said["from_start_s"]
    assert filled["fill_s"] > 0
    if os.path.exists("/proc/self/status"):
        bare, most = said["memory_of_imports_mb"]["most"], said["memory_mb"]["most"]
        assert 20 < bare < 250 and bare < most < bare + 100  # theirs, not the memory of this process


def test_one_is_safe_on_the_disk_when_the_clock_stops(crowd, tmp_path):
    with FaceDatabase(tmp_path / "people.db") as database:
        took = bench_database.add_one_by_one(database, crowd.pictures(crowd.people(5)))
        code = f"import sys; sys.path.insert(0, {str(bench_database.ROOT)!r}); from face_database import FaceDatabase"
        code += f"; print(len(FaceDatabase({str(tmp_path / 'people.db')!r})))"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert took["probes"] == 5 and 0 < took["p50_ms"] <= took["p99_ms"]
    assert done.stdout == "5\n"


@pytest.mark.skipif(
    not os.path.exists("/proc/stat") or os.cpu_count() > 8, reason="can't tell, or too many to keep busy"
)
def test_our_own_work_is_not_company():
    work = "import time\nwhile time.process_time() < 1: pass"
    said, start = {}, time.monotonic()
    with bench_database.company(said):
        ours = [subprocess.Popen([sys.executable, "-c", work]) for _ in range(os.cpu_count())]
        assert [child.wait() for child in ours] == [0] * len(ours)
    passed = time.monotonic() - start
    assert said["others_cores"] * passed + len(ours) < os.cpu_count() * passed * 1.1


def test_the_work_of_others_is_company(monkeypatch):
    said, clock = {}, iter([(10.0, 100.0), (13.0, 106.0)])
    monkeypatch.setattr(bench_database, "_busy", lambda: next(clock))
    with bench_database.company(said):
        pass
    assert said == {"others_cores": 0.5}


def test_it_says_on_what_machine():
    said = bench_database.machine()
    assert said["cores"] >= 1 and said["numpy"] == np.__version__ and said["processor"]
