"""The stopwatch of tools/bench.py times what it says."""

import time

import numpy as np

from tools import bench


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
