"""Augmentation: training images cropped, moved, lit, blurred and strewn with noise, alike for equal seeds.

All random numbers are drawn from numpy's PCG64 with the seed of the call, and for each image its own; nothing touches
torch's global state, so that a training can be resumed to the same bits. The pixels are moved by kornia (E. Riba et
al., "Kornia: an Open Source Differentiable Computer Vision Library for PyTorch", WACV 2020): everything that moves them
is one affine map, so that they are interpolated once, bilinearly; what comes in from outside repeats the edge. Then
come, in this order and by kornia too, brightness, contrast and blur, then noise, and at the end whole numbers again.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgelnn.data.affine import Move
from edgelnn.data.dataset import Dataset
from edgelnn.errors import ConfigError, MissingExtraError

__all__ = ["Augmentation", "has_sides"]

SIDES = re.compile(r"\b(left|right)\b", re.IGNORECASE)


@dataclass(frozen=True)
class Augmentation:
    """How training images are varied; a value that is written with the run.

    Attributes:
        flip: Probability of a mirror image, left for right.
        upside_down: Probability of a mirror image, top for bottom. Off by default: in ultrasound and X-ray, down
            means something.
        rotation_degrees: Largest angle either way; for volumes, about each of the three axes.
        shift: Largest displacement either way along each axis, as a part of the side.
        zoom: Largest change of scale either way: 0.1 is from 0.9 to 1.1.
        shear_degrees: Largest angle either way by which upright lines lean; for volumes, in each of the three planes.
        crop: Least and largest share of the area (or volume) that is cut out, somewhere, and enlarged to the whole.
        brightness: Largest change of brightness either way: 0.2 is from 0.8 to 1.2 times as bright.
        contrast: The same of the contrast about the image's mean (of grey, where there are colors).
        blur: Smallest and largest odd width, in pixels, of a Gaussian filter, whose standard deviation follows from it
            as in OpenCV: 0.3 ((width - 1) / 2 - 1) + 0.8.
        blur_probability: Of being blurred.
        noise: Largest standard deviation of Gaussian noise, as a part of the range from black to white; each image's
            is drawn evenly from 0 to it, each channel has its own noise.
        noise_probability: Of having noise added.

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
    shear_degrees: float = 0.0
    crop: tuple[float, float] | None = None
    brightness: float = 0.0
    contrast: float = 0.0
    blur: tuple[int, int] | None = None
    blur_probability: float = 0.5
    noise: float = 0.0
    noise_probability: float = 0.5

    def __post_init__(self) -> None:
        """Check the values."""
        limits = {
            **dict.fromkeys(("flip", "upside_down", "blur_probability", "noise", "noise_probability"), 1.0),
            "rotation_degrees": 180.0,
            "shift": 0.5,
            "zoom": 0.9,
            "shear_degrees": 60.0,
            "brightness": 1.0,
            "contrast": 1.0,
        }
        for name, largest in limits.items():
            if not 0 <= getattr(self, name) <= largest:
                raise ConfigError(f"got {name}={getattr(self, name)}; expected a number from 0 to {largest:g}.")
        if self.crop is not None and not 0 < self.crop[0] <= self.crop[1] <= 1:
            raise ConfigError(f"got crop={self.crop}; expected two shares of the area, such as (0.8, 1.0).")
        if self.blur is not None and not (3 <= self.blur[0] <= self.blur[1] and all(w % 2 for w in self.blur)):
            raise ConfigError(f"got blur={self.blur}; expected two odd widths from 3, such as (3, 7).")

    @classmethod
    def suited_to(cls, dataset: Dataset) -> Augmentation:
        """Return the default augmentation, without mirror images where they would change the class."""
        return cls(flip=0.0) if has_sides(dataset) else cls()

    @classmethod
    def from_values(cls, values: Mapping[str, Any]) -> Augmentation:
        """Return the augmentation with these parameters, in which lists stand for pairs."""
        pairs: dict[str, Any] = {name: tuple(one) for name, one in values.items() if isinstance(one, list)}
        return cls(**{**values, **pairs})

    def to_dict(self) -> dict[str, Any]:
        """Return the parameters, to be written with a run; `from_values` takes them."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}

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
        move = Move(self.flip, self.upside_down, self.rotation_degrees, self.shift, self.zoom, self.shear_degrees)
        matrices = torch.from_numpy(move.draw(len(images), space, rng, self.crop)[:, : len(space)].astype(np.float32))
        pixels = torch.from_numpy(np.ascontiguousarray(np.moveaxis(images, -1, 1))).float()
        warp = kornia.warp_affine3d if len(space) == 3 else kornia.warp_affine
        with torch.no_grad():
            pixels = warp(pixels, matrices, space, padding_mode="border", align_corners=True)
            if self.brightness or self.contrast or self.blur or self.noise:
                from edgelnn.data.appearance import vary_appearance

                pixels = 255 * vary_appearance(pixels / 255, self, rng)
        rounded: NDArray[np.uint8] = pixels.round().clamp(0, 255).to(torch.uint8).numpy()
        return np.ascontiguousarray(np.moveaxis(rounded, 1, -1))


def has_sides(dataset: Dataset) -> bool:
    """Return whether mirror images would change the class.

    That is where class names tell left from right (the organ sets), and for digits.
    """
    return any(SIDES.search(name) for name in dataset.class_names) or dataset.name == "mnist"


def _libraries() -> tuple[Any, Any]:
    """Return kornia's transforms and torch, imported when they are first needed."""
    try:
        import torch
        from kornia.geometry import transform
    except ImportError as error:
        raise MissingExtraError("augmentation", "kornia", "train") from error
    return transform, torch
