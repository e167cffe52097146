"""Train, export, quantize and profile a liquid network in ten lines, on synthetic images that need no download.

python examples/01_the_whole_path.py [FOLDER]
"""

import sys
from pathlib import Path

from edgelnn import build_bundle, load_experiment, profile, train

folder = Path(sys.argv[1] if len(sys.argv) > 1 else "examples-output")

experiment = load_experiment("phantoms", ["training.epochs=6", "head.units=16"])
run = train(experiment, folder=folder / "run", threads=1, force=True)
bundle = build_bundle(run, folder / "bundle", quantize=True, force=True)
report = profile(bundle.folder)

print(f"PyTorch: test AUC {run.metrics['test'].auc:.3f} (synthetic images)")
for result in report.results:
    if result.timing is not None and result.test is not None:
        microseconds = result.timing.inference.p50_s * 1e6
        print(
            f"{result.variant:26s} {result.size_bytes:7d} bytes  {microseconds:7.1f} µs  AUC {result.test['auc']:.3f}"
        )
