"""Recipes and their scopes; both quantizers on a small network; what happens when they change nothing or fail."""

import logging
import os
import subprocess
import sys

import numpy as np
import onnx
import pytest

from edgelnn.data.dataset import Split
from edgelnn.errors import ConfigError, ExportError
from edgelnn.manifest import Rejected, Tensor, Variant
from edgelnn.models import ModelSpec, build_classifier
from edgelnn_export.chatter import logged_chatter
from edgelnn_export.graph_builder import GraphBuilder
from edgelnn_export.inspection import inspect_model
from edgelnn_export.lowering import lower
from edgelnn_export.onnx_model import write_onnx
from edgelnn_export.quantization import FLOAT32, RECIPES, choose_candidates
from edgelnn_export.quantization.choice import recommend
from edgelnn_export.quantization.onnx_quantizer import quantize_onnx
from edgelnn_export.quantization.onnx_storage import stored_weights
from edgelnn_export.quantization.onnx_thin import pool_before_rectifying, thin_convolutions
from edgelnn_export.quantization.scope import Operator, before_recurrence
from edgelnn_export.quantization.tflite_quantizer import quantize_tflite
from edgelnn_export.selection import calibration_images, golden_images, judging_images, random_images
from edgelnn_export.tflite_model import write_tflite
from edgelnn_profiling import load_runtime

DYNAMIC, STATIC = RECIPES["dynamic_wi8_afp32"], RECIPES["static_wi8_ai8"]
FORMATS = {
    "onnx": (write_onnx, quantize_onnx, "channels_first"),
    "tflite": (write_tflite, quantize_tflite, "channels_last"),
}


# Recipes and candidates


def test_names_of_recipes_decode():
    assert list(RECIPES) == [
        *("float32", "float16", "weight_only_wi8_afp32", "dynamic_wi8_afp32"),
        *("static_wi8_ai8", "static_wi8_ai16", "mixed_wi8_ai8"),
    ]
    assert RECIPES["float32"] is FLOAT32
    assert [name for name, recipe in RECIPES.items() if not recipe.is_quantized] == ["float32"]
    assert [name for name, recipe in RECIPES.items() if not recipe.holds_integers] == ["float32", "float16"]
    assert [name for name, recipe in RECIPES.items() if recipe.needs_calibration] == list(RECIPES)[4:]


def test_float32_is_always_tried_and_required():
    assert [c.name for c in choose_candidates(["tflite", "onnx"])] == ["onnx-float32", "tflite-float32"]
    every = choose_candidates(["onnx", "tflite"], quantize=True)
    assert len(every) == 14
    assert len({c.name for c in every}) == len({c.file for c in every}) == 14
    assert [c.name for c in every if c.required] == ["onnx-float32", "tflite-float32"]


def test_recipes_asked_for_by_name_are_required():
    chosen = choose_candidates(
        ["onnx", "tflite"], quantize=True, recipes=["static_wi8_ai8", "tflite-dynamic_wi8_afp32"]
    )
    assert {c.name for c in chosen if c.required} == {
        *("onnx-float32", "tflite-float32", "onnx-static_wi8_ai8", "tflite-static_wi8_ai8", "tflite-dynamic_wi8_afp32"),
    }
    alone = choose_candidates(["onnx", "tflite"], recipes=["onnx-static_wi8_ai8"])
    assert [c.name for c in alone] == ["onnx-float32", "onnx-static_wi8_ai8", "tflite-float32"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"formats": []}, "expected one or more of onnx, tflite"),
        ({"formats": ["onnx", "pt"]}, "got formats=onnx, pt"),
        ({"formats": ["onnx"], "recipes": ["int8"]}, "got recipe 'int8'; expected one of float32"),
        ({"formats": ["onnx"], "recipes": ["tflite-static_wi8_ai8"]}, "got recipe 'tflite-static_wi8_ai8'"),
    ],
)
def test_unknown_formats_and_recipes_are_named(arguments, words):
    with pytest.raises(ConfigError, match=words):
        choose_candidates(**arguments)


