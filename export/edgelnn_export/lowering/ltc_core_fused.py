"""The core of an LTC as ONNX's GRU operator: two of its steps make one solver step.

A GRU with the gates' activation softsign(x) = x / (1 + |x|) can divide: for d ≥ 0, ``1 / (1 + d) = 1 + softsign(-d)``.
It has a unit for every synapse and two, p and q, for every neuron, whose sum is the potential v, scaled to be so small
that tanh leaves it as it is. Its gate z is never used; r and the candidate do, in turn,

    open       s = tanh(the synapse's scaled pre-activation)   p = 0                                  q = v + n
    advance    s = 0                                           p = softsign(-d) * (q + effect of s)  q = q + effect of s

with n and d as far as they come from outside the core; d gets the effect of s too. After that v = (v + n) / (1 + d).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edgelnn_export.graph_builder import GraphBuilder
from edgelnn_export.lowering.ltc_synapses import Opening, Sums, one_hot
from edgelnn_export.lowering.signals import Affine, Floats, dense
from edgelnn_export.lowering.weights import SynapseTable

__all__ = ["fused_core", "fused_core_pays", "fused_core_sums"]

_SMALL = 2.0**-20  # tanh(x) differs from x by x³ / 3: by less than float32 resolves, for potentials up to 100
_OPEN = 1e9  # softsign of it is 1 in float32


def fused_core_pays(neurons: int, synapses: int) -> bool:
    """Return whether the GRU takes fewer instructions than the unrolled operators, by what both took when measured.

    A GRU's step took 2,900 and one for each of its weights; an unrolled solver step 22,000 and 0.45 for each weight.
    """
    units = synapses + 2 * neurons
    return 2 * (2900 + 3 * units**2) < 22000 + 0.45 * 3 * neurons * synapses


def fused_core_sums(neurons: NDArray[np.int64], synapses: SynapseTable) -> Sums:
    """Return what drives the GRU: two rows a solver step, each [1 when opening; n when opening; d when advancing]."""
    count = len(neurons)
    width = 1 + 2 * count
    matrix = np.zeros((2 * width, 2 * count))
    matrix[1 : 1 + count, :count] = np.eye(count)
    matrix[width + 1 + count :, count:] = np.eye(count)
    constant = np.zeros(2 * width)
    constant[0] = 1.0
    inner, _ = _effects(count, synapses)
    return Sums(neurons, matrix, constant + matrix @ inner)


def _effects(count: int, synapses: SynapseTable) -> tuple[Floats, Floats]:
    """Return constant (2·neurons,) and matrix (2·neurons, synapses) of what tanh-opened synapses add to n and d."""
    sums = Sums(np.arange(count), np.eye(2 * count), np.zeros(2 * count))
    matrix, constant = Opening(halved=True, lanes=1).effect(sums.of_synapses(synapses)[1])
    return constant, matrix


def fused_core(builder: GraphBuilder, count: int, synapses: SynapseTable, drive: str) -> tuple[str, Affine]:
    """Return (solver steps, 2·neurons) after every solver step, and the map from there to potentials.

    Args:
        builder: Where to.
        count: Neurons of the core.
        synapses: Between them, numbered within the core.
        drive: (solver steps, …) by `fused_core_sums`.
    """
    rows, columns = builder.shape(drive)
    units, width = len(synapses) + 2 * count, columns // 2
    s = slice(0, len(synapses))
    p = slice(s.stop, s.stop + count)
    q = slice(p.stop, p.stop + count)
    _, effects = _effects(count, synapses)
    to_n, to_d = effects[:count], effects[count:]
    opening = Opening(halved=True, lanes=1)

    inputs, recurrent = np.zeros((3, units, width)), np.zeros((3, units, units))
    bias, recurrent_bias = np.zeros((3, units)), np.zeros((3, units))
    reset, new = 0, 2
    inputs[reset, s, 0] = _OPEN
    inputs[reset, p, 1 + count :] = -np.eye(count)
    recurrent[reset, p, s] = -to_d
    bias[reset, q] = _OPEN
    for part in (p, q):
        recurrent[new, s, part] = one_hot(synapses, count) * opening.scale / _SMALL
        recurrent[new, part, p] = recurrent[new, part, q] = np.eye(count)
        recurrent[new, part, s] = to_n * _SMALL
    recurrent_bias[new, s] = synapses.bias * opening.scale
    inputs[new, q, 1 : 1 + count] = np.eye(count) * _SMALL

    steps = builder.reshape(drive, (1, 2 * rows, width))
    weights = [array.reshape(3 * units, -1) for array in (inputs, recurrent)]
    biases = [array.reshape(-1) for array in (bias, recurrent_bias)]
    states = builder.add_node("gru", (steps, *weights, *biases), activations=("softsign", "tanh"))[0]
    pairs = builder.reshape(states, (rows, 2 * units))
    halves = builder.slice(pairs, 1, units + p.start, 2 * units)
    return halves, dense(np.tile(np.eye(count), 2) / _SMALL)
