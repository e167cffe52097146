"""The figures of a reproduction: measured beside published, and how large the models are."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from edgelnn.reproducing.results import Reproduction, Row
from edgelnn.reproducing.verdicts import FIGURES
from edgelnn.training.figures import BLUE, GREEN, GREY, INK, ORANGE, styled

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["draw_metrics", "draw_parameters"]

COUNTS = {"trainable": BLUE, "stored": GREY, "active": GREEN}


def draw_metrics(found: Reproduction) -> bytes:
    """Return bars of the figures of merit as PNG: mean, 95 % interval, every training, and what was published."""
    return styled(partial(_metrics, found))


def draw_parameters(found: Reproduction) -> bytes:
    """Return bars of the parameter counts as PNG."""
    return styled(partial(_parameters, found))


def _metrics(found: Reproduction) -> Figure:
    from matplotlib.figure import Figure

    rows = found.rows
    figure = Figure(figsize=(11.0, 1.5 + 0.36 * len(rows) + 0.5))
    figure.suptitle(_title(found, "measured and published"), fontsize=11, fontweight="bold", x=0.012, ha="left")
    for axes, (name, title) in zip(figure.subplots(1, 3, sharey=True), FIGURES.items(), strict=True):
        for index, row in enumerate(rows):
            _bar(axes, index, row, name)
        spoken = f" ({found.f1_class})" if name == "f1" else ""
        chance = 0.5 if name == "auc" and min(row.measured[name].low for row in rows) > 0.5 else 0.0
        axes.set(title=f"{title}{spoken}{', from 0.5 (chance)' if chance else ''}", xlim=(chance, 1.0))
        axes.grid(axis="y", visible=False)
    first = figure.axes[0]
    first.set_yticks(range(len(rows)), [row.title for row in rows])
    first.invert_yaxis()
    figure.legend(*first.get_legend_handles_labels(), loc="outside lower center", ncols=3, fontsize=8.5)
    return figure


def _bar(axes: Axes, index: int, row: Row, name: str) -> None:
    """Draw one model's bar, with its interval, its trainings and its published figure; the first draws the legend."""
    measured = row.measured[name]
    errors = [[max(measured.mean - measured.low, 0)], [max(measured.high - measured.mean, 0)]]
    faint = 0.35 if row.as_published else 0.75
    bars = axes.barh(index, measured.mean, 0.62, xerr=errors, color=BLUE, alpha=faint, ecolor=INK, capsize=2)
    (marks,) = axes.plot(measured.values, [index] * len(measured.values), "|", color=INK, markersize=6)
    value = _published(row, name)
    shown = [] if value is None else [value]
    (diamond,) = axes.plot(
        shown, [index] * len(shown), "D", color=ORANGE, markeredgecolor="white", markersize=7, zorder=5
    )
    if index == 0:
        bars.set_label("mean of our trainings, 95 % interval")
        marks.set_label("each training")
        diamond.set_label("published")


def _parameters(found: Reproduction) -> Figure:
    from matplotlib.figure import Figure

    rows = found.rows
    figure = Figure(figsize=(9.0, 1.5 + 0.5 * len(rows)))
    figure.suptitle(_title(found, "parameters"), fontsize=11, fontweight="bold", x=0.012, ha="left")
    axes = figure.subplots()
    for offset, (name, color) in zip((-0.26, 0.0, 0.26), COUNTS.items(), strict=True):
        values = [row.parameters[name] for row in rows]
        places = np.arange(len(rows)) + offset
        axes.barh(places, values, height=0.24, color=color, label=name)
        for place, value in zip(places, values, strict=True):
            axes.annotate(f"{value:,}", (value, place), (4, 0), textcoords="offset points", va="center", fontsize=7.5)
    axes.set_xlim(0, max(max(row.parameters.values()) for row in rows) * 1.12)
    axes.xaxis.set_major_formatter(lambda value, _place: f"{value:,.0f}")
    axes.set_yticks(range(len(rows)), [row.title for row in rows])
    axes.invert_yaxis()
    axes.grid(axis="y", visible=False)
    figure.legend(loc="outside lower center", ncols=3, fontsize=8.5)
    return figure


def _published(row: Row, name: str) -> float | None:
    """Return a published figure that is of the same thing as the measured one."""
    return next((one.published for one in row.comparisons if one.figure == name), None)


def _title(found: Reproduction, what: str) -> str:
    synthetic = " (synthetic images)" if found.data.get("synthetic") else ""
    shortened = ", not the published protocol" if found.plan.changes else ""
    return f"{found.plan.system.name} on {found.data['name']}{synthetic}{shortened}: {what}"
