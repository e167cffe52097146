"""Proof beyond the runtimes: ONNX's own reference evaluator, and bytes that repeat from process to process."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx.reference import ReferenceEvaluator

from edgelnn.bundle import Bundle
from edgelnn.errors import ModelFileError, ParityError
from edgelnn.run import Run
from edgelnn_export import build_bundle
from edgelnn_export import onnx_reference as reference_module
from edgelnn_export.graph import Graph
from edgelnn_export.onnx_model import write_onnx
from edgelnn_export.onnx_reference import OnnxReference
from edgelnn_export.onnx_reference_operators import GRU, LSTM
from edgelnn_export.parity import reason_to_reject
from edgelnn_export.reference_evaluator import evaluate
from tests.helpers import files_under, run_python
from tests.operator_graphs import FUSED, SEQUENCE, inputs_for, make_graph

TOLERANCE = 1e-5


def onnx_nodes(graph: Graph) -> Sequence[Any]:
    return onnx.load_from_string(write_onnx(graph)).graph.node


def _names_activations(node: Any) -> bool:
    return any(attribute.name == "activations" for attribute in node.attribute)


@pytest.mark.parametrize("name", FUSED)
def test_recurrent_operators_in_the_reference_evaluator(name: str) -> None:
    graph = make_graph(SEQUENCE, FUSED[name], "channels_first")
    reference = OnnxReference(write_onnx(graph))
    own = any(node.op_type in ("LSTM", "GRU") and _names_activations(node) for node in onnx_nodes(graph))
    assert ("activations after the specification" in reference.name) == own
    assert own >= ("straight" in name)
    x = inputs_for(graph, 3)
    np.testing.assert_allclose(reference.run(x), evaluate(graph, x), rtol=TOLERANCE, atol=TOLERANCE)


USUAL = {"LSTM": ["Sigmoid", "Tanh", "Tanh"], "GRU": ["Sigmoid", "Tanh"]}


@pytest.mark.parametrize("before_reset", [0, 1])
@pytest.mark.parametrize(
    "name", ["lstm", "lstm_last", "lstm_reverse", "lstm_both", "lstm_both_last", "gru", "gru_last", "gru_reverse"]
)
def test_our_operators_are_the_evaluators_own_where_that_knows_the_activations(name: str, before_reset: int) -> None:
    graph = make_graph(SEQUENCE, FUSED[name], "channels_first")
    model = onnx.load_from_string(write_onnx(graph))
    (node,) = [each for each in model.graph.node if each.op_type in USUAL]
    if node.op_type == "GRU":
        kept = [each for each in node.attribute if each.name != "linear_before_reset"]
        del node.attribute[:]
        node.attribute.extend([*kept, onnx.helper.make_attribute("linear_before_reset", before_reset)])
    x = inputs_for(graph, 3)
    (theirs,) = ReferenceEvaluator(model).run(None, {"image": x})
    (unnamed,) = ReferenceEvaluator(model, new_ops=[LSTM, GRU]).run(None, {"image": x})
    named = USUAL[node.op_type] * (2 if "both" in name else 1)
    node.attribute.append(onnx.helper.make_attribute("activations", named))
    (ours,) = ReferenceEvaluator(model, new_ops=[LSTM, GRU]).run(None, {"image": x})
    np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(ours, unnamed)


@pytest.mark.parametrize("activation", ["Relu", "Sigmoid", "Softplus", "Softsign", "Tanh", "Affine"])
@pytest.mark.parametrize("kind", ["GRU", "LSTM"])
def test_activations_are_those_of_the_runtime(kind: str, activation: str) -> None:
    """As gate, as candidate and on the way out, with states to begin from."""
    rng = np.random.default_rng(0)
    gates, units = (4, 3) if kind == "LSTM" else (3, 3)
    weights = {
        "w": rng.normal(size=(1, gates * units, 2)),
        "r": rng.normal(size=(1, gates * units, units)) / 2,
        "b": rng.normal(size=(1, 2 * gates * units)),
        "h": rng.normal(size=(1, 1, units)),
        "c": rng.normal(size=(1, 1, units)),
    }
    inputs = ["x", "w", "r", "b", "", "h", *(["c"] if kind == "LSTM" else [])]
    for place in range(len(USUAL[kind])):
        names = list(USUAL[kind])
        names[place] = activation
        affine = {"activation_alpha": [0.5], "activation_beta": [0.1]} if activation == "Affine" else {}
        node = onnx.helper.make_node(kind, inputs, ["y"], activations=names, hidden_size=units, **affine)
        model = onnx.helper.make_model(
            onnx.helper.make_graph(
                [node],
                "g",
                [onnx.helper.make_tensor_value_info("x", 1, [4, 1, 2])],
                [onnx.helper.make_tensor_value_info("y", 1, [4, 1, 1, units])],
                [onnx.numpy_helper.from_array(v.astype(np.float32), n) for n, v in weights.items() if n in inputs],
            ),
            opset_imports=[onnx.helper.make_opsetid("", 17)],
            ir_version=8,
        )
        content = model.SerializeToString()
        x = rng.normal(size=(4, 1, 2)).astype(np.float32)
        session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
        (expected,) = session.run(None, {"x": x})
        np.testing.assert_allclose(OnnxReference(content).run(x), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("attributes", "words"),
    [({"clip": 1.0}, "clip"), ({"activations": ["Sigmoid", "Elu", "Tanh"]}, "Elu")],
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
build_bundle(Run.load(sys.argv[1]), sys.argv[2], quantize=True, measure=False)
"""


@pytest.mark.slow
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
