"""How long `edgelnn --help` takes beyond what `python -c pass` takes: medians of ten, interleaved in one run.

python benchmarks/startup.py [RUNS]
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time

COMMANDS = {
    "python -c pass": ["-c", "pass"],
    "edgelnn --help": ["-m", "edgelnn", "--help"],
    "edgelnn train --help": ["-m", "edgelnn", "train", "--help"],
    "edgelnn --version": ["-m", "edgelnn", "--version"],
}


def measure(runs: int) -> dict[str, list[float]]:
    """Return `runs` wall-clock times of each command in seconds, taken in turn; the first round is thrown away."""
    taken: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for _ in range(runs + 1):
        for name, arguments in COMMANDS.items():
            start = time.perf_counter()
            subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)
            taken[name].append(time.perf_counter() - start)
    return {name: times[1:] for name, times in taken.items()}


def main() -> None:
    """Print each command's median, what it takes beyond python itself, and the ratio."""
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 10
    medians = {name: statistics.median(times) for name, times in measure(runs).items()}
    base = medians["python -c pass"]
    print(f"medians of {runs}, in one run")
    for name, median in medians.items():
        print(f"  {name:22s} {median * 1e3:6.0f} ms   {(median - base) * 1e3:+6.0f} ms   {median / base:5.1f} x python")


if __name__ == "__main__":
    main()
