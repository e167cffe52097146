"""A report as one HTML page: no network, no script; charts are drawn here."""

from __future__ import annotations

from collections.abc import Sequence

from edgelnn.decode import encode
from edgelnn_profiling.report import Report, Result
from edgelnn_profiling.writers.markup import Children, Markup, element
from edgelnn_profiling.writers.report_charts import latency_charts, memory_charts, trade_off_charts
from edgelnn_profiling.writers.sentences import (
    SYNTHETIC,
    doubts_of,
    label_of,
    machine_facts,
    machine_name,
    method_sentence,
    model_sentence,
    state_facts,
)
from edgelnn_profiling.writers.shell import breakable, facts_list, table_element, whole_page
from edgelnn_profiling.writers.tables import INTERVALS, TextColumn, TextTable, percentile_text, tables_of
from edgelnn_profiling.writers.time_charts import energy_charts, operator_charts
from edgelnn_profiling.writers.units import format_bytes, format_count

__all__ = ["write_html"]

REASONS = 6  # that stand at the top; all stand further down


def write_html(report: Report) -> str:
    """Return the report as a page that stands alone in its file."""
    tables = {table.name: table_element(table) for table in tables_of(report)}
    throughput = element("div", tables["throughput"]) if "throughput" in tables else None
    memory = [*memory_charts(report), throughput]
    sections = [
        _section("What it costs, what it is worth", _charts(trade_off_charts(report)), tables["cost"]),
        _section("Latency", tables["latency"], _charts(latency_charts(report), "columns")),
        _section("Memory and throughput", _charts(memory), tables.get("memory"), tables.get("path")),
        _section(
            "Where the time goes",
            _charts(operator_charts(report), "columns"),
            tables["parts"],
            _folded(tables["layers"]),
        )
        if "parts" in tables
        else None,
        _section("Energy", _charts(energy_charts(report)), tables["energy"]) if "energy" in tables else None,
        _section("What to keep in mind", _doubts(report)) if report.cautions else None,
        _section("The machine", _machine(report)),
        _section("How it was measured", _method(report)),
    ]
    made = f"Made by edgelnn {report.machine.versions.get('edgelnn', '')} from a report of {report.created}. "
    promise = "This page is one file; it loads nothing and runs no script. Figures hold for this machine alone."
    footer = [made, promise]
    return whole_page(f"{report.name} on {machine_name(report)}", _header(report), sections, footer)


def _section(title: str, *parts: Children) -> Markup:
    return element("section", element("h2", title), *parts)


def _folded(table: Markup) -> Markup:
    """Return a table that opens when asked; its figures stand in charts too."""
    return element("details", element("summary", "The same by layer, as a table"), table)


def _charts(charts: Sequence[Markup | None], kind: str = "charts") -> Markup | None:
    shown = [chart for chart in charts if chart is not None]
    return element("div", shown, class_=kind) if shown else None


def _header(report: Report) -> list[Markup | None]:
    trained = "" if report.dataset is None else f" Trained on {report.dataset}."
    return [
        element("h1", report.name),
        element("p", f"{machine_name(report)} · {report.created}", class_="soft"),
        element("p", f"{model_sentence(report)}{trained}") if model_sentence(report) or trained else None,
        _verdict(report),
        element("div", element("strong", "Synthetic images"), element("p", SYNTHETIC), class_="verdict note")
        if report.synthetic
        else None,
        _cards(report),
    ]


def _verdict(report: Report) -> Markup:
    """Return whether the figures can be trusted; if not, so that it cannot be overlooked."""
    if report.valid:
        said = element("p", "Nothing was seen that would make these figures untrue.")
        return element("div", element("strong", "✓ Valid"), said, class_="verdict valid", role="status")
    doubts = [doubt for doubt in doubts_of(report) if doubt.invalidates]
    why = [observation for doubt in doubts for observation in doubt.observations] or report.reasons
    return element(
        "div",
        element("strong", "✗ Not valid: do not publish these figures"),
        element("ul", [element("li", reason) for reason in why[:REASONS]]),
        element("p", f"… and {len(why) - REASONS} more, below.") if len(why) > REASONS else None,
        class_="verdict invalid",
        role="alert",
    )


