"""What training minimizes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from edgelnn.data.dataset import Task
from edgelnn.errors import ConfigError
from edgelnn.training.experiment import TrainingSpec

__all__ = ["Loss", "balanced_weights", "build_loss"]

Loss = Callable[[Tensor, Tensor], Tensor]
"""Scores (n, outputs) float32 and labels as in a `Split` → the mean loss."""


def build_loss(
    training: TrainingSpec,
    *,
    output_kind: Literal["softmax", "sigmoid"],
    task: Task,
    classes: int,
    labels: NDArray[np.int64],
    device: torch.device | str = "cpu",
) -> Loss:
    """Return the loss that an experiment asks for.

    Args:
        training: Whose `loss` and `class_weights` say what is wanted.
        output_kind: Of the classifier.
        task: MedMNIST's name of the task.
        classes: Classes, or labels where the task is multi-label.
        labels: Of the training split, for balanced weights.
        device: Where the scores are.

    Raises:
        ConfigError: The loss does not go with the outputs, or the number of weights is wrong.

    >>> labels = np.array([0, 1])
    >>> loss = build_loss(TrainingSpec(), output_kind="softmax", task="binary-class", classes=2, labels=labels)
    >>> round(loss(torch.zeros(1, 2), torch.tensor([1])).item(), 4)
    0.6931
    """
    fitting = "bce" if output_kind == "sigmoid" else "cross_entropy"
    if training.loss not in ("auto", fitting):
        raise ConfigError(
            f'training.loss: got "{training.loss}" for a head with {output_kind} outputs; expected "{fitting}" or '
            f'"auto". Change it, or set head.output.'
        )
    weights = _class_weights(training, task, classes, labels)
    if fitting == "cross_entropy":
        by_class = None if weights is None else torch.tensor(weights, dtype=torch.float32, device=device)
        return lambda scores, targets: functional.cross_entropy(scores, targets, weight=by_class)
    if task == "multi-label":
        positive = None if weights is None else torch.tensor(weights, dtype=torch.float32, device=device)
        return lambda scores, targets: functional.binary_cross_entropy_with_logits(
            scores, targets.float(), pos_weight=positive
        )
    of_class = torch.ones(2, device=device) if weights is None else torch.tensor(weights, device=device).float()

    def binary(scores: Tensor, targets: Tensor) -> Tensor:
        each = of_class[targets]
        losses = functional.binary_cross_entropy_with_logits(scores[:, 0], targets.float(), reduction="none")
        return (each * losses).sum() / each.sum()

    return binary


def balanced_weights(labels: NDArray[np.int64], *, task: Task, classes: int) -> NDArray[np.float64]:
    """Return a weight a class, inversely to its share; for multi-label tasks, negative over positive images a label.

    >>> balanced_weights(np.array([0, 1, 1, 1]), task="binary-class", classes=2).tolist()
    [2.0, 0.6666666666666666]
    """
    if task == "multi-label":
        positive = np.maximum(labels.sum(axis=0), 1)
        return np.asarray(np.maximum(len(labels) - positive, 1) / positive)
    counts = np.maximum(np.bincount(labels, minlength=classes), 1)
    return np.asarray(len(labels) / (classes * counts))


def _class_weights(
    training: TrainingSpec, task: Task, classes: int, labels: NDArray[np.int64]
) -> list[float] | NDArray[np.float64] | None:
    """Return a weight a class or label; None for all alike."""
    if training.class_weights == "none":
        return None
    if training.class_weights == "balanced":
        return balanced_weights(labels, task=task, classes=classes)
    if len(training.class_weights) != classes:
        raise ConfigError(
            f"training.class_weights: got {len(training.class_weights)} numbers; expected {classes}, one per class."
        )
    return list(training.class_weights)
