"""What a run answered to the test split, kept beside the runs so that a page can be made without data or training."""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgelnn.array_files import read_npz
from edgelnn.atomic import write_bytes_atomically
from edgelnn.data.dataset import Dataset
from edgelnn.errors import DataError, RunFolderError
from edgelnn.run import WEIGHTS, Run

__all__ = ["Predictions", "has_predictions", "read_predictions", "write_predictions"]


@dataclass(frozen=True)
class Predictions:
    """Answers to a test split.

    Attributes:
        probabilities: (n, classes) float64.
        labels: (n,) int64, or (n, classes) of 0 and 1 where the task is multi-label.
    """

    probabilities: NDArray[np.float64]
    labels: NDArray[np.int64]


def write_predictions(path: Path, run: Run, dataset: Dataset) -> None:
    """Let a run answer its test split and keep that.

    Raises:
        RunFolderError: The run's weights cannot be read.
        WriteError: The file cannot be written.
    """
    from edgelnn.training.judging import ask

    file = io.BytesIO()
    np.savez(
        file,
        probabilities=ask(run.load_classifier(), dataset, run.preprocessing)["test"],
        labels=dataset["test"].labels,
        weights=np.frombuffer(_digest(run), np.uint8),
    )
    write_bytes_atomically(path, file.getvalue())


def has_predictions(path: Path, run: Run) -> bool:
    """Return whether the file is there and of the run's weights as they are now."""
    return path.exists() and _read(path)["weights"].tobytes() == _digest(run)


def read_predictions(path: Path, run: Run) -> Predictions:
    """Return what `write_predictions` kept.

    Raises:
        RunFolderError: It is missing, damaged or of other weights.
    """
    if not has_predictions(path, run):
        raise RunFolderError(f"{path} is missing, or of other weights than {run.folder} has. Reproduce again.")
    arrays = _read(path)
    return Predictions(arrays["probabilities"].astype(np.float64), arrays["labels"].astype(np.int64))


def _read(path: Path) -> dict[str, NDArray[Any]]:
    """Return the arrays of a file."""
    names = ("probabilities", "labels", "weights")
    try:
        arrays = read_npz(path, names)
    except DataError as error:
        raise RunFolderError(f"{error} Delete it and reproduce again.") from error
    if missing := [name for name in names if name not in arrays]:
        raise RunFolderError(f"{path} lacks {', '.join(missing)}. Delete it and reproduce again.")
    return dict(arrays)


def _digest(run: Run) -> bytes:
    """Return the sha256 of a run's weights."""
    return hashlib.sha256((run.folder / WEIGHTS).read_bytes()).digest()
