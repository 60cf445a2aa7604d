"""Photos with titles, boxes, names and keypoints."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from facerec.plotting.style import DIFFERENT, SAME


def show_photo(ax: Axes, photo: np.ndarray, title: str = "", wrong: bool = False) -> Axes:
    """Show a photo (H, W, 3) without axes; a wrong answer gets a red title that also says so."""
    ax.imshow(photo)
    ax.set_axis_off()
    colour = DIFFERENT if wrong else "black"
    ax.set_title(f"{title}\nwrong" if wrong else title, color=colour, fontsize=10, loc="center")
    return ax


def gallery(
    photos: Sequence[np.ndarray],
    titles: Sequence[str],
    columns: int = 6,
    wrong: Sequence[bool] | None = None,
    size: float = 1.6,
) -> Figure:
    """Photos in rows, each with its title.

    Args:
        photos: Arrays (H, W, 3).
        titles: One per photo.
        columns: Photos in a row.
        wrong: Which titles are wrong answers; none by default.
        size: Width of a photo in inches.

    Returns:
        The figure.
    """
    columns = min(columns, len(photos))
    rows = -(-len(photos) // columns)
    lines = 1 + max((title.count("\n") for title in titles), default=0) + bool(wrong is not None and any(wrong))
    height = size * max(photo.shape[0] / photo.shape[1] for photo in photos) + 0.19 * lines
    figure, axes = plt.subplots(rows, columns, figsize=(size * columns, height * rows), squeeze=False)
    for ax in axes.flat:
        ax.set_axis_off()
    for i, (photo, title) in enumerate(zip(photos, titles, strict=True)):
        show_photo(axes.flat[i], photo, title, bool(wrong is not None and wrong[i]))
    return figure


def draw_faces(ax: Axes, photo: np.ndarray, table: pd.DataFrame) -> Axes:
    """A photo with the result of ``identify``: a box per face, with the name and the distance."""
    show_photo(ax, photo)
    for row in table[table["rank"] == 1].itertuples():
        x, y, width, height = row.box
        colour = DIFFERENT if row.is_unknown else SAME
        style = "--" if row.is_unknown else "-"
        ax.add_patch(Rectangle((x, y), width, height, fill=False, edgecolor=colour, linewidth=2.5, linestyle=style))
        name = "unknown" if row.is_unknown else row.identity
        label = {"facecolor": colour, "edgecolor": "none", "pad": 2}
        ax.text(x + 6, y + 6, f"{name}  {row.distance:.2f}", color="white", va="top", bbox=label)
    return ax


def draw_keypoints(ax: Axes, photo: np.ndarray, detections: Sequence[Mapping]) -> Axes:
    """A photo with the boxes and the five keypoints of its detections."""
    show_photo(ax, photo)
    for face in detections:
        x, y, width, height = face["box"]
        ax.add_patch(Rectangle((x, y), width, height, fill=False, edgecolor=SAME, linewidth=2.5))
        points = np.array(list(face["keypoints"].values()))
        ax.scatter(points[:, 0], points[:, 1], s=30, color=DIFFERENT, edgecolor="white", zorder=3)
    return ax


def pair_gallery(
    faces: tuple[np.ndarray, np.ndarray], titles: Sequence[str], columns: int = 4, wrong: Sequence[bool] | None = None
) -> Figure:
    """Pairs of faces, the two of a pair side by side.

    Args:
        faces: The first and the second face of each pair, (n, S, S, 3) each.
        titles: One per pair.
        columns: Pairs in a row.
        wrong: Which titles are wrong answers; none by default.

    Returns:
        The figure.
    """
    gap = np.ones((faces[0].shape[1], 3, 3), faces[0].dtype) * (255 if faces[0].dtype == np.uint8 else 1)
    pairs = [np.concatenate([one, gap, other], axis=1) for one, other in zip(*faces, strict=True)]
    return gallery(pairs, titles, columns, wrong, size=2.2)
