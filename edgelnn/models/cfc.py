"""CfC over a wiring: the layers of neurons skewed into one recurrence, the numbers those of ncps.

Papers: R. Hasani, M. Lechner, A. Amini et al. (2022), "Closed-form continuous-time neural networks", Nature Machine
Intelligence 4, doi:10.1038/s42256-022-00556-7, equation 10; for the wiring M. Lechner, R. Hasani, A. Amini et al.
(2020), "Neural circuit policies enabling auditable autonomy", Nature Machine Intelligence 2,
doi:10.1038/s42256-020-00237-3.

Glossary (symbol of the paper → name here, and in ncps):

    x(t)       hx, state   state of the neurons
    I(t)       x           input
    t          timespans   time that passes with a step; 1 where nothing else is said
    g          ff1         the state's value at once (tanh)
    h          ff2         the state's value after a long time (tanh)
    f · t      gate        how far the state has gone from ff1 to ff2: sigma(time_a * t + time_b)
    A          amplitude   A in ncps; mode ``pure`` only
    w_tau      decay       |w_tau| in ncps; mode ``pure`` only

The rewrite is exact: masks are multiplied into the weights they cover; where a step takes time 1, time_a and time_b
are added into one gate; ff1, ff2 and gate are rows of one matrix; the input's product is taken for all steps at once.
Layer l of neurons needs layer l - 1 at the same step and itself at the step before, so layer l is let work on step
t - l: all layers become one recurrence of T + L - 1 steps with one block matrix. A layer not yet begun is held at its
start.
"""

from __future__ import annotations

from itertools import accumulate
from typing import final

import ncps.torch
import torch
from torch import Tensor
from torch.nn import functional as F

from edgelnn.models.cfc_gates import CfCMode, FoldedCfC, fold_gates, gate_extras, gate_rule
from edgelnn.models.liquid import AbstractLiquidLayer
from edgelnn.models.recurrence import Stage, recur
from edgelnn.models.wirings import WiringPlan

__all__ = ["CfCLayer", "CfCMode", "FoldedCfC"]


@final
class CfCLayer(AbstractLiquidLayer):
    """CfC with the layers of neurons that a wiring gives: inter, command and motor for ``auto``, one for ``full``.

    The output is the last layer of neurons: the motor neurons of ``auto``, all units of ``full`` (whose wiring's own
    number of outputs ncps's CfC ignores).

    Attributes:
        plan: The wiring.
        mode: ``default``, ``pure`` or ``no_gate``.
        layer_sizes: Neurons per layer, in the order in which they stand in the state.

    >>> layer = CfCLayer(28, WiringPlan("auto", units=32, outputs=10))
    >>> sequence, state = layer(torch.zeros(4, 7, 28))
    >>> tuple(sequence.shape), tuple(state.shape)
    ((4, 7, 10), (4, 32))
    """

    def __init__(self, features: int, plan: WiringPlan, *, mode: CfCMode = "default") -> None:
        module = ncps.torch.CfC(features, plan.fresh(), mode=mode)
        sizes = tuple(module.rnn_cell.layer_sizes)
        super().__init__(module, features=features, units=plan.units, outputs=sizes[-1], origin=str(plan))
        self.plan = plan
        self.mode: CfCMode = mode
        self.layer_sizes = sizes

    def folded(self, *, varying_time: bool = False) -> tuple[FoldedCfC, ...]:
        """Return the layers of neurons in the order of their computation, gradients attached.

        Args:
            varying_time: Keep time_a and time_b apart, for steps that take other times than 1.
        """
        cells = [getattr(self.ncps.rnn_cell, f"layer_{index}") for index in range(len(self.layer_sizes))]
        return tuple(fold_gates(cell, cell.input_size, self.mode, varying_time=varying_time) for cell in cells)

    def run(self, x: Tensor, hx: Tensor, timespans: Tensor | None) -> tuple[Tensor, Tensor]:
        """Compute `forward`, skewed."""
        layers = self.folded(varying_time=timespans is not None)
        depth, steps = len(layers), x.shape[1]
        matrix, input_weight, bias = _blocks(layers)
        later = F.pad(x, (0, 0, 0, depth - 1)).permute(1, 2, 0)
        drive = torch.baddbmm(bias[:, None], input_weight.expand(len(later), -1, -1), later)
        elapsed = None if timespans is None else _skewed_time(timespans, self.layer_sizes)
        stage = Stage(
            matrix,
            drive,
            gate_rule(self.mode, varying_time=timespans is not None),
            layers[0].gates,
            gate_extras(layers, elapsed),
        )
        ends = list(accumulate(self.layer_sizes))
        states = recur([stage], hx.t(), steps + depth - 1, held=ends[:-1])
        sequence = states[depth - 1 :, self.units - self.outputs :].permute(2, 0, 1)
        last = [
            states[steps - 1 + layer, end - size : end]
            for layer, (end, size) in enumerate(zip(ends, self.layer_sizes, strict=True))
        ]
        return sequence, torch.cat(last).t()


def _blocks(layers: tuple[FoldedCfC, ...]) -> tuple[Tensor, Tensor, Tensor]:
    """Return the skewed recurrence's matrix and input weight, of gates·units rows, and its bias."""
    gates, units = layers[0].gates, sum(layer.units for layer in layers)
    rows, start = [], 0
    for index, layer in enumerate(layers):
        own = layer.recurrent_weight.reshape(gates, layer.units, -1)
        blocks = [layer.input_weight.reshape(gates, layer.units, -1), own] if index else [own]
        before = start - (layers[index - 1].units if index else 0)
        rows.append(F.pad(torch.cat(blocks, 2), (before, units - start - layer.units)))
        start += layer.units
    first = layers[0].input_weight.reshape(gates, layers[0].units, -1)
    input_weight = F.pad(first, (0, 0, 0, units - layers[0].units)).flatten(0, 1)
    bias = torch.cat([layer.bias.view(gates, -1) for layer in layers], 1)
    return torch.cat(rows, 1).flatten(0, 1), input_weight, bias.flatten()


def _skewed_time(timespans: Tensor, sizes: tuple[int, ...]) -> Tensor:
    """Return (steps + depth - 1, units, batch): what layer l calls step t - l, 1 where it works on none."""
    depth = len(sizes)
    by_layer = [F.pad(timespans.t(), (0, 0, layer, depth - 1 - layer), value=1.0) for layer in range(depth)]
    return torch.stack([by_layer[layer] for layer, size in enumerate(sizes) for _ in range(size)], 1)
