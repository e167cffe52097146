"""Fine-tuning: trainings that begin with the weights of a finished run."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from edgelnn.errors import ConfigError, RunFolderError
from edgelnn.training.experiment import Experiment, StartSpec
from edgelnn.training.mistakes import show_value
from edgelnn.training.overrides import parse_overrides, validate_with_overrides

if TYPE_CHECKING:
    from edgelnn.data.dataset import Dataset
    from edgelnn.models import Classifier
    from edgelnn.models.specification import ModelSpec
    from edgelnn.run import Run
    from edgelnn.training.listener import TrainingListener

__all__ = [
    "begin_with",
    "changes_in_training",
    "check_start_is_given",
    "describe_start",
    "differences",
    "fine_tuning_experiment",
    "started_from",
]

SAID = ("summary", "source", "reference")
RATE_SHARE = 0.1
EPOCHS_SHARE = 0.25


def fine_tuning_experiment(run: Run, overrides: Sequence[str] = (), *, quantization_aware: bool = False) -> Experiment:
    """Return the experiment that goes on with a run: its own, with a tenth of its rate and a quarter of its epochs.

    Args:
        run: Finished; its weights are what the training begins with.
        overrides: Changes such as ``"training.epochs=5"``, as `load_experiment` takes them.
        quantization_aware: Let the weights learn to bear the int8 numbers of a static int8 file.

    Raises:
        ConfigError: A change is wrong, or makes it another model than the run's.
        RunFolderError: The run's weights cannot be read.
    """
    own = run.experiment
    values = own.model_dump(exclude_none=True)
    ending = "-qat" if quantization_aware else "-tuned"
    values["name"] = own.name if own.name.endswith(ending) else f"{own.name}{ending}"
    values["start"] = _describe(run).model_dump()
    values["training"] |= {
        "epochs": max(1, round(own.training.epochs * EPOCHS_SHARE)),
        "learning_rate": own.training.learning_rate * RATE_SHARE,
        "quantization_aware": quantization_aware,
    }
    experiment = validate_with_overrides(Experiment, values, parse_overrides(overrides))
    return started_from(experiment, run)


def started_from(experiment: Experiment, run: Run) -> Experiment:
    """Return an experiment with a run recorded as what it begins with.

    Raises:
        ConfigError: It begins with other weights, or trains another model than the run's.
        RunFolderError: The run's weights cannot be read.
    """
    start = _describe(run)
    if experiment.start is not None and experiment.start.weights_sha256 != start.weights_sha256:
        raise ConfigError(
            f"got weights {start.weights_sha256[:12]} of {run.folder}; the experiment begins with "
            f"{experiment.start.weights_sha256[:12]} of {experiment.start.name}. Pass that run, or remove [start] from "
            "the experiment."
        )
    ours, theirs = _what_weights_depend_on(experiment.model), _what_weights_depend_on(run.experiment.model)
    for difference in differences(theirs, ours):
        raise ConfigError(
            f"{run.folder} is another model: {difference}. Its weights fit no other; leave stem, scan and head as they "
            "are, or train without --from."
        )
    return experiment if experiment.start is not None else experiment.model_copy(update={"start": start})


def check_start_is_given(experiment: Experiment) -> None:
    """Raise `ConfigError` where an experiment that is trained from its seed wants the weights of a run."""
    if experiment.start is not None:
        name, digest = experiment.start.name, experiment.start.weights_sha256[:12]
        raise ConfigError(
            f"got no run to begin with; the experiment begins with the weights {digest} of {name}. Pass that run with "
            "--from, or remove [start] from the experiment."
        )
    if experiment.training.quantization_aware:
        raise ConfigError(
            "training.quantization_aware: got true without a run to begin with; expected the weights of a finished "
            "one. Train without it first, then: edgelnn train --from RUN --qat"
        )


def describe_start(run: Run) -> dict[str, Any]:
    """Return what ``environment.json`` says of the run that a training begins with."""
    return {
        **_describe(run).model_dump(),
        "experiment": run.experiment.name,
        "best_epoch": run.best_epoch,
        "data_digest": run.environment["data"]["digest"],
    }


def begin_with(run: Run, classifier: Classifier, dataset: Dataset, listener: TrainingListener) -> None:
    """Give a classifier the weights of a run.

    Args:
        run: Of the same model.
        classifier: Takes them; its masks have to be those of the run.
        dataset: What it will be trained on.
        listener: Hears where that is not what the run was trained on.

    Raises:
        ConfigError: The run saw images of another shape, or had other classes.
        RunFolderError: Its weights cannot be read, or do not fit.
    """
    facts = {
        "images of shape": (run.image_shape, tuple(dataset.image_shape)),
        "the task": (run.task, dataset.task),
        "a number of classes of": (len(run.class_names), len(dataset.class_names)),
    }
    for what, (before, now) in facts.items():
        if before != now:
            raise ConfigError(
                f"{run.folder} was trained on {what} {before}; {dataset.name} has {now}. Train on data like the run's, "
                "or without --from."
            )
    classifier.load_state_dict(run.load_classifier().state_dict())
    if run.environment["data"]["digest"] not in (None, dataset.digest):
        listener.on_note(
            f"{run.folder} was trained on other data than it is tuned on: images that one of them tests on, the other "
            "may have trained on."
        )


def changes_in_training(before: Experiment, now: Experiment) -> Iterator[str]:
    """Yield one phrase for every difference that makes another training; what is said of an experiment makes none."""
    yield from differences(before.model_dump(exclude=set(SAID)), now.model_dump(exclude=set(SAID)))


def differences(ours: Mapping[str, Any], theirs: Mapping[str, Any], where: str = "") -> Iterator[str]:
    """Yield one phrase for every field that differs between two tables."""
    for name in {**ours, **theirs}:
        here, there = ours.get(name), theirs.get(name)
        if isinstance(here, dict) and isinstance(there, dict):
            yield from differences(here, there, f"{where}{name}.")
        elif here != there:
            yield f"{where}{name} is {show_value(here)} there and {show_value(there)} now"


def _describe(run: Run) -> StartSpec:
    """Return the name of a run and the digest of its weights."""
    from edgelnn.run import WEIGHTS

    path = run.folder / WEIGHTS
    try:
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise RunFolderError(f"cannot read {path}: {error.strerror}. Copy the whole run again.") from error
    return StartSpec(name=run.folder.resolve().name, weights_sha256=digest)


def _what_weights_depend_on(model: ModelSpec) -> dict[str, Any]:
    """Return a model's fields without those that the shapes and meaning of its weights do not depend on."""
    values = model.model_dump()
    free = ("dropout", "pretrained", "frozen")
    return {
        part: {name: value for name, value in fields.items() if not any(word in name for word in free)}
        for part, fields in values.items()
    }
