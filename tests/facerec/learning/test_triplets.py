"""The triplet loss against the course's value, plain NumPy and finite differences; mining against its definitions.

Trainings resume exactly, and say when they went wrong.
"""

from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
import sys
from dataclasses import replace
from itertools import product

import keras
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

from facerec.errors import BadArgument, TrainingFailed
from facerec.learning import checkpoints
from facerec.learning.datasets import find_people, split_by_identity
from facerec.learning.pairs import PairFaces, PersonFaces, make_pairs
from facerec.learning.triplet_training import (
    ENCODERS,
    MINING,
    OPTIMIZERS,
    CollapseAlarm,
    TripletMining,
    TripletPlan,
    _encoders,
    active,
    digest_of,
    fine_tune,
    found,
    make_encoder,
    make_learner,
    mined_loss,
    to_negative,
    to_positive,
    train_triplets,
)
from facerec.learning.triplets import (
    active_shares,
    hardest_triplets,
    kinds_of_triplets,
    pairs_of,
    random_triplets,
    semi_hard_triplets,
    squared_distances,
    triplet_loss,
)


def numpy_loss(anchor, positive, negative, alpha: float = 0.2) -> float:
    """The loss as a student would write it: a triplet at a time."""
    total = 0.0
    for a, p, n in zip(anchor, positive, negative, strict=True):
        total += max(sum((a - p) ** 2) - sum((a - n) ** 2) + alpha, 0.0)
    return total


def triplets(m: int = 40, size: int = 6, seed: int = 0) -> list[np.ndarray]:
    """Anchors, positives and negatives (m, size) of which some triplets are easy and some are not."""
    return list(np.random.default_rng(seed).normal(size=(3, m, size)))


def test_the_courses_check_value():
    """527.2598: TensorFlow's generator with the course's seeds, so it holds on every machine."""
    tf.random.set_seed(1)
    y_pred = [tf.random.normal([3, 128], mean=m, stddev=s, seed=1) for m, s in [(6, 0.1), (1, 1), (3, 4)]]
    assert float(triplet_loss([None, None, None], y_pred)) == pytest.approx(527.2598, abs=1e-3)


@pytest.mark.parametrize("alpha", [0, 0.2, 1.5, 10])
@pytest.mark.parametrize("m", [0, 1, 2, 40])
def test_it_agrees_with_plain_numpy(m, alpha):
    y_pred = triplets(m, seed=m)
    assert float(triplet_loss(None, y_pred, alpha)) == pytest.approx(numpy_loss(*y_pred, alpha), rel=1e-5)


def test_the_default_margin_is_the_courses():
    y_pred = triplets()
    assert float(triplet_loss(None, y_pred)) == pytest.approx(numpy_loss(*y_pred, alpha=0.2), rel=1e-5)


@pytest.mark.parametrize("place", range(3), ids=["anchor", "positive", "negative"])
def test_the_gradient_is_that_of_finite_differences(place):
    """In 64 bits, with respect to every number of the anchors, the positives and the negatives."""
    y_pred = triplets(m=5, size=4, seed=3)
    y_pred[2][:2] += 9  # two easy triplets among hard ones
    variables = [tf.Variable(part) for part in y_pred]
    with tf.GradientTape() as tape:
        loss = triplet_loss(None, variables)
    gradient = tape.gradient(loss, variables[place]).numpy()
    step, expected = 1e-6, np.zeros((5, 4))
    for i in np.ndindex(5, 4):
        ends = []
        for sign in (1, -1):
            moved = [part.copy() for part in y_pred]
            moved[place][i] += sign * step
            ends.append(numpy_loss(*moved))
        expected[i] = (ends[0] - ends[1]) / (2 * step)
    np.testing.assert_allclose(gradient, expected, atol=1e-6)
    assert (gradient[:2] == 0).all() and (gradient[2:] != 0).any()


def test_easy_triplets_cost_nothing_and_teach_nothing():
    """The negative is farther than the positive by more than the margin: no loss, no gradient."""
    anchor = tf.Variable(np.eye(3, 8))
    with tf.GradientTape() as tape:
        loss = triplet_loss(None, [anchor, anchor + 0.01, anchor + 5.0])
    assert float(loss) == 0 and not tape.gradient(loss, anchor).numpy().any()


