"""Memory that a training frees, kept by the process instead of given back to the system with every tensor."""

from __future__ import annotations

import contextlib
import ctypes
import os
from collections.abc import Iterator
from typing import Final

__all__ = ["freed_memory_kept"]

_TRIM_THRESHOLD: Final = -1  # M_TRIM_THRESHOLD and M_MMAP_THRESHOLD of malloc.h
_MMAP_THRESHOLD: Final = -3
_LARGE: Final = 2**30
_LARGEST_FOR_OLD: Final = 2**25  # older versions refuse more; as far as glibc goes by itself, too
_VARIABLES: Final = ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "GLIBC_TUNABLES")


@contextlib.contextmanager
def freed_memory_kept() -> Iterator[bool]:
    """Let glibc keep freed memory while this lasts, and give it back at the end.

    The activations of a batch are freed and wanted again at every step. glibc gives large blocks back to the system at
    once, and the system clears each of their pages anew: up to half the time of a step of a small network. No number
    changes. ``mallopt(3)`` describes the two settings. Where they are made in the environment already, and where the C
    library is another one, nothing is done. At the end both stand where glibc's own adjustment would take them.

    Yields:
        Whether blocks are kept.
    """
    libc = None if any(name in os.environ for name in _VARIABLES) else _glibc()
    if libc is None:
        yield False
        return
    kept = libc.mallopt(_MMAP_THRESHOLD, _LARGE) or libc.mallopt(_MMAP_THRESHOLD, _LARGEST_FOR_OLD)
    libc.mallopt(_TRIM_THRESHOLD, _LARGE)
    try:
        yield bool(kept)
    finally:
        libc.mallopt(_MMAP_THRESHOLD, _LARGEST_FOR_OLD)
        libc.mallopt(_TRIM_THRESHOLD, 2 * _LARGEST_FOR_OLD)
        libc.malloc_trim(0)


def _glibc() -> ctypes.CDLL | None:
    """Return the C library of this process where it is glibc."""
    try:
        libc = ctypes.CDLL(None)
    except (OSError, TypeError):  # Windows has no library of that name
        return None
    return libc if hasattr(libc, "mallopt") and hasattr(libc, "malloc_trim") else None
