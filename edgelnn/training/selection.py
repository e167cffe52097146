"""Which epoch's weights are kept, and when training stops early."""

from __future__ import annotations

from collections.abc import Mapping

from edgelnn.training.checkpoint import Progress
from edgelnn.training.experiment import FigureWeights, TrainingSpec
from edgelnn.training.history import EpochRecord
from edgelnn.training.listener import EpochReport

__all__ = ["advance", "score_of"]


def advance(progress: Progress, record: EpochRecord, training: TrainingSpec) -> Progress:
    """Return the progress after one more epoch: whether it is the one to keep, and whether to stop.

    Of epochs that are equally good by `select`, the one with the lowest validation loss is kept.

    >>> record = EpochRecord(1, 0.1, 0.7, 0.5, 0.6, 0.8, 0.75, 1.5)
    >>> advance(Progress(), record, TrainingSpec(select="auc")).best_score
    (0.8, -0.6)
    """
    score = (score_of(record, training.select), -record.val_loss)
    better = score > progress.best_score
    monitored, best = score_of(record, training.monitor), progress.best_monitored
    if training.stop_when == "no_improvement":
        improved = monitored > best + training.min_change
        best = monitored if improved else best
        stale = 0 if improved else progress.stale_epochs + 1
    else:
        best = max(best, monitored)
        stale = progress.stale_epochs + 1 if monitored < best - training.min_change else 0
    return Progress(
        history=(*progress.history, record),
        best_epoch=record.epoch if better else progress.best_epoch,
        best_score=score if better else progress.best_score,
        best_monitored=best,
        stale_epochs=stale,
        stopped_early=bool(training.patience) and stale >= training.patience,
    )


def score_of(record: EpochRecord | EpochReport, wanted: str | FigureWeights) -> float:
    """Return how good an epoch is, larger being better.

    Args:
        record: The epoch.
        wanted: The name of a figure, or weights of several.

    >>> record = EpochRecord(1, 0.1, 0.7, 0.5, 0.6, 0.8, 0.75, 1.5, val_f1=0.5, val_dice=0.4)
    >>> round(score_of(record, FigureWeights(accuracy=0.2, f1=0.3, dice=0.5)), 6)
    0.5
    """
    figures: Mapping[str, float] = {
        "auc": record.val_auc,
        "accuracy": record.val_accuracy,
        "f1": record.val_f1,
        "dice": record.val_dice,
        "loss": -record.val_loss,
        "last": record.epoch,
    }
    if isinstance(wanted, str):
        return float(figures[wanted])
    weights: Mapping[str, float] = wanted.model_dump()
    return sum(weight * figures[name] for name, weight in weights.items() if weight)
