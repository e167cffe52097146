"""How good predictions are: MedMNIST's AUC and ACC; F1, sensitivity, specificity that name their class; intervals."""

from __future__ import annotations

import contextlib
import io
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgelnn.data.dataset import Task
from edgelnn.decisions import decide
from edgelnn.errors import DataError
from edgelnn.training.overlap import mean_overlap, overlap

__all__ = ["ClassMetrics", "Interval", "Metrics", "check_labels", "evaluate_predictions"]

Interval = tuple[float, float]
MEDMNIST_TASKS: Mapping[Task, str] = {"multi-label": "multi-label, binary-class"}


@dataclass(frozen=True)
class ClassMetrics:
    """One class against all others.

    Attributes:
        name: The class.
        images: How many images of the split are of it.
        auc: Area under the ROC curve of its probability.
        f1, sensitivity, specificity: Of the decisions, with this class as the positive one.
        confusion: True positives, false negatives, false positives, true negatives.
        intervals: 95 % bootstrap intervals of ``auc``, ``f1``, ``sensitivity``, ``specificity`` and ``dice``; empty
            where none were asked for.
        dice: Soft Dice coefficient of its probability, see `edgelnn.training.overlap`; None in runs of before it was
            recorded.
    """

    name: str
    images: int
    auc: float
    f1: float
    sensitivity: float
    specificity: float
    confusion: tuple[int, int, int, int]
    intervals: Mapping[str, Interval] = field(default_factory=dict)
    dice: float | None = None


@dataclass(frozen=True)
class Metrics:
    """Figures of merit of predictions on one split.

    Attributes:
        task: MedMNIST's name of the task.
        images: Number of images.
        auc: `medmnist.evaluator.getAUC`. In binary tasks that of class 1, which equals that of class 0.
        accuracy: `medmnist.evaluator.getACC`, which decides at 0.5 whatever `threshold` is.
        positive_class: The class that `f1`, `sensitivity` and `specificity` speak of; None where there is none: see
            `classes`.
        f1, sensitivity, specificity: Of the decisions for the positive class; None where there is none.
        threshold: On the probability of the positive class (binary) or of each label; None where the largest
            probability decides.
        confusion: Counts of the decisions, rows true and columns predicted, in the order of `class_names`; None where
            the task is multi-label.
        classes: Every class (or label) against all others.
        intervals: 95 % bootstrap intervals of ``auc``, ``accuracy`` and, with a positive class, the other four.
        bootstrap: Number of resamples behind the intervals; stratified by class, save in multi-label tasks.
        seed: Of the resampling.
        dice: Soft Dice coefficient of the positive class, of class 1 of two where there is none, else the mean over
            classes; None in runs of before it was recorded.
    """

    task: Task
    images: int
    auc: float
    accuracy: float
    positive_class: str | None
    f1: float | None
    sensitivity: float | None
    specificity: float | None
    threshold: float | None
    confusion: tuple[tuple[int, ...], ...] | None
    classes: tuple[ClassMetrics, ...]
    intervals: Mapping[str, Interval]
    bootstrap: int
    seed: int
    dice: float | None = None

    @property
    def decided_accuracy(self) -> float:
        """Share of the decisions that are right: `accuracy`, save where `threshold` is not 0.5."""
        right = sum(one.confusion[0] + one.confusion[3] for one in self.classes) / len(self.classes)
        if self.confusion is not None:
            right = sum(row[index] for index, row in enumerate(self.confusion))
        return right / self.images

    @property
    def class_names(self) -> tuple[str, ...]:
        """One name per class."""
        return tuple(one.name for one in self.classes)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON; `Metrics.from_dict` reads them back."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Metrics:
        """Return the metrics that `to_dict` wrote."""
        confusion = values["confusion"]
        classes = tuple(
            ClassMetrics(**{**one, "confusion": tuple(one["confusion"]), "intervals": _intervals(one["intervals"])})
            for one in values["classes"]
        )
        rows = None if confusion is None else tuple(tuple(row) for row in confusion)
        return cls(
            **{**values, "confusion": rows, "classes": classes, "intervals": _intervals(values["intervals"])},
        )


