"""Training with freed memory kept by the process against training without, whole processes in turn, in one run.

    python benchmarks/training_memory.py [EXPERIMENT ...] [--epochs 3] [--pairs 3] [--json FILE]

Each pair trains an experiment twice on one thread, from the same seed. The ratio is that of the median seconds of an
epoch, and peak memory stands beside it. Exit code 1 where the two do not end with the same weights, bit by bit.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

from edgelnn.run import WEIGHTS, Run

EXPERIMENTS = ("medmnist3d-cnnexp2n4", "medmnist3d-liqexp3n2", "medmnist3d-liqexp4n2", "breastmnist")
OFF = {"GLIBC_TUNABLES": ""}
"""Whoever sets glibc's allocator in the environment keeps their settings: so does this benchmark, with none."""


@dataclass(frozen=True)
class Outcome:
    """One experiment both ways: seconds of an epoch, peak memory in bytes, and whether the weights are the same."""

    name: str
    without_s: float
    kept_s: float
    without_bytes: int
    kept_bytes: int
    same_weights: bool

    @property
    def ratio(self) -> float:
        """Time with memory kept, as a share of the time without."""
        return self.kept_s / self.without_s


def train(name: str, folder: Path, epochs: int, extra: dict[str, str]) -> tuple[list[float], int]:
    """Train in a process of its own; return the seconds of each epoch and the most memory it held."""
    command = [sys.executable, "-m", "edgelnn", "train", name, "--epochs", str(epochs), "--threads", "1"]
    process = subprocess.Popen([*command, "--out", str(folder)], env=os.environ | extra, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"training of {name} failed; what it says stands above.")
    return [record.duration_s for record in Run.load(folder).history], usage.ru_maxrss * 1024


def compare(name: str, epochs: int, pairs: int) -> Outcome:
    """Train an experiment both ways, in turn."""
    seconds: dict[bool, list[float]] = {False: [], True: []}
    peaks: dict[bool, list[int]] = {False: [], True: []}
    weights: set[bytes] = set()
    for _ in range(pairs):
        for kept in (False, True):
            with tempfile.TemporaryDirectory() as place:
                taken, peak = train(name, Path(place) / "run", epochs, {} if kept else OFF)
                weights.add((Path(place) / "run" / WEIGHTS).read_bytes())
            seconds[kept] += taken
            peaks[kept].append(peak)
    return Outcome(
        name,
        statistics.median(seconds[False]),
        statistics.median(seconds[True]),
        max(peaks[False]),
        max(peaks[True]),
        len(weights) == 1,
    )


def main() -> int:
    """Print one line per experiment; exit code 1 where weights differ."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("experiments", nargs="*", default=EXPERIMENTS, metavar="EXPERIMENT")
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    options = parser.parse_args()
    print(f"{'experiment':<24}{'without s':>11}{'kept s':>9}{'ratio':>8}{'without MB':>12}{'kept MB':>9}  weights")
    outcomes = []
    for name in options.experiments:
        outcome = compare(name, options.epochs, options.pairs)
        outcomes.append(outcome)
        print(
            f"{name:<24}{outcome.without_s:>11.2f}{outcome.kept_s:>9.2f}{outcome.ratio:>8.3f}"
            f"{outcome.without_bytes / 1e6:>12.0f}{outcome.kept_bytes / 1e6:>9.0f}"
            f"  {'same' if outcome.same_weights else 'DIFFERENT'}",
            flush=True,
        )
    if options.json:
        options.json.write_text(json.dumps([asdict(outcome) for outcome in outcomes], indent=2) + "\n")
    return 0 if all(outcome.same_weights for outcome in outcomes) else 1


if __name__ == "__main__":
    sys.exit(main())