def test_exactly_at_the_margin_it_begins():
    """Squared distances 0 and d²: the loss is alpha − d², until that is 0."""
    anchor = np.zeros((1, 2))
    for d, expected in [(0, 0.25), (0.3, 0.16), (0.5, 0.0), (0.6, 0.0)]:
        loss = triplet_loss(None, [anchor, anchor, anchor + [d, 0]], alpha=0.25)
        assert float(loss) == pytest.approx(expected, abs=1e-6)


def test_triplets_are_summed_not_averaged():
    y_pred = triplets(7)
    twice = [np.concatenate([part, part]) for part in y_pred]
    assert float(triplet_loss(None, twice)) == pytest.approx(2 * float(triplet_loss(None, y_pred)), rel=1e-5)


@pytest.mark.parametrize("wrap", [list, tuple, np.stack, tf.constant, lambda parts: [part.tolist() for part in parts]])
def test_three_encodings_in_any_wrapping(wrap):
    y_pred = triplets()
    assert float(triplet_loss(None, wrap(y_pred))) == pytest.approx(numpy_loss(*y_pred), rel=1e-5)


def test_it_runs_inside_a_compiled_function():
    """With a number of triplets that is not known beforehand, as in training."""
    spec = [tf.TensorSpec((None, 6), tf.float32)] * 3
    compiled = tf.function(lambda a, p, n: triplet_loss(None, [a, p, n]), input_signature=spec)
    for m in (3, 8):
        y_pred = [part.astype(np.float32) for part in triplets(m)]
        assert float(compiled(*y_pred)) == pytest.approx(numpy_loss(*y_pred), rel=1e-5)


VECTORS = np.zeros((4, 8), np.float32)


@pytest.mark.parametrize(
    "y_pred",
    [
        [],
        [VECTORS],
        [VECTORS, VECTORS],
        [VECTORS] * 4,
        [VECTORS, VECTORS, VECTORS[:3]],
        [VECTORS, VECTORS[:, :5], VECTORS],
        [VECTORS, VECTORS, VECTORS[0]],
        [1.0, 2.0, 3.0],
        None,
        7,
        ["a", None, VECTORS],
    ],
    ids=["none", "one", "two", "four", "fewer", "shorter", "flat", "numbers", "None", "a number", "text"],
)
def test_what_is_no_triplet_is_refused(y_pred):
    with pytest.raises(BadArgument, match=r"y_pred must be \[anchor, positive, negative\]"):
        triplet_loss(None, y_pred)


@pytest.mark.parametrize("alpha", [-0.1, float("nan")])
def test_a_margin_below_zero_is_refused(alpha):
    with pytest.raises(BadArgument, match="alpha=.*the margin must be 0 or more"):
        triplet_loss(None, triplets(), alpha)


# ------------------------------------------------------------------------------------------------ mining
def crowd(seed: int, people: int = 4, each: int = 3, size: int = 5, spread: float = 0.7):
    """Encodings of unit length (m, D), shuffled, and who they are (m,)."""
    rng = np.random.default_rng(seed)
    who = rng.permutation(np.repeat(np.arange(people), each))
    encodings = rng.normal(size=(people, size))[who] + spread * rng.normal(size=(len(who), size))
    return (encodings / np.linalg.norm(encodings, axis=1, keepdims=True)).astype(np.float32), who


def all_triplets(who) -> list[tuple[int, int, int]]:
    """Every anchor, positive and negative, as a student would list them."""
    m = range(len(who))
    return [(a, p, n) for a, p, n in product(m, m, m) if a != p and who[a] == who[p] and who[a] != who[n]]


def squared(encodings, a: int, b: int) -> float:
    return float(((encodings[a].astype(float) - encodings[b]) ** 2).sum())


SEEDS = range(8)


@pytest.mark.parametrize("seed", SEEDS)
def test_distances_are_plain_numpys(seed):
    encodings, _ = crowd(seed)
    expected = [[squared(encodings, a, b) for b in range(12)] for a in range(12)]
    np.testing.assert_allclose(squared_distances(encodings), expected, atol=1e-5)
    assert np.asarray(squared_distances(encodings)).min() >= 0


