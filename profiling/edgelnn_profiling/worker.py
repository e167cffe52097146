"""The process that measures: one request in, a line of JSON for each thing it found out.

    python -m edgelnn_profiling.worker    a request (one JSON object) on stdin, events (JSON, one a line) on stdout

A worker measures one model file once and ends. Timing, memory, operators and energy are never measured in the same
process: to look at memory takes time, to keep samples takes memory, and to watch operators or to read a meter takes
both. A memory worker imports nothing before it has looked at how large it is without it.
"""

import json
import os
import sys
import time

from edgelnn_profiling.memory import current_bytes, peak_bytes, swapped_bytes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from edgelnn_profiling.runtimes import AbstractRuntime, Array

    Say = Callable[..., None]

MEMORY_INFERENCES = 20


def main() -> int:
    """Answer the request on stdin; return the exit code."""
    # Whatever a runtime prints must not land among the events.
    channel = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)

    def say(event: str, **facts: object) -> None:
        channel.write(json.dumps({"event": event, **facts}) + "\n")
        channel.flush()

    request = json.loads(sys.stdin.readline())
    return answer(request, say)


def answer(request: "Mapping[str, Any]", say: "Say", clock: "Callable[[], int]" = time.perf_counter_ns) -> int:
    """Carry out a request and say what is found; return 0 also where that is an error that has been said."""
    if request["kind"] == "memory":
        _say_memory(say, "interpreter")
    from edgelnn.errors import EdgelnnError

    try:
        if request["kind"] == "memory":
            measure_memory(request, say)
        elif request["kind"] == "timing":
            measure_time(request, say, clock)
        elif request["kind"] == "machine":
            describe_machine(request, say)
        elif request["kind"] == "operators":
            measure_operators(request, say)
        elif request["kind"] == "energy":
            measure_energy(request, say, clock)
        elif request["kind"] == "answers":
            from edgelnn_profiling.answering import answer_request

            answer_request(request, say)
        else:
            known = "timing, memory, operators, energy, machine or answers"
            raise EdgelnnError(f"got a request of kind {request['kind']!r}; expected {known}.")
    except EdgelnnError as error:
        say("error", kind=type(error).__name__, message=str(error))
    return 0


def measure_memory(request: "Mapping[str, Any]", say: "Say") -> None:
    """Say how much memory there is after each step towards an answer, and the peak.

    Steps: ``interpreter`` (said before), ``numpy``, ``runtime`` (imported), ``loaded``, ``inferred``, ``peak``.
    """
    import numpy

    _say_memory(say, "numpy")
    from edgelnn_profiling.runtimes import import_runtime, open_runtime

    import_runtime(request["format"])
    _say_memory(say, "runtime")
    runtime = open_runtime(request["model"], request["format"], threads=request["threads"])
    _say_memory(say, "loaded")
    # Zeros, as numpy's random numbers alone would take 6 MB.
    array = numpy.zeros([max(1, length) for length in runtime.input.shape], runtime.input.dtype)
    for _ in range(MEMORY_INFERENCES):
        runtime.run(array)
    _say_memory(say, "inferred")
    say("memory", stage="peak", rss=peak_bytes(), pss=None)
    # From here on memory is no longer looked at, and may be used.
    from edgelnn_profiling.arena import read_storage

    say("storage", **read_storage(request["model"], request["format"], array, threads=request["threads"]))
    say("done")


def _say_memory(say: "Say", stage: str) -> None:
    rss, pss = current_bytes()
    say("memory", stage=stage, rss=rss, pss=pss)


def describe_machine(request: "Mapping[str, Any]", say: "Say") -> None:
    """Say what machine this is and how it is now."""
    import contextlib

    with contextlib.suppress(ImportError):  # A board can be described before anything is installed.
        import numpy  # noqa: F401  # Its version is asked for.

    from edgelnn.decode import encode
    from edgelnn_profiling.machine import read_machine
    from edgelnn_profiling.state import read_state

    say("machine", machine=encode(read_machine()), state=encode(read_state()))
    say("done")


