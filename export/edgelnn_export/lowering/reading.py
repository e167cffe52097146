"""From a feature map to class scores: scans, the reduction of steps, heads, several of them side by side."""

from __future__ import annotations

from torch import nn

from edgelnn.models.parallel import Branch, Parallel
from edgelnn.models.reduction import Reduction
from edgelnn.models.scans import AnyScan, ParallelScans
from edgelnn_export.graph_builder import GraphBuilder
from edgelnn_export.lowering.head import Optimize, Target, lower_head
from edgelnn_export.lowering.scan import lower_scan
from edgelnn_export.lowering.signals import Steps, identity
from edgelnn_export.lowering.weights import numbers

__all__ = ["lower_reading"]


def lower_reading(
    builder: GraphBuilder,
    feature_map: str,
    scan: AnyScan,
    reduction: Reduction | None,
    head: nn.Module,
    target: Target,
    optimize: Optimize,
) -> str:
    """Return the class scores (1, scores) that scan, reduction and head read from a map.

    Args:
        builder: Where to.
        feature_map: (1, c, h, w) or (1, h, w, c) by the builder's layout; for volumes with the slices on axis 0.
        scan: What to read.
        reduction: What each step passes through first; None where it stays as it is.
        head: Of `edgelnn.models`.
        target: Format that the graph is meant for.
        optimize: What counts there.

    Raises:
        UnsupportedModelError: A part has no form here.
    """
    if isinstance(scan, ParallelScans):
        if not isinstance(head, Parallel):
            raise TypeError(f"got a {type(head).__name__} behind scans side by side; expected Parallel")
        said = []
        for one, branch in zip(scan.scans, head.branches, strict=True):
            if not isinstance(branch, Branch):
                raise TypeError(f"got a {type(branch).__name__} among the branches; expected Branch")
            said.append(lower_reading(builder, feature_map, one, branch.reduction, branch.head, target, optimize))
        with builder.in_part("head"):
            joined = builder.concat(said, 1)
            return builder.linear(joined, numbers(head.linear.weight), numbers(head.linear.bias))
    with builder.in_part("scan"):
        sequence = lower_scan(builder, feature_map, scan)
        if reduction is not None:
            rows = sequence.read(builder, numbers(reduction.linear.weight), numbers(reduction.linear.bias), "relu")
            sequence = Steps(rows, sequence.steps, identity(reduction.linear.out_features))
    with builder.in_part("head"):
        return lower_head(builder, head, sequence, target, optimize)
