"""A comparison as one HTML page, like that of a report; and of any other table with its remarks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from edgelnn_profiling.comparing import Comparison, ComparisonRow
from edgelnn_profiling.writers.comparison_tables import comparison_table, row_name, verdict_of
from edgelnn_profiling.writers.forest import RatioRow, forest_chart
from edgelnn_profiling.writers.markup import Markup, element
from edgelnn_profiling.writers.scatter import Point, marker, scatter_chart
from edgelnn_profiling.writers.shell import figure, legend, table_element, whole_page
from edgelnn_profiling.writers.tables import TextTable
from edgelnn_profiling.writers.units import format_bytes, format_seconds, scale_of

__all__ = ["size_figure", "size_point", "table_page", "write_comparison_html"]

TOLD = ("faster", "slower")


def write_comparison_html(found: Comparison) -> str:
    """Return the comparison as a page that stands alone in its file."""
    charts = [chart for chart in (_ratios(found), *_trade_offs(found)) if chart is not None]
    title = f"{len(dict.fromkeys(row.label for row in found.rows))} reports compared"
    return table_page(title, comparison_table(found), found.remarks, charts)


def table_page(title: str, table: TextTable, remarks: Sequence[str], charts: Sequence[Markup] = ()) -> str:
    """Return a page of one table, with what speaks against comparing before it.

    Args:
        title: Of the page.
        table: The figures.
        remarks: A sentence each.
        charts: Figures, which stand between remarks and table.
    """
    header = [element("h1", title), _remarks(remarks)]
    sections = [
        element("section", element("h2", "At a glance"), element("div", charts, class_="columns")) if charts else None,
        element("section", element("h2", "All figures"), table_element(table)),
    ]
    footer = "Made by edgelnn. This page is one file; it loads nothing and runs no script."
    return whole_page(title, header, sections, footer)


def _remarks(remarks: Sequence[str]) -> Markup | None:
    if not remarks:
        return None
    rows = element("ul", [element("li", remark) for remark in remarks])
    return element("div", element("strong", "To keep in mind"), rows, class_="verdict note", role="status")


def _groups(found: Comparison) -> dict[str, int]:
    """Return the number of each report's color."""
    labels = dict.fromkeys(row.label for row in found.rows)
    return {label: number % 6 for number, label in enumerate(labels)}


def _ratios(found: Comparison) -> Markup | None:
    groups = _groups(found)
    rows = [
        RatioRow(row_name(row, found), row.ratio, row.verdict in TOLD, groups[row.label])
        for row in found.rows
        if row.ratio is not None or (row.verdict == "reference" and len(groups) == 1)
    ]
    if all(row.ratio is None for row in rows):
        return None
    reference = f" to {next(iter(groups))}" if len(groups) > 1 else " to the reference"
    title = f"Ratios of latency{reference}"
    words = "Bars: 95 % intervals. Hollow: no difference is told, as noise alone may explain it or a row is not valid."
    return figure(title, forest_chart("ratios", title, rows), words)


def _trade_offs(found: Comparison) -> list[Markup]:
    judged = [row for row in found.rows if row.test_auc is not None]
    if not judged:
        return []
    charts = []
    timed = [(row, row.p50.value) for row in judged if row.p50 is not None]
    if timed:
        factor, unit = scale_of(min(p50 for _, p50 in timed))
        title = "AUC against latency"
        chart = scatter_chart(
            "trade-latency",
            title,
            [_point(found, row, p50) for row, p50 in timed],
            cost=f"median latency of one image, {unit}",
            worth="AUC on the test split",
            factor=factor,
            format_cost=format_seconds,
        )
        charts.append(figure(title, chart, _legend(_groups(found), found)))
    # The same file in several reports is one point.
    files = {(row.variant, row.size_bytes, row.test_auc): row for row in reversed(judged)}
    groups = _groups(found)
    points = [
        size_point(row_name(row, found), groups[row.label], row.size_bytes, row.test_auc or 0.0)
        for row in files.values()
    ]
    return [*charts, size_figure(points, [*groups])]


def size_point(name: str, group: int, size_bytes: int, auc: float) -> Point:
    """Return the point of a file: AUC against its size; of its name, what follows a colon stands in the chart."""
    says = f"{name}: AUC {auc:.4f}, {format_bytes(size_bytes)}"
    return Point(name.rpartition(": ")[2], group, float(size_bytes), auc, says)


def size_figure(points: Sequence[Point], names: Sequence[str]) -> Markup:
    """Return AUC against size.

    Args:
        points: At least one.
        names: Of the groups, by their numbers.
    """
    title = "AUC against size"
    chart = scatter_chart(
        "trade-size",
        title,
        points,
        cost="size of the file, kB",
        worth="AUC on the test split",
        factor=1e-3,
        format_cost=lambda size: format_bytes(round(size)),
    )
    return figure(title, chart, _legend({name: number % 6 for number, name in enumerate(names)}))


def _point(found: Comparison, row: ComparisonRow, cost: float) -> Point:
    says = f"{row_name(row, found)}: AUC {row.test_auc or 0.0:.4f}, {format_bytes(row.size_bytes)}"
    timed = "" if row.p50 is None else f", p50 {format_seconds(row.p50.value)}, {verdict_of(row)}"
    return Point(row.variant, _groups(found)[row.label], cost, row.test_auc or 0.0, says + timed)


def _legend(groups: Mapping[str, int], found: Comparison | None = None) -> Markup:
    machines = {} if found is None else {row.label: f" ({row.machine})" for row in found.rows}
    entries = []
    for label, group in groups.items():
        mark = marker(Point(label, group, 0.0, 0.0, label), (8.0, 8.0), on_front=False)
        picture = element("svg", mark, viewBox="0 0 16 16", aria_hidden="true")
        entries.append((picture, f"{label}{machines.get(label, '')}"))
    return legend(entries)
