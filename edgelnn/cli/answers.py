"""What a model file answers through its own runtime, whether it lies in a bundle or stands alone."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from edgelnn.bundle import Bundle, Variant
from edgelnn.cli.targets import bundle_around
from edgelnn.preprocessing import Layout, Preprocessing

if TYPE_CHECKING:
    from edgelnn_profiling.runtimes import AbstractRuntime

__all__ = ["Answers", "LoadedModel", "find_variant", "load_model"]


@dataclass(frozen=True)
class Answers:
    """Probabilities for images, and the time it took.

    Attributes:
        probabilities: (n, outputs) float32, as the model gives them.
        latencies_s: Of each image: from pixels to probabilities, in seconds.
    """

    probabilities: NDArray[np.float32]
    latencies_s: NDArray[np.float64]


@dataclass(frozen=True)
class LoadedModel:
    """A model file in its runtime, with what turns pixels into its input."""

    runtime: AbstractRuntime
    preprocessing: Preprocessing
    layout: Layout

    def answer(self, images: NDArray[np.uint8]) -> Answers:
        """Return the model's answers to images (n, [d,] h, w, c) uint8, one by one, as a board would."""
        rows, latencies = [], np.zeros(len(images))
        for index in range(len(images)):
            start = time.perf_counter()
            rows.append(self.runtime.run(self.preprocessing(images[index : index + 1], self.layout)))
            latencies[index] = time.perf_counter() - start
        return Answers(np.concatenate(rows).astype(np.float32), latencies)


def find_variant(path: Path, name: str | None) -> tuple[Bundle, Variant] | None:
    """Return the bundle and variant that a path means: a bundle's folder, or a model file in one; else None."""
    if path.is_dir():
        bundle = Bundle.load(path)
        return bundle, bundle.variant(name)
    folder = bundle_around(path)
    if folder is None:
        return None
    bundle = Bundle.load(folder)
    for variant in bundle.manifest.variants:
        if variant.file == path.name:
            return bundle, variant
    return None


def load_model(path: Path, preprocessing: Preprocessing | None = None, *, threads: int = 1) -> LoadedModel:
    """Return a model file, ready to answer, after a child process has tried it without dying.

    Args:
        path: An .onnx or .tflite file.
        preprocessing: From the manifest; left out, what edgelnn does unless told otherwise, for the file's own shape.
        threads: For the runtime.

    Raises:
        ModelFileError: The file is no model, crashes its runtime, or takes other input than images.
    """
    from edgelnn_profiling import load_runtime, probe_model

    probe_model(path, threads=threads)
    runtime = load_runtime(path, threads=threads)
    layout: Layout = "channels_first" if runtime.format == "onnx" else "channels_last"
    if preprocessing is None:
        shape = runtime.input.shape[1:]
        preprocessing = Preprocessing((*shape[1:], shape[0]) if layout == "channels_first" else shape)
    return LoadedModel(runtime, preprocessing, layout)
