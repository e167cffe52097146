"""Augmentation: training images flipped, turned, shifted and zoomed a little, alike for equal seeds.

All random numbers are drawn from numpy's PCG64 with the seed of the call; nothing touches torch's global state, so
that a training can be resumed to the same bits. The pixels are moved by kornia (E. Riba et al., "Kornia: an Open
Source Differentiable Computer Vision Library for PyTorch", WACV 2020), once, with bilinear interpolation; what comes
in from outside repeats the edge.
"""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgelnn.data.dataset import Dataset
from edgelnn.errors import ConfigError, MissingExtraError

__all__ = ["Augmentation"]

SIDES = re.compile(r"\b(left|right)\b", re.IGNORECASE)


@dataclass(frozen=True)
class Augmentation:
    """How training images are varied; a value that is written with the run.

    Attributes:
        flip: Probability of a mirror image, left for right.
        upside_down: Probability of a mirror image, top for bottom. Off by default: in ultrasound and X-ray, down
            means something. rotation_degrees: Largest angle either way; for volumes, about each of the three axes.
            shift: Largest displacement either way along each axis, as a part of the side. zoom: Largest change of
            scale either way: 0.1 is from 0.9 to 1.1.

    >>> images = np.arange(32, dtype=np.uint8).reshape(2, 4, 4, 1)
    >>> still = Augmentation(flip=0, rotation_degrees=0, shift=0, zoom=0)
    >>> bool((still(images, 0) == images).all())
    True
    """

    flip: float = 0.5
    upside_down: float = 0.0
    rotation_degrees: float = 10.0
    shift: float = 0.08
    zoom: float = 0.1

    def __post_init__(self) -> None:
        """Check the values."""
        limits = {"flip": 1.0, "upside_down": 1.0, "rotation_degrees": 180.0, "shift": 0.5, "zoom": 0.9}
        for name, largest in limits.items():
            if not 0 <= getattr(self, name) <= largest:
                raise ConfigError(f"got {name}={getattr(self, name)}; expected a number from 0 to {largest:g}.")

    @classmethod
    def suited_to(cls, dataset: Dataset) -> Augmentation:
        """Return the default augmentation, without mirror images where they would change the class.

        That is where class names tell left from right (the organ sets), and for digits.
        """
        sided = any(SIDES.search(name) for name in dataset.class_names) or dataset.name == "mnist"
        return cls(flip=0.0) if sided else cls()

    def to_dict(self) -> dict[str, Any]:
        """Return the parameters, to be written with a run."""
        return asdict(self)

    def __call__(self, images: NDArray[np.uint8], seed: int | np.random.Generator) -> NDArray[np.uint8]:
        """Return varied images.

        Args:
            images: ``(n, [d,] h, w, c)`` uint8.
            seed: The same seed gives the same images; a generator is drawn from.

        Returns:
            Images of the same shape, uint8.

        Raises:
            MissingExtraError: kornia is not installed.
        """
        kornia, torch = _libraries()
        rng = seed if isinstance(seed, np.random.Generator) else np.random.Generator(np.random.PCG64(seed))
        space = images.shape[1:-1]
        matrices = torch.from_numpy(self._matrices(len(images), space, rng)[:, : len(space)].astype(np.float32))
        pixels = torch.from_numpy(np.ascontiguousarray(np.moveaxis(images, -1, 1))).float()
        warp = kornia.warp_affine3d if len(space) == 3 else kornia.warp_affine
        with torch.no_grad():
            moved = warp(pixels, matrices, space, padding_mode="border", align_corners=True)
        rounded: NDArray[np.uint8] = moved.round().clamp(0, 255).to(torch.uint8).numpy()
        return np.ascontiguousarray(np.moveaxis(rounded, 1, -1))

    def _matrices(self, count: int, space: tuple[int, ...], rng: np.random.Generator) -> NDArray[np.float64]:
        """Return the matrices that take pixel positions (x, y[, z]) to where they go: ``(n, axes + 1, axes + 1)``."""
        axes = len(space)
        sides = np.asarray(space[::-1], np.float64)
        scale = rng.uniform(1 - self.zoom, 1 + self.zoom, count)
        shift = rng.uniform(-self.shift, self.shift, (count, axes)) * sides
        angles = np.radians(rng.uniform(-self.rotation_degrees, self.rotation_degrees, (count, 3 if axes == 3 else 1)))
        mirror = np.ones((count, axes))
        mirror[:, 0] -= 2 * (rng.random(count) < self.flip)
        mirror[:, 1] -= 2 * (rng.random(count) < self.upside_down)
        turn = np.eye(axes) * (scale[:, None] * mirror)[:, None, :]
        for plane, angle in zip(((0, 1), (0, 2), (1, 2)), angles.T, strict=False):
            turn = _rotation(angle, axes, plane) @ turn
        center = (sides - 1) / 2
        matrices = np.tile(np.eye(axes + 1), (count, 1, 1))
        matrices[:, :axes, :axes] = turn
        matrices[:, :axes, axes] = center - turn @ center + shift
        return matrices


def _rotation(angles: NDArray[np.float64], axes: int, plane: tuple[int, int]) -> NDArray[np.float64]:
    """Return rotations by `angles` (radians) in the plane of two axes: ``(n, axes, axes)``."""
    one, other = plane
    matrices = np.tile(np.eye(axes), (len(angles), 1, 1))
    matrices[:, one, one] = matrices[:, other, other] = np.cos(angles)
    matrices[:, one, other], matrices[:, other, one] = -np.sin(angles), np.sin(angles)
    return matrices


def _libraries() -> tuple[Any, Any]:
    """Return kornia's transforms and torch, imported when they are first needed."""
    try:
        import torch
        from kornia.geometry import transform
    except ImportError as error:
        raise MissingExtraError("augmentation", "kornia", "train") from error
    return transform, torch