def evaluate_predictions(
    class_probabilities: NDArray[np.floating[Any]],
    labels: NDArray[np.integer[Any]],
    *,
    task: Task,
    class_names: Sequence[str],
    positive_class: int | None,
    threshold: float = 0.5,
    bootstrap: int = 1000,
    seed: int = 0,
) -> Metrics:
    """Return the figures of merit of predictions.

    Args:
        class_probabilities: (n, classes) float: one column per class or label, also where the task is binary.
        labels: (n,) int class indices, or (n, classes) of 0 and 1 where the task is multi-label.
        task: MedMNIST's name of the task.
        class_names: One name per class.
        positive_class: Index of the class that sensitivity, specificity and F1 speak of, or None.
        threshold: On the probability of the positive class (class 1 where there is none) in binary tasks, on each
            label in multi-label ones; without effect in others, and on MedMNIST's AUC and accuracy.
        bootstrap: Number of resamples behind the 95 % intervals; 0 for none.
        seed: Of the resampling.

    Raises:
        DataError: Shapes do not fit, probabilities are not numbers, or a class does not occur.

    >>> metrics = evaluate_predictions(
    ...     np.array([[0.9, 0.1], [0.4, 0.6], [0.3, 0.7], [0.2, 0.8]]), np.array([0, 0, 1, 1]),
    ...     task="binary-class", class_names=["malignant", "benign"], positive_class=0, bootstrap=0)
    >>> metrics.auc, metrics.accuracy, metrics.sensitivity, metrics.specificity, metrics.confusion
    (1.0, 0.75, 0.5, 1.0, ((1, 1), (0, 2)))
    """
    probabilities = _checked(class_probabilities, labels, task, class_names, positive_class, threshold)
    truth = _truth(labels, task, len(class_names))
    decided = decide(probabilities, task=task, positive_class=positive_class, threshold=threshold)
    auc, accuracy = _medmnist(probabilities, labels, task)
    per_class: Mapping[int, Mapping[str, Interval]] = {}
    intervals: dict[str, Interval] = {}
    if bootstrap:
        from edgelnn.training.bootstrap import bootstrap_intervals

        intervals, per_class = bootstrap_intervals(
            probabilities,
            truth,
            decided,
            decided_at_half=decide(probabilities, task=task, positive_class=None),
            stratified=task != "multi-label",
            resamples=bootstrap,
            seed=seed,
        )
    classes = tuple(
        _class_metrics(name, truth[:, index], decided[:, index], probabilities[:, index], per_class.get(index, {}))
        for index, name in enumerate(class_names)
    )
    positive = None if positive_class is None else classes[positive_class]
    if positive is not None:
        intervals |= {name: positive.intervals[name] for name in positive.intervals if name != "auc"}
    return Metrics(
        task=task,
        images=len(labels),
        auc=auc,
        accuracy=accuracy,
        positive_class=None if positive is None else positive.name,
        f1=None if positive is None else positive.f1,
        sensitivity=None if positive is None else positive.sensitivity,
        specificity=None if positive is None else positive.specificity,
        threshold=threshold if task in ("binary-class", "multi-label") else None,
        confusion=None if task == "multi-label" else _confusion(truth, decided),
        classes=classes,
        intervals=intervals,
        bootstrap=bootstrap,
        seed=seed,
        dice=mean_overlap(probabilities, truth, task=task, positive_class=positive_class),
    )


def check_labels(
    labels: NDArray[np.integer[Any]], *, task: Task, class_names: Sequence[str], where: str = "the split"
) -> None:
    """Raise `DataError` where AUC is not defined: a class that no image, or every image, is of.

    Args:
        labels: (n,) int class indices, or (n, classes) of 0 and 1 where the task is multi-label.
        task: MedMNIST's name of the task.
        class_names: One name per class.
        where: What the labels belong to, for the message.
    """
    if len(labels) == 0:
        raise DataError(f"{where} holds no images; expected some of every class.")
    if task != "multi-label" and not 0 <= labels.min() <= labels.max() < len(class_names):
        raise DataError(
            f"{where} holds labels from {labels.min()} to {labels.max()}; expected 0 to {len(class_names) - 1}, "
            f"one for each of {', '.join(class_names)}."
        )
    counts = _truth(labels, task, len(class_names)).sum(axis=0)
    for name, count in zip(class_names, counts, strict=True):
        if count in (0, len(labels)):
            found = "no image" if count == 0 else "only images"
            raise DataError(
                f'{where} holds {found} of class "{name}" (of {len(labels)}): AUC and sensitivity are not defined '
                "there. Expected some images of every class; split the data otherwise, or add images."
            )


