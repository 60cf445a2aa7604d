"""One family of exceptions for everything that a user can get wrong.

``except FaceError`` catches them all. Each message names what was given and says what to do about it.
"""

import sys
from collections.abc import Callable
from typing import Any


def kind_of(value: Any) -> str:
    """What something is, for a sentence.

    Example:
        >>> kind_of(5), kind_of("lena"), kind_of(None)
        ('an int', 'a str', 'None')
    """
    kind = type(value).__name__
    return "None" if value is None else f"{'an' if kind[0] in 'aeiouAEIOU' else 'a'} {kind}"


def run(main: Callable[[], None]) -> None:
    """Run a command; a ``FaceError`` or Ctrl-C ends it with one line instead of a traceback."""
    try:
        main()
    except FaceError as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit("stopped")


class FaceError(ValueError):
    """The parent of every error that this project raises on purpose."""


class UnreadableImage(FaceError):
    """The input is not a picture that can be opened: it is missing, damaged, empty or too large."""


class TooLargeImage(UnreadableImage):
    """The picture is too large, or made so that opening it would take too long or too much memory."""


class NoFaceFound(FaceError):
    """The picture could be opened, but no face was found in it."""


class UnknownIdentity(FaceError):
    """The database has no one of that name."""


class EmptyDatabase(FaceError):
    """The database is empty, so no one can be recognised."""


class BadArgument(FaceError):
    """An argument has a value, a shape or a type that makes no sense here."""


class BadNetwork(FaceError):
    """A folder of weights is missing, incomplete, damaged, or not a network that gives encodings."""


class TrainingFailed(FaceError):
    """Training failed on the way: the loss became NaN, or all encodings became the same."""


class ForkedProcess(FaceError):
    """The process was forked after TensorFlow had computed in its parent, so nothing can be computed in it."""


class NoCamera(FaceError):
    """There is no camera, it may not be used, or it gives no pictures."""


class NoScreen(FaceError):
    """A window is needed, but this computer can't open one."""


class NotYet(FaceError):
    """An exercise is not solved yet; the message says what is missing."""

    def _render_traceback_(self) -> list[str]:
        """What Jupyter shows: the message alone, without the path through the check."""
        return [f"✗ {self}"]
