"""docs/scale.md: its measured numbers come from docs/results/, its claims hold, its code runs."""

from __future__ import annotations

import json
import re

import pytest

from facerec.database import FaceDatabase
from facerec.database.sqlite import INDEX_FROM
from tools.upkeep import scale_page

PAGE = scale_page.PAGE.read_text(encoding="utf-8")


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
    "threads": {"OMP_NUM_THREADS": "1"},
}


def cells(line: str) -> list[str]:
    """The cells of a row of a table."""
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_search_row_shows_times_and_shares():
    head, _, row = scale_page.search_table({"sizes": [MILLION]}).splitlines()
    assert len(cells(head)) == len(cells(row))
    assert cells(row)[:6] == [
        "1,000,000",
        "3.2 ms",
        "12 ms",
        "100.00 % [99.00, 100.00]",
        "99.43 % [98.43, 99.53]",
        "69 %",
    ]
    assert cells(row)[6:] == ["3.5 and 14 ms: 0.25 times as long", "500 times as fast"]


def test_room_row_shows_unknown_memory_and_no_index_where_there_is_none():
    few = {**MILLION, "people": 1000, "memory_mb": None}
    head, _, small, large = scale_page.room_table({"sizes": [few, MILLION]}).splitlines()
    assert len(cells(head)) == len(cells(small)) == len(cells(large))
    assert cells(large)[1:6] == ["1.2 s", "1.6 s", "1,400 MB", "1,500 MB", "1,600 MB"]
    assert cells(large)[6:] == ["23 s", "6.3 s", "4.6 ms, 7.9 ms", "0.17 ms"]
    assert (cells(small)[3], cells(small)[7]) == ("unknown", "none")


SEARCHED = {
    "one": {"p50_ms": 9.12, "p99_ms": 18.4},
    "of_a_batch": {"p50_ms": 2.34},
    "true_nearest": {"known": found(1.0), "strangers": found(0.9943)},
    "named_rightly": 0.82,
}
ON_A_SERVER = {
    "people": 100_000,
    "fill_s": 12.3,
    "settle_s": 3.4,
    "as_written": SEARCHED,
    "settled": {**SEARCHED, "one": {"p50_ms": 8.12, "p99_ms": 1310.4}},
    "add": {"p50_ms": 12.3, "p99_ms": 45.6},
    "contains": {"p50_ms": 5.67},
    "len": {"p50_ms": 6.78},
    "names_s": 0.89,
    "find_s": 1.23,
    "server_memory_mb": {"now": 900.0, "most": 1234.5},
    "server_disk_mb": 345.6,
    "others_cores": 0.04,
}
KILLS = {
    "kills": 50,
    "apart_s": 0,
    "acknowledged": 1234,
    "lost": 0,
    "twice": 0,
    "server_started_s": {"median": 4.2, "most": 5.6},
    "client_writes_again_s": {"median": 12.3, "most": 19.6},
}

SLOWLY = {**KILLS, "kills": 12, "apart_s": 70.0}


def test_server_has_a_row_per_state_of_its_rows_and_a_sentence_about_kills():
    result = {
        "sizes": [ON_A_SERVER],
        "kills": [KILLS, SLOWLY],
        "machine": MACHINE,
        "server": "Milvus 2.3.5",
        "pymilvus": "3.0.2",
    }
    text = scale_page.server_tables(result)
    head, _, written, settled = scale_page.server_search_table(result).splitlines()
    assert len(cells(head)) == len(cells(written)) == len(cells(settled))
    assert cells(written)[:4] == ["100,000", "just written", "9.1 ms, 18 ms", "2.3 ms"]
    assert cells(settled)[1:3] == ["after `settle()`", "8.1 ms, 1,310 ms"]
    head, _, room = scale_page.server_room_table(result).splitlines()
    assert len(cells(head)) == len(cells(room))
    assert cells(room)[1:4] == ["12 s", "3 s", "12 ms, 46 ms"]
    assert cells(room)[4:] == ["5.7 ms", "6.8 ms", "0.89 s", "1.2 s", "1,234 MB", "346 MB"]
    assert "The server was killed (`kill -9`) 50 times while" in text
    assert "12 times, with at least 70 s between a start and the next kill, while" in text
    assert "Of 1,234 that were acknowledged, 0 were lost, and 0 are there twice." in text
    assert "12 s after the kill in the median and 20 s at most" in text
    assert "Milvus 2.3.5, pymilvus 3.0.2; a processor" in text
    assert scale_page.killed([]) == ""


