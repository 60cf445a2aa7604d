"""How well does 1:K identification do when some of the people at the door are strangers?

A probe is a new picture; the gallery holds the encodings of known people::

    distances (p, g) ──identification──► nearest identity, rank of the right one ──► cmc        known people only
                                                                                 └──► open_set   and strangers
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd

from facerec.errors import BadArgument
from facerec.evaluation.intervals import Interval, draw_counts, percentile_interval
from facerec.evaluation.rates import (
    are_too_few,
    check_share,
    check_threshold,
    corner_thresholds,
    count_accepted,
    find_threshold,
)


def identification(distances: np.ndarray, gallery: np.ndarray, probes: np.ndarray) -> pd.DataFrame:
    """The nearest identity of each probe, and the rank of the right one; probes may show strangers.

    Args:
        distances: (p, g), from each probe to each encoding of the gallery; NaN where a photo could not be used.
        gallery: (g,), the identity of each encoding. An identity with several encodings counts with its nearest.
        probes: (p,), the true identity of each probe.

    Returns:
        A row per probe: ``identity``; the ``nearest`` identity and its ``distance``; ``is_known``, whether the identity
        is in the gallery; for known people, the ``rank`` of their own identity (1 for the nearest) and its
        ``true_distance``. Ties count against the right identity. For a probe without a distance, ``nearest`` is
        missing, and the rank is K + 1, one more than the number of identities.

    Example:
        >>> table = identification([[0.3, 0.9, 0.6], [0.5, 0.4, 1.1]], ["ada", "bob", "bob"], ["ada", "eve"])
        >>> table[["identity", "nearest", "distance", "is_known", "rank"]].values.tolist()
        [['ada', 'ada', 0.3, True, 1], ['eve', 'bob', 0.4, False, <NA>]]
    """
    distances, gallery, probes = np.asarray(distances, np.float64), np.asarray(gallery), np.asarray(probes)
    if distances.shape != (*probes.shape, *gallery.shape) or probes.ndim != 1 or not distances.size:
        raise BadArgument(f"distances {distances.shape}: probes {probes.shape} × gallery {gallery.shape} are needed")
    names, distances = _by_identity(distances, gallery)
    own = names[None] == probes[:, None]  # (p, K), one True in the row of a known person
    true_distance = np.where(own, distances, np.inf).min(axis=1)
    others = np.where(own, np.inf, distances)
    rank = np.where(np.isfinite(true_distance), 1 + (others <= true_distance[:, None]).sum(axis=1), len(names) + 1)
    found = np.where((rank == 1)[:, None], own, others == others.min(axis=1, keepdims=True)).argmax(axis=1)
    nearest, known = distances.min(axis=1), own.any(axis=1)
    return pd.DataFrame(
        {
            "identity": probes,
            "nearest": np.where(np.isfinite(nearest), names[found].astype(object), None),
            "distance": np.where(np.isfinite(nearest), nearest, np.nan),
            "is_known": known,
            "rank": pd.Series(rank, dtype="Int64").mask(~known),
            "true_distance": np.where(np.isfinite(true_distance), true_distance, np.nan),
        }
    )


def _by_identity(distances: np.ndarray, gallery: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The identities (K,), in order, and the distance (p, K) to the nearest encoding of each; inf for none."""
    names, owner = np.unique(gallery, return_inverse=True)
    distances = np.where(np.isfinite(distances), distances, np.inf)
    return names, np.stack([distances[:, owner == k].min(axis=1) for k in range(len(names))], axis=1)


def cmc(table: pd.DataFrame, ranks: int = 20) -> pd.DataFrame:
    """The share of known people found among the nearest 1, 2, … identities: cumulative match characteristic (CMC).

    Args:
        table: From ``identification``.
        ranks: The last rank.

    Returns:
        A row per ``rank`` from 1: the ``share`` of the known people's probes whose own identity has that rank or a
        better one. A probe without a distance is never found.

    Raises:
        BadArgument: If no probe shows a known person.

    Source: ISO/IEC 19795-1, "Biometric performance testing and reporting".
    """
    known = _known(table)
    rank = np.where(known.true_distance.notna(), known["rank"].astype(float), np.inf)
    numbers = np.arange(1, ranks + 1)
    return pd.DataFrame({"rank": numbers, "share": (rank <= numbers[:, None]).mean(axis=1)})


def _known(table: pd.DataFrame) -> pd.DataFrame:
    """The probes that show people of the gallery."""
    known = table[table.is_known]
    if known.empty:
        raise BadArgument(f"none of the {len(table)} probes shows a person in the gallery")
    return known


