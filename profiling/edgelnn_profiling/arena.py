"""What a model keeps apart: the weights that its file stores, and the arena for what is computed."""

from __future__ import annotations

from pathlib import Path

from edgelnn.errors import ProfileError
from edgelnn_profiling.file_contents import read_contents
from edgelnn_profiling.model_files import ModelFormat
from edgelnn_profiling.runtimes import Array

__all__ = ["read_storage"]


def read_storage(model: str, model_format: ModelFormat, array: Array, *, threads: int) -> dict[str, int | None]:
    """Return the bytes of weights, of activations alive at once, and of the arena; None where nobody tells.

    ONNX Runtime tells in its profile. LiteRT tells neither what XNNPACK packs nor how large its arena is.

    Args:
        model: Path of the file.
        model_format: Its format.
        array: Its input.
        threads: That the runtime may use.
    """
    weights = read_contents(Path(model).read_bytes(), model_format).constant_bytes
    found: dict[str, int | None] = {"weights_bytes": weights, "activations_bytes": None, "arena_bytes": None}
    if model_format == "onnx":
        from edgelnn_profiling.onnx_profiler import read_arena

        try:
            arena = read_arena(model, array, threads=threads)
        except ProfileError:  # A version whose profile is of another form does not tell, either.
            return found
        found |= {"activations_bytes": arena.activations_bytes, "arena_bytes": arena.arena_bytes}
    return found
