"""From pydantic's errors to one line a mistake: the field, the value got, what is allowed, what was perhaps meant."""

from __future__ import annotations

import difflib
import json
import types
from collections.abc import Iterator, Sequence
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from edgelnn.errors import ConfigError

__all__ = ["allowed_values", "did_you_mean", "explain", "kinds_of", "locate", "models_of", "show_value"]

Location = tuple[int | str, ...]
SHORT = 6  # fields that a message lists
LENGTHS = ("min_length", "max_length")


def explain(error: ValidationError, model: type[BaseModel], values: object, *, where: str = "") -> ConfigError:
    """Return one `ConfigError` with a line per mistake.

    Args:
        error: What pydantic raised.
        model: The model that was being validated.
        values: What was validated: tables, lists and plain values.
        where: Put before every line, such as the name of a file.

    >>> from edgelnn.training.experiment import Experiment
    >>> values = {"training": {"optimiser": "adam", "epochs": 0}}
    >>> try:
    ...     Experiment.model_validate(values)
    ... except ValidationError as error:
    ...     print(explain(error, Experiment, values))
    training.epochs: got 0; expected a whole number from 1 to 100000.
    training.optimiser: no such field; did you mean "optimizer"?
    """
    found: dict[Location, str] = {}
    for detail in error.errors(include_url=False):
        location, owner = locate(detail["loc"], model, values)
        line = _line(location, owner, detail["type"], detail["input"], detail.get("ctx", {}))
        if detail["type"] == "value_error":  # what a member of a union says that took the value for its own
            found[location] = line
        found.setdefault(location, line)
    # Each member of a union complains; the one that got furthest into the value is the one that was meant.
    deepest = [here for here in found if not any(here != other and here == other[: len(here)] for other in found)]
    prefix = f"{where}: " if where else ""
    return ConfigError("\n".join(sorted(f"{prefix}{found[here]}" for here in deepest)))


def locate(location: Location, model: type[BaseModel], values: object) -> tuple[Location, type[BaseModel] | None]:
    """Return a location without the marks pydantic puts in for members of unions, and the model its field is in."""
    named: list[int | str] = []
    owner: type[BaseModel] | None = None
    admitted = [model]
    for index, part in enumerate(location):
        real = (isinstance(values, dict) and (part in values or _is_absent_field(part, index, location, admitted))) or (
            isinstance(values, list) and isinstance(part, int)
        )
        if not real:
            continue
        named.append(part)
        if isinstance(values, dict):
            owner = _member(admitted, values)
            field = owner.model_fields.get(str(part)) if owner is not None else None
            admitted = list(dict.fromkeys(models_of(field.annotation))) if field is not None else []
            values = values.get(part)
        elif isinstance(values, list):
            values = values[int(part)]
    return tuple(named), owner


