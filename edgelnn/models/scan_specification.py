"""Which scan: how a feature map is read as a sequence."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from edgelnn.models.fields import Probability, Specification, Units

__all__ = ["ChunksScan", "ParallelScan", "PatchesScan", "PlainScan", "ScanSpec", "SingleScanSpec", "SlicesScan"]

Side = Annotated[int, Field(ge=1, le=512)]


class ScanOfOne(Specification):
    """What every scan that gives one sequence has.

    Attributes:
        reduce_to: Numbers that a longer step is brought to, by dropout, a linear layer and ReLU, the same for every
            step. Left out, or for steps that are no longer: steps stay as they are.
        reduce_dropout: Before that linear layer while training.
    """

    reduce_to: Units | None = None
    reduce_dropout: Probability = 0.0


class PlainScan(ScanOfOne):
    """Scans without parameters.

    ``flatten``: one step of everything. ``rows``: h steps of c·w features. ``columns``: w steps of c·h features.
    ``channels``: c steps of h·w features.
    """

    kind: Literal["flatten", "rows", "columns", "channels"] = "rows"


class ChunksScan(ScanOfOne):
    """The flattened (channel-major) map cut into `steps` equal pieces."""

    kind: Literal["chunks"] = "chunks"
    steps: Units


class SlicesScan(ScanOfOne):
    """One step per slice of a volume, along one of its spatial axes; each slice passes through the stem alone."""

    kind: Literal["slices"] = "slices"
    axis: Literal[0, 1, 2] = 0


class PatchesScan(ScanOfOne):
    """One step per square window of the map: c·size·size features.

    Attributes:
        size: Side of a window.
        stride: From a window to the next; left out: `size`, a grid. Smaller: windows overlap.
        order: ``raster``: every row of windows from left to right. ``zigzag``: every second one from right to left, so
            that each window touches the one before it.
    """

    kind: Literal["patches"] = "patches"
    size: Side
    stride: Side | None = None
    order: Literal["raster", "zigzag"] = "raster"


SingleScanSpec = Annotated[PlainScan | ChunksScan | SlicesScan | PatchesScan, Field(discriminator="kind")]


class ParallelScan(Specification):
    """Several scans of one map side by side, each read by a head of its own; a linear layer joins what the heads say.

    Attributes:
        scans: At least two. All heads are made as `head` says, each with weights of its own.
        outputs: Numbers that each head gives to the linear layer; left out: the number of class scores.
    """

    kind: Literal["parallel"]
    scans: Annotated[list[SingleScanSpec], Field(min_length=2, max_length=8)]
    outputs: Units | None = None


ScanSpec = Annotated[PlainScan | ChunksScan | SlicesScan | PatchesScan | ParallelScan, Field(discriminator="kind")]
