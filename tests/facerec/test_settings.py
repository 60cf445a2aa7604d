"""Networks and detector are made under settings of their own; what can't work is refused by name."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from facerec import _mtcnn
from facerec._settings import check_settings, own_settings
from facerec.encoding import faces_to_encodings
from facerec.errors import BadNetwork
from facerec.networks import load_facenet


@pytest.fixture(params=[("mixed_float16", "channels_first"), ("mixed_bfloat16", "channels_last")], ids=str)
def of_the_caller(request) -> Iterator[tuple[str, str]]:
    """Settings that a caller may have chosen for networks of theirs."""
    policy, order = keras.config.dtype_policy(), keras.config.image_data_format()
    keras.config.set_dtype_policy(request.param[0])
    keras.config.set_image_data_format(request.param[1])
    yield request.param
    keras.config.set_dtype_policy(policy)
    keras.config.set_image_data_format(order)


@pytest.fixture(scope="module")
def faces() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (2, 16, 16, 3)).astype(np.float32)


@pytest.fixture(scope="module")
def file(tmp_path_factory) -> Path:
    """A network of a user, made under the usual settings."""
    path = tmp_path_factory.mktemp("networks") / "mine.keras"
    keras.Sequential([keras.Input((16, 16, 3)), keras.layers.Flatten(), keras.layers.Dense(32)]).save(path)
    return path


@pytest.fixture(scope="module")
def expected(file, faces) -> np.ndarray:
    """What it says about the faces, loaded under the usual settings."""
    return faces_to_encodings(faces, load_facenet(file, scaling="0..1"))


def test_networks_say_the_same_under_any_settings(file, expected, of_the_caller, faces):
    network = load_facenet(file, scaling="0..1")
    np.testing.assert_allclose(faces_to_encodings(faces, network), expected, atol=1e-6)
    assert (keras.config.dtype_policy().name, keras.config.image_data_format()) == of_the_caller


def test_detector_says_the_same_under_any_settings(of_the_caller, photos, detections):
    (found,) = _mtcnn.with_tensorflow().detect_faces([photos["kofi"]])
    np.testing.assert_allclose(found[0]["keypoints"]["nose"], detections["kofi"][0]["keypoints"]["nose"], atol=0.01)
    assert (keras.config.dtype_policy().name, keras.config.image_data_format()) == of_the_caller


@pytest.mark.parametrize("make", [lambda: load_facenet("keras-facenet-h5"), _mtcnn.with_tensorflow])
def test_settings_that_cannot_work_are_refused_by_name(make, monkeypatch):
    with monkeypatch.context() as patch, pytest.raises(BadNetwork, match="TF_USE_LEGACY_KERAS"):
        patch.setenv("TF_USE_LEGACY_KERAS", "1")
        make()
    monkeypatch.setattr(tf, "executing_eagerly", lambda: False)
    with pytest.raises(BadNetwork, match="eager execution is off"):
        make()


def test_settings_of_the_caller_come_back_after_an_error(of_the_caller):
    with pytest.raises(ZeroDivisionError), own_settings():
        assert keras.config.dtype_policy().name == "float32"
        _ = 1 / 0
    assert (keras.config.dtype_policy().name, keras.config.image_data_format()) == of_the_caller


def test_settings_of_tensorflow_do_not_matter_to_another_backend(monkeypatch):
    monkeypatch.setenv("TF_USE_LEGACY_KERAS", "1")
    with pytest.raises(BadNetwork, match="TF_USE_LEGACY_KERAS"):
        check_settings()
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    check_settings()
