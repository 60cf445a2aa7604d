"""Variations of aligned faces: nine named augmentations, and ``degrade``, which makes bad photographs of good ones.

The augmentations take faces in 0..1 on any backend of Keras; ``degrade`` and its steps take uint8 faces one at a time.
``as_shown`` varies the batches of a training, in TensorFlow.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import cv2
import numpy as np

from facerec._quiet import quietly
from facerec.damage import compressed

with quietly():
    from keras import ops


def brightness(face, by: float):
    """Add ``by`` to a face in 0..1: above 0 is brighter."""
    return ops.clip(face + by, 0.0, 1.0)


def contrast(face, by: float):
    """Move a face's values away from their mean (``by`` above 1) or towards it (below 1)."""
    mean = ops.mean(face, axis=(-3, -2), keepdims=True)
    return ops.clip((face - mean) * by + mean, 0.0, 1.0)


def saturation(face, by: float):
    """Move a face's colours away from grey (``by`` above 1) or towards it (below 1)."""
    grey = ops.sum(face * np.array([0.299, 0.587, 0.114], np.float32), axis=-1, keepdims=True)  # Rec. 601
    return ops.clip((face - grey) * by + grey, 0.0, 1.0)


def flip(face):
    """Mirror a face left to right."""
    return ops.flip(face, axis=-2)


#: The nine named augmentations: faces (…, S, S, 3) in 0..1 → the same shape and range.
AUGMENTATIONS: dict[str, Callable] = {
    "brighter": lambda face: brightness(face, 0.2),
    "darker": lambda face: brightness(face, -0.2),
    "more contrast": lambda face: contrast(face, 1.5),
    "less contrast": lambda face: contrast(face, 0.6),
    "flipped": flip,
    "more saturated": lambda face: saturation(face, 1.6),
    "less saturated": lambda face: saturation(face, 0.4),
    "flipped, brighter": lambda face: brightness(flip(face), 0.15),
    "darker, less contrast": lambda face: contrast(brightness(face, -0.15), 0.7),
}


def augment(faces: np.ndarray) -> np.ndarray:
    """Each face followed by its nine variations.

    Args:
        faces: (m, S, S, 3) in 0..1.

    Returns:
        (10 m, S, S, 3) float32 in 0..1.
    """
    faces = np.asarray(faces, np.float32)
    varied = [faces, *(np.asarray(ops.convert_to_numpy(change(faces))) for change in AUGMENTATIONS.values())]
    return np.stack(varied, axis=1).reshape(-1, *faces.shape[1:])


def degrade(face: np.ndarray, rng: np.random.Generator, harsh: float = 1.0) -> np.ndarray:
    """Make a bad photograph of a good one: light, colour, blur, few pixels, noise, JPEG, something in front.

    Args:
        face: (S, S, 3) uint8.
        rng: The source of randomness.
        harsh: The chance of every step is multiplied by this: 0 leaves the face unchanged, 1 is usual.

    Returns:
        (S, S, 3) uint8.
    """
    for chance, change in DEGRADATIONS:
        if rng.random() < chance * harsh:
            face = change(face, rng)
    return face


