"""Triplet trainings: their loss and metrics, exact resume, refusals, alarms, fine-tuning."""

from __future__ import annotations

import copy
import signal
import sys
from dataclasses import replace

import keras
import numpy as np
import pandas as pd
import pytest
import tensorflow

from facerec.errors import BadArgument, TrainingFailed
from facerec.learning import triplet_training
from facerec.learning.checkpoints import alone_in, digest_of
from facerec.learning.datasets import find_people, split_by_identity
from facerec.learning.mining import MINING
from facerec.learning.pairs import PairFaces, PersonFaces, make_pairs
from facerec.learning.triplet_training import (
    ENCODERS,
    OPTIMIZERS,
    CollapseAlarm,
    TripletPlan,
    _encoders,
    fine_tune,
    make_encoder,
    make_learner,
    train_triplets,
)
from tests.facerec.learning.resuming import (
    assert_resumes_to,
    assert_same_curve,
    wait_in_the_last_epoch,
)
from tests.facerec.learning.toys import small_encoder

pytestmark = pytest.mark.usefixtures("eagerly", "small")

REAL = dict(ENCODERS)


@pytest.fixture(scope="module")
def small():
    """Trainings build a small encoder instead of five convolutions."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(ENCODERS, "five convolutions", (small_encoder, 32))
        yield


@pytest.fixture
def real(monkeypatch):
    """They build the real one again."""
    monkeypatch.setitem(ENCODERS, "five convolutions", REAL["five convolutions"])


@pytest.mark.usefixtures("real")
@pytest.mark.parametrize("network", ENCODERS)
def test_encoders_give_encodings_of_unit_length(network):
    model = make_encoder(network)
    side = REAL[network][1]
    faces = np.random.default_rng(0).uniform(0, 255, (2, side, side, 3)).astype(np.float32)
    encodings = np.asarray(model(faces))
    assert encodings.shape == (2, 128)
    np.testing.assert_allclose(np.linalg.norm(encodings, axis=1), 1, atol=1e-5)


@pytest.mark.usefixtures("real")
def test_make_encoder_builds_five_convolutions_and_rejects_bad_arguments():
    model = make_encoder()
    for kind in (keras.layers.Conv2D, keras.layers.BatchNormalization, keras.layers.MaxPooling2D):
        assert sum(isinstance(layer, kind) for layer in model.layers) == 5
    assert model.input_shape == (None, 160, 160, 3) and model.get_layer("block5_pool").output.shape[1:] == (5, 5, 128)
    with pytest.raises(BadArgument, match="network='six': one of 'five convolutions', 'residual', 'inception'"):
        make_encoder("six")


@pytest.mark.usefixtures("real")
@pytest.mark.parametrize("network", ["five convolutions", "residual"])
def test_make_encoder_rejects_faces_that_are_too_small(network):
    with pytest.raises(BadArgument, match="side=20: expected at least 32 pixels"):
        make_encoder(network, side=20)


@pytest.mark.usefixtures("real")
def test_residual_network_adds_a_shortcut_in_each_of_four_blocks():
    model = make_encoder("residual")
    sums = [layer for layer in model.layers if isinstance(layer, keras.layers.Add)]
    assert [layer.output.shape[1:] for layer in sums] == [(16, 16, 32), (8, 8, 64), (4, 4, 128), (2, 2, 256)]
    assert all(layer.input[1] is model.get_layer(f"block{i}_shortcut").output for i, layer in enumerate(sums, 1))


@pytest.fixture(scope="module")
def parts() -> tuple[PersonFaces, PairFaces]:
    """Few small faces of people who do not exist, and pairs of others."""
    people = find_people("datasets/people.zip")
    learned, validation = split_by_identity(people[people.identity < "p024"], (18, 6))
    return PersonFaces(learned, side=32), PairFaces(make_pairs(validation, 60), side=32)


PLAN = TripletPlan(side=32, epochs=4, batch=32, rate=1e-3, seed=3)


def few(people: int, side: int = 32) -> PersonFaces:
    """Eight faces each of a few people."""
    return PersonFaces(find_people("datasets/people.zip").head(8 * people), side)


@pytest.fixture(scope="module")
def trained(parts, tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained")
    model, history = train_triplets(*parts, PLAN, folder, progress=False, every=2)
    return model, history, folder


def test_training_lowers_the_loss_and_saves_its_files(trained, parts):
    model, history, folder = trained
    assert history.loss.iloc[-1] < history.loss.iloc[0] and history.active.iloc[-1] < history.active.iloc[0]
    assert {path.name for path in folder.iterdir()} == {
        ".lock", "best.keras", "checkpoint.npz", "checkpoint_before.npz", "epoch_002.keras", "epoch_004.keras",
        "history.csv",
    }  # fmt: skip
    assert history.found.eq(1).all()  # random: every pair has a negative
    cosine = 1e-3 * (1 + np.cos(np.pi * np.arange(1, 5) / 4)) / 2
    np.testing.assert_allclose(history.rate, cosine, atol=1e-6)
    from facerec.evaluation import area_under_roc

    area = area_under_roc(parts[1].distances(model), parts[1].same)
    assert 1 - area == pytest.approx(history.validation_error.min(), abs=2e-3)  # the best, not the last


def test_killed_training_resumes_to_the_uninterrupted_curve_and_network(trained, parts, tmp_path):
    def resume(folder):
        return train_triplets(*parts, PLAN, folder, progress=False, every=2)

    assert_resumes_to(trained, resume, tmp_path / "killed")


def run_training(folder: str) -> None:
    """What a student's process does: it trains, and never ends before it is killed."""
    wait_in_the_last_epoch(PLAN.epochs)
    tensorflow.config.run_functions_eagerly(True)  # as this file's tests do
    ENCODERS["five convolutions"] = (small_encoder, 32)
    people = find_people("datasets/people.zip")
    learned, validation = split_by_identity(people[people.identity < "p024"], (18, 6))
    parts = PersonFaces(learned, side=32), PairFaces(make_pairs(validation, 60), side=32)
    train_triplets(*parts, PLAN, folder, progress=False)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGKILL")
