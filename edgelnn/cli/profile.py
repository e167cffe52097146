"""``edgelnn profile``: what a bundle or a model file costs on this machine."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgelnn.cli.measuring import build_plan
from edgelnn.cli.options import Force
from edgelnn.cli.output import console, is_terminal, message, next_step, print_data, show
from edgelnn.cli.targets import kind_of
from edgelnn.errors import ConfigError, ProfileError, WriteError

if TYPE_CHECKING:
    from edgelnn_profiling import Progress, Report

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
    force: Force = False,
) -> None:
    """Measure latency and memory of every variant, each in a process of its own without torch and onnx."""
    from edgelnn_profiling import profile as measure
    from edgelnn_profiling.writers import write_csv, write_html, write_markdown

    kind_of(target, "bundle", "model")
    outputs: list[tuple[str | None, Callable[[Report], str]]] = [
        (json, lambda report: report.to_json()),
        (csv, write_csv),
        (markdown, write_markdown),
        (html, write_html),
    ]
    _check_outputs([name for name, _ in outputs if name is not None], force)
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
    with shown_progress() as listener:
        report = measure(target, plan, listener, variants=tuple(variants or ()), power_csv=power_csv)
    failed = [result for result in report.results if result.error is not None]
    if len(failed) == len(report.results):
        raise ProfileError(f"nothing could be measured. {failed[0].variant}: {failed[0].error}")
    for name, format_report in outputs:
        if name is not None:
            _write(name, format_report(report), force)
    if "-" not in (json, csv, markdown, html):
        _show(report)
    _warn(report)
    if json not in (None, "-"):
        next_step("compare", json, "ANOTHER.json")
    elif target.is_dir():
        next_step("predict", target, "IMAGE")


def _check_outputs(names: Sequence[str], force: bool) -> None:
    """Refuse what could not be written before minutes are spent on measuring."""
    if names.count("-") > 1:
        raise ConfigError("got - for more than one format; stdout takes one. Name files for the others.")
    for name in names:
        path = Path(name)
        if name == "-":
            continue
        if path.is_dir():
            raise WriteError(f"got {name} to write a report to; it is a folder. Name a file in it.")
        if path.exists() and not force:
            raise WriteError(f"{name} exists. Pass --force to replace it, or choose another name.")
        if path.parent.exists() and not os.access(path.parent, os.W_OK, effective_ids=True):
            raise WriteError(f"cannot write {name}: no permission there. Choose another folder.")


def _write(name: str, text: str, force: bool) -> None:
    from edgelnn.atomic import write_text_atomically

    if name == "-":
        print_data(text)
    else:
        write_text_atomically(name, text, force=force)
        message(f"wrote {name}")


def _show(report: Report) -> None:
    from edgelnn.cli.report_tables import screen_parts

    show(*screen_parts(report))


def _warn(report: Report) -> None:
    """Say what to think of before trusting the figures; what concerns many variants alike, once."""
    from edgelnn_profiling.writers.sentences import doubts_of

    for doubt in doubts_of(report):
        message(f"{'✗' if doubt.invalidates else '!'} {doubt.observation}", color="yellow")
        message(f"    {doubt.matters};\n    {doubt.advice}.")
    if report.valid:
        message("✓ The report is valid.", color="green")
    else:
        message("✗ The report is not valid: do not publish these figures.", color="yellow")


@contextmanager
def shown_progress() -> Iterator[Callable[[Progress], None]]:
    """Give a listener: a live bar where a person watches, silence elsewhere."""
    if not is_terminal(sys.stderr):
        yield lambda _: None
        return
    from rich.progress import BarColumn, Progress, TextColumn

    columns = (TextColumn("measuring"), BarColumn(bar_width=20), TextColumn("{task.description}"))
    with Progress(*columns, console=console(err=True), transient=True) as bar:
        task = bar.add_task("", total=1)
        yield lambda progress: bar.update(
            task, completed=progress.done, total=progress.total, description=progress.what
        )
