"""Runtimes against numpy, and files that are not what they should be."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import edgelnn_export
from edgelnn.errors import ConfigError, MissingExtraError, ModelFileError
from edgelnn.preprocessing import Preprocessing
from edgelnn_profiling import identify_model, load_runtime, probe_model
from edgelnn_profiling.machine import is_arm32
from edgelnn_profiling.runtimes import AbstractRuntime, import_runtime, random_input
from tests.helpers import modules_loaded_by
from tests.small_bundle import linear_answers, linear_onnx, linear_tflite

SHAPE = (8, 8, 1)
FORMATS = {"onnx": linear_onnx, "tflite": linear_tflite}


def model_bytes(model_format: str) -> bytes:
    return FORMATS[model_format](SHAPE, 3)


def onnx_model(change: Callable[[Any], None]) -> bytes:
    """The linear model after a change to its protobuf."""
    import onnx

    model = onnx.load_from_string(linear_onnx(SHAPE, 3))
    change(model)
    return model.SerializeToString()


@pytest.fixture(params=["onnx", "tflite"])
def model_format(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.mark.parametrize("as_bytes", [False, True])
def test_answers_are_the_models_for_any_number_of_examples(model_format: str, as_bytes: bool, tmp_path: Path) -> None:
    path = tmp_path / f"model.{model_format}"
    path.write_bytes(model_bytes(model_format))
    runtime = load_runtime(path.read_bytes() if as_bytes else path)
    images = np.random.default_rng(3).integers(0, 256, (5, *SHAPE), dtype=np.uint8)
    preprocessing = Preprocessing(SHAPE)
    layout = "channels_first" if model_format == "onnx" else "channels_last"
    inputs, expected = preprocessing(images, layout), linear_answers(images, preprocessing, 3)
    for rows in (slice(0, 5), slice(0, 1), slice(2, 4), slice(0, 5)):
        np.testing.assert_allclose(runtime.run(inputs[rows]), expected[rows], atol=1e-6)


def test_a_runtime_says_what_it_is(model_format: str) -> None:
    runtime = load_runtime(model_bytes(model_format))
    assert isinstance(runtime, AbstractRuntime)
    assert runtime.name in ("onnxruntime", "ai-edge-litert", "tflite-runtime")
    assert runtime.version[0].isdigit()
    assert runtime.format == model_format
    assert runtime.input.name == "image"
    assert runtime.output.name == "probabilities"
    assert (runtime.input.dtype, runtime.output.dtype) == ("float32", "float32")
    assert runtime.input.shape == ((-1, 1, 8, 8) if model_format == "onnx" else (1, 8, 8, 1))
    assert runtime.output.shape == ((-1, 3) if model_format == "onnx" else (1, 3))
    assert runtime.takes_any_batch == (model_format == "onnx")


def test_an_answer_does_not_change_with_the_next_one(model_format: str) -> None:
    runtime = load_runtime(model_bytes(model_format))
    first = runtime.run(random_input(runtime.input, seed=0))
    kept = first.copy()
    runtime.run(random_input(runtime.input, seed=1))
    np.testing.assert_array_equal(first, kept)


def test_the_input_is_copied(model_format: str) -> None:
    runtime = load_runtime(model_bytes(model_format))
    array = random_input(runtime.input, seed=0)
    expected = runtime.run(array)
    runtime.set_input(array)
    array[:] = 1e9
    runtime.invoke()
    np.testing.assert_array_equal(runtime.get_output(), expected)


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (np.zeros((1, 8, 8), np.float32), "shape"),
        (np.zeros((1, 2, 8, 8), np.float32), "shape"),
        (np.zeros((0, 1, 8, 8), np.float32), "shape"),
        (np.zeros((1, 1, 8, 8), np.float64), "float64"),
        (np.zeros((1, 1, 8, 8), np.uint8), "uint8"),
    ],
)
def test_input_that_does_not_fit_is_refused(array: np.ndarray, words: str) -> None:
    with pytest.raises(ModelFileError, match=words):
        load_runtime(linear_onnx(SHAPE, 3)).run(array)


def test_a_fixed_batch_is_kept_to() -> None:
    runtime = load_runtime(linear_onnx(SHAPE, 3, batch=4))
    assert runtime.input.shape[0] == 4
    assert runtime.run(random_input(runtime.input, seed=0)).shape == (4, 3)
    with pytest.raises(ModelFileError, match="takes 4 at once"):
        runtime.run(np.zeros((2, 1, 8, 8), np.float32))


def test_threads_must_be_positive(model_format: str) -> None:
    with pytest.raises(ConfigError, match="threads=0"):
        load_runtime(model_bytes(model_format), threads=0)


def test_every_truncation_is_refused(model_format: str, tmp_path: Path) -> None:
    data = model_bytes(model_format)
    lengths = sorted({0, 1, 3, 4, 7, 8, 11, 16, 64, *range(100, len(data) - 1, max(1, len(data) // 15))})
    path = tmp_path / f"cut.{model_format}"
    for length in lengths:
        path.write_bytes(data[:length])
        with pytest.raises(ModelFileError) as caught:
            load_runtime(path)
        assert "\n" not in str(caught.value)
        assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    "data",
    [
        b"\x00",
        b"hello, this is a text file and not a model at all",
        b"\x89PNG\r\n\x1a\n" + bytes(100),
        b"PK\x03\x04" + bytes(100),
        bytes(1000),
        b"\xff" * 1000,
        b"\x08\x08",  # an ONNX version and no graph
        b"\x3a\x00",  # a graph and no version
        b"\x08\x08\x3a\xff\xff\xff\xff\x0f",  # a graph that declares more bytes than there are
    ],
)
def test_files_of_other_kinds_are_refused(data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "some.onnx"
    path.write_bytes(data)
    with pytest.raises(ModelFileError, match="neither an ONNX nor a TFLite"):
        identify_model(path)


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path, words in (
        (tmp_path, "folder"),
        (tmp_path / "none.onnx", "No such file"),
        (tmp_path / "pipe", "regular file"),
        (tmp_path / "nul\0.onnx", "null"),
    ):
        with pytest.raises(ModelFileError, match=words):
            load_runtime(path)


def test_the_format_is_judged_by_the_bytes(tmp_path: Path) -> None:
    path = tmp_path / "misnamed.onnx"
    path.write_bytes(linear_tflite(SHAPE, 3))
    assert identify_model(path) == "tflite"
    assert load_runtime(path).format == "tflite"


def external(tensor: Any, location: str = "/etc/passwd") -> None:
    import onnx

    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    entry = tensor.external_data.add()
    entry.key, entry.value = "location", location


def in_initializer(model: Any) -> None:
    external(model.graph.initializer[0])


def in_attribute(model: Any) -> None:
    from onnx import helper

    node = helper.make_node("Constant", [], ["unused"], value=helper.make_tensor("t", 1, [1], [0.0]))
    external(node.attribute[0].t)
    model.graph.node.append(node)


def in_subgraph(model: Any) -> None:
    from onnx import helper

    inner = helper.make_graph([], "inner", [], [], [helper.make_tensor("t", 1, [1], [0.0])])
    external(inner.initializer[0])
    model.graph.node.append(helper.make_node("If", ["x"], ["y"], then_branch=inner, else_branch=inner))


def in_sparse_tensor(model: Any) -> None:
    sparse = model.graph.sparse_initializer.add()
    external(sparse.values)


def in_function(model: Any) -> None:
    from onnx import helper

    node = helper.make_node("Constant", [], ["c"], value=helper.make_tensor("t", 1, [1], [0.0]))
    external(node.attribute[0].t)
    opset = [helper.make_opsetid("", 17)]
    model.functions.append(helper.make_function("own", "f", [], ["c"], [node], opset))


def location_without_data(model: Any) -> None:
    model.graph.initializer[0].data_location = 1


def data_without_location(model: Any) -> None:
    entry = model.graph.initializer[0].external_data.add()
    entry.key, entry.value = "location", "weights.bin"


@pytest.mark.parametrize(
    "change",
    [
        in_initializer,
        in_attribute,
        in_subgraph,
        in_sparse_tensor,
        in_function,
        location_without_data,
        data_without_location,
    ],
)
def test_external_data_is_refused_wherever_it_hides(change: Callable[[Any], None]) -> None:
    with pytest.raises(ModelFileError, match="external data"):
        load_runtime(onnx_model(change))


def nested(depth: int) -> bytes:
    """An ONNX file whose graphs nest, written without the onnx package, which would refuse to."""

    def field(number: int, payload: bytes) -> bytes:
        length, size = len(payload), b""
        while length > 127:
            size += bytes([length & 127 | 128])
            length >>= 7
        return bytes([number << 3 | 2]) + size + bytes([length]) + payload

    graph = b""
    for _ in range(depth):
        graph = field(1, field(5, field(6, graph)))  # GraphProto.node, NodeProto.attribute, AttributeProto.g
    return b"\x08\x08" + field(7, graph)


def test_deep_nesting_is_refused_without_recursion() -> None:
    assert identify_model(nested(5)) == "onnx"
    with pytest.raises(ModelFileError, match="levels deep"):
        identify_model(nested(2000))


def two_inputs(model: Any) -> None:
    from onnx import helper

    model.graph.input.append(helper.make_tensor_value_info("second", 1, [1, 3]))


def two_outputs(model: Any) -> None:
    from onnx import helper

    model.graph.output.append(helper.make_tensor_value_info("scores", 1, ["batch", 3]))


def free_height(model: Any) -> None:
    model.graph.input[0].type.tensor_type.shape.dim[2].dim_param = "height"


def a_string(model: Any) -> None:
    model.graph.input[0].type.tensor_type.elem_type = 8


def unknown_operator(model: Any) -> None:
    model.graph.node[0].op_type = "Flatulence"


def huge_input(model: Any) -> None:
    for axis in (1, 2, 3):
        model.graph.input[0].type.tensor_type.shape.dim[axis].dim_value = 2**20


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (two_inputs, r"2 inputs \(image, second\)"),
        (two_outputs, r"2 outputs"),
        (free_height, "fixed input shape"),
        (a_string, "cannot load|tensor of numbers"),
        (unknown_operator, "operator 'Flatulence', which is not among those"),
        (huge_input, "bytes at once are refused"),
    ],
)
def test_models_of_another_build_get_a_clear_message(change: Callable[[Any], None], words: str) -> None:
    with pytest.raises(ModelFileError, match=words) as caught:
        load_runtime(onnx_model(change))
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 500


def test_a_missing_runtime_names_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("onnxruntime", "ai_edge_litert.interpreter", "tflite_runtime", "tflite_runtime.interpreter"):
        monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.setitem(sys.modules, "ai_edge_litert", None)
    with pytest.raises(MissingExtraError, match=r'pip install "edgelnn\[onnx\]"'):
        import_runtime("onnx")
    with pytest.raises(MissingExtraError, match=r'pip install "edgelnn\[tflite\]"'):
        import_runtime("tflite")


def test_a_32_bit_board_is_told_that_onnx_is_not_to_be_had(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    for machine in ("armv7l", "aarch64"):  # The second: a 64-bit kernel under a 32-bit system.
        monkeypatch.setattr("platform.machine", lambda machine=machine: machine)
        monkeypatch.setattr("struct.calcsize", lambda _: 4)
        assert is_arm32()
        with pytest.raises(ModelFileError, match="32-bit ARM"):
            import_runtime("onnx")
    monkeypatch.setattr("struct.calcsize", lambda _: 8)
    assert not is_arm32()


def test_a_32_bit_board_without_a_wheel_for_its_python_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("ai_edge_litert", "ai_edge_litert.interpreter", "tflite_runtime", "tflite_runtime.interpreter"):
        monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.setattr("platform.machine", lambda: "armv7l")
    monkeypatch.setattr("struct.calcsize", lambda _: 4)
    monkeypatch.setattr("sys.version_info", (3, 13, 0, "final", 0))
    with pytest.raises(ModelFileError, match=r"Python 3\.11"):
        import_runtime("tflite")


FAKE_INTERPRETER = """
import os, signal, time
__version__ = "9.9"
class Interpreter:
    def __init__(self, model_path=None, model_content=None, num_threads=None):
        {action}
