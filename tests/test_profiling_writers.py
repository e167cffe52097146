"""What reports look like: numbers with units, Markdown, CSV, cautions in words, comparisons."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from edgelnn.errors import ProfileError
from edgelnn_profiling import Plan, Report, comparison, profile
from edgelnn_profiling.executor import Outcome
from edgelnn_profiling.writers import (
    HEADINGS,
    caution_lines,
    format_bytes,
    format_rate,
    format_seconds,
    table_rows,
    write_csv,
    write_markdown,
)
from tests.profiling_fakes import NOW, FakeExecutor, timing_events
from tests.small_bundle import make_bundle


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_bundle(tmp_path_factory.mktemp("bundles") / "small").folder


def report_of(bundle: Path, *, onnx_ns: int = 20_000, tflite_ns: int = 16_500, **more: Any) -> Report:
    """A report of two variants that take these times."""

    def timing(request: Mapping[str, Any]) -> list[dict[str, Any]]:
        return timing_events(sample_ns=onnx_ns if request["format"] == "onnx" else tflite_ns, **more)

    return profile(bundle, executor=FakeExecutor(timing), now=lambda: NOW)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "0.00 ns"),
        (9.994e-9, "9.99 ns"),
        (999.4e-9, "999 ns"),
        (999.6e-9, "1.00 µs"),
        (16.52e-6, "16.5 µs"),
        (99.96e-6, "100 µs"),
        (0.9996e-3, "1.00 ms"),
        (0.0421, "42.1 ms"),
        (0.99949, "999 ms"),
        (1.0, "1.00 s"),
        (75.25, "75.2 s"),
        (1234.5, "1,234 s"),
    ],
)
def test_seconds_have_three_digits(seconds: float, text: str) -> None:
    assert format_seconds(seconds) == text


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 B"), (812, "812 B"), (999, "999 B"), (51_669, "51.7 kB"), (999_600, "1.00 MB"), (4 * 10**9, "4.00 GB")],
)
def test_bytes_have_three_digits(count: int, text: str) -> None:
    assert format_bytes(count) == text


@pytest.mark.parametrize(("rate", "text"), [(0.5, "0.50"), (23.81, "23.8"), (999.9, "1,000"), (215_377.9, "215,000")])
def test_rates_have_three_digits(rate: float, text: str) -> None:
    assert format_rate(rate) == text


MARKDOWN = """\
## small

Trained on **synthetic** images: its accuracy says nothing about medicine.

| variant | runtime | threads | file | load | first | p50 | p90 | mean ± sd | images/s | peak memory | AUC |
|---|---|---|---|---|---|---|---|---|---|---|---|
| onnx-float32 \\* | onnxruntime 1.31.1 | 1 | {onnx} | 2.00 ms | 500 µs | 20.0 µs | 20.0 µs | 20.0 µs ± 3.18 ns \
| 50,000 | 57.0 MB | 0.740 |
| tflite-float32 | onnxruntime 1.31.1 | 1 | {tflite} | 2.00 ms | 500 µs | 16.5 µs | 16.5 µs | 16.5 µs ± 3.18 ns \
| 60,600 | 57.0 MB | 0.740 |

\\* recommended by the bundle

Model: 128 trainable, 128 stored, 128 active parameters; 128 MACs an image.
Machine: Raspberry Pi 4 Model B Rev 1.2, Cortex-A72, 4 CPUs, aarch64 (64 bits), up to 1500 MHz, governor performance, \
48 °C, 4.00 GB of memory, Debian GNU/Linux 12 (bookworm), kernel 6.6.31, Python 3.11.2.
Method: 3 processes a variant, interleaved, 2 windows each, after warm-up; 1,200 samples a variant; measured \
2025-01-02T03:04:05+00:00 with edgelnn 0.1.0.

