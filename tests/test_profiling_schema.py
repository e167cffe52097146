"""The report's JSON Schema: what it takes is what the reader takes."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from edgelnn.decode import DecodeError, decode
from edgelnn.errors import ProfileError
from edgelnn_profiling import Plan, Report, comparison, profile
from edgelnn_profiling.executor import Outcome
from edgelnn_profiling.schema import build_schema, report_schema
from edgelnn_profiling.writers import write_csv, write_html, write_markdown
from edgelnn_profiling.writers.comparison_page import write_comparison_html
from tests.helpers import run_cli
from tests.profiling_fakes import FakeExecutor, timing_events
from tests.small_bundle import make_bundle

SCHEMA = json.loads(report_schema())
CHECKER = jsonschema.Draft202012Validator(SCHEMA)


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory) -> list[Report]:
    """A full report, one with nothing measured, one of a bare file."""
    bundle = make_bundle(tmp_path_factory.mktemp("bundles") / "small").folder
    plan = Plan(rounds=1, windows=1, operators=True, energy=True)
    broken = FakeExecutor(lambda request: Outcome((), "was killed"), machine={"board": None, "clock_max_hz": None})
    bare = FakeExecutor(lambda request: timing_events(parity_error=None))
    return [
        profile(bundle, plan, executor=FakeExecutor(lambda request: timing_events(samples=3))),
        profile(bundle, plan, executor=broken),
        profile(next(bundle.glob("*.tflite")), plan, executor=bare),
    ]


def paths_of(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The way to every value in a JSON value, the first of a list standing for all."""
    yield path
    inner = value.items() if isinstance(value, dict) else enumerate(value[:1]) if isinstance(value, list) else ()
    for key, item in inner:
        yield from paths_of(item, (*path, key))


def changed(value: Any, path: tuple[Any, ...], new: Any) -> Any:
    copied = copy.deepcopy(value)
    *way, last = path
    place = copied
    for key in way:
        place = place[key]
    place[last] = new
    return copied


def taken_by_reader(value: Any) -> bool:
    try:
        decode(Report, value)
    except DecodeError:
        return False
    return True


def test_it_is_a_schema_of_the_draft_it_names() -> None:
    assert SCHEMA["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


def test_reports_of_every_kind_are_valid_under_it(reports: list[Report]) -> None:
    for report in reports:
        CHECKER.validate(json.loads(report.to_json()))


@pytest.mark.slow
def test_a_value_of_another_type_is_refused_wherever_the_reader_refuses_it(reports: list[Report]) -> None:
    value = json.loads(reports[0].to_json())
    del value["results"][1:], value["cautions"][1:]
    places = [path for path in paths_of(value) if path]
    assert len(places) > 200
    for path in places:
        for new in ("text", None, [[]], 0.25):
            other = changed(value, path, new)
            assert CHECKER.is_valid(other) == taken_by_reader(other), (path, new)


def test_fields_more_or_less_are_refused(reports: list[Report]) -> None:
    value = json.loads(reports[0].to_json())
    assert not CHECKER.is_valid({**value, "more": 1})
    assert not CHECKER.is_valid({name: item for name, item in value.items() if name != "plan"})
    assert not CHECKER.is_valid({**value, "format_version": 4})


def test_every_field_says_what_it_is() -> None:
    silent = [
        f"{name}.{field}"
        for name, definition in {"Report": SCHEMA, **SCHEMA["$defs"]}.items()
        for field, described in definition["properties"].items()
        if len(definition["properties"]) > 3 and not described.get("description")  # small ones say it in their heading
    ]
    assert silent == []
    assert all(definition["description"] for definition in SCHEMA["$defs"].values())


def test_the_command_line_prints_it() -> None:
    outcome = run_cli("profile", "--schema")
    assert (outcome.code, outcome.err) == (0, "")
    assert outcome.json == SCHEMA


def test_what_has_no_form_in_json_is_an_error_at_once() -> None:
    @dataclass(frozen=True)
    class Odd:
        format_version: int
        where: Path

    Odd.__annotations__.update(format_version=int, where=Path)
    with pytest.raises(TypeError, match="no rule to describe"):
        build_schema(Odd, name="odd", version=1)
    with pytest.raises(TypeError, match="no field format_version"):
        build_schema(Plan, name="plan", version=1)


@pytest.mark.slow
def test_a_damaged_report_is_refused_or_shown_never_an_accident(reports: list[Report]) -> None:
    """Whatever number or list is replaced: reading says in one line what is wrong, or every writer copes."""
    value = json.loads(reports[0].to_json())
    writers: list[Callable[[Report], object]] = [
        write_html,
        write_markdown,
        write_csv,
        lambda report: write_comparison_html(comparison([reports[0], report])),
        lambda report: write_comparison_html(comparison([report, reports[0]])),
    ]
    others: dict[type, list[Any]] = {list: [[]], dict: [{}], int: [0, -1, 10**30], float: [0.0, -1.0, 1e300, 1e-300]}
    read = 0
    for path in paths_of(value):
        place = value
        for key in path:
            place = place[key]
        for new in others.get(type(place), []) if path else []:
            try:
                report = Report.from_json(json.dumps(changed(value, path, new)))
            except ProfileError:
                continue
            read += 1
            for write in writers:
                write(report)
    assert read > 200


@pytest.mark.parametrize(
    ("path", "new", "said"),
    [
        (("results", 0, "timing", "processes"), [], "timing.processes is []"),
        (("results", 0, "timing", "inference", "percentiles"), [], "the median first"),
        (("results", 0, "timing", "processes", 0, "means_of"), 0, "means_of is 0; expected 1 or more"),
        (("results", 0, "timing", "processes", 0, "windows", 0, "samples_ns"), [-5], "none below 0"),
        (("results", 0, "input", "shape"), [], "input.shape is []"),
        (("results", 0, "threads"), 0, "threads is 0"),
        (("plan", "rounds"), 0, "its plan: got rounds=0"),
    ],
)
def test_what_no_measurement_leaves_is_refused(
    reports: list[Report], path: tuple[Any, ...], new: object, said: str
) -> None:
    with pytest.raises(ProfileError, match=re.escape(said)):
        Report.from_json(json.dumps(changed(json.loads(reports[0].to_json()), path, new)))
