"""Checks of what a network learns with: the triplet loss, and semi-hard triplets."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from facerec.course.verdict import call, explain, well_done
from facerec.errors import NotYet


# ------------------------------------------------------------------------------------------------ the triplet loss
def _over(x: np.ndarray) -> np.ndarray:
    """What is above 0."""
    return np.maximum(x, 0.0)


def _losses(anchor: np.ndarray, positive: np.ndarray, negative: np.ndarray, alpha: float) -> tuple[float, dict]:
    """The triplet loss of three arrays (m, D), and what the usual mistakes make of it."""
    p, n = np.square(anchor - positive).sum(axis=-1), np.square(anchor - negative).sum(axis=-1)  # (m,)
    d = anchor.shape[1]
    across = np.square(anchor - positive).sum(axis=0) - np.square(anchor - negative).sum(axis=0)  # (D,)
    single = np.square(anchor - positive) - np.square(anchor - negative)  # (m, D)
    one = _over(p - n + alpha)  # (m,)
    wrong = {
        "add the triplets' losses up: yours returns one number for each triplet": one,
        "the margin is missing: add alpha to the difference before you take the maximum": _over(p - n).sum(),
        "the maximum with 0 is missing: an easy triplet must cost nothing, and yours makes up for a hard one": (
            p - n + alpha
        ).sum(),
        "you took the mean; the course sums the triplets' losses": one.mean(),
        "you took the largest loss; the course sums the triplets' losses. (The published 527.2598 comes out of both, "
        "since only one of its three triplets has a loss.)": one.max(),
        "positive and negative are swapped: y_pred is [anchor, positive, negative]": _over(n - p + alpha).sum(),
        "these are distances; the loss takes squared distances, so leave the square root out": _over(
            np.sqrt(p) - np.sqrt(n) + alpha
        ).sum(),
        "alpha belongs inside the maximum: outside it, an easy triplet costs alpha instead of nothing": (
            _over(p - n) + alpha
        ).sum(),
        "alpha belongs inside the maximum and to every triplet: yours adds it once, at the end": _over(p - n).sum()
        + alpha,
        "the margin has the wrong sign: add alpha": _over(p - n - alpha).sum(),
        "alpha is always 0.2 in your function: use the argument": _over(p - n + 0.2).sum(),
        "sum over the numbers of an encoding only (axis=-1): yours also sums over the triplets before the maximum, "
        "where an easy one makes up for a hard one": _over(p.sum() - n.sum() + alpha),
        "a squared distance is the sum of the squared differences; you took their mean": _over(
            (p - n) / d + alpha
        ).sum(),
        "sum over axis=-1, the numbers of an encoding: axis=0 sums over the triplets": _over(across + alpha).sum(),
        "first the sum over axis=-1, then the maximum: yours takes the maximum of every single number": _over(
            single + alpha
        ).sum(),
        "the negative's distance is measured from the anchor; yours is from the positive": _over(
            p - np.square(positive - negative).sum(axis=-1) + alpha
        ).sum(),
    }
    return one.sum(), wrong


def triplet_loss(function: Callable) -> None:
    """Check exercise 1: ``triplet_loss(y_true, y_pred, alpha=0.2)``, a number or a tensor with one.

    Raises:
        NotYet: If it is not right; the message says what is missing.

    Example:
        >>> def without_margin(y_true, y_pred, alpha=0.2):
        ...     a, p, n = (np.asarray(part) for part in y_pred)
        ...     return np.maximum(((a - p) ** 2).sum(-1) - ((a - n) ** 2).sum(-1), 0).sum()
        >>> triplet_loss(without_margin)
        Traceback (most recent call last):
        facerec.errors.NotYet: the margin is missing: add alpha to the difference before you take the maximum
    """
    rng = np.random.default_rng(0)
    anchor, positive, other = rng.normal(size=(3, 6, 8)).astype("float32")
    negative = np.concatenate([other[:3], 3 * other[3:]])  # the last three are easy
    for given in ({"alpha": 0.7}, {"alpha": 3.0}, {}):
        value = call(function, None, [anchor, positive, negative], **given)
        right, wrong = _losses(anchor, positive, negative, given.get("alpha", 0.2))
        otherwise = "for anchor (0, 0), positive (1, 0), negative (0, 1) and alpha 0.2 the loss is 1 − 1 + 0.2 = 0.2; "
        explain(_as_array(value), right, wrong, otherwise + f"yours is {_small_example(function)}")
    well_done("triplet_loss is right, also with margins and easy triplets that the published number does not test")


def _as_array(value: Any) -> Any:
    """A tensor as an array; anything else as it is."""
    return np.asarray(value) if hasattr(value, "shape") else value


def _small_example(function: Callable) -> str:
    """What a function makes of one triplet that can be followed by hand."""
    triplet = [np.array([point], "float32") for point in ((0, 0), (1, 0), (0, 1))]
    value = _as_array(call(function, None, triplet))
    return f"{np.ravel(value)[0]:.2f}" if np.size(value) == 1 else f"an array {np.shape(value)}"


# ------------------------------------------------------------------------------------------------ semi-hard triplets
def mine(
    encodings: np.ndarray,
    who: np.ndarray,
    alpha: float,
    lower: Callable = np.greater,
    upper: Callable = np.less,
    best: Callable = np.min,
    power: float = 2.0,
    one_way: bool = False,
    itself: bool = False,
) -> set[tuple]:
    """The semi-hard triplets of a batch, or what a mistake makes of them.

    Args:
        encodings: (m, D).
        who: The person in each face, (m,).
        alpha: The margin.
        lower: Compares d(a, n) with d(a, p).
        upper: Compares d(a, n) with d(a, p) + α.
        best: Which of the negatives' distances to take.
        power: 2 for squared distances.
        one_way: Whether each two faces are a pair once instead of twice.
        itself: Whether a face may be its own positive.

    Returns:
        (anchor, positive, d(a, n)) for each triplet: two negatives at the same distance are equally good.
    """
    distances = np.square(encodings[:, None] - encodings).sum(axis=2) ** (power / 2)  # (m, m)
    found = set()
    for a, p in np.ndindex(distances.shape):
        if who[a] != who[p] or (a == p and not itself) or (one_way and a > p):
            continue
        to_negative = distances[a][who != who[a]]
        semi = to_negative[lower(to_negative, distances[a, p]) & upper(to_negative, distances[a, p] + alpha)]
        if len(semi):
            found.add((a, p, round(best(semi) ** (2 / power), 4)))
    return found


def _mistakes_in_mining(*batch: Any) -> dict[str, set]:
    """What the usual mistakes in mining make of a batch."""
    anything = lambda left, right: np.ones(np.shape(left), bool)  # noqa: E731
    return {
        "these are the hardest negatives: a semi-hard one is farther from the anchor than the positive is": mine(
            *batch, lower=anything, upper=anything
        ),
        "a negative that is nearer than the positive is hard, not semi-hard: ask for d(a, n) > d(a, p)": mine(
            *batch, lower=anything
        ),
        "the upper bound is missing: a negative that is farther by alpha or more teaches nothing": mine(
            *batch, upper=anything
        ),
        "d(a, n) = d(a, p) is not farther: use > and not >=": mine(*batch, lower=np.greater_equal),
        "d(a, n) = d(a, p) + alpha has no loss: use < and not <=": mine(*batch, upper=np.less_equal),
        "both bounds are strict: use > and <, not >= and <=": mine(*batch, lower=np.greater_equal, upper=np.less_equal),
        "of several semi-hard negatives take the nearest; you took the farthest": mine(*batch, best=np.max),
        "of several semi-hard negatives take the nearest; you took the first": mine(*batch, best=lambda x: x[0]),
        "the distances must be squared, as in the loss": mine(*batch, power=1.0),
        "every two faces of a person make two pairs: each of them is the anchor once": mine(*batch, one_way=True),
        "a face can't be its own positive: leave out a = p": mine(*batch, itself=True),
    }


def small_crowd() -> tuple[np.ndarray, np.ndarray]:
    """A hidden batch: encodings (24, 2) of six people, who they are, (24,).

    The encodings are whole numbers, so that distances are often equal, and strict bounds differ from others.
    """
    rng, who = np.random.default_rng(7), np.repeat(np.arange(6), 4)
    return (rng.integers(0, 6, (6, 2))[who] + rng.integers(-1, 2, (24, 2))).astype(np.float64), who


def semi_hard(function: Callable) -> None:
    """Check exercise 7: ``semi_hard(encodings, who, alpha=0.2)``, rows of (anchor, positive, negative).

    Raises:
        NotYet: If it is not right; the message says what is missing.
    """
    (encodings, who), alpha = small_crowd(), 3.0
    right = mine(encodings, who, alpha)
    rows = np.asarray(call(function, encodings, who, alpha))
    if not rows.size:
        raise NotYet(f"yours found no triplets where there are {len(right)}: does it use the argument alpha, here "
                     f"{alpha:.0f}?")  # fmt: skip
    if rows.ndim != 2 or rows.shape[1] != 3:
        raise NotYet(f"return one row (anchor, positive, negative) for each triplet; yours has the shape {rows.shape}")
    a, p, n = rows.astype(int).T
    if (who[a] != who[p]).any():
        raise NotYet("anchor and positive must be one person: ask for who[a] == who[p]")
    given = _measured(encodings, a, p, n)
    beyond = {int(n[row]) for row, triplet in enumerate(given) if triplet not in right}
    if right < set(given) and len(beyond) == 1 and len(set(zip(a, p, strict=True))) == len(rows):
        raise NotYet(f"if no negative fits, leave the pair out: yours then names face {min(beyond)}, since argmin "
                     "always names one")  # fmt: skip
    if (who[a] == who[n]).any():
        raise NotYet("a negative must be another person: ask for who[n] != who[a]")
    if len(set(zip(a.tolist(), p.tolist(), strict=True))) < len(rows):
        raise NotYet("one negative is enough for an anchor and a positive: the nearest of the semi-hard ones")
    if set(_measured(encodings, p, a, n)) == right:
        raise NotYet("the columns are anchor, positive, negative: yours begin with the positive")
    found = set(given)
    otherwise = (
        f"{len(found - right)} of your {len(found)} triplets are not semi-hard ones, and {len(right - found)} of "
    )
    otherwise += f"the {len(right)} are missing"
    mistakes = _mistakes_in_mining(encodings, who, alpha)
    explain(found, right, mistakes, otherwise, same=lambda one, other: one == other)
    well_done(f"semi_hard finds the same {len(right)} triplets as the course's semi_hard_triplets")


def _measured(encodings: np.ndarray, a: np.ndarray, p: np.ndarray, n: np.ndarray) -> list[tuple]:
    """The rows of a student's answer as ``mine`` gives them: (anchor, positive, d(a, n))."""
    to_negative = np.square(encodings[a] - encodings[n]).sum(axis=1).round(4)
    return list(zip(a.tolist(), p.tolist(), to_negative.tolist(), strict=True))
