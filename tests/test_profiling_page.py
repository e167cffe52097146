"""The HTML page: whole, loud where a report is not valid, and proof against whatever things are called."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from edgelnn_profiling import Plan, Report, comparison, profile
from edgelnn_profiling.energy import Energy, EnergyWindow
from edgelnn_profiling.executor import Outcome
from edgelnn_profiling.operator_times import OperatorProfile, OperatorTime
from edgelnn_profiling.writers import write_html
from edgelnn_profiling.writers.axes import linear_axis, log_axis
from edgelnn_profiling.writers.comparison_page import write_comparison_html
from edgelnn_profiling.writers.labels import place_labels
from edgelnn_profiling.writers.markup import element
from edgelnn_profiling.writers.pareto import pareto_front
from tests.browser import find_browser, open_browser
from tests.helpers import run_cli
from tests.profiling_fakes import NOW, FakeExecutor, timing_events
from tests.small_bundle import make_bundle

HOSTILE = (
    "</title></style><script>document.pwned=1</script><img src=x-y onerror='document.pwned=2'>\"' onload=\"x\" \u202e"
)
WORDS = {"kind", "source"}  # fields that hold one of a few words
VOID = {"br", "link", "meta", "wbr"}


class Reading(HTMLParser):
    """A page as a parser sees it."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: Counter[str] = Counter()
        self.attributes: list[tuple[str, str | None]] = []
        self.open: list[str] = []
        self.texts: list[tuple[str, str]] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        self.attributes += attrs
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append((self.open[-1] if self.open else "", data))


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_bundle(tmp_path_factory.mktemp("bundles") / "small").folder


def report_of(bundle: Path, plan: Plan | None = None, **more: Any) -> Report:
    def timing(request: Mapping[str, Any]) -> list[dict[str, Any]]:
        return timing_events(sample_ns=20_000 if request["format"] == "onnx" else 16_500, **more)

    return profile(bundle, plan, executor=FakeExecutor(timing), now=lambda: NOW)


def full(report: Report) -> Report:
    """The report with time by operator and energy in it."""
    times = [("conv", "stem", 4e-6, 5e-6), ("lstm", "head", 9e-6, 11e-6), ("reorder", None, 0.0, 1e-6)]
    operators = tuple(
        OperatorTime(f"{name}_op", name.title(), name, name and part and f"{part}/{name}", part, 1, mean, most)
        for name, part, mean, most in times
    )
    watched = OperatorProfile("a profiler", 50, 30e-6, 30e-6, 1e-6, operators, None)
    window = EnergyWindow(0.0, 2.0, 1000, 0.5, 20)
    energy = Energy(
        source="pmic",
        rests_on="a meter of rails",
        joules_per_inference=1.5e-4,
        low_j=1.2e-4,
        high_j=1.8e-4,
        idle_w=2.5,
        busy_w=3.1,
        windows=(window,),
        other_cpus=0.1,
        reason=None,
    )
    unsure = replace(energy, joules_per_inference=2e-5, low_j=-1e-5, high_j=4e-5)
    first, second = report.results
    results = (replace(first, operators=watched, energy=energy), replace(second, operators=watched, energy=unsure))
    return replace(report, results=results)


def hostile(report: Report) -> Report:
    """The report with every text in it replaced, but those that are one of a few words."""

    def replaced(value: Any, name: str = "") -> Any:
        if isinstance(value, dict):
            return {key: replaced(item, key) for key, item in value.items()}
        if isinstance(value, list):
            return [replaced(item, name) for item in value]
        return HOSTILE if isinstance(value, str) and name not in WORDS else value

    return Report.from_json(json.dumps(replaced(json.loads(report.to_json()))))


def test_a_page_is_well_formed_and_asks_nothing_of_the_network(bundle: Path) -> None:
    text = write_html(report_of(bundle))
    page = Reading(text)
    assert page.open == []
    assert page.tags["script"] == page.tags["img"] == page.tags["iframe"] == 0
    addresses = [value for name, value in page.attributes if name in ("href", "src", "srcset", "action", "xlink:href")]
    assert addresses == ["data:,"]
    assert not re.search(r"https?:|url\(|@import", text)
    assert any(value and value.startswith("default-src 'none'") for name, value in page.attributes if name == "content")


