"""From what a model answers to one probability a class, and to decisions; the same for training, files and boards.

Imports numpy alone, so that a board can use it.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

__all__ = ["SAME", "class_probabilities", "decide", "says_the_same"]

Floats = NDArray[np.floating[Any]]

SAME = 1e-5
"""Probabilities no further apart than this are the same: float32 files are held to the model by it, too."""


def class_probabilities(probabilities: Floats, output_kind: Literal["softmax", "sigmoid"], classes: int) -> Floats:
    """Return one column a class: the one number of a binary sigmoid, the probability p of class 1, becomes (1 - p, p).

    Args:
        probabilities: (n, outputs) float, as a model answers.
        output_kind: What the model ends in.
        classes: How many classes or labels there are.

    Returns:
        (n, classes) of the same type; the argument itself where it has a column a class.

    >>> class_probabilities(np.array([[0.25]]), "sigmoid", 2).tolist()
    [[0.75, 0.25]]
    """
    if output_kind == "sigmoid" and classes == 2 and probabilities.shape[1] == 1:
        return np.concatenate([1 - probabilities, probabilities], axis=1)
    return probabilities


def decide(
    class_probabilities: Floats, *, task: str, positive_class: int | None, threshold: float = 0.5
) -> NDArray[np.bool_]:
    """Return the decisions as (n, classes) bool: one True a row, or any number where the task is multi-label.

    Class 1 of two is decided for where its probability is *above* the threshold, as MedMNIST counts; the largest
    probability decides among many classes; every label above the threshold is decided for.

    Args:
        class_probabilities: (n, classes) float.
        task: MedMNIST's name of the task.
        positive_class: Index of the class that `threshold` is for in a binary task; class 1 where None.
        threshold: On the probability of the positive class (binary) or of each label (multi-label).

    >>> decide(np.array([[0.6, 0.4]]), task="binary-class", positive_class=0, threshold=0.7).tolist()
    [[False, True]]
    """
    if task == "multi-label":
        return np.asarray(class_probabilities > threshold)
    if task == "binary-class":
        last = class_probabilities[:, -1].astype(np.float64) > (1.0 - threshold if positive_class == 0 else threshold)
        return np.stack([~last, last], axis=1)
    return np.asarray(np.arange(class_probabilities.shape[1]) == class_probabilities.argmax(axis=1)[:, None])


def says_the_same(probabilities: Floats) -> bool:
    """Return whether answers (n, outputs) are the same for every image, but for what rounding makes of them.

    >>> says_the_same(np.array([[0.25, 0.75], [0.25, 0.75]])), says_the_same(np.array([[0.25, 0.75], [0.5, 0.5]]))
    (True, False)
    """
    return bool((np.ptp(probabilities, axis=0) <= SAME).all())
