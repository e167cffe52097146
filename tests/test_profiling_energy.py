"""Energy: estimates from windows, meters of machines that are not there, readings of external meters."""

from __future__ import annotations

import os
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from edgelnn.errors import ConfigError, ProfileError
from edgelnn_profiling import Plan, Report, manager, profile
from edgelnn_profiling.energy import EnergyWindow, estimate_energy
from edgelnn_profiling.energy_windows import take_energy_windows
from edgelnn_profiling.executor import LocalExecutor, Outcome
from edgelnn_profiling.meters import AbstractMeter, PmicMeter, RaplMeter, find_meter, pmic_power_w
from edgelnn_profiling.power_csv import PowerReadings, read_power_csv
from edgelnn_profiling.vcgencmd import ask_vcgencmd
from edgelnn_profiling.writers.cost_tables import energy_table
from tests.helpers import assert_one_clear_line, run_cli
from tests.profiling_fakes import FakeExecutor, energy_events
from tests.small_bundle import make_bundle

# As a Raspberry Pi 5 prints it, shortened: of a rail that is off, of one without a current, and in another order.
PMIC = """\
   3V3_SYS_A current(1)=0.05000000A
  VDD_CORE_A current(7)=2.00000000A
      HDMI_A current(22)=0.00000000A
   3V3_SYS_V volt(9)=3.30000000V
      HDMI_V volt(23)=5.10000000V
  VDD_CORE_V volt(15)=0.75000000V
     EXT5V_V volt(24)=5.15512300V
"""
PMIC_W = 1.1451 * (0.05 * 3.3 + 2.0 * 0.75) + 0.5879


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_bundle(tmp_path_factory.mktemp("bundles") / "small").folder


def windows(*busy_joules: float, idle_w: float = 3.0) -> list[EnergyWindow]:
    pairs = [
        (EnergyWindow(0.0, 2.0, 0, 2.0 * idle_w, 20), EnergyWindow(2.0, 2.0, 1000, energy, 20))
        for energy in busy_joules
    ]
    return [window for pair in pairs for window in pair]


# Estimates


def test_an_estimate_is_the_median_of_pairs_net_of_idle_with_an_interval() -> None:
    energy = estimate_energy(windows(8.0, 8.2, 8.4, 8.6, 8.8, 9.0), source="pmic", rests_on="rails")
    assert energy.joules_per_inference == pytest.approx(2.5e-3)
    assert (energy.low_j, energy.high_j) == (pytest.approx(2.0e-3), pytest.approx(3.0e-3))
    assert (energy.idle_w, energy.busy_w) == (pytest.approx(3.0), pytest.approx(4.25))
    assert energy.beyond_idle
    assert energy.reason is None


def test_fewer_than_six_pairs_have_no_interval_and_prove_nothing() -> None:
    energy = estimate_energy(windows(8.0, 8.2, 8.4, 8.6, 8.8), source="rapl", rests_on="counters")
    assert energy.joules_per_inference == pytest.approx(2.4e-3)
    assert (energy.low_j, energy.high_j, energy.beyond_idle) == (None, None, False)


def test_an_estimate_within_the_idle_powers_spread_is_not_beyond_idle() -> None:
    energy = estimate_energy(windows(5.9, 5.95, 6.0, 6.0, 6.05, 6.1), source="rapl", rests_on="counters")
    assert energy.joules_per_inference == pytest.approx(0.0, abs=1e-9)
    assert not energy.beyond_idle


def test_windows_that_are_no_pairs_give_no_estimate() -> None:
    assert "no pair" in (estimate_energy([], source="csv", rests_on="").reason or "")
    swapped = windows(8.0)[::-1]
    assert "no pair" in (estimate_energy(swapped, source="csv", rests_on="").reason or "")


# Windows


class CountingMeter(AbstractMeter):
    """Counts 3 W when nothing runs and 5 W when inferences do, by a clock that is turned by hand."""

    source = "rapl"
    rests_on = "a fake"

    def __init__(self) -> None:
        self.now, self.inferences, self.begin, self.before = 0.0, 0, 0.0, 0

    def start(self) -> None:
        self.begin, self.before = self.now, self.inferences

    def stop(self) -> tuple[float, int]:
        duration = self.now - self.begin
        return (5.0 if self.inferences > self.before else 3.0) * duration, 2

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def infer(self) -> None:
        self.now += 0.001
        self.inferences += 1


