"""What a model answers to images, one by one, as a board would be asked; and how long each answer takes."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgelnn.decode import decode
from edgelnn.errors import ProfileError
from edgelnn.preprocessing import Layout, Preprocessing
from edgelnn_profiling.runtimes import AbstractRuntime

__all__ = ["Answers", "answer_images", "answer_request"]


@dataclass(frozen=True)
class Answers:
    """Probabilities for images, and the time it took.

    Attributes:
        probabilities: (n, outputs) float32, as the model gives them.
        latencies_s: (n,) float64: of each image, from pixels to probabilities, in seconds.
    """

    probabilities: NDArray[np.float32]
    latencies_s: NDArray[np.float64]


def answer_images(
    runtime: AbstractRuntime, preprocessing: Preprocessing, layout: Layout, images: NDArray[np.uint8]
) -> Answers:
    """Return a model's answers to images (n, [d,] h, w, c) uint8, one by one, as a board would give them."""
    rows, latencies = [], np.zeros(len(images))
    for index in range(len(images)):
        start = time.perf_counter()
        rows.append(runtime.run(preprocessing(images[index : index + 1], layout)))
        latencies[index] = time.perf_counter() - start
    return Answers(np.concatenate(rows).astype(np.float32), latencies)


def answer_request(request: Mapping[str, Any], say: Callable[..., None]) -> None:
    """Carry out a worker's request of kind ``answers``: prove the file on the golden images, then answer others.

    Raises:
        ProfileError: The golden images get other answers here, or the images cannot be read.
    """
    from edgelnn_profiling.parity import check_parity, load_examples
    from edgelnn_profiling.runtimes import import_runtime, open_runtime

    import_runtime(request["format"])
    runtime = open_runtime(request["model"], request["format"], threads=request["threads"])
    parity = check_parity(runtime, load_examples(request, runtime), request)
    say("parity", **parity)
    if parity["max_error"] > parity["allowed"]:
        raise ProfileError(
            f"it does not give the model's answers: on the golden images they differ by {parity['max_error']:.2g}, and "
            f"{parity['allowed']:.2g} is allowed. Export again, or install the runtime version that the manifest names."
        )
    try:
        images = np.load(request["images"], allow_pickle=False)
    except (OSError, ValueError) as error:
        raise ProfileError(f"cannot read the images: {error}.") from error
    preprocessing = decode(Preprocessing, request["golden"]["preprocessing"])
    answers = answer_images(runtime, preprocessing, request["golden"]["layout"], images)
    say("answers", probabilities=answers.probabilities.tolist(), latencies_s=answers.latencies_s.tolist())
    say("done")