@pytest.mark.parametrize("seed", SEEDS)
def test_random_triplets_are_triplets_and_every_pair_gets_one(seed):
    _, who = crowd(seed)
    rows = random_triplets(who, seed).triplets()
    allowed = all_triplets(who)
    assert {tuple(row) for row in rows.tolist()} <= set(allowed)
    assert sorted(map(tuple, rows[:, :2].tolist())) == sorted({(a, p) for a, p, _ in allowed})


def test_every_negative_is_equally_likely():
    who = np.array([0, 0, 1, 1, 2])
    rows = np.concatenate([random_triplets(who, seed).triplets() for seed in range(600)])
    counts = np.bincount(rows[(rows[:, 0] == 0) & (rows[:, 1] == 1), 2], minlength=5)
    assert counts[:2].sum() == 0 and counts.sum() == 600
    assert (np.abs(counts[2:] - 200) < 60).all()  # five standard deviations


@pytest.mark.parametrize("alpha", [0.05, 0.2, 0.8])
@pytest.mark.parametrize("seed", SEEDS)
def test_every_semi_hard_triplet_satisfies_the_definition_and_none_is_missed(seed, alpha):
    encodings, who = crowd(seed)
    nearest: dict[tuple[int, int], tuple[float, int]] = {}
    for a, p, n in all_triplets(who):
        to_p, to_n = squared(encodings, a, p), squared(encodings, a, n)
        if to_p < to_n < to_p + alpha:
            nearest[a, p] = min(nearest.get((a, p), (9.0, -1)), (to_n, n))
    rows = semi_hard_triplets(encodings, who, alpha).triplets()
    assert {(a, p): n for a, p, n in rows.tolist()} == {pair: n for pair, (_, n) in nearest.items()}


def test_semi_hard_ones_are_found_at_all():
    counts = [len(semi_hard_triplets(*crowd(seed), 0.2).triplets()) for seed in SEEDS]
    assert min(counts) > 0 and max(counts) < 24  # some of the 24 pairs, not all


@pytest.mark.parametrize("seed", SEEDS)
def test_the_hardest_negative_is_the_nearest_of_all_others(seed):
    encodings, who = crowd(seed)
    rows = hardest_triplets(encodings, who).triplets()
    assert len(rows) == 24
    for a, p, n in rows.tolist():
        others = [squared(encodings, a, other) for other in np.flatnonzero(who != who[a])]
        assert who[p] == who[a] and squared(encodings, a, n) == pytest.approx(min(others), abs=1e-6)


@pytest.mark.parametrize("seed", SEEDS)
def test_kinds_and_active_shares_are_counted_rightly(seed):
    encodings, who = crowd(seed)
    gaps = np.array([squared(encodings, a, n) - squared(encodings, a, p) for a, p, n in all_triplets(who)])
    kinds = kinds_of_triplets(encodings, who, 0.2)
    expected = {"easy": gaps >= 0.2, "semi-hard": (gaps > 0) & (gaps < 0.2), "hard": gaps <= 0}
    assert kinds == pytest.approx({kind: share.mean() for kind, share in expected.items()}, abs=1e-6)
    shares = np.asarray(active_shares(squared_distances(encodings), who, 0.2))
    assert shares[np.asarray(pairs_of(who))].mean() == pytest.approx((gaps < 0.2).mean(), abs=1e-6)


def test_faces_at_one_place_are_hard_and_never_semi_hard():
    encodings, who = np.ones((4, 2), np.float32), np.array([0, 0, 1, 1])
    assert kinds_of_triplets(encodings, who)["hard"] == 1.0
    assert len(semi_hard_triplets(encodings, who).triplets()) == 0


def test_where_there_is_nobody_else_there_are_no_triplets():
    encodings, _ = crowd(0, people=1)
    for mined in (random_triplets(np.zeros(3), 0), semi_hard_triplets(encodings, np.zeros(3))):
        assert len(mined.triplets()) == 0
    with pytest.raises(BadArgument, match="no triplets; two faces of one person, and one of another"):
        kinds_of_triplets(encodings, [0, 0, 0])
    with pytest.raises(BadArgument, match="no triplets"):
        kinds_of_triplets(encodings, [0, 1, 2])


