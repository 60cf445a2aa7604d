"""Siamese twins: two faces go through the same network, and the differences between its outputs decide.

    face 1 ──embedding──► a ─┐
                 ║           ├─► |a − b| ──one neuron──► score in 0..1: the same person?
    face 2 ──embedding──► b ─┘

One builder makes three variants that learn from scratch: the two that tutorials publish, with millions of weights in
one dense layer, and a compact one. ``facerec.learning.siamese_training`` trains them. The fourth, the transfer twin,
stands on a trained FaceNet and is the one to use; ``facerec.learning.transfer_training`` trains it.

Source: Koch, Zemel, Salakhutdinov, "Siamese neural networks for one-shot image recognition", 2015.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from facerec._files import in_project, sha256_of, whole, write_json
from facerec._quiet import quietly
from facerec.detection import extract_face
from facerec.encoding import in_batches
from facerec.errors import BadArgument, BadNetwork, kind_of
from facerec.learning.checkpoints import save_model
from facerec.learning.transfer import put_on_trunk
from facerec.networks import check_files, load_facenet
from facerec.photos import Source, describe, load_image, save_picture

with quietly():
    import keras
    from keras import layers, ops

#: The trained twins that come with the project: the transfer twin, and the compact one, which learned from nothing.
DEFAULT_TWINS = "weights/transfer"
COMPACT = "weights/siamese"


class TwinConv(NamedTuple):
    """One block of a twin: a convolution with ReLU, optionally with batch normalisation, pooling and dropout.

    Args:
        filters: Filters of the convolution.
        size: Its window, size × size pixels.
        batch_norm: Whether batch normalisation comes between convolution and ReLU.
        pool: Whether 2×2 max-pooling follows.
        dropout: The share of values that is dropped at the end of the block.
        l2: The weight of the penalty on the convolution's squared weights.
        stride: The window moves by this many pixels.
    """

    filters: int
    size: int
    batch_norm: bool = False
    pool: bool = True
    dropout: float = 0.0
    l2: float = 0.0
    stride: int = 1


class Variant(NamedTuple):
    """The plan of a twin.

    Args:
        blocks: From input to output.
        padding: ``"same"`` or ``"valid"``, of all convolutions.
        average: True for global average pooling after the last block, False to flatten its output.
        dense: Units of the dense layer at the end, D.
        activation: Its activation.
    """

    blocks: tuple[TwinConv, ...]
    padding: str
    average: bool
    dense: int
    activation: str | None


#: The three twins: two as tutorials publish them (after Koch et al., whose windows are 10, 7, 4 and 4), and ours.
VARIANTS = {
    "large windows": Variant(  # windows of 10, 3, 7 and 4 pixels
        (
            TwinConv(64, 10, batch_norm=True, dropout=0.3, l2=2e-4),
            TwinConv(128, 3, dropout=0.3),
            TwinConv(128, 7, dropout=0.3),
            TwinConv(256, 4, pool=False),
        ),
        "valid",
        average=False,
        dense=4096,
        activation="sigmoid",
    ),
    "small windows": Variant(  # windows of 3 pixels throughout
        tuple(TwinConv(filters, 3, batch_norm=True, dropout=0.3) for filters in (64, 128, 128, 256)),
        "valid",
        average=False,
        dense=4096,
        activation="sigmoid",
    ),
    "compact": Variant(  # global pooling instead of the large dense layer; the first block moves by two pixels
        (
            TwinConv(32, 3, batch_norm=True, stride=2),
            *(TwinConv(filters, 3, batch_norm=True) for filters in (64, 128, 192)),
        ),
        "same",
        average=True,
        dense=128,
        activation=None,
    ),
}


@keras.saving.register_keras_serializable("siamese")
class L1Distance(layers.Layer):
    """The absolute differences of two embeddings: [(m, D), (m, D)] → |a − b|, (m, D)."""

    def call(self, inputs):
        """Compute |a − b| of ``inputs`` = [a, b]."""
        first, second = inputs
        return ops.abs(first - second)

    def compute_output_shape(self, input_shape):
        """The shape of either input."""
        return input_shape[0]


def make_embedding(variant: str = "compact", side: int = 100) -> keras.Model:
    """Build one twin: a face becomes D numbers.

    Args:
        variant: A key of :data:`VARIANTS`.
        side: S, the side of the faces, in pixels.

    Returns:
        A ``keras.Model`` (m, S, S, 3) RGB in 0..1 → (m, D).

    Raises:
        BadArgument: If the variant is unknown, or the faces are too small for its windows.

    Example:
        >>> make_embedding("compact").output_shape
        (None, 128)
    """
    if variant not in VARIANTS:
        raise BadArgument(f"variant={variant!r}: one of {', '.join(map(repr, VARIANTS))}")
    plan = VARIANTS[variant]
    faces = keras.Input((side, side, 3), name="face")
    x = faces
    try:
        for number, block in enumerate(plan.blocks, 1):
            x = conv_block(x, block, plan.padding, f"block{number}")
    except ValueError as error:
        raise BadArgument(f"side={side}: too small for the windows of {variant!r}") from error
    x = layers.GlobalAveragePooling2D(name="average")(x) if plan.average else layers.Flatten(name="flat")(x)
    # Differences of embeddings can be small, so from here on everything is computed in float32.
    x = layers.Dense(plan.dense, activation=plan.activation, dtype="float32", name="embedding")(x)  # (m, D)
    return keras.Model(faces, x, name=variant.replace(" ", "_"))


def conv_block(x, block: TwinConv, padding: str, name: str):
    """A row of :data:`VARIANTS`: (m, H, W, C) → (m, H', W', filters)."""
    penalty = keras.regularizers.L2(block.l2) if block.l2 else None
    bias = not block.batch_norm  # batch normalisation brings its own
    x = layers.Conv2D(
        block.filters,
        block.size,
        block.stride,
        padding=padding,
        use_bias=bias,
        kernel_regularizer=penalty,
        name=f"{name}_conv",
    )(x)
    if block.batch_norm:
        x = layers.BatchNormalization(name=f"{name}_bn")(x)
    x = layers.ReLU(name=f"{name}_relu")(x)
    if block.pool:
        x = layers.MaxPooling2D(2, padding="same", name=f"{name}_pool")(x)
    return layers.Dropout(block.dropout, name=f"{name}_dropout")(x) if block.dropout else x


def make_siamese(variant: str = "compact", side: int = 100) -> keras.Model:
    """Build both twins, which share all weights, and the neuron that weighs their differences.

    Args:
        variant: A key of :data:`VARIANTS`.
        side: S, the side of the faces, in pixels.

    Returns:
        A ``keras.Model`` [(m, S, S, 3), (m, S, S, 3)] RGB in 0..1 → scores (m, 1) in 0..1, close to 1 for one person.

    Raises:
        BadArgument: If the variant is unknown, or the faces are too small for its windows.

    Example:
        >>> make_siamese("compact").count_params()
        340705
    """
    return twins_of(make_embedding(variant, side))


def twins_of(embedding: keras.Model) -> keras.Model:
    """Build twins from an embedding, with a new neuron for their differences.

    Args:
        embedding: Faces, or features of faces, (m, …) → (m, D).

    Returns:
        A ``keras.Model`` [(m, …), (m, …)] → scores (m, 1) in 0..1.
    """
    first, second = (keras.Input(embedding.input_shape[1:], name=name) for name in ("first", "second"))
    difference = L1Distance(dtype="float32", name="l1_distance")([embedding(first), embedding(second)])  # (m, D)
    score = layers.Dense(1, activation="sigmoid", dtype="float32", name="score")(difference)  # (m, 1)
    return keras.Model([first, second], score, name=f"siamese_{embedding.name}")


def embedding_of(siamese: keras.Model) -> keras.Model:
    """The embedding that both twins of a network of ``twins_of`` share: faces (m, S, S, 3) → (m, D)."""
    (embedding,) = [layer for layer in siamese.layers if isinstance(layer, keras.Model)]
    return embedding


@dataclass(frozen=True)
class StandsOn:
    """The FaceNet that twins stand on.

    Attributes:
        network: Its folder, as ``load_facenet`` takes it.
        sha256: The SHA-256 of its weights.
    """

    network: str
    sha256: str


def stand_on(twins: keras.Model, network: str) -> keras.Model:
    """Put twins for features on the trunk of a FaceNet, so that they take faces.

    Args:
        twins: A network of ``twins_of`` a top of ``split_network``.
        network: The folder of the FaceNet that the top was cut from.

    Returns:
        A ``keras.Model`` [(m, S, S, 3), (m, S, S, 3)] RGB in 0..1 → scores (m, 1) in 0..1. Its attribute ``stands_on``
        is a ``StandsOn``.

    Raises:
        BadNetwork: If there is no such FaceNet, or the top does not fit it.
    """
    siamese = twins_of(put_on_trunk(embedding_of(twins), load_facenet(network)))
    siamese.get_layer("score").set_weights(twins.get_layer("score").get_weights())
    siamese.stands_on = StandsOn(network, sha256_of(in_project(network) / "model.h5"))
    return siamese


def twins_for_features(siamese: keras.Model) -> keras.Model:
    """The twins that ``stand_on`` put on a trunk, without the trunk: [(m, F), (m, F)] → scores (m, 1)."""
    twins = twins_of(embedding_of(siamese).get_layer("top"))
    twins.get_layer("score").set_weights(siamese.get_layer("score").get_weights())
    return twins


def score_all(model: keras.Model, faces_1: np.ndarray, faces_2: np.ndarray) -> np.ndarray:
    """Score every face of one list against every face of another; each face is embedded once.

    Args:
        model: A network of ``make_siamese``.
        faces_1: (m, S, S, 3) RGB in 0..1.
        faces_2: (n, S, S, 3) RGB in 0..1.

    Returns:
        Scores (m, n) in 0..1.

    Raises:
        BadArgument: If faces are not in 0..1, for example in 0..255 as ``faces_to_encodings`` takes them.
    """
    first, second = (_embed(model, faces) for faces in (faces_1, faces_2))
    return score_embeddings(model, first, second)


def score_known(model: keras.Model, known: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """Score faces against several known faces of one person: the neuron weighs the mean differences from all of them.

    Args:
        model: A network of ``make_siamese``.
        known: (k, S, S, 3) RGB in 0..1.
        faces: (n, S, S, 3) RGB in 0..1.

    Returns:
        Scores (n,) in 0..1; with a single known face, those of the pairs.

    Raises:
        BadArgument: If faces are not in 0..1.
    """
    of_known, embeddings = (_embed(model, some) for some in (known, faces))
    return np.array([score_differences(model, np.abs(of_known - one).mean(axis=0)) for one in embeddings])


def _embed(model: keras.Model, faces: np.ndarray) -> np.ndarray:
    """The embeddings (m, D) of faces (m, S, S, 3), which must be in 0..1."""
    if np.size(faces) and not 0 <= np.min(faces) <= np.max(faces) <= 1:
        raise BadArgument(f"faces must be in 0..1; these reach {np.max(faces):.4g}: divide pixels by 255")
    return in_batches(np.asarray(faces), embedding_of(model))


def score_embeddings(model: keras.Model, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Score every embedding of one list against every one of another: (m, D) and (n, D) → (m, n) in 0..1."""
    return np.stack([score_differences(model, np.abs(one - second)) for one in first])


