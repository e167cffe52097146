"""``edgelnn inspect``: what a model file holds."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgelnn.cli.options import Json
from edgelnn.cli.output import Column, Table, build_table, print_json, show
from edgelnn.cli.targets import kind_of

if TYPE_CHECKING:
    from edgelnn_export.inspection import Inspection

__all__ = ["inspect"]


def inspect(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="An .onnx or .tflite file.")],
    json: Json = False,
) -> None:
    """Show what a model file holds: operators, precision by layer, and what its bytes are spent on."""
    from edgelnn_export.inspection import inspect_model

    kind_of(file, "model")
    found = inspect_model(file)
    if json:
        print_json(_record(file, found))
        return
    show(*_heading(file, found), "", _bytes_table(found), "", _operator_table(found), "", _layer_table(found))


def _heading(file: Path, found: Inspection) -> list[str]:
    from edgelnn.cli.formatting import format_bytes

    ends = [tensor for tensor in found.tensors if tensor.role in ("input", "output")]
    shapes = [f"{each.role} {each.name} {_shape(each.shape)} {each.dtype}" for each in ends]
    versions = ", ".join(f"{name} {version}" for name, version in list(found.versions.items())[:4])
    more = f" and {len(found.versions) - 4} more" if len(found.versions) > 4 else ""
    return [f"{file}: {found.format}, {format_bytes(found.size_bytes)}, {versions}{more}", *shapes]


def _bytes_table(found: Inspection) -> Table:
    from edgelnn.cli.formatting import format_bytes
    from edgelnn_export.inspection import CAUSES

    rows = [
        (cause, format_bytes(size), f"{size / found.size_bytes:.0%}", CAUSES[cause])
        for cause, size in sorted(found.bytes_by_cause.items(), key=lambda item: -item[1])
        if size
    ]
    columns = (Column("bytes are"), Column("size", number=True), Column("share", number=True), Column("", fold=True))
    return build_table(columns, rows)


def _operator_table(found: Inspection) -> Table:
    rows = [(name, count) for name, count in found.operator_counts.items()]
    return build_table((Column(f"operators ({len(found.operators)})"), Column("count", number=True)), rows)


def _layer_table(found: Inspection) -> Table:
    rows = [(each.name, each.type, each.precision, each.graph or "-") for each in found.layers]
    columns = (Column("layers with weights", fold=True), Column("operator"), Column("precision"), Column("in loop"))
    return build_table(columns, rows)


def _shape(shape: tuple[int, ...] | None) -> str:
    return "?" if shape is None else "×".join("n" if length < 0 else str(length) for length in shape)


def _record(file: Path, found: Inspection) -> dict[str, object]:
    from dataclasses import asdict

    return {"file": str(file), "holds_integers": found.holds_integers, **asdict(found)}
