"""Calls made ahead: in order, a few at a time, in threads or in processes; errors reach the caller."""

import os
import threading

import pytest

from facerec.errors import BadArgument
from facerec.learning.prefetch import in_order


def test_results_come_in_order_and_few_items_are_taken_ahead():
    taken = []
    items = (taken.append(n) or n for n in range(100))
    results = in_order(lambda n: -n, items, threads=3)
    assert [next(results) for _ in range(10)] == [-n for n in range(10)]
    assert len(taken) == 13  # ten, and one for each thread
    assert list(results) == [-n for n in range(10, 100)]


def test_a_process_of_its_own_does_the_work_and_hands_on_its_errors():
    assert list(in_order(abs, [-1, 2], processes=1)) == [1, 2]
    (other,) = in_order(os.getenv, ["PATH"], processes=1)
    assert other == os.environ["PATH"]
    (number,) = in_order(getpid, [None], processes=1)
    assert number != os.getpid()
    with pytest.raises(ValueError, match="invalid literal"):
        list(in_order(int, ["no number"], processes=1))


def getpid(_: None) -> int:
    return os.getpid()


def test_nothing_more_is_begun_once_the_results_are_closed():
    may_go_on, begun = threading.Event(), []

    def work(n):
        begun.append(n)
        assert n == 0 or may_go_on.wait(60)

    results = in_order(work, range(100), threads=1)
    next(results)
    threading.Timer(0.1, may_go_on.set).start()
    results.close()
    assert begun in ([0], [0, 1])


@pytest.mark.parametrize("numbers", [{"threads": -1}, {"processes": -2}], ids=str)
def test_numbers_below_zero_are_refused(numbers):
    with pytest.raises(BadArgument, match="workers=-"):
        list(in_order(abs, [1], **numbers))
