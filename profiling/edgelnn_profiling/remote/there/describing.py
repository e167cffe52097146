"""What the board says of itself."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import platform
import shutil
import struct
import sys
import sysconfig
import time
from pathlib import Path
from typing import Any

from edgelnn_profiling.remote.there.folders import NOTE

__all__ = ["describe_board", "versions"]

PACKAGES = ("numpy", "onnxruntime", "ai-edge-litert", "tflite-runtime")


def describe_board(root: Path) -> dict[str, Any]:
    """Return what this board is and has, installed packages in our folder among it."""
    sites = []
    for folder in sorted(root.glob("site-*")):
        if (folder / NOTE).is_file():
            sites.append({"name": folder.name, "path": str(folder), "packages": versions([str(folder)])})
    free_threaded = "t" if sysconfig.get_config_var("Py_GIL_DISABLED") else ""
    return {
        "time_s": time.time(),
        "root": str(root),
        "free_bytes": shutil.disk_usage(root).free,
        "machine": platform.machine(),
        "bits": struct.calcsize("P") * 8,
        "system": platform.system(),
        "python": platform.python_version(),
        "implementation": sys.implementation.name,
        "abi": f"cp{sys.version_info[0]}{sys.version_info[1]}{free_threaded}",
        "executable": sys.executable,
        "glibc": _glibc(),
        "pip": importlib.util.find_spec("pip") is not None,
        "packages": versions(sys.path),
        "sites": sites,
    }


def versions(path: list[str]) -> dict[str, str]:
    """Return the versions of the packages that matter among those installed in folders."""
    found: dict[str, str] = {}
    for name in PACKAGES:
        for distribution in importlib.metadata.distributions(name=name, path=path):
            found.setdefault(name, distribution.version)
    return found


def _glibc() -> str:
    """Return the version of the GNU C library, or nothing where another one serves."""
    try:
        name, _, version = (os.confstr("CS_GNU_LIBC_VERSION") or "").partition(" ")
    except (ValueError, OSError):
        return ""
    return version if name == "glibc" else ""
