"""What runs on a board: a bundle, numpy and one runtime; neither torch nor onnx is imported.

python examples/04_predict_on_a_board.py BUNDLE

Without a bundle of yours, make one first: python examples/01_the_whole_path.py
"""

import sys
from pathlib import Path

from edgelnn.bundle import Bundle
from edgelnn.decisions import class_probabilities, decide
from edgelnn_profiling import load_runtime

bundle = Bundle.load(Path(sys.argv[1] if len(sys.argv) > 1 else "examples-output/bundle"))
variant, manifest = bundle.variant(), bundle.manifest
runtime = load_runtime(bundle.path(variant))

images, expected = bundle.golden()
answers = runtime.run(manifest.preprocessing(images, variant.layout))
print(f"{variant.name} on {runtime.name} {runtime.version}")
print(f"largest difference from the trained model on the golden images: {abs(answers - expected).max():.1e}")

probabilities = class_probabilities(answers, manifest.output_kind, len(manifest.class_names))
decided = decide(
    probabilities, task=manifest.task, positive_class=manifest.positive_class, threshold=manifest.threshold
)
for row, chosen in zip(probabilities, decided, strict=True):
    print([name for name, yes in zip(manifest.class_names, chosen, strict=True) if yes], row.round(3).tolist())

assert "torch" not in sys.modules
assert "onnx" not in sys.modules
