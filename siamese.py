"""Twin networks: two faces go through the same network, and what differs between them decides.

    face ─┐                          ┌─ |a − b| ─ one neuron ─► score in 0..1: the same person?
          ├─ the same embedding ─ a, b
    face ─┘

One builder makes three variants: the two that are widely published, with millions of weights in one dense layer, and a
compact one. They learn from pairs (``face_datasets.make_pairs``), and can be stopped at any moment and go on.

Source: Koch, Zemel, Salakhutdinov, "Siamese neural networks for one-shot image recognition", 2015.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations, product
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from tqdm.auto import tqdm

from checkpoints import Epochs, one_epoch, precision, save_model
from errors import BadArgument, BadNetwork
from evaluation import threshold_at
from face_datasets import PairFaces, PersonFaces, check_disjoint, one_person_pairs, open_faces, read_picture
from face_detection import extract_face
from fr_utils import Source, check_files, describe, in_project, load_image, sha256_of
from quiet import quietly
from whole_files import write_json

with quietly():
    import keras
    from keras import layers, ops


#: The trained twins that come with the project.
SHIPPED = "weights/siamese"


# ------------------------------------------------------------------------------------------- the networks
class Conv(NamedTuple):
    """One block: a convolution with ReLU, and what may follow it.

    Args:
        filters: Of the convolution.
        size: Its window, size × size pixels.
        batch_norm: Whether batch normalisation stands between convolution and ReLU.
        pool: Whether 2×2 max-pooling follows.
        dropout: The share of values that is dropped behind it.
        l2: The weight of the penalty on the convolution's squared weights.
        stride: Every so many pixels the window looks.
    """

    filters: int
    size: int
    batch_norm: bool = False
    pool: bool = True
    dropout: float = 0.0
    l2: float = 0.0
    stride: int = 1


class Variant(NamedTuple):
    """A twin: its blocks, whether the last picture is averaged or flattened, and its dense layer."""

    blocks: tuple[Conv, ...]
    padding: str
    average: bool
    dense: int
    activation: str | None


#: The three twins: two as tutorials of the Siamese verifier publish them (after Koch et al., whose windows are 10, 7,
#: 4 and 4 pixels), and ours.
VARIANTS = {
    "large windows": Variant(  # windows of 10, 3, 7 and 4 pixels
        (
            Conv(64, 10, batch_norm=True, dropout=0.3, l2=2e-4),
            Conv(128, 3, dropout=0.3),
            Conv(128, 7, dropout=0.3),
            Conv(256, 4, pool=False),
        ),
        "valid",
        average=False,
        dense=4096,
        activation="sigmoid",
    ),
    "small windows": Variant(  # windows of 3 pixels throughout
        tuple(Conv(filters, 3, batch_norm=True, dropout=0.3) for filters in (64, 128, 128, 256)),
        "valid",
        average=False,
        dense=4096,
        activation="sigmoid",
    ),
    "compact": Variant(  # global pooling instead of the large dense layer, every other pixel at first
        (
            Conv(32, 3, batch_norm=True, stride=2),
            *(Conv(filters, 3, batch_norm=True) for filters in (64, 128, 192)),
        ),
        "same",
        average=True,
        dense=128,
        activation=None,
    ),
}


@keras.saving.register_keras_serializable("siamese")
class L1Distance(layers.Layer):
    """How two embeddings differ, number by number: [(m, D), (m, D)] → |a − b|, (m, D)."""

    def call(self, inputs):
        """As the class says."""
        first, second = inputs
        return ops.abs(first - second)

    def compute_output_shape(self, input_shape):
        """The shape of either input."""
        return input_shape[0]


def make_embedding(variant: str = "compact", side: int = 100) -> keras.Model:
    """One twin: a face becomes a row of numbers.

    Args:
        variant: A key of :data:`VARIANTS`.
        side: S, of the faces in pixels.

    Returns:
        A ``keras.Model`` (m, S, S, 3), RGB in 0..1 → (m, D).

    Raises:
        BadArgument: If there is no such variant, or the faces are too small for its windows.

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
    # Differences of embeddings can be small, so from here on nothing is rounded to two bytes.
    x = layers.Dense(plan.dense, activation=plan.activation, dtype="float32", name="embedding")(x)  # (m, D)
    return keras.Model(faces, x, name=variant.replace(" ", "_"))


