"""`load_dataset`: one call for every kind of data."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from edgelnn.data.catalogue import PHANTOMS, dataset_info, unknown_name
from edgelnn.data.checks import positive_index
from edgelnn.data.dataset import Dataset
from edgelnn.data.medmnist_files import load_medmnist
from edgelnn.data.phantoms import load_phantoms

__all__ = ["load_dataset"]


def load_dataset(
    name: str,
    *,
    size: int = 28,
    root: Path | str | None = None,
    channels: int | None = None,
    positive_class: str | None = None,
    validation: float = 0.15,
    test: float = 0.15,
    split_seed: int = 0,
    difficulty: float = 0.5,
    download: bool = True,
    progress: Callable[[int, int], None] | None = None,
) -> Dataset:
    """Return a dataset: uint8 images and labels by split.

    >>> load_dataset("phantoms").image_shape
    (28, 28, 1)
    """
    info = dataset_info(name)
    if info is None:
        raise unknown_name(name)
    positive = positive_index(positive_class, info.class_names, info.task, info.positive_class)
    if info is PHANTOMS:
        return load_phantoms(size=size, difficulty=difficulty, seed=split_seed, positive_class=positive)
    folder = None if root is None else Path(root).expanduser()
    return load_medmnist(info, size=size, root=folder, positive_class=positive, download=download, progress=progress)
