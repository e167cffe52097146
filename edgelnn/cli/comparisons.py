"""What `edgelnn compare` finds: records as data, one table, and what speaks against comparing."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from edgelnn.bundle import Bundle
from edgelnn.cli.formatting import NOTHING, format_bytes, format_count, format_figure
from edgelnn.decode import encode
from edgelnn.errors import ConfigError, ProfileError
from edgelnn_profiling.writers.comparison_page import size_figure, size_point, table_page
from edgelnn_profiling.writers.tables import TextColumn, TextTable

__all__ = ["Compared", "compare_bundles", "compare_reports", "compare_runs", "compared"]


@dataclass(frozen=True)
class Compared:
    """What was found.

    Attributes:
        kind: Of the things compared.
        rows: As data.
        table: As text.
        remarks: What speaks against comparing, a sentence each.
        page: Makes the HTML page.
    """

    kind: str
    rows: Sequence[Mapping[str, object]]
    table: TextTable
    remarks: Sequence[str]
    page: Callable[[], str]


def compared(kind: str, rows: Sequence[Mapping[str, object]], table: TextTable, remarks: Sequence[str]) -> Compared:
    """Return what was found, with a page that shows the table."""
    return Compared(kind, rows, table, remarks, lambda: table_page(table.title, table, remarks))


def compare_runs(folders: Sequence[Path]) -> Compared:
    """Return the metrics of runs: on the test split, with the AUC's difference to the first, and on validation."""
    from edgelnn.run import Run

    runs = [Run.load(folder) for folder in folders]
    figures = ("auc", "accuracy", "sensitivity", "specificity", "f1")
    judged = [run.metrics["test"] for run in runs if "test" in run.metrics]
    first = runs[0].metrics.get("test")
    chosen = any(each.threshold not in (None, 0.5) for each in judged)  # decisions are then to be read with it
    records, rows = [], []
    for folder, run in zip(folders, runs, strict=True):
        val, test, model = run.metrics.get("val"), run.metrics.get("test"), run.environment.get("model", {})
        trainable = model.get("parameters", {}).get("trainable")
        records.append(
            {
                "target": str(folder),
                "experiment": run.experiment.name,
                "dataset": run.experiment.data.name,
                "trainable": trainable,
                "val": None if val is None else val.to_dict(),
                "test": None if test is None else test.to_dict(),
            }
        )
        low, high = (None, None) if test is None else test.intervals.get("auc", (None, None))
        rows.append(
            (
                str(folder),
                format_count(trainable),
                format_figure(getattr(val, "auc", None)),
                *(format_figure(getattr(test, name, None)) for name in figures),
                *([format_figure(getattr(test, "threshold", None))] if chosen else []),
                NOTHING if low is None or high is None else f"{low:.3f} to {high:.3f}",
                _difference(getattr(test, "auc", None), getattr(first, "auc", None)),
            )
        )
    positive = f" ({judged[0].positive_class})" if judged and judged[0].positive_class else ""
    columns = (
        TextColumn("run", number=False),
        TextColumn("parameters", spare=3),
        TextColumn("val AUC", spare=6),
        TextColumn("AUC"),
        TextColumn("accuracy"),
        TextColumn(f"sensitivity{positive}"),
        TextColumn("specificity", spare=5),
        TextColumn("F1", spare=4),
        *([TextColumn("threshold")] if chosen else []),
        TextColumn("AUC, 95 %", number=False, spare=2),
        TextColumn("Δ AUC"),
    )
    table = TextTable("runs", f"{len(runs)} runs compared, on the test split", columns, tuple(rows))
    return compared("runs", records, table, _doubts_about_data([(run.folder, run.environment["data"]) for run in runs]))


