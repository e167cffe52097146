"""What to train: one validated value that holds everything a run needs to be repeated."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from edgelnn.models.specification import (
    HeadSpec,
    ModelSpec,
    Probability,
    ScanSpec,
    Specification,
    StemSpec,
    default_head,
    default_scan,
    default_stem,
)

__all__ = ["DataSpec", "Experiment", "Schedule", "StartSpec", "TrainingSpec"]

Fraction = Annotated[float, Field(gt=0.0, lt=1.0)]


class DataSpec(Specification):
    """Which data, and how pixels become numbers.

    Attributes:
        name: A dataset's name, ``"phantoms"``, or the path of an npz file, an IDX folder or a folder with one folder
            per class.
        size: Side of the images in pixels (MedMNIST: one of the published sizes; folders: resized to it).
        root: Folder to look for and download to; left out: `EDGELNN_DATA` or medmnist's own.
        channels: 1 (grey) or 3 (RGB) for class folders; left out: grey where every image is.
        positive_class: Name of the class that sensitivity and specificity speak of; left out: the dataset's own.
        validation, test: Fractions held out of data that come without splits.
        split_seed: Seed of that split.
        mean, std: Pixels are scaled to [0, 1], then ``(x - mean) / std``.
        difficulty: Of the phantoms: 0 easy, 1 as hard as they get.
    """

    name: str = "breastmnist"
    size: Annotated[int, Field(ge=8, le=1024)] = 28
    root: str | None = None
    channels: Literal[1, 3] | None = None
    positive_class: str | None = None
    validation: Fraction = 0.15
    test: Fraction = 0.15
    split_seed: int = 0
    mean: float = 0.5
    std: Annotated[float, Field(gt=0.0)] = 0.5
    difficulty: Annotated[float, Field(ge=0.0, le=1.0)] = 0.5


class Schedule(Specification):
    """How the learning rate moves.

    Attributes:
        kind: ``constant``; ``step``: times `gamma` at each of `milestones` (fractions of all epochs); ``cosine`` to
            zero; ``warm_restarts``: cosine from the top every `period` epochs; ``one_cycle``: up and down once, batch
            by batch.
    """

    kind: Literal["constant", "step", "cosine", "warm_restarts", "one_cycle"] = "constant"
    milestones: list[Fraction] = Field(default_factory=lambda: [0.5, 0.75])
    gamma: Fraction = 0.1
    period: Annotated[int, Field(ge=1)] = 10


class TrainingSpec(Specification):
    """How to train.

    Attributes:
        loss: ``auto``: BCE where the head has sigmoid outputs, cross-entropy otherwise.
        class_weights: ``balanced``: inversely to each class's share of the training split.
        clip_norm: Largest norm of the gradient; 0: no clipping.
        select: The epoch whose weights are kept: best validation AUC, accuracy or loss, or the last one.
        patience: Epochs without an improvement of `monitor` by more than `min_change` before training stops; 0: never
            stops early.
        augment: Flips, small rotations, shifts and zooms of the training images; their parameters are written with the
            run.
        quantization_aware: Compute with the int8 numbers that a static int8 file will hold, so that the weights learn
            to bear them; for trainings that begin with the weights of a run.
    """

    epochs: Annotated[int, Field(ge=1, le=100_000)] = 60
    batch_size: Annotated[int, Field(ge=1, le=65536)] = 64
    optimizer: Literal["adam", "adamw", "sgd"] = "adam"
    learning_rate: Annotated[float, Field(gt=0.0, le=100.0)] = 1e-3
    weight_decay: Annotated[float, Field(ge=0.0)] = 0.0
    momentum: Probability = 0.9
    schedule: Schedule = Field(default_factory=Schedule)
    loss: Literal["auto", "cross_entropy", "bce"] = "auto"
    class_weights: Literal["none", "balanced"] | list[Annotated[float, Field(gt=0.0)]] = "none"
    clip_norm: Annotated[float, Field(ge=0.0)] = 0.0
    select: Literal["auc", "accuracy", "loss", "last"] = "auc"
    monitor: Literal["auc", "accuracy", "loss"] = "auc"
    patience: Annotated[int, Field(ge=0)] = 0
    min_change: Annotated[float, Field(ge=0.0)] = 0.0
    augment: bool = False
    quantization_aware: bool = False
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0


class StartSpec(Specification):
    """The run whose weights a training begins with.

    Attributes:
        name: Of the run's folder.
        weights_sha256: Of the file with its weights.
    """

    name: str
    weights_sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class Experiment(Specification):
    """A named experiment: data, model and training, with where it comes from; `start` where that is a run."""

    name: str = "custom"
    summary: str = ""
    source: str = ""
    data: DataSpec = Field(default_factory=DataSpec)
    stem: StemSpec = Field(default_factory=default_stem)
    scan: ScanSpec = Field(default_factory=default_scan)
    head: HeadSpec = Field(default_factory=default_head)
    training: TrainingSpec = Field(default_factory=TrainingSpec)
    start: StartSpec | None = None

    @property
    def model(self) -> ModelSpec:
        """The classifier part: stem, scan and head."""
        return ModelSpec(stem=self.stem, scan=self.scan, head=self.head)
