"""Make the folder of emulated boards in steps that appear whole, and are not done again where that is there."""

from __future__ import annotations

import contextlib
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from edgelnn.atomic import new_folder_atomically, write_text_atomically
from edgelnn_profiling.emulation.board_packages import SITES, fetch_wheels, unpack_wheels
from edgelnn_profiling.emulation.boards import DESCRIPTIONS, BoardFacts, check_described
from edgelnn_profiling.emulation.boards_folder import BoardsFolder, fit_emulator
from edgelnn_profiling.emulation.debian_packages import fetch_packages, missing_tools, unpack_packages

__all__ = ["MEGABYTES", "Step", "cannot_be_made_here", "make_boards", "steps_to_make"]

MEGABYTES: Final = {"emulator": 90, "a64": 420, "a32": 160}
_PYTHON: Final = ("python3.11-minimal", "libpython3.11-stdlib", "libstdc++6")
_ROOTS: Final = {"a64": ("arm64", _PYTHON), "a32": ("armhf", (*_PYTHON, "python3-numpy", "libatomic1"))}
_LAUNCHER: Final = """#!/bin/sh
here=$(CDPATH= cd "$(dirname "$0")/.." && pwd)
exec "$here/lib64/ld-linux-x86-64.so.2" \\
    --library-path "$here/lib/x86_64-linux-gnu:$here/usr/lib/x86_64-linux-gnu" "$here/usr/bin/{program}" "$@"
"""
_WRAPPER: Final = """#!/bin/sh
# Runs a script on the emulated {board}: {board}-python SCRIPT. SITE=site_tfl takes tflite-runtime in place of LiteRT.
export QEMU_CPU={facts.qemu_cpu} QEMU_LD_PREFIX='{root}' PYTHONHASHSEED=0 PYTHONDONTWRITEBYTECODE=1
export PYTHONPATH="${{PYTHONPATH:-{root}/opt/${{SITE:-site}}}}"
exec {emulator} '{python}' "$@"
"""


@dataclass(frozen=True)
class Step:
    """One thing that is missing and can be made: what it is in words, what it weighs, and how it is done."""

    what: str
    megabytes: int
    make: Callable[[Callable[[str], None]], None]


def cannot_be_made_here() -> str | None:
    """Return what this machine lacks to make and run boards, and the commands that help; None where nothing is."""
    if sys.platform != "linux" or platform.machine() not in ("x86_64", "AMD64"):
        return (
            f"boards are emulated on Linux x86-64 alone, and this is {sys.platform} {platform.machine()}. In a "
            'container: docker run --platform linux/amd64 -it -v "$PWD":/work -w /work debian:12, and there: apt-get '
            "update && apt-get install -y python3-venv git gcc && python3 -m venv /venv && /venv/bin/pip install . && "
            "/venv/bin/edgelnn boards --yes"
        )
    missing = missing_tools()
    if missing:
        return (
            f"setting up boards needs apt, and there is no {', '.join(missing)}. In a container: docker run -it -v "
            '"$PWD":/work -w /work debian:12, and there: apt-get update && apt-get install -y python3-venv git gcc && '
            "python3 -m venv /venv && /venv/bin/pip install . && /venv/bin/edgelnn boards --yes"
        )
    if not any(shutil.which(name) for name in ("cc", "gcc", "clang")):
        return "counting instructions needs a C compiler, and there is no cc: sudo apt-get install gcc libc6-dev"
    return None


