"""Checkpoints restore everything that changes in training; damaged and foreign ones are rejected."""

import csv
import json

import keras
import numpy as np
import pandas as pd
import pytest

from facerec.errors import BadArgument
from facerec.learning.checkpoints import (
    FILE,
    Log,
    all_variables,
    load_checkpoint,
    precision,
    read_config,
    save_checkpoint,
)


def tiny(seed: int) -> keras.Model:
    """A network with everything that has a state: batch normalisation, dropout, Adam."""
    keras.utils.set_random_seed(seed)
    x = keras.Input((4,))
    y = keras.layers.Dropout(0.5)(keras.layers.BatchNormalization()(keras.layers.Dense(3)(x)))
    model = keras.Model(x, keras.layers.Dense(1)(y))
    model.compile(keras.optimizers.Adam(0.1), loss="mse")
    model.optimizer.build(model.trainable_variables)
    return model


def steps(model: keras.Model, numbers: range) -> list[float]:
    data = np.random.default_rng(0).normal(size=(20, 8, 4)).astype("float32")
    return [float(np.asarray(model.train_on_batch(data[i], data[i, :, :1]))) for i in numbers]


def test_loaded_checkpoint_resumes_exactly(tmp_path):
    uninterrupted = tiny(1)
    losses = steps(uninterrupted, range(10))
    first = tiny(1)
    steps(first, range(6))
    save_checkpoint(first, tmp_path, 6, {"rate": 0.1})
    second = tiny(2)  # other weights, another dropout: all of it has to come from the file
    assert load_checkpoint(second, tmp_path, {"rate": 0.1}) == 6
    np.testing.assert_allclose(steps(second, range(6, 10)), losses[6:], rtol=1e-6)
    for a, b in zip(all_variables(uninterrupted), all_variables(second), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6)


def test_missing_checkpoint_starts_at_step_0(tmp_path):
    assert load_checkpoint(tiny(1), tmp_path, {}) == 0 and read_config(tmp_path) is None


def test_load_checkpoint_rejects_another_configuration(tmp_path):
    model = tiny(1)
    save_checkpoint(model, tmp_path, 1, {"rate": 0.1, "people": ["a", "b"], "epochs": 5})
    with pytest.raises(BadArgument, match="was begun with rate 0.1, not 0.2"):
        load_checkpoint(model, tmp_path, {"rate": 0.2, "people": ["a", "b"], "epochs": 5})
    with pytest.raises(BadArgument, match="epochs 5, not 9"):
        load_checkpoint(model, tmp_path, {"rate": 0.1, "people": ["a", "b"], "epochs": 9})
    asked = {"rate": 0.1, "people": ("a", "b"), "epochs": 9}  # a tuple is what JSON keeps as a list
    assert load_checkpoint(model, tmp_path, asked, may_differ=["epochs"]) == 1


@pytest.mark.parametrize("damage", [b"", b"PK\x03\x04 half"])
def test_load_checkpoint_names_a_damaged_file(tmp_path, damage):
    (tmp_path / FILE).write_bytes(damage)
    with pytest.raises(BadArgument, match=r"checkpoint.npz is damaged .*; remove it to start again"):
        load_checkpoint(tiny(1), tmp_path, {})


def test_log_removes_rows_after_the_checkpoint(tmp_path):
    log = Log(tmp_path / "new" / "log.csv", ("epoch", "loss"))
    log.cut_after(0)
    for epoch in (1, 2, 3):
        log.add(epoch=epoch, loss=1 / epoch, surplus="not kept")
    Log(log.file, ("epoch", "loss")).cut_after(2)
    log.add(epoch=3, loss=0.25)
    assert json.loads(pd.read_csv(log.file).to_json(orient="values")) == [[1, 1], [2, 0.5], [3, 0.25]]


def test_precision_holds_in_its_block_and_is_restored_after_an_error():
    with pytest.raises(KeyError), precision("mixed_bfloat16"):
        layer = keras.layers.Dense(2)
        raise KeyError
    assert layer.compute_dtype == "bfloat16" and layer.variable_dtype == "float32"
    assert keras.layers.Dense(2).compute_dtype == "float32"
    with (
        pytest.raises(BadArgument, match="precision='float7': one of 'float32', 'mixed_bfloat16'"),
        precision("float7"),
    ):
        pass


def test_log_loses_no_row_on_a_full_disk(tmp_path, monkeypatch):
    log = Log(tmp_path / "history.csv", ["epoch", "loss"])
    log.cut_after(0)
    for epoch in (1, 2, 3):
        log.add(epoch=epoch, loss=0.5)
    before = log.file.read_bytes()

    def full(self, rows):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(csv.DictWriter, "writerows", full)
    log.cut_after(3)  # nothing to cut: nothing is written
    with pytest.raises(OSError, match="No space left"):
        log.cut_after(2)
    assert log.file.read_bytes() == before and [path.name for path in tmp_path.iterdir()] == ["history.csv"]
