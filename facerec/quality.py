"""How good a picture of a face is: a score that predicts failure, and hints for the person.

A network recognises good pictures more reliably than bad ones, and one bad picture in the database spoils every later
comparison with it. Pictures are therefore judged at enrolment::

    quality = face_quality(photo, detection)
    quality.score                                # 0..1: 0.98
    quality.hints                                # what is wrong and what to do: ()

The score is a logistic function of a few numbers measured in the picture. It was fitted to predict whether a picture is
recognised as the person it shows; ``docs/results/quality.json`` holds how well it does on people it has not seen.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import cv2
import numpy as np

from facerec.average_face import ALIGNED_SIDE, eye_likeness
from facerec.detection import TEMPLATE, Detection, Point, check_photo, similarity_transform, warp
from facerec.errors import BadArgument

#: The distance between the eyes of the template, as a share of its side.
EYES_APART = float(np.hypot(*np.subtract(TEMPLATE["right_eye"], TEMPLATE["left_eye"])))


@dataclass(frozen=True)
class FaceFrame:
    """A face's own coordinates: the origin between eyes and mouth, the unit the distance of the eyes.

    Attributes:
        middle: The origin, in the photo's pixels.
        across: From the left eye to the right one, in pixels: its length is ``size``.
        size: Pixels between the eyes, corrected for a turned head.
    """

    middle: np.ndarray
    across: np.ndarray
    size: float

    def coordinates(self, photo: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The face's coordinates of each pixel of a photo: (right, down), each (H, W)."""
        height, width = photo.shape[:2]
        x, y = np.arange(width)[None] - self.middle[0], np.arange(height)[:, None] - self.middle[1]
        right, down = self.across / self.size**2, np.array([-self.across[1], self.across[0]]) / self.size**2
        return x * right[0] + y * right[1], x * down[0] + y * down[1]


def frame_matrix(keypoints: Mapping[str, Point]) -> np.ndarray:
    """The similarity (2, 3) from the photo's pixels to the unit square of the template."""
    missing = [name for name in TEMPLATE if name not in keypoints]
    if missing:
        raise BadArgument(f"keypoints lack {', '.join(missing)}")
    return similarity_transform(np.array([keypoints[name] for name in TEMPLATE]), np.array(list(TEMPLATE.values())))


def face_frame(keypoints: Mapping[str, Point]) -> FaceFrame:
    """The coordinates of a face in its photo, from its keypoints in pixels."""
    matrix = frame_matrix(keypoints)
    to_photo = cv2.invertAffineTransform(matrix)
    middle = to_photo @ [*np.mean(list(TEMPLATE.values()), axis=0), 1]
    across = to_photo[:, 0] * EYES_APART
    return FaceFrame(middle, across, float(np.hypot(*across)))


#: The side of the face that a network sees, in pixels: finer detail does not matter.
QUALITY_SIDE = 150


