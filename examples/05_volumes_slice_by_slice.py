"""Volumes: an LTC that reads the slices one after another, from an .npz file of your own.

python examples/05_volumes_slice_by_slice.py [FOLDER]

The volumes are made on the spot: a bright body that grows (class 1) or shrinks (class 0) from slice to slice.
No single slice tells the class; the order does.
"""

import sys
from pathlib import Path

import numpy as np

from edgelnn import load_experiment, train

folder = Path(sys.argv[1] if len(sys.argv) > 1 else "examples-output")
folder.mkdir(parents=True, exist_ok=True)


def make_volumes(count: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return volumes (count, 8, 16, 16) uint8 and labels (count, 1)."""
    labels = rng.permutation(np.arange(count) % 2)
    radii = np.linspace(2.0, 6.0, 8)
    y, x = np.mgrid[:16, :16] - 7.5
    bodies = np.stack([np.hypot(x, y) < radius for radius in radii])
    grown = np.where(labels[:, None, None, None] == 1, bodies, bodies[::-1])
    pixels = 60 + 120 * grown + rng.normal(0, 25, (count, 8, 16, 16))
    return pixels.clip(0, 255).astype(np.uint8), labels[:, None].astype(np.uint8)


rng = np.random.default_rng(0)
arrays = {}
for split, count in (("train", 96), ("val", 32), ("test", 32)):
    arrays[f"{split}_images"], arrays[f"{split}_labels"] = make_volumes(count, rng)
np.savez_compressed(folder / "volumes.npz", **arrays)

experiment = load_experiment(
    "adrenalmnist3d-ltc",
    [
        "name=growing",
        f"data.name={folder / 'volumes.npz'}",
        "data.size=16",
        "stem.layers=[{channels=4, kernel=3, stride=2, pool=2}]",
        "head.units=12",
        "training.epochs=8",
        "training.learning_rate=1e-2",
    ],
)
run = train(experiment, folder=folder / "run", threads=1, force=True, figures=False)
print(run.environment["model"]["architecture"])
print(f"test AUC {run.metrics['test'].auc:.3f}")
