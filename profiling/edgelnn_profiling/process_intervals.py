"""What the processes of a timing say of its medians: samples within a process depend on each other, processes do not.

So a median pooled over processes has the interval that their own medians support (`ratios.interval_of_median`), the
one that reports are compared by, and percentiles above it have none: three processes are too few for any of a tail.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from edgelnn_profiling.ratios import interval_of_median
from edgelnn_profiling.samples import Summary, quantile

if TYPE_CHECKING:
    from edgelnn_profiling.report import Timing

__all__ = ["clock_step_s", "process_medians", "rest_on_processes"]


def rest_on_processes(timing: Timing) -> Timing:
    """Return a timing whose intervals rest on processes, wherever samples of several inferences are pooled."""
    paths = [process.whole_path for process in timing.processes if process.whole_path is not None]
    tick_s = max(process.tick_s for process in timing.processes)
    return replace(
        timing,
        inference=_resting(timing.inference, process_medians(timing), clock_step_s(timing)),
        preparation=_of_path(timing.preparation, (path.preparation_ns for path in paths), tick_s),
        decision=_of_path(timing.decision, (path.decision_ns for path in paths), tick_s),
    )


def process_medians(timing: Timing) -> list[float]:
    """Return the median of each process's samples, in seconds an inference."""
    medians = []
    for process in timing.processes:
        samples = sorted(sample for window in process.windows for sample in window.samples_ns)
        if samples:
            medians.append(quantile(samples, 0.5) / (1e9 * process.means_of))
    return medians


def clock_step_s(timing: Timing) -> float:
    """Return the coarsest step of the processes' clocks, in seconds an inference."""
    return max(process.tick_s / process.means_of for process in timing.processes)


def _of_path(summary: Summary | None, rows: Iterable[Sequence[int]], tick_s: float) -> Summary | None:
    if summary is None:
        return None
    return _resting(summary, [quantile(sorted(row), 0.5) / 1e9 for row in rows if row], tick_s)


def _resting(summary: Summary, medians_s: Sequence[float], step_s: float) -> Summary:
    """Return a summary with an interval of its median alone, which reaches to the pooled median where it lies outside.

    Args:
        summary: Of the samples of all processes.
        medians_s: Of each process, in seconds.
        step_s: Of the clock, in seconds.
    """
    found = interval_of_median(medians_s, resolution_s=step_s)
    percentiles = [replace(percentile, low_s=None, high_s=None) for percentile in summary.percentiles]
    if found is not None:
        middle = percentiles[0].value_s
        percentiles[0] = replace(percentiles[0], low_s=min(found.low, middle), high_s=max(found.high, middle))
    return replace(summary, percentiles=tuple(percentiles))