def score_differences(model: keras.Model, differences: np.ndarray) -> np.ndarray:
    """Score the differences of embeddings: |a − b|, (…, D) → (…) in 0..1."""
    weights, bias = model.get_layer("score").get_weights()
    return 1 / (1 + np.exp(-(differences @ weights[:, 0] + bias[0])))


def save_siamese(
    model: keras.Model, folder: str | os.PathLike, threshold: float, known: np.ndarray | None = None, **notes
) -> None:
    """Save a trained network in a folder that ``load_siamese`` opens.

    Of twins that stand on a FaceNet only their own layers are saved, with the FaceNet's folder and SHA-256.

    Args:
        model: A trained network of ``make_siamese`` or ``stand_on``.
        folder: The folder to write into; its other files, for example a model card, stay.
        threshold: The lowest score of a match, chosen on validation people.
        known: The known faces of one person, (k, S, S, 3) uint8, if the threshold is for the comparison with them.
        **notes: More entries of ``siamese.json``: how and on which people it was trained.
    """
    folder, stands_on = Path(folder), getattr(model, "stands_on", None)
    save_model(twins_for_features(model) if stands_on else model, folder / "siamese.keras")
    faces = {f"known/{number:03d}.png": face for number, face in enumerate([] if known is None else known)}
    if faces:
        with whole(folder / "known") as unfinished:
            unfinished.mkdir()
            for name, face in faces.items():
                save_picture(unfinished / Path(name).name, face)
    card = {"threshold": threshold, **notes} | ({"stands_on": asdict(stands_on)} if stands_on else {})
    digests = {name: sha256_of(folder / name) for name in ("siamese.keras", *faces)}
    write_json(folder / "siamese.json", {**card, "sha256": digests})


