"""The folder of the emulated boards: where it is, what is in it, and how programs are run there.

a64/                      the root file system of a 64-bit Raspberry Pi; a32/ likewise of 32 bits
pi3/ pi4/ pi5/ armhf/     the same (by hard links), each with its own /proc/cpuinfo and /sys
*/opt/site/               ONNX Runtime and LiteRT; */opt/site_tfl/ tflite-runtime
bin/pi4-python …          runs a script there
emulator/                 QEMU, where the system has none that counts
"""

from __future__ import annotations

import hashlib
import os
import platform
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import edgelnn
import edgelnn_profiling
from edgelnn.atomic import new_folder_atomically
from edgelnn.errors import ProfileError, WriteError
from edgelnn_profiling.emulation.boards import DESCRIPTIONS

__all__ = ["ENVIRONMENT_VARIABLE", "BoardsFolder", "boards_folder", "fit_emulator"]

ENVIRONMENT_VARIABLE = "EDGELNN_BOARDS"
SITES = {"site": "ONNX Runtime and LiteRT", "site_tfl": "tflite-runtime"}
MOST_STAGED = 20


@dataclass(frozen=True)
class BoardsFolder:
    """A folder of emulated boards, complete or not."""

    path: Path

    def root(self, board: str) -> Path:
        """Return the root file system of a board."""
        folder = self.path / board
        # The 32-bit root has no board of its own where it was made by other means.
        return folder if folder.exists() else self.path / DESCRIPTIONS[board].root

    def packages(self, board: str, site: str) -> Path:
        """Return a board's folder of Python packages."""
        return self.root(board) / "opt" / site

    def python(self, board: str) -> Path:
        """Return a board's Python."""
        return self.root(board) / "usr" / "bin" / "python3.11"

    def emulator(self, program: str) -> list[str]:
        """Return the command of QEMU's emulator: this folder's own, or else the system's.

        Raises:
            ProfileError: There is none that can count.
        """
        own = self.path / "emulator" / "bin" / program
        if own.exists():
            return [str(own)]
        found, reason = fit_emulator(program)
        if found is None:
            raise ProfileError(f"{reason}. Set up the boards: edgelnn boards")
        return [found]

    def lacks(self, board: str, site: str = "site") -> list[str]:
        """Return what is missing to run programs on a board, in words; nothing where all is there."""
        missing = []
        for needed, what in (
            (self.python(board), f"the Python of {board}"),
            (self.packages(board, site), f"{SITES[site]} of {board}"),
        ):
            if not needed.exists():
                missing.append(f"{what} ({needed})")
        try:
            self.emulator(DESCRIPTIONS[board].emulator)
        except ProfileError as error:
            missing.append(str(error).partition(". ")[0])
        return missing

    def require(self, board: str, site: str = "site") -> None:
        """Refuse a board that programs cannot be run on.

        Raises:
            ProfileError: Something is missing; the message names it and says what to do.
        """
        missing = self.lacks(board, site)
        if missing:
            raise ProfileError(f"no emulated {board}: there is no {'; no '.join(missing)}. Set it up: edgelnn boards")

    def command(self, board: str) -> list[str]:
        """Return the command of a board's Python."""
        return [*self.emulator(DESCRIPTIONS[board].emulator), str(self.python(board))]

    def environment(self, board: str) -> dict[str, str]:
        """Return the variables for it: nothing of this process's, so that counts depend on nothing here."""
        return {
            "PATH": "/usr/bin:/bin",
            "HOME": "/nonexistent",
            "LANG": "C.UTF-8",
            "QEMU_CPU": DESCRIPTIONS[board].qemu_cpu,
            "QEMU_LD_PREFIX": str(self.root(board)),
            "QEMU_RAND_SEED": "1",
            "PYTHONHASHSEED": "0",
            "PYTHONDONTWRITEBYTECODE": "1",
            # Threads that wait count too.
            "OPENBLAS_NUM_THREADS": "1",
            "OMP_NUM_THREADS": "1",
            "ORT_DISABLE_TELEMETRY": "1",
        }

    @property
    def workshop(self) -> Path:
        """Where what is made of this folder may be kept: in it, or where that cannot be written in the user's cache."""
        return self.path if os.access(self.path, os.W_OK) else cache_folder()

    def staged_packages(self, board: str) -> Path:
        """Return a folder with what a board needs of edgelnn, compiled by its own Python; made where it is not there.

        The board sees its own packages and these two, and nothing else of this machine's Python. That they are always
        compiled, and always in the same place, keeps counts the same.

        Raises:
            ProfileError: The board's Python does not run.
            WriteError: It cannot be written.
        """
        sources = _sources()
        digest = hashlib.sha256()
        for name, source in sources.items():
            digest.update(name.encode() + b"\0" + source.read_bytes() + b"\0")
        bits = DESCRIPTIONS[board].root
        folder = self.workshop / "staged" / f"{bits}-{digest.hexdigest()[:16]}"
        if folder.exists():
            return folder
        try:
            with new_folder_atomically(folder) as partial:
                for name, source in sources.items():
                    (partial / name).parent.mkdir(parents=True, exist_ok=True)
                    shutil.copyfile(source, partial / name)
                # Not in its final place, so the names in tracebacks are given by -s and -p.
                options = ["-q", "--invalidation-mode", "unchecked-hash", "-s", str(partial), "-p", str(folder)]
                command = [*self.command(board), "-m", "compileall", *options, str(partial)]
                done = subprocess.run(command, capture_output=True, env=self.environment(board), check=False)
                if done.returncode != 0:
                    last = (done.stderr.decode("utf-8", "replace").strip().splitlines() or ["nothing was said"])[-1]
                    raise ProfileError(f"the Python of the emulated {board} does not run: {last[:300]}")
        except WriteError:
            if not folder.exists():  # else another process was faster
                raise
        _forget_old(folder.parent)
        return folder


