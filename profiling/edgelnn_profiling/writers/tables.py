"""The figures of a report as tables of text, the same for screen, Markdown and HTML."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from edgelnn_profiling.report import Report, Result
from edgelnn_profiling.samples import Summary
from edgelnn_profiling.writers.cost_tables import energy_table, layer_table, part_table
from edgelnn_profiling.writers.sentences import label_of
from edgelnn_profiling.writers.text_table import TextColumn as TextColumn
from edgelnn_profiling.writers.text_table import TextTable as TextTable
from edgelnn_profiling.writers.units import (
    UNKNOWN,
    format_bytes,
    format_rate,
    format_seconds,
    format_seconds_interval,
)

__all__ = ["TOO_FEW", "TextColumn", "TextTable", "tables_of"]

TOO_FEW = "too few samples"
INTERVALS = (
    "The interval of a median rests on the medians of processes, as samples within one depend on each other; fewer "
    "than three give none. Percentiles above it have no interval."
)


def tables_of(report: Report, *, narrow: bool = False) -> list[TextTable]:
    """Return the tables of a report; those of what was not measured of any variant are left out.

    Args:
        report: Where the figures come from.
        narrow: Fewer layers, and no table of the way from pixels to decision.
    """
    timings = [result.timing for result in report.results if result.timing is not None]
    tables = [latency_table(report), cost_table(report)]
    if any(result.memory is not None for result in report.results):
        tables.append(memory_table(report))
    if timings and len(report.plan.batches) > 1:
        tables.append(throughput_table(report))
    if not narrow and any(timing.preparation is not None for timing in timings):
        tables.append(path_table(report))
    if any(result.operators is not None for result in report.results):
        tables += [part_table(report), layer_table(report, least_share=0.05 if narrow else 0.02)]
    if any(result.energy is not None for result in report.results):
        tables.append(energy_table(report))
    return tables


def latency_table(report: Report) -> TextTable:
    """Return the time of one inference, its median with an interval where there were processes enough."""
    rows = []
    for result in report.results:
        if result.timing is None:
            rows.append((_name(result, report), *["not measured"], *[""] * 5))
            continue
        summary = result.timing.inference
        spread = "" if summary.sd_s is None else f" ± {format_seconds(summary.sd_s)}"
        rows.append(
            (
                _name(result, report),
                *(percentile_text(summary, percent) for percent in (50.0, 90.0, 99.0)),
                f"{format_seconds(summary.mean_s)}{spread}",
                format_rate(result.timing.throughput[0].images_per_s),
                f"{summary.count:,}",
            )
        )
    columns = [
        TextColumn("p50 (95 % interval)"),
        TextColumn("p90", spare=1),
        TextColumn("p99", spare=2),
        TextColumn("mean ± sd", spare=4),
        TextColumn("images/s", spare=3),
        TextColumn("samples", spare=5),
    ]
    star = ["* recommended by the bundle."] if any(result.recommended for result in report.results) else []
    return _table("latency", "Latency of one inference, after warm-up", columns, rows, " ".join([*star, INTERVALS]))


def percentile_text(summary: Summary, percent: float) -> str:
    """Return a percentile, with its interval where it has one, or why there is none."""
    found = summary.percentile(percent)
    if found is not None:
        return format_seconds_interval(found.value_s, found.low_s, found.high_s)
    return f"means of {summary.means_of}" if summary.means_of > 1 else TOO_FEW


def cost_table(report: Report) -> TextTable:
    """Return what is paid once, and what it was bought for: accuracy, and proof that the answers are the model's."""
    rows = []
    for result in report.results:
        timing, test, parity = result.timing, result.test or {}, result.parity
        rows.append(
            (
                _name(result, report),
                format_bytes(result.size_bytes),
                UNKNOWN if timing is None else format_seconds(timing.load.p50_s),
                UNKNOWN if timing is None else format_seconds(timing.first_inference.p50_s),
                _figure(test.get("auc")),
                _figure(test.get("accuracy")),
                UNKNOWN if parity is None else f"{parity.max_error:.1e}",
                UNKNOWN if result.runtime is None else f"{result.runtime} {result.runtime_version}",
            )
        )
    columns = [
        TextColumn("file"),
        TextColumn("load", spare=1),
        TextColumn("first", spare=2),
        TextColumn("test AUC"),
        TextColumn("accuracy"),
        TextColumn("error vs PyTorch", spare=4),
        TextColumn("runtime", number=False, spare=3),
    ]
    return _table("cost", "Size, start, accuracy, proof", columns, rows)


