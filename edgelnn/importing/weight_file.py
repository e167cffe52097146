"""Files of weights from elsewhere: a state dict and nothing else, read without running anything in them.

Of ``torch.save`` only the zip form is read (torch 1.6, 2020, and later), through ``weights_only=True`` and memory
mapping: without the latter torch believes what such a file says of the size of a tensor, and reads beyond its end.
"""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from edgelnn.errors import ModelFileError

__all__ = ["WeightFile", "read_weight_file"]

WRAPPERS = ("state_dict", "model_state_dict")
"""Under which training scripts keep the state dict where they save more than that."""

HOW = "Save it as torch.save(model.state_dict(), FILE), or with safetensors."


@dataclass(frozen=True)
class WeightFile:
    """A state dict from elsewhere.

    Attributes:
        path: Of the file.
        format: ``torch`` or ``safetensors``.
        inside: The entry of the file that holds the state dict; empty where the file is nothing else.
        tensors: By their names in the file, as they are there; they may be views of the file.
        size_bytes: Of the file.
        sha256: Of the file, in hex.
    """

    path: Path
    format: Literal["torch", "safetensors"]
    inside: str
    tensors: Mapping[str, Tensor]
    size_bytes: int
    sha256: str


def read_weight_file(path: Path | str) -> WeightFile:
    """Return the state dict in a file of ``torch.save`` or safetensors; what it is, its first bytes say.

    Raises:
        ModelFileError: It is missing, damaged, of another format, or holds more than tensors by name.
    """
    path = Path(path)
    if not path.is_file():
        what = "is a folder" if path.is_dir() else "does not exist"
        raise ModelFileError(f"{path} {what}; expected a file with a state dict: .pt, .pth or .safetensors.")
    try:
        with path.open("rb") as file:
            head = file.read(9)
            digest = hashlib.file_digest(file, "sha256") if file.seek(0) == 0 else None
    except OSError as error:
        raise ModelFileError(f"cannot read {path}: {error.strerror}.") from error
    assert digest is not None  # a file that was just opened can be rewound
    inside = ""
    kind: Literal["torch", "safetensors"] = "torch"
    if head[:4] == b"PK\x03\x04":
        content, inside = _state_dict(_read_torch(path), path)
    elif head[8:] == b"{":
        kind, content = "safetensors", _read_safetensors(path)
    elif head[:1] == b"\x80":
        raise ModelFileError(
            f"{path} is a bare pickle, as torch wrote before version 1.6: it can run code, so it is not read. {HOW}"
        )
    else:
        raise ModelFileError(f"{path} is neither a file of torch.save nor safetensors (or it is cut off). {HOW}")
    if not content:
        raise ModelFileError(f"{path} holds no tensors. {HOW}")
    return WeightFile(path, kind, inside, content, path.stat().st_size, digest.hexdigest())


def _read_torch(path: Path) -> Any:
    """Return what ``torch.save`` wrote: tensors and plain containers of them, or `ModelFileError`."""
    try:
        with zipfile.ZipFile(path) as archive:
            squeezed = [entry.filename for entry in archive.infolist() if entry.compress_type != zipfile.ZIP_STORED]
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        raise ModelFileError(f"{path} is cut off or damaged: {_short(error)}. Copy it again.") from error
    if squeezed:
        raise ModelFileError(f"{path} was not written by torch.save: its part {squeezed[0]} is compressed. {HOW}")
    try:
        return torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except Exception as error:  # a damaged or hostile pickle can raise anything; nothing of it has been run
        text = str(error)
        if "Unsupported global" in text or "weights_only" in text.lower():
            name = text.partition("GLOBAL ")[2].split(" ")[0] or "Python objects"
            raise ModelFileError(
                f"{path} holds more than tensors ({name}): unpickling that could run code, so it is not read. {HOW}"
            ) from error
        raise ModelFileError(f"{path} is cut off or damaged: {_short(error)}. Copy it again.") from error


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    """Return the tensors of a safetensors file, or `ModelFileError`."""
    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}
    except (SafetensorError, OSError, ValueError, AttributeError) as error:  # the last: a type that torch has not
        raise ModelFileError(f"{path} is cut off or damaged, or not safetensors: {_short(error)}.") from error


def _state_dict(content: Any, path: Path) -> tuple[dict[str, Tensor], str]:
    """Return the tensors by name in what a file holds, and the entry they were found under."""
    inside = ""
    if isinstance(content, Mapping):
        inside = next((name for name in WRAPPERS if isinstance(content.get(name), Mapping)), "")
        content = content[inside] if inside else content
    if not isinstance(content, Mapping):
        raise ModelFileError(f"{path} holds a {type(content).__name__}; expected a state dict. {HOW}")
    for name, tensor in content.items():
        if not isinstance(name, str) or not isinstance(tensor, Tensor):
            raise ModelFileError(
                f"{path} is no state dict: its entry {str(name)[:60]!r} is a {type(tensor).__name__}, not a tensor. "
                f"{HOW}"
            )
        if tensor.layout != torch.strided or tensor.device.type != "cpu" or tensor.is_quantized:
            raise ModelFileError(f"{path}: {name[:60]} is a sparse or quantized tensor; expected plain ones. {HOW}")
    return dict(content), inside


def _short(error: Exception) -> str:
    """Return the first line of an error, cut short."""
    line = (str(error).strip() or type(error).__name__).splitlines()[0]
    return line.rstrip(".") if len(line) <= 160 else f"{line[:157]}…"
