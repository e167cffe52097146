"""How many parameters a model has: three numbers, and which is which."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from ncps.torch import CfCCell, LTCCell
from torch import nn

__all__ = ["ParameterCounts", "count_parameters"]


@dataclass(frozen=True)
class ParameterCounts:
    """Parameters of a model, counted in three ways.

    Attributes:
        trainable: What training changes; weights that a wiring masks out are among them.
        stored: Those and the constants kept as parameters: the masks of ncps, a reservoir's fixed weights.
        active: Trainable weights that the wiring lets through: those that can change an answer.
    """

    trainable: int
    stored: int
    active: int


def count_parameters(model: nn.Module) -> ParameterCounts:
    """Return the parameter counts of a classifier or any part of one.

    >>> from edgelnn.models import LTCLayer, WiringPlan
    >>> count_parameters(LTCLayer(400, WiringPlan("auto", units=21, outputs=1)))
    ParameterCounts(trainable=36229, stored=45070, active=10717)
    """
    stored = sum(parameter.numel() for parameter in model.parameters())
    trainable = sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
    return ParameterCounts(trainable, stored, trainable - sum(_silenced(module) for module in model.modules()))


def _silenced(module: nn.Module) -> int:
    """Return how many of a cell's own trainable weights its masks multiply by zero."""
    if isinstance(module, LTCCell):
        masks = (module.sparsity_mask, module.sensory_sparsity_mask)
        return 4 * sum(int(torch.count_nonzero(mask == 0)) for mask in masks)  # w, mu, sigma and erev
    if isinstance(module, CfCCell) and module.sparsity_mask is not None:
        masked_maps = 1 if module.mode == "pure" else 2  # ff1, and ff2 where there is one
        return masked_maps * int(torch.count_nonzero(module.sparsity_mask == 0))
    return 0
