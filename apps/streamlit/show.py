"""How things look: cards, verdicts, pictures with boxes. Names are data: they are written as they were typed.

Everything here goes through ``html.escape``; nothing of a user's ever becomes markdown or markup.
"""

from __future__ import annotations

import base64
import functools
import html
import io
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import streamlit as st
from PIL import Image, ImageDraw

from apps.streamlit.shared import smaller
from facerec.errors import FaceError
from facerec.live.drawing import draw_corners

#: The colours of boxes in pictures: seen on light and on dark.
FOUND, LINE = (255, 214, 0), (16, 16, 16)


def esc(text: object) -> str:
    """A text as HTML shows it: just as it is."""
    return html.escape(str(text), quote=True)


def icon(kind: str) -> str:
    """A little drawing of ``style.css``; what it says is said in words beside it."""
    return f'<span class="icon {kind}" aria-hidden="true"></span>'


@contextmanager
def friendly() -> Iterator[None]:
    """Say what a user got wrong, in a sentence; what is our fault goes to the log, and the page says that it does."""
    try:
        yield
    except FaceError as error:
        notice(str(error), "bad")
    except Exception as error:
        if type(error).__module__.startswith("streamlit"):  # how Streamlit stops or starts a page again
            raise
        logging.getLogger(__name__).exception("a page failed")
        notice("Something went wrong here. It was written to the log; please try again.", "bad")


def title(text: str, about: str) -> None:
    """The heading of a page, and a sentence on what it is for."""
    st.html(f'<header class="page"><h1>{esc(text)}</h1><p>{esc(about)}</p></header>')


def heading(text: str) -> None:
    """The heading of a part."""
    st.html(f'<h2 class="part">{esc(text)}</h2>')


def notice(text: str, kind: str = "info") -> None:
    """A sentence with a sign; "bad" and "warn" are read out at once."""
    role = "alert" if kind in ("bad", "warn") else "status"
    st.html(f'<div class="notice {kind}" role="{role}">{icon(kind)}<span>{esc(text)}</span></div>')


def note(text: str) -> None:
    """A sentence in small letters."""
    st.html(f'<p class="small">{esc(text)}</p>')


def verdict(words: str, detail: str, good: bool) -> None:
    """The answer, so that nobody can miss it: in words, with a sign and a colour."""
    kind = "good" if good else "bad"
    st.html(
        f'<div class="verdict {kind}" role="status">{icon(kind)}'
        f"<div><strong>{esc(words)}</strong><span>{esc(detail)}</span></div></div>"
    )


def tiles(entries: Sequence[tuple[str, str, str]]) -> None:
    """Numbers: what it is, how much, and a remark."""
    cells = "".join(
        f"<div><dt>{esc(name)}</dt><dd>{esc(number)}</dd><dd class='small'>{esc(remark)}</dd></div>"
        for name, number, remark in entries
    )
    st.html(f'<dl class="tiles">{cells}</dl>')


def per_cent(share: float) -> str:
    """A probability in words that don't promise more than anybody knows."""
    return "less than 1 %" if share < 0.01 else "more than 99 %" if share > 0.99 else f"{100 * share:.0f} %"


@functools.cache
def sign() -> Image.Image:
    """What stands beside the title in the browser: a face in a box."""
    picture = Image.new("RGBA", (64, 64))
    draw = ImageDraw.Draw(picture)
    draw.rounded_rectangle((0, 0, 63, 63), 14, fill="#00629B")
    draw.ellipse((20, 13, 44, 41), fill="white")
    draw.pieslice((11, 42, 53, 84), 180, 360, fill="white")
    return picture


def jpeg(photo: np.ndarray, side: int = 720, quality: int = 85) -> bytes:
    """A photo (H, W, 3) as JPEG of at most this longest side."""
    stream = io.BytesIO()
    Image.fromarray(smaller(photo, side)).save(stream, "JPEG", quality=quality)
    return stream.getvalue()


def address(data: bytes) -> str:
    """A JPEG as an address that a page can show without asking anybody."""
    return f"data:image/jpeg;base64,{base64.b64encode(data).decode()}"


def boxed(photo: np.ndarray, box: Sequence[int]) -> np.ndarray:
    """A copy of a photo with the corners of a box in it."""
    picture, width = photo.copy(), max(2, max(photo.shape[:2]) // 160)
    draw_corners(picture, tuple(box), LINE, width + 2)
    draw_corners(picture, tuple(box), FOUND, width)
    return picture


def figure(data: bytes, caption: str, alt: str, kind: str = "") -> str:
    """A picture with what it shows under it."""
    return (
        f'<figure class="{kind}"><img src="{address(data)}" alt="{esc(alt)}">'
        f"<figcaption>{esc(caption)}</figcaption></figure>"
    )


def figures(*each: str) -> None:
    """Pictures side by side, or below each other where there is no room."""
    st.html(f'<div class="figures">{"".join(each)}</div>')


END = 1.4  # hardly any two faces are farther apart


def scale(distance: float, threshold: float) -> None:
    """A distance on a line from "the same picture" to "nothing in common", with the threshold."""
    st.html(line(distance, threshold, END, "one person", "two people", "distance"))


def score_scale(score: float, threshold: float) -> None:
    """The twins' score on a line; here more is nearer."""
    st.html(line(score, threshold, 1.0, "two people", "one person", "score", turned=True))


def line(value: float, threshold: float, end: float, left: str, right: str, what: str, turned: bool = False) -> str:
    """The line as HTML: two colours with words in them, the threshold between, and a pin where the value is."""
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
