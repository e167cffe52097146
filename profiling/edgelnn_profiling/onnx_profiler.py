"""Time by operator from ONNX Runtime's own profiler, and what its arena holds.

The profiler writes an event for every operator it runs, in whole microseconds, cut off. Versions differ in what they
write into an event; what is missing stays unknown.
"""

from __future__ import annotations

import json
import statistics
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgelnn.errors import ProfileError
from edgelnn_profiling.file_contents import FileContents, FileOperator
from edgelnn_profiling.onnx_session import OnnxRuntime
from edgelnn_profiling.operator_times import OperatorProfile, OperatorTime
from edgelnn_profiling.runtimes import Array

__all__ = ["Arena", "read_arena", "read_onnx_profile", "watch_onnx"]

RESOLUTION_S = 1e-6
EVENTS = 20_000  # of about 1 kB each
WARM_UP = 0.2
KEPT = 0.5
_KERNEL = "_kernel_time"
_MARKS = ("_nchwc", "_token_", "/MatMulAddFusion", "_quant", "_dq", "_transformed")


@dataclass(frozen=True)
class Arena:
    """What the arena of ONNX Runtime held.

    Attributes:
        activations_bytes: Computed values alive at once, at most; None where this version does not tell.
        arena_bytes: Taken from the system; None likewise.
    """

    activations_bytes: int | None
    arena_bytes: int | None


