"""Harder pictures of people who do not exist: what is left is the face.

In ``datasets/people.zip`` each person keeps hair, background and light through all pictures, so plain pixels tell
people apart. ``harden`` takes these cues away, and leaves what a network has to learn:

    easy = facerec.learning.pairs.open_faces(people.picture, side=96)
    hard = harden(easy, seed=1)                         # the same people, and pixels are of little use
"""

from __future__ import annotations

import cv2
import numpy as np

from facerec.errors import BadArgument

#: The largest change of each kind: degrees, shares of the side (shift) and of the size (scale), and shares of the
#: light per colour (tint) and from the darkest to the brightest edge (light).
DEGREES, SHIFT, SCALE, TINT, LIGHT = 8.0, 0.06, 0.12, 0.65, 1.2

#: The colour around the oval, 0..255, differs from grey by up to this.
GROUND = 60

#: The half-axes of the oval, as shares of the side: across, down.
OVAL = (0.31, 0.42)


def harden(faces: np.ndarray, seed: int = 0) -> np.ndarray:
    """Turn, shift and scale each face, tint it, light it from one side, and mask it to an oval.

    Args:
        faces: (m, S, S, 3) uint8.
        seed: Seed of all changes; the same seed changes the same faces in the same way.

    Returns:
        (m, S, S, 3) uint8; the faces given are left unchanged.

    Raises:
        BadArgument: If the faces have another shape or type.

    Example:
        >>> hard = harden(np.full((2, 48, 48, 3), 200, np.uint8), seed=1)
        >>> hard.shape, bool((hard[0] == hard[1]).all())
        ((2, 48, 48, 3), False)
    """
    if np.ndim(faces) != 4 or faces.shape[1] != faces.shape[2] or faces.shape[3] != 3 or faces.dtype != np.uint8:
        kind = getattr(faces, "dtype", type(faces).__name__)
        raise BadArgument(f"faces {np.shape(faces)} of {kind}: expected (m, S, S, 3) uint8")
    inside = _oval(faces.shape[1])
    hard = np.empty_like(faces)
    for number, face in enumerate(faces):
        rng = np.random.default_rng([seed, number])
        ground = (127 + rng.uniform(-GROUND, GROUND, 3)).astype(np.uint8)
        hard[number] = np.where(inside, _relight(_move(face, rng), rng), ground)
    return hard


def _oval(side: int) -> np.ndarray:
    """Which pixels are inside the oval, (S, S, 1) bool."""
    across = (np.arange(side) + 0.5) / side - 0.5
    return ((across[None, :] / OVAL[0]) ** 2 + (across[:, None] / OVAL[1]) ** 2 < 1)[..., None]


def _move(face: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Turn, scale and shift a face (S, S, 3); its edges are mirrored."""
    side = len(face)
    angle, scale = rng.uniform(-DEGREES, DEGREES), np.exp(rng.uniform(-SCALE, SCALE))
    matrix = cv2.getRotationMatrix2D(((side - 1) / 2, (side - 1) / 2), angle, scale)
    matrix[:, 2] += rng.uniform(-SHIFT, SHIFT, 2) * side
    return cv2.warpAffine(face, matrix, (side, side), borderMode=cv2.BORDER_REFLECT)


def _relight(face: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Tint a face (S, S, 3) and light it from one side; on average as bright as before."""
    angle, strength = rng.uniform(0, 2 * np.pi), rng.uniform(0.3, 1) * LIGHT
    across = np.linspace(-1, 1, len(face), dtype=np.float32)
    light = 1 + strength * (np.cos(angle) * across[None, :] + np.sin(angle) * across[:, None])
    tint = np.exp(rng.uniform(-TINT, TINT, 3))
    return (face * light[..., None] * tint).clip(0, 255).astype(np.uint8)
