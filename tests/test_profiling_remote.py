"""Measuring over ssh, with an ssh that runs its command here; the real one is in `test_profiling_boards`."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import sys
import threading
import time
import tomllib
import zipfile
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest

from edgelnn.bundle import Bundle
from edgelnn.cli.reach import Reach, reach_of, same_clock
from edgelnn.cli.report_files import ReportFiles
from edgelnn.errors import BoardError, ConfigError
from edgelnn.run import Run
from edgelnn_profiling import Plan, profile
from edgelnn_profiling.remote import facts as facts_module
from edgelnn_profiling.remote import open_board
from edgelnn_profiling.remote.facts import BoardFacts, Site, requirements_for, why_never
from edgelnn_profiling.remote.installing import install_runtimes, provide_runtimes
from edgelnn_profiling.remote.latency import latencies_on
from edgelnn_profiling.remote.luggage import pack_modules
from edgelnn_profiling.remote.session import Session
from edgelnn_profiling.remote.ssh import checked_host, explain_failure, remote_command, ssh_command
from tests.helpers import ROOT, assert_one_clear_line, run_cli
from tests.small_bundle import linear_onnx, linear_tflite, make_bundle
from tests.ssh_pretended import PretendedBoard, pretend_ssh

SHORT = Plan(rounds=1, windows=1, window_s=0.005, min_samples=20, warm_up_min_s=0.0, warm_up_max_s=0.05, memory=False)
PI4 = BoardFacts(
    time_s=0.0,
    root="/home/pi/.cache/edgelnn",
    free_bytes=10**10,
    machine="aarch64",
    bits=64,
    system="Linux",
    python="3.11.2",
    implementation="cpython",
    abi="cp311",
    executable="/usr/bin/python3",
    glibc="2.36",
    pip=False,
    packages={},
    sites=(),
    removed=0,
)
ARM32 = replace(PI4, machine="armv7l", bits=32)
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


def test_what_a_login_prints_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pretend_ssh(tmp_path, monkeypatch, before="echo 'Welcome to Raspberry Pi OS'; echo '{\"a\": 1}'")
    with Session("board") as session:
        assert session.facts["machine"]


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


def test_a_missing_runtime_asks_for_install_and_what_was_installed_is_used_again(board: PretendedBoard) -> None:
    site = Site("site-cp311-0", "/there", {"numpy": "2.4", "onnxruntime": "1.31"})
    with Session("board") as session:
        with pytest.raises(BoardError, match=r"has no numpy and no onnxruntime\. Pass --install .*/home/pi/\.cache"):
            provide_runtimes(session, PI4, ["onnx"], install=False, say=print)
        there = replace(PI4, sites=(site,))
        assert provide_runtimes(session, there, ["onnx"], install=False, say=print) == site
        with pytest.raises(BoardError, match="has no ai-edge-litert or tflite-runtime"):
            provide_runtimes(session, replace(there, packages=site.packages), ["tflite"], install=False, say=print)
        assert replace(there, abi="cp313").site_for(["onnx"]) is None


def test_an_installation_is_whole_or_not_there(board: PretendedBoard) -> None:
    wheel = BytesIO()
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("numpy/__init__.py", "")
        archive.writestr("numpy-9.dist-info/METADATA", "Metadata-Version: 2.1\nName: numpy\nVersion: 9\n")
        archive.writestr("numpy-9.data/purelib/more.py", "")
        archive.writestr("numpy-9.data/scripts/f2py", "")
    with Session("board") as session:
        root = Path(session.facts["root"])
        session.put("good.whl", wheel.getvalue())
        session.put("bad.whl", wheel.getvalue()[:50])
        request = {"do": "install", "note": {}}
        with pytest.raises(BoardError, match="BadZipFile"):
            session.ask({**request, "site": "site-a", "wheels": ["bad.whl"]}, what="installing")
        assert [path.name for path in root.iterdir() if not path.name.startswith("run-")] == []
        answer, _ = session.ask({**request, "site": "site-a", "wheels": ["good.whl"]}, what="installing")
        assert answer["packages"] == {"numpy": "9"}
        assert (root / "site-a" / "more.py").exists()
        assert not list((root / "site-a").rglob("f2py"))
        with pytest.raises(BoardError, match="expected letters, digits"):
            session.put("../escape", b"")
    with Session("board") as session:
        assert [found["name"] for found in session.facts["sites"]] == ["site-a"]


def make_wheel(folder: Path, name: str) -> None:
    """A wheel of version 9 that holds next to nothing."""
    folder.mkdir(exist_ok=True)
    module, info = name.replace("-", "_"), f"{name.replace('-', '_')}-9.dist-info"
    tag = "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    with zipfile.ZipFile(folder / f"{module}-9-py3-none-any.whl", "w") as archive:
        archive.writestr(f"{module}/__init__.py", "")
        archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 9\n")
        archive.writestr(f"{info}/WHEEL", tag)
        archive.writestr(f"{info}/RECORD", "")


@pytest.mark.parametrize("where", ["here", "there", "nowhere"])
def test_wheels_are_found_here_or_by_the_boards_own_pip(
    where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wheels = tmp_path / "wheels"
    for name in ("numpy", "onnxruntime"):
        make_wheel(wheels, name)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.delenv("PIP_CONSTRAINT", raising=False)
    if where == "here":
        monkeypatch.setenv("PIP_FIND_LINKS", str(wheels))
    pretend_ssh(tmp_path, monkeypatch, before=f"export PIP_FIND_LINKS={wheels}" if where == "there" else "")
    said: list[str] = []
    with Session("board") as session:
        facts = replace(BoardFacts.from_answer("board", session.facts), packages={})
        if where == "nowhere":
            with pytest.raises(BoardError, match=r"its pip says: .*numpy.*; and from here: no wheels"):
                install_runtimes(session, facts, ["onnx"], said.append)
            with pytest.raises(BoardError, match=r"and it has no pip of its own\. Try: install pip there"):
                install_runtimes(session, replace(facts, pip=False), ["onnx"], said.append)
            with pytest.raises(BoardError, match=r"Try: sudo apt install python3-numpy"):
                install_runtimes(session, replace(facts, pip=False, machine="armv7l", bits=32), ["tflite"], said.append)
        else:
            site = provide_runtimes(session, facts, ["onnx"], install=True, say=said.append)
            assert site is not None
            assert site.packages == {"numpy": "9", "onnxruntime": "9"}
            assert any("its own pip" in line for line in said) == (where == "there")
        if where == "here":
            with pytest.raises(BoardError, match="has 0 MB free, and 20 MB are needed"):
                install_runtimes(session, replace(facts, free_bytes=1000), ["onnx"], said.append)
    with Session("board") as session:
        found = BoardFacts.from_answer("board", session.facts)
        assert (replace(found, packages={}).site_for(["onnx"]) is None) == (where == "nowhere")
        assert not list(Path(found.root).glob("partial-*"))


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


@pytest.mark.parametrize(
    ("facts", "model_format", "words"),
    [
        (ARM32, "onnx", "never been published for 32-bit ARM"),
        (replace(PI4, bits=32), "onnx", "never been published for 32-bit ARM"),
        (replace(ARM32, python="3.13.1", abi="cp313"), "tflite", "needs Python 3.11, not 3.13.1"),
        (replace(ARM32, machine="armv6l"), "tflite", "no runtime is published for armv6l"),
        (replace(PI4, machine="riscv64"), "onnx", "no runtime is published for riscv64"),
        (replace(PI4, implementation="pypy"), "onnx", "name a CPython"),
        (replace(PI4, glibc=""), "onnx", "without the GNU C library"),
    ],
)
def test_what_cannot_be_had_is_said_with_why(facts: BoardFacts, model_format: str, words: str) -> None:
    assert words in str(why_never(facts, model_format))  # type: ignore[arg-type]


def test_what_can_be_had() -> None:
    assert [why_never(PI4, "onnx"), why_never(PI4, "tflite"), why_never(ARM32, "tflite")] == [None] * 3
    assert why_never(replace(ARM32, packages={"numpy": "1", "onnxruntime": "1"}), "onnx") is None  # Has it already.
    assert requirements_for(ARM32, ["tflite"]) == ["numpy>=1.24,<2", "tflite-runtime>=2.14"]


def test_requirements_are_those_of_the_extras() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    declared = [
        *project["dependencies"],
        *(one for extra in project["optional-dependencies"].values() for one in extra),
    ]
    plain = {requirement.partition(";")[0].strip() for requirement in declared}
    assert {facts_module.NUMPY, facts_module.ONNXRUNTIME, facts_module.LITERT, facts_module.TFLITE_RUNTIME} <= plain


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


def test_latencies_are_measured_there_in_turns(board: PretendedBoard) -> None:
    files = {"onnx-float32": linear_onnx((8, 8, 1), 2), "tflite-float32": linear_tflite((8, 8, 1), 2)}
    with open_board("board", formats=["onnx", "tflite"]) as opened:
        found = latencies_on(opened, files, SHORT)
        with pytest.raises(BoardError, match=r"board: onnx-float32: did not finish within 0\.01 s"):
            latencies_on(opened, files, replace(SHORT, timeout_s=0.01))
    assert found.keys() == files.keys()
    assert all(0 < seconds < 1 for seconds in found.values())
