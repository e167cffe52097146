"""Which package serves which purpose, and the command that installs what is missing."""

from __future__ import annotations

import platform
import sys
from dataclasses import dataclass

__all__ = ["PACKAGES", "PURPOSES", "Package", "Standing", "look_up", "package_of_module", "runtime_for_tflite"]

PURPOSES = {
    "": "the bare install: look at bundles, profile and predict with a runtime",
    "onnx": "run .onnx files",
    "tflite": "run .tflite files",
    "train": "train, evaluate runs, load datasets",
    "export": "write .onnx and .tflite files, quantize",
}


@dataclass(frozen=True)
class Package:
    """One requirement.

    Attributes:
        name: As pip knows it.
        module: As Python imports it.
        minimum: Oldest version that will do.
        extra: The extra of edgelnn that brings it; empty for the bare install.
    """

    name: str
    module: str
    minimum: str
    extra: str = ""


PACKAGES = (
    Package("numpy", "numpy", "1.24"),
    Package("pillow", "PIL", "9.4"),
    Package("rich", "rich", "13.0"),
    Package("typer", "typer", "0.12"),
    Package("onnxruntime", "onnxruntime", "1.19.2", "onnx"),
    Package("ai-edge-litert", "ai_edge_litert", "2.0", "tflite"),
    Package("tflite-runtime", "tflite_runtime", "2.14", "tflite"),
    Package("joblib", "joblib", "1.3", "train"),
    Package("kornia", "kornia", "0.8", "train"),
    Package("matplotlib", "matplotlib", "3.8", "train"),
    Package("medmnist", "medmnist", "3.0.2", "train"),
    Package("ncps", "ncps", "1.0.1", "train"),
    Package("requests", "requests", "2.31", "train"),
    Package("pydantic", "pydantic", "2.7", "train"),
    Package("safetensors", "safetensors", "0.4.3", "train"),
    Package("scikit-learn", "sklearn", "1.4", "train"),
    Package("tomli-w", "tomli_w", "1.0", "train"),
    Package("torch", "torch", "2.6", "train"),
    Package("ai-edge-quantizer", "ai_edge_quantizer", "0.9", "export"),
    Package("onnx", "onnx", "1.17", "export"),
)


@dataclass(frozen=True)
class Standing:
    """How a package stands on this machine.

    Attributes:
        package: Which.
        version: Installed version, None where it is not installed.
        mend: The command that installs it, or why there is none; empty where all is well.
    """

    package: Package
    version: str | None
    mend: str

    @property
    def well(self) -> bool:
        """Whether it is installed and new enough."""
        return not self.mend


def runtime_for_tflite(machine: str | None = None, python: tuple[int, int] | None = None) -> str | None:
    """Return the package that runs .tflite files on this kind of machine, None where there is none.

    >>> runtime_for_tflite("aarch64", (3, 11)), runtime_for_tflite("armv7l", (3, 11))
    ('ai-edge-litert', 'tflite-runtime')
    """
    machine = machine or platform.machine()
    python = python or sys.version_info[:2]
    if machine != "armv7l":
        return "ai-edge-litert"
    return "tflite-runtime" if python < (3, 12) else None


def look_up() -> list[Standing]:
    """Return how every package that makes sense on this machine stands, in the order of `PACKAGES`."""
    from importlib import metadata

    unneeded = {"ai-edge-litert", "tflite-runtime"} - {runtime_for_tflite() or "ai-edge-litert"}
    found = []
    for package in PACKAGES:
        try:
            version = metadata.version(package.name)
        except metadata.PackageNotFoundError:
            version = None
        if version is not None or package.name not in unneeded:
            found.append(Standing(package, version, _mend(package, version)))
    return found


def package_of_module(module: str) -> Package | None:
    """Return the package that holds the import package `module`."""
    return next((package for package in PACKAGES if package.module == module), None)


def _mend(package: Package, version: str | None) -> str:
    if version is not None and _numbers(version) >= _numbers(package.minimum):
        return ""
    if platform.machine() == "armv7l" and package.name in ("onnxruntime", "ai-edge-litert"):
        return "no wheel for 32-bit ARM; use a 64-bit system" + (
            ", or Python 3.11 with tflite-runtime" if package.extra == "tflite" else ""
        )
    return (
        f'pip install "edgelnn[{package.extra}]"'
        if package.extra
        else f'pip install "{package.name}>={package.minimum}"'
    )


def _numbers(version: str) -> tuple[int, ...]:
    """Return the leading numbers of a version: ``"2.13.0+cpu"`` → (2, 13, 0)."""
    numbers: list[int] = []
    for part in version.split("+")[0].split("."):
        digits = part[: next((i for i, character in enumerate(part) if not character.isdigit()), len(part))]
        if not digits:
            break
        numbers.append(int(digits))
    return tuple(numbers)
