"""Your own pictures: a folder ``my_faces`` with a folder per person, and the check of a report about them."""

from __future__ import annotations

import os
from collections.abc import Callable
from itertools import combinations
from typing import NamedTuple

import numpy as np

from facerec._files import MY_FACES, in_project
from facerec._quiet import say
from facerec.course.stored import answers, stored_network
from facerec.course.verdict import call, explain, short, well_done
from facerec.errors import NotYet
from facerec.evaluation.rates import FEWEST_CASES


class Faces(NamedTuple):
    """Faces with names.

    Attributes:
        encodings: (m, 128).
        people: The person in each, (m,).
        pictures: Its file, m of them.
    """

    encodings: np.ndarray
    people: np.ndarray
    pictures: list[str]


def my_faces(folder: str | os.PathLike = MY_FACES) -> Faces:
    """Encode your own pictures; if there are none, take the people of ``images/``, who do not exist, and say so.

    Args:
        folder: A folder per person with their pictures: JPEG, HEIC or PNG. Looked for here, then in the project.

    Returns:
        A face from each picture that shows one; the others are named and left out.

    Raises:
        BadArgument: If the folder has no pictures in folders of people.
    """
    if not in_project(folder).is_dir():
        say(f"There is no folder {folder} yet: make it in the project's folder, and in it a folder per person, "
            f"{folder}/ada/1.jpg. Until then, these are the people of images/, who do not exist.")  # fmt: skip
        return invented_faces()
    from facerec.encoding import photos_to_encodings
    from facerec.learning.datasets import find_people
    from facerec.networks import load_facenet

    table = find_people(folder)
    encodings, problems = photos_to_encodings(table.picture, load_facenet(), progress=len(table) > 20)
    for number, problem in problems.items():
        say(f"left out: {table.picture[number]} ({problem})")
    kept = np.isfinite(encodings[:, 0])
    return Faces(encodings[kept], table.identity.to_numpy(str)[kept], table.picture[kept].tolist())


def invented_faces() -> Faces:
    """The twelve people of ``images/``: their portraits, and what the camera saw of them.

    Example:
        >>> len(invented_faces().people)
        28
    """
    known, seen = stored_network().encodings, answers()
    people = {picture: seen.get(picture, picture.removesuffix(".jpg")) for picture in known}
    pictures = [picture for picture, name in people.items() if name]
    return Faces(np.stack([known[p] for p in pictures]), np.array([people[p] for p in pictures]), pictures)


# ------------------------------------------------------------------------------------------------ the report
#: Points on a line: twelve people, ten with two pictures each; two people with two each; and two with six each.
MANY = (
    np.array([[x] for k in range(10) for x in (k, k + 0.25 * (1 + k % 4))] + [[10.25], [10.5]]),
    np.array([name for name in "abcdefghij" for _ in range(2)] + ["k", "l"]),
)
FEW = (np.array([[0.0], [0.3], [1.0], [1.2]]), np.array(["ada", "ada", "bob", "bob"]))
TWO = (np.linspace(0, 1.5, 12)[:, None], np.repeat(["ada", "bob"], 6))


def summary(
    encodings: np.ndarray, people: np.ndarray, threshold: float = 0.7, fewest: int = FEWEST_CASES,
    below: Callable = np.less, twice: bool = False, itself: bool = False, of_all: bool = False, counted: str = "people",
) -> dict:  # fmt: skip
    """What a report says, or what a mistake makes of it.

    Args:
        encodings: (m, D).
        people: The person in each, (m,).
        threshold: Two faces below it count as one person.
        fewest: A share of pairs that show fewer people is withheld.
        below: Compares distances with the threshold.
        twice: Whether each pair counts in both orders.
        itself: Whether a picture is a pair with itself.
        of_all: Whether the errors are divided by all pairs.
        counted: What must be at least ``fewest``: the ``people`` in the pairs, those who are ``first`` in one,
            ``everyone``, or the ``pairs``.

    Returns:
        Counts, and two shares or None.
    """
    m = len(people)
    pairs = [(i, j) for i, j in combinations(range(m), 2)] * (2 if twice else 1) + [(i, i) for i in range(m)] * itself
    shown = people[np.array(pairs)]  # (n, 2)
    same = shown[:, 0] == shown[:, 1]
    accepted = below(np.array([np.linalg.norm(encodings[i] - encodings[j]) for i, j in pairs]), threshold)
    report: dict = {"people": len(set(people)), "pictures": m}
    report |= {"same_pairs": int(same.sum()), "different_pairs": int((~same).sum())}
    for name, kind, wrong in (("false_rejects", same, ~accepted), ("false_accepts", ~same, accepted)):
        cases = len(same) if of_all else kind.sum()
        of = {"people": shown[kind], "first": shown[kind, 0], "everyone": people, "pairs": np.flatnonzero(kind)}
        enough = len(np.unique(of[counted])) >= fewest
        report[name] = float((wrong & kind).sum() / cases) if enough else None
    return report


