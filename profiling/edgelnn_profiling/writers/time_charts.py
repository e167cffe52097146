"""Where the time of an inference goes, by part and by layer, and what energy it takes, as charts."""

from __future__ import annotations

from collections.abc import Sequence

from edgelnn_profiling.operator_times import PARTS, LayerTime, OperatorProfile
from edgelnn_profiling.report import Report
from edgelnn_profiling.writers.bars import Bar, bar_chart
from edgelnn_profiling.writers.cost_tables import time_cell
from edgelnn_profiling.writers.markup import Markup, element
from edgelnn_profiling.writers.sentences import label_of
from edgelnn_profiling.writers.shell import figure, legend
from edgelnn_profiling.writers.units import format_joules, format_seconds, scale_of

__all__ = ["energy_charts", "operator_charts"]

PART_COLORS = (3, 2, 4, 5, 0)
LAYER_COLORS = (3, 0)
LAYERS = 12


def operator_charts(report: Report) -> list[Markup]:
    """Return the time by part of all variants, and by layer of each; nothing where operators were not watched."""
    watched = [
        (label_of(result, report.results), result.operators)
        for result in report.results
        if result.operators is not None and result.operators.total_s > 0
    ]
    if not watched:
        return []
    charts = [_by_part(watched)]
    for number, (label, profile) in enumerate(watched):
        charts.append(_by_layer(f"layers-{number}", label, profile))
    return charts


def _by_part(watched: Sequence[tuple[str, OperatorProfile]]) -> Markup:
    factor, unit = scale_of(max(profile.total_s for _, profile in watched))
    bars = []
    for label, profile in watched:
        times = {part.name: part for part in profile.by_part}
        parts = [(times.get(part), part or "no part") for part in (*PARTS, None)]
        sizes = tuple(
            (0.0 if time is None else time.mean_s * factor, f"{label}, {name}: {time_cell(time)}")
            for time, name in parts
        )
        bars.append(Bar(label, sizes, f"≥ {format_seconds(profile.total_s)}"))
    title = "Time by part of the classifier"
    described = "; ".join(f"{bar.name}, together {bar.total}" for bar in bars) + "."
    keys = [
        (element("span", class_=f"key part{color}"), name)
        for color, name in zip(PART_COLORS, (*PARTS, "no part"), strict=True)
    ]
    words = "What the runtime's profiler tells at least, while it watches; watching slows operators down."
    chart = bar_chart("parts", title, described, bars, unit=unit, colors=PART_COLORS)
    return figure(title, chart, words, legend(keys))


def _by_layer(name: str, label: str, profile: OperatorProfile) -> Markup:
    """Return the slowest layers in the order in which they run."""
    slowest = sorted(profile.by_layer, key=lambda layer: -layer.mean_s)[:LAYERS]
    layers = [layer for layer in profile.by_layer if layer in slowest]
    factor, unit = scale_of(max(layer.most_s for layer in layers))
    bars = [_layer_bar(layer, factor) for layer in layers]
    left = len(profile.by_layer) - len(layers)
    title = f"Time by layer: {label}"
    described = "; ".join(f"{bar.name} {bar.total}" for bar in bars) + "."
    words = (
        f"Grey: what it may be at most, by the profiler's clock.{f' {left} smaller ones are left out.' if left else ''}"
    )
    return figure(title, bar_chart(name, title, described, bars, unit=unit, colors=LAYER_COLORS), words)


def _layer_bar(layer: LayerTime, factor: float) -> Bar:
    said = f"{layer.name or 'no layer'}: {time_cell(layer)}, {layer.operators} operators"
    sizes = ((layer.mean_s * factor, said), (max(0.0, layer.most_s - layer.mean_s) * factor, said))
    return Bar(layer.name or "no layer", sizes, time_cell(layer))


def energy_charts(report: Report) -> list[Markup]:
    """Return the estimated energy of an inference of each variant; nothing where there is no estimate."""
    found = [
        (label_of(result, report.results), result.energy)
        for result in report.results
        if result.energy is not None and (result.energy.joules_per_inference or 0.0) > 0
    ]
    most = max((energy.joules_per_inference or 0.0 for _, energy in found), default=0.0)
    if most <= 0:
        return []
    factor, seconds = scale_of(most)
    unit = seconds.replace("s", "J")
    bars = []
    for label, energy in found:
        value = energy.joules_per_inference or 0.0
        total = format_joules(value) + ("" if energy.beyond_idle else " ?")
        bars.append(Bar(label, ((value * factor, f"{label}: {total}"),), total))
    title = "Energy of an inference, estimated, net of idle"
    described = "; ".join(f"{bar.name} {bar.total}" for bar in bars) + "."
    words = "A question mark: the estimate cannot be told apart from nothing. Intervals stand in the table."
    return [figure(title, bar_chart("energy", title, described, bars, unit=unit, colors=(4,)), words)]
