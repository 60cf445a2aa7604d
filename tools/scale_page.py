"""Write the numbers of docs/scale.md from results/: ``python tools/scale_page.py``.

Each block of numbers stands between two marks. What has not been measured yet says which command measures it. The test
suite checks that the page holds exactly this.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "scale.md"
MANY = 100_000_000  # people, the size that the page does sums about


def database_table(result: dict) -> str:
    """What was measured of each size, a row each, as Markdown."""
    lines = [
        "| people | p50 | p99 | true nearest: known, strangers | who is the right one | plain NumPy "
        "| the course's loop | memory | disk | cold open | add |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for row in result["sizes"]:
        right, times = row["true_nearest"], row["times_as_fast_as"]["the course's loop over a dict"]
        cells = (
            f"{row['people']:,}",
            f"{row['nearest']['p50_ms']:.2g} ms",
            f"{row['nearest']['p99_ms']:.2g} ms",
            f"{100 * right['known']:.1f} %, {100 * right['strangers']:.1f} %",
            f"{100 * row['named_rightly']:.0f} %",
            f"{row['others']['plain NumPy']['p50_ms']:.2g} ms",
            f"{times:,.0f} times as long",
            f"{row['memory_mb']['most']:,.0f} MB",
            f"{row['disk_mb']:,.0f} MB",
            f"{row['cold_open_s']:.2g} s",
            f"{row['add']['p50_ms']:.2g} ms",
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


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
    "strangers": ("evaluation_resnet.json", strangers_table, "make evaluate DIR=…"),
    "enrolment": ("bench.json", enrolment, "make bench"),
}


def filled(text: str, results: Path = ROOT / "results") -> str:
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
