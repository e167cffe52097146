"""From what is typed to how it is measured."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edgelnn.errors import ConfigError

if TYPE_CHECKING:
    from edgelnn_profiling import Plan

__all__ = ["build_plan"]

LAST = "last"
MOST_SAMPLES = 1_000_000


def build_plan(
    *,
    quick: bool,
    threads: str,
    rounds: int | None,
    windows: int | None,
    window: float | None,
    batches: str | None,
    pin: str | None,
    operators: bool,
    energy: bool,
    energy_window: float | None,
) -> Plan:
    """Return the plan that options of ``edgelnn profile`` describe; None leaves what the plan has by itself.

    Raises:
        ConfigError: An option makes no sense; the message names it.
    """
    from dataclasses import replace

    from edgelnn_profiling import Plan

    if energy_window is not None and not energy:
        raise ConfigError("got --energy-window without --energy or --power-csv; pass one of them.")
    asked: dict[str, Any] = {
        "threads": _numbers("--threads", threads),
        "rounds": rounds,
        "windows": windows,
        "window_s": window,
        "batches": None if batches is None else _numbers("--batches", batches),
        "pin": pin is not None,
        "cpus": () if pin in (None, LAST) else _numbers("--pin", str(pin), or_word=LAST),
        "operators": operators,
        "energy": energy,
        "energy_window_s": energy_window,
    }
    given = {name: value for name, value in asked.items() if value is not None}
    plan = Plan.quick() if quick else Plan()
    if window is not None and window > plan.window_s:
        # A longer window is for more samples, too.
        given["max_samples"] = round(min(MOST_SAMPLES, plan.max_samples * window / plan.window_s))
    return replace(plan, **given)


def _numbers(option: str, text: str, *, or_word: str | None = None) -> tuple[int, ...]:
    """Return numbers with commas between them."""
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError as error:
        words = f", or '{or_word}'" if or_word else ""
        raise ConfigError(
            f"got {option} {text}; expected whole numbers with commas between them, such as 1,2,4{words}."
        ) from error
