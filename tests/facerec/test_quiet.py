"""What reaches the console, and processes that would hang."""

from __future__ import annotations

import importlib
import importlib.util
import io
import multiprocessing
import os
import pickle
import sys
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import numpy as np
import pytest

from facerec._quiet import quietly, say, without_pillow_warnings
from facerec.encoding import faces_to_encodings
from facerec.errors import ForkedProcess
from facerec.networks import load_facenet


def test_say_replaces_letters_that_the_console_cannot_show(monkeypatch):
    console = io.TextIOWrapper(io.BytesIO(), encoding="cp1252")
    monkeypatch.setattr(sys, "stdout", console)
    say("It's 李娜, welcome in!")
    say("It's José, welcome in!")
    console.flush()
    assert console.buffer.getvalue().decode("cp1252").splitlines() == ["It's ??, welcome in!", "It's José, welcome in!"]


def test_overlapping_blocks_restore_the_filters():
    """As in two threads: only Pillow is silent, only until both blocks end, and no filter is left."""
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        before = [*warnings.filters]
        with ExitStack() as second:
            with without_pillow_warnings():
                second.enter_context(without_pillow_warnings())
            warn("PIL.Image", "a large picture")
            warn("somebody.else", "something else")
        warn("PIL.Image", "a later one")
        assert warnings.filters == before
    assert [str(each.message) for each in heard] == ["something else", "a later one"]


def warn(module: str, text: str) -> None:
    warnings.warn_explicit(text, UserWarning, f"{module}.py", 1, module)


def test_packages_are_hidden_from_this_thread_only(monkeypatch):
    """Another may need them meanwhile."""
    for package in ("matplotlib", "sklearn"):
        monkeypatch.delitem(sys.modules, package, raising=False)
    with quietly(), ThreadPoolExecutor(1) as other:
        for package in ("matplotlib", "sklearn"):
            with pytest.raises(ImportError, match="hidden while Keras loads"):
                importlib.import_module(package)
            assert other.submit(importlib.util.find_spec, package).result()
    assert importlib.util.find_spec("matplotlib") and importlib.util.find_spec("sklearn")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="only systems that fork have this fault")
def test_forked_process_says_how_to_start_it_instead(small_network):
    """The child would wait for threads of its parent for ever; it only reports what it would have raised."""
    faces = np.zeros((1, 8, 8, 3), np.uint8)
    faces_to_encodings(faces, small_network)  # this process has computed
    child = multiprocessing.get_context("fork").Process(target=compute, args=(faces, small_network), daemon=True)
    child.start()
    child.join(60)
    assert child.exitcode == 7


@pytest.mark.skipif(not hasattr(os, "fork"), reason="only systems that fork have this fault")
def test_forked_process_does_not_load_a_network_after_its_parent_has(small_folder):
    """A network that is given to the child is unpickled there, and would wait for ever, too."""
    pickled = pickle.dumps(load_facenet(small_folder))
    for work, argument in ((load_facenet, small_folder), (pickle.loads, pickled)):
        child = multiprocessing.get_context("fork").Process(target=try_to, args=(work, argument), daemon=True)
        child.start()
        child.join(60)
        assert child.exitcode == 7, work


def try_to(work: Callable, argument: object) -> None:
    try:
        work(argument)
    except ForkedProcess:
        os._exit(7)


def compute(faces: np.ndarray, network) -> None:
    try:
        faces_to_encodings(faces, network)
    except ForkedProcess as error:
        os._exit(7 if 'multiprocessing.get_context("spawn")' in str(error) else 1)
