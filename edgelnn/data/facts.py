"""What is known of named data without loading them: enough to build a model for them."""

from __future__ import annotations

from dataclasses import dataclass

from edgelnn.data.catalogue import DatasetInfo, dataset_info
from edgelnn.data.dataset import Task
from edgelnn.errors import ConfigError

__all__ = ["DataFacts", "known_facts"]


@dataclass(frozen=True)
class DataFacts:
    """What a model has to fit.

    Attributes:
        image_shape: (h, w, c), or (d, h, w, c) for volumes.
        task: MedMNIST's name of the task.
        classes: Classes, or labels where the task is multi-label.
        info: All else that is known of the data; None where they have no name.
    """

    image_shape: tuple[int, ...]
    task: Task
    classes: int
    info: DatasetInfo | None = None


def known_facts(name: str, size: int) -> DataFacts | None:
    """Return what a dataset's name tells, None where no dataset has the name.

    Args:
        name: As `load_dataset` takes it.
        size: Side in pixels.

    Raises:
        ConfigError: The dataset cannot be had in that size.

    >>> known_facts("phantoms", 28)
    DataFacts(image_shape=(28, 28, 1), task='binary-class', classes=2, info=...)
    """
    info = dataset_info(name)
    if info is None:
        return None
    if size not in info.sizes:
        sizes = ", ".join(map(str, info.sizes))
        raise ConfigError(f"got size={size}; {name} comes in {sizes}. Pass --set data.size={info.sizes[0]}.")
    shape = (*(size for _ in range(3 if info.is_volume else 2)), info.channels)
    return DataFacts(shape, info.task, info.classes, info)
