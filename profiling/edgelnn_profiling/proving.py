"""Files that lie in no bundle yet: how they are proved where they are measured, and what comes of them there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edgelnn.decode import encode
from edgelnn.preprocessing import Layout, Preprocessing

__all__ = ["Measured", "Proof"]


@dataclass(frozen=True)
class Proof:
    """What files must answer wherever they are measured.

    Attributes:
        golden: Bytes of a ``golden.npz``.
        images: How many images it holds.
        outputs: Answers to each.
        preprocessing: From images to inputs.
        layouts: Of each file's input, by the file's name.
        allowed: How far each file's answers may lie from the golden ones (see `edgelnn_profiling.parity`), likewise.
    """

    golden: bytes
    images: int
    outputs: int
    preprocessing: Preprocessing
    layouts: Mapping[str, Layout]
    allowed: Mapping[str, float]

    def request(self, name: str, golden: Path) -> dict[str, Any]:
        """Return what a worker is told of a file's golden answers, which are written down at a path."""
        return {
            "file": str(golden),
            "images": self.images,
            "outputs": self.outputs,
            "preprocessing": encode(self.preprocessing),
            "decision": None,
            "layout": self.layouts[name],
            "allowed_error": self.allowed[name],
        }


@dataclass(frozen=True)
class Measured:
    """What files cost.

    Attributes:
        costs: By name.
        failed: Why a file is not to be used where it was measured ("it …"), by name; such a file has no cost.
    """

    costs: Mapping[str, float]
    failed: Mapping[str, str] = field(default_factory=dict)
