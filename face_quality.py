"""How good a picture of a face is: a score that foretells failure, hints for the person, and ways to make it worse.

A network recognises a good picture more surely than a bad one, and a bad picture in the database spoils every look at
the door. So a picture is judged when somebody is enrolled::

    quality = face_quality(photo, detection)
    quality.score                                # 0..1: 0.98
    quality.hints                                # what is wrong and what to do: ()

The score is a logistic function of a few numbers that are measured in the picture. It was fitted to predict whether a
picture is recognised as the person it shows; ``results/quality.json`` says how well it does on people it has not seen.

``damaged`` makes a picture worse in twelve named ways, to see what a network stands.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import cv2
import numpy as np

from errors import BadArgument
from face_detection import TEMPLATE, Detection, Point, check_photo, similarity_transform, warp

#: Between the eyes of the template, as a share of its side.
EYES_APART = float(np.hypot(*np.subtract(TEMPLATE["right_eye"], TEMPLATE["left_eye"])))


# ------------------------------------------------------------------------------------------ where a face is
@dataclass(frozen=True)
class _Frame:
    """A face's own coordinates: the origin between eyes and mouth, the unit the distance of the eyes.

    Attributes:
        middle: The origin, in the photo's pixels.
        across: From the left eye to the right one, in pixels: its length is ``size``.
        size: Pixels between the eyes, as they would be if the face looked straight.
    """

    middle: np.ndarray
    across: np.ndarray
    size: float

    def coordinates(self, photo: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Where each pixel of a photo lies in the face's coordinates: (right, down), each (H, W)."""
        height, width = photo.shape[:2]
        x, y = np.arange(width)[None] - self.middle[0], np.arange(height)[:, None] - self.middle[1]
        right, down = self.across / self.size**2, np.array([-self.across[1], self.across[0]]) / self.size**2
        return x * right[0] + y * right[1], x * down[0] + y * down[1]


def _matrix(keypoints: Mapping[str, Point]) -> np.ndarray:
    """The similarity (2, 3) from the photo's pixels to the unit square of the template."""
    missing = [name for name in TEMPLATE if name not in keypoints]
    if missing:
        raise BadArgument(f"keypoints lack {', '.join(missing)}")
    return similarity_transform(np.array([keypoints[name] for name in TEMPLATE]), np.array(list(TEMPLATE.values())))


def _frame(keypoints: Mapping[str, Point]) -> _Frame:
    matrix = _matrix(keypoints)
    to_photo = cv2.invertAffineTransform(matrix)
    middle = to_photo @ [*np.mean(list(TEMPLATE.values()), axis=0), 1]
    across = to_photo[:, 0] * EYES_APART
    return _Frame(middle, across, float(np.hypot(*across)))


# ------------------------------------------------------------------------------------------ how good it is
#: The average face of people who do not exist: 16×16 grey pixels of an aligned face, a row per line, in hexadecimal.
#: Made by ``python tools/quality.py average``.
AVERAGE = """
341b173971a1c3d1d6d0b88540130508
351d245487b7d4dde0dcc79f5c1e0004
31242c6696c7e8f1efe6c8a26e2f0601
39353b56565398e1cb7b55685d351305
37434643281f47c8a2411c244e462714
3b4e5f5647496ee3c87863496c70422e
4f5e7ba1b9c4cdffe9c3d2d4c68b5743
636684ade5eddefce8d0f1f3cd87604d
6e6c779ed0ccaba79aaad3dab17c6048
6f6f6d7c9ec0bba7afc3c3ac90725237
606464718d7c7387887a779e8c6d4025
505357607d8f849e9f96a99d7b522513
464b443c528faaa1a7bdb282592e180d
444736272e65b6d4daca8e5235212317
414237241c367a9fa088512f2a232211
413f342421346483836d452a29251a0a
"""

#: Where the eyes lie in those 16×16 pixels.
EYES = (slice(3, 7), slice(2, 14))

#: The side of the face that a network looks at, in pixels: what is finer than that, nobody misses.
SIDE = 150


