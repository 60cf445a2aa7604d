"""Invented pairs and people whose error rates are known, and the slow way to count them."""

from __future__ import annotations

import numpy as np


def pairs(seed: int, n: int = 120, decimals: int = 2, missing: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Invented distances, same pairs nearer than different ones, with ties, and NaN in a share of them."""
    rng = np.random.default_rng(seed)
    same = rng.random(n) < rng.uniform(0.2, 0.8)
    distances = np.where(same, rng.normal(0.6, 0.2, n), rng.normal(1.0, 0.2, n)).clip(0, 2).round(decimals)
    distances[rng.random(n) < missing] = np.nan
    return distances, same


def slow_rates(distances, same, threshold: float) -> tuple[float, float, float]:
    """False accepts, false rejects and accuracy, pair by pair; a pair without a distance is a mistake."""
    accepted = [d < threshold for d in distances]  # NaN is never below
    decided = [not np.isnan(d) for d in distances]
    false_accepts = sum(a and not s for a, s in zip(accepted, same, strict=True))
    false_rejects = sum(s and not a for a, s in zip(accepted, same, strict=True))
    right = sum(ok and a == s for ok, a, s in zip(decided, accepted, same, strict=True))
    return false_accepts / sum(~same), false_rejects / sum(same), right / len(same)


def world(seed: int, people: int = 60, spread: float = 0.0):
    """Pairs of invented people: a same pair each for three photos, and as many different ones.

    ``spread`` says how much people differ: all three pairs of a person lie on the same side then.
    """
    rng = np.random.default_rng(seed)
    own = rng.normal(0.55, spread + 1e-9, people)
    first = np.repeat(np.arange(people), 3)
    other = (first + rng.integers(1, people, len(first))) % people
    same_distances = own[first] + rng.normal(0, 0.1, len(first))
    different_distances = rng.normal(0.95, 0.1, len(first))
    names = np.array([f"person {i}" for i in range(people)])
    return (
        np.concatenate([same_distances, different_distances]),
        np.arange(2 * len(first)) < len(first),
        names[np.concatenate([np.stack([first, first], 1), np.stack([first, other], 1)])],
    )


def drawn_people(seed: int, n: int = 400, people: int = 40):
    """Invented pairs of invented people, half of them same pairs: distances, same, people (n, 2)."""
    rng = np.random.default_rng(seed)
    names = rng.integers(0, people, (n, 2))
    names[:, 1] = np.where(names[:, 0] == names[:, 1], (names[:, 0] + 1) % people, names[:, 1])
    same = rng.random(n) < 0.5
    names[same, 1] = names[same, 0]
    return np.where(same, 0.6, 1.0) + rng.normal(0, 0.2, n), same, names.astype(str)


def logistic_pairs(seed: int, n: int = 4000, share: float = 0.5):
    """Pairs whose log odds are exactly 20 · (0.8 − distance) for a prior of a half."""
    rng = np.random.default_rng(seed)
    same = rng.random(n) < share
    return np.where(same, 0.6, 1.0) + rng.normal(0, np.sqrt(0.4 / 20), n), same  # two normals of one deviation
