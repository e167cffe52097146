"""Whether an image looks like those a model was trained on: a guard against mistakes, in a few numbers.

Imports numpy alone, so that a board can use it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = ["FEATURES", "image_statistics", "unlike_training"]

Images = NDArray[np.uint8]
Floats = NDArray[np.float64]


FEATURES = {
    "brightness": "mean brightness",
    "contrast": "contrast (standard deviation of its pixels)",
    "detail": "fine detail (mean step between neighbouring pixels)",
    "center": "brightness of the middle above that of the margin",
    "top": "brightness of the upper half above that of the lower",
    "color": "color (mean difference between its channels)",
}
"""What is measured of an image, in grey levels of 0..255; color only where there are three channels."""

FAR = 4.0
"""Standard deviations from the training images' mean beyond which one feature is called unlike them."""

FAR_TOGETHER = 2.5
"""The same for the root mean square over all features. BreastMNIST's own test images reach 1.9, MNIST's 2.9."""


def image_statistics(images: Images) -> dict[str, float]:
    """Return what the images of a training split look like, in a few numbers that travel with the model.

    Each of `FEATURES` is taken of every image; ``NAME_mean``, ``NAME_std``, ``NAME_low`` and ``NAME_high`` are its
    mean, standard deviation, smallest and largest value over the images. ``distance_high`` is what the root mean square
    of their distances from the means, in standard deviations, stays below for 99.5 % of the images.

    Args:
        images: ``(n, [d,] h, w, c)`` uint8.

    >>> image_statistics(np.full((2, 4, 4, 1), 7, np.uint8))["brightness_mean"]
    7.0
    """
    statistics: dict[str, float] = {}
    features = _features(images)
    for name, values in features.items():
        statistics |= {
            f"{name}_mean": float(values.mean()),
            f"{name}_std": float(values.std()),
            f"{name}_low": float(values.min()),
            f"{name}_high": float(values.max()),
        }
    together = _together([_distances(values, statistics, name) for name, values in features.items()])
    return statistics | {"distance_high": float(np.quantile(together, 0.995))}


def unlike_training(
    images: Images,
    statistics: Mapping[str, float],
    original_sizes: Sequence[tuple[int, int]] | None = None,
) -> list[str | None]:
    """Return for each image why it does not look like what the model was trained on, or None where it does.

    It is a guard against mistakes (another kind of image, a negative, an empty frame), not a measure of certainty: an
    image without a warning may still be one the model knows nothing about.

    Args:
        images: ``(n, [d,] h, w, c)`` uint8.
        statistics: From `image_statistics` of the training images.
        original_sizes: ``(height, width)`` before resizing, for a word on shape and enlargement.

    >>> training = np.random.default_rng(0).integers(90, 110, (50, 8, 8, 1)).astype(np.uint8)
    >>> unlike_training(np.zeros((1, 8, 8, 1), np.uint8), image_statistics(training))
    ['every pixel is 0: an empty image.']
    """
    features = {name: values for name, values in _features(images).items() if f"{name}_mean" in statistics}
    distances = {name: _distances(values, statistics, name) for name, values in features.items()}
    together = _together(list(distances.values()))
    negative = _distances(255 - features["brightness"], statistics, "brightness")
    shape = int(images.shape[-3]), int(images.shape[-2])
    answers = []
    for i in range(len(images)):
        values = {name: float(column[i]) for name, column in features.items()}
        answer = _empty(values, statistics)
        if answer is None and distances["brightness"][i] > FAR / 2 > 2 * negative[i]:
            answer = _negative(values["brightness"], statistics)
        if answer is None:
            farthest = max(distances, key=lambda name: float(distances[name][i]))
            far = distances[farthest][i] > FAR and not _within(farthest, values[farthest], statistics)
            if far or together[i] > max(FAR_TOGETHER, statistics["distance_high"]):
                answer = _far(farthest, values[farthest], statistics)
        if answer is None and original_sizes is not None:
            answer = _resized(original_sizes[i], shape)
        answers.append(answer)
    return answers


def _features(images: Images) -> dict[str, Floats]:
    """Return each feature of each image: ``(n,)`` float64."""
    features: dict[str, list[float]] = {name: [] for name in FEATURES}
    for image in images:
        values = image.astype(np.float32)
        grey = values.mean(axis=-1)
        features["brightness"].append(float(grey.mean(dtype=np.float64)))
        features["contrast"].append(float(grey.std(dtype=np.float64)))
        steps = [np.abs(np.diff(grey, axis=axis)) for axis in (-1, -2) if grey.shape[axis] > 1]
        features["detail"].append(float(np.mean([step.mean(dtype=np.float64) for step in steps])) if steps else 0.0)
        plane = grey.reshape(-1, *grey.shape[-2:]).mean(axis=0, dtype=np.float64)
        height, width = plane.shape
        middle = plane[height // 4 : height - height // 4, width // 4 : width - width // 4]
        margin = (plane.sum() - middle.sum()) / max(plane.size - middle.size, 1)
        features["center"].append(float(middle.mean() - margin))
        features["top"].append(float(plane[: height // 2 or 1].mean() - plane[height // 2 :].mean()))
        if image.shape[-1] == 3:
            features["color"].append(float(np.ptp(values, axis=-1).mean(dtype=np.float64)))
    return {name: np.asarray(values) for name, values in features.items() if values}


def _distances(values: Floats, statistics: Mapping[str, float], name: str) -> Floats:
    """Return how far values of a feature are from the training images' mean, in standard deviations: ``(n,)``.

    A deviation counts as one grey level at least, so that training images all alike do not make everything else far.
    """
    distances: Floats = np.abs(values - statistics[f"{name}_mean"]) / max(statistics[f"{name}_std"], 1.0)
    return distances


def _together(distances: Sequence[Floats]) -> Floats:
    """Return the root mean square over features: ``(n,)``."""
    together: Floats = np.sqrt(np.mean(np.square(distances), axis=0))
    return together


def _within(name: str, value: float, statistics: Mapping[str, float]) -> bool:
    return statistics[f"{name}_low"] <= value <= statistics[f"{name}_high"]


def _empty(values: Mapping[str, float], statistics: Mapping[str, float]) -> str | None:
    if values["contrast"] > 0 or statistics["contrast_low"] == 0:
        return None
    return f"every pixel is {values['brightness']:.0f}: an empty image."


def _negative(brightness: float, statistics: Mapping[str, float]) -> str | None:
    if _within("brightness", brightness, statistics):
        return None
    return (
        f"mean brightness {brightness:.0f}, training images {statistics['brightness_mean']:.0f}: "
        "perhaps a negative (black and white exchanged)."
    )


def _far(name: str, value: float, statistics: Mapping[str, float]) -> str:
    mean, spread = statistics[f"{name}_mean"], statistics[f"{name}_std"]
    return f"{FEATURES[name]} {value:.0f}, training images {mean:.0f} ± {spread:.0f}: another kind of image?"


def _resized(original: tuple[int, int], shape: tuple[int, int]) -> str | None:
    """Return a warning where resizing has changed an image's proportions or invented most of its pixels."""
    height, width = original
    stretch = (width / height) / (shape[1] / shape[0])
    before, after = f"{width}x{height}", f"{shape[1]}x{shape[0]}"
    if not 1 / 2 <= stretch <= 2:
        return f"{before} pixels were squeezed into {after}: its proportions are not the training images'."
    if height * 2 <= shape[0] and width * 2 <= shape[1]:
        return f"{before} pixels were enlarged to {after}: most of what the model sees is made up."
    return None
