"""The readings of an external power meter, from a CSV file of times and watts, laid over windows by the wall clock.

    time,watts
    1732450000.0,3.12
    2024-11-24T12:06:40.5+00:00,3.09

Times are seconds since 1970, or ISO 8601 with an offset from UTC. Meter and measured machine must agree on the time, to
`CLOCK_ERROR_S`. Windows touch, an idle one and a busy one, so what is read near their ends may belong to either: it is
left out, as it would make a difference of powers smaller than it is.
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
from statistics import median

from edgelnn.errors import ConfigError, ProfileError
from edgelnn_profiling.energy import Energy, EnergyWindow, estimate_energy

__all__ = ["CLOCK_ERROR_S", "PowerReadings", "read_power_csv"]

MAX_BYTES = 200_000_000
LEAST_READINGS = 5
CLOCK_ERROR_S = 0.25
"""By how much the clocks of meter and measured machine may differ."""
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

    def power_w(self, start: float, end: float) -> tuple[float, int]:
        """Return the mean power well inside a window, in watts, and how many readings that rests on.

        Left out at both ends is what may belong to the window beside it: `CLOCK_ERROR_S`, and the longest time from one
        reading to the next, as a meter may read what was on average since the reading before. Between readings the
        power is taken to change evenly.

        Args:
            start: When the window began, in seconds since 1970.
            end: When it ended.

        Raises:
            ProfileError: The readings do not cover the window, or too few lie inside.

        >>> PowerReadings("m.csv", tuple(range(21)), (2.0,) * 21).power_w(1.0, 19.0)
        (2.0, 15)
        """
        if not self.times or self.times[0] > start or self.times[-1] < end:
            covers = f"from {_shown(self.times[0])} to {_shown(self.times[-1])}" if self.times else "nothing"
            raise ProfileError(
                f"the readings in {self.name} cover {covers}; the measurement ran from {_shown(start)} to {_shown(end)}"
                ". Let the meter run from before to after it, and set the clocks of meter and machine alike."
            )
        around = self.times[bisect_right(self.times, start) - 1 : bisect_left(self.times, end) + 1]
        gap_s = max(after - before for before, after in pairwise(around))
        guard_s = CLOCK_ERROR_S + gap_s
        first, last = bisect_left(self.times, start + guard_s), bisect_right(self.times, end - guard_s)
        if last - first < LEAST_READINGS:
            raise ProfileError(self._too_short(end - start, gap_s, max(0, last - first)))
        inside = list(zip(self.times[first:last], self.watts[first:last], strict=True))
        energy_j = sum((b[0] - a[0]) * (a[1] + b[1]) / 2 for a, b in pairwise(inside))
        return energy_j / (inside[-1][0] - inside[0][0]), len(inside)

    def refuse_short(self, window_s: float) -> None:
        """Refuse windows that these readings will say too little of if the meter goes on as it has begun.

        Raises:
            ConfigError: They are too short for what has to be left out of them and `LEAST_READINGS` besides.
        """
        gap_s = median(after - before for before, after in pairwise(self.times))
        most = math.floor((window_s - 2 * (CLOCK_ERROR_S + gap_s)) / gap_s + 1e-6) + 1
        if most < LEAST_READINGS:
            raise ConfigError(self._too_short(window_s, gap_s, max(0, most)))

    def _too_short(self, window_s: float, gap_s: float, count: int) -> str:
        enough_s = 2 * (CLOCK_ERROR_S + gap_s) + LEAST_READINGS * gap_s
        return (
            f"{self.name} has {count} readings well inside a window of {window_s:.1f} s; expected {LEAST_READINGS} or "
            f"more. Left out at each end are {CLOCK_ERROR_S + gap_s:.2f} s, by which clocks may differ and readings "
            f"lie apart. Read more often, or make windows longer: --energy-window {math.ceil(enough_s * 10) / 10:g}."
        )

    def estimate(self, windows: Sequence[EnergyWindow], *, other_cpus: float | None = None) -> Energy:
        """Return the estimate for windows of which only the times are known.

        Raises:
            ProfileError: The readings do not cover them, or are too few in them.
        """
        measured = []
        for window in windows:
            power, count = self.power_w(window.start, window.start + window.duration_s)
            measured.append(replace(window, energy_j=power * window.duration_s, readings=count))
        words = (
            f"an external meter's readings in {self.name}, laid over the middle of the windows by the clock of the "
            "measured machine"
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
