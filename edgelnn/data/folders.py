"""Images in folders: one folder a class, with or without folders for the splits.

    DATA/malignant/*.png  DATA/benign/*.png                 split here, by seed
    DATA/train/malignant/*.png … DATA/val/… DATA/test/…     split as given; val is taken from train where it is missing
    DATA/malignant/patient7/*.png                           pictures in inner folders of one name stay in one split

Class names are the folders' names in alphabetical order. The same picture in two splits would make test figures look
better than they are: it is refused where the splits are given; where they are drawn here, copies stay together.
"""

from __future__ import annotations

import hashlib
import os
import re
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgelnn.array_files import check_memory
from edgelnn.contour_crop import ContourCrop
from edgelnn.data.checks import build_dataset, positive_index
from edgelnn.data.copies import joined_groups, report_copies
from edgelnn.data.dataset import SPLITS, Dataset, SplitName
from edgelnn.data.download import Progress
from edgelnn.data.splitting import SplitPlan
from edgelnn.errors import ConfigError, DataError, DataWarning
from edgelnn.image_files import IMAGE_SUFFIXES, Picture, check_deep_pictures, decode_image, read_image_bytes

__all__ = ["load_folder"]

SPLIT_FOLDERS: Mapping[str, SplitName] = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
    "testing": "test",
}
FOREIGN_SUFFIXES = frozenset(
    {".avif", ".dcm", ".dicom", ".heic", ".mat", ".mha", ".mhd", ".nii", ".npy", ".npz", ".nrrd", ".svs"}
)
"""Data that would be missed without a word, were it passed over like a text file."""


@dataclass(frozen=True)
class Example:
    """One image file: where it is, its class, and the inner folder it shares with others ("" for none)."""

    path: Path
    label: int
    inner: str


def load_folder(
    folder: Path,
    *,
    size: int,
    channels: int | None,
    positive_class: str | None,
    plan: SplitPlan,
    progress: Progress | None,
    crop: ContourCrop | None = None,
) -> Dataset:
    """Return a folder of images, one folder a class, as a dataset.

    Args:
        folder: As in the module's head.
        size: Side in pixels that every image is resized to.
        channels: 1 or 3; None: 1 where every image is grey.
        positive_class: Name of the class that sensitivity speaks of.
        plan: How to draw the splits that are not given as folders.
        progress: Called with images read and images in all.
        crop: How to cut every image down before it is resized; None: not at all.

    Raises:
        ConfigError: An argument is not valid.
        DataError: A folder or image cannot be used.
    """
    if channels not in (None, 1, 3):
        raise ConfigError(f"got channels={channels}; expected 1 (grey) or 3 (RGB).")
    if not 1 <= size <= 4096:
        raise ConfigError(f"got size={size}; expected a side of 1 to 4096 pixels, such as 28 or 64.")
    given = _split_folders(folder)
    class_names = _class_names(folder, given)
    positive = positive_index(positive_class, class_names, "multi-class", None)
    found = {split: _examples(place, class_names) for split, place in given.items()}
    count = sum(map(len, found.values()))
    check_memory(count * size * size * 3, folder)
    everything = [example for examples in found.values() for example in examples]
    read = dict(zip((example.path for example in everything), _read(everything, size, crop, progress), strict=True))
    pictures = {split: [read[example.path][0] for example in examples] for split, examples in found.items()}
    digests = {split: [read[example.path][1] for example in examples] for split, examples in found.items()}
    labels = {split: np.asarray([example.label for example in part], np.int64) for split, part in found.items()}
    report_copies(digests, labels, lambda split, number: str(found[split][number].path), refuse=True)
    groups = joined_groups(digests["train"], [example.inner for example in found["train"]])
    parts = plan.complete(labels, groups, where=str(folder), class_names=class_names)
    if channels is None:
        channels = max(picture.pixels.shape[2] for picture, _ in read.values())
    return build_dataset(
        folder.resolve().name,
        {
            split: (np.stack([pictures[origin][i].with_channels(channels) for i in indices]), labels[origin][indices])
            for split, (origin, indices) in parts.items()
        },
        task="binary-class" if len(class_names) == 2 else "multi-class",
        class_names=class_names,
        positive_class=positive,
        licence="unknown",
        drawn=[split for split in parts if split not in labels],
        patients={split: [found[origin][i].inner for i in indices] for split, (origin, indices) in parts.items()},
        source=f"folder {folder.resolve().name}, {count} images {'cropped to their contour, then ' if crop else ''}"
        f"resized to {size}x{size}",
    )


