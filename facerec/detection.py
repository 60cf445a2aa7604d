"""Where the faces are: boxes, keypoints and aligned faces.

photo ──detect_faces──► [{"box": (x, y, width, height), "keypoints": {"left_eye": (x, y), …}, "score": 0.99}, …]
photo, keypoints ──align_face──► face

A photo is an array (H, W, 3), uint8, RGB. Boxes and keypoints are in its own pixels; left is the left of the picture.
An aligned face is a crop (S, S, 3) with eyes, nose and mouth always in the same place, as the networks were trained.

MTCNN finds upright faces with some room around them. A photo in which it is not sure of any face is therefore searched
again, on its sides and upside down, and one in which it found none also with a margin. What it finds there is given in
the photo's own pixels, too, with its ``turn``; left is then the left of the turned picture.

Source: Zhang et al., "Joint Face Detection and Alignment using Multi-task Cascaded Convolutional
Networks", 2016, in the implementation of the package ``mtcnn``.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import NamedTuple, TypedDict

import cv2
import numpy as np

from facerec._cascade import SURE  # of this score at least: the photo is not searched again
from facerec._mtcnn import search
from facerec.average_face import ALIGNED_SIDE, eye_likeness
from facerec.errors import BadArgument, NoFaceFound

Point = tuple[float, float]


class Detection(TypedDict):
    """One face, as MTCNN describes it, in the photo's pixels.

    Attributes:
        box: x, y, width and height, within the photo.
        keypoints: The five points of :data:`KEYPOINTS` by name; they may lie outside the photo.
        score: How sure MTCNN is that this is a face, 0..1.
        turn: By how many degrees the photo must be turned clockwise for the face to be upright: 0, 90, 180 or 270.
    """

    box: tuple[int, int, int, int]
    keypoints: dict[str, Point]
    score: float
    turn: int


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

#: The smallest face, in pixels of the copy that is searched, for which MTCNN was made.
SMALLEST_FACE = 20

#: The shortest side, in pixels, of the copy that is searched: MTCNN needs some pixels to slide over.
SMALLEST_SIDE = 48


#: MTCNN calls what has at least this score a face.
FACE = 0.8

#: Faces of at least this score, found in another look, count where no upright face was found …
CLEAR = 0.9

#: … and of at least this one where a doubtful one was: what MTCNN sees in a hand or a collar is less sure. One of them
#: must then also look more like the average face, since MTCNN still sees a face in some that it gets upside down.
CLEARER = 0.99


class Look(NamedTuple):
    """One way to search a photo.

    Attributes:
        quarters: By how many quarters the photo is turned, anticlockwise.
        margin: The width of a grey margin around it, as a share of its sides.
        size: The longest side of the searched copy, as a share of the usual one.
    """

    quarters: int = 0
    margin: float = 0.0
    size: float = 1.0


#: How a photo is searched again. The last look is for a face that fills the picture, where none was found: it is large,
#: so a small copy is enough.
AGAIN = (Look(1), Look(2), Look(3), Look(margin=0.25, size=0.25))


def detect_faces(
    photo: np.ndarray,
    min_score: float = FACE,
    search_side: int = SEARCH_SIDE,
    thorough: bool = True,
    largest: bool = False,
) -> list[Detection]:
    """Find the faces of one photo, the largest first.

    Args:
        photo: Array (H, W, 3), uint8, RGB.
        min_score: Faces of which MTCNN is less sure (0..1) are left out; 0.8 (FACE) is its own threshold.
        search_side: Photos whose longest side is larger, in pixels, are searched in a copy of this size.
        thorough: Whether a photo without a sure face is searched again, turned and with a margin. Such a photo takes
            four times as long, and up to six times if it is small and shows no face.
        largest: Whether the largest face is enough. A sure and large one is then found in half the time, and smaller
            ones may be missing; otherwise the search takes a little longer. Both ways find the same face, but for a
            rare photo in which a small face lies in front of a large one.

    Returns:
        The detections, in the photo's own pixels; none if there is no face.

    Raises:
        BadArgument: If ``photo`` is not an (H, W, 3) array of uint8.

    Example:
        >>> from facerec.photos import load_image
        >>> [face["box"][2] > 100 for face in detect_faces(load_image("images/lena.jpg"))]
        [True]
    """
    return detect_faces_batch([photo], min_score, search_side, thorough=thorough, largest=largest)[0]


def detect_faces_batch(
    photos: Sequence[np.ndarray],
    min_score: float = FACE,
    search_side: int = SEARCH_SIDE,
    batch_size: int = 16,
    thorough: bool = True,
    largest: bool = False,
) -> list[list[Detection]]:
    """Find the faces of many photos; photos of the same size go through MTCNN together.

    Args:
        photos: Arrays (H, W, 3), uint8, RGB, of any sizes.
        min_score: As in ``detect_faces``.
        search_side: As in ``detect_faces``.
        batch_size: How many photos are searched at once.
        thorough: As in ``detect_faces``.
        largest: As in ``detect_faces``.

    Returns:
        What ``detect_faces`` returns for each photo, in their order.

    Raises:
        BadArgument: If a photo is not an (H, W, 3) array of uint8.
    """
    photos, arguments = [check_photo(photo) for photo in photos], (min_score, search_side, batch_size)
    largest = largest and min_score <= SURE  # the search leaves off at a face of that score
    found = _look_at(photos, Look(), *arguments, largest)
    if largest and thorough:  # beside a sure face that lies, a smaller one may be upright
        lying = [i for i, faces in enumerate(found) if faces and surest(faces) < SURE <= faces[0]["score"]]
        for i, faces in zip(lying, _look_at([photos[i] for i in lying], Look(), *arguments), strict=True):
            found[i] = faces
    upright = [surest(faces) for faces in found]
    doubtful = [i for i, certainty in enumerate(upright) if thorough and certainty < SURE]
    for look in AGAIN:
        rows = [i for i in doubtful if look.quarters or not found[i]]
        again = _look_at([photos[i] for i in rows], look, *arguments)
        for i, faces in zip(rows, again, strict=True):
            doubted = upright[i] > FACE
            if surest(faces) < (CLEARER if doubted else CLEAR) or _weight(faces) <= _weight(found[i]):
                continue
            if not doubted or _likeness(photos[i], faces) > _likeness(photos[i], found[i]):
                found[i] = faces
    return found


def _certainty(face: Detection) -> float:
    """The score; for a face that is more upright in another look, at most what MTCNN needs to call it one."""
    across = np.subtract(face["keypoints"]["right_eye"], face["keypoints"]["left_eye"])
    tilt = (np.degrees(np.arctan2(across[1], across[0])) + face["turn"] + 180) % 360 - 180
    return face["score"] if abs(tilt) <= 45 else min(face["score"], FACE)


def surest(faces: Sequence[Detection]) -> float:
    """The highest certainty; 0 if there is no face."""
    return max(map(_certainty, faces), default=0.0)


def _likeness(photo: np.ndarray, faces: Sequence[Detection]) -> float:
    """How much the eyes of the likeliest face look like those of the average face."""
    aligned = (align_face(photo, face["keypoints"], ALIGNED_SIDE) for face in faces)
    return max(eye_likeness(cv2.cvtColor(face, cv2.COLOR_RGB2GRAY)) for face in aligned)


def _weight(faces: Sequence[Detection]) -> float:
    """How much speaks for a look: the certainty of its faces beyond what MTCNN needs, added up."""
    return sum(max(0.0, _certainty(face) - FACE) for face in faces)


def _look_at(
    photos: Sequence[np.ndarray],
    look: Look,
    min_score: float,
    search_side: int,
    batch_size: int,
    largest: bool = False,
) -> list[list[Detection]]:
    """The faces of photos as one look shows them, the largest first; smaller ones may be missing beside a largest."""
    found: list[list[Detection]] = [[] for _ in photos]
    copies, scales, by_shape = [], [], defaultdict(list)
    for i, photo in enumerate(photos):
        copy, scale = search_copy(photo, round(search_side * look.size))
        copies.append(_as_seen(copy, look))
        scales.append(scale)
        by_shape[copies[i].shape].append(i)
    for same_size in by_shape.values():
        for start in range(0, len(same_size), batch_size):
            batch = same_size[start : start + batch_size]
            for i, faces in zip(batch, search([copies[i] for i in batch], largest), strict=True):
                sure = [face for face in faces if face["score"] >= min_score]
                seen = [_in_photo(face, look, scales[i], photos[i].shape) for face in sure]
                found[i] = sorted(seen, key=_area, reverse=True)
    return found


def _as_seen(copy: np.ndarray, look: Look) -> np.ndarray:
    """The copy of a photo, turned and with its margin."""
    down, right = (round(look.margin * n) for n in copy.shape[:2])
    if look.margin:
        copy = cv2.copyMakeBorder(copy, down, down, right, right, cv2.BORDER_CONSTANT, value=(128, 128, 128))
    return np.ascontiguousarray(np.rot90(copy, look.quarters))


def search_copy(photo: np.ndarray, search_side: int) -> tuple[np.ndarray, float]:
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


def _in_photo(face: dict, look: Look, scale: float, shape: tuple[int, ...]) -> Detection:
    """A detection in the searched copy, in the photo's pixels; the box is cut at the photo's border."""
    height, width = (max(1, round(n * scale)) for n in shape[:2])  # of the copy
    down, right = round(look.margin * height), round(look.margin * width)
    x, y, w, h = map(float, face["box"])
    points = {name: (float(u), float(v)) for name, (u, v) in face["keypoints"].items()}
    for quarter in range(look.quarters, 0, -1):  # turned back, a quarter at a time
        across = width + 2 * right if quarter % 2 else height + 2 * down
        x, y, w, h = across - y - h, x, h, w
        points = {name: (across - 1 - v, u) for name, (u, v) in points.items()}
    x, y, points = x - right, y - down, {name: (u - right, v - down) for name, (u, v) in points.items()}
    left, top = max(0.0, x / scale), max(0.0, y / scale)
    right, bottom = min(float(shape[1]), (x + w) / scale), min(float(shape[0]), (y + h) / scale)
    return {
        "box": (round(left), round(top), max(1, round(right - left)), max(1, round(bottom - top))),
        "keypoints": {name: (u / scale, v / scale) for name, (u, v) in points.items()},
        "score": float(face["score"]),
        "turn": -90 * look.quarters % 360,
    }


def upright(photo: np.ndarray, detection: Detection) -> np.ndarray:
    """A photo, turned if need be so that a face in it is upright: (H, W, 3) or (W, H, 3)."""
    return np.ascontiguousarray(np.rot90(photo, -detection["turn"] // 90))


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
    faces = detect_faces(photo, largest=which == "largest")
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
    smallest = math.ceil(SMALLEST_FACE * max(1.0, max(width, height) / SEARCH_SIDE))
    return NoFaceFound(
        f"no face in {name} ({width}×{height}), in any orientation: is a whole face in it, lit, and at least "
        f"{smallest} pixels wide?"
    )


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
