"""Wheels for a board, found and downloaded here: the board needs neither pip nor a network."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import zipfile
from collections.abc import Sequence
from pathlib import Path

from edgelnn.errors import BoardError
from edgelnn_profiling.remote.facts import BoardFacts

__all__ = ["download_wheels", "platform_tags", "unpacked_bytes"]

_OLDEST_GLIBC = 17  # of manylinux2014
_TIMEOUT_S = 900.0


def platform_tags(facts: BoardFacts) -> list[str]:
    """Return the tags of wheels that run on a board, the newest first.

    >>> from edgelnn_profiling.remote.facts import BoardFacts
    >>> pi = BoardFacts(0.0, "", 0, "aarch64", 64, "Linux", "3.11.2", "cpython", "cp311", "", "2.18", True, {}, (), 0)
    >>> platform_tags(pi)
    ['manylinux_2_18_aarch64', 'manylinux_2_17_aarch64', 'manylinux2014_aarch64', 'linux_aarch64']
    """
    newest = int(facts.glibc.split(".")[1]) if facts.glibc.startswith("2.") else _OLDEST_GLIBC
    tags = [f"manylinux_2_{minor}_{facts.wheel_machine}" for minor in range(newest, _OLDEST_GLIBC - 1, -1)]
    return [*tags, f"manylinux2014_{facts.wheel_machine}", f"linux_{facts.wheel_machine}"]


def download_wheels(facts: BoardFacts, requirements: Sequence[str], folder: Path) -> list[Path]:
    """Return wheels that fulfil requirements on a board, downloaded into a folder.

    Args:
        facts: Of the board.
        requirements: As pip takes them.
        folder: Where to put them.

    Raises:
        BoardError: pip is missing here, or does not find them; the message holds its last word.
    """
    if importlib.util.find_spec("pip") is None:
        raise BoardError(f"{sys.executable} has no pip to find wheels with: {sys.executable} -m ensurepip.")
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-input"]
    command += ["--dest", str(folder), "--only-binary=:all:", "--implementation", "cp"]
    command += ["--python-version", ".".join(facts.python.split(".")[:2])]
    for abi in (facts.abi, "abi3", "none"):
        command += ["--abi", abi]
    for tag in platform_tags(facts):
        command += ["--platform", tag]
    if facts.arm32:  # There is no wheel of numpy for it, so the board's own serves.
        command.append("--no-deps")
    try:
        done = subprocess.run(
            [*command, *requirements], capture_output=True, text=True, errors="replace", timeout=_TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise BoardError(f"pip did not download {', '.join(requirements)} within {_TIMEOUT_S:g} s.") from error
    if done.returncode != 0:
        said = [line for line in done.stderr.splitlines() if line.startswith("ERROR")] or done.stderr.splitlines()
        last = (said or ["nothing"])[0].removeprefix("ERROR: ")[:300].rstrip(".")
        raise BoardError(f"no wheels of {', '.join(requirements)} for {facts.words} were found from here ({last}).")
    return sorted(folder.glob("*.whl"))


def unpacked_bytes(wheels: Sequence[Path]) -> int:
    """Return how much room wheels take when they are unpacked, the files themselves for the moment included.

    Raises:
        BoardError: One is damaged.
    """
    total = sum(wheel.stat().st_size for wheel in wheels)
    for wheel in wheels:
        try:
            with zipfile.ZipFile(wheel) as archive:
                total += sum(member.file_size for member in archive.infolist())
        except zipfile.BadZipFile as error:
            raise BoardError(f"{wheel.name} is damaged ({error}); run the command again.") from error
    return total
