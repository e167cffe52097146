"""How a training or a download looks while it is under way: a live line on a terminal, a plain log elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from edgelnn.cli.errors import Interrupted
from edgelnn.cli.formatting import format_count, format_seconds
from edgelnn.cli.output import console, is_terminal, message, warning
from edgelnn.errors import TrainingInterrupted
from edgelnn.training.listener import EpochReport, TrainingListener, TrainingStart

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from edgelnn.run import Run
    from edgelnn.training.experiment import FigureWeights

    Select = str | FigureWeights

__all__ = ["LiveTraining", "PlainTraining", "loading_progress", "watch_training"]


@contextmanager
def watch_training() -> Iterator[TrainingListener]:
    """Give the listener that suits stderr: live where a person watches, else one line an epoch.

    Raises:
        Interrupted: The training inside was; the message says how to continue it.
    """
    try:
        if not is_terminal(sys.stderr):
            yield PlainTraining()
            return
        with _bar("{task.fields[figures]}") as progress:
            yield LiveTraining(progress)
    except TrainingInterrupted as interruption:
        raise Interrupted(str(interruption)) from interruption


class PlainTraining(TrainingListener):
    """One line an epoch."""

    def __init__(self) -> None:
        self._select: Select = "auc"

    def on_start(self, start: TrainingStart) -> None:
        """Say what is trained on what."""
        self._select = start.experiment.training.select
        _introduce(start)

    def on_epoch(self, report: EpochReport) -> None:
        """Say how the epoch went."""
        best = " *" if report.is_best else ""
        message(
            f"epoch {report.epoch:3d}/{report.epochs}  loss {report.train_loss:.4f}  val loss {report.val_loss:.4f}  "
            f"val AUC {report.val_auc:.4f}{_score(report, self._select)}{best}  {format_seconds(report.duration_s)}"
        )
        if report.stopped_early:
            message(f"stopped early: no improvement; epoch {report.best_epoch} is kept.")

    def on_note(self, text: str) -> None:
        """Pass it on."""
        warning(text)


class LiveTraining(TrainingListener):
    """A bar with loss, validation AUC and the time left."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._task: TaskID | None = None
        self._done = 0
        self._download: TaskID | None = None

    def on_download(self, done: int, total: int) -> None:
        """Draw how far the download is."""
        if self._download is None:
            self._download = self._progress.add_task("getting weights", total=total or None, figures="")
        figures = f"{done / 1e6:.0f} of {total / 1e6:.0f} MB" if total else f"{done / 1e6:.0f} MB"
        self._progress.update(self._download, completed=done, figures=figures, visible=done != total)

    def on_start(self, start: TrainingStart) -> None:
        """Say what is trained on what, and draw the bar."""
        _introduce(start)
        self._done = start.epochs_done
        self._task = self._progress.add_task(
            "training", total=start.epochs, completed=self._done, figures=f"epoch {self._done}/{start.epochs}"
        )

    def on_batch(self, batch: int, batches: int) -> None:
        """Move the bar within the epoch."""
        if self._task is not None:
            self._progress.update(self._task, completed=self._done + batch / batches)

    def on_epoch(self, report: EpochReport) -> None:
        """Show the epoch's figures."""
        self._done = report.epoch
        ended = report.stopped_early or report.epoch == report.epochs
        figures = (
            f"epoch {report.epoch}/{report.epochs}  loss {report.train_loss:.3f}  val AUC {report.val_auc:.4f}  "
            f"best {report.best_epoch}  {'judging …' if ended else f'{format_seconds(report.remaining_s)} left'}"
        )
        if self._task is not None:
            self._progress.update(self._task, completed=self._done, figures=figures)

    def on_end(self, run: Run) -> None:
        """Leave the bar as it is."""
        if self._task is not None:
            task = next(task for task in self._progress.tasks if task.id == self._task)
            figures = task.fields["figures"].replace("judging …", f"kept {run.best_epoch}")
            self._progress.update(self._task, figures=figures)

    def on_note(self, text: str) -> None:
        """Print it above the bar."""
        self._progress.console.print(f"warning: {text}", style="yellow")


@contextmanager
def loading_progress(name: str) -> Iterator[Callable[[int, int], None]]:
    """Give a function that shows how far the loading of data is: bytes downloaded or images read, of how many in all.

    It draws nothing until it is called, and goes away at the end.
    """
    if not is_terminal(sys.stderr):
        yield lambda _done, _total: None
        return
    with _bar("{task.percentage:3.0f} %", transient=True) as progress:
        task: TaskID | None = None

        def draw(done: int, total: int) -> None:
            nonlocal task
            if task is None:
                task = progress.add_task(f"getting {name}", total=total)
            progress.update(task, completed=done, total=total)

        yield draw


def _bar(text: str, *, transient: bool = False) -> Progress:
    from rich.progress import BarColumn, Progress, TextColumn

    columns = (TextColumn("{task.description}"), BarColumn(bar_width=16), TextColumn(text))
    return Progress(*columns, console=console(err=True), transient=transient)


def _score(report: EpochReport, select: Select) -> str:
    """Return what an epoch is chosen by, where that is none of the figures that are shown anyway."""
    from edgelnn.training.selection import score_of

    if select in ("auc", "loss", "last"):
        return ""
    name = select if isinstance(select, str) else "score"
    return f"  val {name} {score_of(report, select):.4f}"


def _introduce(start: TrainingStart) -> None:
    experiment, images = start.experiment, start.images
    synthetic = " (synthetic images)" if start.synthetic else ""
    counts = "/".join(format_count(images[split]) for split in images)
    message(f"{experiment.name}: {start.architecture}", bold=True)
    message(
        f"{format_count(start.trainable)} trainable parameters, {format_count(start.active)} active · "
        f"{experiment.data.name}{synthetic} {counts} · {start.device}, {start.threads} threads"
    )
    if start.epochs_done:
        message(f"going on after epoch {start.epochs_done} of {start.epochs}")
