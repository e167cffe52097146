"""From arrays of any origin to a `Dataset`: every check that images and labels must pass, and the digest."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from edgelnn.data.dataset import SPLITS, Dataset, Split, SplitName, Task
from edgelnn.errors import ConfigError, DataError

__all__ = ["build_dataset", "checked_labels", "dataset_digest", "positive_index", "with_channels"]


def build_dataset(
    name: str,
    splits: Mapping[SplitName, tuple[NDArray[np.uint8], NDArray[Any]]],
    *,
    task: Task,
    class_names: Sequence[str],
    positive_class: int | None,
    licence: str,
    source: str,
    synthetic: bool = False,
    drawn: Sequence[SplitName] = (),
    patients: Mapping[SplitName, Sequence[str]] | None = None,
) -> Dataset:
    """Return a dataset whose images and labels have been checked.

    Args:
        name: Of the dataset; named in errors.
        splits: By split, images ``(n, [d,] h, w, c)`` uint8 and labels ``(n,)``, ``(n, 1)`` or, multi-label,
            ``(n, k)``.
        task: MedMNIST's name of the task.
        class_names: One per class or label.
        positive_class: Index of the disease, or None.
        licence: Of the data.
        source: Where it came from.
        synthetic: Made by a generator.
        drawn: Splits that were drawn from others here.
        patients: By split, the patient of each image, "" where none is known.

    Raises:
        DataError: A split is missing or empty, shapes or counts disagree, labels are not whole numbers in range, the
            training split lacks a class, or there is one class only.
    """
    checked: dict[SplitName, Split] = {}
    for split in SPLITS:
        if split not in splits:
            raise DataError(f"{name} has no {split} split; expected train, val and test.")
        images, labels = splits[split]
        where = f"{name}, {split}"
        _check_images(images, where)
        numbers = checked_labels(labels, task, where, count=len(images))
        checked[split] = Split(images, numbers)
    shapes = {split: part.images.shape[1:] for split, part in checked.items()}
    if len(set(shapes.values())) > 1:
        raise DataError(f"{name} has images of different shapes: {shapes}. Bring them to one shape.")
    _check_classes(name, checked, task, class_names)
    return Dataset(
        name=name,
        task=task,
        class_names=tuple(class_names),
        positive_class=positive_class,
        splits=checked,
        licence=licence,
        source=source,
        digest=dataset_digest(checked),
        synthetic=synthetic,
        drawn=tuple(drawn),
        patients=patients or {},
    )


def dataset_digest(splits: Mapping[SplitName, Split]) -> str:
    """Return the sha256, in hex, over shapes, images and labels (int64, little-endian) of train, val and test."""
    digest = hashlib.sha256()
    for split in SPLITS:
        part = splits[split]
        digest.update(f"{split} {part.images.shape} {part.labels.shape};".encode())
        digest.update(np.ascontiguousarray(part.images).data)
        digest.update(np.ascontiguousarray(part.labels, dtype="<i8").data)
    return digest.hexdigest()


def checked_labels(labels: NDArray[Any], task: Task, where: str, *, count: int) -> NDArray[np.int64]:
    """Return labels as ``(n,)`` or, multi-label, ``(n, k)`` int64.

    Whole numbers are taken in any numeric type.

    Args:
        labels: ``(n,)``, ``(n, 1)`` or, multi-label, ``(n, k)``.
        task: The dataset's task.
        where: What to call them in an error.
        count: How many images there are.

    Raises:
        DataError: Wrong shape or count, NaN, fractions, negative numbers; in multi-label sets, numbers above 1.

    >>> checked_labels(np.array([[0.0], [2.0]]), "multi-class", "x", count=2).tolist()
    [0, 2]
    """
    numbers = _whole_numbers(labels, where)
    if task == "multi-label":
        if numbers.ndim != 2:
            raise DataError(
                f"{where}: got labels of shape {numbers.shape}; a multi-label set has (n, labels) of 0 and 1."
            )
        if numbers.size and numbers.max() > 1:
            raise DataError(f"{where}: got label {numbers.max()}; a multi-label set has 0 and 1 only.")
    elif numbers.ndim == 2 and numbers.shape[1] == 1:
        numbers = numbers[:, 0]
    elif numbers.ndim != 1:
        raise DataError(f"{where}: got labels of shape {numbers.shape}; expected one code an image: (n,) or (n, 1).")
    if len(numbers) != count:
        raise DataError(f"{where}: got {count} images and {len(numbers)} labels; expected one label for each image.")
    return numbers


def positive_index(wanted: str | None, class_names: Sequence[str], task: Task, default: int | None) -> int | None:
    """Return the index of the class that sensitivity and specificity speak of.

    Args:
        wanted: Its name, or its code in digits; None for the default.
        class_names: The dataset's classes.
        task: The dataset's task.
        default: The dataset's own.

    Raises:
        ConfigError: There is no such class, or the task is multi-label.
    """
    if wanted is None:
        return default
    if task == "multi-label":
        raise ConfigError(
            f"got positive_class={wanted!r}; in a multi-label dataset every label is its own. Leave it out."
        )
    for index, name in enumerate(class_names):
        if wanted == name or wanted.casefold() == name.casefold():
            return index
    if wanted.isdecimal() and int(wanted) < len(class_names):
        return int(wanted)
    raise ConfigError(f"got positive_class={wanted!r}; expected one of {', '.join(map(repr, class_names))}.")


def with_channels(images: NDArray[Any], where: str, *, is_volume: bool | None = None) -> NDArray[Any]:
    """Return images as ``(n, [d,] h, w, c)``, with the channel axis added where they have none.

    Args:
        images: ``(n, h, w)``, ``(n, h, w, c)``, ``(n, d, h, w)`` or ``(n, d, h, w, c)``, c being 1 or 3.
        where: What to call them in an error.
        is_volume: Whether they are volumes; None: four axes are volumes unless the last one is 1 or 3 long.

    Raises:
        DataError: The shape is none of these.
    """
    shape = images.shape
    channels_last = len(shape) > 1 and shape[-1] in (1, 3)
    if is_volume is None:
        is_volume = len(shape) == 5 or (len(shape) == 4 and not channels_last)
        if len(shape) == 4 and is_volume and shape[1] in (1, 3):
            raise DataError(
                f"{where}: got images of shape {shape}, which looks like channels before pixels; expected "
                "(n, height, width, channels). Move the axis: numpy.moveaxis(images, 1, -1)."
            )
    space = 3 if is_volume else 2
    if len(shape) == space + 1:
        return images[..., np.newaxis]
    if len(shape) == space + 2 and channels_last:
        return images
    raise DataError(
        f"{where}: got images of shape {shape}; expected (n, height, width), (n, height, width, 1 or 3), "
        "(n, depth, height, width) or (n, depth, height, width, 1 or 3)."
    )


def _whole_numbers(labels: NDArray[Any], where: str) -> NDArray[np.int64]:
    if labels.dtype.kind not in "biuf":
        raise DataError(
            f"{where}: got labels of type {labels.dtype}; expected whole numbers 0, 1, 2, … for the classes."
        )
    if labels.size == 0:
        return labels.astype(np.int64)
    if labels.dtype.kind == "f" and not bool(np.isfinite(labels).all()):
        raise DataError(
            f"{where}: a label is NaN or infinite (the first is number {int(np.argmin(np.isfinite(labels)))})."
        )
    if labels.dtype.kind == "f" and not bool((labels == np.rint(labels)).all()):
        raise DataError(
            f"{where}: got label {labels[labels != np.rint(labels)][0]:g}; expected whole numbers 0, 1, 2, …"
        )
    low, high = labels.min(), labels.max()
    if low < 0 or high > 1_000_000:
        raise DataError(f"{where}: got labels from {low} to {high}; expected 0, 1, 2, … one code for each class.")
    return cast(NDArray[np.int64], labels.astype(np.int64))


def _check_images(images: NDArray[np.uint8], where: str) -> None:
    if images.dtype != np.uint8:
        raise DataError(f"{where}: got images of {images.dtype}; expected uint8.")
    if len(images) == 0:
        raise DataError(f"{where} is empty; expected at least one image.")
    if images.ndim not in (4, 5) or 0 in images.shape or images.shape[-1] not in (1, 3):
        raise DataError(f"{where}: got images of shape {images.shape}; expected (n, [depth,] height, width, 1 or 3).")


def _check_classes(name: str, splits: Mapping[SplitName, Split], task: Task, class_names: Sequence[str]) -> None:
    if len(set(class_names)) != len(class_names):
        raise DataError(f"{name}: two classes have one name: {', '.join(class_names)}.")
    if task == "multi-label":
        _check_columns(name, splits, class_names)
        return
    if len(class_names) < 2:
        raise DataError(f"{name} has one class only ({', '.join(class_names)}); expected at least two.")
    for split, part in splits.items():
        if part.labels.max() >= len(class_names):
            raise DataError(f"{name}, {split}: got label {part.labels.max()}; expected 0..{len(class_names) - 1}.")
    counts = np.bincount(splits["train"].labels, minlength=len(class_names))
    if not counts.all():
        missing = int(np.argmin(counts > 0))
        raise DataError(
            f"{name}: no training image has label {missing} ({class_names[missing]}); every class needs "
            "some, with codes from 0 without gaps."
        )


def _check_columns(name: str, splits: Mapping[SplitName, Split], label_names: Sequence[str]) -> None:
    """Check the labels of a multi-label set, ``(n, k)`` of 0 and 1."""
    for split, part in splits.items():
        if part.labels.shape[1] != len(label_names):
            raise DataError(
                f"{name}, {split}: got {part.labels.shape[1]} labels for each image; expected {len(label_names)}."
            )
    train = splits["train"].labels
    if bool((train.sum(axis=1) == 1).all()):
        raise DataError(
            f"{name}: every training image has exactly one of the {train.shape[1]} labels, so these are classes; "
            "expected one code for each image: labels.argmax(axis=1)."
        )
    constant = [label for label, column in zip(label_names, train.T, strict=True) if np.ptp(column) == 0]
    if constant:
        raise DataError(f"{name}: label {constant[0]!r} is the same in every training image. Leave it out.")
