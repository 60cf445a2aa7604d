"""How things look: notices, verdicts, figures and scales, as HTML.

All text goes through ``html.escape``, so that names appear exactly as typed: no input ever becomes markup or markdown.
"""

from __future__ import annotations

import functools
import html
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import streamlit as st
from PIL import Image, ImageDraw

from facerec.errors import FaceError
from facerec.photos import data_url

END = 1.4  # the scale of distances ends here: two faces are hardly ever farther apart


def esc(text: object) -> str:
    """A text as HTML that shows it exactly."""
    return html.escape(str(text), quote=True)


def icon(kind: str) -> str:
    """A small drawing from ``style.css``; words beside it say the same."""
    return f'<span class="icon {kind}" aria-hidden="true"></span>'


@contextmanager
def friendly() -> Iterator[None]:
    """Show a user's error as a sentence; an error of ours goes to the log, and the page says so."""
    try:
        yield
    except FaceError as error:
        notice(str(error), "bad")
    except Exception as error:
        if type(error).__module__.startswith("streamlit"):  # how Streamlit stops or starts a page again
            raise
        logging.getLogger(__name__).exception("a page failed")
        notice("Something went wrong. The error is in the log; please try again.", "bad")


def title(text: str, about: str) -> None:
    """The heading of a page, and a sentence about its purpose."""
    st.html(f'<header class="page"><h1>{esc(text)}</h1><p>{esc(about)}</p></header>')


def heading(text: str) -> None:
    """The heading of a part of a page."""
    st.html(f'<h2 class="part">{esc(text)}</h2>')


def notice(text: str, kind: str = "info", picture: bytes | None = None, alt: str = "") -> None:
    """A sentence with an icon and perhaps a small picture; a screen reader announces "bad" and "warn" at once."""
    role = "alert" if kind in ("bad", "warn") else "status"
    image = f'<img src="{data_url(picture)}" alt="{esc(alt)}">' if picture else ""
    st.html(f'<div class="notice {kind}" role="{role}">{icon(kind)}<span>{esc(text)}</span>{image}</div>')


def note(text: str) -> None:
    """A sentence in small print."""
    st.html(f'<p class="small">{esc(text)}</p>')


def verdict(words: str, detail: str, good: bool | None) -> None:
    """The answer, impossible to miss: in words, with an icon and a colour; None is neither good nor bad."""
    kind = "warn" if good is None else "good" if good else "bad"
    st.html(
        f'<div class="verdict {kind}" role="status">{icon(kind)}'
        f"<div><strong>{esc(words)}</strong><span>{esc(detail)}</span></div></div>"
    )


def tiles(entries: Sequence[tuple[str, str, str]]) -> None:
    """Numbers as tiles: the name, the number, and a remark."""
    cells = "".join(
        f"<div><dt>{esc(name)}</dt><dd>{esc(number)}</dd><dd class='small'>{esc(remark)}</dd></div>"
        for name, number, remark in entries
    )
    st.html(f'<dl class="tiles">{cells}</dl>')


@functools.cache
def sign() -> Image.Image:
    """The icon of the browser's tab: a face in a box."""
    picture = Image.new("RGBA", (64, 64))
    draw = ImageDraw.Draw(picture)
    draw.rounded_rectangle((0, 0, 63, 63), 14, fill="#00629B")
    draw.ellipse((20, 13, 44, 41), fill="white")
    draw.pieslice((11, 42, 53, 84), 180, 360, fill="white")
    return picture


def figure(data: bytes, caption: str, alt: str, kind: str = "") -> str:
    """A JPEG with its caption, as HTML."""
    return (
        f'<figure class="{kind}"><img src="{data_url(data)}" alt="{esc(alt)}">'
        f"<figcaption>{esc(caption)}</figcaption></figure>"
    )


def figures(*each: str) -> None:
    """Pictures side by side, or one below the other on a narrow screen."""
    st.html(f'<div class="figures">{"".join(each)}</div>')


def scale(distance: float, threshold: float) -> None:
    """A distance on a line, with the threshold."""
    st.html(line(distance, threshold, END, "one person", "two people", "distance"))


def score_scale(score: float, threshold: float) -> None:
    """The twins' score on a line, with the threshold; a higher score is more alike."""
    st.html(line(score, threshold, 1.0, "two people", "one person", "score", turned=True))


def line(value: float, threshold: float, end: float, left: str, right: str, what: str, turned: bool = False) -> str:
    """The line as HTML: two coloured parts with a label each, the threshold between them, and a pin at the value."""
    at, edge = (100 * float(np.clip(number / end, 0, 1)) for number in (value, threshold))
    first, second = ("no", "yes") if turned else ("yes", "no")
    words = f"{what} {value:.2f} on a line from 0 to {end:g}; the threshold is {threshold:.2f}"
    return (
        f'<div class="scale" role="img" aria-label="{esc(words)}">'
        f'<div class="pin" style="left:{at:.2f}%"><b>{value:.2f}</b></div>'
        f'<div class="bar"><span class="{first}" style="width:{edge:.2f}%">{esc(left) if edge > 22 else ""}</span>'
        f'<span class="{second}" style="width:{100 - edge:.2f}%">{esc(right) if edge < 78 else ""}</span></div>'
        f'<div class="edge" style="left:{edge:.2f}%">threshold {threshold:.2f}</div></div>'
    )