def compare_bundles(folders: Sequence[Path]) -> Compared:
    """Return every variant of bundles: size, and accuracy on the test split through its own runtime."""
    bundles = [Bundle.load(folder) for folder in folders]
    first = bundles[0].variant().test
    names = _short_names(folders, [folder.name for folder in folders])
    records, rows, points = [], [], []
    for number, (folder, name, bundle) in enumerate(zip(folders, names, bundles, strict=True)):
        model = bundle.manifest.model
        for variant in bundle.manifest.variants:
            recommended = variant.name == bundle.manifest.recommended
            records.append(
                {
                    "target": str(folder),
                    "variant": variant.name,
                    "recommended": recommended,
                    "size_bytes": variant.size_bytes,
                    "parameters": model.parameters,
                    "macs": model.macs,
                    "test": variant.test,
                }
            )
            rows.append(
                (
                    name,
                    f"{variant.name}{' *' if recommended else ''}",
                    format_count(model.parameters.get("trainable")),
                    format_count(model.macs),
                    format_bytes(variant.size_bytes),
                    format_figure(variant.test.get("auc")),
                    format_figure(variant.test.get("accuracy")),
                    _difference(variant.test.get("auc"), first.get("auc")),
                )
            )
            if "auc" in variant.test:
                points.append(size_point(f"{name}: {variant.name}", number, variant.size_bytes, variant.test["auc"]))
    columns = (
        TextColumn("bundle", number=False),
        TextColumn("variant", number=False),
        TextColumn("parameters", spare=2),
        TextColumn("MACs", spare=3),
        *(TextColumn(name) for name in ("file", "AUC", "accuracy", "Δ AUC")),
    )
    data = [(bundle.folder, bundle.manifest.dataset) for bundle in bundles]
    table = TextTable(
        "bundles", f"{len(bundles)} bundles compared", columns, tuple(rows), "* recommended by its bundle."
    )
    remarks = _doubts_about_data(data)

    def page() -> str:
        return table_page(table.title, table, remarks, [size_figure(points, names)] if points else [])

    return Compared("bundles", records, table, remarks, page)


def compare_reports(files: Sequence[Path]) -> Compared:
    """Return the latency of every variant in reports, as ratios with intervals to the first report's.

    Raises:
        EdgelnnError: A file is not a report; the message names it.
    """
    from edgelnn_profiling import Report, comparison
    from edgelnn_profiling.instruction_report import is_instruction_report
    from edgelnn_profiling.writers.comparison_page import write_comparison_html
    from edgelnn_profiling.writers.comparison_tables import comparison_table

    if any(is_instruction_report(file.read_bytes()) for file in files):
        return _compare_instructions(files)
    reports = []
    for file in files:
        try:
            reports.append(Report.from_json(file.read_bytes()))
        except ProfileError as error:
            raise ProfileError(f"{file}: {error}") from error
    found = comparison(reports, _short_names(files, [file.stem for file in files]))
    rows: list[dict[str, object]] = []
    names = [str(file) for file, report in zip(files, reports, strict=True) for _ in report.results]
    for name, row in zip(names, found.rows, strict=True):
        record = encode(row)
        rows.append({"target": name, **(record if isinstance(record, dict) else {})})
    return Compared("reports", rows, comparison_table(found), found.remarks, lambda: write_comparison_html(found))


def _compare_instructions(files: Sequence[Path]) -> Compared:
    """Return what every report of instructions counted, against the first.

    Raises:
        ProfileError: A file is not such a report, or there are not two of them; the message names it.
    """
    from edgelnn_profiling.instruction_growth import compare_instructions, remarks_on
    from edgelnn_profiling.instruction_report import InstructionReport
    from edgelnn_profiling.writers.instruction_tables import growth_table

    if len(files) < 2:
        raise ConfigError(f"got one report of instructions to compare, {files[0]}; expected two or more.")
    reports = []
    for file in files:
        try:
            reports.append(InstructionReport.from_json(file.read_bytes()))
        except ProfileError as error:
            raise ProfileError(f"{file}: {error}") from error
    names = _short_names(files, [file.stem for file in files])
    later = list(zip(names[1:], reports[1:], strict=True))
    grown = {name: compare_instructions(reports[0], report) for name, report in later}
    rows = [{"target": name, **asdict(growth)} for name, growths in grown.items() for growth in growths]
    remarks = [
        f"{names[0]} and {name}: {remark}." for name, report in later for remark in remarks_on(reports[0], report)
    ]
    return compared("instructions", rows, growth_table(grown, names[0]), remarks)


def _short_names(targets: Sequence[Path], names: Sequence[str]) -> Sequence[str]:
    """Return the names where these tell the targets apart, else what was typed."""
    return names if len(set(names)) == len(names) else [str(target) for target in targets]


def _difference(value: float | None, base: float | None) -> str:
    if value is None or base is None:
        return NOTHING
    return "" if value == base else f"{value - base:+.4f}"


def _doubts_about_data(described: Sequence[tuple[Path, Any]]) -> list[str]:
    """Return a sentence for everything that was judged on other data than the first."""
    (first_folder, first), *others = described
    return [
        f"{folder} was judged on {data['name']} (digest {data['digest'][:8]}), {first_folder} on {first['name']} "
        f"({first['digest'][:8]}): their figures are not comparable."
        for folder, data in others
        if None not in (data["digest"], first["digest"]) and data["digest"] != first["digest"]
    ]