@dataclass(frozen=True)
class FaceQuality:
    """How good a picture of a face is, and the readings behind the score.

    Attributes:
        score: 0..1, the higher the better: roughly the share of the person's other pictures that match this one, among
            pictures like those it was fitted on.
        size: Pixels between the eyes, corrected for a turned head.
        sharpness: The strength of fine detail relative to coarse detail, along the direction in which it is weakest, at
            the face's own resolution (150 pixels at most): about 0.5, less if the picture is blurred or was shaken.
            A small face can be sharp.
        noise: The median of the detail finer than a pixel or two, in grey values of 0..255.
        blocks: How much more brightness changes at every eighth pixel than in between: about 1, more after strong
            JPEG compression.
        yaw: How far the nose lies to the right of the line from between the eyes to the middle of the mouth, in eye
            distances: about 0 if the face looks straight, ±0.3 if it is turned far.
        pitch: How far down from the eyes to the mouth the nose lies, as a share: about 0.6; less if the face looks up.
        misfit: How far the five points lie from those of a frontal face, in eye distances.
        roll: How far the head is tilted in the picture's plane, in degrees, clockwise, once the picture is turned by
            the detection's ``turn``.
        brightness: The mean of the face, 0..1.
        contrast: The standard deviation of the face, 0..1. It is not part of the score.
        overexposed: The share of the face that is white.
        blank: The share of the face without any detail: white, black, or evenly covered.
        eyes: How much the eye region looks like that of the average face: a correlation, −1..1.
        detector_score: How sure the detector is that this is a face, 0..1.
    """

    score: float
    size: float
    sharpness: float
    noise: float
    blocks: float
    yaw: float
    pitch: float
    misfit: float
    roll: float
    brightness: float
    contrast: float
    overexposed: float
    blank: float
    eyes: float
    detector_score: float

    @property
    def costs(self) -> dict[str, float]:
        """What each possible defect takes from the log-odds of success, 0 or more."""
        return {name: COEFFICIENTS[name] * term.badness(self) for name, term in TERMS.items()}

    @property
    def hints(self) -> tuple[str, ...]:
        """What is wrong and what to do, a sentence each, the worst first; empty if the picture is good.

        A defect gets a hint if it alone triples the odds of failure. If the score is low without any such defect, the
        worst one gets a hint.
        """
        together: dict[str, float] = {}  # several defects may have the same hint
        for name, cost in self.costs.items():
            together[_hint(name, self)] = together.get(_hint(name, self), 0) + cost
        worst = sorted(together, key=together.get, reverse=True)
        return tuple([hint for hint in worst if together[hint] >= TRIPLED] or worst[: self.score < LOW])

    @property
    def is_good(self) -> bool:
        """Whether there are no hints."""
        return not self.hints


#: The cost in log-odds that triples the odds of failure.
TRIPLED = float(np.log(3))

#: A picture with a lower score is never good.
LOW = 0.85

#: From this yaw on, hidden eyes are put down to the turn of the head.
SIDEWAYS = 0.2


@dataclass(frozen=True)
class Term:
    """One possible defect of a picture.

    Attributes:
        reading: The number that shows it.
        good: The reading up to which the badness is 0.
        bad: The reading at which the badness is 1; beyond it, the badness rises to 2.
    """

    reading: Callable[[FaceQuality], float]
    good: float
    bad: float

    def badness(self, quality: FaceQuality) -> float:
        """How bad the defect is, from 0 to 2."""
        return float(np.clip((self.reading(quality) - self.good) / (self.bad - self.good), 0, 2))


def _octaves(value: float) -> float:
    """The logarithm to the base 2."""
    return float(np.log2(max(value, 1e-3)))


#: Every possible defect, by name.
TERMS: dict[str, Term] = {
    "small": Term(lambda q: _octaves(q.size), _octaves(40), _octaves(8)),
    "blurred": Term(lambda q: _octaves(q.sharpness), _octaves(0.4), _octaves(0.05)),
    "noisy": Term(lambda q: q.noise, 3.5, 10),
    "compressed": Term(lambda q: q.blocks, 1.15, 2),
    "turned": Term(lambda q: q.misfit, 0.08, 0.35),
    "tilted": Term(lambda q: abs(q.roll), 10, 60),
    "dark": Term(lambda q: _octaves(q.brightness), _octaves(0.2), _octaves(0.03)),
    "bright": Term(lambda q: q.brightness, 0.7, 1),
    "overexposed": Term(lambda q: q.overexposed, 0, 0.4),
    "blank": Term(lambda q: q.blank, 0.02, 0.4),
    "eyes hidden": Term(lambda q: q.eyes, 0.6, -0.2),
    "doubtful": Term(lambda q: q.detector_score, 0.995, 0.8),
}

#: The cost of each defect in log-odds at badness 1; FLAWLESS is the log-odds of success without defects. Made by
#: ``python tools/measure/quality.py fit DIR`` on 12 photographs of each of 123 people of CelebA, untouched and damaged,
#: with the encodings of ``weights/resnet``. The limits in TERMS were chosen by hand, on these people and 41 others.
COEFFICIENTS: dict[str, float] = {
    "small": 2.2,
    "blurred": 4.47,
    "noisy": 3.17,
    "compressed": 1.17,
    "turned": 1.64,
    "tilted": 0.91,
    "dark": 0.7,
    "bright": 1.33,
    "overexposed": 0.65,
    "blank": 2.25,
    "eyes hidden": 1.95,
    "doubtful": 1.15,
}

FLAWLESS = 3.78