def steps_to_make(boards: BoardsFolder, names: Iterable[str]) -> list[Step]:
    """Return what has to be made for some boards, in order; nothing where all is there.

    Args:
        boards: The folder, which need not exist.
        names: Of boards, those of `DESCRIPTIONS`.

    Raises:
        ProfileError: There is no such board.
    """
    wanted = list(dict.fromkeys(names))
    check_described(*wanted)
    steps = []
    programs = {DESCRIPTIONS[name].emulator for name in wanted}
    if any(not (boards.path / "emulator/bin" / each).exists() and fit_emulator(each)[0] is None for each in programs):
        steps.append(Step("QEMU 7.2", MEGABYTES["emulator"], partial(_make_emulator, boards.path)))
    for root in ("a64", "a32"):
        needed = [name for name in wanted if DESCRIPTIONS[name].root == root]
        if needed and any(boards.lacks(name, site.name) for name in needed for site in SITES[root]):
            whole = boards.path / root / "opt" / "site"
            if not whole.exists():
                words = f"a {'64' if root == 'a64' else '32'}-bit root with Python and the runtimes"
                steps.append(Step(words, MEGABYTES[root], partial(_make_root, boards, root)))
    for name in wanted:
        if not (boards.path / name / "opt" / "site").exists() or not (boards.path / "bin" / f"{name}-python").exists():
            steps.append(Step(f"the board {name}", 5, partial(_make_board, boards, name)))
    return steps


def make_boards(steps: Sequence[Step], tell: Callable[[str], None]) -> None:
    """Take the steps.

    Args:
        steps: As `steps_to_make` gives them.
        tell: Told what is being done.

    Raises:
        ProfileError: Something cannot be fetched or unpacked; the same call goes on where this one ended.
        WriteError: There is no permission, or no space.
    """
    for step in steps:
        tell(f"making {step.what}")
        step.make(tell)


def _make_emulator(folder: Path, tell: Callable[[str], None]) -> None:
    downloads = folder / "downloads" / "amd64"
    files = fetch_packages("amd64", ("qemu-user",), downloads, tell)
    with new_folder_atomically(folder / "emulator", force=True, markers=("bin",)) as root:
        unpack_packages(files, root)
        (root / "bin").unlink()
        (root / "bin").mkdir()
        for program in ("qemu-aarch64", "qemu-arm"):
            launcher = root / "bin" / program
            launcher.write_text(_LAUNCHER.format(program=program), encoding="ascii")
            launcher.chmod(0o755)
    _forget(downloads)


def _make_root(boards: BoardsFolder, name: str, tell: Callable[[str], None]) -> None:
    downloads = boards.path / "downloads"
    architecture, packages = _ROOTS[name]
    files = fetch_packages(architecture, packages, downloads / architecture, tell)
    wheels = []
    for number, site in enumerate(SITES[name]):
        tell(f"Python packages for {architecture}: {', '.join(site.requirements)}")
        wheels.append(fetch_wheels(site, downloads / f"{name}-{number}"))
    tell(f"unpacking {len(files)} packages and {sum(map(len, wheels))} wheels")
    with new_folder_atomically(boards.path / name, force=True, markers=("usr",)) as root:
        unpack_packages(files, root)
        for site, found in zip(SITES[name], wheels, strict=True):
            unpack_wheels(found, root / "opt" / site.name)
        _finish_root(root, name)
        tell("compiling Python's modules")
        _compile_modules(boards, root, name)
    _forget(downloads / architecture, *(downloads / f"{name}-{number}" for number in range(len(wheels))))


def _forget(*downloads: Path) -> None:
    """Remove what was fetched and is unpacked now, and the folder around it where that is empty then."""
    for folder in downloads:
        shutil.rmtree(folder)
    with contextlib.suppress(OSError):
        downloads[0].parent.rmdir()


def _finish_root(root: Path, name: str) -> None:
    """Add what a package's scripts would have made, and what programs expect."""
    for folder in ("proc", "sys", "dev", "tmp", "root", "work", "etc", "opt"):
        (root / folder).mkdir(exist_ok=True)
    (root / "etc" / "passwd").write_text("root:x:0:0:root:/root:/bin/sh\n", encoding="ascii")
    (root / "etc" / "group").write_text("root:x:0:\n", encoding="ascii")
    if name == "a32":  # Debian chooses among libraries of linear algebra by links that its scripts make.
        libraries = root / "usr" / "lib" / "arm-linux-gnueabihf"
        for library in ("blas/libblas.so.3", "lapack/liblapack.so.3"):
            if (libraries / library).exists():
                (libraries / Path(library).name).symlink_to(library)


