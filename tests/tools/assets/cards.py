"""Model cards against what was measured."""

from __future__ import annotations

from pathlib import Path


def quoted_accuracies(card: Path, methods: dict) -> int:
    """How many methods a card quotes in its table of accuracies, each of them as it was measured."""
    table = card.read_text(encoding="utf-8").split("<!-- accuracy -->")[1].split("<!-- /accuracy -->")[0]
    lines = {line.strip("|").split("|")[0].strip(" *"): line for line in table.splitlines()}
    quoted = lines.keys() & methods
    for name in quoted:
        low, value, high = (f"{100 * methods[name]['accuracy'][key]:.1f}" for key in ("low", "value", "high"))
        assert f"{value} % [{low}, {high}] | {methods[name]['auc']:.3f}" in lines[name]
    return len(quoted)
