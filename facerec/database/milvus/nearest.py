"""Who is nearest: Milvus finds candidates, and here they are compared exactly, as those of a file are."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from facerec.database.engine import not_found
from facerec.database.entries import mean_encoding
from facerec.database.milvus.calls import Calls, one_of
from facerec.database.milvus.rows import encodings_of

AT_ONCE = 64  # probes in one call
MOST = 16_384  # Milvus finds no more rows for a probe
SPARE = 4  # candidates more than people to name: compared exactly, two may come in another order
SPARE_OF_MANY = 32  # … where people may have many encodings, or a mean that is nearer than each of them
FIELDS = ("who", "number", "identity", "encoding")

Row = Mapping[str, object]


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
    by_mean = represent == "mean" and calls.count(people, "number > 0") > 0
    one_each = represent == "mean" and not by_mean
    for start in range(0, len(probes), AT_ONCE):
        some = probes[start : start + AT_ONCE]
        found = _candidates(calls, people, some, k, k + SPARE if one_each else 4 * k + SPARE_OF_MANY)
        means = _means(calls, people, {row["who"] for rows in found for row in rows}) if by_mean else None
        for i, (probe, rows) in enumerate(zip(some, found, strict=True), start):
            ranked = _ranked(probe, rows, means)[:k]
            identities[i, : len(ranked)] = [identity for _, identity in ranked]
            distances[i, : len(ranked)] = [distance for distance, _ in ranked]
    return identities, distances


def _candidates(calls: Calls, people: str, probes: np.ndarray, k: int, limit: int) -> list[list[Row]]:
    """For each probe ``limit`` rows or more, of at least k people, if there are so many: the nearest first."""
    limit = min(limit, MOST)
    while True:
        found = calls.search(people, probes, limit, FIELDS)
        too_few = any(len({row["who"] for row in rows}) < k and len(rows) == limit for rows in found)
        if not too_few or limit == MOST:
            return found
        limit = min(2 * limit, MOST)


def _means(calls: Calls, people: str, keys: set[str]) -> dict[str, np.ndarray]:
    """By key, the mean of all encodings of people, (D,): some of them may not be among the candidates."""
    rows = calls.query(people, one_of(keys), ["who", "number", "encoding"], keys) if keys else []
    return {key: mean_encoding(encodings) for key, encodings in encodings_of(rows).items()}


def _ranked(probe: np.ndarray, rows: Iterable[Row], means: Mapping[str, np.ndarray] | None) -> list[tuple[float, str]]:
    """Distance and name of the people in some rows, the nearest first: by their means, or by these rows themselves."""
    names = {row["who"]: row["identity"] for row in rows}
    if means is None:
        compared = [(row["who"], row["encoding"]) for row in rows]
    else:
        compared = [(key, means[key]) for key in names if key in means]
    if not compared:
        return []
    keys, encodings = zip(*compared, strict=True)
    best: dict[str, float] = {}
    for key, far in zip(keys, np.linalg.norm(np.array(encodings, np.float32) - probe, axis=1).tolist(), strict=True):
        best[key] = min(far, best.get(key, far))
    return sorted((far, names[key]) for key, far in best.items())
