"""What is noted of decisions, what follows from marks, and what is left of somebody who is forgotten."""

from __future__ import annotations

import csv
import io
import threading
from datetime import UTC, datetime

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binomtest

from apps.streamlit.decisions import Decisions, spreadsheet_csv, wilson
from facerec.errors import BadArgument


def filled(count: int, limit: int = 1000) -> Decisions:
    log = Decisions(limit)
    for number in range(count):
        log.add("verify", f"person {number % 7}", number / count, 0.7, "Welcome in", (number + 1) / 1000)
    return log


def test_a_decision_is_kept_as_it_was_with_its_time_and_without_a_picture():
    log = Decisions()
    number = log.add("verify", "lena", np.float32(0.5), 0.7, "Welcome in", 0.05)
    (kept,) = log.recent()
    assert (kept.number, kept.kind, kept.identity, kept.distance) == (number, "verify", "lena", 0.5)
    assert (kept.threshold, kept.decision, kept.seconds, kept.right) == (0.7, "Welcome in", 0.05, None)
    assert abs((datetime.now(UTC) - kept.when).total_seconds()) < 5
    assert not any(isinstance(value, bytes | np.ndarray) for value in vars(kept).values())


def test_only_the_last_ones_are_kept_and_the_newest_comes_first():
    log = filled(25, limit=10)
    assert [each.number for each in log.recent()] == list(range(25, 15, -1))
    assert [each.number for each in log.recent(3)] == [25, 24, 23]
    assert len(log) == len(log.table()) == 10
    with pytest.raises(BadArgument, match="number=3"):
        log.mark(3, True)


def test_the_accuracy_is_that_of_the_marked_ones_and_a_mark_can_be_taken_back():
    log = filled(20)
    assert log.accuracy() is None
    for number in range(1, 11):
        log.mark(number, number != 4)
    assert log.accuracy().value == 0.9
    log.mark(4, None)
    assert log.accuracy().value == 1.0
    log.mark(4, True)
    assert sum(each.right is True for each in log.recent()) == 10


@pytest.mark.parametrize(("right", "of"), [(0, 1), (1, 1), (0, 50), (50, 50), (7, 9), (98, 100), (500, 1000)])
def test_wilsons_interval_is_scipys(right, of):
    expected = binomtest(right, of).proportion_ci(method="wilson")
    ours = wilson(right, of)
    assert (ours.value, ours.low, ours.high) == pytest.approx((right / of, expected.low, expected.high), abs=1e-6)


@pytest.mark.parametrize(("right", "of"), [(2, 1), (-1, 3), (0, 0)])
def test_counts_that_make_no_sense_are_refused(right, of):
    with pytest.raises(BadArgument, match="right="):
        wilson(right, of)


def test_times_are_percentiles():
    log = filled(100)
    assert log.seconds() == pytest.approx(np.percentile(np.arange(1, 101) / 1000, [50, 95]))
    assert Decisions().seconds() is None


def test_of_somebody_who_is_forgotten_nothing_is_left():
    log = filled(21, limit=30)
    assert log.forget("person 3") == 3
    assert log.forget("nobody") == 0
    assert len(log) == 18 and "person 3" not in log.table().to_csv()
    log.add("verify", "lena", 0.1, 0.7, "Welcome in", 0.1)
    assert log.recent(1)[0].number == 22  # a number is not used twice
    for _ in range(40):
        log.add("verify", "lena", 0.1, 0.7, "Welcome in", 0.1)
    assert len(log) == 30  # and the limit still stands


def test_threads_lose_no_decision_and_share_no_number():
    log = Decisions(100_000)

    def work(who: int) -> None:
        for _ in range(500):
            log.mark(log.add("verify", f"person {who}", 0.5, 0.7, "…", 0.01), True)

    threads = [threading.Thread(target=work, args=(who,)) for who in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(each.number for each in log.recent()) == list(range(1, 4001))
    assert log.accuracy().value == 1.0


@pytest.mark.parametrize("limit", [0, -1, 1.5, True, None])
def test_a_limit_that_is_no_count_is_refused(limit):
    with pytest.raises(BadArgument, match="limit="):
        Decisions(limit)


@pytest.mark.parametrize(
    "name", ["=cmd|' /C calc'!A0", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", " =1+1", "＝1+1", "\u00a0=1+1"]
)
def test_no_name_becomes_a_formula_in_a_spreadsheet(name):
    table = pd.DataFrame({"who": [name, 'O\'Brien, "Bo"\nline'], "distance": [-0.5, 0.25]})
    rows = list(csv.reader(io.StringIO(spreadsheet_csv(table).decode("utf-8-sig"), newline="")))
    assert rows[1] == [f"'{name}", "-0.5"]
    assert rows[2] == ['O\'Brien, "Bo"\nline', "0.25"]
