"""What of edgelnn travels to a board: the modules a worker needs, of the very version that asks."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import edgelnn
import edgelnn_profiling

__all__ = ["pack_modules"]

_LEFT_HERE = ("remote", "emulation", "writers")


def pack_modules() -> bytes:
    """Return a zip of the core's light modules and of the profiler, without what only the asking side needs."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        core = Path(edgelnn.__path__[0])
        for path in sorted(core.glob("*.py")):
            archive.write(path, f"edgelnn/{path.name}")
        home = Path(edgelnn_profiling.__path__[0])
        for path in sorted(home.rglob("*.py")):
            inside = path.relative_to(home)
            if inside.parts[0] not in _LEFT_HERE:
                archive.write(path, str(Path("edgelnn_profiling") / inside))
    return packed.getvalue()
