"""The liquid layers that the tests hold to the published modules, and how the two are run side by side."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from edgelnn.models import CfCLayer, DenseCfCLayer, LTCLayer, WiringPlan
from edgelnn.models.liquid import AbstractLiquidLayer
from edgelnn.models.specification import NCPShape

POLICY = WiringPlan(
    "ncp",
    14,
    3,
    ncp=NCPShape(
        inter=6,
        command=5,
        motor=3,
        sensory_fanout=3,
        inter_fanout=2,
        recurrent_command_synapses=4,
        motor_fanin=2,
    ),
)
MODES = ("default", "pure", "no_gate")


@dataclass(frozen=True)
class Case:
    """A layer, and the numbers it is tried with."""

    name: str
    build: Callable[[], AbstractLiquidLayer]
    seed: int = 0
    batch: int = 5
    steps: int = 7

    def layer(self) -> AbstractLiquidLayer:
        torch.manual_seed(self.seed)
        return self.build()

    def inputs(self, layer: AbstractLiquidLayer) -> tuple[Tensor, Tensor, Tensor]:
        """Return x, a state to begin with, and time spans."""
        generator = torch.Generator().manual_seed(self.seed + 1)
        x = torch.randn(self.batch, self.steps, layer.features, generator=generator)
        hx = torch.randn(self.batch, layer.units, generator=generator) * 0.5
        return x, hx, torch.rand(self.batch, self.steps, generator=generator) * 2 + 0.1


def _cases() -> list[Case]:
    auto, full = WiringPlan("auto", 19, 2), WiringPlan("full", 8, 3)
    wide = WiringPlan("auto", 32, 10, sparsity=0.3, seed=7)
    cases = []
    for mode in MODES:
        cases += [
            Case(f"cfc-auto-{mode}", lambda mode=mode: CfCLayer(6, auto, mode=mode), seed=1),
            Case(f"cfc-full-{mode}", lambda mode=mode: CfCLayer(6, full, mode=mode), seed=2),
            Case(f"cfc-dense-{mode}", lambda mode=mode: DenseCfCLayer(6, 9, mode=mode, backbone_units=11), seed=3),
        ]
    return [
        *cases,
        Case("cfc-auto-wide", lambda: CfCLayer(16, wide), seed=4, batch=3, steps=12),
        Case("cfc-auto-least", lambda: CfCLayer(1, WiringPlan("auto", 4, 1)), seed=5, batch=1, steps=1),
        Case("cfc-auto-dense-sparse", lambda: CfCLayer(5, WiringPlan("auto", 12, 4, sparsity=0.9)), seed=6),
        Case("cfc-dense-deep", lambda: DenseCfCLayer(4, 5, backbone_units=7, backbone_layers=3), seed=7),
        Case("ltc-auto", lambda: LTCLayer(6, auto), seed=8),
        Case("ltc-full", lambda: LTCLayer(6, full), seed=9),
        Case("ltc-full-seeded", lambda: LTCLayer(6, WiringPlan("full", 5, 5, seed=3), unfolds=3), seed=10),
        Case("ltc-auto-wide", lambda: LTCLayer(16, wide, unfolds=4), seed=11, batch=3, steps=12),
        Case("ltc-auto-least", lambda: LTCLayer(1, WiringPlan("auto", 4, 1), unfolds=1), seed=12, batch=1, steps=1),
        Case("cfc-ncp", lambda: CfCLayer(6, POLICY), seed=14),
        Case("cfc-random", lambda: CfCLayer(6, WiringPlan("random", 9, 9, sparsity=0.7)), seed=15),
        Case("ltc-ncp", lambda: LTCLayer(6, POLICY, unfolds=3), seed=16),
        Case("ltc-random", lambda: LTCLayer(6, WiringPlan("random", 9, 4, sparsity=0.7)), seed=17),
        Case("ltc-random-sparse", lambda: LTCLayer(3, WiringPlan("random", 5, 2, sparsity=0.9)), seed=18),
        Case("ltc-auto-sparse", lambda: LTCLayer(5, WiringPlan("auto", 12, 4, sparsity=0.9)), seed=13),
    ]


CASES = _cases()


@dataclass(frozen=True)
class Results:
    """What a layer answered, and the gradient of a loss over all of it, by name."""

    sequence: Tensor
    state: Tensor
    gradients: dict[str, Tensor]


def run_ours(layer: AbstractLiquidLayer, x: Tensor, hx: Tensor | None, timespans: Tensor | None) -> Results:
    """Run our layer, forward and backward."""
    return _run(layer, lambda x, hx: layer(x, hx, timespans), x, hx)


def run_ncps(layer: AbstractLiquidLayer, x: Tensor, hx: Tensor | None, timespans: Tensor | None) -> Results:
    """Run the published module on the same parameters; example by example where time spans vary, which it needs."""

    def forward(x: Tensor, hx: Tensor | None) -> tuple[Tensor, Tensor]:
        if timespans is None:
            return layer.ncps(x, hx)
        states = [None] * len(x) if hx is None else hx.split(1)
        singles = [
            layer.ncps(one, state, time)
            for one, state, time in zip(x.split(1), states, timespans.split(1), strict=True)
        ]
        return torch.cat([single[0] for single in singles]), torch.cat([single[1] for single in singles])

    return _run(layer, forward, x, hx)


def _run(
    layer: AbstractLiquidLayer,
    forward: Callable[[Tensor, Tensor | None], tuple[Tensor, Tensor]],
    x: Tensor,
    hx: Tensor | None,
) -> Results:
    layer.zero_grad(set_to_none=True)
    x = x.clone().requires_grad_()
    hx = None if hx is None else hx.clone().requires_grad_()
    sequence, state = forward(x, hx)
    weights = torch.linspace(-1, 1, sequence.numel(), dtype=sequence.dtype).view_as(sequence)
    ((sequence * weights).sum() + state.pow(2).sum()).backward()
    gradients = {name: parameter.grad for name, parameter in layer.named_parameters() if parameter.grad is not None}
    gradients["x"] = x.grad
    if hx is not None:
        gradients["hx"] = hx.grad
    layer.zero_grad(set_to_none=True)
    return Results(sequence.detach(), state.detach(), {name: grad.clone() for name, grad in gradients.items()})


def assert_agree(ours: Results, theirs: Results, tolerance: float = 1e-5) -> None:
    """Assert equal answers, and gradients equal as a share of the largest of each tensor."""
    torch.testing.assert_close(ours.sequence, theirs.sequence, rtol=0, atol=tolerance)
    torch.testing.assert_close(ours.state, theirs.state, rtol=0, atol=tolerance)
    assert ours.gradients.keys() == theirs.gradients.keys()
    for name, theirs_gradient in theirs.gradients.items():
        largest = theirs_gradient.abs().max().item()
        difference = (ours.gradients[name] - theirs_gradient).abs().max().item()
        assert difference <= tolerance * largest, f"{name}: {difference:.1e} of {largest:.1e}"
