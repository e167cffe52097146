"""From JSON to frozen dataclasses and back, strictly: every field there, none unknown, every type as declared.

Only fields whose default is None may be missing.

Imports the standard library alone, so that a board can use it. Understood: dataclasses, ``tuple[X, ...]``,
``Mapping[str, X]``, ``Literal``, ``X | None``, ``X | tuple[X, ...]``, ``str``, ``int``, ``float`` and ``bool``.
"""

from __future__ import annotations

import json
import math
import re
import types
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any, Literal, NoReturn, TypeVar, Union, get_args, get_origin, get_type_hints

__all__ = ["DecodeError", "decode", "encode", "parse_json", "write_json"]

T = TypeVar("T")
# What would steer a terminal rather than show on it, and halves of characters.
_UNSHOWABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")


_MOST = 1e30
"""No time, size, weight or share is larger; what is, would overflow somewhere behind, where it is summed or shown."""


class DecodeError(ValueError):
    """A JSON value is not what its dataclass declares; the message says where."""


def parse_json(text: str | bytes) -> object:
    """Return the value that a JSON text holds; NaN, infinities and repeated keys are refused.

    Raises:
        DecodeError: It is not JSON, or not UTF-8.
    """
    try:
        value: object = json.loads(
            text if isinstance(text, str) else text.decode("utf-8"),
            parse_constant=_refuse_constant,
            object_pairs_hook=_without_repeats,
        )
    except RecursionError as error:
        raise DecodeError("not valid JSON: nested too deeply") from error
    except ValueError as error:
        if isinstance(error, DecodeError):
            raise
        raise DecodeError(f"not valid JSON: {error}") from error
    return value


def write_json(value: object) -> str:
    """Return the JSON text of a dataclass: fields in their order, two spaces of indentation, a line break at the end.

    Raises:
        DecodeError: A number is not finite.
    """
    return json.dumps(encode(value), indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def decode(kind: type[T], value: object, where: str = "") -> T:
    """Return `value`, as `parse_json` gives it, as a `kind`.

    Args:
        kind: A dataclass.
        value: What stands in its place in the JSON text.
        where: Path of `value` in the text, for messages.

    Raises:
        DecodeError: A field is missing, unknown or of another type.
    """
    if not isinstance(value, dict):
        _refuse(where, "an object", value)
    hints = _hints(kind)
    missing, unknown = hints.keys() - value.keys() - _may_be_missing(kind), value.keys() - hints.keys()
    if missing:
        raise DecodeError(f"{_said(where)}lacks {_listed(missing)}")
    if unknown:
        raise DecodeError(f"{_said(where)}holds {_listed(unknown)}, which is not a field of it")
    there = {name: hint for name, hint in hints.items() if name in value}
    return kind(**{name: _decode(hint, value[name], f"{where}.{name}".lstrip(".")) for name, hint in there.items()})


def encode(value: object) -> object:
    """Return `value` in dicts, lists, strings and numbers, as `json.dumps` takes it.

    Raises:
        DecodeError: A number is not finite, or a type is not one that `decode` understands.
    """
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: encode(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): encode(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [encode(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        raise DecodeError(f"got the number {value}; only finite ones can be written as JSON")
    if value is None or isinstance(value, str | bool | int | float):
        return value
    raise DecodeError(f"got {type(value).__name__}, which has no form in JSON here")


def _decode(hint: Any, value: object, where: str) -> Any:
    origin, arguments = get_origin(hint), get_args(hint)
    if is_dataclass(hint):
        return decode(hint, value, where)  # type: ignore[arg-type]  # mypy does not see that a hint is a class
    if origin in (Union, types.UnionType):
        if value is None and types.NoneType in arguments:
            return None
        return _decode(_member(arguments, value), value, where)
    if origin is Literal:
        # `in` alone would let True stand for 1
        if any(value == allowed and type(value) is type(allowed) for allowed in arguments):
            return value
        _refuse(where, " or ".join(map(repr, arguments)), value)
    if origin is tuple:
        if not isinstance(value, list):
            _refuse(where, "a list", value)
        return tuple(_decode(arguments[0], item, f"{where}[{index}]") for index, item in enumerate(value))
    if isinstance(origin, type) and issubclass(origin, Mapping):
        if not isinstance(value, dict):
            _refuse(where, "an object", value)
        return {
            _decode_scalar(str, key, f"a key of {where}"): _decode(arguments[1], item, f"{where}.{key}")
            for key, item in value.items()
        }
    return _decode_scalar(hint, value, where)


def _decode_scalar(hint: Any, value: object, where: str) -> Any:
    if hint is float and isinstance(value, int | float) and not isinstance(value, bool):
        try:
            number = float(value)
        except OverflowError:
            number = math.inf
        if not math.isfinite(number):
            _refuse(where, "a finite number", value)
        if abs(number) > _MOST:
            _refuse(where, f"a number of {_MOST:g} at most", value)
        return number
    if hint is int and type(value) is int and not -(2**63) <= value < 2**63:
        _refuse(where, "a whole number of 64 bits", value)
    if hint is str and isinstance(value, str) and _UNSHOWABLE.search(value):
        _refuse(where, "text without control characters", value)
    if hint in (str, int, bool) and type(value) is hint:
        return value
    names = {str: "text", int: "a whole number", float: "a number", bool: "true or false"}
    if hint not in names:
        raise TypeError(f"{where}: no rule to decode {hint}")
    _refuse(where, names[hint], value)


def _member(arguments: tuple[Any, ...], value: object) -> Any:
    """Return the member of a union that a value is to be decoded as: a list as its tuple, all else as the other one."""
    kinds = [argument for argument in arguments if argument is not types.NoneType]
    tuples = [kind for kind in kinds if get_origin(kind) is tuple]
    if len(kinds) == 2 and len(tuples) == 1:
        return tuples[0] if isinstance(value, list) else next(kind for kind in kinds if kind not in tuples)
    if len(kinds) != 1:
        raise TypeError(f"no rule to decode a union of {arguments}")
    return kinds[0]


def _hints(kind: type) -> dict[str, Any]:
    hints = get_type_hints(kind)
    return {field.name: hints[field.name] for field in fields(kind)}


def _may_be_missing(kind: type) -> set[str]:
    """Return the fields that are None unless told otherwise: what was written before there were such may be read."""
    return {field.name for field in fields(kind) if field.default is None}


def _refuse(where: str, expected: str, value: object) -> NoReturn:
    found = repr(value)
    raise DecodeError(f"{_said(where)}is {found if len(found) <= 80 else found[:77] + '...'}; expected {expected}")


def _said(where: str) -> str:
    return f"{where} " if where else "the text "


def _listed(names: set[str]) -> str:
    return ", ".join(repr(name[:80]) for name in sorted(names)[:5])


def _refuse_constant(name: str) -> NoReturn:
    raise DecodeError(f"holds {name}, which is not a number in JSON")


def _without_repeats(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise DecodeError("names a field twice")
    return found
