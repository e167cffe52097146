"""A report of instructions as tables of text, as Markdown and as CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence

from edgelnn_profiling.instruction_growth import Growth
from edgelnn_profiling.instruction_report import NO_TIME, InstructionReport, InstructionResult
from edgelnn_profiling.writers.csv_rows import csv_cell
from edgelnn_profiling.writers.markdown import markdown_table, plain
from edgelnn_profiling.writers.text_table import TextColumn, TextTable
from edgelnn_profiling.writers.units import UNKNOWN, format_bytes

__all__ = [
    "class_table",
    "failures_of",
    "format_instructions",
    "growth_table",
    "instruction_tables",
    "total_table",
    "write_instruction_csv",
    "write_instruction_markdown",
]

CLASSES = (
    ("integer", "integer"),
    ("simd_fp", "SIMD and FP"),
    ("loads", "loads"),
    ("stores", "stores"),
    ("branches", "branches"),
    ("other", "other"),
)
BOARD_NAMES = {"pi3": "Pi 3", "pi4": "Pi 4", "pi5": "Pi 5"}


def instruction_tables(report: InstructionReport) -> list[TextTable]:
    """Return all tables of a report."""
    return [total_table(report), class_table(report)]


def total_table(report: InstructionReport) -> TextTable:
    """Return a row for each variant and runtime, and a column for each board."""
    boards = list(dict.fromkeys(result.board for result in report.results))
    rows: dict[tuple[str, str], dict[str, InstructionResult]] = {}
    for result in report.results:
        rows.setdefault((result.variant, result.runtime), {})[result.board] = result
    cells = []
    for found in rows.values():
        first = next(iter(found.values()))
        totals = (_total(found.get(board)) for board in boards)
        cells.append((_name(first), _runtime(list(found.values())), format_bytes(first.size_bytes), *totals))
    columns = (
        TextColumn("variant", number=False),
        TextColumn("runtime", number=False, spare=2),
        TextColumn("file", spare=1),
        *(TextColumn(BOARD_NAMES.get(board, board)) for board in boards),
    )
    note = NO_TIME
    if any(result.recommended for result in report.results):
        note = f"* recommended by the bundle. {note}"
    return TextTable("instructions", "Instructions for one image, one thread", columns, tuple(cells), note)


def class_table(report: InstructionReport) -> TextTable:
    """Return a row for each count, by class."""
    rows = []
    for result in report.results:
        counts = result.counts
        if counts is None:
            continue
        head = (_name(result), result.runtime, BOARD_NAMES.get(result.board, result.board))
        rows.append((*head, *(format_instructions(getattr(counts, field)) for field, _ in CLASSES)))
    columns = (
        TextColumn("variant", number=False),
        TextColumn("runtime", number=False, spare=1),
        TextColumn("board", number=False),
        *(TextColumn(words) for _, words in CLASSES),
    )
    return TextTable("classes", "By class of instruction", columns, tuple(rows))


def growth_table(grown: Mapping[str, Sequence[Growth]], first: str) -> TextTable:
    """Return a row for each count of some reports against those of the first.

    Args:
        grown: By name of the report.
        first: Name of the one that they are compared with.
    """
    rows = []
    for name, growths in grown.items():
        for growth in growths:
            before, after = (UNKNOWN if n is None else format_instructions(n) for n in (growth.before, growth.after))
            ratio = UNKNOWN if growth.ratio is None else f"{growth.ratio:.4f}"
            most = max(growth.by_class, key=lambda change: abs(change[1]), default=None)
            change = "" if most is None else f"{dict(CLASSES)[most[0]]} {most[1]:+,}"
            board = BOARD_NAMES.get(growth.board, growth.board)
            rows.append((name, growth.variant, growth.runtime, board, before, after, ratio, change))
    columns = (
        TextColumn("report", number=False),
        TextColumn("variant", number=False),
        TextColumn("runtime", number=False, spare=2),
        TextColumn("board", number=False),
        TextColumn(f"in {first}"),
        TextColumn("instructions"),
        TextColumn("ratio"),
        TextColumn("largest change", spare=1),
    )
    title = f"Instructions for one image, compared with {first}"
    return TextTable("growth", title, columns, tuple(rows), NO_TIME)


def failures_of(report: InstructionReport) -> list[str]:
    """Return what could not be counted, and why, each without its full stop."""
    return [
        f"{result.variant} on {result.board} with {result.runtime}: {result.error.rstrip('.')}"
        for result in report.results
        if result.error is not None
    ]


def write_instruction_markdown(report: InstructionReport) -> str:
    """Return the report as a section of Markdown: tables, what is wrong, versions."""
    lines = [f"## {plain(report.name)}", ""]
    if report.synthetic:
        lines += ["**Trained on synthetic images.**", ""]
    for table in instruction_tables(report):
        lines += [*markdown_table(table), ""]
    lines += [f"- {plain(failure)}." for failure in failures_of(report)]
    lines.append(f"- Counted {report.created} with edgelnn {plain(report.edgelnn)} on emulated boards.")
    return "\n".join(lines) + "\n"


def write_instruction_csv(report: InstructionReport) -> str:
    """Return one row a count; what is unknown is an empty field."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    facts = ("variant", "format", "recipe", "file", "size_bytes", "sha256", "macs", "board", "runtime")
    totals = ("total", *(field for field, _ in CLASSES))
    counted = ("runtime_version", *totals)
    titles = ("runtime_version", *(f"{name}_instructions" for name in totals))
    writer.writerow(("name", *facts, *titles, "parity_max_error", "parity_allowed", "error", "created"))
    for result in report.results:
        values = [report.name, *(getattr(result, name) for name in facts)]
        values += [None if result.counts is None else getattr(result.counts, name) for name in counted]
        values += [None, None] if result.parity is None else [result.parity.max_error, result.parity.allowed]
        writer.writerow(csv_cell(value) for value in [*values, result.error, report.created])
    return text.getvalue()


def format_instructions(count: int) -> str:
    """Return a number of instructions with three digits or four.

    >>> format_instructions(3_611_234), format_instructions(165_960), format_instructions(940)
    ('3.61 M', '166.0 k', '940')
    """
    if count >= 999_950:
        return f"{count / 1e6:.2f} M"
    return f"{count / 1e3:.1f} k" if count >= 1000 else f"{count}"


def _total(result: InstructionResult | None) -> str:
    if result is None:
        return UNKNOWN
    return "failed" if result.counts is None else format_instructions(result.counts.total)


def _name(result: InstructionResult) -> str:
    return f"{result.variant} *" if result.recommended else result.variant


def _runtime(found: Sequence[InstructionResult]) -> str:
    versions = dict.fromkeys(result.counts.runtime_version for result in found if result.counts is not None)
    return " ".join([found[0].runtime, *versions])
