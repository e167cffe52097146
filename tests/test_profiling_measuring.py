"""Timing with a clock that is turned by hand, and a sleep of known length with the real one."""

import gc
import time

import pytest

from edgelnn_profiling.measuring import choose_loops, clock_tick_ns, take_window, warm_up
from tests.profiling_fakes import FakeClock


def test_tick_is_the_smallest_step_seen() -> None:
    steps = iter([0, 0, 52, 52, 104, 208, 260] + [260] * 1000)
    assert clock_tick_ns(lambda: next(steps), readings=8) == 52


def test_tick_of_a_clock_that_stands_still_is_one() -> None:
    assert clock_tick_ns(lambda: 7) == 1


def test_tick_of_the_real_clock_is_under_ten_microseconds() -> None:
    assert 1 <= clock_tick_ns(time.perf_counter_ns) < 10_000


def test_a_sample_is_one_inference_from_a_hundred_ticks_on() -> None:
    assert choose_loops(5_200, 52) == 1
    assert choose_loops(5_199, 52) == 2
    assert choose_loops(100, 52) == 52
    assert choose_loops(10**9, 52) == 1


def test_warm_up_ends_when_three_blocks_take_equally_long() -> None:
    clock = FakeClock()
    # Ten steps fill a block of 10 ms, while the speed rises as under a governor that wakes up.
    slow, medium = [1_000_000] * 10, [500_000] * 20
    heat, run_ns = warm_up(clock.step(*slow, *medium, 250_000), clock, min_s=0.0, max_s=10.0)
    assert heat.settled
    assert heat.runs == 10 + 20 + 3 * 40
    assert heat.duration_s == pytest.approx(0.05)
    assert run_ns == 250_000


def test_warm_up_lasts_at_least_its_shortest_time() -> None:
    clock = FakeClock()
    heat, _ = warm_up(clock.step(100_000), clock, min_s=0.2, max_s=1.0)
    assert heat.settled
    assert heat.duration_s == pytest.approx(0.2)


def test_warm_up_gives_up_on_samples_that_do_not_settle() -> None:
    clock = FakeClock()
    restless = [1_000_000, 1_200_000] * 1000
    # Blocks of 10 and 9 runs whose medians go up and down.
    blocks = [value for block in range(100) for value in [restless[block % 2]] * (10 - block % 2)]
    heat, _ = warm_up(clock.step(*blocks), clock, min_s=0.05, max_s=0.3)
    assert not heat.settled
    assert heat.duration_s == pytest.approx(0.3, abs=0.011)


def test_warm_up_waits_for_the_cpu_clock() -> None:
    clock, readings = FakeClock(), iter([600, 1000, 1500, 1500, 1500, 1500])
    heat, _ = warm_up(clock.step(1_000_000), clock, min_s=0.0, max_s=1.0, cpu_clock_hz=lambda: next(readings))
    assert heat.settled
    assert heat.runs == 50  # Five blocks: the third, fourth and fifth reading are alike.


def test_window_holds_one_inference_a_sample() -> None:
    clock = FakeClock(reading_ns=10)
    window = take_window(clock.step(100, 200, 300), clock, loops=1, window_s=1e-9, min_samples=3, max_samples=9)
    assert window.samples_ns == (110, 210, 310)  # The inference and one reading of the clock.


def test_window_goes_on_until_its_time_is_over() -> None:
    clock = FakeClock()
    window = take_window(clock.step(1000), clock, loops=1, window_s=1e-4, min_samples=5, max_samples=10_000)
    assert len(window.samples_ns) == 100
    assert window.duration_ns == 100_000


def test_window_has_no_more_than_its_most_samples() -> None:
    clock = FakeClock()
    window = take_window(clock.step(1000), clock, loops=1, window_s=1.0, min_samples=5, max_samples=50)
    assert len(window.samples_ns) == 50


def test_loops_stay_undivided_in_the_raw_samples() -> None:
    clock = FakeClock()
    window = take_window(clock.step(7), clock, loops=4, window_s=1e-9, min_samples=3, max_samples=3)
    assert window.samples_ns == (28, 28, 28)


def test_the_garbage_collector_rests_during_a_window_and_wakes_after_it() -> None:
    clock, seen = FakeClock(), []

    def step() -> None:
        clock.now_ns += 100
        seen.append(gc.isenabled())

    take_window(step, clock, loops=1, window_s=1e-9, min_samples=4, max_samples=4)
    assert seen == [False] * 4
    assert gc.isenabled()


def test_a_sleep_of_known_length_is_measured_right() -> None:
    window = take_window(
        lambda: time.sleep(0.005), time.perf_counter_ns, loops=1, window_s=0.05, min_samples=20, max_samples=20
    )
    fastest = sorted(window.samples_ns)[5] / 1e9
    assert 0.005 <= fastest < 0.0056


def test_the_profiler_itself_takes_less_than_a_microsecond_a_sample() -> None:
    def nothing() -> None:
        return None

    window = take_window(nothing, time.perf_counter_ns, loops=1, window_s=0.01, min_samples=2000, max_samples=2000)
    between = window.duration_ns / len(window.samples_ns)
    assert sorted(window.samples_ns)[1000] < 1000
    assert between < 5000  # Generous: others may use this machine. On an idle one it is about 200 ns.
