"""Small networks and helpers for the tests of the measuring tools."""

from __future__ import annotations

import keras
import numpy as np

from facerec.evaluation import (
    Probability,
)

PROBABILITY = Probability("logistic", 0.5, (0.2, 1.2), (4.0, -4.0))


def picture(person: str, number: int) -> str:
    return f"{person}_{number:04d}.jpg"


def unit(x: np.ndarray) -> np.ndarray:
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def twice_looking(side: int = 8, dimension: int = 16) -> keras.Model:
    """An untrained network built like the shipped one: a trunk, the mirror image, centring after unit length."""
    layers, seeded = keras.layers, keras.initializers.RandomNormal
    inside = keras.Input((side, side, 3))
    raw = layers.Dense(dimension, use_bias=False, kernel_initializer=seeded(seed=2), name="raw")
    trunk = keras.Model(inside, raw(layers.Flatten()(layers.Rescaling(1 / 255)(inside))), name="trunk")
    faces, mirror = keras.Input((side, side, 3)), layers.EinsumDense("bhwc,wv->bhvc", (None, side, 3), name="mirror")
    both = layers.UnitNormalization(name="unit")(layers.Average(name="both")([trunk(faces), trunk(mirror(faces))]))
    centred = layers.Dense(dimension, name="centred", kernel_initializer="identity", bias_initializer=seeded(0, 0.2, 3))
    model = keras.Model(faces, layers.UnitNormalization(name="encoding")(centred(both)), name="twice")
    model.get_layer("mirror").set_weights([np.eye(side, dtype="float32")[::-1]])
    return model


def in_order(interval: dict) -> bool:
    """A share between the ends of its interval."""
    return 0 <= interval["low"] <= interval["value"] <= interval["high"] <= 1
