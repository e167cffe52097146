"""Where the time goes and what energy it takes, as tables of text."""

from __future__ import annotations

from collections.abc import Iterator

from edgelnn_profiling.energy import Energy
from edgelnn_profiling.operator_times import PARTS, LayerTime, OperatorProfile
from edgelnn_profiling.report import Report
from edgelnn_profiling.writers.sentences import label_of
from edgelnn_profiling.writers.text_table import TextColumn, TextTable
from edgelnn_profiling.writers.units import UNKNOWN, format_joules, format_seconds, scale_of, three_digits

__all__ = ["energy_table", "layer_table", "part_table", "time_cell"]

LEAST_SHARE = 0.02
WATCHED = (
    "By the runtime's own profiler, in runs of their own: watching slows operators down, and its clock cuts off below "
    "a microsecond, so that the true time may be anything up to the second figure."
)


def part_table(report: Report) -> TextTable:
    """Return how the time is shared among the parts of the classifier."""
    rows = []
    reasons: dict[str, list[str]] = {}
    for result in report.results:
        name = label_of(result, report.results)
        profile = result.operators
        if profile is not None and profile.reason is not None:
            reasons.setdefault(profile.reason, []).append(name)
        if profile is None or not profile.operators:
            rows.append((name, *[UNKNOWN] * (len(PARTS) + 3)))
            continue
        parts = {each.name: each for each in profile.by_part}
        cells = [time_cell(parts.get(part)) for part in (*PARTS, None)]
        rows.append((name, *cells, format_seconds(profile.total_s), format_seconds(profile.inference_s)))
    columns = (
        TextColumn("variant", number=False),
        *(TextColumn(part, spare=1 if part == "output" else 0) for part in PARTS),
        TextColumn("no part", spare=3),
        TextColumn("together", spare=2),
        TextColumn("watched inference", spare=4),
    )
    return TextTable(
        "parts", "Time by part of the classifier", columns, tuple(rows), " ".join([WATCHED, *_said(reasons)])
    )


def layer_table(report: Report, *, least_share: float = LEAST_SHARE) -> TextTable:
    """Return the layers that take the most time, of each variant; those below a share are counted together."""
    rows = []
    for result in report.results:
        if result.operators is not None:
            name = label_of(result, report.results)
            rows += [(name, *row) for row in _layer_rows(result.operators, least_share)]
    columns = (
        TextColumn("variant", number=False),
        TextColumn("layer", number=False),
        TextColumn("part", number=False, spare=2),
        TextColumn("operators", spare=1),
        TextColumn("time"),
        TextColumn("share"),
    )
    note = f"Layers below {least_share:.0%} are counted together."
    return TextTable("layers", "Time by layer", columns, tuple(rows), note)


def _layer_rows(profile: OperatorProfile, least_share: float) -> Iterator[tuple[str, ...]]:
    total = profile.total_s
    small = []
    for layer in profile.by_layer:
        if total > 0 and layer.mean_s >= least_share * total:
            share = f"{layer.mean_s / total:.0%}"
            yield (layer.name or UNKNOWN, layer.part or UNKNOWN, str(layer.operators), time_cell(layer), share)
        else:
            small.append(layer)
    if small:
        mean, most = (sum(times) for times in zip(*((each.mean_s, each.most_s) for each in small), strict=True))
        count = sum(each.operators for each in small)
        together = LayerTime(None, None, count, mean, profile.at_most_s(mean, most))
        share = f"{mean / total:.0%}" if total > 0 else UNKNOWN
        yield (f"{len(small)} smaller ones", UNKNOWN, str(together.operators), time_cell(together), share)


def time_cell(time: LayerTime | None) -> str:
    """Return a time, and what it may be at most where that would be read as another time."""
    if time is None:
        return UNKNOWN
    if time.mean_s < 1e-6:
        return f"< {format_seconds(time.most_s)}"
    factor, unit = scale_of(time.most_s)
    known, most = three_digits(time.mean_s * factor), three_digits(time.most_s * factor)
    return f"{known} {unit}" if known == most else f"{known}–{most} {unit}"


def energy_table(report: Report) -> TextTable:
    """Return the estimated energy of an inference, net of idle."""
    rows, notes = [], []
    reasons: dict[str, list[str]] = {}
    for result in report.results:
        name, energy = label_of(result, report.results), result.energy
        if energy is None or energy.joules_per_inference is None:
            rows.append((name, *[UNKNOWN] * 3))
            if energy is not None and energy.reason is not None:
                reasons.setdefault(energy.reason, []).append(name)
            continue
        rows.append((name, _joules(energy), _watts(energy.idle_w), _watts(energy.busy_w)))
        notes.append(f"Estimates, net of idle; they rest on {energy.rests_on}.")
        if not energy.beyond_idle:
            notes.append(f"{name}: the estimate cannot be told apart from nothing.")
    columns = (
        TextColumn("variant", number=False),
        TextColumn("energy of an inference, estimated"),
        TextColumn("idle", spare=2),
        TextColumn("busy", spare=1),
    )
    return TextTable("energy", "Energy", columns, tuple(rows), " ".join([*dict.fromkeys(notes), *_said(reasons)]))


def _said(reasons: dict[str, list[str]]) -> list[str]:
    """Return a sentence for each reason, with the variants that it holds for."""
    return [f"{', '.join(names)}: {reason}." for reason, names in reasons.items()]


def _joules(energy: Energy) -> str:
    value = format_joules(energy.joules_per_inference)
    if energy.low_j is None or energy.high_j is None:
        return value
    return f"{value} ({format_joules(energy.low_j)} to {format_joules(energy.high_j)})"


def _watts(power: float | None) -> str:
    return UNKNOWN if power is None else f"{three_digits(power)} W"
