"""`train`: from an experiment to a run, or on from where an interrupted one stopped."""

from __future__ import annotations

import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from edgelnn.data.augmentation import Augmentation, has_sides
from edgelnn.data.dataset import SPLITS, Dataset
from edgelnn.errors import ConfigError, RunFolderError, TrainingError, TrainingInterrupted
from edgelnn.models import build_classifier, count_parameters
from edgelnn.models.description import describe
from edgelnn.models.pretrained import PretrainedWeights, find_pretrained, load_pretrained
from edgelnn.run import Run
from edgelnn.training.checkpoint import Checkpoint, Progress, copy_state, load_checkpoint, save_checkpoint
from edgelnn.training.closed_form import check_closed_form
from edgelnn.training.device import computing, find_device
from edgelnn.training.environment import describe_environment
from edgelnn.training.epochs import Epochs
from edgelnn.training.experiment import Experiment, TrainingSpec
from edgelnn.training.finishing import finish_run
from edgelnn.training.folders import Workplace, claim_workplace, start_folder
from edgelnn.training.listener import EpochReport, TrainingListener, TrainingStart
from edgelnn.training.loading import load_experiment_dataset
from edgelnn.training.losses import build_loss
from edgelnn.training.metrics import check_labels
from edgelnn.training.normalization import build_preprocessing
from edgelnn.training.optimizers import optimizer_state, restore_optimizer
from edgelnn.training.quantization_aware import FakeQuantization
from edgelnn.training.selection import advance
from edgelnn.training.starting import (
    begin_with,
    check_start_is_given,
    describe_start,
    fine_tuning_experiment,
    started_from,
)
from edgelnn.training.thresholds import check_threshold

__all__ = ["train"]

CHECKPOINT_SHARE = 0.05  # of the time, at most, goes into checkpoints
RECENT = 5  # epochs that the time left is judged by


def train(
    experiment: Experiment | None = None,
    *,
    folder: Path | str,
    dataset: Dataset | None = None,
    resume: bool = False,
    force: bool = False,
    device: str = "cpu",
    threads: int | None = None,
    listener: TrainingListener | None = None,
    figures: bool = True,
    start: Run | None = None,
) -> Run:
    """Train and return the run, which is then in `folder`.

    A training that is interrupted at any moment leaves a folder that ``resume=True`` continues; on a CPU with the same
    number of threads it ends with the same weights, bit for bit, as if it had not been interrupted.

    Args:
        experiment: What to train; None continues a run with its own experiment, or fine-tunes `start` with the one
            of `fine_tuning_experiment`.
        folder: Where the run goes.
        dataset: What to train on; loaded by its name in the experiment where left out.
        resume: Continue the unfinished run in `folder`; one that is finished is returned as it is.
        force: Replace a run in `folder`; a finished one stays there until the new one is.
        device: ``cpu``, ``cuda`` or ``mps``.
        threads: To compute with; None: as many as before when resuming, else torch's choice.
        listener: Hears how it goes.
        figures: Draw them at the end.
        start: Finished run of the same model, whose weights the training begins with; not needed to resume.

    Raises:
        ConfigError: The experiment does not fit the data or this machine.
        DataError: The data cannot be found or used.
        WriteError: The folder exists, or cannot be written.
        RunFolderError: There is nothing to resume, or it is damaged or of another experiment.
        TrainingError: The loss is no number any more; the folder is kept.
        TrainingInterrupted: Ctrl-C; the folder is kept.
    """
    listener = listener or TrainingListener()
    place, folder = find_device(device), Path(folder)
    with claim_workplace(folder, resume=resume, force=force) as workplace:
        if resume and experiment is None:
            experiment = workplace.check_experiment(None)
        if start is not None:
            experiment = fine_tuning_experiment(start) if experiment is None else started_from(experiment, start)
        if resume:
            experiment = workplace.check_experiment(experiment)
        if workplace.finished:
            return Run.load(folder)
        if resume:
            threads = workplace.check_machine(device, threads, listener)
        if experiment is None:
            raise ConfigError(
                "got no experiment; expected one to train, or resume=True to continue the run in the folder."
            )
        if start is None and not resume:
            check_start_is_given(experiment)
        dataset = dataset or load_experiment_dataset(experiment.data)
        for split in SPLITS:
            check_labels(
                dataset[split].labels,
                task=dataset.task,
                class_names=dataset.class_names,
                where=f"the {split} split of {dataset.name}",
            )
        with computing(place, threads) as threads:
            epochs = _prepare(experiment, dataset, place, listener)
            if not resume:
                _begin(epochs, workplace, experiment, threads, device, start)
            run = _train_in(workplace, epochs, experiment, threads, device, figures=figures)
    listener.on_end(run)
    return run


