"""A report as tables for the screen."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from edgelnn.cli.formatting import format_bytes, format_count, format_figure, format_seconds
from edgelnn.cli.output import Column, Table, build_table

if TYPE_CHECKING:
    from edgelnn_profiling import Report
    from edgelnn_profiling.report import Result

__all__ = ["cost_table", "heading", "memory_table", "time_table"]


def heading(report: Report) -> str:
    """Return a few lines: which model, trained on what, measured where."""
    machine = report.machine
    name = machine.board or machine.cpu or "unknown CPU"
    trained = "" if report.dataset is None else f", trained on {report.dataset}"
    synthetic = " (synthetic images)" if report.synthetic else ""
    lines = [f"{report.name}{trained}{synthetic}", f"on {name}, {machine.architecture}, {machine.cores} cores"]
    first = report.results[0]
    if first.parameters is not None:
        counts = ", ".join(f"{format_count(count)} {kind}" for kind, count in first.parameters.items())
        lines.append(f"parameters: {counts}; {format_count(first.macs)} multiply-accumulates an image")
    return "\n".join(lines)


def time_table(report: Report) -> Table:
    """Return latency at batch size 1, after warm-up."""
    rows = []
    for result in report.results:
        if result.timing is None:
            rows.append([_name(result, report), "not measured", "", "", ""])
            continue
        inference = result.timing.inference
        tail = inference.percentile(90.0)
        spread = "" if inference.sd_s is None else f" ± {format_seconds(inference.sd_s)}"
        rows.append(
            [
                _name(result, report),
                format_seconds(inference.p50_s),
                format_seconds(None if tail is None else tail.value_s),
                f"{format_seconds(inference.mean_s)}{spread}",
                format_count(result.timing.throughput[0].images_per_s),
            ]
        )
    return build_table(_columns("latency, one image at a time", "p50", "p90", "mean ± sd", "images/s"), rows)


def cost_table(report: Report) -> Table:
    """Return what is paid once: size, load, first inference; and what it was bought for: accuracy."""
    rows = []
    for result in report.results:
        timing = result.timing
        rows.append(
            [
                _name(result, report),
                format_bytes(result.size_bytes),
                format_seconds(None if timing is None else timing.load.p50_s),
                format_seconds(None if timing is None else timing.first_inference.p50_s),
                format_figure((result.test or {}).get("auc")),
                format_figure((result.test or {}).get("accuracy")),
            ]
        )
    return build_table(_columns("size, start, accuracy", "file", "load", "first", "test AUC", "test acc."), rows)


def memory_table(report: Report) -> Table:
    """Return resident memory, measured in processes that did nothing else."""
    rows = []
    for result in report.results:
        memory = result.memory
        if memory is None:
            rows.append([_name(result, report), *["-"] * 5])
            continue
        stages = (memory.interpreter, memory.runtime, memory.loaded)
        sizes = [*(stage.rss_bytes for stage in stages), memory.peak_rss_bytes, memory.above_empty_bytes]
        rows.append([_name(result, report), *(format_bytes(size) for size in sizes)])
    columns = _columns("memory (resident)", "at start", "imported", "loaded", "peak", "model's")
    return build_table(columns, rows)


def _columns(first: str, *others: str) -> Sequence[Column]:
    return [Column(first), *(Column(other, number=True) for other in others)]


def _name(result: Result, report: Report) -> str:
    several = len({each.threads for each in report.results}) > 1
    threads = f" ×{result.threads}" if several else ""
    return f"{result.variant}{threads}{' *' if result.recommended else ''}"
