"""What quantized files weigh, cost and lose on BreastMNIST, over several trainings.

    python benchmarks/quantization_loss.py [--seeds 5] [--epochs N] [--runs FOLDER] [--target pi5] [--recipe NAME …]

Trains a published liquid network and a plain CNN on BreastMNIST (with EDGELNN_DATA from there, else downloaded), one
run a seed, exports every recipe of both formats, and prints for each the bytes and the cost against the float32 file of
its format, and the AUC and accuracy that it loses against PyTorch on the test split: the mean and the worst of the
seeds. Costs are latencies here, or with --target instructions on a board (`edgelnn boards`), of the first seed.
Runs are kept in FOLDER where one is given, and taken up again from there.
"""

from __future__ import annotations

import argparse
import tempfile
from collections import defaultdict
from pathlib import Path

from edgelnn.run import Run
from edgelnn.training import load_experiment, train
from edgelnn_export import build_bundle
from edgelnn_export.costs import CostMeter, instructions_on, latency_here, no_cost
from edgelnn_export.quantization import RECIPES

EXPERIMENTS = ("safipatel-lnn", "cnn-24k")


def trained(name: str, seed: int, epochs: int | None, folder: Path) -> Run:
    """Return a run of an experiment, trained now unless it is there."""
    home = folder / f"{name}-{seed}"
    if home.exists():
        return Run.load(home)
    changes = [f"training.seed={seed}", *([f"training.epochs={epochs}"] if epochs else [])]
    return train(load_experiment(name, changes), folder=home, threads=1)


def measured(run: Run, meter: CostMeter, recipes: list[str], folder: Path) -> dict[str, dict[str, float]]:
    """Return for each file what it has of the bytes and cost of float32, and what it loses on the test split."""
    names = [f"{each}-{recipe}" for each in ("onnx", "tflite") for recipe in recipes]
    names = [name for name in names if name != "onnx-static_wi8_ai16"]
    # By name, so that all are kept whatever they cost; a generous drop, since it is what we are here to see.
    manifest = build_bundle(run, folder, recipes=names, meter=meter, max_auc_drop=1.0, force=True).manifest
    costs = manifest.choice.costs
    found = {}
    for variant in manifest.variants:
        float32 = next(v for v in manifest.variants if v.format == variant.format and v.recipe == "float32")
        found[variant.name] = {
            "bytes": variant.size_bytes / float32.size_bytes,
            "cost": costs[variant.name] / costs[float32.name] if costs else float("nan"),
            "auc": manifest.model.test["auc"] - variant.test["auc"],
            "accuracy": manifest.model.test["accuracy"] - variant.test["accuracy"],
        }
    return found


def main() -> None:
    """Print a table for each experiment."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--runs", type=Path)
    parser.add_argument("--target", choices=("pi3", "pi4", "pi5"))
    parser.add_argument("--recipe", action="append", choices=[name for name in RECIPES if name != "float32"])
    options = parser.parse_args()
    recipes = options.recipe or [name for name in RECIPES if name != "float32"]
    meter = instructions_on(options.target) if options.target else latency_here()
    with tempfile.TemporaryDirectory(prefix="edgelnn-") as scratch:
        folder = options.runs or Path(scratch)
        for name in EXPERIMENTS:
            every: dict[str, list[dict[str, float]]] = defaultdict(list)
            for seed in range(options.seeds):
                run = trained(name, seed, options.epochs, folder)
                for file, figures in measured(
                    run, no_cost() if seed else meter, recipes, Path(scratch) / "bundle"
                ).items():
                    every[file].append(figures)
            print(f"\n## {name}, BreastMNIST, {options.seeds} seeds; cost: {meter.words}\n")
            print("| file | bytes / float32 | cost / float32 | AUC lost, mean | worst | accuracy lost, mean |")
            print("|---|--:|--:|--:|--:|--:|")
            for file, seeds in every.items():
                lost = [each["auc"] for each in seeds]
                accuracy = sum(each["accuracy"] for each in seeds) / len(seeds)
                first = seeds[0]
                print(
                    f"| {file} | {first['bytes']:.3f} | {first['cost']:.3f} | {sum(lost) / len(lost):+.4f} "
                    f"| {max(lost):+.4f} | {accuracy:+.4f} |",
                    flush=True,
                )


if __name__ == "__main__":
    main()
