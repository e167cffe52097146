"""Heads: a sequence made into class scores.

Every head reads (n, steps, features), and reads its steps out in one of three ways: the last step, the mean over
steps, or all steps joined. Read in both directions, the last step is each direction's own: what it says after the whole
sequence.
"""

from __future__ import annotations

from itertools import pairwise
from typing import final

import torch
from torch import Tensor, nn

from edgelnn.models.liquid import AbstractLiquidLayer
from edgelnn.models.liquid_layers import build_layer, layer_sizes, scores_are_outputs
from edgelnn.models.specification import DenseHead, HeadSpec, Readout, RecurrentHead

__all__ = ["Bidirectional", "Dense", "Liquid", "Recurrent", "build_head"]


@final
class Dense(nn.Module):
    """Linear layers with ReLU between, applied to every step alone.

    Attributes:
        hidden: All layers but the last.
        linear: To the class scores: of each step, or (``joined``) of all steps at once.
        readout: How the steps are read out.
    """

    def __init__(self, spec: DenseHead, *, steps: int, features: int, scores: int) -> None:
        super().__init__()
        widths = [features, *spec.widths]
        self.readout: Readout = spec.readout
        self.hidden = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(widths))
        self.linear = nn.Linear(widths[-1] * (steps if spec.readout == "joined" else 1), scores)
        self.dropout = nn.Dropout(spec.dropout)

    def forward(self, sequence: Tensor) -> Tensor:
        """Return class scores (n, scores) of (n, steps, features)."""
        if self.readout == "last":
            sequence = sequence[:, -1:]
        for layer in self.hidden:
            sequence = layer(self.dropout(sequence)).relu()
        if self.readout == "joined":
            sequence = sequence.flatten(1)[:, None]
        scores: Tensor = self.linear(self.dropout(sequence)).mean(1)
        return scores


@final
class Bidirectional(nn.Module):
    """Two liquid layers, one of which reads the sequence from its end; their outputs are joined step by step.

    Attributes:
        onward: Reads from the first step to the last.
        backward: Reads from the last step to the first.
        features, units, outputs: Of both together.
    """

    def __init__(self, onward: AbstractLiquidLayer, backward: AbstractLiquidLayer) -> None:
        super().__init__()
        self.onward = onward
        self.backward = backward
        self.features = onward.features
        self.units = onward.units + backward.units
        self.outputs = onward.outputs + backward.outputs

    def forward(self, x: Tensor, hx: Tensor | None = None, timespans: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return (batch, time, outputs) and the joined states (batch, units); arguments as in `AbstractLiquidLayer`."""
        first, second = (None, None) if hx is None else (hx[:, : self.onward.units], hx[:, self.onward.units :])
        onward, onward_state = self.onward(x, first, timespans)
        backward, backward_state = self.backward(x.flip(1), second, None if timespans is None else timespans.flip(1))
        return torch.cat([onward, backward.flip(1)], 2), torch.cat([onward_state, backward_state], 1)


@final
class Liquid(nn.Module):
    """One or several CfC or LTC layers.

    Attributes:
        layers: In the order of their computation: liquid layers, or pairs of them that read in both directions.
        activation: Between layers: ``none``, ``relu`` or ``tanh``.
        linear: To the class scores; None where the last layer's outputs are the class scores.
        readout: How the steps are read out.
    """

    def __init__(
        self,
        layers: list[AbstractLiquidLayer | Bidirectional],
        *,
        activation: str,
        readout: Readout,
        dropout: float,
        linear: nn.Linear | None,
    ) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)
        self.activation = activation
        self.readout: Readout = readout
        self.dropout = nn.Dropout(dropout)
        self.linear = linear

    def forward(self, sequence: Tensor) -> Tensor:
        """Return class scores (n, scores) of (n, steps, features)."""
        for index, layer in enumerate(self.layers):
            if index and self.activation != "none":
                sequence = sequence.relu() if self.activation == "relu" else sequence.tanh()
            sequence, _ = layer(self.dropout(sequence))
        read = _read_out(sequence, self.readout, both_directions=isinstance(self.layers[-1], Bidirectional))
        return read if self.linear is None else self.linear(self.dropout(read))


@final
class Recurrent(nn.Module):
    """LSTM or GRU over time, then a linear layer to the class scores.

    Attributes:
        rnn: torch's module, batch first.
        linear: To the class scores.
        readout: How the steps are read out.
    """

    def __init__(self, spec: RecurrentHead, *, steps: int, features: int, scores: int) -> None:
        super().__init__()
        kind = nn.LSTM if spec.kind == "lstm" else nn.GRU
        self.rnn = kind(
            features,
            spec.units,
            spec.layers,
            batch_first=True,
            dropout=spec.dropout if spec.layers > 1 else 0.0,
            bidirectional=spec.bidirectional,
        )
        width = spec.units * (2 if spec.bidirectional else 1) * (steps if spec.readout == "joined" else 1)
        self.readout: Readout = spec.readout
        self.dropout = nn.Dropout(spec.dropout)
        self.linear = nn.Linear(width, scores)

    def forward(self, sequence: Tensor) -> Tensor:
        """Return class scores (n, scores) of (n, steps, features)."""
        outputs, _ = self.rnn(self.dropout(sequence))
        read = _read_out(outputs, self.readout, both_directions=self.rnn.bidirectional)
        scores: Tensor = self.linear(self.dropout(read))
        return scores


def build_head(spec: HeadSpec, *, steps: int, features: int, scores: int) -> Dense | Liquid | Recurrent:
    """Return the head for sequences of (steps, features).

    Args:
        spec: Which head.
        steps: Length of the sequence.
        features: Length of one step.
        scores: Class scores wanted.

    Raises:
        ConfigError: The head's numbers do not fit each other or the class scores.
    """
    if isinstance(spec, DenseHead):
        return Dense(spec, steps=steps, features=features, scores=scores)
    if isinstance(spec, RecurrentHead):
        return Recurrent(spec, steps=steps, features=features, scores=scores)
    layers: list[AbstractLiquidLayer | Bidirectional] = []
    width = features
    for units, outputs in layer_sizes(spec, scores):
        directions = [
            build_layer(spec, features=width, units=units, outputs=outputs) for _ in range(1 + spec.bidirectional)
        ]
        layers.append(Bidirectional(*directions) if spec.bidirectional else directions[0])
        width = layers[-1].outputs
    linear = None
    if not scores_are_outputs(spec, scores):
        linear = nn.Linear(width * (steps if spec.readout == "joined" else 1), scores)
    return Liquid(layers, activation=spec.activation, readout=spec.readout, dropout=spec.dropout, linear=linear)


def _read_out(sequence: Tensor, readout: Readout, *, both_directions: bool) -> Tensor:
    """Return (n, width) of (n, steps, outputs)."""
    if readout == "mean":
        return sequence.mean(1)
    if readout == "joined":
        return sequence.flatten(1)
    if not both_directions:
        return sequence[:, -1]
    half = sequence.shape[2] // 2
    return torch.cat([sequence[:, -1, :half], sequence[:, 0, half:]], 1)
