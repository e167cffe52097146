"""From a graph to the bytes of a TFLite file.

The file holds its weights and no metadata. It takes `image` float32 or uint8 (n, [d,] h, w, c) and gives
`probabilities` float32 (n, outputs), by these names also in its one signature, for any n after `resize_tensor_input`. A
file with a loop says that it takes one image at a time, since tflite-runtime 2.14 cannot resize the inside of a loop
once it has run. Operators are of versions that this runtime loads. The same graph gives the same bytes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgelnn.errors import MissingExtraError

if TYPE_CHECKING:
    from edgelnn_export.graph import Graph

__all__ = ["write_tflite"]


def write_tflite(graph: Graph) -> bytes:
    """Return the bytes of a TFLite file that computes a graph.

    Args:
        graph: Of layout channels_last, if it holds convolutions or pools.

    Raises:
        ExportError: The graph is of the other layout.
        UnsupportedModelError: The graph holds an operator that TFLite files do not take.
        MissingExtraError: ai-edge-litert is not installed.

    >>> import numpy as np
    >>> from edgelnn_export.graph_builder import GraphBuilder
    >>> builder = GraphBuilder((1, 3), "channels_last")
    >>> graph = builder.finish(builder.softmax(builder.linear(builder.input, np.eye(3), np.zeros(3))))
    >>> len(write_tflite(graph)) - graph.constant_bytes()
    704
    """
    try:
        from ai_edge_litert import schema_py_generated as schema  # type: ignore[import-untyped]
    except ModuleNotFoundError as error:
        if error.name is None or error.name.split(".")[0] not in ("ai_edge_litert", "flatbuffers"):
            raise
        raise MissingExtraError("the TFLite writer", "ai-edge-litert", "export") from error
    from edgelnn_export.formats.recurrent_steps import write_out_recurrent
    from edgelnn_export.formats.tflite_operators import INPUT, OUTPUT, write_graph
    from edgelnn_export.formats.tflite_packing import pack_model

    file, main = write_graph(write_out_recurrent(graph))
    signature = schema.SignatureDefT(
        inputs=[schema.TensorMapT(name=INPUT, tensorIndex=main.inputs[0])],
        outputs=[schema.TensorMapT(name=OUTPUT, tensorIndex=main.outputs[0])],
        signatureKey="serving_default",
        subgraphIndex=0,
    )
    return pack_model(file.model([signature]))
