"""Real worker processes: what they say, what they import, what they cost."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import flatbuffers
import numpy as np
import pytest

import edgelnn
import edgelnn_profiling
from edgelnn.decode import encode
from edgelnn.errors import ModelFileError
from edgelnn.preprocessing import Preprocessing
from edgelnn_profiling import Plan, Report, profile
from edgelnn_profiling.executor import LocalExecutor
from edgelnn_profiling.worker import answer
from edgelnn_profiling.writers.tables import tables_of
from tests.helpers import modules_loaded_by
from tests.profiling_fakes import FakeClock
from tests.small_bundle import linear_onnx, linear_tflite, make_bundle

SHORT = Plan(
    rounds=1, windows=2, window_s=0.005, min_samples=20, warm_up_min_s=0.0, warm_up_max_s=0.05, preparation_samples=5
)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_bundle(tmp_path_factory.mktemp("bundles") / "small").folder


@pytest.fixture(scope="module")
def report(bundle: Path) -> Report:
    return profile(bundle, SHORT)


def request(path: Path, kind: str = "timing", **more: Any) -> dict[str, Any]:
    model_format = path.suffix.removeprefix(".")
    plan = encode(SHORT)
    return {"kind": kind, "model": str(path), "format": model_format, "threads": 1, "golden": None, "plan": plan} | more


def golden_facts(path: Path) -> dict[str, Any]:
    """What a worker is told of the small bundle's golden answers, in a file that may be another."""
    decision = {
        "output_kind": "softmax",
        "classes": 2,
        "task": "binary-class",
        "positive_class": 0,
        "threshold": 0.5,
    }
    return {
        "file": str(path),
        "images": 4,
        "outputs": 2,
        "preprocessing": encode(Preprocessing((8, 8, 1))),
        "decision": decision,
        "layout": "channels_first",
        "allowed_error": 1e-4,
    }


def test_both_formats_are_measured_end_to_end(report: Report) -> None:
    assert [(result.variant, result.error) for result in report.results] == [
        ("onnx-float32", None),
        ("tflite-float32", None),
    ]
    for result in report.results:
        timing, memory, parity = result.timing, result.memory, result.parity
        assert timing is not None
        assert memory is not None
        assert parity is not None
        assert parity.max_error < 1e-5
        assert parity.images == 4
        assert timing.inference.count >= 40
        assert 0 < timing.inference.min_s <= timing.inference.p50_s <= timing.inference.max_s < 1
        assert timing.load.p50_s > 0
        assert timing.first_inference.p50_s > 0
        assert timing.preparation is not None
        assert timing.preparation.count == 5
        assert timing.decision is not None
        assert timing.processes[0].windows[0].duration_s > 0
        assert 0 < timing.processes[0].activity.own_cpus < 1.5
    onnx, tflite = report.results
    assert onnx.runtime == "onnxruntime"
    assert onnx.timing is not None
    assert [found.batch for found in onnx.timing.throughput] == [1, 8, 32]
    assert tflite.runtime in ("ai-edge-litert", "tflite-runtime")
    assert tflite.timing is not None
    assert [found.batch for found in tflite.timing.throughput] == [1]
    assert Report.from_json(report.to_json()) == report


@pytest.mark.skipif(sys.platform != "linux", reason="/proc is Linux's")
def test_memory_rises_from_step_to_step(report: Report) -> None:
    for result in report.results:
        memory = result.memory
        assert memory is not None
        sizes = [memory.interpreter, memory.numpy, memory.runtime, memory.loaded, memory.inferred]
        known = [size.rss_bytes for size in sizes]
        assert known == sorted(known)
        assert memory.peak_rss_bytes is not None
        assert memory.peak_rss_bytes >= known[-1]
        assert all(size.pss_bytes is None or size.pss_bytes <= size.rss_bytes for size in sizes)


@pytest.mark.skipif(sys.platform != "linux", reason="/proc is Linux's")
def test_the_model_costs_little_above_bare_python_and_numpy(report: Report) -> None:
    bare = (
        "import numpy; print(next(line for line in open('/proc/self/status') if line.startswith('VmHWM')).split()[1])"
    )
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-c", bare], capture_output=True, text=True, check=True, env=environment)
    empty = int(done.stdout) * 1024
    for result, limit in zip(report.results, (40e6, 20e6), strict=True):
        assert result.memory is not None
        assert result.memory.peak_rss_bytes is not None
        assert result.memory.peak_rss_bytes - empty < limit


