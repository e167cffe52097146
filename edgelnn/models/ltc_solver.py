"""The solver of LTC as two differentiable functions, each with its backward pass written out.

torch would record about ten small operations for every solver step, 168 steps for 28 steps of a sequence, and spend
most of a training step on the recording. The functions here keep what the backward pass needs in a few large buffers
and go through them in place. Symbols are those of `edgelnn.models.ltc`; everything is (neurons or synapses, time,
batch), so that a row is one stretch of memory.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import Function, once_differentiable

from edgelnn.models.denormals import denormals_flushed

__all__ = ["relax", "solve"]


def relax(drive: Tensor, inertia: Tensor, start: Tensor, unfolds: int) -> Tensor:
    """Return the trajectory of neurons that no other neuron acts on.

    ``v = (numerator + inertia * v) / (denominator + inertia)``, `unfolds` times in every step.

    Args:
        drive: (2, neurons, time, batch): numerators and denominators, inertia left out.
        inertia: (neurons, time, batch), or (neurons, 1, 1) where it does not change.
        start: (neurons, batch).
        unfolds: Solver steps per step of the sequence.

    Returns:
        (time * unfolds + 1, neurons, batch): `start`, then the state after every solver step.
    """
    trajectory: Tensor = _Relax.apply(drive, inertia, start, unfolds)  # type: ignore[no-untyped-call]
    return trajectory


def solve(
    reading: Tensor, acting: Tensor, drive: Tensor, inertia: Tensor, given: Tensor, start: Tensor, unfolds: int
) -> Tensor:
    """Return the states of neurons that act on each other.

    Neurons are numbered so that those who receive (R of them) stand first and those whose trajectory is given follow.
    In every solver step, with v all of them and a row of ones below,

        opened = sigmoid(reading @ v)
        numerator, denominator = drive + acting @ opened
        v = (numerator + inertia * v) / (denominator + inertia)            for the first R

    Args:
        reading: (synapses, neurons + 1): gains, and biases in the last column; or its last columns only, where no
            synapse reads the first neurons.
        acting: (2 * R, synapses): numerators, then denominators; or (R, 2, sources) where every one of the R neurons
            has a synapse from each of as many sources, and synapses are ordered by target.
        drive: (2, R, time, batch): numerators and denominators before any synapse between neurons, inertia left out.
        inertia: (R, time, batch), or (R, 1, 1) where it does not change.
        given: (time * unfolds, neurons - R, batch): states before every solver step.
        start: (R, batch).
        unfolds: Solver steps per step of the sequence.

    Returns:
        (time, R, batch): states after every step of the sequence.
    """
    tensors = (reading, acting, drive, inertia, given, start)
    keep = torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors)
    states: Tensor = _Solve.apply(*tensors, unfolds, keep)  # type: ignore[no-untyped-call]
    return states


class _Relax(Function):
    """See `relax`."""

    @staticmethod
    def forward(ctx: Any, drive: Tensor, inertia: Tensor, start: Tensor, unfolds: int) -> Tensor:
        """Compute state after state: v = pull + decay * v."""
        _, neurons, steps, batch = drive.shape
        denominator = (drive[1] + inertia).transpose(0, 1)
        decay, pull = inertia.transpose(0, 1) / denominator, drive[0].transpose(0, 1) / denominator
        trajectory = drive.new_empty(steps * unfolds + 1, neurons, batch)
        trajectory[0] = start
        state, *later = trajectory.unbind(0)
        for index, after in enumerate(later):
            torch.addcmul(pull[index // unfolds], decay[index // unfolds], state, out=after)
            state = after
        ctx.save_for_backward(inertia, denominator, decay, trajectory)
        ctx.unfolds = unfolds
        return trajectory

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        """Return gradients of drive, inertia and start."""
        inertia, denominator, decay, trajectory = ctx.saved_tensors
        steps, unfolds = len(decay), ctx.unfolds
        total = torch.empty_like(trajectory)
        total[-1] = grad[-1]
        own, gradients = grad.unbind(0), total.unbind(0)
        of_numerator, of_denominator, of_inertia = (torch.empty_like(decay) for _ in range(3))
        with denormals_flushed():
            for step in range(steps - 1, -1, -1):
                first, last = step * unfolds, (step + 1) * unfolds
                for k in range(last - 1, first - 1, -1):
                    torch.addcmul(own[k], decay[step], gradients[k + 1], out=gradients[k])
                q = total[first + 1 : last + 1] / denominator[step]
                before, after = trajectory[first:last], trajectory[first + 1 : last + 1]
                torch.sum(q, 0, out=of_numerator[step])
                torch.sum(q * after, 0, out=of_denominator[step])
                torch.sum(q * (before - after), 0, out=of_inertia[step])
        of_drive = torch.stack([of_numerator, -of_denominator]).transpose(1, 2)
        return of_drive, of_inertia.transpose(0, 1).sum_to_size(inertia.shape), total[0], None


class _Solve(Function):
    """See `solve`."""

    @staticmethod
    def forward(
        ctx: Any,
        reading: Tensor,
        acting: Tensor,
        drive: Tensor,
        inertia: Tensor,
        given: Tensor,
        start: Tensor,
        unfolds: int,
        keep: bool,
    ) -> Tensor:
        """Compute solver step after solver step; if `keep`, what the backward pass needs of each is kept."""
        _, receivers, steps, batch = drive.shape
        neurons, first = receivers + given.shape[1], receivers + given.shape[1] + 1 - reading.shape[1]
        v = drive.new_ones(steps * unfolds + 1, neurons + 1, batch)
        v[0, :receivers] = start
        v[:-1, receivers:neurons] = given
        kept, times = (steps * unfolds, 1) if keep else (1, steps * unfolds)
        opened = drive.new_empty(kept, len(reading), batch)
        form = _Form(acting, receivers)
        sums = drive.new_empty(kept, 2 * receivers, batch)
        numerators, denominators = (part.unbind(0) * times for part in form.halves(sums))
        states, sources, openings = v[:, :receivers].unbind(0), v[:, first:].unbind(0), opened.unbind(0) * times
        inertias, driven = _by_step(inertia, steps, batch), form.arrange(drive[0], drive[1] + inertia)
        shaped, both = form.openings(opened) * times, form.sums(sums) * times
        for step in range(steps):
            for k in range(step * unfolds, (step + 1) * unfolds):
                torch.mm(reading, sources[k], out=openings[k]).sigmoid_()
                form.add_product(driven[step], acting, shaped[k], out=both[k])
                numerators[k].addcmul_(inertias[step], states[k])
                torch.div(numerators[k], denominators[k], out=states[k + 1])
        if keep:
            ctx.save_for_backward(reading, acting, inertia, v, opened, sums)
        ctx.unfolds = unfolds
        return v[unfolds::unfolds, :receivers]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        """Return gradients of every tensor, from the last solver step to the first.

        With q = dL/dv' / denominator, the numerator's gradient is q and the denominator's -q * v'; the sign is kept in
        `signed`.
        """
        reading, acting, inertia, v, opened, sums = ctx.saved_tensors
        steps, receivers, batch = grad.shape
        unfolds, neurons, first = ctx.unfolds, v.shape[1] - 1, v.shape[1] - reading.shape[1]
        form = _Form(acting, receivers)
        back, signed = reading[:, :-1].t().contiguous(), form.negated(acting).mT.contiguous()
        of_reading, of_acting = torch.zeros_like(reading), torch.zeros_like(acting)
        of_drive, of_inertia = sums.new_zeros(steps, 2 * receivers, batch), sums.new_zeros(steps, receivers, batch)
        of_sources = sums.new_empty(steps * unfolds, neurons - first, batch)
        of_sums, of_opened = torch.empty_like(sums[:1]), torch.empty_like(opened[:1])
        q, r = (part[0] for part in form.halves(of_sums))
        of_sum, of_both, of_opening, of_shaped = (
            of_sums[0],
            form.sums(of_sums)[0],
            of_opened[0],
            form.openings(of_opened)[0],
        )
        shaped, denominators = form.openings(opened.transpose(1, 2), swapped=True), form.halves(sums)[1].unbind(0)
        states, openings, sources = v[:, :receivers].unbind(0), opened.unbind(0), v[:, first:].mT.unbind(0)
        read, reread = of_sources.unbind(0), of_sources[:, : receivers - first].unbind(0)
        inertias, step_sums, step_inertia = _by_step(inertia, steps, batch), of_drive.unbind(0), of_inertia.unbind(0)
        g = torch.zeros_like(states[0])
        recurrent, moved = g[first:], torch.empty_like(g)
        with denormals_flushed():
            for step in range(steps - 1, -1, -1):
                g.add_(grad[step])
                for k in range((step + 1) * unfolds - 1, step * unfolds - 1, -1):
                    torch.div(g, denominators[k], out=q)
                    torch.mul(q, states[k + 1], out=r)
                    step_sums[step].add_(of_sum)
                    step_inertia[step].addcmul_(q, torch.sub(states[k], states[k + 1], out=moved))
                    form.accumulate(of_acting, of_both, shaped[k])
                    form.product(signed, of_both, out=of_shaped)
                    of_z = torch.ops.aten.sigmoid_backward(of_opening, openings[k])
                    of_reading.addmm_(of_z, sources[k])
                    torch.mm(back, of_z, out=read[k])
                    torch.mul(q, inertias[step], out=g)
                    recurrent.add_(reread[k])
        of_numerator, of_denominator = form.halves(of_drive)
        return (
            of_reading,
            form.negated(of_acting),
            torch.stack([of_numerator, -of_denominator]).transpose(1, 2),
            of_inertia.transpose(0, 1).sum_to_size(inertia.shape),
            of_sources[:, receivers - first :],
            g,
            None,
            None,
        )


class _Form:
    """How openings become sums, in the two forms of `acting`: one matrix (2R, synapses), or one (2, sources) a target.

    Sums are 2R rows: numerators, then denominators in the first form; both of each target in turn in the other.
    """

    def __init__(self, acting: Tensor, receivers: int) -> None:
        self.by_target = acting.dim() == 3
        self.receivers = receivers
        self.add_product = torch.baddbmm if self.by_target else torch.addmm
        self.product = torch.bmm if self.by_target else torch.mm
        self.accumulate = torch.Tensor.baddbmm_ if self.by_target else torch.Tensor.addmm_

    def halves(self, sums: Tensor) -> tuple[Tensor, Tensor]:
        """Return numerators and denominators (k, R, batch) of sums (k, 2R, batch)."""
        shape = (len(sums), self.receivers, 2, -1) if self.by_target else (len(sums), 2, self.receivers, -1)
        numerators, denominators = sums.view(shape).unbind(2 if self.by_target else 1)
        return numerators, denominators

    def sums(self, sums: Tensor) -> tuple[Tensor, ...]:
        """Return sums (k, 2R, batch) as the products give them, one per solver step."""
        return (sums.view(len(sums), self.receivers, 2, -1) if self.by_target else sums).unbind(0)

    def openings(self, opened: Tensor, *, swapped: bool = False) -> tuple[Tensor, ...]:
        """Return openings (k, synapses, batch), or (k, batch, synapses) if swapped, as the products take them."""
        if not self.by_target:
            return opened.unbind(0)
        if swapped:
            return (
                opened.unfold(2, opened.shape[2] // self.receivers, opened.shape[2] // self.receivers)
                .transpose(1, 2)
                .unbind(0)
            )
        return opened.view(len(opened), self.receivers, -1, opened.shape[2]).unbind(0)

    def arrange(self, numerator: Tensor, denominator: Tensor) -> tuple[Tensor, ...]:
        """Return (R, time, batch) each as sums, one per step of the sequence."""
        both = torch.stack([numerator, denominator], 1 if self.by_target else 0)
        return both.unbind(2) if self.by_target else both.flatten(0, 1).unbind(1)

    def negated(self, acting: Tensor) -> Tensor:
        """Return `acting` with the rows of the denominators negated."""
        if self.by_target:
            return torch.stack([acting[:, 0], -acting[:, 1]], 1)
        return torch.cat([acting[: self.receivers], -acting[self.receivers :]])


def _by_step(inertia: Tensor, steps: int, batch: int) -> tuple[Tensor, ...]:
    """Return (neurons, batch) of every step, the same one where inertia does not change."""
    each = inertia.expand(-1, -1, batch).contiguous().unbind(1)
    return each if len(each) == steps else each * steps
