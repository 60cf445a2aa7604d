"""Baselines that every network has to beat: plain pixels, and eigenfaces.

Both have the interface of a FaceNet, faces (m, 96, 96, 3) in 0..255 → encodings of unit length, so everything that
measures a FaceNet can measure them. A benchmark on which they win says nothing about recognition.
"""

from __future__ import annotations

import numpy as np

from facerec._quiet import quietly
from facerec.errors import BadArgument

with quietly():
    import keras
    from keras import layers

#: The side of the faces that the baselines take, in pixels.
BASELINE_SIDE = 96


def _shrunk(pool: int) -> tuple[keras.KerasTensor, keras.KerasTensor]:
    """Faces, and their pixels averaged over squares of ``pool`` pixels: (m, 96, 96, 3) → (m, (96 / pool)² · 3)."""
    faces = keras.Input((BASELINE_SIDE, BASELINE_SIDE, 3), name="face")
    return faces, layers.Flatten()(layers.AveragePooling2D(pool)(layers.Rescaling(1 / 255)(faces)))


def pixel_baseline() -> keras.Model:
    """Build the pixel baseline: 24×24 pixels, minus their mean, scaled to unit length.

    Returns:
        A ``keras.Model`` (m, 96, 96, 3) in 0..255 → (m, 1728).
    """
    faces, x = _shrunk(4)
    x = layers.LayerNormalization(center=False, scale=False, epsilon=1e-9)(x)
    return keras.Model(faces, layers.UnitNormalization()(x), name="pixels")


def fit_whitened_pca(faces: np.ndarray, components: int = 100) -> keras.Model:
    """Fit eigenfaces: the directions in which faces vary most, each scaled to variance 1, then to unit length.

    Args:
        faces: (n, 96, 96, 3) in 0..255, of the train people only.
        components: D, the number of directions.

    Returns:
        A ``keras.Model`` (m, 96, 96, 3) in 0..255 → (m, D).

    Raises:
        BadArgument: If the faces have another shape, or are too few for that many directions.

    Source:
        Turk and Pentland, "Eigenfaces for recognition", 1991; whitened as in Deng et al., "Transform-invariant PCA",
        2014, and compared by angle.
    """
    from sklearn.decomposition import PCA

    if np.ndim(faces) != 4 or np.shape(faces)[1:] != (BASELINE_SIDE, BASELINE_SIDE, 3):
        raise BadArgument(f"faces {np.shape(faces)}: expected (n, {BASELINE_SIDE}, {BASELINE_SIDE}, 3)")
    if not 1 <= components < len(faces):
        raise BadArgument(f"components={components}: {len(faces)} faces give at most {len(faces) - 1}")
    inputs, pixels = _shrunk(3)  # (m, 32 · 32 · 3)
    shrink = keras.Model(inputs, pixels)
    found = PCA(components, random_state=0).fit(shrink.predict(np.asarray(faces, np.float32), verbose=0))
    kernel = (found.components_ / np.sqrt(found.explained_variance_)[:, None]).T  # (3072, D)
    project = layers.Dense(components, name="directions")
    model = keras.Model(inputs, layers.UnitNormalization()(project(pixels)), name="whitened_pca")
    project.set_weights([kernel, -found.mean_ @ kernel])
    return model
