"""The detector, loaded for the first photo: MTCNN in ONNX Runtime, or that of the package ``mtcnn``."""

from __future__ import annotations

import functools
import sys
import threading

import numpy as np

from facerec import _onnx
from facerec._cascade import Cascade
from facerec._quiet import check_process, quietly

_LOADING = threading.Lock()


def search(photos: list[np.ndarray], largest: bool = False) -> list[list[dict]]:
    """What MTCNN finds in photos of one size, (H, W, 3) uint8 each: a dict per face, with box, keypoints and score.

    Where only the ``largest`` is asked for, smaller ones may be missing.
    """
    check_process()
    found = detector()
    if isinstance(found, Cascade):
        return found.detect_faces(photos, largest)
    answers = found.detect_faces(photos) or [[] for _ in photos]  # it returns [] if no photo has a face
    return [[{**face, "score": face["confidence"]} for face in faces] for faces in answers]


def detector():
    """The one MTCNN of this process, even if several threads ask for it at once."""
    with _LOADING:
        return load_detector()


@functools.cache
def load_detector():
    """MTCNN, in the fastest engine that is installed."""
    if not _onnx.is_available():
        return with_tensorflow()
    return Cascade()


def with_tensorflow():
    """MTCNN of the package ``mtcnn``, its three networks as compiled functions.

    The package itself calls them layer by layer, which takes three times as long for a small photo.
    """
    with quietly():  # imported here: aligning faces does not need it
        import tensorflow as tf
    from facerec._settings import check_settings, own_settings

    check_settings()
    with quietly():
        from mtcnn import MTCNN
        from mtcnn.utils import bboxes

    hook, sys.unraisablehook = sys.unraisablehook, lambda _: None  # Python 3.13 complains about how lz4 closes files
    try:
        with own_settings():
            bboxes.sort_by_scores = _sort_stably
            loaded = MTCNN()
    finally:
        sys.unraisablehook = hook
    for stage, side in zip(loaded.stages, (None, 24, 48), strict=True):
        faces = tf.TensorSpec((None, side, side, 3), tf.float32)
        stage._model = tf.function(stage.model, input_signature=[faces])
    return loaded


def _sort_stably(boxes: np.ndarray, scores: np.ndarray, ascending: bool = True) -> np.ndarray:
    """Sort boxes by score, with ties in a fixed order; replaces the package's ``sort_by_scores``.

    Many scores are 1.0 but for rounding, which depends on how many photos are searched at once. The package's unstable
    sort then let the other photos decide which of two boxes survives.
    """
    order = np.argsort(np.round(scores, 5), kind="stable")
    return boxes[order if ascending else order[::-1]]
