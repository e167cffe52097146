"""Bars to the right: of parts that add up, one bar a row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from edgelnn_profiling.writers.axes import figure_svg, linear_axis, upright_grid
from edgelnn_profiling.writers.labels import shorten, text_width
from edgelnn_profiling.writers.markup import Markup, element

__all__ = ["Bar", "bar_chart"]

WIDTH = 380.0
LEFT = 6.0
ROW, BAR = 36.0, 14.0


@dataclass(frozen=True)
class Bar:
    """One row.

    Attributes:
        name: Over the bar.
        parts: Sizes of what it is made of, none negative, and what to say of each.
        total: What stands at its end.
    """

    name: str
    parts: tuple[tuple[float, str], ...]
    total: str


def bar_chart(
    name: str, title: str, described: str, bars: Sequence[Bar], *, unit: str, colors: Sequence[int] = range(6)
) -> Markup:
    """Return the chart; part by part, all bars have the same colors.

    Args:
        name: Of its element.
        title: What it is.
        described: What is to be seen in it.
        bars: At least one.
        unit: Of the sizes; stands on the axis.
        colors: Number of each part's color.
    """
    longest = max((sum(size for size, _ in bar.parts) for bar in bars), default=0.0) or 1.0
    ends = max((text_width(bar.total, 13.0) for bar in bars), default=0.0)  # they are bold
    axis = linear_axis(0.0, longest, LEFT, WIDTH - 12.0 - ends)
    bottom = 6 + ROW * len(bars)
    drawn = upright_grid(axis, bottom)
    drawn.append(element("text", unit, x=WIDTH - 4, y=bottom + 15, text_anchor="end", class_="axis"))
    for row, bar in enumerate(bars):
        top = 6 + ROW * row
        drawn.append(element("text", shorten(bar.name, 54), x=LEFT, y=top + 11, class_="name"))
        reached = 0.0
        for part, (size, says) in enumerate(bar.parts):
            start, reached = axis(reached), reached + size
            if size > 0:
                end = axis(reached)
                shape = element("rect", element("title", says), x=start, y=top + 15, width=end - start, height=BAR)
                drawn.append(element("g", shape, class_=f"part{colors[part]}"))
        drawn.append(element("text", bar.total, x=axis(reached) + 5, y=top + 26, class_="value"))
    return figure_svg(name, title, described, (WIDTH, bottom + 22), drawn)
