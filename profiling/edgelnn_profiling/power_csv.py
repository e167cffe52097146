"""The readings of an external power meter, from a CSV file of times and watts, laid over windows by the wall clock.

    time,watts
    1732450000.0,3.12
    2024-11-24T12:06:40.5+00:00,3.09

Times are seconds since 1970, or ISO 8601 with an offset from UTC. Meter and measured machine must agree on the time.
"""

from __future__ import annotations

import csv
import math
import os
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import pairwise
from pathlib import Path

from edgelnn.errors import ConfigError, ProfileError
from edgelnn_profiling.energy import Energy, EnergyWindow, estimate_energy

__all__ = ["PowerReadings", "read_power_csv"]

MAX_BYTES = 200_000_000
LEAST_READINGS = 5
_EXPECTED = (
    "expected a first line 'time,watts' and then times (seconds since 1970, or ISO 8601 with an offset) and watts"
)


@dataclass(frozen=True)
class PowerReadings:
    """What a meter read.

    Attributes:
        name: Of the file.
        times: Seconds since 1970, ascending.
        watts: At these times.
    """

    name: str
    times: tuple[float, ...]
    watts: tuple[float, ...]

    def energy_j(self, start: float, end: float) -> tuple[float, int]:
        """Return the energy between two times, in joules, and how many readings lie between them.

        Between readings the power is taken to change evenly.

        Raises:
            ProfileError: The readings do not cover that time, or are too few in it.

        >>> PowerReadings("m.csv", tuple(range(11)), (2.0,) * 11).energy_j(1.5, 9.5)
        (16.0, 8)
        """
        first, last = bisect_left(self.times, start), bisect_right(self.times, end)
        if not self.times or self.times[0] > start or self.times[-1] < end:
            covers = f"from {_shown(self.times[0])} to {_shown(self.times[-1])}" if self.times else "nothing"
            raise ProfileError(
                f"the readings in {self.name} cover {covers}; the measurement ran from {_shown(start)} to {_shown(end)}"
                ". Let the meter run from before to after it, and set the clocks of meter and machine alike."
            )
        if last - first < LEAST_READINGS:
            raise ProfileError(
                f"{self.name} has {last - first} readings in a window of {end - start:.1f} s; expected "
                f"{LEAST_READINGS} or more. Read more often, or make windows longer with --energy-window."
            )
        points = [
            (start, self._at(start)),
            *zip(self.times[first:last], self.watts[first:last], strict=True),
            (end, self._at(end)),
        ]
        return sum((b[0] - a[0]) * (a[1] + b[1]) / 2 for a, b in pairwise(points)), last - first

    def _at(self, time: float) -> float:
        after = min(max(bisect_left(self.times, time), 1), len(self.times) - 1)
        (t0, t1), (w0, w1) = self.times[after - 1 : after + 1], self.watts[after - 1 : after + 1]
        return w0 + (w1 - w0) * (time - t0) / (t1 - t0)

    def estimate(self, windows: Sequence[EnergyWindow], *, other_cpus: float | None = None) -> Energy:
        """Return the estimate for windows of which only the times are known.

        Raises:
            ProfileError: The readings do not cover them.
        """
        measured = []
        for window in windows:
            energy, count = self.energy_j(window.start, window.start + window.duration_s)
            measured.append(replace(window, energy_j=energy, readings=count))
        words = (
            f"an external meter's readings in {self.name}, laid over the windows by the clock of the measured machine"
        )
        return estimate_energy(measured, source="csv", rests_on=words, other_cpus=other_cpus)


def read_power_csv(path: str | os.PathLike[str]) -> PowerReadings:
    """Return the readings in a file.

    Raises:
        ConfigError: It cannot be read, or is not what is expected; the message names the line.
    """
    file = Path(path)
    try:
        if file.stat().st_size > MAX_BYTES:
            raise ConfigError(f"{path} has {file.stat().st_size} bytes; more than {MAX_BYTES} of readings are refused.")
        text = file.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is no text; {_EXPECTED}.") from error
    # A last line without its end may be one that the meter is writing at this moment.
    text = text[: text.rfind("\n") + 1]
    times: list[float] = []
    watts: list[float] = []
    for line, time, power in _rows(text, str(path)):
        if times and time <= times[-1]:
            raise ConfigError(f"{path}, line {line}: got a time that is not after the one before; sort the readings.")
        times.append(time)
        watts.append(power)
    if len(times) < 2:
        raise ConfigError(f"{path} holds {len(times)} readings; {_EXPECTED}, two or more.")
    return PowerReadings(file.name, tuple(times), tuple(watts))


def _rows(text: str, name: str) -> Iterator[tuple[int, float, float]]:
    rows = csv.reader(text.splitlines())
    try:
        heading = [cell.strip().lower() for cell in next(rows, [])]
        if heading != ["time", "watts"]:
            raise ConfigError(f"{name} begins with {','.join(heading)[:80]!r}; {_EXPECTED}.")
        for row in rows:
            if not any(cell.strip() for cell in row):
                continue
            time, power = (_time(row[0]), _number(row[1])) if len(row) == 2 else (None, None)
            if time is None or power is None or power < 0:
                raise ConfigError(f"{name}, line {rows.line_num}: got {','.join(row)[:80]!r}; {_EXPECTED}.")
            yield rows.line_num, time, power
    except csv.Error as error:
        raise ConfigError(f"{name}, line {rows.line_num}: {error}; {_EXPECTED}.") from error


def _time(text: str) -> float | None:
    number = _number(text)
    if number is not None:
        return number
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError:
        return None
    return None if moment.tzinfo is None else moment.timestamp()


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _shown(time: float) -> str:
    try:
        return datetime.fromtimestamp(time).astimezone().isoformat(timespec="seconds")
    except (OverflowError, OSError, ValueError):
        return f"{time:g}"
