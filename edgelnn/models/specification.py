"""What a classifier is made of, as validated values: stem → scan → head.

A specification is data: it is written in an experiment's TOML, travels in the run folder, and `build_classifier`
turns it into a module. Names of fields and their allowed values are the ones users type.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from edgelnn.models.fields import Probability, Specification, Units
from edgelnn.models.scan_specification import (
    ChunksScan,
    ParallelScan,
    PatchesScan,
    PlainScan,
    ScanSpec,
    SingleScanSpec,
    SlicesScan,
)
from edgelnn.models.stem_specification import (
    BackboneStem,
    ConvLayer,
    ConvStem,
    CRNetStem,
    IdentityStem,
    MapSize,
    StemSpec,
)

__all__ = [
    "BackboneStem",
    "CRNetStem",
    "CfCHead",
    "ChunksScan",
    "ConvLayer",
    "ConvStem",
    "DenseHead",
    "HeadSpec",
    "IdentityStem",
    "LTCHead",
    "MapSize",
    "ModelSpec",
    "ParallelScan",
    "PatchesScan",
    "PlainScan",
    "Probability",
    "RecurrentHead",
    "ScanSpec",
    "SingleScanSpec",
    "SlicesScan",
    "Specification",
    "StemSpec",
    "Units",
]

Readout = Literal["last", "mean", "joined"]
OutputKind = Literal["auto", "softmax", "sigmoid"]


class Head(Specification):
    """What every head has.

    Attributes:
        readout: Class scores from the last step, the mean over steps, or a linear layer over all steps joined.
        output: ``softmax`` over the classes or ``sigmoid`` per output (one output where the task is binary);
            ``auto``: sigmoid for multi-label tasks, softmax for the others.
        dropout: Before the head's layers while training.
    """

    readout: Readout = "last"
    output: OutputKind = "auto"
    dropout: Probability = 0.0


class DenseHead(Head):
    """Linear layers with ReLU between, applied to every step; `widths` are the hidden ones."""

    kind: Literal["dense"] = "dense"
    widths: list[Units] = Field(default_factory=list)


class LiquidHead(Head):
    """What CfC and LTC heads share.

    Attributes:
        units: Neurons of the layer, or a list with one number per stacked layer.
        outputs: Output (motor) neurons per layer. Left out: the number of class scores in the last layer where the
            read-out is ``last`` or ``mean`` in one direction, and half the units elsewhere. Where the last layer's
            outputs are not the class scores, a linear layer follows.
        wiring: ``auto`` (NCP with units and outputs), ``full`` (FullyConnected).
        activation: Between stacked layers.
        sparsity: Of the ``auto`` wiring.
        wiring_seed: Seed of the wiring; left out: ncps's own default, 22222 for ``auto`` and 1111 for ``full``.
        bidirectional: Read in both directions, outputs joined.
    """

    units: Units | list[Units] = 32
    outputs: Units | list[Units] | None = None
    activation: Literal["none", "relu", "tanh"] = "none"
    sparsity: Annotated[float, Field(ge=0.1, le=0.9)] = 0.5
    wiring_seed: Annotated[int, Field(ge=0, lt=2**32)] | None = None
    bidirectional: bool = False


class CfCHead(LiquidHead):
    """Closed-form continuous-time cells (Hasani et al., 2022).

    ``wiring = "none"`` is ncps's dense CfC with a backbone.
    """

    kind: Literal["cfc"] = "cfc"
    wiring: Literal["auto", "full", "none"] = "auto"
    mode: Literal["default", "pure", "no_gate"] = "default"
    backbone_units: Units = 128
    backbone_layers: Annotated[int, Field(ge=1, le=8)] = 1
    backbone_dropout: Probability = 0.0


class LTCHead(LiquidHead):
    """Liquid time-constant cells (Hasani et al., 2021)."""

    kind: Literal["ltc"] = "ltc"
    wiring: Literal["auto", "full"] = "auto"
    ode_unfolds: Annotated[int, Field(ge=1, le=32)] = 6


class RecurrentHead(Head):
    """LSTM or GRU, over time, with a linear layer to the class scores."""

    kind: Literal["lstm", "gru"]
    units: Units = 32
    layers: Annotated[int, Field(ge=1, le=8)] = 1
    bidirectional: bool = False


HeadSpec = Annotated[DenseHead | CfCHead | LTCHead | RecurrentHead, Field(discriminator="kind")]


def default_stem() -> IdentityStem:
    """Return the stem used where an experiment names none."""
    return IdentityStem()


def default_scan() -> PlainScan:
    """Return the scan used where an experiment names none."""
    return PlainScan()


def default_head() -> CfCHead:
    """Return the head used where an experiment names none."""
    return CfCHead()


class ModelSpec(Specification):
    """A classifier: stem → scan → head."""

    stem: StemSpec = Field(default_factory=default_stem)
    scan: ScanSpec = Field(default_factory=default_scan)
    head: HeadSpec = Field(default_factory=default_head)