def _compile_modules(boards: BoardsFolder, root: Path, name: str) -> None:
    """Compile all modules once: to do it at every start would take seconds. By this Python where it is the same one."""
    board = next(board for board, facts in DESCRIPTIONS.items() if facts.root == name)
    facts = DESCRIPTIONS[board]
    environment = {**boards.environment(board), "QEMU_LD_PREFIX": str(root)}
    command = [*boards.emulator(facts.emulator), str(root / "usr" / "bin" / "python3.11")]
    if sys.version_info[:2] == (3, 11):
        command, environment = [sys.executable], dict(os.environ)
    folders = [str(folder) for folder in (root / "opt", root / "usr" / "lib" / "python3.11", root / "usr/lib/python3")]
    # Some packages hold modules for other versions of Python, which do not compile: then it ends with an error, too.
    subprocess.run(
        [*command, "-m", "compileall", "-q", "-s", str(root), *folders],
        capture_output=True,
        env=environment,
        check=False,
    )


def _make_board(boards: BoardsFolder, name: str, tell: Callable[[str], None]) -> None:
    facts = DESCRIPTIONS[name]
    source = boards.path / facts.root
    with new_folder_atomically(boards.path / name, force=True, markers=("usr",)) as copy:
        # Hard links: four boards take the space of one.
        shutil.copytree(source, copy, symlinks=True, copy_function=os.link, dirs_exist_ok=True)
        _describe_board(copy, facts)
    root = boards.path / name
    wrapper = boards.path / "bin" / f"{name}-python"
    emulator = " ".join(f"'{word}'" for word in boards.emulator(facts.emulator))
    write_text_atomically(
        wrapper,
        _WRAPPER.format(board=name, facts=facts, root=root, emulator=emulator, python=root / "usr/bin/python3.11"),
    )
    wrapper.chmod(0o755)


def _describe_board(root: Path, facts: BoardFacts) -> None:
    """Write what the board tells of itself: the runtimes choose their kernels by it, and crash where it is a PC's."""
    processor = (
        "processor\t: {number}\nBogoMIPS\t: 108.00\nFeatures\t: {facts.features}\nCPU implementer\t: 0x41\n"
        "CPU architecture: {architecture}\nCPU variant\t: {facts.variant}\nCPU part\t: {facts.part}\n"
        "CPU revision\t: {facts.revision}\n\n"
    )
    architecture = 8 if facts.root == "a64" else 7
    processors = [processor.format(number=number, facts=facts, architecture=architecture) for number in range(4)]
    tail = f"Revision\t: 000000\nSerial\t\t: 0000000000000000\nModel\t\t: {facts.model}\n"
    texts = {"proc/cpuinfo": "".join(processors) + tail}
    cpus = "sys/devices/system/cpu"
    texts |= {f"{cpus}/{name}": "0-3\n" for name in ("possible", "present", "online")}
    texts[f"{cpus}/kernel_max"] = "3\n"
    for name in ("scaling_cur", "scaling_min", "scaling_max", "cpuinfo_min", "cpuinfo_max"):
        texts[f"{cpus}/cpu0/cpufreq/{name}_freq"] = f"{facts.clock_khz}\n"
    texts[f"{cpus}/cpu0/cpufreq/scaling_governor"] = "ondemand\n"
    texts["sys/class/thermal/thermal_zone0/temp"] = "48312\n"
    texts["sys/class/thermal/thermal_zone0/type"] = "cpu-thermal\n"
    texts["sys/firmware/devicetree/base/model"] = facts.model + "\0"
    for name, text in texts.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text, encoding="ascii")