def test_a_page_holds_every_table_and_chart(bundle: Path) -> None:
    page = Reading(write_html(report_of(bundle)))
    headings = [text for tag, text in page.texts if tag in ("h2", "h3", "caption")]
    assert headings == [
        "What it costs, what it is worth",
        "AUC against latency",
        "AUC against size",
        "Size, start, accuracy, proof",
        "Latency",
        "Latency of one inference, after warm-up",
        "Median, p90 and p99",
        "onnx-float32",
        "tflite-float32",
        "Memory and throughput",
        "What the resident memory of a process is made of",
        "Images a second, by batch size",
        "Memory: resident set (RSS)",
        "From pixels to a decision: medians",
        "The machine",
        "Its state",
        "How it was measured",
        "The plan",
        "Files",
    ]


def test_charts_can_be_read_aloud(bundle: Path) -> None:
    page = Reading(write_html(report_of(bundle)))
    named = [value for name, value in page.attributes if name == "aria-labelledby"]
    ids = [value for name, value in page.attributes if name == "id"]
    assert len(named) == 6
    assert len(set(ids)) == len(ids) == 2 * len(named)
    assert {part for value in named if value for part in value.split()} == set(ids)
    said = [text for tag, text in page.texts if tag == "desc"]
    assert "On the Pareto front, by rising cost: float32 (16.5 µs)." in said[0]
    assert any(text.startswith("Histogram of 1,200 samples from 20.0 µs") for text in said)


def test_where_the_time_goes_and_what_energy_it_takes_are_charts_too(bundle: Path) -> None:
    page = Reading(write_html(full(report_of(bundle))))
    headings = [text for tag, text in page.texts if tag in ("h2", "h3", "caption")]
    first = headings.index("Where the time goes")
    assert headings[first : first + 9] == [
        "Where the time goes",
        "Time by part of the classifier",
        "Time by layer: onnx-float32",
        "Time by layer: tflite-float32",
        "Time by part of the classifier",
        "Time by layer",
        "Energy",
        "Energy of an inference, estimated, net of idle",
        "Energy",
    ]
    said = [text for tag, text in page.texts if tag == "desc"]
    assert "stem/conv 4.00–5.00 µs; head/lstm 9.00–11.0 µs; reorder_op < 1.00 µs." in said
    assert "onnx-float32 150 µJ; tflite-float32 20.0 µJ ?." in said


def test_a_report_that_is_not_valid_says_so_before_anything_else(bundle: Path) -> None:
    page = write_html(report_of(bundle, activity={"other_cpus": 2.0}))
    assert 0 < page.index("✗ Not valid: do not publish these figures") < page.index("<h2>")
    assert page.index("other processes kept 2.0 of 4 CPUs busy") < page.index("<h2>")
    assert "What to do: end them, or wait, and measure again." in page
    assert "✓ Valid" not in page
    valid = write_html(report_of(bundle))
    assert "✓ Valid" in valid
    assert "do not publish" not in valid


def test_synthetic_images_are_named_before_any_figure(bundle: Path) -> None:
    page = write_html(report_of(bundle))
    assert 0 < page.index("its accuracy says nothing about medicine") < page.index("<h2>")


@pytest.mark.parametrize("more", [{}, {"activity": {"other_cpus": 2.0}, "samples": 10, "windows": (1.0, 1.3)}])
def test_hostile_texts_inject_nothing(bundle: Path, more: dict[str, Any]) -> None:
    report = full(report_of(bundle, **more))
    tame, wild = Reading(write_html(report)), Reading(write_html(hostile(report)))
    assert wild.open == []
    assert set(wild.tags) == set(tame.tags)
    assert wild.attributes.count(("role", "img")) == tame.attributes.count(("role", "img")) == 10
    assert {name for name, _ in wild.attributes} == {name for name, _ in tame.attributes}
    assert any("<script>document.pwned=1</script>" in text for _, text in wild.texts)
    assert "\u202e" not in write_html(hostile(report))


@pytest.mark.parametrize(
    "executor",
    [
        FakeExecutor(lambda request: Outcome((), "was killed")),
        FakeExecutor(lambda request: timing_events(samples=1), memory=lambda request: Outcome((), "was killed")),
        FakeExecutor(lambda request: timing_events(sample_ns=0, samples=3)),
        FakeExecutor(machine={"board": None, "cpu": None, "memory_bytes": None, "features": []}),
    ],
    ids=["nothing measured", "one sample, no memory", "samples of no time", "unknown machine"],
)
def test_what_is_missing_leaves_the_rest(bundle: Path, executor: FakeExecutor) -> None:
    page = Reading(write_html(profile(bundle, Plan(rounds=1, windows=1), executor=executor)))
    assert page.open == []
    assert page.tags["table"] >= 3


