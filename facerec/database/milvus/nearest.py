"""Who is nearest: Milvus finds candidates, and here they are compared exactly, as those of a file are."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

from facerec.database.engine import not_found
from facerec.database.entries import mean_encoding
from facerec.database.milvus.calls import Calls, one_of
from facerec.database.milvus.rows import encodings_of

AT_ONCE = 64  # probes in one call
MOST = 16_384  # Milvus finds no more rows for a probe
SPARE = 32  # candidates more than people to name: compared exactly, they may come in another order


def nearest(calls: Calls, people: str, probes: np.ndarray, k: int, represent: str) -> tuple[np.ndarray, np.ndarray]:
    """The k nearest people of each probe, as ``Engine.nearest`` returns them.

    Args:
        calls: To the server.
        people: The collection.
        probes: (m, D).
        k: How many people to name.
        represent: By what people with several encodings are compared: their "mean", or the "nearest" of them.
    """
    identities, distances = not_found(len(probes), k)
    for start in range(0, len(probes), AT_ONCE):
        some = probes[start : start + AT_ONCE]
        candidates = _candidates(calls, people, some, k)
        known = _known(calls, people, set().union(*candidates), represent)
        for i, (probe, keys) in enumerate(zip(some, candidates, strict=True), start):
            found = _ranked(probe, [known[key] for key in keys if key in known])[:k]
            identities[i, : len(found)] = [identity for _, identity in found]
            distances[i, : len(found)] = [distance for distance, _ in found]
    return identities, distances


def _candidates(calls: Calls, people: str, probes: np.ndarray, k: int) -> list[set[str]]:
    """For each probe the keys of at least k people, if there are so many."""
    limit = min(4 * k + SPARE, MOST)
    while True:
        rows = calls.search(people, probes, limit, ["who"])
        keys = [{row["who"] for row in some} for some in rows]
        too_few = any(len(its_keys) < k and len(some) == limit for its_keys, some in zip(keys, rows, strict=True))
        if not too_few or limit == MOST:
            return keys
        limit = min(2 * limit, MOST)


def _known(calls: Calls, people: str, keys: Collection[str], represent: str) -> dict[str, tuple[str, np.ndarray]]:
    """By key, the name of a person and what to compare: all encodings (n, D), or their mean (1, D)."""
    if not keys:
        return {}
    rows = calls.query(people, one_of(keys), ["who", "number", "identity", "encoding"], keys)
    names, compared = {row["who"]: row["identity"] for row in rows}, encodings_of(rows)
    if represent == "mean":
        compared = {key: mean_encoding(encodings)[None] for key, encodings in compared.items()}
    return {key: (names[key], encodings) for key, encodings in compared.items()}


def _ranked(probe: np.ndarray, known: list[tuple[str, np.ndarray]]) -> list[tuple[float, str]]:
    """Distance and name of people, the nearest first."""
    if not known:
        return []
    starts = np.cumsum([0, *(len(encodings) for _, encodings in known[:-1])])
    far = np.linalg.norm(np.concatenate([encodings for _, encodings in known]) - probe, axis=1)
    return sorted(zip(np.minimum.reduceat(far, starts).tolist(), (name for name, _ in known), strict=True))