def test_training_killed_by_the_system_resumes_to_the_uninterrupted_curve(trained, parts, tmp_path, kill_in_training):
    assert kill_in_training(run_training, tmp_path, within=0.1) == -signal.SIGKILL
    _, history = train_triplets(*parts, PLAN, tmp_path, progress=False)
    assert_same_curve(history, trained[1])


def test_second_training_in_the_folder_is_refused(parts, tmp_path):
    with alone_in(tmp_path), pytest.raises(BadArgument, match="another training is running in"):
        train_triplets(*parts, PLAN, tmp_path, progress=False)


def test_people_are_named_before_triplets_in_a_harsh_training(parts, tmp_path):
    plan = replace(PLAN, mining="names", optimizer="adamw", rate=3e-3, harsh=0.5, epochs=2)
    model, history = train_triplets(*parts, plan, tmp_path, progress=False)
    assert history.loss.iloc[-1] < history.loss.iloc[0] and model.output_shape == (None, 128)
    assert "names" not in [layer.name for layer in model.layers]


def test_second_phase_starts_from_the_first_and_leaves_it_unchanged(trained, parts, tmp_path):
    model, _, _ = trained
    before = digest_of(model)
    plan = replace(PLAN, mining="semi-hard", epochs=1, rate=1e-4)
    started = _encoders(plan, model)[0]
    np.testing.assert_allclose(parts[1].distances(started), parts[1].distances(model), atol=1e-5)
    _, second = train_triplets(*parts, plan, tmp_path, model, progress=False)
    assert 0 < second.found[0] < 1  # some pairs have no semi-hard negative in their batch
    assert digest_of(model) == before  # the first phase's network is left as it was
    with pytest.raises(BadArgument, match="was begun with start"):
        train_triplets(*parts, plan, tmp_path, make_encoder(side=32), progress=False)


def test_training_does_not_resume_with_other_data(trained, parts):
    others, more, pairs = copy.copy(parts[0]), copy.copy(parts[0]), copy.copy(parts[1])
    others.faces, pairs.faces, more.per_person = others.faces[::-1], pairs.faces[::-1], 8
    for learned, validation, said in (
        (others, parts[1], "begun with people"),
        (more, parts[1], "begun with per_person 4, not 8"),
        (parts[0], pairs, "begun with validation"),
    ):
        with pytest.raises(BadArgument, match=said):
            train_triplets(learned, validation, PLAN, trained[2], progress=False)


@pytest.fixture(scope="module")
def batch(parts):
    """Faces, and who is on them."""
    return next(iter(parts[0].crowds(32)))


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_every_optimizer_lowers_the_loss(batch, small_network, optimizer):
    """The names of one batch, and a network without dropout: no step draws anything."""
    keras.utils.set_random_seed(0)
    faces, who = map(np.asarray, batch)
    plan = replace(PLAN, mining="names", optimizer=optimizer)
    learner = make_learner(small_network, plan, steps=10, people=int(who.max()) + 1)
    faces = faces.reshape(32, 8, 4, 8, 4, 3).mean(axis=(2, 4))
    losses = [learner.train_on_batch([faces, who], who)[0] for _ in range(5)]
    assert losses[-1] < losses[0] - 0.05


