"""Checks of an Inception block, and of the count of its weights."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from facerec.course.verdict import call, explain, short, well_done
from facerec.errors import NotYet

#: Input shapes, and the branches over them: one, (few, three), (few, five), pool_filters.
BLOCKS = (((8, 8, 20), (4, (7, 8), (2, 3), 5)), ((12, 12, 192), (64, (96, 128), (16, 32), 32)))


# ------------------------------------------------------------------------------------------------ the block
def inception_block(function: Callable) -> None:
    """Check exercise 5a: ``inception_block(x, one, three, five, pool_filters)``, a Keras tensor.

    Raises:
        NotYet: If it is not right; the message says what is missing.
    """
    for shape, branches in BLOCKS:
        model = _built(function, shape, branches)
        _check_shape(tuple(model.output.shape[1:]), shape, branches)
        _check_layers(model, branches)
        _check_order(model, shape)
        if model.count_params() != count(shape[2], *branches):
            raise NotYet(f"a block over {shape} must have {count(shape[2], *branches):,} weights; yours has "
                         f"{model.count_params():,}")  # fmt: skip
    well_done("inception_block is right: four branches of the same height and width, stacked in the channels")


def _built(function: Callable, shape: tuple, branches: tuple) -> Any:
    """The model of a student's block over an input."""
    from facerec._quiet import quietly

    with quietly():
        import keras

    x = keras.Input(shape)
    try:
        y = call(function, x, *branches)
    except NotYet as error:
        cause = str(error.__cause__)  # what Keras says; the student's line may name any layer
        if "list of at least 1 input" in cause:
            raise NotYet("give Concatenate a list: layers.Concatenate()([…])") from error
        if "incompatible shapes" in cause:
            raise NotYet("the four are stacked in the channels, not added up: layers.Concatenate()([…])") from error
        if "'tuple'" in cause:
            raise NotYet(f"{error}. `three` and `five` are pairs: few, filters = three") from error
        if "matching shapes" in cause:
            raise NotYet("the branches differ in height or width: every convolution needs padding='same', the pooling "
                         "strides=1 and padding='same', and Concatenate the last axis") from error  # fmt: skip
        raise
    if isinstance(y, keras.Layer):
        raise NotYet("that is a layer without an input: the first brackets make it, and the second give it what it "
                     "stacks, layers.Concatenate()([…])")  # fmt: skip
    if isinstance(y, list | tuple) or not hasattr(y, "shape"):
        raise NotYet("return one tensor: stack the branches with layers.Concatenate()")
    return keras.Model(x, y)


def _check_shape(given: tuple, shape: tuple, branches: tuple) -> None:
    """Refuse a block whose output has another shape than the course's."""
    one, (few_three, three), (few_five, five), pool = branches
    height, width, channels = shape
    total = one + three + five + pool
    wrong = {
        "the picture got smaller: every convolution needs padding='same', the pooling strides=1 and padding='same'": (
            given if given[:2] != (height, width) else None
        ),
        "the 1×1 branch is missing": (height, width, total - one),
        "the 3×3 branch is missing": (height, width, total - three),
        "the 5×5 branch is missing": (height, width, total - five),
        "the branch with the pooling is missing": (height, width, total - pool),
        "after the pooling comes a 1×1 convolution, which leaves pool_filters channels": (
            height,
            width,
            total - pool + channels,
        ),
        "only the last branch comes out: each of the four begins at x, and Concatenate stacks them": (
            height,
            width,
            pool,
        ),
        "`three` and `five` are (few, filters): the 1×1 convolution takes `few`, the window `filters`": (
            height,
            width,
            one + few_three + few_five + pool,
        ),
    }
    right = (height, width, total)
    explain(given, right, wrong, f"over {shape} the output must be {right}; yours is {given}", lambda x, y: x == y)


