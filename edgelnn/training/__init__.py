"""What to train, training it, and the figures of merit. Names load when first used: importing this loads no torch."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edgelnn.training.experiment import DataSpec as DataSpec
    from edgelnn.training.experiment import Experiment as Experiment
    from edgelnn.training.experiment import Schedule as Schedule
    from edgelnn.training.experiment import TrainingSpec as TrainingSpec
    from edgelnn.training.listener import EpochReport as EpochReport
    from edgelnn.training.listener import TrainingListener as TrainingListener
    from edgelnn.training.listener import TrainingStart as TrainingStart
    from edgelnn.training.loading import ExperimentInfo as ExperimentInfo
    from edgelnn.training.loading import format_experiment as format_experiment
    from edgelnn.training.loading import list_experiments as list_experiments
    from edgelnn.training.loading import load_experiment as load_experiment
    from edgelnn.training.loading import load_experiment_dataset as load_experiment_dataset
    from edgelnn.training.metrics import ClassMetrics as ClassMetrics
    from edgelnn.training.metrics import Metrics as Metrics
    from edgelnn.training.metrics import evaluate_predictions as evaluate_predictions
    from edgelnn.training.prediction import predict_probabilities as predict_probabilities
    from edgelnn.training.starting import fine_tuning_experiment as fine_tuning_experiment
    from edgelnn.training.trainer import train as train

_HOMES = {
    "ClassMetrics": "metrics",
    "DataSpec": "experiment",
    "EpochReport": "listener",
    "Experiment": "experiment",
    "ExperimentInfo": "loading",
    "Metrics": "metrics",
    "Schedule": "experiment",
    "TrainingListener": "listener",
    "TrainingSpec": "experiment",
    "TrainingStart": "listener",
    "evaluate_predictions": "metrics",
    "fine_tuning_experiment": "starting",
    "format_experiment": "loading",
    "list_experiments": "loading",
    "load_experiment": "loading",
    "load_experiment_dataset": "loading",
    "predict_probabilities": "prediction",
    "train": "trainer",
}

__all__ = [
    "ClassMetrics",
    "DataSpec",
    "EpochReport",
    "Experiment",
    "ExperimentInfo",
    "Metrics",
    "Schedule",
    "TrainingListener",
    "TrainingSpec",
    "TrainingStart",
    "evaluate_predictions",
    "fine_tuning_experiment",
    "format_experiment",
    "list_experiments",
    "load_experiment",
    "load_experiment_dataset",
    "predict_probabilities",
    "train",
]


def __getattr__(name: str) -> Any:
    """Return a public name, importing the module it lives in on first use."""
    if name not in _HOMES:
        raise AttributeError(f"module 'edgelnn.training' has no attribute {name!r}")
    value = getattr(import_module(f"edgelnn.training.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """Return the public names, loaded or not."""
    return sorted(__all__)
