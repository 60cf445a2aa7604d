"""The Inception networks, block by block: architecture only, in standard Keras layers.

* :func:`faceRecoModel`, the small FaceNet: 96×96 pixels, 3.7 million parameters, after OpenFace's nn4.small2.
* :func:`InceptionResNetV1`, the later and larger one: 160×160 pixels, 22.8 million parameters, with the layer names
  of the network whose weights many courses hand out.

An Inception block looks at the same picture through several windows at once and stacks the results in the channels:

          ┌─ 1×1 ─► 3×3 ──┐
    x ────┼─ 1×1 ─► 5×5 ──┼─► concatenate
          ├─ pool ─► 1×1 ─┤
          └─ 1×1 ─────────┘

The 1×1 convolution in front of a wide window reduces the channels first, which saves most of the arithmetic.
"""

from __future__ import annotations

from typing import NamedTuple

import keras
from keras import layers


class Inception(NamedTuple):
    """The branches of one Inception block; a branch with 0 filters is left out.

    Args:
        one: Filters of the 1×1 branch.
        three: Filters of the 3×3 branch: of the 1×1 reduction, then of the 3×3 convolution.
        five: The same for the 5×5 branch.
        pool: ``"max"`` or ``"average"``: the kind of pooling over 3×3 pixels.
        pool_filters: Filters of the 1×1 convolution after the pooling; 0 passes the pooled channels on.
        strides: 2 halves the picture.
    """

    one: int
    three: tuple[int, int]
    five: tuple[int, int]
    pool: str
    pool_filters: int
    strides: int = 1


#: The small network's blocks, from input to output. Beside each: its output shape for 96×96 faces.
BLOCKS = {
    "3a": Inception(64, (96, 128), (16, 32), "max", 32),  #                   (m, 12, 12, 256)
    "3b": Inception(64, (96, 128), (32, 64), "average", 64),  #               (m, 12, 12, 320)
    "3c": Inception(0, (128, 256), (32, 64), "max", 0, strides=2),  #         (m, 6, 6, 640)
    "4a": Inception(256, (96, 192), (32, 64), "average", 128),  #             (m, 6, 6, 640)
    "4e": Inception(0, (160, 256), (64, 128), "max", 0, strides=2),  #        (m, 3, 3, 1024)
    "5a": Inception(256, (96, 384), (0, 0), "average", 96),  #                (m, 3, 3, 736)
    "5b": Inception(256, (96, 384), (0, 0), "max", 96),  #                    (m, 3, 3, 736)
}

POOLINGS = {"max": layers.MaxPooling2D, "average": layers.AveragePooling2D}


def conv_bn_relu(x, filters: int, size: int, name: str, number: str = "", strides: int = 1):
    """A convolution, batch normalisation and ReLU, named ``{name}_conv{number}``, ``_bn…`` and ``_relu…``.

    The convolution has no bias: batch normalisation brings its own.
    """
    conv_name = f"{name}_conv{number}"
    x = layers.Conv2D(filters, size, strides=strides, padding="same", use_bias=False, name=conv_name)(x)
    x = layers.BatchNormalization(epsilon=1e-3, momentum=0.99, name=f"{name}_bn{number}")(x)
    return layers.ReLU(name=f"{name}_relu{number}")(x)


def inception_block(x, block: Inception, name: str):
    """One Inception block: up to four branches over the same input, stacked in the channels.

    Args:
        x: (m, H, W, C).
        block: The branches: a row of :data:`BLOCKS`.
        name: The prefix of all layer names, for example ``"inception_3a"``.

    Returns:
        (m, H, W, C') or, with strides 2, (m, H/2, W/2, C').

    Source:
        Szegedy et al., "Going deeper with convolutions", 2015, figure 2b.
    """
    branches = []
    for size, (reduced, filters) in ((3, block.three), (5, block.five)):
        if filters:
            y = conv_bn_relu(x, reduced, 1, f"{name}_{size}x{size}", "1")
            y = conv_bn_relu(y, filters, size, f"{name}_{size}x{size}", "2", block.strides)
            branches.append(y)
    pooling = POOLINGS[block.pool]
    y = pooling(3, strides=block.strides, padding="same", name=f"{name}_pool")(x)
    if block.pool_filters:
        y = conv_bn_relu(y, block.pool_filters, 1, f"{name}_pool")
    branches.append(y)
    if block.one:
        branches.append(conv_bn_relu(x, block.one, 1, f"{name}_1x1"))
    return layers.Concatenate(name=name)(branches)


