"""Everything that a user can get wrong, as one family of exceptions.

``except FaceError`` catches them all; each message names what was given and says what to do about it.
"""

import sys
from collections.abc import Callable


def run(main: Callable[[], None]) -> None:
    """Run a command; what its user got wrong, and Ctrl-C, end it with one line and no traceback."""
    try:
        main()
    except FaceError as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit("stopped")


class FaceError(ValueError):
    """The parent of every error that this project raises on purpose."""


class UnreadableImage(FaceError):
    """What was given is not a picture that can be opened: damaged, empty, too large, or something else."""


class NoFaceFound(FaceError):
    """The picture is fine, but there is no face in it."""


class UnknownIdentity(FaceError):
    """The database has nobody of that name."""


class EmptyDatabase(FaceError):
    """There is nobody in the database, so nobody can be recognised."""


class BadArgument(FaceError):
    """An argument has a value, a shape or a type that makes no sense here."""


class BadNetwork(FaceError):
    """A folder of weights is missing, incomplete, damaged, or not a network that gives encodings."""


class TrainingFailed(FaceError):
    """A training went wrong on its way: its loss is no number any more, or all encodings have become the same."""


class NoCamera(FaceError):
    """There is no camera, it may not be used, or it gives no pictures."""


class NoScreen(FaceError):
    """A window was asked for where none can be opened."""