@pytest.mark.parametrize("kind", ["timing", "memory"])
def test_a_worker_imports_neither_torch_nor_onnx(bundle: Path, kind: str) -> None:
    asked = request(bundle / "model-float32.onnx", kind)
    code = f"from edgelnn_profiling.worker import answer; answer({asked!r}, lambda *a, **k: None)"
    loaded = modules_loaded_by(code)
    assert "onnxruntime" in loaded
    heavy = {"torch", "onnx", "pydantic", "sklearn", "medmnist", "matplotlib", "rich", "typer", "PIL", "ai_edge_litert"}
    assert not loaded & heavy


def test_parity_is_proved_before_anything_is_timed(bundle: Path, tmp_path: Path) -> None:
    events = LocalExecutor().execute(request(bundle / "model-float32.onnx"), timeout_s=60).events
    order = [event["event"] for event in events]
    assert order == [
        "state",
        "loaded",
        "first",
        "warm_up",
        "window",
        "window",
        "activity",
        "batch",
        "batch",
        "state",
        "done",
    ]
    with np.load(bundle / "golden.npz") as golden:
        wrong = {"images": golden["images"], "probabilities": golden["probabilities"][:, ::-1]}
    np.savez(tmp_path / "golden.npz", **wrong)
    facts = golden_facts(tmp_path / "golden.npz")
    outcome = LocalExecutor().execute(request(bundle / "model-float32.onnx", golden=facts), timeout_s=60)
    order = [event["event"] for event in outcome.events]
    assert order == ["state", "loaded", "first", "parity"]
    assert outcome.events[-1]["max_error"] > 0.01


def packed(**shapes: tuple[int, ...]) -> bytes:
    """A file of golden answers that are all zero, packed as tightly as can be."""
    file = BytesIO()
    kinds = {"images": np.uint8, "probabilities": np.float32}
    np.savez_compressed(file, **{name: np.zeros(shape, kinds[name]) for name, shape in shapes.items()})  # type: ignore[arg-type]
    return file.getvalue()


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"PK\x03\x04 and no more", "damaged or not an array file"),
        (packed(images=(4, 8, 8, 1)), "lacks probabilities"),
        (packed(images=(5, 8, 8, 1), probabilities=(4, 2)), "images is (5, 8, 8, 1) uint8; expected (4, 8, 8, 1)"),
        (packed(images=(4, 8, 8, 1), probabilities=(4, 3)), "expected (4, 2) float32"),
        (packed(images=(80, 1000, 1000, 1), probabilities=(4, 2)), "more than 400 times"),
    ],
    ids=["no zip", "lacks", "images", "outputs", "bomb"],
)
@pytest.mark.parametrize("kind", ["timing", "answers"])
def test_golden_answers_that_are_not_as_described_are_said_in_one_line(
    kind: str, data: bytes, words: str, bundle: Path, tmp_path: Path
) -> None:
    (tmp_path / "golden.npz").write_bytes(data)
    asked = request(bundle / "model-float32.onnx", kind, golden=golden_facts(tmp_path / "golden.npz"))
    said: list[dict[str, Any]] = []
    assert answer(asked, lambda event, **facts: said.append({"event": event, **facts})) == 0
    assert said[-1]["event"] == "error"
    assert words in said[-1]["message"]


def test_a_model_slower_than_a_hundred_ticks_is_timed_one_by_one(bundle: Path) -> None:
    said: list[dict[str, Any]] = []
    clock = FakeClock(reading_ns=100_000)  # Every reading takes longer than the model does.
    asked = request(bundle / "model-float32.tflite")
    assert answer(asked, lambda event, **facts: said.append({"event": event, **facts}), clock) == 0
    heat = next(event for event in said if event["event"] == "warm_up")
    window = next(event for event in said if event["event"] == "window")
    assert heat["tick_s"] == pytest.approx(1e-4)
    assert heat["means_of"] == 100
    assert window["samples_ns"] == (100_000,) * len(window["samples_ns"])


