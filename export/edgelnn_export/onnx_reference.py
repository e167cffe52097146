"""An ONNX file computed by ONNX's own reference evaluator, which shares no code with any runtime or with the writer.

That evaluator takes the activations of every LSTM and GRU for the usual ones. A file where they are others is computed
with the operators of `onnx_reference_operators` in place of its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import AttributeProto, GraphProto
from onnx.reference import ReferenceEvaluator
from onnx.reference.op_run import OpRun

from edgelnn.errors import ModelFileError
from edgelnn_export.onnx_reference_operators import GRU, LSTM

__all__ = ["OnnxReference"]

Floats = NDArray[Any]  # floating
_USUAL: Final[Mapping[str, list[str]]] = {"GRU": ["Sigmoid", "Tanh"], "LSTM": ["Sigmoid", "Tanh", "Tanh"]}
_OWN: Final[Mapping[str, type[OpRun]]] = {"GRU": GRU, "LSTM": LSTM}


class OnnxReference:
    """A float32 ONNX file in the reference evaluator.

    Attributes:
        name: Which evaluator it is, for the manifest.

    >>> from edgelnn_export.graph_builder import GraphBuilder
    >>> from edgelnn_export.onnx_model import write_onnx
    >>> builder = GraphBuilder((1, 3), "channels_first")
    >>> graph = builder.finish(builder.linear(builder.input, np.eye(3), np.ones(3)))
    >>> reference = OnnxReference(write_onnx(graph))
    >>> reference.run(np.zeros((1, 3), np.float32)).tolist(), reference.name.split()[0]
    ([[1.0, 1.0, 1.0]], 'onnx.reference')
    """

    def __init__(self, content: bytes) -> None:
        model = onnx.load_from_string(content)
        own = sorted(set(_own_operators(model.graph)))
        replaced = f", {' and '.join(own)} activations after the specification" if own else ""
        self.name = f"onnx.reference {onnx.__version__}{replaced}"
        self._input = model.graph.input[0].name
        # Given to it as new, an operator takes the place of the evaluator's own.
        self._evaluator = ReferenceEvaluator(model, new_ops=[_OWN[kind] for kind in own] or None)

    def run(self, array: Floats) -> Floats:
        """Return the file's answers.

        Args:
            array: The file's input.

        Raises:
            ModelFileError: The evaluator does not know an operator, or fails.
        """
        try:
            # Its sigmoid computes both of two forms everywhere, and then takes the one that did not overflow.
            with np.errstate(over="ignore", invalid="ignore"):
                answers: Any = self._evaluator.run(None, {self._input: array})
        except (ArithmeticError, LookupError, NotImplementedError, RuntimeError, TypeError, ValueError) as error:
            said = " ".join(str(error).split())[:200]
            raise ModelFileError(f"ONNX's reference evaluator fails on it: {said}.") from error
        found: Floats = answers[0]
        return found


def _own_operators(graph: GraphProto) -> Iterator[str]:
    """Yield the kinds of recurrent operators whose activations are not the usual ones, in bodies too."""
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.type == AttributeProto.GRAPH:
                yield from _own_operators(attribute.g)
            elif attribute.name == "activations" and node.op_type in _USUAL:
                given = [name.decode() for name in attribute.strings]
                if given != _USUAL[node.op_type] * (len(given) // len(_USUAL[node.op_type])):
                    yield node.op_type
