"""TODO facerec.learning.triplet_training."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace

import numpy as np
import pandas as pd
from tqdm.auto import tqdm

from facerec._quiet import quietly
from facerec.errors import BadArgument, TrainingFailed
from facerec.evaluation import accuracy, area_under_roc, best_threshold
from facerec.learning.checkpoints import Epochs, one_epoch, precision
from facerec.learning.pairs import PairFaces, PersonFaces
from facerec.learning.triplets import (
    ALPHA,
    Mined,
    Tensor,
    active_shares,
    hardest_triplets,
    pairs_of,
    random_triplets,
    same_person,
    semi_hard_triplets,
    squared_distances,
)
from facerec.networks import info_of
from inception_blocks_v2 import faceRecoModel

with quietly():
    import keras
    from keras import layers, ops


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
TRIPLET_HISTORY = (
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
    epochs = Epochs(learner, folder, config, TRIPLET_HISTORY, "validation_error", may_differ=["patience"])
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
