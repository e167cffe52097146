"""The last steps of a training: judge the weights to keep, write everything, and only then call it finished."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.torch import save
from torch import Tensor

from edgelnn.atomic import write_bytes_atomically, write_text_atomically
from edgelnn.data.dataset import Dataset, SplitName
from edgelnn.decisions import class_probabilities
from edgelnn.errors import DataError, TrainingError
from edgelnn.models import Classifier
from edgelnn.preprocessing import Preprocessing
from edgelnn.run import (
    ENVIRONMENT,
    FIGURES,
    FORMAT_VERSION,
    HISTORY,
    JUDGED,
    METRICS,
    WEIGHTS,
    Run,
    read_environment,
)
from edgelnn.training.checkpoint import CHECKPOINT, Progress
from edgelnn.training.epochs import Epochs
from edgelnn.training.experiment import Experiment
from edgelnn.training.folders import Workplace, format_json, put_in_place
from edgelnn.training.history import format_history
from edgelnn.training.metrics import Metrics, evaluate_predictions
from edgelnn.training.prediction import predict_probabilities
from edgelnn.training.quantization_aware import RECIPE

__all__ = ["finish_run", "judge"]


def finish_run(
    epochs: Epochs,
    workplace: Workplace,
    experiment: Experiment,
    progress: Progress,
    best: Mapping[str, Tensor],
    *,
    figures: bool,
) -> Run:
    """Write the run with the weights to keep and return it; until the last step it counts as unfinished.

    What is judged is the plain classifier, which is what the run holds. Where its epochs were trained and chosen under
    fake quantization, ``metrics.json`` says so, and has the figures under it beside the plain ones.

    Args:
        epochs: Whose classifier takes the weights.
        workplace: Where to write.
        experiment: What was trained.
        progress: Where training ended.
        best: State to keep.
        figures: Draw them.
    """
    folder, dataset = workplace.path, epochs.dataset
    epochs.classifier.load_state_dict(dict(best))
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in best.items()}
    write_bytes_atomically(folder / WEIGHTS, save(tensors, {"format": "pt"}))
    write_text_atomically(folder / HISTORY, format_history(progress.history))
    quantized: dict[SplitName, Metrics] = {}
    if epochs.quantization is not None:
        epochs.calibrate()
        quantized = {split: judge(epochs.classifier, dataset, split, epochs.preprocessing)[1] for split in JUDGED}
        epochs.quantization.remove()
    probabilities: dict[SplitName, NDArray[np.floating[Any]]] = {}
    metrics: dict[SplitName, Metrics] = {}
    for split in JUDGED:
        probabilities[split], metrics[split] = judge(epochs.classifier, dataset, split, epochs.preprocessing)
    environment = read_environment(folder)
    environment["finished"] = datetime.now(UTC).isoformat(timespec="seconds")
    environment["training_s"] = round(sum(record.duration_s for record in progress.history), 3)
    write_text_atomically(folder / ENVIRONMENT, format_json(environment))
    run = Run(folder, experiment, metrics, progress.best_epoch, environment)
    facts: dict[str, Any] = {
        "format_version": FORMAT_VERSION,
        "best_epoch": progress.best_epoch,
        "epochs": len(progress.history),
        "stopped_early": progress.stopped_early,
        "selected_by": experiment.training.select,
        "selected_with": f"fake quantization ({RECIPE})" if quantized else "float32",
    }
    facts |= {split: figure.to_dict() for split, figure in metrics.items()}
    if quantized:
        facts["fake_quantized"] = {split: figure.to_dict() for split, figure in quantized.items()}
    if figures:
        from edgelnn.training.figures import Results, draw_figures

        results = Results(
            name=experiment.name,
            dataset=dataset,
            history=progress.history,
            best_epoch=progress.best_epoch,
            probabilities=probabilities["test"],
            metrics=metrics["test"],
            classifier=epochs.classifier,
        )
        draw_figures(results, folder / FIGURES)
    write_text_atomically(folder / METRICS, format_json(facts))
    (folder / CHECKPOINT).unlink(missing_ok=True)
    put_in_place(workplace)
    return replace(run, folder=workplace.folder)


def judge(
    classifier: Classifier, dataset: Dataset, split: SplitName, preprocessing: Preprocessing
) -> tuple[NDArray[np.floating[Any]], Metrics]:
    """Return the probabilities (n, classes) for a split and their figures of merit.

    Args:
        classifier: To judge.
        dataset: Of which the split is one.
        split: Its name.
        preprocessing: From pixels to inputs.

    Raises:
        TrainingError: The figures of merit are not defined.
    """
    outputs = predict_probabilities(classifier, dataset[split].images, preprocessing)
    kind, classes = classifier.output_kind, len(dataset.class_names)
    probabilities = class_probabilities(outputs.astype(np.float64), kind, classes)
    try:
        metrics = evaluate_predictions(
            probabilities,
            dataset[split].labels,
            task=dataset.task,
            class_names=dataset.class_names,
            positive_class=dataset.positive_class,
        )
    except DataError as error:
        raise TrainingError(f"the {split} split cannot be judged: {error}") from error
    return probabilities, metrics
