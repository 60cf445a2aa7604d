"""Ours beside other packages: what is timed, the spread of repeats, and the ratios that the pages show."""

import json

import numpy as np
import pytest
from PIL import Image

from tools.measure import bench_peers
from tools.measure.peers import engines
from tools.upkeep import peers


@pytest.fixture
def folder(tmp_path):
    np.save(tmp_path / "faces_9.npy", np.arange(64 * 9 * 9 * 3, dtype=np.uint8).reshape(64, 9, 9, 3))
    for name, width in (("one", 20), ("six", 30)):
        Image.new("RGB", (width, 10)).save(tmp_path / f"{name}.jpg")
    return tmp_path


def test_every_engine_gets_the_same_faces_and_photos(folder):
    got = []
    engine = engines.Engine("p", "own", 9, *(lambda given, kind=kind: got.append((kind, given)) for kind in "edwl"))
    timed = engines.works(engine, folder)
    assert list(timed) == ["encode 1", "encode 64", "detect one", "who one", "detect six", "who six", "largest one"]
    assert set(timed) == set(bench_peers.WORKS)
    for work in timed.values():
        work()
    assert [given.shape for kind, given in got if kind in "ed"] == [
        (1, 9, 9, 3),
        (64, 9, 9, 3),
        (10, 20, 3),
        (10, 30, 3),
    ]
    assert [(kind, given.name) for kind, given in got if kind in "wl"] == [
        ("w", "one.jpg"),
        ("w", "six.jpg"),
        ("l", "one.jpg"),
    ]
    got.clear()
    engines.works(engine._replace(largest=None), folder)["largest one"]()
    assert [kind for kind, _ in got] == ["w"]
    assert list(engines.works(engines.Engine("p", "own", detect=len), folder)) == ["detect one", "detect six"]


def test_nearest_finds_each_person_among_the_known():
    known = engines.people(16)
    assert engines.nearest(known, known[[3, 0, 11]] + 0.01) == [3, 0, 11]


def test_package_size_includes_its_dependencies():
    """tqdm needs nothing else here; pandas needs NumPy."""
    assert 0.1 < engines.installed("tqdm") < 1
    assert engines.installed("pandas") > engines.installed("numpy") > 10


ABOUT = {"package": "p", "version": "1", "weights": "own", "notes": ""}


def once(speed: float) -> dict:
    """One repeat of an engine that does nothing but encode and name."""
    took = {"encode 64": 64 / speed, "who six": speed / 100}
    return {"about": ABOUT, **took, "start_s": 1.0, "memory_mb": 9, "installed_mb": 5}


def test_numbers_are_medians_with_the_lowest_and_the_highest():
    row = bench_peers.row([once(speed) for speed in (10, 40, 20)])
    assert row["faces_per_second"]["64"] == pytest.approx({"value": 20, "low": 10, "high": 40})
    assert row["who_ms"]["six"] == pytest.approx({"value": 200, "low": 100, "high": 400})
    assert "detect_ms" not in row and row["start_s"]["value"] == 1 and row["installed_mb"] == 5


def test_ratios_say_how_many_times_as_fast_ours_is():
    def engine(speed):
        each = {"value": speed}
        return {"faces_per_second": {"64": each}, "who_ms": {"six": {"value": 1000 / speed}}}

    found = {
        "ours, Inception": engine(600),
        "facenet-pytorch": engine(60),
        "DeepFace, Facenet": engine(80),
        "mtcnn": {},
    }
    for kind, what in (("faces_per_second", "64"), ("who_ms", "six")):
        assert peers.ratios({"engines": found}, kind, what) == "facenet-pytorch 10, DeepFace 7.5"


def test_page_has_a_cell_for_everything_that_is_measured(tmp_path):
    file = tmp_path / "peers.json"
    assert peers.page_table(file) == "(Not measured yet: `make bench-peers`.)"
    file.write_text(json.dumps({"engines": {"dlib": bench_peers.row([once(20)])}}), encoding="utf-8")
    head, bars, row = peers.page_table(file).splitlines()
    assert head.count("|") == bars.count("|") == row.count("|")
    assert row == "| dlib 1 |  | 20 [20, 20] |  |  |  | 200 [200, 200] |  | 9 MB | 1.0 s | 5 MB |"
