"""What `--on` does for each command, with an ssh that runs its command here."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from edgelnn.bundle import Bundle
from edgelnn.cli.reach import Reach, reach_of, same_clock
from edgelnn.cli.report_files import ReportFiles
from edgelnn.errors import BoardError, ConfigError
from edgelnn.run import Run
from edgelnn_export import build_bundle
from edgelnn_profiling.remote import open_board
from tests.helpers import assert_one_clear_line, run_cli
from tests.small_bundle import linear_onnx, make_bundle
from tests.ssh_pretended import PretendedBoard, pretend_ssh

HOSTILE = "-o 'x'; $(touch gone) \"é\""


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return make_bundle(tmp_path_factory.mktemp("bundles") / HOSTILE)


@pytest.fixture
def board(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> PretendedBoard:
    return pretend_ssh(tmp_path, monkeypatch)


def test_ctrl_c_ends_what_runs_there(board: PretendedBoard, bundle: Bundle) -> None:
    command = [sys.executable, "-m", "edgelnn", "profile", bundle.folder, "--on", "board", "--window", "60"]
    with subprocess.Popen([*command, "--on", "two"], stderr=subprocess.PIPE, text=True) as process:
        deadline = time.monotonic() + 30
        while not any(name.endswith(".onnx") for name in board.left()) and time.monotonic() < deadline:
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)  # To this process alone; a terminal's would end every ssh as well.
        _, said = process.communicate(timeout=30)
    assert process.returncode == 130, said
    assert said.splitlines()[-1] == "error: interrupted."
    deadline = time.monotonic() + 20
    while len(board.left()) > 1 and time.monotonic() < deadline:
        time.sleep(0.05)
    assert board.left() in ([], [".cache"])


def test_a_meters_times_need_one_clock(board: PretendedBoard) -> None:
    with open_board("board") as opened:
        same_clock(opened)
        opened.session.clock_ahead_s = -3.0
        with pytest.raises(BoardError, match=r"its clock is 3\.0 s behind"):
            same_clock(opened)


def test_several_boards_and_one_that_cannot_be_reached(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bundle: Bundle
) -> None:
    before = '[ "$2" = pi@gone ] && { echo "ssh: connect to host gone port 22: Connection refused" >&2; exit 255; }'
    board = pretend_ssh(tmp_path, monkeypatch, before=before)
    report = tmp_path / "report.json"
    done = run_cli(
        *("profile", bundle.folder, "--variant", "onnx-float32", "--quick", "--json", report),
        *("--on", "pi@one", "--on", "pi@gone", "--on", "pi@two"),
    )
    assert done.code == 1
    assert [line for line in done.err.splitlines() if line.startswith("error: ")] == [
        "error: pi@gone: the machine is there, but no ssh server answers. On a Raspberry Pi: sudo raspi-config."
    ]
    for name in ("one", "two"):
        found = json.loads((tmp_path / f"report-{name}.json").read_text())
        assert found["results"][0]["timing"]["inference"]["count"] > 0
        assert f"pi@{name}: 6/6 done" in done.err
    assert not (tmp_path / "report-gone.json").exists()
    assert board.left() in ([], [".cache"])  # Two connections at once: whoever made it may have been the first to go.


def test_one_board_that_cannot_be_reached_is_one_clear_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bundle: Bundle
) -> None:
    pretend_ssh(tmp_path, monkeypatch, before='echo "pi@b: Permission denied (publickey)." >&2; exit 255')
    done = run_cli("profile", bundle.folder, "--on", "pi@b")
    assert done.code == 1
    assert done.err.splitlines()[-1].startswith("error: pi@b: the login was refused. See that `ssh pi@b` works")
    monkeypatch.setenv("PATH", str(tmp_path / "home"))
    done = run_cli("doctor", "--on", "pi@b")
    assert done.err.splitlines()[-1] == "error: --on needs OpenSSH's client: sudo apt install openssh-client."


def test_options_for_boards_need_a_board() -> None:
    for option in ("--install", "--remote-python=x", "--remote-folder=x"):
        assert_one_clear_line(run_cli("doctor", option), "without --on")
    assert reach_of(None, False, None, None) is None
    assert reach_of(["a", "b"], True, None, None) == Reach(("a", "b"), True)
    with pytest.raises(ConfigError, match="twice"):
        reach_of(["a", "a"], False, None, None)


def test_reports_of_several_boards_have_files_of_their_own(tmp_path: Path) -> None:
    places = ("pi@a.local", "root@a.local", "ssh://pi@b:22")
    files = ReportFiles([], force=False, places=places)
    names = [files.path(str(tmp_path / "report.json"), place).name for place in places]
    assert names == ["report-pi-a.local.json", "report-root-a.local.json", "report-pi-b-22.json"]
    with pytest.raises(ConfigError, match="stdout takes one report"):
        ReportFiles([("-", lambda report: "")], force=False, places=places)


def test_a_board_answers_what_is_answered_here(board: PretendedBoard, tiny_bundle: Bundle, tmp_path: Path) -> None:
    np.save(tmp_path / "images.npy", tiny_bundle.golden()[0][:3])
    command = (
        "predict",
        tiny_bundle.folder,
        tmp_path / "images.npy",
        "--variant",
        "tflite-dynamic_wi8_afp32",
        "--json",
    )
    here, there = run_cli(*command), run_cli(*command, "--on", "board")
    assert there.code == 0, there.err
    for one, other in zip(here.json["predictions"], there.json["predictions"], strict=True):
        assert one["probabilities"] == other["probabilities"]
        assert other["latency_s"] > 0
    here, there = (
        run_cli("evaluate", tiny_bundle.folder, "--json"),
        run_cli("evaluate", tiny_bundle.folder, "--json", "--on", "board"),
    )
    assert there.json == here.json
    assert "images answered" in there.err
    assert board.left() == []


@pytest.mark.parametrize("model_format", ["onnx", "tflite"])
def test_a_board_answers_with_files_that_take_pixels(
    model_format: str, board: PretendedBoard, tiny_run: Run, tmp_path: Path
) -> None:
    bundle = build_bundle(tiny_run, tmp_path / "pixels", formats=[model_format], input_type="uint8")
    np.save(tmp_path / "images.npy", bundle.golden()[0][:3])
    for command in (("predict", bundle.folder, tmp_path / "images.npy"), ("evaluate", bundle.folder)):
        here, there = run_cli(*command, "--json"), run_cli(*command, "--json", "--on", "board")
        assert there.code == 0, there.err
        found = [each.json.get("predictions", [each.json]) for each in (here, there)]
        for one, other in zip(*found, strict=True):
            assert {**one, "latency_s": None} == {**other, "latency_s": None}


def test_a_board_that_answers_otherwise_is_not_believed(
    board: PretendedBoard, tiny_bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edgelnn_profiling.manager.allowed_error", lambda *_: -1.0)
    np.save(tmp_path / "images.npy", tiny_bundle.golden()[0][:1])
    done = run_cli("predict", tiny_bundle.folder, tmp_path / "images.npy", "--on", "board")
    assert done.code == 1
    assert "does not give the model's answers" in done.err.splitlines()[-1]


def test_boards_answer_for_bundles_only(board: PretendedBoard, tmp_path: Path, tiny_run: Run) -> None:
    (tmp_path / "model.onnx").write_bytes(linear_onnx((8, 8, 1), 2))
    assert_one_clear_line(run_cli("evaluate", tmp_path / "model.onnx", "--on", "board"), "lies in no bundle")
    folder = tiny_run.folder
    assert_one_clear_line(run_cli("evaluate", folder, "--on", "board"), "a board has no PyTorch")
    assert_one_clear_line(run_cli("export", folder, "--on", "board"), "--quantize")


def test_doctor_looks_at_a_board(board: PretendedBoard) -> None:
    done = run_cli("doctor", "--on", "board", "--json")
    assert done.code == 0, done.err
    verdicts = {finding["topic"]: finding["verdict"] for finding in done.json["findings"]}
    assert verdicts["onnxruntime"] == verdicts[".onnx"] == verdicts[".tflite"] == verdicts["disk"] == "good"
    assert done.json["machine"]["python"]
    assert board.left() == []


@pytest.mark.slow
def test_an_export_chooses_by_latency_on_a_board(board: PretendedBoard, tiny_run: Run, tmp_path: Path) -> None:
    done = run_cli(
        *("export", tiny_run.folder, "--quantize", "--format", "tflite", "--on", "board", "--out", tmp_path / "bundle")
    )
    assert done.code == 0, done.err
    choice = Bundle.load(tmp_path / "bundle").manifest.choice
    assert choice.cost == "seconds"
    assert choice.target in done.err
    assert choice.target != ""
    assert "tflite-float32" in choice.costs
    assert board.left() == []
