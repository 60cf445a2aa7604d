"""Mining as layers: encodings and people become a loss for every anchor and positive, and the metrics of a training.

    [encodings (m, D), who (m,)] ──TripletMining or NamesWithMargin──► (m, m, 4) ──► loss and metrics

The functions behind ``TripletMining`` are in ``facerec.learning.triplets``.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from facerec._quiet import quietly
from facerec.learning.triplets import (
    ALPHA,
    Mined,
    Tensor,
    active_shares,
    all_triplets,
    hardest_triplets,
    pairs_of,
    random_triplets,
    same_person,
    semi_hard_triplets,
    squared_distances,
)

with quietly():
    import keras
    from keras import layers, ops

#: The ways to choose negatives; "names" has none: it is the warm start of :class:`NamesWithMargin`.
MINING = ("random", "semi-hard", "hardest", "all", "names")


@keras.saving.register_keras_serializable("triplets")
class TripletMining(layers.Layer):
    """Mine triplets: [encodings (m, D), who (m,)] → four numbers for every anchor and positive, (m, m, 4).

    The numbers are d(a, p); the loss of the pair with its mined negative; 1 where it counts, else 0; and the share of
    all possible negatives with a loss above 0. With ``"all"``, the loss of a pair is the mean over every negative with
    a loss above 0.

    Args:
        mining: One of :data:`MINING`.
        alpha: The margin.
        seed: Seed of random triplets.
    """

    def __init__(self, mining: str = "random", alpha: float = ALPHA, seed: int = 0, **kwargs):
        super().__init__(**kwargs)
        self.mining, self.alpha, self.seed = mining, alpha, seed
        self.chance = keras.random.SeedGenerator(seed)

    def call(self, inputs):
        """Mine the triplets of ``inputs`` = [encodings, who]."""
        encodings, who = inputs
        distances = squared_distances(encodings)
        active = active_shares(distances, who, self.alpha)
        if self.mining == "all":
            loss, valid = all_triplets(distances, who, self.alpha)
        else:
            negative, valid = self._mine(encodings, who)
            to_negative = ops.take_along_axis(distances, negative, axis=1)  # (m, m)
            loss = ops.maximum(distances - to_negative + self.alpha, 0.0)
        return ops.stack([distances, loss, ops.cast(valid, "float32"), active], axis=2)

    def _mine(self, encodings, who) -> Mined:
        if self.mining == "random":
            return random_triplets(who, self.chance)
        encodings = ops.stop_gradient(encodings)
        if self.mining == "hardest":
            return hardest_triplets(encodings, who)
        return semi_hard_triplets(encodings, who, self.alpha)

    def get_config(self):
        """The arguments of the layer."""
        return {**super().get_config(), "mining": self.mining, "alpha": self.alpha, "seed": self.seed}


@keras.saving.register_keras_serializable("triplets")
class NamesWithMargin(layers.Layer):
    """Learn to name N people, each a direction, with ArcFace's margin: [encodings (m, D), who (m,)] → (m, m, 4).

    The numbers are those of ``TripletMining``, so that both report the same metrics; the loss of a row is the cross
    entropy of its face: softmax over scale · cos(θ), where θ is the angle between the encoding and a person's
    direction, and the right person's is made larger by the margin.

    Args:
        people: N, the number of people to name.
        alpha: The margin of the triplets that the metric ``active`` counts.
        margin: ArcFace's margin, in radians.
        scale: The inverse temperature of the softmax.

    Source:
        Deng, Guo, Xue and Zafeiriou, "ArcFace: Additive Angular Margin Loss for Deep Face Recognition", 2019,
        equation 3.
    """

    def __init__(self, people: int, alpha: float = ALPHA, margin: float = 0.3, scale: float = 16.0, **kwargs):
        super().__init__(**kwargs)
        self.people, self.alpha, self.margin, self.scale = people, alpha, margin, scale

    def build(self, shapes):
        """Make the directions, (N, D)."""
        self.directions = self.add_weight((self.people, shapes[0][-1]), "glorot_normal", name="directions")

    def call(self, inputs):
        """Name the faces of ``inputs`` = [encodings, who]."""
        encodings, who = inputs
        cosines = ops.matmul(encodings, ops.transpose(ops.normalize(self.directions, axis=1)))  # (m, N)
        names = ops.one_hot(who, self.people)  # (m, N)
        angles = ops.arccos(ops.clip(cosines, -1 + 1e-6, 1 - 1e-6))
        logits = self.scale * ops.where(names > 0, ops.cos(ops.minimum(angles + self.margin, np.pi)), cosines)
        loss = ops.categorical_crossentropy(names, logits, from_logits=True)  # (m,)
        distances = squared_distances(encodings)
        everywhere = ops.ones_like(distances)
        active = active_shares(distances, who, self.alpha)
        return ops.stack([distances, everywhere * loss[:, None], everywhere, active], axis=2)

    def get_config(self):
        """The arguments of the layer."""
        own = {"people": self.people, "alpha": self.alpha, "margin": self.margin, "scale": self.scale}
        return {**super().get_config(), **own}


def _mean(values: Tensor, where: Tensor) -> Tensor:
    """The mean of the values where ``where`` is 1; 0 if it is 1 nowhere."""
    return ops.sum(values * where) / ops.maximum(ops.sum(where), 1.0)


def mined_loss(y_true: Any, mined: Tensor) -> Tensor:
    """The mean loss of the pairs that count; ``y_true`` is ignored, mined (m, m, 4)."""
    return _mean(mined[..., 1], mined[..., 2])


def active(who: Tensor, mined: Tensor) -> Tensor:
    """Metric: the share of all possible triplets of a batch with a loss above 0; who (m,), mined (m, m, 4)."""
    return _mean(mined[..., 3], ops.cast(pairs_of(who), "float32"))


def found(who: Tensor, mined: Tensor) -> Tensor:
    """Metric: the share of anchors and positives for which a negative was found; who (m,), mined (m, m, 4)."""
    return _mean(mined[..., 2], ops.cast(pairs_of(who), "float32"))


def to_positive(who: Tensor, mined: Tensor) -> Tensor:
    """Metric: the mean squared distance between two faces of one person; who (m,), mined (m, m, 4)."""
    return _mean(mined[..., 0], ops.cast(pairs_of(who), "float32"))


def to_negative(who: Tensor, mined: Tensor) -> Tensor:
    """Metric: the mean squared distance between faces of two people; who (m,), mined (m, m, 4)."""
    return _mean(mined[..., 0], ops.cast(ops.logical_not(same_person(who)), "float32"))
