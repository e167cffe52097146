"""Which neurons of an LTC have to be solved step by step, and which follow from others all at once.

Within one solver step every neuron follows ``v = (v + n) / (1 + d)``, where n and d are sums over its open synapses. A
neuron that no other neuron acts on has the same n and d in all solver steps of a step of the sequence. One that acts on
no other neuron can wait until all others are known at all times: its n and d are then known too, and what is left is
linear. Of the neurons between, those that can be brought into an order in which each acts on later ones alone are
solved in that order, in the same way. Only neurons in circles need synapses opened anew in every solver step.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from edgelnn_export.lowering.weights import LTCCell, SynapseTable

__all__ = ["Stages", "levels", "needed_neurons", "restricted", "stages"]

Indices = NDArray[np.int64]


@dataclass(frozen=True)
class Stages:
    """Neurons by the order in which they can be solved.

    Attributes:
        sources: No neuron acts on them.
        core: Neurons between the others, or in circles.
        sinks: They act on no neuron, and some neuron acts on them.
    """

    sources: Indices
    core: Indices
    sinks: Indices


def stages(cell: LTCCell) -> Stages:
    """Return the neurons of an LTC by stage.

    Neurons that no other acts on and that act on none are sources.
    """
    acts, acted_on = (np.zeros(cell.units, bool) for _ in range(2))
    acts[cell.internal.source] = True
    acted_on[cell.internal.target] = True
    found = (~acted_on, acted_on & acts, acted_on & ~acts)
    sources, core, sinks = (np.flatnonzero(mask) for mask in found)
    return Stages(sources, core, sinks)


def levels(cell: LTCCell, neurons: Indices) -> tuple[Indices, ...] | None:
    """Return neurons so that each acts on those of later levels alone, or None where some are in a circle.

    >>> from edgelnn_export.lowering.weights import SynapseTable
    >>> one = np.ones(2)
    >>> chain = SynapseTable(np.array([2, 1]), np.array([1, 0]), one, one, one, one)
    >>> cell = LTCCell(chain, chain, np.ones(3), np.ones(3), np.ones(1), np.zeros(1), 6)
    >>> [level.tolist() for level in levels(cell, np.arange(3)) or ()]
    [[2], [1], [0]]
    """
    waiting, found = neurons, []
    while len(waiting):
        inside = np.isin(cell.internal.source, waiting)
        ready = np.setdiff1d(waiting, cell.internal.target[inside])
        if not len(ready):
            return None
        found.append(ready)
        waiting = np.setdiff1d(waiting, ready)
    return tuple(found)


def needed_neurons(cell: LTCCell) -> Indices:
    """Return the neurons that reach an output, in ascending order."""
    needed = np.zeros(cell.units, bool)
    needed[: len(cell.output_scale)] = True
    while True:
        wider = needed.copy()
        wider[cell.internal.source[needed[cell.internal.target]]] = True
        if (wider == needed).all():
            return np.flatnonzero(needed)
        needed = wider


def restricted(cell: LTCCell, neurons: Indices) -> LTCCell:
    """Return the LTC of some neurons, numbered anew in their order, with the synapses that act on and come from them.

    The outputs have to be among them, at the same places.
    """
    number = np.full(cell.units, -1)
    number[neurons] = np.arange(len(neurons))

    def kept(synapses: SynapseTable, internal: bool) -> SynapseTable:
        keep = number[synapses.target] >= 0
        if internal:
            keep &= number[synapses.source] >= 0
        chosen = synapses.chosen(keep)
        source = number[chosen.source] if internal else chosen.source
        return replace(chosen, source=source, target=number[chosen.target])

    return replace(
        cell,
        sensory=kept(cell.sensory, False),
        internal=kept(cell.internal, True),
        leak_current=cell.leak_current[neurons],
        leak=cell.leak[neurons],
    )