def conv_block(x, block: Conv, padding: str, name: str):
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
    """Both twins, which share every weight, and the neuron that weighs their differences.

    Args:
        variant: A key of :data:`VARIANTS`.
        side: S, of the faces in pixels.

    Returns:
        A ``keras.Model`` [(m, S, S, 3), (m, S, S, 3)], RGB in 0..1 → scores (m, 1) in 0..1: near 1, one person.

    Example:
        >>> make_siamese("compact").count_params()
        340705
    """
    embedding = make_embedding(variant, side)
    first, second = (keras.Input((side, side, 3), name=name) for name in ("first", "second"))
    difference = L1Distance(dtype="float32", name="l1_distance")([embedding(first), embedding(second)])  # (m, D)
    score = layers.Dense(1, activation="sigmoid", dtype="float32", name="score")(difference)  # (m, 1)
    return keras.Model([first, second], score, name=f"siamese_{embedding.name}")


def embedding_of(siamese: keras.Model) -> keras.Model:
    """The one twin of a network of ``make_siamese``: faces (m, S, S, 3) → (m, D)."""
    (embedding,) = [layer for layer in siamese.layers if isinstance(layer, keras.Model)]
    return embedding


@keras.saving.register_keras_serializable("siamese")
class AllPairs(layers.Layer):
    """How every embedding differs from every other one: (B, D) → (B (B − 1) / 2, D), as ``np.triu_indices`` counts."""

    def call(self, embeddings):
        """As the class says."""
        first, second = np.triu_indices(embeddings.shape[0], 1)
        return ops.abs(ops.take(embeddings, first, axis=0) - ops.take(embeddings, second, axis=0))


def with_all_pairs(siamese: keras.Model, batch: int) -> keras.Model:
    """The same twins for a batch of faces, each of which is compared with every other one.

    Pairs from a list use each embedding once. Here it is used B − 1 times, and embeddings are what costs: so much more
    is learned in the same time.

    Args:
        siamese: A network of ``make_siamese``; its weights are shared, not copied.
        batch: B, at least 2.

    Returns:
        A ``keras.Model`` (B, S, S, 3) → scores (B (B − 1) / 2, 1).
    """
    embedding = embedding_of(siamese)
    faces = keras.Input(batch_shape=(batch, *embedding.input_shape[1:]), name="faces")
    difference = AllPairs(dtype="float32", name="all_pairs")(embedding(faces))
    return keras.Model(faces, siamese.get_layer("score")(difference), name=f"all_pairs_{siamese.name}")


# ----------------------------------------------------------------------------------------------- training
@dataclass(frozen=True)
class Plan:
    """All that a training depends on, besides its pairs; the same plan gives the same network.

    The rate is the published one, for lists of pairs. Who learns from all pairs of a batch (``PersonFaces``) gets on
    with a larger one, 1e-3 say, and batches of 64.

    Attributes:
        variant: A key of :data:`VARIANTS`.
        side: S, of the faces in pixels.
        epochs: At most so many times every pair is shown.
        batch: Pairs per step; or, where all pairs of a batch are learned from, faces.
        rate: Adam's learning rate in the beginning.
        decay: What the rate is multiplied by after every epoch.
        clip: The longest gradient (its global norm) that is followed.
        patience: Stop after so many epochs without a better loss on the validation pairs.
        augmented: Whether faces are flipped and change their light at random.
        moved: Whether they are also turned, shifted and resized a little.
        precision: Of the convolutions while they learn: ``float32``, or ``mixed_bfloat16``, quicker where the
            processor can do it. What is kept computes in float32.
        seed: Of the first weights, the order, the augmentation and the dropout.
    """

    variant: str = "compact"
    side: int = 100
    epochs: int = 50
    batch: int = 32
    rate: float = 5e-5
    decay: float = 0.97
    clip: float = 1.0
    patience: int = 10
    augmented: bool = True
    moved: bool = False
    precision: str = "float32"
    seed: int = 0


#: The columns of a history.
HISTORY = ("epoch", "loss", "accuracy", "validation_loss", "validation_accuracy", "rate", "seconds", "waiting")


