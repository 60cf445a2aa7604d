"""TODO facerec.evaluation.strangers."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd

from facerec.errors import BadArgument
from facerec.evaluation.intervals import Interval, count_draws, percentile_interval
from facerec.evaluation.rates import (
    are_too_few,
    check_share,
    check_threshold,
    corner_thresholds,
    count_accepted,
    find_threshold,
)


def identification(distances: np.ndarray, gallery: np.ndarray, probes: np.ndarray) -> pd.DataFrame:
    """Who is nearest to each probe, and how near is the right one? 1:K, people who are not known among the probes.

    Args:
        distances: (p, g), from each probe to each encoding of the gallery; NaN where a photo could not be used.
        gallery: (g,), whose the encodings are. An identity may come again: their distance is that of their nearest.
        probes: (p,), who the probes really show.

    Returns:
        A row per probe: ``identity``, ``nearest``, whose encoding is the nearest, and its ``distance``; ``is_known``,
        is the identity in the gallery; of those who are, the ``rank`` of their own identity, 1 for the nearest, and
        its ``true_distance``. An equal distance counts against us. For a probe without a distance ``nearest`` is
        missing too, and the rank is K + 1, one more than there are identities.

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
    """Among so many candidates, is the right one? The cumulative match characteristic.

    Args:
        table: Of ``identification``.
        ranks: Up to which rank.

    Returns:
        A row per ``rank`` from 1: the ``share`` of the known people's probes whose own identity has it or a better one.
        A probe without a distance is never found.

    Raises:
        BadArgument: If no probe shows a known person.

    Source: ISO/IEC 19795-1, "Biometric performance testing and reporting".
    """
    known = _known(table)
    rank = np.where(known.true_distance.notna(), known["rank"].astype(float), np.inf)
    numbers = np.arange(1, ranks + 1)
    return pd.DataFrame({"rank": numbers, "share": (rank <= numbers[:, None]).mean(axis=1)})


def _known(table: pd.DataFrame) -> pd.DataFrame:
    """The probes that show somebody who is in the gallery."""
    known = table[table.is_known]
    if known.empty:
        raise BadArgument(f"none of the {len(table)} probes shows a person of the gallery")
    return known


@dataclass(frozen=True)
class OpenSet:
    """How a gallery does among strangers.

    Attributes:
        fpir: The share of the strangers' probes that may be accepted as somebody (false positive identification rate).
        threshold: At which it is kept; accept below it.
        detected: The share of the known people's probes that are accepted as who they are: DIR, which is 1 − FNIR.
        false_alarms: The share of these strangers' probes that is accepted; None where there are none.
        known: How many probes show known people.
        strangers: How many probes show others.
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
    """How many known people are found, and found to be themselves, where few strangers are let through?

    Args:
        table: Of ``identification``.
        fpir: The share of the strangers' probes that may be accepted as somebody, in 0..1.
        threshold: One that was chosen on other strangers; by default it is chosen on these, and in every drawing anew.
        samples: How often people are drawn: the known ones and the strangers, each among themselves. The gallery stays.
        seed: Of the drawing.

    Returns:
        The shares with 95 % intervals over people; None where the threshold would be decided by fewer than 10 false
        alarms.

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
    hits = np.where(known["rank"] == 1, known.distance, np.inf)  # from here on each of them is found
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
    """Draw people anew, again and again: how much each of their probes (n,) counts then."""
    index, names = pd.factorize(identities, sort=True)
    rng = np.random.default_rng(seed)
    for _ in range(samples):
        yield count_draws(rng, len(names))[index]


def _share(which: np.ndarray, weight: np.ndarray) -> float:
    """The weighted share; NaN of nothing."""
    return float(which @ weight / weight.sum()) if len(weight) else math.nan


def dir_curve(table: pd.DataFrame) -> pd.DataFrame:
    """Known people found against strangers let through, at every threshold where something changes.

    Args:
        table: Of ``identification``.

    Returns:
        A table by ascending ``threshold``: ``fpir``, the share of the strangers' probes that is accepted as somebody,
        and ``dir``, the share of the known people's probes that is accepted as who they are.

    Raises:
        BadArgument: If no probe shows a known person, or none a stranger.

    Source: Grother, Ngan and Hanaoka, NISTIR 8271, 2019: its FNIR is 1 − ``dir``.
    """
    known, strangers = _known(table), table[~table.is_known]
    if strangers.empty:
        raise BadArgument(f"each of the {len(table)} probes shows a person of the gallery: strangers are needed")
    hits = np.where(known["rank"] == 1, known.distance, np.nan)
    distances = np.concatenate([strangers.distance.to_numpy(np.float64), hits])
    thresholds = corner_thresholds(distances)
    fpir, found = count_accepted(distances, np.arange(len(table)) >= len(strangers), thresholds)
    return pd.DataFrame({"threshold": thresholds, "fpir": fpir, "dir": found})
