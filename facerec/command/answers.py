"""What ``who`` found in pictures and films, as tables for people, as CSV, or as JSON.

[Answer(source, kind, found), …] ──show──► a row per face of a photo, and a row per person of a film
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from facerec.command import console

if TYPE_CHECKING:
    import pandas as pd

#: The columns of the CSV: a photo's faces have a box, a film's people have a start and an end in seconds.
COLUMNS = (
    *("source", "start", "end", "face", "x", "y", "width", "height"),
    *("rank", "identity", "nearest", "distance", "confidence", "problem"),
)


class Answer(NamedTuple):
    """What was found in one source.

    Attributes:
        source: What it is called.
        kind: "photo", "film" or "camera".
        found: A photo's table of ``identify``, or that of ``Presence`` with a column ``confidence``; None if it can't
            be looked at.
        problem: Why it shows no one; empty if it does.
    """

    source: str
    kind: str
    found: pd.DataFrame | None
    problem: str = ""


def show(answers: Iterable[Answer], form: str) -> list[Answer]:
    """Print answers in a form: "table", "csv" (each as soon as it is there) or "json". Returns them."""
    done: list[Answer] = []

    def noted() -> Iterator[Answer]:
        for answer in answers:
            done.append(answer)
            yield answer

    if form == "csv":
        console.write_csv(_lines(noted()))
    elif form == "json":
        console.write_json([as_data(answer) for answer in noted()])
    else:
        _show_tables(list(noted()))
    return done


# --------------------------------------------------------------------------------------------------- for programs
def _lines(answers: Iterable[Answer]) -> Iterator[tuple]:
    yield COLUMNS
    for answer in answers:
        if answer.found is None or answer.found.empty:
            yield (answer.source, *[None] * 12, answer.problem or None)
        elif answer.kind == "photo":
            for row in answer.found.itertuples():
                who = (row.rank, row.identity, row.nearest, row.distance, console.number(row.confidence))
                yield (answer.source, None, None, row.face + 1, *row.box, *who, None)
        else:
            for row in answer.found.itertuples():
                sure = (console.number(row.distance), console.number(row.confidence))
                yield (answer.source, row.start, row.end, *[None] * 6, row.identity, None, *sure, None)


def as_data(answer: Answer) -> dict[str, Any]:
    """An answer as JSON holds it."""
    head = {"source": answer.source, "kind": answer.kind}
    if answer.found is None:
        return {**head, "problem": answer.problem}
    if answer.kind == "photo":
        return {**head, "faces": [_face(ranks) for _, ranks in answer.found.groupby("face")]}
    return {**head, "people": [_person(who, rows) for who, rows in _by_person(answer.found)]}


def _face(ranks: pd.DataFrame) -> dict[str, Any]:
    first = ranks.iloc[0]
    nearest = [
        {"identity": row.nearest, "distance": row.distance, "confidence": console.number(row.confidence)}
        for row in ranks.itertuples()
    ]
    return {
        "face": int(first.face) + 1,
        "box": list(map(int, first.box)),
        "identity": first.identity,
        "nearest": nearest,
    }


def _person(identity: str | None, rows: pd.DataFrame) -> dict[str, Any]:
    intervals = [
        {
            "start": row.start,
            "end": row.end,
            "distance": console.number(row.distance),
            "confidence": console.number(row.confidence),
        }
        for row in rows.itertuples()
    ]
    return {"identity": identity, "intervals": intervals}


def _by_person(found: pd.DataFrame) -> Iterator[tuple[str | None, pd.DataFrame]]:
    """The rows of each person, in the order of the table; None stands for unknown faces."""
    for identity in dict.fromkeys(found.identity):
        yield identity, found[found.identity.isna() if identity is None else found.identity == identity]


# ----------------------------------------------------------------------------------------------------- for people
def _show_tables(answers: list[Answer]) -> None:
    photos = [answer for answer in answers if answer.kind == "photo"]
    films = [answer for answer in answers if answer.kind != "photo"]
    if photos:
        others = any(answer.found is not None and (answer.found["rank"] > 1).any() for answer in photos)
        heads = {"photo": "left", "face": "right", "who": "left", "distance": "right", "confidence": "right"}
        heads |= {"next": "left"} if others else {}
        console.show_table(heads, [row[: len(heads)] for answer in photos for row in _photo_rows(answer)])
    if films:
        heads = {"film": "left", "who": "left", "seen": "left", "distance": "right", "confidence": "right"}
        console.show_table(heads, [row for answer in films for row in _film_rows(answer)])


def _photo_rows(answer: Answer) -> Iterator[tuple[str, ...]]:
    """A row per face; the name of the photo stands in its first row."""
    if answer.found is None or answer.found.empty:
        yield (answer.source, "", _why(answer), "", "", "")
        return
    for number, ranks in answer.found.groupby("face"):
        first = ranks.iloc[0]
        who, sure = ("unknown", "") if first.is_unknown else (first.identity, console.share(first.confidence))
        others = ", ".join(f"{row.nearest} {row.distance:.2f}" for row in ranks.iloc[1:].itertuples())
        name = answer.source if number == 0 else ""
        yield (name, f"{number + 1}", str(who), f"{first.distance:.2f}", sure, others)


def _film_rows(answer: Answer) -> Iterator[tuple[str, ...]]:
    """A row per person, with all intervals."""
    if answer.found is None or answer.found.empty:
        yield (answer.source, _why(answer), "", "", "")
        return
    for number, (identity, rows) in enumerate(_by_person(answer.found)):
        seen = ", ".join(interval(row.start, row.end) for row in rows.itertuples())
        sure = "" if identity is None else console.share(rows.confidence.max())
        name = answer.source if number == 0 else ""
        yield (name, "unknown" if identity is None else str(identity), seen, f"{rows.distance.min():.2f}", sure)


def _why(answer: Answer) -> str:
    """Why no one is named, without the name of the source, which stands beside it, and without details."""
    return f"({answer.problem.removeprefix(answer.source).strip().partition(' (')[0]})"


def interval(start: float, end: float) -> str:
    """From when to when, in minutes and seconds; hours where there are any.

    Example:
        >>> interval(3.2, 17.4), interval(5, 5.3), interval(3599, 3725)
        ('00:03–00:17', '00:05', '59:59–1:02:05')
    """
    first, last = clock(start), clock(end)
    return first if first == last else f"{first}–{last}"


def clock(seconds: float) -> str:
    """A number of seconds as minutes and seconds, or hours, minutes and seconds."""
    minutes, second = divmod(int(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02}:{second:02}" if hours else f"{minute:02}:{second:02}"
