"""Which files are kept, and which of them is recommended.

Of the files of a format that are the model, and lose no more AUC on the validation split than they may, the Pareto set
of bytes and cost is kept: one that another file beats in both is left out. A cost is latency or a count of
instructions; two that differ by less than the noise of their measurement count as equal, so that noise drops no file.
An AUC that is more than 0.005 lower counts as a loss, and what loses beats nothing. float32 is always kept, and so is
what was asked for by name. For a board a file must also cost no more there than float32 does.

A file may be recommended where its AUC on the validation split is at most 0.005 below the PyTorch model's (a quarter of
what any int8 file may lose, and less than the split of a small dataset can tell from chance) and at least 99 % of its
decisions are the same (all of them, where the split has fewer than 100 images). float32 files always qualify. Of those
the one of least cost is recommended, of equal cost the smallest; where no costs are known, the smallest. Of files of
one size the first wins.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from edgelnn.bundle import Variant
from edgelnn_export.listener import Check

__all__ = ["conclude", "reasons_to_drop", "recommend"]

_AUC_DROP: Final = 0.005
_AGREEMENT: Final = 0.99
_LOSES: Final = f"loses more than {_AUC_DROP:g} of AUC"


def reasons_to_drop(
    checks: Sequence[Check], *, noise: float = 0.0, no_more_than_float32: bool = False
) -> dict[str, str]:
    """Return which of the files that passed are not worth keeping, by name, and why not.

    Args:
        checks: What was found of all candidates, with costs where they are known.
        noise: Share by which two costs must differ to be told apart.
        no_more_than_float32: Drop what costs more than the float32 file of its format.
    """
    reasons: dict[str, str] = {}
    for model_format in dict.fromkeys(check.candidate.format for check in checks):
        passed = [check for check in checks if check.kept and check.candidate.format == model_format]
        float32 = next((check for check in passed if not check.candidate.recipe.is_quantized), None)
        front: list[Check] = []
        for check in sorted(passed, key=lambda each: (each.size_bytes or 0, each.cost or 0.0)):
            reason = ""
            if not check.candidate.required:
                if no_more_than_float32 and float32 is not None and _cost(check) > _cost(float32):
                    reason = f"it costs {_cost(check):,.0f} instructions there, float32 {_cost(float32):,.0f}"
                else:
                    better = next((each for each in front if _beats(each, check, noise)), None)
                    reason = _said(better, check) if better is not None else ""
            if reason:
                reasons[check.candidate.name] = reason
            else:
                front.append(check)
    return reasons


def _beats(smaller: Check, check: Check, noise: float) -> bool:
    """Whether a file that is no larger than another is as good in all else, too."""
    as_right = smaller.validation["auc"] >= check.validation["auc"] - _AUC_DROP
    return as_right and _cost(smaller) <= _cost(check) * (1 + noise)


def _cost(check: Check) -> float:
    return 0.0 if check.cost is None else check.cost


def _said(better: Check, check: Check) -> str:
    size = f"{better.size_bytes or 0:,} bytes against {check.size_bytes or 0:,}"
    if check.cost is None or better.cost is None:
        return f"{better.candidate.name} is smaller and as right: {size}"
    ratio = f"{better.cost / check.cost:.2f} of the cost" if check.cost else "no more cost"
    return f"{better.candidate.name} beats it: {size}, at {ratio}"


def recommend(
    variants: Sequence[Variant], auc: float, costs: Mapping[str, float] | None = None, noise: float = 0.0
) -> Variant:
    """Return the variant that commands given the bundle use.

    Args:
        variants: What is in the bundle, with figures on the validation split.
        auc: The PyTorch model's own on that split.
        costs: Of every variant, by name; empty where unknown.
        noise: Share by which two costs must differ to be told apart.
    """
    harmless = [each for each in variants if each.recipe == "float32" or not _faults(each, auc)]
    if costs:
        least = min(costs[each.name] for each in harmless)
        harmless = [each for each in harmless if costs[each.name] <= least * (1 + noise)]
    return min(harmless, key=lambda each: each.size_bytes)


def _faults(variant: Variant, auc: float) -> list[str]:
    """Return in words what keeps a quantized file from being recommended, beside a model of this AUC."""
    faults = []
    if variant.validation["agreement"] < _AGREEMENT:
        faults.append("decides otherwise too often")
    if variant.validation["auc"] < auc - _AUC_DROP:
        faults.append(_LOSES)
    return faults


def conclude(variants: Sequence[Variant], recommended: Variant, costs: Mapping[str, float]) -> str:
    """Return in a sentence what quantizing came to.

    Args:
        variants: What is in the bundle.
        recommended: One of them.
        costs: Of every variant, by name; empty where unknown.
    """
    if all(each.recipe == "float32" for each in variants):
        return f"No quantized file is worth keeping: float32 is the best there is, {recommended.name} above all."
    if recommended.recipe == "float32":
        auc = max(each.validation["auc"] for each in variants if each.recipe == "float32")
        reasons = []
        for each in variants:
            smaller = each.size_bytes < recommended.size_bytes
            if each.recipe == "float32" or not (costs[each.name] < costs[recommended.name] if costs else smaller):
                continue
            # What is cheaper, smaller and without fault here lost to PyTorch's own AUC, by a hair.
            faults = _faults(each, auc) or ([_LOSES] if smaller else [])
            if faults:
                reasons.append(f"{each.name} {' and '.join(faults)}")
        if reasons:
            return f"{recommended.name} is recommended: on the validation split {', '.join(reasons)}."
        if not costs:
            return f"float32 is the best there is: {recommended.name}. Quantized files are no smaller."
        return f"float32 is the best there is: {recommended.name}. What is quantized costs no less, or is no smaller."
    float32 = next(each for each in variants if each.format == recommended.format and each.recipe == "float32")
    size = f"{recommended.size_bytes / float32.size_bytes:.2f} of the bytes"
    cost = f" and {costs[recommended.name] / costs[float32.name]:.2f} of the cost" if costs else ""
    return f"{recommended.name} is recommended: {size}{cost} of float32."
