"""Which quantized files are kept and recommended: calibrations, layers, bytes and costs, by figures made by hand."""

import numpy as np
import pytest

from edgelnn.errors import ConfigError, ExportError, ParityError, ProfileError
from edgelnn.preprocessing import Preprocessing
from edgelnn_export import build_bundle
from edgelnn_export.costs import CostMeter, latency_here
from edgelnn_export.graph_builder import GraphBuilder
from edgelnn_export.inspection import inspect_model
from edgelnn_export.listener import Check
from edgelnn_export.onnx_model import write_onnx
from edgelnn_export.quantization import RECIPES, Candidate
from edgelnn_export.quantization.choice import conclude, reasons_to_drop, recommend
from edgelnn_export.quantization.onnx_quantizer import quantize_onnx
from edgelnn_export.quantization.ranges import CALIBRATIONS, Activations, find_range
from edgelnn_export.quantization.scope import REST
from edgelnn_export.quantization.sensitivity import Loss, choose_calibration, choose_plan
from edgelnn_export.quantization.tflite_quantizer import quantize_tflite
from edgelnn_export.tflite_model import write_tflite
from edgelnn_profiling import load_runtime
from edgelnn_profiling.manager import variant_request
from edgelnn_profiling.proving import Measured, Proof
from tests.test_export_quantization import variant

QUANTIZED = [name for name in RECIPES if name != "float32"]


def check(recipe, size_bytes, cost=None, auc=0.9, required=False, model_format="onnx"):
    candidate = Candidate(model_format, RECIPES[recipe], required or recipe == "float32")
    return Check(candidate, kept=True, size_bytes=size_bytes, validation={"auc": auc}, cost=cost)


def dropped(*checks, **rules):
    return [name.partition("-")[2] for name in reasons_to_drop(checks, **rules)]


# The Pareto set


def test_without_costs_the_smallest_file_is_left_beside_float32():
    assert dropped(check("float32", 100), check("float16", 50), check("static_wi8_ai8", 30)) == ["float16"]


def test_what_is_beaten_in_bytes_and_cost_is_dropped_and_says_by_what():
    checks = [check("float32", 100, 10.0), check("float16", 50, 10.0), check("static_wi8_ai8", 30, 4.0)]
    reasons = reasons_to_drop(checks)
    assert reasons == {
        "onnx-float16": "onnx-static_wi8_ai8 beats it: 30 bytes against 50, at 0.40 of the cost",
    }
    assert dropped(check("float32", 100, 10.0), check("float16", 50, 3.0), check("static_wi8_ai8", 30, 4.0)) == []


def test_noise_neither_drops_a_file_nor_saves_one():
    # 3 % faster is no reason to keep a larger file, and 3 % slower none to drop a smaller one.
    assert dropped(check("float16", 50, 0.97), check("static_wi8_ai8", 30, 1.0), noise=0.05) == ["float16"]
    assert dropped(check("float16", 50, 0.90), check("static_wi8_ai8", 30, 1.0), noise=0.05) == []
    # Each is compared with what is kept, not with what was dropped: 8 % is more than noise.
    steps = (check("weight_only_wi8_afp32", 30, 1.0), check("dynamic_wi8_afp32", 40, 0.96), check("float16", 50, 0.92))
    assert dropped(*steps, noise=0.05) == ["dynamic_wi8_afp32"]


def test_what_loses_auc_beats_nothing():
    assert dropped(check("float16", 50, 1.0), check("static_wi8_ai8", 30, 1.0, auc=0.894)) == []
    assert dropped(check("float16", 50, 1.0), check("static_wi8_ai8", 30, 1.0, auc=0.896)) == ["float16"]


def test_formats_do_not_compete_and_what_was_asked_for_stays():
    assert dropped(check("float16", 50), check("static_wi8_ai8", 30, model_format="tflite")) == []
    assert dropped(check("float16", 50, required=True), check("static_wi8_ai8", 30)) == []