def _cards(report: Report) -> Markup | None:
    """Return the figures of the variant that matters: the recommended one, else the fastest."""
    timed = [result for result in report.results if result.timing is not None]
    chosen = [result for result in timed if result.recommended] or sorted(
        timed, key=lambda result: 0.0 if result.timing is None else result.timing.inference.p50_s
    )
    if not chosen or chosen[0].timing is None:
        return None
    result, timing = chosen[0], chosen[0].timing
    test, memory = result.test or {}, result.memory
    why = "recommended" if result.recommended else "the fastest"
    middle, _, interval = percentile_text(timing.inference, 50.0).partition(" (")
    found = [
        (f"variant, {why}", label_of(result, report.results), f"{result.threads} thread{'s'[: result.threads - 1]}"),
        ("median latency", middle, f"95 %: {interval.rstrip(')')}" if interval else ""),
        ("p99", percentile_text(timing.inference, 99.0), ""),
        ("file", format_bytes(result.size_bytes), ""),
        ("AUC, test split", f"{test['auc']:.4f}" if "auc" in test else "", ""),
        (
            "memory, model's cost",
            "" if memory is None else format_bytes(memory.above_empty_bytes),
            "" if memory is None else f"peak {format_bytes(memory.peak_rss_bytes)}",
        ),
    ]
    shown = [
        element("div", element("dt", name), element("dd", breakable(value), element("small", more) if more else None))
        for name, value, more in found
        if value
    ]
    return element("dl", shown, class_="cards")


def _doubts(report: Report) -> Markup:
    rows = [
        element(
            "li",
            element("p", element("b", f"{'✗' if doubt.invalidates else '!'} {doubt.observation}")),
            element("p", f"Why it matters: {doubt.matters}."),
            element("p", f"What to do: {doubt.advice}."),
            class_="bad" if doubt.invalidates else None,
        )
        for doubt in doubts_of(report)
    ]
    return element("ul", rows, class_="doubts")


def _machine(report: Report) -> Markup:
    before, after = state_facts(report.before), state_facts(report.after)
    rows = tuple((name, before.get(name, "unknown"), after.get(name, "unknown")) for name in before | after)
    columns = (TextColumn("", number=False), TextColumn("before"), TextColumn("after"))
    states = table_element(TextTable("state", "Its state", columns, rows)) if rows else None
    panel = element("div", facts_list(machine_facts(report)), class_="panel")
    return element("div", panel, element("div", states), class_="pair")


def _method(report: Report) -> list[Markup]:
    plan = encode(report.plan)
    facts = plan.items() if isinstance(plan, dict) else ()
    settings = [element("div", element("dt", _setting(name)), element("dd", _plain(value))) for name, value in facts]
    files = TextTable(
        "files",
        "Files",
        (
            TextColumn("variant", number=False),
            TextColumn("file", number=False),
            TextColumn("bytes"),
            TextColumn("sha256", number=False),
        ),
        tuple(_file_row(result) for result in {result.variant: result for result in report.results}.values()),
    )
    return [
        element("p", method_sentence(report)),
        element(
            "p",
            "A percentile is given only where at least two samples lie above it with 99 % confidence: 64 for p90, 662 "
            f"for p99. {INTERVALS}",
        ),
        element("div", element("h3", "The plan"), element("dl", settings, class_="plan"), class_="panel"),
        Markup(element("br") + table_element(files, kinds=(None, None, "number", "hash"))),
    ]


def _file_row(result: Result) -> tuple[str, ...]:
    return result.variant, result.file, format_count(result.size_bytes), result.sha256


def _setting(name: str) -> str:
    words = name.removesuffix("_s").replace("_", " ")
    return f"{words}, s" if name.endswith("_s") else words


def _plain(value: object) -> str:
    if isinstance(value, list):
        return ", ".join(map(_plain, value))
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:g}" if isinstance(value, float) else str(value)
