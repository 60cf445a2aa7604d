"""The baselines agree with the same computations in OpenCV, NumPy and scikit-learn."""

import cv2
import numpy as np
import pytest
from sklearn.decomposition import PCA

from facerec.encoding import faces_to_encodings
from facerec.errors import BadArgument
from facerec.learning.baselines import BASELINE_SIDE, fit_whitened_pca, pixel_baseline
from facerec.learning.datasets import find_people
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


def test_fit_whitened_pca_rejects_too_few_faces_and_other_shapes(faces):
    with pytest.raises(BadArgument, match="components=60: 60 faces give at most 59"):
        fit_whitened_pca(faces[:60], 60)
    with pytest.raises(BadArgument, match=r"faces \(60, 48, 48, 3\)"):
        fit_whitened_pca(faces[:60, :48, :48])
