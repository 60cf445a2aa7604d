"""Encodings: from a photo, many photos, or aligned faces to 128 numbers each.

photos ──find_faces──► faces (m, S, S, 3) ──faces_to_encodings──► encodings (m, 128)
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import compress
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from tqdm.auto import tqdm

from facerec import _onnx
from facerec._light import LightNetwork
from facerec._quiet import check_process
from facerec.detection import (
    Detection,
    align_face,
    detect_faces_batch,
    extract_face,
    no_face_in,
    pick_face,
    reading_order,
    resize_face,
)
from facerec.errors import BadArgument, BadNetwork, FaceError
from facerec.network_info import FaceNetInfo, check_model, info_of
from facerec.photos import Source, describe, load_image

if TYPE_CHECKING:
    import keras


def img_to_encoding(image_path: Source, model: keras.Model, aligned: bool = False) -> np.ndarray:
    """Encode the largest face of a photo.

    Args:
        image_path: The photo, as anything that ``load_image`` takes.
        model: A network of ``load_facenet``.
        aligned: True if the picture is an aligned face already.

    Returns:
        The encoding, (128,) float32 of unit length.

    Raises:
        UnreadableImage: If the picture can't be opened.
        NoFaceFound: If there is no face in it.
    """
    info = info_of(model)
    photo = load_image(image_path)
    face = extract_face(photo, info.side, info.template, aligned=aligned, name=describe(image_path))
    return faces_to_encodings(face[None], model)[0]


def faces_to_encodings(faces: np.ndarray, model: keras.Model, batch_size: int = 64) -> np.ndarray:
    """Encode aligned faces.

    Args:
        faces: (m, S, S, 3) RGB in 0..255; m may be 0.
        model: A network (m, S, S, 3) → (m, D).
        batch_size: How many faces go through the network at once.

    Returns:
        Encodings (m, D) float32.

    Raises:
        BadArgument: If the faces do not have the shape that the network takes, hold anything but finite numbers, or
            are floats in 0..1: networks of this course scale 0..255 themselves.
        BadNetwork: If the network returns NaN: its weights are unusable.
        ForkedProcess: In a forked copy of a process that has computed: start it by spawning.
    """
    check_model(model)
    faces = np.asarray(faces)
    if not np.issubdtype(faces.dtype, np.number) or not np.isfinite(faces).all():
        raise BadArgument(f"faces must hold finite numbers in 0..255; these are {faces.dtype} {faces.shape}")
    if batch_size < 1:
        raise BadArgument(f"batch_size={batch_size}: at least 1")
    if faces.ndim != 4 or faces.shape[1:] != model.input_shape[1:]:
        expected = ", ".join(map(str, model.input_shape[1:]))
        raise BadArgument(f"{model.name} takes faces (m, {expected}), not {faces.shape}")
    if np.issubdtype(faces.dtype, np.floating) and 0 < faces.max(initial=0) <= 1:
        raise BadArgument(f"faces must be in 0..255; these are floats up to {faces.max():.3g}: multiply them by 255")
    encodings = in_batches(faces, model, batch_size)
    if not np.isfinite(encodings).all():
        raise BadNetwork(f"{model.name} returns NaN instead of encodings: its weights are unusable")
    return encodings


def in_batches(faces: np.ndarray, model: keras.Model, batch_size: int = 64) -> np.ndarray:
    """What a network returns for faces (m, S, S, 3) in its own range: (m, D) float32."""
    check_process()
    encode = _compiled(model)
    batches = [faces[i : i + batch_size].astype(np.float32) for i in range(0, len(faces), batch_size)]
    nothing = np.empty((0, model.output_shape[-1]), np.float32)
    return np.concatenate([nothing, *(np.asarray(encode(batch)) for batch in batches)])


def unit_length(x: np.ndarray) -> np.ndarray:
    """Vectors (…, D), each divided by its Euclidean length."""
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def _compiled(model: keras.Model):
    """The network as one function, made at its first use: in ONNX Runtime, or compiled; layer by layer it is slower."""
    fast = model.encode if isinstance(model, LightNetwork) else _onnx.encoder_of(model)
    if fast:
        return fast
    import keras

    if keras.backend.backend() != "tensorflow":
        return lambda faces: keras.ops.convert_to_numpy(model(faces, training=False))
    if not hasattr(model, "facenet_call"):
        import tensorflow as tf

        signature = [tf.TensorSpec((None, *model.input_shape[1:]), tf.float32)]
        model.facenet_call = tf.function(lambda faces: model(faces, training=False), input_signature=signature)
    return model.facenet_call


def photos_to_encodings(
    sources: Iterable[Source],
    model: keras.Model,
    aligned: bool = False,
    which: str = "largest",
    progress: bool = False,
    seen: Callable[[int, Found], None] | None = None,
) -> tuple[np.ndarray, dict[int, FaceError]]:
    """Encode one face of each of many photos; a bad photo does not stop the others.

    Args:
        sources: The photos, each anything that ``load_image`` takes.
        model: A network of ``load_facenet``.
        aligned: True if the pictures are aligned faces already.
        which: ``"largest"`` or ``"central"``, where a photo shows several faces.
        progress: True for a progress bar.
        seen: Called for each photo in which a face was found, with its number and what was found. All faces are then
            counted, which takes longer.

    Returns:
        encodings: (m, D) float32, a row per photo, in their order; NaN where a photo could not be used.
        problems: The error of each of those, by its number in ``sources``.
    """
    sources, info = list(sources), info_of(model)
    encodings = np.full((len(sources), model.output_shape[-1]), np.nan, np.float32)
    problems: dict[int, FaceError] = {}
    chunks = range(0, len(sources), 32)
    with tqdm(total=len(sources), desc="encoding", unit="photo", disable=not progress) as bar:
        for start in chunks:
            chunk = range(start, min(start + 32, len(sources)))
            faces = _faces_of([sources[i] for i in chunk], info, aligned, which, seen, start)
            good = [i for i, face in zip(chunk, faces, strict=True) if isinstance(face, np.ndarray)]
            problems |= {i: face for i, face in zip(chunk, faces, strict=True) if isinstance(face, FaceError)}
            if good:
                encodings[good] = faces_to_encodings(np.stack([faces[i - start] for i in good]), model)
            bar.update(len(chunk))
    return encodings, problems


def _faces_of(
    sources: Sequence[Source],
    info: FaceNetInfo,
    aligned: bool,
    which: str,
    seen: Callable[[int, Found], None] | None = None,
    first: int = 0,
) -> list[np.ndarray | FaceError]:
    """One aligned face of each photo, or its error; ``seen`` gets their numbers, counted from ``first``."""
    if aligned:
        opened = [_or_error(load_image, source) for source in sources]
        return [p if isinstance(p, FaceError) else _or_error(resize_face, p, info.side) for p in opened]
    faces: list[Any] = find_faces(sources, which, count=seen is not None)
    for i, found in enumerate(faces):
        if not isinstance(found, FaceError):
            if seen:
                seen(first + i, found)
            faces[i] = align_face(found.photo, found.detection["keypoints"], info.side, info.template)
    return faces


class Found(NamedTuple):
    """One face of a photo.

    Attributes:
        photo: (H, W, 3) uint8.
        detection: Where the face is.
        faces: How many faces were found; all that the photo shows, if they were to be counted.
    """

    photo: np.ndarray
    detection: Detection
    faces: int


def find_faces(sources: Sequence[Source], which: str = "largest", count: bool = True) -> list[Found | FaceError]:
    """Open photos and find one face in each, in one batch; a bad photo does not stop the others.

    Args:
        sources: The photos.
        which: ``"largest"`` or ``"central"``, where a photo shows several faces.
        count: Whether all faces are to be counted; if not, the largest is found in less time (see ``detect_faces``).

    Returns:
        For each source what was found, or the error.
    """
    return [
        faces
        if isinstance(faces, FaceError)
        else Found(faces[0].photo, pick_face([face.detection for face in faces], faces[0].photo, which), len(faces))
        for faces in _search(sources, largest=which == "largest" and not count)
    ]


def find_all_faces(sources: Sequence[Source]) -> list[list[Found] | FaceError]:
    """Open photos and find every face in each, in one batch; a bad photo does not stop the others.

    Args:
        sources: The photos.

    Returns:
        For each source its faces, at least one, in reading order, or the error.
    """
    return _search(sources, largest=False)


def _search(sources: Sequence[Source], largest: bool) -> list[list[Found] | FaceError]:
    """The faces of photos, or the errors; beside a ``largest`` one, smaller ones may be missing."""
    found = _opened(sources)
    photos = {i: photo for i, photo in enumerate(found) if isinstance(photo, np.ndarray)}
    for i, faces in zip(photos, detect_faces_batch(list(photos.values()), largest=largest), strict=True):
        order = reading_order([face["box"] for face in faces])
        found[i] = [Found(photos[i], faces[k], len(faces)) for k in order]
        found[i] = found[i] or no_face_in(photos[i], describe(sources[i]))
    return found


def _opened(sources: Sequence[Source]) -> list[Any]:
    """Every photo, or its error; files are read a few at a time, each within the budget of ``facerec.budget``.

    Pillow decodes without Python's lock. What has a state, such as an open file, is read by this thread alone.
    """
    apart = [isinstance(source, str | os.PathLike | bytes) for source in sources]
    with ThreadPoolExecutor(min(_onnx.cores(), 4)) as readers:
        files = readers.map(partial(_or_error, load_image), compress(sources, apart))
        pairs = zip(apart, sources, strict=True)
        return [next(files) if is_apart else _or_error(load_image, source) for is_apart, source in pairs]


def _or_error(work: Callable, *args: Any) -> Any:
    """The result of a call, or the ``FaceError`` that it raised."""
    try:
        return work(*args)
    except FaceError as error:
        return error
