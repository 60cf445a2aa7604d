"""Encodings and distances: strips, matrices, the plane of two principal components, the forces of a triplet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, TwoSlopeNorm
from matplotlib.patches import Circle, FancyArrowPatch, Rectangle

from facerec.plotting.style import ACCENT, DIFFERENT, NEUTRAL, SAME


def encoding_strip(ax: Axes, encoding: np.ndarray, title: str = "") -> Axes:
    """An encoding (D,) as a strip of D coloured cells: blue below zero, red above."""
    limit = 0.3
    ax.imshow(np.asarray(encoding)[None], cmap="RdBu_r", vmin=-limit, vmax=limit, aspect="auto")
    ax.set_yticks([])
    ax.set_xticks([0, len(encoding) // 2, len(encoding) - 1])
    ax.set_title(title)
    return ax


def distance_matrix(
    ax: Axes, distances: np.ndarray, rows: Sequence[str], columns: Sequence[str], threshold: float = 0.7
) -> Axes:
    """Distances as cells with their numbers: bold and on blue below the threshold, on grey above it.

    Args:
        ax: Where to draw.
        distances: (r, c); NaN stays empty. The smallest of each row is framed.
        rows: The name of each row.
        columns: The name of each column.
        threshold: The distance below which two faces count as one person.
    """
    distances = np.asarray(distances)
    shades = LinearSegmentedColormap.from_list("", [(0, SAME), (0.5, "#D9EAF4"), (0.5, "white"), (1, "#BBBBBB")])
    ax.imshow(distances, cmap=shades, norm=TwoSlopeNorm(threshold, vmin=0, vmax=2), aspect="auto")
    ax.set_xticks(range(len(columns)), columns, rotation=45, ha="right")
    ax.set_yticks(range(len(rows)), rows)
    ax.spines[:].set_visible(False)
    for i, j in np.argwhere(np.isfinite(distances)):
        weight = "bold" if distances[i, j] < threshold else "normal"
        ax.text(j, i, f"{distances[i, j]:.2f}", ha="center", va="center", weight=weight, fontsize=9)
    for i, j in enumerate(np.nanargmin(distances, axis=1)):
        ax.add_patch(Rectangle((j - 0.5, i - 0.5), 1, 1, fill=False, edgecolor="black", linewidth=1.5))
    return ax


def project(encodings: np.ndarray) -> np.ndarray:
    """The first two principal components (m, 2) of encodings (m, D): the directions in which they differ most."""
    centred = encodings - encodings.mean(axis=0)
    _, _, directions = np.linalg.svd(centred, full_matrices=False)
    signs = np.sign(directions[np.arange(2), np.abs(directions[:2]).argmax(axis=1)])  # SVD leaves them open
    return centred @ (directions[:2] * signs[:, None]).T


def projection(ax: Axes, points: np.ndarray, labels: Sequence[str | None], is_portrait: Sequence[bool]) -> Axes:
    """Encodings in the plane: portraits as named dots, camera pictures as crosses, linked to their portrait.

    Args:
        ax: Where to draw.
        points: (m, 2), from ``project``.
        labels: The identity of each point, None for a stranger.
        is_portrait: Whether each point is a portrait in the database.
    """
    home = {label: point for label, point, at_home in zip(labels, points, is_portrait, strict=True) if at_home}
    for label, point, at_home in zip(labels, points, is_portrait, strict=True):
        if at_home:
            ax.scatter(*point, s=70, color=SAME, zorder=3)
            ax.annotate(label, point, xytext=(6, 5), textcoords="offset points")
        elif label is None:
            ax.scatter(*point, s=70, marker="^", color=DIFFERENT, zorder=3)
        else:
            ax.plot(*zip(point, home[label], strict=True), color=NEUTRAL, linewidth=1, zorder=1)
            ax.scatter(*point, s=50, marker="x", color=SAME, zorder=3)
    ax.set_aspect("equal")
    ax.set_xlabel("first principal component")
    ax.set_ylabel("second principal component")
    ax.scatter([], [], s=70, color=SAME, label="portrait in the database")
    ax.scatter([], [], s=50, marker="x", color=SAME, label="the same person at the camera")
    ax.scatter([], [], s=70, marker="^", color=DIFFERENT, label="a stranger at the camera")
    ax.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))
    return ax


def push_and_pull(ax: Axes, triplet: np.ndarray, pushes: np.ndarray, alpha: float, title: str) -> Axes:
    """A triplet in the plane with the forces on it.

    Args:
        ax: Where to draw.
        triplet: Anchor, positive and negative, (3, 2).
        pushes: Minus the loss's gradient at each of them, (3, 2).
        alpha: The margin, drawn as the ring that the negative has to leave.
        title: The title.
    """
    anchor, positive, _ = triplet
    inner = np.linalg.norm(anchor - positive)
    ring = np.sqrt(inner**2 + alpha)
    ax.add_patch(Circle(anchor, inner, fill=False, color=SAME))
    ax.add_patch(Circle(anchor, ring, fill=False, color=NEUTRAL, linestyle="--"))
    ax.annotate("margin", anchor + (0, ring), ha="center", va="bottom", color=NEUTRAL, fontsize=9)
    kinds = zip(("anchor", "positive", "negative"), ("o", "o", "^"), ("black", SAME, DIFFERENT), strict=True)
    for point, push, (name, marker, colour) in zip(triplet, pushes, kinds, strict=True):
        ax.scatter(*point, s=90, marker=marker, color=colour, zorder=3)
        below = -17 if name == "anchor" else 9
        ax.annotate(name, point, xytext=(0, below), textcoords="offset points", color=colour, ha="center")
        if np.linalg.norm(push) > 1e-6:
            arrow = FancyArrowPatch(point, point + 0.25 * push, arrowstyle="-|>", mutation_scale=14, color=colour)
            ax.add_patch(arrow)
    ax.set(aspect="equal", xticks=[], yticks=[])
    ax.set_title(title, loc="center")
    ax.spines[:].set_visible(False)
    return ax


def distance_strip(
    ax: Axes, distances: Mapping[str, Sequence[float]], threshold: float, colours: Mapping[str, str] | None = None
) -> Axes:
    """Groups of distances as rows of ticks on one scale, with the threshold across."""
    for row, (group, values) in enumerate(distances.items()):
        colour = (colours or {}).get(group, NEUTRAL)
        ax.scatter(values, np.full(len(values), -row), marker="|", s=260, color=colour, alpha=0.7)
    ax.set_yticks(-np.arange(len(distances)), list(distances))
    ax.set_ylim(-len(distances) + 0.4, 0.6)
    ax.axvline(threshold, color=ACCENT, linewidth=2)
    ax.text(threshold, 0.62, f"threshold {threshold:.2f}", color=ACCENT, ha="center", va="bottom")
    ax.set_xlabel("distance between encodings")
    return ax


def people_map(ax: Axes, points: np.ndarray, who: Sequence[str]) -> Axes:
    """Encodings in the plane, with a number and a colour per person, linked to the mean of the person's points.

    Args:
        ax: Where to draw.
        points: (m, 2), from ``project``.
        who: The person of each point.
    """
    who = np.asarray(who)
    for number, name in enumerate(dict.fromkeys(who)):
        own, colour = points[who == name], plt.get_cmap("tab20")(number % 20)
        middle = own.mean(axis=0)
        for point in own:
            ax.plot(*zip(middle, point, strict=True), color=colour, linewidth=0.8)
        ax.scatter(*own.T, s=14, color=colour)
        ax.text(
            *middle,
            str(number + 1),
            ha="center",
            va="center",
            fontsize=9,
            weight="bold",
            bbox={"boxstyle": "circle,pad=0.15", "facecolor": "white", "edgecolor": colour},
        )
    ax.set(xlabel="first principal component", ylabel="second principal component", aspect="equal")
    return ax


def circle_of_people(ax: Axes, points: np.ndarray, who: Sequence[int], centres: np.ndarray) -> Axes:
    """Encodings in two dimensions, on the unit circle: a marker and a colour per person, a spoke to each centre.

    Args:
        ax: Where to draw.
        points: (m, 2), of unit length.
        who: The number of the person of each point.
        centres: (people, 2), of unit length: the direction that stands for each person.
    """
    who = np.asarray(who)
    ax.add_patch(Circle((0, 0), 1, fill=False, color="#BBBBBB", linewidth=0.8))
    for number, centre in enumerate(centres):
        colour, marker = plt.get_cmap("tab10")(number % 10), "os^vDP*X"[number % 8]
        ax.plot(*zip((0, 0), centre, strict=True), color=colour, linewidth=0.8)
        ax.scatter(*points[who == number].T, s=18, marker=marker, color=colour, alpha=0.6)
        ax.text(*(1.15 * centre), str(number + 1), color=colour, ha="center", va="center", weight="bold")
    ax.set(aspect="equal", xlim=(-1.3, 1.3), ylim=(-1.3, 1.3), xticks=[], yticks=[])
    ax.spines[:].set_visible(False)
    return ax


def angular_margin(ax: Axes, margin: float) -> Axes:
    """Two people as directions on the unit circle, the boundary between them, and where ArcFace's margin moves it.

    Args:
        ax: Where to draw.
        margin: The angle by which the boundary moves, in radians.
    """
    ax.add_patch(Circle((0, 0), 1, fill=False, color="#BBBBBB", linewidth=0.8))
    for angle, name, colour in ((2.36, "person 1", SAME), (0.79, "person 2", DIFFERENT)):
        end = np.array([np.cos(angle), np.sin(angle)])
        ax.annotate("", end, (0, 0), arrowprops={"arrowstyle": "-|>", "color": colour})
        ax.annotate(name, 1.08 * end, color=colour, ha="center", va="bottom")
    for angle, style, colour in ((0, "-", NEUTRAL), (margin / 2, "--", SAME), (-margin / 2, "--", DIFFERENT)):
        ax.plot([0, np.cos(np.pi / 2 + angle)], [0, np.sin(np.pi / 2 + angle)], style, color=colour)
    ax.set(aspect="equal", xlim=(-1.2, 1.2), ylim=(-0.1, 1.2), xticks=[], yticks=[])
    ax.spines[:].set_visible(False)
    return ax
