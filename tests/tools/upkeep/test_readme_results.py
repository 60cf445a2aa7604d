"""The tables of results: numbers come from the files, and rows without a file are left out."""

import json

from tools.upkeep import cells, readme_results
from tools.upkeep.readme_results import SHORT, TABLES, Row, Source


def test_row_shows_the_number_of_its_file_and_its_command(tmp_path, monkeypatch):
    monkeypatch.setattr(readme_results, "RESULTS", tmp_path)
    accuracy = {"value": 0.12345, "low": 0.1, "high": 0.2}
    (tmp_path / "lfw.json").write_text(json.dumps({"accuracy_at_0.7": accuracy}), encoding="utf-8")
    rows = [
        Row("here", Source("lfw.json", "make lfw"), cells.at_default),
        Row("not measured", Source("missing.json", "make lfw"), cells.at_default),
    ]
    assert readme_results.measured(rows) == [("here", "12.3 % [10.0, 20.0]", "`make lfw`")]


def test_every_row_is_measured_and_no_label_appears_twice_in_a_table():
    for rows in (SHORT, *TABLES.values()):
        assert len(readme_results.measured(rows)) == len(rows)
    for rows in TABLES.values():
        # A label that begins with "…" continues the row before it.
        labels = [row.label for row in rows if not row.label.startswith("…")]
        assert len(set(labels)) == len(labels)
