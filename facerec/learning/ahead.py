"""Work done ahead of its use, in a thread or in other processes, which a GPU needs to have enough to do."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from multiprocessing import get_context
from typing import Any

import cv2


@contextmanager
def ahead(function: Callable, workers: int) -> Iterator[Callable[..., Future]]:
    """Give a way to call a function ahead: arguments → the future result. What was not begun at the end is left out.

    Args:
        function: What is called; each process gets it once, pickled.
        workers: The number of processes; 0 is a thread of this one.
    """
    if workers:
        pool, call = ProcessPoolExecutor(workers, get_context("spawn"), _remember, (function,)), _call
    else:
        pool, call = ThreadPoolExecutor(1), function
    try:
        yield partial(pool.submit, call)
    finally:
        pool.shutdown(cancel_futures=True)


def _remember(function: Callable) -> None:
    """Begin a process that will call this function, in one thread."""
    global _function
    cv2.setNumThreads(1)
    _function = function


def _call(*args: Any) -> Any:
    """Call the function of this process."""
    return _function(*args)
