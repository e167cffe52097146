"""Where a training stands after an epoch, in one file: safetensors, with the numbers that are no tensors in its header.

weights.NAME          the classifier's state
best.NAME             the state of the epoch to keep so far
optimizer.I.NAME      the optimizer's state of the I-th trained parameter
header "edgelnn"      JSON: format_version, history, best epoch and its score, early stopping, data digest, threads
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from edgelnn.atomic import write_bytes_atomically
from edgelnn.errors import RunFolderError
from edgelnn.training.history import EpochRecord

__all__ = ["CHECKPOINT", "Checkpoint", "Progress", "load_checkpoint", "load_tensors", "save_checkpoint"]

CHECKPOINT = "checkpoint.safetensors"
FORMAT_VERSION = 1


@dataclass(frozen=True)
class Progress:
    """How far a training has come.

    Attributes:
        history: Every epoch so far.
        best_epoch: The epoch whose weights are kept so far; 0 before the first.
        best_score: What that epoch was chosen by: its figure of merit (larger is better) and minus its loss.
        best_monitored: The best value so far of what early stopping watches, larger is better.
        stale_epochs: Epochs since that value was improved by more than `min_change`.
        stopped_early: Early stopping has ended the training.
    """

    history: tuple[EpochRecord, ...] = ()
    best_epoch: int = 0
    best_score: tuple[float, float] = (float("-inf"), float("-inf"))
    best_monitored: float = float("-inf")
    stale_epochs: int = 0
    stopped_early: bool = False


@dataclass(frozen=True)
class Checkpoint:
    """Everything a training needs to go on as if it had not been interrupted.

    Attributes:
        progress: Numbers.
        weights, best: The classifier's state now and at the epoch to keep, by name.
        optimizer: State by index of the parameter, then by name.
        threads: Threads it was computed with.
        data_digest: Of the dataset.
    """

    progress: Progress
    weights: Mapping[str, Tensor]
    best: Mapping[str, Tensor]
    optimizer: Mapping[int, Mapping[str, Tensor]]
    threads: int
    data_digest: str


def save_checkpoint(folder: Path, checkpoint: Checkpoint) -> None:
    """Replace the checkpoint in a run's folder.

    Raises:
        WriteError: It cannot be written; the one before is still there.
    """
    tensors = {f"weights.{name}": tensor for name, tensor in checkpoint.weights.items()}
    tensors |= {f"best.{name}": tensor for name, tensor in checkpoint.best.items()}
    for index, state in checkpoint.optimizer.items():
        tensors |= {f"optimizer.{index}.{name}": tensor for name, tensor in state.items()}
    facts = {
        "format_version": FORMAT_VERSION,
        "progress": asdict(checkpoint.progress),
        "threads": checkpoint.threads,
        "data_digest": checkpoint.data_digest,
    }
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    write_bytes_atomically(folder / CHECKPOINT, save(plain, {"edgelnn": json.dumps(facts)}))


def load_checkpoint(folder: Path) -> Checkpoint:
    """Return the checkpoint in a run's folder.

    Raises:
        RunFolderError: It is damaged or was written by a newer version.
    """
    path = folder / CHECKPOINT
    tensors, header = load_tensors(path)
    try:
        facts = json.loads(header["edgelnn"])
        version = facts["format_version"]
    except (KeyError, TypeError, json.JSONDecodeError) as error:
        raise RunFolderError(f"{path} is not a checkpoint of edgelnn. Train anew with --force.") from error
    if version != FORMAT_VERSION:
        raise RunFolderError(
            f"{path} has format_version {version}; this edgelnn reads {FORMAT_VERSION}. Use the version that wrote it, "
            "or train anew with --force."
        )
    try:
        optimizer: dict[int, dict[str, Tensor]] = {}
        for name, tensor in _part(tensors, "optimizer.").items():
            index, _, key = name.partition(".")
            optimizer.setdefault(int(index), {})[key] = tensor
        return Checkpoint(
            progress=_progress(facts["progress"]),
            weights=_part(tensors, "weights."),
            best=_part(tensors, "best."),
            optimizer=optimizer,
            threads=int(facts["threads"]),
            data_digest=str(facts["data_digest"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise RunFolderError(f"{path} is damaged ({error!r}). Train anew with --force.") from error


def load_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Return the tensors of a safetensors file, on the CPU, and its header's texts.

    Raises:
        RunFolderError: The file is missing, truncated or not safetensors.
    """
    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name).clone() for name in file.keys()}, dict(file.metadata() or {})
    except FileNotFoundError as error:
        raise RunFolderError(f"{path} is missing. Train again, or copy the whole folder.") from error
    except (SafetensorError, OSError, ValueError) as error:
        raise RunFolderError(f"cannot read {path}: it is damaged or not safetensors ({error}).") from error


def _progress(values: dict[str, Any]) -> Progress:
    history = tuple(EpochRecord(**record) for record in values["history"])
    return Progress(**{**values, "history": history, "best_score": tuple(values["best_score"])})


def _part(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def copy_state(module: torch.nn.Module) -> dict[str, Tensor]:
    """Return a copy of a module's state on the CPU."""
    return {name: tensor.detach().cpu().clone() for name, tensor in module.state_dict().items()}
