"""Files of both formats on emulated boards, and in the oldest runtimes that they are promised to load in."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Collection, Mapping
from pathlib import Path

import numpy as np
import pytest

from edgelnn_export.onnx_model import write_onnx
from edgelnn_export.quantization import RECIPES
from edgelnn_export.quantization.tflite_quantizer import quantize_tflite
from edgelnn_export.reference_evaluator import evaluate
from edgelnn_export.tflite_model import write_tflite
from edgelnn_profiling.runtimes import load_runtime
from tests.operator_graphs import FUSED, GRAPHS, LOOPS, SEQUENCE, inputs_for, make_graph, small_graph
from tests.test_export_heads import RECURRENT, trained
from tests.test_export_looped import arranged, images, made

pytestmark = pytest.mark.board

# Runs in the runtime under test: answers every input it finds, in the order of a program that meets changing batches.
ANSWER = """
import json, pathlib, sys
import numpy as np

def onnx(path):
    import onnxruntime
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return lambda x: session.run(None, {"image": x})[0]

def tflite(path):
    try:
        from ai_edge_litert.interpreter import Interpreter
    except ImportError:
        from tflite_runtime.interpreter import Interpreter
    interpreter = Interpreter(str(path), num_threads=1)
    def answer(x):
        image = interpreter.get_input_details()[0]["index"]
        interpreter.resize_tensor_input(image, x.shape)
        interpreter.allocate_tensors()
        interpreter.set_tensor(image, x)
        interpreter.invoke()
        return interpreter.get_tensor(interpreter.get_output_details()[0]["index"])
    return answer

errors = {}
for path in sorted(pathlib.Path(sys.argv[1]).glob("*." + sys.argv[2])):
    answer = (onnx if sys.argv[2] == "onnx" else tflite)(path)
    with np.load(path.with_suffix(".npz")) as cases:
        pairs = [(cases["x%d" % i], cases["y%d" % i]) for i in range(len(cases.files) // 2)]
    errors[path.stem] = max(float(np.abs(answer(x) - y).max()) for x, y in pairs)
print(json.dumps(errors))
"""


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a file per operator and format, and inputs and answers for each."""
    folder = tmp_path_factory.mktemp("cases")
    for model_format in ("onnx", "tflite"):
        layout = "channels_first" if model_format == "onnx" else "channels_last"
        for name in (*GRAPHS, *FUSED):
            graph = make_graph(SEQUENCE, FUSED[name], layout) if name in FUSED else small_graph(name, layout)
            content = write_onnx(graph) if model_format == "onnx" else write_tflite(graph)
            stem = folder / model_format / name
            stem.parent.mkdir(exist_ok=True)
            stem.with_suffix(f".{model_format}").write_bytes(content)
            batches = (1,) if model_format == "tflite" and name in LOOPS else (1, 4, 1)
            inputs = [inputs_for(graph, batch) for batch in batches]
            arrays = {f"x{i}": x for i, x in enumerate(inputs)} | {
                f"y{i}": evaluate(graph, x) for i, x in enumerate(inputs)
            }
            np.savez(stem.with_suffix(".npz"), **arrays)
    (folder / "answer.py").write_text(ANSWER)
    return folder


def errors(
    python: Path | str,
    cases: Path,
    model_format: str,
    environment: Mapping[str, str],
    expected: Collection[str] = (*GRAPHS, *FUSED),
) -> dict[str, float]:
    done = subprocess.run(
        [str(python), str(cases / "answer.py"), str(cases / model_format), model_format],
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
        env={**os.environ, **environment},
    )
    assert done.returncode == 0, done.stderr[-2000:]
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    assert set(found) == set(expected)
    return found


@pytest.mark.parametrize("board", ["pi3", "pi4", "pi5"])
@pytest.mark.parametrize(("model_format", "site"), [("onnx", "site"), ("tflite", "site"), ("tflite", "site_tfl")])
def test_boards_give_the_same_answers(board: str, model_format: str, site: str, cases: Path) -> None:
    """The site `site_tfl` holds tflite-runtime 2.14, the oldest that is promised."""
    boards = os.environ.get("EDGELNN_BOARDS", "")
    if not boards:
        pytest.skip("EDGELNN_BOARDS is not set: it names the folder of the emulated boards")
    found = errors(Path(boards) / "bin" / f"{board}-python", cases, model_format, {"SITE": site})
    assert max(found.values()) < 5e-6, found


def test_loops_of_integers_give_the_same_answers_in_the_oldest_runtime(tmp_path: Path) -> None:
    boards = os.environ.get("EDGELNN_BOARDS", "")
    if not boards:
        pytest.skip("EDGELNN_BOARDS is not set: it names the folder of the emulated boards")
    (tmp_path / "tflite").mkdir()
    (tmp_path / "answer.py").write_text(ANSWER)
    for name in RECURRENT:
        model = trained(RECURRENT[name], size=12)
        data, x = write_tflite(made(model, "tflite", "size")), arranged(images(model, 1), "tflite")
        for recipe in ("weight_only_wi8_afp32", "dynamic_wi8_afp32"):
            file = tmp_path / "tflite" / f"{name}-{recipe}.tflite"
            file.write_bytes(quantize_tflite(data, RECIPES[recipe]))
            np.savez(file.with_suffix(".npz"), x0=x, y0=load_runtime(file).run(x))
    python = Path(boards) / "bin" / "pi4-python"
    found = errors(python, tmp_path, "tflite", {"SITE": "site_tfl"}, {p.stem for p in tmp_path.glob("*/*.tflite")})
    assert max(found.values()) < 1e-3, found  # the runtimes round activations of products to 8 bits each in their way


def test_the_oldest_onnxruntime_gives_the_same_answers(cases: Path) -> None:
    folder = os.environ.get("EDGELNN_OLDEST_ONNXRUNTIME", "")
    if not folder:
        pytest.skip("EDGELNN_OLDEST_ONNXRUNTIME is not set: pip install --target FOLDER onnxruntime==1.19.2 'numpy<2'")
    found = errors(sys.executable, cases, "onnx", {"PYTHONPATH": folder})
    assert max(found.values()) < 5e-6, found