@pytest.mark.skipif(importlib.util.find_spec("jax") is None, reason="jax is not installed")
def test_mining_runs_on_another_backend():
    """The same miners with JAX below Keras, in a process of its own."""
    program = (
        "import numpy as np; from triplets import *; import keras; assert keras.backend.backend() == 'jax';"
        "rng = np.random.default_rng(0); e = rng.normal(size=(8, 4)).astype('float32'); who = np.repeat(range(4), 2);"
        "print(semi_hard_triplets(e, who, 3.0).triplets().tolist(), len(random_triplets(who, 1).triplets()))"
    )
    env = {**os.environ, "KERAS_BACKEND": "jax"}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=env, check=True)
    encodings = np.random.default_rng(0).normal(size=(8, 4)).astype("float32")
    here = semi_hard_triplets(encodings, np.repeat(range(4), 2), 3.0).triplets().tolist()
    assert len(here) > 2 and done.stdout.split("\n")[0] == f"{here} 8"


# ---------------------------------------------------------------------------------------------- the learner
@pytest.mark.parametrize("mining", ["random", "semi-hard", "hardest"])
def test_what_a_learner_minimises_is_the_triplet_loss_of_its_triplets(mining):
    encodings, who = crowd(3)
    mined = TripletMining(mining, alpha=0.2, seed=5)([encodings, who])
    negative, valid = (
        random_triplets(who, keras.random.SeedGenerator(5))
        if mining == "random"
        else (semi_hard_triplets(encodings, who) if mining == "semi-hard" else hardest_triplets(encodings, who))
    )
    rows = [(a, p, int(negative[a, p])) for a, p in zip(*np.nonzero(np.asarray(valid)), strict=True)]
    a, p, n = (encodings[list(column)] for column in zip(*rows, strict=True))
    assert float(mined_loss(0.2)(who, mined)) == pytest.approx(numpy_loss(a, p, n) / len(rows), abs=1e-5)


def test_what_a_learner_reports_is_what_its_batch_holds():
    encodings, who = crowd(3)
    mined = TripletMining("semi-hard", alpha=0.2)([encodings, who])
    triplets_, pairs = all_triplets(who), {(a, p) for a, p, _ in all_triplets(who)}
    gaps = [squared(encodings, a, n) - squared(encodings, a, p) for a, p, n in triplets_]
    assert float(active(who, mined)) == pytest.approx(np.mean(np.array(gaps) < 0.2), abs=1e-6)
    assert float(found(who, mined)) == pytest.approx(len(semi_hard_triplets(encodings, who).triplets()) / len(pairs))
    assert float(to_positive(who, mined)) == pytest.approx(
        np.mean([squared(encodings, *pair) for pair in pairs]), abs=1e-5
    )
    others = [squared(encodings, a, b) for a in range(12) for b in range(12) if who[a] != who[b]]
    assert float(to_negative(who, mined)) == pytest.approx(np.mean(others), abs=1e-5)


@pytest.mark.parametrize("network", ENCODERS)
def test_encoders_give_numbers_of_unit_length_and_carry_their_scaling(network):
    model = make_encoder(network)
    side = ENCODERS[network][1]
    faces = np.random.default_rng(0).uniform(0, 255, (2, side, side, 3)).astype(np.float32)
    encodings = np.asarray(model(faces))
    assert encodings.shape == (2, 128)
    np.testing.assert_allclose(np.linalg.norm(encodings, axis=1), 1, atol=1e-5)


def test_the_network_has_five_convolutions_with_norm_and_pooling():
    model = make_encoder()
    for kind in (keras.layers.Conv2D, keras.layers.BatchNormalization, keras.layers.MaxPooling2D):
        assert sum(isinstance(layer, kind) for layer in model.layers) == 5
    assert model.input_shape == (None, 160, 160, 3) and model.get_layer("block5_pool").output.shape[1:] == (5, 5, 128)
    with pytest.raises(BadArgument, match="network='six': one of 'five convolutions', 'inception'"):
        make_encoder("six")
    with pytest.raises(BadArgument, match="side=20: at least 32 pixels"):
        make_encoder(side=20)


# ------------------------------------------------------------------------------------------------ training
@pytest.fixture(scope="module")
def parts() -> tuple[PersonFaces, PairFaces]:
    """Few small faces of people who do not exist, and pairs of others."""
    people = find_people("datasets/people.zip")
    learned, validation = split_by_identity(people[people.identity < "p024"], (18, 6))
    return PersonFaces(learned, side=32), PairFaces(make_pairs(validation, 60), side=32)


