"""Checks of how good a network is: the ROC curve, the equal error rate, and the bootstrap over people."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np
import pandas as pd

from facerec._files import in_project
from facerec.course.verdict import alike, call, explain, pair_of, short, well_done
from facerec.errors import NotYet


def _pairs() -> tuple[np.ndarray, np.ndarray]:
    """Hidden pairs: distances (300,) of two digits, so that many are equal, and whether each shows one person."""
    rng = np.random.default_rng(8)
    same = rng.permutation(300) < 60
    return np.where(same, rng.normal(0.8, 0.25, 300), rng.normal(1.25, 0.22, 300)).clip(0, 2).round(2), same


def measured_pairs(method: str) -> pd.DataFrame:
    """The distances of photographs of people of CelebA, which the project keeps without the pictures.

    Args:
        method: How they were compared: ``"FaceNet, residual"``, ``"pixels"`` or another column of the file.

    Returns:
        A row per pair: ``distance``, ``same`` (whether it shows one person) and ``person``, whose the first picture is.
    """
    table = pd.read_csv(in_project("docs/results/siamese_celeba_people_pairs.csv"))
    person = table.picture_1.str.split("/").str[0]
    return pd.DataFrame({"distance": table[method], "same": table.same.astype(bool), "person": person})


# ------------------------------------------------------------------------------------------------ the ROC curve
def roc(function: Callable) -> None:
    """Check exercise 8a: ``roc(distances, same, thresholds)``, the false and the true accepts at each threshold.

    Raises:
        NotYet: If it is not right; the message says what is missing.
    """
    from sklearn.metrics import roc_auc_score, roc_curve

    distances, same = _pairs()
    thresholds = np.append(np.unique(distances), 3.0)
    value = call(function, distances.copy(), same.copy(), thresholds.copy())
    value = pair_of(value, "roc", "false_accepts", "true_accepts")
    below, equal = distances < thresholds[:, None], distances <= thresholds[:, None]  # (t, n)
    accepted = np.array([below[:, kind].mean(axis=1) for kind in (~same, same)])
    counts = np.array([below[:, kind].sum(axis=1) for kind in (~same, same)])
    wrong = {
        "a pair at the threshold itself is not accepted: use < and not <=": [
            equal[:, kind].mean(axis=1) for kind in (~same, same)
        ],
        "a small distance means one person: accept below the threshold, not above it": [
            (distances > thresholds[:, None])[:, kind].mean(axis=1) for kind in (~same, same)
        ],
        "the two answers are swapped: return false_accepts, true_accepts": accepted[::-1],
        "the second answer is the share of same pairs that are rejected: return the share that is accepted": [
            accepted[0],
            1 - accepted[1],
        ],
        "false accepts are a share of the different pairs, true accepts of the same pairs: you divided both by all": (
            counts / len(same)
        ),
        "return shares, not counts": counts,
        "that is the share of the accepted pairs that are different (or the same): divide by how many there are of "
        "each kind, accepted or not": counts / np.maximum(counts.sum(axis=0), 1),
    }
    counted = counts.sum(axis=0)
    if alike(value, np.divide(counts, counted, out=np.full(counts.shape, np.nan), where=counted > 0)):
        value = tuple(np.nan_to_num(part) for part in value)  # 0 of 0 accepted pairs
    shapes = [np.shape(part) for part in value]
    otherwise = (
        f"return one share per threshold, {accepted.shape[1]} of each (with a row per threshold, .mean(axis=1)); "
    )
    otherwise += f"the shapes of yours are {shapes}"
    if shapes == [(len(thresholds),)] * 2:
        (ours_false, ours_true), (false, true) = accepted[:, 40], (part[40] for part in value)
        otherwise = f"at the threshold {thresholds[40]:.2f}, {ours_false:.3f} of the different and {ours_true:.3f} of "
        otherwise += f"the same pairs are nearer; yours says {false:.3f} and {true:.3f}"
    explain(value, accepted, wrong, otherwise)
    theirs = roc_curve(same, -distances, drop_intermediate=False)[:2]
    if not alike(value, theirs):
        raise NotYet("scikit-learn's roc_curve gives other points")
    area = np.trapezoid(value[1], value[0])
    well_done(f"roc is right: area {area:.6f}, and {roc_auc_score(same, -distances):.6f} by scikit-learn")


# ------------------------------------------------------------------------------------------------ equal error
def _errors(distances: np.ndarray, same: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Every distance as a threshold and one above them, and scikit-learn's false accepts and false rejects at them."""
    from sklearn.metrics import roc_curve

    false_accepts, true_accepts, scores = roc_curve(same, -distances, drop_intermediate=False)
    edges = np.append(np.unique(distances), distances.max() + 1)
    following = edges[edges.searchsorted(-scores, side="right")]  # it accepts up to a score, we accept below a distance
    return following, false_accepts, 1 - true_accepts


