"""Numbers as people read them; everything inside is in SI base units, and only here that changes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from edgelnn.cli.output import Column, Table, build_table

if TYPE_CHECKING:
    from edgelnn.training.metrics import Metrics

__all__ = [
    "confusion_table",
    "format_bytes",
    "format_count",
    "format_figure",
    "format_interval",
    "format_seconds",
    "metrics_tables",
]

NOTHING = "-"


def format_seconds(seconds: float | None) -> str:
    """Return a duration with three significant digits, from a minute on with minutes and seconds.

    >>> format_seconds(1.2345e-5), format_seconds(0.0213), format_seconds(4.5), format_seconds(75)
    ('12.3 µs', '21.3 ms', '4.50 s', '1:15 min')
    """
    from edgelnn_profiling.writers.units import format_seconds as format_short

    if seconds is None:
        return NOTHING
    return format_short(seconds) if seconds < 60 else f"{int(seconds) // 60}:{int(seconds) % 60:02d} min"


def format_bytes(size: int | None) -> str:
    """Return a size in decimal units.

    >>> format_bytes(812), format_bytes(51_669), format_bytes(39_400_000)
    ('812 B', '51.7 kB', '39.4 MB')
    """
    from edgelnn_profiling.writers.units import format_bytes as format_known

    return NOTHING if size is None else format_known(size)


def format_count(number: float | None) -> str:
    """Return a whole number with its thousands apart.

    >>> format_count(263048)
    '263,048'
    """
    return NOTHING if number is None else f"{number:,.0f}"


def format_figure(value: float | None) -> str:
    """Return an AUC, accuracy or the like: four digits.

    >>> format_figure(0.88974), format_figure(None)
    ('0.8897', '-')
    """
    return NOTHING if value is None else f"{value:.4f}"


def format_interval(interval: Sequence[float] | None) -> str:
    """Return a 95 % interval.

    >>> format_interval((0.81, 0.93456))
    '0.810 to 0.935'
    """
    return NOTHING if interval is None else f"{interval[0]:.3f} to {interval[1]:.3f}"


def metrics_tables(metrics: Metrics, *, title: str | None = None, validation: Metrics | None = None) -> list[Table]:
    """Return the figures of merit of one split; those that speak of a class name it.

    Where no class is *the* positive one, a second table gives them class by class. Where decisions have a threshold
    other than 0.5, it is named: AUC and accuracy, which are MedMNIST's, do not know of it.

    Args:
        metrics: Of the split.
        title: Of the first table.
        validation: Figures of the validation split, put beside those of the split.
    """
    names = {"AUC": "auc", "accuracy": "accuracy"}
    if metrics.threshold not in (None, 0.5):
        names = {"AUC": "auc", "accuracy (at 0.5)": "accuracy", "accuracy (at the threshold)": "decided_accuracy"}
    if metrics.positive_class is not None:
        named = f"({metrics.positive_class})"
        names |= {f"{name} {named}": name for name in ("sensitivity", "specificity")}
        names |= {f"F1 {named}": "f1", f"Dice {named}": "dice"}
    elif metrics.dice is not None:
        names["Dice" if len(metrics.classes) == 2 else "Dice, mean over classes"] = "dice"
    columns = [Column("", fold=True), Column("value", number=True), Column("95 % interval")]
    columns += [Column("validation", number=True)] if validation is not None else []
    cells = []
    for name, field in names.items():
        cell = [name, format_figure(getattr(metrics, field)), format_interval(metrics.intervals.get(field))]
        cells.append(cell if validation is None else [*cell, format_figure(getattr(validation, field))])
    if metrics.threshold is not None:
        positive = metrics.positive_class or (metrics.class_names[1] if metrics.confusion is not None else "each label")
        cells.append([f"threshold ({positive})", f"{metrics.threshold:.4f}", *[NOTHING] * (len(columns) - 2)])
    table = build_table(columns, cells, title=title)
    return [table] if metrics.positive_class is not None else [table, _class_table(metrics)]


def _class_table(metrics: Metrics) -> Table:
    rows = [
        (one.name, one.images, *map(format_figure, (one.auc, one.sensitivity, one.specificity, one.f1, one.dice)))
        for one in metrics.classes
    ]
    names = ("images", "AUC", "sensitivity", "specificity", "F1", "Dice")
    return build_table((Column("class", fold=True), *(Column(name, number=True) for name in names)), rows)


def confusion_table(metrics: Metrics) -> Table | None:
    """Return the counts of true against predicted classes, None where the task has no such table."""
    if metrics.confusion is None:
        return None
    names = metrics.class_names
    columns = (Column("true ↓ predicted →"), *(Column(name, number=True) for name in names))
    rows = [(name, *counts) for name, counts in zip(names, metrics.confusion, strict=True)]
    return build_table(columns, rows)
