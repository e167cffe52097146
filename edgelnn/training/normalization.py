"""From an experiment and its data to the preprocessing: by fixed numbers, by the training split's, or by ImageNet's."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edgelnn.data.dataset import Dataset
from edgelnn.errors import ConfigError
from edgelnn.preprocessing import Preprocessing
from edgelnn.training.data_specification import DataSpec

__all__ = ["build_preprocessing", "channel_statistics"]

# Of the training images of ILSVRC 2012, as torchvision's weights expect them.
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def build_preprocessing(data: DataSpec, dataset: Dataset) -> Preprocessing:
    """Return what turns a dataset's pixels into a model's input.

    Args:
        data: Whose `normalization`, `mean` and `std` say what is wanted.
        dataset: Whose training split is measured, where that is wanted.

    Raises:
        ConfigError: What is wanted does not fit the images' channels, or they are all alike.
    """
    channels = dataset.image_shape[-1]
    mean: float | list[float] | tuple[float, ...]
    std: float | list[float] | tuple[float, ...]
    match data.normalization:
        case "fixed":
            mean, std = data.mean, data.std
            for name, values in (("mean", mean), ("std", std)):
                if isinstance(values, list) and len(values) != channels:
                    raise ConfigError(
                        f"data.{name}: got {len(values)} numbers; the images of {dataset.name} have {channels} "
                        f"channel{'s' if channels > 1 else ''}. Give one number, or one for each."
                    )
        case "training":
            mean, std = channel_statistics(dataset["train"].images)
            if not all(std):
                raise ConfigError(
                    f'data.normalization: got "training"; every pixel of a channel of {dataset.name} is alike in the '
                    'training split, which has no standard deviation. Use "fixed".'
                )
        case "imagenet":
            mean, std = IMAGENET_MEAN, IMAGENET_STD
            if channels != 3:
                raise ConfigError(
                    f'data.normalization: got "imagenet" for images of {channels} channel; expected RGB. For class '
                    'folders set data.channels=3; else use "training", or "fixed" with a mean of 0.449 and a std of '
                    "0.226, ImageNet's over all channels."
                )
    return Preprocessing(dataset.image_shape, _plain(mean), _plain(std), data.contour_crop)


def channel_statistics(images: NDArray[np.uint8]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return mean and standard deviation of every channel, of pixels scaled to [0, 1].

    They are summed in whole numbers, so that they are the same on every machine.

    Args:
        images: ``(n, [d,] h, w, c)`` uint8.

    >>> channel_statistics(np.array([[[[0, 51], [255, 51]]]], np.uint8))
    ((0.5, 0.2), (0.5, 0.0))
    """
    levels = np.arange(256, dtype=np.int64)
    means, deviations = [], []
    for channel in range(images.shape[-1]):
        counts = np.bincount(images[..., channel].ravel(), minlength=256)
        total, first, second = int(counts.sum()), int(counts @ levels), int(counts @ levels**2)
        means.append(first / total / 255)
        deviations.append(float(np.sqrt((total * second - first**2) / total**2)) / 255)
    return tuple(means), tuple(deviations)


def _plain(values: float | list[float] | tuple[float, ...]) -> float | tuple[float, ...]:
    """Return one number where all are alike in length of one, else a tuple."""
    if isinstance(values, float):
        return values
    return values[0] if len(values) == 1 else tuple(values)
