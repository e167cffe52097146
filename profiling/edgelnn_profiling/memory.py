"""How much memory this process takes, from /proc; None where the system does not tell.

Standard library alone, and little of it: what is measured should be the model, not the measuring.
"""

from __future__ import annotations

import os

__all__ = ["current_bytes", "peak_bytes", "swapped_bytes"]


def current_bytes(process: str = "/proc/self") -> tuple[int | None, int | None]:
    """Return the resident (RSS) and the proportional (PSS) size of a process, in bytes.

    PSS counts a page that k processes share as 1/k of a page. Only ``smaps_rollup`` (Linux 4.14) has it; ``statm``
    serves where that is missing or may not be read.
    """
    try:
        with open(f"{process}/smaps_rollup", encoding="ascii") as file:
            sizes = dict(_kilobytes(line) for line in file if line.endswith("kB\n"))
        return sizes.get("Rss"), sizes.get("Pss")
    except (OSError, ValueError):
        pass  # An older or closed kernel: the simpler source is next.
    try:
        with open(f"{process}/statm", encoding="ascii") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE"), None
    except (OSError, ValueError, IndexError):
        return None, None


def peak_bytes(process: str = "/proc/self") -> int | None:
    """Return the largest resident size that a process has had, in bytes.

    Not ``ru_maxrss``: a child begins with its parent's there.
    """
    return _status(process, "VmHWM")


def swapped_bytes(process: str = "/proc/self") -> int | None:
    """Return how much of a process is in swap, in bytes."""
    return _status(process, "VmSwap")


def _status(process: str, name: str) -> int | None:
    try:
        with open(f"{process}/status", encoding="utf-8", errors="replace") as file:
            for line in file:
                if line.startswith(name + ":"):
                    return _kilobytes(line)[1]
    except (OSError, ValueError):
        pass
    return None


def _kilobytes(line: str) -> tuple[str, int]:
    """Return the name and the bytes of a line such as ``Rss:  1234 kB``."""
    name, _, rest = line.partition(":")
    return name, int(rest.split()[0]) * 1024
