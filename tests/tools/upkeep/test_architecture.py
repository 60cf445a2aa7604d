"""The drawing of the imports: what counts as an import, the floors, and an arrow for each."""

import re

import pytest

from tools.upkeep import architecture

HOUSE = {"door": {"wall", "ground"}, "roof": {"ground"}, "wall": {"ground"}, "ground": set()}


def test_imports_finds_every_kind_of_import_and_no_import_for_type_checkers():
    source = """
from __future__ import annotations
from typing import TYPE_CHECKING
from . import near
from ..far import away
from pack import module, function
import os.path as path
if TYPE_CHECKING:
    import only_for_types
def later():
    import lazily
"""
    found = architecture.imports(source, "pack.inner", {"pack.inner.near", "pack.module"})
    assert found == {
        "__future__", "typing", "pack.inner.near", "pack.far", "pack.module", "pack", "os.path", "lazily",
    }  # fmt: skip


def test_modules_are_found_by_the_names_that_they_are_imported_by():
    found = architecture.modules()
    assert {"fr_utils", "inception_blocks_v2", "facerec", "facerec.database", "facerec.photos", "apps.flask"} <= set(
        found
    )
    assert found["facerec.database"].name == "__init__.py"
    assert "facerec.photos" in architecture.imports_of_modules()["fr_utils"]


def test_rooms_that_import_each_other_have_no_floors():
    with pytest.raises(ValueError, match="circle: ground → wall → ground"):
        architecture.floors(HOUSE | {"ground": {"wall"}})


def test_every_arrow_of_the_drawing_points_down():
    svg = architecture.drawing(HOUSE)
    arrows = re.findall(r'd="M\d+,(\d+)[^"]*,(\d+)"><title>(\w+) imports (\w+)<', svg)
    assert {(upper, lower) for _, _, upper, lower in arrows} == {
        ("door", "wall"),
        ("wall", "ground"),
        ("roof", "ground"),
    }
    assert all(int(above) < int(below) for above, below, _, _ in arrows)
    assert {room for room in HOUSE if f">{room}</text>" in svg} == set(HOUSE)


def test_boxes_of_the_drawing_do_not_overlap():
    where, _ = architecture.places(architecture.rooms())
    boxes = [(x, y, architecture._width(node)) for node, (x, y) in where.items() if "@" not in node]
    for x, y, width in boxes:
        assert x >= width / 2
        assert not [1 for a, b, wide in boxes if (a, b) != (x, y) and b == y and abs(a - x) < (width + wide) / 2]
