"""A recurrence of linear maps and elementwise rules, differentiable, its backward pass written out.

Every step of a CfC is a chain of stages ``z = matrix @ value + drive; value = rule(z)``, the last value being the state
that the next step begins with. Going back in time, only the linear part is sequential: the rules' derivatives depend on
numbers that the forward pass has already met, so they are taken for all steps at once, and one product and one
multiplication a stage remain for each step. Everything is (units, batch), so that a gate is one stretch of memory.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import Function, once_differentiable

from edgelnn.models.denormals import denormals_flushed

__all__ = ["Rule", "Stage", "recur"]


@dataclass(frozen=True)
class Rule:
    """What makes z (…, gates, units, batch) and a stage's extras a value (…, units, batch), each element from its own.

    Attributes:
        value: Called as ``value(z, *extras)``. Where there are slopes, it may overwrite z.
        slopes: Called as ``slopes(z, *extras)``, with what `value` left of z at every step: the derivatives by z, in
            the shape of z. None: torch takes them from `value`, which then leaves z alone.
    """

    value: Callable[..., Tensor]
    slopes: Callable[..., Tensor] | None = None


@dataclass(frozen=True)
class Stage:
    """One linear map and the elementwise rule after it.

    Attributes:
        matrix: (gates·units, width of the value before it).
        drive: (time, gates·units, batch), or (gates·units, 1) where it is the same in every step.
        rule: What makes z a value.
        gates: How many z make one element of the value.
        extras: Further arguments of the rule: (time, units, batch), or (units, 1) where they do not change.
    """

    matrix: Tensor
    drive: Tensor
    rule: Rule
    gates: int = 1
    extras: tuple[Tensor, ...] = ()


def recur(stages: Sequence[Stage], start: Tensor, steps: int, held: Sequence[int] = ()) -> Tensor:
    """Return the state after every step.

    Args:
        stages: What happens in a step, in order.
        start: (units, batch) state before the first step.
        steps: How many.
        held: After step k, units from held[k] on are put back to `start`.

    Returns:
        (steps, units, batch).
    """
    tensors = [tensor for stage in stages for tensor in (stage.matrix, stage.drive, *stage.extras)]
    plan = _Plan(tuple(stages), steps, tuple(held))
    states: Tensor = _Recur.apply(plan, start, *tensors)  # type: ignore[no-untyped-call]
    return states


@dataclass(frozen=True)
class _Plan:
    """What is not a tensor to be differentiated; the stages' tensors are replaced by those autograd hands over."""

    stages: tuple[Stage, ...]
    steps: int
    held: tuple[int, ...]

    def with_tensors(self, tensors: Sequence[Tensor]) -> list[Stage]:
        """Return the stages with `tensors` in the places of their own."""
        stages, rest = [], list(tensors)
        for stage in self.stages:
            matrix, drive, *rest = rest
            extras, rest = tuple(rest[: len(stage.extras)]), rest[len(stage.extras) :]
            stages.append(Stage(matrix, drive, stage.rule, stage.gates, extras))
        return stages


