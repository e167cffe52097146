"""Comparisons: what is called a difference, what is not, and what speaks against comparing at all."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from scipy.stats import t as student

from edgelnn.errors import ProfileError
from edgelnn_profiling import Plan, Report, comparison, profile
from edgelnn_profiling.executor import Outcome
from edgelnn_profiling.ratios import SESSION_SD, interval_of_median, ratio_of_medians, student_quantile
from edgelnn_profiling.writers.comparison_page import write_comparison_html
from edgelnn_profiling.writers.comparison_tables import comparison_table
from edgelnn_profiling.writers.markdown import markdown_table
from edgelnn_profiling.writers.units import format_ratio
from tests.profiling_fakes import NOW, FakeExecutor, timing_events
from tests.small_bundle import make_bundle

STEADY = (1.0, 1.0, 1.0)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_bundle(tmp_path_factory.mktemp("bundles") / "small").folder


def report_of(
    bundle: Path,
    plan: Plan | None = None,
    *,
    onnx_ns: float = 20_000,
    tflite_ns: float = 16_500,
    processes: Sequence[float] = STEADY,
    machine: Mapping[str, Any] | None = None,
    **more: Any,
) -> Report:
    """A report of two variants that take these times, each process its factor of them."""

    def timing(request: Mapping[str, Any]) -> list[dict[str, Any]]:
        time_ns = onnx_ns if request["format"] == "onnx" else tflite_ns
        return timing_events(sample_ns=round(time_ns * processes[request["round"]]), **more)

    return profile(bundle, plan, executor=FakeExecutor(timing, machine=machine), now=lambda: NOW)


# Intervals


def test_a_reports_median_has_the_interval_that_it_is_compared_by(bundle: Path) -> None:
    medians = (1.0, 1.04, 0.97)
    report = report_of(bundle, processes=medians)
    timing = report.results[0].timing
    assert timing is not None
    middle, *above = timing.inference.percentiles
    compared = comparison([report]).rows[0].p50
    assert compared is not None
    assert (middle.low_s, middle.high_s) == (compared.low, compared.high)
    assert middle.low_s is not None
    assert middle.high_s is not None
    assert all(middle.low_s < 20e-6 * factor < middle.high_s for factor in medians)
    assert [(found.percent, found.low_s, found.high_s) for found in above] == [(90.0, None, None), (99.0, None, None)]
    assert timing.preparation is not None
    assert timing.preparation.percentiles[0].low_s is not None


def test_a_median_of_two_processes_has_no_interval(bundle: Path) -> None:
    timing = report_of(bundle, Plan(rounds=2)).results[0].timing
    assert timing is not None
    assert [(found.low_s, found.high_s) for found in timing.inference.percentiles] == [(None, None)] * 3
    assert timing.preparation is not None
    assert timing.preparation.percentiles[0].low_s is None


def test_an_interval_reaches_to_the_pooled_median_that_it_stands_beside(bundle: Path) -> None:
    report = report_of(bundle, Plan(rounds=40), processes=(1.0,) * 21 + (2.0,) * 19)
    timing = report.results[0].timing
    compared = comparison([report]).rows[0].p50
    assert timing is not None
    assert compared is not None
    middle = timing.inference.percentiles[0]
    assert compared.low > middle.value_s == middle.low_s
    assert middle.high_s == compared.high


def test_intervals_of_older_reports_that_rest_on_samples_are_computed_anew(bundle: Path) -> None:
    report = report_of(bundle, processes=(1.0, 1.04, 0.97))
    value = json.loads(report.to_json())
    value["format_version"] = 2
    for result in value["results"]:
        for name in ("inference", "preparation", "decision"):
            for found in result["timing"][name]["percentiles"]:
                found.update(low_s=found["value_s"], high_s=found["value_s"])
    assert Report.from_json(json.dumps(value)) == report


@pytest.mark.parametrize("degrees", [1.0, 2.0, 2.1, 2.7, 4.0, 10.0, 55.5, 199.0, 201.0, 1e6, math.inf])
def test_quantiles_are_those_of_students_t(degrees: float) -> None:
    assert student_quantile(degrees) == pytest.approx(student.ppf(0.975, min(degrees, 1e12)), rel=1e-4)


def called_different(simulate: Callable[[], tuple[Sequence[float], Sequence[float]]], *, session_sd: float) -> float:
    """How often the processes of two reports are told to differ."""
    cases = 1000
    found = 0
    for _ in range(cases):
        ratio = ratio_of_medians(*simulate(), session_sd=session_sd)
        assert ratio is not None
        found += not ratio.low <= 1.0 <= ratio.high
    return found / cases


def medians(
    chance: random.Random, *, processes: int, process_sd: float, session_sd: float, slow_share: float = 0.0
) -> list[float]:
    """Medians of one report's processes, whose noise has a part of its own and one that all share."""
    shared = chance.gauss(0.0, session_sd)
    return [
        math.exp(shared + chance.gauss(0.0, process_sd)) * (1.2 if chance.random() < slow_share else 1.0)
        for _ in range(processes)
    ]


