"""Scans: a feature map read as a sequence.

Every scan is one permutation of the map's axes followed by one cut into steps; the variants are values.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

from torch import Tensor

from edgelnn.errors import ConfigError
from edgelnn.models.specification import ChunksScan, ScanSpec, SlicesScan

__all__ = ["Scan", "build_scan"]

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


def build_scan(spec: ScanSpec, map_shape: tuple[int, ...]) -> Scan:
    """Return the scan of a map.

    A volume's map is read slice by slice, each slice channel by channel.

    Args:
        spec: Which scan.
        map_shape: (c, h, w), or (slices, c, h, w) where the image is a volume.

    Raises:
        ConfigError: The scan does not fit the map.
    """
    volume = len(map_shape) == 4
    straight = tuple(range(len(map_shape)))
    size = prod(map_shape)
    if isinstance(spec, SlicesScan):
        if not volume:
            raise ConfigError(
                "got scan.kind='slices' for an image of two dimensions; slices are read from volumes. "
                "Use rows, columns, channels, chunks or flatten."
            )
        return Scan(map_shape, straight, map_shape[0])
    if isinstance(spec, ChunksScan):
        if size % spec.steps:
            below = next(steps for steps in range(spec.steps, 0, -1) if size % steps == 0)
            above = next((steps for steps in range(spec.steps, size) if size % steps == 0), size)
            raise ConfigError(
                f"got scan.steps={spec.steps}; a map of {'×'.join(map(str, map_shape))} is cut into equal chunks, "
                f"so steps must divide {size}. Nearest: {below} or {above}."
            )
        return Scan(map_shape, straight, spec.steps)
    if volume:
        if spec.kind != "flatten":
            raise ConfigError(f"got scan.kind={spec.kind!r} for a volume; it is read by slices, chunks or flatten.")
        return Scan(map_shape, straight, 1)
    permutation = _PERMUTATIONS[spec.kind]
    return Scan(map_shape, permutation, 1 if spec.kind == "flatten" else map_shape[permutation[0]])