def _equal(one: dict, other: dict) -> bool:
    """Whether two reports say the same."""
    return all(
        (one[key] is None) == (value is None) and (value is None or abs(one[key] - value) < 1e-6)
        for key, value in other.items()
    )


def report(function: Callable) -> None:
    """Check exercise 10: ``report(encodings, people, threshold=0.7, fewest=10)``, a dict of counts and two shares.

    Raises:
        NotYet: If it is not right; the message says what is missing.
    """
    for encodings, people in (MANY, FEW, TWO):
        for threshold in (0.7, 0.3, 0.5):
            given = call(function, encodings.copy(), people.copy(), threshold)
            _check_report(given, encodings, people, threshold)
    for fewest in (13, 11, 12):  # MANY has 12 people; 10 of them make same pairs
        given = call(function, MANY[0].copy(), MANY[1].copy(), 0.7, fewest)
        _check_report(given, *MANY, 0.7, fewest)
    well_done("report is right: every pair once, and no share of fewer than ten people")


def _check_report(
    given: dict, encodings: np.ndarray, people: np.ndarray, threshold: float, fewest: int = FEWEST_CASES
) -> None:
    """Refuse a report that counts otherwise, or says more than it knows."""
    right = summary(encodings, people, threshold, fewest)
    missing = sorted(set(right) - set(given)) if isinstance(given, dict) else sorted(right)
    if missing:
        raise NotYet(f"the report must be a dict that also has {short(missing[0])}; it needs {', '.join(right)}")
    counts = [key for key in right if isinstance(right[key], int)]
    if any(given[key] is None for key in counts):
        raise NotYet("withhold the shares only: the counts say why, and are always known")
    of = (encodings, people, threshold)
    unsaid = {"false_rejects", "false_accepts"} - {key for key, value in right.items() if value is not None}
    wrong = {
        "only the first person of each pair counts in your function: each pair shows people[i] and people[j]": summary(
            *of, fewest, counted="first"
        ),
        f"exactly `fewest` people, here {fewest}, are enough: withhold a share of fewer (<, and not <=)": summary(
            *of, fewest + 1
        ),
        f"with fewest={fewest} you count people who are in no pair of this kind: a person with one picture makes no "
        "same pair": summary(*of, fewest, counted="everyone"),
        "fewest is always 10 in your function: use the argument": summary(*of),
        f"with fewest={fewest} you withhold both shares: count the people of each kind of pairs": right
        | {"false_rejects": None, "false_accepts": None},
        f"{len(people)} pictures of two people make many pairs, and are still two people: count the people in the "
        "pairs, not the pairs": summary(*of, fewest, counted="pairs"),
        f"{len(unsaid)} shares here rest on fewer than ten people, and yours reports them: withhold them (None); what "
        "is true of two people may not be true of a third": summary(*of, fewest=0),
        "those are the shares of right decisions; return those of mistakes, same pairs that are not below the "
        "threshold and different pairs that are": right
        | {key: value if value is None else 1 - value for key, value in right.items() if key.startswith("false")},
        "each pair counts once: a with b is b with a (np.triu_indices, or itertools.combinations)": summary(
            *of, twice=True
        ),
        "a picture is not a pair with itself: its distance is 0 and says nothing": summary(*of, itself=True),
        "each pair counts once, and a picture is not a pair with itself: use np.triu_indices(m, 1)": summary(
            *of, twice=True, itself=True
        ),
        "a distance of the threshold itself is not below it: use <": summary(*of, below=np.less_equal),
        "false rejects are a share of the same pairs, false accepts of the different ones: you divided by all": summary(
            *of, of_all=True
        ),
        "the two shares are swapped: a false accept is a different pair below the threshold": right
        | {"false_rejects": right["false_accepts"], "false_accepts": right["false_rejects"]},
        "the threshold is always 0.7 in your function: use the argument": summary(encodings, people),
    }
    at = next((key for key in right if not _equal({key: given[key]}, {key: right[key]})), "people")
    explain(given, right, wrong, f"{at} should be {short(right[at])}; yours is {short(given[at])}", same=_equal)
