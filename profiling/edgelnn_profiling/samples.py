"""What a row of samples supports: percentiles with intervals, and none where there are too few samples for one.

* A percentile is given only where, with 99 % confidence, at least two samples lie above it: 64 samples for p90 and 662
  for p99, the figures of MLPerf Inference's early stopping for single-stream latency (Reddi et al., "MLPerf Inference
  Benchmark", ISCA 2020; rules, appendix "Early stopping criterion").
* Intervals are those of order statistics, which suppose nothing about the distribution: the number of samples below the
  true quantile is binomial (David and Nagaraja, "Order Statistics", 3rd ed., 2003, section 7.1). They do suppose
  samples that do not depend on each other, such as one value of each process. Samples within a process do depend on
  each other: where these are pooled, `process_intervals` puts what processes say in their place.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from edgelnn.errors import ProfileError

__all__ = ["Percentile", "Summary", "quantile_interval", "required_samples", "summarize"]

PERCENTS = (50.0, 90.0, 99.0, 99.9)
CONFIDENCE = 0.95


@dataclass(frozen=True)
class Percentile:
    """One percentile and its interval.

    Attributes:
        percent: 50 for the median.
        value_s: Seconds.
        low_s: Lower end of its interval of at least 95 % confidence, in seconds, which rests on what repeats
            independently: on processes. None where these are too few, as they always are for what lies above a median.
        high_s: Its upper end.
    """

    percent: float
    value_s: float
    low_s: float | None
    high_s: float | None


@dataclass(frozen=True)
class Summary:
    """Statistics of samples, in seconds.

    Attributes:
        count: Samples.
        means_of: Inferences in a sample; with more than 1, each sample is a mean, and no tail can be told from means.
        mean_s: Arithmetic mean.
        sd_s: Standard deviation (divisor count - 1); None for a single sample.
        min_s: Fastest sample.
        max_s: Slowest sample.
        percentiles: Those that so many samples support, ascending; the median is always there, and stands first.
    """

    count: int
    means_of: int
    mean_s: float
    sd_s: float | None
    min_s: float
    max_s: float
    percentiles: tuple[Percentile, ...]

    def percentile(self, percent: float) -> Percentile | None:
        """Return a percentile, or None where there were too few samples for it."""
        return next((found for found in self.percentiles if found.percent == percent), None)

    @property
    def p50_s(self) -> float:
        """The median, in seconds."""
        return self.percentiles[0].value_s


def summarize(samples_s: Sequence[float], *, means_of: int = 1) -> Summary:
    """Return the statistics of samples, with the intervals of samples that do not depend on each other.

    Args:
        samples_s: Seconds, in any order.
        means_of: Inferences that each sample is the mean of.

    Raises:
        ProfileError: There are no samples.

    >>> summary = summarize([3.0, 1.0, 2.0])
    >>> summary.p50_s, summary.mean_s, summary.sd_s, summary.percentile(90)
    (2.0, 2.0, 1.0, None)
    """
    if not samples_s:
        raise ProfileError("got no samples to summarize; expected at least one.")
    ordered = sorted(samples_s)
    count = len(ordered)
    mean = math.fsum(ordered) / count
    spread = math.sqrt(math.fsum((value - mean) ** 2 for value in ordered) / (count - 1)) if count > 1 else None
    percents = PERCENTS if means_of == 1 else PERCENTS[:1]
    percentiles = []
    for percent in percents:
        if percent != 50.0 and count < required_samples(percent):
            break
        ends = quantile_interval(count, percent / 100)
        low, high = (ordered[ends[0]], ordered[ends[1]]) if ends is not None else (None, None)
        percentiles.append(Percentile(percent, quantile(ordered, percent / 100), low, high))
    return Summary(count, means_of, mean, spread, ordered[0], ordered[-1], tuple(percentiles))


def quantile(ordered: Sequence[float], q: float) -> float:
    """Return a quantile of ascending values, linear between neighbours (type 7 of Hyndman and Fan; numpy's default).

    >>> quantile([1.0, 2.0, 4.0], 0.75)
    3.0
    """
    position = q * (len(ordered) - 1)
    below = min(math.floor(position), len(ordered) - 1)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (position - below)


def required_samples(percent: float) -> int:
    """Return how many samples a percentile needs.

    >>> required_samples(90), required_samples(99)
    (64, 662)
    """
    q = percent / 100
    count = 2
    # P(fewer than two samples above the quantile) = q^n + n q^(n-1) (1-q), falling in n.
    step = max(1, round(1 / (1 - q)))
    while _fewer_than_two(count + step, q) > 0.01:
        count += step
    while _fewer_than_two(count, q) > 0.01:
        count += 1
    return count


def _fewer_than_two(count: int, q: float) -> float:
    return q**count + count * q ** (count - 1) * (1 - q)


@lru_cache(maxsize=256)
def quantile_interval(count: int, q: float) -> tuple[int, int] | None:
    """Return the indices, from 0, of the two ordered samples that hold a quantile between them.

    Args:
        count: Samples.
        q: The quantile, between 0 and 1.

    Returns:
        The narrowest pair with at most 2.5 % beyond either end; None where even the first and last sample do not do.

    >>> quantile_interval(10, 0.5)  # the second and the ninth of ten
    (1, 8)
    >>> quantile_interval(5, 0.5) is None
    True
    """
    tail = (1 - CONFIDENCE) / 2
    # B of `count` samples lie below the quantile; sample i (from 0) is below it exactly when B > i.
    low = _largest_below(count, q, tail)
    high = _largest_below(count, 1 - q, tail)
    if low < 0 or high < 0:
        return None
    return low, count - 1 - high


def _largest_below(count: int, q: float, tail: float) -> int:
    """Return the largest i with P(B <= i) <= tail for B binomial(count, q); -1 where there is none."""
    # What lies more than 12 standard deviations below the mean is nothing.
    start = max(0, math.floor(count * q - 12 * math.sqrt(count * q * (1 - q)) - 12))
    total = 0.0
    log_q, log_p = math.log(q), math.log1p(-q)
    constant = math.lgamma(count + 1)
    for index in range(start, count + 1):
        log_mass = constant - math.lgamma(index + 1) - math.lgamma(count - index + 1)
        total += math.exp(log_mass + index * log_q + (count - index) * log_p)
        if total > tail:
            return index - 1
    return count