def _checked(
    probabilities: NDArray[np.floating[Any]],
    labels: NDArray[np.integer[Any]],
    task: Task,
    class_names: Sequence[str],
    positive_class: int | None,
    threshold: float,
) -> NDArray[np.float64]:
    """Return the probabilities in double precision, or raise `DataError`."""
    checked = np.asarray(probabilities, np.float64)
    classes = len(class_names)
    expected = (len(labels), classes) if task == "multi-label" else (len(labels),)
    if checked.shape != (len(labels), classes) or np.shape(labels) != expected:
        raise DataError(
            f"got probabilities of shape {checked.shape} for labels of shape {np.shape(labels)} and {classes} "
            "classes; expected one row an image and one column a class."
        )
    bad = ~np.isfinite(checked).all(axis=1)
    if bad.any():
        raise DataError(
            f"got probabilities that are not numbers (NaN or infinite) for {bad.sum()} of {len(labels)} images, the "
            f"first at index {int(bad.argmax())}; expected numbers from 0 to 1. "
            "The model has diverged or its file is damaged."
        )
    if task == "binary-class" and classes != 2:
        raise DataError(f"got {classes} class names for a binary task; expected 2.")
    if positive_class is not None and not 0 <= positive_class < classes:
        raise DataError(f"got positive_class={positive_class}; expected an index from 0 to {classes - 1}, or None.")
    if not 0.0 <= threshold <= 1.0:
        raise DataError(f"got threshold={threshold}; expected a number from 0 to 1.")
    check_labels(labels, task=task, class_names=class_names)
    return checked


def _truth(labels: NDArray[np.integer[Any]], task: Task, classes: int) -> NDArray[np.bool_]:
    """Return the labels as (n, classes) bool."""
    return np.asarray(labels != 0 if task == "multi-label" else labels[:, None] == np.arange(classes))


def _medmnist(probabilities: NDArray[np.float64], labels: NDArray[np.integer[Any]], task: Task) -> tuple[float, float]:
    """Return AUC and ACC by MedMNIST's own functions."""
    evaluator = _evaluator()
    name = MEDMNIST_TASKS.get(task, task)
    return (
        float(evaluator.getAUC(labels, probabilities, name)),
        float(evaluator.getACC(labels, probabilities, name)),
    )


def _evaluator() -> Any:
    """Return `medmnist.evaluator`, whose import may print to stdout and warn about a home that is not writable."""
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Failed to setup default root")
        from medmnist import evaluator  # type: ignore[import-untyped]
    return evaluator


def _class_metrics(
    name: str,
    truth: NDArray[np.bool_],
    decided: NDArray[np.bool_],
    probability: NDArray[np.float64],
    intervals: Mapping[str, Interval],
) -> ClassMetrics:
    """Return one class against all others from (n,) arrays."""
    from edgelnn.training.bootstrap import weighted_auc

    hits, misses = int((truth & decided).sum()), int((truth & ~decided).sum())
    alarms, rests = int((~truth & decided).sum()), int((~truth & ~decided).sum())
    return ClassMetrics(
        name=name,
        images=hits + misses,
        auc=float(weighted_auc(probability, truth, np.ones((len(truth), 1), np.float32))[0]),
        f1=float(overlap(decided, truth)),
        sensitivity=hits / (hits + misses),
        specificity=rests / (rests + alarms),
        confusion=(hits, misses, alarms, rests),
        intervals=intervals,
        dice=float(overlap(probability, truth)),
    )


def _confusion(truth: NDArray[np.bool_], decided: NDArray[np.bool_]) -> tuple[tuple[int, ...], ...]:
    """Return counts with rows true and columns predicted."""
    counts = truth.astype(np.int64).T @ decided.astype(np.int64)
    return tuple(tuple(int(count) for count in row) for row in counts)


def _intervals(values: Mapping[str, Sequence[float]]) -> dict[str, Interval]:
    return {name: (low, high) for name, (low, high) in values.items()}
