"""Meters that a machine carries itself: the power controller of a Raspberry Pi 5, and RAPL counters of a PC's CPU."""

from __future__ import annotations

import os
import re
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import final

from edgelnn.errors import ProfileError
from edgelnn_profiling.energy import EnergySource
from edgelnn_profiling.machine import MachineFiles
from edgelnn_profiling.vcgencmd import ask_vcgencmd

__all__ = ["AbstractMeter", "PmicMeter", "RaplMeter", "find_meter", "pmic_power_w"]

Ask = Callable[[], str | None]

_RAIL = re.compile(r"^\s*(\w+?)_([AV])\s+(?:current|volt)\(\d+\)=([0-9.]+)[AV]\s*$", re.MULTILINE)
PMIC_SLOPE, PMIC_OFFSET_W = 1.1451, 0.5879
PMIC_PERIOD_S = 0.1
_NO_METER = (
    "this machine does not tell what power it takes (a Raspberry Pi 5 does, and PCs by RAPL); give the readings of an "
    "external meter with --power-csv"
)
_NOT_READABLE = (
    "the machine counts its energy, but only root may read the counters: sudo chmod a+r {} (holds until the next start)"
)


class AbstractMeter(ABC):
    """Something that counts energy between two moments.

    Attributes:
        source: What kind of meter it is.
        rests_on: In words, what its figures rest on.
    """

    source: EnergySource
    rests_on: str

    @abstractmethod
    def start(self) -> None:
        """Begin to count."""

    @abstractmethod
    def stop(self) -> tuple[float, int]:
        """Return the energy since `start`, in joules, and how many readings that rests on.

        Raises:
            ProfileError: The meter could not be read.
        """


def find_meter(
    root: str | os.PathLike[str] = "/", *, ask_pmic: Callable[[], str | None] | None = None
) -> AbstractMeter:
    """Return this machine's meter.

    Args:
        root: Folder that holds ``sys``.
        ask_pmic: Answers what ``vcgencmd pmic_read_adc`` prints; the command itself, unless `root` is not ours.

    Raises:
        ProfileError: There is none, or it may not be read; the message says what to do.
    """
    files = MachineFiles(root)
    ask = ask_pmic or (_ask_pmic if str(files.root) == "/" else lambda: None)
    if pmic_power_w(ask() or "") is not None:
        return PmicMeter(ask)
    return RaplMeter(files)


@final
class PmicMeter(AbstractMeter):
    """The power controller of a Raspberry Pi 5, read ten times a second by a thread beside the inferences.

    The sum of the rails' voltage times current leaves out what the controller does not see; the published correction of
    1.1451 · sum + 0.5879 W brings it to the whole board.
    """

    source = "pmic"
    rests_on = (
        "the rails of the board's power controller (vcgencmd pmic_read_adc), corrected to the whole board: "
        f"{PMIC_SLOPE} · ΣVI + {PMIC_OFFSET_W} W"
    )

    def __init__(self, ask: Ask, *, clock: Callable[[], float] = time.perf_counter) -> None:
        self._ask = ask
        self._clock = clock
        self._readings: list[tuple[float, float]] = []
        self._failed = 0
        self._enough = threading.Event()
        self._thread: threading.Thread | None = None
        self._begin = 0.0

    def start(self) -> None:
        """Begin to read."""
        self._readings, self._failed = [], 0
        self._enough.clear()
        self._begin = self._clock()
        self._thread = threading.Thread(target=self._read_on, daemon=True)
        self._thread.start()

    def _read_on(self) -> None:
        while True:
            asked = self._clock()
            power = pmic_power_w(self._ask() or "")
            if power is None:
                self._failed += 1
            else:
                self._readings.append(((asked + self._clock()) / 2, power))
            if self._enough.wait(PMIC_PERIOD_S):
                return

    def stop(self) -> tuple[float, int]:
        """Return mean power times duration."""
        end = self._clock()
        if self._thread is None:
            raise ProfileError("the power controller was stopped before it was started.")
        self._enough.set()
        self._thread.join()
        self._thread = None
        inside = [power for moment, power in self._readings if moment <= end]
        if not inside or self._failed:
            raise ProfileError(f"vcgencmd pmic_read_adc gave {len(inside)} readings and failed {self._failed} times.")
        return sum(inside) / len(inside) * (end - self._begin), len(inside)


def pmic_power_w(said: str) -> float | None:
    r"""Return the power of the whole board by what ``vcgencmd pmic_read_adc`` prints; None where it holds no rail.

    Rails of which only the voltage is told, such as the input's, count for nothing.

    >>> round(pmic_power_w("VDD_CORE_A current(7)=2.0A\nVDD_CORE_V volt(15)=0.75V\nEXT5V_V volt(24)=5.1V"), 4)
    2.3055
    """
    amperes: dict[str, float] = {}
    volts: dict[str, float] = {}
    for name, unit, value in _RAIL.findall(said):
        try:
            (amperes if unit == "A" else volts)[name] = float(value)
        except ValueError:
            return None
    rails = amperes.keys() & volts.keys()
    if not rails:
        return None
    return PMIC_SLOPE * sum(amperes[name] * volts[name] for name in rails) + PMIC_OFFSET_W


@dataclass(frozen=True)
class _Domain:
    name: str
    path: str
    range_uj: int | None


@final
class RaplMeter(AbstractMeter):
    """The energy counters of a PC's CPU packages, and of its memory where that is counted apart.

    Args:
        files: Under whose root the counters are.

    Raises:
        ProfileError: There are none, or they may not be read.
    """

    source = "rapl"

    def __init__(self, files: MachineFiles) -> None:
        self._files = files
        self._domains = _domains(files)
        if not self._domains:
            raise ProfileError(f"{_NO_METER}.")
        if any(files.number(f"{domain.path}/energy_uj") is None for domain in self._domains):
            where = " ".join(f"{files.root / domain.path}/energy_uj" for domain in self._domains)
            raise ProfileError(f"{_NOT_READABLE.format(where)}.")
        names = ", ".join(domain.name for domain in self._domains)
        self.rests_on = f"RAPL counters of {names}: the CPU's own model of its energy, without the rest of the machine"
        self._before: list[int] = []

    def start(self) -> None:
        """Note where the counters stand."""
        self._before = self._read()

    def stop(self) -> tuple[float, int]:
        """Return how far they have come; a counter that begins anew at the end of its range has passed it once."""
        total = 0
        for domain, before, after in zip(self._domains, self._before, self._read(), strict=True):
            passed = after - before
            if passed < 0:
                if domain.range_uj is None:
                    raise ProfileError(f"the RAPL counter of {domain.name} began anew, and its range is not known.")
                passed += domain.range_uj
            total += passed
        return total / 1e6, 2

    def _read(self) -> list[int]:
        found = [self._files.number(f"{domain.path}/energy_uj") for domain in self._domains]
        if any(value is None for value in found):
            raise ProfileError("a RAPL counter can no longer be read.")
        return [value for value in found if value is not None]


def _domains(files: MachineFiles) -> Sequence[_Domain]:
    """Return the packages, and their memory where it is counted apart; all other domains are within these or beside."""
    found = []
    for path in files.matching("sys/class/powercap/intel-rapl:*"):
        name = files.text(f"{path}/name") or ""
        if name.startswith("package") or name == "dram":
            found.append(_Domain(name, path, files.number(f"{path}/max_energy_range_uj")))
    return found


def _ask_pmic() -> str | None:
    return ask_vcgencmd("pmic_read_adc")