def _begin(
    epochs: Epochs, workplace: Workplace, experiment: Experiment, threads: int, device: str, start: Run | None
) -> None:
    """Make the folder of a new training, with the weights that it begins with where those are given."""
    pretrained = None
    if start is None:
        pretrained = find_pretrained(experiment.model, progress=epochs.listener.on_download)
    environment = _environment(epochs, experiment, device, threads, start, pretrained)
    checkpoint = None
    if start is not None:
        begin_with(start, epochs.classifier, epochs.dataset, epochs.listener)
    if pretrained is not None:
        load_pretrained(epochs.classifier, pretrained)
    if start is not None or pretrained is not None:
        checkpoint = _checkpoint(epochs, Progress(), copy_state(epochs.classifier), threads)
    start_folder(workplace, experiment, environment, checkpoint=checkpoint)


def _train_in(
    workplace: Workplace, epochs: Epochs, experiment: Experiment, threads: int, device: str, *, figures: bool
) -> Run:
    """Train what is left to train and return the run; errors say what is kept, and how to go on."""
    try:
        progress, best = _train_epochs(epochs, workplace, experiment, threads, device)
        return finish_run(epochs, workplace, experiment, progress, best, figures=figures)
    except KeyboardInterrupt as error:
        raise TrainingInterrupted(f"interrupted; the training is kept. Continue it: {workplace.how}") from error
    except TrainingError as error:
        raise TrainingError(f"{error} What was trained before is kept in {workplace.path}.") from error
    except (MemoryError, RuntimeError) as error:
        if not _is_out_of_memory(error):
            raise
        size = experiment.training.batch_size
        raise TrainingError(
            f"out of memory. Try a smaller training.batch_size (now {size}) or smaller images (data.size). "
            f"What was trained before is kept in {workplace.path}."
        ) from error


def _prepare(experiment: Experiment, dataset: Dataset, place: Any, listener: TrainingListener) -> Epochs:
    """Return everything an epoch needs, from the experiment's seed."""
    classifier = build_classifier(
        experiment.model,
        image_shape=dataset.image_shape,
        task=dataset.task,
        classes=len(dataset.class_names),
        seed=experiment.training.seed,
    ).to(place)
    check_closed_form(experiment, classifier)
    loss = build_loss(
        experiment.training,
        output_kind=classifier.output_kind,
        task=dataset.task,
        classes=len(dataset.class_names),
        labels=dataset["train"].labels,
        positive_class=dataset.positive_class,
        device=place,
    )
    check_threshold(experiment.training, task=dataset.task, positive_class=dataset.positive_class)
    preprocessing = build_preprocessing(experiment.data, dataset)
    augmentation = _augmentation(experiment.training, dataset, listener)
    quantization = FakeQuantization(classifier) if experiment.training.quantization_aware else None
    return Epochs(classifier, dataset, experiment.training, preprocessing, loss, augmentation, listener, quantization)


def _augmentation(training: TrainingSpec, dataset: Dataset, listener: TrainingListener) -> Augmentation | None:
    """Return how training images are varied; say where that changes what their class means."""
    if isinstance(training.augment, bool):
        return Augmentation.suited_to(dataset) if training.augment else None
    augmentation = Augmentation.from_values(training.augment.model_dump(exclude_none=True))
    if augmentation.flip and has_sides(dataset):
        listener.on_note(
            f"training.augment.flip: {dataset.name} has classes that are not the same in the mirror, and mirrored "
            "training images keep their class."
        )
    return augmentation


