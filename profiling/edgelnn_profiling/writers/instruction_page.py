"""A report of instructions as one HTML page."""

from __future__ import annotations

from edgelnn_profiling.instruction_report import InstructionReport, InstructionResult
from edgelnn_profiling.writers.bars import Bar, bar_chart
from edgelnn_profiling.writers.comparison_page import table_page
from edgelnn_profiling.writers.instruction_tables import (
    BOARD_NAMES,
    CLASSES,
    failures_of,
    format_instructions,
    total_table,
)
from edgelnn_profiling.writers.markup import Markup, element
from edgelnn_profiling.writers.sentences import SYNTHETIC
from edgelnn_profiling.writers.shell import figure, legend

__all__ = ["write_instruction_html"]


def write_instruction_html(report: InstructionReport) -> str:
    """Return the report as a page that stands alone: a chart for each board, a table, what could not be counted."""
    boards = dict.fromkeys(result.board for result in report.results if result.counts is not None)
    charts = [_chart(board, [result for result in report.results if result.board == board]) for board in boards]
    table = total_table(report)
    remarks = [*([SYNTHETIC] if report.synthetic else []), *failures_of(report)]
    return table_page(f"{report.name}: instructions for one image", table, remarks, charts)


def _chart(board: str, results: list[InstructionResult]) -> Markup:
    """Return what instructions are made of, a bar for each variant and runtime."""
    counted = [(result, result.counts) for result in results if result.counts is not None]
    runtimes = {result.format: set[str]() for result, _ in counted}
    for result, _ in counted:
        runtimes[result.format].add(result.runtime)
    bars = []
    for result, counts in counted:
        named = result.variant + (f" ({result.runtime})" if len(runtimes[result.format]) > 1 else "")
        parts = tuple(
            (getattr(counts, field) / 1e6, f"{named}, {words}: {format_instructions(getattr(counts, field))}")
            for field, words in CLASSES
        )
        bars.append(Bar(named, parts, format_instructions(counts.total)))
    title = f"{BOARD_NAMES.get(board, board)}, emulated"
    described = "; ".join(f"{bar.name} {bar.total}" for bar in bars) + " instructions."
    keys = [(element("span", class_=f"key part{number}"), words) for number, (_, words) in enumerate(CLASSES)]
    return figure(title, bar_chart(f"board-{board}", title, described, bars, unit="M"), legend(keys))
