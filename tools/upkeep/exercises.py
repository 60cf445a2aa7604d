"""Make the exercises from their solutions, and the encodings that they use.

    python tools/upkeep/exercises.py            # writes exercises/*.ipynb
    python tools/upkeep/exercises.py encode     # writes facerec/course/images.npz, with weights/resnet

The source of an exercise is its solution, ``exercises/solutions/*.ipynb``, after ``tools/run_notebook.py --in-place``:

* Lines from ``### BEGIN SOLUTION`` to ``### END SOLUTION`` become a stub, as in nbgrader.
* A cell tagged ``solution`` is left out.
* Below a cell tagged ``expected``, what it printed is shown as the expected output.
* Links start one folder higher.
"""

from __future__ import annotations

import re
import sys

import nbformat
import numpy as np
from nbformat import NotebookNode

from facerec._files import ROOT, whole
from facerec.course.stored import FILE

EXERCISES = ROOT / "exercises"
SOLUTIONS = EXERCISES / "solutions"

#: A solution with the spaces in front of it.
SOLUTION = re.compile(r"^( *)### BEGIN SOLUTION\n.*?### END SOLUTION", re.DOTALL | re.MULTILINE)
STUB = r"\1# YOUR CODE HERE\n\1raise NotImplementedError"


def stub_of(solution: NotebookNode) -> NotebookNode:
    """The exercise of a solution, without outputs."""
    cells = []
    for cell in solution.cells:
        if "solution" in cell.metadata.get("tags", []):
            continue
        stub = nbformat.from_dict({key: value for key, value in cell.items() if key != "attachments"})
        if stub.cell_type == "code":
            stub.update(source=SOLUTION.sub(STUB, cell.source), outputs=[], execution_count=None)
        else:
            stub.source = cell.source.replace("](../", "](")
        cells.append(stub)
        if "expected" in cell.metadata.get("tags", []):
            cells.append(_expected(cell))
    return nbformat.from_dict({**solution, "cells": cells})


def _expected(cell: NotebookNode) -> NotebookNode:
    """What a cell of the solution printed, as text."""
    printed = "".join(output.get("text", "") for output in cell.outputs).strip()
    text = f"**Expected output**\n\n```\n{printed}\n```"
    return nbformat.v4.new_markdown_cell(text, id=f"{cell.id}-expected")


def stubs() -> dict[str, str]:
    """The name of each exercise notebook, and its text."""
    made = {}
    for path in sorted(SOLUTIONS.glob("*.ipynb")):
        made[path.name] = nbformat.writes(stub_of(nbformat.read(path, as_version=4))) + "\n"
    return made


def encode() -> None:
    """Write the encodings of every picture of ``images/`` with one face."""
    from facerec.encoding import photos_to_encodings
    from facerec.networks import load_facenet

    pictures = sorted(path for path in (ROOT / "images").glob("*.jpg") if path.name != "video_call.jpg")
    encodings, _ = photos_to_encodings(pictures, load_facenet("weights/resnet"), progress=True)
    with whole(FILE) as unfinished:
        np.savez(unfinished, pictures=[path.name for path in pictures], encodings=encodings)


def main() -> None:
    """Write the exercises, or the encodings."""
    if sys.argv[1:] == ["encode"]:
        encode()
        return
    for name, text in stubs().items():
        (EXERCISES / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