def measure_time(request: "Mapping[str, Any]", say: "Say", clock: "Callable[[], int]") -> None:
    """Say load time, first inference, parity, warm-up, windows, what stands around an inference, and batches."""
    plan = request["plan"]
    pinned = _pin(request) if plan["pin"] else None
    from edgelnn.decode import encode
    from edgelnn.errors import ModelFileError
    from edgelnn_profiling.machine import MachineFiles
    from edgelnn_profiling.measuring import choose_loops, clock_tick_ns, take_window, warm_up
    from edgelnn_profiling.parity import check_parity, load_examples
    from edgelnn_profiling.runtimes import import_runtime, open_runtime
    from edgelnn_profiling.state import Activity, read_activity, read_clocks, read_state

    say("state", when="before", state=encode(read_state()))
    tick_ns = clock_tick_ns(clock)
    import_runtime(request["format"])
    begin = clock()
    runtime = open_runtime(request["model"], request["format"], threads=request["threads"])
    load_ns = clock() - begin
    tensors = {"input": encode(runtime.input), "output": encode(runtime.output)}
    say("loaded", load_s=load_ns / 1e9, runtime=runtime.name, version=runtime.version, pinned=pinned, **tensors)

    examples = load_examples(request, runtime)
    array = examples.inputs[: max(1, runtime.input.shape[0])]
    begin = clock()
    runtime.run(array)
    say("first", first_inference_s=(clock() - begin) / 1e9)
    if examples.expected is not None:
        parity = check_parity(runtime, examples, request)
        say("parity", **parity)
        if parity["max_error"] > parity["allowed"]:
            return

    runtime.set_input(array)
    files = MachineFiles()
    heat, run_ns = warm_up(
        runtime.invoke,
        clock,
        min_s=plan["warm_up_min_s"],
        max_s=plan["warm_up_max_s"],
        cpu_clock_hz=lambda: max(read_clocks(files), default=None),
    )
    loops = choose_loops(run_ns, tick_ns)
    say("warm_up", **encode(heat), tick_s=tick_ns / 1e9, means_of=loops)  # type: ignore[arg-type]
    counters, own_s, start = read_activity(), time.process_time(), clock()
    for _ in range(plan["windows"]):
        window = take_window(
            runtime.invoke,
            clock,
            loops=loops,
            window_s=plan["window_s"],
            min_samples=plan["min_samples"],
            max_samples=plan["max_samples"],
        )
        say("window", samples_ns=window.samples_ns, duration_s=window.duration_ns / 1e9, clocks_hz=read_clocks(files))
    duration_s, own_s = (clock() - start) / 1e9, time.process_time() - own_s
    activity = Activity.between(counters, read_activity(), duration_s=duration_s, own_s=own_s)
    say("activity", activity=encode(activity), swapped_bytes=swapped_bytes())

    if examples.images is not None and plan["preparation_samples"]:
        _time_whole_path(runtime, examples, plan["preparation_samples"], say, clock)
    for batch in plan["batches"]:
        if batch > 1 and runtime.takes_any_batch:
            try:
                _time_batch(runtime, array, batch, plan, say, clock)
            except ModelFileError as error:  # A file may promise any batch and reshape to one inside.
                say("batch_failed", batch=batch, reason=str(error))
    say("state", when="after", state=encode(read_state()))
    say("done")


def measure_operators(request: "Mapping[str, Any]", say: "Say") -> None:
    """Say where the time of an inference goes, by the runtime's own profiler."""
    if request["plan"]["pin"]:
        _pin(request)
    from edgelnn.decode import encode
    from edgelnn_profiling.operator_watching import watch_operators
    from edgelnn_profiling.parity import load_examples
    from edgelnn_profiling.runtimes import open_runtime

    runtime = open_runtime(request["model"], request["format"], threads=request["threads"])
    array = load_examples(request, runtime).inputs[: max(1, runtime.input.shape[0])]
    found = watch_operators(request["model"], request["format"], array, threads=request["threads"])
    say("operators", profile=encode(found))
    say("done")


