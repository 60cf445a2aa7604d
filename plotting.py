"""Pictures of faces, encodings and decisions.

Every function draws into an ``ax`` that it is given and returns it; ``gallery`` makes the axes for many photos
at once. Colours are those of Okabe and Ito, which colour-blind readers can tell apart, and no colour says
anything that words or shapes do not say too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle, FancyArrowPatch, FancyBboxPatch, Rectangle
from matplotlib_inline.backend_inline import set_matplotlib_formats

SAME = "#0072B2"  # blue: one person, accepted, right
DIFFERENT = "#D55E00"  # vermilion: two people, refused, wrong
NEUTRAL = "#555555"
ACCENT = "#009E73"  # green: the threshold and what is chosen


def use_house_style() -> None:
    """Make figures of this course look alike; call it once, at the top of a notebook.

    Figures are kept as JPEG, in which photos take a tenth of the room.
    """
    set_matplotlib_formats("jpeg", pil_kwargs={"quality": 80})
    plt.rcParams.update(
        {
            "figure.dpi": 90,
            "figure.constrained_layout.use": True,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.titlesize": 11,
            "axes.titlelocation": "left",
            "font.size": 10,
            "legend.frameon": False,
        }
    )


# -------------------------------------------------------------------------------------------------- photos
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
    """Draw what ``identify`` found into its photo: a box per face, with the name and the distance."""
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
    """Draw boxes and the five keypoints of detections into their photo."""
    show_photo(ax, photo)
    for face in detections:
        x, y, width, height = face["box"]
        ax.add_patch(Rectangle((x, y), width, height, fill=False, edgecolor=SAME, linewidth=2.5))
        points = np.array(list(face["keypoints"].values()))
        ax.scatter(points[:, 0], points[:, 1], s=30, color=DIFFERENT, edgecolor="white", zorder=3)
    return ax


# ----------------------------------------------------------------------------------------------- encodings
def encoding_strip(ax: Axes, encoding: np.ndarray, title: str = "") -> Axes:
    """An encoding (D,) as a strip of D coloured cells: blue below zero, red above."""
    limit = 0.3
    ax.imshow(np.asarray(encoding)[None], cmap="RdBu_r", vmin=-limit, vmax=limit, aspect="auto")
    ax.set_yticks([])
    ax.set_xticks([0, len(encoding) // 2, len(encoding) - 1])
    ax.set_title(title)
    return ax


def distance_matrix(ax: Axes, distances: np.ndarray, rows: Sequence[str], columns: Sequence[str]) -> Axes:
    """Distances (r, c) as shaded cells with their numbers; the smallest of a row is framed, NaN stays empty."""
    distances = np.asarray(distances)
    ax.imshow(distances, cmap="viridis", vmin=0, vmax=1.2, aspect="auto")
    ax.set_xticks(range(len(columns)), columns, rotation=45, ha="right")
    ax.set_yticks(range(len(rows)), rows)
    ax.spines[:].set_visible(False)
    for i, j in np.argwhere(np.isfinite(distances)):
        colour = "white" if distances[i, j] < 0.7 else "black"
        ax.text(j, i, f"{distances[i, j]:.2f}", ha="center", va="center", color=colour, fontsize=7)
    for i, j in enumerate(np.nanargmin(distances, axis=1)):
        ax.add_patch(Rectangle((j - 0.5, i - 0.5), 1, 1, fill=False, edgecolor="white", linewidth=2))
    return ax


def project(encodings: np.ndarray) -> np.ndarray:
    """The two directions in which encodings (m, D) differ most: their first two principal components (m, 2)."""
    centred = encodings - encodings.mean(axis=0)
    _, _, directions = np.linalg.svd(centred, full_matrices=False)
    signs = np.sign(directions[np.arange(2), np.abs(directions[:2]).argmax(axis=1)])  # SVD leaves them open
    return centred @ (directions[:2] * signs[:, None]).T


def projection(ax: Axes, points: np.ndarray, labels: Sequence[str | None], is_portrait: Sequence[bool]) -> Axes:
    """Encodings in the plane: portraits as named dots, camera pictures as crosses tied to their portrait.

    Args:
        ax: Where to draw.
        points: (m, 2), from ``project``.
        labels: The identity of each point, None for a stranger.
        is_portrait: Which points are the database's.
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


