"""Opening synapses: from a value to what the open synapses add to numerators and denominators."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgelnn_export.graph_builder import GraphBuilder
from edgelnn_export.lowering.signals import Affine, Floats, absorb
from edgelnn_export.lowering.weights import SynapseTable

__all__ = ["Opening", "Sums", "one_hot", "plain_sums", "sigmoid"]


def sigmoid(x: Floats) -> Floats:
    """Return 1 / (1 + exp(-x)), without overflow at either end."""
    half: Floats = (np.tanh(x / 2) + 1) / 2
    return half


def one_hot(synapses: SynapseTable, sources: int) -> Floats:
    """Return (synapses, sources): each synapse's gain in the column of its source."""
    matrix = np.zeros((len(synapses), sources))
    matrix[np.arange(len(synapses)), synapses.source] = synapses.gain
    return matrix


def _gathering_pays(rows: int, sources: int, synapses: int) -> bool:
    """Return whether to copy each source to its synapses is cheaper than a product with a matrix of mostly zeros.

    As counted in both runtimes: a third of an instruction for each number of the matrix and row; else two
    transpositions, the copying, and an addition and a multiplication of their own.
    """
    return rows * (6 * sources + 7 * synapses) + 20_000 < rows * sources * synapses / 3


def _picked(builder: GraphBuilder, rows: str, source: NDArray[np.int64]) -> str:
    """Return (rows, sources picked) of (rows, raw), copying whole columns, which is cheaper than single numbers."""
    count, raw = builder.shape(rows)
    columns = builder.transpose(builder.reshape(rows, (1, count, raw)), (0, 2, 1))
    picked = builder.add_node("gather", (columns,), axis=1, indices=tuple(source.tolist()))[0]
    return builder.reshape(builder.transpose(picked, (0, 2, 1)), (count, len(source)))


@dataclass(frozen=True)
class Opening:
    """How synapses are opened.

    Attributes:
        halved: Use tanh in place of a sigmoid, ``sigmoid(x) = (1 + tanh(x / 2)) / 2`` being folded: cheaper in XNNPACK.
        lanes: Products give a multiple of so many numbers, zeros among them: columns that do not fill its registers
            cost XNNPACK as much as all others.
    """

    halved: bool
    lanes: int

    @property
    def scale(self) -> float:
        """By what pre-activations are multiplied before `activate`."""
        return 0.5 if self.halved else 1.0

    def activate(self, builder: GraphBuilder, value: str) -> str:
        """Return the raw openness of scaled pre-activations."""
        return builder.tanh(value) if self.halved else builder.sigmoid(value)

    def effect(self, weight: Floats) -> tuple[Floats, Floats]:
        """Return matrix and constant that give ``weight @ open`` from what `open` returns."""
        matrix = self.filled(weight, axis=1)
        if not self.halved:
            return matrix, np.zeros(len(weight))
        return matrix / 2, weight.sum(axis=1) / 2

    def open(self, builder: GraphBuilder, rows: str, affine: Affine, synapses: SynapseTable) -> str:
        """Return (rows, synapses): the raw openness of synapses.

        Args:
            builder: Where to.
            rows: (rows, raw).
            affine: From raw to the values that the synapses' sources are numbered in.
            synapses: Which.
        """
        gain, bias = (self.filled(numbers * self.scale) for numbers in (synapses.gain, synapses.bias))
        order = affine.order
        count, raw = builder.shape(rows)
        if order is not None and _gathering_pays(count, raw, len(gain)):
            source = self.filled(order[synapses.source])
            return self.activate(builder, builder.add(builder.multiply(_picked(builder, rows, source), gain), bias))
        weight, bias = absorb(one_hot(synapses, len(affine.offset)), synapses.bias, affine)
        return self.activate(
            builder, builder.linear(rows, self.filled(weight * self.scale), self.filled(bias * self.scale))
        )

    def filled(self, weight: NDArray[Any], axis: int = 0) -> NDArray[Any]:
        """Return weights, biases or numbers of sources with zeros appended along an axis, to a multiple of `lanes`."""
        widths = [(0, 0)] * weight.ndim
        widths[axis] = (0, -weight.shape[axis] % self.lanes)
        return np.pad(weight, widths)


@dataclass(frozen=True)
class Sums:
    """What is wanted of numerators and denominators: ``matrix @ [n; d] + constant``, n and d of some neurons.

    Attributes:
        neurons: (neurons,) whose.
        matrix: (rows, 2·neurons).
        constant: (rows,).
    """

    neurons: NDArray[np.int64]
    matrix: Floats
    constant: Floats

    def of_synapses(self, synapses: SynapseTable) -> tuple[SynapseTable, Floats]:
        """Return the synapses that act on the neurons, and what they add when open: (rows, synapses)."""
        chosen = synapses.chosen(np.isin(synapses.target, self.neurons))
        place = np.searchsorted(self.neurons, chosen.target)
        effect = np.zeros((2 * len(self.neurons), len(chosen)))
        effect[place, np.arange(len(chosen))] = chosen.pull
        effect[place + len(self.neurons), np.arange(len(chosen))] = chosen.weight
        return chosen, self.matrix @ effect

    def at_rest(self, leak_current: Floats, leak: Floats) -> Floats:
        """Return (rows,): the sums where every synapse is shut."""
        leaks = np.concatenate([leak_current[self.neurons], leak[self.neurons]])
        resting: Floats = self.matrix @ leaks + self.constant
        return resting


def plain_sums(neurons: NDArray[np.int64], opening: Opening) -> Sums:
    """Return the wish for n and 1 + d: all numerators, all denominators, and zeros that fill the lanes."""
    count = len(neurons)
    return Sums(neurons, opening.filled(np.eye(2 * count)), opening.filled(np.repeat([0.0, 1.0], count)))
