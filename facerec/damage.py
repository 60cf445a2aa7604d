"""Twelve ways to make a picture of a face worse, each at several levels, to test networks and quality scores.

damaged(photo, keypoints, "blurred", 0.06)       # sigma of 6 % of the distance between the eyes
DAMAGES["blurred"].levels                        # (0, 0.03, 0.06, 0.1, 0.15); 0 leaves the photo as it is
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import cv2
import numpy as np

from facerec.detection import Point, check_photo
from facerec.errors import BadArgument
from facerec.quality import FaceFrame, face_frame, line_kernel

#: (photo, face, level, rng) → the worse photo, (H, W, 3) uint8.
Work = Callable[[np.ndarray, FaceFrame, float, np.random.Generator], np.ndarray]


def _smaller(photo: np.ndarray, face: FaceFrame, level: float, rng: np.random.Generator) -> np.ndarray:
    height, width = photo.shape[:2]
    factor = level / face.size
    if factor >= 1:
        return photo
    small = (max(1, round(width * factor)), max(1, round(height * factor)))
    return cv2.resize(cv2.resize(photo, small, interpolation=cv2.INTER_AREA), (width, height))


def _blurred(photo: np.ndarray, face: FaceFrame, level: float, rng: np.random.Generator) -> np.ndarray:
    return cv2.GaussianBlur(photo, (0, 0), level * face.size, borderType=cv2.BORDER_REPLICATE)


def _shaken(photo: np.ndarray, face: FaceFrame, level: float, rng: np.random.Generator) -> np.ndarray:
    length, angle = level * face.size, rng.uniform(0, np.pi)
    steps = np.linspace(-length / 2, length / 2, 4 * int(np.ceil(length)) + 1)
    return cv2.filter2D(photo, -1, line_kernel(steps, np.ones(len(steps)), angle), borderType=cv2.BORDER_REPLICATE)


def _tilted(photo: np.ndarray, face: FaceFrame, level: float, rng: np.random.Generator) -> np.ndarray:
    height, width = photo.shape[:2]
    matrix = cv2.getRotationMatrix2D([float(n) for n in face.middle], level * rng.choice([-1, 1]), 1)
    return cv2.warpAffine(photo, matrix, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


def _exposed(photo: np.ndarray, stops: float) -> np.ndarray:
    """The photo with so many stops more light, for a display's gamma of 2.2; clipped to 0..255."""
    return (photo * 2 ** (stops / 2.2)).round().clip(0, 255).astype(np.uint8)


def _darker(photo: np.ndarray, face: FaceFrame, level: float, rng: np.random.Generator) -> np.ndarray:
    return _exposed(photo, -level)


def _brighter(photo: np.ndarray, face: FaceFrame, level: float, rng: np.random.Generator) -> np.ndarray:
    return _exposed(photo, level)


