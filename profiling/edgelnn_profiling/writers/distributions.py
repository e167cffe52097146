"""How samples are spread: as a histogram of all, and as medians in the order in which windows were taken."""

from __future__ import annotations

from collections.abc import Sequence

from edgelnn_profiling.report import Timing
from edgelnn_profiling.samples import quantile
from edgelnn_profiling.writers.axes import Axis, figure_svg, linear_axis, log_axis, short_number, upright_grid
from edgelnn_profiling.writers.labels import shorten
from edgelnn_profiling.writers.markup import Markup, element
from edgelnn_profiling.writers.units import format_seconds, format_seconds_interval, scale_of

__all__ = ["distribution_chart", "range_chart"]

WIDTH, HEIGHT = 380.0, 150.0
BINS = 60
HISTOGRAM = (6.0, 252.0)  # left and right
MEDIANS = (298.0, 374.0)
TOP, BOTTOM = 22.0, 116.0
BAND = 0.05  # medians of windows further apart than this make a report invalid


def samples_of(timing: Timing) -> list[float]:
    """Return all samples in seconds an inference, ascending."""
    return sorted(
        sample / (1e9 * process.means_of)
        for process in timing.processes
        for window in process.windows
        for sample in window.samples_ns
    )


def distribution_chart(name: str, title: str, timing: Timing, group: int) -> Markup:
    """Return the histogram of a variant's samples, and beside it the medians of its windows.

    Args:
        name: Of its element.
        title: What it is.
        timing: The samples.
        group: Of the color.
    """
    samples = samples_of(timing)
    middle = timing.inference.p50_s
    factor, unit = scale_of(middle)
    low, high = _shown(samples)
    beyond = len(samples) - sum(sample <= high for sample in samples)
    axis = linear_axis(low * factor, high * factor, *HISTOGRAM)
    counts = [0] * BINS
    for sample in samples:
        if sample <= high:
            counts[min(int((sample - low) / (high - low) * BINS), BINS - 1)] += 1
    tail = f"; {beyond:,} of {len(samples):,} samples lie beyond, up to {format_seconds(samples[-1])}" if beyond else ""
    medians = timing.window_p50s_s
    apart = (max(medians) - min(medians)) / middle if middle > 0 else 0.0
    described = (
        f"Histogram of {len(samples):,} samples from {format_seconds(samples[0])}{tail}. "
        f"The medians of {len(medians)} windows lie {apart:.1%} apart."
    )
    return figure_svg(
        name,
        title,
        described,
        (WIDTH, HEIGHT),
        _histogram(counts, axis, group),
        _marks(timing, axis, factor),
        element("text", f"one inference, {unit}", x=HISTOGRAM[0], y=HEIGHT - 4, class_="axis"),
        element("text", f"{beyond:,} beyond ⇥", x=HISTOGRAM[1], y=HEIGHT - 4, text_anchor="end", class_="axis")
        if beyond
        else None,
        _window_medians(timing, group),
    )


def _shown(ordered: Sequence[float]) -> tuple[float, float]:
    """Return the ends of what a histogram shows: the bulk, so that one outlier does not make a needle of it."""
    low, high = ordered[0], ordered[-1]
    body = quantile(ordered, 0.9) - low
    limit = quantile(ordered, 0.9) + 1.5 * max(body, 0.02 * low)
    high = min(high, max(limit, low * 1.02))
    return (low, high) if high > low else (low * 0.98, low * 1.02 or 1e-9)


def _histogram(counts: Sequence[int], axis: Axis, group: int) -> list[Markup]:
    most = max(counts) or 1
    width = (axis.end - axis.start) / len(counts)
    words = [f"M{axis.start:.2f} {BOTTOM:.2f}"]
    for index, count in enumerate(counts):
        words.append(f"V{BOTTOM - (BOTTOM - TOP) * count / most:.2f}H{axis.start + width * (index + 1):.2f}")
    shape = element("path", d="".join([*words, f"V{BOTTOM:.2f}z"]), class_=f"hill group{group}")
    lines = [element("line", x1=axis.start, x2=axis.end, y1=BOTTOM, y2=BOTTOM, class_="base")]
    for tick in axis.ticks:
        anchor = "start" if axis(tick) < axis.start + 10 else "end" if axis(tick) > axis.end - 10 else "middle"
        lines.append(element("line", x1=axis(tick), x2=axis(tick), y1=BOTTOM, y2=BOTTOM + 4, class_="base"))
        lines.append(
            element("text", short_number(tick), x=axis(tick), y=BOTTOM + 16, text_anchor=anchor, class_="tick")
        )
    return [shape, *lines]


