"""Whether this process runs under an emulator of another CPU, where times and memory mean nothing."""

from __future__ import annotations

import os
import platform
import struct
from collections.abc import Callable, Mapping

__all__ = ["is_emulated"]

_VDSO = 33  # AT_SYSINFO_EHDR in <linux/auxvec.h>


def is_emulated(
    environment: Mapping[str, str] | None = None,
    architecture: str | None = None,
    auxiliary: Callable[[int], int] | None = None,
) -> bool:
    """Return whether QEMU's user mode carries this ARM process, as far as that can be told.

    It can where QEMU was told by variables which CPU to be, or where to find libraries; and with 64 bits, where every
    kernel maps its vDSO into every process and QEMU before 8.2 maps none.

    Args:
        environment: Variables; this process's unless given.
        architecture: As the kernel names it; this one's unless given.
        auxiliary: From a number to the value the kernel handed to this process (``getauxval``).

    >>> is_emulated({"QEMU_CPU": "cortex-a72"}, "aarch64")
    True
    >>> is_emulated({}, "aarch64", lambda number: 0)
    True
    >>> is_emulated({}, "x86_64")
    False
    """
    environment = os.environ if environment is None else environment
    architecture = platform.machine() if architecture is None else architecture
    if not architecture.startswith(("arm", "aarch64")):
        return False
    if any(name in environment for name in ("QEMU_CPU", "QEMU_LD_PREFIX")):
        return True
    if struct.calcsize("P") != 8:  # 32-bit programs are given no vDSO by many sound kernels.
        return False
    return (_auxiliary() if auxiliary is None else auxiliary)(_VDSO) == 0


def _auxiliary() -> Callable[[int], int]:
    """Return the C library's ``getauxval``; where there is none, a function that finds nothing wrong."""
    import ctypes  # A megabyte that a process whose memory is measured should not carry.

    try:
        function = ctypes.CDLL(None).getauxval
    except (AttributeError, OSError):
        return lambda number: 1
    function.restype, function.argtypes = ctypes.c_ulong, [ctypes.c_ulong]
    return lambda number: int(function(number))
