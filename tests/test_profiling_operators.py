"""Time by operator: what files say of theirs, what the runtimes' profilers say, and how the two are linked."""

from __future__ import annotations

import json
import random
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgelnn.bundle import Bundle
from edgelnn.errors import ModelFileError, ProfileError
from edgelnn_export.inspection import inspect_model
from edgelnn_profiling import Plan, Report, litert_profiler, profile
from edgelnn_profiling.executor import Outcome
from edgelnn_profiling.file_contents import FileContents, FileOperator, read_contents
from edgelnn_profiling.litert_profiler import Event, read_events, summarize_events
from edgelnn_profiling.onnx_profiler import read_arena, read_onnx_profile
from edgelnn_profiling.operator_times import OperatorProfile, OperatorTime
from edgelnn_profiling.operator_watching import watch_operators
from edgelnn_profiling.runtimes import load_runtime, random_input
from edgelnn_profiling.tflite_linking import link_operators
from tests.profiling_fakes import FakeExecutor
from tests.small_bundle import linear_onnx, linear_tflite, make_bundle


def operator(name: str, kind: str, *inputs: str, output: str = "", part: str | None = None) -> FileOperator:
    weight = inputs[1] if len(inputs) > 1 else None
    return FileOperator(name, kind, inputs, (output or name,), weight, part)


# What files say


@pytest.mark.parametrize("suffix", ["onnx", "tflite"])
def test_a_file_is_read_as_the_libraries_read_it(tiny_bundle: Bundle, suffix: str) -> None:
    for path in tiny_bundle.folder.glob(f"*.{suffix}"):
        found, known = read_contents(path.read_bytes(), suffix), inspect_model(path)
        main = [one for one in known.operators if one.graph == ""]
        assert [one.type for one in found.operators] == [one.type for one in main]
        assert [one.inputs for one in found.operators] == [one.inputs for one in main]
        assert [one.outputs for one in found.operators] == [one.outputs for one in main]
        stored = sum(tensor.size_bytes for tensor in known.tensors)
        assert 0.9 * stored <= found.constant_bytes <= stored  # TFLite's scales stand beside tensors, not in buffers


@pytest.mark.parametrize("suffix", ["onnx", "tflite"])
def test_our_files_say_what_is_stem_scan_head_and_output(tiny_bundle: Bundle, suffix: str) -> None:
    path = tiny_bundle.path(tiny_bundle.variant(f"{suffix}-float32"))
    parts = [one.part for one in read_contents(path.read_bytes(), suffix).operators]
    assert list(dict.fromkeys(parts)) == ["stem", "scan", "head", "output"]


def test_files_of_others_have_no_parts() -> None:
    for data, kind in ((linear_onnx((8, 8, 1), 2), "onnx"), (linear_tflite((8, 8, 1), 2), "tflite")):
        assert {one.part for one in read_contents(data, kind).operators} == {None}


def test_layers_are_those_who_share_weights_and_the_others_by_kind() -> None:
    contents = FileContents(
        (
            operator("head/linear1", "FULLY_CONNECTED", "a", "w"),
            operator("head/add0", "ADD", "b"),
            operator("head/linear2", "FULLY_CONNECTED", "c", "w"),
            operator("head/add13", "ADD", "d"),
            operator("head/linear3", "FULLY_CONNECTED", "e", "v"),
        ),
        0,
    )
    assert list(contents.layer_names().values()) == [
        *("head/linear1", "head/add", "head/linear1", "head/add", "head/linear3")
    ]


