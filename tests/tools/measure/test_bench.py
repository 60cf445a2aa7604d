"""The benchmarks of networks and of the database: their clocks, their exact search, and their processes."""

import itertools
import os
import shutil
import subprocess
import sys
import time

import numpy as np
import pytest
from scipy.stats import binomtest

from facerec.database import FaceDatabase
from tools.measure import bench, bench_database


class Clock:
    """A clock that only moves when work is done."""

    def __init__(self) -> None:
        self.now = 0.0
        self.calls: list[str] = []

    def work(self, name: str, *seconds: float):
        """A function that takes the next of these times at each call."""
        times = itertools.cycle(seconds)

        def do(*_: object) -> None:
            self.calls.append(name)
            self.now += next(times)

        return do


@pytest.fixture
def clock(monkeypatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(time, "perf_counter", lambda: clock.now)
    return clock


def test_take_turns_reports_the_median_after_a_warm_up(clock):
    took = bench.take_turns({"a": clock.work("a", 9, 1, 2, 6), "b": clock.work("b", 5)}, rounds=3)
    assert clock.calls == ["a", "b"] * 4  # once to warm up, then three rounds
    assert took == {"a": 2, "b": 5}


def test_seconds_averages_over_calls_in_a_row(clock):
    assert bench.seconds(clock.work("a", 1, 2, 6), times=3) == 3


def test_faces_for_repeats_the_faces_of_the_pictures(images, tmp_path, monkeypatch):
    for name in ("lena.jpg", "mei.jpg", "video_call.jpg"):
        shutil.copy(images / name, tmp_path)
    monkeypatch.setattr(bench, "IMAGES", tmp_path)
    faces = bench.faces_for(96, 12)  # 1 + 1 + 6, then again from the first one
    assert faces.shape == (12, 96, 96, 3) and len(np.unique(faces.reshape(12, -1), axis=0)) == 8
    np.testing.assert_array_equal(faces[8:], faces[:4])
    np.testing.assert_array_equal(bench.faces_for(96, 1), faces[:1])


# ----------------------------------------------------------------------------------------- the database's
@pytest.fixture(scope="module")
def crowd() -> bench_database.Crowd:
    """A crowd of small encodings: three pictures each of forty people."""
    rng = np.random.default_rng(0)
    encodings = rng.normal(size=(40, 1, 16)) + 0.3 * rng.normal(size=(40, 3, 16))
    encodings /= np.linalg.norm(encodings, axis=2, keepdims=True)
    return bench_database.Crowd(encodings.reshape(-1, 16), np.repeat(np.arange(40), 3))


def test_half_of_the_probes_show_known_people(crowd):
    trial = bench_database.Trial.draw(crowd, 500, 200)
    assert trial.known.shape == (500, 16) and trial.probes.shape == (200, 16) and trial.chosen.shape == (100,)
    own = np.linalg.norm(trial.probes[:100] - trial.known[trial.chosen], axis=1)
    others = np.linalg.norm(trial.probes[100:] - trial.known[trial.chosen], axis=1)
    assert np.median(own) < np.median(others) / 2
    assert np.allclose(np.linalg.norm(trial.probes, axis=1), 1, atol=1e-6)


@pytest.mark.parametrize("rows_at_once", [7, 64, 4096])
def test_exact_search_is_right_with_blocks_of_any_size(crowd, rows_at_once):
    trial = bench_database.Trial.draw(crowd, 300, 40)
    distances = np.linalg.norm(trial.known.astype(float) - trial.probes[:, None].astype(float), axis=2)
    assert (bench_database.exact(trial.known, trial.probes, rows_at_once) == distances.argmin(axis=1)).all()


def test_true_nearest_accepts_ties(crowd):
    trial = bench_database.Trial.draw(crowd, 300, 40)
    trial = trial._replace(known=np.concatenate([trial.known, trial.known]))  # everybody has a double
    truth = bench_database.exact(trial.known, trial.probes)
    doubles, wrong = (truth + 300) % 600, np.where(np.arange(40) == 39, truth + 1, truth)
    assert trial.true_nearest(doubles)["known"]["value"] == trial.true_nearest(doubles)["strangers"]["value"] == 1
    assert [trial.true_nearest(wrong)[who]["value"] for who in ("known", "strangers")] == [1, 19 / 20]


@pytest.mark.parametrize(("right", "of"), [(5000, 5000), (4996, 5000), (3, 7), (0, 5)])
def test_share_has_wilsons_interval(right, of):
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


class TimedDatabase:
    """A database whose clock is the test's."""

    def __init__(self, clock: Clock) -> None:
        self.nearest = clock.work("ours", 0.5)


def test_beside_times_another_way_and_ours_in_turn(clock):
    theirs = clock.work("theirs", 1, 2, 1, 2)
    row = bench_database.beside(TimedDatabase(clock), theirs, np.zeros((3, 4)))
    assert clock.calls == ["theirs"] + ["ours", "theirs"] * 3
    assert row["probes"] == 3 and (row["p50_ms"], row["ours_p50_ms"]) == (2000, 500) and row["times_ours"] == 4


def test_processes_fill_open_and_search_a_database(crowd, tmp_path):
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


def test_add_one_by_one_times_people_that_are_on_the_disk(crowd, tmp_path):
    with FaceDatabase(tmp_path / "people.db") as database:
        took = bench_database.add_one_by_one(database, crowd.pictures(crowd.people(5)))
        code = "import sys; from facerec.database import FaceDatabase; print(len(FaceDatabase(sys.argv[1])))"
        command = [sys.executable, "-c", code, str(tmp_path / "people.db")]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert took["probes"] == 5 and 0 < took["p50_ms"] <= took["p99_ms"]
    assert done.stdout == "5\n"


def test_busy_leaves_out_our_own_work(tmp_path, monkeypatch):
    """Of 100 busy seconds, 30 are ours and our children's; idle and waiting time do not count."""
    ticks = os.sysconf("SC_CLK_TCK")
    (tmp_path / "stat").write_text("cpu " + " ".join(str(n * ticks) for n in (50, 10, 20, 999, 888, 5, 5, 10)) + " 0 0")
    monkeypatch.setattr(os, "times", lambda: (8.0, 2.0, 15.0, 5.0, 1234.0))
    assert bench_database._busy(tmp_path / "stat")[0] == pytest.approx(70)
    assert bench_database._busy(tmp_path / "nothing") is None


def test_company_is_the_mean_number_of_busy_processors(monkeypatch):
    said, clock = {}, iter([(10.0, 100.0), (13.0, 106.0)])
    monkeypatch.setattr(bench_database, "_busy", lambda: next(clock))
    with bench_database.company(said):
        pass
    assert said == {"others_cores": 0.5}


def test_machine_is_described():
    said = bench_database.machine()
    assert said["cores"] >= 1 and said["numpy"] == np.__version__ and said["processor"]