def load_siamese(folder: str | os.PathLike = DEFAULT_TWINS) -> tuple[keras.Model, float]:
    """Load a trained network: one that comes with the project, or one that ``save_siamese`` wrote.

    Args:
        folder: A path relative to the working directory or to this project: ``weights/transfer`` holds the transfer
            twin, ``weights/siamese`` the compact one.

    Returns:
        model: [(m, S, S, 3), (m, S, S, 3)] RGB in 0..1 → scores (m, 1) in 0..1. Its attribute ``known`` holds the known
            faces of the person it was made for, (k, S, S, 3) uint8, or is None.
        threshold: The lowest score of a match, chosen for this network; if it has known faces, for the comparison with
            all of them.

    Raises:
        BadNetwork: If the folder holds no such network, it is damaged, or the FaceNet that it stands on has changed.

    Example:
        >>> model, threshold = load_siamese()
        >>> model.output_shape, 0 < threshold < 1
        ((None, 1), True)
    """
    folder = in_project(folder)
    try:
        card = json.loads((folder / "siamese.json").read_text(encoding="utf-8"))
        threshold, digests = float(card["threshold"]), {"siamese.keras": card["sha256"]["siamese.keras"]}
        digests |= card["sha256"]
        stands_on = StandsOn(**card["stands_on"]) if card.get("stands_on") else None
    except FileNotFoundError as error:
        raise BadNetwork(f"{folder} does not hold a Siamese network: siamese.json is missing") from error
    except (ValueError, KeyError, TypeError) as error:
        raise BadNetwork(f"{folder / 'siamese.json'} is damaged: {error!r}") from error
    check_files(folder, digests)
    model = keras.models.load_model(folder / "siamese.keras", compile=False)
    if stands_on:
        model = stand_on(model, stands_on.network)
        if model.stands_on != stands_on:
            raise BadNetwork(f"{folder} was trained on another {stands_on.network}: train it again on this one")
    faces = [load_image(folder / name) for name in sorted(digests) if name.startswith("known/")]
    model.known = np.stack(faces) if faces else None
    return model, threshold


