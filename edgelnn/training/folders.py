"""Where a training works: in its run's folder, or beside it while a finished run it will replace is still there."""

from __future__ import annotations

import hashlib
import json
import shlex
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgelnn.atomic import move_folder_into_place, new_folder_atomically, write_text_atomically
from edgelnn.errors import RunFolderError, WriteError
from edgelnn.run import ENVIRONMENT, EXPERIMENT, METRICS, read_environment, read_experiment
from edgelnn.training.checkpoint import CHECKPOINT, Checkpoint, save_checkpoint
from edgelnn.training.environment import describe_machine, installed_versions
from edgelnn.training.experiment import Experiment
from edgelnn.training.listener import TrainingListener
from edgelnn.training.loading import format_experiment
from edgelnn.training.starting import changes_in_training

__all__ = ["Workplace", "find_workplace", "start_folder"]


@dataclass(frozen=True)
class Workplace:
    """Where a training works.

    Attributes:
        folder: Where the run goes.
        path: Where it is while it is not finished: `folder`, or a sibling while a finished run is in `folder`.
        finished: There is nothing to do: `folder` holds a finished run that was to be resumed.
    """

    folder: Path
    path: Path
    finished: bool = False

    @property
    def how(self) -> str:
        """The command that continues it."""
        return f"edgelnn train --resume --out {shlex.quote(str(self.folder))}"

    @property
    def has_checkpoint(self) -> bool:
        """Whether an epoch has been kept."""
        return (self.path / CHECKPOINT).exists()

    def check_experiment(self, wanted: Experiment | None) -> Experiment:
        """Return the experiment of the run to resume.

        Raises:
            RunFolderError: It is not the one that was asked for.
        """
        own = read_experiment(self.path, read_environment(self.path))
        first = None if wanted is None else next(changes_in_training(own, wanted), None)
        if first is not None:
            raise RunFolderError(
                f"{self.folder} was begun with another experiment: {first}. Resume it as it was begun, or train anew "
                "with --force."
            )
        return own

    def check_machine(self, device: str, threads: int | None, listener: TrainingListener) -> int | None:
        """Return how many threads to go on with; tell the listener what may keep the result from being the same."""
        before = read_environment(self.path)
        recorded = before.get("threads")
        versions, machine = before.get("versions", {}), before.get("machine", {})
        changes = [
            f"{name} {versions[name]} is {now} now"
            for name, now in installed_versions().items()
            if name in versions and versions[name] != now
        ]
        processor = describe_machine()["processor"]
        if machine.get("processor", processor) != processor:
            changes.append(f"the processor was {machine['processor']} and is {processor} now")
        if before.get("device", device) != device:
            changes.append(f"the device was {before['device']} and is {device} now")
        if threads is not None and threads != recorded:
            changes.append(f"it was computed with {recorded} threads and goes on with {threads}")
        if changes:
            listener.on_note(
                f"the result may differ in its last digits from an uninterrupted training: {'; '.join(changes)}."
            )
        return recorded if threads is None and isinstance(recorded, int) else threads


def find_workplace(folder: Path, *, resume: bool, force: bool) -> Workplace:
    """Return where to work, before anything is made or removed.

    Raises:
        WriteError: The folder exists and may not be replaced.
        RunFolderError: There is nothing to resume.
    """
    beside = folder.with_name(f"{folder.name}.new")
    if resume:
        for path in (beside, folder):
            if path.exists() and is_unfinished(path):
                read_environment(path)
                return Workplace(folder, path)
        read_environment(folder)
        return Workplace(folder, folder, finished=True)
    if folder.is_dir() and is_unfinished(folder) and not force:
        raise WriteError(
            f"{folder} holds a training that is not finished. Continue it: {Workplace(folder, folder).how}, or pass "
            "--force to begin anew."
        )
    is_run = folder.is_dir() and (folder / METRICS).exists()
    return Workplace(folder, beside if force and is_run else folder)


def is_unfinished(folder: Path) -> bool:
    """Return whether a folder holds a training that was begun and not finished."""
    begun = (folder / EXPERIMENT).exists() and (folder / ENVIRONMENT).exists()
    return begun and ((folder / CHECKPOINT).exists() or not (folder / METRICS).exists())


def start_folder(
    workplace: Workplace,
    experiment: Experiment,
    environment: Mapping[str, Any],
    *,
    force: bool,
    checkpoint: Checkpoint | None = None,
) -> None:
    """Make the folder of a new training.

    Args:
        workplace: Where.
        experiment: What is trained.
        environment: Contents of ``environment.json``.
        force: Replace what is there.
        checkpoint: Where the training stands, where that does not follow from the experiment.

    Raises:
        WriteError: It exists and may not be replaced, or cannot be written.
    """
    text = format_experiment(experiment)
    digest = hashlib.sha256(text.encode()).hexdigest()
    with new_folder_atomically(workplace.path, force) as new:
        write_text_atomically(new / EXPERIMENT, text)
        write_text_atomically(new / ENVIRONMENT, format_json({**environment, "experiment_sha256": digest}))
        if checkpoint is not None:
            save_checkpoint(new, checkpoint)


def put_in_place(workplace: Workplace) -> None:
    """Let a finished run take the place of the one it replaces."""
    if workplace.path != workplace.folder:
        move_folder_into_place(workplace.path, workplace.folder)
        shutil.rmtree(workplace.path, ignore_errors=True)


def format_json(values: Mapping[str, Any]) -> str:
    """Return a table as JSON that people can read."""
    return json.dumps(values, indent=2, ensure_ascii=False) + "\n"