def test_a_board_keeps_nothing_that_costs_more_there_than_float32():
    checks = (check("float32", 100, 1000.0), check("static_wi8_ai8", 30, 1001.0), check("float16", 50, 1000.0))
    assert dropped(*checks, no_more_than_float32=True) == ["static_wi8_ai8"]
    assert dropped(*checks) == []


def test_the_cheapest_file_that_loses_nothing_is_recommended():
    files = [
        variant("float32", 100, 0.9, 1.0),
        variant("float16", 50, 0.9, 1.0),
        variant("static_wi8_ai8", 30, 0.9, 1.0),
    ]
    names = [each.name for each in files]
    for costs, noise, winner in (
        ((3.0, 2.0, 2.5), 0.05, "float16"),
        ((3.0, 2.0, 2.05), 0.05, "static_wi8_ai8"),
        ((1.0, 2.0, 2.0), 0.05, "float32"),
        ((3.0, 2.0, 2.05), 0.0, "float16"),
    ):
        found = recommend(files, 0.9, dict(zip(names, costs, strict=True)), noise)
        assert found.name == f"onnx-{winner}", costs


def test_a_conclusion_says_why_a_cheaper_file_is_not_recommended():
    float32 = variant("float32", 100, 0.9, 1.0)
    other = variant("float16", 50, 0.9, 0.9)
    worse = variant("static_wi8_ai8", 30, 0.89, 1.0)
    both = variant("dynamic_wi8_afp32", 40, 0.8, 0.5)
    dear = variant("weight_only_wi8_afp32", 35, 0.8, 0.5)
    files = [float32, other, worse, both, dear]
    costs = {each.name: cost for each, cost in zip(files, (3.0, 2.0, 1.0, 2.5, 4.0), strict=True)}
    otherwise, loses = "onnx-float16 decides otherwise too often", "onnx-static_wi8_ai8 loses more than 0.005 of AUC"
    said = "onnx-float32 is recommended: on the validation split "
    assert conclude([float32, other], float32, costs) == f"{said}{otherwise}."
    assert conclude([float32, worse], float32, costs) == f"{said}{loses}."
    assert conclude([float32, worse], float32, {}) == f"{said}{loses}."
    twice = "onnx-dynamic_wi8_afp32 decides otherwise too often and loses more than 0.005 of AUC"
    assert conclude(files, float32, costs) == f"{said}{otherwise}, {loses}, {twice}."
    assert "costs no less" in conclude([float32, dear], float32, costs)
    assert "no smaller" in conclude([float32, variant("float16", 120, 0.9, 1.0)], float32, {})
    near = variant("float16", 120, 0.9, 1.0)  # a little cheaper, within noise, and larger: it has no fault
    assert "float32 is the best there is" in conclude([float32, near], float32, costs)


# In an export


def meter(cost_of):
    return CostMeter("seconds", "", 0.05, lambda files, proof: Measured({name: cost_of(name) for name in files}))


def test_an_export_keeps_the_pareto_set_and_tells_why(tiny_run, tmp_path):
    costs = {"onnx-dynamic_wi8_afp32": 3.0, "onnx-static_wi8_ai8": 1.0}
    bundle = build_bundle(
        tiny_run, tmp_path / "b", formats=["onnx"], quantize=True, meter=meter(lambda name: costs.get(name, 2.0))
    )
    manifest = bundle.manifest
    names = [each.name for each in manifest.variants]
    assert names[0] == "onnx-float32"
    assert "onnx-dynamic_wi8_afp32" not in names
    assert manifest.recommended == "onnx-static_wi8_ai8" in names
    assert "of the cost of float32" in manifest.choice.conclusion
    assert manifest.choice.costs["onnx-dynamic_wi8_afp32"] == 3.0
    figures = {each.name: each.figures for each in manifest.rejected}
    assert figures["onnx-dynamic_wi8_afp32"].keys() >= {"auc", "auc_drop", "agreement", "size_bytes", "cost"}
    assert {*names, *figures} == {f"onnx-{name}" for name in RECIPES}
    assert "no kernels for products of 16-bit" in next(
        each.reason for each in manifest.rejected if each.name == "onnx-static_wi8_ai16"
    )
    tried = [each for each in manifest.choice.calibrations if each.candidate == "onnx-static_wi8_ai8"]
    assert [each.calibration for each in tried] == ["min_max", "percentile", "entropy"]
    assert sum(each.chosen for each in tried) == 1
    assert {each.layer for each in manifest.choice.layers} >= {REST}
    assert all(each.chosen in ("static", "weight_only", "float32") for each in manifest.choice.layers)