def _hint(name: str, q: FaceQuality) -> str:
    """The hint for a defect: what is wrong and what to do."""
    if abs(q.yaw) > SIDEWAYS and name in ("turned", "eyes hidden"):
        return "the face is turned sideways: look straight into the camera"
    if name == "blank" and (q.overexposed > 0.1 or q.brightness < 0.1):
        name = "bright" if q.overexposed > 0.1 else "dark"
    return {
        "small": f"the face is small ({q.size:.0f} pixels between the eyes): come closer",
        "blurred": "the face is blurred: hold still, wipe the lens, and let the camera focus",
        "noisy": "the picture is grainy: use more light",
        "compressed": "the picture was compressed too much: use the original file",
        "turned": "the face is turned up, down or away: look straight into the camera",
        "tilted": f"the head is tilted by {abs(q.roll):.0f} degrees: hold it, or the camera, upright",
        "dark": "the face is dark: use more light, from the front",
        "bright": "the face is too bright: use less light, or a shorter exposure",
        "overexposed": "the face is too bright: use less light, or a shorter exposure",
        "blank": "part of the face is covered: uncover the face",
        "eyes hidden": "the eyes are hard to see: take off dark glasses, and keep hair and hands away",
        "doubtful": "this hardly looks like a face: show all of it, and look straight into the camera",
    }[name]


def face_quality(photo: np.ndarray, detection: Detection) -> FaceQuality:
    """How good a picture of a face is: how reliably it would be recognised.

    Args:
        photo: Array (H, W, 3), uint8, RGB.
        detection: The face in it, one of ``detect_faces(photo)``; its keypoints, score and turn are used.

    Returns:
        The score, the readings behind it, and hints for the person.

    Raises:
        BadArgument: If ``photo`` is not an (H, W, 3) array of uint8, or the detection lacks keypoints or a score.

    Example:
        >>> grey = np.full((90, 90, 3), 128, np.uint8)
        >>> keypoints = {name: (90 * x, 90 * y) for name, (x, y) in TEMPLATE.items()}
        >>> face_quality(grey, {"keypoints": keypoints, "score": 1.0}).is_good
        False
    """
    check_photo(photo)
    if not isinstance(detection, Mapping) or not {"keypoints", "score"} <= set(detection):
        raise BadArgument(f"detection must have keypoints and score, as from detect_faces; got {detection!r}")
    keypoints = detection["keypoints"]
    face, matrix = face_frame(keypoints), frame_matrix(keypoints)
    readings = {
        "size": face.size,
        **_detail(photo, matrix, face),
        "blocks": _blocks(photo, face),
        **_pose(keypoints, matrix, face, detection.get("turn", 0)),
        **_light(photo, matrix),
        "eyes": eye_likeness(_grey(photo, matrix, ALIGNED_SIDE)),
        "detector_score": float(detection["score"]),
    }
    unscored = FaceQuality(score=0.0, **readings)
    return replace(unscored, score=float(1 / (1 + np.exp(sum(unscored.costs.values()) - FLAWLESS))))


def _grey(photo: np.ndarray, matrix: np.ndarray, side: int) -> np.ndarray:
    """The aligned face in grey, (side, side) uint8."""
    return cv2.cvtColor(warp(photo, matrix * side, side), cv2.COLOR_RGB2GRAY)


def _inner(side: int) -> np.ndarray:
    """The pixels of an aligned face without hair and background, (side, side) bool: an ellipse."""
    y, x = np.mgrid[:side, :side] / side
    return ((x - 0.495) / 0.34) ** 2 + ((y - 0.48) / 0.40) ** 2 < 1


def _detail(photo: np.ndarray, matrix: np.ndarray, face: FaceFrame) -> dict[str, float]:
    """Sharpness and noise: the strength of detail finer than a pixel or two, at its strongest and at its median."""
    side = int(np.clip(round(face.size / EYES_APART), 32, QUALITY_SIDE))
    grey, inner = _grey(photo, matrix, side).astype(np.float32), _inner(side)
    along = [grey - cv2.filter2D(grey, -1, smear, borderType=cv2.BORDER_REPLICATE) for smear in _smears()]
    coarse = cv2.GaussianBlur(grey, (0, 0), 2) - cv2.GaussianBlur(grey, (0, 0), 8)
    fine, coarse = (min(np.percentile(np.abs(band)[inner], 98) for band in bands) for bands in (along, [coarse]))
    grey = _grey(photo, matrix, QUALITY_SIDE).astype(np.float32)
    grain = np.abs(grey - cv2.GaussianBlur(grey, (0, 0), 1))[_inner(QUALITY_SIDE)]
    return {"sharpness": float(fine / (coarse + 0.5)), "noise": float(np.median(grain))}  # 0.5: rounding errors