@pytest.mark.parametrize("kind", ["onnx", "tflite"])
def test_a_damaged_file_is_one_clear_error(kind: str) -> None:
    whole = linear_onnx((8, 8, 1), 2) if kind == "onnx" else linear_tflite((8, 8, 1), 2)
    for data in (whole[: len(whole) // 2], b"", b"\xff" * 64):
        with pytest.raises(ModelFileError, match="cut short"):
            read_contents(data, kind)


# ONNX Runtime


def kernel(name: str, kind: str, ts: int, dur: int, index: int = 0, **more: Any) -> dict[str, Any]:
    arguments = {"op_name": kind, "node_index": str(index), **more}
    return {"cat": "Node", "name": f"{name}_kernel_time", "ts": ts, "dur": dur, "args": arguments}


def run(ts: int, dur: int, *kernels: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [*kernels, {"cat": "Session", "name": "model_run", "ts": ts, "dur": dur, "args": {}}]


CONTENTS = FileContents(
    (
        operator("stem/conv2d0", "Conv", "image", "w", output="a", part="stem"),
        operator("stem/conv2d1", "Relu", "a", output="d", part="stem"),
        operator("head/loop0", "Scan", "d", output="e", part="head"),
    ),
    0,
)


def test_means_are_taken_after_warm_up_over_the_faster_half() -> None:
    events: list[Mapping[str, Any]] = []
    durations = [1, 1, 1, 1, *[10] * 4, *[12] * 4, *[400] * 8]  # a fifth is warm-up; of 16 eight count
    for place, duration in enumerate(durations):
        start = 10_000 * place
        events += run(start, duration + 3, kernel("stem/conv2d0", "Conv", start + 1, duration))
    found = read_onnx_profile(events, CONTENTS)
    assert found.inferences == 8
    assert [(one.name, one.mean_s, one.runs) for one in found.operators] == [("stem/conv2d0", pytest.approx(11e-6), 1)]
    assert found.operators[0].most_s == pytest.approx(12e-6)
    assert (found.inference_s, found.inference_mean_s) == (pytest.approx(14e-6), pytest.approx(14e-6))
    assert found.resolution_s == 1e-6


def test_what_runs_inside_a_loop_is_part_of_the_loops_time() -> None:
    kernels = [
        kernel("d_nchwc", "Conv", 1, 8, 0),
        kernel("inner", "MatMul", 11, 5, 0),
        kernel("inner", "MatMul", 17, 5, 0),
        kernel("head/loop0", "Scan", 10, 20, 1),
        kernel("after", "Softmax", 30, 0, 2),
    ]
    found = read_onnx_profile(run(0, 40, *kernels), CONTENTS)
    assert [(one.name, one.origin, one.part) for one in found.operators] == [
        ("d_nchwc", "stem/conv2d0", "stem"),
        ("head/loop0", "head/loop0", "head"),
        ("after", None, None),
    ]
    assert [(part.name, part.operators) for part in found.by_part] == [("stem", 1), ("head", 1), (None, 1)]
    assert found.total_s == pytest.approx(28e-6)


def test_a_profile_without_inferences_is_one_clear_error() -> None:
    with pytest.raises(ProfileError, match="holds no inference"):
        read_onnx_profile([{"cat": "Session", "name": "session_initialization", "ts": 0, "dur": 3}], CONTENTS)


def test_both_runtimes_tell_where_the_time_goes(tiny_bundle: Bundle) -> None:
    for name in ("onnx-float32", "tflite-float32"):
        variant = tiny_bundle.variant(name)
        path = tiny_bundle.path(variant)
        array = random_input(load_runtime(path).input, seed=0)
        found = watch_operators(str(path), variant.format, array, threads=1)
        assert found.profiler is not None
        assert found.inferences >= 20
        assert found.inference_s is not None
        assert 0 < found.total_s < 2 * found.inference_s
        parts = {part.name for part in found.by_part}
        assert {"stem", "head", "output"} <= parts, found.operators
        convolutions = {one.origin for one in found.operators if one.type in ("Conv", "Convolution")}
        in_file = read_contents(path.read_bytes(), variant.format).operators
        assert convolutions == {one.name for one in in_file if one.type in ("Conv", "CONV_2D")}
        assert sum(layer.mean_s for layer in found.by_layer) == pytest.approx(found.total_s)


def test_the_arena_of_onnx_runtime_is_told_apart_from_weights(tmp_path: Path) -> None:
    path = tmp_path / "wide.onnx"
    path.write_bytes(linear_onnx((64, 64, 1), 8))
    arena = read_arena(str(path), np.zeros((1, 1, 64, 64), np.float32), threads=1)
    assert arena.arena_bytes is None or arena.arena_bytes > 0
    assert arena.activations_bytes is None or arena.activations_bytes < 64 * 64 * 8 * 4


# LiteRT

EVENT = struct.Struct("<Qi4xQQ48xQQi4x")


def packed(*events: tuple[int, int, int, int]) -> bytes:
    return b"".join(EVENT.pack(tag, kind, 0, elapsed, index, 0, 0) for tag, kind, elapsed, index in events)


def test_events_are_read_from_the_librarys_structs() -> None:
    texts = {1: b"Invoke", 2: b"TanH (NC)"}
    events = read_events(packed((1, 1, 70, 0), (2, 8, 3, 14)) + b"\0" * 104, 2, texts.__getitem__)
    assert events == [Event("Invoke", 1, 70, 0), Event("TanH (NC)", 8, 3, 14)]


@pytest.mark.parametrize(
    "data",
    [packed((0, 1, 70, 0)), packed((1, 3, 70, 0)), packed((1, -1, 70, 0)), packed((1, 1, 1 << 63, 0)), b"\xff" * 104],
)
def test_structs_of_another_form_are_refused_before_an_address_in_them_is_followed(data: bytes) -> None:
    def never(address: int) -> bytes:
        raise AssertionError(address)

    with pytest.raises(ProfileError, match="another form"):
        read_events(data, 1, never)


STEM_AND_HEAD = FileContents(
    (
        operator("stem/conv2d0", "CONV_2D", "image", "w", part="stem"),
        operator("stem/conv2d1", "CONV_2D", "stem/conv2d0", "v", part="stem"),
        operator("scan/reshape0", "RESHAPE", "stem/conv2d1", part="scan"),
        operator("head/tanh0", "TANH", "scan/reshape0", part="head"),
        operator("head/split0", "SPLIT", "head/tanh0", part="head"),
        operator("head/tanh1", "TANH", "head/split0", part="head"),
        operator("probabilities", "SOFTMAX", "head/tanh1", part="output"),
    ),
    0,
)


def test_the_kth_of_a_kind_is_the_kth_in_the_file_and_what_lies_between_belongs_there() -> None:
    ran = ["Convert (NC)", "Convolution (NHWC)", "Convert (NC)", "Convolution (NHWC)", "Static Reshape (NC)"]
    ran += ["TanH (NC)", "Copy (NC)", "TanH (NC)", "Softmax (NC)"]
    found, reason = link_operators([(tag, None) for tag in ran], [1e-6] * len(ran), STEM_AND_HEAD)
    assert reason is None
    assert [one.origin for one in found] == [
        *(None, "stem/conv2d0", None, "stem/conv2d1", None, "head/tanh0", None, "head/tanh1", "probabilities")
    ]
    assert [one.part for one in found] == [*(None, "stem", "stem", "stem", None, "head", "head", "head", "output")]
    assert (found[1].type, found[1].layer, found[5].layer) == ("Convolution", "stem/conv2d0", "head/tanh")


def test_kinds_of_which_the_runtime_has_more_or_fewer_are_not_guessed() -> None:
    found, _ = link_operators([("Convolution (NHWC)", None), ("TanH (NC)", None)], [0.0, 0.0], STEM_AND_HEAD)
    assert [one.origin for one in found] == [None, None]
    assert [one.part for one in found] == [None, None]


def test_operators_that_were_not_delegated_come_with_their_place() -> None:
    ran = [("CONV_2D", 0), ("CONV_2D", 1), ("TanH (NC)", None), ("TanH (NC)", None), ("SOFTMAX", 6)]
    found, _ = link_operators(ran, [0.0] * 5, STEM_AND_HEAD)
    assert [one.origin for one in found] == [
        *("stem/conv2d0", "stem/conv2d1", "head/tanh0", "head/tanh1", "probabilities")
    ]


def test_another_order_than_the_files_is_said_and_nothing_is_linked() -> None:
    ran = [("TanH (NC)", None), ("TanH (NC)", None), ("Convolution (NHWC)", None), ("Convolution (NHWC)", None)]
    found, reason = link_operators(ran, [0.0] * 4, STEM_AND_HEAD)
    assert "another order" in (reason or "")
    assert {one.part for one in found} == {None}


def test_the_faster_half_of_the_inferences_of_litert_counts() -> None:
    def inference(convolution_us: int) -> list[Event]:
        whole = Event("Invoke", 1, convolution_us + 20, 0)
        operators = [Event("Convolution (NHWC)", 8, convolution_us, 0), Event("Convolution (NHWC)", 8, 0, 1)]
        return [Event("buffers", 1, 5, 0), whole, *operators, Event("Invoke", 32, 4294967296, 0)]

    found = summarize_events([inference(10)] * 3 + [inference(12)] * 2 + [inference(500)] * 5, STEM_AND_HEAD, "LiteRT")
    assert found.inferences == 5
    assert (found.inference_s, found.inference_mean_s) == (pytest.approx(30e-6), pytest.approx(30.8e-6))
    assert found.operators[0].mean_s == pytest.approx((3 * 10 + 2 * 12) / 5 * 1e-6)
    assert found.operators[0].origin == "stem/conv2d0"
    # What is left of the inference bounds what may have been cut off.
    assert found.by_part[0].most_s <= found.operators[0].most_s + 1e-6
    with pytest.raises(ProfileError, match="in every inference"):
        summarize_events([inference(10)] * 5 + [inference(10)[:3]] * 5, STEM_AND_HEAD, "LiteRT")
    with pytest.raises(ProfileError, match="no operators"):
        summarize_events([], STEM_AND_HEAD, "LiteRT")


def test_what_litert_does_not_tell_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    array = np.zeros((1, 8, 8, 1), np.float32)
    looped = FileContents((operator("head/loop0", "WHILE", "a"),), 0)
    found = litert_profiler.watch_litert("none.tflite", array, threads=1, contents=looped)
    assert (found.operators, found.profiler) == ((), None)
    assert "loop" in (found.reason or "")
    monkeypatch.setattr(litert_profiler, "import_interpreter", lambda: (None, "tflite-runtime", "2.14.0"))
    found = litert_profiler.watch_litert("none.tflite", array, threads=1, contents=STEM_AND_HEAD)
    assert (found.reason or "").startswith("tflite-runtime 2.14.0 has no profiler that can be reached from Python")


def test_a_library_without_the_profiler_is_an_error_that_names_it(tmp_path: Path) -> None:
    session = litert_profiler._Session.__new__(litert_profiler._Session)
    session._library = object()  # type: ignore[assignment]
    with pytest.raises(ProfileError, match="no LiteRtStartProfiler"):
        session._do("LiteRtStartProfiler")


# In a report


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_bundle(tmp_path_factory.mktemp("bundles") / "small").folder


def test_operators_are_watched_in_processes_of_their_own_after_the_timing(bundle: Path) -> None:
    executor = FakeExecutor()
    report = profile(bundle, Plan(rounds=2, operators=True, energy=True), executor=executor)
    kinds = [request["kind"] for request in executor.requests]
    assert kinds == ["machine", *["memory"] * 2, *["timing"] * 4, "machine", *["operators"] * 2, *["energy"] * 2]
    found = report.results[0].operators
    assert found is not None
    assert [(part.name, part.mean_s) for part in found.by_part] == [
        ("stem", pytest.approx(15.5e-6)),
        ("head", pytest.approx(3e-6)),
        (None, pytest.approx(1.5e-6)),
    ]
    assert [layer.name for layer in found.by_layer] == ["stem/conv2d", "ReorderOutput", "head/lstm"]
    assert report.valid
    assert Report.from_json(report.to_json()) == report


def test_what_was_not_asked_for_is_not_measured(bundle: Path) -> None:
    executor = FakeExecutor()
    report = profile(bundle, executor=executor)
    assert {request["kind"] for request in executor.requests} == {"machine", "memory", "timing"}
    assert (report.results[0].operators, report.results[0].energy) == (None, None)


def test_a_profiler_that_crashes_costs_the_operators_and_nothing_else(bundle: Path) -> None:
    executor = FakeExecutor(operators=lambda request: Outcome((), "crashes its runtime (SIGSEGV)"))
    report = profile(bundle, Plan(operators=True), executor=executor)
    assert report.valid
    found = report.results[0].operators
    assert found is not None
    assert (found.operators, found.reason) == ((), "crashes its runtime (SIGSEGV)")


def test_a_report_of_the_first_format_is_still_read(bundle: Path) -> None:
    value = json.loads(profile(bundle, executor=FakeExecutor()).to_json())
    value["format_version"] = 1
    for name in ("operators", "energy", "energy_pairs", "energy_window_s", "cpus"):
        del value["plan"][name]
    for result in value["results"]:
        del result["operators"], result["energy"], result["timing"]["failed_batches"]
        for name in ("weights_bytes", "activations_bytes", "arena_bytes"):
            del result["memory"][name]
    del value["machine"]["emulated"]
    report = Report.from_json(json.dumps(value))
    assert report.format_version == 3
    assert report.results[0].memory is not None
    assert report.results[0].memory.arena_bytes is None
    with pytest.raises(ProfileError, match="lacks"):
        Report.from_json(json.dumps({**value, "format_version": 2}))


def test_times_below_the_clock_are_shown_as_bounds(bundle: Path) -> None:
    from edgelnn_profiling.writers.cost_tables import layer_table, part_table

    report = profile(bundle, Plan(operators=True, energy=True), executor=FakeExecutor())
    parts = part_table(report)
    assert parts.rows[0] == (
        *("onnx-float32", "15.5–17.5 µs", "—", "3.00–4.00 µs", "—", "1.50–2.50 µs"),
        *("20.0 µs", "24.0 µs"),
    )
    assert [row[1] for row in layer_table(report).rows][:3] == ["stem/conv2d", "ReorderOutput", "head/lstm"]
    tiny = OperatorTime("TanH (NC)", "TanH", None, None, "head", 1, 0.0, 1e-6)
    profiled = OperatorProfile("LiteRT", 10, 5e-5, 5e-5, 1e-6, (tiny,) * 3, None)
    assert profiled.by_part[0].most_s == pytest.approx(3e-6)


def test_what_a_layer_takes_at_most_is_never_below_the_truth() -> None:
    """True times that a profiler cuts off to whole microseconds, and the bounds that it leads to."""
    chance = random.Random(0)
    for _ in range(200):
        true = [[chance.choice((0.3, 0.98, 3.7, 9.9)) * chance.uniform(1.0, 1.3) for _ in range(4)] for _ in range(5)]
        events: list[Mapping[str, Any]] = []
        for place, times in enumerate([true[0], *true]):  # a first one for the warm-up
            start = 1000 * place
            kernels = [kernel(f"{i}", "Conv", start + int(sum(times[:i])), int(time)) for i, time in enumerate(times)]
            events += run(start, int(sum(times)), *kernels)
        found = read_onnx_profile(events, CONTENTS)
        kept = sorted(true, key=lambda times: int(sum(times)))[: found.inferences]
        means = [sum(column) / len(kept) * 1e-6 for column in zip(*kept, strict=True)]
        layers = sorted(found.by_layer, key=lambda layer: layer.name or "")
        for layer, mean in zip(layers, means, strict=True):
            assert layer.mean_s <= mean <= layer.most_s
        assert sum(means[:3]) <= found.at_most_s(sum(layer.mean_s for layer in layers[:3]), 1.0) < 1.0


def test_without_the_mean_inference_of_an_older_report_the_clock_alone_bounds(bundle: Path) -> None:
    value = json.loads(profile(bundle, Plan(operators=True), executor=FakeExecutor()).to_json())
    value["format_version"] = 2
    for result in value["results"]:
        del result["operators"]["inference_mean_s"]
    found = Report.from_json(json.dumps(value)).results[0].operators
    assert found is not None
    assert found.inference_mean_s is None
    assert [part.most_s for part in found.by_part] == [pytest.approx(us * 1e-6) for us in (17.5, 4.0, 2.5)]
