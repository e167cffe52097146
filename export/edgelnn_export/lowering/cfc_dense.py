"""Dense CfC, a backbone before the gates, unrolled: the input's product is taken for all steps at once.

Where the gates follow the backbone there is nothing between the state and the backbone's first layer but matrices, so
that whatever is linear in a new state goes into that layer.
"""

from __future__ import annotations

import numpy as np

from edgelnn_export.graph_builder import GraphBuilder
from edgelnn_export.lowering.cells import cfc_gate_scale, cfc_state, cfc_state_affine
from edgelnn_export.lowering.signals import Affine, Floats, Steps, Vector, absorb, dense, steps_of
from edgelnn_export.lowering.weights import CfCCell, DenseCfC

__all__ = ["lower_dense_cfc"]


def lower_dense_cfc(
    builder: GraphBuilder, cell: DenseCfC, sequence: Steps, *, backward: bool, last: bool, doubled: bool
) -> Steps | Vector:
    """Return a dense CfC's output at every step, or after the last; arguments as in `lower_fused_cfc`.

    Args:
        builder: Where to.
        cell: The CfC.
        sequence: Its input.
        backward: Read from the last step to the first.
        last: Only the last output is wanted.
        doubled: Leave the sum of the two halves of a state to the next layer, which has twice the columns then: fewer
            operators for more products.
    """
    doubled = doubled and cell.mode == "default"
    gate_weight, gate_bias, affine = (_doubled if doubled else _scaled)(cell)
    recurrent, bias = absorb(cell.recurrent, cell.bias, affine)
    width = len(bias)
    drive = sequence.read(builder, cell.inputs, bias)
    driven = builder.split(builder.reshape(drive, (1, sequence.steps * width)), 1, (width,) * sequence.steps)
    state = ""
    states = []
    for step in driven[::-1] if backward else driven:
        if state:
            hidden = builder.add(builder.linear(state, recurrent), step)
        else:
            at_rest = cell.bias - bias  # the state is zero, and not what its map makes of zero
            hidden = builder.add(step, at_rest[None]) if at_rest.any() else step
        hidden = builder.tanh(hidden)
        for weight, deeper_bias in cell.deeper:
            hidden = builder.tanh(builder.linear(hidden, weight, deeper_bias))
        z = builder.linear(hidden, gate_weight, gate_bias)
        if doubled:
            new, share = builder.split(z, 1, (2 * cell.gates.units,) * 2)
            state = builder.multiply(builder.tanh(new), builder.sigmoid(share))
        else:
            state = cfc_state(builder, z, cell.mode, cell.gates.units)
        states.append(state)
    if last:
        return Vector(state, affine)
    return steps_of(builder, states[::-1] if backward else states, affine)


def _scaled(cell: DenseCfC) -> tuple[Floats, Floats, Affine]:
    """Return weight and bias of the gates as `cfc_state` reads them, and the map from what it gives to the state."""
    gates, scale = cell.gates, cfc_gate_scale(cell.mode)
    weight, bias = gates.inputs * scale[:, None, None], gates.bias * scale[:, None]
    return *_flat(weight, bias), cfc_state_affine(cell.mode, gates.units, gates.amplitude, gates.decay)


def _doubled(cell: DenseCfC) -> tuple[Floats, Floats, Affine]:
    """Return weight and bias for ff1, ff2, -gate and gate, and the map from the two products to the state.

    With t the sigmoid of the gate, the state is ``ff1 * (1 - t) + ff2 * t``, and 1 - t the sigmoid of -gate.
    """
    gates: CfCCell = cell.gates
    sign = np.array([1.0, 1.0, -1.0, 1.0])
    order = [0, 1, 2, 2]
    weight, bias = gates.inputs[order] * sign[:, None, None], gates.bias[order] * sign[:, None]
    return *_flat(weight, bias), dense(np.tile(np.eye(gates.units), 2))


def _flat(weight: Floats, bias: Floats) -> tuple[Floats, Floats]:
    return weight.reshape(-1, weight.shape[2]), bias.reshape(-1)
