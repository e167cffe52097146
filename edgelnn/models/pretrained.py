"""Weights from elsewhere: what torchvision publishes for its backbones, found on this machine or downloaded."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from edgelnn.data.catalogue import OfficialFile
from edgelnn.data.download import Progress, download_file, is_official
from edgelnn.data.medmnist_files import data_folders
from edgelnn.errors import DataError
from edgelnn.models.backbone_facts import BACKBONES
from edgelnn.models.classifier import Classifier
from edgelnn.models.specification import BackboneStem, ModelSpec

__all__ = ["PretrainedWeights", "find_pretrained", "load_pretrained"]

SERVER: Final = "https://download.pytorch.org/models"


@dataclass(frozen=True)
class PretrainedWeights:
    """A file of weights, found and checked.

    Attributes:
        path: Where it is: a state dict of torchvision's whole classifier.
        sha256: Of its bytes.
    """

    path: Path
    sha256: str

    def describe(self) -> dict[str, str]:
        """Return what a run says of it."""
        return {"file": self.path.name, "sha256": self.sha256}


def find_pretrained(spec: ModelSpec, *, progress: Progress | None = None) -> PretrainedWeights | None:
    """Return the weights that a model wants to begin with; None where it wants none.

    They are looked for in the data folder (`EDGELNN_DATA`) and where torchvision keeps what it downloads, and
    downloaded to the first of these where they are in neither. `EDGELNN_WEIGHTS_URL` names another server than
    torchvision's. A file has to have the SHA-256 that its name ends in.

    Args:
        spec: The model.
        progress: Called with bytes done and bytes in all.

    Raises:
        DataError: They are not here and cannot be downloaded, or are other bytes than those that their name says.

    >>> find_pretrained(ModelSpec()) is None
    True
    """
    if not isinstance(spec.stem, BackboneStem) or not spec.stem.pretrained:
        return None
    given = spec.stem.pretrained
    name = given if isinstance(given, str) else BACKBONES[spec.stem.kind].weights
    digest = re.search(r"-([0-9a-f]{8,64})\.pth$", name)
    if digest is None:
        raise DataError(f"got stem.pretrained={name!r}; expected a name that ends in -HASH.pth, as torchvision's do.")
    server = os.environ.get("EDGELNN_WEIGHTS_URL", SERVER).rstrip("/")
    official = OfficialFile(name, f"{server}/{name}", sha256=digest[1])
    folders = (*data_folders(None), _torch_folder())
    path = next((folder / name for folder in folders if (folder / name).is_file()), None)
    if path is None:
        path = download_file(official, folders, progress=progress)
    try:
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}.") from error
    if not is_official(path, official):
        raise DataError(
            f"{path} is not what its name says (SHA-256 {found[:16]}…, expected {digest[1]}…): truncated, or changed. "
            "Delete it to have it downloaded again."
        )
    return PretrainedWeights(path, found)


def load_pretrained(classifier: Classifier, weights: PretrainedWeights) -> None:
    """Give a classifier's backbone its weights; nothing in the file is run.

    Args:
        classifier: Built from the specification that the weights were found for.
        weights: From `find_pretrained`.

    Raises:
        DataError: The file is no state dict.
        ConfigError: It is the state dict of another model.
    """
    from edgelnn.models.backbones import Backbone

    for part in classifier.stem:
        if isinstance(part, Backbone):
            part.load_published(_read(weights.path))


def _read(path: Path) -> Mapping[str, Any]:
    """Return the state dict in a file of torch's."""
    import pickle
    import warnings

    import torch

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch's, about pickles of other protocols, which it then refuses or reads
            state = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, ValueError, pickle.UnpicklingError) as error:
        reason = " ".join(str(error).split())[:200]
        raise DataError(f"{path} cannot be read as a state dict of torch: {reason}") from error
    if not isinstance(state, Mapping) or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise DataError(f"{path} holds no state dict: expected tensors by name.")
    return state


def _torch_folder() -> Path:
    """Return where torchvision keeps what it downloads."""
    import torch

    return Path(torch.hub.get_dir()) / "checkpoints"
