"""What an export tells whoever watches it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from edgelnn_export.quantization.recipe import Candidate

__all__ = ["Check", "ExportListener"]


@dataclass(frozen=True)
class Check:
    """What was found of one candidate.

    Attributes:
        candidate: The file that was tried.
        kept: Whether it goes into the bundle.
        reason: Why not, in one line; empty where it is kept.
        size_bytes: Of the file; None where none could be made.
        parity_max_error: Largest difference of any probability from the PyTorch model's on the parity inputs; None
            where the file does not run.
        tolerance: What `parity_max_error` has to stay below; None where the candidate is judged by AUC.
        references: The same in other evaluators, by evaluator (see `edgelnn.manifest.Variant`).
        validation: ``auc``, ``accuracy``, ``agreement`` and ``auc_drop`` on the validation split.
        cost: Of one image: seconds or instructions; None where it was not measured.
    """

    candidate: Candidate
    kept: bool
    reason: str = ""
    size_bytes: int | None = None
    parity_max_error: float | None = None
    tolerance: float | None = None
    validation: Mapping[str, float] = field(default_factory=dict)
    references: Mapping[str, float] = field(default_factory=dict)
    cost: float | None = None

    @property
    def figures(self) -> dict[str, float]:
        """Every number found, by name."""
        found = {
            "size_bytes": self.size_bytes,
            "parity_max_error": self.parity_max_error,
            "cost": self.cost,
            **self.validation,
        }
        return {name: float(value) for name, value in found.items() if value is not None}


class ExportListener:
    """Told how an export goes on; every method may be left as it is."""

    def on_start(self, candidates: Sequence[Candidate]) -> None:
        """Hear which files will be tried, in their order."""

    def on_note(self, text: str) -> None:
        """Hear what does not stop the export but should be known, in one line."""

    def on_candidate(self, check: Check) -> None:
        """Hear what was found of one candidate, as soon as it was."""

    def on_measure(self, names: Sequence[str], how: str) -> None:
        """Hear which files are about to be measured, and how; it takes a while."""

    def on_choice(self, checks: Sequence[Check], conclusion: str) -> None:
        """Hear what is kept of all candidates in the end, and what that comes to in a sentence."""
