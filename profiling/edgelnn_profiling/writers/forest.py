"""Ratios with their intervals, a row each, beside the line where nothing differs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from edgelnn_profiling.ratios import Interval
from edgelnn_profiling.writers.axes import figure_svg, log_axis, upright_grid
from edgelnn_profiling.writers.labels import shorten
from edgelnn_profiling.writers.markup import Markup, element
from edgelnn_profiling.writers.units import format_ratio

__all__ = ["RatioRow", "forest_chart"]

WIDTH, LEFT, RIGHT, ROW = 380.0, 14.0, 366.0, 36.0


@dataclass(frozen=True)
class RatioRow:
    """One row.

    Attributes:
        name: Of what is compared.
        ratio: To the reference; None for the reference itself.
        told: Whether the ratio is told to be a difference.
        group: Of the color, from 0.
    """

    name: str
    ratio: Interval | None
    told: bool
    group: int


def forest_chart(name: str, title: str, rows: Sequence[RatioRow]) -> Markup:
    """Return the chart; rows whose difference is not told are hollow.

    Args:
        name: Of its element.
        title: What it is.
        rows: At least one.
    """
    ends = [end for row in rows if row.ratio for end in (row.ratio.low, row.ratio.high)]
    axis = log_axis([1.0, *ends], LEFT, RIGHT)
    bottom = 8.0 + ROW * len(rows)
    drawn = upright_grid(axis, bottom)
    drawn.append(element("line", x1=axis(1.0), x2=axis(1.0), y1=4, y2=bottom, class_="unity"))
    for number, row in enumerate(rows):
        drawn += _row(row, axis(1.0), [axis(end) for end in _ends(row)], 8.0 + ROW * number)
    scale = ", logarithmic" if axis.logarithmic else ""
    words = f"← faster than the reference · slower →{scale}"
    drawn.append(element("text", words, x=WIDTH / 2, y=bottom + 32, text_anchor="middle", class_="axis"))
    told = "; ".join(f"{row.name} {_said(row)}" for row in rows)
    return figure_svg(
        name, title, f"Ratios of median latencies with 95 % intervals: {told}.", (WIDTH, bottom + 40), drawn
    )


def _ends(row: RatioRow) -> tuple[float, ...]:
    return () if row.ratio is None else (row.ratio.low, row.ratio.value, row.ratio.high)


def _said(row: RatioRow) -> str:
    return _ratio(row) if row.told or row.ratio is None else f"{_ratio(row)}, no difference told"


def _ratio(row: RatioRow) -> str:
    return "reference" if row.ratio is None else format_ratio(row.ratio.value, row.ratio.low, row.ratio.high)


def _row(row: RatioRow, unity: float, places: Sequence[float], top: float) -> list[Markup]:
    y = top + 22
    named = element("text", f"{shorten(row.name, 34)} · {_ratio(row)}", x=LEFT, y=top + 10, class_="name")
    if len(places) < 3:
        mark = element("path", d=f"M{unity:.2f} {y - 5:.2f}l5 5-5 5-5-5z")
        return [named, element("g", mark, class_=f"mark group{row.group}")]
    low, middle, high = places
    lines = [element("line", x1=low, x2=high, y1=y, y2=y, class_="range")]
    lines += [element("line", x1=x, x2=x, y1=y - 5, y2=y + 5, class_="end") for x in (low, high)]
    dot = element("circle", cx=middle, cy=y, r=5, class_=None if row.told else "hollow")
    said = element("title", f"{row.name}: {_said(row)}")
    return [named, element("g", said, *lines, dot, class_=f"mark group{row.group}")]
