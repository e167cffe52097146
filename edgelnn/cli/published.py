"""What `edgelnn compare --published` finds: each run beside the figures of the model that it reproduces."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from edgelnn.cli.comparisons import Compared, compared
from edgelnn.cli.formatting import NOTHING, format_figure
from edgelnn.errors import ConfigError
from edgelnn_profiling.writers.tables import TextColumn, TextTable

if TYPE_CHECKING:
    from edgelnn.reproducing.verdicts import Comparison, Measured
    from edgelnn.run import Run
    from edgelnn.training.metrics import Metrics

__all__ = ["compare_with_publications"]

COLUMNS = (
    TextColumn("run", number=False),
    TextColumn("model", number=False),
    TextColumn("figure", number=False),
    TextColumn("measured"),
    TextColumn("95 %", number=False, spare=2),
    TextColumn("published"),
    TextColumn("Δ"),
    TextColumn("published is", number=False, spare=1),
)


def compare_with_publications(folders: Sequence[Path]) -> Compared:
    """Return the test metrics of runs beside published ones, and what speaks against comparing them.

    Raises:
        ConfigError: A run reproduces nothing that was published.
    """
    from edgelnn.reproducing import changes_from_reference, compare_with_published
    from edgelnn.reproducing.verdicts import published_for
    from edgelnn.run import Run

    records: list[dict[str, object]] = []
    rows: list[tuple[str, ...]] = []
    doubts: list[str] = []
    for folder in folders:
        run = Run.load(folder)
        reference = run.experiment.reference
        if reference is None:
            raise ConfigError(
                f"{folder} reproduces nothing that was published: its experiment {run.experiment.name} has no "
                "[reference]. Train one that has: `edgelnn reproduce` lists the systems."
            )
        doubts += [f"{folder} is not as published: {change}." for change in changes_from_reference(run.experiment)]
        published = published_for(reference, run.experiment.data.name)
        found: tuple[Comparison, ...] = ()
        measured: dict[str, Measured] = {}
        if published is None:
            known = ", ".join(dict.fromkeys(entry.data for entry in reference.published)) or "no data at all"
            doubts.append(
                f"{folder}: of {reference.model} on {run.experiment.data.name} nothing was published; on {known}."
            )
        elif "test" not in run.metrics:
            doubts.append(f"{folder} was imported without its data, and has no metrics to compare.")
        else:
            measured = _measured(run, published.f1_class)
            found = compare_with_published(measured, published, images=run.metrics["test"].images)
        records.append(
            {
                "target": str(folder),
                "experiment": reference.experiment,
                "model": reference.model,
                "data": run.experiment.data.name,
                "published": None if published is None else published.model_dump(exclude_none=True),
                "comparisons": [asdict(one) for one in found],
            }
        )
        for one in found:
            mine = measured[one.figure]
            rows.append(
                (
                    str(folder),
                    reference.model,
                    {"auc": "AUC", "f1": "F1"}.get(one.figure, one.figure),
                    format_figure(mine.mean),
                    f"{mine.low:.3f} to {mine.high:.3f}",
                    format_figure(one.published),
                    f"{one.difference:+.4f}",
                    "within" if one.within else "outside",
                )
            )
        if not found:
            rows.append((str(folder), reference.model, *[NOTHING] * 6))
    title = f"{len(records)} runs beside what was published, on the test split"
    return compared("runs", records, TextTable("published", title, COLUMNS, tuple(rows)), doubts)


def _measured(run: Run, f1_class: str | None) -> dict[str, Measured]:
    """Return a run's figures with their intervals over test images, F1 that of the class which is published."""
    test = run.metrics["test"]
    found = {name: _one(getattr(test, name), test.intervals.get(name)) for name in ("auc", "accuracy")}
    f1 = _f1(test, f1_class)
    return found if f1 is None else found | {"f1": f1}


def _f1(test: Metrics, f1_class: str | None) -> Measured | None:
    """Return F1 of a class, of which intervals are known; None for a mean over classes, of which they are not."""
    chosen = next((one for one in test.classes if one.name == f1_class), None)
    return None if chosen is None else _one(chosen.f1, chosen.intervals.get("f1"))


def _one(value: float, interval: tuple[float, float] | None) -> Measured:
    from edgelnn.reproducing.verdicts import Measured

    low, high = interval or (value, value)
    return Measured((value,), value, None, low, high)
