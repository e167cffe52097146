"""Setting up emulated boards, with an apt and a pip of the test's own: tried again, resumed, refused, kept."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import pytest

from edgelnn.cli.app import main
from edgelnn.cli.findings import judge_boards
from edgelnn.errors import ProfileError
from edgelnn_profiling.emulation import board_packages, debian_packages, making
from edgelnn_profiling.emulation.boards_folder import BoardsFolder
from edgelnn_profiling.machine import read_machine

pytestmark = pytest.mark.skipif(shutil.which("tar") is None, reason="there is no tar")

APT = """#!/bin/sh
case "$*" in
*indextargets*) echo 'http://mirror.test/debian|bookworm|main'; exit 0;;
esac
for word in "$@"; do case $word in -c=*) configuration=${word#-c=};; esac; done
folder=$(dirname "$configuration")
case "$*" in
*update*)
    left=$(cat FAILURES)
    [ "$left" -gt 0 ] || exit 0
    echo $((left - 1)) > FAILURES
    echo 'E: Failed to fetch Packages.xz: File has unexpected size. Mirror sync in progress?' >&2; exit 100;;
*install*) cp PACKAGE "$folder/cache/archives/python.deb"; cat "$configuration" "$folder/sources.list" > SEEN;;
esac
"""


@pytest.fixture
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of programs in front of all others; `failures` holds how often apt will fail yet."""
    folder = tmp_path / "tools"
    folder.mkdir()
    content = tmp_path / "content"
    (content / "usr" / "bin").mkdir(parents=True)
    (content / "bin").mkdir()
    (content / "usr" / "bin" / "python3.11").write_text("python")
    (content / "bin" / "sh").write_text("shell")
    with tarfile.open(folder / "package", "w") as archive:
        archive.add(content, ".")
    (folder / "failures").write_text("0")
    apt = APT.replace("FAILURES", f"{folder}/failures").replace("PACKAGE", f"{folder}/package")
    scripts = {
        "apt-get": apt.replace("SEEN", f"{folder}/seen"),
        "dpkg-deb": '#!/bin/sh\ncat "$2"\n',
        "qemu-aarch64": "#!/bin/sh\n[ $1 = --version ] && echo 'version 7.2' || echo ' -plugin'\n",
        "qemu-arm": "#!/bin/sh\n[ $1 = --version ] && echo 'version 10.0' || echo ' -plugin'\n",
    }
    for name, text in scripts.items():
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(folder), prepend=os.pathsep)
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    making.fit_emulator.cache_clear()

    def fetch(site: board_packages.Site, place: Path) -> list[Path]:
        place.mkdir(parents=True, exist_ok=True)
        wheel = place / "runtime.whl"
        with zipfile.ZipFile(wheel, "w") as archive:
            archive.writestr("runtime/__init__.py", f"requirements = {site.requirements!r}\n")
        return [wheel]

    monkeypatch.setattr(making, "fetch_wheels", fetch)
    monkeypatch.setattr(debian_packages, "WAITS_S", (0.0, 0.0, 0.0))
    yield folder
    making.fit_emulator.cache_clear()


def make(boards: BoardsFolder, *names: str) -> list[str]:
    told: list[str] = []
    making.make_boards(making.steps_to_make(boards, names), told.append)
    return told


def test_boards_are_made_once_and_tell_what_they_are(tools: Path, tmp_path: Path) -> None:
    boards = BoardsFolder(tmp_path / "boards")
    told = make(boards, "pi4", "pi5")
    assert told[:3] == [
        "making a 64-bit root with Python and the runtimes",
        "list of packages for arm64 from http://mirror.test/debian",
        "packages for arm64 from http://mirror.test/debian",
    ]
    assert told[-2:] == ["making the board pi4", "making the board pi5"]
    assert making.steps_to_make(boards, ["pi4", "pi5"]) == []
    assert boards.lacks("pi4") == boards.lacks("pi5", "site_tfl") == []
    assert boards.lacks("pi3") == []  # It may be run from the root itself, but is no board yet.
    assert [step.what for step in making.steps_to_make(boards, ["pi3"])] == ["the board pi3"]
    root = boards.root("pi5")
    assert (root / "bin").is_symlink()
    assert (root / "usr" / "bin" / "sh").read_text() == "shell"
    assert os.path.samefile(root / "usr/bin/python3.11", boards.root("pi4") / "usr/bin/python3.11")
    assert "1.31.1" in (root / "opt" / "site" / "runtime" / "__init__.py").read_text()
    machine = read_machine(root)
    assert (machine.board, machine.cpu) == ("Raspberry Pi 5 Model B Rev 1.0", "Cortex-A76")
    assert "asimddp" in machine.features
    assert sorted(each.name for each in boards.path.iterdir()) == ["a64", "bin", "pi4", "pi5"]
    seen = (tools / "seen").read_text()
    assert "http://mirror.test/debian bookworm main" in seen
    assert f'Dir::State "{boards.path}/downloads/arm64"' in seen
    assert 'APT::Architecture "arm64"' in seen


