"""``edgelnn profile --emulate``: instructions for one image on emulated boards, and no time."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, cast

from edgelnn.cli.emulated_boards import set_up_boards
from edgelnn.cli.output import message, next_step, show
from edgelnn.cli.report_files import ReportFiles
from edgelnn.cli.report_tables import as_screen_table
from edgelnn.errors import ConfigError, ProfileError

if TYPE_CHECKING:
    from edgelnn_profiling.instruction_report import InstructionReport

__all__ = ["instruction_files", "profile_emulated", "show_instructions"]


def instruction_files(
    *, json: str | None, csv: str | None, markdown: str | None, html: str | None, force: bool
) -> ReportFiles[InstructionReport]:
    """Return the files that a report of instructions is written to, having seen that they can be."""
    from edgelnn_profiling.writers.instruction_page import write_instruction_html
    from edgelnn_profiling.writers.instruction_tables import write_instruction_csv, write_instruction_markdown

    return ReportFiles(
        [
            (json, lambda report: report.to_json()),
            (csv, write_instruction_csv),
            (markdown, write_instruction_markdown),
            (html, write_instruction_html),
        ],
        force=force,
    )


def show_instructions(report: InstructionReport, *, tables: bool = True) -> None:
    """Print a report's tables, unless they are not wanted, and say what could not be counted."""
    from edgelnn_profiling.writers.instruction_tables import failures_of, instruction_tables

    for table in instruction_tables(report) if tables else []:
        show("", as_screen_table(table), *([table.note] if table.note else []))
    for failure in failures_of(report):
        message(f"✗ {failure}", color="yellow")


def profile_emulated(
    target: Path,
    boards: Sequence[str],
    variants: Sequence[str],
    *,
    refused: Sequence[tuple[str, bool]],
    json: str | None,
    csv: str | None,
    markdown: str | None,
    html: str | None,
    force: bool,
) -> None:
    """Count, show and write.

    Args:
        target: A bundle or a model file.
        boards: Names as typed.
        variants: Names of a bundle's variants; all where none is given.
        refused: Options that mean nothing here, and whether they were given.
        json: Where to write the report; so are the three that follow.
        csv: The same.
        markdown: The same.
        html: The same.
        force: Replace files.

    Raises:
        ConfigError: An option was given that means nothing here.
        ProfileError: A board is unknown or cannot be set up here, or nothing could be counted.
    """
    from edgelnn.cli.profile import shown_progress
    from edgelnn_profiling.emulation.boards import Board
    from edgelnn_profiling.emulation.boards_folder import boards_folder
    from edgelnn_profiling.instruction_report import count_bundle
    from edgelnn_profiling.instructions import check_board
    from edgelnn_profiling.writers.instruction_tables import failures_of

    given = [name for name, there in refused if there]
    if given:
        raise ConfigError(f"got {', '.join(given)} with --emulate, which counts instructions and measures no time.")
    check_board(*boards)

    files = instruction_files(json=json, csv=csv, markdown=markdown, html=html, force=force)
    set_up_boards(boards_folder(), boards, yes=False)
    with shown_progress("counting") as listener:
        report = count_bundle(target, cast("Sequence[Board]", boards), listener, variants=variants)
    failures = failures_of(report)
    if len(failures) == len(report.results):
        raise ProfileError(f"nothing could be counted. {failures[0]}")
    files.deliver(report, lambda report: show_instructions(report, tables=not files.on_stdout))
    if json not in (None, "-"):
        next_step("compare", json, "ANOTHER.json")
    elif target.is_dir():
        next_step("profile", target)