def test_windows_are_idle_and_busy_in_turn_and_busy_ones_are_full_of_inferences() -> None:
    meter = CountingMeter()
    found = list(
        take_energy_windows(
            meter.infer,
            meter,
            pairs=2,
            window_s=2.0,
            run_s=0.001,
            clock=lambda: meter.now,
            wall=lambda: 1000.0 + meter.now,
            sleep=meter.sleep,
        )
    )
    # Ten are run between two looks at the clock.
    assert [window.inferences for window in found] == pytest.approx([0, 2000, 0, 2000], abs=10)
    assert [window.duration_s for window in found] == pytest.approx([2.0] * 4, abs=0.011)
    assert [window.start for window in found] == pytest.approx([1000.0, 1002.0, 1004.0, 1006.0], abs=0.03)
    energy = estimate_energy(found, source="rapl", rests_on="a fake")
    assert energy.joules_per_inference == pytest.approx(2e-3)


def test_without_a_meter_windows_have_times_alone() -> None:
    found = list(take_energy_windows(lambda: None, None, pairs=1, window_s=0.002, run_s=1e-3))
    assert [(window.energy_j, window.readings) for window in found] == [(0.0, 0), (0.0, 0)]
    assert found[1].inferences > 0


# Meters


def test_the_power_of_a_pi_5_is_the_sum_of_its_rails_corrected_to_the_board() -> None:
    assert pmic_power_w(PMIC) == pytest.approx(PMIC_W)
    assert pmic_power_w("") is None
    assert pmic_power_w('error=1 error_msg="Command not registered"') is None
    assert pmic_power_w("EXT5V_V volt(24)=5.1V") is None
    assert pmic_power_w("A_A current(1)=1.2.3A\nA_V volt(1)=1V") is None


def test_the_pmic_is_read_beside_the_inferences() -> None:
    meter = find_meter("/nowhere", ask_pmic=lambda: PMIC)
    assert isinstance(meter, PmicMeter)
    assert (meter.source, "1.1451" in meter.rests_on) == ("pmic", True)
    now = [0.0]
    meter = PmicMeter(lambda: PMIC, clock=lambda: now[0])
    meter.start()
    while not meter._readings:
        time.sleep(0.001)
    now[0] = 2.0
    energy, readings = meter.stop()
    assert readings >= 1
    assert energy == pytest.approx(PMIC_W * 2.0)


def test_the_firmwares_own_command_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "answer.txt").write_text(PMIC)
    script = f'#!/bin/sh\n[ "$1" = pmic_read_adc ] && exec cat {tmp_path}/answer.txt\nexit 255\n'
    command = tmp_path / "vcgencmd"
    command.write_text(script)
    command.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    assert ask_vcgencmd("pmic_read_adc") == PMIC
    assert ask_vcgencmd("get_throttled") is None
    assert isinstance(find_meter(), PmicMeter)
    command.write_text("no program at all")
    assert ask_vcgencmd("pmic_read_adc") is None
    monkeypatch.setenv("PATH", str(tmp_path / "nowhere"))
    assert ask_vcgencmd("pmic_read_adc") is None


def test_a_pmic_that_stops_answering_is_an_error() -> None:
    answers = iter([PMIC])
    meter = PmicMeter(lambda: next(answers, None))
    meter.start()
    while not meter._failed:
        time.sleep(0.001)
    with pytest.raises(ProfileError, match="failed"):
        meter.stop()


def rapl(root: Path, domains: dict[str, tuple[str, int | None]], most: int = 1_000_000) -> Path:
    for name, (kind, count) in domains.items():
        folder = root / "sys/class/powercap" / name
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "name").write_text(kind + "\n")
        (folder / "max_energy_range_uj").write_text(f"{most}\n")
        if count is not None:
            (folder / "energy_uj").write_text(f"{count}\n")
    return root


