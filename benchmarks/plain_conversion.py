"""Our files against plain conversion of the stock ncps modules, format against the same format, in one run.

    python benchmarks/plain_conversion.py [--only NAME …] [--run RUN …] [--optimize latency|size] [--boards pi4,pi5]
                                          [--json FILE]

Plain is `torch.onnx.export(dynamo=True)` (weights inside the file) and `litert_torch.convert` with their defaults, of a
module that holds the stock ncps cell (`pip install litert-torch onnxscript`). The networks have random weights; with
--run, those of trained runs take their place. Both sides hold the same weights and end
in the same probabilities; the largest difference is printed. Latency is the median of single inferences taken in turn,
one thread. Instructions per image are counted on emulated boards (`edgelnn boards`) where --boards names some; they are
exact and no time.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import math
import statistics
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter_ns
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from edgelnn.models import Classifier, build_classifier
from edgelnn.models.heads import Liquid
from edgelnn.models.specification import ModelSpec
from edgelnn.run import Run
from edgelnn.training import load_experiment
from edgelnn_export.lowering import lower
from edgelnn_export.onnx_model import write_onnx
from edgelnn_export.tflite_model import write_tflite
from edgelnn_profiling.instructions import count_files
from edgelnn_profiling.runtimes import load_runtime

FORMATS = ("onnx", "tflite")
STEM_B = [
    {"channels": 6, "kernel": 5},
    {"channels": 6, "kernel": 5, "pool": 2},
    {"channels": 16, "kernel": 3},
    {"channels": 16, "kernel": 3, "pool": 2},
]


def digits(**head: Any) -> Classifier:
    """Return a network that reads 28 rows of 28 pixels into ten classes."""
    spec = ModelSpec.model_validate({"head": head})
    return build_classifier(spec, image_shape=(28, 28, 1), task="multi-class", classes=10)


def named(experiment: str) -> Classifier:
    """Return the untrained classifier of a named experiment on grey 28 × 28 images of two classes."""
    return build_classifier(load_experiment(experiment).model, image_shape=(28, 28, 1), task="binary-class", classes=2)


def volume() -> Classifier:
    """Return LiqExp4N2: four convolutions a slice, an LTC over 28 slices, the mean of its output."""
    spec = ModelSpec.model_validate(
        {
            "stem": {"kind": "conv", "layers": STEM_B},
            "scan": {"kind": "slices"},
            "head": {"kind": "ltc", "units": 21, "readout": "mean", "output": "sigmoid"},
        }
    )
    return build_classifier(spec, image_shape=(28, 28, 28, 1), task="binary-class", classes=2)


NETWORKS: dict[str, Callable[[], Classifier]] = {
    "cfc-auto": lambda: digits(kind="cfc", units=32),
    "ltc-auto": lambda: digits(kind="ltc", units=32),
    "cfc-full": lambda: digits(kind="cfc", units=32, wiring="full"),
    "ltc-full": lambda: digits(kind="ltc", units=32, wiring="full"),
    "cfc-dense": lambda: digits(kind="cfc", units=32, wiring="none"),
    "safipatel-lnn": lambda: named("safipatel-lnn"),
    "liqexp4n2": volume,
    "cnn-24k": lambda: named("cnn-24k"),
    "lstm": lambda: digits(kind="lstm", units=32),
    "gru": lambda: digits(kind="gru", units=32),
}


class Stock(nn.Module):
    """A classifier whose liquid layers are computed by ncps's own code."""

    def __init__(self, classifier: Classifier) -> None:
        super().__init__()
        self.classifier = classifier

    def forward(self, x: Tensor) -> Tensor:
        """Return (n, outputs) probabilities."""
        classifier = self.classifier
        sequence = classifier.scan(classifier.feature_map(x))
        head = classifier.head
        if isinstance(head, Liquid):
            for layer in head.layers:
                sequence, _ = layer.ncps(sequence)
            scores = sequence[:, -1] if head.readout == "last" else sequence.mean(1)
            scores = scores if head.linear is None else head.linear(scores)
        else:
            scores = head(sequence)
        return scores.softmax(1) if classifier.output_kind == "softmax" else scores.sigmoid()


@dataclass
class File:
    """One model file and what was measured of it; None where it was not."""

    path: Path | None
    size_bytes: int = 0
    nodes: int = 0
    latency_s: list[float] = field(default_factory=list)
    instructions: dict[str, int] = field(default_factory=dict)
    error: str = ""


def plain(classifier: Classifier, model_format: str, folder: Path) -> File:
    """Convert as the tools' own documentation says."""
    path = folder / f"plain.{model_format}"
    x = torch.rand(1, classifier.image_shape[-1], *classifier.image_shape[:-1])
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            if model_format == "onnx":
                torch.onnx.export(Stock(classifier).eval(), (x,), str(path), dynamo=True, external_data=False)
            else:
                import litert_torch

                litert_torch.convert(Stock(classifier).eval(), (x,)).export(str(path))
    except Exception as error:  # a foreign converter fails in any way it likes; the table says how
        return File(None, error=f"{type(error).__name__}: {str(error).splitlines()[0][:100] if str(error) else ''}")
    return described(path)


def ours(classifier: Classifier, model_format: str, folder: Path, optimize: str) -> File:
    """Lower and write."""
    path = folder / f"ours.{model_format}"
    if model_format == "onnx":
        path.write_bytes(write_onnx(lower(classifier, layout="channels_first", target="onnx", optimize=optimize)))
    else:
        path.write_bytes(write_tflite(lower(classifier, layout="channels_last", target="tflite", optimize=optimize)))
    return described(path)