def measure_energy(request: "Mapping[str, Any]", say: "Say", clock: "Callable[[], int]") -> None:
    """Say what a meter counts in pairs of windows, idle and full of inferences; or why there is no meter."""
    plan = request["plan"]
    if plan["pin"]:
        _pin(request)
    from edgelnn.decode import encode
    from edgelnn.errors import ProfileError
    from edgelnn_profiling.energy_windows import take_energy_windows
    from edgelnn_profiling.measuring import warm_up
    from edgelnn_profiling.meters import find_meter
    from edgelnn_profiling.parity import load_examples
    from edgelnn_profiling.runtimes import open_runtime
    from edgelnn_profiling.state import Activity, read_activity

    try:
        meter = None if request["meter"] == "external" else find_meter()
        runtime = open_runtime(request["model"], request["format"], threads=request["threads"])
        runtime.set_input(load_examples(request, runtime).inputs[: max(1, runtime.input.shape[0])])
        _, run_ns = warm_up(runtime.invoke, clock, min_s=plan["warm_up_min_s"], max_s=plan["warm_up_max_s"])
        pairs, length_s = plan["energy_pairs"], plan["energy_window_s"]
        counters, own_s, start = read_activity(), time.process_time(), clock()
        for window in take_energy_windows(runtime.invoke, meter, pairs=pairs, window_s=length_s, run_s=run_ns / 1e9):
            say("energy_window", **encode(window))  # type: ignore[arg-type]
        duration_s, own_s = (clock() - start) / 1e9, time.process_time() - own_s
        activity = Activity.between(counters, read_activity(), duration_s=duration_s, own_s=own_s)
        say("activity", activity=encode(activity), swapped_bytes=swapped_bytes())
        if meter is not None:
            say("meter", source=meter.source, rests_on=meter.rests_on)
    except ProfileError as error:
        say("no_meter", reason=str(error))
    say("done")


def _time_whole_path(
    runtime: "AbstractRuntime", examples: "Any", count: int, say: "Say", clock: "Callable[[], int]"
) -> None:
    """Say the times from pixels to decision, image after image: before, during and after the inference."""
    before, during, after = [], [], []
    for index in range(count + 5):
        at = index % len(examples.images)
        start = clock()
        runtime.set_input(examples.prepare(examples.images[at : at + 1]))
        ready = clock()
        runtime.invoke()
        answered = clock()
        examples.decide(runtime.get_output())
        end = clock()
        if index >= 5:  # The first few find cold caches.
            before.append(ready - start)
            during.append(answered - ready)
            after.append(end - answered)
    say("whole_path", preparation_ns=before, inference_ns=during, decision_ns=after)


def _time_batch(
    runtime: "AbstractRuntime",
    array: "Array",
    batch: int,
    plan: "Mapping[str, Any]",
    say: "Say",
    clock: "Callable[[], int]",
) -> None:
    """Say the times of inferences of a batch."""
    from edgelnn_profiling.measuring import take_window

    runtime.set_input(array[:1].repeat(batch, axis=0))
    for _ in range(3):
        runtime.invoke()
    window = take_window(
        runtime.invoke, clock, loops=1, window_s=plan["window_s"] / 2, min_samples=5, max_samples=plan["max_samples"]
    )
    say("batch", batch=batch, samples_ns=window.samples_ns)


def _pin(request: "Mapping[str, Any]") -> list[int]:
    """Keep this process on the plan's CPUs, or on as many as it has threads.

    These are the last ones, as the first serve most interrupts.
    """
    from edgelnn.errors import ProfileError

    count, asked = request["threads"], request["plan"]["cpus"]
    if not hasattr(os, "sched_setaffinity"):
        raise ProfileError("this system cannot pin a process to CPUs; measure without pinning.")
    usable = sorted(os.sched_getaffinity(0))
    if not set(asked) <= set(usable):
        raise ProfileError(f"got CPUs {_listed(asked)} to pin to; this process may use {_listed(usable)}.")
    cpus = sorted(asked) or usable[-count:]
    if len(cpus) < count:
        raise ProfileError(f"got {count} threads to pin; this process may use {len(cpus)} CPUs. Ask for fewer threads.")
    os.sched_setaffinity(0, cpus)
    return cpus


def _listed(cpus: "list[int]") -> str:
    return ", ".join(map(str, cpus))


if __name__ == "__main__":
    raise SystemExit(main())
