"""Linear recursions ``v[t] = a[t] * v[t - 1] + b[t]`` for all t at once.

The composition of two such steps is one such step, so that all v are found by doubling: after round i every entry
stands for 2^i steps, and the rounds needed are the logarithm of the length. (G. Blelloch, 1990, "Prefix sums and their
applications", CMU-CS-90-190, section 1.4.)
"""

from __future__ import annotations

from edgelnn_export.graph_builder import GraphBuilder

__all__ = ["scan_recursion"]


def scan_recursion(builder: GraphBuilder, a: str, b: str) -> str:
    """Return v (1, steps, …) of ``v[t] = a[t] * v[t - 1] + b[t]``, with v zero before the first step."""
    steps = builder.shape(b)[1]
    reach = 1
    while reach < steps:
        b = builder.add(b, builder.multiply(a, builder.shift(b, 1, reach)))
        if 2 * reach < steps:
            a = builder.multiply(a, builder.shift(a, 1, reach))
        reach *= 2
    return b
