"""Sensory synapses of LTC: the same in every solver step, so computed for all steps of a sequence at once.

Symbols are those of `edgelnn.models.ltc`. The backward pass is written out, so that two large buffers do, not six.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import Function, once_differentiable

from edgelnn.models.denormals import denormals_flushed

__all__ = ["sense"]


def sense(readings: Tensor, source: Tensor, gain: Tensor, bias: Tensor, acting: Tensor, leaks: Tensor) -> Tensor:
    """Return what sensory synapses do to neurons: ``leaks + acting @ sigmoid(gain * readings[source] + bias)``.

    Args:
        readings: (sources, columns).
        source: (synapses,) int64.
        gain: (synapses,).
        bias: (synapses,).
        acting: (rows, synapses).
        leaks: (rows,).

    Returns:
        (rows, columns).
    """
    sums: Tensor = _Sense.apply(readings, source, gain, bias, acting, leaks)  # type: ignore[no-untyped-call]
    return sums


class _Sense(Function):
    """See `sense`."""

    @staticmethod
    def forward(
        ctx: Any, readings: Tensor, source: Tensor, gain: Tensor, bias: Tensor, acting: Tensor, leaks: Tensor
    ) -> Tensor:
        """Open every synapse in one buffer, then add up."""
        opened = readings.index_select(0, source).mul_(gain[:, None]).add_(bias[:, None]).sigmoid_()
        ctx.save_for_backward(readings, source, gain, acting, opened)
        return torch.addmm(leaks[:, None], acting, opened)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        """Return gradients of readings, gain, bias, acting and leaks."""
        readings, source, gain, acting, opened = ctx.saved_tensors
        with denormals_flushed():
            of_z = torch.ops.aten.sigmoid_backward(torch.mm(acting.t(), grad), opened)
            of_gain = readings.index_select(0, source).mul_(of_z).sum(1)
            of_bias, of_acting, of_leaks = of_z.sum(1), torch.mm(grad, opened.t()), grad.sum(1)
            of_readings = None
            if ctx.needs_input_grad[0]:
                of_readings = torch.zeros_like(readings).index_add_(0, source, of_z.mul_(gain[:, None]))
        return of_readings, None, of_gain, of_bias, of_acting, of_leaks
