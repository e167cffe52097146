"""LSTM, GRU and plain RNN heads."""

from __future__ import annotations

from typing import Final, final

from torch import Tensor, nn

from edgelnn.errors import ConfigError
from edgelnn.models.abstract_head import AbstractHead, read_out
from edgelnn.models.head_specification import RecurrentHead

__all__ = ["Recurrent", "recurrent_layers"]

_KINDS: Final = {"lstm": nn.LSTM, "gru": nn.GRU, "rnn": nn.RNN}


def recurrent_layers(spec: RecurrentHead) -> tuple[int, ...]:
    """Return the units of every stacked layer.

    Raises:
        ConfigError: `units` and `layers` both say how many layers there are.

    >>> recurrent_layers(RecurrentHead(kind="lstm", units=40, layers=2))
    (40, 40)
    """
    if not isinstance(spec.units, list):
        return (spec.units,) * spec.layers
    if not spec.units:
        raise ConfigError("got head.units=[]; it needs one number per stacked layer.")
    if spec.layers != 1:
        raise ConfigError(
            f"got head.layers={spec.layers} with head.units={spec.units}; the list says how many layers there are. "
            "Leave head.layers out."
        )
    return tuple(spec.units)


@final
class Recurrent(AbstractHead):
    """LSTM, GRU or tanh RNN over time, then a linear layer to the class scores.

    Attributes:
        rnn: torch's module, batch first: all layers, or the first where layers have units of their own.
        further: Of layers with units of their own, those behind the first.
        activation: Of what the last layer says, before it is read out: ``none``, ``relu`` or ``tanh``.
        linear: To the class scores; None where the last layer's units are the class scores.
        over_batch: Whether the recurrence runs over the images of a batch, as in published code, by mistake.
    """

    def __init__(self, spec: RecurrentHead, *, steps: int, features: int, scores: int) -> None:
        super().__init__(spec, features)
        layers, directions = recurrent_layers(spec), 1 + spec.bidirectional
        self.activation = spec.readout_activation
        self.over_batch = spec.over == "batch"
        before = features
        stacked = len(set(layers)) > 1 or isinstance(spec.units, list)
        sizes = [(units, 1) for units in layers] if stacked else [(layers[0], len(layers))]
        modules = []
        for units, count in sizes:
            modules.append(
                _KINDS[spec.kind](
                    before,
                    units,
                    count,
                    batch_first=True,
                    dropout=spec.dropout if count > 1 else 0.0,
                    bidirectional=spec.bidirectional,
                )
            )
            before = units * directions
        self.rnn = modules[0]
        self.further = nn.ModuleList(modules[1:])
        self.linear = None
        if spec.linear:
            self.linear = nn.Linear(before * (steps if spec.readout == "joined" else 1), scores)
        elif spec.readout == "joined" or before != scores:
            raise ConfigError(
                f"got head.linear=false with {before} outputs of the last layer, read-out {spec.readout!r}; without a "
                f"linear layer they are the class scores, {scores} of them, of the last step or the mean. Set the last "
                "of head.units to that, or head.linear=true."
            )

    @property
    def modules_in_order(self) -> list[nn.LSTM | nn.GRU | nn.RNN]:
        """Torch's modules in the order of their computation."""
        return [self.rnn, *self.further]

    def forward(self, sequence: Tensor) -> Tensor:
        """Return class scores (n, scores) of (n, steps, features)."""
        sequence = self.normalized(sequence)
        if self.over_batch:
            sequence = sequence.transpose(0, 1)
        for module in self.modules_in_order:
            sequence, _ = module(self.dropout(sequence))
        if self.over_batch:
            sequence = sequence.transpose(0, 1)
        if self.activation != "none":
            sequence = sequence.relu() if self.activation == "relu" else sequence.tanh()
        read = read_out(sequence, self.readout, both_directions=self.rnn.bidirectional and not self.over_batch)
        return read if self.linear is None else self.linear(self.readout_dropout(read))
