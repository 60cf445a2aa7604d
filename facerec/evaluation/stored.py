"""What was measured, read from docs/results/ and written as text.

percent(stored("lfw_resnet.json")["accuracy_at_0.7"])        # 98.6 % [97.4, 99.4]
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import PurePath
from typing import Any

import numpy as np
import pandas as pd

from facerec._files import ROOT
from facerec.errors import BadArgument
from facerec.evaluation.intervals import Interval

#: Where the commands of ``make`` leave what they measured.
RESULTS = ROOT / "docs" / "results"


def stored(name: str) -> Any:
    """Read a stored result.

    Args:
        name: The name of a file in ``docs/results/``, with its ending.

    Returns:
        What a ``.json`` file holds; a ``.csv`` file as a table.

    Raises:
        BadArgument: If there is no such file.

    Example:
        >>> stored("lfw_resnet.json")["pairs"], len(stored("damage.csv").columns)
        (1000, 9)
    """
    file = RESULTS / PurePath(name).name
    if file.suffix not in (".json", ".csv") or not file.is_file():
        raise BadArgument(f"{name!r} is not a result in docs/results; `make help` lists what can be measured")
    return pd.read_csv(file) if file.suffix == ".csv" else json.loads(file.read_text(encoding="utf-8"))


def as_interval(found: Any, value: str = "value") -> Interval | None:
    """An estimate in any of the forms in which results hold one.

    Args:
        found: An ``Interval``; three numbers (value, low, high); a mapping or a table's row with ``low`` and ``high``;
            or None.
        value: The key of the estimate, in a mapping or a row.

    Returns:
        The interval; None for a number that was withheld (None or NaN).

    Raises:
        BadArgument: If it is none of these.

    Example:
        >>> as_interval({"true_accepts": 0.9, "low": 0.8, "high": 0.95}, "true_accepts")
        Interval(value=0.9, low=0.8, high=0.95)
    """
    if found is None or isinstance(found, Interval):
        return found
    try:
        if isinstance(found, Mapping | pd.Series):
            found = [found[key] for key in (value, "low", "high")]
        numbers = [math.nan if number is None else float(number) for number in found]
        return None if math.isnan(numbers[0]) else Interval(*numbers)
    except (KeyError, TypeError, ValueError) as error:
        raise BadArgument(f"{found!r:.80} is not an estimate with its interval ({value}, low, high)") from error


def percent(found: float | Interval | Mapping | Sequence[float] | None, digits: int = 1, value: str = "value") -> str:
    """A share as text, with its interval if it has one.

    Args:
        found: The share, 0..1, or anything that ``as_interval`` takes.
        digits: Digits after the point.
        value: The key of the estimate, in a mapping or a row.

    Returns:
        The text; ``"withheld"`` for a number that was withheld.

    Example:
        >>> percent(0.986), percent((0.986, 0.974, 0.994)), percent(None)
        ('98.6 %', '98.6 % [97.4, 99.4]', 'withheld')
    """
    if isinstance(found, int | float | np.number):
        return "withheld" if math.isnan(found) else f"{100 * found:.{digits}f} %"
    found = as_interval(found, value)
    if found is None:
        return "withheld"
    return f"{percent(found.value, digits)} [{100 * found.low:.{digits}f}, {100 * found.high:.{digits}f}]"
