"""Distillation at toy size: batches, loss and rate, exact resume across stages, learning, the finished network."""

import csv
import shutil
from dataclasses import replace

import cv2
import keras
import numpy as np
import pytest
from keras import layers

from facerec.encoding import unit_length
from facerec.errors import BadArgument
from facerec.learning import distillation
from facerec.learning.checkpoints import alone_in
from facerec.learning.crops import Prepared, Teacher, cut
from facerec.learning.distillation import (
    Batches,
    Distillation,
    FusedBatchNormalization,
    Rate,
    Stage,
    averaged_weights,
    build_student,
    finished,
    stage_at,
    train_student,
)
from tests.facerec.learning.toys import PARTS, PLAN, SIDE, prepare_toy, small_student, small_teacher

pytestmark = pytest.mark.usefixtures("eagerly")


@pytest.fixture(scope="module")
def teacher() -> Teacher:
    return small_teacher()


@pytest.fixture(scope="module")
def prepared(teacher, tmp_path_factory):
    return prepare_toy(tmp_path_factory.mktemp("prepared"), teacher)


@pytest.fixture
def batches(prepared, teacher) -> Batches:
    """The batches of the first stage."""
    return Batches(Prepared(prepared, PARTS), teacher, PLAN)


def weights_of(model):
    return [np.array(w) for w in model.get_weights()]


def losses_of(folder):
    return [row["loss"] for row in csv.DictReader((folder / "log.csv").open())]


def test_student_sees_the_crop_of_the_teacher(batches, teacher):
    data = batches.data
    for number in range(len(data)):
        seen_by_teacher = cut(data.picture(number), data.matrices[number], teacher.side, teacher.side)
        seen_by_student = batches.crop(number)
        assert seen_by_student.shape == (SIDE, SIDE, 3)
        shrunk = cv2.resize(seen_by_teacher, (SIDE, SIDE), interpolation=cv2.INTER_LINEAR)
        assert np.abs(shrunk.astype(float) - seen_by_student).mean() < 8  # half a pixel, not another crop


def test_half_of_the_crops_are_mirrored(batches, monkeypatch):
    monkeypatch.setattr(distillation, "jitter_matrix", lambda rng, side: np.eye(2, 3))
    rng, plain = np.random.default_rng(0), batches.crop(3)
    crops = [batches.jittered(3, rng) for _ in range(200)]
    mirrored = [(crop == plain[:, ::-1]).all() for crop in crops]
    assert all((crop == plain).all() != other for crop, other in zip(crops, mirrored, strict=True))
    assert 70 < sum(mirrored) < 130


def test_every_round_shows_every_picture_once(batches):
    assert batches.held_out.tolist() == [0, 6, 9, 15]  # one in six of each part
    seen = np.concatenate([batches.numbers(step) for step in range(12)])  # 4 rounds of 12
    for one in seen.reshape(4, 12):
        assert sorted(one) == sorted(batches.learned)
    assert (seen[:12] != seen[12:24]).any()


def test_held_out_pictures_keep_the_teachers_encodings(prepared, teacher):
    data = Prepared(prepared, PARTS)
    data.names = np.array([f"faces_00000/one_{i}.jpg" for i in range(len(data))])
    batches = Batches(data, teacher, replace(PLAN, labelled=("faces",), share=1.0))
    np.testing.assert_allclose(batches.targets[batches.held_out], batches.encodings[batches.held_out], atol=1e-6)
    assert (batches.targets[batches.learned] != batches.encodings[batches.learned].astype(np.float32)).any(axis=1).any()


@pytest.mark.parametrize("workers", [0, 1], ids=["a thread", "a process"])
def test_batches_made_ahead_are_those_of_their_steps(batches, workers):
    ahead = list(batches.from_step(2, 12, workers))
    assert len(ahead) == 10
    for step, (faces, taught) in enumerate(ahead, 2):
        again, taught_again = batches.batch(step)
        np.testing.assert_array_equal(faces, again)
        np.testing.assert_array_equal(taught, taught_again)


