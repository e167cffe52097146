"""A board answers for images that are here: pixels go there, probabilities and times come back."""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from edgelnn.bundle import Bundle, Variant
from edgelnn.errors import BoardError
from edgelnn_profiling.answering import Answers
from edgelnn_profiling.manager import variant_request
from edgelnn_profiling.remote.board import Board

__all__ = ["ask_board"]

_BATCH_BYTES = 8_000_000
_TIMEOUT_S = 1800.0


def ask_board(
    board: Board,
    bundle: Bundle,
    variant: Variant,
    images: NDArray[np.uint8],
    *,
    threads: int = 1,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Answers:
    """Return what a file of a bundle answers on a board, proved there on the golden images first.

    Args:
        board: Opened with the file's format.
        bundle: Where the file lies.
        variant: Which file.
        images: (n, [d,] h, w, c) uint8, decoded and resized here; they are scaled to the model's input there.
        threads: For the runtime.
        progress: Told how many images are answered, of how many.

    Raises:
        BoardError: The connection was lost, or the board does not give the model's answers.
    """
    request = {**variant_request(bundle, variant), "kind": "answers", "threads": threads}
    outputs = bundle.manifest.outputs
    probabilities, latencies = [np.zeros((0, outputs), np.float32)], [np.zeros(0)]
    step = max(1, _BATCH_BYTES // max(1, images[:1].nbytes))
    for start in range(0, len(images), step):
        progress(start, len(images))
        batch = images[start : start + step]
        name, packed = f"images-{start}.npy", io.BytesIO()
        np.save(packed, batch, allow_pickle=False)
        there = board.executor.session.put(name, packed.getvalue())
        outcome = board.executor.execute({**request, "images": there}, timeout_s=_TIMEOUT_S)
        board.executor.session.ask({"do": "drop", "name": name}, what="removing images")
        answer = outcome.first("answers")
        if outcome.error is not None or answer is None:
            why = (outcome.error or "nothing was answered").rstrip(".")
            raise BoardError(f"{board.host}: {variant.name}: {why}.")
        rows = np.asarray(answer["probabilities"], np.float32)
        if rows.shape != (len(batch), outputs) or not np.isfinite(rows).all():
            raise BoardError(
                f"{board.host}: {variant.name} answers {rows.shape}; expected {(len(batch), outputs)} finite numbers."
            )
        probabilities.append(rows)
        latencies.append(np.asarray(answer["latencies_s"], np.float64))
    progress(len(images), len(images))
    return Answers(np.concatenate(probabilities), np.concatenate(latencies))
