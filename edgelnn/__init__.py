"""edgelnn: from labelled images to a liquid neural network on a small board, and what it costs there.

The names below are loaded when they are first used: importing edgelnn loads neither torch nor a runtime.

>>> import edgelnn
>>> edgelnn.__version__.count(".")
2
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edgelnn.bundle import Bundle as Bundle
    from edgelnn.bundle import Manifest as Manifest
    from edgelnn.bundle import Variant as Variant
    from edgelnn.data import Dataset as Dataset
    from edgelnn.data import list_datasets as list_datasets
    from edgelnn.data import load_dataset as load_dataset
    from edgelnn.errors import EdgelnnError as EdgelnnError
    from edgelnn.inputs import load_images as load_images
    from edgelnn.models import build_classifier as build_classifier
    from edgelnn.models import count_parameters as count_parameters
    from edgelnn.preprocessing import Preprocessing as Preprocessing
    from edgelnn.run import Run as Run
    from edgelnn.training import Experiment as Experiment
    from edgelnn.training import Metrics as Metrics
    from edgelnn.training import TrainingListener as TrainingListener
    from edgelnn.training import evaluate_predictions as evaluate_predictions
    from edgelnn.training import list_experiments as list_experiments
    from edgelnn.training import load_experiment as load_experiment
    from edgelnn.training import train as train
    from edgelnn_export import build_bundle as build_bundle
    from edgelnn_profiling import Plan as Plan
    from edgelnn_profiling import Report as Report
    from edgelnn_profiling import profile as profile

__version__ = "0.1.0"

_HOMES = {
    "Bundle": "edgelnn.bundle",
    "Dataset": "edgelnn.data",
    "EdgelnnError": "edgelnn.errors",
    "Experiment": "edgelnn.training",
    "Manifest": "edgelnn.bundle",
    "Metrics": "edgelnn.training",
    "Plan": "edgelnn_profiling",
    "Preprocessing": "edgelnn.preprocessing",
    "Report": "edgelnn_profiling",
    "Run": "edgelnn.run",
    "TrainingListener": "edgelnn.training",
    "Variant": "edgelnn.bundle",
    "build_bundle": "edgelnn_export",
    "build_classifier": "edgelnn.models",
    "count_parameters": "edgelnn.models",
    "evaluate_predictions": "edgelnn.training",
    "list_datasets": "edgelnn.data",
    "list_experiments": "edgelnn.training",
    "load_dataset": "edgelnn.data",
    "load_experiment": "edgelnn.training",
    "load_images": "edgelnn.inputs",
    "profile": "edgelnn_profiling",
    "train": "edgelnn.training",
}

__all__ = [
    "Bundle",
    "Dataset",
    "EdgelnnError",
    "Experiment",
    "Manifest",
    "Metrics",
    "Plan",
    "Preprocessing",
    "Report",
    "Run",
    "TrainingListener",
    "Variant",
    "__version__",
    "build_bundle",
    "build_classifier",
    "count_parameters",
    "evaluate_predictions",
    "list_datasets",
    "list_experiments",
    "load_dataset",
    "load_experiment",
    "load_images",
    "profile",
    "train",
]


def __getattr__(name: str) -> Any:
    """Return a public name, importing the module it lives in on first use."""
    if name not in _HOMES:
        raise AttributeError(f"module 'edgelnn' has no attribute {name!r}")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """Return the public names, loaded or not."""
    return sorted(__all__)
