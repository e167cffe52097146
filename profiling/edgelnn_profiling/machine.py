"""What machine this is: board, CPU, memory, system. What a source does not tell is None, never guessed.

Every path is taken under a root that can be another folder, so that tests read the files of boards that are not there.
"""

from __future__ import annotations

import os
import platform
import struct
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from edgelnn_profiling.emulator import is_emulated

__all__ = ["Machine", "MachineFiles", "is_arm32", "read_machine"]

_ARM_PARTS = {
    "0xb76": "ARM1176",
    "0xc07": "Cortex-A7",
    "0xc08": "Cortex-A8",
    "0xc09": "Cortex-A9",
    "0xd03": "Cortex-A53",
    "0xd04": "Cortex-A35",
    "0xd05": "Cortex-A55",
    "0xd07": "Cortex-A57",
    "0xd08": "Cortex-A72",
    "0xd09": "Cortex-A73",
    "0xd0a": "Cortex-A75",
    "0xd0b": "Cortex-A76",
    "0xd0c": "Neoverse-N1",
    "0xd0d": "Cortex-A77",
    "0xd40": "Neoverse-V1",
    "0xd41": "Cortex-A78",
    "0xd49": "Neoverse-N2",
}
# Of the dozens of CPU features, those that decide which kernels a runtime takes.
_TELLING = frozenset(
    "neon asimd asimdhp asimddp asimdfhm i8mm bf16 sve sve2 fphp vfpv4 "
    "sse4_1 sse4_2 avx avx2 fma f16c avx_vnni avx512f avx512bw avx512_vnni amx_int8 hypervisor".split()
)


@dataclass(frozen=True)
class Machine:
    """What does not change while one measures.

    Attributes:
        board: Its name in the device tree, such as ``Raspberry Pi 4 Model B Rev 1.2``.
        cpu: Model of the CPU.
        features: Of the CPU's features those that matter to runtimes, sorted.
        architecture: ``aarch64``, ``x86_64``, …, of the kernel.
        bits: Of this Python: 32 or 64. A kernel of 64 bits can carry a system of 32.
        emulated: Whether an emulator of another CPU was noticed underneath.
        cores: CPUs that this process may use.
        clock_min_hz, clock_max_hz: Limits of the first CPU's clock.
        memory_bytes, swap_bytes: In all.
        system: Name of the operating system's release.
        kernel: Its version.
        python: Version of Python.
        versions: Of numpy and edgelnn.
    """

    board: str | None
    cpu: str | None
    features: tuple[str, ...]
    architecture: str
    bits: int
    emulated: bool
    cores: int
    clock_min_hz: int | None
    clock_max_hz: int | None
    memory_bytes: int | None
    swap_bytes: int | None
    system: str | None
    kernel: str
    python: str
    versions: Mapping[str, str]


class MachineFiles:
    """Small text files of a system, read under a root."""

    def __init__(self, root: str | os.PathLike[str] = "/") -> None:
        self.root = Path(root)

    def text(self, path: str) -> str | None:
        """Return what a file holds, without white space and nulls around it; None where it is missing or empty."""
        try:
            with open(self.root / path, "rb") as file:
                found = file.read(1 << 20).decode("utf-8", errors="replace").strip("\0 \t\r\n")
        except OSError:
            return None
        return found or None

    def number(self, path: str) -> int | None:
        """Return the whole number that a file holds; None where it holds none."""
        return whole_number(self.text(path))

    def matching(self, pattern: str) -> list[str]:
        """Return the paths under the root that match a pattern, in the order of the numbers in their names."""
        found = [str(path.relative_to(self.root)) for path in self.root.glob(pattern)]
        return sorted(found, key=lambda path: (len(path), path))


def whole_number(text: str | None) -> int | None:
    """Return the number that a text is, or None."""
    try:
        return None if text is None else int(text)
    except ValueError:
        return None


def read_machine(root: str | os.PathLike[str] = "/") -> Machine:
    """Return what can be found out about this machine.

    Args:
        root: Folder that holds ``proc``, ``sys`` and ``etc``; what comes from Python itself is this machine's anyway.

    >>> read_machine().bits in (32, 64)
    True
    """
    files = MachineFiles(root)
    processors = _cpuinfo(files.text("proc/cpuinfo"))
    memory = _kilobyte_table(files.text("proc/meminfo"))
    first = processors[0] if processors else {}
    flags = set((first.get("Features") or first.get("flags") or "").split())
    frequency = "sys/devices/system/cpu/cpu0/cpufreq"
    return Machine(
        board=files.text("proc/device-tree/model") or files.text("sys/firmware/devicetree/base/model"),
        cpu=_cpu_name(processors),
        features=tuple(sorted(flags & _TELLING)),
        architecture=platform.machine(),
        bits=struct.calcsize("P") * 8,
        emulated=is_emulated(),
        cores=usable_cores(),
        clock_min_hz=_kilohertz(files.number(f"{frequency}/cpuinfo_min_freq")),
        clock_max_hz=_kilohertz(files.number(f"{frequency}/cpuinfo_max_freq")),
        memory_bytes=memory.get("MemTotal"),
        swap_bytes=memory.get("SwapTotal"),
        system=_release_name(files.text("etc/os-release")),
        kernel=platform.release(),
        python=platform.python_version(),
        versions=_versions(),
    )


def usable_cores() -> int:
    """Return the number of CPUs that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def is_arm32() -> bool:
    """Return whether this Python is a 32-bit ARM one, also where the kernel has 64 bits."""
    machine = platform.machine().lower()
    return struct.calcsize("P") == 4 and (machine.startswith("arm") or machine == "aarch64")


def _cpuinfo(text: str | None) -> list[dict[str, str]]:
    """Return one table for each paragraph of /proc/cpuinfo that speaks of a processor."""
    tables = []
    for paragraph in (text or "").split("\n\n"):
        pairs = (line.partition(":") for line in paragraph.splitlines() if ":" in line)
        table = {name.strip(): value.strip() for name, _, value in pairs}
        if "processor" in table:
            tables.append(table)
    return tables


def _cpu_name(processors: list[dict[str, str]]) -> str | None:
    """Return the model's name, or the names of an ARM machine's kinds of core, the most frequent first."""
    names: dict[str, int] = {}
    for table in processors:
        name: str | None = table.get("model name")
        if table.get("CPU implementer") == "0x41":
            name = _ARM_PARTS.get(table.get("CPU part", "").lower(), name)
        if name:
            names[name] = names.get(name, 0) + 1
    return " + ".join(sorted(names, key=lambda name: -names[name])) or None


def _kilobyte_table(text: str | None) -> dict[str, int]:
    """Return the bytes of every line such as ``MemTotal:  1234 kB``."""
    table = {}
    for line in (text or "").splitlines():
        name, _, rest = line.partition(":")
        words = rest.split()
        if len(words) == 2 and words[1] == "kB" and words[0].isdigit():
            table[name] = int(words[0]) * 1024
    return table


def _release_name(text: str | None) -> str | None:
    for line in (text or "").splitlines():
        name, _, value = line.partition("=")
        if name == "PRETTY_NAME":
            return value.strip().strip("\"'") or None
    return None


def _kilohertz(value: int | None) -> int | None:
    return None if value is None or value <= 0 else value * 1000


def _versions() -> dict[str, str]:
    import edgelnn

    versions = {"edgelnn": edgelnn.__version__}
    numpy = sys.modules.get("numpy")
    if numpy is not None:
        versions["numpy"] = str(numpy.__version__)
    return versions