PLAN = TripletPlan(side=32, epochs=4, batch=32, rate=1e-3, seed=3)
COLUMNS = ["epoch", "loss", "active", "to_positive", "to_negative", "validation_error", "rate"]


@pytest.fixture(scope="module")
def trained(parts, tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained")
    model, history = train_triplets(*parts, PLAN, folder, progress=False, every=2)
    return model, history, folder


def test_a_training_learns_and_keeps_what_it_promises(trained, parts):
    model, history, folder = trained
    assert history.loss.iloc[-1] < history.loss.iloc[0] and history.active.iloc[-1] < history.active.iloc[0]
    assert sorted(path.name for path in folder.iterdir()) == [
        "best.keras", "checkpoint.npz", "epoch_002.keras", "epoch_004.keras", "history.csv"
    ]  # fmt: skip
    assert history.found.eq(1).all()  # random: every pair has a negative
    cosine = 1e-3 * (1 + np.cos(np.pi * np.arange(1, 5) / 4)) / 2
    np.testing.assert_allclose(history.rate, cosine, atol=1e-6)
    from facerec.evaluation import area_under_roc

    area = area_under_roc(parts[1].distances(model), parts[1].same)
    assert 1 - area == pytest.approx(history.validation_error.min(), abs=2e-3)  # the best, not the last


def run_training(folder: str) -> None:
    """What a student's process does, for another one to kill."""
    people = find_people("datasets/people.zip")
    learned, validation = split_by_identity(people[people.identity < "p024"], (18, 6))
    parts = PersonFaces(learned, side=32), PairFaces(make_pairs(validation, 60), side=32)
    train_triplets(*parts, PLAN, folder, progress=False)


@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGKILL")
def test_killed_at_a_random_moment_it_ends_with_the_uninterrupted_curve(trained, parts, tmp_path, kill_in_training):
    exit_code = kill_in_training(run_training, tmp_path, within=0.1)
    assert exit_code == -signal.SIGKILL
    _, history = train_triplets(*parts, PLAN, tmp_path, progress=False)
    pd.testing.assert_frame_equal(history[COLUMNS], trained[1][COLUMNS], rtol=1e-3)


def test_the_second_phase_starts_where_the_first_ended(trained, parts, tmp_path):
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


def test_a_folder_of_other_people_or_pairs_is_not_gone_on_with(trained, parts):
    people = find_people("datasets/people.zip")
    others = PersonFaces(people[people.identity < "p018"], side=32)
    assert len(others) == len(parts[0])
    more = PersonFaces(people[people.identity < "p018"], side=32, per_person=8)
    pairs = PairFaces(make_pairs(people[people.identity > "p200"], 60), side=32)
    for learned, validation, said in (
        (others, parts[1], "begun with people"),
        (more, parts[1], "begun with per_person 4, not 8"),
        (parts[0], pairs, "begun with validation"),
    ):
        with pytest.raises(BadArgument, match=said):
            train_triplets(learned, validation, PLAN, trained[2], progress=False)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_every_optimizer_takes_a_step(parts, optimizer):
    keras.utils.set_random_seed(0)
    rate = {"sgd": 1e-2, "adagrad": 1e-2}.get(optimizer, 3e-4)
    learner = make_learner(make_encoder(side=32), replace(PLAN, optimizer=optimizer, rate=rate), steps=10)
    faces, who = next(iter(parts[0].crowds(32)))
    losses = [learner.train_on_batch([faces, who], who)[0] for _ in range(10)]
    assert np.mean(losses[-3:]) < np.mean(losses[:3]) - 1e-3


def test_in_two_byte_numbers_it_learns_and_keeps_four(parts, tmp_path):
    plan = replace(PLAN, epochs=1, precision="mixed_bfloat16")
    model, history = train_triplets(*parts, plan, tmp_path, progress=False)
    assert {layer.dtype_policy.name for layer in model.layers} == {"float32"} and np.isfinite(history.loss[0])
    assert keras.config.dtype_policy().name == "float32"


# ------------------------------------------------------------------------------------ when it goes wrong
def test_a_training_that_collapses_is_ended_within_an_epoch(parts, tmp_path):
    """A real one: the hardest negatives from the beginning, in long steps."""
    plan = replace(PLAN, mining="hardest", epochs=20, rate=3e-2)
    people = PersonFaces(find_people("datasets/people.zip").head(8 * 160), side=32)
    with pytest.raises(TrainingFailed, match=r"the same: for 10 steps, two people were less than 0.05 apart"):
        train_triplets(people, parts[1], plan, tmp_path, progress=False)
    assert not (tmp_path / "checkpoint.npz").exists()


@pytest.mark.parametrize("mining", MINING)
def test_a_dead_network_is_noticed_in_the_first_epoch_whatever_is_mined(parts, tmp_path, mining):
    """The last dense layer knows nothing but its bias: all distances are 0. An epoch has four steps here."""
    start = make_encoder(side=32)
    kernel, bias = start.get_layer("embedding").get_weights()
    start.get_layer("embedding").set_weights([0 * kernel, bias + 1])
    with pytest.raises(TrainingFailed, match=r"the same: for 4 steps"):
        train_triplets(*parts, replace(PLAN, mining=mining, rate=1e-6), tmp_path, start, progress=False)
    assert [path.name for path in tmp_path.iterdir()] == ["history.csv"]


def test_the_alarm_rings_for_a_collapse_and_for_nothing_else():
    alarm = CollapseAlarm(0.2, steps=3)
    healthy, collapsed = {"to_negative": 0.06}, {"to_negative": 0.04}
    for result in (collapsed, collapsed, healthy, collapsed, collapsed):
        alarm(1, result)
    with pytest.raises(TrainingFailed):
        alarm(2, collapsed)


def test_a_loss_that_is_no_number_ends_the_training_and_keeps_nothing_of_it(parts, tmp_path):
    start = make_encoder(side=32)
    last = start.get_layer("embedding")
    last.set_weights([np.full_like(weight, np.nan) for weight in last.get_weights()])
    with pytest.raises(TrainingFailed, match="the loss of step 1 is nan: try a smaller learning rate"):
        train_triplets(*parts, PLAN, tmp_path, start, progress=False)
    assert [path.name for path in tmp_path.iterdir()] == ["history.csv"]
    assert len(pd.read_csv(tmp_path / "history.csv")) == 0


def test_a_full_disk_leaves_the_last_checkpoint_and_the_training_goes_on_from_it(parts, trained, tmp_path, monkeypatch):
    wrote = []

    def full(stream, **arrays):
        wrote.append(stream)
        if len(wrote) == 2:
            stream.write_bytes(b"half of it")
            raise OSError(28, "No space left on device")
        save(stream, **arrays)

    save = np.savez
    with monkeypatch.context() as patch:
        patch.setattr(checkpoints.np, "savez", full)
        with pytest.raises(TrainingFailed, match="epoch 2 can't be kept in .* .No space left.* goes on after epoch 1"):
            train_triplets(*parts, PLAN, tmp_path, progress=False)
    assert not list(tmp_path.glob(".unfinished*"))
    _, history = train_triplets(*parts, PLAN, tmp_path, progress=False)
    pd.testing.assert_frame_equal(history[COLUMNS], trained[1][COLUMNS], rtol=1e-3)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"mining": "hard"}, "mining='hard': one of 'random', 'semi-hard', 'hardest'"),
        ({"optimizer": "adamw"}, "optimizer='adamw': one of 'rmsprop'"),
        ({"network": "resnet"}, "network='resnet': one of"),
        ({"alpha": 0}, "alpha=0: the margin must be more than 0"),
        ({"frozen": 1.0}, "frozen=1.0: the share of layers"),
        ({"epochs": 0}, "epochs=0, patience=5"),
        ({"patience": 0}, "epochs=4, patience=0"),
        ({"rate": 0.0}, "rate=0.0: a learning rate"),
        ({"rate": float("nan")}, "rate=nan: a learning rate"),
        ({"side": 40}, "side=40: the people have faces of 32 pixels"),
        ({"precision": "float7"}, "precision='float7': one of"),
        (
            {"batch": 80},
            "batch=80: faces of at least 2 people, 4 of each; here are 18 people in 144 pictures, enough .* 72",
        ),
        ({"batch": 30}, "batch=30: faces of at least 2 people, 4 of each"),
        ({"batch": 400}, "batch=400: faces of at least 2 people"),
    ],
)
def test_a_plan_that_makes_no_sense_is_refused_and_named(parts, tmp_path, change, said):
    with pytest.raises(BadArgument, match=said):
        train_triplets(*parts, replace(PLAN, **change), tmp_path, progress=False)
    assert not list(tmp_path.iterdir())  # refused before anything is begun


