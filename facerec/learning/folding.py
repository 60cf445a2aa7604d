"""Fold the batch normalisation of a trained network into the layers before it."""

from __future__ import annotations

from facerec._quiet import quietly
from facerec.errors import BadArgument

with quietly():
    import keras
    from keras import layers


def folded_weights(weights: list, bn: layers.BatchNormalization) -> list:
    """[kernel, bias] of a convolution or Dense layer that also do the work of the batch normalisation after it."""
    to_numpy = keras.ops.convert_to_numpy
    scale = 1.0 / (to_numpy(bn.moving_variance) + bn.epsilon) ** 0.5
    scale = scale * to_numpy(bn.gamma) if bn.scale else scale
    bias = weights[1] if len(weights) > 1 else 0.0
    offset = to_numpy(bn.beta) if bn.center else 0.0
    return [weights[0] * scale, (bias - to_numpy(bn.moving_mean)) * scale + offset]


def fold_batch_norm(model: keras.Model) -> keras.Model:
    """Copy a trained network without its batch normalisation: smaller, faster, with the same output.

    At inference batch normalisation only multiplies and adds constants, which the convolution (or Dense layer) before
    it can do as well, with a bias.

    Args:
        model: A functional model in which each batch normalisation directly follows a Conv2D or Dense layer without
            activation. Mixed precision is undone: the copy computes in float32.

    Returns:
        A new ``keras.Model`` with the same layer names, without the BatchNormalization layers.

    Raises:
        BadArgument: If a batch normalisation follows another kind of layer.
    """
    folded = {}  # name of the convolution → its batch normalisation
    for bn in model.layers:
        if isinstance(bn, layers.BatchNormalization):
            before = bn.input._keras_history.operation
            if not isinstance(before, layers.Conv2D | layers.Dense):
                raise BadArgument(f"{bn.name} follows {before.name}, which is neither Conv2D nor Dense")
            folded[before.name] = bn

    def clone(layer):
        config = {**layer.get_config(), "dtype": "float32"}
        if layer.name in folded:
            config["use_bias"] = True
        return layer.__class__.from_config(config)

    def call(layer, x, **kwargs):
        return x if isinstance(layer, layers.BatchNormalization) else layer(x, **kwargs)

    bare = keras.Model(model.input, model.output, name=model.name)  # without loss and optimizer
    copy = keras.models.clone_model(bare, clone_function=clone, call_function=call)
    for layer in copy.layers:
        if layer.weights:
            weights = model.get_layer(layer.name).get_weights()
            layer.set_weights(folded_weights(weights, folded[layer.name]) if layer.name in folded else weights)
    return copy
