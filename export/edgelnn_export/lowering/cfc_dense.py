"""Dense CfC, a backbone before the gates, unrolled: the input's product is taken for all steps at once.

Where the gates follow the backbone there is nothing between the state and the backbone's first layer but matrices, so
that the state's factor of one half, and whatever `cells` leaves out, goes into that layer.
"""

from __future__ import annotations

import numpy as np

from edgelnn_export.graph_builder import GraphBuilder
from edgelnn_export.lowering.cells import cfc_gate_scale, cfc_state, cfc_state_affine
from edgelnn_export.lowering.signals import Steps, Vector, absorb, steps_of
from edgelnn_export.lowering.weights import DenseCfC

__all__ = ["lower_dense_cfc"]


def lower_dense_cfc(
    builder: GraphBuilder, cell: DenseCfC, sequence: Steps, *, backward: bool, last: bool
) -> Steps | Vector:
    """Return a dense CfC's output at every step, or after the last; arguments as in `lower_fused_cfc`."""
    gates = cell.gates
    affine = cfc_state_affine(cell.mode, gates.units, gates.amplitude, gates.decay)
    recurrent, bias = absorb(cell.recurrent, cell.bias, affine)
    scale = cfc_gate_scale(cell.mode)
    gate_weight = (gates.inputs * scale[:, None, None]).reshape(-1, gates.inputs.shape[2])
    gate_bias = (gates.bias * scale[:, None]).reshape(-1)
    width = len(bias)
    drive = sequence.read(builder, cell.inputs, np.zeros(width))
    driven = builder.split(builder.reshape(drive, (1, sequence.steps * width)), 1, (width,) * sequence.steps)
    state = ""
    states = []
    for step in driven[::-1] if backward else driven:
        if state:
            hidden = builder.add(builder.linear(state, recurrent, bias), step)
        else:
            hidden = builder.add(step, cell.bias[None])
        hidden = builder.tanh(hidden)
        for weight, deeper_bias in cell.deeper:
            hidden = builder.tanh(builder.linear(hidden, weight, deeper_bias))
        state = cfc_state(builder, builder.linear(hidden, gate_weight, gate_bias), cell.mode, gates.units)
        states.append(state)
    if last:
        return Vector(state, affine)
    return steps_of(builder, states[::-1] if backward else states, affine)
