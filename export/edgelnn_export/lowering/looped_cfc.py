"""CfC as a loop over time: small files, since every weight and operator stands there once.

The first product with the input is taken for all steps before the loop, which costs no bytes. In a wired CfC the layers
of neurons follow each other inside the body, each reading the one before at the same step.
"""

from __future__ import annotations

import numpy as np

from edgelnn.models.cfc import CfCMode
from edgelnn_export.graph_builder import GraphBuilder
from edgelnn_export.lowering.cells import cfc_gate_scale, cfc_state, cfc_state_affine
from edgelnn_export.lowering.looped_results import loop_states
from edgelnn_export.lowering.signals import Affine, Floats, Steps, Vector, identity
from edgelnn_export.lowering.weights import CfCCell, CfCStack, DenseCfC

__all__ = ["lower_looped_cfc", "lower_looped_dense_cfc"]


def lower_looped_cfc(
    builder: GraphBuilder, stack: CfCStack, sequence: Steps, *, backward: bool, last: bool
) -> Steps | Vector:
    """Return a wired CfC's output at every step, or after the last step it reads.

    Args:
        builder: Where to.
        stack: The CfC.
        sequence: Its input.
        backward: Read from the last step to the first.
        last: Only the last output is wanted.
    """
    mode, cells = stack.mode, stack.cells
    units = tuple(cell.units for cell in cells)
    rows = [_rows(cell, mode) for cell in cells]
    drive = sequence.read(builder, rows[0][0], rows[0][2])
    inner, (joined, step) = builder.body([(1, sum(units)), (1, builder.shape(drive)[1])])
    states: list[str] = []
    for index, (cell, (weight, recurrent, bias)) in enumerate(zip(cells, rows, strict=True)):
        own = _affine(cell, mode)
        before = inner.slice(joined, 1, sum(units[:index]), sum(units[: index + 1]))
        if index == 0:
            z = inner.add(inner.linear(before, own.times(recurrent)), step)
        else:
            below = _affine(cells[index - 1], mode)
            both = np.concatenate([below.times(weight), own.times(recurrent)], axis=1)
            z = inner.linear(inner.concat([states[-1], before], 1), both, bias)
        states.append(_state(inner, z, cell, mode))
    outputs = [inner.concat(states, 1), *([] if last else states[-1:])]
    value = loop_states(builder, inner, (joined, step), outputs, drive, sequence.steps, backward=backward)
    affine = _affine(cells[-1], mode)
    if last:
        return Vector(builder.slice(value, 1, sum(units[:-1]), sum(units)), affine)
    return Steps(value, sequence.steps, affine)


def lower_looped_dense_cfc(
    builder: GraphBuilder, cell: DenseCfC, sequence: Steps, *, backward: bool, last: bool
) -> Steps | Vector:
    """Return a dense CfC's output at every step, or after the last; arguments as in `lower_looped_cfc`."""
    gates, mode = cell.gates, cell.mode
    affine = _affine(gates, mode)
    drive = sequence.read(builder, cell.inputs, cell.bias)
    inner, (before, step) = builder.body([(1, gates.units), (1, len(cell.bias))])
    hidden = inner.tanh(inner.add(inner.linear(before, affine.times(cell.recurrent)), step))
    for weight, bias in cell.deeper:
        hidden = inner.tanh(inner.linear(hidden, weight, bias))
    weight, _, bias = _rows(gates, mode)
    state = _state(inner, inner.linear(hidden, weight, bias), gates, mode)
    outputs = [state] if last else [state, state]
    value = loop_states(builder, inner, (before, step), outputs, drive, sequence.steps, backward=backward)
    return Vector(value, affine) if last else Steps(value, sequence.steps, affine)


def _rows(cell: CfCCell, mode: CfCMode) -> tuple[Floats, Floats, Floats]:
    """Return weight, recurrent weight and bias with the gates' rows one below the other, scaled for `cfc_state`."""
    scale = cfc_gate_scale(mode)
    stacked = [array * scale[:, None, None] for array in (cell.inputs, cell.recurrent)]
    weight, recurrent = (array.reshape(cell.bias.size, array.shape[2]) for array in stacked)
    return weight, recurrent, (cell.bias * scale[:, None]).reshape(-1)


def _affine(cell: CfCCell, mode: CfCMode) -> Affine:
    """Return the map from what `_state` gives to the state; zero goes to zero, so that a loop can begin there."""
    return identity(cell.units) if mode == "pure" else cfc_state_affine(mode, cell.units)


def _state(builder: GraphBuilder, z: str, cell: CfCCell, mode: CfCMode) -> str:
    raw = cfc_state(builder, z, mode, cell.units)
    if mode != "pure":
        return raw
    affine = cfc_state_affine(mode, cell.units, cell.amplitude, cell.decay)
    return builder.add(builder.multiply(raw, np.diagonal(affine.matrix)[None]), affine.offset[None])
