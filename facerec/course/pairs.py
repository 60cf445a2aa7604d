"""Checks of what keeps a test honest: no person is both in the pairs that teach and in the pairs that test."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pandas as pd

from facerec.course.verdict import call, explain, pair_of, short, well_done
from facerec.errors import NotYet

SIDES = ("identity_1", "identity_2")


# ------------------------------------------------------------------------------------------------ finding a leak
def _table(*pairs: str) -> pd.DataFrame:
    """Pairs of pictures from texts such as ``"ada/1 bob/2"``."""
    rows = [(*pair.split(), *(picture.split("/")[0] for picture in pair.split())) for pair in pairs]
    table = pd.DataFrame(rows, columns=["picture_1", "picture_2", *SIDES])
    return table.assign(same=table.identity_1 == table.identity_2)


#: Pairs to learn from.
TRAIN = _table("ada/1 ada/2", "bob/1 bob/2", "ada/1 bob/1", "cleo/1 dan/1", "bob/3 ella/1", "ada/1 cleo/3")

#: Name → pairs to test with, and the people who leaked into them, mostly with pictures that TRAIN does not have.
TESTS = {
    "clean": (_table("fay/1 fay/2", "gus/1 fay/1"), set()),
    "in a same pair": (_table("fay/1 fay/2", "ada/1 ada/9"), {"ada"}),
    "second, then first": (_table("fay/1 fay/2", "dan/8 gus/1"), {"dan"}),
    "second twice": (_table("fay/1 fay/2", "gus/1 ella/9", "gus/1 bob/7"), {"ella", "bob"}),
    "first twice": (_table("fay/1 fay/2", "cleo/9 gus/1"), {"cleo"}),
}


def leaked(train: pd.DataFrame, test: pd.DataFrame, sides: tuple = (SIDES, SIDES), same: bool = False) -> set[str]:
    """The people in two tables of pairs, or those that a hasty look at one column, or at same pairs only, finds."""
    train, test = (table[table.same] if same else table for table in (train, test))
    return set(train[list(sides[0])].to_numpy().ravel()) & set(test[list(sides[1])].to_numpy().ravel())


def _mistakes(train: pd.DataFrame, test: pd.DataFrame) -> dict[str, set[str]]:
    """What the usual mistakes find in two tables of pairs."""
    pictures = [set(table[["picture_1", "picture_2"]].to_numpy().ravel()) for table in (train, test)]
    people = [set(table[list(SIDES)].to_numpy().ravel()) for table in (train, test)]
    return {
        "another picture of the same person leaks, too: compare people, not pictures": pictures[0] & pictures[1],
        "a person may be in the first column of one table and in the second of the other: compare both columns with "
        "both": leaked(train, test, (SIDES[:1], SIDES[:1])) | leaked(train, test, (SIDES[1:], SIDES[1:])),
        "you looked at identity_1 only; people also leak through identity_2": leaked(train, test, (SIDES[:1],) * 2),
        "you looked at identity_2 only; people also leak through identity_1": leaked(train, test, (SIDES[1:],) * 2),
        "you looked at pairs of one person only (or took & of the two columns, which is the same); people also leak "
        "through pairs of two": leaked(train, test, same=True),
        "those are all people of the test pairs; keep those who are in the training pairs as well": people[1],
        "those are the people of either table: a leak is in both (& and not |)": people[0] | people[1],
        "those are the people who are in one table only (^); a leak is in both (&)": people[0] ^ people[1],
    }


def _names(value: Any) -> set[str]:
    """A student's answer as a set of names."""
    if not isinstance(value, set | frozenset):
        raise NotYet(f"return the names of the people who leaked, as a set; yours returned a {type(value).__name__}, "
                     f"{short(value)}")  # fmt: skip
    return set(map(str, value))


def leaks(function: Callable) -> None:
    """Check exercise 6a: ``leaks(train, test)``, the people who are in both tables of pairs.

    Raises:
        NotYet: If it is not right; the message says what is missing.

    Example:
        >>> leaks(lambda train, test: set(train.picture_1) & set(test.picture_1))
        Traceback (most recent call last):
        facerec.errors.NotYet: another picture of the same person leaks, too: compare people, not pictures
    """
    given, right = {}, {name: people for name, (_, people) in TESTS.items()}
    wrong: dict[str, dict] = {}
    for name, (test, _) in TESTS.items():
        given[name] = _names(call(function, TRAIN.copy(), test.copy()))
        for message, people in _mistakes(TRAIN, test).items():
            wrong.setdefault(message, {})[name] = people
    worst = next((name for name in TESTS if given[name] != right[name]), "clean")
    otherwise = f"{sorted(right[worst]) or 'no one'} leaked into the test pairs; you found {sorted(given[worst])}"
    explain(given, right, wrong, otherwise, same=lambda one, other: one == other)
    well_done("leaks finds everyone who was planted, and no one else")


# ------------------------------------------------------------------------------------------------ dividing people
def split_people(function: Callable) -> None:
    """Check exercise 6b: ``split_people(people, share, seed=0)``, two tables without a person in common.

    Raises:
        NotYet: If it is not right; the message says what is missing.
    """
    names = [f"p{number:02d}" for number in range(20) for _ in range(2 + number % 5)]
    people = pd.DataFrame({"identity": names, "picture": [f"{name}/{row}.jpg" for row, name in enumerate(names)]})
    first, second = _parts(function, people, 0)
    both = set(first.identity) & set(second.identity)
    if both:
        raise NotYet(f"{min(both)} is in both parts: you divided pictures; divide the people, people.identity.unique()")
    lost = len(people) - len(first) - len(second)
    if lost or set(first.picture) | set(second.picture) != set(people.picture):
        raise NotYet(f"each picture must be in one of the parts; in neither: {lost} of {len(people)}")
    counted = first.identity.nunique()
    if counted != 12:
        how = ": did you count pictures instead of people?" if abs(len(first) - 0.6 * len(people)) < 4 else ""
        if counted > 12:
            how = ": take the share of the names, each once, people.identity.unique()"
        if counted == 8 and second.identity.nunique() == 12:
            how = ", and your second has the 12: return the chosen people first"
        raise NotYet(f"0.6 of 20 people are 12; your first part has {counted}{how}")
    third = _parts(function, people, 0, 0.33)[0].identity.nunique()
    if third != 7:
        raise NotYet(f"0.33 of 20 people are 6.6, rounded 7; your first part has {third}: use the argument share, and "
                     "round, not int")  # fmt: skip
    if set(_parts(function, people, 0)[0].identity) != set(first.identity):
        raise NotYet("the same seed must give the same parts: use np.random.default_rng(seed)")
    others = [set(_parts(function, people, seed)[0].identity) for seed in (1, 2)]
    if all(other == set(first.identity) for other in others):
        raise NotYet("every seed gives the same parts: shuffle the people; in a sorted list neighbours may be related")
    well_done("split_people is right: no person is in both parts, and every picture is in one")


def _parts(
    function: Callable, people: pd.DataFrame, seed: int, share: float = 0.6
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The two tables that a student's function makes."""
    parts = pair_of(call(function, people.copy(), share, seed), "split_people", "train", "test")
    if not all(isinstance(part, pd.DataFrame) and {"identity", "picture"} <= set(part.columns) for part in parts):
        raise NotYet("return two tables with the columns of `people`: people[people.identity.isin(…)]")
    return parts
