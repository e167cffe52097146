"""Assembles the command line; the work is in the modules beside this one."""

from __future__ import annotations

import contextlib
import io
import sys
import warnings
from collections.abc import Sequence
from typing import Annotated, TextIO

import typer

from edgelnn import __version__
from edgelnn.cli import (
    compare,
    datasets,
    demo,
    doctor,
    emulated_boards,
    evaluate,
    experiments,
    export,
    import_weights,
    inspect,
    predict,
    profile,
    report,
    reproduce,
    train,
)
from edgelnn.cli.errors import run_guarded
from edgelnn.cli.output import print_data, warning
from edgelnn.errors import DataWarning

__all__ = ["app", "main"]

PATH = "From images to a measured model"
JUDGE = "Judge and compare"
LOOK = "Look around"

app = typer.Typer(
    name="edgelnn",
    help="Train compact liquid neural networks, export them to ONNX and TFLite with proof, and measure them.",
    epilog="Start with `edgelnn demo`. EDGELNN_DEBUG=1 shows the traceback of an error.",
    context_settings={"help_option_names": ["--help", "-h"]},
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)


def _print_version(wanted: bool) -> None:
    if wanted:
        print_data(f"edgelnn {__version__}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def start(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Train compact liquid neural networks, export them to ONNX and TFLite with proof, and measure them."""
    if context.invoked_subcommand is None:
        print_data(context.get_help())


app.command("demo", rich_help_panel=PATH)(demo.demo)
app.command("train", rich_help_panel=PATH)(train.train)
app.command("export", rich_help_panel=PATH)(export.export)
app.command("profile", rich_help_panel=PATH)(profile.profile)
app.command("import", rich_help_panel=PATH)(import_weights.import_weights)
app.command("predict", rich_help_panel=PATH)(predict.predict)
app.command("evaluate", rich_help_panel=JUDGE)(evaluate.evaluate)
app.command("compare", rich_help_panel=JUDGE)(compare.compare)
app.command("reproduce", rich_help_panel=JUDGE)(reproduce.reproduce)
app.command("report", rich_help_panel=JUDGE)(report.report)
app.command("inspect", rich_help_panel=JUDGE)(inspect.inspect)
app.command("experiments", rich_help_panel=LOOK)(experiments.experiments)
app.command("datasets", rich_help_panel=LOOK)(datasets.datasets)
app.command("boards", rich_help_panel=LOOK)(emulated_boards.boards)
app.command("doctor", rich_help_panel=LOOK)(doctor.doctor)


def _show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """Say what may be wrong with data as we say everything; other warnings as Python does."""
    if issubclass(category, DataWarning):
        warning(str(message))
    else:
        print(warnings.formatwarning(message, category, filename, lineno, line), end="", file=file or sys.stderr)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code.

    Args:
        arguments: Without the program's name; those of the process where left out.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            with contextlib.suppress(io.UnsupportedOperation):
                stream.reconfigure(errors="backslashreplace")
    given = sys.argv[1:] if arguments is None else list(arguments)
    with warnings.catch_warnings():
        warnings.showwarning = _show_warning
        return run_guarded(lambda: app(given, prog_name="edgelnn", standalone_mode=False))