# Scope


def product(x, y, weight):
    return Operator((x,), (y,), (weight,), "product")


def other(*names, kind="other"):
    *inputs, output = names
    return Operator(tuple(inputs), (output,), (), kind)


def test_scope_ends_where_a_recurrence_begins():
    places = before_recurrence(
        [
            product("image", "a", "stem1"),
            other("a", "b", kind="follower"),
            product("b", "c", "stem2"),
            other("c", "d"),  # the scan
            product("d", "z", "inputs"),
            other("z", "z0"),
            product("z0", "h1", "recurrent"),
            other("h1", "z", "s1"),
            product("s1", "h2", "recurrent"),
            product("h2", "scores", "last"),
            other("scores", "probabilities"),
        ]
    )
    assert places == ("inside",) * 4 + ("edge",) + ("outside",) * 6


def test_scope_of_a_network_without_recurrence_ends_at_its_scores():
    places = before_recurrence(
        [product("image", "a", "w1"), product("a", "b", "w2"), other("b", "c", kind="follower"), other("c", "d")]
    )
    assert places == ("inside", "edge", "behind", "outside")


@pytest.mark.parametrize("kind", ["recurrent", "other"])
def test_fused_recurrences_are_known_by_kind(kind):
    places = before_recurrence([product("image", "a", "w1"), other("a", "b", kind=kind), product("b", "c", "w2")])
    assert places == (("edge", "outside", "outside") if kind == "recurrent" else ("inside", "inside", "edge"))


def test_a_network_that_is_all_recurrence_has_no_scope():
    steps = [product("image", "a", "w"), product("a", "b", "w")]
    assert before_recurrence(steps) == ("outside", "outside")


# The quantizers


