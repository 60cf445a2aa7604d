"""A FaceNet cut in two: its trunk, which stays as it is, and its last layers, which learn something new.

    faces (m, S, S, 3) ──trunk──► features (m, F) ──top──► encodings (m, D)

The trunk is everything before the last layer with weights. The features of a picture do not change while a top learns,
so each picture goes through the trunk once, and the training takes seconds.

Source: Yosinski, Clune, Bengio, Lipson, "How transferable are features in deep neural networks?", 2014.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from facerec._quiet import quietly
from facerec.detection import TEMPLATE, Point
from facerec.errors import BadNetwork
from facerec.networks import info_of

with quietly():
    import keras
    from keras import layers


def split_network(FRmodel: keras.Model) -> tuple[keras.Model, keras.Model]:
    """Cut a FaceNet before its last layer with weights.

    Args:
        FRmodel: A network of ``load_facenet``, (m, S, S, 3) → (m, D).

    Returns:
        trunk: (m, S, S, 3) in 0..255 → features (m, F). It shares the layers of ``FRmodel``.
        top: Features (m, F) → (m, D). It starts as a copy of the last layers, and can learn.

    Raises:
        BadNetwork: If the network can't be cut there.

    Example:
        >>> from facerec.networks import load_facenet
        >>> trunk, top = split_network(load_facenet("keras-facenet-h5"))
        >>> trunk.output_shape == top.input_shape, top.output_shape
        (True, (None, 128))
    """
    last = max((i for i, layer in enumerate(FRmodel.layers) if layer.weights), default=0)
    tail = FRmodel.layers[last:]
    if isinstance(tail[0], keras.Model) or not last or len(tail[0].input.shape) != 2:
        raise BadNetwork(f"{FRmodel.name} can't be cut: its last layer with weights, {tail[0].name}, takes no features")
    trunk = keras.Model(FRmodel.input, tail[0].input, name="trunk")
    trunk.trainable = False
    features = keras.Input(trunk.output_shape[1:], name="features")
    x = features
    for layer in tail:
        copy = type(layer).from_config({**layer.get_config(), "trainable": True})
        x = copy(x)
        copy.set_weights(layer.get_weights())
    return trunk, keras.Model(features, x, name="top")


def put_on_trunk(top: keras.Model, FRmodel: keras.Model) -> keras.Model:
    """Put a top on the trunk of a FaceNet, for faces as twins take them.

    Args:
        top: Features (m, F) → (m, D): a top of ``split_network`` after its training.
        FRmodel: The FaceNet that it was cut from.

    Returns:
        A ``keras.Model`` (m, S, S, 3) RGB in 0..1 → (m, D). Its trunk is frozen.

    Raises:
        BadNetwork: If the trunk gives other features than the top takes, or the FaceNet takes faces that are aligned in
            another way than ``align_face`` does by default.
    """
    trunk, _ = split_network(FRmodel)
    info = info_of(FRmodel)
    if trunk.output_shape != top.input_shape:
        raise BadNetwork(f"{info.name} gives features {trunk.output_shape}; the top takes {top.input_shape}")
    if not _is_usual(info.template):
        raise BadNetwork(f"{info.name} takes faces that are aligned in another way than twins take them")
    faces = keras.Input((info.side, info.side, 3), name="face")
    return keras.Model(faces, top(trunk(layers.Rescaling(255.0, name="to_255")(faces))), name="transfer")


def _is_usual(template: Mapping[str, Point]) -> bool:
    """Whether the keypoints of a template lie where ``align_face`` puts them by default, to a thousandth."""
    return all(np.allclose(template[name], place, atol=1e-3) for name, place in TEMPLATE.items())
