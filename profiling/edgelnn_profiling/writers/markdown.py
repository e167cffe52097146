"""A report as a section of Markdown."""

from __future__ import annotations

from edgelnn_profiling.report import Report
from edgelnn_profiling.writers.sentences import (
    SYNTHETIC,
    doubts_of,
    machine_facts,
    method_sentence,
    model_sentence,
    state_facts,
    verdict_sentence,
)
from edgelnn_profiling.writers.tables import TextTable, tables_of

__all__ = ["markdown_table", "plain", "write_markdown"]


def write_markdown(report: Report) -> str:
    """Return the report as a section of Markdown: verdict, tables, machine, cautions."""
    lines = [f"## {plain(report.name)}", ""]
    if report.synthetic:
        lines += [f"**{SYNTHETIC}**", ""]
    lines += [f"**{plain(verdict_sentence(report))}**", ""]
    for table in tables_of(report):
        lines += [*markdown_table(table), ""]
    before, after = state_facts(report.before), state_facts(report.after)
    states = [f"{name} {before.get(name, 'unknown')}, then {after.get(name, 'unknown')}" for name in before | after]
    model = model_sentence(report)
    facts = {
        "Model": model,
        "Machine": "; ".join(f"{name} {value}" for name, value in machine_facts(report)) + ".",
        "Before and after": "; ".join(states) + "." if states else "",
        "Method": method_sentence(report),
        "Measured": f"{report.created}.",
    }
    lines += [f"- {name}: {plain(words)}" for name, words in facts.items() if words]
    doubts = doubts_of(report)
    if doubts:
        lines += ["", "What to keep in mind:", ""]
    for doubt in doubts:
        words = f"{doubt.observation}. Why it matters: {doubt.matters}. What to do: {doubt.advice}."
        lines.append(f"- {plain(words)}")
    return "\n".join(lines) + "\n"


def markdown_table(table: TextTable) -> list[str]:
    r"""Return the lines of a table: its title, the table itself, its note.

    >>> from edgelnn_profiling.writers.tables import TextColumn
    >>> columns = (TextColumn("variant", number=False), TextColumn("p50"))
    >>> print(*markdown_table(TextTable("times", "Latency", columns, (("a|b", "16.5 µs"),))), sep="\n")
    **Latency**
    <BLANKLINE>
    | variant | p50 |
    |---|--:|
    | a\|b | 16.5 µs |
    """
    rule = "|".join("--:" if column.number else "---" for column in table.columns)
    lines = [f"**{plain(table.title)}**", "", _row([column.title for column in table.columns]), f"|{rule}|"]
    lines += [_row(row) for row in table.rows]
    return [*lines, "", plain(table.note)] if table.note else lines


def _row(cells: list[str] | tuple[str, ...]) -> str:
    return "| " + " | ".join(plain(cell) for cell in cells) + " |"


def plain(text: str) -> str:
    r"""Return text that Markdown takes as it stands, on one line.

    >>> plain("a_b <i>")
    'a\\_b \\<i\\>'
    """
    text = " ".join(text.split())
    return "".join("\\" + letter if letter in "\\|`*_<>[]#" else letter for letter in text)
