"""Parallel: several sequences of one map, each read by a head of its own, joined by a linear layer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

import torch
from torch import Tensor, nn

from edgelnn.models.reduction import Reduction

__all__ = ["Branch", "Parallel"]


@final
class Branch(nn.Module):
    """What reads one of the sequences.

    Attributes:
        reduction: What its steps pass through first; None where they stay as they are.
        head: Sequence to numbers.
    """

    def __init__(self, reduction: Reduction | None, head: nn.Module) -> None:
        super().__init__()
        self.reduction = reduction
        self.head = head

    def forward(self, sequence: Tensor) -> Tensor:
        """Return (n, outputs) of (n, steps, features)."""
        numbers: Tensor = self.head(sequence if self.reduction is None else self.reduction(sequence))
        return numbers


@final
class Parallel(nn.Module):
    """Branches side by side.

    Attributes:
        branches: One for each sequence.
        linear: From what all of them say to the class scores.
    """

    def __init__(self, branches: Sequence[Branch], outputs: int, scores: int) -> None:
        super().__init__()
        self.branches = nn.ModuleList(branches)
        self.linear = nn.Linear(outputs * len(branches), scores)

    def forward(self, sequences: Sequence[Tensor]) -> Tensor:
        """Return class scores (n, scores) of one (n, steps, features) for each branch."""
        said = [branch(sequence) for branch, sequence in zip(self.branches, sequences, strict=True)]
        scores: Tensor = self.linear(torch.cat(said, 1))
        return scores