@pytest.mark.parametrize("data", [b"    TFL3 but no more", linear_tflite((8, 8, 1), 2)[:300]])
def test_a_damaged_file_is_refused_before_anything_is_measured(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "damaged.tflite"
    path.write_bytes(data)
    with pytest.raises(ModelFileError, match="no sound TFLite model"):
        profile(path, SHORT)


def test_a_file_its_runtime_does_not_load_is_an_error_in_the_report(tmp_path: Path) -> None:
    from ai_edge_litert import schema_py_generated as schema

    model = schema.ModelT.InitFromPackedBuf(linear_tflite((8, 8, 1), 2))
    model.operatorCodes[0].version = 99
    builder = flatbuffers.Builder()
    builder.Finish(model.Pack(builder), b"TFL3")
    path = tmp_path / "future.tflite"
    path.write_bytes(bytes(builder.Output()))
    report = profile(path, SHORT)
    assert report.results[0].timing is None
    assert "cannot load" in (report.results[0].error or "")
    assert not report.valid


def test_a_file_that_crashes_its_runtime_is_an_error_in_the_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "ai_edge_litert"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "interpreter.py").write_text("import os, signal\nos.kill(os.getpid(), signal.SIGSEGV)\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
    path = tmp_path / "hostile.tflite"
    path.write_bytes(linear_tflite((8, 8, 1), 2))
    result = profile(path, SHORT).results[0]
    assert result.error == "crashes its runtime (SIGSEGV)"


def test_a_worker_that_takes_too_long_is_ended(bundle: Path) -> None:
    start = time.monotonic()
    outcome = LocalExecutor().execute(request(bundle / "model-float32.onnx"), timeout_s=0.02)
    assert outcome.error == "did not finish within 0.02 s and was ended"
    assert time.monotonic() - start < 20


def test_what_a_runtime_prints_does_not_land_among_the_events(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (bundle.parent / "sitecustomize.py").write_text("")
    chatter = bundle.parent / "chatter"
    (chatter / "onnxruntime").mkdir(parents=True)
    (chatter / "onnxruntime" / "__init__.py").write_text(
        "import os; os.write(1, b'hello from C++\\n'); print('hello'); raise ImportError('gone')"
    )
    monkeypatch.setenv("PYTHONPATH", str(chatter), prepend=os.pathsep)
    outcome = LocalExecutor().execute(request(bundle / "model-float32.onnx", "memory"), timeout_s=60)
    assert [event["event"] for event in outcome.events] == ["memory", "memory", "error"]
    assert outcome.error is not None
    assert 'pip install "edgelnn[onnx]"' in outcome.error


def test_a_module_in_the_current_folder_is_not_imported(bundle: Path, tmp_path: Path, monkeypatch: Any) -> None:
    (tmp_path / "numpy.py").write_text("raise SystemExit('imported from the current folder')")
    monkeypatch.chdir(tmp_path)
    assert LocalExecutor().execute(request(bundle / "model-float32.onnx", "memory"), timeout_s=60).error is None


def test_an_unknown_request_is_an_error_that_is_said(capfd: pytest.CaptureFixture[str]) -> None:
    outcome = LocalExecutor().execute({"kind": "guessing"}, timeout_s=60)
    assert "expected timing, memory, operators, energy, machine or answers" in (outcome.error or "")


def test_a_request_is_one_line_of_json_and_so_is_every_answer() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "edgelnn_profiling.worker"],
        input=b'{"kind": "machine"}\n',
        capture_output=True,
        check=True,
    )
    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert [event["event"] for event in events] == ["machine", "done"]
    assert events[0]["machine"]["bits"] in (32, 64)


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system cannot pin processes")
def test_a_pinned_worker_keeps_to_its_cpus(bundle: Path) -> None:
    plan = {**encode(SHORT), "pin": True}
    outcome = LocalExecutor().execute(request(bundle / "model-float32.tflite", plan=plan), timeout_s=60)
    assert outcome.error is None
    assert outcome.first("loaded")["pinned"] == [max(os.sched_getaffinity(0))]
    first = min(os.sched_getaffinity(0))
    named = LocalExecutor().execute(
        request(bundle / "model-float32.tflite", plan={**plan, "cpus": [first]}), timeout_s=60
    )
    assert named.first("loaded")["pinned"] == [first]
    absent = LocalExecutor().execute(
        request(bundle / "model-float32.tflite", plan={**plan, "cpus": [4095]}), timeout_s=60
    )
    assert "got CPUs 4095 to pin to; this process may use" in (absent.error or "")
    too_many = LocalExecutor().execute(request(bundle / "model-float32.tflite", plan=plan, threads=1000), timeout_s=60)
    assert "1000 threads to pin" in (too_many.error or "")


def test_a_model_of_a_fixed_batch_counts_its_images(tmp_path: Path) -> None:
    path = tmp_path / "four.onnx"
    path.write_bytes(linear_onnx((8, 8, 1), 2, batch=4))
    timing = profile(path, SHORT).results[0].timing
    assert timing is not None
    assert [found.batch for found in timing.throughput] == [4]
    assert timing.throughput[0].images_per_s == pytest.approx(4 / timing.inference.p50_s)


