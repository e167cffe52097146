"""Files of reports: what is refused before anything is measured, and what is not lost after."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from edgelnn.bundle import Bundle
from edgelnn.cli.report_files import ReportFiles
from edgelnn.errors import ConfigError, WriteError
from tests.helpers import assert_one_clear_line, run_cli

PROFILE = ("profile", "--quick", "--variant", "tflite-float32")


def test_one_file_for_two_formats_is_refused(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path)
    for names in (("r.json", "r.json"), ("r.json", "./r.json"), ("r.json", "link/r.json")):
        asked = [(str(tmp_path / name), str) for name in names]
        with pytest.raises(ConfigError, match=r"r\.json for more than one report; each needs a file of its own"):
            ReportFiles(asked, force=True)
    with pytest.raises(ConfigError, match="more than one report"):
        ReportFiles([(str(tmp_path / "r"), str)] * 2, force=True, places=("pi@a", "pi@b"))


def test_a_place_that_cannot_be_written_is_refused_before_anything_is_measured(
    tiny_bundle: Bundle, tmp_path: Path
) -> None:
    (tmp_path / "file").write_bytes(b"")
    done = run_cli(*PROFILE, tiny_bundle.folder, "--json", tmp_path / "file" / "r.json")
    assert_one_clear_line(done, "a part of that path is a file", code=[1])
    done = run_cli(*PROFILE, tiny_bundle.folder, "--json", tmp_path / "r", "--csv", tmp_path / "r", "--force")
    assert_one_clear_line(done, "each needs a file of its own", code=[1])
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]


def test_a_file_that_cannot_be_written_costs_neither_the_others_nor_the_screen(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = [tmp_path / folder / "r" for folder in ("a", "b", "c")]
    files: ReportFiles[str] = ReportFiles([("-", str.upper), *((str(name), str) for name in names)], force=False)
    (tmp_path / "a").write_bytes(b"")  # a file has come in the way meanwhile
    (tmp_path / "c").write_bytes(b"")
    shown: list[str] = []
    with pytest.raises(WriteError, match=r"a/r: a part of that path.* cannot write .*c/r: a part of that path"):
        files.deliver("report", shown.append)
    assert shown == ["report"]
    assert names[1].read_text() == "report"
    assert capsys.readouterr().out == "REPORT\n"


def test_a_screen_that_went_away_costs_no_file(tmp_path: Path) -> None:
    def gone(report: str) -> None:
        raise BrokenPipeError

    files: ReportFiles[str] = ReportFiles([(str(tmp_path / "r"), str)], force=False)
    with pytest.raises(BrokenPipeError):
        files.deliver("report", gone)
    assert (tmp_path / "r").read_text() == "report"


def test_a_full_disk_leaves_the_tables_on_the_screen(
    tiny_bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, text: str, *, force: bool) -> None:
        raise WriteError(f"cannot write {path}: no space left on that disk.")

    path = tmp_path / "r.json"
    done = run_cli(*PROFILE, tiny_bundle.folder, "--json", path)
    assert done.code == 0
    monkeypatch.setattr("edgelnn.cli.report_files.write_text_atomically", full)
    again = run_cli("report", path, "--csv", tmp_path / "r.csv")
    assert again.code == 1
    assert again.out == done.out
    assert "Latency of one inference" in again.out
    assert again.last_line.startswith("error: cannot write")
    assert json.loads(path.read_text())["valid"] in (True, False)
