"""Windows of a meter: an idle one, and one full of inferences right after it, again and again."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

from edgelnn_profiling.energy import EnergyWindow
from edgelnn_profiling.meters import AbstractMeter

__all__ = ["take_energy_windows"]

LOOK_AT_CLOCK_S = 0.01


def take_energy_windows(
    step: Callable[[], object],
    meter: AbstractMeter | None,
    *,
    pairs: int,
    window_s: float,
    run_s: float,
    clock: Callable[[], float] = time.perf_counter,
    wall: Callable[[], float] = time.time,
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[EnergyWindow]:
    """Yield windows in turn: an idle one, a busy one.

    Args:
        step: One inference.
        meter: Counts energy; None where an external one does, whose readings are laid over the windows afterwards.
        pairs: Of windows.
        window_s: Length of each, in seconds.
        run_s: What an inference takes, roughly: so many are run between two looks at the clock.
        clock: In seconds.
        wall: Seconds since 1970.
        sleep: Waits.

    Raises:
        ProfileError: The meter cannot be read.
    """
    repeats = range(max(1, round(LOOK_AT_CLOCK_S / max(run_s, 1e-9))))

    def idle(_begin: float) -> int:
        sleep(window_s)
        return 0

    def busy(begin: float) -> int:
        inferences = 0
        while clock() - begin < window_s:
            for _ in repeats:
                step()
            inferences += len(repeats)
        return inferences

    for _ in range(pairs):
        for fill in (idle, busy):
            if meter is not None:
                meter.start()
            start, begin = wall(), clock()
            inferences = fill(begin)
            duration = clock() - begin
            energy, readings = meter.stop() if meter is not None else (0.0, 0)
            yield EnergyWindow(start, duration, inferences, energy, readings)
