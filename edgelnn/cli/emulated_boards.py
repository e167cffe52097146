"""``edgelnn boards``: the emulated Raspberry Pis, what there is of them, and how they are set up."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgelnn.cli.options import Json
from edgelnn.cli.output import Column, build_table, is_terminal, message, next_step, print_json, show
from edgelnn.errors import ConfigError, ProfileError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edgelnn_profiling.emulation.boards_folder import BoardsFolder

__all__ = ["Yes", "boards", "set_up_boards"]

DEFAULT = ("pi3", "pi4", "pi5")
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Set up without asking what is missing.")]


def boards(
    names: Annotated[
        list[str] | None,
        typer.Option("--board", "-b", metavar="pi3|pi4|pi5|armhf", help="Repeatable.", show_default="pi3, pi4, pi5"),
    ] = None,
    folder: Annotated[
        Path | None,
        typer.Option(
            "--folder",
            metavar="FOLDER",
            help="Where; the variable EDGELNN_BOARDS does the same.",
            show_default="in the user's cache",
        ),
    ] = None,
    yes: Yes = False,
    json: Json = False,
) -> None:
    """Set up emulated Raspberry Pis, where instructions are counted without a board.

    On Linux x86-64 with apt. Packages of Debian 12 and Python's are fetched and unpacked by you, without installing
    anything and without more rights than yours. armhf is a board of 32 bits.
    """
    from edgelnn_profiling.emulation.boards import check_described
    from edgelnn_profiling.emulation.boards_folder import boards_folder

    wanted = tuple(names or DEFAULT)
    check_described(*wanted)
    place = boards_folder(folder)
    if json and not yes:
        print_json({"folder": str(place.path), "boards": {name: place.lacks(name) for name in wanted}})
        return
    set_up_boards(place, wanted, yes=yes)
    if json:
        print_json({"folder": str(place.path), "boards": {name: place.lacks(name) for name in wanted}})
        return
    rows = [("✗" if place.lacks(name) else "✓", name, "; ".join(place.lacks(name)) or "is set up") for name in wanted]
    show(build_table((Column(""), Column("board"), Column(f"in {place.path}", fold=True)), rows))
    if "armhf" not in wanted:
        next_step("profile", "BUNDLE", "--emulate", wanted[-1])


def set_up_boards(place: BoardsFolder, names: Sequence[str], *, yes: bool) -> None:
    """Make what is missing of some boards, having asked; do nothing where all is there.

    Args:
        place: The folder.
        names: Of boards.
        yes: Do not ask.

    Raises:
        ProfileError: This machine cannot; the message says what it takes. Or something cannot be fetched.
        ConfigError: Something is missing, nobody can be asked, and `yes` is False.
    """
    from edgelnn_profiling.emulation.debian_packages import mirror
    from edgelnn_profiling.emulation.making import cannot_be_made_here, make_boards, steps_to_make

    steps = steps_to_make(place, names)
    if not steps:
        return
    obstacle = cannot_be_made_here()
    if obstacle is not None:
        raise ProfileError(f"no emulated boards: {obstacle}")
    megabytes = sum(step.megabytes for step in steps)
    message(f"Missing: {', '.join(step.what for step in steps)}.")
    message(
        f"To be fetched: packages of Debian 12 from {mirror()}, and Python packages from where pip gets them here. "
        f"They are unpacked into {place.path} (about {megabytes} MB); nothing is installed."
    )
    if not yes:
        if not (is_terminal(sys.stderr) and sys.stdin.isatty()):
            raise ConfigError(
                "setting up emulated boards fetches packages, and nobody can be asked here: edgelnn boards --yes"
            )
        if not typer.confirm("Fetch them?", default=False, err=True):
            raise ConfigError("emulated boards are not set up; to do it later: edgelnn boards")
    start = time.monotonic()
    make_boards(steps, lambda what: message(f"[{time.monotonic() - start:4.0f} s] {what}"))
