"""``edgelnn datasets``: what can be trained on."""

from __future__ import annotations

from typing import Annotated

import typer

from edgelnn.cli.options import Json
from edgelnn.cli.output import Column, build_table, message, print_json, show

__all__ = ["datasets"]


def datasets(
    grep: Annotated[str, typer.Option("--grep", "-g", metavar="TEXT", help="Only those that mention this.")] = "",
    json: Json = False,
) -> None:
    """List the datasets known by name."""
    from edgelnn.data import list_datasets

    found = [info for info in list_datasets() if grep.lower() in repr(info).lower()]
    if json:
        from dataclasses import asdict

        print_json([asdict(info) for info in found])
        return
    rows = []
    for info in found:
        positive = info.positive_class
        rows.append(
            [
                info.name,
                "volumes" if info.is_volume else "images",
                info.task,
                len(info.classes),
                positive if positive is not None else "-",
                " ".join(str(size) for size in info.sizes),
                "/".join(str(count) for count in info.splits.values())
                if isinstance(info.splits, dict)
                else info.splits,
            ]
        )
    columns = [
        Column("name"),
        Column("of"),
        Column("task"),
        Column("classes", number=True),
        Column("positive class", fold=True),
        Column("sizes"),
        Column("train/val/test", number=True),
    ]
    show(build_table(columns, rows))
    message("Or the path of your own .npz, IDX folder, or folder with one folder of images per class.")
