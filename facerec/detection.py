"""Where the faces are: boxes, keypoints and aligned faces.

A photo is an array (H, W, 3), uint8, RGB. A detection is what MTCNN says about one face::

    {"box": (x, y, width, height), "keypoints": {"left_eye": (x, y), ...}, "confidence": 0.99}

in the photo's own pixels; left is the left of the picture. An aligned face is a crop (S, S, 3) in which
eyes, nose and mouth always lie in the same place: that is what the networks were trained to look at.

Source: Zhang et al., "Joint Face Detection and Alignment using Multi-task Cascaded Convolutional
Networks", 2016, in the implementation of the package ``mtcnn``.
"""

from __future__ import annotations

import functools
import sys
import threading
from collections import defaultdict
from collections.abc import Mapping, Sequence

import cv2
import numpy as np

from facerec._quiet import quietly
from facerec.errors import BadArgument, NoFaceFound

Point = tuple[float, float]


Detection = dict  # {"box": (x, y, width, height), "keypoints": {name: (x, y)}, "confidence": float}


#: Where the five points lie in an aligned face: (x, y) as fractions of its side. They are the medians, over
#: 80 faces, of MTCNN's points in the 150×150 crops that the original engine of weights/resnet makes.
TEMPLATE: dict[str, Point] = {
    "left_eye": (47.0 / 150, 45.0 / 150),
    "right_eye": (101.0 / 150, 44.5 / 150),
    "nose": (74.5 / 150, 77.0 / 150),
    "mouth_left": (49.5 / 150, 100.0 / 150),
    "mouth_right": (98.5 / 150, 99.0 / 150),
}


KEYPOINTS = tuple(TEMPLATE)


#: Larger photos are searched in a smaller copy of this longest side, in pixels: a face that matters to a
#: door or a desk is large, and the search costs time with the area.
SEARCH_SIDE = 1024


#: The shortest side, in pixels, of the copy that is searched: MTCNN needs some pixels to slide over.
SMALLEST_SIDE = 48


def detect_faces(photo: np.ndarray, min_confidence: float = 0.8, search_side: int = SEARCH_SIDE) -> list[Detection]:
    """Find the faces of one photo, the largest first.

    Args:
        photo: Array (H, W, 3), uint8, RGB.
        min_confidence: Faces of which MTCNN is less sure (0..1) are left out; 0.8 is its own threshold.
        search_side: Photos with a longer side, in pixels, are searched in a copy of that size.

    Returns:
        A list of detections, in the photo's own pixels; empty if there is no face.

    Raises:
        BadArgument: If ``photo`` is no (H, W, 3) array of uint8.
    """
    return detect_faces_batch([photo], min_confidence, search_side)[0]


def detect_faces_batch(
    photos: Sequence[np.ndarray], min_confidence: float = 0.8, search_side: int = SEARCH_SIDE, batch_size: int = 16
) -> list[list[Detection]]:
    """Find the faces of many photos: photos of one size go through MTCNN together.

    Args:
        photos: Arrays (H, W, 3), uint8, RGB, of any sizes.
        min_confidence: As in ``detect_faces``.
        search_side: As in ``detect_faces``.
        batch_size: How many photos are searched at once.

    Returns:
        A list of detections per photo, in the order of the photos, each as ``detect_faces`` gives it.
    """
    found: list[list[Detection]] = [[] for _ in photos]
    small, scales, by_shape = [], [], defaultdict(list)
    for i, photo in enumerate(photos):
        copy, scale = _search_copy(check_photo(photo), search_side)
        small.append(copy)
        scales.append(scale)
        by_shape[copy.shape].append(i)
    for same_size in by_shape.values():
        for start in range(0, len(same_size), batch_size):
            batch = same_size[start : start + batch_size]
            for i, faces in zip(batch, _search([small[i] for i in batch]), strict=True):
                faces = [_in_photo(face, scales[i], photos[i].shape) for face in faces]
                sure = [face for face in faces if face["confidence"] >= min_confidence]
                found[i] = sorted(sure, key=_area, reverse=True)
    return found


