"""TODO facerec.learning.siamese_training."""

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
from facerec.learning.siamese import embedding_of, make_siamese, score_all

with quietly():
    import keras
    from keras import layers, ops


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


@dataclass(frozen=True)
class SiamesePlan:
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
SIAMESE_HISTORY = ("epoch", "loss", "accuracy", "validation_loss", "validation_accuracy", "rate", "seconds", "waiting")


def compile_siamese(model: keras.Model, plan: SiamesePlan, steps: int) -> keras.Model:
    """Make a network ready to be trained: binary cross-entropy, Adam with exponential decay, clipped gradients."""
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
    """The score of every pair, (n,) in 0..1; a batch in memory at a time."""
    starts = range(0, len(pairs), batch)
    parts = [model.predict_on_batch(list(pairs.arrays(slice(i, i + batch)))) for i in starts]
    return np.concatenate(parts)[:, 0]


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


FEWEST_OWN = 8


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
            threshold, and to be tested with.
        folder: As in ``train_siamese``.
        plan: By default twelve epochs of pairs, varied strongly, at a rate that falls from 1e-3.
        far: The share of strangers that the threshold may let in.
        progress: True for a progress bar.

    Returns:
        The twins with their threshold, and the shares of later pictures and of strangers that they accept.

    Raises:
        BadArgument: If there are too few pictures, or somebody is in two of the tables.
    """
    if len(own) < FEWEST_OWN:
        raise BadArgument(
            f"{len(own)} pictures of the person: at least {FEWEST_OWN}, to learn from, to stop at, and to test"
        )
    check_disjoint(*others)
    ends = np.round(np.cumsum(OWN_SHARES[:2]) * len(own)).astype(int)
    learned, stopped, later = np.split(np.asarray(own, object), ends)
    same = list(combinations(learned, 2))
    pairs = one_person_pairs(same, learned, others[0].picture, min(5, len(others[0]) // len(same)))
    checked = one_person_pairs(list(product(learned, stopped)), learned, others[1].picture)
    plan = plan or SiamesePlan(epochs=12, batch=min(32, len(pairs)), rate=1e-3, decay=0.8, moved=True)
    model, _ = train_siamese(PairFaces(pairs, plan.side), PairFaces(checked, plan.side), plan, folder, progress)
    known = open_faces(list(learned), plan.side).astype(np.float32) / 255

    def near(pictures: Sequence[str]) -> np.ndarray:
        faces = open_faces(list(pictures), plan.side).astype(np.float32) / 255
        return 1 - score_all(model, known, faces).mean(axis=0)

    limit = threshold_at(near(others[1].picture), far)
    accepted, let_in = near(later) < limit, near(others[2].picture) < limit
    strangers = others[2].identity.nunique()
    return Verifier(model, known, 1 - limit, float(accepted.mean()), float(let_in.mean()), len(later), strangers)
