"""``edgelnn experiments``: what can be trained."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from edgelnn.cli.options import Json
from edgelnn.cli.output import Column, build_table, message, next_step, print_json, show

__all__ = ["experiments"]

COLUMNS = (Column("name"), Column("data"), Column("what it is", fold=True))


def experiments(
    grep: Annotated[str, typer.Option("--grep", "-g", metavar="TEXT", help="Only those that mention this.")] = "",
    json: Json = False,
) -> None:
    """List the experiments known by name."""
    from edgelnn.training import list_experiments

    wanted = grep.lower()
    found = [info for info in list_experiments() if wanted in " ".join(map(str, asdict(info).values())).lower()]
    if json:
        print_json([asdict(info) for info in found])
        return
    if not found:
        message(f"No experiment mentions {grep!r}. `edgelnn experiments` lists them all.")
        return
    rows = [[info.name, info.dataset, f"{info.summary}{f' ({info.source})' if info.source else ''}"] for info in found]
    show(build_table(COLUMNS, rows))
    message("Or the path of a .toml file of yours; --dry-run prints one to start from.")
    next_step("train", found[0].name)