def preprocess_image(photo: Source, side: int = 100, aligned: bool = False) -> np.ndarray:
    """Find and align the face of a photo, as Siamese networks take it.

    Args:
        photo: Anything that ``load_image`` takes.
        side: S, in pixels.
        aligned: True if the photo is an aligned face already.

    Returns:
        (S, S, 3) float32 in 0..1.

    Raises:
        UnreadableImage: If it can't be opened.
        NoFaceFound: If it shows no face.
    """
    face = extract_face(load_image(photo), side, aligned=aligned, name=describe(photo))
    return face.astype(np.float32) / 255


def verify_faces(
    photo_1: Source | np.ndarray,
    photo_2: Source,
    model: keras.Model,
    threshold: float = 0.5,
    aligned: bool = False,
) -> Mapping[str, bool | float]:
    """Do two photos show the same person?

    A network that was saved for one person carries known faces of that person. Give them instead of the first photo,
    ``verify_faces(model.known, photo, model, threshold)``: the photo is then compared with all of them together
    (``score_known``), which is what the threshold of such a network was chosen for.

    Args:
        photo_1: Anything that ``load_image`` takes, or the known faces of a person, (k, S, S, 3) uint8.
        photo_2: Anything that ``load_image`` takes.
        model: A trained network of ``load_siamese`` or ``make_siamese``.
        threshold: The lowest score of a match; choose it on validation people.
        aligned: True if the photos are aligned faces already; known faces always are.

    Returns:
        ``{"is_match": bool, "score": float}``, with the score in 0..1.

    Raises:
        BadArgument: If the threshold is not in 0..1, the model is not a network, or the known faces don't fit it.
        BadNetwork: If the model does not take two faces.
        FaceError: If a photo can't be opened or shows no face.

    Example:
        >>> model, threshold = load_siamese()
        >>> verify_faces("images/lena.jpg", "images/camera_0.jpg", model, threshold)["is_match"]
        True
    """
    if isinstance(threshold, bool) or not isinstance(threshold, int | float | np.number) or not 0 <= threshold <= 1:
        raise BadArgument(f"threshold={threshold!r}: a score in 0..1")
    side = _side_of(model)
    if isinstance(photo_1, np.ndarray) and photo_1.ndim == 4:
        known = _check_known(photo_1, side)
    else:
        known = preprocess_image(photo_1, side, aligned)[None]
    score = float(score_known(model, known, preprocess_image(photo_2, side, aligned)[None])[0])
    return {"is_match": score >= threshold, "score": score}


def _side_of(model: keras.Model) -> int:
    """The side S of the faces that twins take."""
    if not isinstance(model, keras.Model):
        hint = "; load_siamese() gives both: model, threshold = load_siamese()" if isinstance(model, tuple) else ""
        raise BadArgument(f"model is {kind_of(model)}, not a network{hint}")
    shapes = model.input_shape
    if not isinstance(shapes, list) or len(shapes) != 2 or shapes[0] != shapes[1] or len(shapes[0]) != 4:
        raise BadNetwork(f"{model.name} takes {shapes}; a Siamese network takes two faces (m, S, S, 3)")
    return shapes[0][1]


def _check_known(faces: np.ndarray, side: int) -> np.ndarray:
    """Known faces (k, S, S, 3) uint8 as float32 in 0..1."""
    if faces.dtype != np.uint8 or faces.shape[1:] != (side, side, 3) or not len(faces):
        raise BadArgument(f"known faces must be (k, {side}, {side}, 3) uint8; these are {faces.dtype} {faces.shape}")
    return faces.astype(np.float32) / 255
