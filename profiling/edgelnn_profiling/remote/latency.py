"""Latency of model files on a board, to choose among them: files take turns, so that all see the same disturbances."""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Mapping
from pathlib import Path

from edgelnn.decode import encode
from edgelnn.errors import BoardError
from edgelnn_profiling.model_files import identify_model
from edgelnn_profiling.plan import Plan
from edgelnn_profiling.remote.board import Board

__all__ = ["latencies_on"]

_PLAN = Plan(rounds=3, windows=3, window_s=0.05, min_samples=3, max_samples=1000, warm_up_max_s=0.3, memory=False)


def latencies_on(board: Board, files: Mapping[str, bytes], plan: Plan = _PLAN) -> dict[str, float]:
    """Return the median latency of each file on a board, one thread, in seconds: of its least disturbed round.

    Args:
        board: Opened with the files' formats.
        files: Bytes of models, by name.
        plan: Rounds, windows and warm-up.

    Raises:
        BoardError: The connection was lost, or a file does not run there.
    """
    medians: dict[str, list[float]] = {name: [] for name in files}
    with tempfile.TemporaryDirectory(prefix="edgelnn-") as folder:
        requests = {}
        for number, (name, data) in enumerate(files.items()):
            path = Path(folder) / f"{number}"
            path.write_bytes(data)
            requests[name] = {"model": str(path), "format": identify_model(data), "threads": 1, "golden": None}
        for _ in range(plan.rounds):
            for name, request in requests.items():
                full = {**request, "kind": "timing", "plan": encode(plan)}
                outcome = board.executor.execute(full, timeout_s=plan.timeout_s)
                heat, windows = outcome.first("warm_up"), outcome.all("window")
                if outcome.error is not None or heat is None or not windows:
                    raise BoardError(f"{board.host}: {name}: {outcome.error or 'nothing was measured'}.")
                samples = [sample for window in windows for sample in window["samples_ns"]]
                medians[name].append(statistics.median(samples) / heat["means_of"] / 1e9)
    # What else runs there only ever adds time.
    return {name: min(rounds) for name, rounds in medians.items()}