def compile_siamese(model: keras.Model, plan: Plan, steps: int) -> keras.Model:
    """Make a network ready to be trained: binary cross-entropy, Adam with exponential decay, clipped gradients."""
    rate = keras.optimizers.schedules.ExponentialDecay(plan.rate, steps, plan.decay, staircase=True)
    optimizer = keras.optimizers.Adam(rate, global_clipnorm=plan.clip)
    model.compile(optimizer, loss="binary_crossentropy", weighted_metrics=["accuracy"], jit_compile=False)
    optimizer.build(model.trainable_variables)
    return model


def train(
    learned: PairFaces | PersonFaces,
    validation: PairFaces,
    plan: Plan,
    folder: str | os.PathLike,
    progress: bool = True,
    every: int = 10,
) -> tuple[keras.Model, pd.DataFrame]:
    """Train a siamese network, or go on where it was stopped.

    Args:
        learned: What to learn from: a list of pairs (``PairFaces``), as published, or people (``PersonFaces``), which
            are compared each with each in every batch, and that is the quicker way.
        validation: Pairs of other people: they say when to stop and which epoch was the best.
        plan: Everything else.
        folder: Keeps the rolling checkpoint (every epoch), ``history.csv``, ``best.keras``, and a named
            network every ``every`` epochs (``epoch_010.keras``).
        progress: True for a progress bar.
        every: Epochs between two named networks.

    Returns:
        The network of the best epoch, and the history: a row per epoch; ``waiting`` is the share of the time in
        which the network waited for its next batch.

    Raises:
        BadArgument: If the folder holds a training with another plan, or the faces have another side.
        TrainingFailed: If a loss is no number any more.
    """
    for what, faces in (("learned", learned.faces), ("validation", validation.faces)):
        if faces.shape[1] != plan.side:
            raise BadArgument(f"{what}: its faces have {faces.shape[1]} pixels, the plan says side={plan.side}")
    steps, in_batch = len(learned) // plan.batch, isinstance(learned, PersonFaces)
    if steps < 1:
        raise BadArgument(f"{len(learned)} {'pictures' if in_batch else 'pairs'} don't fill a batch of {plan.batch}")
    keras.utils.set_random_seed(plan.seed)
    with precision(plan.precision):
        model = make_siamese(plan.variant, plan.side)
    kept = make_siamese(plan.variant, plan.side)  # in float32
    learner = compile_siamese(with_all_pairs(model, plan.batch) if in_batch else model, plan, steps)
    config = {**asdict(plan), "learns from": type(learned).__name__, "sizes": [len(learned), len(validation)]}
    epochs = Epochs(learner, folder, config, HISTORY, may_differ=["epochs", "patience"])
    batches = iter(learned.batches(plan.batch, plan.augmented, plan.seed, epochs.done, plan.moved))
    with tqdm(total=plan.epochs, initial=epochs.done, desc=plan.variant, unit="epoch", disable=not progress) as bar:
        for _ in epochs.left(plan.epochs, plan.patience):
            row = one_epoch(learner, batches, steps, bar)
            kept.set_weights(model.get_weights())
            row |= _validate(kept, validation)
            row["rate"] = learner.optimizer.learning_rate
            epochs.finish(row, kept, every)
            bar.update()
            bar.set_postfix(loss=f"{row['loss']:.3f}", validation=f"{row['validation_accuracy']:.1%}")
    return epochs.best(), epochs.history


def _validate(model: keras.Model, pairs: PairFaces) -> dict:
    scores = score_pairs(model, pairs).clip(1e-7, 1 - 1e-7)
    chances = np.where(pairs.same, scores, 1 - scores)
    right = (scores >= 0.5) == pairs.same
    return {"validation_loss": float(-np.log(chances).mean()), "validation_accuracy": float(right.mean())}


def score_pairs(model: keras.Model, pairs: PairFaces, batch: int = 64) -> np.ndarray:
    """The score of every pair, (n,) in 0..1; a batch in memory at a time."""
    starts = range(0, len(pairs), batch)
    parts = [model.predict_on_batch(list(pairs.arrays(slice(i, i + batch)))) for i in starts]
    return np.concatenate(parts)[:, 0]


