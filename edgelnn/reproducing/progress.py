"""How far a reproduction is, read from what its jobs leave on the disk, wherever they run."""

from __future__ import annotations

import json
from pathlib import Path

from safetensors import SafetensorError, safe_open

from edgelnn.reproducing.plan import Plan
from edgelnn.run import METRICS
from edgelnn.training.checkpoint import CHECKPOINT

__all__ = ["share_done"]


def share_done(plan: Plan) -> float:
    """Return the share of all epochs that is trained, from 0 to 1; trainings that stopped early count as whole."""
    shares = []
    for job in plan.jobs:
        finished = (job.folder / METRICS).exists()
        shares.append(1.0 if finished else _epochs_in(job.folder / CHECKPOINT) / job.experiment.training.epochs)
    return sum(shares) / len(shares)


def _epochs_in(checkpoint: Path) -> int:
    """Return how many epochs a checkpoint has behind it; 0 where there is none, or it is just being replaced."""
    if not checkpoint.exists():
        return 0
    try:
        with safe_open(checkpoint, framework="np") as file:
            return len(json.loads(file.metadata()["edgelnn"])["progress"]["history"])
    except (SafetensorError, OSError, ValueError, KeyError, TypeError):
        return 0  # finished, or gone, between the look and the reading: the next look tells
