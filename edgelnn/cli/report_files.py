"""The files that `profile` writes reports to: refused before minutes are spent, written as soon as one is there."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Generic, TypeVar

from edgelnn.atomic import check_writable, write_text_atomically
from edgelnn.cli.output import message, print_data
from edgelnn.errors import ConfigError, WriteError

__all__ = ["ReportFiles"]

R = TypeVar("R")


class ReportFiles(Generic[R]):
    """What was asked to be written, and where.

    Args:
        asked: From a name on the command line to what makes its text; ``-`` is stdout.
        force: Replace files.
        places: Where reports come from, if from several: each then has files of its own.

    Attributes:
        on_stdout: Whether stdout is taken.

    Raises:
        ConfigError: stdout or a file would take more than one text.
        WriteError: A file could not be written.
    """

    def __init__(
        self, asked: Sequence[tuple[str | None, Callable[[R], str]]], *, force: bool, places: Sequence[str] = ()
    ) -> None:
        self._asked = [(name, write) for name, write in asked if name is not None]
        self._force = force
        self._marks = _marks(places)
        names = [name for name, _ in self._asked]
        self.on_stdout = "-" in names
        if names.count("-") > 1:
            raise ConfigError("got - for more than one format; stdout takes one. Name files for the others.")
        if self.on_stdout and len(places) > 1:
            raise ConfigError(f"got - for {len(places)} boards; stdout takes one report. Name a file.")
        paths = [self.path(name, place) for name in names if name != "-" for place in places or ("",)]
        once: set[str] = set()
        for path in paths:
            real = os.path.realpath(path)
            if real in once:
                raise ConfigError(f"got {path} for more than one report; each needs a file of its own.")
            once.add(real)
            check_writable(path, force=force)

    def path(self, name: str, place: str = "") -> Path:
        """Return the file for a name and a place: ``report.json`` is ``report-pi4.json`` where there are several."""
        path, mark = Path(name), self._marks.get(place, "")
        return path.with_name(f"{path.stem}-{mark}{path.suffix}") if mark else path

    def deliver(self, report: R, show: Callable[[R], None], place: str = "") -> None:
        """Write a report in all formats that were asked for and show it; what goes wrong with one costs no other.

        Args:
            report: What was measured, perhaps for hours.
            show: Shows it on the screen; called last, also where something could not be written.
            place: Where the report comes from, if from several.

        Raises:
            WriteError: Files could not be written.
        """
        failures: list[WriteError] = []
        try:
            # stdout may be a pipe whose reader went away: it is last.
            for name, text_of in sorted(self._asked, key=lambda each: each[0] == "-"):
                if name == "-":
                    print_data(text_of(report))
                    continue
                path = self.path(name, place)
                try:
                    write_text_atomically(path, text_of(report), force=self._force)
                    message(f"wrote {path}")
                except WriteError as failure:
                    failures.append(failure)
        finally:
            show(report)
        if failures:
            raise WriteError(" ".join(map(str, failures))) from failures[0]


def _marks(places: Sequence[str]) -> Mapping[str, str]:
    """Return what distinguishes the files of several places; none for one place.

    >>> _marks(["pi@kitchen.local", "pi@attic.local"])
    {'pi@kitchen.local': 'kitchen.local', 'pi@attic.local': 'attic.local'}
    """
    if len(places) < 2:
        return {}
    plain = {place: re.sub(r"[^\w.-]+", "-", place.removeprefix("ssh://")).strip("-.") for place in places}
    short = {place: re.sub(r"[^\w.-]+", "-", place.rpartition("@")[2]).strip("-.") for place in places}
    marks = short if len(set(short.values())) == len(places) else plain
    return marks if len(set(marks.values())) == len(places) else {one: f"{i}" for i, one in enumerate(places, start=1)}