def watch_onnx(model: str, array: Array, *, threads: int, contents: FileContents) -> OperatorProfile:
    """Return where the time of an inference goes.

    Args:
        model: Path of the file.
        array: Its input.
        threads: That the runtime may use.
        contents: Of the file.

    Raises:
        ModelFileError: The runtime fails on it.
        ProfileError: The profiler wrote nothing that can be understood.
    """
    count = max(10, min(300, EVENTS // max(1, len(contents.operators))))
    return read_onnx_profile(_events(model, array, threads=threads, inferences=count), contents)


def read_arena(model: str, array: Array, *, threads: int) -> Arena:
    """Return what the runtime's arena held during a few inferences.

    Raises:
        ModelFileError: The runtime fails on the file.
        ProfileError: The profiler wrote nothing that can be understood.
    """
    arguments = [event["args"] for event in _events(model, array, threads=threads, inferences=3) if _is_kernel(event)]
    in_use = _numbers(arguments, "mem_bytes_in_use")
    held = _numbers(arguments, "mem_arena_held")
    # What is in use when an inference has come to its end is there for good: the weights.
    return Arena(max(in_use) - min(in_use) if in_use else None, max(held) if held else None)


def _numbers(arguments: Sequence[Mapping[str, Any]], name: str) -> list[int]:
    return [int(each[name]) for each in arguments if str(each.get(name, "")).isdigit()]


def _events(model: str, array: Array, *, threads: int, inferences: int) -> list[Mapping[str, Any]]:
    try:
        with tempfile.TemporaryDirectory(prefix="edgelnn-operators-") as folder:
            runtime = OnnxRuntime(model, threads=threads, profile_prefix=str(Path(folder) / "profile"))
            runtime.set_input(array)
            for _ in range(inferences):
                runtime.invoke()
            events = json.loads(Path(runtime.end_profiling()).read_bytes())
    except (OSError, ValueError) as error:
        raise ProfileError(f"ONNX Runtime's profile cannot be written or read: {error}.") from error
    if not isinstance(events, list) or not all(isinstance(event, dict) for event in events):
        raise ProfileError("ONNX Runtime's profile is not a list of events.")
    return events


def _is_kernel(event: Mapping[str, Any]) -> bool:
    return event.get("cat") == "Node" and str(event.get("name", "")).endswith(_KERNEL)


def read_onnx_profile(events: Sequence[Mapping[str, Any]], contents: FileContents) -> OperatorProfile:
    """Return what the profiler's events say.

    The first fifth of the inferences counts as warm-up. Of the rest the faster half counts: others that ran meanwhile
    would otherwise stand among the operators.

    Args:
        events: As its JSON file holds them.
        contents: Of the file that ran.

    Raises:
        ProfileError: They hold no inference.
    """
    runs = _by_inference(events)
    runs = runs[int(len(runs) * WARM_UP) :]
    runs = sorted(runs, key=lambda run: run[0])[: max(1, int(len(runs) * KEPT))]
    if not runs or not runs[0][1]:
        raise ProfileError("ONNX Runtime's profile holds no inference; this version writes another form of it.")
    order: dict[tuple[str, str, str], list[float]] = {}
    for _, kernels in runs:
        for event in kernels:
            arguments = event.get("args", {})
            key = (
                str(event["name"]).removesuffix(_KERNEL),
                str(arguments.get("op_name", "")),
                str(arguments.get("node_index", "")),
            )
            order.setdefault(key, []).append(float(event["dur"]) * 1e-6)
    layers = contents.layer_names()
    operators = []
    for (name, kind, _), durations in order.items():
        times = max(1, round(len(durations) / len(runs)))
        mean = sum(durations) / len(runs)
        origin = find_origin(name, kind, contents.operators)
        operators.append(
            OperatorTime(
                name=name,
                type=kind,
                origin=None if origin is None else origin.name,
                layer=None if origin is None else layers[origin.name],
                part=None if origin is None else origin.part,
                runs=times,
                mean_s=mean,
                most_s=mean + times * RESOLUTION_S,
            )
        )
    return OperatorProfile(
        profiler="ONNX Runtime's profiler",
        inferences=len(runs),
        inference_s=statistics.median(duration for duration, _ in runs) * 1e-6,
        inference_mean_s=statistics.fmean(duration for duration, _ in runs) * 1e-6,
        resolution_s=RESOLUTION_S,
        operators=tuple(operators),
        reason=None,
    )


def _by_inference(events: Sequence[Mapping[str, Any]]) -> list[tuple[float, list[Mapping[str, Any]]]]:
    """Return of each inference how long it took, in µs, and its operators in the order in which they began.

    Operators inside the body of another are left out: their time is part of that one's.
    """
    whole = [event for event in events if event.get("name") == "model_run" and event.get("cat") == "Session"]
    kernels = sorted((event for event in events if _is_kernel(event)), key=lambda event: (event["ts"], -event["dur"]))
    runs = []
    place = 0
    for run in sorted(whole, key=lambda event: event["ts"]):
        inside: list[Mapping[str, Any]] = []
        covered = -1.0
        while place < len(kernels) and kernels[place]["ts"] <= run["ts"] + run["dur"]:
            event = kernels[place]
            place += 1
            if event["ts"] < run["ts"]:
                continue
            if event["ts"] < covered:
                continue
            inside.append(event)
            if _may_hold(event):
                covered = event["ts"] + event["dur"]
        runs.append((float(run["dur"]), inside))
    return runs


def _may_hold(event: Mapping[str, Any]) -> bool:
    return event.get("args", {}).get("op_name") in ("If", "Loop", "Scan")


def find_origin(name: str, kind: str, operators: Sequence[FileOperator]) -> FileOperator | None:
    """Return the operator of the file that one of the runtime stems from.

    ONNX Runtime keeps an operator's name, or makes a new one of that or of the value it computes.

    >>> conv = FileOperator("stem/conv2d0", "Conv", ("image", "w"), ("a",), "w", "stem")
    >>> relu = FileOperator("stem/conv2d1", "Relu", ("a",), ("d",), None, "stem")
    >>> find_origin("d_nchwc", "Conv", [conv, relu]).name
    'stem/conv2d0'
    >>> find_origin("ReorderOutput", "ReorderOutput", [conv, relu]) is None
    True
    """
    named = {operator.name: operator for operator in operators if operator.name}
    made = {output: operator for operator in operators for output in operator.outputs if output}
    for candidate in _candidates(name):
        found = named.get(candidate) or made.get(candidate)
        if found is not None:
            return _of_kind(found, kind, made)
    return None


def _candidates(name: str) -> list[str]:
    """Return what a name may have been before the runtime added to it."""
    found = [name]
    for mark in _MARKS:
        before, there, _ = name.partition(mark)
        if there:
            found.append(before)
    if name.startswith("fused "):
        found.append(name.removeprefix("fused "))
    return found


def _of_kind(operator: FileOperator, kind: str, made: Mapping[str, FileOperator]) -> FileOperator:
    """Return the operator of a kind that a fused one begins with: the Conv before a Relu, of a Conv that holds both."""
    at: FileOperator | None = operator
    for _ in range(4):
        if at is None:
            break
        if at.type == kind or at.weight is not None:
            return at
        at = next((made[value] for value in at.inputs if value in made), None)
    return operator
