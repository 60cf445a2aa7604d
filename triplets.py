"""The triplet loss: an anchor shall be nearer to its positive than to its negative, by a margin.

m is the number of triplets, D the length of an encoding. Distances are squared Euclidean, as in the paper.

Source: Schroff, Kalenichenko and Philbin, "FaceNet: A Unified Embedding for Face Recognition and
Clustering", 2015.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from errors import BadArgument
from quiet import quietly

with quietly():
    from keras import ops

Tensor = Any  # a tensor of whichever backend Keras runs on


def triplet_loss(y_true: Any, y_pred: Sequence[Tensor], alpha: float = 0.2) -> Tensor:
    """Sum over the triplets of max(‖anchor − positive‖² − ‖anchor − negative‖² + alpha, 0).

    Args:
        y_true: Ignored; Keras hands every loss two arguments.
        y_pred: The encodings of anchors, positives and negatives, three tensors (m, D).
        alpha: The margin, 0 or more.

    Returns:
        The loss, a scalar: 0 when every negative is farther than its positive by the margin.

    Raises:
        BadArgument: If ``y_pred`` does not hold three tensors of one shape, or ``alpha`` is negative.

    Example:
        >>> float(triplet_loss(None, [[[0.0, 1.0]], [[0.0, 1.0]], [[1.0, 0.0]]]))
        0.0
        >>> round(float(triplet_loss(None, [[[0.0, 1.0]], [[1.0, 0.0]], [[0.0, 1.0]]])), 4)
        2.2

    Source: The FaceNet paper, equation 3.
    """
    anchor, positive, negative = _three_of_a_shape(y_pred)
    if not alpha >= 0:
        raise BadArgument(f"alpha={alpha!r}: the margin must be 0 or more")
    to_positive = ops.sum(ops.square(anchor - positive), axis=-1)  # (m,)
    to_negative = ops.sum(ops.square(anchor - negative), axis=-1)  # (m,)
    return ops.sum(ops.maximum(to_positive - to_negative + alpha, 0.0))


def _three_of_a_shape(y_pred: Sequence[Tensor]) -> list[Tensor]:
    """The three tensors of a triplet, or what is wrong with them."""
    try:
        tensors = [ops.convert_to_tensor(part) for part in y_pred]
    except (TypeError, ValueError) as error:
        raise BadArgument(f"y_pred must be [anchor, positive, negative], three tensors (m, D): {error}") from error
    shapes = [tuple(tensor.shape) for tensor in tensors]
    if len(tensors) != 3 or len(set(shapes)) != 1 or not shapes[0]:
        raise BadArgument(f"y_pred must be [anchor, positive, negative], three tensors of one shape, not {shapes}")
    return tensors
