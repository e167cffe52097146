"""Which of the files that passed is recommended: the smallest that loses nothing that validation can show.

Bytes are the one cost that is the same on every machine, and known without measuring. A file may be recommended where
its AUC on the validation split is at most 0.005 below the PyTorch model's (a quarter of what any int8 file may lose,
and less than the split of a small dataset can tell from chance) and at least 99 % of its decisions are the same (all
of them, where the split has fewer than 100 images). float32 files always qualify. Of files of one size the first wins.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from edgelnn.bundle import Variant

__all__ = ["recommend"]

_AUC_DROP: Final = 0.005
_AGREEMENT: Final = 0.99


def recommend(variants: Sequence[Variant], auc: float) -> Variant:
    """Return the variant that commands given the bundle use.

    Args:
        variants: What is in the bundle, with figures on the validation split.
        auc: The PyTorch model's own on that split.
    """
    harmless = [
        each
        for each in variants
        if each.recipe == "float32"
        or (each.validation["auc"] >= auc - _AUC_DROP and each.validation["agreement"] >= _AGREEMENT)
    ]
    return min(harmless, key=lambda each: each.size_bytes)