def test_mixed_precision_training_saves_a_float32_network(parts, tmp_path):
    plan = replace(PLAN, epochs=1, batch=8, precision="mixed_bfloat16")
    model, history = train_triplets(few(2), parts[1], plan, tmp_path, progress=False)
    assert {layer.dtype_policy.name for layer in model.layers} == {"float32"} and np.isfinite(history.loss[0])
    assert keras.config.dtype_policy().name == "float32"


@pytest.mark.usefixtures("real", "in_graphs")
def test_collapsing_training_stops_with_an_error(parts, tmp_path):
    """A real one: the hardest negatives from the beginning, in long steps."""
    plan = replace(PLAN, mining="hardest", epochs=20, rate=1e-1)
    with pytest.raises(TrainingFailed, match=r"the same: for 10 steps, two people were less than 0.05 apart"):
        train_triplets(few(120), parts[1], plan, tmp_path, progress=False)
    assert not (tmp_path / "checkpoint.npz").exists()


@pytest.mark.parametrize("mining", MINING)
def test_dead_network_is_noticed_in_the_first_epoch(parts, tmp_path, mining):
    """The last dense layer knows nothing but its bias: all distances are 0. An epoch has two steps here."""
    start = make_encoder(side=32)
    kernel, bias = start.get_layer("embedding").get_weights()
    start.get_layer("embedding").set_weights([0 * kernel, bias + 1])
    plan = replace(PLAN, mining=mining, rate=1e-6, batch=16)
    with pytest.raises(TrainingFailed, match=r"the same: for 2 steps"):
        train_triplets(few(4), parts[1], plan, tmp_path, start, progress=False)
    assert {path.name for path in tmp_path.iterdir()} == {".lock", "history.csv"}


def test_collapse_alarm_rings_only_after_enough_collapsed_steps_in_a_row():
    alarm = CollapseAlarm(0.2, steps=3)
    healthy, collapsed = {"to_negative": 0.06}, {"to_negative": 0.04}
    for result in (collapsed, collapsed, healthy, collapsed, collapsed):
        alarm(1, result)
    with pytest.raises(TrainingFailed):
        alarm(2, collapsed)


def test_nan_loss_stops_the_training_without_a_checkpoint(parts, tmp_path):
    start = make_encoder(side=32)
    last = start.get_layer("embedding")
    last.set_weights([np.full_like(weight, np.nan) for weight in last.get_weights()])
    with pytest.raises(TrainingFailed, match="the loss of step 1 is nan: try a smaller learning rate"):
        train_triplets(*parts, PLAN, tmp_path, start, progress=False)
    assert {path.name for path in tmp_path.iterdir()} == {".lock", "history.csv"}
    assert len(pd.read_csv(tmp_path / "history.csv")) == 0


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"mining": "hard"}, "mining='hard': one of 'random', 'semi-hard', 'hardest', 'all', 'names'"),
        ({"optimizer": "lion"}, "optimizer='lion': one of 'rmsprop'"),
        ({"network": "resnet"}, "network='resnet': one of"),
        ({"alpha": 0}, "alpha=0: the margin must be more than 0"),
        ({"harsh": 2}, "harsh=2: must be between 0 and 1"),
        ({"frozen": 1.0}, "frozen=1.0: the share of frozen layers"),
        ({"epochs": 0}, "epochs=0, patience=5"),
        ({"patience": 0}, "epochs=4, patience=0"),
        ({"rate": 0.0}, "rate=0.0: the learning rate"),
        ({"rate": float("nan")}, "rate=nan: the learning rate"),
        ({"side": 40}, "side=40: the faces of the people have 32 pixels"),
        ({"precision": "float7"}, "precision='float7': one of"),
        (
            {"batch": 80},
            "batch=80: must be 4 faces each of at least 2 people; here are 18 people in 144 pictures, enough .* 72",
        ),
        ({"batch": 30}, "batch=30: must be 4 faces each of at least 2 people"),
        ({"batch": 400}, "batch=400: must be 4 faces each of at least 2 people"),
    ],
)
def test_training_rejects_an_impossible_plan_before_it_starts(parts, tmp_path, change, said):
    with pytest.raises(BadArgument, match=said):
        train_triplets(*parts, replace(PLAN, **change), tmp_path, progress=False)
    assert not list(tmp_path.iterdir())  # refused before anything is begun


