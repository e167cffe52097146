"""What `predict` is given: image files, folders of them, and arrays, as the uint8 images a model was trained on.

Imports numpy, and Pillow where a file is an image, so that a board can use it. Files become pixels by the same code as
class folders for training do.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgelnn.array_files import as_pixels, read_npy, read_npz
from edgelnn.contour_crop import ContourCrop
from edgelnn.errors import DataError
from edgelnn.image_files import IMAGE_SUFFIXES, check_deep_pictures, read_image, resize_pixels, with_channels
from edgelnn.likeness import image_statistics as image_statistics
from edgelnn.likeness import unlike_training as unlike_training

__all__ = ["Inputs", "image_statistics", "load_images", "load_inputs", "unlike_training"]

ARRAY_SUFFIXES = frozenset({".npy", ".npz"})
Images = NDArray[np.uint8]
Array = NDArray[Any]
Found = tuple[Images, list[tuple[int, int]], list[bool]]


@dataclass(frozen=True)
class Inputs:
    """Images to classify.

    Attributes:
        names: One for each image: its file, and its number where the file holds several.
        images: ``(n, [d,] h, w, c)`` uint8.
        original_sizes: ``(height, width)`` of each image before it was resized, and after it was cropped.
        uncropped: Whether each image was to be cropped and holds nothing to crop it to.
    """

    names: list[str]
    images: Images
    original_sizes: list[tuple[int, int]]
    uncropped: list[bool] = field(default_factory=list)


def load_images(paths: Iterable[str | Path] | str | Path, *, image_shape: Sequence[int]) -> tuple[list[str], Images]:
    """Return the names and pixels of images in files and folders.

    Args:
        paths: Image files, ``.npy`` or ``.npz`` arrays (one image or volume, or a batch), folders of any of them.
        image_shape: ``([d,] h, w, c)`` that the model takes. Images are resized to it, volumes never.

    Returns:
        names: one for each image.
        images: ``(n, [d,] h, w, c)`` uint8.

    Raises:
        DataError: A path does not exist, holds no images, or holds something that cannot be such an image.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     np.save(Path(folder) / "scan.npy", np.zeros((2, 8, 8), np.uint8))
    ...     names, images = load_images([folder], image_shape=(8, 8, 1))
    >>> [Path(name).name for name in names], images.shape
    (['scan.npy[0]', 'scan.npy[1]'], (2, 8, 8, 1))
    """
    inputs = load_inputs(paths, image_shape=image_shape)
    return inputs.names, inputs.images


def load_inputs(
    paths: Iterable[str | Path] | str | Path, *, image_shape: Sequence[int], crop: ContourCrop | None = None
) -> Inputs:
    """Return images in files and folders with what `unlike_training` wants to know; see `load_images`.

    Args:
        paths: As for `load_images`.
        image_shape: As for `load_images`.
        crop: How to cut images down before they are resized, as those that the model was trained on were; arrays that
            have the size already count as cut down.
    """
    wanted = tuple(image_shape)
    given = [paths] if isinstance(paths, str | Path) else list(paths)
    if not given:
        raise DataError("got no images; expected image files, folders, .npy or .npz files.")
    names: list[str] = []
    parts: list[Images] = []
    sizes: list[tuple[int, int]] = []
    uncropped: list[bool] = []
    for file in [file for path in given for file in _files(Path(path).expanduser())]:
        if file.suffix.casefold() in ARRAY_SUFFIXES:
            images, found, whole = _from_array(file, wanted, crop)
        else:
            images, found, whole = _from_picture(file, wanted, crop)
        several = len(images) > 1
        names += [f"{file}[{number}]" if several else str(file) for number in range(len(images))]
        parts.append(images)
        sizes += found
        uncropped += whole
    return Inputs(names, np.concatenate(parts), sizes, uncropped)


def _files(path: Path) -> list[Path]:
    """Return the file itself, or the images and arrays in a folder and below, by path."""
    try:
        if not path.exists():
            raise DataError(f"{path} does not exist. Check the path.")
        if not path.is_dir():
            return [path]
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read: {error}.") from error

    def unreadable(error: OSError) -> None:
        raise DataError(f"{error.filename} cannot be read: {error.strerror}.") from error

    files = []
    for place, folders, names in os.walk(path, onerror=unreadable):
        folders[:] = [name for name in folders if not name.startswith((".", "__MACOSX"))]
        found = (Path(place) / name for name in names if not name.startswith("."))
        files += [file for file in found if file.suffix.casefold() in IMAGE_SUFFIXES | ARRAY_SUFFIXES]
    if not files:
        raise DataError(f"{path} holds no images (PNG, JPEG, TIFF, BMP, …) and no .npy or .npz files.")
    return sorted(files)


def _from_picture(path: Path, wanted: tuple[int, ...], crop: ContourCrop | None) -> Found:
    """Return one image file as ``(1, h, w, c)``, its size before resizing, and whether it was left uncropped."""
    if len(wanted) == 4:
        raise DataError(
            f"{path} is a single image; the model takes volumes of shape {wanted}. Give it as .npy or .npz."
        )
    height, width, channels = wanted
    picture = read_image(path, (height, width), crop)
    check_deep_pictures([picture], path)
    return picture.with_channels(channels)[np.newaxis], [picture.original_size[::-1]], [picture.uncropped]


def _from_array(path: Path, wanted: tuple[int, ...], crop: ContourCrop | None) -> Found:
    """Return the images of an array file as ``(n, [d,] h, w, c)``, and of each what `_from_picture` returns."""
    array, where = _array(path)
    batch = as_pixels(_batch(array, wanted, where), where)
    original = (int(batch.shape[-3]), int(batch.shape[-2]))
    if len(wanted) == 4 or crop is None or original == wanted[:2]:
        parts: list[Images | None] = [None] * len(batch)
        whole = [False] * len(batch)
    else:
        parts = [crop(image) for image in batch]
        whole = [part is None for part in parts]
    if len(wanted) == 4:
        return batch, [original] * len(batch), whole
    height, width, channels = wanted
    images = [image if part is None else np.ascontiguousarray(part) for image, part in zip(batch, parts, strict=True)]
    sizes = [(int(image.shape[0]), int(image.shape[1])) for image in images]
    return np.stack([with_channels(resize_pixels(image, (height, width)), channels) for image in images]), sizes, whole


def _array(path: Path) -> tuple[Array, str]:
    """Return the array of images in a file, and what to call it in errors."""
    if path.suffix.casefold() == ".npy":
        return read_npy(path), str(path)
    arrays = read_npz(path)
    for key in ("images", "test_images"):
        if key in arrays:
            return arrays[key], f"{path}, {key}"
    if len(arrays) == 1:
        key, array = arrays.popitem()
        return array, f"{path}, {key}"
    raise DataError(f"{path} holds {', '.join(arrays) or 'nothing'}; expected an array named images, or a single one.")


def _batch(array: Array, wanted: tuple[int, ...], where: str) -> Array:
    """Return an array as ``(n, [d,] h, w, c)``: one image or many, with or without a channel axis.

    Shapes that are the model's own come first; other sizes only where nothing else can be meant.
    """
    space, channels, shape = wanted[:-1], wanted[-1], array.shape
    if array.size:
        if shape == wanted:
            return array[np.newaxis]
        if shape[1:] == wanted:
            return array
        if channels == 1 and shape == space:
            return array[np.newaxis, ..., np.newaxis]
        if channels == 1 and shape[1:] == space:
            return array[..., np.newaxis]
        if len(space) == 2:
            if array.ndim in (3, 4) and shape[-1] in (1, 3):
                return array if array.ndim == 4 else array[np.newaxis]
            if array.ndim == 2:
                return array[np.newaxis, ..., np.newaxis]
            if array.ndim == 3 and channels == 1:
                return array[..., np.newaxis]
    axes = "(depth, height, width, channels)" if len(space) == 3 else "(height, width, channels)"
    raise DataError(
        f"{where}: got an array of shape {shape}; the model takes {wanted} {axes}, or a batch of them, "
        "with one axis more in front."
    )
