"""Accuracy against a cost: a point a variant, and the front of those that no other beats."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from edgelnn_profiling.writers.axes import Axis, figure_svg, linear_axis, log_axis, short_number
from edgelnn_profiling.writers.labels import Label, place_labels, shorten
from edgelnn_profiling.writers.markup import Markup, element
from edgelnn_profiling.writers.pareto import pareto_front

__all__ = ["Point", "marker", "scatter_chart"]

WIDTH, HEIGHT = 380.0, 296.0
LEFT, RIGHT, TOP, BOTTOM = 42.0, 372.0, 16.0, 252.0
LEAST_SPAN = 0.1  # of accuracy: differences that chance alone explains should not fill the chart


@dataclass(frozen=True)
class Point:
    """What stands for a variant in a chart.

    Attributes:
        name: In the chart.
        group: Which color and shape it has, from 0.
        cost: To the right; more is worse.
        worth: Upwards; more is better.
        says: All about it, for whoever points at it.
    """

    name: str
    group: int
    cost: float
    worth: float
    says: str


def scatter_chart(
    name: str,
    title: str,
    points: Sequence[Point],
    *,
    cost: str,
    worth: str,
    factor: float,
    format_cost: Callable[[float], str],
) -> Markup:
    """Return the chart.

    Args:
        name: Of its element.
        title: What it is.
        points: At least one.
        cost: Name of the axis to the right, with its unit.
        worth: Name of the axis upwards.
        factor: From a point's cost to the axis's unit.
        format_cost: How a point's cost is written in the description.
    """
    across = log_axis([point.cost * factor for point in points], LEFT, RIGHT)
    upward = _worth_axis([point.worth for point in points])
    places = [(across(point.cost * factor), upward(point.worth)) for point in points]
    front = pareto_front([(point.cost, point.worth) for point in points])
    names, room = [shorten(point.name) for point in points], (LEFT, 2.0, WIDTH - 2, BOTTOM - 2)
    labels = place_labels(places, names, room, first=front)
    best = ", ".join(f"{points[index].name} ({format_cost(points[index].cost)})" for index in front)
    described = f"{worth} against {cost} of {len(points)} variants. On the Pareto front, by rising cost: {best}."
    return figure_svg(
        name,
        title,
        described,
        (WIDTH, HEIGHT),
        _frame(across, upward, cost, worth),
        element("path", d=_steps([places[index] for index in front]), class_="front"),
        [_leader(place, label) for place, label in zip(places, labels, strict=True) if label is not None],
        [
            marker(point, place, on_front=index in front)
            for index, (point, place) in enumerate(zip(points, places, strict=True))
        ],
        [
            element("text", label.text, x=label.x, y=label.y, text_anchor=label.anchor, class_="name")
            for label in labels
            if label is not None
        ],
    )


def _worth_axis(values: Sequence[float]) -> Axis:
    least, most = min(values), max(values)
    span = max(LEAST_SPAN, (most - least) * 1.3)
    high = min((least + most + span) / 2, max(1.0, most))
    return linear_axis(high - span, high, BOTTOM, TOP + 8)


def _frame(across: Axis, upward: Axis, cost: str, worth: str) -> list[Markup]:
    lines = []
    for tick in upward.ticks:
        y = upward(tick)
        lines.append(element("line", x1=LEFT, x2=RIGHT, y1=y, y2=y, class_="grid"))
        lines.append(element("text", short_number(tick), x=LEFT - 6, y=y + 4, text_anchor="end", class_="tick"))
    for tick in across.ticks:
        x = across(tick)
        lines.append(element("line", x1=x, x2=x, y1=TOP, y2=BOTTOM, class_="grid"))
        lines.append(element("text", short_number(tick), x=x, y=BOTTOM + 16, text_anchor="middle", class_="tick"))
    scale = " (logarithmic)" if across.logarithmic else ""
    middle = (LEFT + RIGHT) / 2
    lines.append(element("text", f"{cost}{scale} →", x=middle, y=HEIGHT - 8, text_anchor="middle", class_="axis"))
    lines.append(element("text", f"↑ {worth}", x=4, y=11, class_="axis"))
    return lines


def _steps(places: Sequence[tuple[float, float]]) -> str:
    """Return the outline of what the front beats: level until the next point, then up to it, to the chart's edges."""
    (x, y), *others = places
    words = [f"M{x:.2f} {BOTTOM:.2f}V{y:.2f}"]
    words += [f"H{x:.2f}V{y:.2f}" for x, y in others]
    return "".join([*words, f"H{RIGHT:.2f}"])


def _leader(place: tuple[float, float], label: Label) -> Markup | None:
    if not label.far:
        return None
    return element("line", x1=place[0], y1=place[1], x2=label.x, y2=label.y - 4, class_="leader")


def marker(point: Point, place: tuple[float, float], *, on_front: bool) -> Markup:
    """Return a point's mark: shape and color say its group, a ring that it is on the front."""
    x, y = place
    shapes = (
        element("circle", cx=x, cy=y, r=5),
        element("rect", x=x - 4.5, y=y - 4.5, width=9, height=9),
        element("path", d=f"M{x:.2f} {y - 6:.2f}l6 6-6 6-6-6z"),
        element("path", d=f"M{x:.2f} {y - 5.5:.2f}l5.5 10h-11z"),
        element("path", d=f"M{x:.2f} {y + 5.5:.2f}l5.5-10h-11z"),
        element("path", d=f"M{x - 5.5:.2f} {y - 2:.2f}h3.5v-3.5h4v3.5h3.5v4h-3.5v3.5h-4v-3.5h-3.5z"),
    )
    ring = element("circle", cx=x, cy=y, r=9, class_="ring") if on_front else None
    shape = shapes[point.group % len(shapes)]
    return element("g", element("title", point.says), ring, shape, class_=f"mark group{point.group % len(shapes)}")
