"""From what workers said to the parts of a report."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from edgelnn.decode import DecodeError, decode
from edgelnn.errors import ProfileError
from edgelnn.tensor import Tensor
from edgelnn_profiling.energy import Energy, EnergyWindow, estimate_energy, no_energy
from edgelnn_profiling.executor import Outcome
from edgelnn_profiling.machine import Machine
from edgelnn_profiling.operator_times import OperatorProfile, unwatched
from edgelnn_profiling.power_csv import PowerReadings
from edgelnn_profiling.process_intervals import rest_on_processes
from edgelnn_profiling.report import Memory, Parity, Process, Result, Size, Throughput, Timing
from edgelnn_profiling.samples import Summary, quantile, summarize
from edgelnn_profiling.state import Activity, State

__all__ = ["assemble_energy", "assemble_result", "read_machine_events"]


def read_machine_events(outcome: Outcome) -> tuple[Machine, State]:
    """Return the machine and its state that a worker described."""
    said = outcome.first("machine")
    if said is None:
        raise ProfileError("a worker process said nothing of its machine.")
    try:
        return decode(Machine, said["machine"]), decode(State, said["state"])
    except (DecodeError, KeyError) as error:
        raise ProfileError(f"a worker process described its machine in a way that cannot be read: {error}.") from error


def assemble_result(
    facts: Mapping[str, Any],
    timings: Sequence[Outcome],
    memory: Outcome | None,
    operators: Outcome | None = None,
    energy: Energy | None = None,
) -> Result:
    """Return what was found out about one variant.

    Args:
        facts: What was known before: the fields of `Result` that no worker finds out.
        timings: What its timing processes said, in order.
        memory: What its memory process said.
        operators: What the process said that watched its operators.
        energy: The estimate of its energy.
    """
    outcomes = [*([memory] if memory is not None else []), *timings]
    errors = [_error(outcome) for outcome in outcomes]
    loaded = next((event for outcome in timings for event in outcome.all("loaded")), None)
    parities = [decode(Parity, _without(event)) for outcome in timings for event in outcome.all("parity")]
    processes = [_process(index, outcome) for index, outcome in enumerate(timings) if outcome.first("done")]
    return Result(
        **facts,
        runtime=None if loaded is None else loaded["runtime"],
        runtime_version=None if loaded is None else loaded["version"],
        input=None if loaded is None else decode(Tensor, loaded["input"]),
        output=None if loaded is None else decode(Tensor, loaded["output"]),
        parity=max(parities, key=lambda parity: parity.max_error, default=None),
        timing=_timing(processes, loaded, timings) if processes and loaded is not None else None,
        memory=None if memory is None else _memory(memory),
        operators=None if operators is None else _operators(operators),
        energy=energy,
        error=next((error for error in errors if error is not None), None),
    )


def _error(outcome: Outcome) -> str | None:
    """Return why a process did not come to its end, or None."""
    if outcome.error is not None:
        return outcome.error
    if outcome.first("done") is not None:
        return None
    parity = outcome.first("parity")
    if parity is not None and parity["max_error"] > parity["allowed"]:
        return f"parity failed: answers differ by {parity['max_error']:.2g}, and {parity['allowed']:.2g} is allowed"
    return "the worker process ended before it was done"


def _process(index: int, outcome: Outcome) -> Process:
    def one(event: str) -> Mapping[str, Any]:
        found = outcome.first(event)
        if found is None:
            raise KeyError(event)
        return found

    heat, activity = dict(_without(one("warm_up"))), one("activity")
    tick_s, means_of = heat.pop("tick_s"), heat.pop("means_of")
    states = {event["when"]: event["state"] for event in outcome.all("state")}
    path = outcome.first("whole_path")
    fields = {
        "round": index,
        "load_s": one("loaded")["load_s"],
        "pinned": one("loaded")["pinned"],
        "first_inference_s": one("first")["first_inference_s"],
        "warm_up": heat,
        "means_of": means_of,
        "tick_s": tick_s,
        "windows": [_without(event) for event in outcome.all("window")],
        "whole_path": None if path is None else _without(path),
        "batches": [_without(event) for event in outcome.all("batch")],
        "activity": activity["activity"],
        "swapped_bytes": activity["swapped_bytes"],
        "before": states["before"],
        "after": states["after"],
    }
    return decode(Process, fields)


def _timing(processes: Sequence[Process], loaded: Mapping[str, Any], outcomes: Sequence[Outcome]) -> Timing:
    windows = [
        [sample / (1e9 * process.means_of) for sample in window.samples_ns]
        for process in processes
        for window in process.windows
    ]
    inference = summarize(
        [sample for window in windows for sample in window],
        means_of=max(process.means_of for process in processes),
    )
    paths = [process.whole_path for process in processes if process.whole_path is not None]
    # A model of a fixed batch size above 1 answers that many images in every inference.
    batch = max(1, int(loaded["input"]["shape"][0]))
    batches: dict[int, list[int]] = {}
    for process in processes:
        for found in process.batches:
            batches.setdefault(found.batch, []).extend(found.samples_ns)
    medians = {size: quantile(sorted(samples), 0.5) / 1e9 for size, samples in sorted(batches.items())}
    timing = Timing(
        load=summarize([process.load_s for process in processes]),
        first_inference=summarize([process.first_inference_s for process in processes]),
        inference=inference,
        preparation=_pooled(path.preparation_ns for path in paths),
        decision=_pooled(path.decision_ns for path in paths),
        window_p50s_s=tuple(quantile(sorted(window), 0.5) for window in windows),
        throughput=tuple(
            Throughput(size, size / seconds) for size, seconds in {batch: inference.p50_s, **medians}.items()
        ),
        failed_batches={
            str(event["batch"]): str(event["reason"]) for outcome in outcomes for event in outcome.all("batch_failed")
        },
        processes=tuple(processes),
    )
    return rest_on_processes(timing)


def _pooled(rows: Iterable[tuple[int, ...]]) -> Summary | None:
    samples = [sample / 1e9 for row in rows for sample in row]
    return summarize(samples) if samples else None


def _memory(outcome: Outcome) -> Memory | None:
    sizes = {event["stage"]: Size(event["rss"], event["pss"]) for event in outcome.all("memory")}
    stored = outcome.first("storage") or {}
    stages = ("interpreter", "numpy", "runtime", "loaded", "inferred")
    if "peak" not in sizes or any(stage not in sizes for stage in stages):
        return None
    # The kernel's counter of the peak may lag a little behind the exact sizes.
    known = [size.rss_bytes for size in sizes.values() if size.rss_bytes is not None]
    return Memory(
        interpreter=sizes["interpreter"],
        numpy=sizes["numpy"],
        runtime=sizes["runtime"],
        loaded=sizes["loaded"],
        inferred=sizes["inferred"],
        peak_rss_bytes=max(known, default=None),
        weights_bytes=stored.get("weights_bytes"),
        activations_bytes=stored.get("activations_bytes"),
        arena_bytes=stored.get("arena_bytes"),
    )


def _operators(outcome: Outcome) -> OperatorProfile:
    said = outcome.first("operators")
    if said is None:
        return unwatched((_error(outcome) or "the worker process said nothing of it").rstrip("."))
    return decode(OperatorProfile, said["profile"])


def assemble_energy(outcome: Outcome, readings: PowerReadings | Energy | None) -> Energy:
    """Return the estimate that an energy process's windows come to, or why there is none.

    Args:
        outcome: What the process said.
        readings: Of an external meter, where one is to be believed in place of the machine's own; or why it has none.
    """
    missing, meter = outcome.first("no_meter"), outcome.first("meter")
    if missing is not None:
        return no_energy(str(missing["reason"]).rstrip("."))
    if _error(outcome) is not None:
        return no_energy(str(_error(outcome)).rstrip("."))
    windows = [decode(EnergyWindow, _without(event)) for event in outcome.all("energy_window")]
    watched = outcome.first("activity")
    others = None if watched is None else decode(Activity, watched["activity"]).other_cpus
    if isinstance(readings, Energy):
        return readings
    if readings is not None:
        try:
            return readings.estimate(windows, other_cpus=others)
        except ProfileError as error:  # What was timed for minutes is not lost for a meter's sake.
            return no_energy(str(error).rstrip("."))
    if meter is None:
        return no_energy("the worker process did not say what its meter is")
    return estimate_energy(windows, source=meter["source"], rests_on=meter["rests_on"], other_cpus=others)


def _without(event: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return an event's facts without its name."""
    return {name: value for name, value in event.items() if name != "event"}
