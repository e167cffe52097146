"""The values of an ONNX file, read out by naming them as further outputs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, final

import numpy as np
import onnx

from edgelnn.errors import ModelFileError
from edgelnn_export.formats.onnx_assembly import INPUT
from edgelnn_export.formats.onnx_operators import write_graph
from edgelnn_export.formats.values import FileValues, Floats
from edgelnn_export.graph import Graph
from edgelnn_profiling.onnx_session import import_onnxruntime

__all__ = ["OnnxValues"]


@final
class OnnxValues(FileValues):
    """See `FileValues`."""

    def __init__(self, content: bytes, graph: Graph) -> None:
        self.graph = graph
        self._written = write_graph(graph)
        self._model = onnx.load_from_string(content)
        self._producers = {name: node for node in self._model.graph.node for name in node.output}
        self._uses: dict[str, list[onnx.NodeProto]] = {}
        for node in self._model.graph.node:
            for name in node.input:
                self._uses.setdefault(name, []).append(node)
        self._sessions: dict[tuple[str, ...], Any] = {}

    def name(self, value: str) -> str | None:
        """Return the name that a value of the graph has in the file, None where the file has no such value."""
        found = self._written.found(value)
        return found[0] if found is not None and found[0] in self._producers else None

    def title(self, value: str) -> str:
        """Return the name of the node that gives a value."""
        name = self.name(value) or value
        return str(self._producers[name].name or name)

    def compute_one(self, array: Floats, values: Sequence[str]) -> list[Floats]:
        """Return values of the graph for one image."""
        places = [self._written.found(value) for value in values]
        names = tuple(self._observed(place[0]) for place in places if place is not None)
        session = self._session(names)
        try:
            found = session.run(list(names), {INPUT: array})
        except (RuntimeError, ValueError) as error:
            raise ModelFileError(f"ONNX Runtime fails on the file: {' '.join(str(error).split())[:200]}.") from error
        return [
            np.swapaxes(each, 0, 1) if place is not None and place[1] else each
            for each, place in zip(found, places, strict=True)
        ]

    def _observed(self, name: str) -> str:
        """Return the name of a value as those who use it see it: quantized and back, where nobody sees it otherwise."""
        uses = self._uses.get(name, [])
        if len(uses) == 1 and uses[0].op_type == "QuantizeLinear":
            after = self._uses.get(uses[0].output[0], [])
            if after and all(node.op_type == "DequantizeLinear" for node in after):
                return str(after[0].output[0])
        return name

    def _session(self, names: tuple[str, ...]) -> Any:
        if names not in self._sessions:
            model = onnx.ModelProto()
            model.CopyFrom(self._model)
            known = {value.name for value in model.graph.output}
            model.graph.output.extend(onnx.ValueInfoProto(name=n) for n in dict.fromkeys(names) if n not in known)
            runtime = import_onnxruntime()
            options = runtime.SessionOptions()
            options.intra_op_num_threads = 1
            options.log_severity_level = 4
            self._sessions[names] = runtime.InferenceSession(
                model.SerializeToString(), options, providers=["CPUExecutionProvider"]
            )
        return self._sessions[names]
