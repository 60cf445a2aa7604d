"""Ours beside the engines that users take instead: the table of docs/results.md and the ratios of README.md."""

from __future__ import annotations

import json
from pathlib import Path

from tools.upkeep.scale_page import table

#: Those that the ratios name, and what a sentence calls them.
OTHERS = {"face_recognition (dlib)": "dlib", "facenet-pytorch": "facenet-pytorch", "DeepFace, Facenet": "DeepFace"}

#: The columns with a spread: the head, what was measured, and its digits.
COLUMNS = (
    ("faces/s, one by one", "faces_per_second", "1"),
    ("in batches of 64", "faces_per_second", "64"),
    ("detect, one face 320×320 (ms)", "detect_ms", "one"),
    ("six faces 1280×720", "detect_ms", "six"),
    ("photo file → names, one (ms)", "who_ms", "one"),
    ("six", "who_ms", "six"),
    ("one, largest face (ms)", "largest_ms", "one"),
)


def ratios(peers: dict, kind: str, what: str, ours: str = "ours, Inception") -> str:
    """How many times as fast as each of the others.

    Args:
        peers: The file ``peers.json``.
        kind: What was measured: ``faces_per_second``, ``detect_ms``, ``who_ms`` or ``largest_ms``.
        what: On what: ``"1"`` or ``"64"`` faces, ``"one"`` or ``"six"`` in a photo.
        ours: Our engine.
    """
    speed = {name: row[kind][what]["value"] for name, row in peers["engines"].items() if kind in row}
    if kind.endswith("_ms"):
        speed = {name: 1 / value for name, value in speed.items()}
    times = {short: speed[ours] / speed[name] for name, short in OTHERS.items() if name in speed}
    return ", ".join(f"{short} {ratio:.{0 if ratio >= 10 else 1}f}" for short, ratio in times.items())


def page_table(file: Path) -> str:
    """A row per engine: the median of the runs in ``peers.json``, with the lowest and the highest."""
    if not file.is_file():
        return "(Not measured yet: `make bench-peers`.)"
    peers = json.loads(file.read_text(encoding="utf-8"))
    heads = [head for head, _, _ in COLUMNS]
    head = f"| | {' | '.join(heads)} | memory | first answer | installed |"
    return table(head, [_row(name, row) for name, row in peers["engines"].items()])


def _row(name: str, row: dict) -> list[str]:
    random = ", random weights" if row["weights"] == "random" else ""
    cells = [spread(row[kind][what]) if what in row.get(kind, {}) else "" for _, kind, what in COLUMNS]
    ends = [
        f"{row['memory_mb']['value']:,.0f} MB",
        f"{row['start_s']['value']:.1f} s",
        f"{row['installed_mb']:,.0f} MB",
    ]
    return [f"{name} {row['version']}{random}", *cells, *ends]


def spread(found: dict) -> str:
    """The median, and the lowest and highest in brackets."""
    digits = 1 if found["value"] < 10 else 0
    value, low, high = (f"{found[each]:,.{digits}f}" for each in ("value", "low", "high"))
    return f"{value} [{low}, {high}]"
