"""What reports look like: numbers with units, Markdown, CSV, cautions in words, comparisons."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from edgelnn.cli.report_tables import show_report
from edgelnn_profiling import Plan, Report, profile
from edgelnn_profiling.executor import Outcome
from edgelnn_profiling.writers import write_csv, write_markdown
from edgelnn_profiling.writers.sentences import doubts_of
from edgelnn_profiling.writers.tables import INTERVALS, TextColumn, TextTable, tables_of
from edgelnn_profiling.writers.units import format_bytes, format_rate, format_seconds
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

**Trained on synthetic images: its accuracy says nothing about medicine.**

**Valid.**

**Latency of one inference, after warm-up**

| variant | p50 (95 % interval) | p90 | p99 | mean ± sd | images/s | samples |
|---|--:|--:|--:|--:|--:|--:|
| onnx-float32 \\* | 20.0 µs (20.0–20.0) | 20.0 µs | 20.0 µs | 20.0 µs ± 3.18 ns \
| 50,000 | 1,200 |
| tflite-float32 | 16.5 µs (16.5–16.5) | 16.5 µs | 16.5 µs | 16.5 µs ± 3.18 ns \
| 60,600 | 1,200 |

\\* recommended by the bundle. {intervals}

**Size, start, accuracy, proof**

| variant | file | load | first | test AUC | accuracy | error vs PyTorch | runtime |
|---|--:|--:|--:|--:|--:|--:|---|
| onnx-float32 \\* | {onnx} | 2.00 ms | 500 µs | 0.7400 | {accuracy} | 1.0e-07 | onnxruntime 1.31.1 |
| tflite-float32 | {tflite} | 2.00 ms | 500 µs | 0.7400 | {accuracy} | 1.0e-07 | onnxruntime 1.31.1 |

**Memory: resident set (RSS)**

| variant | Python | + numpy | + runtime | + model | peak | model's cost | weights in file | activations | arena |
|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|
| onnx-float32 \\* | 10.0 MB | 25.0 MB | 45.0 MB | 55.0 MB | 57.0 MB | 32.0 MB | 512 B | 2.05 kB | 4.10 kB |
| tflite-float32 | 10.0 MB | 25.0 MB | 45.0 MB | 55.0 MB | 57.0 MB | 32.0 MB | 512 B | 2.05 kB | 4.10 kB |

The model's cost is the peak above Python with numpy: its runtime, its weights, its work. Activations and arena are \
what the runtime tells; LiteRT does not.

**Images a second, by batch size**

| variant | batch 1 | batch 8 |
|---|--:|--:|
| onnx-float32 \\* | 50,000 | 100,000 |
| tflite-float32 | 60,600 | 100,000 |

**From pixels to a decision: medians**

| variant | preparation | inference | decision | together |
|---|--:|--:|--:|--:|
| onnx-float32 \\* | 3.05 µs | 20.0 µs | 950 ns | 24.0 µs |
| tflite-float32 | 3.05 µs | 16.5 µs | 950 ns | 20.5 µs |

- Model: 128 trainable, 128 stored, 128 active parameters; 128 multiply-accumulates (MACs) an image.
- Machine: board Raspberry Pi 4 Model B Rev 1.2; CPU Cortex-A72; CPUs 4; architecture aarch64, 64 bits; features \
asimd; clock 600 to 1500 MHz; memory 4.00 GB; system Debian GNU/Linux 12 (bookworm); kernel 6.6.31; Python 3.11.2; \
edgelnn 0.1.0; numpy 2.2.0; onnxruntime 1.31.1.
- Before and after: clock 1500 MHz, then 1500 MHz; governor performance, then performance; temperature 48 °C, then \
48 °C; held back by nothing, then nothing; load 0.10, then 0.10; memory available 3.00 GB, then 3.00 GB; swap in use \
0 B, then 0 B.
- Method: 3 processes a variant, interleaved, 2 windows each, after warm-up; 1,200 samples a variant, one inference a \
sample unless said otherwise.
- Measured: 2025-01-02T03:04:05+00:00.
"""


def test_markdown_holds_verdict_tables_machine_and_method(bundle: Path) -> None:
    report = report_of(bundle)
    sizes = {result.format: format_bytes(result.size_bytes) for result in report.results}
    accuracy = f"{report.results[0].test['accuracy']:.4f}" if report.results[0].test else ""
    assert write_markdown(report) == MARKDOWN.format(**sizes, accuracy=accuracy, intervals=INTERVALS)


def test_markdown_of_an_invalid_report_says_so_first_and_why(bundle: Path) -> None:
    text = write_markdown(report_of(bundle, activity={"other_cpus": 2.0}))
    verdict = "**Not valid: onnx-float32, tflite-float32: other processes kept 2.0 of 4 CPUs busy.**"
    assert 0 < text.index(verdict) < text.index("| variant |")
    line = "- onnx-float32, tflite-float32: other processes kept 2.0 of 4 CPUs busy. Why it matters: other processes"
    assert line in text
    assert "**Valid.**" not in text


def test_hostile_names_do_not_break_the_table(tmp_path: Path, bundle: Path) -> None:
    path = tmp_path / "a|b*<img>\n.onnx"
    path.write_bytes(next(bundle.glob("*.onnx")).read_bytes())
    executor = FakeExecutor(lambda request: timing_events(parity_error=None))
    lines = write_markdown(profile(path, executor=executor)).splitlines()
    assert lines[0] == r"## a\|b\*\<img\> .onnx"
    assert any(line.startswith(r"| a\|b\*\<img\> .onnx | 20.0 µs (") for line in lines)


