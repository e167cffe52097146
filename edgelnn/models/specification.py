"""What a classifier is made of, as validated values: stem → scan → head.

A specification is data: it is written in an experiment's TOML, travels in the run folder, and `build_classifier`
turns it into a module. Names of fields and their allowed values are the ones users type.
"""

from __future__ import annotations

from pydantic import Field

from edgelnn.models.fields import Probability, Specification, Units
from edgelnn.models.head_specification import (
    CfCHead,
    DenseHead,
    HeadSpec,
    LTCHead,
    NCPShape,
    RecurrentHead,
    ReservoirHead,
)
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
    "NCPShape",
    "ParallelScan",
    "PatchesScan",
    "PlainScan",
    "Probability",
    "RecurrentHead",
    "ReservoirHead",
    "ScanSpec",
    "SingleScanSpec",
    "SlicesScan",
    "Specification",
    "StemSpec",
    "Units",
]


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
