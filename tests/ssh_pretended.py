"""A program named `ssh` that connects to nothing: it runs the command here, in a home of its own."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.helpers import entries_below

SSH = """#!/bin/sh
echo "$@" >>{folder}/asked
while [ "$1" != "--" ]; do shift; done
{before}
unset PYTHONPATH XDG_CACHE_HOME
export HOME={home} PATH={path}
cd
exec sh -c "$3"
"""


@dataclass(frozen=True)
class PretendedBoard:
    """What stands behind the pretended ssh.

    Attributes:
        folder: Where the program lies.
        home: The home of the board.
    """

    folder: Path
    home: Path

    def left(self) -> list[str]:
        """What lies in its home."""
        return entries_below(self.home)

    def asked(self) -> list[str]:
        """The command lines that ssh was given."""
        return (self.folder / "asked").read_text().splitlines()


def pretend_ssh(
    folder: Path, monkeypatch: pytest.MonkeyPatch, *, before: str = "", path: Path | None = None
) -> PretendedBoard:
    """Put a program named `ssh` first in PATH.

    Args:
        folder: An empty one.
        monkeypatch: Takes it out of PATH again.
        before: Lines of shell before the command is run.
        path: The only folder that the board's PATH has beside the system's; this Python's unless given.
    """
    home = folder / "home"
    home.mkdir()
    programs = Path(sys.executable).parent if path is None else path
    program = folder / "ssh"
    program.write_text(SSH.format(folder=folder, home=home, before=before, path=f"{programs}:/usr/bin:/bin"))
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    return PretendedBoard(folder, home)
