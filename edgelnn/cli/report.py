"""``edgelnn report``: a report that was written before, on the screen or in another format."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgelnn.cli.options import Force
from edgelnn.cli.targets import kind_of
from edgelnn.errors import ProfileError

__all__ = ["report"]


def report(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A report from `edgelnn profile --json`.")],
    html: Annotated[
        str | None, typer.Option("--html", metavar="FILE", help="Write it as a page with charts; - for stdout.")
    ] = None,
    markdown: Annotated[str | None, typer.Option("--markdown", metavar="FILE", help="The same as Markdown.")] = None,
    csv: Annotated[str | None, typer.Option("--csv", metavar="FILE", help="The same as CSV.")] = None,
    json: Annotated[
        str | None, typer.Option("--json", metavar="FILE", help="The same as JSON, in the format of today.")
    ] = None,
    force: Force = False,
) -> None:
    """Show a report again, or write it in another format; nothing is measured.

    A report holds its raw samples, so that what was measured on a board can be looked at anywhere.
    """
    from edgelnn_profiling.instruction_report import is_instruction_report

    kind_of(file, "report")
    text = file.read_bytes()
    again = _instructions_again if is_instruction_report(text) else _times_again
    try:
        again(text, json=json, csv=csv, markdown=markdown, html=html, force=force)
    except ProfileError as error:
        raise ProfileError(f"{file}: {error}") from error


def _times_again(
    text: bytes, *, json: str | None, csv: str | None, markdown: str | None, html: str | None, force: bool
) -> None:
    from edgelnn.cli.report_files import ReportFiles
    from edgelnn.cli.report_tables import show_report
    from edgelnn_profiling import Report
    from edgelnn_profiling.writers import write_csv, write_html, write_markdown

    files: ReportFiles[Report] = ReportFiles(
        [(json, lambda report: report.to_json()), (csv, write_csv), (markdown, write_markdown), (html, write_html)],
        force=force,
    )
    found = Report.from_json(text)
    files.deliver(found, lambda report: show_report(report, tables=not files.on_stdout))


def _instructions_again(
    text: bytes, *, json: str | None, csv: str | None, markdown: str | None, html: str | None, force: bool
) -> None:
    from edgelnn.cli.profile_emulated import instruction_files, show_instructions
    from edgelnn_profiling.instruction_report import InstructionReport

    files = instruction_files(json=json, csv=csv, markdown=markdown, html=html, force=force)
    found = InstructionReport.from_json(text)
    files.deliver(found, lambda report: show_instructions(report, tables=not files.on_stdout))