@pytest.mark.parametrize("processes", [3, 10])
@pytest.mark.parametrize(
    ("noise", "allowed"),
    [
        ({"process_sd": 0.002, "session_sd": 0.0}, 0.0),
        ({"process_sd": 0.02, "session_sd": 0.0}, 0.0),
        ({"process_sd": 0.10, "session_sd": 0.0}, 0.0),
        ({"process_sd": 0.01, "session_sd": 0.0, "slow_share": 0.3}, 0.0),
        ({"process_sd": 0.002, "session_sd": SESSION_SD}, SESSION_SD),
        ({"process_sd": 0.02, "session_sd": SESSION_SD}, SESSION_SD),
        ({"process_sd": 0.02, "session_sd": 0.0}, SESSION_SD),
    ],
    ids=["quiet", "2 %", "10 %", "some processes slow", "sessions, quiet", "sessions, 2 %", "no sessions"],
)
def test_of_reports_without_a_difference_one_in_twenty_is_told_to_have_one(
    processes: int, noise: dict[str, float], allowed: float
) -> None:
    chance = random.Random(f"{processes} {noise}")

    def simulate() -> tuple[list[float], list[float]]:
        return medians(chance, processes=processes, **noise), medians(chance, processes=processes, **noise)

    # 0.05, and three standard deviations of what 1000 cases find of it
    assert called_different(simulate, session_sd=allowed) <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / 1000)


@pytest.mark.parametrize("processes", [3, 10])
@pytest.mark.parametrize("allowed", [0.0, SESSION_SD])
def test_ten_percent_is_found_at_two_percent_of_noise(processes: int, allowed: float) -> None:
    chance = random.Random(processes)

    def simulate() -> tuple[list[float], list[float]]:
        slow = medians(chance, processes=processes, process_sd=0.02, session_sd=0.0)
        return [1.1 * median for median in slow], medians(chance, processes=processes, process_sd=0.02, session_sd=0.0)

    assert called_different(simulate, session_sd=allowed) >= 0.9


def test_a_ratio_and_its_inverse_say_the_same() -> None:
    one, other = [1.0, 1.02, 0.99], [1.3, 1.35, 1.31, 1.33]
    there, back = ratio_of_medians(one, other), ratio_of_medians(other, one)
    assert there is not None
    assert back is not None
    assert (there.value, there.low, there.high) == pytest.approx((1 / back.value, 1 / back.high, 1 / back.low))


def test_an_interval_is_no_narrower_than_the_clocks_step() -> None:
    steady = [1e-6] * 3
    found = ratio_of_medians(steady, steady, resolution_s=1e-8)
    assert found is not None
    assert (found.low, found.high) == pytest.approx((1 / 1.01**2, 1.01**2))
    alone = interval_of_median(steady, resolution_s=1e-8)
    assert alone is not None
    assert (alone.value, alone.low, alone.high) == pytest.approx((1e-6, 1e-6 / 1.01, 1.01e-6))


