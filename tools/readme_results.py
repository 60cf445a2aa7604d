"""Write the table of results in README.md from the files in results/: ``python tools/readme_results.py``.

Each row names what was measured, the number, and the command that makes it. A row whose file is not there is
left out. The test suite checks that the README holds exactly this table.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parent.parent
START, END = "<!-- results -->", "<!-- /results -->"


class Row(NamedTuple):
    """A row of the table: what was measured, in which file, how to say it, and the command that measures it."""

    label: str
    file: str
    say: Callable[[Any], str]
    command: str


def interval(row: dict) -> str:
    """98.6 % [97.4, 99.4]."""
    return f"{100 * row['value']:.1f} % [{100 * row['low']:.1f}, {100 * row['high']:.1f}]"


def speed(batch: int) -> Callable[[dict], str]:
    """How fast the residual network encodes, and how many times faster than the reference engine."""

    def say(bench: dict) -> str:
        row = bench["encoding"]["weights/resnet"][f"batch_{batch}"]
        times = f", {row['times_faster']:.0f} times the reference engine" if "times_faster" in row else ""
        return f"{row['ours_faces_per_second']:.0f} faces per second{times}"

    return say


def latency(faces: int) -> Callable[[dict], str]:
    """How long a photo takes, in its three steps."""

    def say(bench: dict) -> str:
        row = bench["photo_to_name"]["weights/resnet"][f"{faces}_faces"]
        steps = ", ".join(f"{step} {row[f'{step}_ms']:.0f}" for step in ("detect", "align", "encode"))
        return f"{row['whole_ms']:.0f} ms ({steps})"

    return say


ROWS = (
    Row(
        "LFW development test pairs, from the photo: accuracy at 0.7",
        "lfw_resnet.json",
        lambda lfw: interval(lfw["accuracy_at_0.7"]),
        "make lfw DIR=…",
    ),
    Row(
        "… at the threshold trained on other people",
        "lfw_resnet.json",
        lambda lfw: interval(lfw["accuracy_at_trained"]),
        "make lfw DIR=…",
    ),
    Row("… area under the ROC curve", "lfw_resnet.json", lambda lfw: f"{lfw['auc']:.4f}", "make lfw DIR=…"),
    Row("encoding faces one by one", "bench.json", speed(1), "make bench"),
    Row("encoding faces in batches of 64", "bench.json", speed(64), "make bench"),
    Row("a photo file with one face, to its name", "bench.json", latency(1), "make bench"),
    Row("a video call with six faces, to their names", "bench.json", latency(6), "make bench"),
)


def table() -> str:
    """The table as Markdown."""
    lines = ["| what | result | made by |", "|---|---|---|"]
    for row in ROWS:
        file = ROOT / "results" / row.file
        if file.is_file():
            result = row.say(json.loads(file.read_text(encoding="utf-8")))
            lines.append(f"| {row.label} | {result} | `{row.command}` |")
    return "\n".join(lines)


def filled(readme: str) -> str:
    """The README's text with the table of today between its two marks."""
    before, rest = readme.split(START)
    _, after = rest.split(END)
    return f"{before}{START}\n{table()}\n{END}{after}"


def main() -> None:
    """Rewrite README.md."""
    path = ROOT / "README.md"
    path.write_text(filled(path.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