def test_a_row_has_a_cell_for_every_column_also_after_an_error(bundle: Path) -> None:
    broken = profile(bundle, executor=FakeExecutor(lambda request: Outcome((), "crashes its runtime (SIGSEGV)")))
    for report in (report_of(bundle), broken):
        for narrow in (False, True):
            tables = tables_of(report, narrow=narrow)
            assert all(len(row) == len(table.columns) for table in tables for row in table.rows)
    latency, cost, *_ = tables_of(broken)
    assert latency.rows[0][1:3] == ("not measured", "")
    assert cost.rows[0][2:4] == ("—", "—")


def test_a_row_that_does_not_fit_its_headings_is_an_error() -> None:
    with pytest.raises(ValueError, match="a row of 1 cells for 2 columns"):
        TextTable("times", "Times", (TextColumn("variant"), TextColumn("p50")), (("a",),))


@pytest.mark.parametrize("width", [80, 100, 120])
@pytest.mark.parametrize("more", [{}, {"samples": 10}, {"warm_up": {"means_of": 4}}], ids=["many", "few", "means"])
def test_tables_fit_the_terminal_with_whole_names(
    bundle: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], width: int, more: dict[str, Any]
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    report = report_of(bundle, **more)
    long = tuple(replace(result, variant=f"{result.format}-weight_only_wi8_afp32") for result in report.results)
    show_report(replace(report, results=long))
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= width
    assert sum("onnx-weight_only_wi8_afp32" in line for line in lines) == 4
    assert not any("…" in line for line in lines)


def test_few_samples_and_means_say_so_in_place_of_a_tail(bundle: Path) -> None:
    assert tables_of(report_of(bundle, samples=10))[0].rows[0][2:4] == ("too few samples",) * 2
    assert tables_of(report_of(bundle, warm_up={"means_of": 4}))[0].rows[0][2:4] == ("means of 4",) * 2


def test_csv_tells_what_parts_take_at_most_too(bundle: Path) -> None:
    report = profile(bundle, Plan(operators=True), executor=FakeExecutor())
    row = next(csv.DictReader(io.StringIO(write_csv(report))))
    assert (float(row["watched_stem_s"]), float(row["watched_stem_most_s"])) == (
        pytest.approx(15.5e-6),
        pytest.approx(17.5e-6),
    )
    assert (row["watched_scan_s"], row["watched_scan_most_s"]) == ("", "")


def test_csv_is_in_base_units_and_empty_where_nothing_is_known(bundle: Path) -> None:
    rows = list(csv.DictReader(io.StringIO(write_csv(report_of(bundle)))))
    assert [row["variant"] for row in rows] == ["onnx-float32", "tflite-float32"]
    first = rows[0]
    assert float(first["p50_s"]) == pytest.approx(20.005e-6)
    assert float(first["p50_low_s"]) <= float(first["p50_s"]) <= float(first["p50_high_s"])
    assert first["p99_s"] != ""
    assert [name for name in first if name.endswith(("_low_s", "_high_s"))] == ["p50_low_s", "p50_high_s"]
    assert first["parameters_trainable"] == "128"
    assert (first["weights_bytes"], first["arena_bytes"], first["energy_j"], first["watched_head_s"]) == (
        *("512", "4096"),
        *("", ""),
    )
    assert first["rss_above_empty_bytes"] == "32000000"
    assert float(first["images_per_s_batch_8"]) == pytest.approx(100_000)
    assert first["percentiles_missing"] == "too few samples"  # for p99.9
    assert (first["p99.9_s"], first["row_valid"], first["cautions"], first["reasons"]) == ("", "yes", "", "")
    assert (first["valid"], first["synthetic"], first["error"]) == ("yes", "yes", "")
    broken = profile(bundle, executor=FakeExecutor(lambda request: Outcome((), "was killed")))
    row = next(csv.DictReader(io.StringIO(write_csv(broken))))
    assert (row["p50_s"], row["valid"], row["error"]) == ("", "no", "was killed")


def test_a_spreadsheet_finds_no_formula_and_one_row_a_result(tmp_path: Path, bundle: Path) -> None:
    path = tmp_path / '=cmd|\' "x",\n.onnx'
    path.write_bytes(next(bundle.glob("*.onnx")).read_bytes())
    text = write_csv(profile(path, executor=FakeExecutor(lambda request: timing_events(parity_error=None))))
    (row,) = csv.DictReader(io.StringIO(text))
    assert row["variant"] == "'" + path.name
    assert (row["parity_max_error"], row["test_auc"]) == ("", "")


def test_csv_tells_which_rows_are_not_valid(bundle: Path) -> None:
    executor = FakeExecutor(
        lambda request: timing_events(activity={"other_cpus": 3.0} if request["format"] == "onnx" else None)
    )
    rows = list(csv.DictReader(io.StringIO(write_csv(profile(bundle, executor=executor)))))
    assert [row["valid"] for row in rows] == ["no", "no"]
    assert [(row["row_valid"], row["cautions"]) for row in rows] == [("no", "other_load"), ("yes", "")]
    assert rows[1]["reasons"] == "onnx-float32: other processes kept 3.0 of 4 CPUs busy"


def test_a_caution_of_several_variants_is_one_doubt(bundle: Path) -> None:
    report = report_of(bundle, windows=(1.0, 1.08), warm_up={"settled": False})
    doubts = doubts_of(report)
    assert len(report.cautions) == 4
    assert [doubt.invalidates for doubt in doubts] == [True, False]
    assert doubts[0].observation == "onnx-float32, tflite-float32: the medians of 6 windows differ by 8%"
