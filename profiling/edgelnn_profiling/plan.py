"""Plan: how a measurement is made, and how long it may take."""

from __future__ import annotations

from dataclasses import dataclass, replace

from edgelnn.errors import ConfigError

__all__ = ["Plan"]


@dataclass(frozen=True)
class Plan:
    """What is measured and how; the defaults give a p50 with an interval and a p99 in about two seconds a variant.

    One *sample* is one inference (or the mean of several where one is too short for the clock), a *window* a row of
    samples taken without a pause, a *round* one fresh process for every variant. Rounds are interleaved, variant after
    variant, so that a change of the machine's mood falls on all of them.

    Attributes:
        threads: Numbers of threads to measure with; each is a measurement of its own.
        batches: Batch sizes for images a second; those above 1 are measured where the model takes any batch.
        rounds: Fresh processes per variant; 3 or more give the median an interval.
        windows: Windows in each process.
        window_s: Shortest time of a window, in seconds, unless `max_samples` are taken before.
        min_samples: Fewest samples of a window, however long that takes.
        max_samples: Most samples of a window.
        warm_up_min_s: Shortest warm-up, in seconds.
        warm_up_max_s: Warm-up ends here though samples have not settled, and the report says so.
        preparation_samples: Images that are taken all the way from pixels to decision, to time what stands around an
            inference. 0 leaves it out.
        memory: Measure memory, in processes of its own.
        operators: Measure time by operator, in processes of their own.
        energy: Estimate the energy of an inference, in processes of their own.
        energy_pairs: Pairs of an idle window and one with inferences; 6 or more give an interval.
        energy_window_s: Length of each of these windows, in seconds.
        pin: Pin each process to as many CPUs as it has threads.
        cpus: Which CPUs to pin to; the last ones where none is named.
        timeout_s: Longest time of one process, in seconds, besides the windows that are asked of it.
        seed: Of the order of variants and of made-up inputs.
    """

    threads: tuple[int, ...] = (1,)
    batches: tuple[int, ...] = (1, 8, 32)
    rounds: int = 3
    windows: int = 2
    window_s: float = 0.15
    min_samples: int = 120
    max_samples: int = 5000
    warm_up_min_s: float = 0.05
    warm_up_max_s: float = 1.0
    preparation_samples: int = 100
    memory: bool = True
    operators: bool = False
    energy: bool = False
    energy_pairs: int = 6
    energy_window_s: float = 2.0
    pin: bool = False
    cpus: tuple[int, ...] = ()
    timeout_s: float = 600.0
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse what cannot be carried out.

        Raises:
            ConfigError: A value is out of range; the message names it.
        """
        counts: tuple[tuple[str, int, int], ...] = (
            ("rounds", self.rounds, 1),
            ("windows", self.windows, 1),
            ("min_samples", self.min_samples, 1),
        )
        counts += (("energy_pairs", self.energy_pairs, 1), ("preparation_samples", self.preparation_samples, 0))
        for name, value, least in counts:
            _expect(value >= least, name, value, f"{least} or more")
        _expect(self.max_samples >= self.min_samples, "max_samples", self.max_samples, f"at least {self.min_samples}")
        for name, values in (("threads", self.threads), ("batches", self.batches)):
            sensible = len(values) > 0 and all(1 <= value <= 1024 for value in values)
            _expect(sensible and len(set(values)) == len(values), name, values, "numbers from 1 to 1024, each once")
        _expect(1 in self.batches, "batches", self.batches, "1 among them")
        distinct = len(set(self.cpus)) == len(self.cpus) and all(0 <= cpu < 4096 for cpu in self.cpus)
        _expect(distinct, "cpus", self.cpus, "numbers of CPUs, each once")
        _expect(self.pin or not self.cpus, "cpus", self.cpus, "none where pin is not asked for")
        enough = not self.cpus or len(self.cpus) >= max(self.threads)
        _expect(enough, "cpus", self.cpus, f"as many CPUs as threads, {max(self.threads, default=1)}")
        lengths = (("window_s", self.window_s), ("energy_window_s", self.energy_window_s))
        for name, seconds in (*lengths, ("timeout_s", self.timeout_s)):
            _expect(0 < seconds < 1e6, name, seconds, "seconds, more than 0")
        _expect(0 <= self.warm_up_min_s < 1e6, "warm_up_min_s", self.warm_up_min_s, "seconds, 0 or more")
        _expect(
            self.warm_up_min_s <= self.warm_up_max_s < 1e6,
            "warm_up_max_s",
            self.warm_up_max_s,
            f"at least {self.warm_up_min_s:g} s",
        )

    @property
    def timing_s(self) -> float:
        """What the windows of one process take, in seconds, where they are not longer for want of samples."""
        return self.warm_up_max_s + self.windows * self.window_s + len(self.batches) * self.window_s / 2

    @property
    def energy_s(self) -> float:
        """What the windows of one process for energy take, in seconds."""
        return self.warm_up_max_s + 2 * self.energy_pairs * self.energy_window_s

    @classmethod
    def quick(cls) -> Plan:
        """Return a plan for a look rather than a result: about half a second a variant.

        >>> Plan.quick().rounds * Plan.quick().windows
        6
        """
        return replace(cls(), window_s=0.03, min_samples=20, warm_up_max_s=0.2, preparation_samples=20, batches=(1,))


def _expect(holds: bool, name: str, found: object, expected: str) -> None:
    if not holds:
        raise ConfigError(f"got {name}={found}; expected {expected}.")
