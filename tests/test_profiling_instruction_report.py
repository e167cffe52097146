"""Reports of instructions: what is counted where, proof before counts, what they look like, and what grew."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from edgelnn.cli.app import main
from edgelnn.errors import BundleError, ProfileError
from edgelnn_profiling import InstructionReport, Progress, count_bundle
from edgelnn_profiling.instruction_growth import compare_instructions, remarks_on
from edgelnn_profiling.writers.instruction_page import write_instruction_html
from edgelnn_profiling.writers.instruction_tables import write_instruction_csv, write_instruction_markdown
from tests.emulated_fakes import PROVED, counting_script, fake_boards
from tests.helpers import assert_one_clear_line, run_cli
from tests.small_bundle import make_bundle

needs_compiler = pytest.mark.skipif(shutil.which("cc") is None, reason="there is no C compiler (cc)")
pytestmark = needs_compiler
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return make_bundle(tmp_path / "bundle").folder


def counted(bundle: Path, folder: Path, script: str | None = None) -> InstructionReport:
    folder.mkdir()
    boards = fake_boards(folder, counting_script() if script is None else script)
    return count_bundle(bundle, ("pi4", "pi5"), boards_root=boards, now=lambda: NOON)


def test_every_variant_is_counted_on_every_board_with_every_runtime_that_is_there(bundle: Path, tmp_path: Path) -> None:
    report = counted(bundle, tmp_path / "one")
    assert [(each.variant, each.runtime, each.board) for each in report.results] == [
        ("onnx-float32", "onnxruntime", "pi4"),
        ("onnx-float32", "onnxruntime", "pi5"),
        ("tflite-float32", "ai-edge-litert", "pi4"),
        ("tflite-float32", "ai-edge-litert", "pi5"),
        ("tflite-float32", "tflite-runtime", "pi4"),
    ]
    for result in report.results:
        assert result.counts is not None
        assert (result.counts.total, result.counts.integer, result.counts.simd_fp) == (120, 100, 20)
        assert result.parity is not None
        assert result.parity.images == 4
    assert (report.name, report.synthetic, report.created) == ("small", True, "2026-03-01T12:00:00+00:00")


def test_progress_is_told_count_by_count(bundle: Path, tmp_path: Path) -> None:
    heard: list[Progress] = []
    boards = fake_boards(tmp_path, counting_script())
    count_bundle(bundle, ["pi4", "pi4"], heard.append, variants=["tflite-float32"], boards_root=boards)
    assert [(each.done, each.total) for each in heard] == [(1, 2), (2, 2)]
    assert heard[0].what == "model-float32.tflite on pi4"


def test_a_file_that_does_not_give_the_golden_answers_is_not_counted(bundle: Path, tmp_path: Path) -> None:
    wrong = counting_script(PROVED.replace("1e-7", "0.25"))
    report = counted(bundle, tmp_path / "one", wrong)
    assert {each.error for each in report.results} == {
        "it differs from the golden answers by 0.25 there, where 0.0001 is allowed"
    }
    assert all(each.counts is None and each.parity is not None for each in report.results)
    assert "failed" in write_instruction_markdown(report)
    assert "differs from the golden answers by 0.25" in write_instruction_markdown(report)


def test_reports_are_read_as_they_were_written(bundle: Path, tmp_path: Path) -> None:
    report = counted(bundle, tmp_path / "one")
    assert InstructionReport.from_json(report.to_json()) == report
    value = json.loads(report.to_json())
    with pytest.raises(ProfileError, match="format_version 9; this edgelnn reads 1"):
        InstructionReport.from_json(json.dumps({**value, "format_version": 9}))
    for text in ("{", "[]", json.dumps({**value, "kind": "times"}), json.dumps({**value, "more": 1})):
        with pytest.raises(ProfileError, match="the report of instructions is not valid"):
            InstructionReport.from_json(text)


def test_a_csv_has_a_row_a_count_and_units_in_its_names(bundle: Path, tmp_path: Path) -> None:
    report = counted(bundle, tmp_path / "one")
    rows = list(csv.DictReader(io.StringIO(write_instruction_csv(report))))
    assert len(rows) == 5
    assert (rows[0]["board"], rows[0]["total_instructions"], rows[0]["other_instructions"]) == ("pi4", "120", "0")


def test_hostile_names_are_shown_as_they_are(bundle: Path, tmp_path: Path) -> None:
    report = counted(bundle, tmp_path / "one")
    hostile = "=x</title><script>pwned</script>"
    results = tuple(replace(each, variant=hostile, error=hostile) for each in report.results)
    wild = replace(report, name=hostile, results=results)
    page = write_instruction_html(wild)
    assert "<script" not in page
    assert page.count("&lt;script&gt;") > 5
    rows = list(csv.DictReader(io.StringIO(write_instruction_csv(wild))))
    assert {row["variant"] for row in rows} == {f"'{hostile}"}


def test_what_is_asked_for_must_be_there(bundle: Path, tmp_path: Path) -> None:
    boards = fake_boards(tmp_path, counting_script())
    with pytest.raises(BundleError, match="got variant 'x'"):
        count_bundle(bundle, ["pi4"], variants=["x"], boards_root=boards)
    with pytest.raises(ProfileError, match="expected pi3, pi4"):
        count_bundle(bundle, [], boards_root=boards)
    with pytest.raises(ProfileError, match="no emulated pi3"):
        count_bundle(bundle, ["pi3"], boards_root=boards)


def test_what_grew_is_named_with_class_and_percent(bundle: Path, tmp_path: Path) -> None:
    before = counted(bundle, tmp_path / "one")
    after = counted(bundle, tmp_path / "two", counting_script(simd_fp="32"))
    growths = compare_instructions(before, after)
    assert len(growths) == 5
    assert all(growth.grew(0.09) and not growth.grew(0.11) for growth in growths)
    assert growths[0].words == "onnx-float32 on pi4 with onnxruntime: +10.00 % (120 to 132; simd+fp +12)"
    assert not any(growth.grew() for growth in compare_instructions(after, before))
    assert remarks_on(before, after) == []
    gone = replace(after, results=after.results[1:], edgelnn="9")
    assert [g.words for g in compare_instructions(before, gone) if g.grew(1.0)] == [
        "onnx-float32 on pi4 with onnxruntime: not counted any more"
    ]
    assert remarks_on(before, gone)[-1].endswith("and is 9")
    with pytest.raises(ProfileError, match="in common"):
        compare_instructions(replace(before, results=before.results[:1]), gone)


def test_the_command_counts_shows_and_writes(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("EDGELNN_BOARDS", str(fake_boards(tmp_path, counting_script())))
    names = {name: str(tmp_path / f"report.{name}") for name in ("json", "csv", "markdown", "html")}
    options = [word for name, path in names.items() for word in (f"--{name}", path)]
    assert main(["profile", str(bundle), "--emulate", "pi4", "--emulate", "pi5", *options]) == 0
    shown = capsys.readouterr()
    assert "Pi 4" in shown.out
    assert "No time is given" in " ".join(shown.out.split())
    assert shown.err.splitlines()[-1].endswith(f"compare {names['json']} ANOTHER.json")
    report = InstructionReport.from_json(Path(names["json"]).read_bytes())
    assert len(report.results) == 5
    page = Path(names["html"]).read_text()
    assert page.count('role="img"') == 2
    assert "Pi 4, emulated" in page
    assert main(["report", names["json"], "--csv", "-"]) == 0
    assert capsys.readouterr().out == Path(names["csv"]).read_text()
    assert main(["report", names["json"], "--html", "-"]) == 0
    assert capsys.readouterr().out == page
    assert main(["profile", str(bundle), "--emulate", "pi5", "--json", "-"]) == 0
    assert json.loads(capsys.readouterr().out)["kind"] == "instructions"
    other = tmp_path / "other.json"
    other.write_text(replace(report, edgelnn="9").to_json())
    assert main(["compare", names["json"], str(other)]) == 0
    shown = capsys.readouterr()
    assert "1.0000" in shown.out
    assert "edgelnn was" in shown.err
    assert main(["compare", names["json"]]) == 1
    other.write_text("{}")
    assert main(["compare", names["json"], str(other)]) == 1
    assert f"error: {other}: the report of instructions is not valid" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--threads", "2"], "got --threads with --emulate"),
        (["--quick", "--rounds", "2"], "got --quick, --rounds with --emulate"),
        (["--on", "user@board"], "got --on with --emulate"),
        (["--emulate", "pi9"], "got board 'pi9'"),
        (["--variant", "none"], "got variant 'none'"),
    ],
)
def test_what_means_nothing_is_refused(
    options: list[str],
    words: str,
    bundle: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("EDGELNN_BOARDS", str(fake_boards(tmp_path, counting_script())))
    assert main(["profile", str(bundle), "--emulate", "pi4", *options]) == 1
    assert words in capsys.readouterr().err


def test_where_everything_fails_it_is_an_error(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("EDGELNN_BOARDS", str(fake_boards(tmp_path, "echo bad wheel >&2; exit 3")))
    assert main(["profile", str(bundle), "--emulate", "pi4"]) == 1
    assert "error: nothing could be counted. onnx-float32 on pi4" in capsys.readouterr().err


@pytest.mark.board
def test_a_bundle_is_proved_and_counted_on_emulated_boards(bundle: Path) -> None:
    named = os.environ.get("EDGELNN_BOARDS", "")
    if not named:
        pytest.skip("EDGELNN_BOARDS is not set: it names the folder of the emulated boards")
    report = count_bundle(bundle, ["pi5"], boards_root=named, now=lambda: NOON)
    assert [each.error for each in report.results] == [None] * 3
    assert {each.runtime for each in report.results} == {"onnxruntime", "ai-edge-litert", "tflite-runtime"}
    for result in report.results:
        assert result.parity is not None
        assert result.parity.max_error < 1e-5
    again = count_bundle(bundle, ["pi5"], boards_root=named, now=lambda: NOON)
    assert report.results[1:] == again.results[1:], "LiteRT's and tflite-runtime's counts repeat"


@pytest.mark.parametrize("change", [{"total": 0}, {"total": 121}, {"integer": -1}, {"total": 0, "integer": -20}])
def test_counts_that_no_counting_leads_to_are_refused(bundle: Path, tmp_path: Path, change: dict[str, int]) -> None:
    value = json.loads(counted(bundle, tmp_path / "one").to_json())
    value["results"][1]["counts"].update(change)
    with pytest.raises(ProfileError, match=r"results\[1\]\.counts has total=\d+; expected 1 or more"):
        InstructionReport.from_json(json.dumps(value))


def test_a_text_nested_without_end_is_no_report(tmp_path: Path) -> None:
    path = tmp_path / "deep.json"
    path.write_text("[" * 100_000)
    for command in (("report", path), ("compare", path, path)):
        assert_one_clear_line(run_cli(*command), "nested too deeply", code=[1])


def test_boards_that_are_not_described_are_refused(tmp_path: Path) -> None:
    for more in ((), ("--json",)):
        done = run_cli("boards", "-b", "foo", "--folder", tmp_path / "boards", *more)
        assert_one_clear_line(done, "got board 'foo'; expected pi3, pi4, pi5, armhf", code=[1])


def test_windows_without_end_are_refused(bundle: Path) -> None:
    for window in ("inf", "1e308", "nan"):
        done = run_cli("profile", bundle, "--window", window)
        assert_one_clear_line(done, "got window_s=", "expected seconds", code=[1])
