"""The counting plugin, and the clock of counted programs: compiled when first needed, from sources in this package."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from edgelnn.atomic import write_bytes_atomically
from edgelnn.errors import ProfileError, WriteError

__all__ = ["built_clock", "built_plugin", "plugin_source"]


def plugin_source() -> Path:
    """Return the path of the counting plugin's C source."""
    return Path(__file__).parent / "icount.c"


def built_plugin(folder: Path) -> Path:
    """Return the compiled plugin, from a folder if it is there and is compiled from today's source, else compiled now.

    Args:
        folder: Where to keep it.

    Raises:
        ProfileError: There is no C compiler, or it fails.
        WriteError: It cannot be written there.
    """
    source = plugin_source()
    return _built(source, [source.with_name("a64_classes.h")], folder, what="the counting plugin")


def built_clock(folder: Path) -> Path:
    """Return the compiled clock of counted programs (see `steady_clock.c`), likewise.

    Args:
        folder: Where to keep it.

    Raises:
        ProfileError: There is no C compiler, or it fails.
        WriteError: It cannot be written there.
    """
    return _built(plugin_source().with_name("steady_clock.c"), [], folder, "-nostdlib", what="the clock")


def _built(source: Path, headers: Sequence[Path], folder: Path, *options: str, what: str) -> Path:
    digest = hashlib.sha256(b"".join(file.read_bytes() for file in (source, *headers))).hexdigest()
    library = folder / f"lib{source.stem}-{digest[:16]}.so"
    if library.exists():
        return library
    compiler = os.environ.get("CC") or next((name for name in ("cc", "gcc", "clang") if shutil.which(name)), "")
    if not compiler:
        raise ProfileError("counting instructions needs a C compiler once, and there is no cc: install gcc or clang.")
    with tempfile.TemporaryDirectory(prefix="edgelnn-plugin-") as scratch:
        made = Path(scratch) / library.name
        command = [*compiler.split(), "-O2", "-shared", "-fPIC", *options, "-o", str(made), str(source)]
        try:
            done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
        except OSError as error:
            raise ProfileError(f"cannot start the C compiler {compiler}: {error.strerror}.") from error
        if done.returncode != 0:
            said = (done.stderr.strip().splitlines() or ["nothing was said"])[0]
            raise ProfileError(f"{compiler} cannot compile {what} {source}: {said[:300]}")
        content = made.read_bytes()
    try:
        write_bytes_atomically(library, content)
    except WriteError as error:
        raise WriteError(f"{error} {what.capitalize()} is kept there.") from error
    return library
