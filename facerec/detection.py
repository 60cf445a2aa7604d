"""Where the faces are: boxes, keypoints and aligned faces.

photo ──detect_faces──► [{"box": (x, y, width, height), "keypoints": {"left_eye": (x, y), …}, "confidence": 0.99}, …]
photo, keypoints ──align_face──► face

A photo is an array (H, W, 3), uint8, RGB. Boxes and keypoints are in its own pixels; left is the left of the picture.
An aligned face is a crop (S, S, 3) with eyes, nose and mouth always in the same place, as the networks were trained.

Source: Zhang et al., "Joint Face Detection and Alignment using Multi-task Cascaded Convolutional
Networks", 2016, in the implementation of the package ``mtcnn``.
"""

from __future__ import annotations

import functools
import os
import sys
import threading
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import TypedDict

import cv2
import numpy as np

from facerec._quiet import check_process, quietly
from facerec.errors import BadArgument, BadNetwork, NoFaceFound

Point = tuple[float, float]


class Detection(TypedDict):
    """One face, as MTCNN describes it, in the photo's pixels.

    Attributes:
        box: x, y, width and height, within the photo.
        keypoints: The five points of :data:`KEYPOINTS` by name; they may lie outside the photo.
        confidence: How sure MTCNN is that this is a face, 0..1.
    """

    box: tuple[int, int, int, int]
    keypoints: dict[str, Point]
    confidence: float


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

#: Larger photos are searched in a copy with this longest side, in pixels: a face at a door or a desk is
#: large, and the time that a search takes grows with the area.
SEARCH_SIDE = 1024

#: The shortest side, in pixels, of the copy that is searched: MTCNN needs some pixels to slide over.
SMALLEST_SIDE = 48


def detect_faces(photo: np.ndarray, min_confidence: float = 0.8, search_side: int = SEARCH_SIDE) -> list[Detection]:
    """Find the faces of one photo, the largest first.

    Args:
        photo: Array (H, W, 3), uint8, RGB.
        min_confidence: Faces of which MTCNN is less sure (0..1) are left out; 0.8 is its own threshold.
        search_side: Photos whose longest side is larger, in pixels, are searched in a copy of this size.

    Returns:
        The detections, in the photo's own pixels; none if there is no face.

    Raises:
        BadArgument: If ``photo`` is not an (H, W, 3) array of uint8.

    Example:
        >>> from facerec.photos import load_image
        >>> [face["box"][2] > 100 for face in detect_faces(load_image("images/lena.jpg"))]
        [True]
    """
    return detect_faces_batch([photo], min_confidence, search_side)[0]


