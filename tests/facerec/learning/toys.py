"""Toy faces, teachers and students for the tests of distillation."""

from pathlib import Path

import cv2
import keras
import numpy as np
import pytest
from keras import layers

from facerec.detection import TEMPLATE
from facerec.learning import crops
from facerec.learning.crops import Teacher, prepare
from facerec.learning.distillation import Config, Stage

SIDE = 32

#: Six steps, of which the last two show larger faces.
PARTS = ("faces_00000", "faces_00001")
CONFIG = Config(
    (Stage(SIDE, 4, PARTS), Stage(SIDE + 8, 2, PARTS)), batch=4, warmup=2, cooldown=3, held_out=6, rate=1e-2, harsh=1.0
)


def make_face(rng: np.random.Generator) -> np.ndarray:
    """A smooth picture, (128, 128, 3): enough for everything that does not detect."""
    return cv2.resize(rng.integers(0, 256, (8, 8, 3), np.uint8), (128, 128), interpolation=cv2.INTER_CUBIC)


def small_teacher() -> Teacher:
    """A teacher that averages colours in 4×4 fields; its last layers are named as in weights/resnet."""
    keras.utils.set_random_seed(7)
    faces = keras.Input((60, 60, 3))
    x = layers.Rescaling(1 / 255)(faces)
    x = layers.Flatten()(layers.AveragePooling2D(15)(x))
    x = layers.UnitNormalization()(layers.Dense(128, name="centred", bias_initializer="normal")(x))
    return Teacher(keras.Model(faces, x))


def small_student(input_shape):
    """A student with one of each kind of layer that the real one has."""
    faces = keras.Input(input_shape)
    x = layers.Rescaling(1 / 127.5, -1.0)(faces)
    x = layers.Conv2D(8, 5, strides=2, use_bias=False)(x)
    x = layers.ReLU()(layers.BatchNormalization()(x))
    x = layers.Dense(128)(layers.Flatten()(layers.Resizing(3, 3)(x)))  # as many weights for any side
    return keras.Model(faces, layers.UnitNormalization()(x))


def prepare_toy(folder: Path, teacher: Teacher) -> Path:
    """Prepare 16 pictures in two parts of one folder, without detection: faces sit as in the template."""
    rng = np.random.default_rng(0)
    (folder / "faces").mkdir()
    np.save(folder / "faces" / "shard.npy", np.stack([make_face(rng) for _ in range(16)]))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(crops, "find_framing", lambda pictures: np.array(list(TEMPLATE.values())))
        prepare([folder / "faces"], folder / "to", teacher, part=9)
    return folder / "to"
