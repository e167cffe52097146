"""End to end over ssh: a real OpenSSH server on loopback, and behind it an emulated Raspberry Pi."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from edgelnn.bundle import Bundle
from edgelnn_profiling import Report
from tests.helpers import Outcome, run_cli
from tests.small_bundle import linear_tflite, make_bundle
from tests.ssh_board import SshBoard, emulated_root, serving

pytestmark = pytest.mark.board

HOSTILE = "-o 'x'; $(touch gone) \"é\""
OWN_PACKAGES = "QEMU_CPU=cortex-a72 PYTHONPATH=/opt/site"
EMPTY = ([], [".cache"], [".cache", ".cache/edgelnn"])  # The last holds what was installed.


@contextmanager
def at_hand(board: SshBoard) -> Iterator[SshBoard]:
    """Put the board's ssh first in PATH, and wheels for it where pip looks without a network."""
    wheels = Path(os.environ["EDGELNN_BOARDS"]) / "wheels" / "a64"
    if not wheels.is_dir():
        pytest.skip(f"there is no {wheels}: the wheels that the boards were made of, to install from without a network")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", f"{board.programs}:{os.environ['PATH']}")
        patch.setenv("PIP_NO_INDEX", "1")
        patch.setenv("PIP_FIND_LINKS", str(wheels))
        yield board


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return make_bundle(tmp_path_factory.mktemp("bundles") / HOSTILE)


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SshBoard]:
    """A Raspberry Pi 4 with Python and nothing else."""
    with serving(tmp_path_factory.mktemp("bare") / "ssh", root=emulated_root("pi4")) as board, at_hand(board):
        yield board


@pytest.fixture(scope="module")
def installed(bare: SshBoard) -> Outcome:
    """What was said while runtimes were installed on it."""
    return run_cli("doctor", "--on", "board", "--install", "--json")


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SshBoard]:
    """A Raspberry Pi 4 that has numpy and both runtimes of its own."""
    folder = tmp_path_factory.mktemp("own") / "ssh"
    with serving(folder, root=emulated_root("pi4"), environment=OWN_PACKAGES) as board, at_hand(board):
        yield board


def assert_refused(done: Outcome, *words: str) -> None:
    """Assert that a command ended in one clear line, after it had said what it was at."""
    lines = done.err.splitlines()
    assert done.code == 1, done.err
    assert [line for line in lines if line.startswith("error: ")] == [lines[-1]]
    assert "Traceback" not in done.err
    for word in words:
        assert word in lines[-1], lines[-1]


def test_a_missing_runtime_is_told_how_it_is_installed(bare: SshBoard, bundle: Bundle) -> None:
    done = run_cli("profile", bundle.folder, "--on", "board")
    assert_refused(done, "aarch64, 64-bit, Python 3.11", "has no numpy and no onnxruntime", "Pass --install")
    assert bare.left() == []


def test_runtimes_are_installed_without_root_pip_or_a_network_there(bare: SshBoard, installed: Outcome) -> None:
    assert installed.code == 0, installed.err
    findings = {found["topic"]: found for found in installed.json["findings"]}
    assert installed.json["machine"]["board"] == "Raspberry Pi 4 Model B Rev 1.2"
    for topic in ("python", "numpy", "onnxruntime", "ai-edge-litert", ".onnx", ".tflite", "disk"):
        assert findings[topic]["verdict"] == "good", findings[topic]
    assert "copying numpy" in installed.err
    assert bare.left() in EMPTY


def test_what_was_installed_measures_a_bundle_and_proves_it_first(
    bare: SshBoard, installed: Outcome, bundle: Bundle, tmp_path: Path
) -> None:
    assert installed.code == 0, installed.err
    target = tmp_path / "report.json"
    done = run_cli("profile", bundle.folder, "--on", "board", "--quick", "--rounds", "1", "--json", target)
    assert done.code == 0, done.err
    report = Report.from_json(target.read_text("utf-8"))
    assert report.machine.board == "Raspberry Pi 4 Model B Rev 1.2"
    assert (report.machine.architecture, report.machine.bits) == ("aarch64", 64)
    for result in report.results:
        assert result.error is None
        assert result.timing is not None
        assert result.parity is not None
        assert (result.parity.images, result.parity.max_error < 1e-5) == (4, True)
    assert not report.valid
    assert "emulated" in {caution.kind for caution in report.cautions}  # An emulator's times are never a board's.
    assert bare.left() in EMPTY


