"""``edgelnn datasets``: what can be trained on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from edgelnn.cli.options import Json
from edgelnn.cli.output import Column, build_table, message, print_json, show

if TYPE_CHECKING:
    from edgelnn.data import DatasetInfo

__all__ = ["datasets"]

COLUMNS = (
    Column("name"),
    Column("of"),
    Column("task (classes)"),
    Column("positive"),
    Column("sizes"),
    Column("train/val/test", number=True),
)


def datasets(
    grep: Annotated[str, typer.Option("--grep", "-g", metavar="TEXT", help="Only those that mention this.")] = "",
    json: Json = False,
) -> None:
    """List the datasets known by name."""
    from edgelnn.data import list_datasets

    wanted = grep.lower()
    found = [info for info in list_datasets() if wanted in str(_record(info)).lower()]
    if json:
        print_json([_record(info) for info in found])
        return
    show(build_table(COLUMNS, [_row(info) for info in found]))
    message("positive: the class that sensitivity, specificity and F1 speak of; where there is none, they are given")
    message("class by class. Your own data: the path of an .npz, an IDX folder, or a folder with one folder per class.")


def _record(info: DatasetInfo) -> dict[str, Any]:
    return {
        "name": info.name,
        "title": info.title,
        "task": info.task,
        "class_names": info.class_names,
        "positive_class": _positive(info),
        "sizes": info.sizes,
        "is_volume": info.is_volume,
        "channels": info.channels,
        "splits": info.splits,
        "licence": info.licence,
        "synthetic": info.synthetic,
    }


def _row(info: DatasetInfo) -> list[str]:
    task = info.task.removesuffix("-class").removesuffix("-regression")
    first, last = min(info.sizes), max(info.sizes)
    return [
        info.name,
        "3D" if info.is_volume else "2D",
        f"{task} ({info.classes})",
        _positive(info) or "-",
        str(first) if first == last else f"{first}…{last}",
        "/".join(str(count) for count in info.splits.values()) or "as found",
    ]


def _positive(info: DatasetInfo) -> str | None:
    return None if info.positive_class is None else info.class_names[info.positive_class]
