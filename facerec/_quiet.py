"""Import TensorFlow without the page of messages that it prints about processors and GPUs."""

from __future__ import annotations

import os
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_ONE_AT_A_TIME = threading.RLock()


@contextmanager
def quietly() -> Iterator[None]:
    """Hold back everything written to standard error in this block, and show it only if the block fails.

    TensorFlow's libraries write there directly, past Python, and no setting stops them while they load. Use it for
    imports only: what other threads write to standard error meanwhile is held back as well.

    Example:
        >>> with quietly():
        ...     import keras
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # after loading: errors only
    with _ONE_AT_A_TIME:
        try:
            sys.stderr.flush()
            real = os.dup(2)
        except (OSError, ValueError, AttributeError):  # there is no standard error: nothing to keep back
            yield
            return
        with tempfile.TemporaryFile() as kept:
            os.dup2(kept.fileno(), 2)
            try:
                yield
            except BaseException:
                kept.seek(0)
                os.write(real, kept.read())
                raise
            finally:
                os.dup2(real, 2)
                os.close(real)
