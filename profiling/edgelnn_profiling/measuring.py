"""Timing one function: the clock's tick, warm-up until samples settle, windows of samples.

What is timed is called with no arguments, and nothing stands between two readings of the clock but the call. Everything
here takes its clock as an argument, so that tests can turn it by hand.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

__all__ = ["WarmUp", "Window", "choose_loops", "clock_tick_ns", "take_window", "warm_up"]

Clock = Callable[[], int]
Step = Callable[[], object]

TICKS_PER_SAMPLE = 100
SETTLED_BLOCKS = 3
SETTLED_WITHIN = 0.03
BLOCK_NS = 10_000_000


@dataclass(frozen=True)
class WarmUp:
    """How the warm-up went.

    Attributes:
        runs: Inferences.
        duration_s: Seconds.
        settled: Whether the last blocks of it took equally long at the same clock of the CPU, within 3 %.
    """

    runs: int
    duration_s: float
    settled: bool


@dataclass(frozen=True)
class Window:
    """A row of samples taken without a pause.

    Attributes:
        samples_ns: Each sample's time in nanoseconds: of all the inferences in it, divided by nothing.
        duration_ns: From the first reading of the clock to the last.
    """

    samples_ns: tuple[int, ...]
    duration_ns: int


def clock_tick_ns(clock: Clock, *, readings: int = 1000) -> int:
    """Return the smallest step of a clock that can be seen from here, in nanoseconds, at least 1.

    It is the clock's resolution or the time of reading it, whichever is longer.
    """
    smallest, previous = 0, clock()
    for _ in range(readings):
        now = clock()
        if now > previous and (smallest == 0 or now - previous < smallest):
            smallest = now - previous
        previous = now
    return max(1, smallest)


def warm_up(
    step: Step, clock: Clock, *, min_s: float, max_s: float, cpu_clock_hz: Callable[[], int | None] = lambda: None
) -> tuple[WarmUp, int]:
    """Run until blocks of at least 10 ms take equally long one after the other, or `max_s` is over.

    Args:
        step: What to run.
        clock: In nanoseconds.
        min_s: Shortest warm-up in seconds.
        max_s: Longest warm-up in seconds.
        cpu_clock_hz: Reads the CPU's clock, which must have settled too; None where it cannot be read.

    Returns:
        How it went, and the shortest time of one run in the last blocks, in nanoseconds.
    """
    start = clock()
    typical: list[int] = []
    clocks: list[int] = []
    runs = 0
    while True:
        block_start = now = clock()
        times = []
        while now - block_start < BLOCK_NS:
            step()
            previous, now = now, clock()
            times.append(now - previous)
        runs += len(times)
        typical.append(sorted(times)[len(times) // 2])
        clocks.append(cpu_clock_hz() or 0)
        recent = typical[-SETTLED_BLOCKS:]
        settled = len(recent) == SETTLED_BLOCKS and _alike(recent) and _alike(clocks[-SETTLED_BLOCKS:])
        elapsed = now - start
        if elapsed >= max_s * 1e9 or (settled and elapsed >= min_s * 1e9):
            return WarmUp(runs, elapsed / 1e9, settled), max(1, min(recent))


def _alike(values: list[int]) -> bool:
    return max(values) <= min(values) * (1 + SETTLED_WITHIN)


def choose_loops(run_ns: int, tick_ns: int) -> int:
    """Return how many runs make a sample: 1 unless a run is shorter than a hundred ticks of the clock.

    >>> choose_loops(run_ns=20_000, tick_ns=40), choose_loops(run_ns=1_000, tick_ns=40)
    (1, 4)
    """
    return max(1, -(-TICKS_PER_SAMPLE * tick_ns // max(1, run_ns)))


def take_window(step: Step, clock: Clock, *, loops: int, window_s: float, min_samples: int, max_samples: int) -> Window:
    """Take samples until the window's time is over and there are enough, or there are `max_samples`."""
    samples: list[int] = []
    keep = samples.append
    window_ns = round(window_s * 1e9)
    with _no_collection():
        start = end = clock()
        if loops == 1:
            while len(samples) < min_samples or (end - start < window_ns and len(samples) < max_samples):
                begin = clock()
                step()
                end = clock()
                keep(end - begin)
        else:
            repeats = range(loops)
            while len(samples) < min_samples or (end - start < window_ns and len(samples) < max_samples):
                begin = clock()
                for _ in repeats:
                    step()
                end = clock()
                keep(end - begin)
    return Window(tuple(samples), end - start)


@contextmanager
def _no_collection() -> Iterator[None]:
    """Keep Python's garbage collector out of the samples."""
    was_on = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
