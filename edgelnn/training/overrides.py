"""Changes to an experiment from the command line, such as ``head.units=24`` or ``stem.kind=identity``."""

from __future__ import annotations

import contextlib
import tomllib
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from edgelnn.errors import ConfigError
from edgelnn.training.mistakes import explain, kinds_of, locate, models_of, show_value

__all__ = ["Override", "parse_overrides", "validate_with_overrides"]

Table = dict[str, Any]
Model = TypeVar("Model", bound=BaseModel)


@dataclass(frozen=True)
class Override:
    """One change: where, to what, and the text it was given as."""

    path: tuple[str, ...]
    value: Any
    text: str


def parse_overrides(texts: Sequence[str]) -> tuple[Override, ...]:
    """Return the changes that texts such as ``"head.units=24"`` ask for.

    Values are TOML; a text without quotes is taken as it stands.

    Raises:
        ConfigError: A text has no ``=`` or names no field.

    >>> [override.value for override in parse_overrides(["a.b=[1, 2]", "a.c=true", "a.d=cfc", "a.e=.5", "a.f='1'"])]
    [[1, 2], True, 'cfc', 0.5, '1']
    """
    overrides = []
    for text in texts:
        name, equals, value = text.partition("=")
        path = tuple(part.strip() for part in name.split("."))
        if not equals or not all(path):
            raise ConfigError(f"got {show_value(text)}; expected FIELD=VALUE, such as head.units=24.")
        overrides.append(Override(path, _parse(value.strip()), value.strip()))
    return tuple(overrides)


def validate_with_overrides(
    model: type[Model], values: Table, overrides: Sequence[Override], *, where: str = ""
) -> Model:
    """Return the model that `values` describe after the changes.

    A change of a section's ``kind`` keeps the fields that the new kind has too, as far as their values fit it, and
    drops the others; fields that a change names are never dropped.

    Args:
        model: What to validate as.
        values: Tables and values as read from TOML; left as they are.
        overrides: The changes, later ones winning over earlier ones.
        where: Where `values` come from, for messages.

    Raises:
        ConfigError: One line per mistake.
    """
    values = with_default_kinds(deepcopy(values), model)
    ordered = sorted(overrides, key=lambda override: override.path[-1] != "kind")
    named = {override.path for override in overrides}
    changed = [one.path[:-1] for one in ordered if one.path[-1] == "kind" and _at(values, one.path) != one.value]
    for override in ordered:
        _assign(values, override)
    values = with_default_kinds(values, model)
    while True:
        try:
            return model.model_validate(values)
        except ValidationError as error:
            # A carried-over field that does not fit the new kind, or a bare text that reads as a number, is mended.
            if not any(_mend(values, detail, model, overrides, named, changed) for detail in error.errors()):
                raise explain(error, model, values, where=where) from error


def with_default_kinds(values: Table, model: type[BaseModel]) -> Table:
    """Return the values with ``kind`` filled in where a section leaves it out and the model has a default section."""
    for name, field in model.model_fields.items():
        section = values.get(name)
        members = list(models_of(field.annotation))
        if isinstance(section, dict) and members:
            default = field.get_default(call_default_factory=True)
            if len(members) > 1 and "kind" not in section and default is not None:
                section["kind"] = default.kind
            for member in members:
                if len(members) == 1 or section.get("kind") in kinds_of(member):
                    with_default_kinds(section, member)
    return values


def _mend(
    values: Table,
    detail: Any,
    model: type[BaseModel],
    overrides: Sequence[Override],
    named: set[tuple[str, ...]],
    changed: Sequence[tuple[str, ...]],
) -> bool:
    """Drop or re-read the value that an error is about, where that is what its user meant; return whether it was."""
    location, _ = locate(detail["loc"], model, values)
    path = tuple(str(part) for part in location)
    given = next((one for one in overrides if one.path == path), None)
    if given is not None:
        if detail["type"] != "string_type" or isinstance(given.value, str) or _at(values, path) == given.text:
            return False
        _assign(values, Override(path, given.text, given.text))
        return True
    for section in changed:
        if path[: len(section)] == section and len(path) > len(section):
            field = path[: len(section) + 1]
            inside = _at(values, section)
            if field in named or field[-1] == "kind" or not isinstance(inside, dict) or field[-1] not in inside:
                continue
            del inside[field[-1]]
            return True
    return False


def _parse(text: str) -> Any:
    """Return the value that a text means: TOML, else a number as Python writes it, else the text itself."""
    with contextlib.suppress(tomllib.TOMLDecodeError, RecursionError):
        parsed = tomllib.loads(f"value = {text}")
        if list(parsed) == ["value"]:
            return parsed["value"]
    with contextlib.suppress(ValueError):
        return float(text)
    return {"True": True, "False": False}.get(text, text)


def _assign(values: Table, override: Override) -> None:
    """Set one value, making the tables on the way; whole numbers lead into lists."""
    inside: Any = values
    for index, part in enumerate(override.path):
        last = index == len(override.path) - 1
        if isinstance(inside, list):
            number = int(part) if part.isdecimal() else -1
            if not 0 <= number < len(inside):
                name = ".".join(override.path[:index])
                raise ConfigError(f"{name}: got item {show_value(part)}; the list has items 0 to {len(inside) - 1}.")
            if last:
                inside[number] = override.value
            else:
                inside = inside[number]
        elif isinstance(inside, dict):
            if last:
                inside[part] = override.value
            else:
                inside = inside.setdefault(part, {})
        else:
            name = ".".join(override.path[:index])
            raise ConfigError(f"{'.'.join(override.path)}: no such field; {name} is {show_value(inside)}, not a table.")


def _at(values: Any, path: Sequence[str]) -> Any:
    """Return the value at a path, None where there is none."""
    for part in path:
        if isinstance(values, dict):
            values = values.get(part)
        elif isinstance(values, list) and part.isdecimal() and int(part) < len(values):
            values = values[int(part)]
        else:
            return None
    return values
