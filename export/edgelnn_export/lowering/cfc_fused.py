"""Wired CfC as ONNX's LSTM operator, one for each layer of neurons: exact for the modes ``default`` and ``no_gate``.

An LSTM's cell state is ``c = f * c_before + i * g`` and its output ``o * h(c)``. With 2u units for u neurons, the
forget gate shut (bias -30), the output gate open (+30) and h left out, its output is ``i * g``, which holds

    first half     i = sigmoid(-gate)  (mode default; open in no_gate)     g = tanh(ff1)
    second half    i = sigmoid(gate)                                       g = tanh(ff2)

The CfC's new state is the sum of both halves. It is never formed: whoever reads it repeats its matrix side by side.
"""

from __future__ import annotations

import numpy as np

from edgelnn_export.graph_builder import GraphBuilder
from edgelnn_export.lowering.signals import Affine, Floats, Steps, Vector, dense
from edgelnn_export.lowering.weights import CfCCell, CfCStack

__all__ = ["lower_fused_cfc"]

_SHUT = -30.0  # sigmoid(-30) is 9e-14, less than float32 resolves beside 1


def lower_fused_cfc(
    builder: GraphBuilder, stack: CfCStack, sequence: Steps, *, backward: bool, last: bool
) -> Steps | Vector:
    """Return a CfC's output at every step, or after the last step it reads.

    Args:
        builder: Where to.
        stack: Of mode ``default`` or ``no_gate``.
        sequence: Its input.
        backward: Read from the last step to the first.
        last: Only the last output is wanted.
    """
    if stack.mode == "pure":
        raise ValueError("got mode 'pure'; it has one gate, which no LSTM expresses")
    affine = sequence.affine
    value = sequence.batched(builder)
    for index, cell in enumerate(stack.cells):
        final = last and index == len(stack.cells) - 1
        weight, recurrent, bias = _lstm_weights(cell, affine, gated=stack.mode == "default")
        attributes = {"direction": "reverse"} if backward else {}
        if final:
            attributes["result"] = "last"
        value = builder.add_node(
            "lstm",
            (value, weight, recurrent, bias),
            activations=("sigmoid", "tanh", "identity"),
            **attributes,
        )[0]
        affine = dense(np.tile(np.eye(cell.units), 2))
    if last:
        return Vector(value, affine)
    raw = builder.shape(value)[2]
    return Steps(builder.reshape(value, (sequence.steps, raw)), sequence.steps, affine)


def _lstm_weights(cell: CfCCell, affine: Affine, *, gated: bool) -> tuple[Floats, Floats, Floats]:
    """Return weight (8u, raw), recurrent (8u, 2u) and bias (8u): gates i, f, g, o of 2u units each."""
    units = cell.units
    sums = np.tile(np.eye(units), 2)
    inputs = [affine.times(cell.inputs[gate]) for gate in range(3)]
    recurrent = [cell.recurrent[gate] @ sums for gate in range(3)]
    bias = [cell.bias[gate] + cell.inputs[gate] @ affine.offset for gate in range(3)]

    def rows(parts: list[Floats], constants: tuple[float, float]) -> Floats:
        ff1, ff2, gate = parts
        first = -gate if gated else np.full_like(gate, -constants[0])
        shut, opened = (np.full((2 * units, *gate.shape[1:]), value) for value in constants)
        return np.concatenate([first, gate, shut, ff1, ff2, opened])

    zero = (0.0, 0.0)
    return rows(inputs, zero), rows(recurrent, zero), rows(bias, (_SHUT, -_SHUT))
