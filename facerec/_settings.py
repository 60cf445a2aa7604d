"""Keras under settings of this project's own, whatever the caller's are."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from facerec.errors import BadNetwork


@contextmanager
def own_settings() -> Iterator[None]:
    """Make layers in this block that compute in float32, with the channels last; other threads keep their settings.

    Raises:
        BadNetwork: Under settings of TensorFlow with which Keras 3 can't compute.
    """
    import keras

    check_settings()
    policy, order = keras.config.dtype_policy(), keras.config.image_data_format()
    keras.config.set_dtype_policy("float32")
    keras.config.set_image_data_format("channels_last")
    try:
        yield
    finally:
        keras.config.set_dtype_policy(policy)
        keras.config.set_image_data_format(order)


def check_settings() -> None:
    """Refuse settings of TensorFlow with which Keras 3 can't compute.

    Raises:
        BadNetwork: If TF_USE_LEGACY_KERAS is set, or eager execution is off.
    """
    import keras

    if keras.backend.backend() != "tensorflow":
        return
    import tensorflow as tf

    if os.environ.get("TF_USE_LEGACY_KERAS", "").lower() in ("1", "true"):
        raise BadNetwork("TF_USE_LEGACY_KERAS asks TensorFlow for Keras 2; the networks here need Keras 3: unset it")
    if not (tf.executing_eagerly() or tf.inside_function()):
        raise BadNetwork("eager execution is off (tf.compat.v1.disable_eager_execution); Keras 3 needs it on")
