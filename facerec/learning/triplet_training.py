"""Train an embedding with triplets: networks, training, fine-tuning.

    [faces, who] ──encoder──► encodings ──mining──► loss and metrics

A ``TripletPlan`` and the data determine the result; a training can be stopped at any moment and resumed. ``who`` is
the number of the person in each face, (m,).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace

import numpy as np
import pandas as pd
from tqdm.auto import tqdm

from facerec._quiet import quietly
from facerec.errors import BadArgument, TrainingFailed
from facerec.evaluation import accuracy, area_under_roc, best_threshold
from facerec.learning.augmentation import Variation
from facerec.learning.checkpoints import Epochs, alone_in, digest_of, fingerprint, one_epoch, precision
from facerec.learning.mining import (
    MINING,
    NamesWithMargin,
    TripletMining,
    active,
    found,
    mined_loss,
    to_negative,
    to_positive,
)
from facerec.learning.pairs import PairFaces, PersonFaces
from facerec.learning.triplets import ALPHA
from facerec.networks import info_of, with_info
from inception_blocks_v2 import conv_bn_relu, faceRecoModel

with quietly():
    import keras
    from keras import layers

#: The filters of the five convolutions; each is followed by pooling that halves the picture.
FILTERS = (16, 32, 64, 128, 128)


def make_encoder(network: str = "five convolutions", side: int | None = None) -> keras.Model:
    """Build an untrained network that turns a face into 128 numbers of unit length.

    Args:
        network: ``"five convolutions"``, each with batch normalisation and max-pooling, then two dense layers;
            ``"residual"``, four residual blocks; or ``"inception"``, the ``faceRecoModel`` of ``inception_blocks_v2``.
        side: S, the side of the faces, in pixels; None for the usual one: 160, 64 and 96.

    Returns:
        A ``keras.Model`` (m, S, S, 3) RGB in 0..255 → (m, 128).

    Raises:
        BadArgument: If the network is unknown, or the faces are too small for it.

    Example:
        >>> make_encoder().output_shape
        (None, 128)
    """
    if network not in ENCODERS:
        raise BadArgument(f"network={network!r}: one of {', '.join(map(repr, ENCODERS))}")
    make, usual = ENCODERS[network]
    try:
        return make(side or usual)
    except ValueError as error:
        raise BadArgument(f"side={side}: {error}") from error


def five_convolutions(side: int) -> keras.Model:
    """Five blocks of convolution 3×3, max-pooling, batch normalisation and ReLU; dense, dropout, dense, unit length.

    Pooling comes directly after the convolution, which leaves a quarter of the work to the rest of the block.
    """
    if side < 32:
        raise ValueError("expected at least 32 pixels, which are halved five times")
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


def four_residual_blocks(side: int) -> keras.Model:
    """Four residual blocks, each of two convolutions 3×3 and half the size of the last; the mean over the places.

    Source:
        He et al., "Deep Residual Learning for Image Recognition", 2015, figure 2; the smallest of its kind.
    """
    if side < 32:
        raise ValueError("expected at least 32 pixels, which are halved five times")
    faces = keras.Input((side, side, 3), name="faces")
    x = layers.Rescaling(1 / 127.5, offset=-1.0, name="scaling")(faces)  # (m, S, S, 3) in -1..1
    x = conv_bn_relu(x, 32, 3, "stem", strides=2)  # (m, S/2, S/2, 32)
    for number, filters in enumerate((32, 64, 128, 256), 1):
        name = f"block{number}"
        shortcut = layers.Conv2D(filters, 1, strides=2, padding="same", use_bias=False, name=f"{name}_shortcut")(x)
        x = conv_bn_relu(x, filters, 3, name, "1", strides=2)  # (m, S/4, S/4, 32) … (m, S/32, S/32, 256)
        x = layers.Conv2D(filters, 3, padding="same", use_bias=False, name=f"{name}_conv2")(x)
        x = layers.BatchNormalization(epsilon=1e-3, momentum=0.99, name=f"{name}_bn2")(x)
        x = layers.ReLU(name=f"{name}_relu2")(layers.Add(name=f"{name}_sum")([x, shortcut]))
    x = layers.GlobalAveragePooling2D(dtype="float32", name="average")(x)  # (m, 256)
    x = layers.Dense(128, dtype="float32", name="embedding")(x)  # (m, 128)
    return keras.Model(faces, layers.UnitNormalization(dtype="float32", name="encoding")(x), name="residual")


#: Network → the function that builds it from a side, and its usual side.
ENCODERS: dict[str, tuple[Callable[[int], keras.Model], int]] = {
    "five convolutions": (five_convolutions, 160),
    "residual": (four_residual_blocks, 64),
    "inception": (lambda side: faceRecoModel((side, side, 3)), 96),
}


@dataclass(frozen=True)
class TripletPlan:
    """Everything that a training depends on besides its data and its start; the same plan gives the same network.

    Attributes:
        network: A key of ``ENCODERS``; unused if the training starts from another network.
        side: S, the side of all faces, in pixels.
        mining: How to choose negatives: one of :data:`MINING`; with ``"names"`` the people are named instead.
        alpha: The margin.
        epochs: The largest number of epochs.
        batch: Faces per step, P·K.
        optimizer: ``"rmsprop"``, ``"adam"``, ``"adamw"``, ``"sgd"`` (with momentum 0.9) or ``"adagrad"``.
        rate: The initial learning rate; it falls to 0 along a cosine.
        patience: Stop after this many epochs without a lower validation error.
        augmented: Whether faces are flipped and change brightness and contrast at random.
        moved: Whether faces are also rotated, shifted and resized a little.
        harsh: How bad the photographs are made (see :func:`facerec.learning.augmentation.degrade`); 0 leaves them.
        frozen: The share of the layers with weights, counted from the input, that do not learn.
        precision: Of the convolutions in training: ``float32``, or ``mixed_bfloat16``, which is faster on some
            processors. The saved networks compute in float32.
        seed: Seed of the first weights, the order, the augmentation, the dropout and random triplets.
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
    harsh: float = 0.0
    frozen: float = 0.0
    precision: str = "float32"
    seed: int = 0


