"""Trained weights as arrays of float64, with every constant folded in: what the forms of each layer start from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from edgelnn.models.cfc import CfCLayer, CfCMode, FoldedCfC
from edgelnn.models.dense_cfc import DenseCfCLayer
from edgelnn.models.ltc import LTCLayer, Synapses
from edgelnn_export.lowering.signals import Floats

__all__ = [
    "CfCCell",
    "CfCStack",
    "DenseCfC",
    "LTCCell",
    "SynapseTable",
    "cfc_stack",
    "dense_cfc",
    "ltc_cell",
    "norm_factors",
    "numbers",
]


def norm_factors(norm: nn.BatchNorm1d | nn.BatchNorm2d) -> tuple[Floats, Floats]:
    """Return factor and shift of every channel: what a batch norm is at inference.

    ``(x - mean) / sqrt(var + eps) * gamma + beta``
    """
    if norm.running_mean is None or norm.running_var is None:
        raise TypeError("got a batch norm without running statistics")
    mean, var = numbers(norm.running_mean), numbers(norm.running_var)
    gamma = np.ones(len(mean)) if norm.weight is None else numbers(norm.weight)
    beta = np.zeros(len(mean)) if norm.bias is None else numbers(norm.bias)
    factor: Floats = gamma / np.sqrt(var + norm.eps)
    return factor, beta - mean * factor


def numbers(tensor: Tensor) -> Floats:
    """Return a tensor as an array of float64."""
    return np.asarray(tensor.detach().double().cpu())


@dataclass(frozen=True)
class CfCCell:
    """One layer of neurons of a CfC: `FoldedCfC` as arrays, its rows apart by gate.

    Attributes:
        inputs: (gates, units, features): ff1, ff2 and the gate, or ff1 alone in mode ``pure``.
        recurrent: (gates, units, units).
        bias: (gates, units).
        amplitude: (units,) in mode ``pure``, None in the others.
        decay: (units,) likewise.
    """

    inputs: Floats
    recurrent: Floats
    bias: Floats
    amplitude: Floats | None
    decay: Floats | None

    @property
    def units(self) -> int:
        """Neurons of the layer."""
        return int(self.bias.shape[1])


@dataclass(frozen=True)
class CfCStack:
    """A wired CfC: its layers of neurons, each reading the one before at the same step.

    Attributes:
        cells: In the order of their computation; the last one's state is the output.
        mode: ``default``, ``no_gate`` or ``pure``.
    """

    cells: tuple[CfCCell, ...]
    mode: CfCMode


@dataclass(frozen=True)
class DenseCfC:
    """A CfC with a backbone, ``b = tanh(weight @ … + bias)`` layer by layer, whose last b the gates read.

    Attributes:
        inputs: (backbone, features).
        recurrent: (backbone, units).
        bias: (backbone,).
        deeper: Weight (backbone, backbone) and bias (backbone,) of further layers of the backbone.
        gates: From the backbone to the state; its `recurrent` is (gates, units, 0).
        mode: ``default``, ``no_gate`` or ``pure``.
    """

    inputs: Floats
    recurrent: Floats
    bias: Floats
    deeper: tuple[tuple[Floats, Floats], ...]
    gates: CfCCell
    mode: CfCMode


@dataclass(frozen=True)
class SynapseTable:
    """Synapses of one kind; an open one adds to its target's numerator and denominator.

    ``open = sigmoid(gain * v[source] + bias)``.

    Attributes:
        source, target: (synapses,) int.
        gain, bias: (synapses,).
        pull: (synapses,) what an open one adds to the numerator.
        weight: (synapses,) what it adds to the denominator.
    """

    source: NDArray[np.int64]
    target: NDArray[np.int64]
    gain: Floats
    bias: Floats
    pull: Floats
    weight: Floats

    def __len__(self) -> int:
        """Return how many synapses there are."""
        return len(self.source)

    def chosen(self, keep: NDArray[np.bool_]) -> SynapseTable:
        """Return the synapses where `keep` is true."""
        indices, numbers = (self.source, self.target), (self.gain, self.bias, self.pull, self.weight)
        source, target = (column[keep] for column in indices)
        gain, bias, pull, weight = (column[keep] for column in numbers)
        return SynapseTable(source, target, gain, bias, pull, weight)


@dataclass(frozen=True)
class LTCCell:
    """An LTC layer, numerators and denominators divided by the capacitance.

    One solver step, for every neuron, with the sums over its synapses, sensory ones too:

        v = (v + leak_current + sum pull * open) / (1 + leak + sum weight * open)

    Attributes:
        sensory: Synapses from the input.
        internal: Synapses between neurons.
        leak_current: (units,).
        leak: (units,), positive: the solver's epsilon is in it.
        output_scale: (outputs,) of the map from the first neurons to the output.
        output_shift: (outputs,).
        unfolds: Solver steps per step of the sequence.
    """

    sensory: SynapseTable
    internal: SynapseTable
    leak_current: Floats
    leak: Floats
    output_scale: Floats
    output_shift: Floats
    unfolds: int

    @property
    def units(self) -> int:
        """Neurons."""
        return len(self.leak)


def cfc_stack(layer: CfCLayer) -> CfCStack:
    """Return the weights of a wired CfC."""
    return CfCStack(tuple(_cfc_cell(folded) for folded in layer.folded()), layer.mode)


def dense_cfc(layer: DenseCfCLayer) -> DenseCfC:
    """Return the weights of a CfC with a backbone."""
    folded = layer.folded()
    return DenseCfC(
        numbers(folded.input_weight),
        numbers(folded.recurrent_weight),
        numbers(folded.bias),
        tuple((numbers(weight), numbers(bias)) for weight, bias in folded.deeper),
        _cfc_cell(folded.gates, layer.units),
        layer.mode,
    )


def _cfc_cell(folded: FoldedCfC, units: int | None = None) -> CfCCell:
    units = folded.units if units is None else units
    gates = len(folded.bias) // units
    return CfCCell(
        numbers(folded.input_weight).reshape(gates, units, -1),
        numbers(folded.recurrent_weight).reshape(gates, units, -1)
        if folded.recurrent_weight.numel()
        else np.zeros((gates, units, 0)),
        numbers(folded.bias).reshape(gates, units),
        None if folded.amplitude is None else numbers(folded.amplitude),
        None if folded.decay is None else numbers(folded.decay),
    )


def ltc_cell(layer: LTCLayer) -> LTCCell:
    """Return the weights of an LTC."""
    folded = layer.folded()
    capacitance = numbers(folded.capacitance)
    return LTCCell(
        _synapses(folded.sensory, capacitance),
        _synapses(folded.internal, capacitance),
        numbers(folded.leak_current) / capacitance,
        (numbers(folded.leak) + folded.epsilon) / capacitance,
        numbers(folded.output_scale),
        numbers(folded.output_shift),
        folded.unfolds,
    )


def _synapses(synapses: Synapses, capacitance: Floats) -> SynapseTable:
    target = np.asarray(synapses.target.cpu())
    weight = numbers(synapses.weight) / capacitance[target]
    return SynapseTable(
        np.asarray(synapses.source.cpu()),
        target,
        numbers(synapses.gain),
        numbers(synapses.bias),
        weight * numbers(synapses.reversal),
        weight,
    )
