"""``edgelnn compare``: runs, bundles or reports of one kind, side by side."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated

import typer

from edgelnn.cli.options import Json
from edgelnn.cli.output import Table, print_data, print_json, show, warning
from edgelnn.cli.targets import Kind, kind_of
from edgelnn.errors import ConfigError

__all__ = ["compare"]


def compare(
    targets: Annotated[
        list[Path], typer.Argument(metavar="A B…", help="Runs, bundles, or reports from `edgelnn profile --json`.")
    ],
    markdown: Annotated[bool, typer.Option("--markdown", help="Print the table as Markdown.")] = False,
    json: Json = False,
) -> None:
    """Put runs, bundles or reports side by side; differences are to the first."""
    from edgelnn.cli.comparisons import compare_bundles, compare_reports, compare_runs

    if len(targets) < 2:
        raise ConfigError(f"got {len(targets)} to compare; expected two or more. Name another.")
    if markdown and json:
        raise ConfigError("got --markdown and --json; stdout takes one of them.")
    kinds = [kind_of(target, "run", "bundle", "report") for target in targets]
    if len(set(kinds)) > 1:
        found = ", ".join(f"{target} is a {kind}" for target, kind in zip(targets, kinds, strict=True))
        raise ConfigError(f"got things of different kinds: {found}. Compare runs with runs, and so on.")
    ways: dict[Kind, Callable[[Sequence[Path]], tuple[list[dict[str, object]], Table, list[str]]]] = {
        "run": compare_runs,
        "bundle": compare_bundles,
        "report": compare_reports,
    }
    records, table, doubts = ways[kinds[0]](targets)
    if json:
        print_json(records)
    elif markdown:
        print_data(table.as_markdown())
    else:
        show(table)
    for doubt in doubts:
        warning(doubt)