def test_rapl_counts_packages_and_their_memory_and_nothing_twice(tmp_path: Path) -> None:
    names = {
        "intel-rapl:0": ("package-0", 100_000),
        "intel-rapl:0:0": ("core", 40_000),  # within the package
        "intel-rapl:0:1": ("dram", 10_000),
        "intel-rapl:1": ("psys", 900_000),  # holds all the others
    }
    meter = find_meter(rapl(tmp_path, names))
    assert isinstance(meter, RaplMeter)
    assert "package-0, dram" in meter.rests_on
    meter.start()
    rapl(tmp_path, {name: (kind, (count or 0) + 50_000) for name, (kind, count) in names.items()})
    assert meter.stop() == (pytest.approx(0.1), 2)


def test_a_rapl_counter_that_began_anew_has_passed_its_range(tmp_path: Path) -> None:
    meter = find_meter(rapl(tmp_path, {"intel-rapl:0": ("package-0", 990_000)}))
    meter.start()
    rapl(tmp_path, {"intel-rapl:0": ("package-0", 5_000)})
    assert meter.stop()[0] == pytest.approx(0.015)


def test_a_counter_that_began_anew_with_an_unknown_range_is_an_error(tmp_path: Path) -> None:
    root = rapl(tmp_path, {"intel-rapl:0": ("package-0", 990_000)})
    (root / "sys/class/powercap/intel-rapl:0/max_energy_range_uj").unlink()
    meter = find_meter(root)
    meter.start()
    rapl(tmp_path / "other", {})
    (root / "sys/class/powercap/intel-rapl:0/energy_uj").write_text("5\n")
    with pytest.raises(ProfileError, match="began anew"):
        meter.stop()


def test_counters_that_only_root_may_read_are_said_to_be(tmp_path: Path) -> None:
    with pytest.raises(ProfileError, match=r"only root may read.*sudo chmod a\+r .*energy_uj"):
        find_meter(rapl(tmp_path, {"intel-rapl:0": ("package-0", None)}))


def test_a_machine_without_a_meter_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ProfileError, match="--power-csv"):
        find_meter(tmp_path)
    # A Pi 4 has the command and no rails.
    with pytest.raises(ProfileError, match="--power-csv"):
        find_meter(tmp_path, ask_pmic=lambda: 'error=1 error_msg="Command not registered"')


def test_others_that_work_meanwhile_make_the_report_invalid(bundle: Path) -> None:
    activity = {"duration_s": 24.0, "own_cpus": 0.5, "other_cpus": 1.1, "swapped_pages": 0}
    watched = {"event": "activity", "activity": activity, "swapped_bytes": 0}
    events = [*energy_events()[:-1], watched, {"event": "done"}]
    report = profile(bundle, Plan(energy=True), executor=FakeExecutor(energy=lambda request: events))
    energy = report.results[0].energy
    assert energy is not None
    assert energy.other_cpus == 1.1
    assert not report.valid
    assert "while energy was measured, other processes kept 1.1 of 4 CPUs busy" in report.reasons[0]


def test_long_windows_do_not_run_into_the_timeout(bundle: Path) -> None:
    class Patient(FakeExecutor):
        def execute(self, request, *, timeout_s):
            waits.setdefault(request["kind"], timeout_s)
            return super().execute(request, timeout_s=timeout_s)

    waits: dict[str, float] = {}
    plan = Plan(energy=True, energy_window_s=100.0, window_s=300.0, timeout_s=10.0)
    profile(bundle, plan, executor=Patient())
    assert waits["energy"] > 10.0 + 12 * 100.0
    assert waits["timing"] > 10.0 + 2 * 300.0
    assert waits["memory"] == 10.0


# External meters


