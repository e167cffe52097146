"""Brightness, contrast, blur and noise of training images, by kornia, from numpy's random numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from kornia.enhance import adjust_brightness_accumulative, adjust_contrast_with_mean_subtraction
from kornia.filters import filter3d, gaussian_blur2d, get_gaussian_kernel1d
from numpy.typing import NDArray
from torch import Tensor

if TYPE_CHECKING:
    from edgelnn.data.augmentation import Augmentation

__all__ = ["vary_appearance"]


def vary_appearance(pixels: Tensor, augmentation: Augmentation, rng: np.random.Generator) -> Tensor:
    """Return images changed in brightness, then contrast, then sharpness, then by noise, each image on its own.

    Args:
        pixels: ``(n, c, [d,] h, w)`` float32 in [0, 1].
        augmentation: How far.
        rng: To draw from; what is not asked for draws nothing.

    Returns:
        Of the same shape, in [0, 1] save for noise.
    """
    count, channels = pixels.shape[:2]
    # As one tall image: kornia takes the third axis from the end for the channels, and would so take a volume's depth.
    flat = pixels.reshape(count, channels, -1, pixels.shape[-1])
    if augmentation.brightness:
        flat = adjust_brightness_accumulative(flat, _factors(augmentation.brightness, count, rng))
    if augmentation.contrast:
        flat = adjust_contrast_with_mean_subtraction(flat, _factors(augmentation.contrast, count, rng))
    pixels = flat.reshape(pixels.shape)
    if augmentation.blur is not None:
        blurred = rng.random(count) < augmentation.blur_probability
        smallest, largest = augmentation.blur
        widths = smallest + 2 * rng.integers((largest - smallest) // 2 + 1, size=count)
        pixels = pixels.clone()
        for width in np.unique(widths[blurred]):
            chosen = torch.from_numpy(blurred & (widths == width))
            pixels[chosen] = _blur(pixels[chosen], int(width))
    if augmentation.noise:
        strewn = rng.random(count) < augmentation.noise_probability
        deviations = rng.uniform(0, augmentation.noise, count)[strewn].astype(np.float32)
        noise = rng.standard_normal((len(deviations), *pixels.shape[1:]), np.float32)
        pixels = pixels.clone()
        pixels[torch.from_numpy(strewn)] += torch.from_numpy(_spread(deviations, noise.ndim) * noise)
    return pixels


def _factors(largest: float, count: int, rng: np.random.Generator) -> Tensor:
    """Return a factor about 1 for each image."""
    return torch.from_numpy(rng.uniform(1 - largest, 1 + largest, count).astype(np.float32))


def _blur(pixels: Tensor, width: int) -> Tensor:
    """Return images or volumes blurred by a Gaussian filter of so many pixels along every axis."""
    sigma = 0.3 * ((width - 1) / 2 - 1) + 0.8
    if pixels.ndim == 4:
        return gaussian_blur2d(pixels, width, (sigma, sigma), border_type="replicate")
    line = get_gaussian_kernel1d(width, sigma)
    for shape in ((1, width, 1, 1), (1, 1, width, 1), (1, 1, 1, width)):
        pixels = filter3d(pixels, line.reshape(shape), border_type="replicate")
    return pixels


def _spread(values: NDArray[np.float32], axes: int) -> NDArray[np.float32]:
    """Return (n,) values with as many axes, to be multiplied with images."""
    return values.reshape(-1, *[1] * (axes - 1))