def memory_table(report: Report) -> TextTable:
    """Return resident memory, measured in processes that did nothing else, and what of it the runtime tells apart."""
    rows = []
    for result in report.results:
        memory = result.memory
        if memory is None:
            rows.append((_name(result, report), *[UNKNOWN] * 9))
            continue
        stages = (memory.interpreter, memory.numpy, memory.runtime, memory.loaded)
        sizes = [*(stage.rss_bytes for stage in stages), memory.peak_rss_bytes, memory.above_empty_bytes]
        sizes += [memory.weights_bytes, memory.activations_bytes, memory.arena_bytes]
        rows.append((_name(result, report), *(format_bytes(size) for size in sizes)))
    columns = [
        TextColumn("Python", spare=2),
        TextColumn("+ numpy", spare=3),
        TextColumn("+ runtime", spare=1),
        TextColumn("+ model", spare=4),
        TextColumn("peak"),
        TextColumn("model's cost"),
        TextColumn("weights in file", spare=5),
        TextColumn("activations", spare=6),
        TextColumn("arena", spare=7),
    ]
    note = (
        "The model's cost is the peak above Python with numpy: its runtime, its weights, its work. Activations and "
        "arena are what the runtime tells; LiteRT does not."
    )
    return _table("memory", "Memory: resident set (RSS)", columns, rows, note)


def throughput_table(report: Report) -> TextTable:
    """Return images a second by batch size."""
    timings = [result.timing for result in report.results if result.timing is not None]
    batches = sorted({found.batch for timing in timings for found in timing.throughput})
    rows = []
    for result in report.results:
        rates = {} if result.timing is None else {found.batch: found.images_per_s for found in result.timing.throughput}
        cells = [format_rate(rates[batch]) if batch in rates else UNKNOWN for batch in batches]
        rows.append((_name(result, report), *cells))
    fixed = [f"{_name(r, report)} takes batches of {r.fixed_batch} alone" for r in report.results if r.fixed_batch]
    failed = [
        f"{_name(result, report)}, batch {batch}: {reason.rstrip('.')}"
        for result in report.results
        if result.timing is not None
        for batch, reason in result.timing.failed_batches.items()
    ]
    note = f"{'; '.join([*fixed, *failed])}." if fixed or failed else ""
    columns = [TextColumn(f"batch {batch}") for batch in batches]
    return _table("throughput", "Images a second, by batch size", columns, rows, note)


def path_table(report: Report) -> TextTable:
    """Return the way of one image from pixels to decision."""
    rows = []
    for result in report.results:
        timing = result.timing
        medians = (
            (None, None, None)
            if timing is None
            else (
                None if timing.preparation is None else timing.preparation.p50_s,
                timing.inference.p50_s,
                None if timing.decision is None else timing.decision.p50_s,
            )
        )
        known = [median for median in medians if median is not None]
        total = format_seconds(sum(known)) if len(known) == 3 else UNKNOWN
        rows.append((_name(result, report), *(format_seconds(median) for median in medians), total))
    columns = [TextColumn("preparation"), TextColumn("inference"), TextColumn("decision"), TextColumn("together")]
    return _table("path", "From pixels to a decision: medians", columns, rows)


def _table(
    name: str, title: str, columns: Sequence[TextColumn], rows: Iterable[tuple[str, ...]], note: str = ""
) -> TextTable:
    return TextTable(name, title, (TextColumn("variant", number=False), *columns), tuple(rows), note)


def _name(result: Result, report: Report) -> str:
    return f"{label_of(result, report.results)}{' *' if result.recommended else ''}"


def _figure(value: float | None) -> str:
    return UNKNOWN if value is None else f"{value:.4f}"
