"""Phantoms: synthetic images that look somewhat like breast ultrasound, made by arithmetic alone.

They exist so that the first run and the tests need no download. They are no substitute for patients' images: nothing
measured on them says anything about diagnosis, and their results are labelled synthetic everywhere.

An image is a stack of tissue layers under the skin (fat, gland, muscle), each with its brightness and texture, darker
with depth; a lesion or none; speckle, which is multiplicative: the magnitude of a complex Gaussian field (Rayleigh), as
in Burckhardt, "Speckle in ultrasound B-mode scans", IEEE Trans. Sonics Ultrason. 25 (1978),
doi:10.1109/T-SU.1978.30978. Malignant lesions (label 0) tend to be spiculated, taller than wide, blurred at the edge
and to cast a shadow; benign ones to be smooth ellipses, wider than tall, with a bright zone behind them where they
are cysts; some images have no lesion. `difficulty` brings the two kinds closer and drowns them in speckle.

Everything is drawn in float64 from numpy's PCG64 and rounded once, so that the bytes are the same everywhere.
"""

from __future__ import annotations

from typing import cast

import numpy as np
from numpy.typing import NDArray

from edgelnn.data.catalogue import PHANTOMS
from edgelnn.data.checks import build_dataset
from edgelnn.data.dataset import SPLITS, Dataset, SplitName
from edgelnn.data.phantom_lesions import MALIGNANT_SHARE, Floats, draw_lesions, lesion_factor, rise
from edgelnn.errors import ConfigError

__all__ = ["load_phantoms", "make_phantoms"]

CHUNK_PIXELS = 2**19
GRAIN = 0.015, 0.009
"""Width and depth of a grain of speckle, as a part of the image's side."""

SMALLEST, LARGEST = 8, 1024


def load_phantoms(*, size: int = 28, difficulty: float = 0.5, seed: int = 0, positive_class: int | None = 0) -> Dataset:
    """Return phantoms in the form of BreastMNIST: 546, 78 and 156 grey images; 0 is malignant, 1 normal or benign.

    Args:
        size: Side in pixels.
        difficulty: 0 easy, 1 as hard as they get.
        seed: Other images of the same kind.
        positive_class: Index of the class that sensitivity speaks of.

    Raises:
        ConfigError: Size or difficulty is out of range.
    """
    splits: dict[SplitName, tuple[NDArray[np.uint8], NDArray[np.int64]]] = {
        split: make_phantoms(PHANTOMS.splits[split], size=size, difficulty=difficulty, seed=(seed, number))
        for number, split in enumerate(SPLITS)
    }
    return build_dataset(
        PHANTOMS.name,
        splits,
        task=PHANTOMS.task,
        class_names=PHANTOMS.class_names,
        positive_class=positive_class,
        licence=PHANTOMS.licence,
        source=f"edgelnn phantoms, size {size}, difficulty {difficulty:g}, seed {seed}",
        synthetic=True,
    )


