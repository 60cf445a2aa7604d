"""Diagrams of networks: an Inception block, a chain of stages, and the two branches of a Siamese network."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch, Rectangle

from facerec.plotting.style import ACCENT, DIFFERENT, NEUTRAL, SAME


def _box(ax: Axes, centre: tuple[float, float], size: tuple[float, float], text: str, colour: str) -> None:
    """A rounded box with a text in it."""
    (x, y), (width, height) = centre, size
    style = {"boxstyle": "round,pad=0,rounding_size=0.08", "facecolor": colour + "22", "edgecolor": colour}
    ax.add_patch(FancyBboxPatch((x - width / 2, y - height / 2), width, height, linewidth=1.5, **style))
    ax.text(x, y, text, ha="center", va="center", fontsize=9)


def _arrow(ax: Axes, start: tuple[float, float], end: tuple[float, float]) -> None:
    ax.add_patch(FancyArrowPatch(start, end, arrowstyle="-|>", mutation_scale=11, color=NEUTRAL, shrinkA=0, shrinkB=0))


def block_diagram(ax: Axes, branches: Sequence[Sequence[str]], before: str, after: str) -> Axes:
    """An Inception block, from left to right: its input, its branches one above the other, and their stack.

    Args:
        ax: Where to draw.
        branches: The texts of the boxes in each branch, from left to right.
        before: The text of the input.
        after: The text of the output.
    """
    rows, last = len(branches), 2 * max(map(len, branches)) + 2
    middle = (rows - 1) / 2
    _box(ax, (0, middle), (1.5, 0.8), before, NEUTRAL)
    _box(ax, (last, middle), (1.5, rows - 0.3), after, ACCENT)
    for row, branch in zip(reversed(range(rows)), branches, strict=True):
        left = (0.75, middle + 0.15 * (row - middle))
        for number, text in enumerate(branch):
            x = 2 * number + 2
            _box(ax, (x, row), (1.5, 0.6), text, DIFFERENT if "pool" in text else SAME)
            _arrow(ax, left, (x - 0.75, row))
            left = (x + 0.75, row)
        _arrow(ax, left, (last - 0.75, row))
    ax.set(xlim=(-0.9, last + 0.9), ylim=(-0.6, rows - 0.4), aspect="equal")
    ax.set_axis_off()
    return ax


def network_diagram(ax: Axes, names: Sequence[str], shapes: Sequence[Sequence[int]]) -> Axes:
    """A network from left to right, a box per stage: its height shows the picture's side, its width the channels.

    Args:
        ax: Where to draw.
        names: The name of each stage, written above it.
        shapes: (H, W, C) of a picture, or (D,) of a vector; heights and widths are on a square-root scale.
    """
    _, end = _stages(ax, names, shapes)
    ax.set(xlim=(-0.4, end + 0.5), ylim=(-3.4, 3.2), aspect="equal")
    ax.set_axis_off()
    return ax


def _stages(ax: Axes, names: Sequence[str], shapes: Sequence[Sequence[int]], y: float = 0.0) -> tuple[float, float]:
    """Draw the boxes of a network in a row from 0 on, with arrows between them; return both ends of the last one."""
    x = start = end = 0.0
    for number, (name, shape) in enumerate(zip(names, shapes, strict=True)):
        side, channels = (shape[0], shape[-1]) if len(shape) == 3 else (1, shape[-1])
        height, width = np.sqrt(side) / 2, np.sqrt(channels) / 12
        colour = SAME if len(shape) == 3 else ACCENT
        if number:
            _arrow(ax, (end + 0.06, y), (x - 0.06, y))
        ax.add_patch(Rectangle((x, y - height / 2), width, height, facecolor=colour + "33", edgecolor=colour))
        text = f"{shape[0]}×{shape[1]}\n×{channels}" if len(shape) == 3 else str(channels)
        ax.text(x + width / 2, y + height / 2 + 0.1, name, ha="center", va="bottom", fontsize=9)
        ax.text(x + width / 2, y - height / 2 - 0.1, text, ha="center", va="top", fontsize=8, color=NEUTRAL)
        start, end = x, x + width
        x = end + max(0.55, 1.6 - width)
    return start, end


def twin_diagram(
    ax: Axes, faces: Sequence[np.ndarray], names: Sequence[str], shapes: Sequence[Sequence[int]], score: float
) -> Axes:
    """A Siamese network: two faces, the same stages for both, their difference and the score.

    Args:
        ax: Where to draw.
        faces: Two of them, (S, S, 3).
        names: The name of each stage of the embedding, written above it.
        shapes: (H, W, C) of a picture, or (D,) of a vector.
        score: The network's answer, in 0..1.
    """
    gap = 4.4
    for face, y in zip(faces, (gap, -gap), strict=True):
        ax.imshow(face, extent=(-3.8, -0.6, y - 1.6, y + 1.6), zorder=2)
        _arrow(ax, (-0.5, y), (-0.08, y))
        _, end = _stages(ax, names, shapes, y=y)
        _arrow(ax, (end + 0.1, y), (end + 2.3, y * 0.22))
    middle = (end / 2 - 1, 0)
    ax.text(*middle, "the same weights above and below", ha="center", va="center", fontsize=10, color=NEUTRAL)
    for tip in (1.3, -1.3):
        _arrow(ax, (middle[0], 0.35 * np.sign(tip)), (middle[0], tip))
    _box(ax, (end + 3.1, 0), (1.7, 1.5), "|a − b|", NEUTRAL)
    _arrow(ax, (end + 4.0, 0), (end + 4.9, 0))
    _box(ax, (end + 6.1, 0), (2.3, 1.5), f"score\n{score:.2f}", ACCENT)
    ax.set(xlim=(-4, end + 7.5), ylim=(-gap - 3.5, gap + 3.3), aspect="equal")
    ax.set_axis_off()
    return ax