@pytest.mark.parametrize("wrong", ["tflite-float16", "tflite-float32"])
def test_a_file_that_is_not_the_model_where_it_is_measured_is_not_kept(wrong, tiny_run, tmp_path):
    proofs = []

    def measure(files, proof):
        proofs.append(proof)
        costs = {name: 1.0 for name in files if name != wrong}
        return Measured(costs, {wrong: "it differs from the golden answers by 0.3, where 0.02 is allowed"})

    there = CostMeter("seconds", "a board", 0.05, measure)
    build = {"formats": ["tflite"], "quantize": True, "meter": there}
    words = "on a board it differs from the golden answers by 0.3, where 0.02 is allowed"
    if wrong == "tflite-float32":
        with pytest.raises(ParityError, match=f"tflite-float32 failed: {words}. Nothing was written"):
            build_bundle(tiny_run, tmp_path / "b", **build)
        assert not (tmp_path / "b").exists()
    else:
        bundle = build_bundle(tiny_run, tmp_path / "b", **build)
        assert next(each.reason for each in bundle.manifest.rejected if each.name == wrong) == words
        assert wrong not in bundle.manifest.choice.costs
        assert proofs[0].golden == (bundle.folder / "golden.npz").read_bytes()
        for variant in bundle.manifest.variants:
            told = proofs[0].request(variant.name, bundle.folder / "golden.npz")
            assert told == {**variant_request(bundle, variant)["golden"], "decision": None}


def test_float32_is_called_the_best_where_it_is(tiny_run, tmp_path):
    build = {"formats": ["tflite"], "quantize": True, "measure": False}
    small = build_bundle(tiny_run, tmp_path / "a", max_bytes=10, **build)
    assert [each.name for each in small.manifest.variants] == ["tflite-float32"]
    assert "float32 is the best there is" in small.manifest.choice.conclusion
    assert "float32 is the best there is" in (small.folder / "README.md").read_text()
    assert all("at most 10 are wanted" in each.reason for each in small.manifest.rejected)
    dear = meter(lambda name: 1.0 if name.endswith("float32") else 2.0)
    kept = build_bundle(tiny_run, tmp_path / "b", formats=["tflite"], quantize=True, meter=dear).manifest
    assert kept.recommended == "tflite-float32"
    assert len(kept.variants) >= 2, "smaller files are kept, being smaller"
    assert "float32 is the best there is" in kept.choice.conclusion


def test_unknown_boards_and_missing_ones_are_said_before_anything_is_written(tiny_run, tmp_path, monkeypatch):
    with pytest.raises(ConfigError, match="got target 'pi6'; expected pi3, pi4, pi5"):
        build_bundle(tiny_run, tmp_path / "b", quantize=True, target="pi6")
    monkeypatch.setenv("EDGELNN_BOARDS", str(tmp_path / "none"))
    with pytest.raises(ProfileError, match="Set it up: edgelnn boards"):
        build_bundle(tiny_run, tmp_path / "b", quantize=True, target="pi4")
    assert not (tmp_path / "b").exists()


def test_latency_is_measured_in_turns():
    b = GraphBuilder((1, 64), "channels_last")
    small = write_onnx(b.finish(b.softmax(b.linear(b.input, np.eye(64)[:2]))))
    b = GraphBuilder((1, 64), "channels_last")
    x = b.input
    for seed in range(40):
        x = b.tanh(b.linear(x, np.random.default_rng(seed).normal(size=(64, 64)) / 8))
    large = write_onnx(b.finish(b.softmax(b.linear(x, np.eye(64)[:2]))))
    proof = Proof(b"", 0, 2, Preprocessing((1, 1, 64)), {}, {})  # Here files have been proved before.
    found = latency_here().measure({"onnx-a": small, "onnx-b": large}, proof).costs
    assert 0 < found["onnx-a"] < found["onnx-b"] < 0.1


