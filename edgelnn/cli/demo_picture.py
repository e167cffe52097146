"""Accuracy against latency against size, as one picture."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from matplotlib.ticker import ScalarFormatter

from edgelnn.cli.formatting import format_bytes, format_seconds

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from edgelnn_profiling import Report

__all__ = ["draw_picture"]

COLORS = {"onnx": "#0072b2", "tflite": "#d55e00"}  # distinguishable without red and green (Okabe and Ito)
SHAPES = ("o", "s", "D", "^", "v", "P")
AREA = 900.0


def draw_picture(report: Report) -> bytes:
    """Return a PNG with a mark for each variant: latency to the right, AUC upwards, area by the size of its file."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 4.8), dpi=150, layout="constrained")
    axes = figure.add_subplot()
    largest = max((each.size_bytes for each in report.results), default=1)
    recipes = list(dict.fromkeys(each.recipe for each in report.results))
    for each in report.results:
        if each.timing is None or not each.test or "auc" not in each.test:
            continue
        latency = each.timing.inference.p50_s
        axes.scatter(
            latency * 1e6,
            each.test["auc"],
            s=AREA * each.size_bytes / largest,
            marker=SHAPES[recipes.index(each.recipe) % len(SHAPES)],
            color=COLORS[each.format],
            alpha=0.6,
            linewidths=0,
            label=f"{each.variant}\n{format_bytes(each.size_bytes)}, {format_seconds(latency)}",
        )
    legend = figure.legend(loc="outside right upper", frameon=False, labelspacing=1.0, fontsize=9)
    for handle in legend.legend_handles:
        handle.set_sizes([60.0])  # type: ignore[union-attr]
    _finish(axes, report)
    picture = io.BytesIO()
    figure.savefig(picture, format="png")
    return picture.getvalue()


def _finish(axes: Axes, report: Report) -> None:
    """Name the axes, and say whose figures these are."""
    axes.set_xscale("log")
    axes.margins(x=0.2)
    # Differences that chance alone explains should not look like something.
    values = [each.test["auc"] for each in report.results if each.test and "auc" in each.test]
    middle, reach = (max(values) + min(values)) / 2, max(0.05, max(values) - min(values))
    axes.set_ylim(middle - reach, min(middle + reach, 1.005))
    ticks = ScalarFormatter()
    ticks.set_scientific(False)
    axes.xaxis.set_major_formatter(ticks)
    axes.xaxis.set_minor_formatter(ticks)
    axes.set_xlabel("latency of one image: median, µs (left is better)")
    axes.set_ylabel("AUC on the test split (up is better)")
    synthetic = " on synthetic images" if report.synthetic else ""
    machine = report.machine.board or report.machine.cpu or report.machine.architecture
    axes.set_title(f"{report.name}{synthetic}; area: size of the file\n{machine}", fontsize=10, loc="left")
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
