"""Compare counts of instructions: which grew, where, in which class and by how much.

Counts hardly vary from run to run, so there are no statistics. Two roots of boards that were made at different times
differ by some 0.04 %, as memory is laid out differently.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from edgelnn.errors import ProfileError
from edgelnn_profiling.instruction_report import InstructionReport, InstructionResult

__all__ = ["TOLERANCE", "Growth", "compare_instructions", "remarks_on"]

TOLERANCE: Final = 0.005
CLASSES: Final = ("integer", "simd_fp", "loads", "stores", "branches", "other")


@dataclass(frozen=True)
class Growth:
    """One variant on one board with one runtime, against a record of it.

    Attributes:
        variant, board, runtime: Which.
        before, after: All instructions of one image; None where they were not counted.
        ratio: After to before; None where one is missing.
        by_class: How many more instructions there are of each class, those that changed.
        error: Why there is no count after; None where there is one.
    """

    variant: str
    board: str
    runtime: str
    before: int | None
    after: int | None
    ratio: float | None
    by_class: tuple[tuple[str, int], ...]
    error: str | None

    def grew(self, tolerance: float = TOLERANCE) -> bool:
        """Return whether it takes more than before, or cannot be counted any more."""
        if self.after is None:
            return self.before is not None
        return self.ratio is not None and self.ratio > 1 + tolerance

    @property
    def words(self) -> str:
        """What happened, in words."""
        where = f"{self.variant} on {self.board} with {self.runtime}"
        if self.after is None:
            return f"{where}: {self.error or 'not counted any more'}"
        if self.before is None or self.ratio is None:
            return f"{where}: {self.after:,} instructions; not in the record"
        changes = sorted(self.by_class, key=lambda change: -abs(change[1]))
        parts = ", ".join(f"{name.replace('_', '+')} {more:+,}" for name, more in changes)
        return f"{where}: {100 * (self.ratio - 1):+.2f} % ({self.before:,} to {self.after:,}; {parts or 'no change'})"


def compare_instructions(before: InstructionReport, after: InstructionReport) -> list[Growth]:
    """Return how each count of a report compares with an earlier one's; what is only in the earlier one comes last.

    Raises:
        ProfileError: They have no variant, board and runtime in common.
    """
    known = {_key(result): result for result in before.results}
    found = [_growth(_key(result), known.get(_key(result)), result) for result in after.results]
    if not any(growth.ratio is not None or growth.error for growth in found):
        raise ProfileError(
            "the reports of instructions have no variant, board and runtime in common; count the same ones."
        )
    counted = {_key(result) for result in after.results}
    return found + [_growth(key, result, None) for key, result in known.items() if key not in counted]


def remarks_on(before: InstructionReport, after: InstructionReport) -> list[str]:
    """Return what else than the files may have made a difference."""
    remarks = []
    versions: dict[str, tuple[set[str], set[str]]] = {}
    for index, report in enumerate((before, after)):
        for result in report.results:
            if result.counts is not None:
                versions.setdefault(result.runtime, (set(), set()))[index].add(result.counts.runtime_version)
    for runtime, (old, new) in versions.items():
        if old and new and old != new:
            remarks.append(f"{runtime} was {', '.join(sorted(old))} and is {', '.join(sorted(new))}")
    if before.edgelnn != after.edgelnn:
        remarks.append(f"edgelnn was {before.edgelnn} and is {after.edgelnn}")
    return remarks


def _key(result: InstructionResult) -> tuple[str, str, str]:
    return result.variant, result.board, result.runtime


def _growth(key: tuple[str, str, str], before: InstructionResult | None, after: InstructionResult | None) -> Growth:
    old = None if before is None else before.counts
    new = None if after is None else after.counts
    changes = []
    if old is not None and new is not None:
        changes = [(name, getattr(new, name) - getattr(old, name)) for name in CLASSES]
    variant, board, runtime = key
    return Growth(
        variant,
        board,
        runtime,
        before=None if old is None else old.total,
        after=None if new is None else new.total,
        ratio=None if old is None or new is None else new.total / old.total,
        by_class=tuple((name, more) for name, more in changes if more),
        error=None if after is None else after.error,
    )
