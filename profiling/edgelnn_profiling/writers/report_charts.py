"""The charts of a report."""

from __future__ import annotations

from collections.abc import Sequence

from edgelnn_profiling.report import Memory, Report, Result, Timing
from edgelnn_profiling.writers.bars import Bar, bar_chart
from edgelnn_profiling.writers.distributions import distribution_chart, range_chart
from edgelnn_profiling.writers.markup import Markup, element
from edgelnn_profiling.writers.scatter import Point, marker, scatter_chart
from edgelnn_profiling.writers.sentences import label_of
from edgelnn_profiling.writers.shell import figure, legend
from edgelnn_profiling.writers.tables import percentile_text
from edgelnn_profiling.writers.units import format_bytes, format_seconds, scale_of

__all__ = ["latency_charts", "memory_charts", "trade_off_charts"]

GROUPS = {"onnx": 0, "tflite": 1}
FORMATS = {"onnx": "ONNX", "tflite": "TFLite"}
STAGES = ("Python", "numpy", "the runtime", "the loaded model", "inference")
FRONT = "Ringed, on the dashed line: the Pareto front; no other variant is at least as good in both and better in one."


def group_of(result: Result) -> int:
    """Return the number of a variant's color: by its format."""
    return GROUPS.get(result.format, 2)


def trade_off_charts(report: Report) -> list[Markup]:
    """Return accuracy against latency and against size; none where no accuracy is known."""
    worths = {worth: [result for result in report.results if worth in (result.test or {})] for worth in _WORTHS}
    worth, judged = next(((worth, found) for worth, found in worths.items() if found), ("", []))
    if not judged:
        return []
    axis = f"{_WORTHS[worth]} on the test split"
    charts = []
    timed = [(result, result.timing) for result in judged if result.timing is not None]
    if timed:
        middle = min(timing.inference.p50_s for _, timing in timed)
        factor, unit = scale_of(middle)
        points = [_point(result, report, timing.inference.p50_s, worth) for result, timing in timed]
        title = f"{_WORTHS[worth]} against latency"
        chart = scatter_chart(
            "trade-latency",
            title,
            points,
            cost=f"median latency of one image, {unit}",
            worth=axis,
            factor=factor,
            format_cost=format_seconds,
        )
        charts.append(figure(title, chart, FRONT, _formats(judged)))
    points = [_point(result, report, float(result.size_bytes), worth) for result in judged]
    title = f"{_WORTHS[worth]} against size"
    chart = scatter_chart(
        "trade-size",
        title,
        points,
        cost="size of the file, kB",
        worth=axis,
        factor=1e-3,
        format_cost=lambda size: format_bytes(round(size)),
    )
    charts.append(figure(title, chart, FRONT, _formats(judged)))
    return charts


_WORTHS = {"auc": "AUC", "accuracy": "accuracy"}


def _point(result: Result, report: Report, cost: float, worth: str) -> Point:
    timing = result.timing
    threads = label_of(result, report.results).removeprefix(result.variant)
    says = [
        f"{label_of(result, report.results)}: {_WORTHS[worth]} {(result.test or {})[worth]:.4f}",
        format_bytes(result.size_bytes),
        "" if timing is None else f"p50 {percentile_text(timing.inference, 50.0)}",
        "recommended by the bundle" if result.recommended else "",
    ]
    named = (result.recipe or result.variant) + threads + (" *" if result.recommended else "")
    return Point(named, group_of(result), cost, (result.test or {})[worth], ", ".join(filter(None, says)))


def _formats(results: Sequence[Result]) -> Markup:
    found = {group_of(result): FORMATS.get(result.format, result.format) for result in results}
    entries = []
    for group, name in sorted(found.items()):
        mark = marker(Point(name, group, 0.0, 0.0, name), (8.0, 8.0), on_front=False)
        entries.append((element("svg", mark, viewBox="0 0 16 16", aria_hidden="true"), name))
    return legend(entries)


def latency_charts(report: Report) -> list[Markup]:
    """Return ranges of all variants on one axis, and the distribution of each."""
    rows = [
        (label_of(result, report.results), group_of(result), result.timing)
        for result in report.results
        if result.timing is not None
    ]
    if not rows:
        return []
    title = "Median, p90 and p99"
    charts = [figure(title, range_chart("ranges", title, rows), "Percentiles are left out where samples are too few.")]
    for number, (label, group, timing) in enumerate(rows):
        chart = distribution_chart(f"spread-{number}", f"How the samples of {label} are spread", timing, group)
        charts.append(figure(label, chart, _spread(timing)))
    return charts


def _spread(timing: Timing) -> str:
    medians, middle = timing.window_p50s_s, timing.inference.p50_s
    apart = (max(medians) - min(medians)) / middle if middle > 0 else 0.0
    means = f", each the mean of {timing.inference.means_of} inferences" if timing.inference.means_of > 1 else ""
    processes = len(timing.processes)
    return (
        f"{timing.inference.count:,} samples{means}; {len(medians)} windows in {processes} processes, whose medians "
        f"lie {apart:.1%} apart (right, in order; grey: the 5 % that are still valid)."
    )


def memory_charts(report: Report) -> list[Markup]:
    """Return what resident memory is made of; nothing where it was not measured."""
    bars = []
    for result in report.results:
        parts = None if result.memory is None else _memory_parts(result.memory)
        if parts is not None and result.memory is not None:
            cost = result.memory.above_empty_bytes
            peak = format_bytes(result.memory.peak_rss_bytes)
            named = f"{label_of(result, report.results)} · model's cost {format_bytes(cost)}"
            says = tuple(
                (size / 1e6, f"{stage}: {format_bytes(round(size))}") for size, stage in zip(parts, STAGES, strict=True)
            )
            bars.append(Bar(named, says, peak))
    if not bars:
        return []
    title = "What the resident memory of a process is made of"
    described = "; ".join(f"{bar.name}, peak {bar.total}" for bar in bars) + "."
    keys = [(element("span", class_=f"key part{number}"), stage) for number, stage in enumerate(STAGES)]
    chart = bar_chart("memory", title, described, bars, unit="MB")
    words = "Resident set (RSS) after each step, at its end the peak; measured in processes that did nothing else."
    return [figure(title, chart, words, legend(keys))]


def _memory_parts(memory: Memory) -> list[float] | None:
    """Return what each stage added, in bytes; what a stage gave back is taken from those before it."""
    stages = (memory.interpreter, memory.numpy, memory.runtime, memory.loaded)
    sizes = [*(stage.rss_bytes for stage in stages), memory.peak_rss_bytes]
    known = [size for size in sizes if size is not None]
    if len(known) < len(sizes):
        return None
    reached = [min(known[index:]) for index in range(len(known))]
    return [float(size - before) for before, size in zip([0, *reached], reached, strict=False)]