# ------------------------------------------------------------------------------------------------ decisions
def push_and_pull(ax: Axes, triplet: np.ndarray, pushes: np.ndarray, alpha: float, title: str) -> Axes:
    """A triplet in the plane with the forces on it.

    Args:
        ax: Where to draw.
        triplet: Anchor, positive and negative, (3, 2).
        pushes: Minus the loss's gradient at each of them, (3, 2).
        alpha: The margin, drawn as the ring that the negative has to leave.
        title: What to write above.
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


def error_curves(ax: Axes, rates: pd.DataFrame, threshold: float) -> Axes:
    """False accepts and false rejects against the threshold, in per cent, with one threshold marked.

    Args:
        ax: Where to draw.
        rates: A table of ``evaluation.error_rates``.
        threshold: The threshold to mark.
    """
    accepts = "false accepts: different people pass for one"
    ax.plot(rates.threshold, 100 * rates.false_accepts, color=DIFFERENT, label=accepts)
    rejects = "false rejects: one person does not"
    ax.plot(rates.threshold, 100 * rates.false_rejects, color=SAME, linestyle="--", label=rejects)
    ax.axvline(threshold, color=ACCENT, linewidth=2)
    row = rates.iloc[(rates.threshold - threshold).abs().argmin()]
    accepts, rejects = 100 * row.false_accepts, 100 * row.false_rejects
    note = f"at {threshold:.2f}:\n{accepts:.2g} % accepted falsely\n{rejects:.2g} % rejected falsely"
    ax.annotate(note, (threshold, 101), xytext=(8, 0), textcoords="offset points", color=ACCENT, va="top")
    ax.set(xlabel="threshold", ylabel="share of pairs (%)", xlim=(rates.threshold.min(), rates.threshold.max()))
    ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2)
    return ax


def roc_curves(ax: Axes, rates: Mapping[str, pd.DataFrame]) -> Axes:
    """True accepts against false accepts, a line per method.

    Args:
        ax: Where to draw.
        rates: What to call a method → its table of ``evaluation.error_rates``.
    """
    styles = ["-", "--", ":", "-.", (0, (5, 1)), (0, (3, 1, 1, 1, 1, 1)), (0, (1, 1))]
    colours = [SAME, DIFFERENT, ACCENT, "#CC79A7", "#56B4E9", "#E69F00", NEUTRAL]
    for (name, table), style, colour in zip(rates.items(), styles, colours, strict=False):
        ax.plot(100 * table.false_accepts, 100 * (1 - table.false_rejects), linestyle=style, color=colour, label=name)
    ax.plot([0, 100], [0, 100], color="#BBBBBB", linewidth=0.8)
    ax.annotate("guessing", (50, 50), rotation=45, color=NEUTRAL, xytext=(0, -12), textcoords="offset points")
    ax.set(xlabel="false accepts (%)", ylabel="true accepts (%)", xlim=(-1, 100), ylim=(0, 101), aspect="equal")
    ax.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    return ax


def reliability_plot(ax: Axes, table: pd.DataFrame, label: str = "") -> Axes:
    """How often pairs of a score do show one person: on the diagonal, a score means what it says.

    Args:
        ax: Where to draw.
        table: From ``evaluation.reliability``.
        label: For the legend; none by default.
    """
    style = {"color": DIFFERENT, "marker": "s", "linestyle": "--"} if ax.lines else {"color": SAME, "marker": "o"}
    ax.plot([0, 1], [0, 1], color="#BBBBBB", linewidth=0.8)
    ax.plot(table.score, table.share, label=label or None, **style)
    ax.set(xlabel="score", ylabel="share of pairs of one person", xlim=(0, 1), ylim=(0, 1), aspect="equal")
    if label:
        ax.legend(loc="upper left")
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
    """
    gap = np.ones((faces[0].shape[1], 3, 3), faces[0].dtype) * (255 if faces[0].dtype == np.uint8 else 1)
    pairs = [np.concatenate([one, gap, other], axis=1) for one, other in zip(*faces, strict=True)]
    return gallery(pairs, titles, columns, wrong, size=2.2)


