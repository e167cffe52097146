"""Where a training works: in its run's folder, or beside it while a finished run it will replace is still there.

The place beside ``FOLDER`` is ``FOLDER.edgelnn-new``. Which of the two is the newer follows from their files at every
moment, whenever the process dies:

FOLDER.edgelnn-new   FOLDER             newer
unfinished           finished or none   FOLDER.edgelnn-new; where it is written, it is only to be put in place
finished             written            FOLDER: they have changed places, and the old run is still to be removed
none                 anything           FOLDER

A run is *written* when all its files are there and the checkpoint is too, which is removed last, once the run is where
it belongs; without the checkpoint it is *finished*, and without ``metrics.json`` or with the checkpoint *unfinished*.
Nothing else comes about by itself: whatever else is found is refused, not guessed at.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from edgelnn.atomic import (
    check_replaceable,
    discard_folder,
    hold_folder,
    move_folder_into_place,
    new_folder_atomically,
    remove_leftovers,
    write_text_atomically,
)
from edgelnn.errors import RunFolderError, WriteError
from edgelnn.run import ENVIRONMENT, EXPERIMENT, METRICS, read_environment, read_experiment
from edgelnn.training.checkpoint import CHECKPOINT, Checkpoint, save_checkpoint
from edgelnn.training.environment import describe_machine, installed_versions
from edgelnn.training.experiment import Experiment
from edgelnn.training.listener import TrainingListener
from edgelnn.training.loading import format_experiment
from edgelnn.training.starting import changes_in_training

__all__ = [
    "RUN_MARKERS",
    "Workplace",
    "claim_workplace",
    "find_workplace",
    "keep_others_out",
    "path_beside",
    "put_in_place",
    "start_folder",
]

BESIDE = ".edgelnn-new"
RUN_MARKERS = (ENVIRONMENT,)
"""What tells a run from someone's folder, which may well hold an ``experiment.toml`` or ``metrics.json`` of its own."""


@dataclass(frozen=True)
class Workplace:
    """Where a training works.

    Attributes:
        folder: Where the run goes.
        path: Where it is while it is not finished: `folder`, or a sibling while a finished run is in `folder`.
        finished: There is nothing to do: `folder` holds a finished run that was to be resumed.
        replaces: What is at `path` may be replaced: `force` was passed, and it was there when the folder was claimed.
        held: Keeps other trainings out of what is entered into it, until this one ends.
    """

    folder: Path
    path: Path
    finished: bool = False
    replaces: bool = False
    held: contextlib.ExitStack = field(default_factory=contextlib.ExitStack, repr=False, compare=False)

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


def path_beside(folder: Path) -> Path:
    """Return where a training works while a finished run is in its folder: beside the folder that a link leads to."""
    return Path(f"{os.path.realpath(folder)}{BESIDE}")


def find_workplace(folder: Path, *, resume: bool, force: bool) -> Workplace:
    """Return where to work, before anything is made or removed.

    Raises:
        WriteError: The folder exists and may not be replaced.
        RunFolderError: There is nothing to resume, or it cannot be told which of two runs is the newer.
    """
    if folder.name.endswith(BESIDE):
        own = folder.with_name(folder.name.removesuffix(BESIDE))
        raise WriteError(f"{folder} is where a training works that is to replace {own}. Pass --out {own}.")
    beside = path_beside(folder)
    if _is_finished(beside) and not _is_written(folder):
        raise RunFolderError(
            f"{beside} holds a finished run; expected an unfinished one, which is to replace {folder}. Move it to "
            "another name, and repeat the command."
        )
    if resume:
        return _find_unfinished(folder, beside)
    if not force:
        begun = next((path for path in (folder, beside) if _is_unfinished(path)), None)
        if begun is not None:
            raise WriteError(
                f"{begun} holds a training that is not finished. Continue it: {Workplace(folder, begun).how}, or pass "
                "--force to begin anew."
            )
    check_replaceable(folder, force, RUN_MARKERS)
    path = beside if _is_finished(folder) else folder
    check_replaceable(path, force, RUN_MARKERS)
    return Workplace(folder, path)


def _find_unfinished(folder: Path, beside: Path) -> Workplace:
    """Return where the training is that is to be resumed, or the finished run in `folder`."""
    if _is_unfinished(beside):
        if _is_unfinished(folder):
            raise RunFolderError(
                f"{folder} and {beside} both hold a training that is not finished; expected one. Move the one to "
                "another name that is not to be resumed."
            )
        check_replaceable(folder, True, RUN_MARKERS)
        read_environment(beside)
        return Workplace(folder, beside)
    read_environment(folder)
    return Workplace(folder, folder, finished=not _is_unfinished(folder))


