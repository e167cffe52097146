"""Which trainings make a reproduction: every experiment of a published system, several seeds of each."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from edgelnn.errors import ConfigError, RunFolderError
from edgelnn.reproducing.changes import changes_from_reference
from edgelnn.run import ENVIRONMENT, read_environment, read_experiment
from edgelnn.training.data_specification import RepeatSpec
from edgelnn.training.experiment import Experiment
from edgelnn.training.families import list_systems
from edgelnn.training.loading import load_experiment
from edgelnn.training.mistakes import did_you_mean, show_value
from edgelnn.training.reference import System
from edgelnn.training.starting import changes_in_training

__all__ = ["Job", "Plan", "find_system", "plan_reproduction"]

RUNS = "runs"


@dataclass(frozen=True)
class Job:
    """One training.

    Attributes:
        experiment: With its seed.
        folder: Where its run goes.
    """

    experiment: Experiment
    folder: Path

    @property
    def name(self) -> str:
        """The experiment's name and its seed."""
        return self.folder.name


@dataclass(frozen=True)
class Plan:
    """All trainings of a reproduction.

    Attributes:
        system: What is reproduced.
        folder: Where everything goes.
        experiments: With the changes asked for, without seeds.
        seeds: Of each.
        changes: What differs from the published protocol, a phrase each; empty where nothing does.
        command: What repeats it, on any machine.
    """

    system: System
    folder: Path
    experiments: tuple[Experiment, ...]
    seeds: tuple[int, ...]
    changes: tuple[str, ...]
    command: str

    @property
    def new_splits(self) -> bool:
        """Whether each training draws the splits anew, as published, where `--set` did not say how to split."""
        return self.system.new_splits and all(each.data.resplit is None for each in self.experiments)

    @property
    def jobs(self) -> tuple[Job, ...]:
        """The trainings in the order in which they are best done: every model once before any model again."""
        return tuple(self.job(experiment, seed) for seed in self.seeds for experiment in self.experiments)

    def job(self, experiment: Experiment, seed: int) -> Job:
        """Return one training."""
        training = experiment.training.model_copy(update={"seed": seed})
        seeded = experiment.model_copy(update={"training": training})
        if self.new_splits:
            drawn = experiment.data.model_copy(update={"resplit": RepeatSpec(repeat=seed + 1)})
            seeded = seeded.model_copy(update={"data": drawn})
        return Job(seeded, self.folder / RUNS / f"{experiment.name}-{seed}")


def find_system(name: str) -> System:
    """Return a published system by its name.

    Raises:
        ConfigError: There is none of that name.

    >>> find_system("breast-lnn").experiments
    ['safipatel-lnn', 'safipatel-dnn']
    """
    systems = {system.name: system for system in list_systems()}
    if name not in systems:
        hint = did_you_mean(name, list(systems)) or "."
        raise ConfigError(f"got {show_value(name)}; expected one of {', '.join(systems)}{hint}")
    return systems[name]


def plan_reproduction(
    system: System,
    folder: Path | str,
    *,
    seeds: int | None = None,
    only: Sequence[str] = (),
    overrides: Sequence[str] = (),
) -> Plan:
    """Return the trainings of a reproduction; nothing is trained or written yet.

    Args:
        system: What to reproduce.
        folder: Where everything goes, or went before: trainings that are finished there count, others go on.
        seeds: How many trainings of each model; None for as many as its table takes.
        only: Patterns such as ``*lstm*``: models of which the name here or there fits one; a pattern without ``*`` fits
            anywhere in a name.
        overrides: Changes such as ``training.epochs=2``, to every experiment.

    Raises:
        ConfigError: No model fits, or a change does not fit an experiment.
        RunFolderError: The folder holds a training of another experiment under the same name.
    """
    names = [name for name in system.experiments if _wanted(name, only)]
    if not names:
        raise ConfigError(f"got --only {', '.join(only)}; {system.name} has {', '.join(system.experiments)}.")
    experiments = tuple(load_experiment(name, overrides) for name in names)
    changes = dict.fromkeys(change for each in experiments for change in changes_from_reference(each))
    first = experiments[0].training.seed
    count = seeds or system.seeds
    if system.new_splits and count > 1 and any(isinstance(each.data.resplit, RepeatSpec) for each in experiments):
        changes["data.resplit is another draw in every training there and the same in all now"] = None
    portable = [text for text in overrides if not text.startswith("data.root=")]
    words = ["edgelnn", "reproduce", system.name, "--seeds", str(count)]
    words += [word for pattern in only for word in ("--only", pattern)]
    words += [word for text in portable for word in ("--set", text)]
    numbers = tuple(range(first, first + count))
    plan = Plan(system, Path(folder), experiments, numbers, tuple(changes), shlex.join(words))
    for job in plan.jobs:
        _check_earlier(job)
    return plan


def _wanted(name: str, only: Sequence[str]) -> bool:
    """Return whether an experiment is among those asked for, by its own name or by its published one."""
    reference = load_experiment(name).reference
    names = [name, reference.model if reference is not None else name]
    patterns = [pattern if "*" in pattern else f"*{pattern}*" for pattern in only]
    return not only or any(fnmatchcase(one.lower(), pattern.lower()) for one in names for pattern in patterns)


def _check_earlier(job: Job) -> None:
    """Raise `RunFolderError` where a job's folder holds the training of another experiment."""
    if not (job.folder / ENVIRONMENT).exists():
        return
    before = read_experiment(job.folder, read_environment(job.folder))
    first = next(changes_in_training(before, job.experiment), None)
    if first is not None:
        raise RunFolderError(
            f"{job.folder} holds a training of another experiment: {first}. Choose another place with --out."
        )