def _split_folders(folder: Path) -> dict[SplitName, Path]:
    """Return the folders of the given splits; the folder itself as ``train`` where it holds the classes."""
    inner = _folders(folder)
    if not inner:
        raise DataError(f"{folder} holds no folders; expected one folder for each class, with images in it.")
    named = [path for path in inner if path.name.casefold() in SPLIT_FOLDERS]
    if not named:
        return {"train": folder}
    splits: dict[SplitName, Path] = {}
    for path in named:
        split = SPLIT_FOLDERS[path.name.casefold()]
        if split in splits:
            raise DataError(f"{folder} holds two folders for {split}: {splits[split].name}, {path.name}. Keep one.")
        splits[split] = path
    there = ", ".join(path.name for path in named)
    others = [path.name for path in inner if path not in named]
    if others:
        raise DataError(f"{folder} holds {there} and also {others[0]}; expected only splits, or only classes.")
    if "train" not in splits or "test" not in splits:
        raise DataError(f"{folder} holds {there}; expected at least train and test, or one folder for each class.")
    return {split: splits[split] for split in SPLITS if split in splits}


def _class_names(folder: Path, given: Mapping[SplitName, Path]) -> list[str]:
    """Return the names of the class folders, which must be the same in every split."""
    names = {split: [path.name for path in _folders(place)] for split, place in given.items()}
    classes = names["train"]
    for split, others in names.items():
        strange = sorted(set(others) ^ set(classes))
        if strange:
            raise DataError(
                f"{folder}: class {strange[0]!r} is in only one of train and {split}; expected the same class "
                "folders in both."
            )
    if len(classes) < 2:
        there = ", ".join(classes) or "none"
        raise DataError(f"{given['train']} holds {len(classes)} class folders ({there}); expected at least two.")
    return classes


def _folders(folder: Path) -> list[Path]:
    """Return the folders in a folder, hidden ones left out, by name."""
    try:
        inside = sorted(folder.iterdir())
    except OSError as error:
        raise DataError(f"{folder} cannot be read: {error.strerror or error}.") from error
    return [path for path in inside if path.is_dir() and not path.name.startswith((".", "__MACOSX"))]


def _examples(folder: Path, class_names: Iterable[str]) -> list[Example]:
    """Return the image files of every class, by path."""
    examples = []
    for label, name in enumerate(class_names):
        files = _image_files(folder / name)
        if not files:
            raise DataError(
                f"{folder / name} holds no images (PNG, JPEG, TIFF, BMP, …). Add some, or remove the folder."
            )
        _check_masks(files)
        for path in files:
            inner = path.parent.relative_to(folder / name)
            examples.append(Example(path, label, "" if inner == Path() else inner.as_posix()))
    return examples


def _image_files(folder: Path) -> list[Path]:
    """Return the image files in a folder and below, by path."""

    def unreadable(error: OSError) -> None:
        raise DataError(f"{error.filename} cannot be read: {error.strerror}.") from error

    files = []
    for place, folders, names in os.walk(folder, onerror=unreadable):
        folders[:] = [name for name in folders if not name.startswith((".", "__MACOSX"))]
        for name in names:
            path = Path(place) / name
            suffix = path.suffix.casefold() if not name.casefold().endswith(".nii.gz") else ".nii"
            if name.startswith("."):
                continue
            if suffix in FOREIGN_SUFFIXES:
                raise DataError(
                    f"{path} is of a kind that is not read here ({suffix}). Convert it to PNG, or move it away."
                )
            if suffix in IMAGE_SUFFIXES:
                files.append(path)
    return sorted(files)


def _check_masks(files: list[Path]) -> None:
    """Refuse segmentation masks that lie beside their images, as in the published folders of breast ultrasound."""
    stems = {path.with_suffix("") for path in files}
    for path in files:
        mask = re.fullmatch(r"(.+)_mask(_\d+)?", path.stem)
        if mask and path.with_name(mask[1]) in stems:
            raise DataError(
                f"{path} looks like the mask of {mask[1]}, and would be learnt as an image. Move the masks away."
            )


def _read(
    examples: list[Example], size: int, crop: ContourCrop | None, progress: Progress | None
) -> list[tuple[Picture, bytes]]:
    """Return every example decoded, cropped and resized, with the sha256 of its file."""
    read = []
    for done, example in enumerate(examples, start=1):
        content = read_image_bytes(example.path)
        read.append((decode_image(content, example.path, (size, size), crop), hashlib.sha256(content).digest()))
        if progress is not None:
            progress(done, len(examples))
    check_deep_pictures([picture for picture, _ in read], examples[0].path.parent)
    whole = [example.path for example, (picture, _) in zip(examples, read, strict=True) if picture.uncropped]
    if crop is not None and whole:
        warnings.warn(
            f"{len(whole)} of {len(examples)} images have no region brighter than {crop.threshold} that covers "
            f"{crop.least_area:.0%} of them, and are used whole; the first is {whole[0]}. Look at them, or lower "
            "data.crop_threshold.",
            DataWarning,
            stacklevel=2,
        )
    return read