def compressed(photo: np.ndarray, quality: int) -> np.ndarray:
    """A photo (H, W, 3) after it was saved as a JPEG of this quality, 1 to 100."""
    _, data = cv2.imencode(".jpg", photo[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
    return np.ascontiguousarray(cv2.imdecode(data, cv2.IMREAD_COLOR)[..., ::-1])


def _compressed(photo: np.ndarray, face: FaceFrame, level: float, rng: np.random.Generator) -> np.ndarray:
    return compressed(photo, max(1, round(level)))


def _noisy(photo: np.ndarray, face: FaceFrame, level: float, rng: np.random.Generator) -> np.ndarray:
    return (photo + level * rng.standard_normal(photo.shape)).round().clip(0, 255).astype(np.uint8)


def _covered(photo: np.ndarray, inside: np.ndarray, colour: tuple[int, int, int]) -> np.ndarray:
    worse = photo.copy()
    worse[inside] = colour
    return worse


def _eyes_covered(photo: np.ndarray, face: FaceFrame, level: float, rng: np.random.Generator) -> np.ndarray:
    right, down = face.coordinates(photo)
    return _covered(photo, (np.abs(right) < 1) & (np.abs(down + 0.53) < 0.36 * level), (25, 25, 28))


def _mouth_covered(photo: np.ndarray, face: FaceFrame, level: float, rng: np.random.Generator) -> np.ndarray:
    right, down = face.coordinates(photo)
    return _covered(photo, (np.abs(right) < 1) & (down > 1.1 - 1.25 * level) & (down < 1.1), (170, 190, 205))


def _half_covered(photo: np.ndarray, face: FaceFrame, level: float, rng: np.random.Generator) -> np.ndarray:
    right, down = face.coordinates(photo)
    from_edge = right * rng.choice([-1, 1]) + 1  # 0 at one edge of the face, 2 at the other
    return _covered(photo, (from_edge > 0) & (from_edge < 2 * level) & (np.abs(down) < 1.6), (60, 50, 45))


def _turned(photo: np.ndarray, face: FaceFrame, level: float, rng: np.random.Generator) -> np.ndarray:
    """The photo, wrapped around an upright cylinder with a nose, and turned; it can't show what was hidden."""
    right, down = face.coordinates(photo)
    side, radius, grain = rng.choice([-1, 1]), 1.15, 64
    u, v = np.linspace(-3, 3, 6 * grain), np.linspace(-2, 2, 4 * grain)  # the surface, in eye distances
    table = np.stack([_pulled(u, row, np.radians(level), radius) for row in v]).astype(np.float32)
    at = ((right * side + 3) * (len(u) - 1) / 6, (down.clip(-2, 2) + 2) * (len(v) - 1) / 4)
    seen = cv2.remap(table, *(np.asarray(n, np.float32) for n in at), cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    shift = np.where(np.abs(right) < 3, seen * side - right, 0)[..., None] * face.across  # (H, W, 2) in pixels
    y, x = np.mgrid[: photo.shape[0], : photo.shape[1]]
    maps = (np.float32(x + shift[..., 0]), np.float32(y + shift[..., 1]))
    return cv2.remap(photo, *maps, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


def _pulled(u: np.ndarray, row: float, angle: float, radius: float) -> np.ndarray:
    """For one row of a head: the point that lies at each place ``u`` after the turn."""
    nose = 0.35 * np.exp(-((u / 0.2) ** 2) - ((row - 0.08) / 0.25) ** 2)
    depth = np.sqrt(np.maximum(radius**2 - u**2, 0)) - 0.75 * radius + nose
    head = u * np.cos(angle) + depth * np.sin(angle)
    beside = np.clip((np.abs(u) - radius) / (3 - radius), 0, 1)  # the background is stretched; ±3 stays in place
    edge = np.sign(u) * radius * np.cos(angle) - 0.75 * radius * np.sin(angle)
    moved = np.where(beside > 0, edge + (np.sign(u) * 3 - edge) * beside, head)
    moved = np.maximum.accumulate(moved) + 1e-6 * u  # a point behind another one is hidden
    return np.interp(u, moved, u)


@dataclass(frozen=True)
class Damage:
    """A way to make a picture of a face worse.

    Attributes:
        levels: From 0, which leaves the picture as it is, to the worst.
        unit: The unit of a level.
        most: The largest level allowed.
        work: The function that does it.
    """

    levels: tuple[float, ...]
    unit: str
    most: float
    work: Work


#: Every kind of damage, by its name.
DAMAGES: dict[str, Damage] = {
    "smaller": Damage((0, 28, 20, 14, 10), "pixels between the eyes, enlarged again", 10_000, _smaller),
    "blurred": Damage((0, 0.03, 0.06, 0.1, 0.15), "sigma, in eye distances", 2, _blurred),
    "shaken": Damage((0, 0.15, 0.3, 0.5, 0.7), "length of the smear, in eye distances", 5, _shaken),
    "tilted": Damage((0, 10, 20, 30, 40), "degrees in the picture's plane", 180, _tilted),
    "darker": Damage((0, 2, 4, 6, 8), "stops less light", 20, _darker),
    "brighter": Damage((0, 1, 2, 3, 4), "stops more light", 20, _brighter),
    "compressed": Damage((0, 30, 15, 8, 4), "JPEG quality of 100", 100, _compressed),
    "noisy": Damage((0, 12, 25, 45, 70), "standard deviation, of 255", 255, _noisy),
    "eyes covered": Damage((0, 0.3, 0.55, 0.8, 1), "share of the strip from the brows to the cheeks", 1, _eyes_covered),
    "mouth covered": Damage((0, 0.35, 0.55, 0.8, 1), "share of the part from the chin to the nose", 1, _mouth_covered),
    "half covered": Damage((0, 0.15, 0.3, 0.4, 0.5), "share of the width, from one side", 1, _half_covered),
    "turned": Damage((0, 12, 24, 36, 48), "degrees to one side, of a cylinder with a nose", 70, _turned),
}


def damaged(photo: np.ndarray, keypoints: Mapping[str, Point], kind: str, level: float, seed: int = 0) -> np.ndarray:
    """A picture of a face, damaged in one way.

    The face may move (``tilted``, ``turned``): detect it again. A real turn of the head reveals what was hidden;
    ``turned`` can't, so use real photographs for profiles.

    Args:
        photo: Array (H, W, 3), uint8, RGB; it is not changed.
        keypoints: The face's five points in the photo's pixels, by MTCNN's names.
        kind: A key of :data:`DAMAGES`.
        level: How much, in the kind's own unit (``DAMAGES[kind].unit``). 0 leaves the photo as it is.
        seed: Seed of the noise, the direction of a shake, and the side that is covered or turned away.

    Returns:
        The damaged photo, (H, W, 3) uint8, a new array.

    Raises:
        BadArgument: If there is no such kind, or the level is out of its range.

    Example:
        >>> from facerec.detection import TEMPLATE
        >>> grey = np.full((90, 90, 3), 128, np.uint8)
        >>> keypoints = {name: (90 * x, 90 * y) for name, (x, y) in TEMPLATE.items()}
        >>> int(damaged(grey, keypoints, "darker", 2).max())
        68
    """
    if kind not in DAMAGES:
        raise BadArgument(f"kind={kind!r}: must be one of {', '.join(DAMAGES)}")
    is_number = isinstance(level, int | float | np.number) and not isinstance(level, bool)
    if not is_number or not 0 <= level <= DAMAGES[kind].most:
        most, unit = DAMAGES[kind].most, DAMAGES[kind].unit
        raise BadArgument(f"level={level!r}: {kind} takes 0..{most:g} ({unit}); 0 is untouched")
    face = face_frame(keypoints)
    if level == 0:
        return check_photo(photo).copy()
    worse = DAMAGES[kind].work(check_photo(photo), face, float(level), np.random.default_rng(seed))
    return worse.copy() if worse is photo else worse
