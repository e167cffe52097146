"""The one place where exceptions become exit codes and single lines on stderr."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Callable
from typing import Any

import typer

from edgelnn.cli.output import error, message
from edgelnn.cli.packages import package_of_module
from edgelnn.errors import ConfigError, EdgelnnError, MissingExtraError

__all__ = ["DEBUG", "Interrupted", "run_guarded"]

DEBUG = "EDGELNN_DEBUG"
# Newer typers bundle their own click, older ones import the separate package: take the base classes from typer itself.
_UsageError: type[Any] = typer.BadParameter.__bases__[0]
_ClickException: type[Any] = _UsageError.__bases__[0]


class Interrupted(Exception):
    """Ctrl-C in the middle of something that can be continued; the message says how.

    typer makes a wordless exit of every KeyboardInterrupt, so one with words has to pass it as something else.
    """


def run_guarded(action: Callable[[], Any]) -> int:
    """Return the exit code of `action`, with every failure told in one line on stderr.

    0: done. 1: an error. 2: the command line itself is wrong. 130: interrupted. 141: the reader of a pipe went away.
    """
    debug = os.environ.get(DEBUG, "") not in ("", "0")
    try:
        code = action()
        sys.stdout.flush()
    except BrokenPipeError:
        return _close_quietly()
    except (KeyboardInterrupt, typer.Abort):
        code = 130
    except typer.Exit as request:
        code = request.exit_code
    except SystemExit as request:
        code = request.code if isinstance(request.code, int) else 1
    except _UsageError as mistake:
        error(_usage_line(mistake))
        return 2
    except Exception as problem:
        if debug:
            traceback.print_exc()
        if isinstance(problem, Interrupted):
            error(str(problem))
            return 130
        lines, expected = _describe(problem)
        for line in lines:
            error(line)
        if not expected and not debug:
            message(f"This is a fault in edgelnn, not in what you typed. {DEBUG}=1 shows where it happened.")
        return 1
    if code == 130:
        error("interrupted.")
    return code if isinstance(code, int) else 0


def _describe(problem: Exception) -> tuple[list[str], bool]:
    """Return a line for each mistake, and whether the problem is of a kind that users cause and can mend."""
    if isinstance(problem, ConfigError):
        return str(problem).splitlines(), True
    line, expected = _describe_one(problem)
    return [line], expected


def _describe_one(problem: Exception) -> tuple[str, bool]:
    if isinstance(problem, EdgelnnError):
        return str(problem), True
    if isinstance(problem, ImportError) and problem.name is not None:
        module = problem.name.partition(".")[0]
        package = package_of_module(module)
        if package is not None:
            return str(MissingExtraError("this command", package.name, package.extra)), True
    if isinstance(problem, _ClickException):
        return problem.format_message(), True
    if isinstance(problem, OSError) and problem.strerror:
        names = " → ".join(str(name) for name in (problem.filename, problem.filename2) if name is not None)
        return f"{names}: {problem.strerror}." if names else f"{problem.strerror}.", True
    if isinstance(problem, MemoryError):
        return f"out of memory{f': {problem}' if str(problem) else ''}. Try smaller images or a smaller batch.", True
    return f"{type(problem).__name__}: {problem}", False


def _usage_line(mistake: Any) -> str:
    """Return what is wrong with the command line and where the help is."""
    context = getattr(mistake, "ctx", None)
    command = context.command_path if context is not None else "edgelnn"
    said = mistake.format_message().rstrip(".")
    ends = "" if said.endswith("?") else "."
    return f"{said}{ends} See `{command} --help`."


def _close_quietly() -> int:
    """Point stdout at nothing, so that the last flush cannot fail, and return the code of a broken pipe."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 141