def _marks(timing: Timing, axis: Axis, factor: float) -> list[Markup]:
    """Return a line for each percentile that is in sight, with its name, not two names in one place."""
    drawn: list[Markup] = []
    last = float("-inf")
    for found in timing.inference.percentiles:
        if not axis.low <= found.value_s * factor <= axis.high:
            continue
        x = axis(found.value_s * factor)
        drawn.append(element("line", x1=x, x2=x, y1=TOP - 6, y2=BOTTOM, class_="percentile"))
        if x - last > 30:
            drawn.append(element("text", f"p{found.percent:g}", x=x + 2, y=TOP - 8, class_="tick"))
            last = x
    return drawn


def _window_medians(timing: Timing, group: int) -> list[Markup]:
    """Return the medians of windows against their order, on a scale of at least the spread that is still valid."""
    middle = quantile(sorted(timing.window_p50s_s), 0.5) or 1e-9
    apart = [median / middle - 1 for median in timing.window_p50s_s]
    widest = max(BAND, *(abs(value) for value in apart))
    reach = next((end for end in (0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0) if end >= widest), widest)
    axis = linear_axis(-reach, reach, BOTTOM, TOP)
    left, right = MEDIANS
    drawn = [
        element("rect", x=left, y=axis(BAND / 2), width=right - left, height=axis(0) - axis(BAND), class_="band"),
        element("line", x1=left, x2=right, y1=axis(0), y2=axis(0), class_="grid"),
    ]
    for tick in (-reach, 0.0, reach):
        text = f"{tick:+.0%}" if tick else "0"
        drawn.append(element("text", text, x=left - 4, y=axis(tick) + 4, text_anchor="end", class_="tick"))
    step = (right - left) / len(apart)
    places = iter(left + step * (index + 0.5) for index in range(len(apart)))
    values = iter(apart)
    for number, process in enumerate(timing.processes):
        for _, x, value in zip(process.windows, places, values, strict=False):
            says = f"process {number + 1}: median {value:+.2%} from the middle one"
            shape = element("circle", element("title", says), cx=x, cy=axis(value), r=3)
            drawn.append(element("g", shape, class_=f"group{group} {'odd' if number % 2 else 'even'}"))
    drawn.append(element("text", "windows →", x=right, y=HEIGHT - 4, text_anchor="end", class_="axis"))
    return drawn


def range_chart(name: str, title: str, rows: Sequence[tuple[str, int, Timing]]) -> Markup:
    """Return median, p90 and p99 of several variants on one axis.

    Args:
        name: Of its element.
        title: What it is.
        rows: A variant's name, the group of its color, and its times; at least one.
    """
    ordered = sorted(rows, key=lambda row: row[2].inference.p50_s)
    factor, unit = scale_of(ordered[0][2].inference.p50_s)
    shown = [
        found.value_s * factor for row in ordered for found in row[2].inference.percentiles if found.percent <= 99.0
    ]
    axis = log_axis(shown, 14.0, 366.0)
    row_height, bottom = 36.0, 8.0 + 36.0 * len(ordered)
    drawn = upright_grid(axis, bottom)
    for index, (label, group, timing) in enumerate(ordered):
        drawn += _range(label, group, timing, axis, factor, 8.0 + row_height * index)
    scale = ", logarithmic" if axis.logarithmic else ""
    legend = f"● median, | p90, ‖ p99 of one inference, {unit}{scale}"
    drawn.append(element("text", legend, x=WIDTH / 2, y=bottom + 32, text_anchor="middle", class_="axis"))
    told = "; ".join(f"{label} {format_seconds(timing.inference.p50_s)}" for label, _, timing in ordered)
    return figure_svg(name, title, f"Medians, the fastest first: {told}.", (WIDTH, bottom + 40), drawn)


def _range(label: str, group: int, timing: Timing, axis: Axis, factor: float, top: float) -> list[Markup]:
    percentiles = [found for found in timing.inference.percentiles if found.percent <= 99.0]
    middle, y = percentiles[0], top + 22
    says = "; ".join(
        f"p{found.percent:g} {format_seconds_interval(found.value_s, found.low_s, found.high_s)}"
        for found in percentiles
    )
    places = [axis(found.value_s * factor) for found in percentiles]
    drawn = [element("line", x1=places[0], x2=places[-1], y1=y, y2=y, class_="range")]
    for found, x in zip(percentiles[1:], places[1:], strict=True):
        offsets = (0.0,) if found.percent == 90.0 else (-1.5, 1.5)
        drawn += [element("line", x1=x + by, x2=x + by, y1=y - 6, y2=y + 6, class_="end") for by in offsets]
    drawn.append(element("circle", cx=places[0], cy=y, r=5))
    named = element("text", f"{shorten(label, 40)} · {format_seconds(middle.value_s)}", x=14, y=top + 10, class_="name")
    return [named, element("g", element("title", f"{label}: {says}"), *drawn, class_=f"mark group{group}")]