def equal_error(function: Callable) -> None:
    """Check exercise 8b: ``equal_error(distances, same)``, the rate at which both errors are equally frequent.

    Raises:
        NotYet: If it is not right; the message says what is missing.
    """
    distances, same = _pairs()
    thresholds, accepts, rejects = _errors(distances, same)
    at = int(np.abs(accepts - rejects).argmin())
    right = (accepts[at] + rejects[at]) / 2
    best = int((accepts * (~same).sum() + rejects * same.sum()).argmin())
    value = call(function, distances.copy(), same.copy())
    if np.ndim(value) or isinstance(value, tuple):
        raise NotYet(f"return one number, the rate; yours returned {short(value)}")
    coarse = int(np.abs(thresholds - 0.7).argmin())
    of_all = np.stack([accepts * (~same).mean(), rejects * same.mean()])  # both divided by all pairs
    nearest = int(np.abs(of_all[0] - of_all[1]).argmin())
    wrong = {
        "that is the threshold; return the rate of errors at it": thresholds[at],
        "you added the two errors up; where they are equal, each of them is the rate (take their mean)": 2 * right,
        "that is the share of right answers; return the share of errors": 1 - right,
        "that is the smallest share of wrong answers, which depends on how many pairs of each kind there are; look for "
        "the threshold at which the two rates are equal": (accepts[best] * (~same).sum() + rejects[best] * same.sum())
        / len(same),
        "you took the threshold with the smallest sum of both rates; look for the one at which they are equal": (
            (accepts + rejects).min() / 2
        ),
        "0.7 is where another network's errors are equal; look for the threshold of these distances": (
            accepts[coarse] + rejects[coarse]
        )
        / 2,
        "that is a row's number; return the mean of the two rates in that row": at,
        "return a share between 0 and 1, not a percentage": 100 * right,
        "at your threshold no pair is accepted, so there are no false accepts either: did you compare them with true "
        "accepts? False rejects are 1 - true_accepts": 0.0,
        "at your threshold one rate is 0 and the other is 1: take np.abs of their difference before argmin": 0.5,
        "false accepts are a share of the different pairs, false rejects of the same pairs: you divided both by all": (
            of_all[:, nearest].mean()
        ),
    }
    otherwise = f"at the threshold {thresholds[at]:.2f} the errors are {accepts[at]:.3f} and {rejects[at]:.3f}: "
    otherwise += f"{right:.3f}; you gave {value:.3f}. Try every distance as a threshold"
    near = abs(accepts[at] - rejects[at]) / 2 + 1e-6  # anything between the two rates
    explain(value, right, wrong, otherwise, lambda one, other: abs(one - other) <= (near if other is right else 0.011))
    well_done(f"equal_error is right: {value:.3f}, and {right:.3f} from scikit-learn's curve")


# ------------------------------------------------------------------------------------------------ the bootstrap
#: How many times as wide a 95 % interval gets by a mistake.
WIDTHS = {
    "every drawing gave the same: draw people with replacement, so that some come twice and others not at all": 0.0,
    "mean ± one standard deviation covers two thirds of the drawings; take the 2.5 % and the 97.5 % quantiles": 0.51,
    "a person who is drawn twice counts twice: np.isin, a set or unique names lose that": 0.765,
    "that is a 90 % interval: take the 2.5 % and the 97.5 % quantiles": 0.839,
    "draw as many people as there are; you drew fewer, which makes the interval wider": 1.414,
}


