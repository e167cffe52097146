"""Reports of older formats, made readable: what they lack is unknown, or was left out of their plan."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edgelnn.decode import encode

if TYPE_CHECKING:
    from edgelnn_profiling.plan import Plan

__all__ = ["bring_up_to_date"]

_PLAN = ("operators", "energy", "cpus", "energy_pairs", "energy_window_s")
_RESULT = ("operators", "energy")
_MEMORY = ("weights_bytes", "activations_bytes", "arena_bytes")


def bring_up_to_date(value: dict[str, Any], default: Plan) -> dict[str, Any]:
    """Return a report of format 1, as JSON gives it, as one of format 2; what is not as it should be is left so.

    Args:
        value: The report.
        default: Whose fields stand for those that format 1 did not have.
    """
    found = {**value, "format_version": 2}
    found["plan"] = _with(value.get("plan"), {name: encode(getattr(default, name)) for name in _PLAN})
    found["machine"] = _with(value.get("machine"), {"emulated": False})
    results = value.get("results")
    if isinstance(results, list):
        found["results"] = [_result(result) for result in results]
    return found


def _result(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    found = _with(value, dict.fromkeys(_RESULT))
    found["timing"] = _with(value.get("timing"), {"failed_batches": {}})
    found["memory"] = _with(value.get("memory"), dict.fromkeys(_MEMORY))
    return found


def _with(value: Any, more: dict[str, Any]) -> Any:
    """Return an object with what it lacks; anything else as it is."""
    return {**more, **value} if isinstance(value, dict) else value
