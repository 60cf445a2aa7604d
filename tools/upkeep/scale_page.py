"""Write the numbers of docs/scale.md from docs/results/: ``python tools/upkeep/scale_page.py``.

Each block of numbers stands between two marks. What has not been measured yet says which command measures it. The test
suite checks that the page holds exactly this.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from facerec._files import ROOT
from facerec.database import INDEX_FROM


PAGE = ROOT / "docs" / "scale.md"


MANY = 100_000_000  # people, the size that the page does sums about


def share(found: dict) -> str:
    """99.98 % [99.89, 100.00]."""
    return "{:.2f} % [{:.2f}, {:.2f}]".format(*(100 * found[key] for key in ("value", "low", "high")))


def lines_of(head: str, rows: list[tuple[str, ...]]) -> str:
    """A table as Markdown."""
    return "\n".join([head, "|---" * (head.count("|") - 1) + "|", *(f"| {' | '.join(cells)} |" for cells in rows)])


def database_table(result: dict) -> str:
    """What was measured of each size, in two tables, and on what machine, as Markdown."""
    return "\n\n".join([search_table(result), room_table(result), machine(result)])


def search_table(result: dict) -> str:
    """How quickly and how well somebody is found, a row for each size."""
    head = (
        "| people | p50 | p99 | true nearest: known people | … strangers | who is the right one "
        "| ours beside plain NumPy | beside the course's loop |"
    )
    rows = []
    for row in result["sizes"]:
        took, right, others = row["nearest"], row["true_nearest"], row["others"]
        numpy, loop = others["plain NumPy"], others["the course's loop over a dict"]["times_ours"]
        cells = (
            f"{row['people']:,}",
            f"{took['p50_ms']:.2g} ms",
            f"{took['p99_ms']:.2g} ms",
            share(right["known"]),
            share(right["strangers"]),
            f"{100 * row['named_rightly']:.0f} %",
            f"{numpy['ours_p50_ms']:.2g} and {numpy['p50_ms']:.2g} ms: {1 / numpy['times_ours']:.2g} times as long",
            f"{loop:,.0f} times as quick",
        )
        rows.append(cells)
    return lines_of(head, rows)


def room_table(result: dict) -> str:
    """What opening, keeping, filling and adding take, a row for each size."""
    head = (
        "| people | cold open | … with the start of Python | memory to search | memory to fill | disk | fill | index "
        "| add: p50, p99 | a bare write |"
    )
    rows = []
    for row in result["sizes"]:
        fill, add = row["fill"], row["add"]
        cells = (
            f"{row['people']:,}",
            f"{row['cold_open_s']:.2g} s",
            f"{row['from_start_s']:.2g} s",
            megabytes(row["memory_mb"]),
            megabytes(fill["memory_mb"]),
            f"{row['disk_mb']:,.0f} MB",
            f"{fill['fill_s']:.2g} s",
            f"{fill['build_index_s']:.2g} s" if row["people"] >= INDEX_FROM else "none",
            f"{add['p50_ms']:.2g} ms, {add['p99_ms']:.2g} ms",
            f"{add['bare_write']['p50_ms']:.2g} ms",
        )
        rows.append(cells)
    return lines_of(head, rows)


def megabytes(memory: dict | None) -> str:
    """The most that a process had; not every system tells."""
    return f"{memory['most']:,.0f} MB" if memory else "unknown"


def machine(result: dict) -> str:
    """What it was measured on, as a sentence."""
    about = result["machine"]
    limits = [f"{name}={value}" for name, value in about["threads"].items() if value != "not set"]
    threads = f"threads limited by {', '.join(limits)}" if limits else "no setting limited the threads"
    room = f", {about['memory_gb']:.0f} GB" if about["memory_gb"] else ""
    busy = [row["others_cores"] for row in result["sizes"] if "others_cores" in row]
    others = f" Others kept at most {max(busy):.1f} of its cores busy while it searched." if busy else ""
    return (
        f"{about['processor']}, {about['cores']} cores{room}, {about['system']}; Python {about['python']}, NumPy "
        f"{about['numpy']}, faiss {about['faiss']}, SQLite {about['sqlite']}; {threads}.{others}"
    )


#: An index is good enough if it finds the true nearest of so many known people and of so many strangers.
ENOUGH = {"known": 0.999, "strangers": 0.99}


def good_enough(index: dict) -> dict:
    """The least depth at which an index finds enough of the true nearest, or its greatest."""
    for depth in index["depths"]:
        if all(depth["true_nearest"][who]["value"] >= least for who, least in ENOUGH.items()):
            return depth
    return index["depths"][-1]


def index_table(result: dict) -> str:
    """The shipped index beside others, a row for each and for each size, as Markdown."""
    head = "| people | index | built in | size | candidates | true nearest: known people | … strangers | p50 | p99 |"
    rows = []
    for size in result["sizes"]:
        for label, index in size["indexes"].items():
            depth = good_enough(index)
            cells = (
                f"{size['people']:,}",
                label,
                f"{index['build_s']:.2g} s" if index["build_s"] < 100 else f"{index['build_s']:.0f} s",
                f"{index['size_mb']:,.0f} MB",
                f"{depth['depth']:,}",
                share(depth["true_nearest"]["known"]),
                share(depth["true_nearest"]["strangers"]),
                f"{depth['p50_ms']:.2g} ms",
                f"{depth['p99_ms']:.2g} ms",
            )
            rows.append(cells)
    return "\n\n".join([lines_of(head, rows), *map(codes_beside_graphs, result["sizes"])])


def codes_beside_graphs(size: dict) -> str:
    """What the codes cost, and what the graphs do, as a sentence."""
    codes, *graphs = size["indexes"].values()
    built, large = ([row[key] for row in graphs] for key in ("build_s", "size_mb"))
    ours, *took = (good_enough(row)["p50_ms"] for row in (codes, *graphs))
    return (
        f"Among {size['people']:,} people the codes are built in {codes['build_s']:.0f} s and take "
        f"{codes['size_mb']:,.0f} MB, the graphs {min(built):.0f} to {max(built):.0f} s and {min(large):,.0f} to "
        f"{max(large):,.0f} MB; the codes answer in {ours:.1f} ms, the graphs in {min(took):.1f} to {max(took):.1f} ms."
    )


def strangers_table(result: dict) -> str:
    """What recognition is worth among more and more people, as Markdown."""
    lines = [
        "| people in the database | strangers who get a name at 0.7 | threshold at which 1 % of them do | known people "
        "who are then named rightly |",
        "|---|---|---|---|",
    ]
    for row in result["open_set"]:
        named, low, high = (100 * row[key] for key in ("named_at_fpir_0.01", "low", "high"))
        lines.append(
            f"| {row['gallery']:,} | {100 * row['strangers_named_at_0.7']:.1f} % | {row['threshold']:.2f} "
            f"| {named:.1f} % [{low:.1f}, {high:.1f}] |"
        )
    return "\n".join(lines)


def enrolment(result: dict) -> str:
    """How long it takes to look at so many photos once, as a sentence."""
    two_cores = result["photo_to_name"]["weights/resnet"]["1_faces"]["whole_ms"] / 1000
    days, faces = two_cores * MANY / 86_400, result["encoding"]["weights/resnet"]["batch_64"]["faces_per_second"]
    return (
        f"From photo to encoding takes {1000 * two_cores:.0f} ms on two cores, so a hundred million photos take "
        f"{days:,.0f} days there; of faces that are found and aligned already, {faces:.0f} are encoded in a second: "
        f"{MANY / faces / 86_400:.1f} days. A new network means to do all of it again."
    )


#: Mark → file, how to say what is in it, and the command that makes it.
BLOCKS: dict[str, tuple[str, Callable[[Any], str], str]] = {
    "database": ("database.json", database_table, "make bench-database"),
    "index": ("index.json", index_table, "make bench-database"),
    "strangers": ("evaluation_resnet.json", strangers_table, "make evaluate DIR=…"),
    "enrolment": ("bench.json", enrolment, "make bench"),
}


def filled(text: str, results: Path = ROOT / "docs" / "results") -> str:
    """The page with the numbers of today between its marks.

    Args:
        text: The page as it was.
        results: The folder of the measured files.
    """
    for mark, (name, say, command) in BLOCKS.items():
        start, end = f"<!-- {mark} -->", f"<!-- /{mark} -->"
        before, rest = text.split(start)
        _, after = rest.split(end)
        file = results / name
        measured = file.is_file()
        said = say(json.loads(file.read_text(encoding="utf-8"))) if measured else f"(Not measured yet: `{command}`.)"
        text = f"{before}{start}\n{said}\n{end}{after}"
    return text


def main() -> None:
    """Rewrite docs/scale.md."""
    PAGE.write_text(filled(PAGE.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
