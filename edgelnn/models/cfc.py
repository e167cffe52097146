"""CfC over a wiring: the layers of neurons skewed into one recurrence, the numbers those of ncps.

Papers: R. Hasani, M. Lechner, A. Amini et al. (2022), "Closed-form continuous-time neural networks", Nature Machine
Intelligence 4, doi:10.1038/s42256-022-00556-7, equation 10; M. Lechner et al. (2020), "Neural circuit policies enabling auditable
autonomy", Nature Machine Intelligence 2, doi:10.1038/s42256-020-00237-3, for the wiring.

Glossary (symbol of the paper → name here, and in ncps):

    x(t)       hx, state   state of the neurons
    I(t)       x           input
    t          timespans   time that passes with a step; 1 where nothing else is said
    g          ff1         the state's value at once (tanh)
    h          ff2         the state's value after a long time (tanh)
    f · t      gate        how far the state has gone from ff1 to ff2: sigma(time_a * t + time_b)
    A          amplitude   A in ncps; mode ``pure`` only
    w_tau      decay       |w_tau| in ncps; mode ``pure`` only

The rewrite is exact: masks are multiplied into the weights they cover; where a step takes time 1, time_a and time_b are
added into one gate; ff1, ff2 and gate are rows of one matrix; the input's product is taken for all steps at once. Layer l of
neurons needs layer l - 1 at the same step and itself at the step before, so layer l is let work on step t - l: all layers
become one recurrence of T + L - 1 steps with one block matrix. A layer that has not begun is held at its initial state.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, cast, final

import ncps.torch
import torch
from torch import Tensor
from torch.nn import functional as F

from edgelnn.models.liquid import AbstractLiquidLayer
from edgelnn.models.wirings import WiringPlan

__all__ = ["CfCLayer", "CfCMode", "FoldedCfC", "fold_gates"]

CfCMode = Literal["default", "pure", "no_gate"]


@dataclass(frozen=True)
class FoldedCfC:
    """One layer of neurons with everything constant folded in.

    ``z = input_weight @ x + recurrent_weight @ h + bias`` holds, `units` rows each: ff1, ff2 and the gate (modes ``default`` and
    ``no_gate``, step of time 1); ff1, ff2, time_a and time_b (time steps that vary); ff1 alone (``pure``). Then the new h is

        default   tanh(ff1) * (1 - s) + tanh(ff2) * s     with s = sigmoid(gate)
        no_gate   tanh(ff1) + tanh(ff2) * s
        pure      amplitude * (1 - exp(-t * (decay + |ff1|)) * ff1)

    Attributes:
        input_weight: (rows, features of the layer).
        recurrent_weight: (rows, units).
        bias: (rows,).
        amplitude: (units,) in mode ``pure``, None in the others.
        decay: (units,) likewise.
    """

    input_weight: Tensor
    recurrent_weight: Tensor
    bias: Tensor
    amplitude: Tensor | None = None
    decay: Tensor | None = None

    @property
    def units(self) -> int:
        """Neurons of the layer."""
        return self.recurrent_weight.shape[1]


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
        """Compute `forward`: (gates, units, batch) inside, so that every slice is one stretch of memory."""
        layers = self.folded(varying_time=timespans is not None)
        depth, steps, batch = len(layers), x.shape[1], x.shape[0]
        ends = torch.tensor(self.layer_sizes).cumsum(0).tolist()
        starts = [0, *ends[:-1]]
        matrix, input_weight, bias = _blocks(layers, starts, ends)
        padded = F.pad(x, (0, 0, 0, depth - 1)).permute(1, 2, 0)
        drive = torch.matmul(input_weight, padded) + bias[:, None]
        elapsed = None if timespans is None else _skewed_time(timespans, self.layer_sizes)
        initial = state = hx.t().contiguous()
        states = []
        for step in range(steps + depth - 1):
            z = torch.addmm(drive[step], matrix, state).view(-1, self.units, batch)
            state = self._advance(z, layers, None if elapsed is None else elapsed[step])
            if step < depth - 1:
                begun = ends[step]
                state = torch.cat([state[:begun], initial[begun:]])
            states.append(state)
        history = torch.stack(states)
        sequence = history[depth - 1 :, starts[-1] :].permute(2, 0, 1)
        final = [history[steps - 1 + index, starts[index] : ends[index]] for index in range(depth)]
        return sequence, torch.cat(final).t()

    def _advance(self, z: Tensor, layers: tuple[FoldedCfC, ...], elapsed: Tensor | None) -> Tensor:
        """Return the next state (units, batch) from the gates (gates, units, batch)."""
        if self.mode == "pure":
            amplitude = torch.cat([cast(Tensor, layer.amplitude) for layer in layers])[:, None]
            decay = torch.cat([cast(Tensor, layer.decay) for layer in layers])[:, None]
            rate = decay + z[0].abs()
            return amplitude - amplitude * torch.exp(-rate if elapsed is None else -elapsed * rate) * z[0]
        gate = (z[2] if elapsed is None else torch.addcmul(z[3], elapsed, z[2])).sigmoid()
        ff1, ff2 = z[0].tanh(), z[1].tanh()
        return torch.lerp(ff1, ff2, gate) if self.mode == "default" else torch.addcmul(ff1, ff2, gate)


def fold_gates(cell: ncps.torch.CfCCell, features: int, mode: CfCMode, *, varying_time: bool) -> FoldedCfC:
    """Return the linear maps of one ncps CfC cell as one, masks multiplied in.

    Args:
        cell: Reads features and state joined.
        features: How many of its inputs are features; the rest is the state.
        mode: Which maps it has.
        varying_time: Keep time_a and time_b apart.
    """
    mask = cell.sparsity_mask
    masked = [cell.ff1] if mode == "pure" else [cell.ff1, cell.ff2]
    weights = [linear.weight if mask is None else linear.weight * mask for linear in masked]
    biases = [linear.bias for linear in masked]
    if mode != "pure" and varying_time:
        weights += [cell.time_a.weight, cell.time_b.weight]
        biases += [cell.time_a.bias, cell.time_b.bias]
    elif mode != "pure":
        weights.append(cell.time_a.weight + cell.time_b.weight)
        biases.append(cell.time_a.bias + cell.time_b.bias)
    weight = torch.cat(weights)
    return FoldedCfC(
        weight[:, :features],
        weight[:, features:],
        torch.cat(biases),
        cell.A[0] if mode == "pure" else None,
        cell.w_tau[0].abs() if mode == "pure" else None,
    )


def _blocks(layers: tuple[FoldedCfC, ...], starts: list[int], ends: list[int]) -> tuple[Tensor, Tensor, Tensor]:
    """Return the skewed recurrence: (gates·units, units), (gates·units, features) and (gates·units,)."""
    units, gates = ends[-1], len(layers[0].bias) // layers[0].units
    weight = layers[0].input_weight
    matrix = weight.new_zeros(gates, units, units)
    input_weight = F.pad(weight.view(gates, layers[0].units, -1), (0, 0, 0, units - layers[0].units))
    for index, layer in enumerate(layers):
        rows = slice(starts[index], ends[index])
        matrix[:, rows, rows] = layer.recurrent_weight.reshape(gates, layer.units, -1)
        if index:
            before = slice(starts[index - 1], ends[index - 1])
            matrix[:, rows, before] = layer.input_weight.reshape(gates, layer.units, -1)
    bias = torch.cat([layer.bias.view(gates, -1) for layer in layers], 1)
    return matrix.view(gates * units, units), input_weight.reshape(gates * units, -1), bias.view(-1)


def _skewed_time(timespans: Tensor, sizes: tuple[int, ...]) -> Tensor:
    """Return (steps + depth - 1, units, batch): what layer l calls step t - l, 1 where it works on none."""
    depth = len(sizes)
    by_layer = [F.pad(timespans.t(), (0, 0, layer, depth - 1 - layer), value=1.0) for layer in range(depth)]
    return torch.stack([by_layer[layer] for layer, size in enumerate(sizes) for _ in range(size)], 1)
