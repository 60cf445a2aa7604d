"""The recent decisions, their answer times, and how often they were right: numbers and names, never a picture.

    decisions.add("verify", "lena", 0.44, 0.7, "Welcome in", 0.05) ──► a number
    decisions.mark(number, right=True)                             ──► decisions.counts

The decisions are in memory and end with the process; only the counts last. Only the last decisions are kept, and none
about forgotten people.
"""

from __future__ import annotations

import csv
import threading
import unicodedata
from collections import deque
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd

from apps.streamlit.counts import Counts
from facerec.errors import BadArgument


@dataclass(frozen=True)
class Decision:
    """One decision.

    Attributes:
        number: From 1; no number is used twice.
        kind: The question: ``"verify"``, ``"recognise"`` or ``"compare"``.
        when: In UTC.
        identity: The person who was claimed or found, or None.
        distance: The measured distance.
        threshold: The threshold that it was compared with.
        decision: The answer in words.
        seconds: From the picture to the answer.
        accepted: Whether the face was let in, named, or taken for the same person.
        right: Whether it was marked as right; None before it is marked.
    """

    number: int
    kind: str
    when: datetime
    identity: str | None
    distance: float
    threshold: float
    decision: str
    seconds: float
    accepted: bool
    right: bool | None = None


class Decisions:
    """The last decisions of this process; safe to share between threads.

    Args:
        limit: How many are kept; older ones are dropped.
        path: The file in which the counts last; None keeps them in memory.

    Attributes:
        counts: How many decisions there were, and how the marked ones turned out.

    Example:
        >>> decisions = Decisions()
        >>> numbers = [decisions.add("verify", "lena", d, 0.7, "…", 0.05) for d in (0.4, 0.5, 0.9)]
        >>> for number, right in zip(numbers, (True, True, False)):
        ...     decisions.mark(number, right)
        >>> print(decisions.counts.rate_of_false_rejects, decisions.counts.marked)
        0.3333 [0.0615, 0.7923] 3
    """

    def __init__(self, limit: int = 1000, path: Path | None = None) -> None:
        if not isinstance(limit, int) or isinstance(limit, bool) or limit < 1:
            raise BadArgument(f"limit={limit!r}: the number of decisions to keep, at least 1")
        self._kept: deque[Decision] = deque(maxlen=limit)
        self._lock, self._count, self._path = threading.Lock(), 0, path
        self.counts = Counts.load(path)

    def __len__(self) -> int:
        """How many are kept."""
        return len(self._kept)

    def add(
        self, kind: str, identity: str | None, distance: float, threshold: float, decision: str, seconds: float
    ) -> int:
        """Note a decision.

        Returns:
            Its number, for ``mark``.
        """
        with self._lock:
            self._count += 1
            self.counts.decisions += 1
            self.counts.save(self._path)
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
                    bool(distance < threshold),
                )
            )
            return self._count

    def mark(self, number: int, right: bool | None) -> None:
        """Mark a decision as right or wrong; None removes the mark.

        Raises:
            BadArgument: If there is no such decision, or no longer.
        """
        with self._lock:
            place, decision = self._find(number)
            self._note(place, decision, replace(decision, right=None if right is None else bool(right)))

    def revise(self, number: int, threshold: float, decision: str, accepted: bool) -> None:
        """Note how a decision is shown now, perhaps at another threshold; another answer loses its mark.

        A decision that is no longer kept is passed over.
        """
        with self._lock:
            try:
                place, before = self._find(number)
            except BadArgument:
                return
            right = before.right if accepted == before.accepted else None
            after = replace(before, threshold=float(threshold), decision=decision, accepted=bool(accepted), right=right)
            self._note(place, before, after)

    def _find(self, number: int) -> tuple[int, Decision]:
        for place, decision in enumerate(self._kept):
            if decision.number == number:
                return place, decision
        raise BadArgument(f"number={number!r}: this decision is no longer kept")

    def _note(self, place: int, before: Decision, after: Decision) -> None:
        """Put a decision in the place of another one, and count its mark instead of the other's."""
        self._kept[place] = after
        for decision, by in ((before, -1), (after, 1)):
            if decision.right is not None:
                self.counts.mark(decision.accepted, decision.right, by)
        if before.right != after.right:
            self.counts.save(self._path)

    def forget(self, identity: str) -> int:
        """Drop every decision about a person.

        Returns:
            The number of dropped decisions.
        """
        with self._lock:
            others = [decision for decision in self._kept if decision.identity != identity]
            dropped = len(self._kept) - len(others)
            self._kept = deque(others, self._kept.maxlen)
        return dropped

    def recent(self, limit: int | None = None) -> list[Decision]:
        """The decisions, newest first; at most ``limit`` of them."""
        with self._lock:
            return list(self._kept)[::-1][:limit]

    def table(self) -> pd.DataFrame:
        """A row per decision, newest first, with the columns of ``Decision``."""
        return table_of(self.recent())

    def seconds(self) -> tuple[float, float] | None:
        """The median and the 95th percentile of the answer times, in seconds; None before the first decision."""
        took = [decision.seconds for decision in self.recent()]
        return (float(np.percentile(took, 50)), float(np.percentile(took, 95))) if took else None


def table_of(decisions: Sequence[Decision]) -> pd.DataFrame:
    """A row per decision, with the columns of ``Decision``."""
    rows = [asdict(decision) for decision in decisions]
    return pd.DataFrame(rows, columns=[field.name for field in fields(Decision)], dtype=object)


def spreadsheet_csv(table: pd.DataFrame) -> bytes:
    r"""A table as CSV in which no text can become a spreadsheet's formula.

    Args:
        table: Any table.

    Returns:
        UTF-8 with a byte order mark, texts in quotes. A text that begins with ``= + - @``, also in their wide forms or
        after spaces, or with a tab or a line break, gets an apostrophe before it.

    Example:
        >>> spreadsheet_csv(pd.DataFrame({"name": ["=1+1", "lena"], "distance": [-1.0, 0.5]})).decode("utf-8-sig")
        '"name","distance"\n"\'=1+1",-1.0\n"lena",0.5\n'
    """
    numeric = pd.api.types.is_numeric_dtype
    safe = table.rename(columns=_plain).apply(lambda column: column if numeric(column) else column.map(_plain))
    return safe.to_csv(index=False, lineterminator="\n", quoting=csv.QUOTE_NONNUMERIC).encode("utf-8-sig")


def _plain(cell: object) -> object:
    if not isinstance(cell, str):
        return cell
    begins = unicodedata.normalize("NFKC", cell).lstrip(" ")
    return f"'{cell}" if begins.startswith(("=", "+", "-", "@", "\t", "\r", "\n")) else cell
