"""Files that take uint8 pixels as they are."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from edgelnn.bundle import Bundle
from edgelnn.errors import BundleError, ConfigError, ExportError
from edgelnn.models import ModelSpec, build_classifier
from edgelnn.preprocessing import Layout, Preprocessing
from edgelnn.run import Run
from edgelnn_export import build_bundle
from edgelnn_export.graph_builder import GraphBuilder
from edgelnn_export.inspection import inspect_model
from edgelnn_export.lowering import Target, lower
from edgelnn_export.onnx_model import write_onnx
from edgelnn_export.reference_evaluator import evaluate
from edgelnn_export.tflite_model import write_tflite
from edgelnn_profiling.runtimes import load_runtime
from tests.helpers import run_cli

FORMS: list[tuple[Target, Layout]] = [("onnx", "channels_first"), ("tflite", "channels_last")]
CONV: dict[str, Any] = {"kind": "conv", "layers": [{"channels": 4, "kernel": 3, "pool": 2}]}
PADDED: dict[str, Any] = {"kind": "conv", "layers": [{"channels": 4, "kernel": 3, "padding": 1, "pool": 2}]}
CASES: dict[str, tuple[dict[str, Any], tuple[int, ...], Any, Any, bool]] = {
    # stem, image shape, mean, std, whether the numbers go into weights
    "convolution": (CONV, (8, 8, 1), 0.5, 0.25, True),
    "padded convolution": (PADDED, (8, 8, 1), 0.5, 0.25, False),
    "colors": (CONV, (8, 8, 3), (0.4, 0.5, 0.6), (0.2, 0.3, 0.25), True),
    "padded colors": (PADDED, (8, 8, 3), (0.4, 0.5, 0.6), (0.2, 0.3, 0.25), False),
    "rows": ({"kind": "identity"}, (8, 8, 1), 0.5, 0.5, True),
    "rows of colors": ({"kind": "identity"}, (8, 8, 3), (0.4, 0.5, 0.6), 0.5, False),
    "slices": (CONV, (6, 8, 8, 1), 0.3, 0.5, True),
}


@pytest.mark.parametrize(("target", "layout"), FORMS, ids=[target for target, _ in FORMS])
@pytest.mark.parametrize("head", ["cfc", "ltc", "lstm", "gru", "dense"])
@pytest.mark.parametrize("name", CASES)
def test_pixels_give_what_numbers_made_of_them_gave(
    name: str, head: str, target: Target, layout: Layout, tmp_path: Path
) -> None:
    stem, shape, mean, std, folded = CASES[name]
    scan = {"scan": {"kind": "slices"}} if len(shape) == 4 else {}
    spec = ModelSpec.model_validate(
        {"stem": stem, **scan, "head": {"kind": head, **({} if head == "dense" else {"units": 9})}}
    )
    model = build_classifier(spec, image_shape=shape, task="multi-class", classes=3, seed=1).eval()
    made, raw = Preprocessing(shape, mean, std), Preprocessing(shape, mean, std, input_type="uint8")
    graph = lower(model, layout=layout, target=target, preprocessing=raw)
    assert graph.input_type == "uint8"
    assert ("multiply" in [node.op for node in graph.nodes[:3]]) == (not folded)
    images = np.random.default_rng(2).integers(0, 256, (3, *shape), np.uint8)
    with torch.no_grad():
        wanted = model.probabilities(torch.from_numpy(made(images))).numpy()
    np.testing.assert_allclose(evaluate(graph, raw(images, layout)), wanted, atol=1e-6, rtol=0)
    file = tmp_path / f"model.{target}"
    file.write_bytes(write_onnx(graph) if target == "onnx" else write_tflite(graph))
    runtime = load_runtime(file)
    assert runtime.input.dtype == "uint8"
    assert not inspect_model(file).holds_integers
    np.testing.assert_allclose(runtime.run(raw(images, layout)), wanted, atol=1e-6, rtol=0)


def test_preprocessing_leaves_pixels_as_they_are() -> None:
    images = np.arange(2 * 3 * 4 * 2, dtype=np.uint8).reshape(2, 3, 4, 2)
    raw = Preprocessing((3, 4, 2), input_type="uint8")
    assert raw(images, "channels_last").dtype == np.uint8
    np.testing.assert_array_equal(raw(images), np.moveaxis(images, -1, 1))


def test_nothing_but_pixels_reads_an_input_of_uint8() -> None:
    builder = GraphBuilder((1, 4), "channels_first", input_type="uint8")
    with pytest.raises(ExportError, match="got an input of uint8; pixels, and nothing else, reads one of uint8"):
        builder.finish(builder.tanh(builder.input))


def test_a_bundle_of_files_that_take_pixels(tiny_run: Run, tiny_bundle: Bundle, tmp_path: Path) -> None:
    bundle = build_bundle(tiny_run, tmp_path / "bundle", quantize=True, measure=False, input_type="uint8")
    manifest = bundle.manifest
    assert manifest.preprocessing == replace(tiny_bundle.manifest.preprocessing, input_type="uint8")
    for variant in manifest.variants:
        assert variant.input.dtype == "uint8"
        assert variant.tolerance is None or variant.parity_max_error <= 1e-6
    assert any("int8" in variant.name or "wi8" in variant.name for variant in manifest.variants)
    checked = subprocess.run(
        [sys.executable, bundle.folder / "predict.py", "--check"], capture_output=True, text=True, check=False
    )
    assert checked.returncode == 0, checked.stderr
    images = tmp_path / "images.npy"
    np.save(images, np.load(bundle.folder / "golden.npz")["images"][:2])
    answers = [run_cli("predict", each.folder, images, "--json").json for each in (bundle, tiny_bundle)]
    pairs = zip(*(answer["predictions"] for answer in answers), strict=True)
    assert all(one["classes"] == other["classes"] for one, other in pairs), json.dumps(answers)


def test_a_manifest_whose_files_take_something_else_is_refused(tiny_bundle: Bundle) -> None:
    text = tiny_bundle.manifest.to_json().replace('"input_type": "float32"', '"input_type": "uint8"')
    with pytest.raises(BundleError, match=r"input\.dtype"):
        type(tiny_bundle.manifest).from_json(text)


def test_the_type_of_input_has_to_be_known(tiny_run: Run, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="got the input type 'int4'; expected float32 or uint8"):
        build_bundle(tiny_run, tmp_path / "bundle", input_type="int4")
