"""What a report looks like: rows for a table on the screen, Markdown and CSV. Units appear here and nowhere before."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence

from edgelnn_profiling.cautions import Caution
from edgelnn_profiling.report import Report, Result, Timing
from edgelnn_profiling.samples import Summary

__all__ = ["HEADINGS", "caution_lines", "format_bytes", "format_seconds", "table_rows", "write_csv", "write_markdown"]

HEADINGS = (
    "variant",
    "runtime",
    "threads",
    "file",
    "load",
    "first",
    "p50",
    "p90",
    "mean ± sd",
    "images/s",
    "peak memory",
    "AUC",
)
UNKNOWN = "—"
TOO_FEW = "too few samples"


def table_rows(report: Report) -> list[tuple[str, ...]]:
    """Return a row of text for each result, in the order of `HEADINGS`; p50 stands with its unit."""
    return [_row(result) for result in report.results]


def _row(result: Result) -> tuple[str, ...]:
    name = f"{result.variant} *" if result.recommended else result.variant
    runtime = UNKNOWN if result.runtime is None else f"{result.runtime} {result.runtime_version}"
    head = (name, runtime, str(result.threads), format_bytes(result.size_bytes))
    memory = UNKNOWN if result.memory is None else format_bytes(result.memory.peak_rss_bytes)
    auc = UNKNOWN if not result.test or "auc" not in result.test else f"{result.test['auc']:.3f}"
    if result.timing is None:
        return (*head, *[UNKNOWN] * 6, memory, auc)
    timing = result.timing
    inference = timing.inference
    spread = "" if inference.sd_s is None else f" ± {format_seconds(inference.sd_s)}"
    times = (
        format_seconds(timing.load.p50_s),
        format_seconds(timing.first_inference.p50_s),
        format_seconds(inference.p50_s),
        _percentile(inference, 90.0),
        format_seconds(inference.mean_s) + spread,
        format_rate(timing.throughput[0].images_per_s),
    )
    return (*head, *times, memory, auc)


def _percentile(summary: Summary, percent: float) -> str:
    found = summary.percentile(percent)
    if found is not None:
        return format_seconds(found.value_s)
    return f"means of {summary.means_of}" if summary.means_of > 1 else TOO_FEW


def write_markdown(report: Report) -> str:
    """Return the report as a section of Markdown: heading, table, memory, machine, cautions."""
    lines = [f"## {_plain(report.name)}", ""]
    if report.synthetic:
        lines += ["Trained on **synthetic** images: its accuracy says nothing about medicine.", ""]
    lines += _markdown_table(HEADINGS, table_rows(report))
    if any(result.recommended for result in report.results):
        lines += ["", "\\* recommended by the bundle"]
    facts = [line for line in (_model_line(report), _machine_line(report), _method_line(report)) if line]
    lines += ["", *facts, "", "**Valid.**" if report.valid else "**Not valid:** " + "; ".join(report.reasons) + "."]
    lines += [f"- {_plain(line)}" for line in caution_lines(report)]
    return "\n".join(lines) + "\n"


def caution_lines(report: Report) -> list[str]:
    """Return a line for each kind of caution, the invalidating ones first: what was seen where, why it matters, advice.

    A caution that concerns several variants alike is not repeated for each.
    """
    by_kind: dict[str, list[Caution]] = {}
    for caution in report.cautions:
        by_kind.setdefault(caution.kind, []).append(caution)
    lines = []
    for cautions in by_kind.values():
        seen: dict[str, list[str]] = {}
        for caution in cautions:
            threads = f" ({caution.threads} threads)" if (caution.threads or 1) > 1 else ""
            seen.setdefault(caution.seen, []).append(f"{caution.variant}{threads}" if caution.variant else "")
        words = "; ".join((f"{', '.join(names)}: " if all(names) else "") + what for what, names in seen.items())
        lines.append(f"{words}. Why it matters: {cautions[0].matters}. What to do: {cautions[0].advice}.")
    return lines


def _model_line(report: Report) -> str:
    first = report.results[0] if report.results else None
    if first is None or first.parameters is None or first.macs is None:
        return ""
    counts = ", ".join(f"{count:,} {name}" for name, count in first.parameters.items())
    return f"Model: {counts} parameters; {first.macs:,} MACs an image."


def _machine_line(report: Report) -> str:
    machine = report.machine
    words = [machine.board, machine.cpu, f"{machine.cores} CPUs", f"{machine.architecture} ({machine.bits} bits)"]
    clock = None if machine.clock_max_hz is None else f"up to {machine.clock_max_hz / 1e6:.0f} MHz"
    governor = None if report.before.governor is None else f"governor {report.before.governor}"
    heat = None if report.after.temperature_c is None else f"{report.after.temperature_c:.0f} °C"
    memory = None if machine.memory_bytes is None else f"{format_bytes(machine.memory_bytes)} of memory"
    words += [clock, governor, heat, memory, machine.system, f"kernel {machine.kernel}", f"Python {machine.python}"]
    return "Machine: " + _plain(", ".join(word for word in words if word)) + "."


def _method_line(report: Report) -> str:
    plan = report.plan
    counts = sorted({result.timing.inference.count for result in report.results if result.timing is not None})
    samples = f"{counts[0]:,} samples" if len(counts) == 1 else f"{counts[0]:,} to {counts[-1]:,} samples"
    return (
        f"Method: {plan.rounds} processes a variant, interleaved, {plan.windows} windows each, after warm-up; "
        f"{samples if counts else 'no samples'} a variant; measured {report.created} "
        f"with edgelnn {report.machine.versions.get('edgelnn', UNKNOWN)}."
    )


def _markdown_table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    lines = ["| " + " | ".join(headings) + " |", "|" + "---|" * len(headings)]
    return lines + ["| " + " | ".join(_plain(cell) for cell in row) + " |" for row in rows]


def _plain(text: str) -> str:
    """Return text that Markdown takes as it stands, on one line."""
    text = " ".join(text.split())
    return "".join("\\" + letter if letter in "\\|`*_<>[]#" else letter for letter in text)


def write_csv(report: Report) -> str:
    """Return one row a result, in SI units and bytes; what is unknown is an empty field."""
    rows = [_csv_row(report, result) for result in report.results]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    if rows:
        writer.writerow(rows[0])
        writer.writerows(["" if value is None else value for value in row.values()] for row in rows)
    return text.getvalue()


def _csv_row(report: Report, result: Result) -> dict[str, object]:
    parameters, timing, memory = result.parameters or {}, result.timing, result.memory
    return {
        "name": report.name,
        "variant": result.variant,
        "format": result.format,
        "recipe": result.recipe,
        "runtime": result.runtime,
        "runtime_version": result.runtime_version,
        "threads": result.threads,
        "size_bytes": result.size_bytes,
        "parameters_trainable": parameters.get("trainable"),
        "parameters_stored": parameters.get("stored"),
        "parameters_active": parameters.get("active"),
        "macs": result.macs,
        "test_auc": (result.test or {}).get("auc"),
        "test_accuracy": (result.test or {}).get("accuracy"),
        "parity_max_error": None if result.parity is None else result.parity.max_error,
        **_csv_timing(timing),
        "rss_interpreter_bytes": None if memory is None else memory.interpreter.rss_bytes,
        "rss_numpy_bytes": None if memory is None else memory.numpy.rss_bytes,
        "rss_runtime_bytes": None if memory is None else memory.runtime.rss_bytes,
        "rss_loaded_bytes": None if memory is None else memory.loaded.rss_bytes,
        "rss_peak_bytes": None if memory is None else memory.peak_rss_bytes,
        "rss_above_empty_bytes": None if memory is None else memory.above_empty_bytes,
        "board": report.machine.board,
        "cpu": report.machine.cpu,
        "created": report.created,
        "valid": "yes" if report.valid else "no",
        "synthetic": {None: None, True: "yes", False: "no"}[report.synthetic],
        "error": result.error,
    }


def _csv_timing(timing: Timing | None) -> dict[str, object]:
    summary = None if timing is None else timing.inference

    def percentile(percent: float) -> tuple[object, object, object]:
        found = None if summary is None else summary.percentile(percent)
        return (None, None, None) if found is None else (found.value_s, found.low_s, found.high_s)

    def median(of: Summary | None) -> float | None:
        return None if of is None else of.p50_s

    middle = percentile(50.0)
    rates = {} if timing is None else {found.batch: found.images_per_s for found in timing.throughput}
    return {
        "load_s": None if timing is None else median(timing.load),
        "first_inference_s": None if timing is None else median(timing.first_inference),
        "samples": None if summary is None else summary.count,
        "means_of": None if summary is None else summary.means_of,
        "p50_s": middle[0],
        "p50_low_s": middle[1],
        "p50_high_s": middle[2],
        "p90_s": percentile(90.0)[0],
        "p99_s": percentile(99.0)[0],
        "mean_s": None if summary is None else summary.mean_s,
        "sd_s": None if summary is None else summary.sd_s,
        "preparation_p50_s": None if timing is None else median(timing.preparation),
        "decision_p50_s": None if timing is None else median(timing.decision),
        **{f"images_per_s_batch_{batch}": rates.get(batch) for batch in (1, 8, 32)},
    }


def format_seconds(seconds: float) -> str:
    """Return a time with three significant digits.

    >>> format_seconds(0.0000165), format_seconds(0.25), format_seconds(12.3)
    ('16.5 µs', '250 ms', '12.3 s')
    """
    for factor, unit in ((1.0, "s"), (1e3, "ms"), (1e6, "µs")):
        if seconds * factor >= 0.9995:
            return f"{_three_digits(seconds * factor)} {unit}"
    return f"{_three_digits(seconds * 1e9)} ns"


def format_bytes(count: int | None) -> str:
    """Return a size in powers of ten.

    >>> format_bytes(13_324), format_bytes(None)
    ('13.3 kB', '—')
    """
    if count is None:
        return UNKNOWN
    for factor, unit in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if count >= factor * 0.9995:
            return f"{_three_digits(count / factor)} {unit}"
    return f"{count} B"


def format_rate(per_second: float) -> str:
    """Return a number of images a second.

    >>> format_rate(60_606.06), format_rate(3.14159)
    ('60,600', '3.14')
    """
    if per_second < 1000:
        return _three_digits(per_second)
    digits = len(str(int(per_second)))
    return f"{round(per_second, 3 - digits):,.0f}"


def _three_digits(value: float) -> str:
    if value >= 99.95:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 9.995 else f"{value:.2f}"
