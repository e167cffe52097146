"""Measuring over ssh, with an ssh that runs its command here; the real one is in `test_profiling_boards`."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import threading
import time
import zipfile
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import pytest

from edgelnn.bundle import Bundle
from edgelnn.errors import BoardError, ConfigError
from edgelnn_profiling import Plan, profile
from edgelnn_profiling.proving import Proof
from edgelnn_profiling.remote import open_board
from edgelnn_profiling.remote.latency import latencies_on
from edgelnn_profiling.remote.luggage import pack_modules
from edgelnn_profiling.remote.session import Session
from edgelnn_profiling.remote.ssh import (
    MODULES_THERE,
    agent_program,
    checked_host,
    explain_failure,
    remote_command,
    ssh_command,
)
from tests.helpers import ROOT, assert_one_clear_line, run_cli
from tests.small_bundle import linear_onnx, make_bundle
from tests.ssh_pretended import PretendedBoard, pretend_ssh
from tests.test_rooms import imports_of

SHORT = Plan(rounds=1, windows=1, window_s=0.005, min_samples=20, warm_up_min_s=0.0, warm_up_max_s=0.05, memory=False)
HOSTILE = "-o 'x'; $(touch gone) \"é\""


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return make_bundle(tmp_path_factory.mktemp("bundles") / HOSTILE)


@pytest.fixture
def board(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> PretendedBoard:
    return pretend_ssh(tmp_path, monkeypatch)


@pytest.mark.parametrize(
    "host",
    ["", "-oProxyCommand=touch /tmp/x", "pi@-oProxyCommand=x", "pi@", "@host", "a b", "a;b", "$(x)", "a\nb", "a'b"],
)
def test_what_is_no_host_is_refused(host: str) -> None:
    with pytest.raises(ConfigError, match="expected a host as ssh takes it"):
        checked_host(host)
    assert_one_clear_line(run_cli("doctor", f"--on={host}", "--install") if host else run_cli("doctor", "--install"))


@pytest.mark.parametrize(
    "host", ["board", "pi@raspberrypi.local", "ssh://pi@host:2222", "pi@fe80::1%eth0", "u_1@10.0.0.7"]
)
def test_hosts_are_taken_as_ssh_takes_them(host: str) -> None:
    command = ssh_command(checked_host(host), "true")
    assert command[-3:] == ["--", host, "true"]
    assert "StrictHostKeyChecking" not in " ".join(command)  # That is the user's to decide.


def test_the_remote_command_means_the_same_to_every_login_shell() -> None:
    command = remote_command("print('it', \"is\", 1 + 1)")
    assert command.count("'") == 4
    assert not set("\n\\!`") & set(command)
    for shell in ("sh", "bash"):
        done = subprocess.run([shell, "-c", command], capture_output=True, text=True, check=True)
        assert done.stdout == "it is 2\n"
    assert remote_command("", "~/my venv/bin/python").endswith(" ~/'my venv/bin/python'")


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ("@@ WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED! @@\n  remove with:\n  ssh-keygen -f \"/k\" -R \"h\"\n"
         "Host key verification failed.", ("not the one known here", 'ssh-keygen -f "/k" -R "h"', "nothing was sent")),
        ("Host key verification failed.", ("not known here", "ssh pi@h", "fingerprint")),
        ("pi@h: Permission denied (publickey,password).", ("refused", "ssh-copy-id pi@h")),
        ("ssh: connect to host h port 22: Connection refused", ("no ssh server",)),
        ("ssh: connect to host h port 22: Connection timed out", ("does not answer",)),
        ("ssh: Could not resolve hostname h: Name or service not known", ("no host of that name",)),
        ("/home/u/.ssh/config: line 1: Bad configuration option: x", ("configuration", "line 1")),
        ("kex_exchange_identification: read: gone", ("kex_exchange_identification", "ssh pi@h")),
        ("", ("ssh said nothing",)),
    ],
)  # fmt: skip
def test_what_ssh_says_becomes_one_line_with_what_to_do(said: str, words: tuple[str, ...]) -> None:
    line = explain_failure("pi@h", said)
    assert line.startswith("pi@h: ")
    assert "\n" not in line
    for word in words:
        assert word in line


def test_a_bundle_is_measured_and_nothing_stays_behind(board: PretendedBoard, bundle: Bundle) -> None:
    said: list[str] = []
    with open_board("pi@board", formats=["onnx", "tflite"], say=said.append) as opened:
        assert len(board.left()) > 10
        report = profile(bundle.folder, SHORT, executor=opened.executor)
        paths = [path for path in board.left() if path.endswith((".onnx", ".tflite", ".npz"))]
    assert board.left() == []
    assert [result.error for result in report.results] == [None, None]
    assert all(result.parity is not None and result.parity.max_error < 1e-5 for result in report.results)
    assert len(paths) == 3
    assert HOSTILE not in "".join([*paths, *board.asked()])
    assert len(board.asked()) == 1  # One connection for all of it.
    assert said == ["connecting", "copying edgelnn"]


def test_the_modules_that_travel_are_all_that_a_worker_imports(tmp_path: Path) -> None:
    with zipfile.ZipFile(BytesIO(pack_modules())) as archive:
        assert not [name for name in archive.namelist() if "torch" in name or "/remote/" in name or "/cli/" in name]
        archive.extractall(tmp_path)
    worker = "import sys; sys.path.insert(0, sys.argv[1])\n" + "".join(
        f"import edgelnn_profiling.{name}\n" for name in ("worker", "answering", "onnx_session", "tflite_interpreter")
    )
    ours = "print(*{m.__file__ for n, m in sys.modules.items() if n.startswith('edgelnn')}, sep='\\n')"
    printed = subprocess.run(
        [sys.executable, "-c", worker + ours, str(tmp_path)], capture_output=True, text=True, check=True, cwd=tmp_path
    ).stdout
    assert {Path(line).is_relative_to(tmp_path) for line in printed.split("\n") if line} == {True}


def test_the_program_for_the_board_needs_the_standard_library_alone() -> None:
    package, known = "edgelnn_profiling.remote.there", set(sys.stdlib_module_names)
    for name in MODULES_THERE:
        path = ROOT / "profiling/edgelnn_profiling/remote/there" / f"{name}.py"
        for module in imports_of(path):
            assert module.partition(".")[0] in known or module in {f"{package}.{one}" for one in MODULES_THERE}, name
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", agent_program()], input=b"", capture_output=True, check=True, timeout=60
    )
    assert done.stdout == done.stderr == b""


def test_an_error_there_speaks_of_the_files_here(board: PretendedBoard, tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(linear_onnx((8, 8, 1), 2))
    with open_board("board", formats=["onnx"]) as opened:
        request = {"kind": "timing", "model": str(path), "format": "tflite", "threads": 1, "golden": None}
        outcome = opened.executor.execute({**request, "plan": {"pin": False}}, timeout_s=60)
        assert outcome.error is not None
        assert str(path) in outcome.error
        assert "run-" not in outcome.error
        late = opened.executor.execute({"kind": "machine"}, timeout_s=0.01)
        assert late.error == "did not finish within 0.01 s and was ended"


LOGINS = [
    "echo 'Welcome to Raspberry Pi OS'; echo '{\"a\": 1}'",
    "printf '\\033]0;pi@pi\\007'",  # A title for a terminal: no line ends after it.
    "printf 'Last login: today'",
    'printf "%s" "$3"',  # What it was given to run.
]


@pytest.mark.parametrize("before", LOGINS)
def test_what_a_login_prints_is_passed_over(before: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edgelnn_profiling.remote.session._LOGIN_S", 20.0)
    pretend_ssh(tmp_path, monkeypatch, before=before)
    with Session("board") as session:
        assert session.facts["machine"]


@pytest.mark.parametrize("before", LOGINS)
def test_no_python_is_heard_behind_what_a_login_prints(
    before: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pretend_ssh(tmp_path, monkeypatch, before=before)
    with pytest.raises(BoardError, match=r"board \(Linux .*\) has no Python 3\.11 or newer; found: none"):
        Session("board", python="no-such-python")


@pytest.mark.parametrize(
    ("python", "words"), [(None, "found: none"), ("echo Python 3.9.2; exit 86", "found: Python 3.9.2")]
)
def test_no_python_or_one_too_old(
    python: str | None, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    programs = tmp_path / "programs"
    programs.mkdir()
    (tmp_path / "ssh").mkdir()
    if python is not None:
        (programs / "mypython").write_text(f"#!/bin/sh\n{python}\n")
        (programs / "mypython").chmod(0o755)
    pretend_ssh(tmp_path / "ssh", monkeypatch, path=programs)
    with pytest.raises(BoardError, match=r"has no Python 3\.11 or newer; found: .*--remote-python") as caught:
        Session("board", python="mypython")
    assert words in str(caught.value)


def test_left_overs_without_an_owner_are_removed_and_no_others(board: PretendedBoard) -> None:
    root = board.home / ".cache" / "edgelnn"
    for name in ("run-dead", "partial-dead", "run-alive", "site-cp311-0"):
        (root / name / "inside").mkdir(parents=True)
    descriptor = os.open(root / "run-alive", os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    with Session("board") as session:
        assert session.facts["removed"] == 2
    os.close(descriptor)
    assert sorted(os.listdir(root)) == ["run-alive", "site-cp311-0"]


def test_a_connection_that_breaks_is_said_and_leaves_nothing(board: PretendedBoard, bundle: Bundle) -> None:
    endless = replace(SHORT, window_s=60.0, max_samples=10**9, min_samples=10**8)
    with open_board("board", formats=["onnx"]) as opened:
        timer = threading.Timer(2.0, opened.session.abort)
        timer.start()
        with pytest.raises(BoardError, match="the connection was lost while a timing worker ran there"):
            profile(bundle.folder, endless, variants=["onnx-float32"], executor=opened.executor)
    deadline = time.monotonic() + 20
    while board.left() and time.monotonic() < deadline:
        time.sleep(0.1)
    assert board.left() == []


def test_a_folder_that_may_not_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    board = pretend_ssh(tmp_path, monkeypatch)
    (board.home / "file").write_text("")
    with pytest.raises(BoardError, match=r"board: making its folder there failed: .*file"):
        Session("board", folder="~/file/inside")
    assert board.left() == ["file"]


def test_latencies_are_measured_there_in_turns_of_files_that_are_proved(board: PretendedBoard, bundle: Bundle) -> None:
    variants = bundle.manifest.variants
    files = {variant.name: bundle.path(variant).read_bytes() for variant in variants}
    proof = Proof(
        golden=(bundle.folder / "golden.npz").read_bytes(),
        images=4,
        outputs=2,
        preprocessing=bundle.manifest.preprocessing,
        layouts={variant.name: variant.layout for variant in variants},
        allowed={variant.name: 1e-4 for variant in variants},
    )
    with open_board("board", formats=["onnx", "tflite"]) as opened:
        found = latencies_on(opened, files, proof, SHORT)
        strict = replace(proof, allowed={**proof.allowed, "onnx-float32": -1.0})
        some = latencies_on(opened, files, strict, SHORT)
        three = latencies_on(opened, files, replace(proof, outputs=3), SHORT)
        late = latencies_on(opened, files, proof, replace(SHORT, timeout_s=0.01))
    assert found.costs.keys() == files.keys()
    assert all(0 < seconds < 1 for seconds in found.costs.values())
    assert not found.failed
    assert some.costs.keys() == {"tflite-float32"}
    assert some.failed["onnx-float32"].startswith("it differs from the golden answers by")
    assert "expected (4, 3) float32" in three.failed["tflite-float32"]
    assert late.failed == dict.fromkeys(files, "it fails: did not finish within 0.01 s and was ended")
    assert not late.costs
