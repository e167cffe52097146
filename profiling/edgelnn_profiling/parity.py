"""The inputs of a measurement, and the proof before it that the file gives its answers here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgelnn.decisions import class_probabilities, decide
from edgelnn.decode import decode
from edgelnn.errors import DataError, ProfileError
from edgelnn.preprocessing import Preprocessing
from edgelnn_profiling.runtimes import AbstractRuntime, Array, random_input

__all__ = ["Examples", "allowed_error", "check_parity", "load_examples"]

QUANTIZED_MARGIN = 0.02


@dataclass(frozen=True)
class Examples:
    """What a model is fed with.

    Attributes:
        inputs: (n, …) as the model takes them.
        images: (n, [d,] h, w, c) uint8; None where the file comes without a bundle and nothing is known of its images.
        expected: (n, outputs) float32, the PyTorch model's; None likewise.
        prepare: From images to inputs.
        decide: From outputs to a decision for each image.
    """

    inputs: Array
    images: Array | None
    expected: Array | None
    prepare: Callable[[Array], Array]
    decide: Callable[[Array], object]


def allowed_error(tolerance: float | None, parity_max_error: float) -> float:
    """Return how far an answer may lie from the PyTorch model's.

    A float32 file keeps to its tolerance everywhere. A quantized one differs a little from machine to machine (ONNX
    Runtime takes other kernels on ARM), so it may stray from what was seen when it was made by half of that and 0.02.

    >>> allowed_error(1e-4, 3e-6)
    0.0001
    >>> allowed_error(None, 0.04)
    0.08
    """
    return tolerance if tolerance is not None else 1.5 * parity_max_error + QUANTIZED_MARGIN


def load_examples(request: Mapping[str, Any], runtime: AbstractRuntime) -> Examples:
    """Return the golden inputs of the request's bundle, or made-up ones for a file without a bundle.

    Raises:
        ProfileError: The golden file is not what the request says.
    """
    # Only now: a count of instructions is over by then, and nothing that is loaded may change it.
    from edgelnn.golden_file import read_golden

    golden = request["golden"]
    if golden is None:
        inputs = random_input(runtime.input, seed=request["plan"]["seed"])
        return Examples(inputs, None, None, lambda images: images, lambda outputs: outputs)
    preprocessing = decode(Preprocessing, golden["preprocessing"])
    layout = golden["layout"]
    try:
        images, expected = read_golden(
            Path(golden["file"]),
            images=golden["images"],
            image_shape=preprocessing.image_shape,
            outputs=golden["outputs"],
        )
    except DataError as error:
        raise ProfileError(str(error)) from error
    return Examples(
        inputs=preprocessing(images, layout),
        images=images,
        expected=expected,
        prepare=lambda some: preprocessing(some, layout),
        decide=lambda outputs: _decided(outputs, golden["decision"]),
    )


def _decided(outputs: Array, rule: Mapping[str, Any] | None) -> object:
    """Return decisions by a request's rule; the outputs themselves where it has none."""
    if rule is None:
        return outputs
    return decide(
        class_probabilities(outputs, rule["output_kind"], rule["classes"]),
        task=rule["task"],
        positive_class=rule["positive_class"],
        threshold=rule["threshold"],
    )


def check_parity(runtime: AbstractRuntime, examples: Examples, request: Mapping[str, Any]) -> dict[str, Any]:
    """Return the largest difference of an answer from the expected one, and how much is allowed.

    Raises:
        ProfileError: The answers are not of the shape expected.
    """
    expected = np.asarray(examples.expected, np.float64)
    answers = runtime.run(examples.inputs)
    if answers.shape != expected.shape:
        raise ProfileError(f"{runtime.model} answers with {answers.shape}; golden.npz expects {expected.shape}.")
    error = float(np.max(np.abs(answers - expected)))
    if not np.isfinite(error):
        raise ProfileError(f"{runtime.model} answers with numbers that are not finite.")
    return {"max_error": error, "allowed": request["golden"]["allowed_error"], "images": len(answers)}