def detect_faces_batch(
    photos: Sequence[np.ndarray], min_confidence: float = 0.8, search_side: int = SEARCH_SIDE, batch_size: int = 16
) -> list[list[Detection]]:
    """Find the faces of many photos; photos of the same size go through MTCNN together.

    Args:
        photos: Arrays (H, W, 3), uint8, RGB, of any sizes.
        min_confidence: As in ``detect_faces``.
        search_side: As in ``detect_faces``.
        batch_size: How many photos are searched at once.

    Returns:
        What ``detect_faces`` returns for each photo, in their order.

    Raises:
        BadArgument: If a photo is not an (H, W, 3) array of uint8.
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
    """The one MTCNN of this process, even if several threads ask for it at once."""
    with _LOADING:
        return _load_detector()


@functools.cache
def _load_detector():
    """MTCNN, loaded for the first photo, its three networks as compiled functions.

    The package itself calls them layer by layer, which takes three times as long for a small photo.
    """
    with quietly():  # imported here: aligning faces does not need it
        import keras
        import tensorflow as tf
        from mtcnn import MTCNN
        from mtcnn.utils import bboxes

    if not (tf.executing_eagerly() or tf.inside_function()) or os.environ.get("TF_USE_LEGACY_KERAS", "0") == "1":
        raise BadNetwork(
            "MTCNN needs Keras 3 and eager execution: unset TF_USE_LEGACY_KERAS, or leave eager execution on"
        )
    hook, sys.unraisablehook = sys.unraisablehook, lambda _: None  # Python 3.13 complains about how lz4 closes files
    settings = keras.config.dtype_policy(), keras.config.image_data_format()
    try:  # under settings of its own, whatever the caller's are
        keras.config.set_dtype_policy("float32")
        keras.config.set_image_data_format("channels_last")
        bboxes.sort_by_scores = _sort_stably
        detector = MTCNN()
    finally:
        keras.config.set_dtype_policy(settings[0])
        keras.config.set_image_data_format(settings[1])
        sys.unraisablehook = hook
    for stage, side in zip(detector.stages, (None, 24, 48), strict=True):
        faces = tf.TensorSpec((None, side, side, 3), tf.float32)
        stage._model = tf.function(stage.model, input_signature=[faces])
    return detector


def _sort_stably(boxes: np.ndarray, scores: np.ndarray, ascending: bool = True) -> np.ndarray:
    """Sort boxes by score, with ties in a fixed order; replaces the package's ``sort_by_scores``.

    Many scores are 1.0 but for rounding, which depends on how many photos are searched at once. The package's unstable
    sort then let the other photos decide which of two boxes survives.
    """
    order = np.argsort(np.round(scores, 5), kind="stable")
    return boxes[order if ascending else order[::-1]]


def _search(photos: list[np.ndarray]) -> list[list[dict]]:
    """What MTCNN returns for photos of one size."""
    check_process()
    answers = _detector().detect_faces(photos)
    return answers if answers else [[] for _ in photos]  # it returns [] if no photo has a face


def _search_copy(photo: np.ndarray, search_side: int) -> tuple[np.ndarray, float]:
    """The copy that is searched, and its scale."""
    longest, shortest = max(photo.shape[:2]), min(photo.shape[:2])
    scale = min(1.0, search_side / longest)
    if shortest * scale < SMALLEST_SIDE:
        scale = SMALLEST_SIDE / shortest
    if scale == 1.0:
        return photo, 1.0
    height, width = (max(1, round(n * scale)) for n in photo.shape[:2])
    if max(height, width) > 4 * search_side:  # a strip of a few pixels by thousands, without a face
        return np.zeros((SMALLEST_SIDE, SMALLEST_SIDE, 3), np.uint8), 1.0
    return cv2.resize(photo, (width, height), interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR), scale


def _in_photo(face: dict, scale: float, shape: tuple[int, ...]) -> Detection:
    """A detection in the searched copy, in the photo's pixels; the box is cut at the photo's border."""
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
        raise BadArgument(
            f"photo must be an array (H, W, 3) of uint8, not {what}; load_image makes one from any picture"
        )
    if min(photo.shape[:2]) == 0:
        raise BadArgument(f"photo has no pixels: its shape is {photo.shape}")
    return photo


def similarity_transform(source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """The shift, rotation and scale that bring ``source`` closest to ``target`` (least squares).

    For points as complex numbers such a map is z → a·z + b, a straight line with slope a.

    Args:
        source: Points (n, 2), n ≥ 2, not all the same.
        target: Where they should lie, (n, 2).

    Returns:
        Matrix (2, 3): ``target ≈ source @ matrix[:, :2].T + matrix[:, 2]``.

    Raises:
        BadArgument: If the points of ``source`` all coincide, or are not finite.

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
    """Cut a face out of a photo, with eyes, nose and mouth where the template has them.

    Args:
        photo: Array (H, W, 3), uint8, RGB.
        keypoints: The face's five points in the photo's pixels, by MTCNN's names.
        side: Side S of the crop in pixels.
        template: Where the points lie in the crop, as fractions of its side.

    Returns:
        The face, (S, S, 3) uint8. Beyond the photo's border its edge is repeated.

    Raises:
        BadArgument: If a point is missing, or all of them coincide.
    """
    missing = [name for name in template if name not in keypoints]
    if missing:
        raise BadArgument(f"keypoints lack {', '.join(missing)}")
    source = np.array([keypoints[name] for name in template], np.float64)
    target = np.array([template[name] for name in template], np.float64) * side
    return warp(check_photo(photo), similarity_transform(source, target), side)