#: Optimizer → the function that builds it from a learning rate.
OPTIMIZERS: dict[str, Callable] = {
    "rmsprop": keras.optimizers.RMSprop,
    "adam": keras.optimizers.Adam,
    "adamw": lambda rate: keras.optimizers.AdamW(rate, weight_decay=0.02),
    "sgd": lambda rate: keras.optimizers.SGD(rate, momentum=0.9),
    "adagrad": keras.optimizers.Adagrad,
}

#: The columns of ``history.csv``.
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
    """Refuse a plan with an impossible entry.

    Raises:
        BadArgument: Names the entry and its value.
    """
    for entry, known in (("mining", MINING), ("optimizer", OPTIMIZERS), ("network", ENCODERS)):
        if getattr(plan, entry) not in known:
            raise BadArgument(f"{entry}={getattr(plan, entry)!r}: one of {', '.join(map(repr, known))}")
    if not plan.alpha > 0:
        raise BadArgument(f"alpha={plan.alpha!r}: the margin must be more than 0")
    if not 0 <= plan.frozen < 1:
        raise BadArgument(f"frozen={plan.frozen!r}: the share of frozen layers must be at least 0 and less than 1")
    if not 0 <= plan.harsh <= 1:
        raise BadArgument(f"harsh={plan.harsh!r}: must be between 0 and 1")
    if min(plan.epochs, plan.patience) < 1:
        raise BadArgument(f"epochs={plan.epochs}, patience={plan.patience}: both must be at least 1")
    if not 0 < plan.rate < np.inf:
        raise BadArgument(f"rate={plan.rate!r}: the learning rate must be more than 0")