def test_a_bare_file_has_a_page_without_accuracy(bundle: Path) -> None:
    executor = FakeExecutor(lambda request: timing_events(parity_error=None))
    text = write_html(profile(next(bundle.glob("*.onnx")), executor=executor))
    assert "AUC against" not in text
    assert "Median, p90 and p99" in text


def test_numbers_of_threads_tell_rows_apart(bundle: Path) -> None:
    report = report_of(bundle, Plan(rounds=1, threads=(1, 2)))
    text = write_html(report)
    assert "onnx-float32 ×1" in text.replace("<wbr>", "")
    assert "onnx-float32 ×2" in text.replace("<wbr>", "")


def test_text_and_attributes_are_escaped() -> None:
    assert element("p", "<b>", title='"&') == '<p title="&quot;&amp;">&lt;b&gt;</p>'
    assert element("p", "a\x00\x1b\ud800") == "<p>a\ufffd\ufffd\ufffd</p>"
    with pytest.raises(ValueError, match="not the name"):
        element("p onload=x")


def test_the_front_is_what_no_other_point_beats() -> None:
    assert pareto_front([]) == []
    assert pareto_front([(1.0, 1.0), (1.0, 1.0), (2.0, 1.0), (0.5, 0.5)]) == [3, 0, 1]


def test_axes_take_every_range() -> None:
    for axis in (linear_axis(3.0, 3.0, 0.0, 9.0), log_axis([0.0], 0.0, 9.0), log_axis([1e-9, 1e9], 0.0, 9.0)):
        assert axis.low < axis.high
        assert 1 <= len(axis.ticks) <= 25
        assert all(0.0 <= axis(tick) <= 9.0 for tick in axis.ticks)
    assert log_axis([10.0, 12.0], 0.0, 9.0).logarithmic is False


def test_names_lie_neither_on_each_other_nor_outside() -> None:
    points = [(100.0, 100.0)] * 9 + [(300.0, 20.0)]
    labels = place_labels(points, ["weight_only"] * 10, (40.0, 0.0, 380.0, 250.0), first=[9])
    placed = [(label.x, label.y, label.anchor) for label in labels if label is not None]
    assert labels[9] is not None
    assert 5 <= len(placed) == len(set(placed))


@pytest.mark.slow
def test_a_browser_shows_it_whole_at_every_width(bundle: Path, tmp_path: Path) -> None:
    program = find_browser()
    if program is None:
        pytest.skip("no browser: install chromium")
    long = report_of(bundle, activity={"other_cpus": 2.0}, windows=(1.0, 1.2))
    reports = {"valid": full(report_of(bundle)), "invalid": full(long), "hostile": hostile(full(long))}
    pages = {name: write_html(report) for name, report in reports.items()}
    found = comparison(list(reports.values()), [*reports])
    pages["comparison"] = write_comparison_html(found)
    questions = (
        "document.documentElement.scrollWidth",
        "document.body.scrollWidth",
        "document.pwned === undefined",
        "[...document.querySelectorAll('svg')].every(chart => chart.getBoundingClientRect().height > 10)",
        "document.querySelectorAll('svg[role=img]').length",
        "getComputedStyle(document.body).backgroundColor",
    )
    charts = {"valid": 10, "invalid": 10, "hostile": 10, "comparison": 3}
    colors = {}
    with open_browser(program, tmp_path / "profile") as browser:
        for name, page in pages.items():
            path = tmp_path / f"{name}.html"
            path.write_text(page, "utf-8")
            for width in (360, 1200):
                for dark in (False, True):
                    visit = browser.visit(path, width=width, dark=dark, mobile=width < 500, ask=questions)
                    assert visit.complaints == ()
                    assert visit.requests == ()
                    assert visit.values[:5] == (width, width, True, True, charts[name]), (name, width)
                    colors[dark] = visit.values[5]
    assert colors == {False: "rgb(251, 251, 250)", True: "rgb(20, 23, 26)"}


def test_profile_writes_it(bundle: Path, tmp_path: Path) -> None:
    target = tmp_path / "report.html"
    outcome = run_cli("profile", bundle, "--quick", "--variant", "tflite-float32", "--html", target)
    assert outcome.code == 0
    assert f"wrote {target}" in outcome.err
    assert Reading(target.read_text("utf-8")).tags["svg"] >= 5