def csv(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_readings_are_seconds_or_iso_8601(tmp_path: Path) -> None:
    text = "Time, Watts\n1000.5,3.0\n\n1970-01-01T00:16:41+00:00, 3.5\n1970-01-01T01:16:42+01:00,4\n"
    readings = read_power_csv(csv(tmp_path / "meter.csv", text))
    assert readings == PowerReadings("meter.csv", (1000.5, 1001.0, 1002.0), (3.0, 3.5, 4.0))


def test_a_line_that_the_meter_is_writing_just_now_is_left_for_later(tmp_path: Path) -> None:
    readings = read_power_csv(csv(tmp_path / "meter.csv", "time,watts\n1,2.5\n2,2.5\n3,2."))
    assert readings.times == (1.0, 2.0)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "begins with ''"),
        ("watts,time\n1,2\n3,4\n", "begins with 'watts,time'"),
        ("time,watts\n", "holds 0 readings"),
        ("time,watts\n1,2\n", "holds 1 readings"),
        ("time,watts\n1,2\n2,nan\n", "line 3"),
        ("time,watts\n1,2\n2,-1\n", "line 3"),
        ("time,watts\n1,2\n2\n", "line 3"),
        ("time,watts\n1,2\n2,3,4\n", "line 3"),
        ("time,watts\n1,2\ninf,3\n", "line 3"),
        ("time,watts\n1,2\n2024-11-24T12:00:00,3\n", "with an offset"),
        ("time,watts\n2,2\n1,3\n", "not after the one before"),
        ("time,watts\n2,2\n2,3\n", "not after the one before"),
        ("time,watts\n1,x\n2,3\n", "line 2"),
    ],
)
def test_a_file_of_another_form_is_one_clear_error(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words) as caught:
        read_power_csv(csv(tmp_path / "meter.csv", text))
    assert "\n" not in str(caught.value)


def test_files_that_cannot_be_read_are_one_clear_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="No such file"):
        read_power_csv(tmp_path / "none.csv")
    with pytest.raises(ConfigError, match="cannot read"):
        read_power_csv(tmp_path)
    (tmp_path / "binary.csv").write_bytes(b"\xff\xfe\x00" * 9)
    with pytest.raises(ConfigError, match="no text"):
        read_power_csv(tmp_path / "binary.csv")
    monkeypatch.setattr("edgelnn_profiling.power_csv.MAX_BYTES", 10)
    with pytest.raises(ConfigError, match="refused"):
        read_power_csv(csv(tmp_path / "large.csv", "time,watts\n1,2\n2,3\n"))


def test_power_changes_evenly_between_readings() -> None:
    times = (0, 1, 2, 3, *range(5, 21))
    ramp = PowerReadings("ramp.csv", times, tuple(float(time) for time in times))
    # 2.25 s are left out at each end, as 2 s is the longest time between two readings.
    assert ramp.power_w(0.5, 18.0) == (pytest.approx((3 + 15) / 2), len((3, *range(5, 16))))


def stepping(
    *, rate_hz: float, ahead_s: float, window_s: float, pairs: int = 6, averages: bool = False
) -> PowerReadings:
    """A meter of 3 W in idle windows and 4 W in busy ones, from 1000 s on; its clock is ahead, and it may average."""

    def busy_s(moment: float) -> float:
        whole, rest = divmod(max(0.0, moment - 1000.0), 2 * window_s)
        return whole * window_s + max(0.0, rest - window_s)

    step_s, end = 1 / rate_hz, 1000.0 + 2 * pairs * window_s
    moments = [998.0 + step_s * (place + 0.37) for place in range(int((end - 998.0 + 2.0) * rate_hz))]
    watts = [
        3 + (busy_s(moment) - busy_s(moment - step_s)) / step_s
        if averages
        else 3.0 + (moment >= 1000.0 and int((moment - 1000.0) / window_s) % 2)
        for moment in moments
    ]
    return PowerReadings("steps.csv", tuple(moment + ahead_s for moment in moments), tuple(watts))


@pytest.mark.parametrize("averages", [False, True])
@pytest.mark.parametrize("ahead_s", [-0.25, -0.1, 0.0, 0.1, 0.25])
@pytest.mark.parametrize(("rate_hz", "window_s"), [(100.0, 2.0), (10.0, 2.0), (3.0, 3.0), (1.0, 8.0)])
def test_clocks_that_differ_and_slow_meters_do_not_bias_the_estimate(
    rate_hz: float, window_s: float, ahead_s: float, averages: bool
) -> None:
    readings = stepping(rate_hz=rate_hz, ahead_s=ahead_s, window_s=window_s, averages=averages)
    taken = [EnergyWindow(1000.0 + window_s * place, window_s, 1000 * (place % 2), 0.0, 0) for place in range(12)]
    energy = readings.estimate(taken)
    assert energy.joules_per_inference == pytest.approx(window_s / 1000, rel=1e-6)
    assert (energy.idle_w, energy.busy_w) == (pytest.approx(3.0), pytest.approx(4.0))


