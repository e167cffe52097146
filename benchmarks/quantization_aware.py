"""What quantization-aware fine-tuning does to the AUC that static int8 files lose, on BreastMNIST.

    python benchmarks/quantization_aware.py --data FOLDER [--experiment breastmnist] [--seeds 5] [--epochs N]
                                            [--set FIELD=VALUE] [--json FILE]

For every seed: a run; the run fine-tuned for a few epochs (which shows what more training alone does); the run
fine-tuned with ``--qat`` for as many. Of each the static int8 file of both formats is made and asked through its own
runtime. Printed are, on the validation and the test split, the AUC of the float32 model, that of each file, what the
file loses against the float32 model it was made from and against the first run, and how far its log-odds are from the
model's.
"""

from __future__ import annotations

import argparse
import json
import logging
import statistics
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from edgelnn.data.dataset import Dataset, Split, SplitName
from edgelnn.decisions import class_probabilities
from edgelnn.run import Run
from edgelnn.training import evaluate_predictions, fine_tuning_experiment, load_experiment, train
from edgelnn.training.loading import load_experiment_dataset
from edgelnn_export.making import LAYOUTS, Maker
from edgelnn_export.parity import Answers, answer, ask
from edgelnn_export.quantization import choose_candidates
from edgelnn_export.selection import calibration_images
from edgelnn_profiling import load_runtime

SPLITS: tuple[SplitName, ...] = ("val", "test")


@dataclass(frozen=True)
class Row:
    """One file on one split.

    Attributes:
        seed, kind, format, split: Which; kind is ``run``, ``tuned`` or ``qat``.
        float32, int8: AUC of the model and of its static int8 file.
        first: AUC of the first run's float32 model.
        distance: Mean absolute difference of the log-odds of file and model, as a share of their standard deviation.
    """

    seed: int
    kind: str
    format: str
    split: str
    float32: float
    int8: float
    first: float
    distance: float


def main() -> None:
    """Train, export, judge, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="folder with breastmnist.npz")
    parser.add_argument("--experiment", default="breastmnist")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--epochs", type=int, help="of fine-tuning; as the command does where left out")
    parser.add_argument("--set", action="append", default=[], dest="changes", help="of the fine-tuning; repeatable")
    parser.add_argument("--runs", type=Path, help="keep the first runs here, and use those that are here already")
    parser.add_argument("--json", type=Path, help="write the rows here too")
    options = parser.parse_args()
    logging.disable(logging.WARNING)
    if options.epochs:
        options.changes.append(f"training.epochs={options.epochs}")
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="edgelnn-") as scratch:
        for seed in range(options.seeds):
            for row in study(options, seed, Path(scratch)):
                rows.append(row)
                print(*asdict(row).values(), file=sys.stderr)
    if options.json:
        options.json.write_text(json.dumps([asdict(row) for row in rows], indent=2) + "\n", "utf-8")
    summarize(rows)


def study(options: argparse.Namespace, seed: int, scratch: Path) -> Iterator[Row]:
    """Yield the rows of one seed."""
    changes = [f"training.seed={seed}", f"data.root={options.data}"]
    experiment = load_experiment(options.experiment, changes)
    dataset = load_experiment_dataset(experiment.data)
    folder = (options.runs or scratch) / f"{experiment.name}-{seed}"
    if (folder / "metrics.json").exists():
        run = Run.load(folder)
    else:
        run = train(experiment, folder=folder, dataset=dataset, threads=1, figures=False)
    runs = {"run": run}
    for kind in ("tuned", "qat"):
        tuning = fine_tuning_experiment(run, options.changes, quantization_aware=kind == "qat")
        where = scratch / f"{kind}-{seed}"
        runs[kind] = train(tuning, folder=where, dataset=dataset, start=run, threads=1, figures=False)
    first = {split: auc(run, ask_run(run, dataset[split]), dataset, split) for split in SPLITS}
    for kind, each in runs.items():
        maker = Maker(each.load_classifier(), each.preprocessing, calibration_images(dataset["train"]))
        for candidate in choose_candidates(["onnx", "tflite"], recipes=["static_wi8_ai8"]):
            if candidate.recipe.is_quantized:
                runtime, layout = load_runtime(maker.make(candidate)), LAYOUTS[candidate.format]
                for split in SPLITS:
                    model = ask_run(each, dataset[split])
                    file = answer(runtime, dataset[split].images, each.preprocessing, layout)
                    float32, int8 = (auc(each, answers, dataset, split) for answers in (model, file))
                    apart = distance(model, file)
                    yield Row(seed, kind, candidate.format, split, float32, int8, first[split], apart)


def ask_run(run: Run, split: Split) -> Answers:
    """Return the model's answers."""
    return ask(run.load_classifier(), split.images, run.preprocessing)


def auc(run: Run, answers: Answers, dataset: Dataset, split: SplitName) -> float:
    """Return MedMNIST's AUC of answers to a split."""
    metrics = evaluate_predictions(
        class_probabilities(answers.astype(np.float64), run.load_classifier().output_kind, len(dataset.class_names)),
        dataset[split].labels,
        task=dataset.task,
        class_names=dataset.class_names,
        positive_class=dataset.positive_class,
        bootstrap=0,
    )
    return metrics.auc


def distance(model: Answers, file: Answers) -> float:
    """Return how far the log-odds of the first class are apart."""
    odds = [
        np.log(p / (1 - p))
        for p in (np.clip(each[:, 0].astype(np.float64), 1e-12, 1 - 1e-12) for each in (model, file))
    ]
    return float(np.abs(odds[0] - odds[1]).mean() / odds[0].std())


def summarize(rows: list[Row]) -> None:
    """Print means over seeds."""
    print("mean over seeds        float32    int8   lost to own float32   lost to the first run   distance")
    for split in SPLITS:
        for format_ in ("onnx", "tflite"):
            for kind in ("run", "tuned", "qat"):
                some = [row for row in rows if (row.split, row.format, row.kind) == (split, format_, kind)]
                own, lost = ([getattr(row, name) - row.int8 for row in some] for name in ("float32", "first"))
                mean = statistics.mean
                print(
                    f"{split:<5}{format_:<7}{kind:<9}  {mean(r.float32 for r in some):.4f}  "
                    f"{mean(r.int8 for r in some):.4f}  {mean(own):+.4f} (worst {max(own):+.4f})  "
                    f"{mean(lost):+.4f} (worst {max(lost):+.4f})  {mean(r.distance for r in some):.4f}"
                )


if __name__ == "__main__":
    main()
