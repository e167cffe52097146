"""What a path on the command line is: a run, a bundle, a model file or a report."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from edgelnn.errors import ConfigError

__all__ = ["Kind", "bundle_around", "kind_of"]

Kind = Literal["run", "bundle", "model", "report"]
WORDS: dict[Kind, str] = {
    "run": "the folder of a run",
    "bundle": "the folder of a bundle",
    "model": "an .onnx or .tflite file",
    "report": "a .json report of `edgelnn profile --json`",
}


def kind_of(path: Path, *allowed: Kind) -> Kind:
    """Return what lies at a path, judged by names alone; whoever loads it checks the contents.

    Args:
        path: As typed.
        allowed: The kinds that the command takes.

    Raises:
        ConfigError: There is nothing there, or it is of another kind.
    """
    *others, last = (WORDS[kind] for kind in allowed)
    wanted = f"{', '.join(others)} or {last}" if others else last
    if not path.exists():
        raise ConfigError(f"got {path}, which does not exist; expected {wanted}.")
    kind = _kind(path)
    if kind is None:
        what = "a folder with neither experiment.toml nor manifest.json in it" if path.is_dir() else "some other file"
        raise ConfigError(f"got {path}, {what}; expected {wanted}.")
    if kind not in allowed:
        raise ConfigError(f"got {path}, {WORDS[kind]}; expected {wanted}.")
    return kind


def bundle_around(model: Path) -> Path | None:
    """Return the folder of the bundle that a model file lies in, None where it lies in none.

    A file of a bundle then gets the preprocessing and the names of classes that its manifest gives it.
    """
    folder = model.resolve().parent
    return folder if (folder / "manifest.json").is_file() else None


def _kind(path: Path) -> Kind | None:
    if path.is_dir():
        if (path / "manifest.json").exists():
            return "bundle"
        return "run" if (path / "experiment.toml").exists() else None
    by_suffix: dict[str, Kind] = {".onnx": "model", ".tflite": "model", ".json": "report"}
    return by_suffix.get(path.suffix.lower())
