"""Reservoirs as a loop over time: their recurrent matrix is large, and stands in the file, and in memory, once.

A runtime packs the weights of every product anew, so that an unrolled reservoir of 1000 units would take 4 MB a step.
The state is held divided by the leak a, ``y = x / a``, which leaves one product by a number in every step:

    y(t) = (1 - a) y(t - 1) + tanh(W_in u(t) + a W y(t - 1))
"""

from __future__ import annotations

from typing import Final

import numpy as np

from edgelnn.models.heads import Reservoir
from edgelnn_export.graph_builder import GraphBuilder
from edgelnn_export.lowering.looped_results import loop_states
from edgelnn_export.lowering.signals import Floats, Steps, Vector, identity
from edgelnn_export.lowering.weights import numbers

__all__ = ["lower_reservoir"]


_BLOCK: Final = 64  # numbers that a product adds up in one go


def lower_reservoir(builder: GraphBuilder, head: Reservoir, sequence: Steps, *, blocks: bool) -> Vector:
    """Return what the linear layer of a reservoir reads.

    Args:
        builder: Where to.
        head: The reservoir.
        sequence: Its input.
        blocks: Add up wide products block by block: XNNPACK adds one number after the other, and by a thousand of them
            loses a digit that a fitted read-out, whose weights are large, has need of.
    """
    result = _states(builder, head, sequence, blocks)
    if isinstance(result, Steps):
        result = result.mean(builder) if head.readout == "mean" else result.joined(builder)
    center = numbers(head.center) / head.leak
    return Vector(builder.subtract(result.value, center[None]), result.affine)


def _states(builder: GraphBuilder, head: Reservoir, sequence: Steps, blocks: bool) -> Steps | Vector:
    """Return a reservoir's state at every step, or after the last where that is what is read."""
    weight, recurrent = numbers(head.input_weight), numbers(head.recurrent_weight)
    units, leak, last = len(weight), head.leak, head.readout == "last"
    drive = sequence.read(builder, weight, np.zeros(units))
    affine = identity(units).followed_by(np.full(units, leak), np.zeros(units))
    if sequence.steps == 1:  # from nothing, the recurrent weights have nothing to add
        value = builder.tanh(drive)
    else:
        inner, inputs = builder.body([(1, units), (1, units)])
        state, step = inputs
        new = inner.tanh(inner.add(_product(inner, state, recurrent * leak, blocks), step))
        if leak != 1:
            new = inner.add(inner.multiply(state, np.array([1 - leak])), new)
        outputs = [new] if last else [new, new]
        value = loop_states(builder, inner, inputs, outputs, drive, sequence.steps, backward=False)
    return Vector(value, affine) if last else Steps(value, sequence.steps, affine)


def _product(builder: GraphBuilder, value: str, weight: Floats, blocks: bool) -> str:
    """Return (1, out) of a value (1, in)."""
    width = weight.shape[1]
    if not blocks or width <= _BLOCK:
        return builder.linear(value, weight)
    starts = list(range(0, width, _BLOCK))
    sizes = tuple(min(_BLOCK, width - start) for start in starts)
    pieces = builder.split(value, 1, sizes)
    sums = [builder.linear(x, weight[:, a : a + n]) for x, a, n in zip(pieces, starts, sizes, strict=True)]
    while len(sums) > 1:
        pairs = [sums[place : place + 2] for place in range(0, len(sums), 2)]
        sums = [builder.add(*pair) if len(pair) == 2 else pair[0] for pair in pairs]
    return sums[0]
