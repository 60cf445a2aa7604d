"""What a notebook teaches by writing it agrees with the module; what is quoted agrees with what was measured."""

import json
import re
from pathlib import Path

import nbformat
import numpy as np
import pandas as pd
import pytest

import triplets

ROOT = Path(__file__).resolve().parent.parent


def cell_with_tag(notebook: str, tag: str) -> str:
    """The source of the notebook's one code cell of that tag."""
    cells = nbformat.read(ROOT / notebook, as_version=4).cells
    (source,) = [cell.source for cell in cells if tag in cell.metadata.get("tags", [])]
    return source


@pytest.mark.parametrize("alpha", [0.0, 0.2, 1.0])
def test_the_readers_triplet_loss_is_the_modules(alpha):
    written = {}
    exec(cell_with_tag("Face_Recognition.ipynb", "triplet-loss"), written)
    y_pred = np.random.default_rng(0).normal(size=(3, 7, 128)).astype("float32")
    expected = float(triplets.triplet_loss(None, list(y_pred), alpha))
    assert expected > 1
    assert float(written["triplet_loss"](None, list(y_pred), alpha)) == pytest.approx(expected, rel=1e-6)


def test_the_model_card_of_the_resnet_quotes_what_was_measured():
    result = json.loads((ROOT / "results/lfw_resnet.json").read_text())
    card = (ROOT / "weights/resnet/MODEL_CARD.md").read_text()
    block = re.search(r"<!-- accuracy -->(.*?)<!-- /accuracy -->", card, re.DOTALL)[1]

    def interval(row):
        return f"{100 * row['value']:.1f} % [{100 * row['low']:.1f}, {100 * row['high']:.1f}]"

    assert interval(result["accuracy_at_0.7"]) in block
    assert interval(result["accuracy_at_trained"]) in block
    assert f"({result['trained_threshold']:.3f})" in block
    assert f"{100 * result['false_accepts_at_0.7']:.1f} %, {100 * result['false_rejects_at_0.7']:.1f} %" in block
    assert f"{result['auc']:.4f}" in block
    assert f"({result['people']} people" in card


def test_the_rates_table_is_what_its_columns_say():
    rates = pd.read_csv(ROOT / "results/lfw_resnet_rates.csv")
    for _, part in rates.groupby("people"):
        assert part.threshold.is_monotonic_increasing
        assert part.false_accepts.is_monotonic_increasing and part.false_rejects.is_monotonic_decreasing
        at = part[np.isclose(part.threshold, 0.7)].iloc[0]
        assert abs(at.false_accepts - at.false_rejects) < 0.01  # 0.7 is the equal-error threshold
