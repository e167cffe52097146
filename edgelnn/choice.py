"""How an export chose among the files that it made: what a bundle's manifest says about it beside the files themselves.

Imports the standard library only.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

__all__ = ["CalibrationTrial", "Choice", "LayerTrial"]


@dataclass(frozen=True)
class CalibrationTrial:
    """A static file calibrated by one rule.

    Attributes:
        candidate: The file's name.
        calibration: ``min_max``, ``percentile`` or ``entropy``.
        error: Mean difference of its probabilities from the PyTorch model's on the validation split.
        auc_drop: AUC that it loses there.
        chosen: Whether the file in question was made so.
    """

    candidate: str
    calibration: str
    error: float
    auc_drop: float
    chosen: bool


@dataclass(frozen=True)
class LayerTrial:
    """A file in which one layer alone is quantized.

    Attributes:
        candidate: Name of the mixed file that this was tried for.
        layer: Name of the layer, or of a group.
        scheme: How it was quantized.
        error: Mean difference of the probabilities from the PyTorch model's on the validation split.
        auc_drop: AUC that is lost there.
        chosen: How the mixed file has it: by this scheme, a more careful one, or ``float32``.
    """

    candidate: str
    layer: str
    scheme: str
    error: float
    auc_drop: float
    chosen: str


@dataclass(frozen=True)
class Choice:
    """The rules that files were kept by.

    Attributes:
        cost: What costs are: ``seconds`` (median latency, one thread, on the exporting machine or on the board in
            `target`), ``instructions`` (of one image on the emulated board in `target`), or empty where none were
            measured.
        target: The board; empty where costs are not a board's.
        costs: By name of the file, rejected ones too where they were measured.
        max_auc_drop: AUC that a file may lose on the validation split.
        max_bytes: Size that a quantized file may have; None for any.
        conclusion: What came of it, in a sentence.
        calibrations: How static files were calibrated.
        layers: What quantizing each layer alone costs.
        optimize: What recurrences were written for: ``latency`` or ``size``.
    """

    cost: str = ""
    target: str = ""
    costs: Mapping[str, float] = field(default_factory=dict)
    max_auc_drop: float = 0.0
    max_bytes: int | None = None
    conclusion: str = ""
    calibrations: tuple[CalibrationTrial, ...] = ()
    layers: tuple[LayerTrial, ...] = ()
    optimize: str = "latency"