def make_learner(encoder: keras.Model, plan: TripletPlan, steps: int, people: int = 0) -> keras.Model:
    """Build the model that learns: [faces, who] → mined triplets (m, m, 4), compiled, with its optimizer built.

    Args:
        encoder: (m, S, S, 3) → (m, D); its weights are shared, not copied.
        plan: How to learn.
        steps: The number of batches in an epoch.
        people: The number of people, where they are named.
    """
    faces, who = keras.Input(encoder.input_shape[1:], name="faces"), keras.Input((), dtype="int32", name="who")
    if plan.mining == "names":
        mining = NamesWithMargin(people, plan.alpha, dtype="float32", name="names")
    else:
        mining = TripletMining(plan.mining, plan.alpha, plan.seed, dtype="float32", name="mining")
    learner = keras.Model([faces, who], mining([encoder(faces), who]), name=f"{plan.mining}_triplets")
    rate = keras.optimizers.schedules.CosineDecay(plan.rate, plan.epochs * steps)
    metrics = [active, found, to_positive, to_negative]
    optimizer = OPTIMIZERS[plan.optimizer](rate)
    learner.compile(optimizer, loss=mined_loss, metrics=metrics, jit_compile=False)
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
    """Train an embedding with triplets, or resume where the training stopped.

    It sets the global seeds of Keras, NumPy and Python.

    Args:
        learned: The people to learn from; every batch holds some of them, several times each.
        validation: Pairs of other people: they decide when to stop and which epoch is the best.
        plan: Everything else.
        folder: The folder of the rolling checkpoint (every epoch), ``history.csv``, ``best.keras`` and named networks
            (``epoch_010.keras``); for one training at a time.
        start: A network to start from, for example the first phase's; it does not change. None for random weights.
        progress: True for a progress bar.
        every: Epochs between two named networks.

    Returns:
        model: The network of the best epoch, (m, S, S, 3) in 0..255 → (m, D) of unit length.
        history: A row per epoch: the loss; ``active``, the share of all possible triplets with a loss above 0;
            ``found``, the share of anchors and positives for which a negative was mined; mean squared distances;
            ``validation_error``, one minus the area under the ROC curve of the validation pairs, by which the best
            epoch is chosen; their accuracy at their own best threshold; the learning rate; ``seconds``, and the share
            of them spent ``waiting`` for faces.

    Raises:
        BadArgument: If the plan has an impossible entry, or the folder holds a training with other settings or other
            people, one that can't go on, or one that is running.
        TrainingFailed: If the loss becomes NaN or infinite, or all encodings become the same.
    """
    check_plan(plan)
    learned.check_batch(plan.batch)
    _check_sides(plan, learned, validation, start)
    steps = len(learned) // plan.batch
    encoder, kept = _encoders(plan, start)
    learner = make_learner(encoder, plan, steps, int(learned.who.max()) + 1)
    config = {
        **asdict(plan),
        "start": digest_of(start) if start else "random weights",
        "per_person": learned.per_person,
    }
    config |= {
        "people": fingerprint(learned.faces, learned.who),
        "validation": fingerprint(validation.faces, validation.rows),
    }
    config |= {"epoch": learned.epoch} if learned.epoch else {}
    alarm = CollapseAlarm(plan.alpha, min(10, steps))
    with alone_in(folder):
        epochs = Epochs(learner, folder, config, TRIPLET_HISTORY, "validation_error", may_differ=["patience"])
        batches = _batches(learned, plan, epochs.done)
        bar = tqdm(total=plan.epochs, initial=epochs.done, desc=plan.mining, unit="epoch", disable=not progress)
        with bar:
            for _ in epochs.left(plan.epochs, plan.patience):
                row = one_epoch(learner, batches, steps, bar, alarm)
                kept.set_weights(encoder.get_weights())
                row |= _validate(kept, validation)
                row["rate"] = learner.optimizer.learning_rate
                epochs.finish(row, kept, every)
                bar.update()
                area = 1 - row["validation_error"]
                bar.set_postfix(loss=f"{row['loss']:.3f}", active=f"{row['active']:.1%}", area=area)
        return epochs.best(), epochs.history


def _batches(learned: PersonFaces, plan: TripletPlan, first_epoch: int):
    """Endless arguments of ``train_on_batch``: ([faces, who], who)."""
    how = Variation(plan.augmented, plan.moved, plan.harsh)
    for faces, who in learned.crowds(plan.batch, how, plan.seed, first_epoch):
        yield [faces, who], who


def _encoders(plan: TripletPlan, start: keras.Model | None) -> tuple[keras.Model, keras.Model]:
    """The network that learns, in the plan's precision, and its copy in float32 that is saved."""
    keras.utils.set_random_seed(plan.seed)
    with precision(plan.precision):
        encoder = make_encoder(plan.network, plan.side)
    kept = make_encoder(plan.network, plan.side)
    if start is not None:
        if _shapes(start) != _shapes(kept):  # another architecture: it learns in its own precision
            encoder, kept = (keras.models.clone_model(start) for _ in range(2))
        encoder.set_weights(start.get_weights())
    learned = [layer for layer in _leaves(encoder) if layer.weights]
    for number, layer in enumerate(learned):  # one by one: the switch of a model does not reach into its clone
        layer.trainable = number >= round(plan.frozen * len(learned)) and layer.name != "mirror"  # a fixed matrix
    return encoder, kept


