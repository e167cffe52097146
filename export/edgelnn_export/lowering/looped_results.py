"""What recurrences written as loops share: states that begin at zero, and outputs at every step or the last."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edgelnn_export.graph_builder import GraphBuilder
from edgelnn_export.lowering.signals import Steps, Vector, identity

__all__ = ["loop_states", "plain", "reshaped"]


def loop_states(
    builder: GraphBuilder,
    inner: GraphBuilder,
    inputs: Sequence[str],
    outputs: Sequence[str],
    drive: str,
    steps: int,
    *,
    backward: bool,
) -> str:
    """Return the results of all steps as rows (steps, …) of a loop that gives any, else its first final state.

    Args:
        builder: Where to.
        inner: The body, written.
        inputs: Of the body: states, which begin at zero, then the step of the drive.
        outputs: Of the body: the new states, then perhaps the result of the step.
        drive: (steps, …): one row a step.
        steps: How many.
        backward: Read from the last step to the first.
    """
    states = len(inputs) - 1
    body = inner.finish_body(inputs, outputs)
    sequence = builder.reshape(drive, (1, steps, *builder.shape(drive)[1:]))
    zeros = [np.zeros(body.shapes[name]) for name in inputs[:states]]
    found = builder.loop(body, states=zeros, sequences=[sequence], steps=steps, reverse=backward)
    if len(outputs) == states:
        return found[0]
    results = found[states]
    return builder.reshape(results, (steps, *builder.shape(results)[2:]))


def plain(builder: GraphBuilder, result: Steps | Vector) -> Steps | Vector:
    """Return the same with its map applied, number by number where it is diagonal: no matrix has to be stored."""
    affine = result.affine
    matrix = affine.matrix
    if affine.is_identity or matrix.shape[0] != matrix.shape[1] or (matrix != np.diag(np.diagonal(matrix))).any():
        return result
    factor = np.diagonal(matrix)
    value = result.rows if isinstance(result, Steps) else result.value
    if (factor != 1).any():
        value = builder.multiply(value, factor[None, :1] if (factor == factor[0]).all() else factor[None])
    if affine.offset.any():
        value = builder.add(value, affine.offset[None])
    if isinstance(result, Steps):
        return Steps(value, result.steps, identity(len(factor)))
    return Vector(value, identity(len(factor)))


def reshaped(builder: GraphBuilder, value: str, shape: tuple[int, ...]) -> str:
    """Return a value in another shape, from what it was before it was last reshaped."""
    for node in builder.nodes:
        if node.op == "reshape" and node.outputs == (value,):
            return builder.reshape(node.inputs[0], shape)
    return builder.reshape(value, shape)
