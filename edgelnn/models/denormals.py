"""Numbers too small to matter, kept from slowing gradients down."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

__all__ = ["denormals_flushed"]


@contextmanager
def denormals_flushed() -> Iterator[None]:
    """Let this thread round numbers below 1e-38 to zero, and leave it as it was.

    A gradient shrinks with every step that it goes back in time; below that size, processors compute with it up to
    fifty times slower.
    """
    already = bool(torch.tensor(1e-40).mul_(1.0) == 0)
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(already)
