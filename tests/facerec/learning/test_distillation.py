"""Distillation at toy size: batches, exact resume, learning, the averaged weights."""

import csv
from dataclasses import replace

import cv2
import keras
import numpy as np
import pytest
from keras import layers

from facerec.errors import BadArgument
from facerec.learning.crops import (
    Prepared,
    Teacher,
    cut,
    parts_of,
)
from facerec.learning.distillation import (
    Batches,
    Config,
    FusedBatchNormalization,
    averaged_weights,
    build_student,
    train,
)
from tests.facerec.learning.toys import SIDE, prepare_toy, small_student, small_teacher


@pytest.fixture(scope="module")
def teacher() -> Teacher:
    return small_teacher()


@pytest.fixture(scope="module")
def prepared(teacher, tmp_path_factory):
    return prepare_toy(tmp_path_factory.mktemp("prepared"), teacher)


@pytest.fixture
def setup(prepared, teacher):
    """What ``train`` takes: data, teacher and a configuration of 6 steps."""
    parts = parts_of(prepared, ["faces"])
    config = Config(tuple(parts), side=SIDE, steps=6, batch=4, warmup=2, validation=3, rate=1e-2)
    return Prepared(prepared, parts), teacher, config


def weights_of(model):
    return [np.array(w) for w in model.get_weights()]


def losses_of(folder):
    return [row["loss"] for row in csv.DictReader((folder / "log.csv").open())]


def test_student_sees_the_crop_of_the_teacher(setup):
    data, teacher, config = setup
    batches = Batches(data, teacher, config)
    for number in range(len(data)):
        for which in range(3):
            picture, matrix = data.picture(number), data.matrices[number, which]
            seen_by_teacher = cut(picture, matrix, teacher.side, teacher.side)
            seen_by_student = batches.crop(number, which)
            assert seen_by_student.shape == (SIDE, SIDE, 3)
            shrunk = cv2.resize(seen_by_teacher, (SIDE, SIDE), interpolation=cv2.INTER_LINEAR)
            assert np.abs(shrunk.astype(float) - seen_by_student).mean() < 8  # half a pixel, not another crop


def test_every_round_shows_every_picture_once_with_a_new_crop(setup):
    batches = Batches(*setup)
    seen = [tuple(pair) for step in range(13) for pair in zip(*batches.numbers(step), strict=True)]  # 4 rounds of 13
    rounds = [seen[i : i + 13] for i in range(0, 52, 13)]
    for one in rounds:
        assert sorted(picture for picture, _ in one) == sorted(batches.learned)
    crops = [dict(one) for one in rounds[:3]]
    for picture in batches.learned:
        assert {one[picture] for one in crops} == {0, 1, 2}
    assert not set(batches.held_out) & {picture for picture, _ in seen}


def test_thread_yields_the_batches_of_its_steps(setup):
    batches = Batches(*setup)
    for step, (faces, taught) in enumerate(batches.from_step(2, 5), 2):
        again, taught_again = batches.batch(step)
        np.testing.assert_array_equal(faces, again)
        np.testing.assert_array_equal(taught, taught_again)


def test_error_in_the_thread_is_raised_to_the_caller(setup, monkeypatch):
    batches = Batches(*setup)
    monkeypatch.setattr(batches, "batch", lambda step: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        next(batches.from_step(0, 2))


def test_training_repeats_and_resumes_exactly(setup, tmp_path):
    options = {"every": 2, "network": small_student}
    whole = train(*setup, tmp_path / "whole", **options)
    again = train(*setup, tmp_path / "again", **options)
    train(*setup, tmp_path / "killed", stop_after=4, **options)
    with (tmp_path / "killed" / "log.csv").open("a") as log:
        log.write("6,24,0.5,0.1,0.5,\n")  # the kill came after a row, before its checkpoint
    killed = train(*setup, tmp_path / "killed", **options)
    assert losses_of(tmp_path / "whole") == losses_of(tmp_path / "again") == losses_of(tmp_path / "killed")
    for one, two, three in zip(weights_of(whole), weights_of(again), weights_of(killed), strict=True):
        np.testing.assert_array_equal(one, two)
        np.testing.assert_array_equal(one, three)
    with pytest.raises(BadArgument, match="seed 1, not 2"):
        train(setup[0], setup[1], replace(setup[2], seed=2), tmp_path / "whole", **options)


def test_another_seed_changes_batches_and_weights(setup):
    data, teacher, config = setup
    one, two = (Batches(data, teacher, replace(config, seed=seed)) for seed in (1, 2))
    assert one.batch(0)[0].tobytes() != two.batch(0)[0].tobytes()
    one, two = (weights_of(build_student(replace(config, seed=seed), small_student)) for seed in (1, 2))
    assert any((a != b).any() for a, b in zip(one, two, strict=True))


def test_training_approaches_the_teacher(setup, tmp_path):
    data, teacher, config = setup
    config = replace(config, steps=60, harsh=0.2, average=0.8)
    train(data, teacher, config, tmp_path, every=20, network=small_student, watched=data)
    rows = list(csv.DictReader((tmp_path / "log.csv").open()))
    assert [int(row["step"]) for row in rows] == [20, 40, 60]
    assert float(rows[-1]["loss"]) < 0.6 * float(rows[0]["loss"])
    assert float(rows[-1]["cosine"]) > 0.8
    assert float(rows[-1]["watched_cosine"]) > 0.8
    assert float(rows[-1]["rate"]) == pytest.approx(0, abs=1e-6)


def test_averaged_weights_leave_the_model_unchanged(setup, tmp_path):
    config = replace(setup[2], average=0.0)
    model = build_student(config, small_student)
    model.train_on_batch(*Batches(*setup).batch(0))
    before = weights_of(model)
    for now, averaged in zip(before, averaged_weights(model), strict=True):
        np.testing.assert_allclose(averaged, now, atol=1e-6)  # with momentum 0 the average is the weights
    for one, two in zip(before, weights_of(model), strict=True):
        np.testing.assert_array_equal(one, two)


def test_fused_batch_norm_agrees_with_batch_norm():
    rng = np.random.default_rng(0)
    x = rng.normal(3, 2, (8, 6, 6, 5)).astype("float32")
    plain, fused = layers.BatchNormalization(), FusedBatchNormalization()
    for layer in (plain, fused):
        layer.build(x.shape)
        layer.set_weights([np.linspace(0.5, 2, 5), np.linspace(-1, 1, 5), np.zeros(5), np.ones(5)])
    one, two = (keras.ops.convert_to_numpy(layer(x, training=True)) for layer in (plain, fused))
    np.testing.assert_allclose(one, two, atol=1e-4)
    for one, two in zip(plain.get_weights(), fused.get_weights(), strict=True):
        np.testing.assert_allclose(one, two, rtol=1e-2)  # the fused one divides the variance by n − 1
    fused.set_weights(plain.get_weights())
    one, two = (keras.ops.convert_to_numpy(layer(x, training=False)) for layer in (plain, fused))
    np.testing.assert_allclose(one, two, atol=1e-5)