def models_of(annotation: object) -> Iterator[type[BaseModel]]:
    """Yield the models that an annotation admits, through unions, lists and `Annotated`."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    elif get_origin(annotation) is Annotated:
        yield from models_of(get_args(annotation)[0])
    elif get_origin(annotation) in (Union, types.UnionType, list, tuple):
        for argument in get_args(annotation):
            yield from models_of(argument)


def kinds_of(model: type[BaseModel]) -> tuple[str, ...]:
    """Return what the field `kind` of a model may say; empty where it has none.

    >>> from edgelnn.models.specification import RecurrentHead
    >>> kinds_of(RecurrentHead)
    ('lstm', 'gru', 'rnn')
    """
    field = model.model_fields.get("kind")
    return tuple(get_args(field.annotation)) if field is not None else ()


def allowed_values(annotation: object, metadata: Sequence[object] = ()) -> str:
    """Return in words what an annotation admits.

    >>> from pydantic import Field
    >>> allowed_values(Annotated[int, Field(ge=1, le=8)] | list[int] | None)
    'a whole number from 1 to 8 or a list (each a whole number)'
    >>> allowed_values(Literal["adam", "sgd"])
    'one of adam, sgd'
    """
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        inner = [item for extra in arguments[1:] for item in getattr(extra, "metadata", [extra])]
        return allowed_values(arguments[0], [*metadata, *inner])
    if origin is Literal:
        return f"one of {', '.join(_plain(value) for value in arguments)}"
    if origin in (Union, types.UnionType):
        members = [member for member in arguments if member is not type(None)]
        if all(list(models_of(member)) for member in members):
            kinds = [kind for member in members for one in models_of(member) for kind in kinds_of(one)]
            if kinds:
                return f"a table with kind = one of {', '.join(kinds)}"
        return " or ".join(allowed_values(member, metadata) for member in members)
    if origin is list:
        return f"a list{_lengths(metadata)} (each {allowed_values(arguments[0])})"
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        names = list(annotation.model_fields)
        return f"a table of {', '.join(names)}" if len(names) <= SHORT else "a table of fields"
    words: dict[object, str] = {
        int: "a whole number",
        float: "a number",
        bool: "true or false",
        str: "a text in quotes",
    }
    return words.get(annotation, "another kind of value") + _bounds(metadata)


def did_you_mean(got: str, allowed: Sequence[str]) -> str:
    """Return ``; did you mean "…"?`` where something allowed looks like what was got, or an empty text.

    >>> did_you_mean("cfcc", ["cfc", "ltc"])
    '; did you mean "cfc"?'
    >>> did_you_mean("lr", ["epochs", "learning_rate"])
    '; did you mean "learning_rate"?'
    """
    by_folded = {name.lower(): name for name in allowed}
    close = difflib.get_close_matches(got.lower(), list(by_folded), n=1, cutoff=0.6)
    close += [name for name in by_folded if "".join(word[0] for word in name.split("_") if word) == got.lower()]
    return f'; did you mean "{by_folded[close[0]]}"?' if close else ""


def show_value(value: object) -> str:
    """Return a value as a user would have typed it, cut to one short line.

    >>> show_value("adam"), show_value([1, 2]), show_value(True)
    ('"adam"', '[1, 2]', 'true')
    """
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 60 else f"{text[:57]}…"


def _line(location: Location, owner: type[BaseModel] | None, kind: str, got: object, context: dict[str, Any]) -> str:
    """Return what is wrong with one field."""
    name = ".".join(str(part) for part in location) or "the experiment"
    field = owner.model_fields.get(str(_field_name(location))) if owner is not None else None
    if kind == "extra_forbidden":
        known = sorted(owner.model_fields) if owner is not None else []
        hint = did_you_mean(str(location[-1]), known)
        return f"{name}: no such field{hint or f'; the fields here are {_listed(known)}.'}"
    if kind == "missing":
        return f"{name}: missing; expected {_allowed(field, location)}."
    if kind == "value_error":
        return f"{name}: {context['error']}"
    if kind in ("union_tag_invalid", "union_tag_not_found"):
        kinds = [one for model in models_of(field.annotation) for one in kinds_of(model)] if field is not None else []
        got = context.get("tag")
        said = f"got {show_value(got)}" if got is not None else "missing"
        return f"{name}.kind: {said}; expected one of {_listed(kinds)}{did_you_mean(str(got), kinds) or '.'}"
    choices = _choices(field)
    hint = did_you_mean(got, choices) if isinstance(got, str) else ""
    return f"{name}: got {show_value(got)}; expected {_allowed(field, location)}{hint or '.'}"


def _allowed(field: FieldInfo | None, location: Location) -> str:
    """Return what the field at a location, or the item of a list there, admits."""
    if field is None:
        return "another value"
    annotation: object = field.annotation
    if isinstance(location[-1], int):
        lists = [one for one in (annotation, *get_args(annotation)) if get_origin(one) is list]
        lists += [get_args(one)[0] for one in get_args(annotation) if get_origin(one) is Annotated]
        return allowed_values(get_args(lists[0])[0]) if lists else "another value"
    return allowed_values(annotation, field.metadata)


def _choices(field: FieldInfo | None) -> list[str]:
    """Return the words a field admits."""
    annotations = [field.annotation, *get_args(field.annotation)] if field is not None else []
    return [str(value) for one in annotations if get_origin(one) is Literal for value in get_args(one)]


def _bounds(metadata: Sequence[object]) -> str:
    """Return the bounds in a field's metadata in words, with a space before."""
    found = {name: getattr(item, name) for item in metadata for name in ("ge", "gt", "le", "lt") if hasattr(item, name)}
    if "ge" in found and "le" in found:
        return f" from {found['ge']:.12g} to {found['le']:.12g}"
    words = {"ge": "of at least", "gt": "above", "le": "up to", "lt": "below"}
    said = [f"{word} {found[name]:.12g}" for name, word in words.items() if name in found]
    return f" {' and '.join(said)}" if said else ""


def _lengths(metadata: Sequence[object]) -> str:
    """Return the lengths in a field's metadata in words, with a space before."""
    found = {name: getattr(item, name) for item in metadata for name in LENGTHS if hasattr(item, name)}
    least, most = found.get("min_length"), found.get("max_length")
    if least is None:
        return ""
    return f" of {least}" if least == most else f" of at least {least}"


def _member(admitted: Sequence[type[BaseModel]], values: dict[str, Any]) -> type[BaseModel] | None:
    """Return the model that a table is of: the only one admitted, or the one of its kind."""
    if len(admitted) == 1:
        return admitted[0]
    return next((model for model in admitted if values.get("kind") in kinds_of(model)), None)


def _is_absent_field(part: int | str, index: int, location: Location, admitted: Sequence[type[BaseModel]]) -> bool:
    """Whether the last part of a location is a field that is missing in the values."""
    return index == len(location) - 1 and any(part in model.model_fields for model in admitted)


def _field_name(location: Location) -> int | str | None:
    """Return the last name in a location: an index belongs to the list before it."""
    return next((part for part in reversed(location) if isinstance(part, str)), None)


def _plain(value: object) -> str:
    return value if isinstance(value, str) else show_value(value)


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names)
