"""JSON Schemas of what is written as JSON, made from the dataclasses that are written.

`build_schema` reads what `edgelnn.decode` reads: the declared types; so text that a reader here takes is valid under
the schema. Words come from the docstrings. The report's schema is shipped as ``report.schema.json``, and a test holds
it to the dataclasses. After a change of these, write it anew: ``python -m edgelnn_profiling.schema``.
"""

from __future__ import annotations

import inspect
import json
import re
import types
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

__all__ = ["REPORT_SCHEMA", "build_schema", "report_schema"]

DIALECT = "https://json-schema.org/draft/2020-12/schema"
REPORT_SCHEMA = Path(__file__).with_name("report.schema.json")
_SCALARS = {str: "string", int: "integer", float: "number", bool: "boolean"}


def report_schema() -> str:
    """Return the JSON Schema of `Report.to_json`, as it is shipped.

    >>> json.loads(report_schema())["title"]
    'Report'
    """
    return REPORT_SCHEMA.read_text("utf-8")


def build_schema(kind: type, *, name: str, version: int) -> dict[str, object]:
    """Return the JSON Schema (draft 2020-12) of a dataclass that is written as JSON.

    Every field is required and none besides them allowed, as `edgelnn.decode.decode` has it.

    Args:
        kind: A dataclass with a field `format_version`.
        name: What its text is called; part of the schema's identifier.
        version: The `format_version` that the schema describes.

    Raises:
        TypeError: A field is of a type that has no form in JSON here.
    """
    definitions: dict[str, object] = {}
    top = _object(kind, definitions)
    properties = top["properties"]
    if not isinstance(properties, dict) or "format_version" not in properties:
        raise TypeError(f"{kind.__name__} has no field format_version, which its schema would be the schema of")
    properties["format_version"] = {**properties["format_version"], "const": version}
    return {
        "$schema": DIALECT,
        "$id": f"urn:edgelnn:{name}:{version}",
        "title": kind.__name__,
        **top,
        "$defs": dict(sorted(definitions.items())),
    }


def _object(kind: type, definitions: dict[str, object]) -> dict[str, object]:
    hints, words = get_type_hints(kind), _attributes(kind)
    properties = {}
    for field in fields(kind):
        described = {"description": words[field.name]} if field.name in words else {}
        properties[field.name] = {**described, **_schema(hints[field.name], definitions)}
    return {
        "description": _summary(kind),
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def _schema(hint: Any, definitions: dict[str, object]) -> dict[str, object]:
    """Return the schema of a value declared so; dataclasses become definitions."""
    origin, arguments = get_origin(hint), get_args(hint)
    if is_dataclass(hint):
        name = hint.__name__  # type: ignore[union-attr]  # a hint that is a dataclass is a class
        if name not in definitions:
            definitions[name] = {}  # stands in for itself within itself
            definitions[name] = _object(hint, definitions)  # type: ignore[arg-type]
        return {"$ref": f"#/$defs/{name}"}
    if origin in (Union, types.UnionType):
        found = [_schema(argument, definitions) for argument in arguments]
        if all(schema.keys() == {"type"} for schema in found):
            return {"type": [schema["type"] for schema in found]}
        return {"anyOf": found}
    if origin is Literal:
        return {"enum": list(arguments)}
    if origin is tuple:
        return {"type": "array", "items": _schema(arguments[0], definitions)}
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return {"type": "object", "additionalProperties": _schema(arguments[1], definitions)}
    if hint is types.NoneType:
        return {"type": "null"}
    if hint not in _SCALARS:
        raise TypeError(f"no rule to describe {hint}")
    return {"type": _SCALARS[hint]}


def _summary(kind: type) -> str:
    """Return the first paragraph of a class's docstring, on one line."""
    return " ".join((inspect.getdoc(kind) or "").split("\n\n")[0].split())


def _attributes(kind: type) -> dict[str, str]:
    """Return what a class's docstring says of its fields, under ``Attributes:``, in JSON's words."""
    _, _, rest = (inspect.getdoc(kind) or "").partition("\nAttributes:\n")
    words: dict[str, str] = {}
    names: list[str] = []
    for line in rest.splitlines():
        if line and not line.startswith(" "):
            break
        opened = re.match(r" {4}(\w+(?:, \w+)*): (.*)", line)
        if opened:
            names = opened[1].split(", ")
            words.update(dict.fromkeys(names, opened[2]))
        else:
            words.update({name: f"{words[name]} {line.strip()}".strip() for name in names})
    return {name: re.sub(r"\bNone\b", "null", text).replace("``", "`") for name, text in words.items()}


def _report_text() -> str:
    from edgelnn_profiling.report import FORMAT_VERSION, Report

    schema = build_schema(Report, name="report", version=FORMAT_VERSION)
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    REPORT_SCHEMA.write_text(_report_text(), "utf-8")
