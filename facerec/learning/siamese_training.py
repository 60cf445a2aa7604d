"""Train Siamese twins from pairs, from all pairs of a batch, or for one person.

A ``SiamesePlan`` and the data determine the result; a training can be stopped at any moment and resumed.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import combinations, product

import numpy as np
import pandas as pd
from tqdm.auto import tqdm

from facerec._quiet import quietly
from facerec.errors import BadArgument
from facerec.evaluation import threshold_at
from facerec.learning.checkpoints import Epochs, one_epoch, precision
from facerec.learning.datasets import check_disjoint
from facerec.learning.pairs import PairFaces, PersonFaces, one_person_pairs, open_faces
from facerec.learning.siamese import embedding_of, make_siamese, score_known

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
            (``epoch_010.keras``).
        progress: True for a progress bar.
        every: Epochs between two named networks.
        start: Twins to train further, in their own precision. None starts from the plan's variant with random weights.

    Returns:
        model: The network of the best epoch.
        history: A row per epoch; ``waiting`` is the share of its time in which the network waited for the next batch.

    Raises:
        BadArgument: If the folder holds a training with another plan, the faces have another side, or the data do not
            fill a batch.
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
    epochs = Epochs(learner, folder, config, SIAMESE_HISTORY, may_differ=["epochs", "patience"])
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
    """The score of every pair, (n,) in 0..1; one batch is in memory at a time."""
    starts = range(0, len(pairs), batch)
    parts = [model.predict_on_batch(list(pairs.arrays(slice(i, i + batch)))) for i in starts]
    return np.concatenate(parts)[:, 0]


@dataclass(frozen=True)
class Verifier:
    """Twins trained for one person, and their test results.

    Attributes:
        model: The network.
        known: The person's faces with which a new face is compared, (k, S, S, 3) uint8, as ``verify_faces`` takes them.
        threshold: The lowest score of a match with the known faces together (``score_known``); chosen on people who are
            not in the test.
        true_accepts: The share of the person's later pictures that is accepted.
        false_accepts: The share of the strangers' pictures that is accepted.
        later: The number of later pictures; none of them was learned from.
        strangers: The number of strangers; none of them was learned from.
    """

    model: keras.Model
    known: np.ndarray
    threshold: float
    true_accepts: float
    false_accepts: float
    later: int
    strangers: int


#: The shares of a person's pictures, in their order: to learn from, to decide when to stop, and to test with.
OWN_SHARES = (0.6, 0.2, 0.2)

#: The smallest number of pictures that can be shared out in this way.
MIN_OWN_PICTURES = 8


def train_for_one(
    own: Sequence[str],
    others: Sequence[pd.DataFrame],
    folder: str | os.PathLike,
    plan: SiamesePlan | None = None,
    far: float = 0.01,
    progress: bool = True,
) -> Verifier:
    """Train twins for one person, and test them on that person's later pictures and on strangers.

    Args:
        own: The person's pictures as aligned faces, at least 8, in the order in which they were taken.
        others: Three tables of other people's aligned faces (of ``split_by_identity``): to learn from, to choose the
            threshold, and to test with.
        folder: As for ``train_siamese``.
        plan: By default twelve epochs of pairs with strong augmentation, at a rate that falls from 1e-3.
        far: The share of false accepts at which the threshold is chosen.
        progress: True for a progress bar.

    Returns:
        The twins with their threshold and test results.

    Raises:
        BadArgument: If there are too few pictures, or a person is in two of the tables.
    """
    if len(own) < MIN_OWN_PICTURES:
        raise BadArgument(
            f"own has {len(own)} pictures: at least {MIN_OWN_PICTURES} are needed, to learn from, to stop, and to test"
        )
    check_disjoint(*others)
    ends = np.round(np.cumsum(OWN_SHARES[:2]) * len(own)).astype(int)
    learned, stopped, later = np.split(np.asarray(own, object), ends)
    same = list(combinations(learned, 2))
    pairs = one_person_pairs(same, learned, others[0].picture, times=5)
    checked = one_person_pairs(list(product(learned, stopped)), learned, others[1].picture)
    plan = plan or SiamesePlan(epochs=12, batch=min(32, len(pairs)), rate=1e-3, decay=0.8, moved=True)
    model, _ = train_siamese(PairFaces(pairs, plan.side), PairFaces(checked, plan.side), plan, folder, progress)
    known = open_faces(list(learned), plan.side)

    def distances(pictures: Sequence[str]) -> np.ndarray:
        faces = open_faces(list(pictures), plan.side)
        return 1 - score_known(model, *(some.astype(np.float32) / 255 for some in (known, faces)))

    limit = threshold_at(distances(others[1].picture), far)
    true, false = (float((distances(pictures) < limit).mean()) for pictures in (later, others[2].picture))
    return Verifier(model, known, 1 - limit, true, false, len(later), others[2].identity.nunique())