def test_a_network_of_another_side_is_no_start(parts, tmp_path):
    with pytest.raises(BadArgument, match="side=32: five_convolutions have faces of 64 pixels"):
        train_triplets(*parts, PLAN, tmp_path, make_encoder(side=64), progress=False)


def test_people_with_a_single_picture_are_refused():
    people = find_people("datasets/people.zip")
    with pytest.raises(BadArgument, match="p003 has a single picture: same pairs take at least two"):
        PersonFaces(people[(people.identity < "p003") | people.picture.str.endswith("p003/0.jpg")], side=32)


# ---------------------------------------------------------------------------------------------- fine-tuning
def test_fine_tuning_moves_only_the_last_layers_and_leaves_the_network_that_it_was_given(trained, parts, tmp_path):
    model, _, _ = trained
    before = digest_of(model)
    plan = replace(PLAN, mining="semi-hard", epochs=2, rate=1e-4, frozen=0.6)
    tuned, history = train_triplets(*parts, plan, tmp_path, model, progress=False)
    assert digest_of(model) == before and digest_of(tuned) != before and len(history) == 2
    moved = [
        layer.name
        for layer, was in zip(tuned.layers, model.layers, strict=True)
        if any(not np.array_equal(a, b) for a, b in zip(layer.get_weights(), was.get_weights(), strict=True))
    ]
    names = [layer.name for layer in model.layers if layer.weights]  # five convolutions, each with its norm, and two
    assert moved == names[round(0.6 * 12) :] == ["block4_bn", "block5_conv", "block5_bn", "dense", "embedding"]


