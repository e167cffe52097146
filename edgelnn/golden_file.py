"""``golden.npz``: images, and what every file of a bundle must answer to them; read by whoever proves a file.

Imports numpy alone, so that a board can use it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from edgelnn.array_files import read_npz
from edgelnn.errors import DataError

__all__ = ["read_golden"]


def read_golden(
    path: Path, *, images: int, image_shape: Sequence[int], outputs: int
) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Return golden images and answers, which must be as they are described.

    Args:
        path: The file.
        images: How many there are.
        image_shape: ([d,] h, w, c) of each.
        outputs: Answers to each.

    Returns:
        Images (images, [d,] h, w, c) uint8, and the PyTorch model's probabilities (images, outputs) float32.

    Raises:
        DataError: The file cannot be read, declares more than it stores, or holds something else.
    """
    shapes: dict[str, tuple[np.dtype[Any], tuple[int, ...]]] = {
        "images": (np.dtype(np.uint8), (images, *image_shape)),
        "probabilities": (np.dtype(np.float32), (images, outputs)),
    }
    arrays = read_npz(path, shapes)
    for name, (dtype, shape) in shapes.items():
        if name not in arrays:
            raise DataError(f"{path} lacks {name}; export again.")
        if arrays[name].dtype != dtype or arrays[name].shape != shape:
            raise DataError(f"{path}: {name} is {arrays[name].shape} {arrays[name].dtype}; expected {shape} {dtype}.")
    probabilities = arrays["probabilities"]
    if not np.isfinite(probabilities).all():
        raise DataError(f"{path}: probabilities holds numbers that are not finite; export again.")
    return cast("NDArray[np.uint8]", arrays["images"]), cast("NDArray[np.float32]", probabilities)