_LOADING = threading.Lock()


def _detector():
    """The process's one MTCNN, also when several threads ask for it at once."""
    with _LOADING:
        return _load_detector()


@functools.cache
def _load_detector():
    """MTCNN, loaded once per process, when the first photo comes; its three networks as compiled functions.

    The package calls them layer by layer, which takes three times as long for a small photo.
    """
    with quietly():  # imported here: who only aligns faces need not wait for it
        import tensorflow as tf
        from mtcnn import MTCNN

    hook, sys.unraisablehook = sys.unraisablehook, lambda _: None  # Python 3.13 complains of how lz4 closes files
    try:
        detector = MTCNN()
    finally:
        sys.unraisablehook = hook
    for stage, side in zip(detector.stages, (None, 24, 48), strict=True):
        faces = tf.TensorSpec((None, side, side, 3), tf.float32)
        stage._model = tf.function(stage.model, input_signature=[faces])
    return detector


def _search(photos: list[np.ndarray]) -> list[list[dict]]:
    """MTCNN's own answer for photos of one size."""
    answers = _detector().detect_faces(photos)
    return answers if answers else [[] for _ in photos]  # it says [] when no photo has a face


def _search_copy(photo: np.ndarray, search_side: int) -> tuple[np.ndarray, float]:
    """The copy that is searched, and how many of its pixels one pixel of the photo became."""
    longest, shortest = max(photo.shape[:2]), min(photo.shape[:2])
    scale = min(1.0, search_side / longest)
    if shortest * scale < SMALLEST_SIDE:
        scale = SMALLEST_SIDE / shortest
    if scale == 1.0:
        return photo, 1.0
    height, width = (max(1, round(n * scale)) for n in photo.shape[:2])
    if max(height, width) > 4 * search_side:  # a strip of a few pixels by thousands: no face in there
        return np.zeros((SMALLEST_SIDE, SMALLEST_SIDE, 3), np.uint8), 1.0
    return cv2.resize(photo, (width, height), interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR), scale


def _in_photo(face: dict, scale: float, shape: tuple[int, ...]) -> Detection:
    """Take a detection from the searched copy back into the photo's pixels, its box cut at the border."""
    x, y, width, height = (float(n) / scale for n in face["box"])
    left, top = max(0.0, x), max(0.0, y)
    right, bottom = min(float(shape[1]), x + width), min(float(shape[0]), y + height)
    return {
        "box": (round(left), round(top), max(1, round(right - left)), max(1, round(bottom - top))),
        "keypoints": {name: (float(u) / scale, float(v) / scale) for name, (u, v) in face["keypoints"].items()},
        "confidence": float(face["confidence"]),
    }


def _area(face: Detection) -> int:
    return face["box"][2] * face["box"][3]


def _centre(face: Detection) -> Point:
    x, y, width, height = face["box"]
    return x + width / 2, y + height / 2


def check_photo(photo: np.ndarray) -> np.ndarray:
    """Return ``photo`` if it is an array (H, W, 3) of uint8; raise ``BadArgument`` otherwise."""
    if not isinstance(photo, np.ndarray) or photo.dtype != np.uint8 or photo.ndim != 3 or photo.shape[2] != 3:
        what = f"{photo.dtype} {photo.shape}" if isinstance(photo, np.ndarray) else type(photo).__name__
        raise BadArgument(f"photo must be an array (H, W, 3) of uint8, not {what}; load_image makes one of any picture")
    if min(photo.shape[:2]) == 0:
        raise BadArgument(f"photo has no pixels: its shape is {photo.shape}")
    return photo