@dataclass(frozen=True)
class FaceQuality:
    """How good a picture of a face is, and what that was judged by.

    Attributes:
        score: 0..1, the higher the better: about the share of the person's other pictures that would recognise this
            one, if pictures were as good and as bad as those it was fitted on.
        size: Pixels between the eyes, as they would be if the face looked straight.
        sharpness: How strong fine detail of the face is beside coarse detail, along the direction in which it is
            weakest, in as many pixels as the face has, 150 at most: about 0.5, less where it is blurred or was shaken.
            A small face can be sharp.
        noise: The median of what is finer than a pixel or two, in grey values of 0..255.
        blocks: How much stronger brightness changes at every eighth pixel than between: about 1, more after strong
            JPEG compression.
        yaw: How far the nose lies to the right of the line from between the eyes to the middle of the mouth, in eye
            distances: about 0 if the face looks straight, ±0.3 if it is turned far.
        pitch: How far down from the eyes to the mouth the nose lies, as a share: about 0.6; less if the face looks up.
        misfit: How far the five points lie from those of a face that looks straight, in eye distances.
        roll: How far the head is tilted in the picture's plane, in degrees, clockwise.
        brightness: Of the face, the mean, 0..1.
        contrast: The standard deviation, 0..1. It is not part of the score.
        overexposed: The share of the face that is white.
        blank: The share of the face that shows nothing at all: white, black, or evenly covered.
        eyes: How much the part around the eyes looks like anybody's: a correlation with the average face, −1..1.
        confidence: How sure the detector is that this is a face, 0..1.
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
    confidence: float

    @property
    def costs(self) -> dict[str, float]:
        """What each thing that may be wrong takes from the log-odds of success, 0 or more."""
        return {name: COEFFICIENTS[name] * term.badness(self) for name, term in TERMS.items()}

    @property
    def hints(self) -> tuple[str, ...]:
        """What is wrong and what to do, a sentence each, the worst first; nothing if the picture is good.

        Something is wrong if it alone triples the odds of failure. If the score is low and nothing is so bad alone,
        the worst thing is named.
        """
        together: dict[str, float] = {}  # several numbers may say the same
        for name, cost in self.costs.items():
            together[_hint(name, self)] = together.get(_hint(name, self), 0) + cost
        worst = sorted(together, key=together.get, reverse=True)
        return tuple([hint for hint in worst if together[hint] >= TRIPLED] or worst[: self.score < LOW])

    @property
    def is_good(self) -> bool:
        """Whether there is nothing to say about it."""
        return not self.hints


#: What triples the odds of failure, taken from the log-odds of success.
TRIPLED = float(np.log(3))

#: A lower score is never good.
LOW = 0.85

#: From such a yaw on, it is the turn that hides the eyes.
SIDEWAYS = 0.2


@dataclass(frozen=True)
class Term:
    """One thing that may be wrong with a picture.

    Attributes:
        reading: The number that says it.
        good: Where it stops to matter: the badness is 0 there and on the other side.
        bad: Where the badness is 1; beyond, it goes on to 2.
    """

    reading: Callable[[FaceQuality], float]
    good: float
    bad: float

    def badness(self, quality: FaceQuality) -> float:
        """How bad it is, from 0 to 2."""
        return float(np.clip((self.reading(quality) - self.good) / (self.bad - self.good), 0, 2))


def _octaves(value: float) -> float:
    """How often 1 was doubled."""
    return float(np.log2(max(value, 1e-3)))


#: What may be wrong.
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
    "doubtful": Term(lambda q: q.confidence, 0.995, 0.8),
}

#: How much each costs in log-odds where its badness is 1, and the log-odds of success where nothing is wrong.
#: Made by ``python tools/quality.py fit DIR`` on 12 photographs of each of 123 people of CelebA, untouched and damaged,
#: with the encodings of ``weights/resnet``. The places in TERMS were chosen by hand, on these people and 41 others.
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
    """What is wrong, and what to do about it."""
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
        "blank": "a part of the face is covered: let nothing lie over it",
        "eyes hidden": "the eyes are hard to see: take off dark glasses, and keep hair and hands away",
        "doubtful": "this hardly looks like a face: show all of it, and look straight into the camera",
    }[name]


def face_quality(photo: np.ndarray, detection: Detection) -> FaceQuality:
    """Judge a picture of a face: how surely will the person be recognised by it?

    Args:
        photo: Array (H, W, 3), uint8, RGB.
        detection: The face in it, one of ``detect_faces(photo)``; its keypoints and its confidence are used.

    Returns:
        The score, what it was judged by, and hints for the person.

    Raises:
        BadArgument: If ``photo`` is no (H, W, 3) array of uint8, or the detection lacks keypoints or a confidence.

    Example:
        >>> grey = np.full((90, 90, 3), 128, np.uint8)
        >>> keypoints = {name: (90 * x, 90 * y) for name, (x, y) in TEMPLATE.items()}
        >>> face_quality(grey, {"keypoints": keypoints, "confidence": 1.0}).is_good
        False
    """
    check_photo(photo)
    if not isinstance(detection, Mapping) or not {"keypoints", "confidence"} <= set(detection):
        raise BadArgument(f"detection must hold keypoints and confidence, as detect_faces gives it: {detection!r}")
    keypoints = detection["keypoints"]
    face, matrix = _frame(keypoints), _matrix(keypoints)
    readings = {
        "size": face.size,
        **_detail(photo, matrix, face),
        "blocks": _blocks(photo, face),
        **_pose(keypoints, matrix, face),
        **_light(photo, matrix),
        "eyes": _eyes(photo, matrix),
        "confidence": float(detection["confidence"]),
    }
    unscored = FaceQuality(score=0.0, **readings)
    return replace(unscored, score=float(1 / (1 + np.exp(sum(unscored.costs.values()) - FLAWLESS))))


def _grey(photo: np.ndarray, matrix: np.ndarray, side: int) -> np.ndarray:
    """The aligned face in grey, (side, side) uint8."""
    return cv2.cvtColor(warp(photo, matrix * side, side), cv2.COLOR_RGB2GRAY)


def _inner(side: int) -> np.ndarray:
    """Which pixels of an aligned face show skin, eyes and mouth, whatever hair and head are like: an ellipse."""
    y, x = np.mgrid[:side, :side] / side
    return ((x - 0.495) / 0.34) ** 2 + ((y - 0.48) / 0.40) ** 2 < 1


def _detail(photo: np.ndarray, matrix: np.ndarray, face: _Frame) -> dict[str, float]:
    """Sharpness and noise: what is finer than a pixel or two, where it is strong and where it is weak."""
    side = int(np.clip(round(face.size / EYES_APART), 32, SIDE))
    grey, inner = _grey(photo, matrix, side).astype(np.float32), _inner(side)
    along = [grey - cv2.filter2D(grey, -1, smear, borderType=cv2.BORDER_REPLICATE) for smear in _smears()]
    coarse = cv2.GaussianBlur(grey, (0, 0), 2) - cv2.GaussianBlur(grey, (0, 0), 8)
    fine, coarse = (min(np.percentile(np.abs(band)[inner], 98) for band in bands) for bands in (along, [coarse]))
    grey = _grey(photo, matrix, SIDE).astype(np.float32)
    grain = np.abs(grey - cv2.GaussianBlur(grey, (0, 0), 1))[_inner(SIDE)]
    return {"sharpness": float(fine / (coarse + 0.5)), "noise": float(np.median(grain))}  # 0.5: rounding is no detail


@functools.cache
def _smears() -> tuple[np.ndarray, ...]:
    """Gaussian blurs (sigma 2) along a line, in eight directions."""
    steps = np.linspace(-6, 6, 97)
    weights = np.exp(-(steps**2) / 8)
    return tuple(_line(steps, weights, angle) for angle in np.arange(8) * np.pi / 8)


def _line(steps: np.ndarray, weights: np.ndarray, angle: float) -> np.ndarray:
    """A kernel that weighs the points of a line through its middle; they lie between the pixels."""
    reach = int(np.abs(steps).max()) + 1
    kernel = np.zeros((2 * reach + 1, 2 * reach + 1), np.float32)
    for step, weight in zip(steps, weights, strict=True):
        x, y = reach + step * np.cos(angle), reach + step * np.sin(angle)
        left, top = int(x), int(y)
        kernel[top : top + 2, left : left + 2] += weight * np.outer([1 - y + top, y - top], [1 - x + left, x - left])
    return kernel / kernel.sum()


def _blocks(photo: np.ndarray, face: _Frame) -> float:
    """How much stronger brightness changes at every eighth pixel, where JPEG's blocks meet."""
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