def test_wrappers_run_scripts_as_the_board(tools: Path, tmp_path: Path) -> None:
    boards = BoardsFolder(tmp_path / "boards with a space")
    make(boards, "pi4")
    (tools / "qemu-aarch64").write_text('#!/bin/sh\necho "$QEMU_CPU|$QEMU_LD_PREFIX|$PYTHONPATH|$*"\n')
    environment = {**os.environ, "SITE": "site_tfl"}
    environment.pop("PYTHONPATH", None)
    command = [boards.path / "bin" / "pi4-python", "script.py", "two words"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    root = boards.path / "pi4"
    expected = f"cortex-a72|{root}|{root}/opt/site_tfl|{root}/usr/bin/python3.11 script.py two words\n"
    assert done.stdout == expected


def test_a_mirror_that_is_being_updated_is_asked_again(tools: Path, tmp_path: Path) -> None:
    (tools / "failures").write_text("3")
    told = make(BoardsFolder(tmp_path / "boards"), "pi4")
    assert [line for line in told if "again in 0 s" in line] == [
        "apt failed (Failed to fetch Packages.xz: File has unexpected size. Mirror sync in progress?); again in 0 s"
    ] * 3


def test_what_fails_is_said_and_taken_up_again(tools: Path, tmp_path: Path) -> None:
    boards = BoardsFolder(tmp_path / "boards")
    (tools / "failures").write_text("4")
    with pytest.raises(ProfileError, match="apt cannot fetch the list of packages, four times: Failed to fetch"):
        make(boards, "pi4")
    assert not (boards.path / "a64").exists()
    whole = (tools / "package").read_bytes()
    (tools / "package").write_bytes(b"not a package")
    with pytest.raises(ProfileError, match=r"cannot unpack python.deb: .* Run the same command again"):
        make(boards, "pi4")
    assert not list(boards.path.rglob("*.deb")), "a damaged file is fetched anew"
    (tools / "package").write_bytes(whole)
    make(boards, "pi4")
    assert boards.lacks("pi4") == []


def test_an_emulator_that_cannot_count_is_replaced_by_one_of_our_own(tools: Path, tmp_path: Path) -> None:
    boards = BoardsFolder(tmp_path / "boards")
    assert [step.what for step in making.steps_to_make(boards, ["armhf"])] == [
        "QEMU 7.2",
        "a 32-bit root with Python and the runtimes",
        "the board armhf",
    ]
    make(boards, "armhf")
    assert boards.emulator("qemu-arm") == [str(boards.path / "emulator" / "bin" / "qemu-arm")]
    assert "ld-linux-x86-64" in (boards.path / "emulator" / "bin" / "qemu-arm").read_text()
    assert "tflite-runtime" in (boards.root("armhf") / "opt" / "site" / "runtime" / "__init__.py").read_text() or (
        "typer" in (boards.root("armhf") / "opt" / "site" / "runtime" / "__init__.py").read_text()
    )


def test_pip_is_asked_for_the_boards_platform(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[list[str]] = []

    def run(command: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        asked.append(command)
        (tmp_path / "one.whl").touch()
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(subprocess, "run", run)
    tflite, typer = board_packages.SITES["a32"]
    assert board_packages.fetch_wheels(tflite, tmp_path) == [tmp_path / "one.whl"]
    assert {"--no-deps", "manylinux_2_34_armv7l", "tflite-runtime==2.14.0", "3.11"} <= set(asked[0])
    board_packages.fetch_wheels(typer, tmp_path)
    assert "--no-deps" not in asked[1]


def test_a_pip_that_fails_is_one_clear_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done = subprocess.CompletedProcess([], 1, "", "WARNING: x\nERROR: No matching distribution found for typer\nmore\n")
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: done)
    with pytest.raises(ProfileError, match="pip cannot fetch typer for the board: ERROR: No matching"):
        board_packages.fetch_wheels(board_packages.SITES["a32"][1], tmp_path)
    (tmp_path / "bad.whl").write_bytes(b"no wheel")
    with pytest.raises(ProfileError, match=r"bad\.whl is damaged"):
        board_packages.unpack_wheels([tmp_path / "bad.whl"], tmp_path / "site")
    assert not (tmp_path / "bad.whl").exists()


def test_the_command_asks_and_does_nothing_where_nobody_answers(
    tools: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = str(tmp_path / "boards")
    assert main(["boards", "--board", "pi4", "--folder", folder]) == 1
    said = capsys.readouterr().err
    assert "Missing: a 64-bit root with Python and the runtimes, the board pi4." in said
    assert "http://mirror.test/debian" in said
    assert said.splitlines()[-1].startswith("error: setting up emulated boards fetches packages")
    assert not Path(folder).exists()
    assert main(["boards", "--board", "pi4", "--folder", folder, "--yes"]) == 0
    assert "is set up" in capsys.readouterr().out
    assert main(["boards", "--board", "pi4", "--folder", folder]) == 0, "nothing is missing, so nothing is asked"
    assert main(["boards", "--board", "pi9", "--folder", folder]) == 1
    assert "expected pi3, pi4, pi5, armhf" in capsys.readouterr().err


def test_other_machines_are_told_what_it_takes(
    tools: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("EDGELNN_BOARDS", str(tmp_path / "boards"))
    monkeypatch.setattr(making, "missing_tools", lambda: ["apt-get"])
    assert main(["boards", "--yes"]) == 1
    said = capsys.readouterr().err
    assert "there is no apt-get" in said
    assert "docker run" in said
    assert judge_boards().verdict == "unknown"
    monkeypatch.setattr(making, "missing_tools", lambda: [])
    assert judge_boards().mend == "edgelnn boards"
    make(BoardsFolder(tmp_path / "boards"), "pi3")
    assert judge_boards().text == f"emulated: pi3, pi4, pi5, in {tmp_path / 'boards'}"
    monkeypatch.setattr(sys, "platform", "darwin")
    assert "Linux x86-64 alone, and this is darwin" in (making.cannot_be_made_here() or "")
