"""Train Siamese twins from pairs, or from all pairs of a batch.

A ``SiamesePlan`` and the data determine the result; a training can be stopped at any moment and resumed.
"""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass

import numpy as np
import pandas as pd
from tqdm.auto import tqdm

from facerec._quiet import quietly
from facerec.encoding import in_batches
from facerec.errors import BadArgument
from facerec.learning.augmentation import Variation
from facerec.learning.checkpoints import Epochs, alone_in, fingerprint, one_epoch, precision
from facerec.learning.pairs import PairFaces, PersonFaces
from facerec.learning.siamese import embedding_of, make_siamese, score_differences

with quietly():
    import keras
    from keras import layers, ops


@keras.saving.register_keras_serializable("siamese")
class AllPairs(layers.Layer):
    """The absolute differences of all pairs of embeddings: (B, D) → (B (B − 1) / 2, D), as ``np.triu_indices``."""

    def call(self, embeddings):
        """Compute the differences of ``embeddings``, (B, D)."""
        first, second = np.triu_indices(embeddings.shape[0], 1)
        return ops.abs(ops.take(embeddings, first, axis=0) - ops.take(embeddings, second, axis=0))


def with_all_pairs(siamese: keras.Model, batch: int) -> keras.Model:
    """The same twins for a batch of faces, each of which is compared with every other.

    A list of pairs uses each embedding once. Here it is used B − 1 times, and embeddings are what costs time, so much
    more is learned in the same time.

    Args:
        siamese: A network of ``make_siamese``; the weights are shared, not copied.
        batch: B, at least 2.

    Returns:
        A ``keras.Model`` (B, S, S, 3) → scores (B (B − 1) / 2, 1).
    """
    embedding = embedding_of(siamese)
    faces = keras.Input(batch_shape=(batch, *embedding.input_shape[1:]), name="faces")
    difference = AllPairs(dtype="float32", name="all_pairs")(embedding(faces))
    return keras.Model(faces, siamese.get_layer("score")(difference), name=f"all_pairs_{siamese.name}")


