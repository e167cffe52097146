"""What `edgelnn compare` finds: records as data, one table, and what speaks against comparing."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from edgelnn.bundle import Bundle
from edgelnn.cli.formatting import NOTHING, format_bytes, format_count, format_figure, format_seconds
from edgelnn.cli.output import Column, Table
from edgelnn.errors import ProfileError

__all__ = ["compare_bundles", "compare_reports", "compare_runs"]

Found = tuple[list[dict[str, object]], Table, list[str]]


def compare_runs(folders: Sequence[Path]) -> Found:
    """Return the metrics of runs: on the test split, with the AUC's difference to the first, and on validation."""
    from edgelnn.run import Run

    runs = [Run.load(folder) for folder in folders]
    figures = ("auc", "accuracy", "sensitivity", "specificity", "f1")
    judged = [run.metrics["test"] for run in runs if "test" in run.metrics]
    first = runs[0].metrics.get("test")
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
                NOTHING if low is None or high is None else f"{low:.3f} to {high:.3f}",
                _difference(getattr(test, "auc", None), getattr(first, "auc", None)),
            )
        )
    positive = f" ({judged[0].positive_class})" if judged and judged[0].positive_class else ""
    columns = (
        Column("run"),
        Column("parameters", number=True, spare=3),
        Column("val AUC", number=True, spare=6),
        Column("AUC", number=True),
        Column("accuracy", number=True),
        Column(f"sensitivity{positive}", number=True),
        Column("specificity", number=True, spare=5),
        Column("F1", number=True, spare=4),
        Column("AUC, 95 %", spare=2),
        Column("Δ AUC", number=True),
    )
    return (
        records,
        Table(columns, tuple(rows)),
        _doubts_about_data([(run.folder, run.environment["data"]) for run in runs]),
    )


def compare_bundles(folders: Sequence[Path]) -> Found:
    """Return every variant of bundles: size, and accuracy on the test split through its own runtime."""
    bundles = [Bundle.load(folder) for folder in folders]
    first = bundles[0].variant().test
    records, rows = [], []
    for folder, bundle in zip(folders, bundles, strict=True):
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
                    folder.name,
                    f"{variant.name}{' *' if recommended else ''}",
                    format_count(model.parameters.get("trainable")),
                    format_count(model.macs),
                    format_bytes(variant.size_bytes),
                    format_figure(variant.test.get("auc")),
                    format_figure(variant.test.get("accuracy")),
                    _difference(variant.test.get("auc"), first.get("auc")),
                )
            )
    columns = (
        Column("bundle"),
        Column("variant"),
        Column("parameters", number=True, spare=2),
        Column("MACs", number=True, spare=3),
        *(Column(name, number=True) for name in ("file", "AUC", "accuracy", "Δ AUC")),
    )
    data = [(bundle.folder, bundle.manifest.dataset) for bundle in bundles]
    return records, Table(columns, tuple(rows)), _doubts_about_data(data)


def compare_reports(files: Sequence[Path]) -> Found:
    """Return the latency of every variant in reports, as ratios to the first report that has a variant of the name."""
    from edgelnn_profiling import Report

    reports = []
    for file in files:
        try:
            reports.append(Report.from_json(file.read_bytes()))
        except ProfileError as error:
            raise ProfileError(f"{file}: {error}") from error
    base: dict[tuple[str, int], tuple[float, float | None, float | None]] = {}
    records, rows = [], []
    for file, report in zip(files, reports, strict=True):
        machine = report.machine.board or report.machine.cpu or report.machine.architecture
        for result in report.results:
            timing, memory = result.timing, result.memory
            record: dict[str, Any] = {
                "target": str(file),
                "machine": machine,
                "variant": result.variant,
                "threads": result.threads,
                "size_bytes": result.size_bytes,
                "test": result.test,
                "peak_rss_bytes": None if memory is None else memory.peak_rss_bytes,
                "valid": report.valid,
            }
            ratio = NOTHING
            if timing is not None:
                middle = timing.inference.percentile(50.0)
                mine = (
                    timing.inference.p50_s,
                    None if middle is None else middle.low_s,
                    None if middle is None else middle.high_s,
                )
                theirs = base.setdefault((result.variant, result.threads), mine)
                record |= {"p50_s": mine[0], "p50_low_s": mine[1], "p50_high_s": mine[2], "ratio": mine[0] / theirs[0]}
                ratio = _ratio(mine, theirs)
            records.append(record)
            rows.append(
                (
                    file.name,
                    f"{result.variant}{f' ×{result.threads}' if result.threads > 1 else ''}",
                    format_seconds(record.get("p50_s")),
                    ratio,
                    format_bytes(result.size_bytes),
                    format_bytes(record["peak_rss_bytes"]),
                    format_figure((result.test or {}).get("auc")),
                )
            )
    columns = (
        Column("report"),
        Column("variant"),
        *(Column(name, number=True) for name in ("p50", "ratio", "file", "peak RSS", "test AUC")),
    )
    return records, Table(columns, tuple(rows)), _doubts_about_machines(files, reports)


def _ratio(mine: tuple[float, float | None, float | None], theirs: tuple[float, float | None, float | None]) -> str:
    """Return a ratio of medians; ``≈`` where their intervals overlap, so that noise alone could explain it."""
    if mine is theirs:
        return "1"
    low, high, their_low, their_high = mine[1], mine[2], theirs[1], theirs[2]
    told = None not in (low, high, their_low, their_high)
    overlap = told and low <= their_high and their_low <= high  # type: ignore[operator]
    return f"{'≈ ' if overlap else ''}{mine[0] / theirs[0]:.2f}"


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


def _doubts_about_machines(files: Sequence[Path], reports: Sequence[Any]) -> list[str]:
    """Return a sentence for every machine that is another than the first, and every report that is not valid."""
    doubts = []
    names = [
        ", ".join(str(part) for part in (each.machine.board, each.machine.cpu, each.machine.architecture) if part)
        for each in reports
    ]
    for file, name, report in zip(files, names, reports, strict=True):
        if name != names[0]:
            doubts.append(f"machines differ: {files[0]} is of {names[0]}, {file} of {name}.")
        for what in ("kernel", "python", "system"):
            mine, theirs = getattr(report.machine, what), getattr(reports[0].machine, what)
            if name == names[0] and mine != theirs:
                doubts.append(f"{what} differs: {files[0]} has {theirs}, {file} has {mine}.")
        if not report.valid:
            doubts.append(f"{file} is not valid: {'; '.join(report.reasons[:3])}.")
    return doubts