@contextlib.contextmanager
def claim_workplace(folder: Path, *, resume: bool, force: bool) -> Iterator[Workplace]:
    """Give where to work, and keep other trainings out of the folder, and of the place beside it, while the block runs.

    A run that was written and not put in place, since the process was killed then, is put in place.

    Args:
        folder: Where the run goes.
        resume: Go on with what is there; a finished run is given without being held.
        force: Replace what is there.

    Raises:
        WriteError: The folder exists and may not be replaced, or another process trains in it.
        RunFolderError: There is nothing to resume, or it cannot be told which of two runs is the newer.
    """
    found = find_workplace(folder, resume=resume, force=force)
    if found.finished:
        yield found
        return
    with keep_others_out(folder) as held:
        if resume or force:
            written = next((path for path in (path_beside(folder), folder) if _is_written(path)), None)
            if written is not None:
                put_in_place(Workplace(folder, written))
        found = find_workplace(folder, resume=resume, force=force)  # others may have changed it until it was held
        yield replace(found, replaces=force and found.path.exists(), held=held)


@contextlib.contextmanager
def keep_others_out(folder: Path) -> Iterator[contextlib.ExitStack]:
    """Keep other trainings out of a folder, and of the place beside it, while the block runs, where those are there.

    Args:
        folder: A run's, or where one is to be.

    Yields:
        The locks, to add more to.

    Raises:
        WriteError: Another process trains there.
    """
    with contextlib.ExitStack() as held:
        for path in (folder, path_beside(folder)):
            if path.exists():
                held.enter_context(hold_folder(path, busy=_busy(folder)))
        yield held


def _busy(folder: Path) -> str:
    return f"another process is training in {folder}. Wait for it, or stop it."


def _is_begun(folder: Path) -> bool:
    """Return whether a folder holds a run, finished or not."""
    return (folder / EXPERIMENT).exists() and (folder / ENVIRONMENT).exists()


def _is_unfinished(folder: Path) -> bool:
    """Return whether a folder holds a training that was begun and not finished."""
    return _is_begun(folder) and ((folder / CHECKPOINT).exists() or not (folder / METRICS).exists())


def _is_written(folder: Path) -> bool:
    """Return whether a folder holds an unfinished run of which all is written: it is only to be put in place."""
    return _is_unfinished(folder) and (folder / METRICS).exists()


def _is_finished(folder: Path) -> bool:
    """Return whether a folder holds a finished run."""
    return _is_begun(folder) and not _is_unfinished(folder)


def start_folder(
    workplace: Workplace,
    experiment: Experiment,
    environment: Mapping[str, Any],
    *,
    checkpoint: Checkpoint | None = None,
) -> None:
    """Make the folder of a new training, and hold it; what was begun beside it is dropped.

    Args:
        workplace: Where, as `claim_workplace` gave it.
        experiment: What is trained.
        environment: Contents of ``environment.json``.
        checkpoint: Where the training stands, where that does not follow from the experiment.

    Raises:
        WriteError: It exists and may not be replaced, cannot be written, or another process took it.
    """
    beside = path_beside(workplace.folder)
    if workplace.path != beside and _is_unfinished(beside):
        discard_folder(beside, workplace.folder)
    text = format_experiment(experiment)
    digest = hashlib.sha256(text.encode()).hexdigest()
    with new_folder_atomically(workplace.path, workplace.replaces, markers=RUN_MARKERS) as new:
        write_text_atomically(new / EXPERIMENT, text)
        write_text_atomically(new / ENVIRONMENT, format_json({**environment, "experiment_sha256": digest}))
        if checkpoint is not None:
            save_checkpoint(new, checkpoint)
    workplace.held.enter_context(hold_folder(workplace.path, busy=_busy(workplace.folder)))


def put_in_place(workplace: Workplace) -> None:
    """Let a written run take the place of the one it replaces, remove that one, and only then call it finished.

    Raises:
        WriteError: No permission, no space, or what it is to replace is no run any more.
    """
    folder, beside = workplace.folder, path_beside(workplace.folder)
    if workplace.path != folder:
        move_folder_into_place(workplace.path, folder, markers=RUN_MARKERS)
    elif _is_finished(beside):  # killed after the two changed places
        discard_folder(beside, folder)
    remove_leftovers(Path(os.path.realpath(folder)))
    (folder / CHECKPOINT).unlink(missing_ok=True)


def format_json(values: Mapping[str, Any]) -> str:
    """Return a table as JSON that people can read."""
    return json.dumps(values, indent=2, ensure_ascii=False) + "\n"
