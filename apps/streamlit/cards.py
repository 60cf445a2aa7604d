"""Recognised pictures as HTML: the numbered picture, and below it a line for each face."""

from __future__ import annotations

from typing import Any

import pandas as pd

from apps.certainty import Certainty, per_cent
from apps.streamlit import show
from apps.streamlit.searching import DOUBTFUL, KNOWN, UNKNOWN, Searched, drawn

ICONS = {KNOWN: "good", DOUBTFUL: "warn", UNKNOWN: "info"}

NO_FACE = "No face found. Is a whole face in the picture, well lit and large enough?"


def card(each: Searched, rows: pd.DataFrame, listed: pd.DataFrame) -> str:
    """One picture with its faces.

    Args:
        each: The picture.
        rows: Its rows in the table of ``recognise``: all of its faces are numbered.
        listed: Those of the rows that are listed below it.
    """
    if each.picture is None:
        return f'<figure class="card">{notice(each.problem, "bad")}</figure>'
    if each.problem:
        picture, lines = drawn(each, rows[:0]), notice(NO_FACE, "warn")
    else:
        picture = drawn(each, rows)
        lines = "".join(line(row, each.faces[row.face - 1].hints) for row in listed.itertuples())
    figure = show.figure(picture, each.name, f"{each.name}, with a numbered box around each face", "card")
    return figure.replace("</figure>", f"{lines}</figure>")


def notice(text: str, kind: str) -> str:
    """A sentence with an icon."""
    return f'<div class="notice {kind}" role="alert">{show.icon(kind)}<span>{show.esc(text)}</span></div>'


def line(row: Any, hints: tuple[str, ...] = ()) -> str:
    """One face: its number, the name, how sure it is, the hints for a better picture, and the nearest people."""
    who = "Unknown" if row.who == "unknown" else f"{row.who}?" if row.status == DOUBTFUL else row.who
    small = "".join(f'<p class="small">{show.esc(text)}</p>' for text in (how_sure(row), *hints))
    return (
        f'<div class="face {"good" if row.status == KNOWN else "warn"}">'
        f"<b>{show.icon(ICONS[row.status])}{row.face} · {show.esc(who)}</b>{small}"
        f'<details><summary>The nearest people</summary><p class="small">{show.esc(row.others)}</p></details></div>'
    )


def how_sure(row: Any) -> str:
    """How near the nearest person is, and how sure the answer is."""
    sure = Certainty(row.who != "unknown", row.confidence)
    doubt = "too close to call" if sure.is_close else "please check"
    if not sure.is_same:
        words = f"nearest: {row.nearest}, distance {row.distance:.2f}"
        return f"{words}, {per_cent(row.confidence)} likely; {doubt}" if sure.is_doubtful else words
    if not sure.words:
        return f"distance {row.distance:.2f}"
    words = f"distance {row.distance:.2f}, {per_cent(row.confidence)} sure that it is {row.nearest}"
    return f"{words}; {doubt}" if sure.is_doubtful else words
