"""Your own arrays as a dataset: an npz with MedMNIST's keys, or with images and labels only.

    train_images train_labels val_images val_labels test_images test_labels   splits as given; val may be missing
    images labels                                                             split here, by seed
    groups (n,)        optional, with images and labels: patients, who then stay in one split
    class_names (k,)   optional: text, one per code

Images ``(n, h, w)``, ``(n, h, w, 1 or 3)``, ``(n, d, h, w)`` or ``(n, d, h, w, 1 or 3)``; labels ``(n,)`` or ``(n,
1)`` with the codes of the classes from 0, or ``(n, k)`` of 0 and 1 for several labels an image.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgelnn.array_files import as_pixels, read_npz
from edgelnn.data.checks import build_dataset, checked_labels, positive_index, with_channels
from edgelnn.data.copies import image_digests, joined_groups, report_copies
from edgelnn.data.dataset import SPLITS, Dataset, SplitName, Task
from edgelnn.data.splitting import SplitPlan
from edgelnn.errors import ConfigError, DataError

__all__ = ["dataset_from_arrays", "load_npz"]

Array = NDArray[Any]


def load_npz(path: Path, *, size: int, positive_class: str | None, plan: SplitPlan) -> Dataset:
    """Return your own npz file as a dataset.

    Args:
        path: As in the module's head.
        size: Height of the images in pixels; they are not resized.
        positive_class: Name of the class that sensitivity speaks of.
        plan: How to draw the splits that are not given.

    Raises:
        ConfigError: An argument does not fit the file.
        DataError: The file cannot be used.
    """
    arrays = read_npz(path)
    groups = None
    if "images" in arrays or "labels" in arrays:
        given: dict[SplitName, tuple[Array, Array]] = {
            "train": (_need(arrays, "images", path), _need(arrays, "labels", path))
        }
        groups = arrays.get("groups")
    else:
        there = [split for split in SPLITS if f"{split}_images" in arrays or f"{split}_labels" in arrays]
        if "train" not in there or "test" not in there:
            raise DataError(
                f"{path} holds {', '.join(arrays) or 'nothing'}; expected images and labels, or train_images, "
                "train_labels, test_images, test_labels (and val_images, val_labels)."
            )
        given = {
            split: (_need(arrays, f"{split}_images", path), _need(arrays, f"{split}_labels", path)) for split in there
        }
    return dataset_from_arrays(
        given,
        name=path.name,
        where=str(path),
        size=size,
        class_names=_class_names(arrays, path),
        positive_class=positive_class,
        plan=plan,
        licence="unknown",
        source=f"file {path.name}",
        groups=groups,
    )


def dataset_from_arrays(
    given: Mapping[SplitName, tuple[Array, Array]],
    *,
    name: str,
    where: str,
    size: int,
    class_names: Sequence[str] | None,
    positive_class: str | None,
    plan: SplitPlan,
    licence: str,
    source: str,
    groups: Array | None = None,
) -> Dataset:
    """Return images and labels as a dataset, the missing splits drawn.

    Args:
        given: Images and labels: ``train`` alone (everything), ``train`` and ``test``, or all three.
        name: Of the dataset.
        where: What to call it in errors.
        size: Height of the images.
        class_names: One per code; None: the codes.
        positive_class: Name of the class that sensitivity speaks of.
        plan: How to draw what is missing.
        licence: Of the data.
        source: Where it came from.
        groups: ``(n,)`` whole numbers of patients, for ``train`` alone.

    Raises:
        ConfigError: `size` or `positive_class` does not fit the data.
        DataError: Images or labels cannot be used.
    """
    images: dict[SplitName, NDArray[np.uint8]] = {}
    labels: dict[SplitName, NDArray[np.int64]] = {}
    columns = {labels.shape[1] for _, labels in given.values() if labels.ndim == 2}
    if 0 in columns:
        raise DataError(f"{where}: got labels without a column; expected (n,) codes, or (n, labels) of 0 and 1.")
    task: Task = "multi-label" if columns - {1} else "multi-class"
    for split, (pixels, codes) in given.items():
        here = f"{where}, {split}" if len(given) > 1 else where
        images[split] = with_channels(as_pixels(pixels, f"{here} images"), here)
        labels[split] = checked_labels(codes, task, here, count=len(pixels))
    _check_size(images["train"], size, where)
    outputs = (
        labels["train"].shape[1] if task == "multi-label" else 1 + max(int(part.max()) for part in labels.values())
    )
    if task == "multi-class" and outputs > sum(map(len, labels.values())):
        raise DataError(
            f"{where}: got a label {outputs - 1}; expected codes 0, 1, 2, … without gaps, one for each class."
        )
    if class_names is None:
        class_names = [str(code) for code in range(outputs)]
    elif len(class_names) < outputs:
        raise DataError(
            f"{where}: got {len(class_names)} class names; the labels have {outputs} codes. Name every class."
        )
    if task == "multi-class" and len(class_names) == 2:
        task = "binary-class"
    digests = {split: image_digests(part) for split, part in images.items()}
    report_copies(digests, labels, lambda split, number: f"{where}: {split} image {number}", refuse=False)
    patients = {split: [""] * len(part) for split, part in labels.items()}
    patients["train"] = _patients(groups, len(labels["train"]), where)
    together = joined_groups(digests["train"], patients["train"])
    parts = plan.complete(labels, together, where=where, class_names=class_names)
    return build_dataset(
        name,
        {split: (images[origin][chosen], labels[origin][chosen]) for split, (origin, chosen) in parts.items()},
        task=task,
        class_names=class_names,
        positive_class=positive_index(positive_class, class_names, task, None),
        licence=licence,
        source=source,
        drawn=[split for split in parts if split not in labels],
        patients={split: [patients[origin][i] for i in chosen] for split, (origin, chosen) in parts.items()},
    )


def _need(arrays: Mapping[str, Array], key: str, path: Path) -> Array:
    if key not in arrays:
        raise DataError(f"{path} lacks {key}; it holds {', '.join(arrays)}.")
    if arrays[key].ndim == 0 or len(arrays[key]) == 0:
        raise DataError(f"{path}, {key}, is empty; expected at least one image.")
    return arrays[key]


def _class_names(arrays: Mapping[str, Array], path: Path) -> list[str] | None:
    names = arrays.get("class_names")
    if names is None:
        return None
    if names.dtype.kind != "U" or names.ndim != 1:
        raise DataError(f"{path}, class_names, is {names.dtype} of shape {names.shape}; expected a list of texts.")
    return [str(name) for name in names]


def _check_size(images: NDArray[np.uint8], size: int, where: str) -> None:
    height, width = images.shape[-3:-1]
    if size != height:
        raise ConfigError(
            f"got size={size}; {where} holds images of {height}x{width} pixels. Pass --set data.size={height}."
        )


def _patients(groups: Array | None, count: int, where: str) -> list[str]:
    if groups is None:
        return [""] * count
    if groups.shape != (count,) or groups.dtype.kind not in "iuU":
        raise DataError(
            f"{where}: got groups {groups.dtype} of shape {groups.shape}; expected one whole number or text "
            f"for each of {count} images."
        )
    return [f"patient {group}" for group in groups]
