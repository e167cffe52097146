"""Time by operator from LiteRT's own profiler, through the C interface of the library in its package.

Python's `Interpreter` has no profiler. LiteRT's C library has one for its `CompiledModel`, which runs the same kernels;
it is spoken to here with ctypes, in a process that does nothing else. tflite-runtime has neither. Times are whole
microseconds, cut off, so that most operators of a small recurrent head count as 0.
"""

from __future__ import annotations

import ctypes
import importlib.util
import statistics
import struct
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgelnn.errors import ProfileError
from edgelnn_profiling.file_contents import FileContents
from edgelnn_profiling.operator_times import OperatorProfile, unwatched
from edgelnn_profiling.runtimes import Array
from edgelnn_profiling.tflite_interpreter import import_interpreter
from edgelnn_profiling.tflite_linking import RESOLUTION_S, link_operators

__all__ = ["Event", "read_events", "watch_litert"]

INFERENCES = 300
WARM_UP = 60
LONGEST_S = 5.0
KEPT = 0.5
_CPU = 1
_WRITE = 1
_WHOLE, _OPERATOR, _DELEGATED = 1, 2, (4, 8)
_EVENT = struct.Struct("<Qi4xQQ48xQQi4x")
_LOOPS = ("CALL", "IF", "WHILE")
_NO_PROFILER = "{} has no profiler that can be reached from Python; its operators cannot be timed one by one"


@dataclass(frozen=True)
class Event:
    """One event of the profiler.

    Attributes:
        tag: What happened.
        kind: Bit of the event's type.
        elapsed_us: How long it took.
        index: Of the operator: in the file, or in the delegate.
    """

    tag: str
    kind: int
    elapsed_us: int
    index: int


