"""CfC without a wiring: every unit sees the whole input and state through a backbone. ncps's default.

Paper and glossary: see `edgelnn.models.cfc`. The backbone is a stack of linear layers with LeCun's tanh,
1.7159 tanh(0.666 x); both constants are folded into the weights around it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import final

import ncps.torch
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from edgelnn.models.cfc_gates import CfCMode, FoldedCfC, fold_gates, gate_extras, gate_rule
from edgelnn.models.liquid import AbstractLiquidLayer
from edgelnn.models.recurrence import Rule, Stage, recur

__all__ = ["DenseCfCLayer", "FoldedDenseCfC"]

_LECUN_SCALE, _LECUN_SLOPE = 1.7159, 0.666


@dataclass(frozen=True)
class FoldedDenseCfC:
    """A dense CfC with LeCun's constants folded in, so that the backbone's activation is a plain tanh.

    ``b = tanh(input_weight @ x + recurrent_weight @ h + bias)``, then ``b = tanh(weight @ b + bias)`` for each of
    `deeper`; `gates` reads b in place of x, and its recurrent weight is empty: (gates·units, 0).

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
            replace(gates, input_weight=gates.input_weight * _LECUN_SCALE),
        )

    def run(self, x: Tensor, hx: Tensor, timespans: Tensor | None) -> tuple[Tensor, Tensor]:
        """Compute `forward`: the backbone's layers and the gates are the stages of a recurrence."""
        folded = self.folded(varying_time=timespans is not None)
        steps, batch, gates = x.shape[1], len(x), folded.gates
        drive = torch.baddbmm(folded.bias[:, None], folded.input_weight.expand(steps, -1, -1), x.permute(1, 2, 0))
        stages = [Stage(folded.recurrent_weight, drive, _BACKBONE)]
        for weight, bias in folded.deeper:
            kept: tuple[Tensor, ...] = ()
            if self.training and self.backbone_dropout:
                kept = (F.dropout(x.new_ones(steps, len(weight), batch), self.backbone_dropout),)
            stages.append(Stage(weight, bias[:, None], _BACKBONE, extras=kept))
        elapsed = None if timespans is None else timespans.t()[:, None].expand(-1, self.units, -1)
        extras = gate_extras((gates,), elapsed)
        rule = gate_rule(self.mode, varying_time=timespans is not None)
        stages.append(Stage(gates.input_weight, gates.bias[:, None], rule, gates.gates, extras))
        states = recur(stages, hx.t(), steps)
        return states.permute(2, 0, 1), states[-1].t()


def _backbone(z: Tensor, kept: Tensor | None = None) -> Tensor:
    """Return a backbone layer's value (units, batch) from z (1, units, batch), dropped out where `kept` is 0."""
    value = z.tanh_()[0]
    return value if kept is None else value * kept


def _backbone_slopes(z: Tensor, kept: Tensor | None = None) -> Tensor:
    """Return the derivatives of `_backbone` (time, 1, units, batch) from what it left of z."""
    slopes = 1 - z * z
    return slopes if kept is None else slopes * kept[:, None]


_BACKBONE = Rule(_backbone, _backbone_slopes)
