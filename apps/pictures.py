"""Pictures as both apps show them: smaller, with a box around the face or cut out, and as a JPEG inside the page."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from facerec.detection import Detection, upright
from facerec.live.drawing import KNOWN, draw_box
from facerec.photos import as_jpeg


def smaller(photo: np.ndarray, side: int) -> np.ndarray:
    """A photo (H, W, 3), scaled down so that its longer side has at most so many pixels."""
    scale = side / max(photo.shape[:2])
    if scale >= 1:
        return photo
    size = (max(1, round(photo.shape[1] * scale)), max(1, round(photo.shape[0] * scale)))
    return cv2.resize(photo, size, interpolation=cv2.INTER_AREA)


def boxed(photo: np.ndarray, box: Sequence[int], side: int | None = None) -> np.ndarray:
    """A copy of a photo with a box around the face.

    Args:
        photo: (H, W, 3) uint8.
        box: The face's x, y, width and height in the photo's pixels.
        side: The longer side of the copy, in pixels; None keeps the photo's size.

    Returns:
        The copy, (h, w, 3) uint8.
    """
    copy = smaller(photo, side).copy() if side else photo.copy()
    scale, width = copy.shape[1] / photo.shape[1], max(2, max(copy.shape[:2]) // 160)
    draw_box(copy, tuple(round(n * scale) for n in box), KNOWN, width)
    return copy


def jpeg(photo: np.ndarray, side: int = 720, quality: int = 88) -> bytes:
    """A photo (H, W, 3) as a JPEG whose longer side has at most so many pixels."""
    return as_jpeg(smaller(photo, side), quality)


def around(photo: np.ndarray, detection: Detection, factor: float = 1.6, side: int = 640) -> np.ndarray:
    """A face with what is around it: a square of the photo's own pixels, upright.

    (A face as the networks see it may reach beyond the photo, and what it has there is made up.)

    Args:
        photo: (H, W, 3) uint8.
        detection: The face, as ``detect_faces`` returns it.
        factor: How many times as wide as the face's box the square is, as far as the photo reaches.
        side: The square's side is at most so many pixels.

    Returns:
        The square, (s, s, 3) uint8.
    """
    x, y, width, height = detection["box"]
    wanted = min(round(factor * max(width, height)), *photo.shape[:2])
    left = int(np.clip(x + width // 2 - wanted // 2, 0, photo.shape[1] - wanted))
    top = int(np.clip(y + height // 2 - wanted // 2, 0, photo.shape[0] - wanted))
    return upright(smaller(photo[top : top + wanted, left : left + wanted], side), detection)
