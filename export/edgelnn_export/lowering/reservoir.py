"""Reservoirs as a loop over time: their recurrent matrix is large, and stands in the file, and in memory, once.

A runtime packs the weights of every product anew, so that an unrolled reservoir of 1000 units would take 4 MB a step.
The state is held divided by the leak a, ``y = x / a``, which leaves one product by a number in every step:

    y(t) = (1 - a) y(t - 1) + tanh(W_in u(t) + a W y(t - 1))
"""

from __future__ import annotations

import numpy as np

from edgelnn.models.heads import Reservoir
from edgelnn_export.graph_builder import GraphBuilder
from edgelnn_export.lowering.looped_results import loop_states
from edgelnn_export.lowering.signals import Steps, Vector, identity
from edgelnn_export.lowering.weights import numbers

__all__ = ["lower_reservoir"]


def lower_reservoir(builder: GraphBuilder, head: Reservoir, sequence: Steps) -> Steps | Vector:
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
        new = inner.tanh(inner.add(inner.linear(state, recurrent * leak), step))
        if leak != 1:
            new = inner.add(inner.multiply(state, np.array([1 - leak])), new)
        outputs = [new] if last else [new, new]
        value = loop_states(builder, inner, inputs, outputs, drive, sequence.steps, backward=False)
    return Vector(value, affine) if last else Steps(value, sequence.steps, affine)
