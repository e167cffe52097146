"""Cautions: the closed list of what can make a measurement untrue: what was seen, why it matters, what to do."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from edgelnn_profiling.samples import quantile, required_samples

if TYPE_CHECKING:
    from edgelnn_profiling.machine import Machine
    from edgelnn_profiling.plan import Plan
    from edgelnn_profiling.report import Process, Result, Timing
    from edgelnn_profiling.state import State

__all__ = ["Caution", "CautionKind", "find_cautions"]

CautionKind = Literal[
    "parity_failed",
    "not_measured",
    "emulated",
    "under_voltage",
    "throttled",
    "clock_changed",
    "other_load",
    "noisy",
    "swap",
    "unsettled",
    "governor",
    "hot",
    "held_back_before",
    "unwatched",
    "virtual",
    "too_many_threads",
    "means",
    "few_samples",
    "few_windows",
]

NOISY_SPREAD = 0.05
CLOCK_SPREAD = 0.10
OTHER_CPUS = 1.5
OTHER_SHARE = 0.2
OWN_CPUS = 0.9
HOT_C = 75.0
LEAST_WINDOWS = 5

# Kind -> (whether it makes a report invalid, why it matters, what to do).
_TEXTS: dict[str, tuple[bool, str, str]] = {
    "parity_failed": (
        True,
        "the file does not give the model's answers here, so its speed means nothing",
        "export the bundle again, or install the runtime version that the manifest names",
    ),
    "not_measured": (True, "its row is empty or incomplete", "see the error of that row"),
    "emulated": (
        True,
        "an emulator's times and memory say nothing about the machine it stands for",
        "measure on a real one; --target and `count_instructions` count instructions, which emulation keeps exact",
    ),
    "under_voltage": (
        True,
        "a board without enough power slows its CPU down",
        "use the power supply and cable made for the board",
    ),
    "throttled": (
        True,
        "the CPU was slowed down while it was measured",
        "cool the board (heat sink, fan), wait until it is below 60 °C and measure again",
    ),
    "clock_changed": (
        True,
        "samples at different clocks do not belong to one distribution",
        "hold the clock: sudo cpupower frequency-set -g performance",
    ),
    "other_load": (True, "other processes take time and caches", "end them, or wait, and measure again"),
    "noisy": (
        True,
        "with windows this far apart, the next measurement will give another figure",
        "close other programs; if that does not help, measure longer (--rounds, --window)",
    ),
    "swap": (True, "waiting for the disk is not inference", "free memory or stop other programs"),
    "unsettled": (
        False,
        "the first samples may still belong to the warm-up",
        "allow a longer warm-up, or measure on a quieter machine",
    ),
    "governor": (
        False,
        "this governor changes the clock with the load, and a short measurement may see several clocks",
        "sudo cpupower frequency-set -g performance",
    ),
    "hot": (
        False,
        "most boards slow down from 80 °C on",
        "cool the board, or leave it alone for a few minutes",
    ),
    "held_back_before": (
        False,
        "it may happen again in a longer run",
        "look at the power supply and the cooling; the flag stays until the board is started again",
    ),
    "unwatched": (
        False,
        "throttling and changes of the clock could not be noticed",
        "on a Raspberry Pi install vcgencmd (package raspi-utils); in a container or a virtual machine nothing helps",
    ),
    "virtual": (
        False,
        "a virtual machine shares its CPU, and its neighbours cannot be seen",
        "publish figures of real machines only",
    ),
    "too_many_threads": (
        False,
        "threads that wait for a CPU make inferences slower, not faster",
        "ask for no more threads than there are CPUs",
    ),
    "means": (
        False,
        "an inference is shorter than a hundred ticks of the clock, and means hide the slow ones",
        "read the median; no percentile above it is given",
    ),
    "few_samples": (False, "a percentile from so few samples is luck", "take more: --rounds or --window"),
    "few_windows": (
        False,
        "how much windows differ cannot be told from so few",
        "take at least 5 windows in all: --rounds, --windows",
    ),
}


@dataclass(frozen=True)
class Caution:
    """One reason for doubt.

    Attributes:
        kind: Which of the closed list.
        variant: Whose figures it concerns; None where it concerns all.
        threads: With which number of threads; None likewise.
        seen: What was seen, with figures.
        matters: Why it matters.
        advice: What to do.
        invalidates: Whether the report is invalid because of it.
    """

    kind: CautionKind
    variant: str | None
    threads: int | None
    seen: str
    matters: str
    advice: str
    invalidates: bool


def find_cautions(
    results: Sequence[Result], *, machine: Machine, plan: Plan, before: State, after: State
) -> tuple[Caution, ...]:
    """Return every reason for doubt, the invalidating ones first, each once where it concerns the whole machine."""
    found = list(_about_machine(results, machine, before, after))
    for result in results:
        found.extend(_about_result(result, machine, plan))
    return tuple(sorted(found, key=lambda caution: not caution.invalidates))


def _make(kind: CautionKind, seen: str, result: Result | None = None) -> Caution:
    invalidates, matters, advice = _TEXTS[kind]
    variant, threads = (None, None) if result is None else (result.variant, result.threads)
    return Caution(kind, variant, threads, seen, matters, advice, invalidates)


def _about_machine(results: Sequence[Result], machine: Machine, before: State, after: State) -> Iterator[Caution]:
    if machine.emulated:
        yield _make("emulated", f"an emulator carries this {machine.board or machine.architecture}")
    processes = [process for result in results if result.timing for process in result.timing.processes]
    states = [before, *(state for process in processes for state in (process.before, process.after)), after]
    bits = 0
    for state in states:
        bits |= state.throttled or 0
    # A flag that was raised since the start of the board, and raised during the measurement, counts as during.
    fresh = (after.throttled or 0) & ~(before.throttled or 0) & 0xF0000
    during = (bits & 0xF) | (fresh >> 16)
    if during & 1:
        yield _make("under_voltage", "under-voltage was reported during the measurement")
    if during & 0b1110:
        words = [
            name for bit, name in ((1, "frequency capped"), (2, "throttled"), (3, "soft limit")) if during >> bit & 1
        ]
        yield _make("throttled", f"the firmware reported: {', '.join(words)}")
    if (before.throttled or 0) & 0xF0000 and not during:
        yield _make("held_back_before", "the board was held back before, since it was started")
    temperatures = [state.temperature_c for state in states if state.temperature_c is not None]
    if temperatures and max(temperatures) >= HOT_C:
        yield _make("hot", f"the CPU reached {max(temperatures):.0f} °C")
    if before.governor not in (None, "performance"):
        yield _make("governor", f"the clock's governor is '{before.governor}'")
    if not before.clocks_hz and before.throttled is None:
        yield _make("unwatched", "neither the CPU's clock nor throttling can be read here")
    if "hypervisor" in machine.features:
        yield _make("virtual", "this is a virtual machine")


def _about_result(result: Result, machine: Machine, plan: Plan) -> Iterator[Caution]:
    if result.parity is not None and result.parity.max_error > result.parity.allowed:
        seen = f"answers differ by {result.parity.max_error:.2g}, and {result.parity.allowed:.2g} is allowed"
        yield _make("parity_failed", seen, result)
    elif result.error is not None:
        yield _make("not_measured", result.error.rstrip("."), result)
    energy = result.energy
    if energy is not None and energy.other_cpus is not None and energy.other_cpus > bearable_cpus(machine):
        seen = f"while energy was measured, other processes kept {energy.other_cpus:.1f} of {machine.cores} CPUs busy"
        yield _make("other_load", seen, result)
    if result.timing is None:
        return
    timing, processes = result.timing, result.timing.processes
    yield from _about_load(result, processes, machine)
    clocks = [max(window.clocks_hz) for process in processes for window in process.windows if window.clocks_hz]
    if clocks and max(clocks) - min(clocks) > CLOCK_SPREAD * max(clocks):
        yield _make(
            "clock_changed", f"the clock went from {min(clocks) / 1e6:.0f} to {max(clocks) / 1e6:.0f} MHz", result
        )
    yield from _about_samples(result, timing, plan)
    if result.threads > machine.cores:
        yield _make("too_many_threads", f"{result.threads} threads on {machine.cores} CPUs", result)


def bearable_cpus(machine: Machine) -> float:
    """Return how many CPUs others may keep busy without that being too many."""
    return min(OTHER_CPUS, OTHER_SHARE * machine.cores)


def _about_load(result: Result, processes: Sequence[Process], machine: Machine) -> Iterator[Caution]:
    duration = sum(process.activity.duration_s for process in processes)
    if duration <= 0:
        return
    own = sum(process.activity.own_cpus * process.activity.duration_s for process in processes) / duration
    told = [process.activity for process in processes if process.activity.other_cpus is not None]
    others = sum((one.other_cpus or 0.0) * one.duration_s for one in told) / duration if told else None
    if others is not None and others > bearable_cpus(machine):
        yield _make("other_load", f"other processes kept {others:.1f} of {machine.cores} CPUs busy", result)
    elif own < OWN_CPUS:
        yield _make("other_load", f"the measured process got only {own:.0%} of a CPU", result)
    pages = sum(process.activity.swapped_pages or 0 for process in processes)
    swapped = max(process.swapped_bytes or 0 for process in processes)
    if pages or swapped:
        seen = f"{pages} pages were swapped" if pages else f"{swapped / 2**20:.1f} MB of the process were in swap"
        yield _make("swap", seen, result)


def _about_samples(result: Result, timing: Timing, plan: Plan) -> Iterator[Caution]:
    medians = sorted(timing.window_p50s_s)
    middle = quantile(medians, 0.5)
    spread = (medians[-1] - medians[0]) / middle if middle > 0 else 0.0
    if spread > NOISY_SPREAD:
        yield _make("noisy", f"the medians of {len(medians)} windows differ by {spread:.0%}", result)
    loose = sum(not process.warm_up.settled for process in timing.processes)
    if loose:
        seen = (
            f"samples had not settled after {plan.warm_up_max_s:g} s of warm-up in {loose} of {len(timing.processes)}"
        )
        yield _make("unsettled", f"{seen} processes", result)
    if timing.inference.means_of > 1:
        yield _make("means", f"each sample is the mean of up to {timing.inference.means_of} inferences", result)
    elif timing.inference.percentile(90.0) is None:
        seen = f"{timing.inference.count} samples; p90 asks for {required_samples(90)}"
        yield _make("few_samples", seen, result)
    if len(medians) < LEAST_WINDOWS:
        yield _make("few_windows", f"{len(medians)} windows", result)