def warp(photo: np.ndarray, matrix: np.ndarray, side: int) -> np.ndarray:
    """Resample a photo through a similarity.

    Every face is cut out of its photo here: bilinear, but averaged first if it shrinks by more than half (bilinear
    alone would skip pixels). Beyond the photo's border its edge is repeated.

    Args:
        photo: (H, W, 3) uint8.
        matrix: From the photo's pixels to the result's, (2, 3).
        side: The result's side S, in pixels.

    Returns:
        (S, S, 3) uint8.
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
    """The part of a large photo that a crop of ``side`` pixels needs, and the matrix from that part."""
    to_photo = cv2.invertAffineTransform(matrix)
    corners = np.array([[0, 0, 1], [side, 0, 1], [0, side, 1], [side, side, 1]]) @ to_photo.T  # (4, 2)
    margin = 4 / np.hypot(matrix[0, 0], matrix[1, 0])
    limits = np.array(photo.shape[1::-1])
    low = np.clip(np.floor(corners.min(axis=0) - margin), 0, limits - 2).astype(int)
    high = np.clip(np.ceil(corners.max(axis=0) + margin), low + 2, limits).astype(int)
    shift = np.array([[1, 0, low[0]], [0, 1, low[1]], [0, 0, 1]])
    return photo[low[1] : high[1], low[0] : high[0]], matrix @ shift


def resize_face(photo: np.ndarray, side: int) -> np.ndarray:
    """Scale a picture of an aligned face to (side, side, 3), averaging if it shrinks.

    Raises:
        BadArgument: If the picture is far from square, so it can't be an aligned face.
    """
    height, width = check_photo(photo).shape[:2]
    if max(height, width) > 1.5 * min(height, width):
        raise BadArgument(f"a picture of {width}×{height} is not an aligned face; leave out aligned=True")
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
    """One face of a photo, aligned; by default the largest.

    Args:
        photo: Array (H, W, 3), uint8, RGB.
        side: Side S of the face in pixels.
        template: Where its keypoints lie in the crop, as fractions of the side.
        aligned: True if the photo is already an aligned face, which is only resized.
        which: ``"largest"`` or ``"central"``, if the photo shows several.
        name: What the error message calls the photo.

    Returns:
        The face, (S, S, 3) uint8.

    Raises:
        NoFaceFound: If MTCNN finds no face.
    """
    if aligned:
        return resize_face(photo, side)
    faces = detect_faces(photo)
    if not faces:
        raise no_face_in(photo, name)
    return align_face(photo, pick_face(faces, photo, which)["keypoints"], side, template)


def pick_face(faces: Sequence[Detection], photo: np.ndarray, which: str = "largest") -> Detection:
    """The face that a photo is about: the largest at a door, the central one in a data set cropped around faces.

    Args:
        faces: Of ``detect_faces``, at least one.
        photo: The photo, (H, W, 3).
        which: ``"largest"`` or ``"central"``.

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
        detections: Their n detections.
    """
    detections = detect_faces(photo)
    faces = [align_face(photo, face["keypoints"], side, template) for face in detections]
    return np.array(faces, np.uint8).reshape(-1, side, side, 3), detections


def no_face_in(photo: np.ndarray, name: str) -> NoFaceFound:
    """The error for a photo without a face, to raise or to return."""
    height, width = photo.shape[:2]
    return NoFaceFound(f"no face in {name} ({width}×{height}); is it upright, lit, and large enough to see?")


def reading_order(boxes: Sequence[tuple[int, int, int, int]]) -> list[int]:
    """The order in which boxes are read: row by row from the top, each row from the left.

    Args:
        boxes: (x, y, width, height) of each, in pixels.

    Returns:
        Their indices in that order.

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
