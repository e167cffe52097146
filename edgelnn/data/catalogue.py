"""Facts about every dataset that has a name: tasks, classes, sizes, licences, and which class is the disease."""

from __future__ import annotations

import importlib.util
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any, cast

from edgelnn.data.dataset import SplitName, Task
from edgelnn.errors import ConfigError, MissingExtraError

__all__ = ["DatasetInfo", "OfficialFile", "dataset_info", "list_datasets", "medmnist_folder"]

POSITIVE_CLASSES: Mapping[str, str] = {
    "breastmnist": "malignant",
    "pneumoniamnist": "pneumonia",
    "nodulemnist3d": "malignant",
    "adrenalmnist3d": "hyperplasia",
    "vesselmnist3d": "aneurysm",
}
"""The disease, where a MedMNIST set has a single one. SynapseMNIST3D is binary, but neither class is a disease."""

DIGITS = tuple(str(digit) for digit in range(10))
CLOTHES = ("T-shirt/top", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot")


@dataclass(frozen=True)
class OfficialFile:
    """A published file.

    Attributes:
        name: Of the file.
        url: Where it is published.
        md5: Its MD5 sum in hex; empty where `sha256` is given.
        sha256: What its SHA-256 in hex begins with; empty where `md5` is given.
    """

    name: str
    url: str
    md5: str = ""
    sha256: str = ""

    @property
    def checksum(self) -> str:
        """The sum it has to have, in words."""
        return f"MD5 {self.md5}" if self.md5 else f"SHA-256 {self.sha256}…"


@dataclass(frozen=True)
class DatasetInfo:
    """What is known about a named dataset without loading it.

    Attributes:
        name: What `load_dataset` takes.
        title: As its authors write it.
        task: MedMNIST's name of the task.
        class_names: One per class (per label where the task is multi-label), in the order of the codes.
        positive_class: Index of the disease, None where there is no single one.
        sizes: Sides in pixels it can be had in.
        is_volume: Whether one example is a volume.
        channels: 1 or 3.
        licence: In words.
        splits: Number of examples by split; empty where that depends on the files found.
        synthetic: Made by a generator.
        files: The published file by size, for MedMNIST.
    """

    name: str
    title: str
    task: Task
    class_names: tuple[str, ...]
    positive_class: int | None
    sizes: tuple[int, ...]
    is_volume: bool
    channels: int
    licence: str
    splits: Mapping[SplitName, int]
    synthetic: bool = False
    files: Mapping[int, OfficialFile] = field(default_factory=dict)

    @property
    def classes(self) -> int:
        """Number of classes, or of labels where the task is multi-label."""
        return len(self.class_names)


PHANTOMS = DatasetInfo(
    name="phantoms",
    title="Phantoms (synthetic breast ultrasound, built in)",
    task="binary-class",
    class_names=("malignant", "normal, benign"),
    positive_class=0,
    sizes=(28, 64, 128, 224),
    is_volume=False,
    channels=1,
    licence="synthetic images made by edgelnn; no rights reserved",
    splits={"train": 546, "val": 78, "test": 156},
    synthetic=True,
)

IDX_SETS = tuple(
    DatasetInfo(name, title, "multi-class", names, None, (28,), False, 1, licence, {})
    for name, title, names, licence in (
        ("mnist", "MNIST (IDX files in a folder)", DIGITS, "unknown"),
        ("fashionmnist", "Fashion-MNIST (IDX files in a folder)", CLOTHES, "MIT"),
    )
)


def list_datasets() -> tuple[DatasetInfo, ...]:
    """Return every dataset that has a name: phantoms, MedMNIST 2D and 3D, and the IDX sets.

    Raises:
        MissingExtraError: medmnist is not installed.
    """
    return (PHANTOMS, *_medmnist_sets().values(), *IDX_SETS)


def dataset_info(name: str) -> DatasetInfo | None:
    """Return what is known about a named dataset, or None where no dataset has the name.

    >>> dataset_info("phantoms").class_names
    ('malignant', 'normal, benign')
    """
    for info in (PHANTOMS, *IDX_SETS):
        if info.name == name:
            return info
    if Path(name).name != name or Path(name).suffix:
        return None
    return _medmnist_sets().get(name)


def unknown_name(name: str) -> ConfigError:
    """Return the error for a name that is neither a dataset nor a path, with the nearest names."""
    known = [info.name for info in list_datasets()]
    near = get_close_matches(name.lower(), known, n=3) or known
    return ConfigError(
        f"got dataset {name!r}, which is neither a dataset nor an existing file or folder; "
        f"did you mean {', '.join(near)}? See `edgelnn datasets`."
    )


def medmnist_folder() -> Path:
    """Return the folder where medmnist itself keeps its files."""
    return Path.home() / ".medmnist"


@cache
def _medmnist_sets() -> dict[str, DatasetInfo]:
    return {flag: _from_medmnist(flag, facts) for flag, facts in _medmnist_facts().INFO.items()}


def _from_medmnist(flag: str, facts: Mapping[str, Any]) -> DatasetInfo:
    names = tuple(facts["label"][str(code)] for code in range(len(facts["label"])))
    task = "multi-label" if facts["task"].startswith("multi-label") else facts["task"]
    suffixes = {int(key.removeprefix("MD5_") if "_" in key else 28): key for key in facts if key.startswith("MD5")}
    files = {
        size: OfficialFile(
            name=f"{flag}.npz" if size == 28 else f"{flag}_{size}.npz",
            url=facts[key.replace("MD5", "url")],
            md5=facts[key],
        )
        for size, key in sorted(suffixes.items())
    }
    disease = POSITIVE_CLASSES.get(flag)
    return DatasetInfo(
        name=flag,
        title=facts["python_class"],
        task=cast(Task, task),
        class_names=names,
        positive_class=None if disease is None else names.index(disease),
        sizes=tuple(files),
        is_volume=flag.endswith("3d"),
        channels=facts["n_channels"],
        licence=facts["license"],
        splits=dict(facts["n_samples"]),
        files=files,
    )


def _medmnist_facts() -> ModuleType:
    """Return medmnist's table of facts.

    The package itself is not imported: it wants torchvision, and prints where that is missing.
    """
    package = importlib.util.find_spec("medmnist")
    if package is None or not package.submodule_search_locations:
        raise MissingExtraError("MedMNIST", "medmnist", "train")
    place = Path(package.submodule_search_locations[0]) / "info.py"
    spec = importlib.util.spec_from_file_location("edgelnn_medmnist_facts", place)
    if spec is None or spec.loader is None:
        raise MissingExtraError("MedMNIST", "medmnist", "train")
    module = importlib.util.module_from_spec(spec)
    with warnings.catch_warnings():
        # It tries to make ~/.medmnist, and warns where the home folder cannot be written.
        warnings.filterwarnings("ignore", message="Failed to setup default root", category=UserWarning)
        spec.loader.exec_module(module)
    return module
