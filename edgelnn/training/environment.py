"""What a run was computed on and with: ``environment.json``."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from edgelnn.data.dataset import Dataset
from edgelnn.decode import encode
from edgelnn.preprocessing import Preprocessing
from edgelnn.training.experiment import Experiment

__all__ = ["FORMAT_VERSION", "describe_dataset", "describe_environment", "describe_machine", "installed_versions"]

FORMAT_VERSION = 1
PACKAGES = (
    "edgelnn",
    "kornia",
    "medmnist",
    "ncps",
    "numpy",
    "pydantic",
    "safetensors",
    "scikit-learn",
    "torch",
)


def describe_environment(
    experiment: Experiment,
    dataset: Dataset,
    *,
    device: str,
    threads: int,
    model: Mapping[str, Any],
    augmentation: Mapping[str, Any] | None,
    preprocessing: Preprocessing | None = None,
    start: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Return what is needed to repeat a run and is not in its experiment, as plain values for JSON.

    Args:
        experiment: What is trained.
        dataset: On what.
        device: The device's name.
        threads: Threads it computes with.
        model: What the model came out as: its architecture in words and its parameter counts.
        augmentation: Parameters of the augmentation; None without one.
        preprocessing: From pixels to inputs.
        start: The run whose weights it begins with; None where they come from the seed.
    """
    return {
        "format_version": FORMAT_VERSION,
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "device": device,
        "threads": threads,
        "seeds": {
            "weights": experiment.training.seed,
            "epochs": experiment.training.seed,
            "split": experiment.data.split_seed,
            "bootstrap": 0,
        },
        "data": describe_dataset(dataset),
        "preprocessing": None if preprocessing is None else encode(preprocessing),
        "augmentation": None if augmentation is None else dict(augmentation),
        "model": dict(model),
        "start": None if start is None else dict(start),
        "versions": installed_versions(),
        "machine": describe_machine(),
    }


def describe_dataset(dataset: Dataset) -> dict[str, Any]:
    """Return what identifies a dataset and names its parts, as plain values."""
    return {
        "name": dataset.name,
        "task": dataset.task,
        "class_names": list(dataset.class_names),
        "positive_class": dataset.positive_class,
        "image_shape": list(dataset.image_shape),
        "images": {name: len(split) for name, split in dataset.splits.items()},
        "licence": dataset.licence,
        "source": dataset.source,
        "digest": dataset.digest,
        "synthetic": dataset.synthetic,
    }


def installed_versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that decide what a training computes."""
    versions = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return versions


def describe_machine() -> dict[str, Any]:
    """Return the machine in a few words: nothing that names its owner."""
    return {
        "system": platform.system(),
        "release": platform.release(),
        "architecture": platform.machine(),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "bits": 64 if sys.maxsize > 2**32 else 32,
    }


def _processor() -> str:
    """Return the processor's name as Linux gives it, else as Python does."""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text("utf-8", "replace").splitlines():
            name, _, value = line.partition(":")
            if name.strip() in ("model name", "Model", "Hardware"):
                return value.strip()
    return platform.processor() or "unknown"
