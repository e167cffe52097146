"""Where the time of an inference goes, by the profiler of whichever runtime runs the file."""

from __future__ import annotations

from pathlib import Path

from edgelnn_profiling.file_contents import read_contents
from edgelnn_profiling.model_files import ModelFormat
from edgelnn_profiling.operator_times import OperatorProfile
from edgelnn_profiling.runtimes import Array

__all__ = ["watch_operators"]


def watch_operators(model: str, model_format: ModelFormat, array: Array, *, threads: int) -> OperatorProfile:
    """Return where the time of an inference goes; its reason says why, where that cannot be told.

    Args:
        model: Path of a file that was found fit to be opened.
        model_format: Its format.
        array: Its input.
        threads: That the runtime may use.

    Raises:
        ModelFileError: The runtime fails on it.
        ProfileError: The runtime's profiler wrote nothing that can be understood.
    """
    contents = read_contents(Path(model).read_bytes(), model_format)
    if model_format == "onnx":
        from edgelnn_profiling.onnx_profiler import watch_onnx

        return watch_onnx(model, array, threads=threads, contents=contents)
    from edgelnn_profiling.litert_profiler import watch_litert

    return watch_litert(model, array, threads=threads, contents=contents)