def _check_layers(model: Any, branches: tuple) -> None:
    """Refuse a block whose layers are not a convolution without bias, batch normalisation and ReLU, six times."""
    from keras import layers

    kinds = [type(layer) for layer in model.layers]
    windows = [layer for layer in model.layers if isinstance(layer, layers.Conv2D)]
    into = {size: [w.input.shape[-1] for w in windows if w.kernel_size == (size, size)] for size in (1, 3, 5)}
    _, (few_three, _), (few_five, _), _ = branches
    missing = [size for size in (3, 5) if not into[size]]
    if missing:
        raise NotYet(f"no convolution of yours has a window of {missing[0]}×{missing[0]}")
    if into[3] != [few_three] or into[5] != [few_five]:
        raise NotYet("a 1×1 convolution in front of the 3×3 and of the 5×5 window squeezes the channels into `few`; "
                     f"yours look at {into[3]} and {into[5]} channels, not at {few_three} and {few_five}")  # fmt: skip
    if layers.MaxPooling2D not in kinds:
        raise NotYet("the fourth branch begins with layers.MaxPooling2D")
    pooling, channels = model.layers[kinds.index(layers.MaxPooling2D)], model.input.shape[-1]
    if pooling.input.shape[-1] != channels:
        raise NotYet(f"the pooling looks at x itself, and then comes its 1×1 convolution; yours looks at "
                     f"{pooling.input.shape[-1]} channels instead of {channels}")  # fmt: skip
    if tuple(pooling.pool_size) != (3, 3):
        raise NotYet(f"the pooling looks at 3×3 pixels; yours at {pooling.pool_size[0]}×{pooling.pool_size[1]}")
    others = [seen for seen in into[1] if seen != channels]
    if others:
        raise NotYet(f"each branch begins at x, with {channels} channels; a 1×1 convolution of yours looks at "
                     f"{others[0]}")  # fmt: skip
    if any(window.use_bias for window in windows):
        raise NotYet("leave the bias out (use_bias=False): batch normalisation brings its own")
    if kinds.count(layers.BatchNormalization) != len(windows):
        raise NotYet(f"each of the {len(windows)} convolutions is followed by its own batch normalisation; yours has "
                     f"{kinds.count(layers.BatchNormalization)}")  # fmt: skip


def _check_order(model: Any, shape: tuple) -> None:
    """Refuse a block that can return negative numbers: ReLU comes last, after batch normalisation."""
    from keras import layers, ops

    for layer in model.layers:
        if isinstance(layer, layers.BatchNormalization):
            layer.beta.assign(-ops.ones_like(layer.beta))
    if float(ops.min(model(ops.ones((1, *shape))))) < 0:
        raise NotYet("a block returns nothing below 0: a ReLU comes last, after each batch normalisation")


# ------------------------------------------------------------------------------------------------ its weights
def count(
    channels: int, one: int, three: tuple[int, int], five: tuple[int, int], pool: int,
    bias: int = 0, norm: int = 4, area: int = 2, pooled: bool = True, squeeze: bool = True, wide: bool = False,
) -> int:  # fmt: skip
    """The weights of a block, or what a mistake makes of them.

    Args:
        channels: Of the input.
        one: Filters of the 1×1 branch.
        three: (few, filters) of the 3×3 branch.
        five: (few, filters) of the 5×5 branch.
        pool: Filters after the pooling.
        bias: Weights of a convolution's bias, per filter.
        norm: Weights of batch normalisation, per filter.
        area: The exponent of a window's side.
        pooled: Whether the convolution after the pooling counts.
        squeeze: Whether the convolutions in front of the windows count.
        wide: Whether the windows look at all channels of the input instead of few.

    Returns:
        A number.
    """
    convolutions = [(1, channels, one), (3, channels if wide else three[0], three[1])]
    convolutions += [(5, channels if wide else five[0], five[1])]
    convolutions += [(1, channels, three[0]), (1, channels, five[0])] if squeeze else []
    convolutions += [(1, channels, pool)] if pooled else []
    return sum(side**area * few * many + (bias + norm) * many for side, few, many in convolutions)


def count_weights(function: Callable) -> None:
    """Check exercise 5b: ``count_weights(channels, one, three, five, pool_filters)``.

    Raises:
        NotYet: If it is not right; the message says what is missing.

    Example:
        >>> count_weights(lambda *block: count(*block, norm=2))
        Traceback (most recent call last):
        facerec.errors.NotYet: batch normalisation has four weights per filter, of which two are learned
    """
    for shape, branches in BLOCKS:
        block = (shape[2], *branches)
        wrong = {
            "batch normalisation has weights, too: four per filter": count(*block, norm=0),
            "batch normalisation has four weights per filter, of which two are learned": count(*block, norm=2),
            "there is no bias (use_bias=False): batch normalisation brings its own": count(*block, bias=1),
            "there is no bias, but batch normalisation has four weights per filter": count(*block, bias=1, norm=0),
            "a window of side k looks at k × k pixels: take the side squared": count(*block, area=1),
            "a window looks at several pixels: a filter of side k has k × k weights for each channel": count(
                *block, area=0
            ),
            "the 1×1 convolution after the pooling is missing": count(*block, pooled=False),
            "the 1×1 convolutions in front of the windows are missing": count(*block, squeeze=False),
            "the windows look at `few` channels, which the 1×1 in front of them leaves; yours look at all": count(
                *block, wide=True
            ),
            "batch normalisation has four weights for each filter; you counted four for each convolution": count(
                *block, norm=0
            )
            + 6 * 4,
            "a max-pooling has no weights, and the convolution after it is 1×1": count(*block)
            + 8 * shape[2] * branches[3],
        }
        value = call(function, *block)
        explain(
            value, count(*block), wrong,
            "for each convolution: side² × channels in × filters, and four per filter; "
            f"count_weights{block} is {count(*block):,}, and yours says {short(value)}",
        )  # fmt: skip
    well_done("count_weights is right, and agrees with Keras")
