"""Energy for an inference: an estimate, net of what the machine takes when idle.

Windows come in pairs, an idle one and one full of inferences right after it, in processes that time nothing. Each pair
gives one figure: the energy of the busy window, less what the idle power would have come to in its time, divided by its
inferences. The figures of the pairs are what the interval rests on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from edgelnn_profiling.samples import quantile, quantile_interval

__all__ = ["Energy", "EnergySource", "EnergyWindow", "estimate_energy", "no_energy"]

EnergySource = Literal["pmic", "rapl", "csv"]


@dataclass(frozen=True)
class EnergyWindow:
    """What was taken in one window.

    Attributes:
        start: When it began, in seconds since 1970 (UTC) by the measured machine's clock.
        duration_s: How long it was.
        inferences: In it; 0 in an idle window.
        energy_j: What the meter counted, in joules; with an external one, its mean power well inside the window, for
            the whole of it.
        readings: How many readings of the meter that rests on.
    """

    start: float
    duration_s: float
    inferences: int
    energy_j: float
    readings: int

    @property
    def power_w(self) -> float:
        """Mean power, in watts."""
        return self.energy_j / self.duration_s


@dataclass(frozen=True)
class Energy:
    """An estimate of the energy that one inference takes beyond what the machine takes when idle.

    Attributes:
        source: ``pmic`` (a Raspberry Pi 5's power controller), ``rapl`` (counters of a PC's CPU) or ``csv`` (an
            external meter); None where there is none.
        rests_on: What the estimate rests on, in words.
        joules_per_inference: Median over the pairs of windows; None where nothing could be measured.
        low_j: Lower end of its interval of at least 95 % confidence; None with fewer than 6 pairs.
        high_j: Its upper end.
        idle_w: Mean power of the idle windows.
        busy_w: Mean power of the windows with inferences.
        windows: In the order in which they were taken: idle, busy, idle, busy …
        other_cpus: CPUs that other processes kept busy meanwhile, on average; None where the system does not tell.
        reason: Why there is no estimate; None where there is one.
    """

    source: EnergySource | None
    rests_on: str | None
    joules_per_inference: float | None
    low_j: float | None
    high_j: float | None
    idle_w: float | None
    busy_w: float | None
    windows: tuple[EnergyWindow, ...]
    other_cpus: float | None
    reason: str | None

    @property
    def beyond_idle(self) -> bool:
        """Whether the estimate can be told apart from nothing: the whole interval lies above 0."""
        return self.joules_per_inference is not None and self.low_j is not None and self.low_j > 0


def no_energy(reason: str) -> Energy:
    """Return that there is no estimate, and why."""
    return Energy(None, None, None, None, None, None, None, (), None, reason)


def estimate_energy(
    windows: Sequence[EnergyWindow], *, source: EnergySource, rests_on: str, other_cpus: float | None = None
) -> Energy:
    """Return the estimate that windows come to.

    Args:
        windows: Idle and busy ones in turn, the idle one first.
        source: Of their energies.
        rests_on: Words for it.
        other_cpus: CPUs that others kept busy meanwhile; None where the system does not tell.

    >>> idle, busy = EnergyWindow(0.0, 2.0, 0, 6.0, 20), EnergyWindow(2.0, 2.0, 1000, 8.0, 20)
    >>> energy = estimate_energy([idle, busy], source="csv", rests_on="two windows")
    >>> energy.joules_per_inference, energy.idle_w, energy.busy_w, energy.low_j
    (0.002, 3.0, 4.0, None)
    """
    pairs = list(zip(windows[::2], windows[1::2], strict=True))
    if not pairs or any(idle.inferences or busy.inferences < 1 for idle, busy in pairs):
        return no_energy("no pair of an idle window and one with inferences was measured")
    net = sorted((busy.energy_j - idle.power_w * busy.duration_s) / busy.inferences for idle, busy in pairs)
    ends = quantile_interval(len(net), 0.5)
    return Energy(
        source=source,
        rests_on=rests_on,
        joules_per_inference=quantile(net, 0.5),
        low_j=None if ends is None else net[ends[0]],
        high_j=None if ends is None else net[ends[1]],
        idle_w=_mean_power([idle for idle, _ in pairs]),
        busy_w=_mean_power([busy for _, busy in pairs]),
        windows=tuple(windows),
        other_cpus=other_cpus,
        reason=None,
    )


def _mean_power(windows: Sequence[EnergyWindow]) -> float:
    return sum(window.energy_j for window in windows) / sum(window.duration_s for window in windows)