def watch_litert(model: str, array: Array, *, threads: int, contents: FileContents) -> OperatorProfile:
    """Return where the time of an inference goes; its reason says why, where that cannot be told.

    Args:
        model: Path of the file.
        array: Its input, for a batch of 1.
        threads: That the runtime may use.
        contents: Of the file.

    Raises:
        ProfileError: The library refuses a step.
    """
    _, package, version = import_interpreter()
    library = _find_library() if package == "ai-edge-litert" else None
    if library is None:
        return unwatched(_NO_PROFILER.format(f"{package} {version}"))
    if any(operator.type in _LOOPS for operator in contents.operators):
        return unwatched("LiteRT's profiler does not tell the operators of a loop from those around it")
    session = _Session(library, model, array, threads)
    inferences: list[list[Event]] = []
    begin = time.perf_counter()
    while len(inferences) < INFERENCES + WARM_UP and time.perf_counter() - begin < LONGEST_S:
        inferences.append(session.watch())
    return summarize_events(inferences[min(WARM_UP, len(inferences) // 2) :], contents, f"LiteRT {version}'s profiler")


def summarize_events(inferences: Sequence[Sequence[Event]], contents: FileContents, profiler: str) -> OperatorProfile:
    """Return what the events of inferences say; the faster half of the inferences counts.

    Raises:
        ProfileError: They are not of one form.
    """
    told = []
    for events in inferences:
        whole = [event.elapsed_us for event in events if event.kind == _WHOLE and event.tag == "Invoke"]
        told.append((sum(whole), [event for event in events if event.kind == _OPERATOR or event.kind in _DELEGATED]))
    first = [(event.tag, event.kind, event.index) for event in told[0][1]] if told else []
    if not first or any([(e.tag, e.kind, e.index) for e in events] != first for _, events in told):
        raise ProfileError("LiteRT's profiler gave no operators, or others in every inference.")
    told = sorted(told, key=lambda each: each[0])[: max(1, int(len(told) * KEPT))]
    means = [
        sum(events[place].elapsed_us for _, events in told) / len(told) * RESOLUTION_S for place in range(len(first))
    ]
    ran = [(tag, index if kind == _OPERATOR else None) for tag, kind, index in first]
    operators, reason = link_operators(ran, means, contents)
    return OperatorProfile(
        profiler=f"{profiler}, for its CompiledModel",
        inferences=len(told),
        inference_s=statistics.median(whole for whole, _ in told) * RESOLUTION_S,
        inference_mean_s=statistics.fmean(whole for whole, _ in told) * RESOLUTION_S,
        resolution_s=RESOLUTION_S,
        operators=operators,
        reason=reason,
    )


def read_events(data: bytes, count: int, text_at: Any = ctypes.string_at) -> list[Event]:
    """Return the events that the library wrote.

    Args:
        data: What it wrote.
        count: How many there are.
        text_at: Reads the text at an address.

    Raises:
        ProfileError: They do not look like events, as in a version that lays them out differently.
    """
    rows = [_EVENT.unpack_from(data, _EVENT.size * place) for place in range(count)]
    for tag, kind, _start, elapsed, _index, _, source in rows:
        if not tag or kind <= 0 or kind & (kind - 1) or kind > 1 << 12 or source not in (0, 1, 2) or elapsed > 1 << 62:
            raise ProfileError("this version of LiteRT writes its profile in another form; it cannot be read.")
    return [
        Event(text_at(tag).decode("utf-8", "replace"), kind, elapsed, index)
        for tag, kind, _, elapsed, index, _, _ in rows
    ]


def _find_library() -> str | None:
    spec = importlib.util.find_spec("ai_edge_litert")
    for folder in (spec.submodule_search_locations or []) if spec is not None else []:
        path = Path(folder) / "libLiteRt.so"
        if path.is_file():
            return str(path)
    return None


class _Session:
    """A compiled model with its profiler. It lives as long as the process, so nothing is given back."""

    def __init__(self, library: str, model: str, array: Array, threads: int) -> None:
        self._library = ctypes.CDLL(library)
        environment, file, options = (ctypes.c_void_p() for _ in range(3))
        self._do("LiteRtCreateEnvironment", ctypes.c_int(0), None, ctypes.byref(environment))
        self._do("LiteRtCreateModelFromFile", environment, model.encode(), ctypes.byref(file))
        self._do("LiteRtCreateOptions", ctypes.byref(options))
        self._do("LiteRtSetOptionsHardwareAccelerators", options, ctypes.c_int(_CPU))
        self._keep: list[Any] = []
        self._add_options(options, b"runtime_options_string", b"enable_profiling = true\n")
        self._add_options(options, b"xnnpack", f"num_threads = {threads}\n".encode())
        self._model, self._profiler = ctypes.c_void_p(), ctypes.c_void_p()
        self._do("LiteRtCreateCompiledModel", environment, file, options, ctypes.byref(self._model))
        self._do("LiteRtCompiledModelGetProfiler", self._model, ctypes.byref(self._profiler))
        graph = ctypes.c_void_p()
        self._do("LiteRtGetModelSubgraph", file, ctypes.c_size_t(0), ctypes.byref(graph))
        source, target = self._buffer("Input", environment, graph), self._buffer("Output", environment, graph)
        self._fill(source, array)
        one = ctypes.c_void_p * 1
        self._ends = (ctypes.c_size_t(1), one(source), ctypes.c_size_t(1), one(target))

    def watch(self) -> list[Event]:
        """Run once and return the events."""
        self._do("LiteRtStartProfiler", self._profiler)
        self._do("LiteRtRunCompiledModel", self._model, ctypes.c_size_t(0), *self._ends)
        self._do("LiteRtStopProfiler", self._profiler)
        count = ctypes.c_int()
        self._do("LiteRtGetNumProfilerEvents", self._profiler, ctypes.byref(count))
        # Room for events twice as large as those that are known.
        room = ctypes.create_string_buffer(2 * _EVENT.size * (count.value + 1))
        self._do("LiteRtGetProfilerEvents", self._profiler, count, room)
        events = read_events(room.raw, count.value)
        self._do("LiteRtResetProfiler", self._profiler)
        return events

    def _do(self, name: str, *arguments: Any) -> None:
        try:
            function = getattr(self._library, name)
        except AttributeError:
            raise ProfileError(f"this version of LiteRT has no {name}; its operators cannot be timed.") from None
        function.restype = ctypes.c_int
        status = function(*arguments)
        if status != 0:
            raise ProfileError(f"LiteRT refuses {name} with status {status}; its operators cannot be timed.")

    def _add_options(self, options: ctypes.c_void_p, name: bytes, text: bytes) -> None:
        release = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(lambda _: None)
        payload = ctypes.create_string_buffer(text)
        self._keep += [release, payload]
        made = ctypes.c_void_p()
        self._do("LiteRtCreateOpaqueOptions", name, ctypes.cast(payload, ctypes.c_void_p), release, ctypes.byref(made))
        self._do("LiteRtAddOpaqueOptions", options, made)

    def _buffer(self, end: str, environment: ctypes.c_void_p, graph: ctypes.c_void_p) -> ctypes.c_void_p:
        tensor, needs, made = (ctypes.c_void_p() for _ in range(3))
        kind = ctypes.create_string_buffer(1024)
        first = ctypes.c_size_t(0)
        self._do(f"LiteRtGetSubgraph{end}", graph, first, ctypes.byref(tensor))
        self._do("LiteRtGetRankedTensorType", tensor, kind)
        self._do(f"LiteRtGetCompiledModel{end}BufferRequirements", self._model, first, first, ctypes.byref(needs))
        self._do("LiteRtCreateManagedTensorBufferFromRequirements", environment, kind, needs, ctypes.byref(made))
        return made

    def _fill(self, buffer: ctypes.c_void_p, array: Array) -> None:
        size, place = ctypes.c_size_t(), ctypes.c_void_p()
        self._do("LiteRtGetTensorBufferSize", buffer, ctypes.byref(size))
        values = np.ascontiguousarray(array)
        if size.value < values.nbytes:
            raise ProfileError(f"LiteRT takes {size.value} bytes of input; got {values.nbytes}.")
        self._do("LiteRtLockTensorBuffer", buffer, ctypes.byref(place), ctypes.c_int(_WRITE))
        ctypes.memmove(place, values.ctypes.data, values.nbytes)
        self._do("LiteRtUnlockTensorBuffer", buffer)
