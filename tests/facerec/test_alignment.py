"""An aligned face has its keypoints where the template has them."""

from __future__ import annotations

import functools
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import pytest
from PIL import Image

from facerec import _mtcnn, detection
from facerec.detection import (
    KEYPOINTS,
    TEMPLATE,
    align_face,
    resize_face,
    similarity_transform,
)
from facerec.errors import BadArgument

TARGET = np.array([TEMPLATE[name] for name in KEYPOINTS]) * 150  # (5, 2), pixels of a 150×150 face


def similarity(scale: float, degrees: float, shift: tuple[float, float]) -> np.ndarray:
    """The matrix (2, 3) that scales, turns and shifts."""
    c, s = scale * np.cos(np.radians(degrees)), scale * np.sin(np.radians(degrees))
    return np.array([[c, -s, shift[0]], [s, c, shift[1]]])


def move(matrix: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Apply a matrix (2, 3) to points (n, 2)."""
    return points @ matrix[:, :2].T + matrix[:, 2]


def as_keypoints(points: np.ndarray) -> dict[str, tuple[float, float]]:
    """Points (5, 2) in the template's order, by MTCNN's names."""
    return {name: (float(x), float(y)) for name, (x, y) in zip(KEYPOINTS, points, strict=True)}


def resized(photo: np.ndarray, width: int, height: int) -> np.ndarray:
    return np.asarray(Image.fromarray(photo).resize((width, height), Image.Resampling.LANCZOS))


# ------------------------------------------------------------------------------------ similarity transform
@pytest.mark.parametrize("seed", range(5))
def test_similarity_transform_is_the_least_squares_solution(seed):
    """The oracle solves [x −y 1 0; y x 0 1]·[a b u v] = target with NumPy's general least squares."""
    source, target = np.random.default_rng(seed).normal(size=(2, 7, 2)) * 100
    (x, y), one, zero = source.T, np.ones(7), np.zeros(7)
    system = np.concatenate([np.stack([x, -y, one, zero], 1), np.stack([y, x, zero, one], 1)])
    a, b, u, v = np.linalg.lstsq(system, target.T.ravel(), rcond=None)[0]
    np.testing.assert_allclose(similarity_transform(source, target), [[a, -b, u], [b, a, v]], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("scale", [1e-3, 0.3, 1, 40])
@pytest.mark.parametrize("degrees", [0, 33, -90, 180])
def test_similarity_transform_recovers_a_known_transform(scale, degrees):
    source = np.random.default_rng(1).uniform(0, 1000, (5, 2))
    matrix = similarity(scale, degrees, (12.5, -300))
    np.testing.assert_allclose(similarity_transform(source, move(matrix, source)), matrix, rtol=1e-9, atol=1e-9)


def test_similarity_transform_never_mirrors():
    """A mirrored face is only turned and scaled: the determinant stays positive."""
    mirrored = TARGET * [-1, 1]
    matrix = similarity_transform(mirrored, TARGET)
    assert np.linalg.det(matrix[:, :2]) > 0


@pytest.mark.parametrize(
    "points",
    [[[3, 4]] * 5, [[3, 4]], [[0, 0], [np.nan, 1]], [[0, 0], [np.inf, 1]]],
    ids=["one place", "one point", "NaN", "infinite"],
)
def test_similarity_transform_refuses_points_that_fix_nothing(points):
    with pytest.raises(BadArgument, match="keypoints must be finite and not all in one place"):
        similarity_transform(np.array(points, float), np.arange(2.0 * len(points)).reshape(-1, 2))


# --------------------------------------------------------------------------------------------- align_face
def photo_with_dots(points: np.ndarray, sigma: float, side: int) -> np.ndarray:
    """A grey photo with a white blob, a Gaussian of ``sigma`` pixels, at each of the points."""
    y, x = np.mgrid[:side, :side].astype(np.float32)
    blobs = sum(np.exp(-((x - u) ** 2 + (y - v) ** 2) / (2 * sigma**2)) for u, v in points)
    return np.repeat((40 + 200 * blobs).round().astype(np.uint8)[..., None], 3, axis=2)


def find_dots(face: np.ndarray, expected: np.ndarray, radius: int = 9) -> np.ndarray:
    """The centres of mass of what is bright within ``radius`` pixels of each expected point, (n, 2)."""
    bright = face[..., 0].astype(float) - 40
    y, x = np.mgrid[: face.shape[0], : face.shape[1]]
    found = []
    for u, v in expected:
        weight = np.where(np.hypot(x - u, y - v) <= radius, bright, 0)
        found.append((np.average(x, weights=weight), np.average(y, weights=weight)))
    return np.array(found)


@pytest.mark.parametrize("degrees", [0, 25, -100, 180])
@pytest.mark.parametrize("size", [0.35, 1, 1.7, 3, 8.3], ids=lambda size: f"face {size:g}× the crop")
def test_align_face_brings_the_keypoints_onto_the_template(size, degrees):
    """Dots are drawn on a photo at known places, and looked for in the crop: within a seventh of a pixel.

    ``size`` says how large the face is in the photo; at 8.3 the crop has to shrink it strongly.
    """
    side = int(150 * size * 1.5) + 20
    to_photo = similarity(size, degrees, (0, 0))
    to_photo[:, 2] = side / 2 + 0.3 - to_photo[:, :2] @ [75, 75]  # the face's middle in the photo's middle
    points = move(to_photo, TARGET)
    photo = photo_with_dots(points, sigma=3 * size, side=side)
    face = align_face(photo, as_keypoints(points), side=150)
    np.testing.assert_allclose(find_dots(face, TARGET), TARGET, atol=0.15)


@pytest.mark.parametrize("side", [96, 160])
def test_align_face_takes_any_side(side):
    points = TARGET * 2 + 30
    face = align_face(photo_with_dots(points, 5, 400), as_keypoints(points), side)
    expected = TARGET * side / 150
    assert face.shape == (side, side, 3) and face.dtype == np.uint8
    np.testing.assert_allclose(find_dots(face, expected, radius=6), expected, atol=0.2)


def test_align_face_takes_another_template():
    points = TARGET * 2 + 30
    template = {name: (0.1 + 0.8 * x, 0.1 + 0.8 * y) for name, (x, y) in TEMPLATE.items()}
    face = align_face(photo_with_dots(points, 5, 400), as_keypoints(points), 150, template)
    expected = 15 + 0.8 * TARGET
    np.testing.assert_allclose(find_dots(face, expected, radius=6), expected, atol=0.2)


@pytest.mark.parametrize("shift", [(-60, 0), (60, 10), (0, -70), (5, 70), (-120, -130), (200, 200)])
def test_align_face_repeats_the_edge_beyond_the_border(shift):
    """A face of the crop's own size is a plain shift: the oracle is a slice of np.pad(mode="edge")."""
    photo = np.random.default_rng(3).integers(0, 256, (140, 170, 3), dtype=np.uint8)
    face = align_face(photo, as_keypoints(TARGET + shift), side=150)
    left, top = 300 + shift[0], 300 + shift[1]
    wide = np.pad(photo, ((300, 300), (300, 300), (0, 0)), mode="edge")
    np.testing.assert_array_equal(face, wide[top : top + 150, left : left + 150])


@pytest.mark.parametrize("size", [0.2, 1, 6])
def test_align_face_adds_no_black_border(size):
    """A white photo stays white, far beyond its border too, whether the face grows or shrinks."""
    photo = np.full((90, 60, 3), 255, np.uint8)
    assert (align_face(photo, as_keypoints(TARGET * size - 40), side=150) == 255).all()


def test_shrinking_averages_the_pixels():
    """A one-pixel chequerboard shrunk ten times is grey: bilinear sampling alone would give a pattern."""
    y, x = np.mgrid[:1500, :1500]
    photo = np.repeat(((x + y) % 2 * 255).astype(np.uint8)[..., None], 3, axis=2)
    face = align_face(photo, as_keypoints(move(similarity(10, 20, (250, -200)), TARGET)), side=150).astype(float)
    assert abs(face.mean() - 127.5) < 2 and face.std() < 6


@pytest.mark.parametrize("place", [(300, 260), (1500, 900), (-200, 100), (2700, 1700)], ids=str)
def test_warp_of_a_large_photo_equals_averaging_the_whole_photo(place):
    """A small part of a large photo is averaged; the crop is what averaging the whole photo would give."""
    rng = np.random.default_rng(0)
    photo = resized(rng.integers(0, 256, (90, 150, 3), dtype=np.uint8), 3000, 1800)
    matrix = similarity_transform(move(similarity(6, 15, place), TARGET), TARGET)
    face = detection.warp(photo, matrix, 150)
    whole = np.array(Image.fromarray(photo).resize((1000, 600), Image.Resampling.BOX))
    to_whole = matrix @ np.array([[3, 0, 1], [0, 3, 1], [0, 0, 1]])  # the centre of a pixel of 3×3 is at 3x + 1
    expected = cv2.warpAffine(whole, to_whole, (150, 150), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    assert np.abs(face.astype(int) - expected).mean() < 0.8  # half a pixel of the photo aside it would be over 1


def test_detector_is_loaded_once_by_several_threads(monkeypatch):
    """While the first thread loads it, seven others ask for it."""
    loaded, asked = [], threading.Barrier(8)

    def load():
        loaded.append(1)
        if len(loaded) == 1:
            asked.wait(240)
            time.sleep(0.1)  # time for the others to get in, if nothing stops them
        return "the detector"

    def ask(number):
        if number:
            asked.wait(240)
        return _mtcnn.detector()

    monkeypatch.setattr(_mtcnn, "load_detector", functools.cache(load))
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(ask, range(8)))
    assert answers == ["the detector"] * 8 and len(loaded) == 1


def test_align_face_names_missing_keypoints():
    points = as_keypoints(TARGET)
    del points["nose"], points["mouth_left"]
    with pytest.raises(BadArgument, match="keypoints lack nose, mouth_left"):
        align_face(np.zeros((9, 9, 3), np.uint8), points)


def test_resize_face_is_an_average_when_it_shrinks_by_a_whole_number():
    photo = np.random.default_rng(2).integers(0, 256, (60, 60, 3), dtype=np.uint8)
    expected = photo.reshape(20, 3, 20, 3, 3).mean(axis=(1, 3))
    np.testing.assert_allclose(resize_face(photo, 20), expected, atol=0.51)
    np.testing.assert_array_equal(resize_face(photo, 60), photo)
    assert resize_face(photo[:50], 33).shape == (33, 33, 3)
    with pytest.raises(BadArgument, match="60×10 is not an aligned face"):
        resize_face(photo[:10], 33)
