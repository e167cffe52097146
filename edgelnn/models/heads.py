"""Heads: a sequence made into class scores."""

from __future__ import annotations

from itertools import pairwise
from typing import final

import torch
from torch import Tensor, nn

from edgelnn.errors import ConfigError
from edgelnn.models.abstract_head import AbstractHead, read_out
from edgelnn.models.head_specification import CfCHead, DenseHead, HeadSpec, LTCHead, RecurrentHead, ReservoirHead
from edgelnn.models.liquid import AbstractLiquidLayer
from edgelnn.models.liquid_layers import build_layer, layer_sizes, scores_are_outputs
from edgelnn.models.recurrent import Recurrent
from edgelnn.models.reservoir import Reservoir

__all__ = ["Bidirectional", "Dense", "Liquid", "Recurrent", "Reservoir", "build_head"]


@final
class Dense(AbstractHead):
    """Linear layers with ReLU between, applied to every step alone.

    Attributes:
        hidden: All layers but the last.
        linear: To the class scores: of each step, of the mean of hidden layers, or (``joined``) of all steps at once.
        mean_of_hidden: Whether the mean over steps is taken of what the last hidden layer gives to its ReLU.
    """

    def __init__(self, spec: DenseHead, *, steps: int, features: int, scores: int) -> None:
        super().__init__(spec, features)
        self.mean_of_hidden = spec.mean_of == "hidden"
        if self.mean_of_hidden and (spec.readout != "mean" or not spec.widths):
            raise ConfigError(
                f"got head.mean_of='hidden' with head.readout={spec.readout!r} and head.widths={spec.widths}; it says "
                "where the mean over steps is taken. Set head.readout='mean' and at least one width, or leave it out."
            )
        widths = [features, *spec.widths]
        self.hidden = nn.ModuleList(nn.Linear(before, after) for before, after in pairwise(widths))
        self.linear = nn.Linear(widths[-1] * (steps if spec.readout == "joined" else 1), scores)

    def forward(self, sequence: Tensor) -> Tensor:
        """Return class scores (n, scores) of (n, steps, features)."""
        sequence = self.normalized(sequence)
        if self.readout == "last":
            sequence = sequence[:, -1:]
        for index, layer in enumerate(self.hidden):
            sequence = layer(self.dropout(sequence))
            if self.mean_of_hidden and index == len(self.hidden) - 1:
                sequence = sequence.mean(1, keepdim=True)
            sequence = sequence.relu()
        if self.readout == "joined":
            sequence = sequence.flatten(1)[:, None]
        scores: Tensor = self.linear(self.readout_dropout(sequence)).mean(1)
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
class Liquid(AbstractHead):
    """One or several CfC or LTC layers.

    Attributes:
        layers: In the order of their computation: liquid layers, or pairs of them that read in both directions.
        activation: Between layers: ``none``, ``relu`` or ``tanh``.
        linear: To the class scores; None where the last layer's outputs are the class scores.
    """

    def __init__(self, spec: CfCHead | LTCHead, *, steps: int, features: int, scores: int) -> None:
        super().__init__(spec, features)
        layers: list[AbstractLiquidLayer | Bidirectional] = []
        width = features
        for index, (units, outputs) in enumerate(layer_sizes(spec, scores)):
            directions = [
                build_layer(spec, index=index, features=width, units=units, outputs=outputs)
                for _ in range(1 + spec.bidirectional)
            ]
            layers.append(Bidirectional(*directions) if spec.bidirectional else directions[0])
            width = layers[-1].outputs
        self.layers = nn.ModuleList(layers)
        self.activation = spec.activation
        self.linear = None
        if not scores_are_outputs(spec, scores):
            self.linear = nn.Linear(width * (steps if spec.readout == "joined" else 1), scores)

    def forward(self, sequence: Tensor) -> Tensor:
        """Return class scores (n, scores) of (n, steps, features)."""
        sequence = self.normalized(sequence)
        for index, layer in enumerate(self.layers):
            if index and self.activation != "none":
                sequence = sequence.relu() if self.activation == "relu" else sequence.tanh()
            sequence, _ = layer(self.dropout(sequence))
        read = read_out(sequence, self.readout, both_directions=isinstance(self.layers[-1], Bidirectional))
        return read if self.linear is None else self.linear(self.readout_dropout(read))


def build_head(spec: HeadSpec, *, steps: int, features: int, scores: int) -> Dense | Liquid | Recurrent | Reservoir:
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
    if isinstance(spec, ReservoirHead):
        return Reservoir(spec, steps=steps, features=features, scores=scores)
    return Liquid(spec, steps=steps, features=features, scores=scores)
