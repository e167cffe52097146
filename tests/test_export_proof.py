"""Proof beyond the runtimes: ONNX's own reference evaluator, and bytes that repeat from process to process."""

from __future__ import annotations

import json
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx.reference import ReferenceEvaluator

from edgelnn.bundle import Bundle
from edgelnn.errors import ModelFileError, ParityError
from edgelnn.run import Run
from edgelnn_export import build_bundle
from edgelnn_export import onnx_reference as reference_module
from edgelnn_export.onnx_model import write_onnx
from edgelnn_export.onnx_reference import LSTM, OnnxReference
from edgelnn_export.parity import reason_to_reject
from edgelnn_export.reference_evaluator import evaluate
from tests.helpers import files_under, run_python
from tests.operator_graphs import FUSED, SEQUENCE, inputs_for, make_graph

TOLERANCE = 1e-5


@pytest.mark.parametrize("name", FUSED)
def test_recurrent_operators_in_the_reference_evaluator(name: str) -> None:
    graph = make_graph(SEQUENCE, FUSED[name], "channels_first")
    reference = OnnxReference(write_onnx(graph))
    assert ("LSTM activations after its specification" in reference.name) == ("straight" in name)
    x = inputs_for(graph, 3)
    np.testing.assert_allclose(reference.run(x), evaluate(graph, x), rtol=TOLERANCE, atol=TOLERANCE)


@pytest.mark.parametrize("name", ["lstm", "lstm_last", "lstm_reverse", "lstm_both", "lstm_both_last"])
def test_our_lstm_is_the_evaluators_own_where_that_knows_the_activations(name: str) -> None:
    graph = make_graph(SEQUENCE, FUSED[name], "channels_first")
    model = onnx.load_from_string(write_onnx(graph))
    x = inputs_for(graph, 3)
    (theirs,) = ReferenceEvaluator(model).run(None, {"image": x})
    for node in model.graph.node:
        if node.op_type == "LSTM":
            both = 2 if "both" in name else 1
            node.attribute.append(onnx.helper.make_attribute("activations", ["Sigmoid", "Tanh", "Tanh"] * both))
    (ours,) = ReferenceEvaluator(model, new_ops=[LSTM]).run(None, {"image": x})
    np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(
    ("attributes", "words"),
    [({"clip": 1.0}, "clip"), ({"activations": ["Sigmoid", "Softsign", "Tanh"]}, "Softsign")],
)
def test_what_our_lstm_does_not_know_it_says(attributes: Mapping[str, Any], words: str) -> None:
    graph = make_graph(SEQUENCE, FUSED["lstm_straight"], "channels_first")
    model = onnx.load_from_string(write_onnx(graph))
    (node,) = [each for each in model.graph.node if each.op_type == "LSTM"]
    for name, value in attributes.items():
        kept = [each for each in node.attribute if each.name != name]
        del node.attribute[:]
        node.attribute.extend([*kept, onnx.helper.make_attribute(name, value)])
    reference = OnnxReference(model.SerializeToString())
    with pytest.raises(ModelFileError, match=words):
        reference.run(inputs_for(graph, 1))


def test_the_manifest_names_the_evaluator_and_its_difference(tiny_bundle: Bundle) -> None:
    for variant in tiny_bundle.manifest.variants:
        if variant.name == "onnx-float32":
            ((name, difference),) = variant.references.items()
            assert name.startswith("onnx.reference ")
            assert 0 <= difference < TOLERANCE
        else:
            assert variant.references == {}
    text = json.loads((tiny_bundle.folder / "manifest.json").read_text())
    assert text["variants"][0]["references"]


def test_a_file_that_the_reference_evaluator_sees_otherwise_is_not_kept(
    tiny_run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = OnnxReference.run
    monkeypatch.setattr(reference_module.OnnxReference, "run", lambda self, x: plain(self, x) + np.float32(1e-3))
    with pytest.raises(ParityError, match=r"in onnx\.reference .* a probability differs by 1\.0e-03"):
        build_bundle(tiny_run, tmp_path / "b", formats=["onnx"])
    assert not (tmp_path / "b").exists()


def test_differences_in_other_evaluators_are_reasons() -> None:
    good = {"auc_drop": 0.0}
    assert reason_to_reject(0.0, 1e-4, good, 0.02, {"e": 1e-5}) == ""
    assert "in e a probability" in reason_to_reject(0.0, 1e-4, good, 0.02, {"e": float("inf")})


EXPORT = """
import sys
from edgelnn.run import Run
from edgelnn_export import build_bundle
build_bundle(Run.load(sys.argv[1]), sys.argv[2], quantize=True)
"""


def test_exports_repeat_byte_for_byte_whatever_the_hash_seed(tiny_run: Run, tmp_path: Path) -> None:
    def export(seed: str) -> dict[str, bytes]:
        code = f"import sys; sys.argv[1:] = [{str(tiny_run.folder)!r}, {str(tmp_path / seed)!r}]\n{EXPORT}"
        run_python(code, environment={"PYTHONHASHSEED": seed})
        return files_under(tmp_path / seed)

    with ThreadPoolExecutor(2) as processes:
        first, second = processes.map(export, ["1", "2"])
    assert first.keys() == second.keys()
    assert [name for name in first if first[name] != second[name]] == []
    assert {"golden.npz", "model-float32.onnx", "model-float32.tflite"} < first.keys()
    assert len([name for name in first if name.startswith("model-") and "float32.o" not in name]) >= 3
