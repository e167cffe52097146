"""From a graph to the bytes of an ONNX file.

The file holds its weights, no external data, no documentation strings and no metadata. It takes `image` float32 or
uint8 (n, c, [d,] h, w) and gives `probabilities` float32 (n, outputs). It is of IR version 8 and opset 17, which ONNX
Runtime loads from 1.13 on. The same graph gives the same bytes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from edgelnn.errors import ExportError, MissingExtraError

if TYPE_CHECKING:
    from onnx import ValueInfoProto

    from edgelnn_export.graph import Graph

__all__ = ["IR_VERSION", "OPSET", "write_onnx"]

IR_VERSION: Final = 8
OPSET: Final = 17


def write_onnx(graph: Graph, *, batch: int | None = None) -> bytes:
    """Return the bytes of an ONNX file that computes a graph.

    Args:
        graph: Of layout channels_first, if it holds convolutions or pools.
        batch: How many images the file takes at a time; any number (the symbol `batch` on axis 0) where it is None.

    Raises:
        ExportError: The graph is of the other layout, or the batch is not positive.
        UnsupportedModelError: The graph holds an operator that ONNX files do not take.
        MissingExtraError: onnx is not installed.

    >>> import numpy as np
    >>> from edgelnn_export.graph_builder import GraphBuilder
    >>> builder = GraphBuilder((1, 3), "channels_first")
    >>> graph = builder.finish(builder.softmax(builder.linear(builder.input, np.eye(3), np.zeros(3))))
    >>> len(write_onnx(graph)) - graph.constant_bytes()
    215
    """
    try:
        from onnx import TensorProto, helper

        from edgelnn_export.formats.onnx_assembly import INPUT, OUTPUT
        from edgelnn_export.formats.onnx_operators import write_graph
    except ModuleNotFoundError as error:
        if error.name is None or not error.name.startswith("onnx"):
            raise
        raise MissingExtraError("the ONNX writer", "onnx", "export") from error
    if batch is not None and batch < 1:
        raise ExportError(f"got batch={batch}; expected a positive number, or None for any.")
    assembly = write_graph(graph, batch)

    def described(name: str, shape: tuple[int, ...], dtype: int = TensorProto.FLOAT) -> ValueInfoProto:
        times = shape[0] * batch if batch else ("batch" if shape[0] == 1 else None)
        return helper.make_tensor_value_info(name, dtype, [times, *shape[1:]])

    taken = TensorProto.UINT8 if graph.input_type == "uint8" else TensorProto.FLOAT

    model = helper.make_model(
        helper.make_graph(
            assembly.nodes,
            "edgelnn",
            [described(INPUT, tuple(graph.shapes[graph.input]), taken)],
            [described(OUTPUT, tuple(graph.shapes[graph.output]))],
            assembly.initializers(),
        ),
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="edgelnn",
    )
    return bytes(model.SerializeToString(deterministic=True))