def similarity_transform(source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """The shift, rotation and scale that bring ``source`` closest to ``target`` (least squares).

    With points as complex numbers such a map is z → a·z + b, and a is the slope of a straight line fit.

    Args:
        source: Points (n, 2), n ≥ 2, not all the same.
        target: Where they shall come to lie, (n, 2).

    Returns:
        Matrix (2, 3): ``target ≈ source @ matrix[:, :2].T + matrix[:, 2]``.

    Raises:
        BadArgument: If the points of ``source`` are one and the same, or not finite.

    Example:
        >>> similarity_transform(np.array([[0, 0], [1, 0]]), np.array([[5, 5], [5, 7]])).round(6).tolist()
        [[0.0, -2.0, 5.0], [2.0, 0.0, 5.0]]

    Source: Umeyama, "Least-squares estimation of transformation parameters", 1991, for the plane.
    """
    source, target = np.asarray(source, np.float64), np.asarray(target, np.float64)
    if not np.isfinite(source).all() or (source == source[0]).all():
        raise BadArgument(f"keypoints must be finite and not all in one place: {source.tolist()}")
    z, w = source @ [1, 1j], target @ [1, 1j]
    spread = np.sum(np.abs(z - z.mean()) ** 2)
    a = np.sum(np.conj(z - z.mean()) * (w - w.mean())) / spread
    b = w.mean() - a * z.mean()
    return np.array([[a.real, -a.imag, b.real], [a.imag, a.real, b.imag]])


def align_face(
    photo: np.ndarray,
    keypoints: Mapping[str, Point],
    side: int = 150,
    template: Mapping[str, Point] = TEMPLATE,
) -> np.ndarray:
    """Cut a face out of a photo so that eyes, nose and mouth lie where the template says.

    Args:
        photo: Array (H, W, 3), uint8, RGB.
        keypoints: The face's five points in the photo's pixels, by MTCNN's names.
        side: Side S of the crop in pixels.
        template: Where the points shall lie, as fractions of the side.

    Returns:
        The face, (S, S, 3) uint8. Beyond the photo's border its edge is repeated.

    Raises:
        BadArgument: If a point is missing or the points make no face.
    """
    missing = [name for name in template if name not in keypoints]
    if missing:
        raise BadArgument(f"keypoints lack {', '.join(missing)}")
    source = np.array([keypoints[name] for name in template], np.float64)
    target = np.array([template[name] for name in template], np.float64) * side
    return warp(check_photo(photo), similarity_transform(source, target), side)


def warp(photo: np.ndarray, matrix: np.ndarray, side: int) -> np.ndarray:
    """Resample ``photo`` through a similarity ``matrix`` (2, 3) into (side, side, 3).

    Every face is cut out of its photo here: bilinear, after averaging when the face has to shrink by more
    than half (bilinear alone would skip pixels), and with the photo's edge repeated beyond its border.
    """
    scale = np.hypot(matrix[0, 0], matrix[1, 0])
    if scale < 0.5:
        photo, matrix = _around(photo, matrix, side)
        factor = max(2 * scale, 2 / min(photo.shape[:2]))
        height, width = (max(1, round(n * factor)) for n in photo.shape[:2])
        fx, fy = width / photo.shape[1], height / photo.shape[0]
        photo = cv2.resize(photo, (width, height), interpolation=cv2.INTER_AREA)
        to_photo = np.array([[1 / fx, 0, 0.5 / fx - 0.5], [0, 1 / fy, 0.5 / fy - 0.5], [0, 0, 1]])  # pixel centres
        matrix = matrix @ to_photo
    return cv2.warpAffine(photo, matrix, (side, side), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


def _around(photo: np.ndarray, matrix: np.ndarray, side: int) -> tuple[np.ndarray, np.ndarray]:
    """The part of a large photo that a crop of ``side`` pixels looks at, and the matrix from that part."""
    to_photo = cv2.invertAffineTransform(matrix)
    corners = np.array([[0, 0, 1], [side, 0, 1], [0, side, 1], [side, side, 1]]) @ to_photo.T  # (4, 2)
    margin = 4 / np.hypot(matrix[0, 0], matrix[1, 0])
    limits = np.array(photo.shape[1::-1])
    low = np.clip(np.floor(corners.min(axis=0) - margin), 0, limits - 2).astype(int)
    high = np.clip(np.ceil(corners.max(axis=0) + margin), low + 2, limits).astype(int)
    shift = np.array([[1, 0, low[0]], [0, 1, low[1]], [0, 0, 1]])
    return photo[low[1] : high[1], low[0] : high[0]], matrix @ shift


def resize_face(photo: np.ndarray, side: int) -> np.ndarray:
    """Bring a picture that is an aligned face already to (side, side, 3), averaging when it shrinks.

    Raises:
        BadArgument: If the picture is far from square: then it is no aligned face.
    """
    height, width = check_photo(photo).shape[:2]
    if max(height, width) > 1.5 * min(height, width):
        raise BadArgument(f"a picture of {width}×{height} is no aligned face; leave aligned=True out")
    shrinks = min(height, width) > side
    return cv2.resize(photo, (side, side), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)


def extract_face(
    photo: np.ndarray,
    side: int = 150,
    template: Mapping[str, Point] = TEMPLATE,
    *,
    aligned: bool = False,
    which: str = "largest",
    name: str = "the photo",
) -> np.ndarray:
    """One face of a photo, aligned: the largest, unless told otherwise.

    Args:
        photo: Array (H, W, 3), uint8, RGB.
        side: Side S of the face in pixels.
        template: Where its keypoints shall lie, as fractions of the side.
        aligned: True if the photo is an aligned face already: it is only resized.
        which: ``"largest"`` or ``"central"``, where the photo shows several.
        name: What the error message calls the photo.

    Returns:
        The face, (S, S, 3) uint8.

    Raises:
        NoFaceFound: If MTCNN sees no face.
    """
    if aligned:
        return resize_face(photo, side)
    faces = detect_faces(photo)
    if not faces:
        raise no_face_in(photo, name)
    return align_face(photo, pick_face(faces, photo, which)["keypoints"], side, template)


def pick_face(faces: Sequence[Detection], photo: np.ndarray, which: str = "largest") -> Detection:
    """The one face that a photo is about: at a door the largest; in a data set cropped around it, the central.

    Raises:
        BadArgument: If ``which`` is neither ``"largest"`` nor ``"central"``.
    """
    if which not in ("largest", "central"):
        raise BadArgument(f"which={which!r}: 'largest' or 'central'")
    if which == "largest":
        return max(faces, key=_area)
    height, width = photo.shape[:2]
    return min(faces, key=lambda face: np.hypot(*(np.subtract(_centre(face), (width / 2, height / 2)))))


def extract_faces(
    photo: np.ndarray, side: int = 150, template: Mapping[str, Point] = TEMPLATE
) -> tuple[np.ndarray, list[Detection]]:
    """Every face of a photo, aligned, the largest first.

    Returns:
        faces: (n, S, S, 3) uint8; n is 0 if there is no face.
        detections: The n detections they were cut by.
    """
    detections = detect_faces(photo)
    faces = [align_face(photo, face["keypoints"], side, template) for face in detections]
    return np.array(faces, np.uint8).reshape(-1, side, side, 3), detections


def no_face_in(photo: np.ndarray, name: str) -> NoFaceFound:
    """The error to raise (or to keep as a result) when a photo has no face."""
    height, width = photo.shape[:2]
    return NoFaceFound(f"no face in {name} ({width}×{height}); is it upright, lit, and large enough to see?")


def reading_order(boxes: Sequence[tuple[int, int, int, int]]) -> list[int]:
    """The order in which one reads boxes: row by row from the top, each row from the left.

    Args:
        boxes: (x, y, width, height) of each, in pixels.

    Returns:
        Their numbers in that order.

    Example:
        >>> reading_order([(500, 10, 80, 80), (20, 30, 80, 80), (30, 200, 80, 80)])
        [1, 0, 2]
    """
    rows: list[list[int]] = []
    for i in sorted(range(len(boxes)), key=lambda i: boxes[i][1]):
        top_of_row = boxes[rows[-1][0]] if rows else None
        if top_of_row and boxes[i][1] + boxes[i][3] / 2 < top_of_row[1] + top_of_row[3]:
            rows[-1].append(i)
        else:
            rows.append([i])
    return [i for row in rows for i in sorted(row, key=lambda i: boxes[i][0])]
