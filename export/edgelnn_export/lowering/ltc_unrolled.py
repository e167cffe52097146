"""LTC unrolled: only the synapses that exist, reached by constant products in place of gathers.

With the state v of a solver step, ``sigmoid(v·P + bias)`` opens the synapses (P holds each one's gain in the row of
its source), and one product of them gives all numerators and denominators. The sensory part is the same in all solver
steps of one step of the sequence and is computed for all steps at once. The first solver step begins from zero, so
that its synapses are constants.
"""

from __future__ import annotations

import numpy as np

from edgelnn_export.graph_builder import GraphBuilder
from edgelnn_export.lowering.signals import Floats, Steps, Vector, absorb, dense, steps_of
from edgelnn_export.lowering.weights import LTCCell, SynapseTable

__all__ = ["lower_unrolled_ltc", "one_hot", "sensory_drive", "sigmoid", "sums"]


def sigmoid(x: Floats) -> Floats:
    """Return 1 / (1 + exp(-x)), at either end without overflow."""
    half: Floats = (np.tanh(x / 2) + 1) / 2
    return half


def one_hot(synapses: SynapseTable, sources: int) -> Floats:
    """Return (synapses, sources): each synapse's gain in the column of its source."""
    matrix = np.zeros((len(synapses), sources))
    matrix[np.arange(len(synapses)), synapses.source] = synapses.gain
    return matrix


def sums(synapses: SynapseTable, units: int) -> Floats:
    """Return (2·units, synapses): what open synapses add to the numerators, then to the denominators."""
    matrix = np.zeros((2 * units, len(synapses)))
    columns = np.arange(len(synapses))
    matrix[synapses.target, columns] = synapses.pull
    matrix[synapses.target + units, columns] = synapses.weight
    return matrix


def sensory_drive(builder: GraphBuilder, cell: LTCCell, sequence: Steps) -> str:
    """Return (steps, 2·units): what leaks and sensory synapses add to numerators and denominators, the 1 included."""
    constant = np.concatenate([cell.leak_current, 1.0 + cell.leak])
    if not len(cell.sensory):
        return builder.linear(sequence.rows, np.zeros((len(constant), builder.shape(sequence.rows)[1])), constant)
    weight = one_hot(cell.sensory, sequence.features)
    opened = builder.sigmoid(builder.linear(sequence.rows, *absorb(weight, cell.sensory.bias, sequence.affine)))
    return builder.linear(opened, sums(cell.sensory, cell.units), constant)


def lower_unrolled_ltc(
    builder: GraphBuilder, cell: LTCCell, sequence: Steps, *, backward: bool, last: bool
) -> Steps | Vector:
    """Return an LTC's output at every step, or after the last step it reads; arguments as in `lower_fused_cfc`."""
    units = cell.units
    drive = builder.reshape(sensory_drive(builder, cell, sequence), (1, sequence.steps * 2 * units))
    driven = builder.split(drive, 1, (2 * units,) * sequence.steps)
    gains, effects = one_hot(cell.internal, units), sums(cell.internal, units)
    at_rest = effects @ sigmoid(cell.internal.bias)
    state = ""
    states = []
    for step in driven[::-1] if backward else driven:
        for _ in range(cell.unfolds):
            if not state:
                numerator, denominator = builder.split(builder.add(step, at_rest[None]), 1, (units, units))
            else:
                opened = builder.sigmoid(builder.linear(state, gains, cell.internal.bias))
                total = builder.add(builder.linear(opened, effects), step)
                numerator, denominator = builder.split(total, 1, (units, units))
                numerator = builder.add(numerator, state)
            state = builder.divide(numerator, denominator)
        states.append(state)
    affine = dense(np.eye(units)[: len(cell.output_scale)] * cell.output_scale[:, None], cell.output_shift)
    if last:
        return Vector(state, affine)
    return steps_of(builder, states[::-1] if backward else states, affine)
