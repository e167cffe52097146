"""``edgelnn export``: a run becomes a bundle."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgelnn.cli.options import Force, Install, Json, On, Out, RemoteFolder, RemotePython
from edgelnn.cli.output import Column, Table, message, next_step, print_json, show, warning
from edgelnn.cli.targets import kind_of
from edgelnn.errors import ConfigError

if TYPE_CHECKING:
    from edgelnn.bundle import Bundle
    from edgelnn.cli.reach import Reach
    from edgelnn_export.costs import CostMeter

__all__ = ["export"]

BUNDLES = Path("bundles")


def export(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="The folder of a run, as `edgelnn train` leaves it.")],
    formats: Annotated[
        list[str] | None,
        typer.Option("--format", "-f", metavar="onnx|tflite", help="Repeatable.", show_default="both"),
    ] = None,
    quantize: Annotated[
        bool,
        typer.Option("--quantize", "-q", help="Also try every recipe, and keep the smallest and fastest that hold."),
    ] = False,
    recipes: Annotated[
        list[str] | None,
        typer.Option(
            "--recipe", "-r", metavar="NAME", help="Try this recipe and fail where it does not hold. Repeatable."
        ),
    ] = None,
    target: Annotated[
        str | None,
        typer.Option(
            "--target",
            "-t",
            metavar="pi3|pi4|pi5",
            help="Choose by instructions on that board, emulated (edgelnn boards), not by latency here.",
        ),
    ] = None,
    on: On = None,
    install: Install = False,
    remote_python: RemotePython = None,
    remote_folder: RemoteFolder = None,
    max_auc_drop: Annotated[
        float | None,
        typer.Option(help="AUC that a quantized file may lose on the validation split.", show_default="0.02"),
    ] = None,
    max_bytes: Annotated[int | None, typer.Option(min=1, help="Size that a quantized file may have.")] = None,
    measure: Annotated[
        bool, typer.Option(help="Measure latency where files are chosen; without, bytes alone decide.")
    ] = True,
    optimize: Annotated[
        str,
        typer.Option(
            metavar="latency|size",
            help="size: write recurrences as loops where that makes a smaller file; they run slower.",
        ),
    ] = "latency",
    input_type: Annotated[
        str,
        typer.Option("--input", metavar="float32|uint8", help="uint8: files take pixels as they are, 0 to 255."),
    ] = "float32",
    out: Out = None,
    force: Force = False,
    json: Json = False,
) -> None:
    """Write a bundle of ONNX and TFLite files, each checked against the trained model."""
    from edgelnn.cli.checks import CheckLines
    from edgelnn.cli.reach import reach_of
    from edgelnn.run import Run
    from edgelnn_export import build_bundle
    from edgelnn_export.parity import MAX_AUC_DROP

    reach, wanted = reach_of(on, install, remote_python, remote_folder), tuple(formats or ("onnx", "tflite"))
    if reach is not None and (target is not None or not quantize or not measure):
        raise ConfigError("--on chooses by latency on that board: it goes with --quantize, not with --target.")
    kind_of(run, "run")
    folder = out or BUNDLES / run.resolve().name
    listener = CheckLines()
    bundle = build_bundle(
        Run.load(run),
        folder,
        formats=wanted,
        quantize=quantize,
        recipes=tuple(recipes or ()),
        force=force,
        listener=listener,
        target=target,
        max_auc_drop=MAX_AUC_DROP if max_auc_drop is None else max_auc_drop,
        max_bytes=max_bytes,
        measure=measure,
        meter=None if reach is None else _meter_on(reach, wanted),
        optimize=optimize,
        input_type=input_type,
    )
    message()
    if json:
        print_json({"bundle": str(folder), "manifest": bundle.manifest})
    else:
        show(variant_table(bundle))
        left_out = "; (in brackets) left out" if bundle.manifest.rejected else ""
        message(f"* recommended{left_out}. {folder} also holds predict.py, golden.npz and a README.")
    next_step("profile", folder)


def _meter_on(reach: Reach, formats: Sequence[str]) -> CostMeter:
    """Return the meter of latency on a board, after seeing now that the board can do it."""
    from edgelnn.cli.reach import machine_of, opened
    from edgelnn_export.costs import latency_on
    from edgelnn_export.quantization import FORMATS

    (host,) = reach.hosts
    known = [one for one in FORMATS if one in formats]
    with opened(host, reach, known) as board:
        if board.executor.refused:
            model_format, why = next(iter(board.executor.refused.items()))
            raise ConfigError(f"{why}. Leave {model_format} out: --format.")
        machine, _ = machine_of(board)
    name = machine.board or machine.cpu or machine.architecture
    if machine.emulated:
        warning(f"{host} is emulated: its latency says nothing about a real {name}. Use --target.")
        name = f"{name} (emulated)"
    return latency_on(name, lambda: opened(host, reach, known))


def variant_table(bundle: Bundle) -> Table:
    """Return every candidate of an export, kept ones first, with the PyTorch model's own figures to compare with."""
    from edgelnn.cli.formatting import format_bytes

    manifest = bundle.manifest
    model, costs = manifest.model, manifest.choice.costs
    rows = [("PyTorch", "", "", "", *_pair(model.validation), *_pair(model.test))]
    for variant in manifest.variants:
        name = f"{variant.name}{' *' if variant.name == manifest.recommended else ''}"
        figures = (*_pair(variant.validation), *_pair(variant.test))
        cost = _cost(costs.get(variant.name), manifest.choice.cost)
        rows.append((name, format_bytes(variant.size_bytes), cost, f"{variant.parity_max_error:.1e}", *figures))
    for rejected in manifest.rejected:
        found = rejected.figures
        size = format_bytes(int(found["size_bytes"])) if "size_bytes" in found else ""
        error = f"{found['parity_max_error']:.1e}" if "parity_max_error" in found else ""
        cost = _cost(costs.get(rejected.name), manifest.choice.cost)
        rows.append((f"({rejected.name})", size, cost, error, *_pair(found), "", ""))
    columns = (
        Column("variant"),
        Column("file", number=True),
        Column("cost", number=True),
        Column("max error", number=True, spare=1),
        Column("val AUC", number=True),
        Column("val acc.", number=True, spare=2),
        Column("test AUC", number=True),
        Column("test acc.", number=True, spare=3),
    )
    # Where nothing was measured there is nothing to show.
    shown = [i for i, column in enumerate(columns) if costs or column.title != "cost"]
    return Table(tuple(columns[i] for i in shown), tuple(tuple(row[i] for i in shown) for row in rows))


def _cost(cost: float | None, unit: str) -> str:
    from edgelnn.cli.formatting import format_count, format_seconds

    if cost is None:
        return ""
    return format_seconds(cost) if unit == "seconds" else format_count(round(cost))


def _pair(figures: Mapping[str, float]) -> tuple[str, str]:
    from edgelnn.cli.formatting import format_figure

    return format_figure(figures.get("auc")), format_figure(figures.get("accuracy"))
