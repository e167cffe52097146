"""Whole reports from workers that never ran: order, aggregation, errors; and every caution provoked."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

import pytest

from edgelnn.errors import BundleError, ConfigError, ModelFileError, ProfileError
from edgelnn_profiling import Plan, Report, profile
from edgelnn_profiling.cautions import CautionKind
from edgelnn_profiling.executor import Outcome, read_events
from tests.profiling_fakes import NOW, FakeExecutor, memory_events, timing_events
from tests.small_bundle import linear_onnx, make_bundle


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_bundle(tmp_path_factory.mktemp("bundles") / "small").folder


def measure(path: Path, executor: FakeExecutor, plan: Plan | None = None, **more: Any) -> Report:
    return profile(path, plan, executor=executor, now=lambda: NOW, **more)


def kinds(report: Report) -> set[str]:
    return {caution.kind for caution in report.cautions}


def test_a_quiet_measurement_is_valid_and_complete(bundle: Path) -> None:
    report = measure(bundle, FakeExecutor())
    assert report.valid
    assert report.cautions == ()
    assert report.reasons == ()
    assert (report.name, report.synthetic, report.dataset) == ("small", True, "noise")
    assert report.created == "2025-01-02T03:04:05+00:00"
    assert report.machine.board == "Raspberry Pi 4 Model B Rev 1.2"
    first = report.results[0]
    assert [result.variant for result in report.results] == ["onnx-float32", "tflite-float32"]
    assert first.recommended
    assert first.error is None
    assert first.parameters == {"trainable": 128, "stored": 128, "active": 128}
    assert first.macs == 128
    assert first.test is not None
    assert first.test["auc"] == 0.74
    assert first.parity is not None
    assert first.parity.images == 4
    timing = first.timing
    assert timing is not None
    assert timing.inference.count == 3 * 2 * 200
    assert timing.inference.p50_s == pytest.approx(20.005e-6)
    assert len(timing.window_p50s_s) == 6
    assert timing.inference.percentile(99) is not None
    assert timing.load.p50_s == 0.002
    assert timing.first_inference.p50_s == 0.0005
    assert timing.preparation is not None
    assert timing.preparation.p50_s == pytest.approx(3.05e-6)
    assert timing.decision is not None
    assert timing.decision.p50_s == pytest.approx(0.95e-6)
    assert {found.batch: round(found.images_per_s) for found in timing.throughput} == {1: 49988, 8: 100_000}
    memory = first.memory
    assert memory is not None
    assert memory.peak_rss_bytes == 57_000_000
    assert memory.above_empty_bytes == 32_000_000


def test_variants_are_interleaved_each_in_fresh_processes_and_memory_apart(bundle: Path) -> None:
    executor = FakeExecutor()
    measure(bundle, executor, Plan(rounds=4))
    asked = [request["kind"] for request in executor.requests]
    assert asked == ["machine", *["memory"] * 2, *["timing"] * 8, "machine"]
    timed = [request["format"] for request in executor.requests if request["kind"] == "timing"]
    rounds = [timed[index : index + 2] for index in range(0, 8, 2)]
    assert all(sorted(each) == ["onnx", "tflite"] for each in rounds)
    again = FakeExecutor()
    measure(bundle, again, Plan(rounds=4))
    assert [request.get("format") for request in again.requests] == [
        request.get("format") for request in executor.requests
    ]


def test_the_order_within_a_round_changes(bundle: Path) -> None:
    executor = FakeExecutor()
    measure(bundle, executor, Plan(rounds=12))
    timed = [request["format"] for request in executor.requests if request["kind"] == "timing"]
    assert {timed[index] for index in range(0, 24, 2)} == {"onnx", "tflite"}


def test_threads_are_swept(bundle: Path) -> None:
    executor = FakeExecutor()
    report = measure(bundle, executor, Plan(threads=(1, 2, 4)), variants=["tflite-float32"])
    assert [(result.variant, result.threads) for result in report.results] == [
        ("tflite-float32", threads) for threads in (1, 2, 4)
    ]
    assert {request["threads"] for request in executor.requests if request["kind"] == "timing"} == {1, 2, 4}


def test_progress_counts_up_to_its_total(bundle: Path) -> None:
    heard = []
    profile(bundle, Plan(rounds=2), heard.append, executor=FakeExecutor())
    assert [progress.done for progress in heard] == list(range(len(heard)))
    assert heard[-1].done == heard[-1].total == 8
    assert all(progress.what for progress in heard)


def test_memory_can_be_left_out(bundle: Path) -> None:
    executor = FakeExecutor()
    report = measure(bundle, executor, Plan(memory=False))
    assert not [request for request in executor.requests if request["kind"] == "memory"]
    assert report.results[0].memory is None
    assert report.valid


def test_a_crash_of_one_variant_is_its_error_and_the_others_go_on(bundle: Path) -> None:
    def timing(request: Mapping[str, Any]) -> Outcome | list[dict[str, Any]]:
        return Outcome((), "crashes its runtime (SIGSEGV)") if request["format"] == "tflite" else timing_events()

    executor = FakeExecutor(timing)
    report = measure(bundle, executor)
    good, bad = report.results
    assert good.timing is not None
    assert bad.timing is None
    assert bad.error == "crashes its runtime (SIGSEGV)"
    assert bad.memory is not None
    asked = [request for request in executor.requests if request["kind"] == "timing" and request["format"] == "tflite"]
    assert len(asked) == 1  # What crashed once is not started again.
    assert not report.valid
    assert report.reasons == ("tflite-float32: crashes its runtime (SIGSEGV)",)


def test_what_cannot_be_loaded_for_memory_is_not_timed(bundle: Path) -> None:
    executor = FakeExecutor(memory=lambda request: Outcome((), "could not be started: No such file"))
    report = measure(bundle, executor)
    assert not [request for request in executor.requests if request["kind"] == "timing"]
    assert [result.error for result in report.results] == ["could not be started: No such file"] * 2


def test_failed_parity_ends_a_variant_before_it_is_timed(bundle: Path) -> None:
    events = [event for event in timing_events(parity_error=0.25)][:4]
    report = measure(bundle, FakeExecutor(lambda request: events))
    result = report.results[0]
    assert result.timing is None
    assert result.error == "parity failed: answers differ by 0.25, and 0.0001 is allowed"
    assert kinds(report) == {"parity_failed"}


def test_a_worker_that_ends_early_is_an_error(bundle: Path) -> None:
    report = measure(bundle, FakeExecutor(lambda request: timing_events(done=False)))
    assert report.results[0].error == "the worker process ended before it was done"
    assert report.results[0].timing is None


def test_a_worker_that_answers_nonsense_is_one_clear_error(bundle: Path) -> None:
    nonsense = [{"event": "loaded"}, {"event": "done"}]
    with pytest.raises(ProfileError, match="cannot be understood"):
        measure(bundle, FakeExecutor(lambda request: nonsense))
    with pytest.raises(ProfileError, match="described its machine"):
        measure(bundle, FakeExecutor(machine={"bits": "many"}))


def test_a_bare_file_has_no_parameters_and_no_parity(tmp_path: Path) -> None:
    path = tmp_path / "some.onnx"
    path.write_bytes(linear_onnx((8, 8, 1), 2))
    executor = FakeExecutor(lambda request: timing_events(parity_error=None))
    report = measure(path, executor)
    result = report.results[0]
    assert (report.name, report.synthetic, report.dataset) == ("some.onnx", None, None)
    assert (result.variant, result.format, result.recipe) == ("some.onnx", "onnx", None)
    assert (result.parameters, result.macs, result.parity, result.test) == (None, None, None, None)
    assert result.size_bytes == path.stat().st_size
    assert next(request for request in executor.requests if request["kind"] == "timing")["golden"] is None
    assert report.valid


def test_requests_are_plain_json_with_absolute_paths(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(bundle.parent)
    executor = FakeExecutor()
    measure(Path(bundle.name), executor)
    request = next(request for request in executor.requests if request["kind"] == "timing")
    assert json.loads(json.dumps(request)) == request
    assert Path(request["model"]).is_absolute()
    assert Path(request["golden"]["file"]).is_absolute()
    assert request["golden"]["allowed_error"] == 1e-4


def test_a_report_survives_json(bundle: Path) -> None:
    report = measure(bundle, FakeExecutor(), Plan(threads=(1, 2)))
    text = report.to_json()
    assert Report.from_json(text) == report
    rows = [line for line in text.splitlines() if '"samples_ns": [2' in line]
    assert len(rows) == 2 * 2 * 3 * 2  # variants, threads, rounds and windows: each row of samples on one line


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda text: text[: len(text) // 2], "not valid JSON"),
        (lambda text: text.replace('"format_version": 3', '"format_version": 4'), "Update it"),
        (lambda text: text.replace('"valid": true', '"valid": "yes"'), "true or false"),
        (lambda text: text.replace('"created"', '"made"'), "lacks .created"),
        (lambda text: "[]", "expected an object"),
        (lambda text: text.replace("0.002", "NaN", 1), "NaN"),
    ],
)
def test_a_damaged_report_is_one_clear_error(bundle: Path, change: Any, words: str) -> None:
    text = measure(bundle, FakeExecutor()).to_json()
    with pytest.raises(ProfileError, match=words) as caught:
        Report.from_json(change(text))
    assert "\n" not in str(caught.value)


def test_unknown_variants_and_targets_are_refused(bundle: Path, tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="onnx-float32"):
        measure(bundle, FakeExecutor(), variants=["onnx-float64"])
    with pytest.raises(BundleError, match="bundle"):
        measure(tmp_path, FakeExecutor())
    with pytest.raises(ModelFileError, match="cannot read"):
        measure(tmp_path / "none.onnx", FakeExecutor())
    model = tmp_path / "some.onnx"
    model.write_bytes(linear_onnx((8, 8, 1), 2))
    with pytest.raises(ProfileError, match="only bundles have variants"):
        measure(model, FakeExecutor(), variants=["a"])


@pytest.mark.parametrize(
    "values",
    [
        {"rounds": 0},
        {"windows": 0},
        {"min_samples": 0},
        {"max_samples": 5},
        {"threads": ()},
        {"threads": (1, 1)},
        {"threads": (0,)},
        {"batches": (8,)},
        {"window_s": 0.0},
        {"window_s": float("nan")},
        {"warm_up_min_s": -1.0},
        {"warm_up_min_s": 2.0},
        {"timeout_s": 0.0},
        {"preparation_samples": -1},
        {"energy_pairs": 0},
        {"energy_window_s": 0.0},
        {"cpus": (1,)},
        {"pin": True, "cpus": (1, 1)},
        {"pin": True, "cpus": (-1,)},
        {"pin": True, "cpus": (1,), "threads": (2,)},
    ],
)
def test_a_plan_that_cannot_be_carried_out_names_what_is_wrong(values: dict[str, Any]) -> None:
    with pytest.raises(
        ConfigError, match=r"got (rounds|windows|min_|max_|threads|batches|window_s|warm|time|prep|energy|cpus)"
    ):
        Plan(**values)


# Every caution of the closed list, and what provokes it.
NORMAL: dict[str, Any] = {}
PROVOKED: dict[str, dict[str, Any]] = {
    "parity_failed": {"timing": {"parity_error": 0.1}},
    "not_measured": {"outcome": Outcome((), "did not finish within 600 s and was ended")},
    "under_voltage": {"states": ({}, {"throttled": 0x10001})},
    "throttled": {"timing": {"after": {"throttled": 0xE0008}}},
    "clock_changed": {"timing": {"clocks_hz": [600_000_000], "windows": (1.0,)}, "second": {"windows": (1.0,)}},
    "other_load": {"timing": {"activity": {"other_cpus": 1.0}}},
    "noisy": {"timing": {"windows": (1.0, 1.06)}},
    "swap": {"timing": {"activity": {"swapped_pages": 3}}},
    "unsettled": {"timing": {"warm_up": {"settled": False}}},
    "governor": {"states": ({"governor": "ondemand"}, {})},
    "hot": {"timing": {"after": {"temperature_c": 79.5}}},
    "held_back_before": {"states": ({"throttled": 0x50000}, {"throttled": 0x50000})},
    "unwatched": {"states": ({"clocks_hz": [], "throttled": None},) * 2},
    "virtual": {"machine": {"features": ["avx2", "hypervisor"]}},
    "emulated": {"machine": {"emulated": True}},
    "too_many_threads": {"plan": {"threads": (8,)}},
    "means": {"timing": {"warm_up": {"means_of": 4}}},
    "few_samples": {"timing": {"samples": 5}},
    "few_windows": {"plan": {"rounds": 1}},
}
INVALIDATING = {
    "emulated",
    "parity_failed",
    "not_measured",
    "under_voltage",
    "throttled",
    "clock_changed",
    "other_load",
    "noisy",
    "swap",
}


def test_the_list_of_cautions_is_closed_and_each_is_provoked_here() -> None:
    assert set(PROVOKED) == set(get_args(CautionKind))


@pytest.mark.parametrize("kind", sorted(PROVOKED))
def test_caution(kind: str, bundle: Path) -> None:
    recipe = PROVOKED[kind]
    calls = []

    def timing(request: Mapping[str, Any]) -> Outcome | list[dict[str, Any]]:
        calls.append(request)
        if "outcome" in recipe:
            return recipe["outcome"]
        odd = len(calls) % 2 == 0 and "second" in recipe
        return timing_events(**(recipe["second"] if odd else recipe.get("timing", NORMAL)))

    executor = FakeExecutor(timing, machine=recipe.get("machine"), states=recipe.get("states", ({}, {})))
    plan = Plan(**{"rounds": 6, **recipe.get("plan", NORMAL)})
    report = measure(bundle, executor, plan, variants=["onnx-float32"])
    assert kinds(report) == {kind}
    caution = report.cautions[0]
    assert caution.invalidates == (kind in INVALIDATING)
    assert report.valid == (kind not in INVALIDATING)
    assert bool(report.reasons) == (kind in INVALIDATING)
    for text in (caution.seen, caution.matters, caution.advice):
        assert len(text) > 5
        assert not text.endswith(".")
    assert any(letter.isdigit() for letter in caution.seen) or kind in (
        "under_voltage",
        "throttled",
        "governor",
        "held_back_before",
        "unwatched",
        "virtual",
    )


def test_a_flag_raised_since_the_start_during_the_measurement_counts_as_during(bundle: Path) -> None:
    report = measure(bundle, FakeExecutor(states=({"throttled": 0}, {"throttled": 0x40000})))
    assert kinds(report) == {"throttled"}
    assert "throttled" in report.reasons[0]


def test_a_process_that_hardly_runs_betrays_other_load(bundle: Path) -> None:
    starved = {"own_cpus": 0.5, "other_cpus": None}
    report = measure(bundle, FakeExecutor(lambda request: timing_events(activity=starved)))
    assert kinds(report) == {"other_load"}
    assert "50%" in report.cautions[0].seen


def test_swap_of_the_process_itself_counts(bundle: Path) -> None:
    report = measure(bundle, FakeExecutor(lambda request: timing_events(swapped_bytes=3 * 2**20)))
    assert kinds(report) == {"swap"}


def test_what_the_system_does_not_tell_is_no_reason(bundle: Path) -> None:
    unknown = {"other_cpus": None, "swapped_pages": None}
    states = {"governor": None, "temperature_c": None, "load": None}
    executor = FakeExecutor(
        lambda request: timing_events(activity=unknown, swapped_bytes=None, clocks_hz=(), before=states, after=states),
        states=(states, states),
    )
    assert measure(bundle, executor).valid


def test_means_are_divided_for_statistics_and_kept_raw(bundle: Path) -> None:
    executor = FakeExecutor(lambda request: timing_events(sample_ns=40_000, warm_up={"means_of": 4}))
    timing = measure(bundle, executor).results[0].timing
    assert timing is not None
    assert timing.inference.means_of == 4
    assert timing.inference.p50_s == pytest.approx(10.00125e-6)
    assert timing.inference.percentile(90) is None
    assert timing.processes[0].windows[0].samples_ns[0] == 40_000


def test_events_are_read_up_to_the_first_broken_line() -> None:
    text = b'{"event": "a"}\n{"event": "b", "x": 1}\n{"event": "c", "x'
    assert [event["event"] for event in read_events(text)] == ["a", "b"]
    assert read_events(b"no json at all") == ()
    assert read_events(b'[1]\n{"event": "a"}') == ()


def test_memory_with_unknown_sizes_stays_unknown(bundle: Path) -> None:
    events = [{**event, "rss": None, "pss": None} if event["event"] == "memory" else event for event in memory_events()]
    memory = measure(bundle, FakeExecutor(memory=lambda request: events)).results[0].memory
    assert memory is not None
    assert memory.peak_rss_bytes is None
    assert memory.above_empty_bytes is None
