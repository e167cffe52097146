"""The scan: a feature map read as a sequence, with as little moving of numbers as its order allows.

A scan reads the axes of a map (c, h, w) in some order and cuts what it reads into equal steps. In a channels_last
graph the map lies in memory as (h, w, c), so that the order within a step differs from the trained one: that
permutation becomes a linear map which the next weights absorb. A transposition stays only where a step's numbers do
not lie together. Windows are read likewise.
"""

from __future__ import annotations

from math import prod

import numpy as np
from numpy.typing import NDArray

from edgelnn.models.scans import PatchScan, Scan
from edgelnn_export.graph_builder import GraphBuilder
from edgelnn_export.lowering.signals import Steps, identity, selection

__all__ = ["lower_scan"]

Indices = NDArray[np.int64]


def lower_scan(builder: GraphBuilder, feature_map: str, scan: Scan | PatchScan) -> Steps:
    """Return the sequence that a scan reads from a map.

    Args:
        builder: Where to.
        feature_map: (1, c, h, w) or (1, h, w, c) by the builder's layout; for volumes with the slices on axis 0.
        scan: What to read; its map shape is (c, h, w) or (slices, c, h, w).
    """
    if isinstance(scan, PatchScan):
        return _lower_patches(builder, feature_map, scan)
    return _lower_axes(builder, feature_map, scan)


def _lower_axes(builder: GraphBuilder, feature_map: str, scan: Scan) -> Steps:
    """Return the sequence of a scan that reads axes."""
    axes = _stored_axes(builder, scan)
    stored = np.arange(prod(scan.map_shape)).reshape(scan.map_shape).transpose(axes)  # which number lies where
    steps = np.arange(prod(scan.map_shape)).reshape(scan.map_shape).transpose(scan.permutation)
    steps = steps.reshape(scan.steps, scan.features)
    order = _order_within_steps(stored.reshape(steps.shape), steps)
    if order is not None:
        return Steps(builder.reshape(feature_map, steps.shape), scan.steps, selection(order, scan.features))
    long = [axis for axis in axes if scan.map_shape[axis] > 1]
    value = builder.reshape(feature_map, (1, *(scan.map_shape[axis] for axis in long)))
    places = [long.index(axis) for axis in scan.permutation if axis in long]
    moved = builder.transpose(value, (0, *(place + 1 for place in places)))
    return Steps(builder.reshape(moved, steps.shape), scan.steps, identity(scan.features))


def _lower_patches(builder: GraphBuilder, feature_map: str, scan: PatchScan) -> Steps:
    """Return the sequence of windows: those of a grid by moving axes, overlapping ones by picking pixels."""
    channels, height, width = scan.map_shape
    size, (rows, columns), first = scan.size, scan.grid, builder.layout == "channels_first"
    if scan.stride == size or scan.steps == 1:
        cut = (1, channels, rows, size, columns, size) if first else (1, rows, size, columns, size * channels)
        order = (0, 2, 4, 1, 3, 5) if first else (0, 1, 3, 2, 4)
        windows = builder.transpose(builder.reshape(feature_map, cut), order)
        steps = builder.gather(builder.reshape(windows, (1, scan.steps, scan.features)), 1, scan.order)
    else:
        pixels = np.arange(height * width).reshape(height, width)
        corners = [(place // columns * scan.stride, place % columns * scan.stride) for place in scan.order]
        picked = [int(n) for top, left in corners for n in pixels[top : top + size, left : left + size].flat]
        flat = (1, channels, height * width) if first else (1, height * width, channels)
        steps = builder.gather(builder.reshape(feature_map, flat), 2 if first else 1, picked)
        if first:
            steps = builder.transpose(builder.reshape(steps, (1, channels, scan.steps, size**2)), (0, 2, 1, 3))
    places = np.arange(scan.features)
    stored = places if first else places.reshape(size**2, channels).T.reshape(-1)
    return Steps(builder.reshape(steps, (scan.steps, scan.features)), scan.steps, selection(stored, scan.features))


def _stored_axes(builder: GraphBuilder, scan: Scan) -> tuple[int, ...]:
    """Return the axes of the trained map in the order in which the graph stores them."""
    space = len(scan.map_shape) - 3
    if builder.layout == "channels_first":
        return tuple(range(len(scan.map_shape)))
    return (*range(space), space + 1, space + 2, space)


def _order_within_steps(rows: Indices, steps: Indices) -> Indices | None:
    """Return the one permutation that turns every row into the step of its number, or None where there is none."""
    place = np.argsort(rows[0])
    order: Indices = place[np.argsort(np.argsort(steps[0]))]
    return order if np.array_equal(rows[:, order], steps) else None