@functools.cache
def _smears() -> tuple[np.ndarray, ...]:
    """Gaussian blurs (sigma 2) along a line, in eight directions."""
    steps = np.linspace(-6, 6, 97)
    weights = np.exp(-(steps**2) / 8)
    return tuple(line_kernel(steps, weights, angle) for angle in np.arange(8) * np.pi / 8)


def line_kernel(steps: np.ndarray, weights: np.ndarray, angle: float) -> np.ndarray:
    """A kernel with weights along a line through its middle, interpolated between pixels."""
    reach = int(np.abs(steps).max()) + 1
    kernel = np.zeros((2 * reach + 1, 2 * reach + 1), np.float32)
    for step, weight in zip(steps, weights, strict=True):
        x, y = reach + step * np.cos(angle), reach + step * np.sin(angle)
        left, top = int(x), int(y)
        kernel[top : top + 2, left : left + 2] += weight * np.outer([1 - y + top, y - top], [1 - x + left, x - left])
    return kernel / kernel.sum()


def _blocks(photo: np.ndarray, face: FaceFrame) -> float:
    """The change of brightness where JPEG's blocks meet, at every eighth pixel, relative to the change elsewhere."""
    left, top = np.maximum(face.middle - 1.3 * face.size, 0).astype(int) // 8 * 8
    right, bottom = np.maximum(face.middle + 1.3 * face.size, 0).astype(int)
    part = photo[top:bottom, left:right]
    if min(part.shape[:2]) < 25:
        return 1.0
    grey = cv2.cvtColor(np.ascontiguousarray(part), cv2.COLOR_RGB2GRAY).astype(np.float32)
    ratios = []
    for pixels in (grey, grey.T):
        steps = np.abs(np.diff(pixels, axis=1)).mean(axis=0)
        meets = np.arange(len(steps)) % 8 == 7
        ratios.append((steps[meets].mean() + 0.5) / (steps[~meets].mean() + 0.5))
    return float(np.mean(ratios))


def _pose(keypoints: Mapping[str, Point], matrix: np.ndarray, face: FaceFrame, turn: int) -> dict[str, float]:
    """The pose of the head, from the five points, in a photo that has to be turned by so many degrees."""
    points = {name: matrix[:, :2] @ keypoints[name] + matrix[:, 2] for name in TEMPLATE}
    eyes = (points["left_eye"] + points["right_eye"]) / 2
    down = (points["mouth_left"] + points["mouth_right"]) / 2 - eyes
    nose, length = points["nose"] - eyes, np.hypot(*down) + 1e-9
    off = [np.hypot(*(points[name] - place)) for name, place in TEMPLATE.items()]
    return {
        "yaw": float((nose[0] * down[1] - nose[1] * down[0]) / length / EYES_APART),
        "pitch": float(nose @ down / length**2),
        "misfit": float(np.sqrt(np.mean(np.square(off))) / EYES_APART),
        "roll": float((np.degrees(np.arctan2(face.across[1], face.across[0])) + turn + 180) % 360 - 180),
    }


def _light(photo: np.ndarray, matrix: np.ndarray) -> dict[str, float]:
    """The brightness of the face, and the shares of it without detail."""
    pixels = _grey(photo, matrix, QUALITY_SIDE)[_inner(QUALITY_SIDE)]
    blocks = _grey(photo, matrix, 96)[16:80, 20:76].astype(np.float64).reshape(8, 8, 7, 8)
    return {
        "brightness": float(pixels.mean() / 255),
        "contrast": float(pixels.std() / 255),
        "overexposed": float((pixels >= 250).mean()),
        "blank": float((blocks.std(axis=(1, 3)) < 1).mean()),
    }
