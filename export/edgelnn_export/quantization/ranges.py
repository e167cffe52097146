"""Ranges of activations from what they were on calibration images: the whole range, all but the tail, or least loss.

The three rules are those of NVIDIA's TensorRT (S. Migacz, 8-bit Inference with TensorRT, 2017): ``min_max``,
``percentile`` (99.99 % of all magnitudes) and ``entropy`` (the range from which 8 bits restore the distribution with
the least Kullback–Leibler divergence). Both formats take them from here: of ONNX Runtime's own by these names, one
makes every range symmetric, and one tries no range but the whole.
"""

from __future__ import annotations

from typing import Any, Final, Literal, final

import numpy as np
from numpy.typing import NDArray

__all__ = ["CALIBRATIONS", "Activations", "Calibration", "find_range"]

Calibration = Literal["min_max", "percentile", "entropy"]
CALIBRATIONS: Final[tuple[Calibration, ...]] = ("min_max", "percentile", "entropy")
_PERCENTILE: Final = 99.99
_MOST_VALUES: Final = 2_000_000  # kept of one activation
_BINS: Final = 2048
_LEVELS: Final = 128


@final
class Activations:
    """What activations were on calibration images: their extremes, and of each at most about two million values.

    Args:
        feeds: How many times values of each will be added.

    >>> seen = Activations(feeds=2)
    >>> seen.add("a", np.array([[-1.0, 0.0]])), seen.add("a", np.array([[2.0, 3.0]]))
    (None, None)
    >>> seen.ranges("min_max")
    {'a': (-1.0, 3.0)}
    """

    def __init__(self, feeds: int) -> None:
        self._most = max(1, _MOST_VALUES // feeds)
        self._extremes: dict[str, tuple[float, float]] = {}
        self._values: dict[str, list[NDArray[np.floating[Any]]]] = {}

    def add(self, name: str, values: NDArray[np.floating[Any]]) -> None:
        """Add what an activation was, of any shape."""
        smallest, largest = find_range(values, "min_max")
        before = self._extremes.get(name, (smallest, largest))
        self._extremes[name] = min(before[0], smallest), max(before[1], largest)
        self._values.setdefault(name, []).append(values.ravel()[:: max(1, values.size // self._most)].copy())

    def ranges(self, calibration: Calibration) -> dict[str, tuple[float, float]]:
        """Return the smallest and largest value that 8 bits should stand for, of each activation by its name."""
        if calibration == "min_max":
            return dict(self._extremes)
        return {name: find_range(np.concatenate(parts), calibration) for name, parts in self._values.items()}


def find_range(values: NDArray[np.floating[Any]], calibration: Calibration) -> tuple[float, float]:
    """Return the smallest and largest value that 8 bits should stand for.

    Args:
        values: All that an activation was, of any shape.
        calibration: By which rule.

    >>> find_range(np.array([-1.0, 0.0, 3.0]), "min_max")
    (-1.0, 3.0)
    """
    smallest, largest = float(values.min()), float(values.max())
    magnitudes = np.abs(values).ravel()
    if calibration == "min_max" or not magnitudes.any():
        return smallest, largest
    if calibration == "percentile":
        bound = float(np.percentile(magnitudes, _PERCENTILE))
    else:
        bound = _least_divergence(magnitudes)
    return max(smallest, -bound), min(largest, bound)


def _least_divergence(magnitudes: NDArray[np.floating[Any]]) -> float:
    counts, edges = np.histogram(magnitudes, bins=_BINS, range=(0.0, float(magnitudes.max())))
    counts[0] = counts[1]  # zeros say nothing about the range, and there are many behind a rectifier
    best, bound = np.inf, float(edges[-1])
    for end in range(_LEVELS, _BINS + 1, 16):
        kept = counts[:end].astype(np.float64)
        kept[-1] += counts[end:].sum()
        level = np.arange(end) * _LEVELS // end
        there = counts[:end] > 0
        totals = np.bincount(level, weights=counts[:end], minlength=_LEVELS)
        sharers = np.bincount(level, weights=there, minlength=_LEVELS)
        restored = np.where(there, totals[level] / np.maximum(sharers[level], 1), 0.0)
        if not restored.sum() or not kept.sum():
            continue
        p, q = kept / kept.sum(), restored / restored.sum()
        both = p > 0
        divergence = float((p[both] * np.log(p[both] / np.maximum(q[both], 1e-9))).sum())
        if divergence < best:
            best, bound = divergence, float(edges[end])
    return bound