# ------------------------------------------------------------------------------------------------- networks
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
    """A network from left to right, a box per stage: as tall as its picture, as wide as it has channels.

    Args:
        ax: Where to draw.
        names: What to write above each stage.
        shapes: (H, W, C) of a picture, or (D,) of plain numbers; heights and widths are on a root scale.
    """
    _, end = _stages(ax, names, shapes)
    ax.set(xlim=(-0.4, end + 0.5), ylim=(-3.4, 3.2), aspect="equal")
    ax.set_axis_off()
    return ax


def _stages(
    ax: Axes, names: Sequence[str], shapes: Sequence[Sequence[int]], x: float = 0.0, y: float = 0.0
) -> tuple[float, float]:
    """Draw the boxes of a network in a row from x on, with arrows between them; gives where the last one lies."""
    for number, (name, shape) in enumerate(zip(names, shapes, strict=True)):
        side, channels = (shape[0], shape[-1]) if len(shape) == 3 else (1, shape[-1])
        height, width = np.sqrt(side) / 2, np.sqrt(channels) / 12
        colour = SAME if len(shape) == 3 else ACCENT
        if number:
            _arrow(ax, (end + 0.06, y), (x - 0.06, y))  # noqa: F821 (the end of the box before)
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
    """A siamese network: two faces, the same stages for both, their difference and the score.

    Args:
        ax: Where to draw.
        faces: Two of them, (S, S, 3).
        names: What to write above each stage of the embedding.
        shapes: (H, W, C) of a picture, or (D,) of plain numbers.
        score: What the network says.
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


def training_curve(ax: Axes, log: pd.DataFrame, columns: Mapping[str, str], ylabel: str = "") -> Axes:
    """How a number changed while a network saw more and more pictures.

    Args:
        ax: Where to draw.
        log: A table with a column ``pictures`` and the columns named below.
        columns: Column → what it is called in the legend.
        ylabel: What is measured, with its unit.
    """
    styles = zip((SAME, DIFFERENT, ACCENT), ("-", "--", ":"), strict=True)
    for (column, label), (colour, style) in zip(columns.items(), styles, strict=False):
        ax.plot(log.pictures / 1000, log[column], style, color=colour, label=label, marker="o", markersize=3)
    ax.set(xlabel="crops seen, in thousands", ylabel=ylabel, xlim=(0, None))
    ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0))
    return ax


# ---------------------------------------------------------------------------------------------- triplets
def triplet_curves(axes: Sequence[Axes], history: pd.DataFrame) -> Sequence[Axes]:
    """How a training with triplets went, in three pictures: loss, triplets that cost something, distances.

    Args:
        axes: Three of them.
        history: Of ``triplets.train_triplets``; the phases one below the other, with a column ``phase``, if there are
            several. Where one begins there is a vertical line with its name.
    """
    history = history.reset_index(drop=True)
    epochs = np.arange(1, len(history) + 1)
    lines = (
        {"loss": ("loss, of the mined triplets", SAME, "-")},
        {
            "active": ("of all triplets, those that cost something", SAME, "-"),
            "found": ("pairs with a negative", ACCENT, ":"),
        },
        {"to_positive": ("one person", SAME, "-"), "to_negative": ("two people", DIFFERENT, "--")},
    )
    for ax, columns, ylabel in zip(axes, lines, ("loss", "share", "mean squared distance"), strict=True):
        for column, (label, colour, style) in columns.items():
            ax.plot(epochs, history[column], style, color=colour, label=label, marker="o", markersize=2.5)
        ax.set(xlabel="epoch", ylabel=ylabel, ylim=(0, None))
        ax.legend(loc="lower left", bbox_to_anchor=(0, 1.0), fontsize=8)
        for phase, rows in history.groupby("phase", sort=False) if "phase" in history else ():
            ax.axvline(rows.index[0] + 0.5, color=NEUTRAL, linewidth=0.8)
            style = {"rotation": 90, "fontsize": 8, "color": NEUTRAL, "zorder": 1}
            ax.text(rows.index[0] + 0.9, 0.02, phase, transform=ax.get_xaxis_transform(), **style)
    return axes


def confusion_matrix(ax: Axes, table: pd.DataFrame) -> Axes:
    """The four outcomes of ``evaluation.confusion``, each with its count and share of the row; mistakes are named."""
    shares = table.div(table.sum(axis=1), axis=0).to_numpy()
    ax.imshow(shares, cmap="Blues", vmin=0, vmax=1.4)
    for (i, j), share in np.ndenumerate(shares):
        verdict = "right" if i == j else ("false reject", "false accept")[i]
        ax.text(
            j,
            i,
            f"{table.iloc[i, j]:,}\n{share:.1%}\n{verdict}",
            ha="center",
            va="center",
            color="black" if i == j else DIFFERENT,
        )
    ax.set_xticks(range(2), [f"says {name}" for name in table.columns])
    ax.set_yticks(range(2), [f"is {name}" for name in table.index])
    ax.spines[:].set_visible(False)
    return ax


def people_map(ax: Axes, points: np.ndarray, who: Sequence[str]) -> Axes:
    """Encodings in the plane, a number and a colour per person, each tied to the middle of their own.

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


