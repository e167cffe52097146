"""Whether bias correction and cross-layer equalization make static int8 files better, on runs of BreastMNIST.

    python benchmarks/quantization_corrections.py RUN … [--json FILE]

For every run (of any experiment with convolutions) the static file of both formats is made four times: from the
lowered graph as it is; with its channels equalized between convolutions (M. Nagel et al., 2019, "Data-free quantization
through weight equalization and bias correction", ICCV, doi:10.1109/ICCV.2019.00141, section 4.1); with its biases
corrected for the mean error of rounded weights (section 4.2, from the means over the calibration images); with both.
Printed are the mean absolute difference of probabilities from PyTorch on the validation and the test split, and the
AUC lost there.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from edgelnn.bundle import ModelFormat
from edgelnn.run import Run
from edgelnn_export.graph import Graph, Node
from edgelnn_export.lowering import lower
from edgelnn_export.making import LAYOUTS
from edgelnn_export.onnx_model import write_onnx
from edgelnn_export.parity import Judge, answer, ask
from edgelnn_export.quantization import RECIPES
from edgelnn_export.quantization.onnx_quantizer import quantize_onnx
from edgelnn_export.quantization.tflite_quantizer import quantize_tflite
from edgelnn_export.reference_evaluator import evaluate_values
from edgelnn_export.selection import calibration_images
from edgelnn_export.tflite_model import write_tflite
from edgelnn_profiling import load_runtime


def equalized(graph: Graph, inputs: np.ndarray) -> Graph:
    """Return the graph with the ranges of channels between each two convolutions made alike."""
    uses = Counter(name for node in graph.nodes for name in node.inputs)
    constants = dict(graph.constants)
    made = {name: node for node in graph.nodes for name in node.outputs}
    for second in graph.nodes:
        if second.op != "conv2d":
            continue
        source = second.inputs[0]
        if uses[source] == 1 and source in made and made[source].op == "pool2d":
            source = made[source].inputs[0]
        first = made.get(source)
        if first is None or first.op != "conv2d" or uses[source] != 1:
            continue
        (a, b), w = first.inputs[1:], second.inputs[1]
        r1 = np.abs(constants[a]).max(axis=(1, 2, 3))
        r2 = np.abs(constants[w]).max(axis=(0, 2, 3))
        scale = np.sqrt(np.maximum(r1, 1e-8) / np.maximum(r2, 1e-8)).astype(np.float32)
        constants[a] = constants[a] / scale[:, None, None, None]
        constants[b] = constants[b] / scale
        constants[w] = constants[w] * scale[None, :, None, None]
    return replace(graph, constants=constants).checked()


def corrected(graph: Graph, inputs: np.ndarray) -> Graph:
    """Return the graph with what rounding its weights adds to each result, on average, taken from the biases."""
    values = evaluate_values(graph, inputs)
    constants = dict(graph.constants)
    channel = 1 if graph.layout == "channels_first" else 3
    for node in graph.nodes:
        if node.op == "conv2d":
            weight = constants[node.inputs[1]].astype(np.float64)
            error = (weight - rounded(weight)).sum(axis=(2, 3))
            axes = tuple(axis for axis in range(4) if axis != channel)
            constants[node.inputs[2]] = shifted(constants, node, error @ values[node.inputs[0]].mean(axis=axes))
        elif node.op == "linear" and len(node.inputs) == 3 and node.part != "output":
            weight = constants[node.inputs[1]].astype(np.float64)
            mean = values[node.inputs[0]].reshape(-1, weight.shape[1]).mean(axis=0)
            constants[node.inputs[2]] = shifted(constants, node, (weight - rounded(weight)) @ mean)
    return replace(graph, constants=constants).checked()


def shifted(constants: dict[str, np.ndarray], node: Node, by: np.ndarray) -> np.ndarray:
    """Return a node's bias, moved."""
    return np.asarray(constants[node.inputs[2]] + by, np.float32)


def rounded(weight: np.ndarray) -> np.ndarray:
    """Return a weight as symmetric int8, per output channel, stores it."""
    scale = np.abs(weight).max(axis=tuple(range(1, weight.ndim)), keepdims=True) / 127
    return np.round(weight / np.maximum(scale, 1e-12)) * scale


CORRECTIONS: dict[str, tuple[Callable[[Graph, np.ndarray], Graph], ...]] = {
    "as it is": (),
    "equalized": (equalized,),
    "bias corrected": (corrected,),
    "both": (equalized, corrected),
}


def measured(run: Run) -> list[dict[str, object]]:
    """Return a row for each format and correction."""
    dataset, classifier, preprocessing = run.load_dataset(), run.load_classifier(), run.preprocessing
    judge = Judge.appoint(classifier, dataset, preprocessing)
    expected = {split: ask(classifier, dataset[split].images, preprocessing) for split in ("val", "test")}
    images = calibration_images(dataset["train"])
    formats: tuple[ModelFormat, ...] = ("onnx", "tflite")
    rows: list[dict[str, object]] = []
    for model_format in formats:
        layout = LAYOUTS[model_format]
        inputs = preprocessing(images, layout)
        for name, corrections in CORRECTIONS.items():
            graph = lower(classifier, layout=layout, target=model_format)
            for correct in corrections:
                graph = correct(graph, inputs)
            write, quantize = (write_onnx, quantize_onnx) if model_format == "onnx" else (write_tflite, quantize_tflite)
            runtime = load_runtime(quantize(write(graph), RECIPES["static_wi8_ai8"], inputs))
            row: dict[str, object] = {"run": run.folder.name, "format": model_format, "correction": name}
            for split in ("val", "test"):
                found = answer(runtime, dataset[split].images, preprocessing, layout)
                before, after = (judge.figures(each, dataset[split])["auc"] for each in (expected[split], found))
                row |= {
                    f"{split} error": float(np.abs(found - expected[split]).mean()),
                    f"{split} lost": before - after,
                }
            rows.append(row)
    return rows


def main() -> None:
    """Print a row for each format and correction: means over the runs."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    rows = [row for folder in options.runs for row in measured(Run.load(folder))]
    columns = [f"{split} {what}" for split in ("val", "test") for what in ("error", "lost")]
    print(f"means over {len(options.runs)} runs\n\n| file | correction | {' | '.join(columns)} |")
    print("|---|---|--:|--:|--:|--:|")
    for model_format in ("onnx", "tflite"):
        for name in CORRECTIONS:
            chosen = [row for row in rows if (row["format"], row["correction"]) == (model_format, name)]
            means = [np.mean([float(str(row[column])) for row in chosen]) for column in columns]
            print(f"| {model_format} | {name} | {' | '.join(f'{mean:+.5f}' for mean in means)} |")
    if options.json:
        options.json.write_text(json.dumps(rows, indent=2) + "\n")


if __name__ == "__main__":
    main()
