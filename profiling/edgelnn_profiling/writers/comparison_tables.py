"""A comparison as a table of text, and in words."""

from __future__ import annotations

from edgelnn_profiling.comparing import Comparison, ComparisonRow
from edgelnn_profiling.ratios import SESSION_SD
from edgelnn_profiling.writers.tables import TextColumn, TextTable
from edgelnn_profiling.writers.units import UNKNOWN, format_bytes, format_ratio, format_seconds_interval

__all__ = ["METHOD", "comparison_table", "row_name", "verdict_of"]

METHOD = (
    "A ratio above 1 is slower. Intervals hold with 95 % confidence, row by row; they rest on the medians of processes "
    "(Welch's interval for logarithms), and between reports they allow for a standard deviation of "
    f"{SESSION_SD:.0%} that no single measurement can show."
)


def comparison_table(found: Comparison, *, title: str = "Latency of one inference, compared") -> TextTable:
    """Return a row for each result of each report."""
    rows = tuple(
        (
            row.label,
            _variant(row, found),
            UNKNOWN if row.p50 is None else format_seconds_interval(row.p50.value, row.p50.low, row.p50.high),
            ratio_of(row),
            row.verdict,
            format_bytes(row.size_bytes),
            format_bytes(row.peak_rss_bytes),
            UNKNOWN if row.test_auc is None else f"{row.test_auc:.4f}",
        )
        for row in found.rows
    )
    columns = (
        TextColumn("report", number=False),
        TextColumn("variant", number=False),
        TextColumn("p50 (95 %)", spare=1),
        TextColumn("ratio (95 %)"),
        TextColumn("verdict", number=False),
        TextColumn("file", spare=3),
        TextColumn("peak memory", spare=4),
        TextColumn("test AUC", spare=2),
    )
    return TextTable("comparison", title, columns, rows, " ".join([*_references(found), *_reasons(found), METHOD]))


def _references(found: Comparison) -> list[str]:
    """Return to what rows are compared, where that is not the same variant of the first report."""
    told: dict[str, list[str]] = {}
    for row in found.rows:
        if row.ratio is not None and not row.reference.endswith(f": {row.variant}"):
            told.setdefault(row.reference, []).append(row_name(row, found))
    return [f"Compared with {reference}: {_listed(names, found)}." for reference, names in told.items()]


def _reasons(found: Comparison) -> list[str]:
    """Return why rows are not comparable."""
    told: dict[str, list[str]] = {}
    for row in found.rows:
        if row.reason:
            told.setdefault(row.reason, []).append(row_name(row, found))
    return [f"Not comparable, as {reason}: {_listed(names, found)}." for reason, names in told.items()]


def _listed(names: list[str], found: Comparison) -> str:
    others = sum(row.verdict != "reference" for row in found.rows)
    return "every other row" if len(names) == others > 1 else ", ".join(names)


def _variant(row: ComparisonRow, found: Comparison) -> str:
    several = len({each.threads for each in found.rows}) > 1
    return f"{row.variant} ×{row.threads}" if several else row.variant


def row_name(row: ComparisonRow, found: Comparison) -> str:
    """Return what tells a row from the others."""
    variant = _variant(row, found)
    return f"{row.label}: {variant}" if len({each.label for each in found.rows}) > 1 else variant


def ratio_of(row: ComparisonRow) -> str:
    """Return the ratio with its interval; 1 for the reference itself."""
    if row.verdict == "reference":
        return "1"
    return UNKNOWN if row.ratio is None else format_ratio(row.ratio.value, row.ratio.low, row.ratio.high)


def verdict_of(row: ComparisonRow) -> str:
    """Return what is told of the difference, and if nothing is, why."""
    return f"{row.verdict}: {row.reason}" if row.reason else row.verdict
