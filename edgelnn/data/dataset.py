"""What a dataset is once loaded: uint8 images and integer labels by split, and the words that name them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from edgelnn.errors import DataError

__all__ = ["SPLITS", "Dataset", "Split", "SplitName", "Task"]

Task = Literal["binary-class", "multi-class", "multi-label", "ordinal-regression"]
SplitName = Literal["train", "val", "test"]
SPLITS: tuple[SplitName, ...] = ("train", "val", "test")


@dataclass(frozen=True)
class Split:
    """One split of a dataset.

    Attributes:
        images: (n, h, w, c) or, for volumes, (n, d, h, w, c) uint8; c is 1 or 3.
        labels: (n,) int64 class indices, or (n, classes) int64 of 0 and 1 where the task is multi-label.
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.images)


@dataclass(frozen=True)
class Dataset:
    """Images and labels by split, with everything needed to name and repeat them.

    Attributes:
        name: The name it was loaded by, such as ``"breastmnist"``.
        task: MedMNIST's name of the task.
        class_names: One name per class (per label where the task is multi-label), in the order of the codes.
        positive_class: Index of the class that sensitivity, specificity and F1 speak of: the disease. None where
            no single class is *the* disease (organ types, multi-label); metrics are then given class by class.
        splits: ``train``, ``val`` and ``test``.
        licence: Licence of the data in words, or "unknown".
        source: Where the data came from: an address, or the name of the folder or file.
        digest: sha256 over images and labels of all splits, in hex.
        synthetic: True for the built-in phantoms; said wherever their results appear.
        drawn: Splits that did not come with the data but were drawn from others by seed.
        patients: By split, the patient of each image, "" where none is known; splits that are not there have none.
    """

    name: str
    task: Task
    class_names: tuple[str, ...]
    positive_class: int | None
    splits: Mapping[SplitName, Split]
    licence: str
    source: str
    digest: str
    synthetic: bool = False
    drawn: tuple[SplitName, ...] = ()
    patients: Mapping[SplitName, Sequence[str]] = field(default_factory=dict)

    def __getitem__(self, split: SplitName) -> Split:
        """Return one split; `DataError` where the dataset has none of that name."""
        if split not in self.splits:
            raise DataError(f"got split {split!r}; {self.name} has {', '.join(self.splits)}.")
        return self.splits[split]

    @property
    def image_shape(self) -> tuple[int, ...]:
        """Shape of one image: (h, w, c), or (d, h, w, c) for volumes."""
        return tuple(self.splits["train"].images.shape[1:])

    @property
    def is_volume(self) -> bool:
        """Whether one example is a volume."""
        return len(self.image_shape) == 4
