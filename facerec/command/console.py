"""What commands print: results on standard output, notes and progress on standard error.

A result is a table for people, or CSV or JSON for programs; those two are UTF-8 wherever they are not shown on a
screen. Letters that a console can't show become plain ones, or question marks.
"""

from __future__ import annotations

import codecs
import csv
import json
import os
import sys
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from facerec.errors import BadArgument

if TYPE_CHECKING:
    from rich.console import RenderableType

#: What signs become on consoles that can't show them.
PLAIN = {"–": "-", "…": "...", "×": "x", "—": "-", "→": "->", "’": "'", "•": "*"}

#: Whether the running command prints results and errors only.
_quiet: ContextVar[bool] = ContextVar("quiet", default=False)


def _plain(error: UnicodeError) -> tuple[str, int]:
    """The error handler of consoles: the plain form of each letter that can't be encoded."""
    letters = error.object[error.start : error.end]
    return "".join(PLAIN.get(letter, "?") for letter in letters), error.end


def forgive() -> None:
    """Let standard output and standard error show what they can of any text, instead of failing."""
    codecs.register_error("facerec.plain", _plain)
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # it was closed: "facerec who … >&-"
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="facerec.plain")


def hush(quiet: bool) -> bool:
    """Print results and errors only, if that is asked for; it stays so to the end of the command."""
    if quiet:
        _quiet.set(True)
    return quiet


def begin(quiet: bool) -> bool:
    """Start a command that prints notes and progress, or results and errors only."""
    _quiet.set(quiet)
    return quiet


def is_quiet() -> bool:
    """Whether notes and progress are left out."""
    return _quiet.get()


def shows_progress() -> bool:
    """Whether a progress bar is of use: a person is looking, who did not ask for quiet."""
    return not is_quiet() and sys.stderr.isatty()


def note(text: str) -> None:
    """Print a line beside the result, above a progress bar if there is one; nothing if the command is quiet."""
    if not is_quiet():
        from tqdm import tqdm

        tqdm.write(one_line(text), file=sys.stderr)
        sys.stderr.flush()


def complain(text: str) -> None:
    """Print an error, in one line."""
    print(f"error: {one_line(text)}", file=sys.stderr)


def one_line(text: str) -> str:
    r"""A text without line breaks and without what would steer a terminal: names of files may hold both.

    Example:
        >>> one_line("a\x1b[2Jb\nc")
        'a?[2Jb c'
    """
    text = " ".join(text.splitlines())
    return "".join(letter if letter.isprintable() or 0xDC80 <= ord(letter) <= 0xDCFF else "?" for letter in text)


@contextmanager
def warnings_as_notes() -> Iterator[None]:
    """Print warnings as notes, without the line of code that gave them."""
    with warnings.catch_warnings():
        warnings.simplefilter("always", UserWarning)
        warnings.showwarning = lambda message, *_: note(str(message))
        yield


#: On a screen with fewer columns than this, a table becomes sentences.
NARROW = 60


def show_table(columns: Mapping[str, str], rows: Iterable[Sequence[str]]) -> None:
    """Print a table for people; on a screen it fits the screen, elsewhere it is as wide as it needs to be.

    Args:
        columns: The head of each column, and on which side its cells stand: "left" or "right".
        rows: The cells.
    """
    from rich.console import Console

    console = Console(file=sys.stdout, width=None if sys.stdout.isatty() else 10_000, highlight=False)
    rows = [[one_line(cell) for cell in row] for row in rows]
    console.print(_table(columns, rows) if console.width >= NARROW else _sentences(list(columns), rows))


def _table(columns: Mapping[str, str], rows: Sequence[Sequence[str]]) -> RenderableType:
    """The rows below each other; the first and the last left column may take several lines."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    table = Table(box=SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for head, side in columns.items():
        table.add_column(head, justify=side, overflow="fold", no_wrap=side == "right" or None)
    for row in rows:
        table.add_row(*map(Text, row))
    return table


def _sentences(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> RenderableType:
    """The rows as sentences: what stands first on a line of its own, and the rest below it."""
    from rich.text import Text

    text = Text()
    for first, *others in rows:
        text.append(f"{first}\n" if first else "", style="bold")
        told = [f"{head} {cell}" for head, cell in zip(heads[1:], others, strict=True) if cell]
        text.append(f"  {', '.join(told)}\n")
    text.rstrip()
    return text


def write_csv(rows: Iterable[Sequence[Any]]) -> None:
    """Write rows as CSV, each as soon as it is known; None becomes an empty cell."""
    _for_programs()
    writer = csv.writer(sys.stdout, lineterminator="\n")
    for row in rows:
        writer.writerow([f"{cell:.4f}" if isinstance(cell, float) else cell for cell in row])
        sys.stdout.flush()


def write_json(data: Any) -> None:
    """Write data as JSON, with four decimals."""
    _for_programs()
    print(json.dumps(_rounded(data), ensure_ascii=False, indent=1, allow_nan=False))


def _rounded(data: Any) -> Any:
    """Data with every number rounded to four decimals."""
    if isinstance(data, Mapping):
        return {key: _rounded(value) for key, value in data.items()}
    if isinstance(data, list | tuple):
        return [_rounded(value) for value in data]
    return round(data, 4) if isinstance(data, float) else data


def _for_programs() -> None:
    """Write UTF-8 from now on, unless a person is looking."""
    if not sys.stdout.isatty() and hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(encoding="utf-8", newline="\n", errors=sys.stdout.errors)


def form_of(as_csv: bool, as_json: bool) -> str:
    """The form of a result: "table", "csv" or "json".

    Raises:
        BadArgument: If both are asked for.
    """
    if as_csv and as_json:
        raise BadArgument("--csv and --json: choose one of them")
    return "csv" if as_csv else "json" if as_json else "table"


def share(probability: float) -> str:
    """A probability for people; nothing if it is not known.

    Example:
        >>> share(0.974), share(0.9999), share(float("nan"))
        ('97 %', '> 99 %', '')
    """
    if probability != probability:
        return ""
    return "> 99 %" if probability > 0.99 else "< 1 %" if probability < 0.01 else f"{100 * probability:.0f} %"


def number(value: float) -> float | None:
    """A number for JSON and CSV, which know no NaN."""
    return None if value != value else float(value)
