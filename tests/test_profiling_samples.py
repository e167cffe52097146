"""Statistics against published tables and against numpy and scipy."""

import statistics

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgelnn.errors import ProfileError
from edgelnn_profiling.samples import quantile, quantile_interval, required_samples, summarize


@pytest.mark.parametrize(("percent", "samples"), [(90.0, 64), (99.0, 662), (99.9, 6636)])
def test_percentiles_need_the_samples_of_mlperf_early_stopping(percent: float, samples: int) -> None:
    assert required_samples(percent) == samples


@pytest.mark.parametrize(
    ("count", "ranks"),
    # Ranks from 1 of the narrowest 95 % interval of the median, from tables of the sign test.
    [
        (6, (1, 6)),
        (9, (2, 8)),
        (10, (2, 9)),
        (15, (4, 12)),
        (20, (6, 15)),
        (25, (8, 18)),
        (40, (14, 27)),
        (100, (40, 61)),
    ],
)
def test_median_interval_has_the_published_ranks(count: int, ranks: tuple[int, int]) -> None:
    assert quantile_interval(count, 0.5) == (ranks[0] - 1, ranks[1] - 1)


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5])
def test_median_of_five_or_fewer_has_no_interval(count: int) -> None:
    assert quantile_interval(count, 0.5) is None
    assert summarize([1.0] * count).percentiles[0].low_s is None


@pytest.mark.parametrize("q", [0.5, 0.9, 0.99])
@pytest.mark.parametrize("count", [64, 662, 5000, 30_000])
def test_interval_agrees_with_scipys_binomial(count: int, q: float) -> None:
    found = quantile_interval(count, q)
    below = pytest.importorskip("scipy.stats").binom(count, q).cdf(np.arange(count))  # P(B <= i)
    low = int(np.sum(below <= 0.025)) - 1  # Sample i lies above the quantile exactly when B <= i.
    high = int(np.argmax(1 - below <= 0.025)) if below[-1] >= 0.975 else count
    if low < 0 or high > count - 1:
        assert found is None
    else:
        assert found == (low, high)


def test_interval_covers_the_true_median_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    count, hits, trials = 50, 0, 2000
    low, high = quantile_interval(count, 0.5)
    for _ in range(trials):
        ordered = np.sort(rng.exponential(size=count))
        hits += ordered[low] <= np.log(2) <= ordered[high]
    assert 0.945 < hits / trials < 0.985


@given(st.lists(st.floats(1e-6, 1e3), min_size=1, max_size=300))
def test_summary_agrees_with_numpy_and_the_standard_library(samples: list[float]) -> None:
    summary = summarize(samples)
    assert summary.p50_s == pytest.approx(float(np.percentile(samples, 50)))
    assert summary.mean_s == pytest.approx(statistics.fmean(samples))
    assert summary.sd_s == (pytest.approx(statistics.stdev(samples), abs=1e-9) if len(samples) > 1 else None)
    assert (summary.min_s, summary.max_s) == (min(samples), max(samples))
    found = summary.percentile(90)
    assert (found is not None) == (len(samples) >= 64)
    for percentile in summary.percentiles:
        assert percentile.value_s == pytest.approx(float(np.percentile(samples, percentile.percent)))
        if percentile.low_s is not None and percentile.high_s is not None:
            assert percentile.low_s <= percentile.value_s <= percentile.high_s


def test_tails_are_left_out_where_samples_are_few() -> None:
    assert [found.percent for found in summarize([1.0] * 63).percentiles] == [50.0]
    assert [found.percent for found in summarize([1.0] * 64).percentiles] == [50.0, 90.0]
    assert [found.percent for found in summarize([1.0] * 661).percentiles] == [50.0, 90.0]
    assert [found.percent for found in summarize([1.0] * 662).percentiles] == [50.0, 90.0, 99.0]
    assert [found.percent for found in summarize([1.0] * 6636).percentiles] == [50.0, 90.0, 99.0, 99.9]


def test_means_of_several_inferences_have_no_tail() -> None:
    summary = summarize([1.0] * 1000, means_of=4)
    assert [found.percent for found in summary.percentiles] == [50.0]
    assert summary.means_of == 4


def test_no_samples_is_an_error() -> None:
    with pytest.raises(ProfileError, match="no samples"):
        summarize([])


def test_quantile_of_one_value_is_that_value() -> None:
    assert quantile([3.0], 0.99) == 3.0
