"""Optimizers, and their memory as tensors by name."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn
from torch.optim import SGD, Adam, AdamW, Optimizer

from edgelnn.training.experiment import TrainingSpec

__all__ = ["build_optimizer", "optimizer_state", "restore_optimizer"]


def build_optimizer(training: TrainingSpec, module: nn.Module) -> Optimizer:
    """Return the optimizer that an experiment asks for, over everything in a module that can be trained.

    >>> type(build_optimizer(TrainingSpec(optimizer="sgd"), nn.Linear(2, 1))).__name__
    'SGD'
    """
    parameters = [parameter for parameter in module.parameters() if parameter.requires_grad]
    rate, decay = training.learning_rate, training.weight_decay
    # One call for all parameters: with the small tensors of small models, going through them one by one costs more.
    fused = parameters[0].device.type in ("cpu", "cuda")
    if training.optimizer == "sgd":
        return SGD(parameters, lr=rate, momentum=training.momentum, weight_decay=decay, fused=fused)
    kind = AdamW if training.optimizer == "adamw" else Adam
    return kind(parameters, lr=rate, weight_decay=decay, fused=fused)


def optimizer_state(optimizer: Optimizer) -> dict[int, dict[str, Tensor]]:
    """Return what an optimizer remembers of each parameter it has stepped, by index and name."""
    return {
        index: {name: value for name, value in state.items() if isinstance(value, Tensor)}
        for index, state in optimizer.state_dict()["state"].items()
    }


def restore_optimizer(optimizer: Optimizer, state: Mapping[int, Mapping[str, Tensor]]) -> None:
    """Give an optimizer back what `optimizer_state` returned."""
    groups = optimizer.state_dict()["param_groups"]
    optimizer.load_state_dict({"state": {index: dict(one) for index, one in state.items()}, "param_groups": groups})


def set_learning_rate(optimizer: Optimizer, rate: float) -> None:
    """Make every group of an optimizer learn at this rate."""
    for group in optimizer.param_groups:
        group["lr"] = rate


def clip_gradients(module: nn.Module, norm: float) -> None:
    """Scale a module's gradients so that their norm is at most `norm`; 0 leaves them alone."""
    if norm:
        nn.utils.clip_grad_norm_((one for one in module.parameters() if one.grad is not None), norm, foreach=False)
