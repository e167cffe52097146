"""``edgelnn export``: a run becomes a bundle."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgelnn.cli.options import Force, Json, Out
from edgelnn.cli.output import Column, Table, message, next_step, print_json, show
from edgelnn.cli.targets import kind_of

if TYPE_CHECKING:
    from edgelnn.bundle import Bundle

__all__ = ["export"]

BUNDLES = Path("bundles")


def export(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="The folder of a run, as `edgelnn train` leaves it.")],
    formats: Annotated[
        list[str] | None,
        typer.Option("--format", "-f", metavar="onnx|tflite", help="Repeatable.", show_default="both"),
    ] = None,
    quantize: Annotated[
        bool, typer.Option("--quantize", "-q", help="Also try every int8 recipe, and keep those that hold.")
    ] = False,
    recipes: Annotated[
        list[str] | None,
        typer.Option(
            "--recipe", "-r", metavar="NAME", help="Try this recipe and fail where it does not hold. Repeatable."
        ),
    ] = None,
    out: Out = None,
    force: Force = False,
    json: Json = False,
) -> None:
    """Write a bundle of ONNX and TFLite files, each checked against the trained model."""
    from edgelnn.cli.checks import CheckLines
    from edgelnn.run import Run
    from edgelnn_export import build_bundle

    kind_of(run, "run")
    folder = out or BUNDLES / run.resolve().name
    listener = CheckLines()
    bundle = build_bundle(
        Run.load(run),
        folder,
        formats=tuple(formats or ("onnx", "tflite")),
        quantize=quantize,
        recipes=tuple(recipes or ()),
        force=force,
        listener=listener,
    )
    message()
    if json:
        print_json({"bundle": str(folder), "manifest": bundle.manifest})
    else:
        show(variant_table(bundle))
        message(f"* recommended. {folder} also holds predict.py, golden.npz and a README.")
    next_step("profile", folder)


def variant_table(bundle: Bundle) -> Table:
    """Return every variant of a bundle, with the PyTorch model's own figures to compare with."""
    from edgelnn.cli.formatting import format_bytes

    model, recommended = bundle.manifest.model, bundle.manifest.recommended
    rows = [("PyTorch", "", "", *_pair(model.validation), *_pair(model.test))]
    for variant in bundle.manifest.variants:
        name = f"{variant.name}{' *' if variant.name == recommended else ''}"
        figures = (*_pair(variant.validation), *_pair(variant.test))
        size = format_bytes(variant.size_bytes)
        rows.append((name, size, f"{variant.parity_max_error:.1e}", *figures))
    columns = (
        Column("variant"),
        Column("file", number=True),
        Column("max error", number=True, spare=1),
        Column("val AUC", number=True),
        Column("val acc.", number=True, spare=2),
        Column("test AUC", number=True),
        Column("test acc.", number=True),
    )
    return Table(columns, tuple(rows))


def _pair(figures: Mapping[str, float]) -> tuple[str, str]:
    from edgelnn.cli.formatting import format_figure

    return format_figure(figures.get("auc")), format_figure(figures.get("accuracy"))
