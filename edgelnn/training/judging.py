"""A classifier's answers to the judged splits, and their figures of merit at the threshold its experiment asks for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgelnn.data.dataset import Dataset, SplitName
from edgelnn.decisions import SAME, class_probabilities, says_the_same
from edgelnn.errors import DataError, TrainingError
from edgelnn.models import Classifier
from edgelnn.preprocessing import Preprocessing
from edgelnn.run import JUDGED
from edgelnn.training.experiment import TrainingSpec
from edgelnn.training.metrics import Metrics, evaluate_predictions
from edgelnn.training.prediction import predict_probabilities
from edgelnn.training.thresholds import choose_threshold

__all__ = ["Answers", "ask", "judge", "tells_nothing_apart", "threshold_from"]

Answers = Mapping[SplitName, NDArray[np.floating[Any]]]
"""By split, probabilities (n, classes) float64."""


def ask(classifier: Classifier, dataset: Dataset, preprocessing: Preprocessing) -> Answers:
    """Return a classifier's answers to the splits that are judged: ``val`` and ``test``."""
    kind, classes = classifier.output_kind, len(dataset.class_names)
    answers: dict[SplitName, NDArray[np.floating[Any]]] = {}
    for split in JUDGED:
        outputs = predict_probabilities(classifier, dataset[split].images, preprocessing)
        answers[split] = class_probabilities(outputs.astype(np.float64), kind, classes)
    return answers


def threshold_from(answers: Answers, dataset: Dataset, training: TrainingSpec) -> float:
    """Return the decision threshold that an experiment asks for, by the answers to the validation split."""
    return choose_threshold(
        training, answers["val"], dataset["val"].labels, task=dataset.task, positive_class=dataset.positive_class
    )


def tells_nothing_apart(validation: NDArray[np.floating[Any]]) -> str:
    """Return a line on a classifier that answers (n, outputs) the same for the validation split; empty for others."""
    if not says_the_same(validation):
        return ""
    return (
        "the model answers the same for every image of the validation split: no probability differs by more than "
        f"{SAME:.0e} from one to another, so that rounding decides its AUC. Train it for longer, or otherwise."
    )


def judge(answers: Answers, dataset: Dataset, threshold: float) -> dict[SplitName, Metrics]:
    """Return the figures of merit of answers.

    Args:
        answers: From `ask`.
        dataset: What they answer.
        threshold: Of decisions.

    Raises:
        TrainingError: The figures of merit are not defined.
    """
    metrics: dict[SplitName, Metrics] = {}
    for split, probabilities in answers.items():
        try:
            metrics[split] = evaluate_predictions(
                probabilities,
                dataset[split].labels,
                task=dataset.task,
                class_names=dataset.class_names,
                positive_class=dataset.positive_class,
                threshold=threshold,
            )
        except DataError as error:
            raise TrainingError(f"the {split} split cannot be judged: {error}") from error
    return metrics
