"""How a training went: its numbers over crops or epochs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd
from matplotlib.axes import Axes

from facerec.plotting.style import ACCENT, DIFFERENT, NEUTRAL, SAME


def training_curve(ax: Axes, log: pd.DataFrame, columns: Mapping[str, str], ylabel: str = "") -> Axes:
    """Numbers of a training against the crops seen.

    Args:
        ax: Where to draw.
        log: A table with a column ``crops`` and the columns named below.
        columns: Column → its name in the legend.
        ylabel: The quantity, with its unit.
    """
    styles = zip((SAME, DIFFERENT, ACCENT), ("-", "--", ":"), strict=True)
    for (column, label), (colour, style) in zip(columns.items(), styles, strict=False):
        ax.plot(log.crops / 1000, log[column], style, color=colour, label=label, marker="o", markersize=3)
    ax.set(xlabel="crops seen, in thousands", ylabel=ylabel, xlim=(0, None))
    ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0))
    return ax


def triplet_curves(axes: Sequence[Axes], history: pd.DataFrame) -> Sequence[Axes]:
    """A training with triplets in three diagrams: loss, triplets with a loss above zero, ROC area of other people.

    Args:
        axes: Three of them.
        history: From ``train_triplets``.
    """
    history = history.assign(area=1 - history.validation_error)
    lines = (
        {"loss": ("loss, of the mined triplets", SAME, "-")},
        {
            "active": ("of all triplets, those that cost something", SAME, "-"),
            "found": ("pairs with a negative", ACCENT, ":"),
        },
        {"area": ("people to watch with", SAME, "-")},
    )
    for ax, columns, ylabel in zip(axes, lines, ("loss", "share", "ROC area"), strict=True):
        for column, (label, colour, style) in columns.items():
            ax.plot(history.epoch, history[column], style, color=colour, label=label, marker="o", markersize=2.5)
        ax.set(xlabel="epoch", ylabel=ylabel)
        ax.legend(loc="lower left", bbox_to_anchor=(0, 1.0), fontsize=8)
    axes[1].set_ylim(0, 1)
    return axes


def live_curves(
    axes: Sequence[Axes], phases: Mapping[str, pd.DataFrame], levels: Mapping[str, float]
) -> Sequence[Axes]:
    """Trainings that you watch, epoch by epoch: the loss, and beside it the ROC area of people not learned from.

    What was there is drawn anew, so the curves can grow.

    Args:
        axes: Two of them.
        phases: Name → a table with ``epoch``, ``loss`` and ``area``; the loss of an untrained network is NaN.
        levels: Name → the ROC area of something that learned nothing here, drawn as a horizontal line.
    """
    for ax in axes:
        ax.clear()
    styles = zip((SAME, DIFFERENT, ACCENT), ("-", "--", ":"), ("o", "s", "^"), strict=True)
    for (name, log), (colour, style, marker) in zip(phases.items(), styles, strict=False):
        for ax, column in zip(axes, ("loss", "area"), strict=True):
            ax.plot(log.epoch, log[column], style, color=colour, label=name, marker=marker, markersize=4)
    for name, level in levels.items():
        axes[1].axhline(level, color=NEUTRAL, linewidth=0.8)
        axes[1].annotate(
            name, (1, level), xycoords=("axes fraction", "data"), xytext=(3, -3), textcoords="offset points"
        )
    axes[0].set(xlabel="epoch", ylabel="loss", ylim=(0, None))
    axes[1].set(xlabel="epoch", ylabel="ROC area")
    for ax in axes:
        ax.xaxis.get_major_locator().set_params(integer=True)  # no half epochs
    axes[0].legend(loc="lower left", bbox_to_anchor=(0, 1.0), ncols=len(phases))
    return axes