def network(layout, *, stem=True, steps=True, seed=0):
    """Two convolutions, rows, and an unrolled recurrence of 24 units over 7 steps, then two classes."""
    random = np.random.default_rng(seed)

    def weight(*shape):
        return random.normal(size=shape) / np.sqrt(np.prod(shape[1:]))

    first = layout == "channels_first"
    b = GraphBuilder((1, 1, 14, 14) if first else (1, 14, 14, 1), layout)
    x = b.input
    if stem:
        with b.in_part("stem"):
            x = b.conv2d(x, weight(12, 1, 3, 3), weight(12, 4)[:, 0], padding=(1, 1, 1, 1), activation="relu")
            x = b.max_pool(x, (2, 2), (2, 2))
            x = b.conv2d(x, weight(16, 12, 3, 3), weight(16, 4)[:, 0], padding=(1, 1, 1, 1), activation="relu")
    with b.in_part("scan"):
        x = b.transpose(x, (0, 2, 1, 3) if first else (0, 1, 3, 2))
        x = b.reshape(x, (1, 7, int(np.prod(b.shape(x))) // 7))
    with b.in_part("head"):
        if steps:
            z = b.linear(x, weight(24, b.shape(x)[2]), weight(24, 4)[:, 0])
            recurrent, state = weight(24, 24), None
            for t in range(7):
                now = b.reshape(b.slice(z, 1, t, t + 1), (1, 24))
                state = b.tanh(now if state is None else b.add(now, b.linear(state, recurrent)))
            x = b.linear(state, weight(2, 24), weight(2, 4)[:, 0])
        else:
            x = b.linear(b.reshape(x, (1, 7 * b.shape(x)[2])), weight(2, 7 * b.shape(x)[2]), weight(2, 4)[:, 0])
    with b.in_part("output"):
        x = b.softmax(x)
    return b.finish(x)


def inputs(count, layout, seed=1):
    images = np.random.default_rng(seed).normal(size=(count, 14, 14, 1)).astype(np.float32)
    return np.ascontiguousarray(np.moveaxis(images, -1, 1)) if layout == "channels_first" else images


@pytest.fixture(scope="module", params=list(FORMATS))
def made(request):
    write, quantize, layout = FORMATS[request.param]
    data = write(network(layout))
    return data, {recipe: quantize(data, recipe, inputs(32, layout)) for recipe in (DYNAMIC, STATIC)}, request.param


def test_quantized_files_hold_integers_where_they_should(made):
    data, quantized, model_format = made
    assert not inspect_model(data).holds_integers
    by_recipe = {recipe.name: [layer.scheme for layer in inspect_model(q).layers] for recipe, q in quantized.items()}
    if model_format == "onnx":  # the product of all steps' inputs alone is worth a dynamic one
        assert sorted(by_recipe["dynamic_wi8_afp32"]).count("dynamic_range") == 1
        # a convolution of one channel is faster in float32
        assert by_recipe["static_wi8_ai8"][:3] == ["float", "static_range", "static_range"]
        assert set(by_recipe["static_wi8_ai8"][3:]) == {"float"}
    else:
        assert set(by_recipe["dynamic_wi8_afp32"]) == {"dynamic_range"}
        assert by_recipe["static_wi8_ai8"][:3] == ["static_range", "static_range", "dynamic_range"]
        assert set(by_recipe["static_wi8_ai8"][3:]) == {"float"}


def test_quantized_files_answer_nearly_as_before(made):
    data, quantized, model_format = made
    x = inputs(20, FORMATS[model_format][2], seed=2)
    expected = load_runtime(data).run(x)
    for recipe, q in quantized.items():
        found = load_runtime(q).run(x)
        np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-5)
        assert 1e-7 < np.abs(found - expected).max() < 0.05, recipe
        # One at a time is what a board does; ranges that a runtime finds by itself may then be others.
        alone = np.concatenate([load_runtime(q).run(x[i : i + 1]) for i in range(3)])
        assert np.abs(alone - expected[:3]).max() < 0.05, recipe


def test_quantized_files_keep_names_and_types_and_lose_traces(made):
    data, quantized, _ = made
    before = load_runtime(data)
    for q in quantized.values():
        after = load_runtime(q)
        assert (after.input, after.output) == (before.input, before.output)
        assert after.input.dtype == after.output.dtype == "float32"
        assert (after.input.name, after.output.name) == ("image", "probabilities")
        assert inspect_model(q).bytes_by_cause["metadata"] <= inspect_model(data).bytes_by_cause["metadata"] + 40
        assert len(q) < len(data)


def test_quantizing_again_gives_the_same_bytes(made):
    data, quantized, model_format = made
    _, quantize, layout = FORMATS[model_format]
    for recipe, q in quantized.items():
        assert quantize(data, recipe, inputs(32, layout)) == q


@pytest.mark.parametrize("model_format", list(FORMATS))
def test_nothing_is_printed(model_format, capfd, caplog):
    write, quantize, layout = FORMATS[model_format]
    with caplog.at_level(logging.INFO, logger="edgelnn_export.chatter"):
        quantize(write(network(layout)), STATIC, inputs(4, layout))
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("model_format", list(FORMATS))
def test_a_network_without_recurrence_is_quantized_to_its_scores(model_format):
    write, quantize, layout = FORMATS[model_format]
    data = write(network(layout, steps=False))
    q = quantize(data, STATIC, inputs(32, layout))
    thin = 1 if model_format == "onnx" else 0  # layers of so few channels that they stay float32
    assert {layer.weights for layer in inspect_model(q).layers[thin:]} <= {"int8", "int32"}
    x = inputs(20, layout, seed=2)
    assert np.abs(load_runtime(q).run(x) - load_runtime(data).run(x)).max() < 0.05
    assert len(np.unique(load_runtime(q).run(x))) > 30  # probabilities are not rounded to 1/256


def test_the_core_of_an_ltc_is_not_stored_in_eight_bits():
    """Its numbers stand millions of times apart in one row: rounded together, the synapses would be gone."""
    spec = ModelSpec.model_validate({"head": {"kind": "ltc", "units": 14}})
    model = build_classifier(spec, image_shape=(8, 8, 1), task="multi-class", classes=4, seed=3).eval()
    data = write_onnx(lower(model, layout="channels_first", target="onnx"))
    loaded = onnx.load_from_string(data)
    (core,) = [node for node in loaded.graph.node if node.op_type == "GRU"]
    assert not stored_weights(loaded).keys() & set(core.input)


@pytest.mark.parametrize("last", ["pool", "other reader", "output"])
def test_pooling_goes_before_rectifying_where_nothing_else_reads_between(last):
    b = GraphBuilder((1, 1, 8, 8), "channels_first")
    weight = np.random.default_rng(0).normal(size=(4, 1, 3, 3))
    x = b.conv2d(b.input, weight, np.zeros(4), activation="relu")
    pooled = b.max_pool(x, (2, 2), (2, 2))
    flat = b.reshape(pooled, (1, 36))
    if last == "other reader":
        flat = b.add(flat, b.reshape(b.slice(b.slice(x, 2, 0, 3), 3, 0, 3), (1, 36)))
    data = write_onnx(b.finish(flat if last != "output" else x))
    model = onnx.load_from_string(data)
    pool_before_rectifying(model, thin_convolutions(model))
    kinds = [node.op_type for node in model.graph.node[:3]]
    assert kinds[:2] == (["Conv", "MaxPool"] if last == "pool" else ["Conv", "Relu"])
    changed = model.SerializeToString()
    assert (changed == data) == (last != "pool")
    pixels = np.random.default_rng(1).normal(size=(2, 1, 8, 8)).astype(np.float32)
    np.testing.assert_array_equal(load_runtime(changed).run(pixels), load_runtime(data).run(pixels))


@pytest.mark.parametrize("model_format", list(FORMATS))
def test_nothing_to_quantize_is_said(model_format):
    write, quantize, layout = FORMATS[model_format]
    b = GraphBuilder((1, 6), layout)
    shared = np.eye(6)
    data = write(b.finish(b.softmax(b.linear(b.tanh(b.linear(b.input, shared)), shared))))
    with pytest.raises(ExportError, match="static_wi8_ai8 finds nothing to quantize"):
        quantize(data, STATIC, np.zeros((2, 6), np.float32))
    if model_format == "onnx":
        with pytest.raises(ExportError, match="dynamic_wi8_afp32 finds nothing to quantize"):
            quantize(data, DYNAMIC)


@pytest.mark.parametrize("model_format", list(FORMATS))
def test_a_static_recipe_wants_images_that_fit(model_format):
    write, quantize, layout = FORMATS[model_format]
    data = write(network(layout))
    with pytest.raises(ExportError, match="needs images to calibrate on"):
        quantize(data, STATIC)
    with pytest.raises(ExportError, match=r"fails on static_wi8_ai8: \S") as caught:
        quantize(data, STATIC, np.zeros((2, 3, 5, 7), np.float32))
    assert "\n" not in str(caught.value)
    assert caught.value.__cause__ is not None


def test_large_buffers_that_stand_behind_the_flatbuffer_are_carried_along():
    """ai-edge-quantizer puts them there in files of some size."""
    b = GraphBuilder((1, 600), "channels_last")
    random = np.random.default_rng(0)
    hidden = b.linear(b.input, random.normal(size=(900, 600)) / 25, activation="relu")
    data = write_tflite(b.finish(b.softmax(b.linear(hidden, random.normal(size=(3, 900)) / 30))))
    q = quantize_tflite(data, DYNAMIC)
    assert len(q) < 0.3 * len(data)
    x = random.normal(size=(4, 600)).astype(np.float32)
    assert np.abs(load_runtime(q).run(x) - load_runtime(data).run(x)).max() < 0.05


BOARD_CODE = """
import sys
import numpy as np
try:
    from ai_edge_litert.interpreter import Interpreter
except ImportError:
    from tflite_runtime.interpreter import Interpreter
x = np.load(sys.argv[1])
interpreter = Interpreter(sys.argv[2], num_threads=1)
interpreter.allocate_tensors()
answers = []
for one in x:
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], one[None])
    interpreter.invoke()
    answers.append(interpreter.get_tensor(interpreter.get_output_details()[0]["index"])[0])
np.save(sys.argv[3], np.array(answers))
"""


@pytest.mark.board
@pytest.mark.parametrize("site", ["site", "site_tfl"])
@pytest.mark.parametrize("steps", [True, False], ids=["recurrent", "dense"])
def test_boards_read_quantized_tflite_files_as_we_do(site, steps, tmp_path):
    """The site `site_tfl` holds tflite-runtime 2.14, which lacks kernels for some int8 and does not say so."""
    boards = os.environ.get("EDGELNN_BOARDS", "")
    if not boards:
        pytest.skip("EDGELNN_BOARDS is not set: it names the folder of the emulated boards")
    data = write_tflite(network("channels_last", steps=steps))
    x = inputs(4, "channels_last", seed=2)
    np.save(tmp_path / "x.npy", x)
    (tmp_path / "run.py").write_text(BOARD_CODE)
    for recipe in (DYNAMIC, STATIC):
        q = quantize_tflite(data, recipe, inputs(32, "channels_last"))
        (tmp_path / "q.tflite").write_bytes(q)
        command = [f"{boards}/bin/pi4-python", *(str(tmp_path / n) for n in ("run.py", "x.npy", "q.tflite", "y.npy"))]
        subprocess.run(command, check=True, capture_output=True, env={**os.environ, "SITE": site})
        assert np.abs(np.load(tmp_path / "y.npy") - load_runtime(q).run(x)).max() < 0.03, recipe


# Chatter


def test_chatter_is_kept_from_the_terminal_and_logged():
    code = (
        "import logging, os, sys, warnings\n"
        "from edgelnn_export.chatter import logged_chatter\n"
        "kept = []\n"
        "class Keep(logging.Handler):\n"
        "    def emit(self, record): kept.append(record.getMessage())\n"
        "log = logging.getLogger('edgelnn_export.chatter'); log.setLevel(logging.INFO); log.addHandler(Keep())\n"
        "log.propagate = False\n"
        "with logged_chatter('a library'):\n"
        "    print('printed'); print('error', file=sys.stderr)\n"
        "    os.write(1, b'from C\\n'); os.write(2, b'from C too\\n')\n"
        "    sys.stderr.write('50 %\\r100 %\\n')\n"
        "    warnings.warn('beware'); logging.warning('logged')\n"
        "assert sorted(kept) == sorted('a library: ' + line for line in ['printed', 'error', 'from C', 'from C too',\n"
        "    '100 %', 'UserWarning: beware', 'WARNING: logged']), kept\n"
        "assert not logging.getLogger().handlers\n"
        "try:\n"
        "    with logged_chatter('a library'): print('last words'); raise OSError\n"
        "except OSError: assert kept[-1] == 'a library: last words'\n"
        "print('heard again')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("heard again\n", "")


def test_chatter_leaves_handlers_of_others_alone(caplog):
    with caplog.at_level(logging.WARNING), logged_chatter("a library"):
        logging.getLogger().warning("to whoever listens")
    assert "to whoever listens" in caplog.text


# Which images


def split(count, classes=2, multi_label=False):
    random = np.random.default_rng(0)
    labels = random.integers(0, 2, (count, classes)) if multi_label else np.arange(count) % 5 % classes
    return Split(random.integers(0, 256, (count, 4, 4, 1), dtype=np.uint8), labels.astype(np.int64))


def test_golden_images_are_of_every_class_and_the_same_every_time():
    data = split(50, classes=3)
    first = golden_images(data)
    assert first.shape == (12, 4, 4, 1)
    assert (first == golden_images(data)).all()
    where = [int(np.flatnonzero((data.images == image).all(axis=(1, 2, 3)))[0]) for image in first[:8]]
    counts = np.bincount(data.labels[where])
    assert counts.min() >= 2
    assert counts.max() <= 3
    assert (first[8:] == random_images(4, (4, 4, 1), seed=0)).all()
    assert len(golden_images(split(3))) == 7
    assert len(golden_images(split(20, multi_label=True))) == 12


def test_calibration_images_are_training_images():
    data = split(300)
    chosen = calibration_images(data)
    assert len(chosen) == 128
    assert (chosen == calibration_images(data)).all()
    assert len(np.unique(chosen.reshape(128, -1), axis=0)) == 128
    volumes = Split(np.zeros((50, 3, 4, 4, 1), np.uint8), np.zeros(50, np.int64))
    assert len(calibration_images(volumes)) == 32


def test_files_are_judged_on_images_of_every_class():
    few = split(300)
    assert judging_images(few).tolist() == list(range(300)), "all where there are few"
    labels = np.zeros(5230, np.int64)
    labels[[7, 8, 9]] = 1  # none of which is an eleventh
    labels[100:120] = 2
    chosen = judging_images(Split(np.zeros((5230, 1, 1, 1), np.uint8), labels))
    assert np.bincount(labels[chosen]).tolist() == [475, 3, 8]
    assert set(range(0, 5230, 11)) <= set(chosen.tolist())
    assert (np.diff(chosen) > 0).all()
    several = np.zeros((2000, 3), np.int64)
    several[5, 0] = 1  # one image with the first label
    several[:, 1] = 1
    several[[1, 2], 1] = 0  # and two without the second
    several[::2, 2] = 1
    chosen = judging_images(Split(np.zeros((2000, 1, 1, 1), np.uint8), several))
    assert several[chosen].sum(axis=0)[0] == 1
    assert (1 - several[chosen]).sum(axis=0)[1] == 2
    assert len(chosen) <= 512 + 3


# Which file is recommended


def variant(recipe, size_bytes, auc, agreement, model_format="onnx"):
    tensor = Tensor("image", (-1, 1), "float32")
    figures = {"auc": auc, "accuracy": 0.8, "agreement": agreement}
    name = f"{model_format}-{recipe}"
    return Variant(
        name,
        model_format,
        recipe,
        name,
        size_bytes,
        "0" * 64,
        "channels_first",
        tensor,
        tensor,
        0.0,
        None,
        figures,
        figures,
    )


@pytest.mark.parametrize(
    ("others", "winner"),
    [
        ([], "onnx-float32"),
        ([variant("static_wi8_ai8", 40, 0.9, 1.0)], "onnx-static_wi8_ai8"),
        ([variant("static_wi8_ai8", 40, 0.9, 0.98)], "onnx-float32"),
        ([variant("static_wi8_ai8", 40, 0.894, 1.0)], "onnx-float32"),
        ([variant("static_wi8_ai8", 40, 0.896, 0.995)], "onnx-static_wi8_ai8"),
        ([variant("static_wi8_ai8", 120, 0.95, 1.0)], "onnx-float32"),
        ([variant("float32", 80, 0.9, 1.0, "tflite"), variant("dynamic_wi8_afp32", 20, 0.7, 0.9)], "tflite-float32"),
    ],
)
def test_the_smallest_file_that_loses_nothing_is_recommended(others, winner):
    assert recommend([variant("float32", 100, 0.9, 1.0), *others], auc=0.9).name == winner


def test_rejected_candidates_keep_their_figures():
    assert Rejected("onnx-static_wi8_ai8", "onnx", "static_wi8_ai8", "why", {"auc": 0.5}).figures["auc"] == 0.5
