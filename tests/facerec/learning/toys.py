"""Toy faces, and toy networks for what does not depend on their size: distillation, triplets, twins."""

from pathlib import Path

import cv2
import keras
import numpy as np
import pytest
from keras import layers

from facerec.detection import TEMPLATE
from facerec.learning import crops
from facerec.learning.crops import Teacher, prepare
from facerec.learning.distillation import Stage, StudentPlan
from facerec.learning.siamese import TwinConv, Variant
from inception_blocks_v2 import faceRecoModel

SIDE = 32

#: Six steps, of which the last two show larger faces.
PARTS = ("faces_00000", "faces_00001")
PLAN = StudentPlan(
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


def small_facenet() -> keras.Model:
    """The small FaceNet with batch statistics, scales and offsets that are far from 0 and 1."""
    keras.utils.set_random_seed(1)
    model = faceRecoModel((96, 96, 3))
    rng = np.random.default_rng(1)
    for layer in model.layers:
        if isinstance(layer, layers.BatchNormalization):
            gamma, beta, mean, variance = (rng.uniform(0.5, 2, w.shape) for w in layer.get_weights())
            layer.set_weights([gamma, beta - 1, mean - 1, variance])
    return model


def small_encoder(side: int) -> keras.Model:
    """An encoder for triplets with one of each kind of layer that ``five_convolutions`` has."""
    faces = keras.Input((side, side, 3))
    x = layers.Rescaling(1 / 127.5, offset=-1.0)(faces)
    x = layers.Conv2D(8, 4, strides=4, use_bias=False, name="conv")(x)
    x = layers.ReLU()(layers.BatchNormalization(name="bn")(x))
    x = layers.Dropout(0.3)(layers.Flatten()(x))
    x = layers.Dense(128, dtype="float32", name="embedding")(x)
    return keras.Model(faces, layers.UnitNormalization(dtype="float32")(x), name="small_encoder")


#: A twin with one of each kind of layer that the compact one has.
SMALL_TWIN = Variant((TwinConv(8, 3, batch_norm=True, dropout=0.3, stride=2),), "same", True, 128, None)


def prepare_toy(folder: Path, teacher: Teacher) -> Path:
    """Prepare 16 pictures in two parts of one folder, without detection: faces sit as in the template."""
    rng = np.random.default_rng(0)
    (folder / "faces").mkdir()
    np.save(folder / "faces" / "shard.npy", np.stack([make_face(rng) for _ in range(16)]))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(crops, "find_framing", lambda pictures: np.array(list(TEMPLATE.values())))
        prepare([folder / "faces"], folder / "to", teacher, part=9)
    return folder / "to"
