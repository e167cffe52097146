"""What to train: one validated value that holds everything a run needs to be repeated."""

from __future__ import annotations

from typing import Annotated, Literal, TypeVar

from pydantic import Field, field_validator, model_validator

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
from edgelnn.training.data_specification import AugmentSpec, DataSpec, Fraction
from edgelnn.training.reference import Reference

__all__ = [
    "AugmentSpec",
    "DataSpec",
    "Experiment",
    "FigureWeights",
    "LeastShare",
    "LossWeights",
    "Schedule",
    "StartSpec",
    "TrainingSpec",
]

Weight = Annotated[float, Field(ge=0.0, le=1000.0)]


class Schedule(Specification):
    """How the learning rate moves.

    Attributes:
        kind: ``constant``; ``step``: times `gamma` at each of `milestones` (fractions of all epochs); ``cosine`` to
            zero; ``warm_restarts``: cosine from the top, anew every `period` epochs; ``one_cycle``: up and down once,
            batch by batch. The defaults of ``step`` are MedMNIST's protocol.
        growth: Of ``warm_restarts``: each period is so many times as long as the one before.
    """

    kind: Literal["constant", "step", "cosine", "warm_restarts", "one_cycle"] = "constant"
    milestones: list[Fraction] = Field(default_factory=lambda: [0.5, 0.75])
    gamma: Fraction = 0.1
    period: Annotated[int, Field(ge=1)] = 10
    growth: Annotated[int, Field(ge=1, le=10)] = 1


class LossWeights(Specification):
    """A loss that is a sum of others, each times its weight; see `edgelnn.training.losses` for each."""

    cross_entropy: Weight = 0.0
    bce: Weight = 0.0
    dice: Weight = 0.0
    mse: Weight = 0.0

    @model_validator(mode="after")
    def _weigh_something(self) -> LossWeights:
        return _with_a_weight(self)


class FigureWeights(Specification):
    """A score that is a sum of validation figures, each times its weight; the loss is taken away."""

    auc: Weight = 0.0
    accuracy: Weight = 0.0
    f1: Weight = 0.0
    dice: Weight = 0.0
    loss: Weight = 0.0

    @model_validator(mode="after")
    def _weigh_something(self) -> FigureWeights:
        return _with_a_weight(self)


class LeastShare(Specification):
    """What a decision threshold has to reach on the validation split: a sensitivity, or a specificity."""

    sensitivity: Fraction | None = None
    specificity: Fraction | None = None

    @model_validator(mode="after")
    def _want_one(self) -> LeastShare:
        if (self.sensitivity is None) == (self.specificity is None):
            raise ValueError("expected either a sensitivity or a specificity, such as { sensitivity = 0.9 }.")
        return self


class TrainingSpec(Specification):
    """How to train.

    Attributes:
        loss: ``auto``: BCE where the head has sigmoid outputs, cross-entropy otherwise. Or ``cross_entropy``, ``bce``,
            ``dice`` (1 - soft Dice), ``mse``, or a sum, such as ``{ bce = 0.4, dice = 1.0 }``.
        class_weights: ``balanced``: inversely to each class's share of the training split. Dice has no part in them.
        clip_norm: Largest norm of the gradient; 0: no clipping.
        select: The epoch whose weights are kept: best validation AUC, accuracy, F1, Dice or loss, the last one, or the
            one with the best sum, such as ``{ accuracy = 0.2, f1 = 0.3, dice = 0.5 }``. F1 and Dice are those of the
            positive class, else means over classes; accuracy and F1 decide at 0.5.
        monitor: What early stopping watches.
        patience: Epochs that early stopping waits; 0: never stops early.
        min_change: Least difference that counts to it.
        stop_when: ``no_improvement``: `monitor` has not improved by more than `min_change` in `patience` epochs.
            ``worse_than_best``: it has been worse than its best so far by more than `min_change` in each of the last
            `patience` epochs.
        threshold: Decisions between two classes: the probability of the positive class from which on it is decided
            for; or how to choose it on the validation split: ``youden`` (greatest sensitivity + specificity, which is
            also the greatest balanced accuracy), ``f1``, or ``{ sensitivity = 0.9 }`` (the greatest specificity with at
            least that sensitivity) and ``{ specificity = 0.9 }``. Multi-label: a number, for every label.
        augment: How training images are varied; ``true``: flips, small rotations, shifts and zooms that suit the data.
            The parameters are written with the run.
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
    loss: Literal["auto", "cross_entropy", "bce", "dice", "mse"] | LossWeights = "auto"
    class_weights: Literal["none", "balanced"] | list[Annotated[float, Field(gt=0.0)]] = "none"
    clip_norm: Annotated[float, Field(ge=0.0)] = 0.0
    select: Literal["auc", "accuracy", "f1", "dice", "loss", "last"] | FigureWeights = "auc"
    monitor: Literal["auc", "accuracy", "f1", "dice", "loss"] | FigureWeights = "auc"
    patience: Annotated[int, Field(ge=0)] = 0
    min_change: Annotated[float, Field(ge=0.0)] = 0.0
    stop_when: Literal["no_improvement", "worse_than_best"] = "no_improvement"
    threshold: Fraction | Literal["youden", "f1"] | LeastShare = 0.5
    augment: bool | AugmentSpec = False
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
    """A named experiment: data, model and training, with where it comes from.

    Attributes:
        name: What runs of it are called.
        summary: What it is, in a sentence.
        source: Where it comes from, in words.
        data: What to train on.
        stem, scan, head: The model.
        training: How to train.
        start: The run whose weights it begins with; left out: they follow from the seed.
        reference: The published model that it reproduces; left out: none.
    """

    name: str = "custom"
    summary: str = ""
    source: str = ""
    data: DataSpec = Field(default_factory=DataSpec)
    stem: StemSpec = Field(default_factory=default_stem)
    scan: ScanSpec = Field(default_factory=default_scan)
    head: HeadSpec = Field(default_factory=default_head)
    training: TrainingSpec = Field(default_factory=TrainingSpec)
    start: StartSpec | None = None
    reference: Reference | None = None

    @field_validator("name")
    @classmethod
    def _name_a_folder(cls, name: str) -> str:
        if not name.strip(". ") or len(name) > 200 or not name.isprintable() or set(name) & set("/\\"):
            raise ValueError("expected a name that a folder can have: 200 printable letters at most, without / and \\.")
        return name

    @property
    def model(self) -> ModelSpec:
        """The classifier part: stem, scan and head."""
        return ModelSpec(stem=self.stem, scan=self.scan, head=self.head)


Weights = TypeVar("Weights", LossWeights, FigureWeights)


def _with_a_weight(weights: Weights) -> Weights:
    """Return weights of which one at least is not 0."""
    values = weights.model_dump()
    if not any(values.values()):
        raise ValueError(f"expected a weight above 0 for at least one of {', '.join(values)}.")
    return weights
