"""What was decided lately, how long it took, and how often it was right: numbers and names, never a picture.

    decisions.add("verify", "lena", 0.44, 0.7, "Welcome in", 0.05) ──► a number
    decisions.mark(number, right=True)                             ──► the accuracy that follows

Everything is in memory and gone with the process. Only so many decisions are kept, and nothing of whom is forgotten.
"""

from __future__ import annotations

import csv
import threading
import unicodedata
from collections import deque
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from datetime import UTC, datetime

import numpy as np
import pandas as pd

from facerec.errors import BadArgument
from facerec.evaluation import Interval

#: The 97.5 % quantile of the normal distribution: 95 % lie between it and its negative.
Z = 1.959964


@dataclass(frozen=True)
class Decision:
    """One decision.

    Attributes:
        number: From 1; no number is used twice.
        kind: Which question was asked: ``"verify"``, ``"recognise"``, ``"compare"``.
        when: In UTC.
        identity: Who was claimed or found; None for nobody.
        distance: What was measured.
        threshold: What it was compared with.
        decision: What was said, in words.
        seconds: How long it took, from the picture to the answer.
        right: Whether somebody said that it was right; None as long as nobody did.
    """

    number: int
    kind: str
    when: datetime
    identity: str | None
    distance: float
    threshold: float
    decision: str
    seconds: float
    right: bool | None = None


class Decisions:
    """The last decisions of this process; threads may use it at once.

    Args:
        limit: How many are kept; older ones are dropped.

    Example:
        >>> decisions = Decisions()
        >>> numbers = [decisions.add("verify", "lena", d, 0.7, "…", 0.05) for d in (0.4, 0.5, 0.9)]
        >>> for number, right in zip(numbers, (True, True, False)):
        ...     decisions.mark(number, right)
        >>> print(decisions.accuracy())
        0.6667 [0.2077, 0.9385]
    """

    def __init__(self, limit: int = 1000) -> None:
        if not isinstance(limit, int) or isinstance(limit, bool) or limit < 1:
            raise BadArgument(f"limit={limit!r}: how many decisions to keep, at least 1")
        self._kept: deque[Decision] = deque(maxlen=limit)
        self._lock, self._count = threading.Lock(), 0

    def __len__(self) -> int:
        """How many are kept."""
        return len(self._kept)

    def add(
        self, kind: str, identity: str | None, distance: float, threshold: float, decision: str, seconds: float
    ) -> int:
        """Take note of a decision.

        Returns:
            Its number, for ``mark``.
        """
        with self._lock:
            self._count += 1
            self._kept.append(
                Decision(
                    self._count,
                    kind,
                    datetime.now(UTC),
                    identity,
                    float(distance),
                    float(threshold),
                    decision,
                    float(seconds),
                )
            )
            return self._count

    def mark(self, number: int, right: bool | None) -> None:
        """Say whether a decision was right; None takes back what was said.

        Raises:
            BadArgument: If there is no such decision (any more).
        """
        with self._lock:
            for place, decision in enumerate(self._kept):
                if decision.number == number:
                    self._kept[place] = replace(decision, right=None if right is None else bool(right))
                    return
        raise BadArgument(f"number={number!r}: there is no such decision any more")

    def forget(self, identity: str) -> int:
        """Drop every decision that names somebody.

        Returns:
            How many those were.
        """
        with self._lock:
            others = [decision for decision in self._kept if decision.identity != identity]
            dropped = len(self._kept) - len(others)
            self._kept = deque(others, self._kept.maxlen)
        return dropped

    def recent(self, limit: int | None = None) -> list[Decision]:
        """The decisions, the last first; at most ``limit`` of them."""
        with self._lock:
            return list(self._kept)[::-1][:limit]

    def table(self) -> pd.DataFrame:
        """A row per decision, the last first, with the columns of ``Decision``."""
        return table_of(self.recent())

    def accuracy(self) -> Interval | None:
        """The share of marked decisions that were right, with its interval; None if none was marked."""
        marks = [decision.right for decision in self.recent() if decision.right is not None]
        return wilson(sum(marks), len(marks)) if marks else None

    def seconds(self) -> tuple[float, float] | None:
        """How long decisions took: half of them less than the first, 95 of 100 less than the second; or None."""
        took = [decision.seconds for decision in self.recent()]
        return (float(np.percentile(took, 50)), float(np.percentile(took, 95))) if took else None


def table_of(decisions: Sequence[Decision]) -> pd.DataFrame:
    """A row per decision, with the columns of ``Decision``."""
    rows = [asdict(decision) for decision in decisions]
    return pd.DataFrame(rows, columns=[field.name for field in fields(Decision)], dtype=object)


def wilson(right: int, of: int) -> Interval:
    """A share and its 95 % interval, which is sensible for few as well as for many.

    Args:
        right: How many of them.
        of: How many there are, at least 1.

    Raises:
        BadArgument: If the counts make no sense.

    Source:
        Wilson, "Probable inference, the law of succession, and statistical inference", 1927.

    Example:
        >>> print(wilson(9, 10))
        0.9000 [0.5958, 0.9821]
    """
    if not 0 <= right <= of or of < 1:
        raise BadArgument(f"right={right!r} of={of!r}: a count, and at least as many, and one")
    share, spread = right / of, Z**2 / of
    middle = (share + spread / 2) / (1 + spread)
    reach = Z / (1 + spread) * np.sqrt(share * (1 - share) / of + spread / (4 * of))
    return Interval(share, max(0.0, float(middle - reach)), min(1.0, float(middle + reach)))


def spreadsheet_csv(table: pd.DataFrame) -> bytes:
    r"""A table as CSV that a spreadsheet shows as it is: no text in it is taken for a formula.

    Args:
        table: Any table.

    Returns:
        UTF-8, with the mark by which spreadsheets know it, texts in quotes. A text that begins with ``= + - @``, also
        in their wide forms or after spaces, or with a tab or a line break gets an apostrophe before it.

    Example:
        >>> spreadsheet_csv(pd.DataFrame({"name": ["=1+1", "lena"], "distance": [-1.0, 0.5]})).decode("utf-8-sig")
        '"name","distance"\n"\'=1+1",-1.0\n"lena",0.5\n'
    """
    safe = table.rename(columns=_plain).map(_plain)
    return safe.to_csv(index=False, lineterminator="\n", quoting=csv.QUOTE_NONNUMERIC).encode("utf-8-sig")


def _plain(cell: object) -> object:
    if not isinstance(cell, str):
        return cell
    begins = unicodedata.normalize("NFKC", cell).lstrip(" ")
    return f"'{cell}" if begins.startswith(("=", "+", "-", "@", "\t", "\r", "\n")) else cell