def score_all(model: keras.Model, faces_1: np.ndarray, faces_2: np.ndarray) -> np.ndarray:
    """The score of every face of one list against every face of another; each face is embedded once.

    Args:
        model: A network of ``make_siamese``.
        faces_1: (m, S, S, 3), RGB in 0..1.
        faces_2: (n, S, S, 3).

    Returns:
        (m, n) in 0..1.
    """
    first, second = (embedding_of(model).predict(faces, batch_size=64, verbose=0) for faces in (faces_1, faces_2))
    return score_embeddings(model, first, second)


def score_embeddings(model: keras.Model, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """The same from what the twins' common embedding made of the faces: (m, D) and (n, D) → (m, n) in 0..1."""
    weights, bias = model.get_layer("score").get_weights()
    logits = np.stack([np.abs(one - second) @ weights[:, 0] + bias[0] for one in first])
    return 1 / (1 + np.exp(-logits))


def save_siamese(model: keras.Model, folder: str | os.PathLike, threshold: float, **notes) -> None:
    """Write a trained network into a folder that ``load_siamese`` opens, completely or not at all.

    Args:
        model: A network of ``make_siamese``, trained.
        folder: Where to; other files there, a model card, say, stay.
        threshold: From this score on two faces are said to be one person; chosen on validation people.
        **notes: What a reader should know: how it was trained, and on whom.
    """
    folder = Path(folder)
    save_model(model, folder / "siamese.keras")
    card = {"threshold": threshold, **notes, "sha256": {"siamese.keras": sha256_of(folder / "siamese.keras")}}
    write_json(folder / "siamese.json", card)


def load_siamese(folder: str | os.PathLike = SHIPPED) -> tuple[keras.Model, float]:
    """Open a trained network: the one that comes with the project, or one that ``save_siamese`` wrote.

    Args:
        folder: Relative to where Python runs or to this project.

    Returns:
        The network [(m, S, S, 3), (m, S, S, 3)] in 0..1 → scores (m, 1), and the threshold that was chosen for it.

    Raises:
        BadNetwork: If there is none, or it is damaged.

    Example:
        >>> model, threshold = load_siamese()
        >>> model.count_params(), 0 < threshold < 1
        (340705, True)
    """
    folder = in_project(folder)
    try:
        card = json.loads((folder / "siamese.json").read_text(encoding="utf-8"))
        threshold, digests = float(card["threshold"]), {"siamese.keras": card["sha256"]["siamese.keras"]}
    except FileNotFoundError as error:
        raise BadNetwork(f"{folder} holds no siamese network: siamese.json is missing there") from error
    except (ValueError, KeyError, TypeError) as error:
        raise BadNetwork(f"{folder / 'siamese.json'} is damaged: {error!r}") from error
    check_files(folder, digests)
    return keras.models.load_model(folder / "siamese.keras", compile=False), threshold


# ---------------------------------------------------------------------------------------------- one person
@dataclass(frozen=True)
class Verifier:
    """Twins that know one person, and what they are worth.

    Attributes:
        model: The network.
        known: The person's faces that a new one is compared with, (k, S, S, 3), RGB in 0..1.
        threshold: From this mean score on it is the person; chosen on other people than are tested here.
        true_accepts: The share of the person's later pictures, which taught nothing, that are accepted.
        false_accepts: The share of pictures of strangers, who taught nothing, that are.
        later: How many later pictures there were.
        strangers: How many strangers.
    """

    model: keras.Model
    known: np.ndarray
    threshold: float
    true_accepts: float
    false_accepts: float
    later: int
    strangers: int

    def scores(self, faces: np.ndarray) -> np.ndarray:
        """How much aligned faces (m, S, S, 3) in 0..1 are like the person: (m,), the mean over the known ones."""
        return score_all(self.model, self.known, faces).mean(axis=0)


#: Of a person's pictures, in their order: to learn from, to stop at, and to be tested with.
OWN_SHARES = (0.6, 0.2, 0.2)
FEWEST = 8


def train_for_one(
    own: Sequence[str],
    others: Sequence[pd.DataFrame],
    folder: str | os.PathLike,
    plan: Plan | None = None,
    far: float = 0.01,
    progress: bool = True,
) -> Verifier:
    """Train twins for one person, and test them on that person's later pictures and on strangers.

    Args:
        own: The person's pictures as aligned faces, at least 8, in the order in which they were taken.
        others: Three tables of other people's aligned faces (of ``split_by_identity``): to learn from, to choose the
            threshold, and to be tested with.
        folder: As in ``train``.
        plan: By default twelve epochs of pairs, varied strongly, at a rate that falls from 1e-3.
        far: The share of strangers that the threshold may let in.
        progress: True for a progress bar.

    Returns:
        The twins with their threshold, and the shares of later pictures and of strangers that they accept.

    Raises:
        BadArgument: If there are too few pictures, or somebody is in two of the tables.
    """
    if len(own) < FEWEST:
        raise BadArgument(
            f"{len(own)} pictures of the person: at least {FEWEST}, to learn from, to stop at, and to test"
        )
    check_disjoint(*others)
    ends = np.round(np.cumsum(OWN_SHARES[:2]) * len(own)).astype(int)
    learned, stopped, later = np.split(np.asarray(own, object), ends)
    same = list(combinations(learned, 2))
    pairs = one_person_pairs(same, learned, others[0].picture, min(5, len(others[0]) // len(same)))
    checked = one_person_pairs(list(product(learned, stopped)), learned, others[1].picture)
    plan = plan or Plan(epochs=12, batch=min(32, len(pairs)), rate=1e-3, decay=0.8, moved=True)
    model, _ = train(PairFaces(pairs, plan.side), PairFaces(checked, plan.side), plan, folder, progress)
    known = open_faces(list(learned), plan.side).astype(np.float32) / 255

    def near(pictures: Sequence[str]) -> np.ndarray:
        faces = open_faces(list(pictures), plan.side).astype(np.float32) / 255
        return 1 - score_all(model, known, faces).mean(axis=0)

    limit = threshold_at(near(others[1].picture), far)
    accepted, let_in = near(later) < limit, near(others[2].picture) < limit
    strangers = others[2].identity.nunique()
    return Verifier(model, known, 1 - limit, float(accepted.mean()), float(let_in.mean()), len(later), strangers)


# ----------------------------------------------------------------------------------------------- verifying
def preprocess_image(photo: Source, side: int = 100, aligned: bool = False) -> np.ndarray:
    """The face of a photo as the networks here want it.

    Args:
        photo: Anything that ``load_image`` takes, or a picture of a table (``find_people``), also in a zip file.
        side: S, in pixels.
        aligned: True if the picture is an aligned face already.

    Returns:
        (S, S, 3) float32 in 0..1.

    Raises:
        UnreadableImage: If it can't be opened.
        NoFaceFound: If it shows no face.
    """
    opened = read_picture(photo) if isinstance(photo, str | os.PathLike) else load_image(photo)
    face = extract_face(opened, side, aligned=aligned, name=describe(photo))
    return face.astype(np.float32) / 255


def verify_faces(
    photo_1: Source, photo_2: Source, model: keras.Model, threshold: float = 0.5, aligned: bool = False
) -> Mapping[str, bool | float]:
    """Do two photos show the same person?

    Args:
        photo_1: Anything that ``load_image`` takes.
        photo_2: The other one.
        model: A network of ``make_siamese``, trained.
        threshold: From this score on it is a match; choose it on validation people.
        aligned: True if both pictures are aligned faces already.

    Returns:
        ``{"is_match": bool, "score": float}``, the score in 0..1.

    Raises:
        BadArgument: If the threshold is no score, or the model no network.
        BadNetwork: If the model does not take two faces.
        FaceError: If a photo can't be opened or shows no face.
    """
    if isinstance(threshold, bool) or not isinstance(threshold, int | float | np.number) or not 0 <= threshold <= 1:
        raise BadArgument(f"threshold={threshold!r}: a score in 0..1")
    if not isinstance(model, keras.Model):
        hint = "; load_siamese() gives both: model, threshold = load_siamese()" if isinstance(model, tuple) else ""
        raise BadArgument(f"model is a {type(model).__name__}, not a network{hint}")
    shapes = model.input_shape
    if not isinstance(shapes, list) or len(shapes) != 2 or shapes[0] != shapes[1] or len(shapes[0]) != 4:
        raise BadNetwork(f"{model.name} takes {shapes}; a siamese network takes two faces (m, S, S, 3)")
    side = shapes[0][1]
    faces = [preprocess_image(photo, side, aligned)[None] for photo in (photo_1, photo_2)]
    score = float(ops.convert_to_numpy(model(faces, training=False))[0, 0])
    return {"is_match": score >= threshold, "score": score}