# -------------------------------------------------------------------------------------------- evaluation
def distance_histogram(ax: Axes, distances: np.ndarray, same: np.ndarray, threshold: float) -> Axes:
    """How far pairs of one person and of two lie apart; what lies on the wrong side of the threshold is hatched.

    Args:
        ax: Where to draw.
        distances: (n,); those that are missing are left out.
        same: (n,) bool.
        threshold: Drawn as a line.
    """
    distances, same = np.asarray(distances), np.asarray(same, bool)
    edges = np.linspace(0, 1.6, 65)
    for kind, colour, label in ((same, SAME, "one person"), (~same, DIFFERENT, "two people")):
        values = distances[kind & np.isfinite(distances)]
        share = 100 * np.histogram(values, edges)[0] / len(values)
        ax.stairs(share, edges, fill=True, color=colour, alpha=0.35)
        ax.stairs(share, edges, color=colour, label=label, linestyle="-" if label == "one person" else "--")
        wrong = edges[:-1] >= threshold if label == "one person" else edges[1:] <= threshold
        ax.stairs(np.where(wrong, share, 0), edges, fill=True, facecolor="none", edgecolor=colour, hatch="////", lw=0)
    ax.axvline(threshold, color=ACCENT)
    ax.annotate(f"threshold {threshold:g}", (threshold, ax.get_ylim()[1]), xytext=(4, -10), textcoords="offset points")
    ax.set(xlabel="distance", ylabel="share of the pairs (%)", xlim=(0, 1.6))
    ax.legend(loc="upper left", bbox_to_anchor=(0, 1.18), ncols=2)
    return ax


def interval_chart(
    ax: Axes, labels: Sequence[str], intervals: Sequence[Sequence[float]], zero: float | None = 0
) -> Axes:
    """Estimates with their intervals, a row each: filled where the interval leaves ``zero`` out, hollow where not.

    Args:
        ax: Where to draw.
        labels: What each row is called; the first row is on top.
        intervals: (value, low, high) of each.
        zero: Where "no difference" lies; None if there is no such place.
    """
    for row, (value, low, high) in enumerate(intervals):
        sure = zero is None or low > zero or high < zero
        ax.plot([low, high], [row, row], color=SAME if sure else NEUTRAL, linewidth=1.6)
        ax.plot(value, row, "o", color=SAME if sure else NEUTRAL, markerfacecolor=None if sure else "white")
    if zero is not None:
        ax.axvline(zero, color="#BBBBBB", linewidth=0.8, zorder=0)
    ax.set_yticks(range(len(labels)), labels)
    ax.set_ylim(len(labels) - 0.5, -0.5)
    return ax