**Valid.**
"""


def test_markdown_holds_table_model_machine_method_and_verdict(bundle: Path) -> None:
    report = report_of(bundle)
    sizes = {result.format: format_bytes(result.size_bytes) for result in report.results}
    assert write_markdown(report) == MARKDOWN.format(**sizes)


def test_markdown_of_an_invalid_report_says_so_and_why(bundle: Path) -> None:
    text = write_markdown(report_of(bundle, activity={"other_cpus": 2.0}))
    assert "**Not valid:** onnx-float32: other processes kept 2.0 of 4 CPUs busy; tflite-float32:" in text
    line = "- onnx-float32, tflite-float32: other processes kept 2.0 of 4 CPUs busy. Why it matters: other processes"
    assert line in text
    assert "**Valid.**" not in text


def test_hostile_names_do_not_break_the_table(tmp_path: Path, bundle: Path) -> None:
    path = tmp_path / "a|b*<img>\n.onnx"
    path.write_bytes(next(bundle.glob("*.onnx")).read_bytes())
    executor = FakeExecutor(lambda request: timing_events(parity_error=None))
    lines = write_markdown(profile(path, executor=executor)).splitlines()
    assert lines[0] == r"## a\|b\*\<img\> .onnx"
    assert lines[4].startswith(r"| a\|b\*\<img\> .onnx | onnxruntime")


def test_a_row_has_a_cell_for_every_heading_also_after_an_error(bundle: Path) -> None:
    broken = profile(bundle, executor=FakeExecutor(lambda request: Outcome((), "crashes its runtime (SIGSEGV)")))
    for report in (report_of(bundle), broken):
        assert all(len(row) == len(HEADINGS) for row in table_rows(report))
    assert table_rows(broken)[0][4:10] == ("—",) * 6


def test_few_samples_and_means_say_so_in_place_of_a_tail(bundle: Path) -> None:
    column = HEADINGS.index("p90")
    assert table_rows(report_of(bundle, samples=10))[0][column] == "too few samples"
    assert table_rows(report_of(bundle, warm_up={"means_of": 4}))[0][column] == "means of 4"


def test_csv_is_in_base_units_and_empty_where_nothing_is_known(bundle: Path) -> None:
    rows = list(csv.DictReader(io.StringIO(write_csv(report_of(bundle)))))
    assert [row["variant"] for row in rows] == ["onnx-float32", "tflite-float32"]
    first = rows[0]
    assert float(first["p50_s"]) == pytest.approx(20.005e-6)
    assert float(first["p50_low_s"]) <= float(first["p50_s"]) <= float(first["p50_high_s"])
    assert first["p99_s"] != ""
    assert first["parameters_trainable"] == "128"
    assert first["rss_above_empty_bytes"] == "32000000"
    assert first["images_per_s_batch_32"] == ""
    assert (first["valid"], first["synthetic"], first["error"]) == ("yes", "yes", "")
    broken = profile(bundle, executor=FakeExecutor(lambda request: Outcome((), "was killed")))
    row = next(csv.DictReader(io.StringIO(write_csv(broken))))
    assert (row["p50_s"], row["valid"], row["error"]) == ("", "no", "was killed")


def test_a_caution_of_several_variants_is_one_line(bundle: Path) -> None:
    report = report_of(bundle, windows=(1.0, 1.08), warm_up={"settled": False})
    lines = caution_lines(report)
    assert len(report.cautions) == 4
    assert len(lines) == 2
    assert lines[0].startswith("onnx-float32, tflite-float32: the medians of 6 windows differ by 8%. Why it matters: ")


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
        ("after", "no difference shown"),
    ]
    assert found.rows[2].reference == "before: onnx-float32"
    assert found.rows[2].ratio is not None
    assert found.rows[2].ratio.value == pytest.approx(2.0, rel=1e-3)
    assert found.remarks == ()


def test_a_difference_within_the_spread_of_windows_is_not_called_one(bundle: Path) -> None:
    loose = report_of(bundle, onnx_ns=20_000, tflite_ns=20_600, windows=(1.0, 1.04))
    assert [row.verdict for row in comparison([loose]).rows] == ["reference", "no difference shown"]
    tight = report_of(bundle, onnx_ns=20_000, tflite_ns=20_600, windows=(1.0, 1.001))
    assert [row.verdict for row in comparison([tight]).rows] == ["reference", "slower"]


def test_too_few_windows_give_no_verdict(bundle: Path) -> None:
    short = profile(bundle, Plan(rounds=1), executor=FakeExecutor())
    found = comparison([short])
    assert [row.verdict for row in found.rows] == ["reference", "not comparable"]
    assert any("2 windows" in remark for remark in found.remarks)


def test_machines_that_differ_are_named(bundle: Path) -> None:
    other = profile(
        bundle,
        executor=FakeExecutor(machine={"board": "Raspberry Pi 5 Model B", "cpu": "Cortex-A76", "kernel": "6.6.62"}),
    )
    remarks = comparison([report_of(bundle), other], ["pi4", "pi5"]).remarks
    assert "pi4 and pi5 differ in board: Raspberry Pi 4 Model B Rev 1.2 and Raspberry Pi 5 Model B." in remarks
    assert "pi4 and pi5 differ in kernel: 6.6.31 and 6.6.62." in remarks


def test_an_invalid_report_is_named_in_a_comparison(bundle: Path) -> None:
    remarks = comparison([report_of(bundle), report_of(bundle, windows=(1.0, 1.2))]).remarks
    assert any(remark.startswith("2 is not valid: onnx-float32: the medians") for remark in remarks)


def test_nothing_to_compare_is_an_error(bundle: Path) -> None:
    with pytest.raises(ProfileError, match="no reports"):
        comparison([])
    with pytest.raises(ProfileError, match="1 labels for 2 reports"):
        comparison([report_of(bundle)] * 2, ["one"])