def _decisions() -> tuple[np.ndarray, np.ndarray]:
    """Hidden decisions: whether each is right, (n,), and whose pairs they are; some people are mostly wrong."""
    rng = np.random.default_rng(3)
    skill, pairs = rng.choice([0.97, 0.9, 0.25], 30, p=[0.6, 0.2, 0.2]), rng.integers(6, 14, 30)
    person = np.repeat([f"p{number:02d}" for number in range(30)], pairs)
    return rng.random(len(person)) < np.repeat(skill, pairs), person


def _width(right: np.ndarray, person: np.ndarray, samples: int = 20_000) -> float:
    """The width of the 95 % interval over people."""
    index = np.unique(person, return_inverse=True)[1]
    pairs, hits = np.bincount(index), np.bincount(index, right)  # of each person
    drawn = np.random.default_rng(0).multinomial(len(pairs), np.full(len(pairs), 1 / len(pairs)), samples)
    return float(np.ptp(np.quantile(drawn @ hits / (drawn @ pairs), [0.025, 0.975])))


@cache
def _hidden_widths() -> tuple[float, float]:
    """How wide the interval of the hidden decisions is, over people and over pairs."""
    right, person = _decisions()
    return _width(right, person), _width(right, np.arange(len(right)), 2000)


def bootstrap_people(function: Callable) -> None:
    """Check exercise 9: ``bootstrap_people(right, person, samples=2000, seed=0)``, the two ends of a 95 % interval.

    Raises:
        NotYet: If it is not right; the message says what is missing.
    """
    right, person = _decisions()
    low, high = _ends(function, right, person, 2000)
    if low == high != right.mean():
        raise NotYet("every drawing gave the same: make rng once, before the loop, or each turn draws the same people")
    if low <= 1 - right.mean() <= high:
        raise NotYet("that is an interval of the share of wrong decisions; take the share that is right")
    if not (low <= right.mean() <= high):
        raise NotYet(f"the interval [{low:.3f}, {high:.3f}] does not contain the share itself, {right.mean():.3f}")
    if _ends(function, right, person, 50) != _ends(function, right, person, 50):
        raise NotYet("the same seed must give the same interval: use rng = np.random.default_rng(seed)")
    ours, pairs = _hidden_widths()
    widths = {"right": 1.0, "you drew pairs: draw people, and take all pairs of each": pairs / ours} | WIDTHS
    ratio = (high - low) / ours
    nearest = min(widths, key=lambda message: abs(ratio - widths[message]))  # equal, but for chance
    if nearest != "right" or ratio > 1.2:
        raise NotYet(nearest if ratio < 1.7 else f"your interval is {ratio:.1f} times as wide as it should be")
    _check_drawing(function)
    well_done(f"bootstrap_people is right; over people the interval is {ours / pairs:.1f} times as wide as over pairs")


def _check_drawing(function: Callable) -> None:
    """Refuse a bootstrap that never draws the last person, or in which all people count the same."""
    person = np.repeat([f"p{number}" for number in range(10)], 4)
    if _ends(function, person != "p9", person, 500)[0] == 1:
        raise NotYet("the last person is never drawn: rng.integers(n) already stops at n - 1")
    person = np.append(np.repeat("p00", 200), [f"p{number:02d}" for number in range(1, 20)] * 2)
    if _ends(function, person == "p00", person, 500)[1] < 0.5:
        raise NotYet("you took the mean of the people's shares; take the share of all rows that were drawn, in which a "
                     "person with more pairs counts more")  # fmt: skip


def _ends(function: Callable, right: np.ndarray, person: np.ndarray, samples: int) -> tuple[float, float]:
    """The interval of a student's function."""
    value = call(function, right.copy(), person.copy(), samples, 0)
    low, high = pair_of(value, "bootstrap_people", "low", "high")
    if np.isscalar(low) and np.isscalar(high) and np.isnan([low, high]).any():
        raise NotYet("your interval is NaN, the mean of no rows: draw from np.unique(person), whatever the names are")
    if np.isscalar(low) and np.isscalar(high) and low > high:
        raise NotYet("the two ends are swapped: return low, high")
    if not (np.isscalar(low) and np.isscalar(high)):
        raise NotYet(f"return two numbers, low and high; yours returned {short(value)}")
    return float(low), float(high)
