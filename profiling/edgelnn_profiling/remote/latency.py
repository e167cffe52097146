"""Latency of model files on a board, to choose among them: files take turns, so that all see the same disturbances."""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Mapping
from pathlib import Path

from edgelnn.decode import encode
from edgelnn_profiling.executor import Outcome
from edgelnn_profiling.model_files import identify_model
from edgelnn_profiling.plan import Plan
from edgelnn_profiling.proving import Measured, Proof
from edgelnn_profiling.remote.board import Board

__all__ = ["latencies_on"]

_PLAN = Plan(
    batches=(1,),
    rounds=3,
    windows=3,
    window_s=0.05,
    min_samples=3,
    max_samples=1000,
    warm_up_max_s=0.3,
    preparation_samples=0,
    memory=False,
)


def latencies_on(board: Board, files: Mapping[str, bytes], proof: Proof, plan: Plan = _PLAN) -> Measured:
    """Return the median latency of each file on a board, one thread, in seconds: of its least disturbed round.

    A file that fails there, or does not give the golden answers, is a finding, not an error.

    Args:
        board: Opened with the files' formats.
        files: Bytes of models, by name.
        proof: What they must answer there before they are timed.
        plan: Rounds, windows and warm-up.

    Raises:
        BoardError: The connection was lost.
    """
    medians: dict[str, list[float]] = {name: [] for name in files}
    failed: dict[str, str] = {}
    with tempfile.TemporaryDirectory(prefix="edgelnn-") as folder:
        golden = Path(folder) / "golden.npz"
        golden.write_bytes(proof.golden)
        requests = {}
        for number, (name, data) in enumerate(files.items()):
            path = Path(folder) / f"{number}"
            path.write_bytes(data)
            facts = {"model": str(path), "format": identify_model(data), "threads": 1}
            requests[name] = {**facts, "golden": proof.request(name, golden)}
        for _ in range(plan.rounds):
            for name, request in requests.items():
                if name in failed:
                    continue
                full = {**request, "kind": "timing", "plan": encode(plan)}
                outcome = board.executor.execute(full, timeout_s=plan.timeout_s)
                why = _failure(outcome)
                if why:
                    failed[name] = why.replace(str(request["model"]), name)
                else:
                    medians[name].append(_median_s(outcome))
    # What else runs there only ever adds time.
    return Measured({name: min(medians[name]) for name in files if name not in failed}, failed)


def _failure(outcome: Outcome) -> str:
    """Return why a file is not to be used there; empty where it may be."""
    if outcome.error is not None:
        return f"it fails: {outcome.error.rstrip('.')}"
    parity = outcome.first("parity")
    if parity is None:
        return "it was not proved"
    if not parity["max_error"] <= parity["allowed"]:
        return (
            f"it differs from the golden answers by {parity['max_error']:.2g}, where {parity['allowed']:.2g} is allowed"
        )
    return "" if outcome.first("warm_up") and outcome.all("window") else "nothing was measured of it"


def _median_s(outcome: Outcome) -> float:
    samples = [sample for window in outcome.all("window") for sample in window["samples_ns"]]
    return float(statistics.median(samples) / outcome.all("warm_up")[0]["means_of"] / 1e9)
