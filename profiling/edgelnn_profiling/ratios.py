"""The ratio of two latencies with an interval, from medians of processes.

What repeats independently is a process: samples within one follow each other, and windows of one share its layout of
memory and its caches. So each process gives one value, its median, as the highest level of repetition that Kalibera and
Jones ask for ("Rigorous Benchmarking in Reasonable Time", ISMM 2013, doi:10.1145/2464157.2464160). A ratio is a
difference of logarithms; its interval is Welch's for two samples of unequal variance ("The generalization of
'Student's' problem when several different population variances are involved", Biometrika 34 (1947) 28-35,
doi:10.1093/biomet/34.1-2.28), with Satterthwaite's degrees of freedom.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

__all__ = ["CONFIDENCE", "LEAST_PROCESSES", "SESSION_SD", "Interval", "interval_of_median", "ratio_of_medians"]

CONFIDENCE = 0.95
LEAST_PROCESSES = 3
SESSION_SD = 0.01
"""Standard deviation, as a part of the latency, of what changes from one measurement to the next and is the same for
all processes of one: where in memory things lie, how warm the room is. No report can show it alone. Ten valid reports
of one bundle should lie within 3 %, and ten values of a normal distribution reach over 3.08 standard deviations."""


@dataclass(frozen=True)
class Interval:
    """A value and what it may be as well, with 95 % confidence."""

    value: float
    low: float
    high: float


def interval_of_median(medians_s: Sequence[float], *, resolution_s: float = 0.0) -> Interval | None:
    """Return the middle of a latency that processes show, with its interval; None of fewer than three processes.

    Args:
        medians_s: Of each process, in seconds.
        resolution_s: Steps of the clock, for one inference; the interval is at least this wide on both sides.
    """
    if len(medians_s) < LEAST_PROCESSES or min(medians_s) <= 0:
        return None
    mean, variance = _log_moments(medians_s)
    reach = student_quantile(len(medians_s) - 1.0) * math.sqrt(variance) + _log_step(medians_s, resolution_s)
    return _interval(mean, reach)


def ratio_of_medians(
    own_s: Sequence[float], reference_s: Sequence[float], *, resolution_s: float = 0.0, session_sd: float = 0.0
) -> Interval | None:
    """Return how many times as long the first takes, with an interval; None of fewer than three processes either side.

    Args:
        own_s: Medians of the processes of one, in seconds.
        reference_s: Those of the other.
        resolution_s: Steps of the clock, for one inference; the interval is widened by that.
        session_sd: What may add to all processes of a side alike; `SESSION_SD` for measurements of different times.

    >>> found = ratio_of_medians([1.1, 1.1, 1.1], [1.0, 1.0, 1.0], session_sd=0.0)
    >>> round(found.value, 3), round(found.low, 3), round(found.high, 3)
    (1.1, 1.1, 1.1)
    """
    if min(len(own_s), len(reference_s)) < LEAST_PROCESSES or min(*own_s, *reference_s) <= 0:
        return None
    (own, own_variance), (reference, reference_variance) = _log_moments(own_s), _log_moments(reference_s)
    variance = own_variance + reference_variance + 2 * session_sd**2
    # Satterthwaite: the allowance for sessions is given, not estimated, and takes no degrees of freedom away.
    estimated = own_variance**2 / (len(own_s) - 1) + reference_variance**2 / (len(reference_s) - 1)
    degrees = variance**2 / estimated if estimated > 0 else math.inf
    step = _log_step(own_s, resolution_s) + _log_step(reference_s, resolution_s)
    return _interval(own - reference, student_quantile(degrees) * math.sqrt(variance) + step)


def _log_moments(values: Sequence[float]) -> tuple[float, float]:
    """Return the mean of the logarithms, and the variance of that mean."""
    logs = [math.log(value) for value in values]
    mean = math.fsum(logs) / len(logs)
    return mean, math.fsum((log - mean) ** 2 for log in logs) / (len(logs) - 1) / len(logs)


def _log_step(values: Sequence[float], resolution_s: float) -> float:
    return math.log1p(resolution_s / min(values))


def _interval(log: float, reach: float) -> Interval:
    return Interval(math.exp(log), math.exp(log - reach), math.exp(log + reach))


def student_quantile(degrees: float, confidence: float = CONFIDENCE) -> float:
    """Return what Student's t stays within, on both sides, with this confidence; degrees of freedom need not be whole.

    With t = sqrt(d) tan(a) the density becomes cos(a)^(d-1), whose integral is taken by Simpson's rule.

    >>> [round(student_quantile(degrees), 3) for degrees in (2, 4, 30, math.inf)]
    [4.303, 2.776, 2.042, 1.96]
    """
    if degrees > 200:  # nearly normal: the first term of Cornish and Fisher's expansion is enough
        normal = NormalDist().inv_cdf((1 + confidence) / 2)
        return normal + (normal**3 + normal) / (4 * degrees)
    parts = 200
    step = math.pi / 2 / parts

    def density(angle: float) -> float:
        return math.pow(max(math.cos(angle), 0.0), degrees - 1)

    def area(start: float, end: float) -> float:
        return (density(start) + 4 * density((start + end) / 2) + density(end)) * (end - start) / 6

    areas = [0.0]
    for index in range(parts):
        areas.append(areas[-1] + area(index * step, (index + 1) * step))
    wanted = confidence * areas[-1]
    start = next(index for index, reached in enumerate(areas) if reached >= wanted) - 1
    angle = (start + (wanted - areas[start]) / (areas[start + 1] - areas[start])) * step
    for _ in range(2):  # Newton's steps from the linear guess
        angle += (wanted - areas[start] - area(start * step, angle)) / density(angle)
    return math.sqrt(degrees) * math.tan(angle)