def change_light(face: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Change exposure, contrast, gamma and white balance, with one table of 256 values per colour."""
    gain = rng.uniform(0.6, 1.4) * rng.uniform(0.88, 1.12, 3)  # exposure × white balance
    values = np.linspace(0, 1, 256)[:, None] ** np.exp(rng.uniform(-0.45, 0.45)) * gain
    values = (values - 0.5) * rng.uniform(0.65, 1.25) + 0.5 + rng.uniform(-0.08, 0.08)
    return cv2.LUT(face, (values * 255).clip(0, 255).astype(np.uint8)[:, None])


def lose_colour(face: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Turn the picture grey."""
    return cv2.cvtColor(cv2.cvtColor(face, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)


def add_side_light(face: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Light the face from one side."""
    side = len(face)
    angle, strength = rng.uniform(0, 2 * np.pi), rng.uniform(0.15, 0.5)
    across = np.linspace(-1, 1, side)
    light = 1 + strength * (np.cos(angle) * across[None, :] + np.sin(angle) * across[:, None])
    return (face * light[..., None].astype(np.float32)).clip(0, 255).astype(np.uint8)


def blur(face: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Blur the face as if out of focus, or as if the camera moved."""
    if rng.random() < 0.7:
        return cv2.GaussianBlur(face, (0, 0), rng.uniform(0.4, 2.0) * len(face) / 96)
    length = max(2, round(int(rng.integers(3, 8)) * len(face) / 96))
    kernel = np.zeros((length, length), np.float32)
    if rng.random() < 0.5:
        kernel[length // 2] = 1 / length
    else:
        kernel[:, length // 2] = 1 / length
    return cv2.filter2D(face, -1, kernel, borderType=cv2.BORDER_REPLICATE)


def lose_pixels(face: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Shrink the face to few pixels and enlarge it again."""
    side = len(face)
    small = max(8, int(side * rng.uniform(0.3, 0.8)))
    shrunk = cv2.resize(face, (small, small), interpolation=cv2.INTER_AREA)
    how = (cv2.INTER_LINEAR, cv2.INTER_CUBIC)[int(rng.integers(2))]
    return cv2.resize(shrunk, (side, side), interpolation=how)


def add_noise(face: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Add the noise of a small sensor in dim light."""
    noise = rng.standard_normal(face.shape, np.float32) * rng.uniform(2, 14)
    return (face + noise).clip(0, 255).astype(np.uint8)


def compress(face: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Save the face as a JPEG of low quality."""
    return compressed(face, int(rng.integers(20, 85)))


def cover(face: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Cover a part of the face with a patch of one colour."""
    side = len(face)
    height, width = (rng.uniform(0.1, 0.35, 2) * side).astype(int) + 1
    y, x = int(rng.integers(side - height + 1)), int(rng.integers(side - width + 1))
    face = face.copy()
    face[y : y + height, x : x + width] = rng.integers(0, 256, 3)
    return face


#: (chance at harshness 1, step), in the order in which a photograph suffers them.
DEGRADATIONS = (
    (0.15, cover),
    (0.15, add_side_light),
    (0.70, change_light),
    (0.10, lose_colour),
    (0.25, blur),
    (0.25, lose_pixels),
    (0.25, add_noise),
    (0.35, compress),
)


# ------------------------------------------------------------------------------------------ batches in training
class Variation(NamedTuple):
    """How faces vary in training.

    Attributes:
        augmented: Whether they are flipped and change brightness and contrast.
        moved: Whether they are also rotated, shifted and resized a little.
        harsh: How bad the photographs are made, 0 to 1 (see ``degrade``); 0 leaves them.
    """

    augmented: bool = True
    moved: bool = False
    harsh: float = 0.0


USUAL = Variation()


def as_shown(faces, draw, how: Variation):
    """Faces as a network sees them in training, varied at random.

    Args:
        faces: (m, S, S, 3) uint8, a tensor.
        draw: Two integers, the seed.
        how: What varies.

    Returns:
        (m, S, S, 3) float32 in 0..1.
    """
    import tensorflow as tf

    if how.harsh:
        shape = faces.shape
        faces = tf.numpy_function(partial(_degrade_all, harsh=how.harsh), [faces, draw], tf.uint8)
        faces.set_shape(shape)
    faces = tf.cast(faces, tf.float32) / 255.0
    if how.moved:
        faces = _move(faces, draw + 2)
    if how.augmented:
        faces = _relight(faces, draw)
    return faces


def _degrade_all(faces: np.ndarray, draw: np.ndarray, harsh: float) -> np.ndarray:
    """A bad photograph of each face (m, S, S, 3); ``draw`` is the seed."""
    rng = np.random.default_rng(draw)
    return np.stack([degrade(face, rng, harsh) for face in faces])


def _relight(faces, seed):
    """Flip half of the faces (m, S, S, 3) and change the brightness and contrast of all a little."""
    import tensorflow as tf

    draws = tf.random.stateless_uniform((3, tf.shape(faces)[0], 1, 1, 1), seed)
    faces = tf.where(draws[0] < 0.5, faces, flip(faces))
    faces = contrast(faces, 0.8 + 0.4 * draws[1])
    return brightness(faces, 0.2 * draws[2] - 0.1)


def _move(faces, seed):
    """Rotate (up to 6°), resize (10 %) and shift (6 %) each face (m, S, S, 3) a little; edges are repeated."""
    import tensorflow as tf

    m, side = tf.shape(faces)[0], faces.shape[1]
    draws = tf.random.stateless_uniform((4, m), seed, -1.0, 1.0)
    angle, scale, shift = 0.1 * draws[0], 1 + 0.1 * draws[1], 0.06 * side * draws[2:]
    cos, sin, middle, zero = tf.cos(angle) * scale, tf.sin(angle) * scale, (side - 1) / 2, tf.zeros((m,))
    to_x = middle - cos * middle + sin * middle + shift[0]
    to_y = middle - sin * middle - cos * middle + shift[1]
    transform = tf.stack([cos, -sin, to_x, sin, cos, to_y, zero, zero], axis=1)
    return ops.image.affine_transform(faces, transform, fill_mode="nearest")
