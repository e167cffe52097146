"""Which images of a dataset calibrate, and which travel as golden inputs: the same ones every time."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from edgelnn.data.dataset import Split

__all__ = ["calibration_images", "golden_images", "random_images"]

CALIBRATION_IMAGES: Final = 128
CALIBRATION_VOLUMES: Final = 32  # each is many slices to a stem
_GOLDEN_REAL: Final = 8
_GOLDEN_RANDOM: Final = 4
_SEED: Final = 0


def calibration_images(train: Split) -> NDArray[np.uint8]:
    """Return at most 128 training images (32 volumes), drawn with seed 0: (n, [d,] h, w, c) uint8."""
    most = CALIBRATION_VOLUMES if train.images.ndim == 5 else CALIBRATION_IMAGES
    chosen = np.random.default_rng(_SEED).permutation(len(train))[:most]
    return train.images[np.sort(chosen)]


def golden_images(validation: Split) -> NDArray[np.uint8]:
    """Return the inputs that travel with a bundle: up to 8 validation images, evenly by class, then 4 of noise.

    Noise goes where no image of the dataset does, and shows differences that those hide.
    """
    order = np.random.default_rng(_SEED).permutation(len(validation))
    if validation.labels.ndim == 1:
        labels = validation.labels[order]
        # The first of every class, then the second of every class, and so on.
        rank = np.zeros(len(order), np.int64)
        for label in np.unique(labels):
            rank[labels == label] = np.arange((labels == label).sum())
        order = order[np.lexsort((labels, rank))]
    real = validation.images[order[:_GOLDEN_REAL]]
    return np.concatenate([real, random_images(_GOLDEN_RANDOM, real.shape[1:], seed=_SEED)])


def random_images(count: int, image_shape: tuple[int, ...], *, seed: int) -> NDArray[np.uint8]:
    """Return images of uniform noise: (count, [d,] h, w, c) uint8."""
    return np.random.default_rng(seed).integers(0, 256, (count, *image_shape), dtype=np.uint8)
