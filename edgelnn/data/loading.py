"""`load_dataset`: one call for every kind of data."""

from __future__ import annotations

from pathlib import Path

from edgelnn.contour_crop import ContourCrop
from edgelnn.data.arrays import load_npz
from edgelnn.data.catalogue import IDX_SETS, PHANTOMS, DatasetInfo, dataset_info, unknown_name
from edgelnn.data.checks import positive_index
from edgelnn.data.dataset import Dataset
from edgelnn.data.download import Progress
from edgelnn.data.folders import load_folder
from edgelnn.data.idx import is_idx_folder, load_idx
from edgelnn.data.medmnist_files import data_folders, load_medmnist, official_copy
from edgelnn.data.phantoms import load_phantoms
from edgelnn.data.splitting import SplitPlan
from edgelnn.errors import ConfigError, DataError

__all__ = ["load_dataset"]

IDX_FOLDERS = {
    "mnist": ("mnist", "MNIST", "MNIST/raw"),
    "fashionmnist": ("fashionmnist", "fashion-mnist", "fashion_mnist", "FashionMNIST", "FashionMNIST/raw"),
}
"""Where the files of an IDX set lie below the data folder: as people name it, and as torchvision leaves it."""


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
    crop: ContourCrop | None = None,
    download: bool = True,
    progress: Progress | None = None,
) -> Dataset:
    """Return a dataset: uint8 images and labels by split.

    Args:
        name: A dataset's name (`list_datasets`), or the path of an npz file, of a folder of IDX files, or of a folder
            with one folder of images for each class. A relative path is looked for here, then in the data folder.
        size: Side in pixels. MedMNIST: one of the published sizes. Class folders: what images are resized to. Arrays
            and
            IDX files: their height.
        root: The data folder: where named files are looked for first, and downloaded to. Left out: `EDGELNN_DATA`, then
            medmnist's own ``~/.medmnist``.
        channels: Class folders: 1 (grey) or 3 (RGB); left out: grey where every image is.
        positive_class: Name of the class that sensitivity and specificity speak of; left out: the disease, where the
            dataset has a single one, and none for your own data.
        validation: Share held out for val, where the data come without.
        test: Share held out for test, where the data come without.
        split_seed: Of that draw; for phantoms, of the images.
        difficulty: Of phantoms: 0 easy, 1 as hard as they get.
        crop: Class folders: how to cut images down before they are resized.
        download: Whether to download a MedMNIST file that is in no folder.
        progress: Called with what is done and what there is in all: bytes downloaded, or images read.

    Raises:
        ConfigError: An argument is not valid.
        DataError: The data are not there, damaged, or cannot be learnt from.
        MissingExtraError: A package for this kind of data is not installed.

    >>> load_dataset("phantoms").image_shape
    (28, 28, 1)
    """
    folder = None if root is None else Path(root).expanduser()
    plan = SplitPlan(validation, test, split_seed)
    info = dataset_info(name)
    if info is None:
        path = _path(name, folder)
        info = official_copy(path, size)
        if info is None:
            return _load_path(path, size, channels, positive_class, plan, progress, crop)
        folder = path.parent
    _refuse_crop(crop, name)
    if channels not in (None, info.channels):
        raise ConfigError(f"got channels={channels}; {name} has {info.channels}. Leave it out.")
    if info in IDX_SETS:
        return _named_idx(info, folder, size=size, positive_class=positive_class, plan=plan)
    positive = positive_index(positive_class, info.class_names, info.task, info.positive_class)
    if info is PHANTOMS:
        return load_phantoms(size=size, difficulty=difficulty, seed=split_seed, positive_class=positive)
    return load_medmnist(info, size=size, root=folder, positive_class=positive, download=download, progress=progress)


def _load_path(
    path: Path,
    size: int,
    channels: int | None,
    positive_class: str | None,
    plan: SplitPlan,
    progress: Progress | None,
    crop: ContourCrop | None,
) -> Dataset:
    """Return your own data, by what the path is."""
    if path.is_dir() and not is_idx_folder(path):
        return load_folder(
            path, size=size, channels=channels, positive_class=positive_class, plan=plan, progress=progress, crop=crop
        )
    _refuse_crop(crop, path)
    load = load_idx if path.is_dir() else load_npz
    dataset = load(path, size=size, positive_class=positive_class, plan=plan)
    if channels not in (None, dataset.image_shape[-1]):
        raise ConfigError(f"got channels={channels}; {path} has {dataset.image_shape[-1]}. Leave it out.")
    return dataset


def _refuse_crop(crop: ContourCrop | None, name: object) -> None:
    if crop is not None:
        raise ConfigError(f"got a contour crop for {name}; only class folders are cropped. Leave data.crop out.")


def _path(name: str, root: Path | None) -> Path:
    """Return the file or folder that a name stands for."""
    path = Path(name).expanduser()
    candidates = [path] if path.is_absolute() else [path, *(place / path for place in data_folders(root))]
    try:
        found = next((candidate for candidate in candidates if candidate.exists()), None)
    except (OSError, ValueError) as error:
        raise DataError(f"got dataset {name!r}, which cannot be a path: {error}.") from error
    if found is None:
        if len(path.parts) == 1 and not path.suffix:
            raise unknown_name(name)
        raise DataError(f"{name} does not exist (looked for {', '.join(map(str, candidates))}). Check the path.")
    if found.is_file() and found.suffix.casefold() != ".npz":
        raise DataError(
            f"{found} is a single file; expected an .npz file, or a folder with one folder of images for each class."
        )
    return found


def _named_idx(
    info: DatasetInfo, root: Path | None, *, size: int, positive_class: str | None, plan: SplitPlan
) -> Dataset:
    """Return MNIST or Fashion-MNIST from the folder that holds its files."""
    places = [folder / inner for folder in data_folders(root) for inner in IDX_FOLDERS[info.name]]
    found = next((place for place in places if place.is_dir() and is_idx_folder(place)), None)
    if found is None:
        raise DataError(
            f"{info.title} is not in {', '.join(map(str, data_folders(root)))}. Download its four .gz files into "
            f"a folder {info.name} there."
        )
    return load_idx(found, size=size, positive_class=positive_class, plan=plan, info=info)