# Calibration and sensitivity


def test_ranges_by_each_rule():
    values = np.random.default_rng(0).normal(size=200_000).astype(np.float32)
    values[0] = 100.0  # one value that is out of all proportion
    assert find_range(values, "min_max") == (pytest.approx(values.min()), 100.0)
    low, high = find_range(values, "percentile")
    assert -5 < low < -3.5
    assert 3.5 < high < 5
    low, high = find_range(values, "entropy")
    assert 2 < high < 12
    assert low >= -12
    for rule in CALIBRATIONS:
        assert find_range(np.zeros(5), rule) == (0.0, 0.0)
        low, high = find_range(np.abs(values), rule)
        assert low == pytest.approx(0.0, abs=1e-3), "a range of what is rectified begins at zero"


def test_extremes_are_kept_of_all_values_and_of_most_of_them_a_sample():
    values = np.random.default_rng(0).normal(size=(3, 700_000)).astype(np.float32)
    values[1, 1], values[2, 1] = 100.0, -50.0
    seen = Activations(feeds=3)
    for each in values:
        seen.add("a", each)
        seen.add("b", -each[:1000])
    assert seen.ranges("min_max") == {"a": (-50.0, 100.0), "b": (-100.0, 50.0)}
    assert seen.ranges("percentile")["a"] == find_range(values, "percentile")
    few = Activations(feeds=2_000_000)
    few.add("a", values[1])
    assert few.ranges("min_max")["a"][1] == 100.0
    assert few.ranges("percentile")["a"] == (values[1, 0], values[1, 0])


def test_the_calibration_nearest_to_the_model_is_taken():
    errors = {"min_max": 0.3, "percentile": 0.1, "entropy": 0.1}
    best, trials = choose_calibration("x", lambda rule: rule.encode(), lambda data: Loss(errors[data.decode()], 0.0))
    assert best == "percentile"
    assert [trial.error for trial in trials] == [0.3, 0.1, 0.1]
    assert [trial.chosen for trial in trials] == [False, True, False]


def test_layers_that_cost_too_much_fall_back_step_by_step():
    whole = {"a": "static", "b": "static", "c": "static", REST: "weight_only"}
    borne = {("a", "static"): 0.001, ("b", "weight_only"): 0.001, (REST, "weight_only"): 0.001}
    seen = []

    def make(plan):
        seen.append(dict(plan))
        return "/".join(next(iter(plan.items()))).encode()

    def judge(data):
        return Loss(borne.get(tuple(data.decode().split("/")), 0.5), 0.0)

    plan, trials = choose_plan("x", whole, make, judge)
    assert plan == {"a": "static", "b": "weight_only", REST: "weight_only"}
    assert all(len(each) == 1 for each in seen), "one layer at a time"
    assert [(t.layer, t.scheme, t.chosen) for t in trials] == [
        ("a", "static", "static"),
        ("b", "static", "weight_only"),
        ("b", "weight_only", "weight_only"),
        ("c", "static", "float32"),
        ("c", "weight_only", "float32"),
        (REST, "weight_only", "weight_only"),
    ]
    with pytest.raises(ExportError, match="no layer bears being quantized"):
        choose_plan("x", whole, make, lambda data: Loss(0.0, 0.006))


def test_many_layers_are_judged_in_groups():
    whole = {f"layer{index}": "static" for index in range(50)}
    plan, trials = choose_plan("x", whole, lambda plan: b"", lambda data: Loss(0.0, 0.0))
    assert plan == whole
    assert len(trials) <= 12


# Files


def convolutions(layout):
    random = np.random.default_rng(3)
    b = GraphBuilder((1, 24), layout)
    x = b.linear(b.input, random.normal(size=(40, 24)) / 5, random.normal(size=40) / 10, activation="relu")
    x = b.linear(x, random.normal(size=(32, 40)) / 6, activation="relu")
    return b.finish(b.softmax(b.linear(x, random.normal(size=(3, 32)) / 6)))


