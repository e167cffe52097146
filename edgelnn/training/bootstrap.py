"""Intervals by resampling, with all resamples at once as integer weights on the images."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgelnn.training.overlap import overlap

__all__ = ["bootstrap_intervals", "resample_weights", "weighted_auc"]

Floats = NDArray[np.floating[Any]]
Booleans = NDArray[np.bool_]
Weights = NDArray[np.float32]
Interval = tuple[float, float]

CHUNK = 1 << 20  # weights held at a time, so that large test sets take time and not memory


def bootstrap_intervals(
    probabilities: Floats,
    truth: Booleans,
    decided: Booleans,
    *,
    decided_at_half: Booleans | None = None,
    stratified: bool,
    resamples: int,
    seed: int,
) -> tuple[dict[str, Interval], dict[int, dict[str, Interval]]]:
    """Return 95 % intervals of AUC, accuracy, F1, sensitivity, specificity and Dice.

    Percentile intervals (Efron & Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13).

    Args:
        probabilities: (n, classes) float64.
        truth: (n, classes) bool.
        decided: (n, classes) bool.
        decided_at_half: The decisions that the accuracy is of; None: the same.
        stratified: Resample within each class, so that every resample has the split's class shares. Without it,
            resamples in which a label has one value only are left out of that label's intervals.
        resamples: How many.
        seed: Of the resampling.

    Returns:
        Intervals of ``auc`` (mean over classes) and ``accuracy``, and for each class index those of ``auc``, ``f1``,
        ``sensitivity``, ``specificity`` and ``dice``.
    """
    classes = truth.shape[1]
    names = ("auc", "f1", "sensitivity", "specificity", "dice")
    drawn: dict[int, list[dict[str, Floats]]] = {index: [] for index in range(classes)}
    equal = truth == (decided if decided_at_half is None else decided_at_half)
    right = equal.all(axis=1).astype(float) if stratified else equal.mean(axis=1)
    accuracies = []
    strata = truth.argmax(axis=1) if stratified else np.zeros(len(truth), np.int64)
    for weights in resample_weights(strata, resamples=resamples, seed=seed):
        accuracies.append(right.astype(np.float32) @ weights / len(right))
        for index in range(classes):
            drawn[index].append(_one_class(probabilities[:, index], truth[:, index], decided[:, index], weights))
    samples = {
        index: {name: np.concatenate([part[name] for part in parts]) for name in names}
        for index, parts in drawn.items()
    }
    auc = np.mean([samples[index]["auc"] for index in range(classes)], axis=0)
    overall = {"auc": _interval(auc), "accuracy": _interval(np.concatenate(accuracies))}
    return overall, {index: {name: _interval(samples[index][name]) for name in names} for index in range(classes)}


def resample_weights(strata: NDArray[np.int64], *, resamples: int, seed: int) -> Iterator[Weights]:
    """Yield how often each image occurs in each resample, (n, some resamples) float32, drawn within each stratum.

    >>> [weights.sum(axis=0).tolist() for weights in resample_weights(np.array([0, 0, 1]), resamples=2, seed=0)]
    [[3.0, 3.0]]
    """
    rng = np.random.default_rng(seed)
    members = [np.flatnonzero(strata == stratum) for stratum in np.unique(strata)]
    size = max(1, CHUNK // len(strata))
    for start in range(0, resamples, size):
        columns = min(size, resamples - start)
        weights = np.zeros((len(strata), columns), np.float32)
        for stratum in members:
            drawn = rng.integers(len(stratum), size=(len(stratum), columns)) * columns + np.arange(columns)
            counts = np.bincount(drawn.ravel(), minlength=len(stratum) * columns)
            weights[stratum] = counts.reshape(len(stratum), columns)
        yield weights


def weighted_auc(scores: Floats, positive: Booleans, weights: Weights) -> Floats:
    """Return the area under the ROC curve for each column of weights; ties count half (Hanley & McNeil 1982).

    Args:
        scores: (n,) float64.
        positive: (n,) bool.
        weights: (n, resamples) float32 of whole numbers.

    Returns:
        (resamples,) float64; NaN where the positive or the negative images have no weight.

    >>> scores, positive = np.array([0.1, 0.4, 0.4, 0.8]), np.array([False, False, True, True])
    >>> weighted_auc(scores, positive, np.ones((4, 1), np.float32)).tolist()
    [0.875]
    """
    negatives = np.flatnonzero(~positive)
    negatives = negatives[np.argsort(scores[negatives], kind="stable")]
    # Row k: the weight of the k negative images with the lowest scores; whole numbers below 2^24, so float32 is exact.
    total = np.zeros((len(negatives) + 1, weights.shape[1]), np.float32)
    np.cumsum(weights[negatives], axis=0, out=total[1:])
    below = total[np.searchsorted(scores[negatives], scores[positive], side="left")]
    below += total[np.searchsorted(scores[negatives], scores[positive], side="right")]
    chosen = weights[positive]
    wins = 0.5 * np.einsum("nr,nr->r", chosen, below, dtype=np.float64)
    pairs = chosen.sum(axis=0, dtype=np.float64) * total[-1]
    return _ratio(wins, pairs)


def _one_class(probability: Floats, truth: Booleans, decided: Booleans, weights: Weights) -> dict[str, Floats]:
    """Return the five figures of one class for each column of weights."""
    cells = np.stack([truth & decided, truth & ~decided, ~truth & decided, ~truth & ~decided])
    hits, misses, alarms, rests = (cells.astype(np.float32) @ weights).astype(np.float64)
    return {
        "auc": weighted_auc(probability, truth, weights),
        "f1": _ratio(2 * hits, 2 * hits + misses + alarms),
        "sensitivity": _ratio(hits, hits + misses),
        "specificity": _ratio(rests, rests + alarms),
        "dice": overlap(probability, truth, weights),
    }


def _ratio(part: Floats, whole: Floats) -> Floats:
    """Return part over whole, NaN where the whole is nothing."""
    ratio = np.full(len(part), np.nan)
    np.divide(part, whole, out=ratio, where=whole > 0)
    return ratio


def _interval(samples: Floats) -> Interval:
    """Return the 2.5 and 97.5 % quantiles of the samples that are numbers."""
    numbers = samples[np.isfinite(samples)]
    if not len(numbers):
        return float("nan"), float("nan")
    low, high = np.quantile(numbers, [0.025, 0.975])
    return float(low), float(high)