def _pose(keypoints: Mapping[str, Point], matrix: np.ndarray, face: _Frame) -> dict[str, float]:
    """Where the head looks, from the five points."""
    points = {name: matrix[:, :2] @ keypoints[name] + matrix[:, 2] for name in TEMPLATE}
    eyes = (points["left_eye"] + points["right_eye"]) / 2
    down = (points["mouth_left"] + points["mouth_right"]) / 2 - eyes
    nose, length = points["nose"] - eyes, np.hypot(*down) + 1e-9
    off = [np.hypot(*(points[name] - place)) for name, place in TEMPLATE.items()]
    return {
        "yaw": float((nose[0] * down[1] - nose[1] * down[0]) / length / EYES_APART),
        "pitch": float(nose @ down / length**2),
        "misfit": float(np.sqrt(np.mean(np.square(off))) / EYES_APART),
        "roll": float(np.degrees(np.arctan2(face.across[1], face.across[0]))),
    }


def _light(photo: np.ndarray, matrix: np.ndarray) -> dict[str, float]:
    """How bright the face is, and what of it shows nothing."""
    pixels = _grey(photo, matrix, SIDE)[_inner(SIDE)]
    blocks = _grey(photo, matrix, 96)[16:80, 20:76].astype(np.float64).reshape(8, 8, 7, 8)
    return {
        "brightness": float(pixels.mean() / 255),
        "contrast": float(pixels.std() / 255),
        "overexposed": float((pixels >= 250).mean()),
        "blank": float((blocks.std(axis=(1, 3)) < 1).mean()),
    }


