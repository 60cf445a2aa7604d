"""Baselines that every network has to beat: plain pixels, eigenfaces, and gradients with Fisher's discriminant.

All have the interface of a FaceNet, faces (m, 96, 96, 3) in 0..255 → encodings of unit length, so everything that
measures a FaceNet can measure them. A benchmark on which they win says nothing about recognition.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from facerec._quiet import quietly
from facerec.errors import BadArgument

with quietly():
    import keras
    from keras import layers, ops

if TYPE_CHECKING:
    from sklearn.decomposition import PCA

#: The side of the faces that the baselines take, in pixels.
BASELINE_SIDE = 96

#: The side to which whitened PCA shrinks them.
PCA_SIDE = 32


def _shrunk(pool: int, side: int = BASELINE_SIDE) -> tuple[keras.KerasTensor, keras.KerasTensor]:
    """Faces, and their pixels averaged over squares of ``pool`` pixels: (m, S, S, 3) → (m, (S / pool)² · 3)."""
    faces = keras.Input((side, side, 3), name="face")
    return faces, layers.Flatten()(layers.AveragePooling2D(pool)(layers.Rescaling(1 / 255)(faces)))


def pixel_baseline() -> keras.Model:
    """Build the pixel baseline: 24×24 pixels, minus their mean, scaled to unit length.

    Returns:
        A ``keras.Model`` (m, 96, 96, 3) in 0..255 → (m, 1728).
    """
    faces, x = _shrunk(4)
    x = layers.LayerNormalization(center=False, scale=False, epsilon=1e-9)(x)
    return keras.Model(faces, layers.UnitNormalization()(x), name="pixels")


def _check_faces(faces: np.ndarray, sides: tuple[int, ...] = (BASELINE_SIDE,)) -> None:
    if np.shape(faces)[1:] not in [(side, side, 3) for side in sides]:
        expected = " or ".join(f"(n, {side}, {side}, 3)" for side in sides)
        raise BadArgument(f"faces {np.shape(faces)}: expected {expected}")


def fit_whitened_pca(faces: np.ndarray, components: int = 100) -> keras.Model:
    """Fit eigenfaces: the directions in which faces vary most, each scaled to variance 1, then to unit length.

    Args:
        faces: (n, 96, 96, 3) in 0..255, of the train people only; or (n, 32, 32, 3), to which they are shrunk.
        components: D, the number of directions.

    Returns:
        A ``keras.Model`` for faces (m, S, S, 3) of the same side in 0..255 → (m, D).

    Raises:
        BadArgument: If the faces have another shape, or are too few for that many directions.

    Source:
        Turk and Pentland, "Eigenfaces for recognition", 1991; whitened as in Deng et al., "Transform-invariant PCA",
        2014, and compared by angle.
    """
    from sklearn.decomposition import PCA

    _check_faces(faces, (BASELINE_SIDE, PCA_SIDE))
    if not 1 <= components < len(faces):
        raise BadArgument(f"components={components}: {len(faces)} faces give at most {len(faces) - 1}")
    side = np.shape(faces)[1]
    inputs, pixels = _shrunk(side // PCA_SIDE, side)  # (m, 32 · 32 · 3)
    shrink = keras.Model(inputs, pixels)
    found = PCA(components, random_state=0).fit(shrink.predict(np.asarray(faces, np.float32), verbose=0))
    kernel = _whitening(found)  # (3072, D)
    project = layers.Dense(components, name="directions")
    model = keras.Model(inputs, layers.UnitNormalization()(project(pixels)), name="whitened_pca")
    project.set_weights([kernel, -found.mean_ @ kernel])
    return model


def _whitening(found: PCA) -> np.ndarray:
    """The directions of a PCA, each scaled to variance 1: (F, D)."""
    return (found.components_ / np.sqrt(found.explained_variance_)[:, None]).T


#: How gradients are measured, finely and coarsely: the blur before (its deviation), and the side of a cell, in pixels.
GRADIENTS = ((1.0, 6), (2.0, 12))

#: The number of directions in which a cell's gradients point.
DIRECTIONS = 8


def fit_gradients(faces: np.ndarray, who: np.ndarray, components: int = 128, whitened: int = 400) -> keras.Model:
    """Fit Fisher's discriminant of oriented gradients: features made by hand, and a projection that learns.

    The face is divided into cells. Of each cell we take how strong its edges are in eight directions, compared with the
    cells around it. These numbers are whitened, and projected so that the pictures of one person come together and
    people come apart. Mirrored faces are learned from, too.

    Args:
        faces: (n, 96, 96, 3) in 0..255, of the train people only.
        who: The number of the person in each, (n,).
        components: D, the length of the encodings.
        whitened: The number of directions, those in which the numbers vary most, that are projected.

    Returns:
        A ``keras.Model`` (m, 96, 96, 3) in 0..255 → (m, D).

    Raises:
        BadArgument: If the faces have another shape, or the faces or people are too few.

    Source:
        Dalal and Triggs, "Histograms of oriented gradients for human detection", 2005; Belhumeur, Hespanha and
        Kriegman, "Eigenfaces vs. Fisherfaces", 1997.
    """
    from sklearn.decomposition import PCA
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

    _check_faces(faces)
    people = len(np.unique(who))
    if not 1 <= components <= min(whitened, people - 1) or whitened >= 2 * len(faces):
        raise BadArgument(
            f"components={components}, whitened={whitened}: too many for {len(faces)} faces of {people} people"
        )
    inputs, gradients = _gradients()
    measure = keras.Model(inputs, gradients)
    both = np.concatenate([measure.predict(side.astype(np.float32), verbose=0) for side in (faces, faces[:, :, ::-1])])
    found = PCA(whitened, whiten=True, svd_solver="randomized", random_state=0).fit(both)
    fisher = LinearDiscriminantAnalysis().fit(found.transform(both), np.tile(who, 2))
    apart = fisher.scalings_[:, :components]
    kernel = _whitening(found) @ apart
    project = layers.Dense(components, name="discriminant")
    model = keras.Model(inputs, layers.UnitNormalization()(project(gradients)), name="gradients")
    project.set_weights([kernel, -found.mean_ @ kernel - fisher.xbar_ @ apart])
    return model


def _gradients() -> tuple[keras.KerasTensor, keras.KerasTensor]:
    """Faces, and how strong the gradients of each cell and direction are: (m, 96, 96, 3) → (m, F)."""
    faces, parts = keras.Input((BASELINE_SIDE, BASELINE_SIDE, 3), name="face"), []
    grey = ops.dot(faces, np.array([[0.299], [0.587], [0.114]], np.float32))  # (m, 96, 96, 1)
    for blur, cell in GRADIENTS:
        along = ops.relu(ops.conv(grey, _derivatives(blur), padding="same"))  # (m, 96, 96, 8)
        cells = ops.average_pool(along, cell)
        around = ops.average_pool(ops.sum(cells**2, axis=-1, keepdims=True), 3, strides=1, padding="same")
        parts.append(layers.Flatten()(ops.sqrt(cells / ops.sqrt(around + 0.01))))
    return faces, layers.Concatenate()(parts)


def _derivatives(blur: float) -> np.ndarray:
    """Filters (k, k, 1, 8) that answer where a picture, a little blurred, grows brighter in a direction."""
    reach = math.ceil(2.5 * blur)
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    bell = np.exp(-(x**2 + y**2) / (2 * blur**2))
    angles = np.arange(DIRECTIONS) * 2 * np.pi / DIRECTIONS
    slopes = x[..., None] * np.cos(angles) + y[..., None] * np.sin(angles)
    return (slopes * (bell / bell.sum() / blur**2)[..., None])[:, :, None].astype(np.float32)
