"""Draw what imports what, from the imports themselves, and list the rooms in docs/architecture.md.

    python tools/upkeep/architecture.py      # writes docs/architecture.svg and the table of docs/architecture.md

A room is a package (``facerec.database``) or a module outside of one (``fr_utils``). Each room lies one floor above the
highest room that it imports, so every arrow points down; if rooms imported each other in a circle, there would be no
such floors, and ``floors`` raises.
"""

from __future__ import annotations

import ast
import html
from collections.abc import Container, Iterator, Mapping
from functools import cache
from itertools import pairwise
from pathlib import Path
from statistics import fmean

from facerec._files import ROOT
from tools.upkeep.scale_page import fill, table

PAGE = ROOT / "docs" / "architecture.md"
DRAWING = ROOT / "docs" / "architecture.svg"

#: Where the project's modules are: packages and single modules.
SOURCES = ("facerec", "fr_utils.py", "inception_blocks_v2.py", "apps", "tools")

#: Packages that are drawn as one room.
PACKAGES = (
    "facerec.clusters",
    "facerec.command",
    "facerec.course",
    "facerec.database",
    "facerec.evaluation",
    "facerec.learning",
    "facerec.live",
    "facerec.plotting",
    "apps.api",
    "apps.flask",
    "apps.streamlit",
    "tools",
)

#: What every room may use; drawn as one room.
BASEMENT = ("facerec.errors", "facerec._files", "facerec._quiet")

Graph = dict[str, set[str]]


# ------------------------------------------------------------------------------------------------ what imports what
@cache
def modules() -> dict[str, Path]:
    """The dotted name of every module of the project, and its file."""
    found = {}
    for source in SOURCES:
        for file in sorted((ROOT / source).rglob("*.py")) or [ROOT / source]:
            name = ".".join(file.relative_to(ROOT).with_suffix("").parts)
            found[name.removesuffix(".__init__")] = file
    return found


def imports(source: str, package: str = "", ours: Container[str] = ()) -> set[str]:
    r"""The dotted names of the modules that a source imports, anywhere in it but in blocks for type checkers.

    Args:
        source: Python code.
        package: The package that its relative imports start from.
        ours: The names of the project's modules, to tell the module ``b`` of ``from a import b`` from a function.

    Returns:
        Names of modules.

    Example:
        >>> sorted(imports("import os.path\nfrom a import b, c\nfrom . import d", "pack", {"a.b", "pack.d"}))
        ['a', 'a.b', 'os.path', 'pack.d']
    """
    found: set[str] = set()
    for node in _nodes(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) + 1 - node.level] if node.level else []
            base = ".".join([*above, *filter(None, [node.module])])
            names = {f"{base}.{alias.name}" for alias in node.names}
            found |= {name if name in ours else base for name in names}
    return found


def _nodes(node: ast.AST) -> Iterator[ast.AST]:
    """Every node below one, without the blocks ``if TYPE_CHECKING:``."""
    waiting = [node]
    while waiting:
        for child in ast.iter_child_nodes(waiting.pop()):
            if not (isinstance(child, ast.If) and _last_name(child.test) == "TYPE_CHECKING"):
                yield child
                waiting.append(child)


def _last_name(node: ast.AST) -> str:
    """``name`` of the expressions ``name`` and ``module.name``; else nothing."""
    return getattr(node, "id", getattr(node, "attr", ""))


@cache
def imports_of_modules() -> Graph:
    """Module → the modules that it imports, ours and others."""
    ours, graph = modules(), {}
    for name, file in ours.items():
        package = name if file.name == "__init__.py" else name.rpartition(".")[0]
        graph[name] = imports(file.read_text(encoding="utf-8"), package, ours) - {name}
    return graph


def belongs(module: str, packages: tuple[str, ...]) -> bool:
    """Whether a module is one of these packages, or in one.

    Example:
        >>> belongs("facerec.live.film", ("facerec",)), belongs("facerecord", ("facerec",))
        (True, False)
    """
    return any(module == package or _inside(module, package) for package in packages)


def reached(graph: Graph, start: str) -> set[str]:
    """Every module that the modules of a package import, and those that these import, and so on."""
    found: set[str] = set()
    waiting = [module for module in graph if belongs(module, (start,))]
    while waiting:
        module = waiting.pop()
        waiting += graph.get(module, set()) - found - set(waiting)
        found.add(module)
    return found


def _inside(name: str, package: str) -> bool:
    return name.startswith(f"{package}.")