@dataclass(frozen=True)
class SiamesePlan:
    """Everything that a training depends on besides its data; the same plan gives the same network.

    The default rate is the published one, for lists of pairs. Training on all pairs of a batch (``PersonFaces``) works
    with a higher rate, for example 1e-3, and batches of 64.

    Attributes:
        variant: A key of ``VARIANTS``.
        side: S, the side of the faces, in pixels.
        epochs: The largest number of epochs.
        batch: Pairs per step; faces per step when learning from ``PersonFaces``.
        rate: Adam's initial learning rate.
        decay: The rate is multiplied by this after every epoch.
        clip: Gradients with a larger global norm are clipped to this norm.
        patience: Stop after this many epochs without a lower loss on the validation pairs.
        augmented: Whether faces are flipped and change brightness and contrast at random.
        moved: Whether faces are also rotated, shifted and resized a little.
        harsh: How bad the photographs are made, 0 to 1 (see :func:`facerec.learning.augmentation.degrade`).
        precision: Of the convolutions in training: ``float32``, or ``mixed_bfloat16``, which is faster on some
            processors. The saved networks compute in float32.
        seed: Seed of the first weights, the order, the augmentation and the dropout.
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
    harsh: float = 0.0
    precision: str = "float32"
    seed: int = 0


#: The columns of ``history.csv``.
SIAMESE_HISTORY = ("epoch", "loss", "accuracy", "validation_loss", "validation_accuracy", "rate", "seconds", "waiting")


def compile_siamese(model: keras.Model, plan: SiamesePlan, steps: int) -> keras.Model:
    """Compile a network: binary cross-entropy, Adam with exponential decay, clipped gradients; returns it."""
    rate = keras.optimizers.schedules.ExponentialDecay(plan.rate, steps, plan.decay, staircase=True)
    optimizer = keras.optimizers.Adam(rate, global_clipnorm=plan.clip)
    model.compile(optimizer, loss="binary_crossentropy", weighted_metrics=["accuracy"], jit_compile=False)
    optimizer.build(model.trainable_variables)
    return model


def train_siamese(
    learned: PairFaces | PersonFaces,
    validation: PairFaces,
    plan: SiamesePlan,
    folder: str | os.PathLike,
    progress: bool = True,
    every: int = 10,
    start: keras.Model | None = None,
) -> tuple[keras.Model, pd.DataFrame]:
    """Train a Siamese network, or resume where the training stopped.

    It sets the global seeds of Keras, NumPy and Python.

    Args:
        learned: The data to learn from: a list of pairs (``PairFaces``), as published, or people (``PersonFaces``), all
            pairs of which are compared in every batch; that is faster.
        validation: Pairs of other people: they decide when to stop and which epoch is the best.
        plan: Everything else.
        folder: The folder of the rolling checkpoint (every epoch), ``history.csv``, ``best.keras`` and named networks
            (``epoch_010.keras``); for one training at a time.
        progress: True for a progress bar.
        every: Epochs between two named networks.
        start: Twins to train further, in their own precision. None starts from the plan's variant with random weights.

    Returns:
        model: The network of the best epoch.
        history: A row per epoch; ``waiting`` is the share of its time in which the network waited for the next batch.

    Raises:
        BadArgument: If the folder holds a training with another plan or other people, one that can't go on or one that
            is running; if the faces have another side, or the data do not fill a batch.
        TrainingFailed: If the loss becomes NaN or infinite.
    """
    for what, faces in (("learned", learned.faces), ("validation", validation.faces)):
        if start is None and faces.shape[1] != plan.side:
            raise BadArgument(f"{what}: its faces have {faces.shape[1]} pixels, but the plan has side={plan.side}")
    steps, in_batch = len(learned) // plan.batch, isinstance(learned, PersonFaces)
    if steps < 1:
        raise BadArgument(f"{len(learned)} {'pictures' if in_batch else 'pairs'} don't fill a batch of {plan.batch}")
    keras.utils.set_random_seed(plan.seed)
    with precision(plan.precision):
        model = start or make_siamese(plan.variant, plan.side)
    kept = start or make_siamese(plan.variant, plan.side)  # in float32
    learner = compile_siamese(with_all_pairs(model, plan.batch) if in_batch else model, plan, steps)
    config = {**asdict(plan), "learns from": type(learned).__name__, "sizes": [len(learned), len(validation)]}
    config |= {"people": _fingerprint_of(learned), "validation": _fingerprint_of(validation)}
    with alone_in(folder):
        epochs = Epochs(learner, folder, config, SIAMESE_HISTORY, may_differ=["epochs", "patience"])
        how = Variation(plan.augmented, plan.moved, plan.harsh)
        batches = iter(learned.batches(plan.batch, how, plan.seed, epochs.done))
        bar = tqdm(total=plan.epochs, initial=epochs.done, desc=plan.variant, unit="epoch", disable=not progress)
        with bar:
            for _ in epochs.left(plan.epochs, plan.patience):
                row = one_epoch(learner, batches, steps, bar)
                kept.set_weights(model.get_weights())
                row |= _validate(kept, validation)
                row["rate"] = learner.optimizer.learning_rate
                epochs.finish(row, kept, every)
                bar.update()
                bar.set_postfix(loss=f"{row['loss']:.3f}", validation=f"{row['validation_accuracy']:.1%}")
        return epochs.best(), epochs.history


def _fingerprint_of(data: PairFaces | PersonFaces) -> str:
    """A fingerprint of faces (or features), and of who is on them or which of them make pairs."""
    labels = [data.who] if isinstance(data, PersonFaces) else [data.rows, data.same]
    return fingerprint(data.faces, *labels)


def _validate(model: keras.Model, pairs: PairFaces) -> dict:
    scores = score_pairs(model, pairs).clip(1e-7, 1 - 1e-7)
    chances = np.where(pairs.same, scores, 1 - scores)
    right = (scores >= 0.5) == pairs.same
    return {"validation_loss": float(-np.log(chances).mean()), "validation_accuracy": float(right.mean())}


def score_pairs(model: keras.Model, pairs: PairFaces, batch: int = 64) -> np.ndarray:
    """The score of every pair, (n,) in 0..1; each picture is embedded once."""
    starts, embedding = range(0, len(pairs.faces), batch), embedding_of(model)
    codes = np.concatenate([in_batches(pairs.as_input(slice(i, i + batch)), embedding) for i in starts])
    first, second = codes[pairs.rows.T]  # (n, D) each
    return score_differences(model, np.abs(first - second))
