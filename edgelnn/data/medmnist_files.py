"""MedMNIST from its official npz files: found in the folders where they are kept, or downloaded."""

from __future__ import annotations

import os
from pathlib import Path

from edgelnn.array_files import as_pixels, read_npz
from edgelnn.data.catalogue import DatasetInfo, OfficialFile, list_datasets, medmnist_folder
from edgelnn.data.checks import build_dataset, with_channels
from edgelnn.data.dataset import SPLITS, Dataset
from edgelnn.data.download import Progress, download_file, md5_of
from edgelnn.errors import ConfigError, DataError

__all__ = ["data_folders", "load_medmnist", "official_copy"]


def load_medmnist(
    info: DatasetInfo,
    *,
    size: int,
    root: Path | None,
    positive_class: int | None,
    download: bool,
    progress: Progress | None,
) -> Dataset:
    """Return a MedMNIST dataset from its official file.

    Args:
        info: Which dataset.
        size: Side in pixels; one of those published.
        root: Folder to look in first and to download to.
        positive_class: Index of the class that sensitivity speaks of.
        download: Whether to download the file where no folder has it.
        progress: Called with bytes done and bytes in all while downloading.

    Raises:
        ConfigError: The dataset is not published in that size.
        DataError: The file is not there and cannot be had, or is not the official one.
    """
    if size not in info.files:
        raise ConfigError(
            f"got size={size}; {info.name} comes in {', '.join(map(str, info.sizes))}. "
            f"Pass --set data.size={info.sizes[0]}."
        )
    official = info.files[size]
    path = find_official(official, root)
    if path is None:
        if not download:
            raise DataError(f"{official.name} is in none of {_places(root)}. Download it from {official.url}.")
        path = download_file(official, data_folders(root), progress=progress)
    keys = [f"{split}_{part}" for split in SPLITS for part in ("images", "labels")]
    arrays = read_npz(path, keys, trusted=True)
    missing = [key for key in keys if key not in arrays]
    if missing:
        raise DataError(f"{path} lacks {', '.join(missing)}.")
    return build_dataset(
        info.name,
        {
            split: (
                with_channels(
                    as_pixels(arrays[f"{split}_images"], f"{path}, {split}_images"), str(path), is_volume=info.is_volume
                ),
                arrays[f"{split}_labels"],
            )
            for split in SPLITS
        },
        task=info.task,
        class_names=info.class_names,
        positive_class=positive_class,
        licence=info.licence,
        source=official.url,
    )


def data_folders(root: Path | None) -> tuple[Path, ...]:
    """Return the folders where named datasets are looked for, in order; the first is the one to download to."""
    environment = os.environ.get("EDGELNN_DATA")
    given = (root, Path(environment).expanduser() if environment else None, medmnist_folder())
    return tuple(dict.fromkeys(folder for folder in given if folder is not None))


def find_official(official: OfficialFile, root: Path | None) -> Path | None:
    """Return where the file is, its MD5 sum checked; None where no folder has it.

    Raises:
        DataError: A folder has a file of that name that is another one, or cannot be read.
    """
    for folder in data_folders(root):
        path = folder / official.name
        try:
            if not path.exists():
                continue
            if not path.is_file():
                raise DataError(f"{path} is not a file; expected the official {official.name}.")
        except OSError as error:
            raise DataError(f"{path} cannot be read: {error.strerror or error}.") from error
        md5 = _md5(path)
        if md5 != official.md5:
            raise DataError(
                f"{path} is not the official file (MD5 {md5}, expected {official.md5}): truncated, or changed. "
                "Delete it to have it downloaded again; if it is your own data, give its path in place of the name."
            )
        return path
    return None


def official_copy(path: Path, size: int) -> DatasetInfo | None:
    """Return the MedMNIST set whose official file, in this size, the path is; None where it is none.

    So a path to the official file means the same as the dataset's name, with its classes and its disease.
    """
    for info in list_datasets() if path.suffix == ".npz" else ():
        official = info.files.get(size)
        if official is not None and official.name == path.name and _md5(path) == official.md5:
            return info
    return None


def _places(root: Path | None) -> str:
    return ", ".join(str(folder) for folder in data_folders(root))


def _md5(path: Path) -> str:
    try:
        return md5_of(path)
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}.") from error
