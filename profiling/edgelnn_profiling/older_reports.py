"""Reports of older formats, made readable and honest.

What they lack is unknown, or was left out of their plan; intervals that claim too much are computed anew.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from edgelnn.decode import encode
from edgelnn_profiling.process_intervals import rest_on_processes

if TYPE_CHECKING:
    from edgelnn_profiling.plan import Plan
    from edgelnn_profiling.report import Report

__all__ = ["bring_up_to_date", "with_true_intervals"]

_PLAN = ("operators", "energy", "cpus", "energy_pairs", "energy_window_s")
_RESULT = ("operators", "energy")
_MEMORY = ("weights_bytes", "activations_bytes", "arena_bytes")


def bring_up_to_date(value: dict[str, Any], version: int, default: Plan) -> dict[str, Any]:
    """Return a report of an older format, as JSON gives it, as one of format 3; what is not as it should be is left so.

    Its intervals are still those that it was written with: see `with_true_intervals`.

    Args:
        value: The report.
        version: Its format, below 3.
        default: Whose fields stand for those that format 1 did not have.
    """
    found = value if version > 1 else _from_first(value, default)
    results = found.get("results")
    if isinstance(results, list):
        found = {**found, "results": [_from_second(result) for result in results]}
    return {**found, "format_version": 3}


def with_true_intervals(report: Report) -> Report:
    """Return a sound report of format 1 or 2 with intervals that rest on processes.

    Before format 3 they rested on samples, as if these did not depend on each other, and were several times too narrow.
    """
    results = (
        result if result.timing is None else replace(result, timing=rest_on_processes(result.timing))
        for result in report.results
    )
    return replace(report, results=tuple(results))


def _from_first(value: dict[str, Any], default: Plan) -> dict[str, Any]:
    found = {**value}
    found["plan"] = _with(value.get("plan"), {name: encode(getattr(default, name)) for name in _PLAN})
    found["machine"] = _with(value.get("machine"), {"emulated": False})
    results = value.get("results")
    if isinstance(results, list):
        found["results"] = [_result(result) for result in results]
    return found


def _from_second(value: Any) -> Any:
    """Return a result of format 2 as one of format 3."""
    operators = value.get("operators") if isinstance(value, dict) else None
    return {**value, "operators": {"inference_mean_s": None, **operators}} if isinstance(operators, dict) else value


def _result(value: Any) -> Any:
    """Return a result of format 1 as one of format 2."""
    if not isinstance(value, dict):
        return value
    found = _with(value, dict.fromkeys(_RESULT))
    found["timing"] = _with(value.get("timing"), {"failed_batches": {}})
    found["memory"] = _with(value.get("memory"), dict.fromkeys(_MEMORY))
    return found


def _with(value: Any, more: dict[str, Any]) -> Any:
    """Return an object with what it lacks; anything else as it is."""
    return {**more, **value} if isinstance(value, dict) else value
