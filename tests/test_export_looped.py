"""What every head computes in either form, and files made for size: hardly larger than what they have to hold."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import pytest
import torch

from edgelnn.bundle import Bundle
from edgelnn.errors import ConfigError
from edgelnn.models import Classifier, ModelSpec, build_classifier
from edgelnn.preprocessing import Layout
from edgelnn.run import Run
from edgelnn_export import build_bundle
from edgelnn_export.graph import Graph, all_nodes
from edgelnn_export.inspection import inspect_model
from edgelnn_export.lowering import Optimize, Target, lower
from edgelnn_export.lowering.looped_ltc import compact_synapses
from edgelnn_export.lowering.weights import SynapseTable
from edgelnn_export.onnx_model import write_onnx
from edgelnn_export.onnx_reference import OnnxReference
from edgelnn_export.reference_evaluator import evaluate
from edgelnn_export.tflite_model import write_tflite
from edgelnn_profiling.runtimes import load_runtime

TARGETS: Final[tuple[Target, ...]] = ("onnx", "tflite")
LAYOUTS: Final[Mapping[Target, Layout]] = {"onnx": "channels_first", "tflite": "channels_last"}
TOLERANCE: Final = 1e-6
NCP: Final = {
    "inter": 7,
    "command": 5,
    "motor": 3,
    "sensory_fanout": 3,
    "inter_fanout": 2,
    "recurrent_command_synapses": 4,
    "motor_fanin": 2,
}
HEADS: Final[Mapping[str, Mapping[str, Any]]] = {
    "cfc": {"kind": "cfc", "units": 14},
    "cfc mean": {"kind": "cfc", "units": 14, "readout": "mean"},
    "cfc pure": {"kind": "cfc", "units": 14, "mode": "pure"},
    "cfc no_gate": {"kind": "cfc", "units": 14, "mode": "no_gate"},
    "cfc full": {"kind": "cfc", "units": 9, "wiring": "full"},
    "cfc both ways": {"kind": "cfc", "units": 14, "bidirectional": True},
    "cfc stacked": {"kind": "cfc", "units": [14, 12], "outputs": [5, 4], "activation": "tanh"},
    "ltc stacked": {"kind": "ltc", "units": [14, 12], "outputs": [5, 4], "activation": "relu"},
    "cfc joined": {"kind": "cfc", "units": [14, 12], "readout": "joined"},
    "cfc dense": {"kind": "cfc", "units": 9, "wiring": "none"},
    "cfc dense pure": {"kind": "cfc", "units": 9, "wiring": "none", "mode": "pure", "readout": "mean"},
    "ltc": {"kind": "ltc", "units": 14},
    "ltc full": {"kind": "ltc", "units": 9, "wiring": "full"},
    "ltc full wide": {"kind": "ltc", "units": 16, "wiring": "full", "readout": "mean"},
    "ltc without circles": {"kind": "ltc", "units": 16, "wiring_seed": 10},
    "ltc without circles mean": {"kind": "ltc", "units": 16, "wiring_seed": 10, "readout": "mean"},
    "ltc without circles, one solver step": {"kind": "ltc", "units": 16, "wiring_seed": 10, "ode_unfolds": 1},
    "ltc mean": {"kind": "ltc", "units": 14, "readout": "mean"},
    "ltc both ways": {"kind": "ltc", "units": 14, "bidirectional": True, "readout": "joined"},
    "lstm": {"kind": "lstm", "units": 7},
    "lstm both ways": {"kind": "lstm", "units": 7, "bidirectional": True, "layers": 2, "readout": "mean"},
    "gru": {"kind": "gru", "units": 7},
    "gru both ways": {"kind": "gru", "units": 7, "bidirectional": True, "layers": 2},
    "lstm of own units": {"kind": "lstm", "units": [7, 4], "linear": False, "readout": "mean"},
    "rnn": {"kind": "rnn", "units": 7},
    "rnn both ways": {"kind": "rnn", "units": [7, 5], "bidirectional": True, "readout_activation": "relu"},
    "rnn mean": {"kind": "rnn", "units": 7, "readout": "mean", "readout_activation": "relu"},
    "ltc ncp": {"kind": "ltc", "wiring": "ncp", "ncp": NCP, "readout": "joined"},
    "cfc ncp": {"kind": "cfc", "wiring": "ncp", "ncp": [NCP, NCP], "batch_norm": True, "activation": "tanh"},
    "ltc random": {"kind": "ltc", "wiring": "random", "units": 9, "sparsity": 0.7, "batch_norm": True},
    "cfc random": {"kind": "cfc", "wiring": "random", "units": 9, "readout": "mean", "bidirectional": True},
    "reservoir": {"kind": "reservoir", "units": 20},
    "reservoir mean": {"kind": "reservoir", "units": 20, "readout": "mean", "leak": 1.0},
    "reservoir joined": {"kind": "reservoir", "units": 20, "readout": "joined", "leak": 0.2},
    "dense mean of hidden": {"kind": "dense", "widths": [7, 5], "readout": "mean", "mean_of": "hidden"},
    "dense normed": {"kind": "dense", "widths": [7], "readout": "joined", "batch_norm": True},
}


def classifier(head: Mapping[str, Any], *, size: int, classes: int = 4, scan: str = "rows") -> Classifier:
    """Return a classifier none of whose numbers are what they are by default."""
    spec = ModelSpec.model_validate({"scan": {"kind": scan}, "head": dict(head)})
    model = build_classifier(spec, image_shape=(size, size, 1), task="multi-class", classes=classes, seed=3).eval()
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * parameter.abs() * torch.randn(parameter.shape, generator=generator))
            parameter.add_(0.01 * torch.rand(parameter.shape, generator=generator))
    return model


def write(graph: Graph, target: Target) -> bytes:
    return write_onnx(graph) if target == "onnx" else write_tflite(graph)


def images(model: Classifier, count: int = 3) -> torch.Tensor:
    *space, channels = model.image_shape
    return torch.rand(count, channels, *space, generator=torch.Generator().manual_seed(1)) * 2 - 1


def expected(model: Classifier, x: torch.Tensor) -> np.ndarray:
    with torch.no_grad():
        return model.probabilities(x).numpy()


def arranged(x: torch.Tensor, target: Target) -> np.ndarray:
    return x.numpy() if target == "onnx" else np.ascontiguousarray(np.moveaxis(x.numpy(), 1, -1))


def made(model: Classifier, target: Target, optimize: Optimize = "size") -> Graph:
    return lower(model, layout=LAYOUTS[target], target=target, optimize=optimize)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("optimize", ["latency", "size"])
@pytest.mark.parametrize("name", HEADS)
def test_heads_compute_what_torch_does(name: str, optimize: Optimize, target: Target, tmp_path: Path) -> None:
    model = classifier(HEADS[name], size=6)
    graph, x = made(model, target, optimize), images(model)
    wanted, given = expected(model, x), arranged(x, target)
    np.testing.assert_allclose(evaluate(graph, given), wanted, atol=TOLERANCE, rtol=0)
    file = tmp_path / f"model.{target}"
    file.write_bytes(write(graph, target))
    np.testing.assert_allclose(load_runtime(file).run(given), wanted, atol=TOLERANCE, rtol=0)


@pytest.mark.parametrize("name", ["cfc both ways", "ltc", "ltc mean"])
def test_loops_in_onnx_own_evaluator(name: str) -> None:
    model = classifier(HEADS[name], size=6)
    x = images(model)
    found = OnnxReference(write_onnx(made(model, "onnx"))).run(x.numpy())
    np.testing.assert_allclose(found, expected(model, x), atol=TOLERANCE, rtol=0)


@pytest.mark.parametrize(
    ("head", "target", "limit", "loops"),
    [
        # Folded, the CfC's weights take 11.7 kB and the LTC's live ones 5.2 kB.
        ("cfc", "onnx", 14_000, 1),
        ("cfc", "tflite", 18_500, 1),
        ("ltc", "onnx", 8_500, 2),
        ("ltc", "tflite", 13_400, 2),
    ],
)
def test_bytes_of_the_reference_networks(head: str, target: Target, limit: int, loops: int) -> None:
    model = classifier({"kind": head, "units": 32}, size=28, classes=10)
    graph = made(model, target)
    assert sum(node.op == "loop" for node in all_nodes(graph.nodes)) == loops
    data = write(graph, target)
    assert len(data) <= limit
    assert not inspect_model(data).holds_integers


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("name", ["cfc both ways", "cfc dense", "ltc", "lstm", "gru both ways"])
def test_files_for_size_are_never_larger(name: str, target: Target) -> None:
    model = classifier(HEADS[name], size=6)
    sizes = {optimize: len(write(made(model, target, optimize), target)) for optimize in ("latency", "size")}
    assert sizes["size"] <= sizes["latency"]


@pytest.mark.parametrize("target", TARGETS)
def test_where_loops_do_not_pay_there_are_none(target: Target) -> None:
    graph = made(classifier({"kind": "gru", "units": 3}, size=2), target)
    assert all(node.op != "loop" for node in graph.nodes)


def test_compact_synapses_are_all_there_is() -> None:
    numbers = np.arange(1.0, 6.0)
    target = np.array([4, 2, 4, 2, 4])
    table = SynapseTable(np.array([0, 1, 2, 0, 1]), target, numbers, -numbers, 10 * numbers, 100 * numbers)
    compact = compact_synapses(table)
    assert (compact.first, compact.targets, compact.places) == (2, 3, 3)
    summed = compact.effects[:, compact.order].reshape(2, 3, 3).mean(axis=2)
    np.testing.assert_allclose(summed, [[60, 0, 90], [600, 0, 900]])
    assert len(compact.gain) == len(table) + 1


def test_a_bundle_for_size(tiny_run: Run, tiny_bundle: Bundle, tmp_path: Path) -> None:
    bundle = build_bundle(tiny_run, tmp_path / "bundle", optimize="size")
    assert (tiny_bundle.manifest.choice.optimize, bundle.manifest.choice.optimize) == ("latency", "size")
    for target in TARGETS:
        fast, small = (each.variant(f"{target}-float32") for each in (tiny_bundle, bundle))
        assert small.size_bytes < fast.size_bytes
        assert small.parity_max_error <= TOLERANCE


def test_what_to_optimize_for_has_to_be_known(tiny_run: Run, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="got optimize='bytes'; expected one of latency, size"):
        build_bundle(tiny_run, tmp_path / "bundle", optimize="bytes")
    assert not (tmp_path / "bundle").exists()
