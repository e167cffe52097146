"""CfC without a wiring: every unit sees the whole input and state through a backbone. ncps's default.

Paper and glossary: see `edgelnn.models.cfc`. The backbone is a stack of linear layers with LeCun's tanh,
1.7159 tanh(0.666 x); both constants are folded into the weights around it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import ncps.torch
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from edgelnn.models.cfc import CfCMode, FoldedCfC, fold_gates
from edgelnn.models.liquid import AbstractLiquidLayer

__all__ = ["DenseCfCLayer", "FoldedDenseCfC"]

_LECUN_SCALE, _LECUN_SLOPE = 1.7159, 0.666


@dataclass(frozen=True)
class FoldedDenseCfC:
    """A dense CfC with LeCun's constants folded in, so that the backbone's activation is a plain tanh.

    ``b = tanh(input_weight @ x + recurrent_weight @ h + bias)``, then ``b = tanh(weight @ b + bias)`` for each of `deeper`;
    `gates` reads b in place of x, and its recurrent weight is empty: (rows, 0).

    Attributes:
        input_weight: (backbone units, features).
        recurrent_weight: (backbone units, units).
        bias: (backbone units,).
        deeper: Weight (backbone units, backbone units) and bias of each further layer of the backbone.
        gates: The maps from the backbone to the new state, as in `FoldedCfC`.
    """

    input_weight: Tensor
    recurrent_weight: Tensor
    bias: Tensor
    deeper: tuple[tuple[Tensor, Tensor], ...]
    gates: FoldedCfC


@final
class DenseCfCLayer(AbstractLiquidLayer):
    """Dense CfC with a backbone (Hasani et al., 2022); every unit is an output.

    Attributes:
        mode: ``default``, ``pure`` or ``no_gate``.
        backbone_dropout: After every layer of the backbone but the first, while training.
    """

    def __init__(
        self,
        features: int,
        units: int,
        *,
        mode: CfCMode = "default",
        backbone_units: int = 128,
        backbone_layers: int = 1,
        backbone_dropout: float = 0.0,
    ) -> None:
        module = ncps.torch.CfC(
            features,
            units,
            mode=mode,
            backbone_units=backbone_units,
            backbone_layers=backbone_layers,
            backbone_dropout=backbone_dropout,
        )
        super().__init__(module, features=features, units=units, outputs=units, origin=f"a dense CfC of {units} units")
        self.mode: CfCMode = mode
        self.backbone_dropout = backbone_dropout

    def folded(self, *, varying_time: bool = False) -> FoldedDenseCfC:
        """Return the layer's weights with every constant folded in, gradients attached.

        Args:
            varying_time: Keep time_a and time_b apart, for steps that take other times than 1.
        """
        cell = self.ncps.rnn_cell
        first, *rest = (module for module in cell.backbone if isinstance(module, nn.Linear))
        gates = fold_gates(cell, cell.ff1.in_features, self.mode, varying_time=varying_time)
        return FoldedDenseCfC(
            first.weight[:, : self.features] * _LECUN_SLOPE,
            first.weight[:, self.features :] * _LECUN_SLOPE,
            first.bias * _LECUN_SLOPE,
            tuple((linear.weight * (_LECUN_SLOPE * _LECUN_SCALE), linear.bias * _LECUN_SLOPE) for linear in rest),
            FoldedCfC(
                gates.input_weight * _LECUN_SCALE, gates.recurrent_weight, gates.bias, gates.amplitude, gates.decay
            ),
        )

    def run(self, x: Tensor, hx: Tensor, timespans: Tensor | None) -> tuple[Tensor, Tensor]:
        """Compute `forward`; the input's product is taken for all steps at once."""
        folded = self.folded(varying_time=timespans is not None)
        drive = F.linear(x, folded.input_weight, folded.bias).unbind(1)
        recurrent = folded.recurrent_weight.t()
        state = hx
        states = []
        for step, driven in enumerate(drive):
            hidden = torch.addmm(driven, state, recurrent).tanh()
            for weight, bias in folded.deeper:
                hidden = F.linear(hidden, weight, bias).tanh()
                hidden = F.dropout(hidden, self.backbone_dropout, self.training)
            z = F.linear(hidden, folded.gates.input_weight, folded.gates.bias)
            state = self._advance(z, folded.gates, None if timespans is None else timespans[:, step, None])
            states.append(state)
        return torch.stack(states, 1), state

    def _advance(self, z: Tensor, gates: FoldedCfC, elapsed: Tensor | None) -> Tensor:
        """Return the next state (batch, units) from the gates (batch, gates·units)."""
        if gates.amplitude is not None and gates.decay is not None:
            rate = gates.decay + z.abs()
            return gates.amplitude * (1 - torch.exp(-rate if elapsed is None else -elapsed * rate) * z)
        ff1, ff2, *time = z.split(self.units, 1)
        gate = (time[0] if elapsed is None else torch.addcmul(time[1], elapsed, time[0])).sigmoid()
        return torch.lerp(ff1.tanh(), ff2.tanh(), gate) if self.mode == "default" else ff1.tanh() + gate * ff2.tanh()
