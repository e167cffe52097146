"""From stored pixels to the numbers a model takes: one definition for training, export, boards and `predict.py`.

Imports numpy alone, so that a board can use it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, cast, get_args

import numpy as np
from numpy.typing import NDArray

from edgelnn.contour_crop import ContourCrop
from edgelnn.errors import ConfigError, DataError

__all__ = ["InputType", "Layout", "Preprocessing", "find_input_type"]

Layout = Literal["channels_first", "channels_last"]
InputType = Literal["float32", "uint8"]


def find_input_type(name: str) -> InputType:
    """Return a type of input by name.

    Raises:
        ConfigError: There is none of that name.

    >>> find_input_type("uint8")
    'uint8'
    """
    for known in get_args(InputType):
        if name == known:
            return cast("InputType", known)
    raise ConfigError(f"got the input type {name!r}; expected {' or '.join(get_args(InputType))}.")


@dataclass(frozen=True)
class Preprocessing:
    """``x = (pixels / 255 - mean) / std``, with the axes in the order the model wants.

    Attributes:
        image_shape: (h, w, c), or (d, h, w, c) for volumes, of the uint8 images.
        mean: Subtracted after scaling to [0, 1]; one number for every channel, or one for each.
        std: Divided by after that; likewise.
        crop: How pictures were cut down before they were resized to `image_shape`; None where they were not. It is done
            where files become pixels, not here.
        input_type: ``uint8`` where the model takes pixels as they are, and does the rest itself.

    Raises:
        DataError: There are numbers for more or fewer channels than the images have.
    """

    image_shape: tuple[int, ...]
    mean: float | tuple[float, ...] = 0.5
    std: float | tuple[float, ...] = 0.5
    crop: ContourCrop | None = None
    input_type: InputType = "float32"

    def __post_init__(self) -> None:
        """Check that there are as many numbers as channels."""
        for name in ("mean", "std"):
            values = getattr(self, name)
            if isinstance(values, tuple) and len(values) != self.image_shape[-1]:
                channels = self.image_shape[-1]
                raise DataError(f"got {len(values)} numbers for {name}; the images have {channels} channels.")

    @property
    def is_volume(self) -> bool:
        """Whether one example is a volume."""
        return len(self.image_shape) == 4

    def input_shape(self, layout: Layout = "channels_first") -> tuple[int, ...]:
        """Return the shape of one model input without its batch axis: (c, [d,] h, w) or ([d,] h, w, c)."""
        *space, channels = self.image_shape
        return (channels, *space) if layout == "channels_first" else (*space, channels)

    def __call__(self, images: NDArray[np.uint8], layout: Layout = "channels_first") -> NDArray[Any]:
        """Return model inputs.

        Args:
            images: (n, [d,] h, w, c) uint8.
            layout: Where the channel axis goes.

        Returns:
            (n, c, [d,] h, w) or (n, [d,] h, w, c) of `input_type`.

        Raises:
            DataError: The images are not uint8 or not of `image_shape`.

        >>> Preprocessing((1, 1, 1))(np.array([[[[255]]]], np.uint8)).tolist()
        [[[[1.0]]]]
        """
        if images.dtype != np.uint8:
            raise DataError(f"got images of {images.dtype}; expected uint8 pixels in 0..255.")
        if tuple(images.shape[1:]) != self.image_shape:
            raise DataError(
                f"got images of shape {tuple(images.shape[1:])}; "
                f"the model takes {self.image_shape} ([depth,] height, width, channels)."
            )
        values: NDArray[Any] = images
        if self.input_type == "float32":
            mean, std = np.asarray(self.mean, np.float32), np.asarray(self.std, np.float32)
            values = (images.astype(np.float32) / np.float32(255) - mean) / std
        return np.ascontiguousarray(np.moveaxis(values, -1, 1) if layout == "channels_first" else values)
