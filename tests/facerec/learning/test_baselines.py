"""The baselines agree with the same computations in OpenCV, NumPy and scikit-learn; gradients tell people apart."""

import cv2
import keras
import numpy as np
import pytest
from sklearn.decomposition import PCA

from facerec.encoding import faces_to_encodings
from facerec.errors import BadArgument
from facerec.evaluation import area_under_roc
from facerec.learning import baselines
from facerec.learning.baselines import BASELINE_SIDE, fit_gradients, fit_whitened_pca, pixel_baseline
from facerec.learning.datasets import find_people
from facerec.learning.harden import harden
from facerec.learning.pairs import load_faces


@pytest.fixture(scope="module")
def faces() -> np.ndarray:
    people = find_people("datasets/people.zip")
    return load_faces(list(people.picture[:80]), BASELINE_SIDE)[0]


def shrunk(faces: np.ndarray, side: int) -> np.ndarray:
    """The same by OpenCV: every pixel is the mean of a square."""
    small = [cv2.resize(face.astype(np.float32), (side, side), interpolation=cv2.INTER_AREA) for face in faces]
    return np.stack(small).reshape(len(faces), -1) / 255


def test_pixel_baseline_agrees_with_opencv(faces):
    x = shrunk(faces, 24)
    x -= x.mean(axis=1, keepdims=True)
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    np.testing.assert_allclose(faces_to_encodings(faces, pixel_baseline()), x, atol=1e-5)


def test_whitened_pca_agrees_with_scikit_learn(faces):
    x = shrunk(faces, 32)
    expected = PCA(20, whiten=True, random_state=0).fit(x[:60]).transform(x)
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    model = fit_whitened_pca(faces[:60], 20)
    np.testing.assert_allclose(faces_to_encodings(faces, model), expected, atol=2e-3)


def test_whitened_pca_of_small_faces_is_that_of_large_ones(faces):
    small = faces[:60].reshape(60, 32, 3, 32, 3, 3).mean(axis=(2, 4))
    large = small.repeat(3, axis=1).repeat(3, axis=2)
    one, other = (faces_to_encodings(each, fit_whitened_pca(each, 20)) for each in (small, large))
    np.testing.assert_allclose(np.abs(one), np.abs(other), atol=1e-3)


def test_fit_whitened_pca_rejects_too_few_faces_and_other_shapes(faces):
    with pytest.raises(BadArgument, match="components=60: 60 faces give at most 59"):
        fit_whitened_pca(faces[:60], 60)
    with pytest.raises(BadArgument, match=r"faces \(60, 48, 48, 3\)"):
        fit_whitened_pca(faces[:60, :48, :48])


def test_gradients_tell_people_apart_in_other_light():
    """Of people it has not seen, and better than pixels, for which another light is another person."""
    people = find_people("datasets/people.zip")
    faces, who = harden(load_faces(list(people.picture[:400]), BASELINE_SIDE)[0], seed=0), np.repeat(np.arange(50), 8)
    model = fit_gradients(faces[:320], who[:320], components=30, whitened=100)
    rows = np.stack(np.triu_indices(80, 1), axis=1)
    same = who[320:][rows[:, 0]] == who[320:][rows[:, 1]]
    areas = {}
    for network in (model, pixel_baseline()):
        encodings = faces_to_encodings(faces[320:], network)
        np.testing.assert_allclose(np.linalg.norm(encodings, axis=1), 1, atol=1e-5)
        apart = np.linalg.norm(encodings[rows[:, 0]] - encodings[rows[:, 1]], axis=1)
        areas[network.name] = area_under_roc(apart, same)
    assert areas["gradients"] > 0.75 > 0.65 > areas["pixels"], areas


def test_gradients_point_where_the_picture_grows_brighter():
    ramp = np.broadcast_to(np.arange(96, dtype=np.float32)[:, None, None], (1, 96, 96, 3))  # darker above
    inputs, gradients = baselines._gradients()
    found = keras.Model(inputs, gradients)(ramp).numpy()[0]
    (_, fine), (_, coarse) = baselines.GRADIENTS
    assert len(found) == baselines.DIRECTIONS * ((96 // fine) ** 2 + (96 // coarse) ** 2)
    middle = found[: baselines.DIRECTIONS * (96 // fine) ** 2].reshape(16, 16, 8)[8, 8]
    assert middle.argmax() == 2 and set(np.flatnonzero(middle > 0.1)) == {1, 2, 3}  # a quarter turn: downwards


def test_fit_gradients_rejects_too_few_people(faces):
    with pytest.raises(BadArgument, match="components=128, whitened=400: too many for 80 faces of 10 people"):
        fit_gradients(faces, np.repeat(np.arange(10), 8))
