"""Which images of a dataset calibrate, judge files on the way, and travel as golden inputs: the same every time."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from edgelnn.data.dataset import Split

__all__ = ["calibration_images", "golden_images", "judging_images", "random_images"]

CALIBRATION_IMAGES: Final = 128
CALIBRATION_VOLUMES: Final = 32  # each is many slices to a stem
_JUDGING_IMAGES: Final = 512
_OF_A_RARE_CLASS: Final = 8
_GOLDEN_REAL: Final = 8
_GOLDEN_RANDOM: Final = 4
_SEED: Final = 0


def calibration_images(train: Split) -> NDArray[np.uint8]:
    """Return at most 128 training images (32 volumes), drawn with seed 0: (n, [d,] h, w, c) uint8."""
    most = CALIBRATION_VOLUMES if train.images.ndim == 5 else CALIBRATION_IMAGES
    chosen = np.random.default_rng(_SEED).permutation(len(train))[:most]
    return train.images[np.sort(chosen)]


def judging_images(validation: Split) -> NDArray[np.int64]:
    """Return which validation images judge the many files made on the way to one that is kept: (m,) int64, ascending.

    They are every k-th, 512 at most, and the first of those of a rare class (or with, or without, a rare label) until
    there are 8 or all of it: without any, AUC would not be defined.

    >>> labels = np.array([0] * 1501 + [1])
    >>> chosen = judging_images(Split(np.zeros((1502, 1, 1, 1), np.uint8), labels))
    >>> len(chosen), chosen[-1].item()
    (502, 1501)
    """
    labels = validation.labels
    chosen = np.zeros(len(labels), np.bool_)
    chosen[:: -(-len(labels) // _JUDGING_IMAGES)] = True
    for column in labels.T if labels.ndim == 2 else [labels]:
        for value in np.unique(column):
            members = np.flatnonzero(column == value)
            lacking = min(len(members), _OF_A_RARE_CLASS) - int(chosen[members].sum())
            chosen[members[~chosen[members]][: max(lacking, 0)]] = True
    return np.flatnonzero(chosen)


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
