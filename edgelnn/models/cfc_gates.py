"""What wired and dense CfC share: the cell's linear maps folded into one, and the rule that makes them a new state.

Papers and glossary: see `edgelnn.models.cfc`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch
from ncps.torch import CfCCell
from torch import Tensor

from edgelnn.models.recurrence import Rule

__all__ = ["CfCMode", "FoldedCfC", "fold_gates", "gate_extras", "gate_rule"]

CfCMode = Literal["default", "pure", "no_gate"]


@dataclass(frozen=True)
class FoldedCfC:
    """One layer of neurons with everything constant folded in.

    ``z = input_weight @ x + recurrent_weight @ h + bias`` holds, `units` rows each: ff1, ff2 and the gate (modes
    ``default`` and ``no_gate``, steps of time 1); ff1, ff2, time_a and time_b (steps of other times); ff1 alone (mode
    ``pure``). Then the new h is

        default   tanh(ff1) * (1 - s) + tanh(ff2) * s     with s = sigmoid(gate), or sigmoid(time_a * t + time_b)
        no_gate   tanh(ff1) + tanh(ff2) * s
        pure      amplitude - amplitude * exp(-t * (decay + |ff1|)) * ff1

    Attributes:
        mode: Which of them.
        input_weight: (gates·units, features of the layer).
        recurrent_weight: (gates·units, units).
        bias: (gates·units,).
        gates: 1, 3 or 4.
        amplitude: (units,) in mode ``pure``, None in the others.
        decay: (units,) likewise.
    """

    mode: CfCMode
    input_weight: Tensor
    recurrent_weight: Tensor
    bias: Tensor
    gates: int
    amplitude: Tensor | None = None
    decay: Tensor | None = None

    @property
    def units(self) -> int:
        """Neurons of the layer."""
        return len(self.bias) // self.gates


def fold_gates(cell: CfCCell, features: int, mode: CfCMode, *, varying_time: bool) -> FoldedCfC:
    """Return the linear maps of one ncps CfC cell as one, masks multiplied in, gradients attached.

    Args:
        cell: Reads features and state joined.
        features: How many of its inputs are features; the rest is the state.
        mode: Which maps it has.
        varying_time: Keep time_a and time_b apart.
    """
    mask = cell.sparsity_mask
    maps = [cell.ff1] if mode == "pure" else [cell.ff1, cell.ff2]
    weights = [linear.weight if mask is None else linear.weight * mask for linear in maps]
    biases = [linear.bias for linear in maps]
    if mode != "pure" and varying_time:
        weights += [cell.time_a.weight, cell.time_b.weight]
        biases += [cell.time_a.bias, cell.time_b.bias]
    elif mode != "pure":
        weights.append(cell.time_a.weight + cell.time_b.weight)
        biases.append(cell.time_a.bias + cell.time_b.bias)
    weight = torch.cat(weights)
    return FoldedCfC(
        mode,
        weight[:, :features],
        weight[:, features:],
        torch.cat(biases),
        len(weights),
        cell.A[0] if mode == "pure" else None,
        cell.w_tau[0].abs() if mode == "pure" else None,
    )


def gate_rule(mode: CfCMode, *, varying_time: bool) -> Rule:
    """Return the rule of a recurrence's stage; its extras are `gate_extras`."""
    if mode == "pure":
        return Rule(_pure)
    return Rule(partial(_timed, mode)) if varying_time else Rule(partial(_gated, mode), partial(_gated_slopes, mode))


def gate_extras(layers: tuple[FoldedCfC, ...], elapsed: Tensor | None) -> tuple[Tensor, ...]:
    """Return the rule's further arguments: amplitude and decay (units, 1) in mode ``pure``, then each step's time.

    Args:
        layers: Whose neurons make up the state, in order.
        elapsed: (time, units, batch), None where every step takes time 1.
    """
    amplitudes = [layer.amplitude for layer in layers if layer.amplitude is not None]
    decays = [layer.decay for layer in layers if layer.decay is not None]
    constants = (torch.cat(amplitudes)[:, None], torch.cat(decays)[:, None]) if amplitudes else ()
    return constants if elapsed is None else (*constants, elapsed)


def _gated(mode: CfCMode, z: Tensor) -> Tensor:
    """Return the new state (units, batch) of modes ``default`` and ``no_gate`` from z (3, units, batch), activated."""
    ff1, ff2 = z[:2].tanh_()
    gate = z[2].sigmoid_()
    return torch.lerp(ff1, ff2, gate) if mode == "default" else torch.addcmul(ff1, ff2, gate)


def _gated_slopes(mode: CfCMode, z: Tensor) -> Tensor:
    """Return the derivatives of `_gated` (time, 3, units, batch) from what it left of z."""
    ff1, ff2, gate = z.unbind(1)
    slopes = torch.empty_like(z)
    of_ff1, of_ff2, of_gate = slopes.unbind(1)
    through = 1 - gate if mode == "default" else torch.ones_like(gate)
    torch.ops.aten.tanh_backward.grad_input(through, ff1, grad_input=of_ff1)
    torch.ops.aten.tanh_backward.grad_input(gate, ff2, grad_input=of_ff2)
    torch.ops.aten.sigmoid_backward.grad_input(ff2 - ff1 if mode == "default" else ff2, gate, grad_input=of_gate)
    return slopes


def _timed(mode: CfCMode, z: Tensor, elapsed: Tensor) -> Tensor:
    """Return the new state (…, units, batch) of modes ``default`` and ``no_gate`` from z (…, 4, units, batch)."""
    ff1, ff2, time_a, time_b = z.unbind(-3)
    gate = torch.addcmul(time_b, elapsed, time_a).sigmoid()
    return (torch.lerp if mode == "default" else torch.addcmul)(ff1.tanh(), ff2.tanh(), gate)


def _pure(z: Tensor, amplitude: Tensor, decay: Tensor, elapsed: Tensor | None = None) -> Tensor:
    """Return the new state (…, units, batch) of mode ``pure`` from z (…, 1, units, batch)."""
    (ff1,) = z.unbind(-3)
    rate = decay + ff1.abs()
    return amplitude - amplitude * torch.exp(-rate if elapsed is None else -elapsed * rate) * ff1
