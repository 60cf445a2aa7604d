"""How a check calls a student's function, finds the mistake in what it returns, and answers.

    function ──call──► value ──explain(value, right, mistakes)──► nothing, or NotYet("the margin is missing: …")

A mistake is a message and what a function with that mistake returns on the same hidden input.
"""

from __future__ import annotations

import contextlib
import io
import traceback
from collections.abc import Callable, Mapping
from numbers import Integral, Real
from typing import Any

import numpy as np

from facerec._quiet import say
from facerec.errors import NotYet


def call(function: Callable, *args: Any, **kwargs: Any) -> Any:
    """Call a student's function without what it prints.

    Args:
        function: The function.
        *args: Its arguments.
        **kwargs: Its arguments by name.

    Returns:
        What it returns.

    Raises:
        NotYet: If it is still a stub, returns nothing, or stops with an error, which the message names.

    Example:
        >>> call(max, 3, 5)
        5
    """
    name = getattr(function, "__name__", "your function")
    if not callable(function):
        raise NotYet(f"pass the function itself, without brackets after its name; this is a {type(function).__name__}")
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            value = function(*args, **kwargs)
    except NotImplementedError as error:
        stub = traceback.extract_tb(error.__traceback__)[-1].name  # perhaps that of an earlier exercise
        raise NotYet(f"not written yet: put your lines in place of `raise NotImplementedError` in {stub}") from None
    except Exception as error:
        raise NotYet(f"{name} stopped with {_named(error)}{_line_of(error)}") from error
    if value is None:
        raise NotYet(f"{name} returns nothing; its last line must be `return …`")
    return value


def _named(error: Exception) -> str:
    """An error's kind and the first line of its message."""
    lines = str(error).splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__


def _line_of(error: Exception) -> str:
    """The line of the student's function in which an error arose, if Python knows its text."""
    frames = traceback.extract_tb(error.__traceback__)
    return f", in the line `{frames[1].line}`" if len(frames) > 1 and frames[1].line else ""


def alike(value: Any, other: Any) -> bool:
    """Whether two answers are the same numbers, but for rounding; False for anything that can't be compared.

    Example:
        >>> alike([0.1 + 0.2, 1], (0.3, 1)), alike(1, [1, 2]), alike(None, 1)
        (True, False, False)
    """
    try:
        value, other = np.asarray(value, np.float64), np.asarray(other, np.float64)
    except (TypeError, ValueError):
        return False
    return value.shape == other.shape and bool(np.allclose(value, other, rtol=1e-4, atol=1e-5, equal_nan=True))


def short(value: Any) -> str:
    """An answer as a message quotes it.

    Example:
        >>> short(np.float64(0.2236068)), short(16), short("otto"), short((None, 0.5))
        ('0.224', '16', "'otto'", '(None, 0.500)')
    """
    if isinstance(value, bool | np.bool_):
        return str(bool(value))
    if isinstance(value, Integral):
        return str(int(value))
    if isinstance(value, Real):
        return f"{float(value):.3f}"
    if isinstance(value, tuple) and len(value) == 2:
        return f"({short(value[0])}, {short(value[1])})"
    return f"{value!r:.60}"


def explain(
    value: Any,
    right: Any,
    mistakes: Mapping[str, Any],
    otherwise: str,
    same: Callable[[Any, Any], bool] = alike,
) -> None:
    """Say nothing if an answer is right; otherwise name the mistake that it shows.

    Args:
        value: What the student's function returned.
        right: What it should have returned.
        mistakes: Message → what a function with that mistake returns.
        otherwise: The message for any other answer.
        same: Compares two answers.

    Raises:
        NotYet: If the answer is not right.

    Example:
        >>> explain(6, 6, {"you added": 5}, "it should be 6")
        >>> explain(5, 6, {"you added": 5}, "it should be 6")
        Traceback (most recent call last):
        facerec.errors.NotYet: you added
    """
    if same(value, right):
        return
    raise NotYet(next((message for message, wrong in mistakes.items() if same(value, wrong)), otherwise))


def pair_of(value: Any, name: str, first: str, second: str) -> tuple[Any, Any]:
    """The two parts of an answer.

    Raises:
        NotYet: If it does not have two.
    """
    if not isinstance(value, tuple | list | np.ndarray) or len(value) != 2:
        raise NotYet(f"{name} must return two things, `{first}, {second}`; yours returned {short(value)}")
    return value[0], value[1]


def well_done(text: str) -> None:
    """Print that an exercise is solved."""
    say(f"✓ {text}")