def test_a_file_that_promises_any_batch_and_takes_one_keeps_its_figures_for_one(tmp_path: Path) -> None:
    import onnx
    from onnx import helper, numpy_helper

    model = onnx.load_from_string(linear_onnx((8, 8, 1), 2))
    model.graph.initializer.append(numpy_helper.from_array(np.array([1, 64], np.int64), "one"))
    model.graph.node[0].CopyFrom(helper.make_node("Reshape", ["image", "one"], ["flat"]))
    path = tmp_path / "liar.onnx"
    path.write_bytes(model.SerializeToString())
    report = profile(path, SHORT)
    timing = report.results[0].timing
    assert report.results[0].error is None
    assert timing is not None
    assert [found.batch for found in timing.throughput] == [1]
    assert set(timing.failed_batches) == {"8", "32"}
    assert "fails on" in timing.failed_batches["8"]
    note = next(table.note for table in tables_of(report) if table.name == "throughput")
    assert note.startswith("liar.onnx, batch 8: ONNX Runtime")


@pytest.mark.board
@pytest.mark.parametrize(("site", "formats"), [("site", ("onnx", "tflite")), ("site_tfl", ("tflite",))])
def test_a_bundle_is_profiled_on_an_emulated_board(tmp_path: Path, site: str, formats: tuple[str, ...]) -> None:
    """The worker's whole way on the aarch64 builds, with numpy 1 too; what the clock says there means nothing."""
    named = os.environ.get("EDGELNN_BOARDS", "")
    if not named:
        pytest.skip("EDGELNN_BOARDS is not set: it names the folder of the emulated boards")
    folder = make_bundle(tmp_path / "bundle", formats=formats).folder
    (tmp_path / "packages").mkdir()
    for package in (edgelnn, edgelnn_profiling):
        home = Path(package.__path__[0])
        (tmp_path / "packages" / home.name).symlink_to(home)
    environment = {"PYTHONPATH": f"{named}/pi4/opt/{site}:{tmp_path / 'packages'}"}
    executor = LocalExecutor(f"{named}/bin/pi4-python", environment)
    report = profile(folder, replace(SHORT, operators=True), executor=executor)
    assert report.machine.board == "Raspberry Pi 4 Model B Rev 1.2"
    assert report.machine.cpu == "Cortex-A72"
    assert report.machine.architecture == "aarch64"
    assert report.machine.versions["numpy"].startswith("1." if site == "site_tfl" else "2.")
    assert (report.before.governor, report.before.temperature_c) == ("ondemand", 48.312)
    assert [result.error for result in report.results] == [None] * len(formats)
    for result in report.results:
        assert result.parity is not None
        assert result.parity.max_error < 1e-5
        assert result.timing is not None
    assert report.results[-1].runtime == ("tflite-runtime" if site == "site_tfl" else "ai-edge-litert")
    for result in report.results:
        assert result.operators is not None
        if site == "site_tfl":
            assert "has no profiler" in (result.operators.reason or "")
        else:
            assert any("Softmax" in operator.type for operator in result.operators.operators), result.operators


@pytest.mark.slow
def test_the_median_is_that_of_a_bare_loop(bundle: Path, tmp_path: Path) -> None:
    """Within 5 % of ten thousand inferences in a bare process, best of three, as others may use this machine."""
    path = tmp_path / "wide.onnx"
    path.write_bytes(linear_onnx((128, 128, 1), 64))
    bare = f"""
import numpy, onnxruntime, time
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = options.inter_op_num_threads = 1
session = onnxruntime.InferenceSession({str(path)!r}, options, providers=["CPUExecutionProvider"])
binding = session.io_binding()
binding.bind_ortvalue_input("image", onnxruntime.OrtValue.ortvalue_from_numpy(numpy.zeros((1, 1, 128, 128), "f4")))
binding.bind_output("probabilities")
times = []
for _ in range(10000):
    start = time.perf_counter_ns()
    session.run_with_iobinding(binding)
    times.append(time.perf_counter_ns() - start)
print(numpy.median(times) / 1e9)
"""
    ratios = []
    for _ in range(3):
        direct = float(subprocess.run([sys.executable, "-c", bare], capture_output=True, check=True).stdout)
        timing = profile(path, Plan(memory=False, batches=(1,))).results[0].timing
        assert timing is not None
        ratios.append(timing.inference.p50_s / direct)
    assert min(abs(ratio - 1) for ratio in ratios) < 0.05, ratios
