"""What a model file answers through its own runtime, whether it lies in a bundle or stands alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from edgelnn.bundle import Bundle, Variant
from edgelnn.cli.output import message
from edgelnn.cli.targets import bundle_around
from edgelnn.preprocessing import Layout, Preprocessing

if TYPE_CHECKING:
    from edgelnn.cli.reach import Reach
    from edgelnn_profiling.answering import Answers
    from edgelnn_profiling.runtimes import AbstractRuntime

__all__ = ["LoadedModel", "answering", "find_variant", "load_model"]


@dataclass(frozen=True)
class LoadedModel:
    """A model file in its runtime, with what turns pixels into its input."""

    runtime: AbstractRuntime
    preprocessing: Preprocessing
    layout: Layout

    def answer(self, images: NDArray[np.uint8]) -> Answers:
        """Return the model's answers to images (n, [d,] h, w, c) uint8, one by one, as a board would."""
        from edgelnn_profiling.answering import answer_images

        return answer_images(self.runtime, self.preprocessing, self.layout, images)


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


@contextmanager
def answering(
    bundle: Bundle, variant: Variant, *, threads: int = 1, reach: Reach | None = None
) -> Iterator[Callable[[NDArray[np.uint8]], Answers]]:
    """Give what answers to images (n, [d,] h, w, c) uint8: a file of a bundle, here or on a board."""
    if reach is None:
        yield load_model(bundle.path(variant), bundle.manifest.preprocessing, threads=threads).answer
        return
    from edgelnn.cli.reach import opened
    from edgelnn_profiling.remote.asking import ask_board

    (host,) = reach.hosts

    def tell(done: int, total: int) -> None:
        message(f"{host}: {done} of {total} images answered")

    message("Images are decoded and resized here, then scaled and classified on the board; times are the board's.")
    with opened(host, reach, [variant.format]) as board:
        yield lambda images: ask_board(board, bundle, variant, images, threads=threads, progress=tell)


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
        image_shape = (*shape[1:], shape[0]) if layout == "channels_first" else shape
        preprocessing = Preprocessing(image_shape, input_type="uint8" if runtime.input.dtype == "uint8" else "float32")
    return LoadedModel(runtime, preprocessing, layout)
