"""A report on the screen: its tables, and what to think of before trusting them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from edgelnn.cli.output import Column, Table, message, show

if TYPE_CHECKING:
    from edgelnn_profiling import Report
    from edgelnn_profiling.writers.tables import TextTable

__all__ = ["as_screen_table", "screen_parts", "show_report"]


def show_report(report: Report, *, tables: bool = True) -> None:
    """Print a report's tables, where stdout is free for them, and what to think of them."""
    if tables:
        show(*screen_parts(report))
    _say_verdict(report)


def _say_verdict(report: Report) -> None:
    """Say what to think of before trusting the figures; what concerns many variants alike, once."""
    from edgelnn_profiling.writers.sentences import doubts_of

    for doubt in doubts_of(report):
        message(f"{'✗' if doubt.invalidates else '!'} {doubt.observation}", color="yellow")
        message(f"    {doubt.matters};\n    {doubt.advice}.")
    if report.valid:
        message("✓ The report is valid.", color="green")
    else:
        message("✗ The report is not valid: do not publish these figures.", color="yellow")


def screen_parts(report: Report) -> Iterator[Table | str]:
    """Give what is shown of a report: what was measured where, then table after table."""
    from edgelnn_profiling.writers.tables import tables_of

    yield heading(report)
    for table in tables_of(report, narrow=True):
        yield ""
        yield as_screen_table(table)
        if table.note:
            yield table.note


def heading(report: Report) -> str:
    """Return a few lines: which model, trained on what, measured where."""
    from edgelnn_profiling.writers.sentences import machine_name, model_sentence

    machine = report.machine
    trained = "" if report.dataset is None else f", trained on {report.dataset}"
    synthetic = " (synthetic images)" if report.synthetic else ""
    lines = [f"{report.name}{trained}{synthetic}"]
    lines.append(f"on {machine_name(report)}, {machine.architecture}, {machine.cores} CPUs")
    return "\n".join(filter(None, [*lines, model_sentence(report)]))


def as_screen_table(table: TextTable) -> Table:
    """Return a report's table as one that fits itself to the terminal."""
    columns = tuple(Column(column.title, number=column.number, spare=column.spare) for column in table.columns)
    return Table(columns, table.rows, table.title)
