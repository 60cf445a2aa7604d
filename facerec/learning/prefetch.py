"""Prefetching: calls made ahead of time, in threads or in processes, whose results come in order."""

from __future__ import annotations

import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context, parent_process
from typing import Any

import cv2

from facerec.errors import BadArgument


def in_order(work: Callable, items: Iterable, threads: int | None = None, processes: int = 0) -> Iterator:
    """Yield ``work(item)`` for each item, in order; a few items are worked on ahead.

    Threads are enough where TensorFlow, OpenCV and Pillow compute, which release Python's lock meanwhile. Processes are
    for work in Python that has to keep a GPU busy. If the generator is closed early, calls that have begun are waited
    for.

    Args:
        work: The function; each process gets it once, pickled.
        items: Its arguments.
        threads: How many work; by default one per core.
        processes: How many processes work instead of threads; 0 for threads.

    Raises:
        BadArgument: If a number is below 0.
    """
    workers = processes or threads or os.cpu_count() or 1
    if workers < 0:
        raise BadArgument(f"workers={workers}: must be 0 or more")
    if processes:
        pool, call = ProcessPoolExecutor(workers, get_context("spawn"), _initialize, (work,)), _call
    else:
        pool, call = ThreadPoolExecutor(workers), work
    waiting: deque = deque()
    with pool:
        for item in items:
            waiting.append(pool.submit(call, item))
            if len(waiting) > workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def _initialize(work: Callable) -> None:
    """Begin a process that will call this function. It leaves Ctrl-C to its parent, and ends with it."""
    global _work
    _work = work
    cv2.setNumThreads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=lambda: (parent_process().join(), os._exit(1)), daemon=True).start()


def _call(item: Any) -> Any:
    """Call the function of this process."""
    return _work(item)