def _eyes(photo: np.ndarray, matrix: np.ndarray) -> float:
    """How much the eyes look like the average face's: a correlation, 0 where there is hardly anything to see."""
    small = cv2.resize(_grey(photo, matrix, 96), (16, 16), interpolation=cv2.INTER_AREA)[EYES].astype(np.float64)
    average = np.array([list(bytes.fromhex(row)) for row in AVERAGE.split()], np.float64)[EYES]
    a, b = (small - small.mean()).ravel(), (average - average.mean()).ravel()
    return float(a @ b / np.sqrt((a @ a + 0.25 * a.size) * (b @ b)))


# ------------------------------------------------------------------------------------------ how it gets worse
Work = Callable[[np.ndarray, _Frame, float, np.random.Generator], np.ndarray]


def _smaller(photo: np.ndarray, face: _Frame, level: float, rng: np.random.Generator) -> np.ndarray:
    height, width = photo.shape[:2]
    factor = level / face.size
    if factor >= 1:
        return photo
    small = (max(1, round(width * factor)), max(1, round(height * factor)))
    return cv2.resize(cv2.resize(photo, small, interpolation=cv2.INTER_AREA), (width, height))


def _blurred(photo: np.ndarray, face: _Frame, level: float, rng: np.random.Generator) -> np.ndarray:
    return cv2.GaussianBlur(photo, (0, 0), level * face.size, borderType=cv2.BORDER_REPLICATE)


def _shaken(photo: np.ndarray, face: _Frame, level: float, rng: np.random.Generator) -> np.ndarray:
    length, angle = level * face.size, rng.uniform(0, np.pi)
    steps = np.linspace(-length / 2, length / 2, 4 * int(np.ceil(length)) + 1)
    return cv2.filter2D(photo, -1, _line(steps, np.ones(len(steps)), angle), borderType=cv2.BORDER_REPLICATE)