def _leaves(model: keras.Model) -> list[keras.layers.Layer]:
    """The layers of a model and of the models inside it, from the input on."""
    nested = ([layer] if not isinstance(layer, keras.Model) else _leaves(layer) for layer in model.layers)
    return [layer for layers in nested for layer in layers]


def _shapes(model: keras.Model) -> list[tuple[str, tuple[int, ...]]]:
    """The name and shape of every weight; networks with the same ones can exchange their weights."""
    return [(layer.name, weight.shape) for layer in model.layers for weight in layer.weights]


def _validate(model: keras.Model, pairs: PairFaces) -> dict:
    distances = pairs.distances(model)
    right = accuracy(distances, pairs.same, best_threshold(distances, pairs.same))
    return {"validation_error": 1 - area_under_roc(distances, pairs.same), "validation_accuracy": right}


def _check_sides(plan: TripletPlan, learned: PersonFaces, validation: PairFaces, start: keras.Model | None) -> None:
    """Refuse faces, or a network to start from, of a side other than the plan's."""
    sides = {"the people": learned.faces.shape[1], "the validation pairs": validation.faces.shape[1]}
    if start is not None:
        sides[start.name] = start.input_shape[1]
    for what, side in sides.items():
        if side != plan.side:
            raise BadArgument(f"side={plan.side}: the faces of {what} have {side} pixels; all sides must be the same")


class CollapseAlarm:
    """Ends a training in which all encodings become the same, from which no network recovers.

    The distance between two people is then close to 0. The loss is stuck at the margin or, where only semi-hard
    triplets count, at 0, because there are none.

    Args:
        alpha: The margin.
        steps: The alarm rings after this many steps in a row with a mean squared distance between two people of less
            than a quarter of the margin.
    """

    def __init__(self, alpha: float, steps: int = 10):
        self.limit, self.alpha, self.steps, self.seen = alpha / 4, alpha, steps, 0

    def __call__(self, step: int, result: Mapping[str, float]) -> None:
        """Check the metrics of a step.

        Raises:
            TrainingFailed: After too many such steps in a row.
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
    """Fine-tune a trained network on your own people; its early layers are frozen.

    To see whether it helped, measure before and after on pictures that it did not learn from.

    Args:
        model: A network of ``load_facenet`` or ``train_triplets``; it does not change.
        people: The people to learn from, at least two, as faces of the network's side.
        validation: Pairs of pictures that are not in ``people``.
        folder: As for ``train_triplets``.
        plan: By default ten epochs of semi-hard triplets at a rate of 1e-4, with four fifths of the layers frozen, in
            batches of at most eight people.
        progress: True for a progress bar.

    Returns:
        tuned: The network of the best epoch, or a copy of ``model`` if no epoch was better on the validation pairs. It
            carries ``model``'s info (``facenet``) with a new threshold, the best one for the validation pairs, and
            without the curves of probability and false accepts, which no longer hold.
        history: As for ``train_triplets``.

    Raises:
        BadArgument: If the sides differ, the plan has an impossible entry, or the people do not fill a batch.
        TrainingFailed: If the loss becomes NaN or infinite, or all encodings become the same.
    """
    few = min(8, int(people.who.max()) + 1, len(people.who) // people.per_person)
    plan = plan or TripletPlan(
        side=model.input_shape[1], mining="semi-hard", epochs=10, rate=1e-4, frozen=0.8, batch=few * people.per_person
    )
    tuned, history = train_triplets(people, validation, plan, folder, model, progress)
    if history.validation_error.min() >= _validate(model, validation)["validation_error"]:
        tuned = keras.models.clone_model(model)
        tuned.set_weights(model.get_weights())
    threshold = best_threshold(validation.distances(tuned), validation.same)
    info = replace(info_of(model), threshold=threshold, probability=None, false_accepts=None)
    return with_info(tuned, info), history
