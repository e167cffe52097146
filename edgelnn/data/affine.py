"""Random affine maps of images and volumes: mirrored, scaled, sheared, turned, shifted and cropped."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Move"]

PLANES = ((0, 1), (0, 2), (1, 2))


@dataclass(frozen=True)
class Move:
    """How far an image may be moved; fields as in `edgelnn.data.augmentation.Augmentation`."""

    flip: float
    upside_down: float
    rotation_degrees: float
    shift: float
    zoom: float
    shear_degrees: float

    def draw(
        self,
        count: int,
        space: tuple[int, ...],
        rng: np.random.Generator,
        crop: tuple[float, float] | None = None,
    ) -> NDArray[np.float64]:
        """Return the matrices that take pixel positions (x, y[, z]) to where they go: ``(n, axes + 1, axes + 1)``.

        Args:
            count: How many to draw.
            space: ``([d,] h, w)`` of the images.
            rng: To draw from; what is not asked for draws nothing, so that what is gets the same numbers without it.
            crop: Least and largest share of the area or volume that becomes the whole image.
        """
        axes = len(space)
        sides = np.asarray(space[::-1], np.float64)
        scale = rng.uniform(1 - self.zoom, 1 + self.zoom, count)
        shift = rng.uniform(-self.shift, self.shift, (count, axes)) * sides
        angles = np.radians(rng.uniform(-self.rotation_degrees, self.rotation_degrees, (count, 3 if axes == 3 else 1)))
        mirror = np.ones((count, axes))
        mirror[:, 0] -= 2 * (rng.random(count) < self.flip)
        mirror[:, 1] -= 2 * (rng.random(count) < self.upside_down)
        turn = np.eye(axes) * (scale[:, None] * mirror)[:, None, :]
        if self.shear_degrees:
            leans = rng.uniform(-self.shear_degrees, self.shear_degrees, (count, 3 if axes == 3 else 1))
            for (one, other), lean in zip(PLANES, np.tan(np.radians(leans)).T, strict=False):
                sheared = np.tile(np.eye(axes), (count, 1, 1))
                sheared[:, one, other] = lean
                turn = sheared @ turn
        for plane, angle in zip(PLANES, angles.T, strict=False):
            turn = _rotation(angle, axes, plane) @ turn
        center = (sides - 1) / 2
        matrices = np.tile(np.eye(axes + 1), (count, 1, 1))
        matrices[:, :axes, :axes] = turn
        matrices[:, :axes, axes] = center - turn @ center + shift
        return matrices if crop is None else _crops(count, sides, rng, crop) @ matrices


def _crops(
    count: int, sides: NDArray[np.float64], rng: np.random.Generator, share: tuple[float, float]
) -> NDArray[np.float64]:
    """Return matrices that enlarge a part of an image, of the same proportions, to the whole."""
    axes = len(sides)
    side = rng.uniform(*share, count) ** (1 / axes)
    corner = rng.random((count, axes)) * (1 - side[:, None]) * (sides - 1)
    matrices = np.tile(np.eye(axes + 1), (count, 1, 1))
    matrices[:, :axes, :axes] /= side[:, None, None]
    matrices[:, :axes, axes] = -corner / side[:, None]
    return matrices


def _rotation(angles: NDArray[np.float64], axes: int, plane: tuple[int, int]) -> NDArray[np.float64]:
    """Return rotations by `angles` (radians) in the plane of two axes: ``(n, axes, axes)``."""
    one, other = plane
    matrices = np.tile(np.eye(axes), (len(angles), 1, 1))
    matrices[:, one, one] = matrices[:, other, other] = np.cos(angles)
    matrices[:, one, other], matrices[:, other, one] = -np.sin(angles), np.sin(angles)
    return matrices
