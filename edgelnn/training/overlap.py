"""F1 and Dice of predictions, and the classes that they speak of.

Both say how far what was predicted as a class and what is of it overlap: 2 |A ∩ B| / (|A| + |B|). F1 counts decisions;
the soft Dice coefficient takes probabilities in their place, and with decisions it would be F1. In segmentation A and
B are sets of pixels (F. Milletari, N. Navab, S.-A. Ahmadi (2016), "V-Net", 3DV, doi:10.1109/3DV.2016.79; they square
the terms of the denominator, we do not, as F1 does not); here they are sets of images.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgelnn.data.dataset import Task

__all__ = ["counted_classes", "mean_overlap", "overlap"]


def counted_classes(task: Task, classes: int, positive_class: int | None) -> list[int]:
    """Return the classes whose F1 and Dice make up those of a prediction: the positive one, of two the last, else all.

    >>> counted_classes("binary-class", 2, 0), counted_classes("multi-class", 3, None)
    ([0], [0, 1, 2])
    """
    if positive_class is not None:
        return [positive_class]
    return [1] if task == "binary-class" else list(range(classes))


def overlap(predicted: NDArray[Any], truth: NDArray[np.bool_], weights: NDArray[Any] | None = None) -> NDArray[Any]:
    """Return F1 of decisions, or the soft Dice coefficient of probabilities.

    Args:
        predicted: (n, …) bool decisions, or float probabilities.
        truth: (n, …) bool.
        weights: (n, resamples) of the images, where `predicted` and `truth` are (n,); None: 1 each.

    Returns:
        (…) or (resamples,) float64; NaN where nothing is predicted and nothing is there.

    >>> overlap(np.array([True, True, False]), np.array([True, False, True])).item()
    0.5
    """
    sure = predicted.astype(np.float64)
    if weights is None:
        common, both = (sure * truth).sum(axis=0), sure.sum(axis=0) + truth.sum(axis=0)
    else:
        common, both = (sure * truth) @ weights, (sure + truth) @ weights
    common, both = np.asarray(common, np.float64), np.asarray(both, np.float64)
    shares = np.full(common.shape, np.nan)
    np.divide(2 * common, both, out=shares, where=both > 0)
    return shares


def mean_overlap(predicted: NDArray[Any], truth: NDArray[np.bool_], *, task: Task, positive_class: int | None) -> float:
    """Return F1 or Dice of the positive class, of class 1 of two where none is, or the mean over classes (or labels).

    Args:
        predicted: (n, classes) bool decisions, or float probabilities.
        truth: (n, classes) bool; some of every class.
        task: MedMNIST's name of the task.
        positive_class: Index of the disease, or None.
    """
    chosen = counted_classes(task, truth.shape[1], positive_class)
    return float(overlap(predicted[:, chosen], truth[:, chosen]).mean())
