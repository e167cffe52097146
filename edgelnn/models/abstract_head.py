"""What heads that learn by gradients share: batch norm on the way in, and how steps are read out.

Every head reads (n, steps, features), and reads its steps out in one of three ways: the last step, the mean over
steps, or all steps joined. Read in both directions, the last step is each direction's own: what it says after the whole
sequence.
"""

from __future__ import annotations

from abc import ABC

import torch
from torch import Tensor, nn

from edgelnn.models.head_specification import Head, Readout

__all__ = ["AbstractHead", "read_out"]


class AbstractHead(nn.Module, ABC):
    """A head that may begin with batch norm.

    Attributes:
        norm: Batch norm of each feature, over steps and images; None without one.
        dropout: Before the head's own layers.
        readout_dropout: Before the linear layer to the class scores.
        readout: How the steps are read out.
    """

    def __init__(self, spec: Head, features: int) -> None:
        super().__init__()
        self.readout: Readout = spec.readout
        self.norm = nn.BatchNorm1d(features) if spec.batch_norm else None
        self.dropout = nn.Dropout(spec.dropout)
        self.readout_dropout = nn.Dropout(spec.dropout if spec.readout_dropout is None else spec.readout_dropout)

    def normalized(self, sequence: Tensor) -> Tensor:
        """Return (n, steps, features), normalized where the head has a batch norm."""
        if self.norm is None:
            return sequence
        normalized: Tensor = self.norm(sequence.flatten(0, 1))
        return normalized.view_as(sequence)


def read_out(sequence: Tensor, readout: Readout, *, both_directions: bool) -> Tensor:
    """Return (n, width) of (n, steps, outputs)."""
    if readout == "mean":
        return sequence.mean(1)
    if readout == "joined":
        return sequence.flatten(1)
    if not both_directions:
        return sequence[:, -1]
    half = sequence.shape[2] // 2
    return torch.cat([sequence[:, -1, :half], sequence[:, 0, half:]], 1)
