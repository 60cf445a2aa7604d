"""The tool that times a training step here and in ``model.fit``, with a network of one layer."""

import json
import sys

import keras
import numpy as np

from tools.measure import training_step
from tools.upkeep import cells


def test_both_ways_train_and_are_compared(tmp_path, monkeypatch, capsys):
    built = []

    def one_layer(numbers):
        built.append(keras.Sequential([keras.Input((numbers,)), keras.layers.Dense(1)]))
        built[-1].compile("sgd", "mse")
        return built[-1], (np.ones((4, numbers), np.float32), np.ones((4, 1), np.float32))

    monkeypatch.setattr(training_step, "ROWS", (("one layer", one_layer, (3,), "4 rows"),))
    monkeypatch.setattr(sys, "argv", ["training_step.py", "--rounds", "2", "--to", str(tmp_path / "step.json")])
    training_step.main()
    steps = training_step.STEPS * 3  # the first turn compiles, two are timed
    assert [int(model.optimizer.iterations) for model in built] == [steps, steps]
    found = json.loads((tmp_path / "step.json").read_text(encoding="utf-8"))
    (row,) = found["networks"]
    low, high = row["ratios"]
    assert 0 < low <= row["ratio"] <= high and row["ours_ms"] > 0 < row["fit_ms"]
    assert capsys.readouterr().out.startswith("one layer: ")
    assert cells.training_steps(found).splitlines()[-1].startswith("| one layer | 4 rows | ")
