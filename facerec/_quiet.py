"""A quiet console and a quick start: no page of TensorFlow's messages, names in any script, no hanging processes."""

from __future__ import annotations

import os
import re
import sys
import tempfile
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from facerec.errors import ForkedProcess

_ONE_AT_A_TIME, _FILTERS = threading.RLock(), threading.Lock()

#: The filter of ``without_pillow_warnings``, and how many of its blocks are open.
_PILLOW = ("ignore", None, Warning, re.compile(r"(PIL|pillow_heif|facerec\.photos)\b"), 0)
_open_blocks = 0

#: The process in which TensorFlow has computed, and the one in which it has made a network, once they have.
_used_in: dict[str, int] = {}


def say(text: str) -> None:
    """Print a line; letters that this console can't show become question marks."""
    try:
        print(text)
    except UnicodeEncodeError:
        encoding = sys.stdout.encoding or "ascii"
        print(text.encode(encoding, "replace").decode(encoding))


def check_process(what: str = "computing") -> None:
    """Refuse to do in a forked process what its parent has done: TensorFlow's threads are not in the copy.

    Args:
        what: ``"computing"``, or ``"loading"`` a network, by file or unpickled.

    Raises:
        ForkedProcess: Instead of waiting for those threads for ever.
    """
    if _used_in.setdefault(what, os.getpid()) != os.getpid():
        raise ForkedProcess(
            "this process was forked from one that had already used a network, and would wait forever; start it with "
            'multiprocessing.get_context("spawn")'
        )


@contextmanager
def without_pillow_warnings() -> Iterator[None]:
    """Silence Pillow and ``facerec.photos`` until the last such block ends, in all threads.

    Pillow warns of oversized pictures, which are refused anyway, and of damaged metadata. ``warnings.catch_warnings``
    is not thread-safe: on leaving, it undoes what other threads have set meanwhile.
    """
    global _open_blocks
    with _FILTERS:
        _open_blocks += 1
        if _PILLOW not in warnings.filters:  # the first, or filters that another block has put aside meanwhile
            warnings.filters.insert(0, _PILLOW)
    try:
        yield
    finally:
        with _FILTERS:
            _open_blocks -= 1
            if not _open_blocks and _PILLOW in warnings.filters:
                warnings.filters.remove(_PILLOW)


class _Hidden:
    """A finder for ``sys.meta_path`` that makes some packages look as if they were not installed, to one thread.

    Keras loads scikit-learn and matplotlib if they are there, for wrappers and galleries that nothing here uses.
    Loading them takes a third of its start.
    """

    packages = ("sklearn", "matplotlib")
    thread: int | None = None

    def find_spec(self, name: str, path: object = None, target: object = None) -> None:
        """Refuse the packages; leave all others to the finders that come after this one."""
        if name in self.packages and threading.get_ident() == self.thread:
            raise ModuleNotFoundError(f"{name} is hidden while Keras loads", name=name)

    @contextmanager
    def from_this_thread(self) -> Iterator[None]:
        """Hide the packages in this block."""
        if self not in sys.meta_path:
            sys.meta_path.insert(0, self)
        before, self.thread = self.thread, threading.get_ident()
        try:
            yield
        finally:
            self.thread = before


#: It stays in ``sys.meta_path``: were it removed, another thread that is searching would skip the next finder.
_HIDDEN = _Hidden()


@contextmanager
def quietly() -> Iterator[None]:
    """Hold back everything written to standard error in this block, and show it only if the block fails.

    TensorFlow's libraries write there directly, past Python, and no setting stops them while they load. Use it for
    importing Keras, TensorFlow and what needs them, and for nothing else: what other threads write to standard error
    meanwhile is held back as well, and scikit-learn and matplotlib cannot be imported in this block, unless they are
    loaded already. The wrappers and galleries of a Keras that loads here do without them.

    Example:
        >>> with quietly():
        ...     import keras
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # after loading: errors only
    with _ONE_AT_A_TIME, _HIDDEN.from_this_thread():
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
