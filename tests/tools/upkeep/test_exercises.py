"""The exercises are what the tool makes of their solutions, and nothing of a solution is left in them."""

from __future__ import annotations

import re

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from tools.upkeep import exercises

MADE = exercises.stubs()


@pytest.mark.parametrize("name", MADE)
def test_exercises_are_made_from_their_solutions(name):
    assert (exercises.EXERCISES / name).read_text(encoding="utf-8") == MADE[name], "run: tools/upkeep/exercises.py"


def test_a_stub_keeps_the_signature_and_shows_the_expected_output():
    solution = "def twice(x):\n    ### BEGIN SOLUTION\n    return 2 * x\n    ### END SOLUTION"
    cells = [
        new_markdown_cell("[up](../../README.md) and [beside](2.ipynb)"),
        new_markdown_cell("the solution", metadata={"tags": ["solution"]}),
        new_code_cell(solution, execution_count=1),
        new_code_cell("twice(1)", metadata={"tags": ["expected"]}, outputs=[new_output("stream", text="2\n")]),
    ]
    text, stub, call, expected = exercises.stub_of(new_notebook(cells=cells)).cells
    assert text.source == "[up](../README.md) and [beside](2.ipynb)"
    assert stub.source == "def twice(x):\n    # YOUR CODE HERE\n    raise NotImplementedError"
    assert stub.execution_count is None and call.outputs == []
    assert expected.source == "**Expected output**\n\n```\n2\n```"


@pytest.mark.parametrize("path", [*exercises.EXERCISES.glob("*.ipynb"), *exercises.SOLUTIONS.glob("*.ipynb")])
def test_cells_are_narrow_and_links_lead_somewhere(path):
    cells = nbformat.read(path, as_version=4).cells
    assert max(len(line) for cell in cells if cell.cell_type == "code" for line in cell.source.splitlines()) <= 88
    text = "\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
    here = set(re.findall(r'<a id="([^"]+)">', text))
    for target, anchor in re.findall(r"\]\(([^)#\s]*)#?([^)\s]*)\)", text):
        file = path.parent / target if target else path
        assert file.is_file(), target
        if anchor:
            there = file.read_text(encoding="utf-8").replace('\\"', '"')  # a notebook's text is JSON
            assert anchor in here if file == path else f'id="{anchor}"' in there, anchor
