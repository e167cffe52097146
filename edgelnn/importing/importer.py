"""A run made of weights that were trained elsewhere, which exports, evaluates and profiles like any other."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.torch import save
from torch import Tensor

from edgelnn.atomic import new_folder_atomically, write_bytes_atomically, write_text_atomically
from edgelnn.data.dataset import Dataset, SplitName
from edgelnn.data.facts import known_facts
from edgelnn.decode import encode
from edgelnn.errors import DataError
from edgelnn.importing.key_map import KeyMap
from edgelnn.importing.matching import Match, match_tensors
from edgelnn.importing.weight_file import WeightFile, read_weight_file
from edgelnn.models import Classifier, build_classifier, count_parameters, describe
from edgelnn.run import (
    ENVIRONMENT,
    EXPERIMENT,
    FIGURES,
    FORMAT_VERSION,
    HISTORY,
    METRICS,
    WEIGHTS,
    Run,
)
from edgelnn.training.environment import describe_dataset, describe_machine, installed_versions
from edgelnn.training.experiment import Experiment
from edgelnn.training.folders import RUN_MARKERS, format_json, keep_others_out
from edgelnn.training.history import format_history
from edgelnn.training.judging import Answers, ask, judge, threshold_from
from edgelnn.training.loading import format_experiment
from edgelnn.training.metrics import Metrics
from edgelnn.training.normalization import build_preprocessing
from edgelnn.training.thresholds import check_threshold

__all__ = ["import_weights"]


def import_weights(
    weights: Path | str,
    experiment: Experiment,
    *,
    folder: Path | str,
    key_map: KeyMap | None = None,
    dataset: Dataset | None = None,
    force: bool = False,
    figures: bool = True,
) -> Run:
    """Make a run of a state dict and return it.

    ``environment.json`` then holds under ``imported`` which file it came from, its sha256, and what was renamed.

    Args:
        weights: A file of ``torch.save(model.state_dict(), …)`` or safetensors.
        experiment: The model they are for, and the data they were trained on.
        folder: Where the run goes.
        key_map: What our tensors are called in the file; None: as here, or as in the published code that the experiment
            reproduces.
        dataset: To judge them on; None where it is not at hand: the run then has no metrics.
        force: Replace a run in `folder`.
        figures: Draw those that need no training history, where there is a dataset.

    Raises:
        ConfigError: The weights are of another model, or of another wiring.
        DataError: What images the model takes is not known, since the data have no name and are not there.
        ModelFileError: The file is damaged, or holds more than tensors, or numbers that are not finite.
        WriteError: The folder exists, cannot be written, or a training is under way in it.
    """
    file = read_weight_file(weights)
    described = _describe_data(experiment) if dataset is None else describe_dataset(dataset)
    facts: dict[str, Any] = {
        "image_shape": tuple(described["image_shape"]),
        "task": described["task"],
        "classes": len(described["class_names"]),
    }
    classifier = build_classifier(experiment.model, **facts).eval()
    own = classifier.state_dict()
    match = match_tensors(file, own, key_map or _usual_map(file, own, experiment), model=experiment.name)
    classifier.load_state_dict(dict(match.state))
    text = format_experiment(experiment)
    preprocessing = None if dataset is None else build_preprocessing(experiment.data, dataset)
    now = datetime.now(UTC).isoformat(timespec="seconds")
    environment = {
        "format_version": FORMAT_VERSION,
        "started": now,
        "finished": now,
        "imported": _origin(file, match),
        "device": "cpu",
        "threads": None,
        "seeds": {"weights": None, "epochs": None, "split": experiment.data.split_seed, "bootstrap": 0},
        "data": described,
        "preprocessing": None if preprocessing is None else encode(preprocessing),
        "augmentation": None,
        "model": {
            "architecture": describe(experiment.model, **facts),
            "parameters": asdict(count_parameters(classifier)),
        },
        "start": None,
        "versions": installed_versions(),
        "machine": describe_machine(),
        "experiment_sha256": hashlib.sha256(text.encode()).hexdigest(),
    }
    answers = {} if dataset is None or preprocessing is None else ask(classifier, dataset, preprocessing)
    judged = {} if dataset is None else _judge(answers, experiment, dataset)
    metrics: dict[str, Any] = {
        "format_version": FORMAT_VERSION,
        "best_epoch": 0,
        "epochs": 0,
        "stopped_early": False,
        "selected_by": "imported",
        "selected_with": "float32",
    }
    with (
        keep_others_out(Path(folder)),
        new_folder_atomically(Path(folder), force, markers=RUN_MARKERS) as new,
    ):
        write_text_atomically(new / EXPERIMENT, text)
        write_bytes_atomically(new / WEIGHTS, save(dict(match.state), {"format": "pt"}))
        write_text_atomically(new / HISTORY, format_history(()))
        write_text_atomically(new / ENVIRONMENT, format_json(environment))
        write_text_atomically(
            new / METRICS, format_json(metrics | {split: found.to_dict() for split, found in judged.items()})
        )
        if figures and dataset is not None:
            _draw(experiment, dataset, classifier, answers["test"], judged["test"], new / FIGURES)
    return Run.load(folder)


def _describe_data(experiment: Experiment) -> dict[str, Any]:
    """Return what the name of the data tells, in the form of `describe_dataset`."""
    from edgelnn.data.checks import positive_index

    data = experiment.data
    known = known_facts(data.name, data.size)
    if known is None or known.info is None:
        raise DataError(
            f"got data {data.name!r}, which are not at hand and have no name that tells their classes and shape. Say "
            "where they are: --set data.name=PATH, or --data-root."
        )
    info = known.info
    return {
        "name": info.name,
        "task": info.task,
        "class_names": list(info.class_names),
        "positive_class": positive_index(data.positive_class, info.class_names, info.task, info.positive_class),
        "image_shape": list(known.image_shape),
        "images": {},
        "licence": info.licence,
        "source": "not at hand when the weights were imported",
        "digest": None,
        "synthetic": info.synthetic,
    }


def _usual_map(file: WeightFile, own: Mapping[str, Tensor], experiment: Experiment) -> KeyMap:
    """Return the map to a file whose names were not told: ours where all are there, else those of published code."""
    if experiment.reference is None or own.keys() <= file.tensors.keys():
        return KeyMap()
    return KeyMap(experiment.reference.names)


def _origin(file: WeightFile, match: Match) -> dict[str, Any]:
    """Return where the weights come from and what was done to them."""
    return {
        "file": file.path.name,
        "sha256": file.sha256,
        "size_bytes": file.size_bytes,
        "format": file.format,
        "entry": file.inside,
        "names": dict(match.names),
        "unused": list(match.unused),
        "notes": list(match.notes),
    }


def _judge(answers: Answers, experiment: Experiment, dataset: Dataset) -> dict[SplitName, Metrics]:
    """Return the figures of merit of answers, at the threshold that the experiment asks for."""
    check_threshold(experiment.training, task=dataset.task, positive_class=dataset.positive_class)
    return judge(answers, dataset, threshold_from(answers, dataset, experiment.training))


def _draw(
    experiment: Experiment,
    dataset: Dataset,
    classifier: Classifier,
    probabilities: NDArray[np.floating[Any]],
    metrics: Metrics,
    folder: Path,
) -> None:
    """Draw the figures of the run; without epochs there are no curves."""
    from edgelnn.training.figures import Results, draw_figures

    results = Results(
        name=experiment.name,
        dataset=dataset,
        history=(),
        best_epoch=0,
        probabilities=probabilities,
        metrics=metrics,
        classifier=classifier,
    )
    draw_figures(results, folder)