@pytest.mark.parametrize(("rate_hz", "longer"), [(3.0, "2.9"), (1.0, "7.5"), (4.0, "2.3")])
def test_windows_too_short_for_clocks_and_meter_are_refused_before_and_after(rate_hz: float, longer: str) -> None:
    readings = stepping(rate_hz=rate_hz, ahead_s=0.0, window_s=1.9)
    advice = rf"readings well inside a window of 1\.9 s; expected 5 or more\..*--energy-window {longer}\."
    with pytest.raises(ProfileError, match=advice):
        readings.power_w(1000.0, 1001.9)
    with pytest.raises(ConfigError, match=advice):
        readings.refuse_short(1.9)
    readings.refuse_short(float(longer))


def test_readings_that_do_not_cover_a_window_or_are_too_few_are_refused() -> None:
    readings = PowerReadings("m.csv", tuple(range(1000, 1011)), (3.0,) * 11)
    with pytest.raises(ProfileError, match="set the clocks of meter and machine alike"):
        readings.power_w(999.0, 1005.0)
    with pytest.raises(ProfileError, match="cover"):
        readings.power_w(1005.0, 1010.5)
    with pytest.raises(ProfileError, match=r"1 readings well inside a window of 3\.0 s.*--energy-window 7\.5"):
        readings.power_w(1001.5, 1004.5)


# In a report


def meter_file(path: Path, *, start: float, seconds: int, busy_w: float = 4.0) -> Path:
    """Four readings a second: 3 W in even windows of two seconds, `busy_w` in odd ones."""
    moments = [start - 1 + place / 4 for place in range(4 * (seconds + 2))]
    lines = [f"{moment},{busy_w if int((moment - start) // 2) % 2 else 3.0}" for moment in moments]
    return csv(path, "\n".join(["time,watts", *lines]) + "\n")


def test_energy_is_taken_in_runs_of_its_own_and_shown_as_an_estimate(bundle: Path) -> None:
    executor = FakeExecutor()
    report = profile(bundle, Plan(energy=True), executor=executor)
    asked = [request for request in executor.requests if request["kind"] == "energy"]
    assert [request["meter"] for request in asked] == ["own", "own"]
    energy = report.results[0].energy
    assert energy is not None
    assert (energy.source, energy.rests_on) == ("pmic", "the rails of the board")
    assert energy.joules_per_inference == pytest.approx(2e-3)
    assert len(energy.windows) == 12
    assert Report.from_json(report.to_json()) == report
    table = energy_table(report)
    assert table.rows[0][1:] == ("2.00 mJ (2.00 mJ to 2.00 mJ)", "3.00 W", "4.00 W")
    assert table.note == "Estimates, net of idle; they rest on the rails of the board."


def test_a_machine_without_a_meter_has_a_reason_in_place_of_an_estimate(bundle: Path) -> None:
    said = [{"event": "no_meter", "reason": "this machine does not tell."}, {"event": "done"}]
    report = profile(bundle, Plan(energy=True), executor=FakeExecutor(energy=lambda request: said))
    energy = report.results[0].energy
    assert energy is not None
    assert (energy.joules_per_inference, energy.reason) == (None, "this machine does not tell")
    assert report.valid
    assert "this machine does not tell" in energy_table(report).note


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (Outcome((), "crashes its runtime (SIGSEGV)"), "SIGSEGV"),
        (energy_events()[:-2], "ended before it was done"),
        ([*energy_events()[:-2], {"event": "done"}], "what its meter is"),
    ],
)
def test_an_energy_process_that_fails_costs_the_estimate_and_nothing_else(bundle: Path, answer, reason) -> None:
    report = profile(bundle, Plan(energy=True), executor=FakeExecutor(energy=lambda request: answer))
    energy = report.results[0].energy
    assert energy is not None
    assert energy.joules_per_inference is None
    assert reason in (energy.reason or "")
    assert report.valid


