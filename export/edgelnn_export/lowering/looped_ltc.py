"""LTC as two loops, over time and over solver steps, that store only the synapses which exist.

Four numbers a synapse: gain, bias, pull and weight. Which neuron a synapse comes from is the list of indices of one
gather. Where it goes is that of a second one: the openness of the synapses of each target side by side, as many places
for each as the target with the most synapses has, the places left over being taken by a synapse that adds nothing.
Their sum is a mean, whose divisor is folded into pull and weight. Indices take a byte each in both formats where there
are fewer than 256 to choose from. One-hot matrices would take twenty times the bytes of the synapses.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgelnn_export.graph_builder import GraphBuilder
from edgelnn_export.lowering.looped_results import loop_states, reshaped
from edgelnn_export.lowering.ltc_wiring import needed_neurons, restricted
from edgelnn_export.lowering.signals import Floats, Steps, Vector, dense
from edgelnn_export.lowering.weights import LTCCell, SynapseTable

__all__ = ["lower_looped_ltc"]


@dataclass(frozen=True)
class CompactSynapses:
    """Synapses sorted by target, and where to find those of each target.

    Attributes:
        source: (synapses,) int.
        gain: (synapses,).
        bias: (synapses,).
        effects: (2, synapses): pull and weight, each times `places`.
        first: The first neuron that is a target, or stands between targets.
        targets: How many neurons there are from the first to the last target.
        places: Synapses of the target that has the most.
        order: (targets * places,) int: which synapse stands at each place.
    """

    source: NDArray[np.int64]
    gain: Floats
    bias: Floats
    effects: Floats
    first: int
    targets: int
    places: int
    order: NDArray[np.int64]


def compact_synapses(synapses: SynapseTable) -> CompactSynapses:
    """Return a table, of one synapse at least, in its compact form."""
    by_target = np.argsort(synapses.target, kind="stable")
    target = synapses.target[by_target]
    first, targets = int(target[0]), int(target[-1] - target[0] + 1)
    counts = np.bincount(target - first, minlength=targets)
    places = int(counts.max())
    begins = np.cumsum(counts) - counts
    place = np.arange(places)
    order = np.where(place < counts[:, None], begins[:, None] + place, len(target)).reshape(-1)
    spare = int(order.max() == len(target))  # one more synapse, that adds nothing

    def column(values: NDArray[np.float64]) -> Floats:
        return np.pad(values[by_target], (0, spare))

    effects = np.stack([column(synapses.pull), column(synapses.weight)]) * places
    source = np.pad(synapses.source[by_target], (0, spare))
    return CompactSynapses(source, column(synapses.gain), column(synapses.bias), effects, first, targets, places, order)


def lower_looped_ltc(
    builder: GraphBuilder, cell: LTCCell, sequence: Steps, *, backward: bool, last: bool
) -> Steps | Vector:
    """Return an LTC's output at every step, or after the last step it reads.

    Args:
        builder: Where to.
        cell: The LTC.
        sequence: Its input.
        backward: Read from the last step to the first.
        last: Only the last output is wanted.
    """
    outputs = len(cell.output_scale)
    cell = restricted(cell, needed_neurons(cell))
    units = cell.units
    drive = _drive(builder, cell, sequence)
    outer, (start, step) = builder.body([(1, 1, units), (1, 2, units)])
    inner, (state, driven) = outer.body([(1, 1, units), (1, 2, units)])
    sums = driven
    if len(cell.internal):
        sums = inner.add(driven, _sums(inner, state, compact_synapses(cell.internal), units))
    numerator, denominator = inner.split(sums, 1, (1, 1))
    new = inner.divide(inner.add(state, numerator), denominator)
    solver = inner.finish_body((state, driven), (new,))
    (end,) = outer.loop(solver, states=[start], invariants=[step], steps=cell.unfolds)
    read = [end] if last else [end, outer.slice(outer.reshape(end, (1, units)), 1, 0, outputs)]
    value = loop_states(builder, outer, (start, step), read, drive, sequence.steps, backward=backward)
    affine = dense(np.diag(cell.output_scale), cell.output_shift)
    if last:
        return Vector(builder.slice(builder.reshape(value, (1, units)), 1, 0, outputs), affine)
    return Steps(value, sequence.steps, affine)


def _drive(builder: GraphBuilder, cell: LTCCell, sequence: Steps) -> str:
    """Return (steps, 2, units): n and 1 + d of every neuron without what other neurons add."""
    leaks = np.stack([cell.leak_current, 1 + cell.leak])[None]
    value, affine = sequence.rows, sequence.affine
    raw = builder.shape(value)[1]
    if not len(cell.sensory):  # the same for every example, but a value has a batch
        nothing = builder.linear(value, np.zeros((1, raw)))
        return builder.add(builder.reshape(nothing, (sequence.steps, 1, 1)), leaks)
    synapses = compact_synapses(cell.sensory)
    matrix = affine.matrix
    picks = (matrix != 0).sum(axis=1)
    if (picks <= 1).all():  # every feature is one raw number, scaled: the synapses can read that
        column = np.abs(matrix).argmax(axis=1)
        factor = matrix[np.arange(len(matrix)), column]
        source = column[synapses.source]
        gain = synapses.gain * factor[synapses.source]
        bias = synapses.bias + synapses.gain * affine.offset[synapses.source]
        synapses = CompactSynapses(
            source,
            gain,
            bias,
            synapses.effects,
            synapses.first,
            synapses.targets,
            synapses.places,
            synapses.order,
        )
    else:
        value, raw = builder.linear(value, matrix, affine.offset), len(matrix)
    rows = reshaped(builder, value, (sequence.steps, 1, raw))
    return builder.add(_sums(builder, rows, synapses, cell.units), leaks)


def _sums(builder: GraphBuilder, rows: str, synapses: CompactSynapses, units: int) -> str:
    """Return (rows, 2, units): what open synapses add to n and d of every neuron.

    Args:
        builder: Where to.
        rows: (rows, 1, sources).
        synapses: That read them.
        units: Neurons.
    """
    count = builder.shape(rows)[0]
    value = _gathered(builder, rows, synapses.source)
    value = builder.sigmoid(builder.add(builder.multiply(value, synapses.gain), synapses.bias))
    value = _gathered(builder, builder.multiply(value, synapses.effects), synapses.order)
    value = builder.mean(builder.reshape(value, (count, 2, synapses.targets, synapses.places)), 3)
    after = units - synapses.first - synapses.targets
    if not synapses.first and not after:
        return value
    return builder.add_node("pad_zeros", (value,), axis=2, before=synapses.first, after=after)[0]


def _gathered(builder: GraphBuilder, value: str, indices: NDArray[np.int64]) -> str:
    """Return chosen numbers of the last axis of (rows, k, length)."""
    if np.array_equal(indices, np.arange(builder.shape(value)[2])):
        return value
    return builder.add_node("gather", (value,), axis=2, indices=tuple(indices.tolist()))[0]
