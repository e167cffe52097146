"""The report's JSON Schema: what it takes is what the reader takes."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from edgelnn.decode import DecodeError
from edgelnn.errors import ProfileError
from edgelnn_profiling import Plan, Report, profile
from edgelnn_profiling.executor import Outcome
from edgelnn_profiling.schema import build_schema, report_schema
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
        Report.from_json(json.dumps(value))
    except (ProfileError, DecodeError):
        return False
    return True


def test_it_is_a_schema_of_the_draft_it_names() -> None:
    assert SCHEMA["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


def test_reports_of_every_kind_are_valid_under_it(reports: list[Report]) -> None:
    for report in reports:
        CHECKER.validate(json.loads(report.to_json()))


def test_a_value_of_another_type_is_refused_wherever_the_reader_refuses_it(reports: list[Report]) -> None:
    value = json.loads(reports[0].to_json())
    places = [path for path in paths_of(value) if path]
    assert len(places) > 200
    for path in places:
        for new in ("text", None, [[]], {"nonsense": 1}, 0.25, True):
            other = changed(value, path, new)
            assert CHECKER.is_valid(other) == taken_by_reader(other), (path, new)


def test_fields_more_or_less_are_refused(reports: list[Report]) -> None:
    value = json.loads(reports[0].to_json())
    assert not CHECKER.is_valid({**value, "more": 1})
    assert not CHECKER.is_valid({name: item for name, item in value.items() if name != "plan"})
    assert not CHECKER.is_valid({**value, "format_version": 3})


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
