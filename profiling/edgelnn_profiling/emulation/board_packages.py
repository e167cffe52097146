"""Python packages for a board, resolved and fetched by this machine's pip for the board's platform."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from edgelnn.errors import ProfileError

__all__ = ["SITES", "Site", "fetch_wheels", "unpack_wheels"]


@dataclass(frozen=True)
class Site:
    """A folder of Python packages.

    Attributes:
        name: Of the folder, below the board's /opt.
        requirements: As pip takes them; runtimes are fixed, since counts depend on them.
        platforms: Tags that pip accepts for the board.
        with_dependencies: Whether what these need is fetched too.
    """

    name: str
    requirements: tuple[str, ...]
    platforms: tuple[str, ...]
    with_dependencies: bool = True


_AARCH64 = tuple(
    f"manylinux{tag}_aarch64"
    for tag in ("2014", "_2_17", "_2_26", "_2_27", "_2_28", "_2_31", "_2_34", "_2_35", "_2_36")
)
_ARMV7 = ("manylinux_2_34_armv7l", "manylinux_2_31_armv7l", "manylinux2014_armv7l")
SITES = {
    "a64": (
        Site("site", ("numpy>=2,<3", "onnxruntime==1.31.1", "ai-edge-litert==2.3.0", "typer"), _AARCH64),
        Site("site_tfl", ("numpy<2", "tflite-runtime==2.14.0", "typer"), _AARCH64),
    ),
    # The numpy is Debian's: there is no wheel of one for this platform, so that pip cannot meet what the runtime needs.
    "a32": (
        Site("site", ("tflite-runtime==2.14.0",), _ARMV7, with_dependencies=False),
        Site("site", ("typer",), _ARMV7),
    ),
}


def fetch_wheels(site: Site, folder: Path) -> list[Path]:
    """Return the wheels of a site.

    Args:
        site: Which.
        folder: Where they are put; what is there already is not fetched again.

    Raises:
        ProfileError: pip is missing, or fails.
    """
    folder.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--dest", str(folder)]
    command += ["--only-binary=:all:", "--python-version", "3.11", "--implementation", "cp"]
    for abi in ("cp311", "abi3", "none"):
        command += ["--abi", abi]
    for platform in site.platforms:
        command += ["--platform", platform]
    if not site.with_dependencies:
        command.append("--no-deps")
    done = subprocess.run([*command, *site.requirements], capture_output=True, text=True, errors="replace", check=False)
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines()
        said = next((line for line in lines if line.startswith("ERROR")), (lines or ["nothing was said"])[-1])
        hint = " Install pip: python -m ensurepip" if "No module named pip" in done.stderr else ""
        raise ProfileError(f"pip cannot fetch {', '.join(site.requirements)} for the board: {said[:400]}{hint}")
    return sorted(folder.glob("*.whl"))


def unpack_wheels(wheels: Sequence[Path], target: Path) -> None:
    """Unpack wheels into a folder of packages.

    Raises:
        ProfileError: One is damaged; it is removed, so that it is fetched anew.
    """
    target.mkdir(parents=True, exist_ok=True)
    for wheel in wheels:
        try:
            with zipfile.ZipFile(wheel) as archive:
                archive.extractall(target)
        except zipfile.BadZipFile as error:
            wheel.unlink(missing_ok=True)
            raise ProfileError(f"{wheel.name} is damaged: {error}. Run the same command again.") from error
