"""LTC stage by stage: what can be computed for all times at once is, and only the core of the wiring is unrolled.

See `ltc_wiring` for the stages. In a neural circuit policy the inter neurons are sources, the motor neurons sinks, and
the command neurons the core: most synapses are then opened by a few large products in place of hundreds of small ones.
Where no synapses lead from a neuron of the core back to itself, it is solved level by level, and nothing is unrolled.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from edgelnn_export.graph_builder import GraphBuilder
from edgelnn_export.lowering.ltc_core import CoreState, core_state, unroll_core
from edgelnn_export.lowering.ltc_core_dense import dense_core_pays, unroll_dense_core
from edgelnn_export.lowering.ltc_core_fused import fused_core, fused_core_pays, fused_core_sums
from edgelnn_export.lowering.ltc_known import Known, Solved
from edgelnn_export.lowering.ltc_synapses import Opening, Sums, plain_sums
from edgelnn_export.lowering.ltc_wiring import levels, needed_neurons, restricted, stages
from edgelnn_export.lowering.signals import Steps, Vector, absorb, dense, stacked
from edgelnn_export.lowering.weights import LTCCell, SynapseTable

__all__ = ["lower_staged_ltc"]


def lower_staged_ltc(
    builder: GraphBuilder, cell: LTCCell, sequence: Steps, *, backward: bool, last: bool, halved: bool, fused: bool
) -> Steps | Vector:
    """Return an LTC's output at every step, or after the last step it reads.

    Args:
        builder: Where to.
        cell: The LTC.
        sequence: Its input.
        backward: Read from the last step to the first.
        last: Only the last output is wanted.
        halved: Open synapses by tanh (`Opening`).
        fused: The format has a GRU operator whose activations can be chosen.
    """
    opening = Opening(halved=True, lanes=8) if halved else Opening(halved=False, lanes=1)
    needed = restricted(cell, needed_neurons(cell))
    solver = _Solver(builder, needed, sequence, backward=backward, opening=opening, fused=fused, last=last)
    solved = solver.solve()
    outputs = np.arange(len(cell.output_scale))
    parts = [stage for stage in solved if np.isin(outputs, stage.neurons).any()]
    order = np.concatenate([stage.neurons for stage in parts])
    picked = np.zeros((len(outputs), len(order)))
    picked[outputs, [int(np.flatnonzero(order == output)[0]) for output in outputs]] = cell.output_scale
    weight, offset = absorb(picked, cell.output_shift, stacked([stage.affine for stage in parts]))
    affine = dense(weight, offset)
    if last:
        finals = [stage.final or Steps(stage.ends, sequence.steps, stage.affine).last(builder).value for stage in parts]
        return Vector(builder.concat(finals, 1), affine)
    rows = builder.concat([stage.ends for stage in parts], 1)
    return Steps(_reversed(builder, rows) if backward else rows, sequence.steps, affine)


def _reversed(builder: GraphBuilder, rows: str) -> str:
    shape = builder.shape(rows)
    return builder.reshape(builder.add_node("reverse", (builder.reshape(rows, (1, *shape)),), axis=1)[0], shape)


class _Solver:
    """Solves the stages of one LTC in one graph."""

    def __init__(
        self,
        builder: GraphBuilder,
        cell: LTCCell,
        sequence: Steps,
        *,
        backward: bool,
        opening: Opening,
        fused: bool,
        last: bool,
    ) -> None:
        self.builder = builder
        self.cell = cell
        self.sequence = (
            Steps(_reversed(builder, sequence.rows), sequence.steps, sequence.affine) if backward else sequence
        )
        self.steps = sequence.steps
        self.opening = opening
        self.fused = fused
        self.last = last

    def solve(self) -> list[Solved]:
        """Return the stages that have neurons, solved."""
        found = stages(self.cell)
        solved: list[Solved] = []
        if len(found.sources):
            solved.append(self._sources(found.sources, needed=bool(len(found.core) + len(found.sinks))))
        ordered = levels(self.cell, found.core)
        if ordered is None:
            solved.append(self._core(found.core, solved))
        else:
            for neurons in ordered:
                solved.append(self._level(neurons, solved, needed=True))
        if len(found.sinks):
            solved.append(self._level(found.sinks, solved, needed=False))
        return solved

    def _sources(self, neurons: NDArray[np.int64], *, needed: bool) -> Solved:
        """Solve neurons whose n and d last for a whole step."""
        known = Known(self.builder, neurons, self.steps, self.cell.unfolds)
        if not self.fused:
            return known.lasting(self._per_step(plain_sums(neurons, self.opening)), needed=needed)
        count = len(neurons)
        none, one = np.zeros((count, count)), np.eye(count)
        matrix = np.block([[none, one], [none, one], [one, none]])
        return known.lasting_by_powers(self._per_step(Sums(neurons, matrix, np.repeat([0.0, 1.0, 0.0], count))))

    def _core(self, neurons: NDArray[np.int64], solved: list[Solved]) -> Solved:
        """Solve neurons whose synapses have to be opened in every solver step."""
        b, unfolds = self.builder, self.cell.unfolds
        state = core_state(self.cell, neurons, self.opening)
        if self.fused and fused_core_pays(len(neurons), len(state.synapses)):
            return self._fused_core(neurons, state.synapses, solved)
        unroll = unroll_dense_core if self.opening.halved and dense_core_pays(state) else unroll_core
        states = unroll(b, state, self._driven(state, solved))
        ends = b.reshape(b.concat(states[unfolds - 1 :: unfolds], 1), (self.steps, state.entries))
        # before the first solver step every potential is 0
        nothing = b.multiply(states[0], np.zeros((1, 1)))
        first = b.add(nothing, state.beta[None]) if state.beta.any() else nothing
        before = b.reshape(b.concat([first, *states[:-1]], 1), (len(states), state.entries))
        return Solved(neurons, before, ends, state.affine)

    def _fused_core(self, neurons: NDArray[np.int64], synapses: SynapseTable, solved: list[Solved]) -> Solved:
        """Solve the same by a GRU."""
        b, unfolds, count = self.builder, self.cell.unfolds, len(neurons)
        sums = fused_core_sums(neurons, synapses)
        if any(self._between(stage, neurons) for stage in solved):
            drive = self._per_solver_step(sums, solved)
        else:
            width = len(sums.constant)
            per_step = b.reshape(self._per_step(sums), (self.steps, 1, width))
            drive = b.reshape(b.multiply(per_step, np.ones((1, unfolds, 1))), (self.steps * unfolds, width))
        halves, affine = fused_core(b, count, synapses, drive)
        by_step = b.reshape(halves, (self.steps, unfolds * 2 * count))
        ends = b.slice(by_step, 1, (unfolds - 1) * 2 * count, unfolds * 2 * count)
        rows = b.shape(halves)[0]
        before = b.shift(b.reshape(halves, (1, rows, 2 * count)), 1, 1)
        return Solved(neurons, b.reshape(before, (rows, 2 * count)), ends, affine)

    def _level(self, neurons: NDArray[np.int64], solved: list[Solved], *, needed: bool) -> Solved:
        """Solve neurons on which only solved ones act: their n and d are known at all times."""
        rows = self._per_solver_step(plain_sums(neurons, self.opening), solved)
        known = Known(self.builder, neurons, self.steps, self.cell.unfolds)
        if not self.fused:
            return known.changing(rows, needed=needed)
        if needed:
            return known.changing_by_logarithms(rows)
        return known.last_by_logarithms(rows) if self.last else known.ends_by_logarithms(rows)

    def _driven(self, state: CoreState, solved: list[Solved]) -> list[str]:
        """Return for every solver step what drives the core, (1, 2·entries)."""
        b, unfolds = self.builder, self.cell.unfolds
        sums, (_, constant) = state.sums(), state.effects()
        sums = replace(sums, constant=sums.constant + constant)
        acting = [stage for stage in solved if self._between(stage, sums.neurons)]
        rows = self._per_solver_step(sums, acting) if acting else self._per_step(sums)
        count, width = b.shape(rows)
        values = b.split(b.reshape(rows, (1, count * width)), 1, (width,) * count)
        return [value for value in values for _ in range(1 if acting else unfolds)]

    def _between(self, stage: Solved, neurons: NDArray[np.int64]) -> bool:
        """Return whether neurons of a stage act on some neurons."""
        internal = self.cell.internal
        return bool((np.isin(internal.source, stage.neurons) & np.isin(internal.target, neurons)).any())

    def _per_step(self, sums: Sums) -> str:
        """Return (steps, rows): `sums` with the leaks and what sensory synapses add."""
        resting = sums.at_rest(self.cell.leak_current, self.cell.leak)
        synapses, effect = sums.of_synapses(self.cell.sensory)
        rows, affine = self.sequence.rows, self.sequence.affine
        if not len(synapses):  # the same for every example, but a value has a batch
            return self.builder.linear(rows, np.zeros((len(resting), self.builder.shape(rows)[1])), resting)
        opened = self.opening.open(self.builder, rows, affine, synapses)
        matrix, opening_constant = self.opening.effect(effect)
        return self.builder.linear(opened, matrix, resting + opening_constant)

    def _per_solver_step(self, sums: Sums, solved: list[Solved]) -> str:
        """Return (solver steps, rows): the same, with what the neurons solved so far add, of which some do."""
        b, unfolds, width = self.builder, self.cell.unfolds, len(sums.constant)
        terms = []
        for stage in solved:
            between = self.cell.internal.chosen(np.isin(self.cell.internal.source, stage.neurons))
            synapses, effect = sums.of_synapses(between)
            if len(synapses):
                own = replace(synapses, source=np.searchsorted(stage.neurons, synapses.source))
                terms.append((self.opening.open(b, stage.before, stage.affine, own), *self.opening.effect(effect)))
        sensory = bool(len(sums.of_synapses(self.cell.sensory)[0]))
        if not sensory:
            opened, matrix, bias = terms[0]
            terms[0] = (opened, matrix, bias + sums.at_rest(self.cell.leak_current, self.cell.leak))
        total = b.linear(*terms[0])
        for term in terms[1:]:
            total = b.add(total, b.linear(*term))
        if sensory:
            per_step = b.reshape(self._per_step(sums), (self.steps, 1, width))
            total = b.add(b.reshape(total, (self.steps, unfolds, width)), per_step)
            total = b.reshape(total, (self.steps * unfolds, width))
        return total