@dataclass(frozen=True)
class OpenSet:
    """How well known people are identified at a share of false alarms.

    Attributes:
        fpir: The share of the strangers' probes that may be named (false positive identification rate).
        threshold: Accept below it.
        detected: The share of the known people's probes that are named correctly (DIR, which is 1 − FNIR).
        false_alarms: The share of the strangers' probes that are named; None if there are no strangers.
        known: Number of probes of known people.
        strangers: Number of probes of strangers.
    """

    fpir: float
    threshold: float
    detected: Interval
    false_alarms: Interval | None
    known: int
    strangers: int

    def __str__(self) -> str:
        return f"{self.detected} of {self.known} known at FPIR {self.fpir:g}, threshold {self.threshold:.4g}"


def open_set(
    table: pd.DataFrame, fpir: float, threshold: float | None = None, samples: int = 2000, seed: int = 0
) -> OpenSet | None:
    """The share of known people who are named correctly while at most a share ``fpir`` of strangers is named.

    Args:
        table: From ``identification``.
        fpir: The share of the strangers' probes that may be named, between 0 and 1.
        threshold: Chosen on other strangers; by default, it is chosen on these, anew in every drawing.
        samples: Number of drawings of people, of known ones and of strangers separately; the gallery stays.
        seed: Seed of the drawings.

    Returns:
        The shares with 95 % intervals over people; None if the threshold would rest on fewer than 10 false alarms.

    Raises:
        BadArgument: If no probe shows a known person.

    Source: Grother, Ngan and Hanaoka, NISTIR 8271, "FRVT Part 2: Identification", 2019, at rank 1;
    ISO/IEC 19795-1.
    """
    check_share("fpir", fpir)
    if threshold is not None:
        check_threshold(threshold)
    known, strangers = _known(table), table[~table.is_known].sort_values("distance")
    if threshold is None and are_too_few(len(strangers), fpir):
        return None
    hits = np.where(known["rank"] == 1, known.distance, np.inf)  # each is found at thresholds above its value
    alarms = np.nan_to_num(strangers.distance.to_numpy(np.float64), nan=np.inf)

    def shares(of_known: np.ndarray, of_strangers: np.ndarray) -> tuple[float, float, float]:
        at = find_threshold(alarms, fpir, of_strangers) if threshold is None else float(threshold)
        return at, _share(hits < at, of_known), _share(alarms < at, of_strangers)

    at, detected, false_alarms = shares(np.ones(len(hits)), np.ones(len(alarms)))
    drawn = zip(_drawn(known.identity, samples, seed), _drawn(strangers.identity, samples, seed + 1), strict=True)
    scores = np.array([shares(*weights)[1:] for weights in drawn])
    measured = percentile_interval(false_alarms, scores[:, 1]) if len(strangers) else None
    return OpenSet(fpir, at, percentile_interval(detected, scores[:, 0]), measured, len(known), len(strangers))


def _drawn(identities: pd.Series, samples: int, seed: int) -> Iterator[np.ndarray]:
    """The weights (n,) of the probes in each drawing of people."""
    index, names = pd.factorize(identities, sort=True)
    rng = np.random.default_rng(seed)
    for _ in range(samples):
        yield draw_counts(rng, len(names))[index]


def _share(which: np.ndarray, weight: np.ndarray) -> float:
    """The weighted share; NaN if there are no cases."""
    return float(which @ weight / weight.sum()) if len(weight) else math.nan


def dir_curve(table: pd.DataFrame) -> pd.DataFrame:
    """Known people named correctly against strangers named, at every threshold where one of them changes.

    Args:
        table: From ``identification``.

    Returns:
        A table by ascending ``threshold``: ``fpir``, the share of the strangers' probes that are named, and ``dir``,
        the share of the known people's probes that are named correctly.

    Raises:
        BadArgument: If no probe shows a known person, or no probe shows a stranger.

    Source: Grother, Ngan and Hanaoka, NISTIR 8271, 2019: its FNIR is 1 − ``dir``.
    """
    known, strangers = _known(table), table[~table.is_known]
    if strangers.empty:
        raise BadArgument(f"all {len(table)} probes show people in the gallery: strangers are needed")
    hits = np.where(known["rank"] == 1, known.distance, np.nan)
    distances = np.concatenate([strangers.distance.to_numpy(np.float64), hits])
    thresholds = corner_thresholds(distances)
    fpir, found = count_accepted(distances, np.arange(len(table)) >= len(strangers), thresholds)
    return pd.DataFrame({"threshold": thresholds, "fpir": fpir, "dir": found})