"""


def with_fake_litert(folder: Path, action: str, monkeypatch: pytest.MonkeyPatch) -> None:
    package = folder / "ai_edge_litert"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "interpreter.py").write_text(FAKE_INTERPRETER.format(action=action))
    monkeypatch.setenv("PYTHONPATH", str(folder))


@pytest.mark.parametrize(
    ("action", "words"),
    [
        ("os.kill(os.getpid(), signal.SIGSEGV)", r"crashes its runtime \(SIGSEGV\)"),
        ("os.abort()", r"crashes its runtime \(SIGABRT\)"),
        ("os.kill(os.getpid(), signal.SIGKILL)", "want of memory"),
        ("os._exit(3)", "exit code 3"),
        ("raise ValueError('no\\nsuch model')", "cannot load .*: no such model"),
        ("raise SystemExit(0)", "nothing that can be read"),
        ("time.sleep(60)", "within 2 s"),
    ],
)
def test_a_file_that_crashes_its_runtime_crashes_only_the_child(
    action: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_fake_litert(tmp_path, action, monkeypatch)
    path = tmp_path / "hostile.tflite"
    path.write_bytes(linear_tflite(SHAPE, 3))
    with pytest.raises(ModelFileError, match=words) as caught:
        probe_model(path, timeout_s=2 if "sleep" in action else 60)
    assert "\n" not in str(caught.value)


def test_a_good_file_passes_the_probe(model_format: str, tmp_path: Path) -> None:
    path = tmp_path / f"good.{model_format}"
    path.write_bytes(model_bytes(model_format))
    probe_model(path)


def test_the_probe_tells_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "good.onnx"
    path.write_bytes(linear_onnx(SHAPE, 3))
    (tmp_path / "onnxruntime.py").write_text("raise ImportError('gone')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(MissingExtraError, match=r"edgelnn\[onnx\]"):
        probe_model(path)


def test_nothing_is_written_to_stderr_by_loading(model_format: str, capfd: pytest.CaptureFixture[str]) -> None:
    runtime = load_runtime(model_bytes(model_format))
    runtime.run(random_input(runtime.input, seed=0))
    assert capfd.readouterr().err == ""


def test_only_known_chatter_is_held_back(capfd: pytest.CaptureFixture[str]) -> None:
    from edgelnn_profiling.quiet import without_chatter

    with without_chatter(b"idle talk"):
        os.write(2, b"some idle talk\nERROR: what matters\n")
    assert capfd.readouterr().err == "ERROR: what matters\n"


@pytest.mark.parametrize(
    ("dtype", "low", "high"),
    [("float32", 0, 1), ("float16", 0, 1), ("int8", -128, 127), ("uint8", 0, 255), ("int64", 0, 1)],
)
def test_random_input_is_of_the_declared_type(dtype: str, low: int, high: int) -> None:
    from edgelnn.manifest import Tensor

    array = random_input(Tensor("x", (-1, 40, 50), dtype), seed=0, batch=2)
    assert array.shape == (2, 40, 50)
    assert array.dtype == np.dtype(dtype)
    assert low <= array.min() < array.max() <= high
    np.testing.assert_array_equal(array, random_input(Tensor("x", (-1, 40, 50), dtype), seed=0, batch=2))


def test_importing_the_package_imports_nothing_heavy() -> None:
    loaded = modules_loaded_by("import edgelnn_profiling; import edgelnn_profiling.manager, edgelnn_profiling.worker")
    assert not loaded & {"torch", "onnx", "onnxruntime", "ai_edge_litert", "pydantic", "sklearn", "medmnist", "rich"}


def test_every_public_name_exists_and_is_found_again() -> None:
    import edgelnn_profiling

    assert sorted(edgelnn_profiling.__all__) == dir(edgelnn_profiling)
    for name in edgelnn_profiling.__all__:
        found = getattr(edgelnn_profiling, name)
        assert callable(found), name
        assert found.__module__.startswith("edgelnn_profiling."), name
    with pytest.raises(AttributeError, match="no attribute 'measure'"):
        edgelnn_profiling.measure  # noqa: B018


@pytest.mark.parametrize("importer", ["load_runtime", "quantizer", "predict.py"])
def test_onnx_runtime_is_kept_from_reporting_home(importer: str, tmp_path: Path) -> None:
    """Its builds from 1.29 on write an identifier of the machine below the home folder before they send anything."""
    home = tmp_path / "home"
    home.mkdir()
    model = tmp_path / "model.onnx"
    model.write_bytes(linear_onnx(SHAPE, 3))
    template = Path(edgelnn_export.__file__).parent / "templates" / "predict.py"
    code = {
        "load_runtime": f"from edgelnn_profiling import load_runtime; load_runtime({str(model)!r})",
        # It imports, and then finds nothing in this model that it can quantize.
        "quantizer": "import pathlib\nfrom edgelnn.errors import ExportError\n"
        "from edgelnn_export.quantization import RECIPES\n"
        "from edgelnn_export.quantization.onnx_quantizer import quantize_onnx\n"
        f"try: quantize_onnx(pathlib.Path({str(model)!r}).read_bytes(), RECIPES['dynamic_wi8_afp32'])\n"
        "except ExportError: pass",
        "predict.py": "import importlib.util, pathlib\n"
        f"spec = importlib.util.spec_from_file_location('predict', {str(template)!r})\n"
        "module = importlib.util.module_from_spec(spec); spec.loader.exec_module(module)\n"
        f"module.load_model(pathlib.Path({str(model)!r}))",
    }[importer]
    # Nothing that would silence it by itself, as variables of a CI do.
    environment = {"HOME": str(home), "PATH": os.environ["PATH"], "PYTHONPATH": os.pathsep.join(sys.path)}
    subprocess.run([sys.executable, "-c", code], check=True, env=environment, timeout=120)
    assert list(home.rglob("*")) == []
