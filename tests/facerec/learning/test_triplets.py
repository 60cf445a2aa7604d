"""The triplet loss against the course, NumPy and finite differences; mining against its definitions."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from facerec.errors import BadArgument
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
from tests.facerec.learning.crowds import all_triplets, crowd, numpy_loss, squared


def triplets(m: int = 40, size: int = 6, seed: int = 0) -> list[np.ndarray]:
    """Anchors, positives and negatives (m, size) of which some triplets are easy and some are not."""
    return list(np.random.default_rng(seed).normal(size=(3, m, size)))


def test_triplet_loss_gives_the_courses_check_value():
    """527.2598: TensorFlow's generator with the course's seeds, so it holds on every machine."""
    tf.random.set_seed(1)
    y_pred = [tf.random.normal([3, 128], mean=m, stddev=s, seed=1) for m, s in [(6, 0.1), (1, 1), (3, 4)]]
    assert float(triplet_loss([None, None, None], y_pred)) == pytest.approx(527.2598, abs=1e-3)


@pytest.mark.parametrize("alpha", [0, 0.2, 1.5, 10])
@pytest.mark.parametrize("m", [0, 1, 2, 40])
def test_triplet_loss_agrees_with_plain_numpy(m, alpha):
    y_pred = triplets(m, seed=m)
    assert float(triplet_loss(None, y_pred, alpha)) == pytest.approx(numpy_loss(*y_pred, alpha), rel=1e-5)


def test_triplet_loss_has_the_default_margin_of_the_course():
    y_pred = triplets()
    assert float(triplet_loss(None, y_pred)) == pytest.approx(numpy_loss(*y_pred, alpha=0.2), rel=1e-5)


@pytest.mark.parametrize("place", range(3), ids=["anchor", "positive", "negative"])
def test_triplet_loss_gradient_agrees_with_finite_differences(place):
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


def test_easy_triplets_have_no_loss_and_no_gradient():
    """The negative is farther than the positive by more than the margin: no loss, no gradient."""
    anchor = tf.Variable(np.eye(3, 8))
    with tf.GradientTape() as tape:
        loss = triplet_loss(None, [anchor, anchor + 0.01, anchor + 5.0])
    assert float(loss) == 0 and not tape.gradient(loss, anchor).numpy().any()


def test_triplet_loss_starts_exactly_at_the_margin():
    """Squared distances 0 and d²: the loss is alpha − d², until that is 0."""
    anchor = np.zeros((1, 2))
    for d, expected in [(0, 0.25), (0.3, 0.16), (0.5, 0.0), (0.6, 0.0)]:
        loss = triplet_loss(None, [anchor, anchor, anchor + [d, 0]], alpha=0.25)
        assert float(loss) == pytest.approx(expected, abs=1e-6)


def test_triplet_loss_sums_over_triplets():
    y_pred = triplets(7)
    twice = [np.concatenate([part, part]) for part in y_pred]
    assert float(triplet_loss(None, twice)) == pytest.approx(2 * float(triplet_loss(None, y_pred)), rel=1e-5)


@pytest.mark.parametrize(
    "wrap",
    [list, tuple, np.stack, tf.constant, lambda parts: [part.tolist() for part in parts]],
    ids=["list", "tuple", "array", "tensor", "lists of numbers"],
)
def test_triplet_loss_takes_three_encodings_in_any_container(wrap):
    y_pred = triplets()
    assert float(triplet_loss(None, wrap(y_pred))) == pytest.approx(numpy_loss(*y_pred), rel=1e-5)


def test_triplet_loss_runs_inside_a_compiled_function():
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
def test_triplet_loss_rejects_anything_but_three_encodings(y_pred):
    with pytest.raises(BadArgument, match=r"y_pred must be \[anchor, positive, negative\]"):
        triplet_loss(None, y_pred)


@pytest.mark.parametrize("alpha", [-0.1, float("nan")])
def test_triplet_loss_rejects_a_negative_margin(alpha):
    with pytest.raises(BadArgument, match="alpha=.*the margin must be 0 or more"):
        triplet_loss(None, triplets(), alpha)


SEEDS = range(3)


@pytest.mark.parametrize("seed", SEEDS)
def test_squared_distances_agree_with_plain_numpy(seed):
    encodings, _ = crowd(seed)
    expected = [[squared(encodings, a, b) for b in range(12)] for a in range(12)]
    np.testing.assert_allclose(squared_distances(encodings), expected, atol=1e-5)
    assert np.asarray(squared_distances(encodings)).min() >= 0


@pytest.mark.parametrize("seed", SEEDS)
def test_random_mining_finds_a_negative_for_every_pair(seed):
    _, who = crowd(seed)
    rows = random_triplets(who, seed).triplets()
    allowed = all_triplets(who)
    assert {tuple(row) for row in rows.tolist()} <= set(allowed)
    assert sorted(map(tuple, rows[:, :2].tolist())) == sorted({(a, p) for a, p, _ in allowed})


def test_random_mining_draws_all_negatives_equally_often():
    """Of every anchor: each has 25 positives, and a negative is drawn for each of them on its own."""
    who = np.array([*[0] * 26, 1, 1, 2])
    rows = np.concatenate([random_triplets(who, seed).triplets() for seed in range(24)])
    rows = rows[rows[:, 0] < 26]
    counts = np.zeros((26, 29), int)
    np.add.at(counts, (rows[:, 0], rows[:, 2]), 1)
    assert not counts[:, :26].any() and (counts.sum(axis=1) == 600).all()
    assert (np.abs(counts[:, 26:] - 200) < 60).all()  # five standard deviations
    draws = rows[:, 2].reshape(24, -1)
    assert len({tuple(draw) for draw in draws}) == 24  # another seed, other triplets


@pytest.mark.parametrize("alpha", [0.05, 0.2, 0.8])
@pytest.mark.parametrize("seed", SEEDS)
def test_semi_hard_mining_finds_exactly_what_the_definition_says(seed, alpha):
    encodings, who = crowd(seed)
    nearest: dict[tuple[int, int], tuple[float, int]] = {}
    for a, p, n in all_triplets(who):
        to_p, to_n = squared(encodings, a, p), squared(encodings, a, n)
        if to_p < to_n < to_p + alpha:
            nearest[a, p] = min(nearest.get((a, p), (9.0, -1)), (to_n, n))
    rows = semi_hard_triplets(encodings, who, alpha).triplets()
    assert {(a, p): n for a, p, n in rows.tolist()} == {pair: n for pair, (_, n) in nearest.items()}


def test_semi_hard_mining_finds_some_but_not_all_pairs():
    counts = [len(semi_hard_triplets(*crowd(seed), 0.2).triplets()) for seed in SEEDS]
    assert min(counts) > 0 and max(counts) < 24  # some of the 24 pairs, not all


@pytest.mark.parametrize("seed", SEEDS)
def test_hardest_mining_finds_the_nearest_other_person(seed):
    encodings, who = crowd(seed)
    rows = hardest_triplets(encodings, who).triplets()
    assert len(rows) == 24
    for a, p, n in rows.tolist():
        others = [squared(encodings, a, other) for other in np.flatnonzero(who != who[a])]
        assert who[p] == who[a] and squared(encodings, a, n) == pytest.approx(min(others), abs=1e-6)


@pytest.mark.parametrize("seed", SEEDS)
def test_kinds_and_active_shares_agree_with_counting(seed):
    encodings, who = crowd(seed)
    gaps = np.array([squared(encodings, a, n) - squared(encodings, a, p) for a, p, n in all_triplets(who)])
    kinds = kinds_of_triplets(encodings, who, 0.2)
    expected = {"easy": gaps >= 0.2, "semi-hard": (gaps > 0) & (gaps < 0.2), "hard": gaps <= 0}
    assert kinds == pytest.approx({kind: share.mean() for kind, share in expected.items()}, abs=1e-6)
    shares = np.asarray(active_shares(squared_distances(encodings), who, 0.2))
    assert shares[np.asarray(pairs_of(who))].mean() == pytest.approx((gaps < 0.2).mean(), abs=1e-6)


def test_identical_encodings_are_hard_and_never_semi_hard():
    encodings, who = np.ones((4, 2), np.float32), np.array([0, 0, 1, 1])
    assert kinds_of_triplets(encodings, who)["hard"] == 1.0
    assert len(semi_hard_triplets(encodings, who).triplets()) == 0


def test_mining_finds_no_triplets_without_a_second_person():
    encodings, _ = crowd(0, people=1)
    for mined in (random_triplets(np.zeros(3), 0), semi_hard_triplets(encodings, np.zeros(3))):
        assert len(mined.triplets()) == 0
    with pytest.raises(BadArgument, match="no triplets; two faces of one person and one of another"):
        kinds_of_triplets(encodings, [0, 0, 0])
    with pytest.raises(BadArgument, match="no triplets"):
        kinds_of_triplets(encodings, [0, 1, 2])


@pytest.mark.skipif(importlib.util.find_spec("jax") is None, reason="jax is not installed")
def test_mining_runs_on_jax():
    """The same miners with JAX below Keras, in a process of its own."""
    program = (
        "import keras, numpy as np;"
        "from facerec.learning.triplets import random_triplets, semi_hard_triplets;"
        "assert keras.backend.backend() == 'jax'; rng = np.random.default_rng(0);"
        "e = rng.normal(size=(8, 4)).astype('float32'); who = np.repeat(range(4), 2);"
        "print(semi_hard_triplets(e, who, 3.0).triplets().tolist(), len(random_triplets(who, 1).triplets()))"
    )
    env = {**os.environ, "KERAS_BACKEND": "jax"}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=env, check=True)
    encodings = np.random.default_rng(0).normal(size=(8, 4)).astype("float32")
    here = semi_hard_triplets(encodings, np.repeat(range(4), 2), 3.0).triplets().tolist()
    assert len(here) > 2 and done.stdout.split("\n")[0] == f"{here} 8"
