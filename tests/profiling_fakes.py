"""Workers that never ran: what they would have said, made to measure, so that reports are deterministic."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from edgelnn_profiling.executor import AbstractExecutor, Outcome

NOW = datetime(2025, 1, 2, 3, 4, 5, tzinfo=UTC)

QUIET_STATE: dict[str, Any] = {
    "clocks_hz": [1_500_000_000] * 4,
    "governor": "performance",
    "temperature_c": 48.3,
    "throttled": 0,
    "load": 0.1,
    "memory_available_bytes": 3 * 10**9,
    "swap_used_bytes": 0,
}
PI4: dict[str, Any] = {
    "board": "Raspberry Pi 4 Model B Rev 1.2",
    "cpu": "Cortex-A72",
    "features": ["asimd"],
    "architecture": "aarch64",
    "bits": 64,
    "emulated": False,
    "cores": 4,
    "clock_min_hz": 600_000_000,
    "clock_max_hz": 1_500_000_000,
    "memory_bytes": 4 * 10**9,
    "swap_bytes": 0,
    "system": "Debian GNU/Linux 12 (bookworm)",
    "kernel": "6.6.31",
    "python": "3.11.2",
    "versions": {"edgelnn": "0.1.0", "numpy": "2.2.0"},
}
WARM_UP: dict[str, Any] = {"runs": 1000, "duration_s": 0.05, "settled": True, "tick_s": 1e-8, "means_of": 1}
ACTIVITY: dict[str, Any] = {"duration_s": 0.3, "own_cpus": 1.0, "other_cpus": 0.05, "swapped_pages": 0}


def timing_events(
    *,
    sample_ns: int = 20_000,
    samples: int = 200,
    windows: Sequence[float] = (1.0, 1.0),
    clocks_hz: Sequence[int] = (1_500_000_000,),
    warm_up: Mapping[str, Any] | None = None,
    activity: Mapping[str, Any] | None = None,
    before: Mapping[str, Any] | None = None,
    after: Mapping[str, Any] | None = None,
    parity_error: float | None = 1e-7,
    swapped_bytes: int | None = 0,
    done: bool = True,
) -> list[dict[str, Any]]:
    """What a timing worker says of a model that takes `sample_ns`, in each window times its factor."""
    tensor = {"name": "image", "shape": [-1, 1, 8, 8], "dtype": "float32"}
    loaded = {"load_s": 0.002, "runtime": "onnxruntime", "version": "1.31.1", "pinned": None}
    events: list[dict[str, Any]] = [
        {"event": "state", "when": "before", "state": {**QUIET_STATE, **(before or {})}},
        {"event": "loaded", **loaded, "input": tensor, "output": {**tensor, "name": "probabilities", "shape": [-1, 2]}},
        {"event": "first", "first_inference_s": 0.0005},
    ]
    if parity_error is not None:
        events.append({"event": "parity", "max_error": parity_error, "allowed": 1e-4, "images": 4})
    events.append({"event": "warm_up", **WARM_UP, **(warm_up or {})})
    for factor in windows:
        row = [round(sample_ns * factor) + index % 11 for index in range(samples)]
        events.append({"event": "window", "samples_ns": row, "duration_s": sum(row) / 1e9, "clocks_hz": [*clocks_hz]})
    events.append({"event": "activity", "activity": {**ACTIVITY, **(activity or {})}, "swapped_bytes": swapped_bytes})
    rows = {"preparation_ns": [3000, 3100], "inference_ns": [20_500, 20_600], "decision_ns": [900, 1000]}
    events.append({"event": "whole_path", **rows})
    events.append({"event": "batch", "batch": 8, "samples_ns": [80_000, 80_000, 80_000]})
    events.append({"event": "state", "when": "after", "state": {**QUIET_STATE, **(after or {})}})
    return [*events, {"event": "done"}] if done else events


def memory_events() -> list[dict[str, Any]]:
    """What a memory worker says."""
    sizes = {"interpreter": 10, "numpy": 25, "runtime": 45, "loaded": 55, "inferred": 56}
    events = [
        {"event": "memory", "stage": stage, "rss": size * 10**6, "pss": size * 10**6 - 500_000}
        for stage, size in sizes.items()
    ]
    events.append({"event": "memory", "stage": "peak", "rss": 57 * 10**6, "pss": None})
    stored = {"weights_bytes": 512, "activations_bytes": 2048, "arena_bytes": 4096}
    return [*events, {"event": "storage", **stored}, {"event": "done"}]


def operator_events() -> list[dict[str, Any]]:
    """What a worker says that watched operators: a stem of two, a head of one, and one that the runtime added."""

    def operator(name: str, kind: str, part: str | None, mean_us: float) -> dict[str, Any]:
        origin = name if part else None
        layer = name.rstrip("0123456789") if part else None
        times = {"runs": 1, "mean_s": mean_us / 1e6, "most_s": (mean_us + 1) / 1e6}
        return {"name": name, "type": kind, "origin": origin, "layer": layer, "part": part, **times}

    profile = {
        "profiler": "ONNX Runtime's profiler",
        "inferences": 200,
        "inference_s": 24e-6,
        "inference_mean_s": 24e-6,
        "resolution_s": 1e-6,
        "operators": [
            operator("stem/conv2d0", "Conv", "stem", 10.0),
            operator("stem/conv2d1", "Conv", "stem", 5.5),
            operator("ReorderOutput", "ReorderOutput", None, 1.5),
            operator("head/lstm0", "LSTM", "head", 3.0),
        ],
        "reason": None,
    }
    return [{"event": "operators", "profile": profile}, {"event": "done"}]


def energy_events(
    *, pairs: int = 6, idle_w: float = 3.0, busy_w: float = 4.0, start: float = 1000.0, external: bool = False
) -> list[dict[str, Any]]:
    """What a worker says of windows of two seconds, 1000 inferences in each busy one."""
    events: list[dict[str, Any]] = []
    for place in range(2 * pairs):
        energy = 2.0 * (busy_w if place % 2 else idle_w)
        counted = {"energy_j": 0.0 if external else energy, "readings": 0 if external else 20}
        at = {"start": start + 2.0 * place, "duration_s": 2.0, "inferences": 1000 * (place % 2)}
        events.append({"event": "energy_window", **at, **counted})
    meter = [] if external else [{"event": "meter", "source": "pmic", "rests_on": "the rails of the board"}]
    return [*events, *meter, {"event": "done"}]


class FakeExecutor(AbstractExecutor):
    """Answers from a script, and remembers what it was asked."""

    def __init__(
        self,
        timing: Callable[[Mapping[str, Any]], Outcome | list[dict[str, Any]]] = lambda request: timing_events(),
        *,
        memory: Callable[[Mapping[str, Any]], Outcome | list[dict[str, Any]]] = lambda request: memory_events(),
        operators: Callable[[Mapping[str, Any]], Outcome | list[dict[str, Any]]] = lambda request: operator_events(),
        energy: Callable[[Mapping[str, Any]], Outcome | list[dict[str, Any]]] = lambda request: energy_events(),
        machine: Mapping[str, Any] | None = None,
        states: Sequence[Mapping[str, Any]] = ({}, {}),
    ) -> None:
        self.answers = {"timing": timing, "memory": memory, "operators": operators, "energy": energy}
        self.machine = {**PI4, **(machine or {})}
        self.states = [{**QUIET_STATE, **state} for state in states]
        self.requests: list[Mapping[str, Any]] = []

    def execute(self, request: Mapping[str, Any], *, timeout_s: float) -> Outcome:
        self.requests.append(request)
        if request["kind"] == "machine":
            asked = sum(one["kind"] == "machine" for one in self.requests)
            said = {"event": "machine", "machine": self.machine, "state": self.states[asked - 1]}
            return Outcome((said, {"event": "done"}), None)
        answer = self.answers[request["kind"]](request)
        return answer if isinstance(answer, Outcome) else Outcome(tuple(answer), None)


class FakeClock:
    """A clock that is turned by hand: each reading takes `reading_ns`, each step what it is told."""

    def __init__(self, *, reading_ns: int = 0) -> None:
        self.now_ns = 1_000_000_000
        self.reading_ns = reading_ns
        self.readings = 0

    def __call__(self) -> int:
        self.readings += 1
        self.now_ns += self.reading_ns
        return self.now_ns

    def step(self, *durations_ns: int) -> Callable[[], None]:
        """A function that takes these times, one after the other, and the last for ever."""
        left = list(durations_ns)

        def run() -> None:
            self.now_ns += left.pop(0) if len(left) > 1 else left[0]

        return run
