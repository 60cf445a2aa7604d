"""Decisions: what is kept, how the marked ones turned out, and nothing about forgotten people."""

from __future__ import annotations

import csv
import io
import threading
from datetime import UTC, datetime

import numpy as np
import pandas as pd
import pytest

from apps.streamlit.counts import Counts
from apps.streamlit.decisions import Decisions, spreadsheet_csv
from facerec.errors import BadArgument
from facerec.evaluation import wilson_interval


def filled(count: int, limit: int = 1000) -> Decisions:
    log = Decisions(limit)
    for number in range(count):
        log.add("verify", f"person {number % 7}", number / count, 0.7, "Welcome in", (number + 1) / 1000)
    return log


def test_decision_is_kept_with_its_time_and_without_a_picture():
    log, before = Decisions(), datetime.now(UTC)
    number = log.add("verify", "lena", np.float32(0.5), 0.7, "Welcome in", 0.05)
    (kept,) = log.recent()
    assert (kept.number, kept.kind, kept.identity, kept.distance) == (number, "verify", "lena", 0.5)
    assert (kept.threshold, kept.decision, kept.seconds, kept.right) == (0.7, "Welcome in", 0.05, None)
    assert before <= kept.when <= datetime.now(UTC)
    assert not any(isinstance(value, bytes | np.ndarray) for value in vars(kept).values())


def test_only_the_last_decisions_are_kept_newest_first():
    log = filled(25, limit=10)
    assert [each.number for each in log.recent()] == list(range(25, 15, -1))
    assert [each.number for each in log.recent(3)] == [25, 24, 23]
    assert len(log) == len(log.table()) == 10
    with pytest.raises(BadArgument, match="number=3"):
        log.mark(3, True)


def test_marks_are_counted_apart_and_can_be_removed():
    log = filled(20)  # the first 14 are let in
    assert log.counts.decisions == 20 and log.counts.rate_of_false_accepts is None
    for number in range(1, 21):
        log.mark(number, number not in (4, 16, 17))
    assert (log.counts.right_in, log.counts.false_accepts) == (13, 1)
    assert (log.counts.right_out, log.counts.false_rejects) == (4, 2)
    assert log.counts.rate_of_false_accepts == wilson_interval(1, 5)
    assert log.counts.rate_of_false_rejects == wilson_interval(2, 15)
    log.mark(4, None)
    log.mark(16, True)
    assert (log.counts.false_accepts, log.counts.false_rejects, log.counts.right_out) == (0, 1, 5)
    assert log.counts.marked == 19


def test_decision_shown_at_another_threshold_stays_one_decision_and_loses_a_mark_that_no_longer_fits():
    log = Decisions()
    number = log.add("verify", "lena", 0.5, 0.7, "Welcome in", 0.1)
    log.mark(number, True)
    log.revise(number, 0.6, "Welcome in", accepted=True)
    assert log.recent()[0].right is True and log.recent()[0].threshold == 0.6 and log.counts.right_in == 1
    log.revise(number, 0.4, "Go away", accepted=False)
    assert (len(log), log.counts.decisions, log.counts.marked) == (1, 1, 0)
    assert (log.recent()[0].decision, log.recent()[0].accepted, log.recent()[0].right) == ("Go away", False, None)
    log.revise(99, 0.4, "Go away", accepted=False)  # no longer kept
    assert len(log) == 1


def test_counts_alone_outlive_the_process(tmp_path):
    path = tmp_path / "people.db.counts.json"
    log = Decisions(path=path)
    for distance in (0.4, 0.9):
        log.mark(log.add("verify", "lena", distance, 0.7, "…", 0.1), right=distance == 0.9)
    again = Decisions(path=path)
    assert again.counts == log.counts and again.counts.decisions == 2 and len(again) == 0
    assert "lena" not in path.read_text()
    path.write_text('{"decisions": "many"}')
    assert Decisions(path=path).counts == Counts()


def test_seconds_are_percentiles():
    log = filled(100)
    assert log.seconds() == pytest.approx(np.percentile(np.arange(1, 101) / 1000, [50, 95]))
    assert Decisions().seconds() is None


def test_forget_drops_every_decision_about_a_person():
    log = filled(21, limit=30)
    assert log.forget("person 3") == 3
    assert log.forget("unknown") == 0
    assert len(log) == 18 and "person 3" not in log.table().to_csv()
    log.add("verify", "lena", 0.1, 0.7, "Welcome in", 0.1)
    assert log.recent(1)[0].number == 22  # no number is used twice
    for _ in range(40):
        log.add("verify", "lena", 0.1, 0.7, "Welcome in", 0.1)
    assert len(log) == 30  # the limit still holds


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
    assert log.counts.right_in == log.counts.decisions == 4000


@pytest.mark.parametrize("limit", [0, -1, 1.5, True, None])
def test_decisions_reject_bad_limit(limit):
    with pytest.raises(BadArgument, match="limit="):
        Decisions(limit)


@pytest.mark.parametrize(
    "name", ["=cmd|' /C calc'!A0", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", " =1+1", "＝1+1", "\u00a0=1+1"]
)
def test_csv_turns_no_name_into_a_formula(name):
    table = pd.DataFrame({"who": [name, 'O\'Brien, "Bo"\nline'], "distance": [-0.5, 0.25]})
    rows = list(csv.reader(io.StringIO(spreadsheet_csv(table).decode("utf-8-sig"), newline="")))
    assert rows[1] == [f"'{name}", "-0.5"]
    assert rows[2] == ['O\'Brien, "Bo"\nline', "0.25"]
