"""Error rates, intervals and probabilities: ROC curves, histograms, matrices of groups."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from facerec.evaluation import as_interval, percent
from facerec.plotting.style import ACCENT, DIFFERENT, NEUTRAL, SAME


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


def roc_curves(ax: Axes, rates: Mapping[str, pd.DataFrame], smallest: float | None = None) -> Axes:
    """True accepts against false accepts, a line per method.

    Args:
        ax: Where to draw.
        rates: Name of a method → its table of ``evaluation.error_rates``.
        smallest: The false accepts, in per cent, at which a logarithmic scale begins; None for a linear scale.
    """
    styles = ["-", "--", ":", "-.", (0, (5, 1)), (0, (3, 1, 1, 1, 1, 1)), (0, (1, 1))]
    colours = [SAME, DIFFERENT, ACCENT, "#CC79A7", "#56B4E9", "#E69F00", NEUTRAL]
    for (name, table), style, colour in zip(rates.items(), styles, colours, strict=False):
        ax.plot(100 * table.false_accepts, 100 * (1 - table.false_rejects), linestyle=style, color=colour, label=name)
    guesses = np.linspace(0, 100, 101) if smallest is None else np.geomspace(smallest, 100, 101)
    ax.plot(guesses, guesses, color="#BBBBBB", linewidth=0.8)
    ax.set(xlabel="false accepts (%)", ylabel="true accepts (%)", ylim=(0, 101))
    if smallest is None:
        ax.set(xlim=(-1, 100), aspect="equal")
        ax.annotate("guessing", (50, 50), rotation=45, color=NEUTRAL, xytext=(0, -12), textcoords="offset points")
    else:
        ax.set(xlim=(smallest, 100), xscale="log")
        ax.xaxis.set_major_formatter("{x:g}")
        ax.annotate("guessing", (30, 30), color=NEUTRAL, xytext=(3, -12), textcoords="offset points")
    ax.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    return ax


def reliability_plot(ax: Axes, table: pd.DataFrame, label: str = "") -> Axes:
    """The share of pairs that show one person by score: on the diagonal, the score is a probability.

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


def distance_histogram(ax: Axes, distances: np.ndarray, same: np.ndarray, threshold: float) -> Axes:
    """The distances of pairs of one person and of two people; the wrong side of the threshold is hatched.

    Args:
        ax: Where to draw.
        distances: (n,); NaN is left out.
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
    """Estimates with their intervals, one per row: filled if the interval excludes ``zero``, hollow if not.

    Args:
        ax: Where to draw.
        labels: The name of each row; the first row is on top.
        intervals: (value, low, high) of each row.
        zero: The value of "no difference"; None if there is none.
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


def interval_dots(ax: Axes, rows: Mapping[str, Mapping[str, Any]], value: str = "value", marked: bool = True) -> Axes:
    """Shares with their intervals, in per cent: a row per case, a kind of dot per series, the numbers beside them.

    Args:
        ax: Where to draw.
        rows: Name of a row → name of a series → its share, as anything that ``evaluation.as_interval`` takes; None is
            written as "withheld". A series without a name needs no legend.
        value: The key of the estimate, in a mapping or a table's row.
        marked: False to leave the numbers out.
    """
    series = list(dict.fromkeys(name for row in rows.values() for name in row))
    looks = dict(zip(series, zip(("o", "s", "^", "D"), (SAME, DIFFERENT, ACCENT, NEUTRAL), strict=True), strict=False))
    for number, row in enumerate(rows.values()):
        for place, name in zip(np.linspace(-0.3, 0.3, 2 * len(row) + 1)[1::2], row, strict=True):
            (marker, colour), y, found = looks[name], number + place, as_interval(row[name], value)
            if found is not None:
                ax.plot([100 * found.low, 100 * found.high], [y, y], color=colour, linewidth=1.6)
                ax.plot(100 * found.value, y, marker, color=colour)
            if marked or found is None:
                ax.annotate(percent(found), (1, y), (6, 0), ax.get_yaxis_transform(), "offset points", va="center")
    ax.set_yticks(range(len(rows)), list(rows))
    ax.set(ylim=(len(rows) - 0.5, -0.5), xlabel="share (%), with its 95 % interval")
    ax.grid(axis="x", color="#EEEEEE")
    ax.set_axisbelow(True)
    if len(series) > 1:
        ax.legend(
            handles=[Line2D([], [], marker=m, color=c, label=name) for name, (m, c) in looks.items()],
            loc="lower center",
            bbox_to_anchor=(0.5, 1.0),
            ncols=len(series),
        )
    return ax


def group_matrix(ax: Axes, table: pd.DataFrame) -> Axes:
    """False accepts between groups, in per cent of the pairs: the darker, the more; the diagonal is within a group.

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
    """Known people named correctly against strangers named, a line per method.

    Args:
        ax: Where to draw.
        curves: Name of a method → its table of ``evaluation.dir_curve``.
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
    """False rejects, false accepts and faces not found as one photo of each pair gets worse.

    Args:
        axes: One per kind of damage; the first has the legend.
        table: Columns ``damage``, ``level``, ``false_rejects``, ``false_accepts`` in shares, ``no_face`` and ``pairs``;
            the row ``nothing``, of untouched photos, is drawn first in each.
        units: Kind of damage → the unit of its levels.
    """
    untouched = table[table.damage == "nothing"]
    lines = {"owners outside": (SAME, "o-"), "strangers in": (DIFFERENT, "s--"), "no face found": (NEUTRAL, ":")}
    kinds = [name for name in dict.fromkeys(table.damage) if name != "nothing"]
    for ax, name in zip(np.ravel(axes), kinds, strict=False):
        rows = pd.concat([untouched, table[(table.damage == name) & (table.level > 0)]])
        shares = (rows.false_rejects, rows.false_accepts, rows.no_face / rows.pairs)
        for (label, (colour, style)), share in zip(lines.items(), shares, strict=True):
            ax.plot(range(len(rows)), 100 * share, style, color=colour, label=label, markersize=4)
        ax.set_xticks(range(len(rows)), ["–", *(f"{level:g}" for level in rows.level[1:])])
        ax.set(title=name, ylim=(-3, 101))
        ax.set_xlabel(units.get(name, ""), fontsize=8)
    np.ravel(axes)[0].legend(loc="upper left", fontsize=8)
    return axes
