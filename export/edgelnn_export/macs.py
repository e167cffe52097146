"""The work that a graph asks of a runtime, in multiply-accumulates."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from edgelnn.preprocessing import Layout
from edgelnn_export.graph import Array, Graph, Node
from edgelnn_export.operators import Shape, attribute, infer_shapes

__all__ = ["Macs", "graph_macs"]


@dataclass(frozen=True)
class Macs:
    """Multiply-accumulates for one example, as a runtime does them: products with a weight of zero count.

    Products of matrices and convolutions count; element-wise operators, activations and pooling do not.

    Attributes:
        total: Of the whole graph.
        by_part: By part of the classifier (stem, scan, head, output), those with none left out.
        by_node: By name of a node's first output, those with none left out. A loop is one node, all its steps together.
    """

    total: int
    by_part: Mapping[str, int]
    by_node: Mapping[str, int]


def graph_macs(graph: Graph) -> Macs:
    """Return the multiply-accumulates of a graph for one example.

    >>> from edgelnn_export.graph_builder import GraphBuilder
    >>> import numpy as np
    >>> b = GraphBuilder((1, 3), "channels_first")
    >>> graph_macs(b.finish(b.linear(b.input, np.ones((2, 3))))).total
    6
    """
    by_part: dict[str, int] = {}
    by_node: dict[str, int] = {}
    for node in graph.nodes:
        macs = _node_macs(node, graph.shapes, graph.constants, graph.layout)
        if macs:
            by_node[node.outputs[0]] = macs
            by_part[node.part] = by_part.get(node.part, 0) + macs
    return Macs(sum(by_node.values()), by_part, by_node)


def _node_macs(node: Node, shapes: Mapping[str, Shape], constants: Mapping[str, Array], layout: Layout) -> int:
    inputs = [shapes[name] if name in shapes else constants[name].shape for name in node.inputs]
    if node.op == "linear":
        return math.prod(inputs[0]) * inputs[1][0]
    if node.op == "conv2d":
        return math.prod(infer_shapes(node, inputs, layout)[0]) * math.prod(inputs[1][1:])
    if node.op in ("lstm", "gru", "rnn"):
        directions = 2 if attribute(node, "direction") == "both" else 1
        return directions * math.prod(inputs[0][:2]) * (math.prod(inputs[1]) + math.prod(inputs[2]))
    if node.op == "loop":
        body = node.attributes["body"]
        return int(node.attributes["steps"]) * sum(_node_macs(n, body.shapes, constants, layout) for n in body.nodes)
    return 0
