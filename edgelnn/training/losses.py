"""What training minimizes: one loss, or a weighted sum of several.

cross_entropy   -log p of the true class; softmax outputs
bce             binary cross-entropy of each output against 0 and 1, the mean over outputs; of softmax outputs, of each
                class's probability. For two classes that is the cross-entropy.
mse             squared difference of probabilities from 0 and 1, the mean over classes or labels (G. W. Brier (1950),
                "Verification of forecasts expressed in terms of probability", Monthly Weather Review 78:1-3, who sums)
dice            1 - (2 sum(p y) + 1) / (sum(p) + sum(y) + 1) over the images of a batch, where p is the probability of
                the positive class and y whether an image is of it; without a positive class, of class 1 of two, else
                the mean over classes or labels. The soft Dice loss of segmentation (F. Milletari, N. Navab,
                S.-A. Ahmadi (2016), "V-Net", 3DV, doi:10.1109/3DV.2016.79) with images for pixels, as X. Li, X. Sun,
                Y. Meng et al. (2020), "Dice loss for data-imbalanced NLP tasks", ACL, doi:10.18653/v1/2020.acl-main.45,
                use it for classification. The ones give batches without a positive image a gradient too.

All but cross_entropy say the same of a sigmoid output as of a softmax over two. Dice compares sums over a whole batch,
so that it depends on the batch's size, and class weights have no meaning for it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from edgelnn.data.dataset import Task
from edgelnn.errors import ConfigError
from edgelnn.training.experiment import LossWeights, TrainingSpec
from edgelnn.training.overlap import counted_classes

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
    positive_class: int | None = None,
    device: torch.device | str = "cpu",
) -> Loss:
    """Return the loss that an experiment asks for.

    Args:
        training: Whose `loss` and `class_weights` say what is wanted.
        output_kind: Of the classifier.
        task: MedMNIST's name of the task.
        classes: Classes, or labels where the task is multi-label.
        labels: Of the training split, for balanced weights.
        positive_class: Index of the disease, which Dice speaks of; None where there is none.
        device: Where the scores are.

    Raises:
        ConfigError: The loss does not go with the outputs, or the number of weights is wrong.

    >>> labels = np.array([0, 1])
    >>> loss = build_loss(TrainingSpec(), output_kind="softmax", task="binary-class", classes=2, labels=labels)
    >>> round(loss(torch.zeros(1, 2), torch.tensor([1])).item(), 4)
    0.6931
    """
    wanted = _wanted(training, output_kind)
    weights = _class_weights(training, task, classes, labels)
    on_device = None if weights is None else torch.tensor(weights, dtype=torch.float32, device=device)
    losses = _Losses(output_kind, task, classes, counted_classes(task, classes, positive_class), on_device)
    parts = [(weight, getattr(losses, name)) for name, weight in wanted.items()]
    if len(parts) == 1 and parts[0][0] == 1.0:
        only: Loss = parts[0][1]
        return only

    def weighted_sum(scores: Tensor, targets: Tensor) -> Tensor:
        return torch.stack([weight * loss(scores, targets) for weight, loss in parts]).sum()

    return weighted_sum


@dataclass(frozen=True)
class _Losses:
    """Each loss, for one kind of outputs.

    Attributes:
        output_kind, task, classes: As in `build_loss`.
        counted: Classes that Dice counts.
        weights: (classes,) of each class or label; None for all alike.
    """

    output_kind: Literal["softmax", "sigmoid"]
    task: Task
    classes: int
    counted: list[int]
    weights: Tensor | None

    def cross_entropy(self, scores: Tensor, targets: Tensor) -> Tensor:
        return functional.cross_entropy(scores, targets, weight=self.weights)

    def bce(self, scores: Tensor, targets: Tensor) -> Tensor:
        if self.task == "multi-label":
            return functional.binary_cross_entropy_with_logits(scores, targets.float(), pos_weight=self.weights)
        if self.output_kind == "sigmoid":
            each = functional.binary_cross_entropy_with_logits(scores[:, 0], targets.float(), reduction="none")
        else:
            inside = scores.log_softmax(1)
            # log (1 - p) without a difference: the others' share of the sum of exponentials.
            own = torch.eye(self.classes, dtype=torch.bool, device=scores.device)
            others = scores[:, None, :].expand(-1, self.classes, -1).masked_fill(own, -torch.inf).logsumexp(2)
            outside = others - scores.logsumexp(1, keepdim=True)
            each = -torch.where(self._truth(targets), inside, outside).mean(1)
        return self._mean(each, targets)

    def mse(self, scores: Tensor, targets: Tensor) -> Tensor:
        squares = (self._probabilities(scores) - self._truth(targets).float()).square()
        if self.task == "multi-label":
            return squares.mean() if self.weights is None else (squares * self._label_weights(targets)).mean()
        return self._mean(squares.mean(1), targets)

    def dice(self, scores: Tensor, targets: Tensor) -> Tensor:
        probabilities = self._probabilities(scores)[:, self.counted]
        truth = self._truth(targets)[:, self.counted].float()
        common, both = (probabilities * truth).sum(0), probabilities.sum(0) + truth.sum(0)
        return 1 - ((2 * common + 1) / (both + 1)).mean()

    def _probabilities(self, scores: Tensor) -> Tensor:
        """Return (n, classes) from scores (n, outputs)."""
        if self.output_kind == "softmax":
            return scores.softmax(1)
        if self.task == "multi-label":
            return scores.sigmoid()
        return torch.cat([(-scores).sigmoid(), scores.sigmoid()], 1)

    def _truth(self, targets: Tensor) -> Tensor:
        """Return labels as (n, classes) bool."""
        if targets.ndim == 2:
            return targets != 0
        return targets[:, None] == torch.arange(self.classes, device=targets.device)

    def _label_weights(self, targets: Tensor) -> Any:
        """Return (n, labels): each label's weight where an image has it, else 1, as BCE's ``pos_weight`` weighs."""
        return torch.where(self._truth(targets), self.weights, 1.0) if self.weights is not None else 1.0

    def _mean(self, each: Tensor, targets: Tensor) -> Tensor:
        """Return the mean over images (n,), each weighing as its class does."""
        of_class = torch.ones(self.classes, device=each.device) if self.weights is None else self.weights
        shares = of_class[targets]
        return (shares * each).sum() / shares.sum()


def _wanted(training: TrainingSpec, output_kind: Literal["softmax", "sigmoid"]) -> dict[str, float]:
    """Return the losses to add up, by name with their weights."""
    if training.loss == "auto":
        return {"bce" if output_kind == "sigmoid" else "cross_entropy": 1.0}
    wanted: dict[str, float]
    if isinstance(training.loss, LossWeights):
        wanted = {name: weight for name, weight in training.loss.model_dump().items() if weight}
    else:
        wanted = {training.loss: 1.0}
    if "cross_entropy" in wanted and output_kind == "sigmoid":
        raise ConfigError(
            'training.loss: got "cross_entropy" for a head with sigmoid outputs; expected "bce" or "auto" (or dice, '
            "mse). Change it, or set head.output."
        )
    return wanted


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