def circle(graph: Mapping[str, set[str]]) -> list[str]:
    """A circle of a graph, from a node back to itself, or an empty list if there is none.

    Example:
        >>> circle({"a": {"b"}, "b": {"c"}, "c": {"b"}})
        ['b', 'c', 'b']
        >>> circle({"a": {"b"}, "b": set()})
        []
    """
    done: set[str] = set()

    def search(node: str, path: list[str]) -> list[str]:
        if node in path:
            return [*path[path.index(node) :], node]
        if node in done:
            return []
        for below in sorted(graph.get(node, ())):
            if found := search(below, [*path, node]):
                return found
        done.add(node)
        return []

    return next((found for node in sorted(graph) if (found := search(node, []))), [])


# --------------------------------------------------------------------------------------------------- the rooms
def room_of(module: str) -> str:
    """The room of a module.

    Example:
        >>> room_of("facerec.database.sqlite"), room_of("fr_utils")
        ('facerec.database', 'fr_utils')
    """
    if module in BASEMENT:
        return "facerec: errors, _files, _quiet"
    return next((package for package in PACKAGES if module == package or _inside(module, package)), module)


def rooms() -> Graph:
    """Room → the rooms that it imports. A package that only holds others is not a room."""
    every = imports_of_modules()
    graph: Graph = {}
    for module, found in every.items():
        if module not in ("facerec", "apps"):
            below = {room_of(each) for each in found if each in every} - {room_of(module), "facerec", "apps"}
            graph.setdefault(room_of(module), set()).update(below)
    return graph


def floors(graph: Graph) -> dict[str, int]:
    """The floor of each room: 0 if it imports none, else one above the highest that it imports.

    Raises:
        ValueError: If rooms import each other in a circle.

    Example:
        >>> floors({"roof": {"wall", "ground"}, "wall": {"ground"}, "ground": set()})
        {'roof': 2, 'wall': 1, 'ground': 0}
    """
    if found := circle(graph):
        raise ValueError(f"rooms import each other in a circle: {' → '.join(found)}")

    def floor(room: str) -> int:
        return 1 + max(map(floor, graph[room]), default=-1)

    return {room: floor(room) for room in graph}


def without_shortcuts(graph: Graph) -> Graph:
    """The graph without the arrows that follow from others: a → c, where there are a → b and b → c.

    Example:
        >>> without_shortcuts({"a": {"b", "c"}, "b": {"c"}, "c": set()}) == {"a": {"b"}, "b": {"c"}, "c": set()}
        True
    """

    def reached(room: str) -> set[str]:
        return graph[room].union(*map(reached, graph[room]))

    return {room: below - set().union(*map(reached, below)) for room, below in graph.items()}


# -------------------------------------------------------------------------------------------------- the drawing
# In pixels: the margin, the height of a box, the steps from floor to floor and from box to box, the width of a letter.
MARGIN, BOX, STEP, GAP, CHARACTER = 30, 26, 74, 24, 7.3


def places(graph: Graph) -> tuple[dict[str, tuple[float, float]], list[list[str]]]:
    """Where each room lies, and the nodes that each arrow passes.

    Each arrow that passes floors gets a node on every one of them. The nodes of a floor are then ordered by the mean
    place of their neighbours, and moved there as far as the others leave room, from above and from below in turn.

    Returns:
        places: Node → the middle of its box, in pixels from the upper left corner.
        arrows: For each arrow, its nodes from the upper room to the lower one.
    """
    level = floors(graph)
    top = max(level.values())
    storeys: list[list[str]] = [sorted(room for room in graph if level[room] == n) for n in range(top + 1)]
    arrows = []
    for room, below in sorted(without_shortcuts(graph).items()):
        for other in sorted(below):
            passed = [f"{room}>{other}@{n}" for n in range(level[room] - 1, level[other], -1)]
            for n, node in zip(range(level[room] - 1, level[other], -1), passed, strict=True):
                storeys[n].append(node)
            arrows.append([room, *passed, other])
    beside: Graph = {}
    for arrow in arrows:
        for upper, lower in pairwise(arrow):
            beside.setdefault(upper, set()).add(lower)
            beside.setdefault(lower, set()).add(upper)
    x = {node: 900 * (i + 0.5) / len(storey) for storey in storeys for i, node in enumerate(storey)}
    for sweep in range(24):
        for n in range(top + 1) if sweep % 2 else range(top, -1, -1):
            wanted = {node: fmean([x[other] for other in beside.get(node, [node])]) for node in storeys[n]}
            storeys[n].sort(key=wanted.get)
            x |= _apart(storeys[n], wanted)
    left, height = min(x[node] - _width(node) / 2 for node in x) - MARGIN, MARGIN + top * STEP
    return {node: (x[node] - left, height - n * STEP) for n, storey in enumerate(storeys) for node in storey}, arrows