def test_too_few_processes_and_times_of_nothing_have_no_interval() -> None:
    assert ratio_of_medians([1.0, 1.0], STEADY) is None
    assert ratio_of_medians(STEADY, [0.0, 1.0, 1.0]) is None
    assert interval_of_median([1.0, 1.0]) is None


# Verdicts


def test_within_a_report_rows_are_compared_with_the_recommended_one(bundle: Path) -> None:
    rows = comparison([report_of(bundle)]).rows
    assert [row.verdict for row in rows] == ["reference", "faster"]
    assert rows[1].reference == "1: onnx-float32"
    assert rows[1].ratio is not None
    assert rows[1].ratio.value == pytest.approx(16.505 / 20.005)
    assert rows[1].ratio.low <= rows[1].ratio.value <= rows[1].ratio.high


def test_across_reports_a_variant_is_compared_with_itself(bundle: Path) -> None:
    found = comparison([report_of(bundle), report_of(bundle, onnx_ns=40_000)], ["before", "after"])
    assert [(row.label, row.verdict) for row in found.rows[2:]] == [
        ("after", "slower"),
        ("after", "no difference told"),
    ]
    assert found.rows[2].reference == "before: onnx-float32"
    assert found.rows[2].ratio is not None
    assert found.rows[2].ratio.value == pytest.approx(2.0, rel=1e-3)
    assert found.remarks == ()


def test_a_difference_that_processes_explain_is_not_called_one(bundle: Path) -> None:
    loose = report_of(bundle, onnx_ns=20_000, tflite_ns=20_600, processes=(1.0, 1.04, 1.02))
    assert [row.verdict for row in comparison([loose]).rows] == ["reference", "no difference told"]
    tight = report_of(bundle, onnx_ns=20_000, tflite_ns=20_600, processes=(1.0, 1.001, 1.0))
    assert [row.verdict for row in comparison([tight]).rows] == ["reference", "slower"]


def test_between_reports_what_no_report_can_show_is_allowed_for(bundle: Path) -> None:
    rows = comparison([report_of(bundle), report_of(bundle, onnx_ns=20_400)]).rows
    assert rows[2].verdict == "no difference told"
    assert rows[2].ratio is not None
    assert (rows[2].ratio.low, rows[2].ratio.high) == pytest.approx((0.992, 1.049), abs=2e-3)


def test_a_row_that_is_not_valid_gets_no_verdict(bundle: Path) -> None:
    loud = report_of(bundle, onnx_ns=40_000, activity={"other_cpus": 3.0})
    found = comparison([report_of(bundle), loud])
    assert [(row.verdict, row.reason, row.valid) for row in found.rows[2:]] == [
        ("not comparable", "its measurement is not valid", False)
    ] * 2
    turned = comparison([loud, report_of(bundle)])
    assert {row.reason for row in turned.rows[2:]} == {"the reference's measurement is not valid"}
    assert found.rows[2].ratio is not None


def test_too_few_processes_give_no_verdict(bundle: Path) -> None:
    found = comparison([report_of(bundle, Plan(rounds=1))])
    assert [row.verdict for row in found.rows] == ["reference", "not comparable"]
    assert found.rows[1].reason.startswith("1 processes; an interval takes 3")


def test_what_was_not_measured_is_not_compared(bundle: Path) -> None:
    broken = profile(bundle, executor=FakeExecutor(lambda request: Outcome((), "was killed")))
    assert [row.reason for row in comparison([broken, broken]).rows] == ["it was not measured"] * 4
    rows = comparison([broken, report_of(bundle)]).rows
    assert rows[2].reason == "nothing was measured that it could be compared with"


def test_nothing_to_compare_is_an_error(bundle: Path) -> None:
    with pytest.raises(ProfileError, match="no reports"):
        comparison([])
    with pytest.raises(ProfileError, match="1 labels for 2 reports"):
        comparison([report_of(bundle)] * 2, ["one"])


