"""The table of ``edgelnn inspect --against``: how far each layer strays from the trained model."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from edgelnn.cli.output import Column, Table, build_table
from edgelnn.cli.targets import kind_of

if TYPE_CHECKING:
    from edgelnn_export.layer_errors import LayerError

__all__ = ["error_table", "errors_against"]

ROWS = 40


def errors_against(file: Path, run: Path) -> tuple[LayerError, ...]:
    """Return the errors of a file's layers, after a child process has run it without dying."""
    from edgelnn.run import Run
    from edgelnn_export.layer_errors import layer_errors
    from edgelnn_profiling import probe_model

    kind_of(run, "run")
    loaded = Run.load(run)
    probe_model(file)
    return layer_errors(file, loaded)


def error_table(errors: Sequence[LayerError]) -> Table:
    """Return the errors in the order of computation; of very many those with the most noise, and always the answer."""
    worst = sorted(range(len(errors)), key=lambda place: _noise(errors[place]))[: ROWS - 1]
    shown = sorted({*worst, len(errors) - 1})
    rows = [
        (
            errors[place].name,
            errors[place].operator,
            f"{errors[place].largest:.3g}",
            f"{errors[place].max_error:.1e}",
            "-" if errors[place].sqnr_db is None else f"{errors[place].sqnr_db:.1f}",
        )
        for place in shown
    ]
    left = f"; the {len(rows)} noisiest of {len(errors)}, --json has them all" if len(rows) < len(errors) else ""
    columns = (
        Column("layer", fold=True),
        Column("operator"),
        Column("largest", number=True),
        Column("max error", number=True),
        Column("SQNR, dB", number=True),
    )
    return build_table(columns, rows, title=f"against the trained model, on the golden images{left}")


def _noise(error: LayerError) -> float:
    return float("inf") if error.sqnr_db is None else error.sqnr_db
