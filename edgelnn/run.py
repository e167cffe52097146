"""Run: the folder a training leaves.

experiment.toml          what was trained, every field written out
weights.safetensors      the classifier's state at the epoch kept
metrics.json             figures of merit on the validation and the test split, and which epoch was kept
history.csv              one row an epoch
environment.json         versions, seeds, threads, machine, data digest, split, augmentation with its parameters
figures/                 curves, ROC, confusion matrix, sample images, wiring
checkpoint.safetensors   until the training is finished
"""

from __future__ import annotations

import hashlib
import json
import shlex
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgelnn.errors import ConfigError, DataError, EdgelnnError, RunFolderError

if TYPE_CHECKING:
    from edgelnn.data.dataset import Dataset, SplitName, Task
    from edgelnn.models import Classifier
    from edgelnn.preprocessing import Preprocessing
    from edgelnn.training.experiment import Experiment
    from edgelnn.training.history import EpochRecord
    from edgelnn.training.metrics import Metrics

__all__ = [
    "ENVIRONMENT",
    "EXPERIMENT",
    "FIGURES",
    "FORMAT_VERSION",
    "HISTORY",
    "JUDGED",
    "METRICS",
    "WEIGHTS",
    "Run",
]

FORMAT_VERSION = 1
EXPERIMENT = "experiment.toml"
WEIGHTS = "weights.safetensors"
METRICS = "metrics.json"
HISTORY = "history.csv"
ENVIRONMENT = "environment.json"
FIGURES = "figures"
JUDGED: tuple[SplitName, ...] = ("val", "test")


@dataclass(frozen=True)
class Run:
    """A finished training.

    Attributes:
        folder: Where it is.
        experiment: What was trained.
        metrics: By split: ``val`` and ``test``; empty where weights were imported without the data being there.
        best_epoch: The epoch whose weights were kept, from 1; 0 where they were imported.
        environment: Contents of ``environment.json``.
    """

    folder: Path
    experiment: Experiment
    metrics: Mapping[SplitName, Metrics]
    best_epoch: int
    environment: Mapping[str, Any]

    @classmethod
    def load(cls, folder: Path | str) -> Run:
        """Return the run in a folder.

        Raises:
            RunFolderError: The folder is missing, unfinished, damaged, not a run, or of a newer version.
        """
        from edgelnn.training.checkpoint import CHECKPOINT
        from edgelnn.training.metrics import Metrics

        folder = Path(folder)
        environment = read_environment(folder)
        experiment = read_experiment(folder, environment)
        if (folder / CHECKPOINT).exists() or not (folder / METRICS).exists():
            raise RunFolderError(
                f"{folder} holds a training that is not finished. Continue it: "
                f"edgelnn train --resume --out {shlex.quote(str(folder))}"
            )
        written = _read_json(folder / METRICS)
        try:
            metrics: dict[SplitName, Metrics] = {
                split: Metrics.from_dict(written[split])
                for split in JUDGED
                if split in written or "imported" not in environment
            }
            best_epoch = int(written["best_epoch"])
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise RunFolderError(f"{folder / METRICS} is damaged ({error!r}). Train again.") from error
        return cls(folder, experiment, metrics, best_epoch, environment)

    @property
    def history(self) -> tuple[EpochRecord, ...]:
        """One record an epoch."""
        from edgelnn.training.history import parse_history

        try:
            return parse_history((self.folder / HISTORY).read_text("utf-8"))
        except OSError as error:
            raise RunFolderError(f"cannot read {self.folder / HISTORY}: {error.strerror}.") from error

    @property
    def task(self) -> Task:
        """MedMNIST's name of the task."""
        task: Task = self._data("task")
        return task

    @property
    def class_names(self) -> tuple[str, ...]:
        """One per class, or per label."""
        return tuple(self._data("class_names"))

    @property
    def positive_class(self) -> int | None:
        """Index of the disease, None where there is none."""
        index: int | None = self._data("positive_class")
        return index

    @property
    def image_shape(self) -> tuple[int, ...]:
        """(h, w, c), or (d, h, w, c) for volumes."""
        return tuple(self._data("image_shape"))

    @property
    def threshold(self) -> float:
        """On the probability of the positive class (binary), or of each label; without effect on other tasks.

        Raises:
            RunFolderError: It was to be chosen on data that were not there when the weights were imported.
        """
        asked = self.experiment.training.threshold
        chosen = self.metrics["val"].threshold if "val" in self.metrics else asked
        if isinstance(chosen, float | None):
            return 0.5 if chosen is None else chosen
        raise RunFolderError(
            f"{self.folder} has no decision threshold: it is to be chosen on validation, and the weights were "
            "imported without data. Import them again with the data, or with --set training.threshold=0.5."
        )

    @property
    def synthetic(self) -> bool:
        """Whether it was trained on synthetic images."""
        return bool(self._data("synthetic"))

    @property
    def preprocessing(self) -> Preprocessing:
        """From uint8 pixels to the classifier's input.

        Raises:
            RunFolderError: Its numbers are not there.
        """
        from edgelnn.decode import DecodeError, decode, encode
        from edgelnn.preprocessing import Preprocessing

        written, data = self.environment.get("preprocessing"), self.experiment.data
        if written is None and data.normalization == "fixed":  # written by an earlier version, or imported without data
            crop = None if data.contour_crop is None else asdict(data.contour_crop)
            written = {"image_shape": list(self.image_shape), "mean": data.mean, "std": data.std, "crop": crop}
        if written is None:
            raise RunFolderError(
                f"{self.folder} does not say how pixels are normalized: its weights were imported without the data "
                "whose mean and standard deviation they are. Import them again with the data."
            )
        try:
            # Fields that an earlier version did not know had then the values they have by default.
            known: Any = encode(Preprocessing(self.image_shape))
            return decode(Preprocessing, {**known, **written}, "preprocessing")
        except (DecodeError, DataError) as error:
            raise RunFolderError(f"{self.folder / ENVIRONMENT} is damaged: {error}. Copy it again.") from error

    def load_classifier(self) -> Classifier:
        """Return the trained classifier, in evaluation mode on the CPU.

        Raises:
            RunFolderError: The weights are missing, damaged or of another model.
        """
        from edgelnn.models import build_classifier
        from edgelnn.training.checkpoint import load_tensors

        path = self.folder / WEIGHTS
        tensors, _ = load_tensors(path)
        classifier = build_classifier(
            self.experiment.model,
            image_shape=self.image_shape,
            task=self.task,
            classes=len(self.class_names),
            seed=self.experiment.training.seed,
        )
        try:
            classifier.load_state_dict(tensors)
        except (RuntimeError, EdgelnnError) as error:
            reason = " ".join(str(error).split())
            raise RunFolderError(
                f"{path} does not fit the model that {EXPERIMENT} describes: {reason[:300]}. Copy the whole run again."
            ) from error
        return classifier.eval()

    def load_dataset(self, root: Path | str | None = None) -> Dataset:
        """Return the data the run was trained on.

        Args:
            root: Where to look for it; the experiment's own place where left out.

        Raises:
            DataError: It cannot be found, or it is not the same any more.
        """
        from edgelnn.training.loading import load_experiment_dataset

        data = self.experiment.data
        if root is not None:
            data = data.model_copy(update={"root": str(root)})
        dataset = load_experiment_dataset(data)
        if self._data("digest") not in (None, dataset.digest):  # None: imported where the data were not
            raise DataError(
                f"{dataset.name} from {dataset.source} is not the data that {self.folder} was trained on: its digest "
                f"is {dataset.digest[:12]}, the run's {self._data('digest')[:12]}. Restore the data, or train again."
            )
        return dataset

    def _data(self, name: str) -> Any:
        """Return one fact of the data."""
        try:
            return self.environment["data"][name]
        except (KeyError, TypeError) as error:
            raise RunFolderError(f"{self.folder / ENVIRONMENT} is damaged: no data.{name}. Copy it again.") from error


