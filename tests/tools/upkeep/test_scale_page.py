"""docs/scale.md: its measured numbers are those of docs/results/, its sums come out, its code runs."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from facerec.database import INDEX_FROM, FaceDatabase
from tools.upkeep import scale_page

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
    assert scale_page.filled(PAGE) == PAGE, "run python tools/upkeep/scale_page.py"


@pytest.mark.parametrize("sum_", SUMS)
def test_its_sums_come_out(sum_):
    left, right = sum_.split(" = ")
    assert value(left) == pytest.approx(value(right), rel=0, abs=half_a_digit(right))


def test_nearly_every_sum_is_checked():
    assert len(SUMS) == PAGE.count(" = ") - "".join(SNIPPETS).count(" = ") > 20


def test_what_was_not_measured_says_how_to(tmp_path):
    text = scale_page.filled(PAGE, tmp_path)
    said = [f"(Not measured yet: `{command}`.)" for _, _, command in scale_page.BLOCKS.values()]
    assert all(text.count(line) == said.count(line) for line in said)
    assert len(said) == 4


def found(value: float) -> dict[str, float]:
    """A share as the benchmarks write it."""
    return {"value": value, "low": value - 0.01, "high": min(value + 0.001, 1), "of": 5000}


MILLION = {
    "people": 1_000_000,
    "nearest": {"p50_ms": 3.21, "p99_ms": 12.4, "probes": 10_000},
    "true_nearest": {"known": found(1.0), "strangers": found(0.9943)},
    "named_rightly": 0.692,
    "cold_open_s": 1.23,
    "from_start_s": 1.58,
    "memory_mb": {"now": 1000.2, "most": 1400.4},
    "fill": {"fill_s": 23.4, "build_index_s": 6.28, "memory_mb": {"now": 1100.2, "most": 1500.4}},
    "add": {"p50_ms": 4.56, "p99_ms": 7.89, "probes": 1000, "bare_write": {"p50_ms": 0.17}},
    "disk_mb": 1600.0,
    "others": {
        "plain NumPy": {"p50_ms": 14.2, "ours_p50_ms": 3.55, "times_ours": 4.0},
        "the course's loop over a dict": {"p50_ms": 1650.0, "ours_p50_ms": 3.3, "times_ours": 500.2},
    },
    "others_cores": 0.04,
}
MACHINE = {
    "processor": "a processor",
    "cores": 2,
    "memory_gb": 25.3,
    "system": "Linux",
    "python": "3.11.7",
    "numpy": "2.4.6",
    "faiss": "1.15.1",
    "sqlite": "3.40.1",
    "threads": {"OMP_NUM_THREADS": "not set"},
}


def test_a_row_says_how_quickly_and_how_well_somebody_is_found():
    said = scale_page.search_table({"sizes": [MILLION]}).splitlines()
    cells = "1,000,000 | 3.2 ms | 12 ms | 100.00 % [99.00, 100.00] | 99.43 % [98.43, 99.53] | 69 %"
    assert said[-1] == f"| {cells} | 3.5 and 14 ms: 0.25 times as long | 500 times as quick |"
    assert {line.count("|") for line in said} == {9}


def test_a_row_says_what_that_takes():
    few = {**MILLION, "people": 1000, "memory_mb": None}
    said = scale_page.room_table({"sizes": [few, MILLION]}).splitlines()
    cells = "1.2 s | 1.6 s | 1,400 MB | 1,500 MB | 1,600 MB | 23 s | 6.3 s | 4.6 ms, 7.9 ms | 0.17 ms"
    assert said[-1] == f"| 1,000,000 | {cells} |"
    assert "| unknown |" in said[-2]  # not every system says how much memory a process had
    assert "| none |" in said[-2]  # no index among so few
    assert {line.count("|") for line in said} == {11}


def test_it_says_on_what_machine_that_was():
    said = scale_page.machine({"machine": MACHINE, "sizes": [MILLION, {**MILLION, "others_cores": 0.26}]})
    assert said == (
        "a processor, 2 cores, 25 GB, Linux; Python 3.11.7, NumPy 2.4.6, faiss 1.15.1, SQLite 3.40.1; no setting "
        "limited the threads. Others kept at most 0.3 of its cores busy while it searched."
    )
    limited = {**MACHINE, "threads": {"OMP_NUM_THREADS": "1"}, "memory_gb": None}
    assert "threads limited by OMP_NUM_THREADS=1." in scale_page.machine({"machine": limited, "sizes": []}) + "."


def depth(candidates: int, known: float, strangers: float) -> dict:
    """What an index finds at a depth."""
    took = {"p50_ms": candidates / 1000, "p99_ms": candidates / 100, "probes": 4000}
    return {"depth": candidates, **took, "true_nearest": {"known": found(known), "strangers": found(strangers)}}


@pytest.mark.parametrize(
    ("depths", "chosen"),
    [
        ([depth(128, 0.999, 0.99), depth(512, 1.0, 1.0)], 128),
        ([depth(128, 0.998, 1.0), depth(512, 1.0, 1.0)], 512),
        ([depth(128, 1.0, 0.98), depth(512, 1.0, 1.0)], 512),
        ([depth(128, 0.5, 0.5), depth(512, 0.6, 0.6)], 512),
    ],
)
def test_an_index_is_shown_at_the_least_depth_that_is_good_enough(depths, chosen):
    assert scale_page.good_enough({"depths": depths})["depth"] == chosen


def test_a_row_of_an_index_says_what_it_costs():
    codes = {"build_s": 6.4, "size_mb": 31.9, "depths": [depth(512, 0.9993, 1.0)]}
    graphs = {"build_s": 123.4, "size_mb": 400, "depths": [depth(128, 1.0, 1.0)]}
    others = {"build_s": 99.0, "size_mb": 1500, "depths": [depth(2048, 1.0, 1.0)]}
    size = {"people": 100_000, "indexes": {"codes": codes, "one": graphs, "two": others}}
    said = scale_page.index_table({"sizes": [size]}).splitlines()
    cells = "codes | 6.4 s | 32 MB | 512 | 99.93 % [98.93, 100.00] | 100.00 % [99.00, 100.00] | 0.51 ms | 5.1 ms"
    assert said[2] == f"| 100,000 | {cells} |"
    assert "| 123 s |" in said[3]
    assert said[-1] == (
        "Among 100,000 people the codes are built in 6 s and take 32 MB, the graphs 99 to 123 s and 400 to 1,500 MB; "
        "the codes answer in 0.5 ms, the graphs in 0.1 to 2.0 ms."
    )


def test_the_reasons_for_the_codes_hold():
    file = scale_page.ROOT / "docs" / "results" / "index.json"
    if not file.is_file():
        pytest.skip("not measured yet: make bench-database")
    for size in json.loads(file.read_text(encoding="utf-8"))["sizes"]:
        (_, codes), *graphs = size["indexes"].items()
        for _, graph in graphs:
            assert codes["build_s"] < graph["build_s"] and codes["size_mb"] < graph["size_mb"]
        right = scale_page.good_enough(codes)["true_nearest"]
        assert all(right[who]["value"] >= least for who, least in scale_page.ENOUGH.items())


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
        source = Path(scale_page.ROOT / "docs" / "results" / name)
        if source.is_file():
            (tmp_path / name).write_text(source.read_text(encoding="utf-8"), encoding="utf-8")
    evaluation = json.loads((tmp_path / "evaluation_resnet.json").read_text(encoding="utf-8"))
    evaluation["open_set"][0]["strangers_named_at_0.7"] = 0.1234
    (tmp_path / "evaluation_resnet.json").write_text(json.dumps(evaluation), encoding="utf-8")
    assert "| 10 | 12.3 % |" in scale_page.filled(PAGE, tmp_path)
    assert "| 10 | 12.3 % |" not in PAGE
