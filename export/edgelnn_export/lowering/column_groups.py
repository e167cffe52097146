"""Convolutions that XNNPACK does poorly, on neighbouring columns at once.

XNNPACK looks up a pointer for every pixel under the kernel and then multiplies its channels, so that few channels cost
as much as many, and it computes eight channels of the result or none. A map (h, w, c) is, number for number, the map
(h, w / g, g · c) of columns in groups of g. A convolution of groups is again one, its kernel narrower, its weights
those of every column of the group with zeros beside them: products with zero, in place of pointers.

Precondition of the rewriting: channels_last, stride 1, no padding, no groups of channels, and g divides the width and
one less than the kernel's. Postcondition: the same numbers in the same order.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from edgelnn_export.graph import Array, Graph, Node
from edgelnn_export.graph_builder import GraphBuilder
from edgelnn_export.lowering.signals import Floats
from edgelnn_export.operators import Shape, attribute
from edgelnn_export.rewriting import rewritten

__all__ = ["group_columns"]

_LANES: Final = 8  # channels of the result that are computed together
_LOOKUP: Final = 11.0  # instructions for a pixel under the kernel and so many channels of the result, as counted
_PER_CHANNEL: Final = 2.7  # and for each channel of that pixel
_UNEVEN: Final = 1.7  # times as many where channels of the result are left over
_WORTHWHILE: Final = 0.8


def group_columns(graph: Graph) -> Graph:
    """Return the same network with convolutions on groups of columns where that takes fewer instructions."""

    def rule(b: GraphBuilder, node: Node, inputs: Sequence[str | Array]) -> Sequence[str] | None:
        if node.op != "conv2d" or graph.layout != "channels_last":
            return None
        x, weight, bias = inputs
        if not isinstance(x, str) or isinstance(weight, str) or isinstance(bias, str):
            return None
        n, height, width, channels = b.shape(x)
        shape = graph.shapes[node.outputs[0]]
        size = _best_group(node, width, weight.shape, shape)
        if size == 1:
            return None
        grouped = b.reshape(x, (n, height, width // size, size * channels))
        kernel = _grouped_kernel(weight.astype(np.float64), size)
        result = b.conv2d(grouped, kernel, np.tile(bias, size), activation=attribute(node, "activation"))
        return [b.reshape(result, shape)]

    return rewritten(graph, rule)


def _best_group(node: Node, width: int, weight: Shape, result: Shape) -> int:
    """Return how many columns to take together; 1 where nothing is gained."""
    if attribute(node, "stride") != (1, 1) or any(attribute(node, "padding")) or attribute(node, "groups") != 1:
        return 1
    _, height, columns, _ = result
    sizes = [g for g in range(1, weight[3]) if width % g == 0 and (weight[3] - 1) % g == 0] or [1]
    costs = {g: _cost(height * columns // g, _grouped_shape(weight, g)) for g in sizes}
    best = min(sizes, key=costs.__getitem__)
    return best if costs[best] < _WORTHWHILE * costs[1] else 1


def _grouped_shape(weight: Shape, size: int) -> Shape:
    return (size * weight[0], size * weight[1], weight[2], 1 + (weight[3] - 1) // size)


def _cost(pixels: int, weight: Shape) -> float:
    """Return about how many instructions a convolution takes."""
    out, channels, kernel_height, kernel_width = weight
    blocks, left_over = -(-out // _LANES), out % _LANES
    for_pixel = kernel_height * kernel_width * blocks * (_LOOKUP + _PER_CHANNEL * channels)
    return pixels * for_pixel * (_UNEVEN if left_over else 1.0)


def _grouped_kernel(weight: Floats, size: int) -> Floats:
    """Return the kernel of groups: (g·out, g·in, kh, 1 + (kw - 1) / g) of (out, in, kh, kw)."""
    out, channels, _, kernel_width = weight.shape
    grouped = np.zeros(_grouped_shape(weight.shape, size))
    for column in range(size):
        for place in range(kernel_width):
            group, inside = divmod(column + place, size)
            rows = slice(column * out, (column + 1) * out)
            grouped[rows, inside * channels : (inside + 1) * channels, :, group] = weight[..., place]
    return grouped