def boards_folder(given: str | os.PathLike[str] | None = None) -> BoardsFolder:
    """Return the folder given, or that which EDGELNN_BOARDS names, or the one in the user's cache; there or not."""
    named = os.fspath(given) if given is not None else os.environ.get(ENVIRONMENT_VARIABLE, "")
    return BoardsFolder(Path(named).absolute() if named else cache_folder() / "boards")


def cache_folder() -> Path:
    """Return edgelnn's folder in the user's cache."""
    home = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(home) if Path(home).is_absolute() else Path.home() / ".cache") / "edgelnn"


@cache
def fit_emulator(program: str) -> tuple[str | None, str]:
    """Return the system's emulator if it can run the counting plugin; else None and why not.

    Version 1 of the plugin interface came with QEMU 4.2 and ended with 9.0; programs that are linked statically, as
    some packages have them, load no plugins.
    """
    if sys.platform != "linux" or platform.machine() not in ("x86_64", "AMD64"):
        return None, f"boards are emulated on Linux x86-64 alone, and this is {sys.platform} {platform.machine()}"
    found = shutil.which(program)
    if found is None:
        return None, f"{program} (QEMU's user-mode emulator) is not installed"
    texts = []
    for option in ("--version", "-h"):
        try:
            done = subprocess.run([found, option], capture_output=True, text=True, errors="replace", check=False)
        except OSError as error:
            return None, f"{found} does not start: {error.strerror}"
        texts.append(done.stdout)
    version = re.search(r"version (\d+)\.(\d+)", texts[0])
    if version is None:
        return None, f"{found} does not tell its version"
    number = (int(version[1]), int(version[2]))
    if not (4, 2) <= number < (9, 0):
        return None, f"{found} is QEMU {number[0]}.{number[1]}, and the counting plugin is for 4.2 to 8.2"
    if "-plugin" not in texts[1]:
        return None, f"{found} loads no plugins"
    return found, ""


def _sources() -> dict[str, Path]:
    """Return the modules that a board needs, by their place in the folder: the core's light ones and profiling's."""
    found: dict[str, Path] = {}
    core, profiling = Path(edgelnn.__path__[0]), Path(edgelnn_profiling.__path__[0])
    for home, pattern in ((core, "*.py"), (profiling, "**/*.py")):
        for source in sorted(home.glob(pattern)):
            found[str(source.relative_to(home.parent))] = source
    return found


def _forget_old(folder: Path) -> None:
    """Remove what older versions of edgelnn left, all but the newest."""
    entries = sorted((e for e in folder.iterdir() if not e.name.startswith(".")), key=lambda e: e.stat().st_mtime)
    for entry in entries[:-MOST_STAGED]:
        shutil.rmtree(entry, ignore_errors=True)