@pytest.mark.parametrize(("write", "quantize"), [(write_onnx, quantize_onnx), (write_tflite, quantize_tflite)])
@pytest.mark.parametrize("recipe", QUANTIZED)
def test_every_recipe_makes_a_smaller_file_of_nearly_the_same_answers_or_says_why_not(write, quantize, recipe):
    data = write(convolutions("channels_last"))
    x = np.random.default_rng(0).normal(size=(40, 24)).astype(np.float32)
    if quantize is quantize_onnx and recipe == "static_wi8_ai16":
        with pytest.raises(ExportError, match="no kernels"):
            quantize(data, RECIPES[recipe], x)
        return
    q = quantize(data, RECIPES[recipe], x)
    assert q == quantize(data, RECIPES[recipe], x)
    assert len(q) < len(data)
    found = np.concatenate([load_runtime(q).run(x[i : i + 1]) for i in range(20)])
    assert np.abs(found - load_runtime(data).run(x[:20])).max() < 0.04
    stored = {layer.weights for layer in inspect_model(q).layers}
    assert ("float16" if recipe == "float16" else "int8") in stored
    assert inspect_model(q).holds_integers == RECIPES[recipe].holds_integers


@pytest.mark.parametrize(("write", "quantize"), [(write_onnx, quantize_onnx), (write_tflite, quantize_tflite)])
def test_each_rule_gives_ranges_of_its_own_where_tails_are_heavy(write, quantize):
    data = write(convolutions("channels_last"))
    x = np.random.default_rng(0).standard_t(2, size=(400, 24)).astype(np.float32)
    files = {rule: quantize(data, RECIPES["static_wi8_ai8"], x, calibration=rule) for rule in CALIBRATIONS}
    assert len(set(files.values())) == 3
    for rule, q in files.items():
        assert q == quantize(data, RECIPES["static_wi8_ai8"], x, calibration=rule)
        low, high = find_range(x, rule)
        assert input_scale(q, write) == pytest.approx((high - low) / 255, rel=1e-5)


def input_scale(data, write):
    """The step between two integers that stand for what is put in."""
    if write is write_onnx:
        import onnx

        graph = onnx.load_from_string(data).graph
        (node,) = [each for each in graph.node if each.op_type == "QuantizeLinear" and each.input[0] == "image"]
        return onnx.numpy_helper.to_array(next(each for each in graph.initializer if each.name == node.input[1])).item()
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_content=data)
    interpreter.allocate_tensors()
    (quantize,) = [op for op in interpreter._get_ops_details() if op["op_name"] == "QUANTIZE"]
    return interpreter._get_tensor_details(int(quantize["outputs"][0]), 0)["quantization"][0]


def test_weights_of_onnx_lstms_are_stored_as_integers_and_widened_when_loaded():
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    random = np.random.default_rng(0)
    shapes = {"W": (1, 48, 10), "R": (1, 48, 12)}
    weights = [numpy_helper.from_array(random.normal(size=s).astype(np.float32), n) for n, s in shapes.items()]
    nodes = [
        helper.make_node("LSTM", ["image", "W", "R"], ["", "h"], "lstm", hidden_size=12, layout=0),
        helper.make_node("Squeeze", ["h", "axes"], ["probabilities"], "squeeze"),
    ]
    weights.append(numpy_helper.from_array(np.array([0], np.int64), "axes"))
    values = [("image", [5, 1, 10]), ("probabilities", [1, 12])]
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in values]
    graph = helper.make_graph(nodes, "g", ends[:1], ends[1:], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    for recipe, stored in (("weight_only_wi8_afp32", "int8"), ("mixed_wi8_ai8", "int8"), ("float16", "float16")):
        q = quantize_onnx(model.SerializeToString(), RECIPES[recipe], np.zeros((5, 1, 10), np.float32))
        (layer,) = inspect_model(q).layers
        assert (layer.type, layer.weights, layer.scheme) == ("LSTM", stored, "weight_only")
        assert not {n.op_type for n in onnx.load_from_string(q).graph.node} & {"DequantizeLinear", "QuantizeLinear"}
