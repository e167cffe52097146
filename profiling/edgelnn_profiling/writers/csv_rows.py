"""A report as CSV: a row a result."""

from __future__ import annotations

import csv
import io

from edgelnn_profiling.energy import Energy
from edgelnn_profiling.operator_times import PARTS, OperatorProfile
from edgelnn_profiling.report import Memory, Report, Result, Timing
from edgelnn_profiling.samples import PERCENTS, Summary
from edgelnn_profiling.writers.tables import TOO_FEW

__all__ = ["csv_cell", "write_csv"]


def write_csv(report: Report) -> str:
    """Return one row a result, in SI units and bytes; what is unknown is an empty field.

    Where a percentile is missing, `percentiles_missing` says why. Text that a spreadsheet would take for a formula
    gets an apostrophe before it.
    """
    batches = sorted({found.batch for result in report.results if result.timing for found in result.timing.throughput})
    rows = [_row(report, result, batches) for result in report.results]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    if rows:
        writer.writerow(rows[0])
        writer.writerows([csv_cell(value) for value in row.values()] for row in rows)
    return text.getvalue()


def _row(report: Report, result: Result, batches: list[int]) -> dict[str, object]:
    parameters, test, machine = result.parameters or {}, result.test or {}, report.machine
    rates = {} if result.timing is None else {found.batch: found.images_per_s for found in result.timing.throughput}
    own = [
        caution
        for caution in report.cautions
        if caution.variant is None or (caution.variant, caution.threads) == (result.variant, result.threads)
    ]
    return {
        "name": report.name,
        "variant": result.variant,
        "format": result.format,
        "recipe": result.recipe,
        "recommended": _yes(result.recommended),
        "runtime": result.runtime,
        "runtime_version": result.runtime_version,
        "threads": result.threads,
        "size_bytes": result.size_bytes,
        "sha256": result.sha256,
        "parameters_trainable": parameters.get("trainable"),
        "parameters_stored": parameters.get("stored"),
        "parameters_active": parameters.get("active"),
        "macs": result.macs,
        "test_auc": test.get("auc"),
        "test_accuracy": test.get("accuracy"),
        "parity_max_error": None if result.parity is None else result.parity.max_error,
        "parity_allowed": None if result.parity is None else result.parity.allowed,
        **_timing(result.timing),
        **{f"images_per_s_batch_{batch}": rates.get(batch) for batch in batches},
        **_memory(result.memory),
        **_parts(result.operators),
        **_energy(result.energy),
        "board": machine.board,
        "cpu": machine.cpu,
        "cores": machine.cores,
        "architecture": machine.architecture,
        "bits": machine.bits,
        "kernel": machine.kernel,
        "governor": report.before.governor,
        "temperature_before_c": report.before.temperature_c,
        "temperature_after_c": report.after.temperature_c,
        "created": report.created,
        "edgelnn": machine.versions.get("edgelnn"),
        "dataset": report.dataset,
        "synthetic": None if report.synthetic is None else _yes(report.synthetic),
        "valid": _yes(report.valid),
        "reasons": "; ".join(report.reasons),
        "row_valid": _yes(not any(caution.invalidates for caution in own)),
        "cautions": " ".join(dict.fromkeys(caution.kind for caution in own)),
        "error": result.error,
    }


def _timing(timing: Timing | None) -> dict[str, object]:
    summary = None if timing is None else timing.inference
    percentiles: dict[str, object] = {}
    for percent in PERCENTS:
        found = None if summary is None else summary.percentile(percent)
        percentiles[f"p{percent:g}_s"] = None if found is None else found.value_s
        if percent == 50.0:  # those above have no intervals
            percentiles["p50_low_s"] = None if found is None else found.low_s
            percentiles["p50_high_s"] = None if found is None else found.high_s
    missing = None
    if summary is not None and len(summary.percentiles) < len(PERCENTS):
        missing = f"means of {summary.means_of}" if summary.means_of > 1 else TOO_FEW
    return {
        "load_s": None if timing is None else timing.load.p50_s,
        "first_inference_s": None if timing is None else timing.first_inference.p50_s,
        "samples": None if summary is None else summary.count,
        "means_of": None if summary is None else summary.means_of,
        **percentiles,
        "percentiles_missing": missing,
        "mean_s": None if summary is None else summary.mean_s,
        "sd_s": None if summary is None else summary.sd_s,
        "min_s": None if summary is None else summary.min_s,
        "max_s": None if summary is None else summary.max_s,
        "preparation_p50_s": None if timing is None else _median(timing.preparation),
        "decision_p50_s": None if timing is None else _median(timing.decision),
    }


def _median(summary: Summary | None) -> float | None:
    return None if summary is None else summary.p50_s


def _memory(memory: Memory | None) -> dict[str, object]:
    stages = ("interpreter", "numpy", "runtime", "loaded", "inferred")
    sizes = {stage: None if memory is None else getattr(memory, stage) for stage in stages}
    return {
        **{f"rss_{stage}_bytes": None if size is None else size.rss_bytes for stage, size in sizes.items()},
        "rss_peak_bytes": None if memory is None else memory.peak_rss_bytes,
        "rss_above_empty_bytes": None if memory is None else memory.above_empty_bytes,
        "weights_bytes": None if memory is None else memory.weights_bytes,
        "activations_bytes": None if memory is None else memory.activations_bytes,
        "arena_bytes": None if memory is None else memory.arena_bytes,
        **{f"pss_{stage}_bytes": None if size is None else size.pss_bytes for stage, size in sizes.items()},
    }


def _parts(profile: OperatorProfile | None) -> dict[str, object]:
    times = {} if profile is None else {part.name: (part.mean_s, part.most_s) for part in profile.by_part}
    ends = {part: times.get(part, (None, None)) for part in PARTS}
    return {
        **{f"watched_{part}_s": mean for part, (mean, _) in ends.items()},
        **{f"watched_{part}_most_s": most for part, (_, most) in ends.items()},
        "watched_inference_s": None if profile is None else profile.inference_s,
    }


def _energy(energy: Energy | None) -> dict[str, object]:
    return {
        "energy_j": None if energy is None else energy.joules_per_inference,
        "energy_low_j": None if energy is None else energy.low_j,
        "energy_high_j": None if energy is None else energy.high_j,
        "energy_source": None if energy is None else energy.source,
        "idle_w": None if energy is None else energy.idle_w,
        "busy_w": None if energy is None else energy.busy_w,
    }


def _yes(holds: bool) -> str:
    return "yes" if holds else "no"


def csv_cell(value: object) -> object:
    """Return a value as it stands in CSV: nothing for None; no text that a spreadsheet would take for a formula.

    >>> csv_cell("=1+1"), csv_cell(None), csv_cell(0.5)
    ("'=1+1", '', 0.5)
    """
    if isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t", "\r")):
        return f"'{value}"
    return "" if value is None else value