def test_fine_tuning_a_shipped_network_gives_one_of_the_same_kind(parts, tmp_path, network):
    people = find_people("datasets/people.zip")
    side = network.input_shape[1]
    learned = PersonFaces(people[people.identity < "p008"], side)
    validation = PairFaces(make_pairs(people[(people.identity >= "p008") & (people.identity < "p014")], 40), side)
    plan = TripletPlan(side=side, alpha=1.5, epochs=1, rate=1e-5, frozen=0.8)  # a margin that costs something
    tuned, _ = fine_tune(network, learned, validation, tmp_path, plan, progress=False)
    assert tuned.input_shape == network.input_shape and tuned.output_shape == network.output_shape
    before, after = (validation.distances(model) for model in (network, tuned))
    assert 0 < np.abs(before - after).max() < 0.5
    assert tuned.facenet.template == network.facenet.template and tuned.facenet.threshold != network.facenet.threshold
    with pytest.raises(BadArgument, match="side=160: the people have faces of 150 pixels"):
        fine_tune(network, learned, validation, tmp_path, TripletPlan(), progress=False)


def test_fine_tuning_that_does_not_help_gives_the_network_back(trained, parts, tmp_path):
    """Same pairs of one and the same picture are at no distance for any network: there is nothing to gain."""
    model, _, _ = trained
    pairs = make_pairs(find_people("datasets/people.zip").tail(8 * 6), 60)
    pairs["picture_2"] = pairs.picture_1.where(pairs.same, pairs.picture_2)
    tuned, history = fine_tune(model, parts[0], PairFaces(pairs, 32), tmp_path, replace(PLAN, epochs=1), progress=False)
    assert len(history) == 1 and digest_of(tuned) == digest_of(model) and tuned is not model


def test_a_few_friends_are_enough_to_fine_tune_with(trained, parts, tmp_path):
    people = find_people("datasets/people.zip")
    friends = PersonFaces(people[people.identity.isin(["p100", "p101", "p102"])], side=32)
    _, history = fine_tune(trained[0], friends, parts[1], tmp_path, progress=False)
    assert 1 <= len(history) <= 10


def test_the_inception_network_learns_from_triplets_too(parts, tmp_path):
    plan = replace(PLAN, network="inception", epochs=1)
    model, history = train_triplets(*parts, plan, tmp_path, progress=False)
    assert model.name == "faceRecoModel" and np.isfinite(history.loss[0])
