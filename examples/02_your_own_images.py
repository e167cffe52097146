"""Train on your own images: a folder with one folder per class, of any format, mode and size.

python examples/02_your_own_images.py [FOLDER]

The images here are drawn on the spot (rings and discs), so that the example runs anywhere.
"""

import sys
from pathlib import Path

import numpy as np
from PIL import Image

from edgelnn import load_dataset, load_experiment, train

folder = Path(sys.argv[1] if len(sys.argv) > 1 else "examples-output")


def draw(kind: str, rng: np.random.Generator) -> Image.Image:
    """Return a disc or a ring on a noisy background, of any size."""
    side = int(rng.integers(40, 80))
    y, x = np.mgrid[:side, :side] / side - rng.uniform(0.4, 0.6, (2, 1, 1))
    distance = np.hypot(x, y)
    inside = (distance < 0.3) & ((distance > 0.15) | (kind == "disc"))
    pixels = rng.normal(60, 20, (side, side)) + 90 * inside
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


rng = np.random.default_rng(0)
for kind in ("disc", "ring"):
    (folder / "images" / kind).mkdir(parents=True, exist_ok=True)
    for number in range(60):
        draw(kind, rng).save(folder / "images" / kind / f"{number:02d}.png")

data = load_dataset(str(folder / "images"), size=28, positive_class="ring")
print({split: len(images) for split, images in data.splits.items()}, data.class_names)

settings = ["data.size=28", "data.positive_class=ring", "training.epochs=20", "training.batch_size=16"]
experiment = load_experiment("phantoms", [f"data.name={folder / 'images'}", "name=rings", *settings])
run = train(experiment, folder=folder / "run", dataset=data, threads=1, force=True)
test = run.metrics["test"]
print(f"test AUC {test.auc:.3f}, sensitivity for {test.positive_class} {test.sensitivity:.3f}")
