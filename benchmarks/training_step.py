"""One training step of a liquid layer, ours against ncps: forward, backward and optimizer, in one run, on one thread.

    python benchmarks/training_step.py [--pairs 15] [--json FILE]

28 steps of 28 features, batch 128, a cross-entropy loss on the last step, Adam. Both sides start from the same weights
and take their steps in turn, so that whatever slows the machine down slows both; the ratio is that of the medians. The
last column is the largest difference of any gradient from ncps's, as a share of the largest gradient of its tensor,
both in float64: in float32, the rounding of ncps's own gradient of cm is more than that.
"""

from __future__ import annotations

import argparse
import copy
import json
import statistics
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from time import perf_counter

import torch
from torch import Tensor, nn

from edgelnn.models import CfCLayer, DenseCfCLayer, LTCLayer, WiringPlan
from edgelnn.models.liquid import AbstractLiquidLayer

STEPS, FEATURES, BATCH = 28, 28, 128


@dataclass(frozen=True)
class Case:
    """One comparison: what it is called, how the layer is made, and the ratio it must stay below, if any."""

    name: str
    build: Callable[[], AbstractLiquidLayer]
    limit: float | None


@dataclass(frozen=True)
class Outcome:
    """Medians of one comparison, in seconds, and how far the gradients are apart."""

    name: str
    ncps_s: float
    ours_s: float
    ratio: float
    limit: float | None
    gradient_error: float

    @property
    def passed(self) -> bool:
        """Whether the ratio is within its limit, and the gradients agree."""
        return (self.limit is None or self.ratio <= self.limit) and self.gradient_error <= 1e-5


def cases() -> Iterator[Case]:
    """Yield the comparisons, those with a limit first."""
    auto, full = WiringPlan("auto", units=32, outputs=10), WiringPlan("full", units=32, outputs=10)
    yield Case("LTC auto 32/10", lambda: LTCLayer(FEATURES, auto), 0.2)
    yield Case("CfC auto 32/10", lambda: CfCLayer(FEATURES, auto), 0.5)
    yield Case("CfC auto 32/10 no_gate", lambda: CfCLayer(FEATURES, auto, mode="no_gate"), None)
    yield Case("CfC auto 32/10 pure", lambda: CfCLayer(FEATURES, auto, mode="pure"), None)
    yield Case("CfC full 32", lambda: CfCLayer(FEATURES, full), None)
    yield Case("CfC dense 32", lambda: DenseCfCLayer(FEATURES, 32), None)
    yield Case("LTC full 32/10", lambda: LTCLayer(FEATURES, full), None)


def training_step(model: nn.Module, optimizer: torch.optim.Optimizer, images: Tensor, labels: Tensor) -> None:
    """Take one step: forward, backward, optimizer."""
    optimizer.zero_grad(set_to_none=True)
    sequence, _ = model(images)
    nn.functional.cross_entropy(sequence[:, -1], labels).backward()
    optimizer.step()


def gradient_error(layer: AbstractLiquidLayer, images: Tensor, labels: Tensor) -> float:
    """Return the largest difference of any gradient, each as a share of the largest gradient of its tensor."""
    gradients = []
    for model in (layer, layer.ncps):
        layer.zero_grad(set_to_none=True)
        sequence, _ = model(images)
        nn.functional.cross_entropy(sequence[:, -1], labels).backward()
        gradients.append([parameter.grad for parameter in layer.parameters() if parameter.requires_grad])
    layer.zero_grad(set_to_none=True)
    return max(
        float((ours - theirs).abs().max() / theirs.abs().max())
        for ours, theirs in zip(*gradients, strict=True)
        if ours is not None and theirs is not None and theirs.abs().max() > 0
    )


def compare(case: Case, pairs: int) -> Outcome:
    """Run one comparison: one untimed pair, then `pairs` timed ones, in turn."""
    torch.manual_seed(0)
    layer = case.build()
    images, labels = torch.randn(BATCH, STEPS, FEATURES), torch.randint(0, 10, (BATCH,))
    error = gradient_error(copy.deepcopy(layer).double(), images.double(), labels)
    models = (copy.deepcopy(layer).ncps, layer)
    optimizers = [torch.optim.Adam([p for p in model.parameters() if p.requires_grad]) for model in models]
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(pairs + 1):
        for model, optimizer, taken in zip(models, optimizers, times, strict=True):
            start = perf_counter()
            training_step(model, optimizer, images, labels)
            taken.append(perf_counter() - start)
    ncps_s, ours_s = (statistics.median(taken[1:]) for taken in times)
    return Outcome(case.name, ncps_s, ours_s, ours_s / ncps_s, case.limit, error)


def main() -> int:
    """Print one line per comparison; exit code 1 where a limit is missed or gradients disagree."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=15, help="timed steps of each side (default: 15)")
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    options = parser.parse_args()
    torch.set_num_threads(1)
    print(f"{'layer':<24}{'ncps ms':>9}{'ours ms':>9}{'ratio':>8}{'limit':>8}{'gradient':>11}")
    outcomes = []
    for case in cases():
        outcome = compare(case, options.pairs)
        outcomes.append(outcome)
        limit = "-" if outcome.limit is None else f"{outcome.limit:.2f}"
        print(
            f"{outcome.name:<24}{outcome.ncps_s * 1e3:>9.2f}{outcome.ours_s * 1e3:>9.2f}{outcome.ratio:>8.3f}{limit:>8}"
            f"{outcome.gradient_error:>11.1e}{'' if outcome.passed else '  missed'}",
            flush=True,
        )
    if options.json:
        options.json.write_text(json.dumps([asdict(outcome) for outcome in outcomes], indent=2) + "\n")
    return 0 if all(outcome.passed for outcome in outcomes) else 1


if __name__ == "__main__":
    sys.exit(main())
