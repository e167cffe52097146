"""What a reproduction came to: parameters, figures over seeds with intervals, and how they stand to the published."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgelnn.decisions import decide, says_the_same
from edgelnn.errors import EdgelnnError
from edgelnn.reproducing.jobs import predictions_path
from edgelnn.reproducing.plan import Plan
from edgelnn.reproducing.predictions import Predictions, read_predictions
from edgelnn.reproducing.verdicts import Comparison, Measured, compare_with_published, published_for
from edgelnn.run import METRICS, Run
from edgelnn.training.bootstrap import resample_weights, weighted_auc
from edgelnn.training.experiment import Experiment
from edgelnn.training.reference import Published, Reference

__all__ = ["Reproduction", "Row", "gather"]

RESAMPLES = 2000


@dataclass(frozen=True)
class Row:
    """One model.

    Attributes:
        experiment: Name.
        model: What the publication calls it.
        summary: In a sentence.
        as_published: Whether it repeats a mistake of the published code.
        notes: What is known to be different here.
        seeds: Of the trainings that are finished.
        told_nothing_apart: Seeds of those that answer the same for every test image.
        parameters: ``trainable``, ``stored`` and ``active``.
        published_parameters: Trainable ones, as published.
        counted_for: What that number is for, where that is not what was trained on; else empty.
        measured: By figure: ``auc``, ``accuracy``, ``f1``.
        epochs: Trained, in each training.
        training_s: Time that each training took.
        published: On the same data; None where nothing was.
        elsewhere: Published on other data.
        comparisons: Of measured and published figures.
    """

    experiment: str
    model: str
    summary: str
    as_published: bool
    notes: tuple[str, ...]
    seeds: tuple[int, ...]
    told_nothing_apart: tuple[int, ...]
    parameters: Mapping[str, int]
    published_parameters: int | None
    counted_for: str
    measured: Mapping[str, Measured]
    epochs: tuple[int, ...]
    training_s: tuple[float, ...]
    published: Published | None
    elsewhere: tuple[Published, ...]
    comparisons: tuple[Comparison, ...]

    @property
    def title(self) -> str:
        """The model, and whether it repeats a mistake."""
        return f"{self.model} (as published)" if self.as_published else self.model


@dataclass(frozen=True)
class Reproduction:
    """Everything a page shows.

    Attributes:
        plan: What was to be done.
        rows: One a model with at least one finished training.
        missing: Names of trainings that are not finished.
        data: As in ``environment.json`` of a run; empty where no training is finished.
        f1_class: What F1 speaks of: a class, or the mean over all.
        machines: Processors that trained.
        versions: Of the packages that trained.
    """

    plan: Plan
    rows: tuple[Row, ...]
    missing: tuple[str, ...]
    data: Mapping[str, Any]
    f1_class: str
    machines: tuple[str, ...]
    versions: Mapping[str, str]

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        system = self.plan.system
        return {
            "system": system.name,
            "title": system.title,
            "folder": str(self.plan.folder),
            "seeds": list(self.plan.seeds),
            "published_protocol": not self.plan.changes,
            "changes": list(self.plan.changes),
            "command": self.plan.command,
            "missing": list(self.missing),
            "data": dict(self.data),
            "f1_class": self.f1_class,
            "rows": [_plain_row(row) for row in self.rows],
            "machines": list(self.machines),
            "versions": dict(self.versions),
        }


def gather(plan: Plan) -> Reproduction:
    """Return what the finished trainings of a plan came to.

    Raises:
        RunFolderError: A finished one, or what it answered, cannot be read.
    """
    rows, missing, runs = [], [], []
    f1_class = ""
    for experiment in plan.experiments:
        finished = []
        for seed in plan.seeds:
            job = plan.job(experiment, seed)
            if (job.folder / METRICS).exists():
                run = Run.load(job.folder)
                finished.append((run, read_predictions(predictions_path(plan.folder, job.name), run)))
            else:
                missing.append(job.name)
        runs += [run for run, _ in finished]
        if finished:
            f1_class = f1_class or _class_of_f1(plan, finished[0][0])
            rows.append(_row(experiment, finished, f1_class))
    environments = [run.environment for run in runs]
    return Reproduction(
        plan,
        tuple(rows),
        tuple(missing),
        environments[0]["data"] if environments else {},
        f1_class,
        tuple(dict.fromkeys(str(one["machine"]["processor"]) for one in environments)),
        environments[0]["versions"] if environments else {},
    )


def _row(experiment: Experiment, finished: Sequence[tuple[Run, Predictions]], f1_class: str) -> Row:
    """Return one model's row."""
    runs = [run for run, _ in finished]
    reference = experiment.reference
    if reference is None:
        raise EdgelnnError(f"{experiment.name} has no reference.")  # a plan holds none such
    measured = _measure(finished, f1_class)
    published = published_for(reference, experiment.data.name)
    usable = published
    if published is not None and published.f1 is not None and (published.f1_class or "") != _plain(f1_class):
        usable = published.model_copy(update={"f1": None})
    images = len(finished[0][1].labels)
    return Row(
        experiment=experiment.name,
        model=reference.model,
        summary=experiment.summary,
        as_published=reference.as_published,
        notes=tuple(reference.notes),
        seeds=tuple(run.experiment.training.seed for run in runs),
        told_nothing_apart=tuple(
            run.experiment.training.seed for run, answers in finished if says_the_same(answers.probabilities)
        ),
        parameters=dict(runs[0].environment["model"]["parameters"]),
        published_parameters=reference.parameters,
        counted_for=_counted_for(reference, runs[0]),
        measured=measured,
        epochs=tuple(len(run.history) for run in runs),
        training_s=tuple(float(run.environment["training_s"]) for run in runs),
        published=published,
        elsewhere=tuple(entry for entry in reference.published if entry.data != experiment.data.name),
        comparisons=() if usable is None else compare_with_published(measured, usable, images=images),
    )


