"""Wired CfC as one recurrence: the layers of neurons skewed, so that all of them advance in one product and one tanh.

A cell needs the cell before it at the same step and itself at the step before. Let a cell that stands at depth d work
on step t - d, and every cell needs only what was there one round earlier: T + depth - 1 rounds, each one block
matrix. The cells of a second direction stand beside those of the first. Cells that have not begun are kept at zero by
a bias of zero; cells that have finished are left out, with their rows and columns.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edgelnn.models.cfc import CfCMode
from edgelnn_export.graph_builder import GraphBuilder
from edgelnn_export.lowering.cells import cfc_gate_scale, cfc_state, cfc_state_affine
from edgelnn_export.lowering.signals import Affine, Floats, Steps, Vector, join_features, steps_of
from edgelnn_export.lowering.weights import CfCCell, CfCStack

__all__ = ["lower_skewed_cfc"]


@dataclass(frozen=True, eq=False)
class Place:
    """A cell in the recurrence.

    Attributes:
        cell: Its weights.
        chain: 0 for the cells that read onward, 1 for those that read backward (or the only chain's number).
        depth: Its number in the chain: it works on step ``round - depth``.
        backward: Whether its chain reads from the last step to the first.
        affine: From its raw state to its state.
    """

    cell: CfCCell
    chain: int
    depth: int
    backward: bool
    affine: Affine


@dataclass(frozen=True)
class Cells:
    """The cells of one round.

    Attributes:
        computed: Those that have a place in the state, in its order.
        live: Those of them that have a step to work on.
    """

    computed: tuple[Place, ...]
    live: tuple[Place, ...]

    @property
    def units(self) -> int:
        """Length of the state."""
        return sum(place.cell.units for place in self.computed)

    def start(self, place: Place) -> int:
        """Return where a cell's state begins."""
        return sum(p.cell.units for p in self.computed[: self.computed.index(place)])


def lower_skewed_cfc(
    builder: GraphBuilder, stacks: Sequence[tuple[CfCStack, bool]], sequence: Steps, *, last: bool
) -> Steps | Vector:
    """Return the outputs of one or two wired CfCs that read the same sequence, joined.

    Args:
        builder: Where to.
        stacks: Each with whether it reads backward; of one mode.
        sequence: Their input.
        last: Only what each says after its last step is wanted.
    """
    mode = stacks[0][0].mode
    places = tuple(
        Place(cell, chain, depth, backward, cfc_state_affine(mode, cell.units, cell.amplitude, cell.decay))
        for chain, (stack, backward) in enumerate(stacks)
        for depth, cell in enumerate(stack.cells)
    )
    drive = _drive(builder, places, sequence, mode)
    depth = max(place.depth for place in places) + 1
    before = Cells((), ())
    state = ""
    outputs: dict[int, list[str]] = {chain: [] for chain in range(len(stacks))}
    for number in range(sequence.steps + depth - 1):
        live = tuple(p for p in places if p.depth <= number < sequence.steps + p.depth)
        cells = Cells(places if number < sequence.steps else live, live)
        matrix, bias = _recurrence(cells, before, mode)
        if not before.computed:
            z = builder.add(drive[number], bias[None])
        else:
            z = builder.linear(state, matrix, bias)
            z = builder.add(z, drive[number]) if number < sequence.steps else z
        state = cfc_state(builder, z, mode, cells.units)
        for chain, (stack, _) in enumerate(stacks):
            ends = [p for p in live if p.chain == chain and p.depth == len(stack.cells) - 1]
            if ends and (not last or number == sequence.steps + ends[0].depth - 1):
                start = cells.start(ends[0])
                outputs[chain].append(builder.slice(state, 1, start, start + ends[0].cell.units))
        before = cells
    results: list[Steps | Vector] = []
    for chain, (stack, backward) in enumerate(stacks):
        affine = next(p.affine for p in places if p.chain == chain and p.depth == len(stack.cells) - 1)
        values = outputs[chain][::-1] if backward else outputs[chain]
        results.append(Vector(values[0], affine) if last else steps_of(builder, values, affine))
    return results[0] if len(results) == 1 else join_features(builder, results[0], results[1])


def _drive(builder: GraphBuilder, places: Sequence[Place], sequence: Steps, mode: CfCMode) -> list[str]:
    """Return for every step (1, gates·units): the input's product where cells read the input, zeros elsewhere.

    For a cell that reads backward, the product at step t is that of the input's step ``steps - 1 - t``.
    """
    gates = len(cfc_gate_scale(mode))
    units = sum(place.cell.units for place in places)
    total = ""
    start = 0
    for place in places:
        if place.depth == 0:
            rows = place.cell.inputs * cfc_gate_scale(mode)[:, None, None]
            product = sequence.read(builder, rows.reshape(-1, rows.shape[2]), np.zeros(rows.shape[0] * rows.shape[1]))
            if place.backward:
                shape = builder.shape(product)
                product = builder.add_node("reverse", (builder.reshape(product, (1, *shape)),), axis=1)[0]
            apart = builder.reshape(product, (sequence.steps, gates, place.cell.units))
            after = units - start - place.cell.units
            wide = builder.add_node("pad_zeros", (apart,), axis=2, before=start, after=after)[0]
            total = builder.add(total, wide) if total else wide
        start += place.cell.units
    width = gates * units
    return list(builder.split(builder.reshape(total, (1, sequence.steps * width)), 1, (width,) * sequence.steps))


def _recurrence(cells: Cells, before: Cells, mode: CfCMode) -> tuple[Floats, Floats]:
    """Return the block matrix (gates·units, raw of `before`) and the bias (gates·units,) of one round.

    Cells without a step to work on get a bias of zero, which gives a raw state of zero. In the modes where that is a
    state of zero they need no more, and all rounds share one matrix; in mode ``pure`` their rows and columns are
    zero.
    """
    scale = cfc_gate_scale(mode)
    zero_is_zero = mode != "pure"
    matrix = np.zeros((len(scale), cells.units, before.units))
    bias = np.zeros((len(scale), cells.units))
    for place in cells.computed:
        rows = slice(cells.start(place), cells.start(place) + place.cell.units)
        if place in cells.live:
            bias[:, rows] += place.cell.bias * scale[:, None]
        for source in before.computed:
            counts = zero_is_zero or (place in cells.live and source in before.live)
            if not counts or place.chain != source.chain or place.depth - source.depth not in (0, 1):
                continue
            columns = slice(before.start(source), before.start(source) + source.cell.units)
            weight = place.cell.recurrent if place.depth == source.depth else place.cell.inputs
            for gate in range(len(scale)):
                matrix[gate, rows, columns] = source.affine.times(weight[gate] * scale[gate])
                bias[gate, rows] += weight[gate] @ source.affine.offset * scale[gate]
    return matrix.reshape(len(scale) * cells.units, -1), bias.reshape(-1)
