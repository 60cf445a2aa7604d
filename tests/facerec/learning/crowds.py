"""Small crowds of encodings, and triplets as a student would compute them: the oracles of mining."""

from itertools import product

import numpy as np


def numpy_loss(anchor, positive, negative, alpha: float = 0.2) -> float:
    """The loss as a student would write it: a triplet at a time."""
    total = 0.0
    for a, p, n in zip(anchor, positive, negative, strict=True):
        total += max(sum((a - p) ** 2) - sum((a - n) ** 2) + alpha, 0.0)
    return total


def crowd(seed: int, people: int = 4, each: int = 3, size: int = 5, spread: float = 0.7):
    """Encodings of unit length (m, D), shuffled, and who they are (m,)."""
    rng = np.random.default_rng(seed)
    who = rng.permutation(np.repeat(np.arange(people), each))
    encodings = rng.normal(size=(people, size))[who] + spread * rng.normal(size=(len(who), size))
    return (encodings / np.linalg.norm(encodings, axis=1, keepdims=True)).astype(np.float32), who


def all_triplets(who) -> list[tuple[int, int, int]]:
    """Every anchor, positive and negative, as a student would list them."""
    m = range(len(who))
    return [(a, p, n) for a, p, n in product(m, m, m) if a != p and who[a] == who[p] and who[a] != who[n]]


def squared(encodings, a: int, b: int) -> float:
    return float(((encodings[a].astype(float) - encodings[b]) ** 2).sum())
