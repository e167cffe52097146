"""One epoch after another; what is random in an epoch follows from the seed and its number alone."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from edgelnn.data.augmentation import Augmentation
from edgelnn.data.dataset import Dataset, Split
from edgelnn.decisions import class_probabilities, decide
from edgelnn.errors import ConfigError, TrainingError
from edgelnn.models import Classifier
from edgelnn.preprocessing import Preprocessing
from edgelnn.training.bootstrap import weighted_auc
from edgelnn.training.closed_form import fit_readout, is_closed_form
from edgelnn.training.experiment import TrainingSpec
from edgelnn.training.history import EpochRecord
from edgelnn.training.listener import TrainingListener
from edgelnn.training.losses import Loss
from edgelnn.training.optimizers import build_optimizer, clip_gradients, set_learning_rate
from edgelnn.training.overlap import mean_overlap
from edgelnn.training.prediction import predict_scores
from edgelnn.training.quantization_aware import FakeQuantization, calibration_images
from edgelnn.training.schedules import learning_rate_at

__all__ = ["Epochs"]


@dataclass
class Epochs:
    """What every epoch needs, and the weights it changes.

    Attributes:
        classifier: On the device to compute on.
        dataset: To train and to validate on.
        training: How.
        preprocessing: From pixels to inputs.
        loss: To minimize.
        augmentation: Of the training images; None without one.
        listener: Hears of every batch.
        quantization: Of the classifier, where it trains with int8 numbers; None where it does not.
    """

    classifier: Classifier
    dataset: Dataset
    training: TrainingSpec
    preprocessing: Preprocessing
    loss: Loss
    augmentation: Augmentation | None
    listener: TrainingListener
    quantization: FakeQuantization | None = None

    def __post_init__(self) -> None:
        self.optimizer = build_optimizer(self.training, self.classifier)
        self.device = next(self.classifier.parameters()).device

    @property
    def count(self) -> int:
        """How many epochs there are in all: one where everything is fitted at once."""
        return 1 if is_closed_form(self.classifier) else self.training.epochs

    def run(self, epoch: int) -> EpochRecord:
        """Train one epoch and judge it on the validation split.

        Args:
            epoch: From 1.

        Raises:
            TrainingError: The loss is no number any more.
        """
        began = time.perf_counter()
        rng = np.random.default_rng([self.training.seed, epoch])
        torch.manual_seed(int(rng.integers(2**63)))
        self.calibrate()
        rate, train_loss, train_accuracy = self._train(epoch, rng)
        self.calibrate()
        return EpochRecord(
            epoch=epoch,
            learning_rate=rate,
            train_loss=train_loss,
            train_accuracy=train_accuracy,
            **self._validate(epoch),
            duration_s=time.perf_counter() - began,
        )

    def calibrate(self) -> None:
        """Find the ranges of int8 activations as an export will: over the same training images, in float32.

        They follow from the weights alone, so that a training that goes on from a checkpoint finds the same ones.
        """
        if self.quantization is not None:
            with self.quantization.calibrating():
                predict_scores(self.classifier, calibration_images(self.dataset["train"]), self.preprocessing)

    def _train(self, epoch: int, rng: np.random.Generator) -> tuple[float, float, float]:
        """Return the last learning rate, the mean loss and the accuracy over the epoch's batches."""
        split = self.dataset["train"]
        if is_closed_form(self.classifier):
            return self._fit(split)
        batches = list(_batches(rng.permutation(len(split)), self.training.batch_size))
        losses = right = rate = 0.0
        self.classifier.train()
        for number, chosen in enumerate(batches):
            rate = learning_rate_at(
                self.training.schedule,
                self.training.learning_rate,
                epochs=self.training.epochs,
                epoch=epoch - 1,
                batch=number,
                batches=len(batches),
            )
            set_learning_rate(self.optimizer, rate)
            images = split.images[chosen]
            if self.augmentation is not None:
                images = self.augmentation(images, rng)
            inputs = torch.from_numpy(self.preprocessing(images)).to(self.device)
            targets = torch.from_numpy(split.labels[chosen]).to(self.device)
            scores = self._scores(inputs)
            loss = self.loss(scores, targets)
            value = loss.item()
            if not math.isfinite(value):
                raise TrainingError(self._diverged("loss", value, epoch))
            self.optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            clip_gradients(self.classifier, self.training.clip_norm)
            self.optimizer.step()
            losses += value * len(chosen)
            right += self._share_right(scores.detach().cpu(), split.labels[chosen]) * len(chosen)
            self.listener.on_batch(number + 1, len(batches))
        return rate, losses / len(split), right / len(split)

    def _fit(self, split: Split) -> tuple[float, float, float]:
        """Fit in closed form; return no learning rate, the loss and the accuracy on the training split."""
        on_batch = self.listener.on_batch
        fit = fit_readout(self.classifier, split, self.dataset["val"], self.preprocessing, on_batch)
        self.listener.on_note(
            f"fitted in closed form: ridge of strength {fit.strength:g}, scores times {fit.scale:.3g}, both by the "
            "validation split; optimizer, learning rate, epochs and loss have no part in it."
        )
        loss = self.loss(fit.train_scores.to(self.device), torch.from_numpy(split.labels).to(self.device)).item()
        return 0.0, loss, self._share_right(fit.train_scores, split.labels)

    def _scores(self, inputs: Tensor) -> Tensor:
        """Return the scores (n, outputs) of a batch while training."""
        try:
            scores: Tensor = self.classifier(inputs)
        except ValueError as error:
            if "more than 1 value per channel" not in str(error):
                raise
            raise ConfigError(
                f"training.batch_size: got batches of {len(inputs)} image; expected 2 or more, as batch norm here has "
                "one number an image to take the mean of."
            ) from error
        return scores

    def _validate(self, epoch: int) -> dict[str, float]:
        """Return loss, AUC, accuracy, F1 and Dice on the validation split, by the names of `EpochRecord`."""
        split: Split = self.dataset["val"]
        facts: dict[str, Any] = {"task": self.dataset.task, "positive_class": self.dataset.positive_class}
        scores = predict_scores(self.classifier, split.images, self.preprocessing)
        loss = self.loss(scores.to(self.device), torch.from_numpy(split.labels).to(self.device)).item()
        if not math.isfinite(loss):
            raise TrainingError(self._diverged("validation loss", loss, epoch))
        probabilities = self._class_probabilities(scores)
        truth = _one_hot(split.labels, probabilities.shape[1])
        once = np.ones((len(split), 1), np.float32)
        aucs = [weighted_auc(probabilities[:, k], truth[:, k], once)[0] for k in range(truth.shape[1])]
        return {
            "val_loss": loss,
            "val_auc": float(np.mean(aucs)),
            "val_accuracy": self._share_right(scores, split.labels),
            "val_f1": mean_overlap(decide(probabilities, **facts), truth, **facts),
            "val_dice": mean_overlap(probabilities, truth, **facts),
        }

    def _share_right(self, scores: Tensor, labels: NDArray[np.int64]) -> float:
        """Return the accuracy of scores (n, outputs), as MedMNIST defines it for the task."""
        probabilities = self._class_probabilities(scores)
        decided = decide(probabilities, task=self.dataset.task, positive_class=None)
        right = decided == _one_hot(labels, probabilities.shape[1])
        return float(right.mean() if self.dataset.task == "multi-label" else right.all(axis=1).mean())

    def _class_probabilities(self, scores: Tensor) -> NDArray[np.floating[Any]]:
        """Return (n, classes) from scores (n, outputs)."""
        softmax = self.classifier.output_kind == "softmax"
        probabilities = (scores.softmax(1) if softmax else scores.sigmoid()).double().numpy()
        return class_probabilities(probabilities, self.classifier.output_kind, len(self.dataset.class_names))

    def _diverged(self, what: str, value: float, epoch: int) -> str:
        """Return what to say, and try, where a loss is no number any more."""
        rate = self.training.learning_rate
        tries = [f"a smaller training.learning_rate (now {rate:g}, try {rate / 10:g})"]
        if not self.training.clip_norm:
            tries.append("training.clip_norm=1")
        return f"the {what} became {value} in epoch {epoch}. Try {' or '.join(tries)}."


def _batches(order: NDArray[np.int64], size: int) -> Iterator[NDArray[np.int64]]:
    """Yield the order in pieces; a last single image joins the piece before it, as batch norm cannot do with one."""
    starts = list(range(0, len(order), size))
    if len(starts) > 1 and len(order) - starts[-1] == 1:
        del starts[-1]
    for start, end in zip(starts, [*starts[1:], len(order)], strict=True):
        yield order[start:end]


def _one_hot(labels: NDArray[np.int64], classes: int) -> NDArray[np.bool_]:
    """Return labels as (n, classes) bool."""
    return np.asarray(labels != 0 if labels.ndim == 2 else labels[:, None] == np.arange(classes))
