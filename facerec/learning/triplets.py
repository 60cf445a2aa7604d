"""The triplet loss, and mining: an anchor should be nearer to its positive than to its negative, by a margin.

    anchor ───── positive ── margin ──|          a negative to the right of | has no loss

A batch holds P people with K faces each. Every two faces of one person are an anchor and a positive. The choice of the
negative decides what is learned: any other person (random), or one that is only a little farther away (semi-hard).

m is the number of faces (or of triplets), D the length of an encoding. Distances are squared Euclidean, as in the
paper: 0 to 4 for encodings of unit length. Mining holds m·m·m numbers at once: little for a batch of 32, half a
gigabyte for 512.

Source: Schroff, Kalenichenko and Philbin, "FaceNet: A Unified Embedding for Face Recognition and Clustering", 2015.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from facerec._quiet import quietly
from facerec.errors import BadArgument

with quietly():
    import keras
    from keras import ops

#: A tensor of the backend that Keras runs on.
Tensor = Any

#: The margin of the FaceNet paper.
ALPHA = 0.2


def triplet_loss(y_true: Any, y_pred: Sequence[Tensor], alpha: float = ALPHA) -> Tensor:
    """The triplet loss: the sum of max(‖anchor − positive‖² − ‖anchor − negative‖² + alpha, 0) over all triplets.

    Args:
        y_true: Ignored; Keras passes two arguments to every loss.
        y_pred: [anchors, positives, negatives], three tensors (m, D) of encodings.
        alpha: The margin, 0 or more.

    Returns:
        The loss, a scalar: 0 if every negative is farther than its positive by at least the margin.

    Raises:
        BadArgument: If ``y_pred`` does not hold three tensors of one shape, or ``alpha`` is negative.

    Example:
        >>> float(triplet_loss(None, [[[0.0, 1.0]], [[0.0, 1.0]], [[1.0, 0.0]]]))
        0.0
        >>> round(float(triplet_loss(None, [[[0.0, 1.0]], [[1.0, 0.0]], [[0.0, 1.0]]])), 4)
        2.2

    Source:
        The FaceNet paper, equation 3.
    """
    anchor, positive, negative = _three_of_a_shape(y_pred)
    if not alpha >= 0:
        raise BadArgument(f"alpha={alpha!r}: the margin must be 0 or more")
    to_positive = ops.sum(ops.square(anchor - positive), axis=-1)  # (m,)
    to_negative = ops.sum(ops.square(anchor - negative), axis=-1)  # (m,)
    return ops.sum(ops.maximum(to_positive - to_negative + alpha, 0.0))


def _three_of_a_shape(y_pred: Sequence[Tensor]) -> list[Tensor]:
    """The three tensors of ``y_pred``; refuses anything else."""
    try:
        tensors = [ops.convert_to_tensor(part) for part in y_pred]
    except (TypeError, ValueError) as error:
        raise BadArgument(f"y_pred must be [anchor, positive, negative], three tensors (m, D): {error}") from error
    shapes = [tuple(tensor.shape) for tensor in tensors]
    if len(tensors) != 3 or len(set(shapes)) != 1 or not shapes[0]:
        raise BadArgument(f"y_pred must be [anchor, positive, negative], three tensors of one shape, not {shapes}")
    return _as_floats(tensors)


def _as_floats(tensors: Sequence[Tensor]) -> list[Tensor]:
    """Tensors as floating-point numbers of one kind, the most precise among them."""
    kind = keras.backend.result_type(*(tensor.dtype for tensor in tensors), float)
    return [ops.cast(tensor, kind) for tensor in tensors]


class Mined(NamedTuple):
    """A negative for every pair of faces of one person.

    Attributes:
        negative: (m, m) int: the negative for the row's face as the anchor and the column's as the positive.
        valid: (m, m) bool: whether row, column and negative are a triplet.
    """

    negative: Tensor
    valid: Tensor

    def triplets(self) -> np.ndarray:
        """The valid triplets as rows of (anchor, positive, negative), (t, 3)."""
        valid = ops.convert_to_numpy(self.valid)
        anchor, positive = np.nonzero(valid)
        return np.stack([anchor, positive, ops.convert_to_numpy(self.negative)[valid]], axis=1)


def squared_distances(encodings: Tensor) -> Tensor:
    """The squared Euclidean distances between all encodings: (m, D) → (m, m).

    Example:
        >>> ops.convert_to_numpy(squared_distances([[0.0, 1.0], [1.0, 0.0]])).tolist()
        [[0.0, 2.0], [2.0, 0.0]]
    """
    (encodings,) = _as_floats([ops.convert_to_tensor(encodings)])
    lengths = ops.sum(ops.square(encodings), axis=1)  # (m,)
    products = ops.matmul(encodings, ops.transpose(encodings))  # (m, m)
    return ops.maximum(lengths[:, None] + lengths[None] - 2 * products, 0.0)


def same_person(who: Tensor) -> Tensor:
    """Which faces show the same person: (m,) → (m, m) bool; True on the diagonal.

    Example:
        >>> ops.convert_to_numpy(same_person([7, 7, 2])).tolist()
        [[True, True, False], [True, True, False], [False, False, True]]
    """
    who = ops.convert_to_tensor(who)
    return ops.equal(who[:, None], who[None])


def pairs_of(who: Tensor) -> Tensor:
    """Which two faces are an anchor and a positive: (m,) → (m, m) bool; False on the diagonal.

    Example:
        >>> ops.convert_to_numpy(pairs_of([7, 7, 2])).tolist()
        [[False, True, False], [True, False, False], [False, False, False]]
    """
    same = same_person(who)
    return ops.logical_and(same, ops.logical_not(ops.eye(ops.shape(same)[0], dtype="bool")))


def random_triplets(who: Tensor, seed: int | keras.random.SeedGenerator | None = None) -> Mined:
    """Mine a random negative for every anchor and positive: any face of another person, all equally likely.

    Args:
        who: The person in each face, (m,).
        seed: Seed of the choice.

    Returns:
        A negative for every two faces of one person.
    """
    other = ops.logical_not(same_person(who))  # (m, m)
    m = ops.shape(other)[0]
    chance = keras.random.uniform((m, m, m), seed=seed)
    negative = ops.argmax(ops.where(other[:, None], chance, -1.0), axis=2)
    return Mined(negative, ops.logical_and(pairs_of(who), ops.any(other, axis=1, keepdims=True)))


def semi_hard_triplets(encodings: Tensor, who: Tensor, alpha: float = ALPHA) -> Mined:
    """Mine a semi-hard negative for every anchor and positive: the nearest that is farther, by less than α.

    Args:
        encodings: (m, D).
        who: The person in each face, (m,).
        alpha: The margin.

    Returns:
        A negative n with d(a, p) < d(a, n) < d(a, p) + α where the batch holds one; elsewhere not valid.

    Source:
        The FaceNet paper, section 3.2, equation 4.
    """
    distances = squared_distances(encodings)
    to_positive, to_negative = distances[:, :, None], distances[:, None]  # (m, m, 1), (m, 1, m)
    farther = ops.logical_and(to_negative > to_positive, to_negative < to_positive + alpha)
    return _nearest(distances, ops.logical_and(farther, ops.logical_not(same_person(who))[:, None]), who)


def hardest_triplets(encodings: Tensor, who: Tensor) -> Mined:
    """Mine the hardest negative for every anchor and positive: the nearest face of another person.

    The paper warns of these: early in training they can collapse all encodings into one point.

    Args:
        encodings: (m, D).
        who: The person in each face, (m,).

    Returns:
        A negative for every two faces of one person.
    """
    other = ops.logical_not(same_person(who))
    candidates = ops.logical_and(other[:, None], ops.ones_like(other)[:, :, None])  # (m, m, m)
    return _nearest(squared_distances(encodings), candidates, who)


def _nearest(distances: Tensor, candidates: Tensor, who: Tensor) -> Mined:
    """The nearest candidate of each anchor and positive; distances (m, m), candidates (m, m, m) bool."""
    negative = ops.argmin(ops.where(candidates, distances[:, None], np.inf), axis=2)
    return Mined(negative, ops.logical_and(pairs_of(who), ops.any(candidates, axis=2)))


def all_triplets(distances: Tensor, who: Tensor, alpha: float = ALPHA) -> tuple[Tensor, Tensor]:
    """Take every negative of each anchor and positive that has a loss, instead of mining one.

    Args:
        distances: Squared, (m, m).
        who: The person in each face, (m,).
        alpha: The margin.

    Returns:
        loss: (m, m): the mean of max(d(a, p) − d(a, n) + α, 0) over the negatives n where it is above 0.
        valid: (m, m) bool: the anchors and positives that have such a negative.

    Source:
        Hermans, Beyer and Leibe, "In Defense of the Triplet Loss for Person Re-Identification", 2017, "batch all".
    """
    other = ops.cast(ops.logical_not(same_person(who)), "float32")
    losses = ops.maximum(distances[:, :, None] - distances[:, None] + alpha, 0.0) * other[:, None]  # (m, m, m)
    count = ops.sum(ops.cast(losses > 0, "float32"), axis=2)
    return ops.sum(losses, axis=2) / ops.maximum(count, 1.0), ops.logical_and(pairs_of(who), count > 0)


def active_shares(distances: Tensor, who: Tensor, alpha: float = ALPHA) -> Tensor:
    """For each anchor and positive, the share of all possible negatives with a loss above 0.

    Args:
        distances: Squared, (m, m).
        who: The person in each face, (m,).
        alpha: The margin.

    Returns:
        (m, m) in 0..1: the share of negatives n with d(a, n) < d(a, p) + α.
    """
    other = ops.cast(ops.logical_not(same_person(who)), "float32")
    close = ops.cast(distances[:, None] < distances[:, :, None] + alpha, "float32")  # (m, m, m)
    return ops.sum(close * other[:, None], axis=2) / ops.maximum(ops.sum(other, axis=1, keepdims=True), 1.0)


def kinds_of_triplets(encodings: Tensor, who: Tensor, alpha: float = ALPHA) -> dict[str, float]:
    """The shares of easy, semi-hard and hard triplets among all triplets of a batch.

    Args:
        encodings: (m, D).
        who: The person in each face, (m,).
        alpha: The margin.

    Returns:
        The shares, which add up to 1. ``easy``: the negative is farther than the positive by α or more, and nothing is
        learned from it; ``semi-hard``: it is farther by less than α; ``hard``: it is not farther.

    Raises:
        BadArgument: If the batch holds no triplets.

    Example:
        >>> kinds_of_triplets([[0.0, 1.0], [0.0, 1.0], [1.0, 0.0]], [0, 0, 1])
        {'easy': 1.0, 'semi-hard': 0.0, 'hard': 0.0}
    """
    distances = ops.convert_to_numpy(squared_distances(encodings))
    anchor, positive = np.nonzero(ops.convert_to_numpy(pairs_of(who)))
    other = ~ops.convert_to_numpy(same_person(who))[anchor]  # (t, m): a row per anchor and positive
    if not other.any():
        raise BadArgument(
            f"who={np.asarray(who).tolist()}: no triplets; two faces of one person and one of another are needed"
        )
    farther = (distances[anchor] - distances[anchor, positive][:, None])[other]
    shares = {"easy": farther >= alpha, "semi-hard": (farther > 0) & (farther < alpha), "hard": farther <= 0}
    return {kind: float(share.mean()) for kind, share in shares.items()}
