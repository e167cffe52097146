"""What changes while one measures: clock, temperature, throttling, load, swap; before, during and after."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass

from edgelnn_profiling.machine import MachineFiles, whole_number
from edgelnn_profiling.vcgencmd import ask_vcgencmd

__all__ = ["THROTTLING", "Activity", "ActivityCounters", "State", "read_activity", "read_state"]

THROTTLING = {0: "under-voltage", 1: "frequency capped", 2: "throttled", 3: "soft temperature limit"}
"""Bits of ``vcgencmd get_throttled``; the same 16 higher mean that it has happened since the board was started."""

Command = Callable[[], str | None]


@dataclass(frozen=True)
class State:
    """How the machine is at one moment; None where it does not tell.

    Attributes:
        clocks_hz: Of every CPU that tells.
        governor: Of the first CPU's clock: ``performance``, ``ondemand``, …
        temperature_c: Of the CPU, in degrees Celsius.
        throttled: Bits as in `THROTTLING`, of a Raspberry Pi.
        load: Average number of processes that ran or wanted to, over the last minute.
        memory_available_bytes: Could be had without swapping.
        swap_used_bytes: By the whole system.
    """

    clocks_hz: tuple[int, ...]
    governor: str | None
    temperature_c: float | None
    throttled: int | None
    load: float | None
    memory_available_bytes: int | None
    swap_used_bytes: int | None

    @property
    def throttling(self) -> tuple[str, ...]:
        """What holds the CPU back at this moment, in words."""
        return tuple(words for bit, words in THROTTLING.items() if (self.throttled or 0) >> bit & 1)


@dataclass(frozen=True)
class ActivityCounters:
    """Counters of the system at one moment, in seconds of CPU time and pages; None where it does not count."""

    busy_s: float | None
    stolen_s: float | None
    swapped_pages: int | None


@dataclass(frozen=True)
class Activity:
    """What everyone did during an interval.

    Attributes:
        duration_s: Of the interval.
        own_cpus: CPUs that this process kept busy, on average.
        other_cpus: CPUs that all others kept busy, a hypervisor among them; None where the system does not tell.
        swapped_pages: Pages that the system moved to swap or back; None where it does not tell.
    """

    duration_s: float
    own_cpus: float
    other_cpus: float | None
    swapped_pages: int | None

    @classmethod
    def between(cls, before: ActivityCounters, after: ActivityCounters, *, duration_s: float, own_s: float) -> Activity:
        """Return what went on between two readings, during which this process used `own_s` seconds of CPU time.

        >>> idle, busy = ActivityCounters(10.0, 0.0, 0), ActivityCounters(13.0, 0.5, 4)
        >>> Activity.between(idle, busy, duration_s=2.0, own_s=1.5)
        Activity(duration_s=2.0, own_cpus=0.75, other_cpus=1.0, swapped_pages=4)
        """
        duration = max(duration_s, 1e-9)
        others = None
        if before.busy_s is not None and after.busy_s is not None:
            stolen = (after.stolen_s or 0.0) - (before.stolen_s or 0.0)
            others = max(0.0, after.busy_s - before.busy_s + stolen - own_s) / duration
        swapped = None
        if before.swapped_pages is not None and after.swapped_pages is not None:
            swapped = max(0, after.swapped_pages - before.swapped_pages)
        return cls(duration_s, own_s / duration, others, swapped)


def read_state(root: str | os.PathLike[str] = "/", *, get_throttled: Command | None = None) -> State:
    """Return how the machine is now.

    Args:
        root: Folder that holds ``proc`` and ``sys``.
        get_throttled: Answers what ``vcgencmd get_throttled`` prints; the command itself, unless `root` is not ours.
    """
    files = MachineFiles(root)
    cpufreq = "sys/devices/system/cpu"
    if get_throttled is None:
        get_throttled = _ask_firmware if files.root == files.root.__class__("/") else _say_nothing
    memory = files.text("proc/meminfo")
    swap_total, swap_free = _meminfo(memory, "SwapTotal"), _meminfo(memory, "SwapFree")
    return State(
        clocks_hz=read_clocks(files),
        governor=files.text(f"{cpufreq}/cpu0/cpufreq/scaling_governor"),
        temperature_c=_temperature(files),
        throttled=_throttled(files, get_throttled),
        load=_first_number(files.text("proc/loadavg")),
        memory_available_bytes=_meminfo(memory, "MemAvailable"),
        swap_used_bytes=None if swap_total is None or swap_free is None else swap_total - swap_free,
    )


def read_clocks(files: MachineFiles) -> tuple[int, ...]:
    """Return the present clock of every CPU that tells, in hertz."""
    found = []
    for path in files.matching("sys/devices/system/cpu/cpu[0-9]*/cpufreq/scaling_cur_freq"):
        value = files.number(path)
        if value:
            found.append(value * 1000)
    return tuple(found)


def read_activity(root: str | os.PathLike[str] = "/") -> ActivityCounters:
    """Return the system's counters now."""
    files = MachineFiles(root)
    busy = stolen = None
    words = (files.text("proc/stat") or "").partition("\n")[0].split()
    if len(words) >= 9 and words[0] == "cpu" and all(word.isdigit() for word in words[1:]):
        user, nice, system, _idle, _wait, interrupts, soft_interrupts, steal = (int(word) for word in words[1:9])
        per_second = os.sysconf("SC_CLK_TCK")
        busy = (user + nice + system + interrupts + soft_interrupts) / per_second
        stolen = steal / per_second
    pages = None
    for line in (files.text("proc/vmstat") or "").splitlines():
        name, _, value = line.partition(" ")
        if name in ("pswpin", "pswpout") and value.isdigit():
            pages = (pages or 0) + int(value)
    return ActivityCounters(busy, stolen, pages)


def _temperature(files: MachineFiles) -> float | None:
    """Return the temperature of the thermal zone that is the CPU's, else None."""
    for zone in files.matching("sys/class/thermal/thermal_zone[0-9]*"):
        kind = (files.text(f"{zone}/type") or "").lower()
        if any(word in kind for word in ("cpu", "x86_pkg", "soc", "k10temp")):
            value = files.number(f"{zone}/temp")
            if value is not None:
                return value / 1000
    return None


def _throttled(files: MachineFiles, get_throttled: Command) -> int | None:
    """Return the firmware's bits, from its command or from the file that older kernels have."""
    said = get_throttled() or files.text("sys/devices/platform/soc/soc:firmware/get_throttled")
    if said is None:
        return None
    try:
        return int(said.strip().rpartition("=")[2], 16)
    except ValueError:
        return None


def _ask_firmware() -> str | None:
    return ask_vcgencmd("get_throttled")


def _say_nothing() -> str | None:
    return None


def _meminfo(text: str | None, name: str) -> int | None:
    for line in (text or "").splitlines():
        if line.startswith(name + ":"):
            value = whole_number(line.partition(":")[2].split()[0])
            return None if value is None else value * 1024
    return None


def _first_number(text: str | None) -> float | None:
    try:
        return None if text is None else float(text.split()[0])
    except ValueError:
        return None