def described(path: Path) -> File:
    """Return a file's bytes (with whatever lies outside it) and its operators, those of inner graphs too."""
    size = sum(part.stat().st_size for part in path.parent.glob(path.name + "*"))
    return File(path, size, onnx_nodes(path) if path.suffix == ".onnx" else tflite_nodes(path))


def onnx_nodes(path: Path) -> int:
    """Count the nodes of an ONNX file."""
    import onnx

    def count(graph: onnx.GraphProto) -> int:
        return sum(1 + sum(count(a.g) for a in node.attribute if a.HasField("g")) for node in graph.node)

    return count(onnx.load(path, load_external_data=False).graph)


def tflite_nodes(path: Path) -> int:
    """Count the operators of a TFLite file."""
    from ai_edge_litert import schema_py_generated as schema

    model = schema.Model.GetRootAs(path.read_bytes(), 0)
    return sum(model.Subgraphs(index).OperatorsLength() for index in range(model.SubgraphsLength()))


def measure(files: Sequence[File], x: np.ndarray, samples: int, boards: Sequence[str]) -> float:
    """Time the files in turn and count their instructions; return the largest difference between their answers."""
    present = [file for file in files if file.path is not None]
    runtimes = [load_runtime(file.path) for file in present]
    feeds = [fitted(x, runtime.input.shape) for runtime in runtimes]
    answers = [runtime.run(feed) for runtime, feed in zip(runtimes, feeds, strict=True)]
    for round_ in range(samples // 100 + 1):
        for file, runtime, feed in zip(present, runtimes, feeds, strict=True):
            for _ in range(100):
                start = perf_counter_ns()
                runtime.run(feed)
                taken = (perf_counter_ns() - start) / 1e9
                if round_:
                    file.latency_s.append(taken)
    for board in boards:
        counted = count_files({str(place): str(file.path) for place, file in enumerate(present)}, board=board)
        for place, file in enumerate(present):
            file.instructions[board] = counted[str(place)].total
    return max(float(np.abs(answer - answers[0]).max()) for answer in answers)


def fitted(x: np.ndarray, shape: Sequence[int]) -> np.ndarray:
    """Return x (1, c, [d,] h, w) as a model with inputs of another layout takes it."""
    return x if tuple(shape[1:]) == x.shape[1:] else np.ascontiguousarray(np.moveaxis(x, 1, -1))


def ratio(a: float, b: float) -> str:
    """Return a / b for a table."""
    return f"{a / b:.3f}" if b and not math.isnan(a) else "-"


def row(name: str, plain_file: File, our_file: File, difference: float, boards: Sequence[str]) -> dict[str, Any]:
    """Return the figures of one comparison."""

    def p50(file: File) -> float:
        return statistics.median(file.latency_s) if file.latency_s else math.nan

    found: dict[str, Any] = {
        "network": name,
        "plain_error": plain_file.error,
        "difference": difference,
        "size_bytes": [our_file.size_bytes, plain_file.size_bytes],
        "nodes": [our_file.nodes, plain_file.nodes],
        "p50_us": [round(p50(our_file) * 1e6, 1), round(p50(plain_file) * 1e6, 1)],
    }
    for board in boards:
        found[f"{board}_kinstructions"] = [
            round(file.instructions.get(board, 0) / 1e3, 1) for file in (our_file, plain_file)
        ]
    return found


def show(found: dict[str, Any]) -> None:
    """Print one comparison: ours, plain and their ratio for each figure."""
    parts = [
        f"{key} {pair[0]} / {pair[1] or '-'} = {ratio(pair[0], pair[1])}"
        for key, pair in found.items()
        if isinstance(pair, list)
    ]
    note = f"  plain fails: {found['plain_error']}" if found["plain_error"] else ""
    print(f"{found['network']:22s} " + "  ".join(parts) + f"  |Δ| {found['difference']:.1e}{note}", flush=True)


def main() -> None:
    """Convert, measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", choices=[*NETWORKS], default=[*NETWORKS])
    parser.add_argument("--run", nargs="*", type=Path, default=[], metavar="RUN")
    parser.add_argument("--formats", nargs="*", choices=FORMATS, default=FORMATS)
    parser.add_argument("--optimize", choices=["latency", "size"], default="latency")
    parser.add_argument("--boards", default="", help="comma-separated: pi3,pi4,pi5")
    parser.add_argument("--samples", type=int, default=2000)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    boards = [board for board in options.boards.split(",") if board]
    table = []
    networks: dict[str, Callable[[], Classifier]] = {name: NETWORKS[name] for name in options.only}
    if options.run:
        networks = {folder.name: Run.load(folder).load_classifier for folder in options.run}
    for name, build in networks.items():
        classifier = build().eval()
        x = np.random.default_rng(0).random((1, classifier.image_shape[-1], *classifier.image_shape[:-1]), np.float32)
        for model_format in options.formats:
            with tempfile.TemporaryDirectory() as temporary:
                folder = Path(temporary)
                (folder / "plain").mkdir()
                files = [
                    plain(classifier, model_format, folder / "plain"),
                    ours(classifier, model_format, folder, options.optimize),
                ]
                difference = measure(files, x, options.samples, boards)
                table.append(row(f"{name} {model_format}", *files, difference, boards))
                show(table[-1])
    if options.json:
        options.json.write_text(json.dumps(table, indent=2) + "\n")


if __name__ == "__main__":
    main()
