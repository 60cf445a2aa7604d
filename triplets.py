"""Learn an embedding from triplets: an anchor shall be nearer to its positive than to its negative, by a margin.

A batch holds P people with K faces each. Every two faces of one person are an anchor and a positive; which negative
goes with them decides what is learned: any (random), or one that is only just farther away (semi-hard).

m is the number of faces (or of triplets), D the length of an encoding. Distances are squared Euclidean, as in the
paper: between 0 and 4 for encodings of unit length. Mining looks at m·m·m numbers at once: little for a batch of 32,
half a gigabyte for 512.

Source: Schroff, Kalenichenko and Philbin, "FaceNet: A Unified Embedding for Face Recognition and
Clustering", 2015.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from tqdm.auto import tqdm

from checkpoints import Epochs, one_epoch, precision
from errors import BadArgument, TrainingFailed
from evaluation import accuracy, area_under_roc, best_threshold
from face_datasets import PairFaces, PersonFaces
from fr_utils import info_of
from inception_blocks_v2 import faceRecoModel
from quiet import quietly

with quietly():
    import keras
    from keras import layers, ops

Tensor = Any  # a tensor of whichever backend Keras runs on

#: The margin of the FaceNet paper.
ALPHA = 0.2


# ----------------------------------------------------------------------------------------------- the loss
def triplet_loss(y_true: Any, y_pred: Sequence[Tensor], alpha: float = ALPHA) -> Tensor:
    """Sum over the triplets of max(‖anchor − positive‖² − ‖anchor − negative‖² + alpha, 0).

    Args:
        y_true: Ignored; Keras hands every loss two arguments.
        y_pred: The encodings of anchors, positives and negatives, three tensors (m, D).
        alpha: The margin, 0 or more.

    Returns:
        The loss, a scalar: 0 when every negative is farther than its positive by the margin.

    Raises:
        BadArgument: If ``y_pred`` does not hold three tensors of one shape, or ``alpha`` is negative.

    Example:
        >>> float(triplet_loss(None, [[[0.0, 1.0]], [[0.0, 1.0]], [[1.0, 0.0]]]))
        0.0
        >>> round(float(triplet_loss(None, [[[0.0, 1.0]], [[1.0, 0.0]], [[0.0, 1.0]]])), 4)
        2.2

    Source: The FaceNet paper, equation 3.
    """
    anchor, positive, negative = _three_of_a_shape(y_pred)
    if not alpha >= 0:
        raise BadArgument(f"alpha={alpha!r}: the margin must be 0 or more")
    to_positive = ops.sum(ops.square(anchor - positive), axis=-1)  # (m,)
    to_negative = ops.sum(ops.square(anchor - negative), axis=-1)  # (m,)
    return ops.sum(ops.maximum(to_positive - to_negative + alpha, 0.0))


def _three_of_a_shape(y_pred: Sequence[Tensor]) -> list[Tensor]:
    """The three tensors of a triplet, or what is wrong with them."""
    try:
        tensors = [ops.convert_to_tensor(part) for part in y_pred]
    except (TypeError, ValueError) as error:
        raise BadArgument(f"y_pred must be [anchor, positive, negative], three tensors (m, D): {error}") from error
    shapes = [tuple(tensor.shape) for tensor in tensors]
    if len(tensors) != 3 or len(set(shapes)) != 1 or not shapes[0]:
        raise BadArgument(f"y_pred must be [anchor, positive, negative], three tensors of one shape, not {shapes}")
    return tensors


# ------------------------------------------------------------------------------------------------ mining
class Mined(NamedTuple):
    """A negative for every pair of faces of one person.

    Attributes:
        negative: (m, m) int: whom to push away when the row's face is the anchor and the column's the positive.
        valid: (m, m) bool: whether row, column and negative are a triplet at all.
    """

    negative: Tensor
    valid: Tensor

    def triplets(self) -> np.ndarray:
        """The valid ones as rows of (anchor, positive, negative), (t, 3)."""
        valid = ops.convert_to_numpy(self.valid)
        anchor, positive = np.nonzero(valid)
        return np.stack([anchor, positive, ops.convert_to_numpy(self.negative)[valid]], axis=1)


def squared_distances(encodings: Tensor) -> Tensor:
    """Squared Euclidean distances of all encodings to all: (m, D) → (m, m).

    Example:
        >>> ops.convert_to_numpy(squared_distances([[0.0, 1.0], [1.0, 0.0]])).tolist()
        [[0.0, 2.0], [2.0, 0.0]]
    """
    encodings = ops.convert_to_tensor(encodings)
    lengths = ops.sum(ops.square(encodings), axis=1)  # (m,)
    products = ops.matmul(encodings, ops.transpose(encodings))  # (m, m)
    return ops.maximum(lengths[:, None] + lengths[None] - 2 * products, 0.0)


def same_person(who: Tensor) -> Tensor:
    """Which faces show the same person: (m,) → (m, m) bool; every face shows the same person as itself.

    Example:
        >>> ops.convert_to_numpy(same_person([7, 7, 2])).tolist()
        [[True, True, False], [True, True, False], [False, False, True]]
    """
    who = ops.convert_to_tensor(who)
    return ops.equal(who[:, None], who[None])


def pairs_of(who: Tensor) -> Tensor:
    """Which faces make an anchor and a positive: two faces of one person, (m,) → (m, m) bool.

    Example:
        >>> ops.convert_to_numpy(pairs_of([7, 7, 2])).tolist()
        [[False, True, False], [True, False, False], [False, False, False]]
    """
    same = same_person(who)
    return ops.logical_and(same, ops.logical_not(ops.eye(ops.shape(same)[0], dtype="bool")))


def random_triplets(who: Tensor, seed: int | keras.random.SeedGenerator | None = None) -> Mined:
    """For every anchor and positive any face of somebody else, each equally likely.

    Args:
        who: The person in each face, (m,).
        seed: Of the choice.

    Returns:
        A negative for every two faces of one person.
    """
    other = ops.logical_not(same_person(who))  # (m, m)
    m = ops.shape(other)[0]
    chance = keras.random.uniform((m, m, m), seed=seed)
    negative = ops.argmax(ops.where(other[:, None], chance, -1.0), axis=2)
    return Mined(negative, ops.logical_and(pairs_of(who), ops.any(other, axis=1, keepdims=True)))


def semi_hard_triplets(encodings: Tensor, who: Tensor, alpha: float = ALPHA) -> Mined:
    """For every anchor and positive the nearest of the faces that are farther than the positive, but by less than α.

    Args:
        encodings: (m, D).
        who: The person in each face, (m,).
        alpha: The margin.

    Returns:
        A negative n with d(a, p) < d(a, n) < d(a, p) + α wherever the batch holds one; elsewhere not valid.

    Source: The FaceNet paper, section 3.2, equation 4.
    """
    distances = squared_distances(encodings)
    to_positive, to_negative = distances[:, :, None], distances[:, None]  # (m, m, 1), (m, 1, m)
    farther = ops.logical_and(to_negative > to_positive, to_negative < to_positive + alpha)
    return _nearest(distances, ops.logical_and(farther, ops.logical_not(same_person(who))[:, None]), who)


def hardest_triplets(encodings: Tensor, who: Tensor) -> Mined:
    """For every anchor and positive the nearest face of somebody else, even if it is nearer than the positive.

    The paper warns of them: in the beginning they drive all encodings into one point.

    Args:
        encodings: (m, D).
        who: The person in each face, (m,).

    Returns:
        A negative for every two faces of one person.
    """
    other = ops.logical_not(same_person(who))
    candidates = ops.logical_and(other[:, None], ops.ones_like(other)[:, :, None])  # (m, m, m)
    return _nearest(squared_distances(encodings), candidates, who)


def _nearest(distances: Tensor, candidates: Tensor, who: Tensor) -> Mined:
    """The nearest candidate of each anchor and positive; distances (m, m), candidates (m, m, m) bool."""
    negative = ops.argmin(ops.where(candidates, distances[:, None], np.inf), axis=2)
    return Mined(negative, ops.logical_and(pairs_of(who), ops.any(candidates, axis=2)))


def active_shares(distances: Tensor, who: Tensor, alpha: float = ALPHA) -> Tensor:
    """For each anchor and positive, how many of all possible negatives still cost something.

    Args:
        distances: Squared, (m, m).
        who: The person in each face, (m,).
        alpha: The margin.

    Returns:
        (m, m) in 0..1: the share of negatives n with d(a, n) < d(a, p) + α.
    """
    other = ops.cast(ops.logical_not(same_person(who)), "float32")
    close = ops.cast(distances[:, None] < distances[:, :, None] + alpha, "float32")  # (m, m, m)
    return ops.sum(close * other[:, None], axis=2) / ops.maximum(ops.sum(other, axis=1, keepdims=True), 1.0)


def kinds_of_triplets(encodings: Tensor, who: Tensor, alpha: float = ALPHA) -> dict[str, float]:
    """Of all triplets in a batch, the shares that are easy, semi-hard and hard.

    Args:
        encodings: (m, D).
        who: The person in each face, (m,).
        alpha: The margin.

    Returns:
        ``easy``: the negative is farther than the positive by α or more, and nothing is learned from it;
        ``semi-hard``: farther, by less than α; ``hard``: not farther. They add up to 1.

    Raises:
        BadArgument: If there are no triplets in the batch.

    Example:
        >>> kinds_of_triplets([[0.0, 1.0], [0.0, 1.0], [1.0, 0.0]], [0, 0, 1])
        {'easy': 1.0, 'semi-hard': 0.0, 'hard': 0.0}
    """
    distances = ops.convert_to_numpy(squared_distances(encodings))
    anchor, positive = np.nonzero(ops.convert_to_numpy(pairs_of(who)))
    other = ~ops.convert_to_numpy(same_person(who))[anchor]  # (t, m): a row per anchor and positive
    if not other.any():
        raise BadArgument(f"who={np.asarray(who).tolist()}: no triplets; two faces of one person, and one of another")
    farther = (distances[anchor] - distances[anchor, positive][:, None])[other]
    shares = {"easy": farther >= alpha, "semi-hard": (farther > 0) & (farther < alpha), "hard": farther <= 0}
    return {kind: float(share.mean()) for kind, share in shares.items()}


# ----------------------------------------------------------------------------------------------- networks
#: The filters of the five convolutions; behind each the picture is halved.
FILTERS = (16, 32, 64, 128, 128)


def make_encoder(network: str = "five convolutions", side: int | None = None) -> keras.Model:
    """A network with random weights that turns a face into 128 numbers of unit length.

    Args:
        network: ``"five convolutions"``, each with batch normalisation and max-pooling, then two dense layers; or
            ``"inception"``, the ``faceRecoModel`` of ``inception_blocks_v2``.
        side: S, of the faces in pixels; by default 160, or 96 for Inception.

    Returns:
        A ``keras.Model`` (m, S, S, 3), RGB in 0..255 → (m, 128).

    Raises:
        BadArgument: If there is no such network, or the faces are too small for it.

    Example:
        >>> make_encoder().output_shape
        (None, 128)
    """
    if network not in ENCODERS:
        raise BadArgument(f"network={network!r}: one of {', '.join(map(repr, ENCODERS))}")
    make, usual = ENCODERS[network]
    return make(side or usual)


def five_convolutions(side: int) -> keras.Model:
    """Conv 3×3, max-pooling, batch normalisation and ReLU, five times; flatten, dense, dropout, dense, unit length.

    (Pooling first leaves a quarter of the work to what follows.)
    """
    if side < 32:
        raise BadArgument(f"side={side}: at least 32 pixels, since they are halved five times")
    faces = keras.Input((side, side, 3), name="faces")
    x = layers.Rescaling(1 / 127.5, offset=-1.0, name="scaling")(faces)  # (m, S, S, 3) in -1..1
    for number, filters in enumerate(FILTERS, 1):
        x = layers.Conv2D(filters, 3, padding="same", use_bias=False, name=f"block{number}_conv")(x)
        x = layers.MaxPooling2D(2, name=f"block{number}_pool")(x)  # (m, S/2, S/2, 16) … (m, S/32, S/32, 128)
        x = layers.BatchNormalization(name=f"block{number}_bn")(x)
        x = layers.ReLU(name=f"block{number}_relu")(x)
    x = layers.Flatten(name="flat")(x)  # (m, 3200) for S = 160
    x = layers.Dense(256, activation="relu", name="dense")(x)  # (m, 256)
    x = layers.Dropout(0.3, name="dropout")(x)
    x = layers.Dense(128, dtype="float32", name="embedding")(x)  # (m, 128)
    return keras.Model(faces, layers.UnitNormalization(dtype="float32", name="encoding")(x), name="five_convolutions")


#: What builds a network of that name from a side, and its usual side.
ENCODERS: dict[str, tuple[Callable[[int], keras.Model], int]] = {
    "five convolutions": (five_convolutions, 160),
    "inception": (lambda side: faceRecoModel((side, side, 3)), 96),
}


# ----------------------------------------------------------------------------------------------- training
#: Which negatives a training learns from.
MINING = ("random", "semi-hard", "hardest")


@keras.saving.register_keras_serializable("triplets")
class TripletMining(layers.Layer):
    """Encodings (m, D) and who they are, (m,) → what a loss needs to know of every anchor and positive, (m, m, 4).

    The four numbers: d(a, p); d(a, n) of the mined negative; 1 if they are a valid triplet; and the share of all
    possible negatives that still cost something.

    Args:
        mining: One of :data:`MINING`.
        alpha: The margin.
        seed: Of the random ones.
    """

    def __init__(self, mining: str = "random", alpha: float = ALPHA, seed: int = 0, **kwargs):
        super().__init__(**kwargs)
        self.mining, self.alpha, self.seed = mining, alpha, seed
        self.chance = keras.random.SeedGenerator(seed)

    def call(self, inputs):
        """As the class says."""
        encodings, who = inputs
        distances = squared_distances(encodings)
        negative, valid = self._mine(encodings, who)
        to_negative = ops.take_along_axis(distances, negative, axis=1)  # (m, m)
        active = active_shares(distances, who, self.alpha)
        return ops.stack([distances, to_negative, ops.cast(valid, "float32"), active], axis=2)

    def _mine(self, encodings, who) -> Mined:
        if self.mining == "random":
            return random_triplets(who, self.chance)
        chosen = ops.stop_gradient(encodings)
        return (
            hardest_triplets(chosen, who) if self.mining == "hardest" else semi_hard_triplets(chosen, who, self.alpha)
        )

    def get_config(self):
        """What it was made with."""
        return {**super().get_config(), "mining": self.mining, "alpha": self.alpha, "seed": self.seed}


def _mean(values: Tensor, where: Tensor) -> Tensor:
    """The mean of the values where ``where`` is 1; 0 if that is nowhere."""
    return ops.sum(values * where) / ops.maximum(ops.sum(where), 1.0)


def mined_loss(alpha: float) -> Callable[[Tensor, Tensor], Tensor]:
    """The loss of what ``TripletMining`` gives: the mean over its valid triplets of max(d(a,p) − d(a,n) + α, 0).

    Args:
        alpha: The margin.

    Returns:
        A function of two arguments, as Keras calls a loss: who (m,), which it ignores, and what was mined (m, m, 4).
    """

    def loss(y_true, mined):
        to_positive, to_negative, valid = mined[..., 0], mined[..., 1], mined[..., 2]
        return _mean(ops.maximum(to_positive - to_negative + alpha, 0.0), valid)

    return loss


def active(who: Tensor, mined: Tensor) -> Tensor:
    """The share of all possible triplets of a batch that still cost something: who (m,), mined (m, m, 4) → a number."""
    return _mean(mined[..., 3], ops.cast(pairs_of(who), "float32"))


def found(who: Tensor, mined: Tensor) -> Tensor:
    """The share of anchors and positives for which a negative was found: who (m,), mined (m, m, 4) → a number."""
    return _mean(mined[..., 2], ops.cast(pairs_of(who), "float32"))


def to_positive(who: Tensor, mined: Tensor) -> Tensor:
    """The mean squared distance of two faces of one person: who (m,), mined (m, m, 4) → a number."""
    return _mean(mined[..., 0], ops.cast(pairs_of(who), "float32"))


def to_negative(who: Tensor, mined: Tensor) -> Tensor:
    """The mean squared distance of two faces of two people: who (m,), mined (m, m, 4) → a number."""
    return _mean(mined[..., 0], ops.cast(ops.logical_not(same_person(who)), "float32"))


@dataclass(frozen=True)
class TripletPlan:
    """All that a training depends on, besides its people and where it starts; the same plan gives the same network.

    Attributes:
        network: A name that ``make_encoder`` knows; unused where the training starts from another network.
        side: S, of the faces in pixels, the same for the people and the validation pairs.
        mining: Which negatives: one of :data:`MINING`.
        alpha: The margin.
        epochs: At most so many times as many faces are shown as there are.
        batch: Faces per step, P·K.
        optimizer: ``"rmsprop"``, ``"adam"``, ``"sgd"`` (with momentum 0.9) or ``"adagrad"``.
        rate: Its learning rate in the beginning; it falls to 0 along a cosine.
        patience: Stop after so many epochs in which the validation people gained nothing.
        augmented: Whether faces are flipped and change their light at random.
        moved: Whether they are also turned, shifted and resized a little.
        frozen: The share of the layers with weights, from the input on, that keep them.
        precision: Of the convolutions while they learn: ``float32``, or ``mixed_bfloat16``, quicker where the
            processor can do it. What is kept computes in float32.
        seed: Of the first weights, the order, the augmentation, the dropout and the random triplets.
    """

    network: str = "five convolutions"
    side: int = 160
    mining: str = "random"
    alpha: float = ALPHA
    epochs: int = 20
    batch: int = 32
    optimizer: str = "rmsprop"
    rate: float = 1e-4
    patience: int = 5
    augmented: bool = True
    moved: bool = True
    frozen: float = 0.0
    precision: str = "float32"
    seed: int = 0


#: What builds an optimizer from its learning rate.
OPTIMIZERS: dict[str, Callable] = {
    "rmsprop": keras.optimizers.RMSprop,
    "adam": keras.optimizers.Adam,
    "sgd": lambda rate: keras.optimizers.SGD(rate, momentum=0.9),
    "adagrad": keras.optimizers.Adagrad,
}

#: The columns of a history.
HISTORY = (
    "epoch",
    "loss",
    "active",
    "found",
    "to_positive",
    "to_negative",
    "validation_error",
    "validation_accuracy",
    "rate",
    "seconds",
    "waiting",
)


def check_plan(plan: TripletPlan) -> None:
    """Refuse a plan that makes no sense.

    Raises:
        BadArgument: With the entry and its value.
    """
    for entry, known in (("mining", MINING), ("optimizer", OPTIMIZERS), ("network", ENCODERS)):
        if getattr(plan, entry) not in known:
            raise BadArgument(f"{entry}={getattr(plan, entry)!r}: one of {', '.join(map(repr, known))}")
    if not plan.alpha > 0:
        raise BadArgument(f"alpha={plan.alpha!r}: the margin must be more than 0")
    if not 0 <= plan.frozen < 1:
        raise BadArgument(f"frozen={plan.frozen!r}: the share of layers that keep their weights, in 0..1")
    if min(plan.epochs, plan.patience) < 1:
        raise BadArgument(f"epochs={plan.epochs}, patience={plan.patience}: at least 1 of each")
    if not 0 < plan.rate < np.inf:
        raise BadArgument(f"rate={plan.rate!r}: a learning rate, more than 0")


def make_learner(encoder: keras.Model, plan: TripletPlan, steps: int) -> keras.Model:
    """Faces and who they are → what the loss needs; compiled, its optimizer built.

    Args:
        encoder: (m, S, S, 3) → (m, D); its weights are shared, not copied.
        plan: How to learn.
        steps: In an epoch.
    """
    faces, who = keras.Input(encoder.input_shape[1:], name="faces"), keras.Input((), dtype="int32", name="who")
    mining = TripletMining(plan.mining, plan.alpha, plan.seed, dtype="float32", name="mining")
    learner = keras.Model([faces, who], mining([encoder(faces), who]), name=f"{plan.mining}_triplets")
    rate = keras.optimizers.schedules.CosineDecay(plan.rate, plan.epochs * steps)
    metrics = [active, found, to_positive, to_negative]
    optimizer = OPTIMIZERS[plan.optimizer](rate)
    learner.compile(optimizer, loss=mined_loss(plan.alpha), metrics=metrics, jit_compile=False)
    optimizer.build(learner.trainable_variables)
    return learner


def train_triplets(
    learned: PersonFaces,
    validation: PairFaces,
    plan: TripletPlan,
    folder: str | os.PathLike,
    start: keras.Model | None = None,
    progress: bool = True,
    every: int = 10,
) -> tuple[keras.Model, pd.DataFrame]:
    """Train an embedding with triplets, or go on where it was stopped.

    (It sets Keras', NumPy's and Python's global seeds to the plan's.)

    Args:
        learned: The people to learn from; every batch holds some of them, several times each.
        validation: Pairs of other people: they say when to stop and which epoch was the best.
        plan: Everything else.
        folder: Keeps the rolling checkpoint (every epoch), ``history.csv``, ``best.keras``, and a named network every
            ``every`` epochs.
        start: A network to start from (the first phase's, say); by default one with random weights. It is left
            as it is.
        progress: True for a progress bar.
        every: Epochs between two named networks.

    Returns:
        The network of the best epoch, (m, S, S, 3) in 0..255 → (m, D) of unit length, and the history, a row per
        epoch: the loss; ``active``, the share of all possible triplets that still cost something; ``found``, the share
        of anchors and positives for which a negative was mined; mean squared distances; ``validation_error``, one
        minus the area under the ROC curve of the validation pairs, by which the best epoch is chosen; their accuracy
        at their own best threshold; the learning rate; seconds, and the share of them spent waiting for faces.

    Raises:
        BadArgument: If the plan makes no sense, or the folder holds a training with another one.
        TrainingFailed: If the loss is no number any more, or all encodings have become the same.
    """
    check_plan(plan)
    learned.check_batch(plan.batch)
    _check_sides(plan, learned, validation, start)
    steps = len(learned) // plan.batch
    encoder, kept = _encoders(plan, start)
    learner = make_learner(encoder, plan, steps)
    config = {
        **asdict(plan),
        "start": digest_of(start) if start else "random weights",
        "per_person": learned.per_person,
    }
    config |= {"people": _digest(learned.faces, learned.who), "validation": _digest(validation.faces, validation.rows)}
    epochs = Epochs(learner, folder, config, HISTORY, "validation_error", may_differ=["patience"])
    batches = _batches(learned, plan, epochs.done)
    alarm = CollapseAlarm(plan.alpha, min(10, steps))
    with tqdm(total=plan.epochs, initial=epochs.done, desc=plan.mining, unit="epoch", disable=not progress) as bar:
        for _ in epochs.left(plan.epochs, plan.patience):
            row = one_epoch(learner, batches, steps, bar, alarm)
            kept.set_weights(encoder.get_weights())
            row |= _validate(kept, validation)
            row["rate"] = learner.optimizer.learning_rate
            epochs.finish(row, kept, every)
            bar.update()
            bar.set_postfix(loss=f"{row['loss']:.3f}", active=f"{row['active']:.1%}", area=1 - row["validation_error"])
    return epochs.best(), epochs.history


def _batches(learned: PersonFaces, plan: TripletPlan, first_epoch: int):
    """What ``train_on_batch`` takes, endlessly: ([faces, who], who)."""
    for faces, who in learned.crowds(plan.batch, plan.augmented, plan.seed, first_epoch, plan.moved):
        yield [faces, who], who


def _encoders(plan: TripletPlan, start: keras.Model | None) -> tuple[keras.Model, keras.Model]:
    """The network that learns, in the plan's precision, and its twin in float32 that is kept."""
    keras.utils.set_random_seed(plan.seed)
    with precision(plan.precision):
        encoder = make_encoder(plan.network, plan.side)
    kept = make_encoder(plan.network, plan.side)
    if start is not None:
        if _shapes(start) != _shapes(kept):  # of another make: it learns in its own precision
            encoder, kept = (keras.models.clone_model(start) for _ in range(2))
        encoder.set_weights(start.get_weights())
    learned = [layer for layer in _leaves(encoder) if layer.weights]
    for number, layer in enumerate(learned):  # one by one: a model's own switch does not reach into a clone
        layer.trainable = number >= round(plan.frozen * len(learned)) and layer.name != "mirror"  # a fixed matrix
    return encoder, kept


def _leaves(model: keras.Model) -> list[keras.layers.Layer]:
    """The layers of a model and of the models within it, from the input on."""
    nested = ([layer] if not isinstance(layer, keras.Model) else _leaves(layer) for layer in model.layers)
    return [layer for layers in nested for layer in layers]


def _shapes(model: keras.Model) -> list[tuple[str, tuple[int, ...]]]:
    """What tells whether weights of one network fit another: each layer's name, and the shapes of its weights."""
    return [(layer.name, weight.shape) for layer in model.layers for weight in layer.weights]


def _validate(model: keras.Model, pairs: PairFaces) -> dict:
    distances = pairs.distances(model)
    right = accuracy(distances, pairs.same, best_threshold(distances, pairs.same))
    return {"validation_error": 1 - area_under_roc(distances, pairs.same), "validation_accuracy": right}


def digest_of(model: keras.Model) -> str:
    """SHA-256 of a network's weights: tells whether two files hold the same ones."""
    return _digest(*model.get_weights())


def _digest(*arrays: np.ndarray) -> str:
    """SHA-256 of the numbers in arrays."""
    return hashlib.sha256(b"".join(np.ascontiguousarray(array).tobytes() for array in arrays)).hexdigest()


def _check_sides(plan: TripletPlan, learned: PersonFaces, validation: PairFaces, start: keras.Model | None) -> None:
    """Refuse faces, or a network to start from, of another side than the plan's."""
    sides = {"the people": learned.faces.shape[1], "the validation pairs": validation.faces.shape[1]}
    if start is not None:
        sides[start.name] = start.input_shape[1]
    for what, side in sides.items():
        if side != plan.side:
            raise BadArgument(f"side={plan.side}: {what} have faces of {side} pixels; give all of them the same side")


class CollapseAlarm:
    """Ends a training in which all encodings become the same: nothing can be learned from there.

    Two people are then hardly any distance apart, and the margin is out of reach: the loss is stuck at it, or, where
    only semi-hard triplets count, there are none any more and it is 0.

    Args:
        alpha: The margin.
        steps: It rings after so many steps in a row with two people less than a quarter of the margin apart.
    """

    def __init__(self, alpha: float, steps: int = 10):
        self.limit, self.alpha, self.steps, self.seen = alpha / 4, alpha, steps, 0

    def __call__(self, step: int, result: Mapping[str, float]) -> None:
        """Look at what a step came to.

        Raises:
            TrainingFailed: If it was the last of too many such steps.
        """
        self.seen = self.seen + 1 if result["to_negative"] < self.limit else 0
        if self.seen >= self.steps:
            raise TrainingFailed(
                f"all encodings are becoming the same: for {self.steps} steps, two people were less than "
                f"{self.limit:.2g} apart; the margin is {self.alpha}: begin with random triplets, or a smaller rate"
            )


def fine_tune(
    model: keras.Model,
    people: PersonFaces,
    validation: PairFaces,
    folder: str | os.PathLike,
    plan: TripletPlan | None = None,
    progress: bool = True,
) -> tuple[keras.Model, pd.DataFrame]:
    """Let a trained network learn a little more, from one's own people; its early layers stay as they are.

    Whether it helped is seen on pictures that it did not learn from: measure before and after.

    Args:
        model: A network of ``load_facenet`` or ``train_triplets``; it is left as it is.
        people: Whom to learn, as faces of the network's side, at least two people.
        validation: Pairs of pictures that are not in ``people``.
        folder: As in ``train_triplets``.
        plan: By default ten epochs of semi-hard triplets at a rate of 1e-4, four fifths of the layers kept, in batches
            of at most eight people.
        progress: True for a progress bar.

    Returns:
        The network of the best epoch, or a copy of ``model`` if no epoch was better on the validation pairs; and the
        history. The network takes and gives what ``model`` does. It carries ``model``'s notes (its ``facenet``), with
        a threshold of its own, the best one for the validation pairs: the old one does not hold any more, nor does the
        old probability.

    Raises:
        BadArgument: If the sides differ, the plan makes no sense, or the people don't fill a batch.
        TrainingFailed: If the loss is no number any more, or all encodings have become the same.
    """
    few = min(8, int(people.who.max()) + 1, len(people) // people.per_person)
    plan = plan or TripletPlan(
        side=model.input_shape[1], mining="semi-hard", epochs=10, rate=1e-4, frozen=0.8, batch=few * people.per_person
    )
    tuned, history = train_triplets(people, validation, plan, folder, model, progress)
    if history.validation_error.min() >= _validate(model, validation)["validation_error"]:
        tuned = keras.models.clone_model(model)
        tuned.set_weights(model.get_weights())
    tuned.trainable = False
    threshold = best_threshold(validation.distances(tuned), validation.same)
    tuned.facenet = replace(info_of(model), threshold=threshold, probability=None)
    return tuned, history
