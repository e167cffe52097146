"""Bundle: the folder an export leaves; what a board needs and nothing else.

Imports the standard library, numpy and edgelnn's light modules only.

    manifest.json   everything about the model and each of its files (`Manifest`)
    golden.npz      images (n, [d,] h, w, c) uint8 and probabilities (n, outputs) float32: what every file must answer
    *.onnx *.tflite one file per variant
    predict.py      runs the recommended variant with numpy and one runtime, nothing of ours
    README.md       for whoever finds the folder later
"""

from __future__ import annotations

import hashlib
import os
import stat
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgelnn.errors import BundleError, DataError
from edgelnn.golden_file import read_golden
from edgelnn.manifest import FORMAT_VERSION as FORMAT_VERSION
from edgelnn.manifest import Golden as Golden
from edgelnn.manifest import Manifest as Manifest
from edgelnn.manifest import ModelFacts as ModelFacts
from edgelnn.manifest import ModelFormat as ModelFormat
from edgelnn.manifest import Rejected as Rejected
from edgelnn.manifest import Tensor as Tensor
from edgelnn.manifest import Variant as Variant

__all__ = [
    "FORMAT_VERSION",
    "MANIFEST_FILE",
    "Bundle",
    "Golden",
    "Manifest",
    "ModelFacts",
    "ModelFormat",
    "Rejected",
    "Tensor",
    "Variant",
]

MANIFEST_FILE = "manifest.json"
_MOST_MANIFEST_BYTES = 4 * 2**20


@dataclass(frozen=True)
class Bundle:
    """A bundle folder and its manifest."""

    folder: Path
    manifest: Manifest

    @classmethod
    def load(cls, folder: Path | str) -> Bundle:
        """Return the bundle in a folder after checking the manifest and the size and digest of every file it names.

        Files must be regular files in the folder itself: links are refused, so that nothing outside the folder is read.

        Raises:
            BundleError: There is no such folder, it is not a bundle, or something in it is not as the manifest says.
        """
        folder = Path(folder)
        if not folder.is_dir():
            raise BundleError(f"got {folder}; expected the folder of a bundle, as `edgelnn export` writes it.")
        text = _read(folder, MANIFEST_FILE, limit_bytes=_MOST_MANIFEST_BYTES)
        try:
            manifest = Manifest.from_json(text)
        except BundleError as error:
            raise BundleError(f"{folder}: {error}") from error
        files = [(each.file, each.size_bytes, each.sha256) for each in manifest.variants]
        for file, size_bytes, sha256 in [
            *files,
            (manifest.golden.file, manifest.golden.size_bytes, manifest.golden.sha256),
        ]:
            if hashlib.sha256(_read(folder, file, size_bytes=size_bytes)).hexdigest() != sha256:
                raise BundleError(f"{folder / file} is not the file that the manifest describes: another sha256.")
        return cls(folder, manifest)

    def variant(self, name: str | None = None) -> Variant:
        """Return a variant by name; the recommended one where no name is given.

        Raises:
            BundleError: There is none of that name.
        """
        name = self.manifest.recommended if name is None else name
        for variant in self.manifest.variants:
            if variant.name == name:
                return variant
        known = ", ".join(variant.name for variant in self.manifest.variants)
        raise BundleError(f"got variant {name!r}; {self.folder} has {known}.")

    def path(self, variant: Variant) -> Path:
        """Return the path of a variant's model file."""
        return self.folder / variant.file

    def golden(self) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
        """Return inputs and what every variant must answer to them.

        Returns:
            Images (n, [d,] h, w, c) uint8, and the PyTorch model's probabilities (n, outputs) float32.

        Raises:
            BundleError: ``golden.npz`` is not as the manifest says.
        """
        facts, manifest = self.manifest.golden, self.manifest
        try:
            return read_golden(
                self.folder / facts.file,
                images=facts.images,
                image_shape=manifest.preprocessing.image_shape,
                outputs=manifest.outputs,
            )
        except DataError as error:
            raise BundleError(str(error)) from error


def _read(folder: Path, name: str, *, size_bytes: int | None = None, limit_bytes: int = 2**31) -> bytes:
    """Return the bytes of a regular file of the folder, never following a link nor waiting on a pipe."""
    path = folder / name
    flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    try:
        if path.is_symlink():
            raise BundleError(f"{path} is a link; a bundle holds its files itself. Copy the file into the folder.")
        descriptor = os.open(path, flags)
        with os.fdopen(descriptor, "rb") as stream:
            status = os.fstat(stream.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise BundleError(f"{path} is not a regular file.")
            if size_bytes is not None and status.st_size != size_bytes:
                raise BundleError(
                    f"{path} has {status.st_size:,} bytes; the manifest says {size_bytes:,}. Export again."
                )
            if status.st_size > limit_bytes:
                raise BundleError(f"{path} has {status.st_size:,} bytes; expected at most {limit_bytes:,}.")
            return stream.read()
    except FileNotFoundError as error:
        hint = "is this the folder of a bundle?" if name == MANIFEST_FILE else "the manifest names it. Export again."
        raise BundleError(f"{path} is missing; {hint}") from error
    except OSError as error:
        raise BundleError(f"{path} cannot be read: {error.strerror or error}.") from error
