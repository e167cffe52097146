"""Every head in the form made for latency: as exact as torch in both formats, and quantized to something sensible."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from edgelnn.errors import ExportError
from edgelnn.models import Classifier
from edgelnn.models.heads import Reservoir
from edgelnn_export.graph import all_nodes
from edgelnn_export.inspection import inspect_model
from edgelnn_export.macs import graph_macs
from edgelnn_export.onnx_reference import OnnxReference
from edgelnn_export.quantization import RECIPES
from edgelnn_export.quantization.onnx_quantizer import quantize_onnx
from edgelnn_export.quantization.tflite_quantizer import quantize_tflite
from edgelnn_export.reference_evaluator import evaluate
from edgelnn_profiling.runtimes import load_runtime
from tests.test_export_looped import HEADS, TARGETS, TOLERANCE, arranged, classifier, expected, images, made, write

WIDE = {
    "rnn": {"kind": "rnn", "units": 40, "readout": "mean", "readout_activation": "relu"},
    "lstm": {"kind": "lstm", "units": [24, 4], "linear": False, "readout": "mean"},
    "ltc": {**HEADS["ltc ncp"], "batch_norm": True},
    "cfc": {"kind": "cfc", "wiring": "random", "units": 20},
    "reservoir": {"kind": "reservoir", "units": 60},
    "dense": {"kind": "dense", "widths": [40, 20], "readout": "mean", "mean_of": "hidden"},
}


def trained(head: Mapping[str, Any], size: int = 6) -> Classifier:
    """Return a classifier with a head, statistics of its batch norm included, as a training might leave it."""
    model = classifier(head, size=size)
    generator = torch.Generator().manual_seed(9)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm1d):
            module.running_mean.add_(torch.randn(module.num_features, generator=generator))
            module.running_var.add_(torch.rand(module.num_features, generator=generator))
        elif isinstance(module, Reservoir):
            module.center.add_(torch.randn(module.center.shape, generator=generator) / 10)
    return model


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("name", HEADS)
def test_files_compute_what_torch_does(name: str, target: str, tmp_path: Path) -> None:
    model = trained(HEADS[name])
    graph, x = made(model, target, "latency"), images(model)
    wanted, given = expected(model, x), arranged(x, target)
    np.testing.assert_allclose(evaluate(graph, given), wanted, atol=TOLERANCE, rtol=0)
    file = tmp_path / f"model.{target}"
    file.write_bytes(write(graph, target))
    np.testing.assert_allclose(load_runtime(file).run(given), wanted, atol=TOLERANCE, rtol=0)
    if target == "onnx":
        np.testing.assert_allclose(OnnxReference(file.read_bytes()).run(given), wanted, atol=TOLERANCE, rtol=0)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("name", WIDE)
def test_quantized_files_stay_near_or_say_why_not(name: str, target: str, tmp_path: Path) -> None:
    """Every recipe makes a file of integers that decides much alike, or names what it lacks."""
    model = trained(WIDE[name], size=12)
    data = write(made(model, target, "latency"), target)
    x = images(model, 32)
    wanted, given, made_any = expected(model, x), arranged(x, target), []
    quantize = quantize_onnx if target == "onnx" else quantize_tflite
    for recipe in ("weight_only_wi8_afp32", "dynamic_wi8_afp32", "static_wi8_ai8"):
        with contextlib.suppress(ExportError):
            small = quantize(data, RECIPES[recipe], given if RECIPES[recipe].needs_calibration else None)
            made_any.append(recipe)
        if recipe not in made_any:
            continue
        file = tmp_path / f"{recipe}.{target}"
        file.write_bytes(small)
        found = load_runtime(file).run(given)
        assert np.abs(found - wanted).max() < 0.1, recipe
    assert made_any


RECURRENT = {
    "reservoir": {"kind": "reservoir", "units": 90, "readout": "mean"},
    "lstm": {"kind": "lstm", "units": 40},
    "cfc": {"kind": "cfc", "units": 40, "bidirectional": True},
}


@pytest.mark.parametrize("recipe", ["weight_only_wi8_afp32", "dynamic_wi8_afp32", "mixed_wi8_ai8", "static_wi8_ai8"])
@pytest.mark.parametrize("name", RECURRENT)
def test_weights_in_the_body_of_a_loop_are_quantized_too(name: str, recipe: str, tmp_path: Path) -> None:
    """All but the static recipe, which leaves a recurrence as it is, make the file a good deal smaller."""
    model = trained(RECURRENT[name], size=12)
    data, x = write(made(model, "tflite", "size"), "tflite"), images(model, 8)
    given = arranged(x, "tflite")
    file = tmp_path / "small.tflite"
    file.write_bytes(quantize_tflite(data, RECIPES[recipe], given if RECIPES[recipe].needs_calibration else None))
    assert np.abs(load_runtime(file).run(given) - expected(model, x)).max() < 0.03
    assert inspect_model(file.read_bytes()).holds_integers
    assert file.stat().st_size < len(data) * (1 if recipe == "static_wi8_ai8" else 0.6)


@pytest.mark.parametrize("target", TARGETS)
def test_a_large_reservoir_stands_in_the_file_once(target: str) -> None:
    """1000 units by 1000 units of 4 bytes, whatever the sparsity, and hardly more."""
    head = {"kind": "reservoir", "units": 1000, "sparsity": 0.9}
    graph = made(classifier(head, size=28, classes=10), target, "latency")
    data = write(graph, target)
    assert 4_000_000 < len(data) < 4_000_000 + 4 * 1000 * (28 + 10 + 2) + 20_000
    assert sum(node.op == "loop" for node in all_nodes(graph.nodes)) == 1
    assert graph_macs(graph).total == 28 * 1000 * 28 + 28 * 1000 * 1000 + 1000 * 10
    assert inspect_model(data).macs == graph_macs(graph).total


def test_a_reservoir_of_one_step_needs_no_recurrent_weights() -> None:
    model = classifier({"kind": "reservoir", "units": 50}, size=6)
    graph = made(model, "onnx", "latency")
    assert any(node.op == "loop" for node in graph.nodes)
    flat = classifier({"kind": "reservoir", "units": 50}, size=6, scan="flatten")
    graph = made(flat, "onnx", "latency")
    assert not any(node.op == "loop" for node in graph.nodes)
    assert graph.constant_bytes() == 4 * (50 * 36 + 50 + 50 + 4 * 50 + 4)
    x = images(flat)
    np.testing.assert_allclose(evaluate(graph, x.numpy()), expected(flat, x), atol=TOLERANCE, rtol=0)


def test_an_rnn_is_one_operator_of_onnx() -> None:
    graph = made(classifier(HEADS["rnn"], size=6), "onnx", "latency")
    assert [node.op for node in graph.nodes if node.part == "head"] == ["reshape", "rnn", "linear"]
    assert graph_macs(graph).by_part["head"] == 6 * 7 * (6 + 7) + 7 * 4
