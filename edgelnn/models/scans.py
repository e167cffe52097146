"""Scans: a feature map read as a sequence.

Most scans are one permutation of the map's axes followed by one cut into steps, the variants being values. Patches are
windows of the map. Several scans of one map give several sequences.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

from torch import Tensor

from edgelnn.errors import ConfigError
from edgelnn.models.specification import (
    ChunksScan,
    ParallelScan,
    PatchesScan,
    ScanSpec,
    SingleScanSpec,
    SlicesScan,
)

__all__ = ["AnyScan", "ParallelScans", "PatchScan", "Scan", "build_scan"]

_PERMUTATIONS = {"flatten": (0, 1, 2), "rows": (1, 0, 2), "columns": (2, 0, 1), "channels": (0, 1, 2)}


@dataclass(frozen=True)
class Scan:
    """How a map becomes (time, features).

    Attributes:
        map_shape: (c, h, w) of the map, or (slices, c, h, w) where the image is a volume.
        permutation: Order in which the map's axes are read, slowest first.
        steps: Length of the sequence: the axes so ordered are cut into this many equal pieces.

    >>> Scan((2, 3, 4), (1, 0, 2), 3).features  # rows: 3 steps of 2 channels x 4 pixels
    8
    """

    map_shape: tuple[int, ...]
    permutation: tuple[int, ...]
    steps: int

    @property
    def features(self) -> int:
        """Length of one step."""
        return prod(self.map_shape) // self.steps

    def __call__(self, feature_map: Tensor) -> Tensor:
        """Return (n, steps, features) of a map (n, *map_shape)."""
        axes = (0, *(axis + 1 for axis in self.permutation))
        return feature_map.permute(axes).reshape(len(feature_map), self.steps, self.features)

    def restore(self, sequence: Tensor) -> Tensor:
        """Return the map (n, *map_shape) that gives `sequence` (n, steps, features)."""
        permuted = sequence.reshape(len(sequence), *(self.map_shape[axis] for axis in self.permutation))
        inverse = sorted(range(len(self.permutation)), key=self.permutation.__getitem__)
        return permuted.permute(0, *(axis + 1 for axis in inverse))


@dataclass(frozen=True)
class PatchScan:
    """Windows of a map, one a step, each channel by channel.

    Attributes:
        map_shape: (c, h, w) of the map.
        size: Side of a window.
        stride: From a window to the next.
        zigzag: Every second row of windows is read from right to left.

    >>> scan = PatchScan((1, 4, 4), 2, 2, zigzag=True)
    >>> scan.order
    (0, 1, 3, 2)
    """

    map_shape: tuple[int, ...]
    size: int
    stride: int
    zigzag: bool = False

    @property
    def grid(self) -> tuple[int, int]:
        """Rows of windows, and windows in a row."""
        _, height, width = self.map_shape
        return (height - self.size) // self.stride + 1, (width - self.size) // self.stride + 1

    @property
    def steps(self) -> int:
        """Length of the sequence."""
        return prod(self.grid)

    @property
    def features(self) -> int:
        """Length of one step."""
        return self.map_shape[0] * self.size**2

    @property
    def order(self) -> tuple[int, ...]:
        """Which window each step reads, windows being numbered row by row."""
        rows, columns = self.grid
        places = [range(row * columns, (row + 1) * columns) for row in range(rows)]
        return tuple(
            place for row, one in enumerate(places) for place in (one[::-1] if self.zigzag and row % 2 else one)
        )

    def __call__(self, feature_map: Tensor) -> Tensor:
        """Return (n, steps, features) of a map (n, *map_shape)."""
        windows = feature_map.unfold(2, self.size, self.stride).unfold(3, self.size, self.stride)
        steps = windows.permute(0, 2, 3, 1, 4, 5).reshape(len(feature_map), self.steps, self.features)
        return steps[:, list(self.order)] if self.zigzag else steps

    def restore(self, sequence: Tensor) -> Tensor:
        """Return the map (n, *map_shape) that gives `sequence` (n, steps, features).

        Where windows overlap, what the later ones hold is taken.
        """
        feature_map = sequence.new_zeros(len(sequence), *self.map_shape)
        columns = self.grid[1]
        patches = sequence.reshape(len(sequence), self.steps, self.map_shape[0], self.size, self.size)
        for step, place in enumerate(self.order):
            top, left = place // columns * self.stride, place % columns * self.stride
            feature_map[:, :, top : top + self.size, left : left + self.size] = patches[:, step]
        return feature_map


@dataclass(frozen=True)
class ParallelScans:
    """Several scans of one map.

    Attributes:
        scans: In the order of the heads that read them.
    """

    scans: tuple[Scan | PatchScan, ...]

    @property
    def map_shape(self) -> tuple[int, ...]:
        """(c, h, w) of the map, or (slices, c, h, w) where the image is a volume."""
        return self.scans[0].map_shape

    def __call__(self, feature_map: Tensor) -> tuple[Tensor, ...]:
        """Return one (n, steps, features) for each scan of a map (n, *map_shape)."""
        return tuple(scan(feature_map) for scan in self.scans)


AnyScan = Scan | PatchScan | ParallelScans


def build_scan(spec: ScanSpec, map_shape: tuple[int, ...]) -> AnyScan:
    """Return the scan of a map.

    A volume's map is read slice by slice, each slice channel by channel.

    Args:
        spec: Which scan.
        map_shape: (c, h, w), or (slices, c, h, w) where the image is a volume.

    Raises:
        ConfigError: The scan does not fit the map.
    """
    if isinstance(spec, ParallelScan):
        for index, one in enumerate(spec.scans):
            if isinstance(one, SlicesScan) and one.axis != 0:
                raise ConfigError(
                    f"got scan.scans[{index}].axis={one.axis}; scans side by side read one map, whose slices lie along "
                    "axis 0. Use axis 0, or this scan alone."
                )
        return ParallelScans(
            tuple(_build_single(one, map_shape, f"scan.scans[{i}]") for i, one in enumerate(spec.scans))
        )
    return _build_single(spec, map_shape, "scan")


def _build_single(spec: SingleScanSpec, map_shape: tuple[int, ...], where: str) -> Scan | PatchScan:
    """Return a scan that gives one sequence."""
    volume = len(map_shape) == 4
    straight = tuple(range(len(map_shape)))
    if isinstance(spec, SlicesScan):
        if not volume:
            raise ConfigError(
                f"got {where}.kind='slices' for an image of two dimensions; slices are read from volumes. "
                "Use rows, columns, channels, chunks, patches or flatten."
            )
        return Scan(map_shape, straight, map_shape[0])
    if isinstance(spec, ChunksScan):
        _check_chunks(spec.steps, map_shape, where)
        return Scan(map_shape, straight, spec.steps)
    if spec.kind == "flatten":
        return Scan(map_shape, straight, 1)
    if volume:
        raise ConfigError(f"got {where}.kind={spec.kind!r} for a volume; it is read by slices, chunks or flatten.")
    if isinstance(spec, PatchesScan):
        stride = spec.stride or spec.size
        for name, side in zip(("high", "wide"), map_shape[1:], strict=True):
            _check_windows(spec.size, stride, side, name, where)
        return PatchScan(map_shape, spec.size, stride, spec.order == "zigzag")
    permutation = _PERMUTATIONS[spec.kind]
    return Scan(map_shape, permutation, map_shape[permutation[0]])


def _check_chunks(steps: int, map_shape: tuple[int, ...], where: str) -> None:
    """Raise `ConfigError` where a map cannot be cut into so many equal pieces."""
    size = prod(map_shape)
    if size % steps:
        below = next(fewer for fewer in range(steps, 0, -1) if size % fewer == 0)
        above = next((more for more in range(steps, size) if size % more == 0), size)
        raise ConfigError(
            f"got {where}.steps={steps}; a map of {'×'.join(map(str, map_shape))} is cut into equal chunks, "
            f"so steps must divide {size}. Nearest: {below} or {above}."
        )


def _check_windows(size: int, stride: int, side: int, name: str, where: str) -> None:
    """Raise `ConfigError` where windows do not cover one side of a map, end to end."""
    if size > side:
        raise ConfigError(f"got {where}.size={size}; the map is only {side} {name}. Use a smaller size.")
    if stride > size:
        raise ConfigError(
            f"got {where}.stride={stride} with size {size}; what lies between windows would not be read. "
            f"Use a stride of at most {size}."
        )
    if (side - size) % stride:
        fitting = [one for one in range(1, size + 1) if (side - size) % one == 0]
        raise ConfigError(
            f"got {where}.size={size} with stride {stride}; such windows do not end where the map does, which is "
            f"{side} {name}. Strides that fit size {size}: {', '.join(map(str, fitting))}; or change stem.resize."
        )
