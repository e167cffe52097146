"""Files that take pixels as they are, 0 to 255: what the numbers of the preprocessing do goes into the first weights.

``x = (pixels / 255 - mean) / std`` is ``scale * pixels + shift``. A product, a recurrence or a convolution without
padding behind it is one of the pixels themselves, with other weights and another bias. Around a map that is padded with
zeros, though, stand zeros of x and no pixel: there, and where channels whose numbers differ are no longer apart, x is
computed from the pixels by a multiplication and an addition.

Precondition of the rewriting: a graph that takes x. Postcondition: one that takes pixels, and gives the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from edgelnn.preprocessing import Preprocessing
from edgelnn_export.graph import Array, Graph, Node
from edgelnn_export.graph_builder import GraphBuilder
from edgelnn_export.lowering.signals import Floats
from edgelnn_export.operators import attribute
from edgelnn_export.rewriting import rewritten

__all__ = ["take_pixels"]

_MOVING: Final = {"reshape", "slice", "transpose"}
_DIRECTION: Final = {"lstm": 3, "gru": 4, "rnn": 3}  # constants of one direction: weight, recurrent, bias …


def take_pixels(graph: Graph, preprocessing: Preprocessing) -> Graph:
    """Return the graph of the same network that takes uint8 pixels.

    Args:
        graph: That takes what `preprocessing` makes.
        preprocessing: From pixels to that.
    """
    mean, std = (np.asarray(numbers, np.float64).reshape(-1) for numbers in (preprocessing.mean, preprocessing.std))
    scale, shift = 1 / (255 * std) + 0 * mean, -mean / std
    alike = len(np.unique(scale)) == len(np.unique(shift)) == 1
    readers = _readers(graph)
    direct = all(node.inputs[0] == graph.input for node in readers)
    if all(_takes_in(node, alike, direct) for node in readers):
        wanted = {node.outputs[0] for node in readers}
        return rewritten(
            graph,
            lambda b, node, inputs: [_taken_in(b, node, inputs, scale, shift)] if node.outputs[0] in wanted else None,
            begin=lambda b: b.unary("pixels", b.input),
        )

    def begin(b: GraphBuilder) -> str:
        rank = len(b.shape(b.input))
        shape = (-1,) if graph.layout == "channels_last" else (-1, *(1,) * (rank - 2))
        numbers = [values.reshape(shape) for values in (scale, shift)]
        return b.add(b.multiply(b.unary("pixels", b.input), numbers[0]), numbers[1])

    return rewritten(graph, lambda b, node, inputs: None, begin)


def _readers(graph: Graph) -> list[Node]:
    """Return the nodes that compute with the input, or with the input moved about."""
    moved, readers = {graph.input}, []
    for node in graph.nodes:
        if not moved & set(node.inputs):
            continue
        if node.op in _MOVING:
            moved.add(node.outputs[0])
        else:
            readers.append(node)
    return readers


def _takes_in(node: Node, alike: bool, direct: bool) -> bool:
    """Return whether scale and shift can go into a node's weights."""
    if node.op in _DIRECTION or node.op == "linear":
        return alike
    if node.op != "conv2d" or any(attribute(node, "padding")):
        return False
    return alike or (direct and attribute(node, "groups") == 1)


def _taken_in(b: GraphBuilder, node: Node, inputs: Sequence[str | Array], scale: Floats, shift: Floats) -> str:
    """Write a convolution, product or recurrence of pixels in place of one of x."""
    x, *constants = inputs
    exact = [array.astype(np.float64) for array in constants if not isinstance(array, str)]
    if len(exact) < len(constants):
        raise TypeError(f"got a {node.op} whose weights are computed")
    step = _DIRECTION.get(node.op, len(exact))
    bias_place = 2 if node.op in _DIRECTION else 1
    for first in range(0, len(exact), step):
        weight = exact[first]
        by_channel = (-1, *(1,) * (weight.ndim - 2))
        moved = (weight * shift.reshape(by_channel)).sum(axis=tuple(range(1, weight.ndim)))
        exact[first] = weight * scale.reshape(by_channel)
        if first + bias_place < len(exact):
            exact[first + bias_place] = exact[first + bias_place] + moved
        else:
            exact.append(moved)  # a product without a bias gets one
    return b.add_node(node.op, (x, *exact), **node.attributes)[0]
