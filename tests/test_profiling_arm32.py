"""A 32-bit board: a TFLite bundle is profiled there, and ONNX refused with the reason."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from edgelnn.errors import ModelFileError
from edgelnn_profiling import Plan, profile
from edgelnn_profiling.emulation.boards_folder import BoardsFolder
from edgelnn_profiling.executor import LocalExecutor
from edgelnn_profiling.runtimes import import_runtime
from tests.small_bundle import make_bundle

SHORT = Plan(rounds=1, windows=1, window_s=0.01, min_samples=5, warm_up_min_s=0.0, warm_up_max_s=0.05, batches=(1,))
NO_ONNX = "ONNX Runtime has never been published for 32-bit ARM (armv7l): use the bundle's .tflite files here"


@pytest.fixture
def board() -> BoardsFolder:
    named = os.environ.get("EDGELNN_BOARDS", "")
    if not named:
        pytest.skip("EDGELNN_BOARDS is not set: it names the folder of the emulated boards")
    boards = BoardsFolder(Path(named))
    if boards.lacks("armhf"):
        pytest.skip(f"no 32-bit board in {named}: edgelnn boards --folder {named} --board armhf")
    return boards


def test_why_there_is_no_onnx_runtime_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edgelnn_profiling.onnx_session.is_arm32", lambda: True)
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(ModelFileError) as caught:
        import_runtime("onnx")
    assert str(caught.value).startswith(NO_ONNX)


@pytest.mark.board
def test_a_bundle_is_profiled_on_a_32_bit_board(board: BoardsFolder, tmp_path: Path) -> None:
    folder = make_bundle(tmp_path / "bundle").folder
    environment = {"PYTHONPATH": f"{board.packages('armhf', 'site')}:{board.staged_packages('armhf')}"}
    executor = LocalExecutor(str(board.path / "bin" / "armhf-python"), environment)
    report = profile(folder, SHORT, executor=executor)
    machine = report.machine
    assert (machine.architecture, machine.bits, machine.emulated) == ("armv7l", 32, True)
    assert (machine.board, machine.cpu) == ("Raspberry Pi 2 Model B Rev 1.1", "Cortex-A7")
    onnx, tflite = report.results
    assert onnx.timing is None
    assert onnx.error is not None
    assert onnx.error.startswith(NO_ONNX)
    assert tflite.error is None
    assert (tflite.runtime, tflite.runtime_version) == ("tflite-runtime", "2.14.0")
    assert tflite.parity is not None
    assert tflite.parity.max_error < 1e-5
    assert tflite.timing is not None
    assert not report.valid, "an emulator's times mean nothing"
