"""``edgelnn doctor``: what this machine can do, and the command that mends each lack."""

from __future__ import annotations

import platform

from edgelnn.cli.options import Json
from edgelnn.cli.output import Column, build_table, message, print_json, show
from edgelnn.cli.packages import PURPOSES, Standing, look_up

__all__ = ["doctor"]


def doctor(json: Json = False) -> None:
    """Show what this machine can do, and the command that mends each lack."""
    standings = look_up()
    if json:
        print_json({"python": platform.python_version(), "packages": [_record(standing) for standing in standings]})
        return
    for extra, purpose in PURPOSES.items():
        rows = [
            ["✓" if each.well else "✗", each.package.name, each.version or "-", each.mend]
            for each in standings
            if each.package.extra == extra
        ]
        title = f"edgelnn[{extra}]: {purpose}" if extra else f"edgelnn: {purpose}"
        show(
            build_table(
                [Column(""), Column("package"), Column("version"), Column("mend", fold=True)], rows, title=title
            )
        )
    lacks = list(dict.fromkeys(each.mend for each in standings if each.mend))
    message("All is well." if not lacks else "To mend what is missing:")
    for lack in lacks:
        message(f"  {lack}")


def _record(standing: Standing) -> dict[str, object]:
    return {
        "name": standing.package.name,
        "extra": standing.package.extra,
        "version": standing.version,
        "minimum": standing.package.minimum,
        "mend": standing.mend,
    }
