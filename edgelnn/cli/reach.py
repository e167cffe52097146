"""Boards that a command is given with ``--on``: opened one by one, at work side by side."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from edgelnn.cli.output import error, message, tidy
from edgelnn.errors import BoardError, ConfigError, EdgelnnError

if TYPE_CHECKING:
    from edgelnn.manifest import ModelFormat
    from edgelnn_profiling import Progress
    from edgelnn_profiling.machine import Machine
    from edgelnn_profiling.remote import Board
    from edgelnn_profiling.state import State

__all__ = ["Reach", "formats_of", "machine_of", "on_each", "opened", "reach_of", "same_clock"]

T = TypeVar("T")
_LINE = threading.Lock()


@dataclass(frozen=True)
class Reach:
    """The boards of a command, and how they are to be opened.

    Attributes:
        hosts: As ssh takes them, each once.
        install: Whether missing runtimes may be installed there.
        python: Path of their Python; None for the first that will do.
        folder: Our folder there; None for the usual one.
    """

    hosts: tuple[str, ...]
    install: bool = False
    python: str | None = None
    folder: str | None = None


def reach_of(hosts: Sequence[str] | str | None, install: bool, python: str | None, folder: str | None) -> Reach | None:
    """Return what ``--on`` and the options that belong to it say; None without ``--on``.

    Raises:
        ConfigError: A host is no host's name or is named twice, or an option comes without ``--on``.
    """
    from edgelnn_profiling.remote.ssh import checked_host

    if not hosts:
        given = {"--install": install, "--remote-python": python, "--remote-folder": folder}
        for option, value in given.items():
            if value:
                raise ConfigError(f"got {option} without --on; it is for boards. Name one: --on user@board.")
        return None
    named = tuple(checked_host(host) for host in ([hosts] if isinstance(hosts, str) else hosts))
    twice = next((host for host in named if named.count(host) > 1), None)
    if twice is not None:
        raise ConfigError(f"got --on {twice} twice; a board cannot measure beside itself. Name each once.")
    return Reach(named, install, python, folder)


def formats_of(target: Path, variants: Sequence[str] = ()) -> set[ModelFormat]:
    """Return the formats of a model file, or of a bundle's variants: all of them unless some are named."""
    from edgelnn.bundle import Bundle
    from edgelnn_profiling import identify_model

    if not target.is_dir():
        return {identify_model(target)}
    bundle = Bundle.load(target)
    return {variant.format for variant in [bundle.variant(name) for name in variants] or bundle.manifest.variants}


@contextmanager
def opened(
    host: str, reach: Reach, formats: Collection[ModelFormat] = (), *, stop: threading.Event | None = None
) -> Iterator[Board]:
    """Open a board and say on stderr what takes long, giving up once told to stop; see `open_board`."""
    from edgelnn_profiling.remote import open_board

    def say(text: str) -> None:
        if stop is not None and stop.is_set():
            raise BoardError(f"{host}: stopped while {text}.")
        _say(f"{host}: {text} …")

    with open_board(
        host, formats=formats, install=reach.install, python=reach.python, folder=reach.folder, say=say
    ) as board:
        if board.facts.removed:
            _say(f"{host}: removed {board.facts.removed} left-over folders of broken connections")
        yield board


def machine_of(board: Board) -> tuple[Machine, State]:
    """Return what machine a board is, and how it is now."""
    from edgelnn_profiling.assembly import read_machine_events

    outcome = board.executor.execute({"kind": "machine"}, timeout_s=120.0)
    if outcome.error is not None:
        raise BoardError(f"{board.host} cannot describe itself: {outcome.error.rstrip('.')}.")
    return read_machine_events(outcome)


def same_clock(board: Board) -> None:
    """Refuse a board whose clock is not this machine's, by which an external meter's times are compared with it.

    Raises:
        BoardError: It is off by more than energy windows allow for.
    """
    from edgelnn_profiling.power_csv import CLOCK_ERROR_S

    ahead = board.session.clock_ahead_s
    if abs(ahead) > CLOCK_ERROR_S:
        raise BoardError(
            f"{board.host}: its clock is {abs(ahead):.1f} s {'ahead' if ahead > 0 else 'behind'}, so the meter's times "
            "do not fit. Set both by NTP: sudo timedatectl set-ntp true."
        )


def on_each(
    reach: Reach,
    formats: Collection[ModelFormat],
    work: Callable[[Board, Callable[[Progress], None]], T],
    finish: Callable[[T, str], None],
) -> int:
    """Work on all boards at once; return how many failed, each of which is said on stderr and keeps back no other.

    Args:
        reach: The boards.
        formats: Of the models to run.
        work: Given a board and a listener; runs in a thread.
        finish: Given what came of a board, and its name; one after the other, as soon as each is there.
    """
    boards: list[Board] = []
    stop = threading.Event()

    def one(host: str) -> T:
        def listen(progress: Progress) -> None:
            if stop.is_set():
                raise BoardError(f"{host}: stopped before {progress.what}.")
            _say(f"{host}: {progress.done}/{progress.total} {progress.what}")

        with opened(host, reach, formats, stop=stop) as board:
            boards.append(board)
            return work(board, listen)

    failures = 0
    with ThreadPoolExecutor(len(reach.hosts)) as pool:
        hosts = {pool.submit(one, host): host for host in reach.hosts}
        try:
            for future in as_completed(hosts):
                try:
                    result = future.result()
                    with _LINE:
                        message()
                        finish(result, hosts[future])
                except EdgelnnError as problem:
                    failures += 1
                    with _LINE:
                        error(str(problem))
            return failures
        except BaseException:
            stop.set()
            for board in boards:
                board.executor.session.abort()  # Their threads hear the end of the connection, and end.
            raise


def _say(text: str) -> None:
    with _LINE:
        message(tidy(text))
