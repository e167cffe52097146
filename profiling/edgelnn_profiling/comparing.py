"""Compare reports: ratios with intervals, and no verdict where noise explains a difference."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from edgelnn.errors import ProfileError
from edgelnn_profiling.differences import differences
from edgelnn_profiling.process_intervals import clock_step_s, process_medians
from edgelnn_profiling.ratios import LEAST_PROCESSES, SESSION_SD, Interval, interval_of_median, ratio_of_medians
from edgelnn_profiling.report import Report, Result, Timing

__all__ = ["Comparison", "ComparisonRow", "Verdict", "comparison"]

Verdict = Literal["reference", "faster", "slower", "no difference told", "not comparable"]


@dataclass(frozen=True)
class ComparisonRow:
    """One variant of one report.

    Attributes:
        label: Of the report.
        machine: Where it was measured.
        variant, threads: Of the result.
        valid: Whether nothing was seen that makes this row's figures untrue.
        p50: Median time of an inference in seconds, as its processes show it; None of fewer than three processes.
        reference: Label and variant of what the ratio is to; empty where there is nothing to compare with.
        reference_threads: Its threads; None likewise.
        ratio: Of the time to the reference's: above 1 is slower. None where one of the two has no interval.
        verdict: What the ratio's interval allows to say.
        reason: Why it is not comparable; empty where it is.
        size_bytes: Of the file.
        peak_rss_bytes: The largest resident size; None where it was not measured.
        test_auc: On the test split; None where it is not known.
    """

    label: str
    machine: str
    variant: str
    threads: int
    valid: bool
    p50: Interval | None
    reference: str
    reference_threads: int | None
    ratio: Interval | None
    verdict: Verdict
    reason: str
    size_bytes: int
    peak_rss_bytes: int | None
    test_auc: float | None


@dataclass(frozen=True)
class Comparison:
    """Rows in the order of the reports, and what to keep in mind while reading them."""

    rows: tuple[ComparisonRow, ...]
    remarks: tuple[str, ...]


def comparison(reports: Sequence[Report], labels: Sequence[str] | None = None) -> Comparison:
    """Compare reports.

    In a single report, rows are compared with its recommended variant, or else its first. Of several, a row is compared
    with the first report's row of the same variant and threads; where it has none, with that of the same variant and
    other threads, or else of the recommended variant.

    A row is called faster or slower only where the 95 % interval of its ratio leaves 1 out (`ratio_of_medians`), and
    where neither row has a caution that invalidates it. Between reports the interval allows for `SESSION_SD`, which no
    single measurement can show. Each row is judged by itself: of a hundred rows without a difference, five may be told
    to have one.

    Args:
        reports: At least one.
        labels: What to call them; their numbers where none are given.

    Raises:
        ProfileError: There are no reports, or not as many labels.
    """
    if not reports:
        raise ProfileError("got no reports to compare; expected at least one.")
    names = list(labels) if labels is not None else [str(number) for number in range(1, len(reports) + 1)]
    if len(names) != len(reports):
        raise ProfileError(f"got {len(names)} labels for {len(reports)} reports; expected one each.")
    first = [result for result in reports[0].results if result.timing is not None]
    main = next((result for result in first if result.recommended), first[0] if first else None)
    rows = []
    for name, report in zip(names, reports, strict=True):
        for result in report.results:
            reference = main if len(reports) == 1 else _same(result, first) or main
            rows.append(_row(name, report, result, names[0], reports[0], reference))
    return Comparison(tuple(rows), tuple(differences(names, reports)))


def _same(result: Result, among: Sequence[Result]) -> Result | None:
    """Return the result of the same variant and threads, else the first of the same variant."""
    same = [other for other in among if other.variant == result.variant]
    return next((other for other in same if other.threads == result.threads), same[0] if same else None)


def _row(
    label: str, report: Report, result: Result, reference_label: str, first: Report, reference: Result | None
) -> ComparisonRow:
    timing = result.timing
    valid = _is_valid(report, result)
    is_reference = report is first and result is reference
    ratio, reason = None, ""
    verdict: Verdict = "reference" if is_reference else "not comparable"
    if not is_reference:
        ratio = _ratio(result, reference, session_sd=0.0 if report is first else SESSION_SD)
        reason = _why_not(timing, reference, valid, reference is None or _is_valid(first, reference), ratio)
        if ratio is not None and not reason:
            verdict = "slower" if ratio.low > 1 else "faster" if ratio.high < 1 else "no difference told"
    machine = report.machine
    return ComparisonRow(
        label=label,
        machine=machine.board or machine.cpu or machine.architecture,
        variant=result.variant,
        threads=result.threads,
        valid=valid,
        p50=None if timing is None else interval_of_median(process_medians(timing), resolution_s=clock_step_s(timing)),
        reference="" if reference is None else f"{reference_label}: {reference.variant}",
        reference_threads=None if reference is None else reference.threads,
        ratio=ratio,
        verdict=verdict,
        reason=reason,
        size_bytes=result.size_bytes,
        peak_rss_bytes=None if result.memory is None else result.memory.peak_rss_bytes,
        test_auc=(result.test or {}).get("auc"),
    )


def _is_valid(report: Report, result: Result) -> bool:
    """Return whether no caution about the machine or about this result invalidates it."""
    return not any(
        caution.invalidates
        for caution in report.cautions
        if caution.variant is None or (caution.variant, caution.threads) == (result.variant, result.threads)
    )


def _ratio(result: Result, reference: Result | None, *, session_sd: float) -> Interval | None:
    if result.timing is None or reference is None or reference.timing is None:
        return None
    return ratio_of_medians(
        process_medians(result.timing),
        process_medians(reference.timing),
        resolution_s=max(clock_step_s(result.timing), clock_step_s(reference.timing)),
        session_sd=session_sd,
    )


def _why_not(
    timing: Timing | None, reference: Result | None, valid: bool, reference_valid: bool, ratio: Interval | None
) -> str:
    if timing is None:
        return "it was not measured"
    if reference is None or reference.timing is None:
        return "nothing was measured that it could be compared with"
    if ratio is None:
        fewest = min(len(timing.processes), len(reference.timing.processes))
        return f"{fewest} processes; an interval takes {LEAST_PROCESSES}, and times above 0"
    if not valid:
        return "its measurement is not valid"
    return "" if reference_valid else "the reference's measurement is not valid"