# Remarks


def test_machines_that_differ_are_named(bundle: Path) -> None:
    other = report_of(bundle, machine={"board": "Raspberry Pi 5 Model B", "cpu": "Cortex-A76", "kernel": "6.6.62"})
    remarks = comparison([report_of(bundle), other], ["pi4", "pi5"]).remarks
    assert remarks == (
        "pi4 and pi5 differ in board: Raspberry Pi 4 Model B Rev 1.2 and Raspberry Pi 5 Model B.",
        "pi4 and pi5 differ in CPU: Cortex-A72 and Cortex-A76.",
        "pi4 and pi5 differ in kernel: 6.6.31 and 6.6.62.",
    )


def test_runtimes_files_threads_and_plans_that_differ_are_named(bundle: Path, tmp_path: Path) -> None:
    first = report_of(bundle)
    value = json.loads(report_of(bundle, Plan(threads=(1, 2), rounds=4, memory=False), processes=(1.0,) * 4).to_json())
    value["results"][0] |= {"runtime_version": "1.40.0", "sha256": "0" * 64}
    value["results"][2] |= {"variant": "tflite-other"}
    remarks = comparison([first, Report.from_json(json.dumps(value))], ["a", "b"]).remarks
    assert remarks == (
        "a and b were measured by other plans: rounds 3 and 4.",
        "a and b ran onnx-float32 on onnxruntime 1.31.1 and onnxruntime 1.40.0.",
        "a and b measured other files by the same names: onnx-float32.",
        "a has not the threads of b: onnx-float32 with 2, tflite-float32 with 2.",
        "a has no tflite-other, which b has.",
    )


def test_an_invalid_report_is_named_with_its_reasons(bundle: Path) -> None:
    remarks = comparison([report_of(bundle), report_of(bundle, windows=(1.0, 1.2))]).remarks
    assert any(remark.startswith("2 is not valid: onnx-float32: the medians") for remark in remarks)


# Writers


def test_a_comparison_is_a_table_that_says_its_method(bundle: Path) -> None:
    found = comparison([report_of(bundle), report_of(bundle, onnx_ns=20_400)], ["a", "b"])
    lines = markdown_table(comparison_table(found))
    assert lines[4] == "| a | onnx-float32 | 20.0 µs (20.0–20.0) | 1 | reference | {} | 57.0 MB | 0.7400 |".format(
        lines[4].split(" | ")[5]
    )
    assert "| 1.02 (0.99–1.05) | no difference told |" in lines[6]
    assert "Welch" in lines[-1]


def test_threads_and_reasons_stand_in_the_table(bundle: Path) -> None:
    table = comparison_table(comparison([report_of(bundle, Plan(threads=(1, 2), rounds=2))]))
    assert [row[1] for row in table.rows] == [
        "onnx-float32 ×1",
        "onnx-float32 ×2",
        "tflite-float32 ×1",
        "tflite-float32 ×2",
    ]
    assert table.note.startswith("Not comparable, as 2 processes; an interval takes 3, and times above 0: every other")


def test_a_comparison_has_a_page_with_ratios_and_remarks(bundle: Path) -> None:
    found = comparison([report_of(bundle), report_of(bundle, onnx_ns=40_000, windows=(1.0, 1.2))], ["a<b>", "b"])
    page = write_comparison_html(found)
    assert page.count('role="img"') == 3
    assert "Ratios of latency to a&lt;b&gt;" in page
    assert page.index("b is not valid") < page.index("<h2>")
    assert "<b>" not in page


@pytest.mark.parametrize(
    ("ratio", "text"), [((0.98, 0.93, 1.04), "0.98 (0.93–1.04)"), ((12.3, 11.0, 13.0), "12.3 (11.0–13.0)")]
)
def test_ratios_read_alike(ratio: tuple[float, float, float], text: str) -> None:
    assert format_ratio(*ratio) == text
