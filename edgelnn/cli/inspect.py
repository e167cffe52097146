"""``edgelnn inspect``: what a model file holds."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgelnn.cli.inspect_errors import error_table, errors_against
from edgelnn.cli.inspect_layers import group_layers
from edgelnn.cli.options import Force, Json
from edgelnn.cli.output import Column, Table, build_table, message, print_json, show, warning
from edgelnn.cli.targets import kind_of
from edgelnn.errors import ConfigError, ModelFileError

if TYPE_CHECKING:
    from edgelnn_export.inspection import Inspection

__all__ = ["inspect"]


def inspect(
    target: Annotated[
        Path, typer.Argument(metavar="FILE or BUNDLE", help="An .onnx or .tflite file, or the folder of a bundle.")
    ],
    variant: Annotated[
        str | None, typer.Option("--variant", metavar="NAME", help="Of a bundle.", show_default="the recommended one")
    ] = None,
    picture: Annotated[
        Path | None, typer.Option("--picture", metavar="FILE.png", help="Also draw bytes by cause and work by layer.")
    ] = None,
    against: Annotated[
        Path | None,
        typer.Option("--against", metavar="RUN", help="Also show each layer's error against the run it came from."),
    ] = None,
    force: Force = False,
    json: Json = False,
) -> None:
    """Show what a model file holds: operators, precision and work by layer, and what its bytes are spent on."""
    from edgelnn_export.inspect_apart import inspect_apart

    file = _file(target, variant)
    found = inspect_apart(file)
    refusal = _refusal(file)
    errors = None if against is None else errors_against(file, against)
    if picture is not None:
        _draw(file, found, picture, force)
    if json:
        record = _record(file, found, refusal)
        print_json(record if errors is None else {**record, "errors": [asdict(error) for error in errors]})
        return
    show(*_heading(file, found), "", _bytes_table(found), "", _operator_table(found), "", _layer_table(found))
    if errors is not None:
        show("", error_table(errors))
    if refusal:
        warning(f"edgelnn would not run it: {refusal}")
    if picture is not None:
        message(f"Drawn in {picture}.")


def _file(target: Path, variant: str | None) -> Path:
    """Return the model file that is meant."""
    from edgelnn.bundle import Bundle

    if kind_of(target, "model", "bundle") == "bundle":
        bundle = Bundle.load(target)
        return bundle.path(bundle.variant(variant))
    if variant is not None:
        raise ConfigError(f"got --variant {variant}; a model file has none. Leave it out, or name a bundle.")
    return target


def _refusal(file: Path) -> str:
    """Return why the file is not fit to be run; empty where it is."""
    from edgelnn_profiling import check_model

    try:
        check_model(file)
    except ModelFileError as error:
        return str(error)
    return ""


def _draw(file: Path, found: Inspection, picture: Path, force: bool) -> None:
    from edgelnn.atomic import write_bytes_atomically
    from edgelnn.cli.inspect_picture import draw_inspection

    if picture.suffix.lower() != ".png":
        raise ConfigError(f"got --picture {picture}; pictures are PNG files, so name one that ends in .png.")
    write_bytes_atomically(picture, draw_inspection(file.name, found), force=force)


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
    from edgelnn.cli.formatting import format_count

    layers = group_layers(found)
    rows = [
        (each.name, each.type, each.precision, format_count(each.times), format_count(each.macs), each.graph or "-")
        for each in layers
    ]
    if layers:
        rows.append(("all", "", "", "", format_count(found.macs), ""))
    columns = (
        Column("layers with weights", fold=True),
        Column("operator"),
        Column("precision"),
        Column("times", number=True),
        Column("MACs", number=True),
        Column("in loop", spare=1),
    )
    return build_table(columns, rows)


def _shape(shape: tuple[int, ...] | None) -> str:
    return "?" if shape is None else "×".join("n" if length < 0 else str(length) for length in shape)


def _record(file: Path, found: Inspection, refusal: str) -> dict[str, object]:
    return {
        "file": str(file),
        "holds_integers": found.holds_integers,
        "macs": found.macs,
        "refused": refusal or None,
        "layers": [asdict(layer) for layer in group_layers(found)],
        **asdict(found),
    }
