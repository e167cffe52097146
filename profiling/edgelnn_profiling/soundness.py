"""Whether a report that was read can be what a measurement leaves: what types alone do not say.

Everything that shows or compares a report relies on this, so that a file that was damaged or made up ends in one line.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from edgelnn.errors import ProfileError

if TYPE_CHECKING:
    from edgelnn_profiling.report import Process, Report, Result, Timing
    from edgelnn_profiling.samples import Summary

__all__ = ["refuse_unsound"]

LONGEST_TICK_S = 1.0


def refuse_unsound(report: Report) -> None:
    """Do nothing where a report is sound.

    Raises:
        ProfileError: It is not; the message says where, what was found and what was expected.
    """
    for index, result in enumerate(report.results):
        for where, found, expected in _faults(result):
            raise ProfileError(
                f"the report is not valid: results[{index}].{where} is {found!r}; expected {expected}. Measure again."
            )


Fault = tuple[str, object, str]


def _faults(result: Result) -> Iterator[Fault]:
    if result.threads < 1:
        yield "threads", result.threads, "1 or more"
    if result.size_bytes < 0:
        yield "size_bytes", result.size_bytes, "0 or more"
    for name, tensor in (("input", result.input), ("output", result.output)):
        if tensor is not None and not tensor.shape:
            yield f"{name}.shape", [], "at least one dimension"
    if result.timing is not None:
        for where, found, expected in _of_timing(result.timing):
            yield f"timing.{where}", found, expected


def _of_timing(timing: Timing) -> Iterator[Fault]:
    for name in ("load", "first_inference", "inference", "preparation", "decision"):
        summary = getattr(timing, name)
        if summary is not None:
            for where, found, expected in _of_summary(summary):
                yield f"{name}.{where}", found, expected
    for name in ("processes", "window_p50s_s", "throughput"):
        if not getattr(timing, name):
            yield name, [], "at least one"
    for index, process in enumerate(timing.processes):
        for where, found, expected in _of_process(process):
            yield f"processes[{index}].{where}", found, expected


def _of_summary(summary: Summary) -> Iterator[Fault]:
    percents = [found.percent for found in summary.percentiles]
    if not percents or percents[0] != 50.0 or percents != sorted(set(percents)) or percents[-1] >= 100:
        yield "percentiles", percents, "the median first, then others that rise and stay below 100"
    if summary.count < 1:
        yield "count", summary.count, "1 or more"
    if summary.means_of < 1:
        yield "means_of", summary.means_of, "1 or more"


def _of_process(process: Process) -> Iterator[Fault]:
    if process.means_of < 1:
        yield "means_of", process.means_of, "1 or more"
    if not 0 <= process.tick_s <= LONGEST_TICK_S:
        yield "tick_s", process.tick_s, f"0 to {LONGEST_TICK_S:g}"
    if not process.windows:
        yield "windows", [], "at least one"
    for index, window in enumerate(process.windows):
        if not window.samples_ns or min(window.samples_ns) < 0:
            yield f"windows[{index}].samples_ns", list(window.samples_ns[:3]), "samples, none below 0"
