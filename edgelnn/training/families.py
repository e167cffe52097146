"""The experiments that come with edgelnn, as tables: one to a file, or a published system with all its models in one.

A file with ``[members.NAME]`` tables is a family: its ``[system]`` says what was published, ``[common]`` holds what all
members share, and each member says what is its own. ``extends = "NAME"`` begins with another experiment instead; it is
for files of users too. A table is merged into the one it begins with, field by field; one of another ``kind`` takes
its place.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from copy import deepcopy
from functools import cache
from importlib import resources
from typing import Any

from edgelnn.errors import ConfigError
from edgelnn.training.mistakes import did_you_mean, show_value
from edgelnn.training.reference import System

__all__ = ["experiment_names", "extended", "list_systems", "merged", "named_table"]

Table = dict[str, Any]
PUBLICATION = ("title", "authors", "year", "url")


def experiment_names() -> tuple[str, ...]:
    """Return the names of the experiments that come with edgelnn.

    >>> "breastmnist" in experiment_names()
    True
    """
    return tuple(sorted(_raw_tables()))


def named_table(name: str) -> Table:
    """Return an experiment that comes with edgelnn as a table, resolved; `KeyError` where there is none of the name."""
    return extended(_raw_tables()[name], where="")


def extended(values: Mapping[str, Any], *, where: str) -> Table:
    """Return a table merged into the experiment that its ``extends`` names, and that one into its own, and so on.

    Args:
        values: As read from TOML; left as it is.
        where: Where it comes from, for messages.

    Raises:
        ConfigError: There is no experiment of that name.
    """
    layers = [dict(values)]
    while (name := layers[-1].pop("extends", None)) is not None:
        if not isinstance(name, str) or name not in _raw_tables():
            hint = did_you_mean(str(name), experiment_names()) or "; `edgelnn experiments` lists them."
            raise ConfigError(f"{where + ': ' if where else ''}extends: got {show_value(name)}; expected a name{hint}")
        layers.append(dict(_raw_tables()[name]))
    table: Table = {}
    for layer in reversed(layers):
        table = merged(table, layer)
    return table


def merged(base: Mapping[str, Any], changes: Mapping[str, Any]) -> Table:
    """Return a table with changes put into it; a table of another ``kind`` takes the place of the one there.

    >>> merged({"head": {"kind": "ltc", "units": 21}, "name": "a"}, {"head": {"units": 30}})
    {'head': {'kind': 'ltc', 'units': 30}, 'name': 'a'}
    >>> merged({"head": {"kind": "ltc", "units": 21}}, {"head": {"kind": "dense"}})
    {'head': {'kind': 'dense'}}
    """
    result = deepcopy(dict(base))
    for name, value in changes.items():
        own = result.get(name)
        if isinstance(own, dict) and isinstance(value, Mapping) and _of_one_kind(own, value):
            result[name] = merged(own, value)
        else:
            result[name] = deepcopy(value)
    return result


def _of_one_kind(own: Mapping[str, Any], changes: Mapping[str, Any]) -> bool:
    """Return whether two tables may be merged: they are unless each has a ``kind``, and another one."""
    return "kind" not in own or own["kind"] == changes.get("kind", own["kind"])


@cache
def list_systems() -> tuple[System, ...]:
    """Return the published systems that can be reproduced.

    >>> [system.name for system in list_systems()][:1]
    ['brain-mri']
    """
    families = [table for table in _files().values() if "members" in table]
    found = [System(**table["system"], experiments=list(table["members"])) for table in families]
    return tuple(sorted(found, key=lambda system: system.name))


@cache
def _raw_tables() -> Mapping[str, Table]:
    """Return every experiment by name: members merged into what their family shares, ``extends`` not yet resolved."""
    found: dict[str, Table] = {}
    for stem, table in _files().items():
        if "members" not in table:
            found[stem] = table
            continue
        system = table["system"]
        shared = {"system": system["name"], **{name: system[name] for name in PUBLICATION if name in system}}
        for name, own in table["members"].items():
            identity = {"name": name, "reference": {**shared, "experiment": name}}
            common = {} if "extends" in own else table.get("common", {})
            found[name] = merged(merged(common, own), identity)
    return found


@cache
def _files() -> Mapping[str, Table]:
    """Return what the TOML files of the package hold, by their names without the ending."""
    folder = resources.files("edgelnn") / "experiments"
    files: Sequence[Any] = sorted(folder.iterdir(), key=lambda file: file.name)
    return {
        file.name.removesuffix(".toml"): tomllib.loads(file.read_text("utf-8"))
        for file in files
        if file.name.endswith(".toml")
    }