def test_training_rejects_a_start_network_of_another_side(parts, tmp_path):
    with pytest.raises(BadArgument, match="side=32: the faces of small_encoder have 64 pixels"):
        train_triplets(*parts, PLAN, tmp_path, make_encoder(side=64), progress=False)


def test_frozen_layers_keep_their_weights_and_so_does_the_start(trained, parts, tmp_path):
    model, _, _ = trained
    before = digest_of(model)
    plan = replace(PLAN, mining="semi-hard", epochs=1, rate=1e-4, frozen=0.4)
    tuned, history = train_triplets(*parts, plan, tmp_path, model, progress=False)
    assert digest_of(model) == before and digest_of(tuned) != before and len(history) == 1
    moved = [
        layer.name
        for layer, was in zip(tuned.layers, model.layers, strict=True)
        if any(not np.array_equal(a, b) for a, b in zip(layer.get_weights(), was.get_weights(), strict=True))
    ]
    names = [layer.name for layer in model.layers if layer.weights]
    assert names == ["conv", "bn", "embedding"] and moved == names[round(0.4 * 3) :]


def test_fine_tune_returns_a_network_like_the_given_one(tmp_path, network, monkeypatch):
    error = {True: 0.2, False: 0.1}  # of the given network, and of the tuned one: it gained
    monkeypatch.setattr(
        triplet_training,
        "_validate",
        lambda model, _: {"validation_error": error[model is network], "validation_accuracy": 0.5},
    )
    side = network.input_shape[1]
    people = find_people("datasets/people.zip").groupby("identity").head(4)
    learned, validation = PersonFaces(people[:8], side), PairFaces(make_pairs(people[8 * 4 : 10 * 4], 8), side)
    plan = TripletPlan(side=side, alpha=1.5, epochs=1, batch=8, rate=1e-5, frozen=0.8)  # a margin that leaves a loss
    tuned, _ = fine_tune(network, learned, validation, tmp_path, plan, progress=False)
    assert tuned.input_shape == network.input_shape and tuned.output_shape == network.output_shape
    before, after = (validation.distances(model) for model in (network, tuned))
    assert 0 < np.abs(before - after).max() < 0.5
    assert tuned.facenet.template == network.facenet.template and tuned.facenet.threshold != network.facenet.threshold
    assert tuned.facenet.probability is tuned.facenet.false_accepts is None
    with pytest.raises(BadArgument, match="side=160: the faces of the people have 150 pixels"):
        fine_tune(network, learned, validation, tmp_path, TripletPlan(batch=8), progress=False)


def test_fine_tune_without_gain_returns_the_old_weights(trained, parts, tmp_path):
    """Same pairs of one and the same picture are at no distance for any network: there is nothing to gain."""
    model, _, _ = trained
    pairs = make_pairs(find_people("datasets/people.zip").tail(8 * 6), 60)
    pairs["picture_2"] = pairs.picture_1.where(pairs.same, pairs.picture_2)
    plan = replace(PLAN, epochs=1, batch=8)
    tuned, history = fine_tune(model, few(2), PairFaces(pairs, 32), tmp_path, plan, progress=False)
    assert len(history) == 1 and digest_of(tuned) == digest_of(model) and tuned is not model


def test_fine_tune_works_with_three_people_and_ten_epochs_by_default(trained, parts, tmp_path, monkeypatch):
    def train_once(people, validation, plan, *rest):
        assert plan.epochs == 10 and plan.batch == 3 * people.per_person
        return train_triplets(people, validation, replace(plan, epochs=1), *rest)

    monkeypatch.setattr(triplet_training, "train_triplets", train_once)
    _, history = fine_tune(trained[0], few(3), parts[1], tmp_path, progress=False)
    assert len(history) == 1


def test_plan_names_the_network(parts, tmp_path, monkeypatch):
    """Each of them is built by other tests, and the Inception network is trained by that of ``fine_tune``."""

    def other(side: int) -> keras.Model:
        model = small_encoder(side)
        return keras.Model(model.input, model.output, name="other")

    monkeypatch.setitem(ENCODERS, "inception", (other, 32))
    plan = replace(PLAN, network="inception", epochs=1, batch=8)
    model, _ = train_triplets(few(2), parts[1], plan, tmp_path, progress=False)
    assert model.name == "other"
