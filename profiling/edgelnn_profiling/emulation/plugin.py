"""The counting plugin, compiled from the source that travels with this package when it is first needed."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from edgelnn.atomic import write_bytes_atomically
from edgelnn.errors import ProfileError, WriteError

__all__ = ["built_plugin", "plugin_source"]


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
    digest = hashlib.sha256(source.read_bytes() + source.with_name("a64_classes.h").read_bytes()).hexdigest()
    plugin = folder / f"libicount-{digest[:16]}.so"
    if plugin.exists():
        return plugin
    compiler = os.environ.get("CC") or next((name for name in ("cc", "gcc", "clang") if shutil.which(name)), "")
    if not compiler:
        raise ProfileError("counting instructions needs a C compiler once, and there is no cc: install gcc or clang.")
    with tempfile.TemporaryDirectory(prefix="edgelnn-plugin-") as scratch:
        made = Path(scratch) / "plugin.so"
        command = [*compiler.split(), "-O2", "-shared", "-fPIC", "-o", str(made), str(source)]
        try:
            done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
        except OSError as error:
            raise ProfileError(f"cannot start the C compiler {compiler}: {error.strerror}.") from error
        if done.returncode != 0:
            said = (done.stderr.strip().splitlines() or ["nothing was said"])[0]
            raise ProfileError(f"{compiler} cannot compile the counting plugin {source}: {said[:300]}")
        content = made.read_bytes()
    try:
        write_bytes_atomically(plugin, content)
    except WriteError as error:
        raise WriteError(f"{error} The counting plugin is kept there.") from error
    return plugin
