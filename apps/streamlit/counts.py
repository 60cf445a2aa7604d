"""How many decisions there were, and how the marked ones turned out: numbers alone, which outlive the process.

             marked right    marked wrong
let in       right_in        false_accepts
sent away    right_out       false_rejects
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from facerec._files import write_json
from facerec.evaluation import Interval, wilson_interval


@dataclass
class Counts:
    """Counts of decisions.

    Attributes:
        decisions: How many there were.
        right_in: Of the marked ones, those that let in (or named, or took for one person) and were right.
        false_accepts: Those that let in and were wrong.
        right_out: Those that sent away (or found unknown, or took for two people) and were right.
        false_rejects: Those that sent away and were wrong.

    Example:
        >>> counts = Counts(decisions=9)
        >>> for right in (True, True, True, False):
        ...     counts.mark(accepted=True, right=right)
        >>> counts.mark(accepted=False, right=True)
        >>> counts.rate_of_false_accepts.value, counts.rate_of_false_rejects.value
        (0.5, 0.0)
    """

    decisions: int = 0
    right_in: int = 0
    false_accepts: int = 0
    right_out: int = 0
    false_rejects: int = 0

    def mark(self, accepted: bool, right: bool, by: int = 1) -> None:
        """Count a mark; ``by`` is −1 for one that is taken back."""
        name = ("right_in" if right else "false_accepts") if accepted else ("right_out" if right else "false_rejects")
        setattr(self, name, getattr(self, name) + by)

    @property
    def marked(self) -> int:
        """How many decisions are marked."""
        return self.right_in + self.false_accepts + self.right_out + self.false_rejects

    @property
    def rate_of_false_accepts(self) -> Interval | None:
        """Of the faces that should have been sent away, the share that was let in, with its 95 % interval."""
        return _share(self.false_accepts, self.false_accepts + self.right_out)

    @property
    def rate_of_false_rejects(self) -> Interval | None:
        """Of the faces that should have been let in, the share that was sent away, with its 95 % interval."""
        return _share(self.false_rejects, self.false_rejects + self.right_in)

    def save(self, path: Path | None) -> None:
        """Write the numbers to a file; None writes nothing."""
        if path is not None:
            write_json(path, asdict(self))

    @classmethod
    def load(cls, path: Path | None) -> Counts:
        """The numbers in a file; zeros if there is none, or it is damaged."""
        try:
            kept = json.loads(path.read_text(encoding="utf-8"))
            return cls(**{each.name: max(0, int(kept[each.name])) for each in fields(cls)})
        except (OSError, ValueError, TypeError, KeyError, AttributeError):
            return cls()


def _share(part: int, whole: int) -> Interval | None:
    return wilson_interval(part, whole) if whole else None
