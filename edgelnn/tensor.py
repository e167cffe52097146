"""What a model file takes and gives.

A file of its own, and a small one: a process whose memory is measured needs it, and should carry little else.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Tensor"]


@dataclass(frozen=True)
class Tensor:
    """An input or output of a model file; -1 stands for any batch size."""

    name: str
    shape: tuple[int, ...]
    dtype: str