def test_a_board_gives_the_answers_that_are_given_here(
    bare: SshBoard, installed: Outcome, tiny_bundle: Bundle, tmp_path: Path
) -> None:
    assert installed.code == 0, installed.err
    np.save(tmp_path / "images.npy", tiny_bundle.golden()[0][:4])
    command = ("predict", tiny_bundle.folder, tmp_path / "images.npy", "--variant", "tflite-float32", "--json")
    here, there = run_cli(*command), run_cli(*command, "--on", "board")
    assert there.code == 0, there.err
    for one, other in zip(here.json["predictions"], there.json["predictions"], strict=True):
        assert one["classes"] == other["classes"]
        assert list(one["probabilities"].values()) == pytest.approx(list(other["probabilities"].values()), abs=1e-5)
    command = ("evaluate", tiny_bundle.folder, "--variant", "onnx-float32", "--bootstrap", "0", "--json")
    here, there = run_cli(*command), run_cli(*command, "--on", "board")
    assert there.code == 0, there.err
    assert there.json["metrics"]["auc"] == pytest.approx(here.json["metrics"]["auc"], abs=1e-3)
    assert there.json["metrics"]["confusion"] == here.json["metrics"]["confusion"]
    assert bare.left() in EMPTY


def test_a_name_that_would_mean_something_to_a_shell(own: SshBoard, tmp_path: Path) -> None:
    model = tmp_path / f"{HOSTILE}.tflite"
    model.write_bytes(linear_tflite((8, 8, 1), 2))
    done = run_cli("profile", model, "--on", "board", "--quick", "--rounds", "1", "--json", "-")
    assert done.code == 0, done.err
    assert done.json["name"] == model.name
    assert done.json["results"][0]["timing"] is not None
    assert own.left() == []


def test_a_host_key_that_has_changed(own: SshBoard, bundle: Bundle) -> None:
    known = own.folder / "known_hosts"
    right = known.read_text()
    known.write_text(right.split()[0] + " " + (own.folder / "user_key.pub").read_text())
    try:
        done = run_cli("profile", bundle.folder, "--on", "board")
    finally:
        known.write_text(right)
    assert_refused(done, "its host key is not the one known here", "nothing was sent", "ssh-keygen")
    known.write_text("")
    try:
        assert_refused(run_cli("doctor", "--on", "board"), "not known here", "ssh board", "fingerprint")
    finally:
        known.write_text(right)
    assert own.left() == []


def test_a_connection_cut_while_a_worker_runs(own: SshBoard, bundle: Bundle, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "edgelnn", "profile", bundle.folder, "--on", "board", "--window", "60"]
    command += ["--variant", "tflite-float32", "--json", tmp_path / "report.json"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        deadline = time.monotonic() + 60
        while not any(name.endswith(".tflite") for name in own.left()) and time.monotonic() < deadline:
            time.sleep(0.1)
        time.sleep(1)
        for connection in own.connections():
            os.kill(connection, 9)
        _, said = process.communicate(timeout=60)
    assert process.returncode == 1
    assert said.splitlines()[-1].startswith("error: board: the connection was lost while "), said
    assert said.splitlines()[-1].endswith(" Run the command again.")
    assert not (tmp_path / "report.json").exists()
    deadline = time.monotonic() + 20
    while own.left() and time.monotonic() < deadline:
        time.sleep(0.1)
    assert own.left() == []


@contextmanager
def small_disk(folder: Path, size: str) -> Iterator[Path]:
    """A disk of its own for a board's home."""
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


def test_a_disk_too_small_for_a_runtime_and_one_that_fills_up_while_copying(bundle: Bundle, tmp_path: Path) -> None:
    root = emulated_root("pi4")
    with small_disk(tmp_path / "disk", "20m") as home, serving(tmp_path / "ssh", root=root, home=home) as board:
        with at_hand(board):
            done = run_cli("profile", bundle.folder, "--on", "board", "--variant", "tflite-float32", "--install")
        assert_refused(done, "MB free, and", "MB are needed", "--remote-folder")
        assert board.left() == []
    with (
        small_disk(tmp_path / "full", "64k") as home,
        serving(tmp_path / "ssh2", root=root, home=home, environment=OWN_PACKAGES) as board,
    ):
        with at_hand(board):
            done = run_cli("profile", bundle.folder, "--on", "board")
        assert_refused(done, "copying", "its disk is full", "No space left on device", "--remote-folder")
        assert board.left() == []


def test_a_32_bit_board_runs_tflite_and_is_told_why_not_onnx(bundle: Bundle, tmp_path: Path) -> None:
    environment = "QEMU_CPU=cortex-a7 PYTHONPATH=/opt/site:/usr/lib/python3/dist-packages"
    root = emulated_root("armhf", "a32")
    with serving(tmp_path / "ssh", root=root, environment=environment) as board, at_hand(board):
        done = run_cli("profile", bundle.folder, "--on", "board", "--variant", "onnx-float32")
        assert_refused(done, "ONNX Runtime has never been published for 32-bit ARM", "64-bit system")
        done = run_cli("profile", bundle.folder, "--on", "board", "--quick", "--rounds", "1", "--json", "-")
        assert done.code == 0, done.err
        onnx, tflite = done.json["results"]
        assert "never been published for 32-bit ARM" in onnx["error"]
        assert (tflite["error"], tflite["runtime"]) == (None, "tflite-runtime")
        assert done.json["machine"]["bits"] == 32
        assert board.left() == []