def _tilted(photo: np.ndarray, face: _Frame, level: float, rng: np.random.Generator) -> np.ndarray:
    height, width = photo.shape[:2]
    matrix = cv2.getRotationMatrix2D([float(n) for n in face.middle], level * rng.choice([-1, 1]), 1)
    return cv2.warpAffine(photo, matrix, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


def _exposed(photo: np.ndarray, stops: float) -> np.ndarray:
    """So many stops more light, for a display's gamma of 2.2; what does not fit into 0..255 is cut off."""
    return (photo * 2 ** (stops / 2.2)).round().clip(0, 255).astype(np.uint8)


def _darker(photo: np.ndarray, face: _Frame, level: float, rng: np.random.Generator) -> np.ndarray:
    return _exposed(photo, -level)


def _brighter(photo: np.ndarray, face: _Frame, level: float, rng: np.random.Generator) -> np.ndarray:
    return _exposed(photo, level)


def _compressed(photo: np.ndarray, face: _Frame, level: float, rng: np.random.Generator) -> np.ndarray:
    _, data = cv2.imencode(".jpg", photo[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, max(1, round(level))])
    return np.ascontiguousarray(cv2.imdecode(data, cv2.IMREAD_COLOR)[..., ::-1])


def _noisy(photo: np.ndarray, face: _Frame, level: float, rng: np.random.Generator) -> np.ndarray:
    return (photo + level * rng.standard_normal(photo.shape)).round().clip(0, 255).astype(np.uint8)


def _covered(photo: np.ndarray, inside: np.ndarray, colour: tuple[int, int, int]) -> np.ndarray:
    worse = photo.copy()
    worse[inside] = colour
    return worse


def _eyes_covered(photo: np.ndarray, face: _Frame, level: float, rng: np.random.Generator) -> np.ndarray:
    right, down = face.coordinates(photo)
    return _covered(photo, (np.abs(right) < 1) & (np.abs(down + 0.53) < 0.36 * level), (25, 25, 28))


def _mouth_covered(photo: np.ndarray, face: _Frame, level: float, rng: np.random.Generator) -> np.ndarray:
    right, down = face.coordinates(photo)
    return _covered(photo, (np.abs(right) < 1) & (down > 1.1 - 1.25 * level) & (down < 1.1), (170, 190, 205))


def _half_covered(photo: np.ndarray, face: _Frame, level: float, rng: np.random.Generator) -> np.ndarray:
    right, down = face.coordinates(photo)
    from_edge = right * rng.choice([-1, 1]) + 1  # 0 at one edge of the face, 2 at the other
    return _covered(photo, (from_edge > 0) & (from_edge < 2 * level) & (np.abs(down) < 1.6), (60, 50, 45))


def _turned(photo: np.ndarray, face: _Frame, level: float, rng: np.random.Generator) -> np.ndarray:
    """The photo, wrapped around an upright cylinder with a nose, and turned; what was hidden stays unknown."""
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
    """Along one row of a head: which point comes to lie at each place ``u`` after the turn."""
    nose = 0.35 * np.exp(-((u / 0.2) ** 2) - ((row - 0.08) / 0.25) ** 2)
    depth = np.sqrt(np.maximum(radius**2 - u**2, 0)) - 0.75 * radius + nose
    head = u * np.cos(angle) + depth * np.sin(angle)
    beside = np.clip((np.abs(u) - radius) / (3 - radius), 0, 1)  # the background is stretched, and stays at ±3
    edge = np.sign(u) * radius * np.cos(angle) - 0.75 * radius * np.sin(angle)
    moved = np.where(beside > 0, edge + (np.sign(u) * 3 - edge) * beside, head)
    moved = np.maximum.accumulate(moved) + 1e-6 * u  # what lies behind another point is hidden
    return np.interp(u, moved, u)


@dataclass(frozen=True)
class Damage:
    """A way to make a picture of a face worse.

    Attributes:
        levels: From 0, which leaves the picture as it is, to the worst.
        unit: What a level says.
        most: The largest number that makes sense.
        work: What does it.
    """

    levels: tuple[float, ...]
    unit: str
    most: float
    work: Work


#: Every way, by its name.
WAYS: dict[str, Damage] = {
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

#: The levels of each way, from 0 (untouched) to the worst.
DAMAGES: dict[str, tuple[float, ...]] = {kind: way.levels for kind, way in WAYS.items()}


def damaged(photo: np.ndarray, keypoints: Mapping[str, Point], kind: str, level: float, seed: int = 0) -> np.ndarray:
    """Make a picture of a face worse, in one way.

    The face may lie elsewhere afterwards (``tilted``, ``turned``): detect it anew. A head that really turns shows what
    was hidden; ``turned`` can't, so for profiles take real photographs, by their ``yaw``.

    Args:
        photo: Array (H, W, 3), uint8, RGB; it is not changed.
        keypoints: The face's five points in the photo's pixels, by MTCNN's names.
        kind: A key of :data:`DAMAGES`.
        level: How much, in the kind's own unit (``WAYS[kind].unit``). 0 leaves the photo as it is.
        seed: Of the noise, of the direction of a shake, and of the side that is covered or turned away.

    Returns:
        The worse photo, (H, W, 3) uint8, a new array.

    Raises:
        BadArgument: If there is no such kind, or the level makes no sense for it.

    Example:
        >>> grey = np.full((90, 90, 3), 128, np.uint8)
        >>> keypoints = {name: (90 * x, 90 * y) for name, (x, y) in TEMPLATE.items()}
        >>> int(damaged(grey, keypoints, "darker", 2).max())
        68
    """
    if kind not in WAYS:
        raise BadArgument(f"kind={kind!r}: one of {', '.join(WAYS)}")
    is_number = isinstance(level, int | float | np.number) and not isinstance(level, bool)
    if not is_number or not 0 <= level <= WAYS[kind].most:
        raise BadArgument(f"level={level!r}: {kind} takes 0..{WAYS[kind].most:g} ({WAYS[kind].unit}); 0 is untouched")
    face = _frame(keypoints)
    if level == 0:
        return check_photo(photo).copy()
    worse = WAYS[kind].work(check_photo(photo), face, float(level), np.random.default_rng(seed))
    return worse.copy() if worse is photo else worse