def faceRecoModel(
    input_shape: tuple[int, int, int] = (96, 96, 3), dimension: int = 128, blocks: dict[str, Inception] = BLOCKS
) -> keras.Model:
    """Build the small Inception FaceNet: a face becomes 128 numbers of unit length.

    Args:
        input_shape: (S, S, 3) with S of at least 32. Faces are RGB in 0..255; the network scales them itself.
        dimension: How many numbers an encoding has.
        blocks: The Inception blocks by their names, from input to output; wider ones make a larger network.

    Returns:
        A ``keras.Model`` (m, S, S, 3) → (m, dimension), with untrained weights.

    Raises:
        ValueError: If ``input_shape`` is not (S, S, 3) with S of at least 32.

    Example:
        >>> faceRecoModel(input_shape=(96, 96, 3)).output_shape
        (None, 128)

    Source:
        Schroff et al., "FaceNet", 2015 (NN4), in the size of OpenFace's nn4.small2. Average pooling replaces its L2
        pooling, batch normalisation its local response normalisation, and each padding is "same".
    """
    if len(input_shape) != 3 or min(input_shape[:2]) < 32 or input_shape[2] != 3:
        raise ValueError(f"input_shape {input_shape!r}: expected (S, S, 3) with S of at least 32")
    faces = keras.Input(input_shape, name="faces")
    x = layers.Rescaling(1 / 127.5, offset=-1.0, name="scaling")(faces)  #     (m, 96, 96, 3)   in -1..1
    x = conv_bn_relu(x, 64, 7, "stem", "1", strides=2)  #                      (m, 48, 48, 64)
    x = layers.MaxPooling2D(3, strides=2, padding="same", name="stem_pool1")(x)  # (m, 24, 24, 64)
    x = conv_bn_relu(x, 64, 1, "stem", "2")  #                                 (m, 24, 24, 64)
    x = conv_bn_relu(x, 192, 3, "stem", "3")  #                                (m, 24, 24, 192)
    x = layers.MaxPooling2D(3, strides=2, padding="same", name="stem_pool2")(x)  # (m, 12, 12, 192)
    for name, block in blocks.items():
        x = inception_block(x, block, f"inception_{name}")  # shapes: see BLOCKS
    x = layers.GlobalAveragePooling2D(name="average", dtype="float32")(x)  #   (m, 736)
    x = layers.Dense(dimension, name="centred", dtype="float32")(x)  #         (m, 128)         calibrated by its bias
    x = layers.UnitNormalization(name="encoding", dtype="float32")(x)  #       (m, 128)         unit length
    return keras.Model(faces, x, name="faceRecoModel")


class Stage(NamedTuple):
    """One row of a table or diagram of a network: a stage's name, output shape without m, and parameters."""

    name: str
    shape: tuple[int, ...]
    parameters: int


def stages_of(model: keras.Model) -> list[Stage]:
    """List the stages of ``faceRecoModel``, from the face to the encoding; the layers of a block are one stage.

    Args:
        model: A network of ``faceRecoModel``, with its batch normalisation or with it folded away.

    Returns:
        A row per stage; the parameters add up to the network's.

    Example:
        >>> [stage.name for stage in stages_of(faceRecoModel())]
        ['faces', 'stem', '3a', '3b', '3c', '4a', '4e', '5a', '5b', 'average', 'centred', 'encoding']
        >>> stages_of(faceRecoModel())[2]
        Stage(name='3a', shape=(12, 12, 256), parameters=164800)
    """
    shapes: dict[str, tuple[int, ...]] = {}
    parameters: dict[str, int] = {}
    for layer in model.layers:
        name = layer.name.removeprefix("inception_").split("_")[0]
        name = "stem" if name == "scaling" else name
        shapes[name] = tuple(layer.output.shape[1:])  # the stage's last layer comes last
        parameters[name] = parameters.get(name, 0) + layer.count_params()
    return [Stage(name, shape, parameters[name]) for name, shape in shapes.items()]


