"""Files that attack: every kind is built, and the worst of each is reported."""

from __future__ import annotations

import pandas as pd
import pytest

attack_files = pytest.importorskip("tools.measure.attack_files", reason="needs a system that can fork")


def test_all_kinds_take_turns():
    count = len(attack_files.LABELS)
    for start in (0, count):
        assert {attack_files.label_of(number) for number in range(start, start + count)} == set(attack_files.LABELS)


def test_file_of_a_number_is_the_same_every_time():
    number = next(n for n in range(99) if attack_files.label_of(n) == "GIF with comments")
    assert (
        attack_files.made(number) == attack_files.made(number) != attack_files.made(number + len(attack_files.LABELS))
    )


def test_worst_of_each_kind_is_reported():
    rows = [("a", 1.0, "opened", 0.5, 10), ("a", 3.0, "refused", 0.1, 99), ("b", 2.0, "ended", 60, float("nan"))]
    first, second = attack_files.by_kind(
        pd.DataFrame(rows, columns=["kind", "size", "outcome", "seconds", "megabytes"])
    )
    cost = {"median_seconds": 0.3, "worst_seconds": 0.5, "median_megabytes": 54.5, "worst_megabytes": 99.0}
    assert first == {"kind": "a", "files": 2, "largest_mb": 3.0, "opened": 1, "refused": 1, **cost}
    assert second["ended"] == 1 and second["worst_seconds"] == 60


def test_stopped_run_resumes(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(attack_files, "made", lambda number: b"x" * number)
    monkeypatch.setattr(
        attack_files, "opened", lambda path: asked.append(path) or {"outcome": "refused", "seconds": 0, "megabytes": 0}
    )
    done = tmp_path / "build" / "done.csv"
    attack_files.measure(2, done)
    files = attack_files.measure(5, done)
    assert len(asked) == 5 and files.number.tolist() == list(range(5))
    assert files.kind.tolist() == [attack_files.label_of(number) for number in range(5)]
    assert (files["size"] * 1e6).round().tolist() == list(range(5))