class _Recur(Function):
    """See `recur`."""

    @staticmethod
    def forward(ctx: Any, plan: _Plan, start: Tensor, *tensors: Tensor) -> Tensor:
        """Compute step after step; what every map got and gave is kept."""
        stages = plan.with_tensors(tensors)
        batch = start.shape[1]
        mapped = [start.new_empty(plan.steps, len(stage.matrix), batch) for stage in stages]
        gated = [z.view(plan.steps, stage.gates, -1, batch).unbind(0) for z, stage in zip(mapped, stages, strict=True)]
        flat = [z.unbind(0) for z in mapped]
        drives = [_by_step(stage.drive, plan.steps) for stage in stages]
        extras = [[_by_step(extra, plan.steps) for extra in stage.extras] for stage in stages]
        values: list[list[Tensor]] = [[] for _ in stages]
        state = start
        for step in range(plan.steps):
            value = state
            for index, stage in enumerate(stages):
                torch.addmm(drives[index][step], stage.matrix, value, out=flat[index][step])
                value = stage.rule.value(gated[index][step], *(extra[step] for extra in extras[index]))
                values[index].append(value)
            state = value
            if step < len(plan.held):
                state[plan.held[step] :] = start[plan.held[step] :]
        stacked = [torch.stack(of_stage) for of_stage in values]
        ctx.save_for_backward(start, *tensors, *mapped, *stacked)
        ctx.plan = plan
        return stacked[-1]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        """Return gradients of the start and of every stage's tensors."""
        plan, depth = ctx.plan, len(ctx.plan.stages)
        start, *rest = ctx.saved_tensors
        tensors, mapped, values = rest[: -2 * depth], rest[-2 * depth : -depth], rest[-depth:]
        stages = plan.with_tensors(tensors)
        with denormals_flushed():
            rules = [_Derivative(stage, z) for stage, z in zip(stages, mapped, strict=True)]
            of_start = torch.zeros_like(start)
            own = (torch.zeros_like(start), *grad.unbind(0))
            total = own[-1].clone()
            for step in range(plan.steps - 1, -1, -1):
                if step < len(plan.held):
                    of_start[plan.held[step] :] += total[plan.held[step] :]
                    total[plan.held[step] :] = 0
                for stage, rule in zip(reversed(stages[1:]), reversed(rules[1:]), strict=True):
                    total = torch.mm(stage.matrix.t(), rule.back(step, total))
                total = torch.addmm(own[step], stages[0].matrix.t(), rules[0].back(step, total))
            inputs = [torch.cat([start[None], values[-1][:-1]]), *values[:-1]]
            gradients: list[Tensor | None] = []
            for stage, rule, value in zip(stages, rules, inputs, strict=True):
                of_z = rule.of_z
                of_drive = of_z if stage.drive.dim() == 3 else of_z.sum((0, 2))[:, None]
                gradients += [torch.bmm(of_z, value.mT).sum(0), of_drive, *rule.of_extras()]
        return None, of_start + total, *gradients


class _Derivative:
    """A stage's rule, differentiated at every step at once.

    Attributes:
        of_z: The rule's derivative by z (time, gates·units, batch); step by step replaced by the gradient of z.
    """

    def __init__(self, stage: Stage, z: Tensor) -> None:
        z = z.detach().view(len(z), stage.gates, -1, z.shape[2])
        self.extras = [extra.detach().requires_grad_(extra.requires_grad) for extra in stage.extras]
        self.wanted = [extra for extra in self.extras if extra.requires_grad]
        if stage.rule.slopes is not None:
            slopes = stage.rule.slopes(z, *self.extras)
        else:
            with torch.enable_grad():
                self.value = stage.rule.value(z.requires_grad_(), *self.extras)
                (slopes,) = torch.autograd.grad(self.value.sum(), z, retain_graph=bool(self.wanted))
        self.of_z = slopes.flatten(1, 2)
        self.slopes, self.flat = slopes.unbind(0), self.of_z.unbind(0)
        self.of_value = torch.empty_like(slopes[:, 0]) if self.wanted else None

    def back(self, step: int, of_value: Tensor) -> Tensor:
        """Return the gradient of z (gates·units, batch) in one step from that of the value (units, batch)."""
        if self.of_value is not None:
            self.of_value[step] = of_value
        self.slopes[step].mul_(of_value)
        return self.flat[step]

    def of_extras(self) -> list[Tensor | None]:
        """Return the gradients of the extras, None where none is wanted."""
        if not self.wanted:
            return [None] * len(self.extras)
        found = iter(torch.autograd.grad(self.value, self.wanted, self.of_value))
        return [next(found) if extra.requires_grad else None for extra in self.extras]


def _by_step(tensor: Tensor, steps: int) -> tuple[Tensor, ...]:
    """Return one tensor for every step."""
    return tensor.unbind(0) if tensor.dim() == 3 else (tensor,) * steps
