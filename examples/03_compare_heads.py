"""The same stem and scan with five heads: what a liquid head costs and what it gives, against LSTM and GRU.

python examples/03_compare_heads.py [FOLDER]
"""

import sys
from pathlib import Path

from edgelnn import load_dataset, load_experiment, train

folder = Path(sys.argv[1] if len(sys.argv) > 1 else "examples-output")
data = load_dataset("phantoms")

print("head   wiring   trainable   active   test AUC (synthetic images, one seed: not a ranking)")
for head, wiring in (("cfc", "auto"), ("cfc", "none"), ("ltc", "auto"), ("lstm", None), ("gru", None)):
    changes = [f"head.kind={head}", "head.units=16", "training.epochs=4"]
    changes += [f"head.wiring={wiring}"] if wiring else []
    experiment = load_experiment("phantoms", changes)
    run = train(experiment, folder=folder / f"{head}-{wiring}", dataset=data, threads=1, force=True, figures=False)
    counts = run.environment["model"]["parameters"]
    auc = run.metrics["test"].auc
    print(f"{head:6s} {wiring or '-':6s} {counts['trainable']:11,d} {counts['active']:8,d}   {auc:.3f}")
