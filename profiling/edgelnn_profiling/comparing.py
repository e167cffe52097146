"""Compare reports: ratios with intervals, and no verdict where noise explains a difference."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from edgelnn.errors import ProfileError
from edgelnn_profiling.report import Report, Result, Timing

__all__ = ["Comparison", "ComparisonRow", "comparison"]

Verdict = Literal["reference", "faster", "slower", "no difference shown", "not comparable"]
WINDOWS_FOR_INTERVAL = 6


@dataclass(frozen=True)
class Interval:
    """A value and what it may be as well, with 95 % confidence or a little more."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class ComparisonRow:
    """One variant of one report.

    Attributes:
        label: Of the report.
        variant, threads: Of the result.
        p50: Median time of an inference in seconds; None where it was not measured.
        reference: Label and variant of what the ratio is to.
        ratio: Of this median to the reference's: above 1 is slower. None without two intervals.
        verdict: What the ratio's interval allows to say.
    """

    label: str
    variant: str
    threads: int
    p50: Interval | None
    reference: str
    ratio: Interval | None
    verdict: Verdict


@dataclass(frozen=True)
class Comparison:
    """Rows in the order of the reports, and what to keep in mind while reading them."""

    rows: tuple[ComparisonRow, ...]
    remarks: tuple[str, ...]


def comparison(reports: Sequence[Report], labels: Sequence[str] | None = None) -> Comparison:
    """Compare reports.

    In a single report, rows are compared with its recommended variant, or else its first. Of several, a row is compared
    with the first report's row of the same variant and threads, where it has one.

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
            same = (found for found in first if _key(found) == _key(result))
            reference = main if len(reports) == 1 else next(same, main)
            rows.append(_row(name, result, names[0], reference))
    return Comparison(tuple(rows), tuple(_remarks(names, reports)))


def _key(result: Result) -> tuple[str, int]:
    return result.variant, result.threads


def _row(label: str, result: Result, reference_label: str, reference: Result | None) -> ComparisonRow:
    own, to = p50_interval(result.timing), p50_interval(None if reference is None else reference.timing)
    named = "" if reference is None else f"{reference_label}: {reference.variant}"
    ratio: Interval | None = None
    verdict: Verdict = "not comparable"
    if reference is not None and result is reference:
        verdict = "reference"
    elif own is not None and to is not None:
        ratio = Interval(own.value / to.value, own.low / to.high, own.high / to.low)
        verdict = "slower" if ratio.low > 1 else "faster" if ratio.high < 1 else "no difference shown"
    return ComparisonRow(label, result.variant, result.threads, own, named, ratio, verdict)


def p50_interval(timing: Timing | None) -> Interval | None:
    """Return the median with an interval that holds for another day's processes too, as far as windows can tell.

    It reaches from the lowest to the highest median of a window: of six or more, that holds the true median of such
    medians with at least 97 %; and it is never narrower than the interval of the samples.
    """
    if timing is None:
        return None
    middle = timing.inference.percentiles[0]
    medians = timing.window_p50s_s
    if len(medians) < WINDOWS_FOR_INTERVAL or middle.low_s is None or middle.high_s is None:
        return None
    return Interval(middle.value_s, min(*medians, middle.low_s), max(*medians, middle.high_s))


def _remarks(names: Sequence[str], reports: Sequence[Report]) -> list[str]:
    remarks = []
    first = reports[0]
    for name, report in zip(names, reports, strict=True):
        if not report.valid:
            remarks.append(f"{name} is not valid: {'; '.join(report.reasons)}.")
        for result in report.results:
            if result.timing is not None and p50_interval(result.timing) is None:
                windows = len(result.timing.window_p50s_s)
                remarks.append(
                    f"{name}: {result.variant} has {windows} windows; {WINDOWS_FOR_INTERVAL} make an interval."
                )
    for name, report in zip(names[1:], reports[1:], strict=True):
        here, there = first.machine, report.machine
        for what, one, other in (
            ("board", here.board, there.board),
            ("CPU", here.cpu, there.cpu),
            ("bits", here.bits, there.bits),
            ("system", here.system, there.system),
            ("kernel", here.kernel, there.kernel),
            ("governor", first.before.governor, report.before.governor),
        ):
            if one != other:
                remarks.append(f"{names[0]} and {name} differ in {what}: {one or 'unknown'} and {other or 'unknown'}.")
        versions = {_key(result): (result.runtime, result.runtime_version) for result in first.results}
        for result in report.results:
            one_version, other_version = versions.get(_key(result)), (result.runtime, result.runtime_version)
            if one_version is not None and None not in (*one_version, *other_version) and one_version != other_version:
                said = f"{' '.join(map(str, one_version))} and {' '.join(map(str, other_version))}"
                remarks.append(f"{names[0]} and {name} ran {result.variant} on {said}.")
    return remarks