def _train_epochs(
    epochs: Epochs, workplace: Workplace, experiment: Experiment, threads: int, device: str
) -> tuple[Progress, dict[str, Any]]:
    """Train what is left to train; return where it ended and the state to keep."""
    progress, best = Progress(), copy_state(epochs.classifier)
    if workplace.has_checkpoint:
        checkpoint = load_checkpoint(workplace.path)
        progress, best = checkpoint.progress, dict(checkpoint.best)
        _restore(epochs, checkpoint, workplace.path)
    elif experiment.start is not None or getattr(experiment.stem, "pretrained", False):
        how = "train --from RUN" if experiment.start is not None else "train"
        raise RunFolderError(f"{workplace.path} has lost its checkpoint. Begin anew: edgelnn {how} --force")
    epochs.listener.on_start(_start(epochs, workplace, experiment, progress, threads, device))
    saved_at, cost = time.perf_counter(), 0.0
    total = epochs.count
    while len(progress.history) < total and not progress.stopped_early:
        record = epochs.run(len(progress.history) + 1)
        progress = advance(progress, record, experiment.training)
        if progress.best_epoch == record.epoch:
            best = copy_state(epochs.classifier)
        ended = len(progress.history) == total or progress.stopped_early
        if ended or time.perf_counter() - saved_at >= cost / CHECKPOINT_SHARE:
            began = time.perf_counter()
            save_checkpoint(workplace.path, _checkpoint(epochs, progress, best, threads))
            saved_at = time.perf_counter()
            cost = saved_at - began
        epochs.listener.on_epoch(_report(progress, total))
    return progress, best


def _checkpoint(epochs: Epochs, progress: Progress, best: dict[str, Any], threads: int) -> Checkpoint:
    """Return where the training stands."""
    weights, memory = epochs.classifier.state_dict(), optimizer_state(epochs.optimizer)
    return Checkpoint(progress, weights, best, memory, threads, epochs.dataset.digest)


def _restore(epochs: Epochs, checkpoint: Checkpoint, folder: Path) -> None:
    """Put classifier and optimizer where a checkpoint stands."""
    if checkpoint.data_digest != epochs.dataset.digest:
        raise RunFolderError(
            f"{folder} was trained on other data: its digest is {checkpoint.data_digest[:12]}, that of "
            f"{epochs.dataset.name} is {epochs.dataset.digest[:12]}. Restore the data, or train anew with --force."
        )
    try:
        epochs.classifier.load_state_dict(dict(checkpoint.weights))
        restore_optimizer(epochs.optimizer, checkpoint.optimizer)
    except (RuntimeError, ValueError, KeyError) as error:
        reason = " ".join(str(error).split())[:200]
        raise RunFolderError(f"the checkpoint in {folder} does not fit its experiment: {reason}.") from error


def _environment(
    epochs: Epochs,
    experiment: Experiment,
    device: str,
    threads: int,
    start: Run | None,
    pretrained: PretrainedWeights | None,
) -> dict[str, Any]:
    """Return the contents of ``environment.json`` at the start."""
    return describe_environment(
        experiment,
        epochs.dataset,
        device=device,
        threads=threads,
        model={
            "architecture": _words(experiment, epochs.dataset),
            "parameters": asdict(count_parameters(epochs.classifier)),
            "pretrained": None if pretrained is None else pretrained.describe(),
        },
        augmentation=None if epochs.augmentation is None else epochs.augmentation.to_dict(),
        preprocessing=epochs.preprocessing,
        start=None if start is None else describe_start(start),
    )


def _is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error of Python's or torch's says that there is no more memory."""
    words = ("out of memory", "can't allocate memory", "not enough memory", "defaultcpuallocator")
    return isinstance(error, MemoryError) or any(word in str(error).lower() for word in words)


def _words(experiment: Experiment, dataset: Dataset) -> str:
    """Return the model in one line."""
    return describe(
        experiment.model, image_shape=dataset.image_shape, task=dataset.task, classes=len(dataset.class_names)
    )


def _start(
    epochs: Epochs, workplace: Workplace, experiment: Experiment, progress: Progress, threads: int, device: str
) -> TrainingStart:
    """Return what the listener hears first."""
    return TrainingStart(
        experiment=experiment,
        folder=workplace.folder,
        architecture=_words(experiment, epochs.dataset),
        **asdict(count_parameters(epochs.classifier)),
        images={name: len(split) for name, split in epochs.dataset.splits.items()},
        epochs=epochs.count,
        epochs_done=len(progress.history),
        device=device,
        threads=threads,
        synthetic=epochs.dataset.synthetic,
    )


def _report(progress: Progress, total: int) -> EpochReport:
    """Return what the listener hears of the last epoch."""
    record = progress.history[-1]
    recent = [one.duration_s for one in progress.history[-RECENT:]]
    left = 0 if progress.stopped_early else total - record.epoch
    return EpochReport(
        **asdict(record),
        epochs=total,
        is_best=progress.best_epoch == record.epoch,
        best_epoch=progress.best_epoch,
        elapsed_s=sum(one.duration_s for one in progress.history),
        remaining_s=left * sum(recent) / len(recent),
        stopped_early=progress.stopped_early,
    )