def test_error_in_the_thread_is_raised_to_the_caller(batches, monkeypatch):
    monkeypatch.setattr(batches, "faces", lambda step: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        next(batches.from_step(0, 2))


def test_loss_agrees_with_plain_numpy():
    rng = np.random.default_rng(0)
    taught, seen = (unit_length(rng.normal(size=(5, 128))).astype("float32") for _ in range(2))
    expected = []
    for i in range(5):
        off = [(float(seen[i] @ seen[j]) - float(taught[i] @ taught[j])) ** 2 for j in range(5)]
        expected.append(float(((seen[i] - taught[i]) ** 2).sum()) + 3.0 * sum(off) / 5)
    np.testing.assert_allclose(Distillation(3.0).call(taught, seen), expected, rtol=1e-5)
    plain = keras.ops.convert_to_numpy(Distillation(0.0).call(taught, seen))
    np.testing.assert_allclose(plain, ((seen - taught) ** 2).sum(axis=1), rtol=1e-5)


def test_rate_rises_stays_and_falls_and_begins_alike_in_a_longer_training():
    plan = replace(PLAN, stages=(Stage(SIDE, 100, PARTS),), warmup=10, cooldown=40, rate=0.5)
    rates = np.array([float(Rate(plan)(step)) for step in range(101)])
    np.testing.assert_allclose(rates[:10], np.arange(1, 11) * 0.05, rtol=1e-6)
    np.testing.assert_allclose(rates[10:61], 0.5, rtol=1e-6)
    np.testing.assert_allclose(rates[80], 0.25, rtol=1e-5)
    assert (np.diff(rates[60:]) < 0).all() and rates[100] == pytest.approx(0, abs=1e-7)
    longer = replace(plan, stages=(Stage(SIDE, 900, PARTS),))
    assert [float(Rate(longer)(step)) for step in range(60)] == list(rates[:60])


def test_stage_at_counts_steps_from_one():
    assert [stage_at(PLAN, step) for step in range(7)] == [0, 0, 0, 0, 0, 1, 1]


OPTIONS = {"every": 1, "network": small_student}


@pytest.fixture(scope="module")
def whole(prepared, teacher, tmp_path_factory):
    """An uninterrupted training: its student and its folder."""
    folder = tmp_path_factory.mktemp("whole")
    return train_student(prepared, teacher, PLAN, folder, **OPTIONS), folder


def test_training_repeats_and_resumes_exactly(whole, prepared, teacher, tmp_path):
    setup = (prepared, teacher, PLAN, tmp_path)
    for stop in (2, 4, 5):  # within a stage, between two, and within the next
        train_student(*setup, stop_after=stop, **OPTIONS)
    with (tmp_path / "log.csv").open("a") as log:
        log.write("6,24,40,0.1,0.5,0.5\n")  # the kill came after a row, before its checkpoint
    killed = train_student(*setup, **OPTIONS)
    assert len(losses_of(whole[1])) == 6 and losses_of(whole[1]) == losses_of(tmp_path)
    assert killed.input_shape == (None, SIDE + 8, SIDE + 8, 3)
    for one, two in zip(weights_of(whole[0]), weights_of(killed), strict=True):
        np.testing.assert_array_equal(one, two)


def test_finished_training_takes_no_more_steps(whole, prepared, teacher, monkeypatch):
    monkeypatch.setattr(distillation, "train_stage", lambda *args: 1 / 0)
    again = train_student(prepared, teacher, PLAN, whole[1], **OPTIONS)
    for one, two in zip(weights_of(whole[0]), weights_of(again), strict=True):
        np.testing.assert_array_equal(one, two)


def test_training_is_refused_another_plan_and_a_second_time_at_once(whole, prepared, teacher):
    with pytest.raises(BadArgument, match="seed 1, not 2"):
        train_student(prepared, teacher, replace(PLAN, seed=2), whole[1], **OPTIONS)
    with alone_in(whole[1]), pytest.raises(BadArgument, match="another training is running in"):
        train_student(prepared, teacher, PLAN, whole[1], **OPTIONS)


def test_training_resumes_within_a_stage_only_with_its_pictures(whole, prepared, teacher, tmp_path):
    """As many others, of the same names; the next stage may have its own."""
    folder, others = shutil.copytree(whole[1], tmp_path / "training"), shutil.copytree(prepared, tmp_path / "others")
    (folder / "checkpoint_before.npz").replace(folder / "checkpoint.npz")  # of the fifth step of six
    for part in PARTS:
        with np.load(others / f"{part}.npz") as saved:
            arrays = {name: saved[name] for name in saved.files}
        np.savez(others / f"{part}.npz", **arrays | {"raw": arrays["raw"][::-1]})
    with pytest.raises(BadArgument, match="was begun with people '[0-9a-f]{64}', not"):
        train_student(others, teacher, PLAN, folder, **OPTIONS)
    train_student(prepared, teacher, PLAN, tmp_path / "two stages", stop_after=4, **OPTIONS)
    train_student(others, teacher, PLAN, tmp_path / "two stages", stop_after=5, **OPTIONS)
    assert len(losses_of(tmp_path / "two stages")) == 5


def test_another_seed_changes_batches_and_weights(batches, teacher):
    other = Batches(batches.data, teacher, replace(PLAN, seed=2))
    assert batches.batch(0)[0].tobytes() != other.batch(0)[0].tobytes()
    one, two = (weights_of(build_student(replace(PLAN, seed=seed), SIDE, small_student)) for seed in (1, 2))
    assert any((a != b).any() for a, b in zip(one, two, strict=True))


@pytest.mark.usefixtures("in_graphs")
def test_training_approaches_the_teacher(prepared, teacher, tmp_path):
    plan = replace(PLAN, stages=(Stage(SIDE, 60, PARTS),), cooldown=50, harsh=0.2, average=0.8, relations=1.0)
    train_student(prepared, teacher, plan, tmp_path, every=20, network=small_student)
    rows = list(csv.DictReader((tmp_path / "log.csv").open()))
    assert [int(row["step"]) for row in rows] == [20, 40, 60]
    assert float(rows[-1]["loss"]) < 0.6 * float(rows[0]["loss"])
    assert float(rows[-1]["cosine"]) > 0.8
    assert float(rows[-1]["rate"]) == pytest.approx(0, abs=1e-6)


def test_averaged_weights_leave_the_model_unchanged(batches):
    model = build_student(replace(PLAN, average=0.0), SIDE, small_student)
    model.train_on_batch(*batches.batch(0))
    before = weights_of(model)
    for now, averaged in zip(before, averaged_weights(model), strict=True):
        np.testing.assert_allclose(averaged, now, atol=1e-6)  # with momentum 0 the average is the weights
    for one, two in zip(before, weights_of(model), strict=True):
        np.testing.assert_array_equal(one, two)


def test_finished_student_has_averaged_weights_and_the_statistics_of_its_last_batches(batches):
    model = build_student(PLAN, SIDE, small_student)
    for step in range(4):
        model.train_on_batch(*batches.batch(step))
    averaged, norm = averaged_weights(model), next(x for x in model.layers if isinstance(x, layers.BatchNormalization))
    conv = keras.Model(model.input, norm.input)
    momentum = norm.momentum
    done = finished(model, batches, 4, settling=3)
    seen = [np.asarray(conv(batches.batch(step)[0])) for step in (1, 2, 3)]
    np.testing.assert_allclose(norm.moving_mean, np.mean([x.mean(axis=(0, 1, 2)) for x in seen], axis=0), atol=1e-4)
    trainable = [variable.path for variable in model.trainable_variables]
    for variable, value in zip(done.weights, averaged, strict=True):
        assert variable.path not in trainable or np.array_equal(variable, value)
    assert norm.momentum == momentum


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