def _apart(storey: list[str], wanted: Mapping[str, float]) -> dict[str, float]:
    """The nodes of a floor, each as near to the place that it wants as its neighbours allow."""
    half = [(_width(node) + GAP) / 2 for node in storey]
    gaps = [left + right for left, right in pairwise(half)]
    right, left = [wanted[node] for node in storey], [wanted[node] for node in storey]
    for i, gap in enumerate(gaps):
        right[i + 1] = max(right[i + 1], right[i] + gap)  # a node that is too near moves to the right …
    for i, gap in reversed([*enumerate(gaps)]):
        left[i] = min(left[i], left[i + 1] - gap)  # … or to the left: half of each
    return {node: (a + b) / 2 for node, a, b in zip(storey, left, right, strict=True)}


def _width(node: str) -> float:
    return 0.0 if "@" in node else 18 + CHARACTER * len(node)


def drawing(graph: Graph) -> str:
    """The rooms that import or are imported, and their arrows, as SVG."""
    graph = {room: below for room, below in graph.items() if below or any(room in each for each in graph.values())}
    where, arrows = places(graph)
    lines = []
    for arrow in arrows:
        points = [where[node] for node in arrow]
        (x0, y0), (x1, y1) = points[0], points[-1]
        path = f"M{x0:.0f},{y0 + BOX / 2:.0f}"
        upper = (x0, y0 + BOX / 2)
        for x, y in [*points[1:-1], (x1, y1 - BOX / 2 - 6)]:
            middle = (upper[1] + y) / 2
            path += f" C{upper[0]:.0f},{middle:.0f} {x:.0f},{middle:.0f} {x:.0f},{y:.0f}"
            upper = (x, y)
        lines.append(f'<path d="{path}"><title>{arrow[0]} imports {arrow[-1]}</title></path>')
    for room in sorted(graph):
        x, y = where[room]
        width = _width(room)
        kind = room.partition(".")[0]
        lines.append(
            f'<rect class="{kind}" x="{x - width / 2:.0f}" y="{y - BOX / 2:.0f}" '
            f'width="{width:.0f}" height="{BOX}" rx="4"/>'
            f'<text x="{x:.0f}" y="{y + 4:.0f}">{html.escape(room)}</text>'
        )
    height = 2 * MARGIN + STEP * max(floors(graph).values())
    wide = round(max(x + _width(node) / 2 for node, (x, _) in where.items())) + MARGIN
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {wide} {height}" role="img" '
            'aria-label="What imports what: every arrow points down">',
            STYLE,
            f'<path class="paper" d="M0,0 H{wide} V{height} H0 z"/>',
            *lines,
            "</svg>\n",
        ]
    )


STYLE = """\
<style>
text { font: 12px ui-monospace, Menlo, Consolas, monospace; text-anchor: middle; fill: #1b1f24 }
path { fill: none; stroke: #7d8590; stroke-width: 1.2; marker-end: url(#tip) }
path.paper { fill: #ffffff; stroke: none; marker-end: none }
rect { stroke: #57606a; fill: #ddeaf7 }
rect.apps { fill: #fdebd3 } rect.tools { fill: #eceef0 } rect.fr_utils, rect.inception_blocks_v2 { fill: #d9f0dd }
</style>
<defs><marker id="tip" viewBox="0 0 8 8" refX="1" refY="4" markerWidth="7" markerHeight="7" orient="auto">
<path d="M0,0 L8,4 L0,8 z" style="fill: #7d8590; stroke: none; marker-end: none"/></marker></defs>"""


# ----------------------------------------------------------------------------------------------------- the page
def first_line(file: Path) -> str:
    """The first line of a module's docstring, without its full stop."""
    docstring = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or ""
    return docstring.partition("\n")[0].rstrip(".:").replace("``", "`").replace("|", "\\|")


def rooms_table() -> str:
    """Every module with the first line of its docstring."""
    order = ("fr_utils", "inception_blocks_v2", "facerec", "apps", "tools")
    found = [(order.index(name.partition(".")[0]), name, file, first_line(file)) for name, file in modules().items()]
    rows = [(f"`{file.relative_to(ROOT).as_posix()}`", text) for _, _, file, text in sorted(found) if text]
    return table("| file | what it is |", rows)


def pages() -> dict[Path, str]:
    """File → its text as it should be today."""
    return {
        DRAWING: drawing(rooms()),
        PAGE: fill(PAGE.read_text(encoding="utf-8"), {"rooms": rooms_table()}),
    }


def main() -> None:
    """Write the drawing and the page."""
    for file, text in pages().items():
        file.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