def test_an_external_meters_readings_are_laid_over_the_windows(bundle: Path, tmp_path: Path) -> None:
    path = meter_file(tmp_path / "meter.csv", start=1000.0, seconds=24, busy_w=4.6)
    executor = FakeExecutor(energy=lambda request: energy_events(external=True))
    report = profile(bundle, Plan(energy=True), executor=executor, power_csv=path)
    assert {request["meter"] for request in executor.requests if request["kind"] == "energy"} == {"external"}
    energy = report.results[0].energy
    assert energy is not None
    assert energy.source == "csv"
    assert energy.joules_per_inference == pytest.approx(3.2e-3)
    assert all(window.readings == 5 for window in energy.windows)
    assert "meter.csv" in (energy.rests_on or "")


def test_a_meter_that_stops_too_early_costs_the_estimate_and_nothing_else(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    waited: list[float] = []
    monkeypatch.setattr(manager.time, "sleep", waited.append)
    path = meter_file(tmp_path / "meter.csv", start=1000.0, seconds=10)
    executor = FakeExecutor(energy=lambda request: energy_events(external=True))
    report = profile(bundle, Plan(energy=True), executor=executor, power_csv=path)
    assert waited == [1.0] * manager.METER_PATIENCE_S
    assert report.valid
    energy = report.results[0].energy
    assert energy is not None
    assert "Let the meter run from before to after it" in (energy.reason or "")

    def spoil(request):
        path.write_text("no longer what it was")
        return energy_events(external=True)

    report = profile(
        bundle,
        Plan(energy=True),
        executor=FakeExecutor(energy=spoil),
        power_csv=meter_file(path, start=1000.0, seconds=24),
    )
    energy = report.results[0].energy
    assert energy is not None
    assert "begins with" in (energy.reason or "")


def test_a_meters_file_is_looked_at_before_anything_is_measured(bundle: Path, tmp_path: Path) -> None:
    executor = FakeExecutor()
    with pytest.raises(ConfigError, match="No such file"):
        profile(bundle, Plan(energy=True), executor=executor, power_csv=tmp_path / "none.csv")
    path = meter_file(tmp_path / "meter.csv", start=1000.0, seconds=24)
    with pytest.raises(ConfigError, match=r"inside a window of 1\.5 s.*--energy-window 2\.3"):
        profile(bundle, Plan(energy=True, energy_window_s=1.5), executor=executor, power_csv=path)
    assert executor.requests == []


def test_a_real_process_fills_windows_for_an_external_meter(bundle: Path, tmp_path: Path) -> None:
    start = datetime.now(UTC).timestamp()
    path = csv(tmp_path / "meter.csv", "time,watts\n" + "".join(f"{start - 5 + i / 100},3.0\n" for i in range(30_000)))
    plan = Plan(
        rounds=1, windows=1, window_s=0.005, min_samples=5, warm_up_min_s=0.0, warm_up_max_s=0.02,
        preparation_samples=0, memory=False, energy=True, energy_pairs=1, energy_window_s=0.6, batches=(1,),
    )  # fmt: skip
    report = profile(bundle, plan, executor=LocalExecutor(), variants=["onnx-float32"], power_csv=path)
    energy = report.results[0].energy
    assert energy is not None
    assert energy.reason is None
    assert [window.inferences > 0 for window in energy.windows] == [False, True]
    assert energy.joules_per_inference == pytest.approx(0.0, abs=1e-9)


def test_options_for_energy_are_checked_by_the_command_line(bundle: Path, tmp_path: Path) -> None:
    assert_one_clear_line(run_cli("profile", bundle, "--energy-window", "3"), "--energy", code=[1])
    assert_one_clear_line(run_cli("profile", bundle, "--power-csv", tmp_path / "none.csv"), "none.csv", code=[1])
    assert_one_clear_line(run_cli("profile", bundle, "--pin", "first"), "--pin first", "'last'", code=[1])
    assert_one_clear_line(run_cli("profile", bundle, "--batches", "8"), "batches", code=[1])
    assert_one_clear_line(run_cli("profile", bundle, "--window", "0"), "window_s=0", code=[1])
