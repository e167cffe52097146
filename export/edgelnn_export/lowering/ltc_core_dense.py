"""The core of a densely wired LTC, unrolled, its synapses as a grid of sources × targets.

Where nearly every neuron acts on nearly every other, products with matrices of mostly zeros would take the cube of the
number of neurons. On a grid, element by element and then summed over the sources, they take its square.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edgelnn_export.graph_builder import GraphBuilder
from edgelnn_export.lowering.ltc_core import CoreState
from edgelnn_export.lowering.signals import Floats

__all__ = ["dense_core_pays", "unroll_dense_core"]


def dense_core_pays(core: CoreState) -> bool:
    """Return whether the grid takes fewer instructions in XNNPACK than `unroll_core`, by what both took."""
    neurons, synapses = len(core.neurons), len(core.synapses)
    return not core.direct and 3000 + 11 * neurons**2 < 1500 + 6 * synapses + 1.3 * synapses * neurons


def unroll_dense_core(builder: GraphBuilder, core: CoreState, driven: Sequence[str]) -> list[str]:
    """Return the state (1, neurons) after every solver step; arguments as of `unroll_core`.

    Args:
        builder: Where to.
        core: Its state holds potentials; synapses are opened by tanh.
        driven: For every solver step (1, 2·neurons), n and then 1 + d; the same name where it lasts.
    """
    count = len(core.neurons)
    gain, bias, pull, weight = (
        _grid(core, values)
        for values in (core.synapses.gain, core.synapses.bias, core.synapses.pull, core.synapses.weight)
    )
    half = core.opening.scale
    # The sum over sources is written as a mean; tanh stands for twice the openness, its constant is in what drives.
    to_n, to_d = pull * count / 2, weight * count / 2
    at_start = np.tanh(bias * half)
    first = np.concatenate([(grid * at_start).sum(axis=0) / 2 for grid in (pull, weight)])
    halves: dict[str, tuple[str, ...]] = {}
    states: list[str] = []
    for step in driven:
        if not states:
            n, one_and_d = builder.split(builder.add(step, first[None]), 1, (count, count))
            states.append(builder.divide(n, one_and_d))
            continue
        if step not in halves:
            halves[step] = builder.split(step, 1, (count, count))
        n, one_and_d = halves[step]
        sources = builder.reshape(states[-1], (1, count, 1))
        opened = builder.tanh(builder.add(builder.multiply(sources, gain * half), bias * half))
        n = builder.add(n, builder.mean(builder.multiply(opened, to_n), 1))
        one_and_d = builder.add(one_and_d, builder.mean(builder.multiply(opened, to_d), 1))
        states.append(builder.divide(builder.add(states[-1], n), one_and_d))
    return states


def _grid(core: CoreState, values: Floats) -> Floats:
    """Return (sources, targets) of a value for each synapse, zero where there is none."""
    count = len(core.neurons)
    grid = np.zeros((count, count))
    grid[core.synapses.source, core.synapses.target] = values
    return grid