def _counted_for(reference: Reference, run: Run) -> str:
    """Return the images and classes that a published number of parameters is for, where the run has others."""
    images = reference.images
    if images is None or (tuple(images.shape), images.classes) == (run.image_shape, len(run.class_names)):
        return ""
    return f"{'×'.join(map(str, images.shape))}, {images.classes} classes"


MEAN_F1 = "mean over classes"


def _plain(f1_class: str) -> str:
    """Return a class of F1 as `Published` has it."""
    return "" if f1_class == MEAN_F1 else f1_class


def _class_of_f1(plan: Plan, run: Run) -> str:
    """Return what F1 shall speak of: what the published one does, else the positive class, else all."""
    for experiment in plan.experiments:
        published = published_for(experiment.reference, experiment.data.name)
        if published is not None and published.f1_class in run.class_names:
            return str(published.f1_class)
    return MEAN_F1 if run.positive_class is None else run.class_names[run.positive_class]


def _measure(finished: Sequence[tuple[Run, Predictions]], f1_class: str) -> dict[str, Measured]:
    """Return the figures over several trainings; resamples are of seeds and of images, the same of the same tests.

    The interval is the percentile one (Efron & Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13) of the
    mean over trainings; images are drawn within their classes.
    """
    first = finished[0][0]
    classes = len(first.class_names)
    chosen = [first.class_names.index(f1_class)] if f1_class in first.class_names else list(range(classes))
    weights: dict[bytes, NDArray[np.float32]] = {}
    drawn = []
    for run, answers in finished:
        labels = answers.labels
        several = run.task == "multi-label"
        truth = labels != 0 if several else labels[:, None] == np.arange(classes)
        if labels.tobytes() not in weights:
            once = np.ones((len(labels), 1), np.float32)
            strata = np.zeros(len(labels), np.int64) if several else labels
            resampled = resample_weights(strata, resamples=RESAMPLES, seed=len(weights))
            weights[labels.tobytes()] = np.concatenate([once, *resampled], axis=1)
        drawn.append(_figures(run, answers, truth, weights[labels.tobytes()], chosen))
    picks = np.random.default_rng(1).integers(len(drawn), size=(len(drawn), RESAMPLES))
    result = {}
    for name in ("auc", "accuracy", "f1"):
        samples = np.stack([figures[name] for figures in drawn])
        values = tuple(float(value) for value in samples[:, 0])
        resampled = np.take_along_axis(samples[:, 1:], picks, axis=0).mean(axis=0)
        low, high = np.nanquantile(resampled, [0.025, 0.975])
        sd = statistics.stdev(values) if len(values) > 1 else None
        result[name] = Measured(values, statistics.fmean(values), sd, float(low), float(high))
    return result


def _figures(
    run: Run,
    answers: Predictions,
    truth: NDArray[np.bool_],
    weights: NDArray[np.float32],
    chosen: Sequence[int],
) -> dict[str, NDArray[np.floating[Any]]]:
    """Return AUC, accuracy and F1 of one run for every column of weights on its test images."""
    threshold = run.metrics["test"].threshold
    facts: dict[str, Any] = {"task": run.task, "positive_class": run.positive_class}
    decided = decide(answers.probabilities, threshold=0.5 if threshold is None else threshold, **facts)
    plainly = decide(answers.probabilities, **facts)  # MedMNIST's accuracy decides at 0.5
    auc = np.mean([weighted_auc(answers.probabilities[:, k], truth[:, k], weights) for k in range(truth.shape[1])], 0)
    right = (truth == plainly).mean(axis=1) if run.task == "multi-label" else (truth == plainly).all(axis=1)
    accuracy = right.astype(np.float64) @ weights / len(truth)
    scores = []
    for k in chosen:
        hits = (truth[:, k] & decided[:, k]).astype(np.float64) @ weights
        wrong = (truth[:, k] != decided[:, k]).astype(np.float64) @ weights
        scores.append(2 * hits / np.maximum(2 * hits + wrong, 1e-300))
    return {"auc": auc, "accuracy": accuracy, "f1": np.mean(scores, axis=0)}


def _plain_row(row: Row) -> dict[str, Any]:
    """Return a row as plain values for JSON."""
    values = {name: getattr(row, name) for name in row.__dataclass_fields__}
    values["measured"] = {name: asdict(figure) for name, figure in row.measured.items()}
    values["comparisons"] = [asdict(comparison) for comparison in row.comparisons]
    values["published"] = None if row.published is None else row.published.model_dump(exclude_none=True)
    values["elsewhere"] = [entry.model_dump(exclude_none=True) for entry in row.elsewhere]
    return values
