"""The triplet loss against the course's value, plain NumPy, and finite differences."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from errors import BadArgument
from triplets import triplet_loss


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
