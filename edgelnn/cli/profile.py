"""``edgelnn profile``: what a bundle or a model file costs on this machine, or on boards."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgelnn.cli.measuring import build_plan
from edgelnn.cli.options import Force, Install, RemoteFolder, RemotePython
from edgelnn.cli.output import console, is_terminal, next_step, print_data
from edgelnn.cli.targets import kind_of
from edgelnn.errors import ConfigError, ProfileError

if TYPE_CHECKING:
    from edgelnn_profiling import Progress, Report
    from edgelnn_profiling.remote import Board

__all__ = ["profile", "shown_progress"]


def _print_schema(wanted: bool) -> None:
    if wanted:
        from edgelnn_profiling.schema import report_schema

        print_data(report_schema())
        raise typer.Exit


def profile(
    target: Annotated[Path, typer.Argument(metavar="TARGET", help="A bundle, or an .onnx or .tflite file.")],
    variants: Annotated[
        list[str] | None,
        typer.Option("--variant", metavar="NAME", help="Of a bundle. Repeatable.", show_default="every variant"),
    ] = None,
    threads: Annotated[
        str, typer.Option("--threads", metavar="N[,N…]", help="Threads to measure with, such as 1,2,4.")
    ] = "1",
    quick: Annotated[bool, typer.Option("--quick", help="A look in half a second a variant, not a result.")] = False,
    rounds: Annotated[
        int | None, typer.Option("--rounds", metavar="N", help="Fresh processes a variant.", show_default="3")
    ] = None,
    windows: Annotated[
        int | None, typer.Option("--windows", metavar="N", help="Windows in each process.", show_default="2")
    ] = None,
    window: Annotated[
        float | None, typer.Option("--window", metavar="SECONDS", help="Length of a window.", show_default="0.15")
    ] = None,
    batches: Annotated[
        str | None,
        typer.Option("--batches", metavar="N[,N…]", help="Batch sizes for images a second.", show_default="1,8,32"),
    ] = None,
    pin: Annotated[
        str | None, typer.Option("--pin", metavar="CPUS", help="Pin processes to CPUs such as 2,3, or: last.")
    ] = None,
    operators: Annotated[bool, typer.Option("--operators", help="Time by operator, layer and part too.")] = False,
    energy: Annotated[bool, typer.Option("--energy", help="Estimate energy too, where the machine can tell.")] = False,
    power_csv: Annotated[
        Path | None,
        typer.Option("--power-csv", metavar="FILE", help="Energy from a meter that writes time,watts there meanwhile."),
    ] = None,
    energy_window: Annotated[
        float | None,
        typer.Option("--energy-window", metavar="SECONDS", help="Length of a window for energy.", show_default="2"),
    ] = None,
    json: Annotated[
        str | None, typer.Option("--json", metavar="FILE", help="Write the report as JSON; - for stdout alone.")
    ] = None,
    csv: Annotated[str | None, typer.Option("--csv", metavar="FILE", help="The same as CSV.")] = None,
    markdown: Annotated[str | None, typer.Option("--markdown", metavar="FILE", help="The same as Markdown.")] = None,
    html: Annotated[
        str | None, typer.Option("--html", metavar="FILE", help="The same as a page with charts, in one file.")
    ] = None,
    schema: Annotated[
        bool,
        typer.Option(
            "--schema", callback=_print_schema, is_eager=True, help="Print the report's JSON Schema and exit."
        ),
    ] = False,
    on: Annotated[
        list[str] | None,
        typer.Option(
            "--on",
            metavar="USER@BOARD",
            help="Measure on that board, over ssh. Repeatable: boards measure side by side.",
            show_default="this machine",
        ),
    ] = None,
    install: Install = False,
    emulate: Annotated[
        list[str] | None,
        typer.Option(
            "--emulate",
            metavar="pi3|pi4|pi5",
            help="Count instructions on that board, emulated, and measure no time. Repeatable.",
        ),
    ] = None,
    remote_python: RemotePython = None,
    remote_folder: RemoteFolder = None,
    force: Force = False,
) -> None:
    """Measure latency and memory of every variant, each in a process of its own without torch and onnx."""
    from edgelnn.cli.reach import formats_of, on_each, opened, reach_of, same_clock
    from edgelnn.cli.report_files import ReportFiles
    from edgelnn.cli.report_tables import show_report
    from edgelnn_profiling import profile as measure_model
    from edgelnn_profiling.writers import write_csv, write_html, write_markdown

    kind_of(target, "bundle", "model")
    reach, names = reach_of(on, install, remote_python, remote_folder), tuple(variants or ())
    if emulate:
        from edgelnn.cli.profile_emulated import profile_emulated

        measuring: list[tuple[str, object]] = [("--rounds", rounds), ("--windows", windows), ("--window", window)]
        measuring += [("--batches", batches), ("--pin", pin), ("--power-csv", power_csv), ("--on", on)]
        measuring += [("--energy-window", energy_window)]
        refused = [("--threads", threads != "1"), ("--quick", quick), ("--operators", operators), ("--energy", energy)]
        refused += [(name, value is not None) for name, value in measuring]
        profile_emulated(
            target, emulate, names, refused=refused, json=json, csv=csv, markdown=markdown, html=html, force=force
        )
        return
    files = ReportFiles(
        [(json, lambda report: report.to_json()), (csv, write_csv), (markdown, write_markdown), (html, write_html)],
        force=force,
        places=reach.hosts if reach else (),
    )
    if power_csv is not None and reach is not None and len(reach.hosts) > 1:
        raise ConfigError("got --power-csv with several boards; one meter measures one board. Measure them in turn.")
    plan = build_plan(
        quick=quick,
        threads=threads,
        rounds=rounds,
        windows=windows,
        window=window,
        batches=batches,
        pin=pin,
        operators=operators,
        energy=energy or power_csv is not None,
        energy_window=energy_window,
    )

    def measure(listener: Callable[[Progress], None], board: Board | None = None) -> Report:
        executor = None if board is None else board.executor
        return measure_model(target, plan, listener, variants=names, executor=executor, power_csv=power_csv)

    def finish(report: Report, place: str = "") -> None:
        failed = [result for result in report.results if result.error is not None]
        if len(failed) == len(report.results):
            raise ProfileError(f"nothing could be measured. {failed[0].variant}: {failed[0].error}")
        files.deliver(report, lambda report: show_report(report, tables=not files.on_stdout), place)

    if reach is None:
        with shown_progress() as listener:
            report = measure(listener)
        finish(report)
    elif len(reach.hosts) == 1:
        with opened(reach.hosts[0], reach, formats_of(target, names)) as board, shown_progress() as listener:
            if power_csv is not None:
                same_clock(board)
            report = measure(listener, board)
        finish(report)
    elif on_each(reach, formats_of(target, names), lambda board, listener: measure(listener, board), finish):
        raise typer.Exit(1)
    if json is not None and json != "-":
        written = [files.path(json, host) for host in reach.hosts] if reach else [json]
        next_step("compare", *written, *(["ANOTHER.json"] if len(written) == 1 else []))
    elif target.is_dir():
        next_step("predict", target, "IMAGE")


@contextmanager
def shown_progress(word: str = "measuring") -> Iterator[Callable[[Progress], None]]:
    """Give a listener: a live bar where a person watches, silence elsewhere."""
    if not is_terminal(sys.stderr):
        yield lambda _: None
        return
    from rich.progress import BarColumn, Progress, TextColumn

    columns = (TextColumn(word), BarColumn(bar_width=20), TextColumn("{task.description}"))
    with Progress(*columns, console=console(err=True), transient=True) as bar:
        task = bar.add_task("", total=1)
        yield lambda progress: bar.update(
            task, completed=progress.done, total=progress.total, description=progress.what
        )