def group_matrix(ax: Axes, table: pd.DataFrame) -> Axes:
    """False accepts between groups, in per cent of the pairs: the darker, the more; within a group on the diagonal.

    Args:
        ax: Where to draw.
        table: Rows of ``evaluation.false_accepts_by_group``.
    """
    names = list(dict.fromkeys(table.group))
    shares = pd.DataFrame(np.nan, names, names)
    for row in table.itertuples():
        shares.loc[row.group, row.other] = shares.loc[row.other, row.group] = 100 * row.false_accepts
    ax.imshow(np.log10(shares.clip(lower=1e-3)), cmap="Blues", vmin=-2, vmax=2.2)
    for (i, j), share in np.ndenumerate(shares):
        if np.isfinite(share):
            text = f"{share:.1f}" if share >= 1 else f"{share:.2g}"
            ax.text(j, i, text, ha="center", va="center", fontsize=9, color="white" if share > 8 else "black")
    ax.set_xticks(range(len(names)), names, rotation=30, ha="right")
    ax.set_yticks(range(len(names)), names)
    ax.spines[:].set_visible(False)
    return ax


def open_set_curves(ax: Axes, curves: Mapping[str, pd.DataFrame]) -> Axes:
    """Known people named, against strangers named, a line per method.

    Args:
        ax: Where to draw.
        curves: What to call a method → its table of ``evaluation.dir_curve``.
    """
    styles = zip(("-", "--", ":", "-."), (SAME, DIFFERENT, ACCENT, NEUTRAL), strict=True)
    for (name, curve), (style, colour) in zip(curves.items(), styles, strict=False):
        ax.step(100 * curve.fpir.clip(lower=1e-4), 100 * curve.dir, style, where="post", color=colour, label=name)
    ax.set(xscale="log", xlabel="strangers who are given a name (%)", ylabel="known people named rightly (%)")
    ax.set_xlim(0.1, 100)
    ax.set_ylim(0, 101)
    ax.xaxis.set_major_formatter("{x:g}")
    ax.legend(loc="lower right")
    return ax


def damage_curves(axes: Sequence[Axes], table: pd.DataFrame, units: Mapping[str, str]) -> Sequence[Axes]:
    """Owners who stay outside, strangers who get in, and faces that are not found when one photo gets worse.

    Args:
        axes: One per way; the first has the legend.
        table: Columns ``damage``, ``level``, ``false_rejects``, ``false_accepts`` in shares, ``no_face`` and ``pairs``;
            the row ``nothing``, of untouched photos, is drawn first in each.
        units: Way → what its levels say.
    """
    untouched = table[table.damage == "nothing"]
    lines = {"owners outside": (SAME, "o-"), "strangers in": (DIFFERENT, "s--"), "no face found": (NEUTRAL, ":")}
    ways = [name for name in dict.fromkeys(table.damage) if name != "nothing"]
    for ax, name in zip(np.ravel(axes), ways, strict=False):
        rows = pd.concat([untouched, table[(table.damage == name) & (table.level > 0)]])
        shares = (rows.false_rejects, rows.false_accepts, rows.no_face / rows.pairs)
        for (label, (colour, style)), share in zip(lines.items(), shares, strict=True):
            ax.plot(range(len(rows)), 100 * share, style, color=colour, label=label, markersize=4)
        ax.set_xticks(range(len(rows)), ["–", *(f"{level:g}" for level in rows.level[1:])])
        ax.set(title=name, ylim=(-3, 101))
        ax.set_xlabel(units.get(name, ""), fontsize=8)
    np.ravel(axes)[0].legend(loc="upper left", fontsize=8)
    return axes
