"""What a training tells whoever watches it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from edgelnn.training.experiment import Experiment

if TYPE_CHECKING:
    from edgelnn.run import Run

__all__ = ["EpochReport", "TrainingListener", "TrainingStart"]


@dataclass(frozen=True)
class TrainingStart:
    """What is known before the first epoch.

    Attributes:
        experiment: What is trained.
        folder: Where the run is kept.
        architecture: Stem, scan and head in one line.
        trainable, stored, active: Parameter counts, as in `edgelnn.models.ParameterCounts`.
        images: Number of images by split.
        epochs: Of the whole training.
        epochs_done: By an earlier process; 0 for a fresh run.
        device, threads: What it is computed on.
        synthetic: The images are synthetic.
    """

    experiment: Experiment
    folder: Path
    architecture: str
    trainable: int
    stored: int
    active: int
    images: dict[str, int]
    epochs: int
    epochs_done: int
    device: str
    threads: int
    synthetic: bool


@dataclass(frozen=True)
class EpochReport:
    """One epoch that is over.

    Attributes:
        epoch: From 1.
        epochs: Of the whole training.
        learning_rate: Of its last batch.
        train_loss, train_accuracy: Means over its batches, dropout and augmentation included.
        val_loss, val_auc, val_accuracy, val_f1, val_dice: On the validation split after it; decisions at 0.5, F1 and
            Dice of the positive class, else means over classes.
        duration_s: Time it took.
        is_best: Its weights are the ones to keep so far.
        best_epoch: The epoch whose weights are kept so far.
        elapsed_s: Time since training began, earlier processes included.
        remaining_s: Time left if all epochs are trained, judged by the last ones.
        stopped_early: No epoch follows although `epochs` is not reached.
    """

    epoch: int
    epochs: int
    learning_rate: float
    train_loss: float
    train_accuracy: float
    val_loss: float
    val_auc: float
    val_accuracy: float
    duration_s: float
    val_f1: float
    val_dice: float
    is_best: bool
    best_epoch: int
    elapsed_s: float
    remaining_s: float
    stopped_early: bool


class TrainingListener:
    """Hears how a training goes; override what you want to hear."""

    def on_download(self, done: int, total: int) -> None:
        """So many bytes of weights to begin with have arrived, of `total` (0: not known)."""

    def on_start(self, start: TrainingStart) -> None:
        """Training begins, or goes on."""

    def on_batch(self, batch: int, batches: int) -> None:
        """A batch of the epoch under way is done: the `batch`-th of `batches`."""

    def on_epoch(self, report: EpochReport) -> None:
        """An epoch is over."""

    def on_note(self, text: str) -> None:
        """Something that does not stop the training but should be known, in one line."""

    def on_end(self, run: Run) -> None:
        """The run is complete."""
