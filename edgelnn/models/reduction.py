"""Reduction: every step of a sequence brought to a wanted number of features."""

from __future__ import annotations

from typing import final

from torch import Tensor, nn

from edgelnn.models.specification import SingleScanSpec

__all__ = ["Reduction", "build_reduction", "reduced_features"]


@final
class Reduction(nn.Module):
    """Dropout, a linear layer and ReLU, the same for every step.

    Attributes:
        dropout: Before the linear layer while training.
        linear: To the wanted number of features.
    """

    def __init__(self, features: int, wanted: int, dropout: float) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.linear = nn.Linear(features, wanted)

    def forward(self, sequence: Tensor) -> Tensor:
        """Return (n, steps, wanted) of (n, steps, features)."""
        reduced: Tensor = self.linear(self.dropout(sequence)).relu()
        return reduced


def build_reduction(spec: SingleScanSpec, features: int) -> Reduction | None:
    """Return what a scan's steps of so many features pass through; None where they stay as they are."""
    wanted = reduced_features(spec, features)
    return None if wanted == features else Reduction(features, wanted, spec.reduce_dropout)


def reduced_features(spec: SingleScanSpec, features: int) -> int:
    """Return how many features a scan's steps have in the end.

    >>> from edgelnn.models.specification import PlainScan
    >>> reduced_features(PlainScan(kind="channels", reduce_to=32), 169), reduced_features(PlainScan(reduce_to=32), 9)
    (32, 9)
    """
    return features if spec.reduce_to is None else min(features, spec.reduce_to)
