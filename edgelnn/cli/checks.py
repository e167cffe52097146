"""One line for each file that an export tries."""

from __future__ import annotations

from collections.abc import Sequence

from edgelnn.cli.formatting import format_bytes, format_figure
from edgelnn.cli.output import message, tidy, warning
from edgelnn_export.listener import Check, ExportListener
from edgelnn_export.quantization import Candidate

__all__ = ["CheckLines", "check_line"]


class CheckLines(ExportListener):
    """Prints a line as soon as a candidate is judged."""

    def __init__(self) -> None:
        self._width = 0

    def on_start(self, candidates: Sequence[Candidate]) -> None:
        """Take the width of the longest name."""
        self._width = max(len(candidate.name) for candidate in candidates)

    def on_note(self, text: str) -> None:
        """Pass it on."""
        warning(text)

    def on_candidate(self, check: Check) -> None:
        """Print the line."""
        message(check_line(check, self._width), color="green" if check.kept else "red")

    def on_measure(self, names: Sequence[str], how: str) -> None:
        """Say what takes so long."""
        message(f"Measuring {len(names)} files: {how} …")

    def on_choice(self, checks: Sequence[Check], conclusion: str) -> None:
        """Say what is left out in the end, and what it all comes to."""
        if conclusion:
            message(conclusion, bold=True)


def check_line(check: Check, width: int = 0) -> str:
    """Return what was found of one candidate in a line: kept or not, its figures, and why not."""
    parts = []
    if check.size_bytes is not None:
        parts.append(f"{format_bytes(check.size_bytes):>7s}")
    if check.parity_max_error is not None:
        parts.append(f"error {check.parity_max_error:.1e}")
    if "auc" in check.validation:
        parts.append(f"AUC {format_figure(check.validation['auc'])}")
    if "agreement" in check.validation:
        parts.append(f"agrees {check.validation['agreement']:.1%}")
    line = f"{'✓' if check.kept else '✗'} {check.candidate.name:{width}s}  {'  '.join(parts)}"
    return line if check.kept else f"{line}\n    rejected: {tidy(check.reason)}"