def make_phantoms(
    count: int, *, size: int = 28, difficulty: float = 0.5, seed: int | tuple[int, ...] = 0
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Return phantom images and their labels.

    Args:
        count: How many.
        size: Side in pixels.
        difficulty: 0 easy, 1 as hard as they get.
        seed: The same seed gives the same bytes.

    Returns:
        images ``(count, size, size, 1)`` uint8, labels ``(count,)`` int64: 0 malignant, 1 normal or benign.

    Raises:
        ConfigError: Count, size or difficulty is out of range.

    >>> images, labels = make_phantoms(4, size=32)
    >>> images.shape, images.dtype.name
    ((4, 32, 32, 1), 'uint8')
    """
    if count < 1:
        raise ConfigError(f"got count={count}; expected at least one image.")
    if not SMALLEST <= size <= LARGEST:
        raise ConfigError(f"got size={size}; phantoms come in {SMALLEST} to {LARGEST} pixels. Pass --set data.size=28.")
    if not 0.0 <= difficulty <= 1.0:
        raise ConfigError(f"got difficulty={difficulty}; expected a number from 0 (easy) to 1 (hard).")
    entropy = np.random.SeedSequence(seed)
    rng = np.random.Generator(np.random.PCG64(entropy))
    malignant = np.arange(count) < round(count * MALIGNANT_SHARE)
    rng.shuffle(malignant)
    chunk = max(1, CHUNK_PIXELS // size**2)
    images = np.concatenate(
        [_draw(malignant[start : start + chunk], size, difficulty, rng) for start in range(0, count, chunk)]
    )
    return images[..., np.newaxis], np.where(malignant, 0, 1).astype(np.int64)


def _draw(malignant: NDArray[np.bool_], size: int, difficulty: float, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Return images ``(n, size, size)`` uint8 of lesions that are malignant or not."""
    lesion = draw_lesions(malignant, difficulty, rng)
    centres = (np.arange(size) + 0.5) / size
    x, y = centres[None, None, :], centres[None, :, None]
    brightness = _tissue(len(malignant), x, y, size, rng) * lesion_factor(lesion, x, y, size)
    speckled = brightness * _speckle(len(malignant), size, 0.3 + 0.5 * difficulty, rng)
    gain = rng.uniform(0.8, 1.2, (len(malignant), 1, 1))
    # B-mode scanners compress the echo's range; a power does it here.
    return cast(NDArray[np.uint8], np.rint(255 * np.clip(gain * speckled, 0, 1) ** 0.9).astype(np.uint8))


def _tissue(n: int, x: Floats, y: Floats, size: int, rng: np.random.Generator) -> Floats:
    """Return the brightness of skin, fat, gland and muscle: ``(n, size, size)``."""

    def each(low: float, high: float) -> Floats:
        return rng.uniform(low, high, (n, 1, 1))

    def interface(low: float, high: float) -> Floats:
        """Return the depth of a wavy interface: ``(n, 1, size)``."""
        wave = each(0.01, 0.05) * np.sin(2 * np.pi * (each(0.4, 1.4) * x + each(0, 1)))
        return each(low, high) + each(-0.12, 0.12) * (x - 0.5) + wave

    fat_begins, gland_begins, muscle_begins = interface(0.02, 0.07), interface(0.15, 0.35), interface(0.62, 0.95)
    fat, gland, muscle = each(0.32, 0.5), each(0.45, 0.65), each(0.22, 0.4)
    brightness = np.broadcast_to(each(0.6, 0.8), (n, size, size)).copy()
    for begins, level in ((fat_begins, fat), (gland_begins, gland), (muscle_begins, muscle)):
        share = rise((y - begins) / 0.015)
        brightness = brightness * (1 - share) + level * share
        brightness += each(0.0, 0.16) * np.exp(-(((y - begins) / 0.018) ** 2) / 2)
    streaks = _smooth_noise(n, size, 0.11, 0.018, rng)
    clouds = _smooth_noise(n, size, 0.10, 0.07, rng)
    brightness *= np.exp(each(0.08, 0.2) * streaks + each(0.05, 0.2) * clouds)
    attenuation = np.exp(-each(0.1, 1.1) * y)
    tissue: Floats = brightness * attenuation
    return tissue


def _speckle(n: int, size: int, strength: float, rng: np.random.Generator) -> Floats:
    """Return speckle around 1: the magnitude of a complex Gaussian field, smoothed by the beam, wider than deep.

    A pixel wider than the grain averages several grains, which weakens the speckle by the root of their number.
    """
    across, down = GRAIN
    fields = [_smooth_noise(n, size, max(across, 0.5 / size), max(down, 0.5 / size), rng) for _ in range(4)]
    # Scanners average two looks (compounding), which spares the deepest holes: a mean of four squares, not of two.
    power: Floats = sum((field**2 for field in fields[1:]), fields[0] ** 2) / len(fields)
    grains = max(1.0, 1 / (size * 2.5 * across)) * max(1.0, 1 / (size * 2.5 * down))
    speckle: Floats = power ** (strength / 2 / np.sqrt(grains))
    return speckle


def _smooth_noise(n: int, size: int, across: float, down: float, rng: np.random.Generator) -> Floats:
    """Return Gaussian noise of unit variance, smoothed over lengths in parts of the side: ``(n, size, size)``."""
    noise: Floats = _smoothing(size, down) @ rng.standard_normal((n, size, size)) @ _smoothing(size, across).T
    return noise


def _smoothing(size: int, length: float) -> Floats:
    """Return the ``(size, size)`` matrix that smooths by a Gaussian and keeps white noise at unit variance."""
    pixels = np.arange(size)
    kernel = np.exp(-(((pixels[:, None] - pixels[None, :]) / (length * size)) ** 2) / 2)
    matrix: Floats = kernel / np.sqrt((kernel**2).sum(axis=1, keepdims=True))
    return matrix
