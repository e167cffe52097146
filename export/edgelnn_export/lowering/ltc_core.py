"""The neurons of an LTC that have to be solved solver step by solver step, unrolled.

The rule ``v = (v + n) / (1 + d)`` keeps its form under any affine change of the potential: for ``y = alpha * v + beta``
it reads ``y = (y + alpha * n + beta * d) / (1 + d)``. So the state can hold, for every synapse, its source's potential
in just those units in which the synapse's sigmoid (or tanh) applies to it directly, and the product that spread
potentials over synapses is gone from every solver step. That pays while synapses are few; else the state holds
potentials.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgelnn_export.graph_builder import GraphBuilder
from edgelnn_export.lowering.ltc_synapses import Opening, Sums, one_hot
from edgelnn_export.lowering.signals import Affine, Floats, dense, selection
from edgelnn_export.lowering.weights import LTCCell, SynapseTable

__all__ = ["CoreState", "core_state", "unroll_core"]

_LEAST_SLOPE = 0.05  # a coordinate flatter than this does not stand for its neuron's potential


@dataclass(frozen=True)
class CoreState:
    """What the state of the core holds, one entry each: ``alpha * v[neuron] + beta``.

    Attributes:
        neurons: (core,) numbers of the core's neurons in the LTC.
        synapses: Those between core neurons, numbered within the core.
        direct: Whether the first ``len(synapses)`` entries are the scaled pre-activations of the synapses.
        neuron: (entries,) within the core.
        alpha, beta: (entries,).
        affine: From the entries to the potentials of the core's neurons.
        opening: How synapses are opened.
    """

    neurons: NDArray[np.int64]
    synapses: SynapseTable
    direct: bool
    neuron: NDArray[np.int64]
    alpha: Floats
    beta: Floats
    affine: Affine
    opening: Opening

    @property
    def entries(self) -> int:
        """Length of the state."""
        return len(self.neuron)

    def sums(self) -> Sums:
        """Return what a solver step needs of n and d: ``alpha * n + beta * d`` for all entries, then ``1 + d``."""
        count = len(self.neurons)
        matrix = np.zeros((2 * self.entries, 2 * count))
        rows = np.arange(self.entries)
        matrix[rows, self.neuron] = self.alpha
        matrix[rows, self.neuron + count] = self.beta
        matrix[rows + self.entries, self.neuron + count] = 1.0
        constant = np.concatenate([np.zeros(self.entries), np.ones(self.entries)])
        return Sums(self.neurons, matrix, constant)

    def effects(self) -> tuple[Floats, Floats]:
        """Return matrix (2·entries, openness) and constant: what the raw openness adds to `sums`."""
        inner = Sums(np.arange(len(self.neurons)), self.sums().matrix, np.zeros(2 * self.entries))
        _, effect = inner.of_synapses(self.synapses)
        matrix, constant = self.opening.effect(effect)
        if self.direct:  # the openness is taken of all entries
            matrix = np.pad(matrix[:, : len(self.synapses)], ((0, 0), (0, self.entries - len(self.synapses))))
        return matrix, constant


def core_state(cell: LTCCell, neurons: NDArray[np.int64], opening: Opening) -> CoreState:
    """Return the state to solve some neurons of an LTC with."""
    inside = np.isin(cell.internal.source, neurons) & np.isin(cell.internal.target, neurons)
    chosen = cell.internal.chosen(inside)
    synapses = SynapseTable(
        np.searchsorted(neurons, chosen.source),
        np.searchsorted(neurons, chosen.target),
        chosen.gain,
        chosen.bias,
        chosen.pull,
        chosen.weight,
    )
    count = len(neurons)
    if len(synapses) > 2 * count:
        everyone, none = np.arange(count), np.zeros(count)
        return CoreState(neurons, synapses, False, everyone, none + 1, none, selection(everyone, count), opening)
    alpha, beta = synapses.gain * opening.scale, synapses.bias * opening.scale
    stands_for = np.full(count, -1)
    for entry in np.argsort(np.abs(alpha)):  # the steepest entry of a neuron comes last, and stays
        if abs(alpha[entry]) >= _LEAST_SLOPE:
            stands_for[synapses.source[entry]] = entry
    missing = np.flatnonzero(stands_for < 0)
    stands_for[missing] = len(synapses) + np.arange(len(missing))
    idle = -(len(synapses) + len(missing)) % max(opening.lanes // 2, 1)  # entries that stand for nothing, and stay zero
    neuron = np.concatenate([synapses.source, missing, np.zeros(idle, np.int64)])
    alpha = np.concatenate([alpha, np.ones(len(missing)), np.zeros(idle)])
    beta = np.concatenate([beta, np.zeros(len(missing) + idle)])
    matrix = np.zeros((count, len(neuron)))
    matrix[np.arange(count), stands_for] = 1 / alpha[stands_for]
    affine = dense(matrix, -beta[stands_for] / alpha[stands_for])
    return CoreState(neurons, synapses, True, neuron, alpha, beta, affine, opening)


def unroll_core(builder: GraphBuilder, core: CoreState, driven: Sequence[str]) -> list[str]:
    """Return the state (1, entries) after every solver step.

    Args:
        builder: Where to.
        core: What the state holds.
        driven: For every solver step (1, 2·entries): `CoreState.sums` without what core neurons add, the constant of
            `CoreState.effects` included.
    """
    effect, _ = core.effects()
    entries = core.entries
    gains = core.opening.filled(one_hot(core.synapses, len(core.neurons)) * core.opening.scale)
    biases = core.opening.filled(core.synapses.bias * core.opening.scale)
    at_start = core.beta if core.direct else biases
    raw_at_start = np.tanh(at_start) if core.opening.halved else (np.tanh(at_start / 2) + 1) / 2
    first = effect @ raw_at_start + np.concatenate([core.beta, np.zeros(entries)])
    states: list[str] = []
    for step in driven:
        if not states:
            numerator, denominator = builder.split(builder.add(step, first[None]), 1, (entries, entries))
        else:
            state = states[-1]
            scaled = state if core.direct else builder.linear(state, gains, biases)
            total = builder.add(builder.linear(core.opening.activate(builder, scaled), effect), step)
            numerator, denominator = builder.split(total, 1, (entries, entries))
            numerator = builder.add(numerator, state)
        states.append(builder.divide(numerator, denominator))
    return states
