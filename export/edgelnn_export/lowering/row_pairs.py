"""Convolutions with few channels before a pooling of pairs, on both rows of a pair at once.

ONNX Runtime copies what lies under the kernel into a matrix before it multiplies. With few channels in the result the
copying is most of the work. Where the greatest of two by two follows, the even rows of the result and the odd ones can
be channels of one convolution with stride 2 and a kernel one row taller: it copies three fifths of what a kernel of
five rows does. The greater of the two rows is then the greater of two halves of the channels.

Precondition of the rewriting: channels_first, a stride of one row, no groups of channels, activation none or relu, and
a maximum over two by two of nothing but this convolution's result. Postcondition: the same map after the pooling.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Final

import numpy as np

from edgelnn_export.graph import Array, Graph, Node
from edgelnn_export.graph_builder import GraphBuilder
from edgelnn_export.lowering.signals import Floats
from edgelnn_export.operators import attribute
from edgelnn_export.rewriting import rewritten

__all__ = ["pair_rows"]

_FEW_CHANNELS: Final = 8  # with more, multiplying is most of the work, and the taller kernel costs more than it saves
_LEAST_HEIGHT: Final = 4  # of the kernel: how many rows it reads for two, against twice as many


def pair_rows(graph: Graph) -> Graph:
    """Return the same network with convolutions on pairs of rows where that takes fewer instructions."""
    if graph.layout != "channels_first":
        return graph
    uses = Counter(name for node in graph.nodes for name in node.inputs)
    convolutions = {node.outputs[0]: node for node in graph.nodes if _fits(node, graph) and uses[node.outputs[0]] == 1}
    read: dict[str, str] = {}  # by convolution: what it reads, as the builder calls it

    def rule(b: GraphBuilder, node: Node, inputs: Sequence[str | Array]) -> Sequence[str] | None:
        x = inputs[0]
        if not isinstance(x, str):
            return None
        if node.outputs[0] in convolutions:
            read[node.outputs[0]] = x
        conv = convolutions.get(node.inputs[0])
        if conv is None or not _pools_pairs(node):
            return None
        weight, bias = (graph.constants[name].astype(np.float64) for name in conv.inputs[1:])
        both = b.conv2d(
            read[conv.outputs[0]],
            np.concatenate([_shifted(weight, 0), _shifted(weight, 1)]),
            np.tile(bias, 2),
            stride=(2, attribute(conv, "stride")[1]),
            padding=attribute(conv, "padding"),
            activation=attribute(conv, "activation"),
        )
        upper, lower = b.split(both, 1, (len(bias), len(bias)))
        return [b.max_pool(b.maximum(upper, lower), (1, 2), (1, 2))]

    return rewritten(graph, rule)


def _fits(node: Node, graph: Graph) -> bool:
    if node.op != "conv2d" or attribute(node, "groups") != 1 or attribute(node, "stride")[0] != 1:
        return False
    weight = graph.constants[node.inputs[1]].shape
    return weight[0] <= _FEW_CHANNELS and weight[2] >= _LEAST_HEIGHT and graph.shapes[node.outputs[0]][2] >= 2


def _pools_pairs(node: Node) -> bool:
    pairs = (2, 2)
    return (
        node.op == "pool2d"
        and attribute(node, "kind") == "max"
        and attribute(node, "kernel") == attribute(node, "stride") == pairs
    )


def _shifted(weight: Floats, by: int) -> Floats:
    """Return a kernel one row taller that does what `weight` does so many rows lower."""
    return np.pad(weight, [(0, 0), (0, 0), (by, 1 - by), (0, 0)])
