"""How sure a verdict is, in words that both apps share.

a verdict, a probability ──Certainty──► "almost certain", or "too close to call"
distances to several people ──probability_among──► the probability that it is the first of them
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from facerec._quiet import quietly
from facerec.networks import confidence

with quietly():
    import keras

#: How sure a verdict is, in words, from which probability on.
SURE = (
    (0.99, "almost certain"),
    (0.95, "very sure"),
    (0.8, "fairly sure"),
    (0.6, "not sure"),
    (0.0, "not sure at all"),
)

#: A verdict that is less probably right is too close to call, or only probably right.
CLOSE, PROBABLY = 0.6, 0.8


@dataclass(frozen=True)
class Certainty:
    """How sure a verdict about two faces is.

    Attributes:
        is_same: The verdict: whether they are one person.
        probability: That they are, 0..1; NaN for a network that was never calibrated, which is neither sure nor unsure.

    Example:
        >>> Certainty(True, 0.97).words, Certainty(False, 0.55).is_close, Certainty(False, 0.7).is_doubtful
        ('very sure', True, True)
    """

    is_same: bool
    probability: float

    @property
    def right(self) -> float:
        """The probability that the verdict is right, 0..1."""
        return self.probability if self.is_same else 1 - self.probability

    @property
    def is_close(self) -> bool:
        """Whether either answer is hardly more than a guess."""
        return 1 - CLOSE < self.probability < CLOSE

    @property
    def is_against(self) -> bool:
        """Whether a threshold of the visitor's own led to a verdict that the network considers wrong."""
        return self.right <= 1 - CLOSE

    @property
    def is_doubtful(self) -> bool:
        """Whether the verdict is at best probably right."""
        return self.right < PROBABLY

    @property
    def words(self) -> str:
        """How sure the network is, in words; empty if it was never calibrated."""
        return "" if math.isnan(self.right) else next(words for least, words in SURE if self.right >= least)

    @property
    def per_cent(self) -> str:
        """The probability that they are one person, in words that never claim certainty."""
        return per_cent(self.probability)


def per_cent(share: float) -> str:
    """A probability in words that never claim certainty.

    Example:
        >>> per_cent(0.412), per_cent(0.9951), per_cent(0.004)
        ('41 %', 'more than 99 %', 'less than 1 %')
    """
    rounded = round(100 * share)
    return {0: "less than 1 %", 100: "more than 99 %"}.get(rounded, f"{rounded} %")


def probability_among(distances: Sequence[float], model: keras.Model, people: int, prior: float | None = None) -> float:
    """The probability that a face shows one person of many, rather than another one or a stranger.

    Someone else who is about as near makes it smaller; so does a larger database.

    Args:
        distances: (n,) from the face to the person in question and, after that, to the nearest others.
        model: The network that measured them.
        people: K, how many people the database knows; those whose distance is not given neither fit nor do not fit.
        prior: The probability of that person before looking; the others and a stranger share the rest equally. None
            takes 1 / (K + 1): everyone is as likely as a stranger.

    Returns:
        The probability, 0..1; NaN for a network that was never calibrated.

    Source: Bayes' theorem; ``confidence`` at even odds gives how many times as likely each distance is for one person
        as for two.
    """
    prior = 1 / (people + 1) if prior is None else prior
    even = np.clip(confidence(distances, model), 1e-9, 1 - 1e-9)
    times = even / (1 - even)
    others = times[1:].sum() + max(0, people - len(times)) + 1  # 1: a stranger
    return float(prior * times[0] / (prior * times[0] + (1 - prior) / people * others))
