"""What a report says in words: its model, its machine, its method, its cautions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from edgelnn_profiling.cautions import Caution
from edgelnn_profiling.report import Report, Result
from edgelnn_profiling.state import State
from edgelnn_profiling.writers.units import format_bytes, format_count

__all__ = [
    "Doubt",
    "doubts_of",
    "label_of",
    "machine_facts",
    "machine_name",
    "method_sentence",
    "model_sentence",
    "state_facts",
    "verdict_sentence",
]

SYNTHETIC = "Trained on synthetic images: its accuracy says nothing about medicine."


@dataclass(frozen=True)
class Doubt:
    """All cautions of one kind.

    Attributes:
        seen: What was seen, and of which variants; of none where it concerns all.
        matters: Why it matters.
        advice: What to do.
        invalidates: Whether the report is invalid because of it.
    """

    seen: tuple[tuple[str, tuple[str, ...]], ...]
    matters: str
    advice: str
    invalidates: bool

    @property
    def observations(self) -> tuple[str, ...]:
        """What was seen where, a sentence each, without its full stop."""
        return tuple((f"{', '.join(names)}: " if names else "") + what for what, names in self.seen)

    @property
    def observation(self) -> str:
        """The same in one sentence."""
        return "; ".join(self.observations)


def doubts_of(report: Report) -> tuple[Doubt, ...]:
    """Return a report's cautions kind by kind, the invalidating ones first, so that advice is given once."""
    kinds: dict[str, list[Caution]] = {}
    for caution in report.cautions:
        kinds.setdefault(caution.kind, []).append(caution)
    doubts = []
    for cautions in kinds.values():
        seen: dict[str, list[str]] = {}
        for caution in cautions:
            named = seen.setdefault(caution.seen, [])
            if caution.variant:
                threads = f" ({caution.threads} threads)" if (caution.threads or 1) > 1 else ""
                named.append(f"{caution.variant}{threads}")
        first = cautions[0]
        told = tuple((what, tuple(names)) for what, names in seen.items())
        doubts.append(Doubt(told, first.matters, first.advice, first.invalidates))
    return tuple(sorted(doubts, key=lambda doubt: not doubt.invalidates))


def verdict_sentence(report: Report) -> str:
    """Return whether the report is valid, and why not."""
    if report.valid:
        return "Valid."
    why = [doubt.observation for doubt in doubts_of(report) if doubt.invalidates] or report.reasons
    return f"Not valid: {'; '.join(why).rstrip('.')}."


def label_of(result: Result, results: Sequence[Result]) -> str:
    """Return a result's name, with its threads where results of several are there."""
    several = len({each.threads for each in results}) > 1
    return f"{result.variant} ×{result.threads}" if several else result.variant


def machine_name(report: Report) -> str:
    """Return the shortest name of where it was measured."""
    machine = report.machine
    return machine.board or machine.cpu or machine.architecture


def model_sentence(report: Report) -> str:
    """Return parameters and operations of the model; nothing where there is no bundle to say them."""
    first = report.results[0] if report.results else None
    if first is None or first.parameters is None or first.macs is None:
        return ""
    counts = ", ".join(f"{count:,} {name}" for name, count in first.parameters.items())
    return f"{counts} parameters; {format_count(first.macs)} multiply-accumulates (MACs) an image."


def machine_facts(report: Report) -> list[tuple[str, str]]:
    """Return what is known of the machine: names and values; what is not known is left out."""
    machine = report.machine
    clocks = [None if clock is None else f"{clock / 1e6:.0f}" for clock in (machine.clock_min_hz, machine.clock_max_hz)]
    limits = f"{clocks[0]} to {clocks[1]} MHz" if all(clocks) else None
    if limits is None and clocks[1] is not None:
        limits = f"up to {clocks[1]} MHz"
    swap = f", {format_bytes(machine.swap_bytes)} of swap" if machine.swap_bytes else ""
    found = {
        "board": machine.board,
        "CPU": machine.cpu,
        "CPUs": f"{machine.cores}",
        "architecture": f"{machine.architecture}, {machine.bits} bits",
        "features": " ".join(machine.features),
        "clock": limits,
        "memory": None if machine.memory_bytes is None else f"{format_bytes(machine.memory_bytes)}{swap}",
        "system": machine.system,
        "kernel": machine.kernel,
        "emulated": "yes" if machine.emulated else None,
        "Python": machine.python,
        **machine.versions,
        **{result.runtime: result.runtime_version for result in report.results if result.runtime is not None},
    }
    return [(name, value) for name, value in found.items() if value]


def state_facts(state: State) -> dict[str, str]:
    """Return how the machine was at one moment: names and values; what is not known is left out."""
    clocks = list(dict.fromkeys(f"{clock / 1e6:.0f}" for clock in sorted(state.clocks_hz)))
    found = {
        "clock": f"{' to '.join(dict.fromkeys((clocks[0], clocks[-1])))} MHz" if clocks else None,
        "governor": state.governor,
        "temperature": None if state.temperature_c is None else f"{state.temperature_c:.0f} °C",
        "held back by": None if state.throttled is None else ", ".join(state.throttling) or "nothing",
        "load": None if state.load is None else f"{state.load:.2f}",
        "memory available": _size(state.memory_available_bytes),
        "swap in use": _size(state.swap_used_bytes),
    }
    return {name: value for name, value in found.items() if value}


def _size(count: int | None) -> str | None:
    return None if count is None else format_bytes(count)


def method_sentence(report: Report) -> str:
    """Return how the figures came about."""
    plan = report.plan
    counts = sorted({result.timing.inference.count for result in report.results if result.timing is not None})
    samples = " to ".join(f"{count:,}" for count in dict.fromkeys((counts[0], counts[-1]))) if counts else "no"
    return (
        f"{plan.rounds} processes a variant, interleaved, {plan.windows} windows each, after warm-up; "
        f"{samples} samples a variant, one inference a sample unless said otherwise."
    )
