"""Several trainings that belong together: over seeds, folds or draws; where each goes, and what comes of all."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgelnn.cli.formatting import format_figure
from edgelnn.cli.output import Column, Table, build_table
from edgelnn.errors import ConfigError

if TYPE_CHECKING:
    from edgelnn.data import SplitName
    from edgelnn.run import Run

__all__ = ["Member", "find_folders", "plan_series", "summarize", "summary_tables"]

RUNS = Path("runs")
SPARE = {"dice": 4, "f1": 3, "specificity": 2, "accuracy": 1}  # left out first where the terminal is narrow
FIGURES = ("auc", "accuracy", "f1", "sensitivity", "specificity", "dice", "threshold")


@dataclass(frozen=True)
class Member:
    """One training of a series.

    Attributes:
        overrides: Changes to the experiment that make it this one.
        ending: Of its folder's name.
        words: What it is, for people.
    """

    overrides: tuple[str, ...]
    ending: str
    words: str


def plan_series(*, seed: int, seeds: int, folds: int | None, repeats: int | None) -> tuple[Member, ...]:
    """Return the trainings of a series, one where nothing is repeated.

    Args:
        seed: The first seed.
        seeds: How many seeds.
        folds: Of a cross-validation.
        repeats: Draws of the splits.

    Raises:
        ConfigError: More than one thing is to be repeated.

    >>> [member.ending for member in plan_series(seed=0, seeds=1, folds=2, repeats=None)]
    ['0-fold1of2', '0-fold2of2']
    """
    asked = {"--seeds": seeds > 1, "--folds": folds is not None, "--repeats": repeats is not None}
    if sum(asked.values()) > 1:
        names = " and ".join(name for name, given in asked.items() if given)
        raise ConfigError(f"got {names}; expected one of them. --seed sets the one seed of folds or repeats.")
    if folds is not None:
        return tuple(
            Member(
                (f'data.resplit={{kind="fold", fold={fold}, folds={folds}}}',),
                f"{seed}-fold{fold}of{folds}",
                f"fold {fold} of {folds}",
            )
            for fold in range(1, folds + 1)
        )
    if repeats is not None:
        return tuple(
            Member(
                (f'data.resplit={{kind="repeat", repeat={one}}}',), f"{seed}-repeat{one}", f"repeat {one} of {repeats}"
            )
            for one in range(1, repeats + 1)
        )
    return tuple(
        Member((f"training.seed={one}",), f"{one}", f"seed {one} ({one - seed + 1} of {seeds})")
        for one in range(seed, seed + seeds)
    )


def find_folders(series: Sequence[Member], name: str, out: Path | None, *, fresh: bool) -> list[Path]:
    """Return where each run goes: as told, or ``runs/NAME-ENDING``, with the time where that is taken and it is new."""
    if out is not None and len(series) == 1 and series[0].overrides[0].startswith("training.seed"):
        return [out]
    stem = str(out) if out is not None else str(RUNS / name)
    folders = [Path(f"{stem}-{each.ending}") for each in series]
    if out is None and fresh and any(folder.exists() for folder in folders):
        now = time.strftime("%Y%m%d-%H%M%S")
        return [folder.with_name(f"{folder.name}-{now}") for folder in folders]
    return folders


def summarize(runs: Sequence[Run]) -> dict[str, dict[str, dict[str, float]]]:
    """Return by split and figure its mean and standard deviation (of a sample, n - 1) over runs."""
    summary = {}
    for split in ("val", "test"):
        values = _values(runs, split)
        summary[split] = {
            name: {"mean": statistics.mean(each), "sd": statistics.stdev(each) if len(each) > 1 else math.nan}
            for name, each in values.items()
        }
    return summary


def summary_tables(runs: Sequence[Run]) -> list[Table]:
    """Return a table for each split: every run's figures, and their mean and standard deviation."""
    summary, tables = summarize(runs), []
    for split in ("val", "test"):
        values = _values(runs, split)
        rows = [
            [run.folder.name, *(format_figure(each[index]) for each in values.values())]
            for index, run in enumerate(runs)
        ]
        means = [f"{found['mean']:.4f} ± {found['sd']:.4f}" for found in summary[split].values()]
        rows.append([f"mean ± sd of {len(runs)}", *means])
        positive = runs[0].metrics[split].positive_class
        title = "validation split" if split == "val" else "test split"
        title += f", positive class {positive}" if positive else ""
        columns = [Column("run", fold=True), *(Column(name, number=True, spare=SPARE.get(name, 0)) for name in values)]
        tables.append(build_table(columns, rows, title=title))
    return tables


def _values(runs: Sequence[Run], split: Any) -> dict[str, list[float]]:
    """Return the figures of a split that every run has, one value a run; thresholds where they are not all 0.5."""
    chosen: SplitName = split
    found = {name: [getattr(run.metrics[chosen], name) for run in runs] for name in FIGURES}
    found["threshold"] = [] if set(found["threshold"]) <= {0.5} else found["threshold"]
    return {name: values for name, values in found.items() if values and None not in values}
