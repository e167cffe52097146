"""Axes of charts: from values to places, and the round numbers that are written beside them."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from edgelnn_profiling.writers.markup import Children, Markup, element

__all__ = ["Axis", "figure_svg", "linear_axis", "log_axis", "short_number", "upright_grid"]

WIDE = 5.0  # with values further apart than this factor, an axis is logarithmic


@dataclass(frozen=True)
class Axis:
    """A way from values to places.

    Attributes:
        low, high: Values at its ends.
        start, end: Places of these, in the chart's units.
        logarithmic: Whether equal factors take equal room.
        ticks: Round values between the ends.
    """

    low: float
    high: float
    start: float
    end: float
    logarithmic: bool
    ticks: tuple[float, ...]

    def __call__(self, value: float) -> float:
        """Return where a value lies; what lies beyond an end, at that end."""
        value = min(max(value, self.low), self.high)
        if self.logarithmic:
            part = math.log(value / self.low) / math.log(self.high / self.low)
        else:
            part = (value - self.low) / (self.high - self.low)
        return self.start + part * (self.end - self.start)


def linear_axis(low: float, high: float, start: float, end: float, *, ticks: int = 4) -> Axis:
    """Return an axis whose equal steps take equal room.

    >>> linear_axis(0.0, 10.0, 0.0, 100.0).ticks
    (0.0, 2.0, 4.0, 6.0, 8.0, 10.0)
    """
    if not high > low:
        reach = abs(low) * 0.1 or 1.0
        low, high = low - reach, high + reach
    rough = (high - low) / ticks
    power = 10.0 ** math.floor(math.log10(rough))
    step = next((factor * power for factor in (1.0, 2.0, 2.5, 5.0) if factor * power >= rough * 0.8), 10.0 * power)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return Axis(low, high, start, end, False, tuple(round(index * step, 12) for index in range(first, last + 1)))


def log_axis(values: Iterable[float], start: float, end: float, *, margin: float = 1.15, ticks: int = 6) -> Axis:
    """Return an axis for values above 0: logarithmic where they lie far apart, linear where they do not.

    What is not above 0 lies at the axis's start.

    >>> axis = log_axis([1.0, 100.0], 0.0, 90.0, margin=1.0)
    >>> axis(10.0), axis.ticks
    (45.0, (1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0))
    """
    known = [value for value in values if value > 0]
    if not known:
        return linear_axis(0.0, 1.0, start, end)
    least, most = min(known), max(known)
    if most < least * WIDE:
        reach = max((most - least) * 0.2, most * 0.05)
        return linear_axis(max(0.0, least - reach), most + reach, start, end)
    low, high = least / margin, most * margin
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for factors in ((1.0, 1.5, 2.0, 3.0, 5.0, 7.0), (1.0, 2.0, 5.0), (1.0, 3.0), (1.0,)):
        found = [factor * 10.0**power for power in powers for factor in factors]
        marks = tuple(mark for mark in found if low * (1 - 1e-9) <= mark <= high * (1 + 1e-9))
        if len(marks) <= ticks + 1:
            break
    return Axis(low, high, start, end, True, marks)


def short_number(value: float) -> str:
    """Return a round number for an axis.

    >>> short_number(0.9), short_number(2000.0), short_number(0.975)
    ('0.9', '2,000', '0.975')
    """
    return f"{value:,.4f}".rstrip("0").rstrip(".") if abs(value) < 1000 else f"{value:,.0f}"


def upright_grid(axis: Axis, bottom: float) -> list[Markup]:
    """Return a line upwards for each round value of an axis to the right, and the value below it.

    Args:
        axis: The axis.
        bottom: Where the lines end; the values stand below.
    """
    drawn = []
    for tick in axis.ticks:
        x = axis(tick)
        drawn.append(element("line", x1=x, x2=x, y1=4, y2=bottom, class_="grid"))
        drawn.append(element("text", short_number(tick), x=x, y=bottom + 15, text_anchor="middle", class_="tick"))
    return drawn


def figure_svg(name: str, title: str, described: str, size: tuple[float, float], *parts: Children) -> Markup:
    """Return a chart that a screen reader can name and describe.

    Args:
        name: No other element of the page has; letters, digits and hyphens.
        title: What it is.
        described: What is to be seen in it, for those who do not see it.
        size: Width and height, in the chart's own units.
        parts: What is drawn.
    """
    return element(
        "svg",
        element("title", title, id=f"{name}-title"),
        element("desc", described, id=f"{name}-desc"),
        *parts,
        viewBox=f"0 0 {size[0]:g} {size[1]:g}",
        role="img",
        aria_labelledby=f"{name}-title {name}-desc",
    )
