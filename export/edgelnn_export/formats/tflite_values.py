"""The values of a TFLite file, read from its tensors after each inference."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, final

import numpy as np

from edgelnn.errors import ModelFileError
from edgelnn_export.formats.recurrent_steps import write_out_recurrent
from edgelnn_export.formats.tflite_operators import INPUT, write_graph
from edgelnn_export.formats.values import FileValues, Floats
from edgelnn_export.graph import Graph

__all__ = ["TfliteValues"]


@final
class TfliteValues(FileValues):
    """See `FileValues`."""

    def __init__(self, content: bytes, graph: Graph) -> None:
        from ai_edge_litert.interpreter import Interpreter, OpResolverType  # type: ignore[import-untyped]

        self.graph = write_out_recurrent(graph)
        _, self._written = write_graph(self.graph)
        try:
            self._interpreter: Any = Interpreter(
                model_content=content,
                num_threads=1,
                # XNNPACK keeps what it computes on the way to itself.
                experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
                experimental_preserve_all_tensors=True,
            )
            self._interpreter.allocate_tensors()
        except (RuntimeError, ValueError) as error:
            raise ModelFileError(f"LiteRT cannot load the file: {' '.join(str(error).split())[:200]}.") from error
        self._tensors = {str(each["name"]): each for each in self._interpreter.get_tensor_details()}

    def name(self, value: str) -> str | None:
        """Return the name that a value of the graph has in the file, None where the file has no such value."""
        found = self._written.found(value)
        return found if found in self._tensors else None

    def title(self, value: str) -> str:
        """Return the name of a value's tensor."""
        return self.name(value) or value

    def compute_one(self, array: Floats, values: Sequence[str]) -> list[Floats]:
        """Return values of the graph for one image."""
        self._interpreter.set_tensor(self._tensors[INPUT]["index"], array)
        self._interpreter.invoke()
        return [self._read(self._tensors[self.title(value)]) for value in values]

    def _read(self, tensor: dict[str, Any]) -> Floats:
        found: Floats = self._interpreter.get_tensor(tensor["index"])
        parameters = tensor["quantization_parameters"]
        if found.dtype.kind == "f" or not len(parameters["scales"]):
            return found
        # Values are quantized per tensor; only weights are per channel.
        real: Floats = (found.astype(np.float64) - parameters["zero_points"][0]) * parameters["scales"][0]
        return real
