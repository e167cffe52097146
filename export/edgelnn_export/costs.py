"""What one image costs: latency here or on a board, measured in turns, or instructions on an emulated board."""

from __future__ import annotations

import gc
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

from edgelnn.errors import ConfigError
from edgelnn_profiling.proving import Measured, Proof

if TYPE_CHECKING:
    from edgelnn_profiling.remote import Board

__all__ = ["LATENCY_NOISE", "CostMeter", "instructions_on", "latency_here", "latency_on", "no_cost"]

LATENCY_NOISE: Final = 0.05
_ROUNDS: Final = 7
_WINDOW_S: Final = 0.02


@dataclass(frozen=True)
class CostMeter:
    """A way of telling what one image costs.

    Attributes:
        unit: ``seconds``, ``instructions``, or empty where nothing is measured.
        target: The board, where it is one.
        noise: Share by which two costs must differ to be told apart.
        measure: From files by name to their costs, or why one is not to be used there, by the proof of their answers.
    """

    unit: Literal["", "seconds", "instructions"]
    target: str
    noise: float
    measure: Callable[[Mapping[str, bytes], Proof], Measured]

    @property
    def place(self) -> str:
        """Where it is measured, in words."""
        if self.unit == "instructions":
            return f"on an emulated {self.target}"
        return f"on {self.target}" if self.target else "here"

    @property
    def words(self) -> str:
        """How it is measured, in words."""
        if self.unit == "instructions":
            return f"instructions {self.place}"
        return f"latency {self.place}, one thread" if self.unit else "nothing"


def no_cost() -> CostMeter:
    """Return the meter that measures nothing: then bytes alone count."""
    return CostMeter("", "", 0.0, lambda files, proof: Measured({}))


def latency_here() -> CostMeter:
    """Return the meter of median latency on this machine; files take turns, so that all see the same disturbances."""
    return CostMeter("seconds", "", LATENCY_NOISE, lambda files, proof: Measured(_latencies(files)))


def latency_on(name: str, connect: Callable[[], AbstractContextManager[Board]]) -> CostMeter:
    """Return the meter of median latency on a board over ssh, of files that give the golden answers there.

    Args:
        name: Of the board, for the manifest.
        connect: Opens it (see `edgelnn_profiling.remote.open_board`); called when files are there to be measured, which
            may be many minutes from now.
    """
    from edgelnn_profiling.remote.latency import latencies_on

    def measure(files: Mapping[str, bytes], proof: Proof) -> Measured:
        with connect() as board:
            return latencies_on(board, files, proof)

    return CostMeter("seconds", name, LATENCY_NOISE, measure)


def instructions_on(board: str) -> CostMeter:
    """Return the meter of instructions on an emulated board.

    Args:
        board: ``pi3``, ``pi4`` or ``pi5``.

    Raises:
        ConfigError: There is no such board.
        ProfileError: It is not set up.
    """
    from edgelnn_profiling.emulation.boards_folder import boards_folder
    from edgelnn_profiling.instructions import BOARDS, count_files

    for known in BOARDS:
        if board == known:
            break
    else:
        raise ConfigError(f"got target {board!r}; expected {', '.join(BOARDS)}.")
    boards_folder().require(known)

    def count(files: Mapping[str, bytes], proof: Proof) -> Measured:
        with tempfile.TemporaryDirectory(prefix="edgelnn-") as folder:
            paths = {name: Path(folder) / f"{name}.{name.partition('-')[0]}" for name in files}
            for name, path in paths.items():
                path.write_bytes(files[name])
            return Measured({name: float(found.total) for name, found in count_files(paths, board=known).items()})

    return CostMeter("instructions", board, 0.0, count)


def _latencies(files: Mapping[str, bytes]) -> Mapping[str, float]:
    from edgelnn_profiling.measuring import choose_loops, clock_tick_ns, take_window, warm_up
    from edgelnn_profiling.runtimes import load_runtime, random_input

    clock = time.perf_counter_ns
    tick = clock_tick_ns(clock)
    runtimes = {name: load_runtime(data) for name, data in files.items()}
    loops = {}
    for name, runtime in runtimes.items():
        runtime.set_input(random_input(runtime.input, seed=0))
        _, fastest = warm_up(runtime.invoke, clock, min_s=0.03, max_s=0.3)
        loops[name] = choose_loops(fastest, tick)
    medians: dict[str, list[float]] = {name: [] for name in runtimes}
    gc.collect()
    gc.freeze()  # each window collects garbage first, which takes 0.2 s where torch is loaded
    try:
        for _ in range(_ROUNDS):
            for name, runtime in runtimes.items():
                window = take_window(
                    runtime.invoke, clock, loops=loops[name], window_s=_WINDOW_S, min_samples=3, max_samples=1000
                )
                medians[name].append(statistics.median(window.samples_ns) / loops[name] / 1e9)
    finally:
        gc.unfreeze()
    # The least disturbed round: what else runs here only ever adds time.
    return {name: min(rounds) for name, rounds in medians.items()}