def test_server_without_a_graph_has_one_row():
    row = {key: value for key, value in ON_A_SERVER.items() if key not in ("settled", "settle_s")}
    assert len(scale_page.server_search_table({"sizes": [row]}).splitlines()) == 3
    assert "not measured" in scale_page.server_room_table({"sizes": [row]})


def test_machine_is_described_with_its_limits_and_its_load():
    text = scale_page.machine({"machine": MACHINE, "sizes": [MILLION, {**MILLION, "others_cores": 0.26}]})
    assert "a processor, 2 cores, 25 GB, Linux" in text
    assert "threads limited by OMP_NUM_THREADS=1" in text
    assert "at most 0.3 of its cores" in text


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
    ids=["first", "too few known", "too few strangers", "none"],
)
def test_index_is_shown_at_the_smallest_depth_that_is_good_enough(depths, chosen):
    assert scale_page.good_enough({"depths": depths})["depth"] == chosen


def test_index_rows_are_followed_by_a_sentence_that_sums_them_up():
    indexes = {
        "codes": {"build_s": 6.4, "size_mb": 31.9, "depths": [depth(512, 0.9993, 1.0)]},
        "one": {"build_s": 123.4, "size_mb": 400, "depths": [depth(128, 1.0, 1.0)]},
        "two": {"build_s": 99.0, "size_mb": 1500, "depths": [depth(2048, 1.0, 1.0)]},
    }
    _, _, codes, graph, _, _, sentence = scale_page.index_table(
        {"sizes": [{"people": 100_000, "indexes": indexes}]}
    ).splitlines()
    assert cells(codes)[:5] == ["100,000", "codes", "6.4 s", "32 MB", "512"]
    assert cells(graph)[2] == "123 s"
    assert sentence == (
        "Among 100,000 people the codes are built in 6.4 s and take 32 MB, the graphs 99 to 123 s and 400 to 1,500 MB; "
        "the codes answer in 0.5 ms, the graphs in 0.1 to 2.0 ms."
    )


def test_measured_reasons_for_the_codes_hold():
    """They are built fastest, take the least space and find enough, as the page says."""
    for size in json.loads((scale_page.RESULTS / "index.json").read_text(encoding="utf-8"))["sizes"]:
        (_, codes), *graphs = size["indexes"].items()
        for _, graph in graphs:
            assert codes["build_s"] < graph["build_s"] and codes["size_mb"] < graph["size_mb"]
        right = scale_page.good_enough(codes)["true_nearest"]
        assert all(right[who]["value"] >= least for who, least in scale_page.ENOUGH.items())


def test_page_names_the_size_from_which_there_is_an_index():
    assert f"from {INDEX_FROM:,} encodings on" in PAGE


def test_page_takes_its_numbers_from_the_files(tmp_path):
    for name, _, _ in scale_page.BLOCKS.values():
        (tmp_path / name).write_bytes((scale_page.RESULTS / name).read_bytes())
    evaluation = json.loads((tmp_path / "evaluation_resnet.json").read_text(encoding="utf-8"))
    evaluation["open_set"][0]["strangers_named_at_0.7"] = 0.1234
    (tmp_path / "evaluation_resnet.json").write_text(json.dumps(evaluation), encoding="utf-8")
    assert "| 10 | 12.3 % |" in scale_page.filled(PAGE, tmp_path)


def test_block_that_was_not_measured_names_its_command(tmp_path):
    text = scale_page.filled(PAGE, tmp_path)
    commands = [command for _, _, command in scale_page.BLOCKS.values()]
    assert [text.count(f"(Not measured yet: `{command}`.)") for command in commands] == [2, 1, 2, 1, 1]


def test_page_without_its_marks_is_refused():
    with pytest.raises(ValueError, match="<!-- x -->"):
        scale_page.fill("no marks", {"x": "text"})


def test_code_of_the_page_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    fill, move = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    written: dict = {}
    exec(fill.replace("2_000", "20"), written)  # twenty people show it as well as two thousand
    assert (written["names"][0, 0], written["distances"][0, 0]) == ("person 7", 0)
    pytest.importorskip("milvus_lite", reason="milvus-lite is not installed")
    large = f"milvus:{tmp_path / 'milvus.db'}"
    exec(move.replace("people.db", "crowd.db").replace("http://host:19530", large), {})
    with FaceDatabase("crowd.db") as small, FaceDatabase(large) as moved:
        assert len(moved) == 20
        assert moved == small
