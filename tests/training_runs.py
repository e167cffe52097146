"""Tiny data and experiments that train in a fraction of a second, for the tests of the training room."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np

from edgelnn.data.dataset import Dataset, Split, SplitName, Task
from edgelnn.training import Experiment, TrainingListener
from edgelnn.training.listener import EpochReport, TrainingStart

SIZES: dict[SplitName, int] = {"train": 41, "val": 16, "test": 20}


def tiny_dataset(task: Task = "binary-class", classes: int = 2, *, volume: bool = False, seed: int = 0) -> Dataset:
    """Images of 8 × 8 (× 8) whose brightness gives their class away, with noise over it."""
    rng = np.random.default_rng(seed)
    shape = (8, 8, 8, 1) if volume else (8, 8, 1)
    splits: dict[SplitName, Split] = {}
    for name, count in SIZES.items():
        index = np.arange(count) % classes
        if task == "multi-label":
            labels = (rng.random((count, classes)) < 0.5).astype(np.int64)
            labels[:2] = [[0] * classes, [1] * classes]
            level = labels @ np.linspace(20, 60, classes)
        else:
            labels = index.astype(np.int64)
            level = 60.0 + 100.0 * index / classes
        noise = rng.normal(0, 25, (count, *shape))
        images = np.clip(level.reshape(-1, *[1] * len(shape)) + noise, 0, 255).astype(np.uint8)
        splits[name] = Split(images, labels)
    digest = hashlib.sha256(b"".join(part.images.tobytes() + part.labels.tobytes() for part in splits.values()))
    names = ("malignant", "benign") if task == "binary-class" else tuple(f"organ {index}" for index in range(classes))
    return Dataset(
        name="tiny",
        task=task,
        class_names=names,
        positive_class=0 if task == "binary-class" else None,
        splits=splits,
        licence="unknown",
        source="tests",
        digest=digest.hexdigest(),
        synthetic=True,
    )


def tiny_experiment(**training: Any) -> Experiment:
    """A convolution with batch norm, rows, a small CfC with dropout: everything that has a state of its own."""
    stem = {"kind": "conv", "layers": [{"channels": 3, "kernel": 3, "padding": 1, "batch_norm": True, "pool": 2}]}
    head = {"kind": "cfc", "units": 8, "readout": "mean", "dropout": 0.2}
    settings = {"epochs": 6, "batch_size": 10, "learning_rate": 0.01, "schedule": {"kind": "cosine"}, **training}
    return Experiment.model_validate({"name": "tiny", "stem": stem, "head": head, "training": settings})


class Recorder(TrainingListener):
    """Keeps what it hears, and raises at a given batch of all."""

    def __init__(self, *, fail_at: int | None = None, error: type[BaseException] = KeyboardInterrupt) -> None:
        self.starts: list[TrainingStart] = []
        self.reports: list[EpochReport] = []
        self.notes: list[str] = []
        self.ends = 0
        self.batches = 0
        self.fail_at = fail_at
        self.error = error

    def on_start(self, start: TrainingStart) -> None:
        self.starts.append(start)

    def on_batch(self, batch: int, batches: int) -> None:
        if self.batches == self.fail_at:
            raise self.error
        self.batches += 1

    def on_epoch(self, report: EpochReport) -> None:
        self.reports.append(report)

    def on_note(self, text: str) -> None:
        self.notes.append(text)

    def on_end(self, run: object) -> None:
        self.ends += 1