class Conv(NamedTuple):
    """One convolution of a branch: filters, kernel (rows, columns), strides; with strides 2 it has no padding."""

    filters: int
    kernel: tuple[int, int] = (1, 1)
    strides: int = 1


#: The stem: (name, filters, kernel size, strides, padding), or a pooling. Shapes for 160×160 faces.
RESNET_STEM = (
    ("Conv2d_1a_3x3", 32, 3, 2, "valid"),  #    (m, 79, 79, 32)
    ("Conv2d_2a_3x3", 32, 3, 1, "valid"),  #    (m, 77, 77, 32)
    ("Conv2d_2b_3x3", 64, 3, 1, "same"),  #     (m, 77, 77, 64)
    ("MaxPool_3a_3x3",),  #                     (m, 38, 38, 64)
    ("Conv2d_3b_1x1", 80, 1, 1, "valid"),  #    (m, 38, 38, 80)
    ("Conv2d_4a_3x3", 192, 3, 1, "valid"),  #   (m, 36, 36, 192)
    ("Conv2d_4b_3x3", 256, 3, 2, "valid"),  #   (m, 17, 17, 256)
)

#: The residual blocks: their branches, each a row of convolutions.
RESIDUAL = {
    "Block35": (
        (Conv(32),),
        (Conv(32), Conv(32, (3, 3))),
        (Conv(32), Conv(32, (3, 3)), Conv(32, (3, 3))),
    ),
    "Block17": ((Conv(128),), (Conv(128), Conv(128, (1, 7)), Conv(128, (7, 1)))),
    "Block8": ((Conv(192),), (Conv(192), Conv(192, (1, 3)), Conv(192, (3, 1)))),
}

#: The blocks that halve the picture; a max-pooling is their last branch.
REDUCTION = {
    "Mixed_6a": ((Conv(384, (3, 3), 2),), (Conv(192), Conv(192, (3, 3)), Conv(256, (3, 3), 2))),
    "Mixed_7a": (
        (Conv(256), Conv(384, (3, 3), 2)),
        (Conv(256), Conv(256, (3, 3), 2)),
        (Conv(256), Conv(256, (3, 3)), Conv(256, (3, 3), 2)),
    ),
}

#: The stages after the stem: (block, how many, scale of its output before the addition), or (reduction,).
RESNET_STAGES = (
    ("Block35", 5, 0.17),  #    (m, 17, 17, 256)
    ("Mixed_6a",),  #           (m, 8, 8, 896)
    ("Block17", 10, 0.10),  #   (m, 8, 8, 896)
    ("Mixed_7a",),  #           (m, 3, 3, 1792)
    ("Block8", 5, 0.20),  #     (m, 3, 3, 1792)
)


def named_conv(x, filters: int, kernel, strides: int, padding: str, name: str):
    """A convolution without bias, ``{name}_BatchNorm`` (which has no scale) and ``{name}_Activation``."""
    x = layers.Conv2D(filters, kernel, strides=strides, padding=padding, use_bias=False, name=name)(x)
    x = layers.BatchNormalization(momentum=0.995, epsilon=1e-3, scale=False, name=f"{name}_BatchNorm")(x)
    return layers.Activation("relu", name=f"{name}_Activation")(x)


def name_of_conv(row: tuple[Conv, ...], index: int) -> str:
    """The name of a branch's convolution: ``Conv2d_1x1`` alone, ``Conv2d_0a_1x1`` … in a row, ``1a`` halving."""
    conv = row[index]
    rows, columns = conv.kernel
    if conv.strides == 2:
        return f"Conv2d_1a_{rows}x{columns}"
    return f"Conv2d_{rows}x{columns}" if len(row) == 1 else f"Conv2d_0{'abc'[index]}_{rows}x{columns}"


def branches_of(x, rows: tuple[tuple[Conv, ...], ...], name: str) -> list:
    """The outputs of a block's branches, which all look at the same input."""
    outputs = []
    for number, row in enumerate(rows):
        y = x
        for index, conv in enumerate(row):
            padding = "same" if conv.strides == 1 else "valid"
            full_name = f"{name}_Branch_{number}_{name_of_conv(row, index)}"
            y = named_conv(y, conv.filters, conv.kernel, conv.strides, padding, full_name)
        outputs.append(y)
    return outputs


