"""docs/scale.md: its measured numbers are those of results/, its sums come out, its code runs."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from face_database import INDEX_FROM, FaceDatabase
from tools import scale_page

PAGE = scale_page.PAGE.read_text(encoding="utf-8")
SUMS = [sum_ for sum_ in re.findall(r"`([^`\n]+)`", PAGE) if re.fullmatch(r"[^=\"]+ = [\d,.]+( [A-Za-z%]+)?", sum_)]
UNITS = {"B": 1, "kB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12, "s": 1, "ms": 1e-3, "%": 0.01}
SNIPPETS = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)


def value(text: str) -> float:
    """What an expression of the page comes to, in bytes, seconds or shares."""
    text = re.sub(r"(\d) GB/s", r"\1 GB", text).replace(",", "").replace("×", "*").replace("−", "-").replace("^", "**")
    text = re.sub(r"([\d.]+) ?(kB|MB|GB|TB|ms|B|s|%)(?!\w)", lambda found: f"({found[1]} * {UNITS[found[2]]})", text)
    assert re.fullmatch(r"[\d.e+\-*/() ]+", text), text
    return eval(text)


def half_a_digit(text: str) -> float:
    """How far a number may be off for having been rounded to its last digit."""
    number, _, unit = text.partition(" ")
    return 0.5 * 10.0 ** -len(number.partition(".")[2]) * UNITS.get(unit, 1) * 1.000001


def test_its_measured_numbers_are_those_of_today():
    assert scale_page.filled(PAGE) == PAGE, "run python tools/scale_page.py"


@pytest.mark.parametrize("sum_", SUMS)
def test_its_sums_come_out(sum_):
    left, right = sum_.split(" = ")
    assert value(left) == pytest.approx(value(right), rel=0, abs=half_a_digit(right))


def test_nearly_every_sum_is_checked():
    assert len(SUMS) == PAGE.count(" = ") - "".join(SNIPPETS).count(" = ") > 20


def test_what_was_not_measured_says_how_to(tmp_path):
    text = scale_page.filled(PAGE, tmp_path)
    assert [f"(Not measured yet: `{command}`.)" in text for _, _, command in scale_page.BLOCKS.values()] == [True] * 3


def test_a_row_says_what_was_measured():
    row = {
        "people": 1_000_000,
        "nearest": {"p50_ms": 3.21, "p99_ms": 12.4, "probes": 1000},
        "true_nearest": {"known": 1.0, "strangers": 0.994},
        "times_as_fast_as": {"the course's loop over a dict": 1234.4},
        "named_rightly": 0.692,
        "others": {"plain NumPy": {"p50_ms": 14.2}},
        "memory_mb": {"now": 1000.2, "most": 1400.4},
        "disk_mb": 1600.0,
        "cold_open_s": 1.23,
        "add": {"p50_ms": 4.56},
    }
    said = scale_page.database_table({"sizes": [row]}).splitlines()[-1]
    cells = "1,000,000 | 3.2 ms | 12 ms | 100.0 %, 99.4 % | 69 % | 14 ms | 1,234 times as long"
    assert said == f"| {cells} | 1,400 MB | 1,600 MB | 1.2 s | 4.6 ms |"


def test_it_says_from_when_on_there_is_an_index():
    assert f"from {INDEX_FROM:,} encodings on" in PAGE


def test_its_code_runs_as_it_stands(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    said: dict = {}
    exec(SNIPPETS[0], said)
    assert said["names"][0, 0] == "person 7"
    assert said["distances"][0, 0] == 0
    assert len(SNIPPETS) == 2
    pytest.importorskip("milvus_lite", reason="milvus-lite is not installed")
    with FaceDatabase("crowd.db") as crowd, FaceDatabase("people.db") as database:
        database.update(crowd)
        for name in list(database)[20:]:  # twenty people show it as well as two thousand
            database.remove(name)
    exec(SNIPPETS[1].replace("http://host:19530", f"milvus:{tmp_path / 'milvus.db'}"), {})
    with FaceDatabase("people.db") as small, FaceDatabase(f"milvus:{tmp_path / 'milvus.db'}") as large:
        assert len(large) == 20
        assert large == small


def test_it_fills_the_marks_from_the_files(tmp_path):
    for name, _, _ in scale_page.BLOCKS.values():
        source = Path(scale_page.ROOT / "results" / name)
        if source.is_file():
            (tmp_path / name).write_text(source.read_text(encoding="utf-8"), encoding="utf-8")
    evaluation = json.loads((tmp_path / "evaluation_resnet.json").read_text(encoding="utf-8"))
    evaluation["open_set"][0]["strangers_named_at_0.7"] = 0.1234
    (tmp_path / "evaluation_resnet.json").write_text(json.dumps(evaluation), encoding="utf-8")
    assert "| 10 | 12.3 % |" in scale_page.filled(PAGE, tmp_path)
    assert "| 10 | 12.3 % |" not in PAGE
