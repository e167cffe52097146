"""``edgelnn compare``: runs, bundles or reports of one kind, side by side."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgelnn.cli.options import Force, Json
from edgelnn.cli.output import message, print_data, print_json, show, warning
from edgelnn.cli.targets import Kind, kind_of
from edgelnn.errors import ConfigError, WriteError

if TYPE_CHECKING:
    from edgelnn.cli.comparisons import Compared

__all__ = ["compare"]


def compare(
    targets: Annotated[
        list[Path], typer.Argument(metavar="A B…", help="Runs, bundles, or reports from `edgelnn profile --json`.")
    ],
    published: Annotated[
        bool, typer.Option("--published", help="Put runs beside the published figures of what they reproduce.")
    ] = False,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print the table as Markdown.")] = False,
    html: Annotated[
        Path | None, typer.Option("--html", metavar="FILE", help="Write a page with charts, in one file.")
    ] = None,
    json: Json = False,
    force: Force = False,
) -> None:
    """Put runs, bundles or reports side by side; differences are to the first, and told only where noise is not enough.

    Of a single report, variants are compared with the recommended one; with --published, every run with figures that
    were published of the model that it reproduces.
    """
    from edgelnn.atomic import write_text_atomically
    from edgelnn.cli.comparisons import compare_bundles, compare_reports, compare_runs
    from edgelnn.cli.published import compare_with_publications
    from edgelnn.cli.report_tables import as_screen_table
    from edgelnn_profiling.writers.markdown import markdown_table

    if markdown and json:
        raise ConfigError("got --markdown and --json; stdout takes one of them.")
    kinds = [kind_of(target, "run", "bundle", "report") for target in targets]
    if len(set(kinds)) > 1:
        found = ", ".join(f"{target} is a {kind}" for target, kind in zip(targets, kinds, strict=True))
        raise ConfigError(f"got things of different kinds: {found}. Compare runs with runs, and so on.")
    if published and kinds[0] != "run":
        raise ConfigError(f"got --published for a {kinds[0]}; published figures are compared with runs.")
    if len(targets) < 2 and kinds[0] != "report" and not published:
        raise ConfigError(f"got one {kinds[0]} to compare; expected two or more. Name another.")
    if html is not None and html.exists() and not force:
        raise WriteError(f"{html} exists. Pass --force to replace it, or choose another name.")
    ways: dict[Kind, Callable[[Sequence[Path]], Compared]] = {
        "run": compare_runs,
        "bundle": compare_bundles,
        "report": compare_reports,
    }
    compared = compare_with_publications(targets) if published else ways[kinds[0]](targets)
    if json:
        print_json({"kind": compared.kind, "rows": compared.rows, "remarks": list(compared.remarks)})
    elif markdown:
        print_data("\n".join([*markdown_table(compared.table), *(f"- {remark}" for remark in compared.remarks)]))
    else:
        table = as_screen_table(compared.table)
        show(table, *([compared.table.note] if compared.table.note else []))
    if html is not None:
        write_text_atomically(html, compared.page(), force=force)
        message(f"wrote {html}")
    for remark in compared.remarks:
        warning(remark)