def residual_inception_block(x, kind: str, name: str, scale: float, activation: str | None = "relu"):
    """An Inception block whose output is scaled and added to its input.

    Args:
        x: (m, H, W, C).
        kind: A key of :data:`RESIDUAL`.
        name: The prefix of all layer names, for example ``"Block35_1"``.
        scale: The branches' output is multiplied by this before it is added.
        activation: Applied to the sum; None leaves it linear.

    Returns:
        (m, H, W, C).

    Source:
        Szegedy et al., "Inception-v4, Inception-ResNet and the impact of residual connections", 2016,
        figures 10, 11, 13 and section 3.3 (scaling).
    """
    y = layers.Concatenate(name=f"{name}_Concatenate")(branches_of(x, RESIDUAL[kind], name))
    y = layers.Conv2D(x.shape[-1], 1, padding="same", name=f"{name}_Conv2d_1x1")(y)
    y = layers.Rescaling(scale, name=f"{name}_Scale")(y)
    x = layers.Add(name=f"{name}_ScaleSum")([x, y])
    return layers.Activation(activation, name=f"{name}_Activation")(x) if activation else x


def reduction_block(x, name: str):
    """An Inception block that halves the picture: a row of :data:`REDUCTION` and a max-pooling."""
    outputs = branches_of(x, REDUCTION[name], name)
    pool_name = f"{name}_Branch_{len(outputs)}_MaxPool_1a_3x3"
    outputs.append(layers.MaxPooling2D(3, strides=2, name=pool_name)(x))
    return layers.Concatenate(name=name)(outputs)


def InceptionResNetV1(
    input_shape: tuple[int, int, int] = (160, 160, 3), dimension: int = 128, dropout: float = 0.2
) -> keras.Model:
    """Build the later FaceNet, with the layer names of the courses' ``keras-facenet-h5/model.json``.

    Weights in the legacy ``.h5`` layout load into it with ``load_weights(path, by_name=True)``. Inside a residual
    block the courses' file scales with a Lambda layer; here ``Rescaling`` and ``Add`` do the same.

    Args:
        input_shape: (S, S, 3) with S of at least 75. The network does not scale its input: give it what its weights
            were trained on.
        dimension: How many numbers an encoding has: 128 or 512 in published weights.
        dropout: The share of features that is dropped in training.

    Returns:
        A ``keras.Model`` (m, S, S, 3) → (m, dimension), with untrained weights. Its output is not of unit length yet.

    Raises:
        ValueError: If ``input_shape`` is not (S, S, 3) with S of at least 75.

    Source:
        Szegedy et al., 2016 (Inception-ResNet-v1).
    """
    if len(input_shape) != 3 or min(input_shape[:2]) < 75 or input_shape[2] != 3:
        raise ValueError(f"input_shape {input_shape!r}: expected (S, S, 3) with S of at least 75")
    faces = keras.Input(input_shape, name="input_1")
    x = faces
    for name, *conv in RESNET_STEM:
        x = named_conv(x, *conv, name=name) if conv else layers.MaxPooling2D(3, strides=2, name=name)(x)
    for kind, *repeat in RESNET_STAGES:
        if not repeat:
            x = reduction_block(x, kind)
            continue
        count, scale = repeat
        for number in range(1, count + 1):
            x = residual_inception_block(x, kind, f"{kind}_{number}", scale)
    x = residual_inception_block(x, "Block8", "Block8_6", 1.0, activation=None)  # (m, 3, 3, 1792)
    x = layers.GlobalAveragePooling2D(name="AvgPool")(x)  #                        (m, 1792)
    x = layers.Dropout(dropout, name="Dropout")(x)
    x = layers.Dense(dimension, use_bias=False, name="Bottleneck")(x)  #           (m, 128)
    x = layers.BatchNormalization(momentum=0.995, epsilon=1e-3, scale=False, name="Bottleneck_BatchNorm")(x)
    return keras.Model(faces, x, name="inception_resnet_v1")