def read_environment(folder: Path) -> dict[str, Any]:
    """Return a run folder's ``environment.json``, after a look at whether the folder is a run at all.

    Raises:
        RunFolderError: It is missing, damaged, not a run, or of a newer version.
    """
    if not folder.exists():
        raise RunFolderError(f"{folder} does not exist. Expected the folder of a run: edgelnn train makes one.")
    if not folder.is_dir():
        raise RunFolderError(f"{folder} is a file. Expected the folder of a run: edgelnn train makes one.")
    for name in (EXPERIMENT, ENVIRONMENT):
        if not (folder / name).is_file():
            hint = " It looks like a bundle." if (folder / "manifest.json").exists() else ""
            raise RunFolderError(f"{folder} is not a run: it holds no {name}.{hint} edgelnn train makes runs.")
    environment = _read_json(folder / ENVIRONMENT)
    version = environment.get("format_version")
    if not isinstance(version, int) or version > FORMAT_VERSION:
        raise RunFolderError(
            f"{folder} has format_version {version}; this edgelnn reads {FORMAT_VERSION}. "
            "Update it: pip install --upgrade edgelnn"
        )
    return environment


def read_experiment(folder: Path, environment: Mapping[str, Any]) -> Experiment:
    """Return the experiment in a run's folder.

    Args:
        folder: The run's.
        environment: Contents of its ``environment.json``, which hold the digest of the experiment's file.

    Raises:
        RunFolderError: It is not as the training wrote it.
    """
    from edgelnn.training.loading import load_experiment

    path = folder / EXPERIMENT
    if hashlib.sha256(path.read_bytes()).hexdigest() != environment.get("experiment_sha256"):
        raise RunFolderError(
            f"{path} is not as the training wrote it: it was edited, or cut off in copying. Copy the run again; to "
            f"train a variation, use a copy of the file: edgelnn train COPY.toml"
        )
    try:
        return load_experiment(path)
    except ConfigError as error:
        first = str(error).splitlines()[0]
        raise RunFolderError(
            f"this version of edgelnn cannot read the run: {first} Use the one that wrote it."
        ) from error


def _read_json(path: Path) -> dict[str, Any]:
    """Return the table in a JSON file, or raise `RunFolderError`."""
    try:
        values = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise RunFolderError(f"cannot read {path}: it is damaged or not JSON ({error}). Copy the run again.") from error
    if not isinstance(values, dict):
        raise RunFolderError(f"{path} is damaged: expected a table. Copy the run again.")
    return values
