"""Does a measurement give the same figure again, and does it notice when it cannot be trusted?

    python benchmarks/repeatability.py [BUNDLE] [--variant NAME] [--profiles N] [--json FILE]

Profiles one variant of a bundle ten times on the machine as it is, which should be idle, and ten times while every CPU
is kept busy by a process of its own. Of the idle ones at least eight should be valid, and the p50s of the valid ones
within 3 % of each other; of the others at least nine should not be valid. That it is a virtual machine makes no report
invalid. Without a BUNDLE one is made: a network trained for an epoch on the built-in phantoms. It takes about three
minutes. Exit code 1 where a count or the spread is not as it should be.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from edgelnn import build_bundle, load_experiment, train
from edgelnn.bundle import Bundle
from edgelnn_profiling import Plan, profile

IDLE_VALID, HOGGED_INVALID = 0.8, 0.9  # of the profiles
SPREAD = 0.03
HOG = """
import os
parent = os.getppid()
while os.getppid() == parent:  # Ends with whoever started it.
    for _ in range(1000000):
        pass
"""


def make_bundle(folder: Path) -> Path:
    """Return a bundle of a network that hardly learned anything; what it costs does not depend on that."""
    run = train(load_experiment("phantoms", ["training.epochs=1"]), folder=folder / "run", figures=False)
    return build_bundle(run, folder / "bundle").folder


@contextlib.contextmanager
def hogs(count: int) -> Iterator[None]:
    """Keep as many CPUs busy while the block runs."""
    processes = [subprocess.Popen([sys.executable, "-c", HOG]) for _ in range(count)]
    try:
        time.sleep(1.0)
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()


def profile_once(bundle: Path, variant: str) -> dict[str, Any]:
    """Return what one profile came to."""
    report = profile(bundle, Plan(), variants=[variant])
    timing = report.results[0].timing
    return {
        "valid": report.valid,
        "p50_s": None if timing is None else timing.inference.p50_s,
        "reasons": list(report.reasons),
        "load": report.before.load,
    }


def profile_often(title: str, bundle: Path, variant: str, count: int) -> list[dict[str, Any]]:
    """Return what `count` profiles came to, one after the other, and say so."""
    print(title, flush=True)
    rows = []
    for _ in range(count):
        row = profile_once(bundle, variant)
        rows.append(row)
        p50 = "not measured" if row["p50_s"] is None else f"{row['p50_s'] * 1e6:.1f} µs"
        print(f"  {p50:>12s}  {'valid' if row['valid'] else '; '.join(row['reasons'])}", flush=True)
    return rows


def main() -> int:
    """Print each profile and the verdict; return 0 where all is as it should be."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", nargs="?", type=Path, metavar="BUNDLE")
    parser.add_argument("--variant", metavar="NAME", help="the recommended one unless given")
    parser.add_argument("--profiles", type=int, default=10, metavar="N")
    parser.add_argument("--json", type=Path, metavar="FILE")
    asked = parser.parse_args()
    cpus = len(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory(prefix="edgelnn-repeatability-") as folder:
        bundle = asked.bundle or make_bundle(Path(folder))
        variant = asked.variant or Bundle.load(bundle).manifest.recommended
        idle = profile_often(
            f"{variant}, {asked.profiles} profiles, the machine as it is", bundle, variant, asked.profiles
        )
        with hogs(cpus):
            busy = profile_often(f"the same, with {cpus} CPUs kept busy by others", bundle, variant, asked.profiles)
    valid = [row["p50_s"] for row in idle if row["valid"]]
    spread = max(valid) / min(valid) - 1 if valid else None
    invalid = sum(not row["valid"] for row in busy)
    enough, noticed = len(valid) >= IDLE_VALID * len(idle), invalid >= HOGGED_INVALID * len(busy)
    close = spread is not None and spread <= SPREAD
    said = "no valid ones to compare" if spread is None else f"their p50s lie within {spread:.1%}"
    print(f"{'✓' if enough else '✗'} idle: {len(valid)} of {len(idle)} valid")
    print(f"{'✓' if close else '✗'} idle: {said}")
    print(f"{'✓' if noticed else '✗'} busy: {invalid} of {len(busy)} not valid")
    if asked.json is not None:
        verdict = {"valid": len(valid), "spread": spread, "not_valid_when_busy": invalid}
        asked.json.write_text(json.dumps({**verdict, "idle": idle, "busy": busy}, indent=2), "utf-8")
    return 0 if enough and close and noticed else 1


if __name__ == "__main__":
    raise SystemExit(main())
