"""The decision threshold between two classes, chosen on the validation split."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from edgelnn.data.dataset import Task
from edgelnn.errors import ConfigError
from edgelnn.training.experiment import LeastShare, TrainingSpec
from edgelnn.training.mistakes import show_value

__all__ = ["check_threshold", "choose_threshold", "threshold_rule"]


def choose_threshold(
    training: TrainingSpec,
    probabilities: NDArray[np.floating[Any]],
    labels: NDArray[np.int64],
    *,
    task: Task,
    positive_class: int | None,
) -> float:
    """Return the threshold that an experiment asks for, from what was predicted for the validation split.

    What is tried lies halfway between neighbouring probabilities, so that a file which answers a little differently
    decides alike; of thresholds that do equally well the one nearest to 0.5 is taken. ``youden`` is the greatest
    sensitivity + specificity - 1 (W. J. Youden (1950), "Index for rating diagnostic tests", Cancer 3:32-35,
    doi:10.1002/1097-0142(1950)3:1<32::AID-CNCR2820030106>3.0.CO;2-3).

    Args:
        training: Whose `threshold` says what is wanted; see `check_threshold`.
        probabilities: (n, classes) float, one column a class.
        labels: (n,) class indices, some of each class.
        task: MedMNIST's name of the task.
        positive_class: Index of the class that the threshold is for; class 1 where None.

    >>> probabilities = np.array([[0.9, 0.1], [0.8, 0.2], [0.7, 0.3], [0.6, 0.4]])
    >>> labels = np.array([0, 0, 1, 1])
    >>> facts = {"task": "binary-class", "positive_class": 1}
    >>> choose_threshold(TrainingSpec(threshold="youden"), probabilities, labels, **facts)
    0.25
    """
    wanted = training.threshold
    if isinstance(wanted, float):
        return wanted
    positive = 1 if positive_class is None else positive_class
    # As `decide` does: by the last column, which may not tell apart what the first does next to 0, and class 1 above.
    last = probabilities[:, -1].astype(np.float64)
    scores, truth = (last, labels == 1) if positive else (1.0 - last, labels == 0)
    side: Literal["left", "right"] = "right" if positive else "left"
    levels = np.unique(scores)
    cuts = np.concatenate([[levels[0] / 2], (levels[1:] + levels[:-1]) / 2, [(levels[-1] + 1) / 2]])
    cuts = cuts[~np.isin(cuts, levels) | (cuts == 0) | (cuts == 1)]
    hits = truth.sum() - np.searchsorted(np.sort(scores[truth]), cuts, side=side)
    alarms = (~truth).sum() - np.searchsorted(np.sort(scores[~truth]), cuts, side=side)
    sensitivity, specificity = hits / truth.sum(), 1 - alarms / (~truth).sum()
    keys: tuple[NDArray[Any], ...] = ()
    match wanted:
        case "youden":
            keys = (sensitivity + specificity,)
        case "f1":
            keys = (2 * hits / (truth.sum() + hits + alarms),)
        case LeastShare(sensitivity=float(least)):
            keys = (sensitivity >= least, specificity, sensitivity)
        case LeastShare(specificity=float(least)):
            keys = (specificity >= least, sensitivity, specificity)
    # Rounded, so that sums of shares which are equal on paper are equal here.
    order = np.lexsort([-cuts, -np.abs(cuts - 0.5), *(np.round(key.astype(float), 12) for key in reversed(keys))])
    return float(cuts[order[-1]])


def check_threshold(training: TrainingSpec, *, task: Task, positive_class: int | None) -> None:
    """Raise `ConfigError` where the threshold that an experiment asks for makes no sense for its task."""
    wanted = training.threshold
    if task == "binary-class":
        needs_one = wanted == "f1" or isinstance(wanted, LeastShare)
        if needs_one and positive_class is None:
            raise ConfigError(
                f"training.threshold: got {threshold_rule(training)} for data without a positive class, which it "
                'speaks of. Name it with data.positive_class, or ask for "youden" or a number.'
            )
    elif task == "multi-label":
        if not isinstance(wanted, float):
            raise ConfigError(
                f"training.threshold: got {threshold_rule(training)} for a multi-label task; expected a number, which "
                "is then the threshold of every label."
            )
    elif wanted != 0.5:
        raise ConfigError(
            f"training.threshold: got {threshold_rule(training)} for a {task} task, where the largest probability "
            "decides. Leave it out."
        )


def threshold_rule(training: TrainingSpec) -> str:
    """Return in words how the threshold is found, as it is written in an experiment.

    >>> threshold_rule(TrainingSpec(threshold=LeastShare(sensitivity=0.9)))
    '{"sensitivity": 0.9}'
    """
    wanted = training.threshold
    return show_value(wanted.model_dump(exclude_none=True) if isinstance(wanted, LeastShare) else wanted)
